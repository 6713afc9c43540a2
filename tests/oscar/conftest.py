from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from oscar.apps.catalogue.models import Product

from optico_sync import capture
from optico_sync.models import DeclaredStatus, VendorCredential
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import KEY, make_credential
from tests.oscar.shopper import make_product

#: Oscar's words, as they are declared at Optico too.
STATUSES = {"Pending": False, "Being processed": True, "Complete": True, "Cancelled": False, "placed": False}


@pytest.fixture
def pens(db: None) -> Product:
    return make_product("PEN-01", "Blue pen", "3.33")


@pytest.fixture
def lamp(db: None) -> Product:
    return make_product("LAMP-01", "Desk lamp", "29.99")


@pytest.fixture
def vendor_account(sandbox: SandboxServer) -> SandboxServer:
    sandbox.config(keys=[KEY], statuses=STATUSES)
    return sandbox


@pytest.fixture
def live(db: None, vendor_account: SandboxServer) -> VendorCredential:
    """A credential whose vendor is the sandbox, over a real socket."""
    credential = make_credential(vendor_account.url)
    for name, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=name, is_sale=is_sale)
    return credential


@pytest.fixture(params=[False, True], ids=["autocommit", "atomic requests"])
def atomic_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)
    return request.param


@pytest.fixture(autouse=True)
def no_misses() -> Iterator[Any]:
    """Nothing that Oscar does may be missed."""
    capture._missed = 0
    yield
    assert capture._missed == 0
