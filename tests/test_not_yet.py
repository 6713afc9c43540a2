"""What is not yet an order, and what is no longer whole: each waits, or is not sent, with its reason."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from itertools import count

import pytest

from optico_sync.models import StatusMapping, SyncState, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from optico_sync.resync import resend
from tests.helpers import Vendor, deliver, move, place, state_of
from tests.oddshop.models import Article, Item, Purchase

pytestmark = pytest.mark.django_db
State = SyncState.State


def told(vendor: Vendor) -> list[tuple[str, int]]:
    """The statuses sent, each with the number of products."""
    return [(form["status"], len(json.loads(form["products"]))) for form in vendor.forms]


def add_line(purchase: Purchase, paid: str = "5") -> Item:
    return Item.objects.create(purchase=purchase, title="Thing", paid=Decimal(paid))


# no lines


def test_an_order_without_lines_is_not_sent_and_says_so(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = Purchase.objects.create(number="1001")
    deliver(credential, sender=vendor)
    state = state_of(purchase)
    assert (vendor.forms, state.state, state.reason, state.due_at) == ([], State.NOT_SENT, "no_lines", None)


def test_it_is_sent_by_itself_when_its_lines_come(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = Purchase.objects.create(number="1001")
    deliver(credential, sender=vendor)
    add_line(purchase)
    deliver(credential, sender=vendor)
    assert (told(vendor), state_of(purchase).state) == ([("pending", 1)], State.IN_SYNC)


def test_statuses_that_it_passed_meanwhile_are_told_in_order(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = Purchase.objects.create(number="1001")
    deliver(credential, sender=vendor)
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert state_of(purchase).reason == "no_lines"
    add_line(purchase)
    deliver(credential, sender=vendor)
    assert told(vendor) == [("pending", 1), ("confirmed", 1)]


def test_lines_that_come_between_the_look_and_its_record_are_not_missed(
    credential: VendorCredential, vendor: Vendor
) -> None:
    purchase = Purchase.objects.create(number="1001")
    relay_all()
    looks = count(1)

    def clock(using: str) -> datetime:
        # The third time it is asked is when the decision is recorded.
        if next(looks) == 3:
            add_line(purchase)
            relay_all()
        return database_now(using)

    deliver(credential, sender=vendor, clock=clock)
    assert (told(vendor), state_of(purchase).state) == ([("pending", 1)], State.IN_SYNC)


def test_sending_it_again_by_hand_keeps_its_queue(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = Purchase.objects.create(number="1001")
    deliver(credential, sender=vendor)
    resend([state_of(purchase).subject_id])
    deliver(credential, sender=vendor)
    assert (state_of(purchase).reason, state_of(purchase).queue) == ("no_lines", ["pending"])


def test_an_order_emptied_after_it_was_sent_is_told_so(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place()
    deliver(credential, sender=vendor)
    purchase.things.get().delete()
    deliver(credential, sender=vendor)
    assert (told(vendor), state_of(purchase).state) == ([("pending", 1), ("pending", 0)], State.IN_SYNC)


def test_a_line_of_quantity_zero_is_a_line(credential: VendorCredential, vendor: Vendor) -> None:
    place(items=[("A", "Thing", 0, "0")])
    deliver(credential, sender=vendor)
    assert told(vendor) == [("pending", 0)]


# a total of zero


def test_an_order_that_costs_nothing_is_an_order(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place(items=[("A", "Paid by voucher", 1, "0")])
    deliver(credential, sender=vendor)
    assert (told(vendor), state_of(purchase).state) == ([("pending", 1)], State.IN_SYNC)


# a draft


def test_a_draft_is_left_out_until_it_leaves_that_status(credential: VendorCredential, vendor: Vendor) -> None:
    StatusMapping.objects.create(credential=credential, shop_status="draft", choice=StatusMapping.Choice.DO_NOT_SEND)
    purchase = place(stage="draft")
    deliver(credential, sender=vendor)
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.NOT_SENT, "status_not_sent")
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert told(vendor) == [("confirmed", 1)]


# gone


def test_an_order_deleted_before_it_was_sent_is_not_sent(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place()
    key = purchase.pk
    purchase.delete()
    deliver(credential, sender=vendor)
    state = SyncState.objects.get(subject__key=key)
    assert (vendor.forms, state.state, state.reason) == ([], State.NOT_SENT, "order_deleted")


def test_an_order_deleted_after_it_was_sent_stays_on_record(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place()
    key = purchase.pk
    deliver(credential, sender=vendor)
    purchase.delete()
    deliver(credential, sender=vendor)
    state = SyncState.objects.select_related("subject").get(subject__key=key)
    assert (len(vendor.forms), state.state) == (1, State.IN_SYNC)
    assert state.subject.deleted_at is not None


# not whole


def test_a_line_whose_product_is_gone_is_sent_with_what_the_line_knows(
    credential: VendorCredential, vendor: Vendor
) -> None:
    purchase = place()
    Article.objects.all().delete()
    deliver(credential, sender=vendor)
    (product,) = json.loads(vendor.forms[0]["products"])
    assert (product["name"], product["quantity"], product["cost_per_unit"]) == ("Blue Widget", 2, 29.99)
    assert state_of(purchase).state == State.IN_SYNC


def test_an_order_without_a_cart_and_a_visit_is_sent_without_them(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place(basket="")
    deliver(credential, sender=vendor)
    assert not {"cart_id", "visit_id"} & vendor.forms[0].keys()
    assert state_of(purchase).state == State.IN_SYNC
