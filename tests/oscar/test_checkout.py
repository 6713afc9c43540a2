"""Orders through Oscar's own checkout, to a vendor on a real socket; in autocommit and with ATOMIC_REQUESTS."""

from __future__ import annotations

from typing import Any

import pytest
from oscar.apps.order.models import Order
from oscar.apps.voucher.models import Voucher

from optico_sync.models import OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import deliver
from tests.oscar.shopper import OTHER_VISIT, VISIT, Shopper, make_user, make_voucher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("atomic_requests")]


def subject_of(order: Order) -> Subject:
    return Subject.objects.get(kind=Subject.Kind.ORDER, key=str(order.pk))


def test_a_guests_order_is_credited_to_the_visit(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any, lamp: Any
) -> None:
    order = Shopper().buy(pens, lamp, quantity=7)
    deliver(live)
    told = vendor_account.order(order.number)
    assert told is not None
    assert (told["status"], told["visit_id"], told["cart_id"]) == ("Pending", VISIT, str(order.basket_id))
    assert [(item["id"], item["quantity"], item["cost_per_unit"]) for item in told["products"]] == [
        ("PEN-01", 7, "3.9957"),
        ("LAMP-01", 7, "35.9886"),
    ]
    assert (told["attributed"], told["submissions"]) == (True, 1)


def test_an_accounts_order_is_credited_to_the_visit(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    order = Shopper(user=make_user()).buy(pens)
    deliver(live)
    told = vendor_account.order(order.number)
    assert told is not None
    assert (told["visit_id"], told["submissions"]) == (VISIT, 1)


def test_without_consent_the_order_is_sent_all_the_same(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    order = Shopper(visit_id="").buy(pens)
    deliver(live)
    told = vendor_account.order(order.number)
    assert told is not None
    assert (told["visit_id"], told["attributed"]) == (None, False)


def test_the_thank_you_page_sends_nothing_new(live: VendorCredential, vendor_account: SandboxServer, pens: Any) -> None:
    """Its first visit saves the order a second time."""
    shopper = Shopper()
    shopper.add(pens)
    shopper.say_where_to()
    shopper.confirm()
    deliver(live)
    before = OutboxEvent.objects.count()
    number = shopper.get("/checkout/thank-you/").context["order"].number
    assert OutboxEvent.objects.count() == before + 1
    deliver(live)
    assert len(vendor_account.journal(number)) == 1


def test_what_belongs_to_an_order_is_watched(pens: Any, atomic_requests: bool) -> None:
    """Payments come after the commit: the first order a worker sees may lack its payment method."""
    make_voucher("PEN-DAY")
    shopper = Shopper()
    shopper.add(pens)
    shopper.use_voucher("PEN-DAY")
    order = shopper.buy()
    told = OutboxEvent.objects.filter(kind="order")
    assert set(told.values_list("key", "relation")) == {
        # Lines, discounts and payments know their order; the addresses' order is looked up by the relay.
        (str(order.pk), ""),
        (str(order.shipping_address_id), "shipping_address"),
    }
    # What is saved in the order's own transaction is told with it.
    assert told.filter(relation="", change="related").count() == (0 if atomic_requests else 1)
    assert not OutboxEvent.objects.filter(kind="order", status__in=["placed", ""], change="saved").exists()
    relay_all()
    assert list(Subject.objects.filter(kind="order").values_list("key", "reference")) == [(str(order.pk), order.number)]


def test_a_refused_order_leaves_nothing_and_its_number_returns_for_another_customer(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any, lamp: Any
) -> None:
    """Two browsers, one single-use voucher: the second order is saved, then rolled back."""
    voucher = make_voucher("ONCE", usage=Voucher.SINGLE_USE)
    first, second = Shopper(), Shopper(OTHER_VISIT)
    for shopper, product in ((first, pens), (second, lamp)):
        shopper.add(product)
        shopper.use_voucher("ONCE")
        shopper.say_where_to()
    assert first.confirm().status_code == 302
    orders = OutboxEvent.objects.filter(kind="order", change="saved")
    before = orders.count()
    refused = second.confirm()
    assert (refused.status_code, Order.objects.count()) == (200, 1)
    assert "A problem occurred while placing this order" in refused.content.decode()
    assert orders.count() == before
    deliver(live)
    number = str(100000 + refused.context["basket"].pk)
    assert vendor_account.order(number) is None

    # Somebody else sits down at the same computer, and does without the voucher.
    second.cookies["optico_visitId"] = VISIT
    second.drop_voucher(voucher)
    second.say_where_to("zoe@example.com")
    assert second.confirm().status_code == 302
    order = Order.objects.get(number=number)
    deliver(live)
    assert [entry["verdict"] for entry in vendor_account.journal(number)] == ["stored"]
    told = vendor_account.order(number)
    assert told is not None
    assert (told["visit_id"], told["products"][0]["cost_per_unit"]) == (VISIT, "35.99")
    assert (subject_of(order).visit_id, order.guest_email) == (VISIT, "zoe@example.com")
    assert SyncState.objects.get(subject=subject_of(order)).state == SyncState.State.IN_SYNC


def test_an_order_keeps_its_cart_when_the_account_is_deleted(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    """Oscar then takes the basket and the customer off the order, without a signal of the order's."""
    shopper = Shopper(user=make_user())
    order = shopper.buy(pens)
    basket = str(order.basket_id)
    shopper.post("/accounts/profile/delete/", {"password": "secret"})
    order.refresh_from_db()
    assert (order.basket_id, order.user_id, order.email) == (None, None, "")
    order.set_status("Being processed")
    deliver(live)
    told = vendor_account.order(order.number)
    assert told is not None
    assert (told["cart_id"], told["status"]) == (basket, "Being processed")


def test_an_order_deleted_before_it_is_sent_is_not_sent(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    order = Shopper().buy(pens)
    key = str(order.pk)
    order.delete()
    deliver(live)
    state = SyncState.objects.get(subject__kind="order", subject__key=key)
    assert (state.state, state.reason) == (SyncState.State.NOT_SENT, "order_deleted")
    assert vendor_account.order(order.number) is None
