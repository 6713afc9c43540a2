"""Capture: one row in the shop's own transaction, and never a word into the shop."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core import serializers
from django.db import connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import capture
from optico_sync.models import OutboxEvent, Subject, SyncState
from optico_sync.models.clock import database_now
from optico_sync.told import Told
from tests.helpers import Vendor, deliver, make_credential, move, place
from tests.oddshop.models import Address, Article, GiftPurchase, Item, Purchase, PurchaseProxy, Unwatched

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_misses() -> Any:
    capture._missed = 0
    yield
    capture._missed = 0


def statements(captured: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in captured.captured_queries if "outbox" in query["sql"].lower()]


def shop_statements(captured: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in captured.captured_queries if "oddshop" in query["sql"]]


@pytest.mark.parametrize("vendors", [0, 1, 3])
def test_a_save_costs_exactly_one_statement(vendors: int) -> None:
    for number in range(vendors):
        make_credential(name=f"Optico {number}")
    purchase = Purchase.objects.create(number="1")
    with CaptureQueriesContext(connection) as captured:
        move(purchase, "confirmed")
    # The shop's own UPDATE, and one round trip of ours.
    assert len(captured) == 2
    (statement,) = statements(captured)
    assert "INSERT INTO" in statement


def test_a_save_inside_a_transaction_costs_one_round_trip() -> None:
    purchase = Purchase.objects.create(number="1")
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        move(purchase, "confirmed")
    assert len(captured) == 2


@pytest.mark.django_db(transaction=True)
def test_a_checkout_with_three_lines_costs_two_statements() -> None:
    with CaptureQueriesContext(connection) as captured:
        with transaction.atomic():
            purchase = Purchase.objects.create(number="1")
            for _ in range(3):
                Item.objects.create(purchase=purchase, title="Blue Widget", paid=1)
        with transaction.atomic():
            move(purchase, "confirmed")
    assert [statement.startswith("UPDATE") for statement in shop_statements(captured)] == [False] * 4 + [True]
    # One for the order with its lines, one for its status.
    assert len(statements(captured)) == 2


def test_an_unwatched_model_costs_nothing() -> None:
    with CaptureQueriesContext(connection) as captured:
        Unwatched.objects.create(name="x")
    assert len(captured) == 1
    assert not OutboxEvent.objects.exists()


def test_an_order_event_tells_key_status_and_reference() -> None:
    purchase = Purchase.objects.create(number="1001", stage=Purchase.Stage.CONFIRMED, basket="C-77")
    event = OutboxEvent.objects.get()
    assert (event.kind, event.key, event.change) == ("order", purchase.pk, "saved")
    assert (event.status, event.reference, event.cart_key, event.relayed_at) == ("confirmed", "1001", "C-77", None)


@pytest.mark.parametrize("model", [Purchase, PurchaseProxy, GiftPurchase])
def test_proxies_and_children_are_captured_too(model: type[Purchase]) -> None:
    purchase = model.objects.create(number="1")
    assert OutboxEvent.objects.get().key == purchase.pk


@pytest.mark.django_db(transaction=True)
def test_a_line_brings_its_order_and_no_status() -> None:
    purchase = place()
    event = OutboxEvent.objects.last()
    assert event is not None
    assert (event.key, event.change, event.status) == (purchase.pk, "related", "")


def test_an_address_is_followed_to_its_orders_by_the_relay(credential: Any, vendor: Vendor) -> None:
    address = Address.objects.create(street="Old")
    purchase = place(address=address)
    deliver(credential, sender=vendor)
    before = SyncState.objects.get().generation
    address.street = "New"
    address.save()
    event = OutboxEvent.objects.last()
    assert event is not None and (event.key, event.relation) == (str(address.pk), "address")
    deliver(credential, sender=vendor)
    state = SyncState.objects.get(subject__key=purchase.pk)
    assert state.generation == before + 1
    # The vendor is told nothing of addresses, so nothing was sent.
    assert len(vendor.forms) == 1


def test_a_deleted_order_is_captured() -> None:
    purchase = place()
    key = purchase.pk
    purchase.delete()
    assert OutboxEvent.objects.filter(change="deleted").get().key == key


def test_fixtures_are_ignored() -> None:
    purchase = Purchase.objects.create(number="1")
    data = serializers.serialize("json", [purchase])
    OutboxEvent.objects.all().delete()
    for loaded in serializers.deserialize("json", data):
        loaded.save()
    assert not OutboxEvent.objects.exists()


def test_a_signal_sent_by_hand_without_the_usual_arguments_harms_nobody() -> None:
    from django.db.models.signals import post_save

    post_save.send(sender=Purchase)
    post_save.send(sender=Purchase, instance=Purchase(number="1"))
    assert OutboxEvent.objects.count() == 1


@override_settings(OPTICO_SYNC={"ENABLED": False})
def test_switched_off_captures_nothing() -> None:
    place()
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_the_moment_is_now_whatever_the_time_zone_of_the_database(zone: str | None) -> None:
    with patch.dict(connection.settings_dict, {"TIME_ZONE": zone}):
        forget_time_zone()
        now = database_now("default")
        Purchase.objects.create(number="1")
        assert abs(OutboxEvent.objects.get().created_at - now) < timedelta(minutes=1)
    forget_time_zone()


def forget_time_zone() -> None:
    for name in ("timezone", "timezone_name"):
        vars(connections["default"]).pop(name, None)


# G1: atomic


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transaction_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        place()
        raise ZeroDivisionError
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_leaves_nothing_and_the_number_may_return() -> None:
    """A single-use voucher is refused after the save; the number comes back for somebody else's order."""
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            place("100006", key="same-key", visit="aaaaaaaaaaaa")
            raise ZeroDivisionError
        place("100006", key="same-key", visit="bbbbbbbbbbbb")
    assert set(OutboxEvent.objects.exclude(visit_id="").values_list("visit_id", flat=True)) == {"bbbbbbbbbbbb"}
    credential, vendor = make_credential(), Vendor()
    deliver(credential, sender=vendor)
    assert Subject.objects.get().visit_id == "bbbbbbbbbbbb"
    # Nothing of the refused save was sent: the credential came later, so only what is known now goes out.
    assert {form["visit_id"] for form in vendor.forms} <= {"bbbbbbbbbbbb"}


# G2: harmless


def spoil() -> Any:
    """Make the INSERT fail in the database itself, as with missing or half-migrated tables."""
    capture._statement.cache_clear()
    return patch.object(OutboxEvent._meta, "db_table", "optico_sync_no_such_table")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [True, False])
def test_missing_tables_do_not_disturb_the_shop(inside: bool, caplog: pytest.LogCaptureFixture) -> None:
    with spoil():
        if inside:
            with transaction.atomic():
                purchase = place(operator="Anna Smith")
                # The shop's transaction is as good as before.
                Article.objects.create(sku="after")
        else:
            purchase = place(operator="Anna Smith")
    capture._statement.cache_clear()
    assert Purchase.objects.filter(pk=purchase.pk).exists()
    assert Item.objects.filter(purchase=purchase).exists()
    assert not OutboxEvent.objects.exists()
    assert capture.missed() == 2
    assert "could not be captured" in caplog.text
    assert "Anna" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_half_migrated_tables_do_not_disturb_the_shop() -> None:
    table = connection.ops.quote_name(OutboxEvent._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN source TO gone")
        try:
            with transaction.atomic():
                purchase = place()
            with transaction.atomic():
                move(purchase, "confirmed")
                Article.objects.create(sku="after")
        finally:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN gone TO source")
    purchase.refresh_from_db()
    assert (purchase.stage, purchase.things.count()) == ("confirmed", 1)
    assert Article.objects.filter(sku="after").exists()
    assert capture.missed() == 3
    purchase.save()
    assert OutboxEvent.objects.get().missed == 3


@pytest.mark.django_db(transaction=True)
def test_what_was_missed_is_told_by_the_next_event(credential: Any, vendor: Vendor) -> None:
    from optico_sync.models import RelayState

    with spoil():
        purchase = Purchase.objects.create(number="1")
    capture._statement.cache_clear()
    purchase.save()
    purchase.save()
    assert list(OutboxEvent.objects.order_by("pk").values_list("missed", flat=True)) == [1, 0]
    deliver(credential, sender=vendor)
    assert RelayState.objects.get().missed_captures == 1


@pytest.mark.django_db(transaction=True)
def test_a_plugin_bug_does_not_disturb_the_shop(caplog: pytest.LogCaptureFixture) -> None:
    with patch("optico_sync.shops.mapping.MappedShop.facts", side_effect=RuntimeError), transaction.atomic():
        purchase = Purchase.objects.create(number="1")
    assert Purchase.objects.filter(pk=purchase.pk).exists()
    assert capture.missed() == 1


@pytest.mark.parametrize(
    "setting",
    [
        {},
        "nonsense",
        {"ORDER": {"model": "no.Such"}},
        {"ORDER": {"model": "oddshop.Purchase"}},
        {"ORDER": 7},
        {"SHOP": "no.such.Adapter"},
    ],
)
def test_wrong_settings_connect_nothing_and_raise_nothing(setting: Any, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(OPTICO_SYNC=setting):
        capture.connect()
        Purchase.objects.create(number="1")
        assert not OutboxEvent.objects.exists()
    capture.connect()
    Purchase.objects.create(number="2")
    assert OutboxEvent.objects.count() == 1


def test_a_transaction_that_is_lost_already_is_left_alone() -> None:
    with transaction.atomic():
        purchase = Purchase(number="1")
        with transaction.atomic():
            transaction.set_rollback(True)
            capture._insert("default", Told("order", "x", "saved"))
            transaction.set_rollback(False)
        purchase.save()
    assert capture.missed() == 0


def test_over_long_text_is_cut_rather_than_lost() -> None:
    Purchase.objects.create(number="1")
    capture._insert("default", Told("order", "k", "saved", reference="r" * 5000, status="s" * 5000))
    event = OutboxEvent.objects.last()
    assert event is not None and len(event.status) == 200


@pytest.mark.databases("postgresql")
def test_server_side_binding_takes_one_statement_at_a_time() -> None:
    with patch.dict(connection.settings_dict["OPTIONS"], {"server_side_binding": True}), transaction.atomic():
        Purchase.objects.create(number="1")
    assert OutboxEvent.objects.count() == 1


def test_the_log_names_no_person(caplog: pytest.LogCaptureFixture, credential: Any) -> None:
    caplog.set_level(logging.DEBUG)
    move(place(operator="Anna Smith"), "confirmed")
    assert "Anna" not in caplog.text
