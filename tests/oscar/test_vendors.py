"""One Oscar order, every vendor, over real sockets: the sandbox, which read for itself, finds nothing odd."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from optico_sync.models import DeclaredStatus, SyncState, VendorCredential
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import deliver
from tests.oscar.conftest import STATUSES
from tests.oscar.shopper import EMAIL, Shopper, make_voucher

pytestmark = pytest.mark.django_db

SECRETS = {
    "ometria": {"key": "ometria_sandbox"},
    "optimizely": {"site_token": "token_sandbox"},
    "guaranteed_reviews": {"api_key": "reviews_sandbox"},
}

#: Oscar's on-site tracking knows customers by no pseudonym.
EXPECTED = {"no user: enriches nobody's behaviour"}


def account(sandbox: SandboxServer, vendor: str, path: str = "", **options: Any) -> VendorCredential:
    credential = VendorCredential(
        name=vendor,
        vendor=vendor,
        base_url=sandbox.url + path,
        is_enabled=True,
        options=options,
        start_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
    credential.set_secrets(SECRETS[vendor])
    credential.save()
    for status, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=status, is_sale=is_sale)
    return credential


@pytest.fixture
def order(pens: Any, lamp: Any) -> Any:
    """Seven pens and seven lamps with a voucher, being processed: a sale."""
    make_voucher("PEN-DAY")
    shopper = Shopper()
    shopper.add(pens, 7)
    shopper.use_voucher("PEN-DAY")
    order = shopper.buy(lamp, quantity=7)
    order.set_status("Being processed")
    return order


def accepted(sandbox: SandboxServer, credential: VendorCredential, number: str) -> dict[str, Any]:
    deliver(credential)
    entries = sandbox.journal(vendor=credential.vendor)
    assert [entry["verdict"] for entry in entries] == ["stored"]
    assert {remark for entry in entries for remark in entry["remarks"]} <= EXPECTED
    state = SyncState.objects.get(subject__kind="order", credential=credential)
    assert state.state == SyncState.State.IN_SYNC
    record = sandbox.record(credential.vendor, number)
    assert record is not None
    return record


def test_ometria_gets_amounts_that_add_up(sandbox: SandboxServer, order: Any) -> None:
    told = accepted(sandbox, account(sandbox, "ometria", "/ometria/v2"), order.number)
    assert told["grand_total"] == float(order.total_incl_tax)
    assert told["subtotal"] + told["tax"] + told["shipping"] == pytest.approx(told["grand_total"])
    assert [(item["sku"], item["quantity"], item["total"]) for item in told["lineitems"]] == [
        ("PEN-01", 7, 24.62),
        ("LAMP-01", 7, 221.69),
    ]
    assert (told["coupon_code"], told["payment_method"], told["shipping_method"]) == ("PEN-DAY", "Card", "Courier")
    assert told["customer"] == {"email": EMAIL, "firstname": "Anna", "lastname": "Example"}


def test_guaranteed_reviews_asks_the_guest(sandbox: SandboxServer, order: Any) -> None:
    told = accepted(sandbox, account(sandbox, "guaranteed_reviews", "/private/v3/orders"), order.number)
    assert (told["email"], told["firstname"], told["lastname"], told["mail_to"]) == (EMAIL, "Anna", "Example", EMAIL)
    assert [(item["sku"], item["unit_price"]) for item in told["products"]] == [("PEN-01", 3.5171), ("LAMP-01", 31.67)]


def test_optimizely_may_be_told_of_web_orders(sandbox: SandboxServer, order: Any) -> None:
    options = {"site": "sandbox", "cluster": "custom", "channel": "callcentre", "only_offline": False}
    told = accepted(sandbox, account(sandbox, "optimizely", **options), order.number)
    assert told["order"]["total"] == float(order.total_incl_tax)
    assert told["order"]["shipping"] + told["order"]["subTotal"] == pytest.approx(told["order"]["total"])


def test_optimizely_leaves_web_orders_to_the_websites_own_tracking(sandbox: SandboxServer, order: Any) -> None:
    credential = account(sandbox, "optimizely", site="sandbox", cluster="custom", channel="callcentre")
    deliver(credential)
    assert SyncState.objects.get(subject__kind="order").reason == "not_offline"
