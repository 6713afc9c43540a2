"""Told: what a transaction has put into the outbox is not put there twice; what was rolled back is put there again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from optico_sync import told
from optico_sync.attribution import during
from optico_sync.capture import set_attribution
from optico_sync.models import OutboxEvent, Subject
from tests.helpers import Vendor, Visitor, deliver, fill, move, place
from tests.oddshop.models import Address, Item, Purchase

pytestmark = pytest.mark.django_db(transaction=True)


def events() -> list[tuple[str, str]]:
    """What is told and not relayed yet: what changed, and the status."""
    return list(OutboxEvent.objects.filter(relayed_at=None).order_by("pk").values_list("change", "status"))


def add_line(purchase: Purchase) -> Item:
    return Item.objects.create(purchase=purchase, title="Blue Widget", paid=1)


@pytest.fixture
def purchase() -> Purchase:
    purchase = place()
    OutboxEvent.objects.all().delete()
    return purchase


def test_the_lines_of_an_order_told_in_the_same_transaction_are_told_with_it(credential: Any, vendor: Vendor) -> None:
    with transaction.atomic():
        place(items=[("A", "One", 1, "1"), ("B", "Two", 1, "2"), ("C", "Three", 1, "3")])
    assert events() == [("saved", "pending")]
    deliver(credential, sender=vendor)
    assert all(title in vendor.forms[0]["products"] for title in ("One", "Two", "Three"))


def test_lines_alone_are_told_once(purchase: Purchase) -> None:
    with transaction.atomic():
        for _ in range(3):
            add_line(purchase)
    assert events() == [("related", "")]


def test_in_autocommit_each_save_is_told(purchase: Purchase) -> None:
    purchase.save()
    add_line(purchase)
    add_line(purchase)
    assert events() == [("saved", "pending"), ("related", ""), ("related", "")]


def test_the_next_transaction_tells_again(purchase: Purchase) -> None:
    for _ in range(2):
        with transaction.atomic():
            add_line(purchase)
    assert len(events()) == 2


def test_another_order_is_another_matter(purchase: Purchase) -> None:
    with transaction.atomic():
        purchase.save()
        place("1002")
    assert [status for _change, status in events()] == ["pending", "pending"]


def test_a_cart_is_told_once(credential: Any) -> None:
    with transaction.atomic():
        fill(("A", "One", 1, 100), ("B", "Two", 1, 200))
    assert list(OutboxEvent.objects.values_list("kind", flat=True)) == ["cart"]


def test_an_address_is_told_beside_its_order() -> None:
    with transaction.atomic():
        address = Address.objects.create(street="Old")
        place(address=address)
        address.street = "New"
        address.save()
    assert list(OutboxEvent.objects.order_by("pk").values_list("relation", flat=True)) == ["address", ""]


# the order of statuses


def test_every_status_is_told_in_its_order(purchase: Purchase) -> None:
    with transaction.atomic():
        for stage in ("pending", "pending", "confirmed", "pending"):
            move(purchase, stage)
            add_line(purchase)
    assert events() == [("saved", "pending"), ("saved", "confirmed"), ("saved", "pending")]


def test_a_status_after_a_line_is_told(purchase: Purchase) -> None:
    with transaction.atomic():
        add_line(purchase)
        move(purchase, "confirmed")
    assert events() == [("related", ""), ("saved", "confirmed")]


def test_a_reference_that_changes_is_told(purchase: Purchase) -> None:
    with transaction.atomic():
        purchase.save()
        purchase.number = "2002"
        purchase.save()
    assert list(OutboxEvent.objects.order_by("pk").values_list("reference", flat=True)) == ["1001", "2002"]


def test_an_order_deleted_and_made_again_is_told_each_time(purchase: Purchase) -> None:
    with transaction.atomic():
        purchase.save()
        key = purchase.pk
        purchase.delete()
        Purchase.objects.create(pk=key, number="1001")
    assert [change for change, _status in events()] == ["saved", "deleted", "saved"]


# whose it is


def test_a_visit_that_only_a_line_knows_is_told(purchase: Purchase) -> None:
    with transaction.atomic():
        purchase.save()
        with during(Visitor("5f2b6c1d8e9a4b7c")):
            add_line(purchase)
            add_line(purchase)
    assert list(OutboxEvent.objects.order_by("pk").values_list("visit_id", flat=True)) == ["", "5f2b6c1d8e9a4b7c"]


def test_a_visit_that_the_order_told_is_not_told_again(purchase: Purchase) -> None:
    with transaction.atomic(), during(Visitor("5f2b6c1d8e9a4b7c")):
        purchase.save()
        add_line(purchase)
    assert len(events()) == 1


def test_what_is_stated_is_told_after_a_save(purchase: Purchase) -> None:
    with transaction.atomic():
        purchase.save()
        assert set_attribution(purchase, call_id="77")
        assert set_attribution(purchase, call_id="77")
    assert [change for change, _status in events()] == ["saved", "attributed"]


# what is rolled back


def by_block() -> Callable[[], None]:
    block = transaction.atomic()
    block.__enter__()
    return lambda: block.__exit__(ValueError, ValueError(), None) and None


def by_hand() -> Callable[[], None]:
    sid = connections["default"].savepoint()
    return lambda: transaction.savepoint_rollback(sid)


def by_a_block_within() -> Callable[[], None]:
    """The block that told ends well, and one around it does not."""
    undo = by_block()
    with transaction.atomic():
        pass
    return undo


@pytest.fixture(params=[by_block, by_hand, by_a_block_within])
def set_savepoint(request: pytest.FixtureRequest) -> Iterator[Callable[[], Callable[[], None]]]:
    """Sets a savepoint; what it returns rolls back to it."""
    return request.param


Set = Callable[[], Callable[[], None]]


def test_what_a_savepoint_took_along_is_told_again(
    purchase: Purchase, set_savepoint: Set, credential: Any, vendor: Vendor
) -> None:
    with transaction.atomic():
        roll_back = set_savepoint()
        with transaction.atomic():
            move(purchase, "confirmed")
        roll_back()
        add_line(purchase)
        move(purchase, "confirmed")
    assert events() == [("related", ""), ("saved", "confirmed")]
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]


def test_what_was_told_before_the_savepoint_still_stands_or_is_told_again(
    purchase: Purchase, set_savepoint: Set
) -> None:
    with transaction.atomic():
        move(purchase, "confirmed")
        roll_back = set_savepoint()
        add_line(purchase)
        roll_back()
        add_line(purchase)
    assert events()[0] == ("saved", "confirmed")


def test_what_a_transaction_took_along_is_told_by_the_next(purchase: Purchase) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        add_line(purchase)
        raise ZeroDivisionError
    with transaction.atomic():
        add_line(purchase)
    assert len(events()) == 1


def test_a_transaction_that_django_does_not_end_tells_everything(purchase: Purchase) -> None:
    transaction.set_autocommit(False)
    try:
        for _ in range(2):
            add_line(purchase)
            with transaction.atomic():
                add_line(purchase)
            transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert list(OutboxEvent.objects.values_list("missed", flat=True)) == [0] * 4


# how long it is remembered


def test_what_is_relayed_in_a_transaction_that_goes_on_is_news_again(credential: Any, vendor: Vendor) -> None:
    """As in a test of a shop, which is one transaction."""
    with transaction.atomic():
        purchase = place(stage="confirmed")
        deliver(credential, sender=vendor)
        add_line(purchase)
        deliver(credential, sender=vendor)
    assert len(vendor.forms) == 2
    assert Subject.objects.count() == 1


def test_a_transaction_of_very_many_orders_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "LIMIT", 2)
    with transaction.atomic():
        for number in range(5):
            place(str(number))
        ledger = told.ledger(connections["default"])
        assert ledger is not None and len(ledger._last) <= 2
    assert len(events()) == 5
