import os
from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import translation
from hypothesis import HealthCheck, settings

from optico_sync.models import VendorCredential
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import KEY, STATUSES, Clock, Vendor, make_credential

pytest_plugins = ["optico_sync.testing", "pytester"]

# A busy machine is no bug: neither a slow example nor slow making of examples is a failure.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# These need settings of their own, and no others do: see their settings.py.
collect_ignore = [room for room in ("oscar", "browser") if f"tests.{room}.settings" != django_settings.SETTINGS_MODULE]


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A page asked for in French leaves its language to the thread, and so to the next test."""
    yield
    translation.deactivate()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only another database or a service can show; CI runs every test with at least one."""
    elsewhere = [
        item
        for item in items
        if ((databases := item.get_closest_marker("databases")) and connection.vendor not in databases.args)
        or ((services := item.get_closest_marker("services")) and not os.environ.keys() >= set(services.args))
    ]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """In CI a test that cannot run is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def sandbox(optico_server: SandboxServer) -> SandboxServer:
    optico_server.reset()
    return optico_server


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
