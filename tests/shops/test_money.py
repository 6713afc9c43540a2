"""A shop that keeps its amounts in the fields of django-money."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from djmoney.money import Money

from optico_sync import capture
from optico_sync.exceptions import Unreadable
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.proposal import propose, written
from optico_sync.snapshot import OrderSnapshot
from tests.helpers import Vendor, deliver, make_credential
from tests.oddshop.models import Bill, BillLine
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db(transaction=True)

#: As docs/install.md says it for a money field.
NAMED = {
    "model": "oddshop.Bill",
    "reference": "number",
    "status": "stage",
    "currency": "total.currency",
    "total": "total",
    "lines": {"relation": "lines", "product_id": "sku", "name": "title", "quantity": "pieces", "total": "paid"},
    "related": ["lines"],
}


def bill(currency: str = "USD", line_currency: str = "USD") -> Bill:
    made = Bill.objects.create(number="1001", stage="confirmed", total=Money("12.50", currency))
    BillLine.objects.create(bill=made, sku="PEN", title="Pen", pieces=2, paid=Money("12.50", line_currency))
    return made


def read(made: Bill, mapping: dict[str, Any] = NAMED) -> OrderSnapshot | Unreadable:
    return MappedShop(mapping).read([str(made.pk)], using="default")[str(made.pk)]


def test_amounts_and_currency_are_read() -> None:
    found = read(bill())
    assert isinstance(found, OrderSnapshot), found
    assert (found.currency, str(found.total), str(found.lines[0].total)) == ("USD", "12.50", "12.50")


def test_a_line_in_another_currency_is_not_mixed() -> None:
    found = read(bill(line_currency="EUR"))
    assert isinstance(found, Unreadable) and "EUR" in str(found) and "USD" in str(found)


def test_the_proposal_reads_it_as_it_is() -> None:
    scope: dict[str, Any] = {}
    exec(written(propose(Bill)), scope)
    proposed = scope["OPTICO_SYNC"]["ORDER"]
    found = read(bill(), proposed)
    assert isinstance(found, OrderSnapshot), found
    assert (found.currency, str(found.total), str(found.lines[0].total)) == ("USD", "12.50", "12.50")


def test_an_order_is_delivered_in_its_currency() -> None:
    vendor = Vendor()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": NAMED, "CART": {}}):
        capture.connect()
        assert [message.id for message in run_checks() if str(message.id).startswith("optico_sync.E")] == []
        credential = make_credential()
        bill()
        deliver(credential, sender=vendor)
    capture.connect()
    (form,) = vendor.forms
    assert (form["currency"], form["status"]) == ("USD", "confirmed")
    assert '"cost_per_unit":6.25' in form["products"]
