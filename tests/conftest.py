from collections.abc import Iterator

import pytest

from optico_sync.models import VendorCredential
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import KEY, STATUSES, Clock, Vendor, make_credential


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(seed=1) as server:
        yield server


@pytest.fixture
def sandbox(running_sandbox: SandboxServer) -> SandboxServer:
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def optico(sandbox: SandboxServer) -> SandboxServer:
    """The sandbox with the account that ``make_credential`` has."""
    sandbox.config(keys=[KEY], statuses=STATUSES)
    return sandbox


@pytest.fixture
def credential(db: None) -> VendorCredential:
    return make_credential()


@pytest.fixture
def live(db: None, optico: SandboxServer) -> VendorCredential:
    """A credential whose vendor is the sandbox, over a real socket."""
    return make_credential(optico.url)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def clock() -> Clock:
    return Clock()
