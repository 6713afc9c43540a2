"""Relay: captured changes become queues, once, in order, whatever order they commit in."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync.models import OutboxEvent, RelayState, StatusMapping, Subject, SyncState
from optico_sync.relay import relay, relay_all, seed_mappings
from tests.helpers import Vendor, deliver, make_credential, move, pieces, place, state_of
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db


def test_saves_become_a_queue_of_statuses_and_repeats_collapse(credential: Any) -> None:
    purchase = place(stage="pending")
    for stage in ("pending", "confirmed", "confirmed", "refunded", "confirmed"):
        move(purchase, stage)
    relay_all()
    state = state_of(purchase)
    assert state.queue == ["pending", "confirmed", "refunded", "confirmed"]
    assert state.state == SyncState.State.WAITING
    assert not OutboxEvent.objects.filter(relayed_at__isnull=True).exists()


def test_batches_continue_where_the_last_one_ended(credential: Any) -> None:
    purchase = place(stage="pending")
    move(purchase, "confirmed")
    move(purchase, "shipped")
    while relay(limit=1):
        pass
    assert state_of(purchase).queue == ["pending", "confirmed", "shipped"]
    assert state_of(purchase).generation == 3


def test_every_credential_gets_its_own_queue_also_while_it_is_off() -> None:
    make_credential(name="one")
    off = make_credential(name="two")
    off.is_enabled = False
    off.save()
    purchase = place()
    relay_all()
    assert SyncState.objects.filter(subject__key=purchase.pk).count() == 2


def test_without_credentials_the_order_is_known_and_nothing_waits() -> None:
    place("1001")
    relay_all()
    assert Subject.objects.get().reference == "1001"
    assert not SyncState.objects.exists()


def test_installing_in_a_shop_with_old_orders_sends_nothing(vendor: Vendor) -> None:
    place("old")
    OutboxEvent.objects.all().delete()
    credential = make_credential()
    credential.start_at = timezone.now()
    credential.save()
    assert deliver(credential, sender=vendor) == 0
    # Also when somebody then corrects the old order: it is older than the credential.
    Purchase._base_manager.update(bought_at=timezone.now() - timedelta(days=30))
    move(Purchase.objects.get(), "shipped")
    deliver(credential, sender=vendor)
    assert vendor.forms == []
    state = SyncState.objects.get()
    assert (state.state, state.reason) == (SyncState.State.NOT_SENT, "before_start")


@pytest.mark.django_db(transaction=True)
def test_a_line_of_an_order_never_offered_is_no_reason_to_send(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    OutboxEvent.objects.filter(change="saved").delete()
    deliver(credential, sender=vendor)
    assert vendor.forms == []
    assert state_of(purchase).reason == "never_offered"


def test_a_credential_that_came_later_starts_with_the_status_the_order_has(vendor: Vendor) -> None:
    purchase = place(stage="confirmed")
    relay_all()
    credential = make_credential()
    purchase.things.first().save()
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]


def test_every_status_seen_gets_a_mapping_and_the_same_word_maps_itself(credential: Any) -> None:
    place("1", "pending")
    place("2", "Payée")
    place("3", "payee")
    relay_all()
    mapped = {mapping.shop_status: mapping.declared for mapping in StatusMapping.objects.select_related("declared")}
    assert mapped.keys() == {"pending", "Payée", "payee"}
    assert mapped["pending"].name == "pending"
    assert mapped["Payée"] is mapped["payee"] is None


def test_a_new_credential_knows_the_statuses_seen_so_far(credential: Any) -> None:
    place("1", "Being processed")
    relay_all()
    other = make_credential(name="other")
    seed_mappings(other)
    assert other.status_mappings.filter(shop_status="Being processed").exists()


def test_the_quiet_period_counts_from_the_save_and_later_saves_do_not_prolong_it(credential: Any) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "QUIET_PERIOD": 5}):
        purchase = place()
        saved = OutboxEvent.objects.latest("pk").created_at
        relay_all()
        first = state_of(purchase).due_at
        purchase.save()
        relay_all()
    assert first is not None
    assert state_of(purchase).due_at == first
    assert timedelta(seconds=4) < first - saved <= timedelta(seconds=5)


def test_a_deleted_order_is_not_sent_and_says_so(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    key = purchase.pk
    purchase.delete()
    deliver(credential, sender=vendor)
    state = SyncState.objects.get(subject__key=key)
    assert vendor.forms == []
    assert (state.state, state.reason) == (SyncState.State.NOT_SENT, "order_deleted")
    assert state.subject.deleted_at is not None


def test_deleted_after_delivery_keeps_the_record(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    key = purchase.pk
    deliver(credential, sender=vendor)
    purchase.delete()
    deliver(credential, sender=vendor)
    state = SyncState.objects.get(subject__key=key)
    assert (state.state, state.accepted_status) == (SyncState.State.IN_SYNC, "pending")
    assert len(vendor.forms) == 1


def test_a_relation_no_longer_named_does_not_stop_the_rest(credential: Any) -> None:
    purchase = place()
    OutboxEvent.objects.create(kind="order", key="7", relation="no__such", change="related", created_at=timezone.now())
    relay_all()
    assert state_of(purchase).queue == ["pending"]


def test_a_batch_takes_a_constant_number_of_statements() -> None:
    make_credential(name="one")
    make_credential(name="two")
    place("warm")
    relay_all()
    counts = []
    for size in (2, 40):
        for number in range(size):
            place(f"{size}-{number}")
        with CaptureQueriesContext(connection) as captured:
            relay()
        counts.append(len(captured))
    assert counts[0] <= 24
    assert counts[1] - counts[0] <= pieces(40, Subject) + pieces(80, SyncState)


@pytest.mark.django_db(transaction=True)
def test_events_that_commit_out_of_id_order_are_both_relayed(credential: Any) -> None:
    """The flag is on the event: "greater than the last id" would lose the one that commits late."""
    if connection.vendor == "sqlite":
        # One writer at a time: the late id is made by hand.
        first = place("1")
        late = OutboxEvent.objects.filter(key=first.pk)
        rows = list(late)
        late.delete()
        second = place("2")
        relay_all()
        OutboxEvent.objects.bulk_create(rows)
    else:
        opened, go_on = threading.Event(), threading.Event()
        late_orders: list[Purchase] = []

        def slow_checkout() -> None:
            try:
                with transaction.atomic():
                    late_orders.append(place("1"))
                    opened.set()
                    go_on.wait(10)
            finally:
                connections.close_all()

        thread = threading.Thread(target=slow_checkout)
        thread.start()
        assert opened.wait(10)
        second = place("2")
        assert relay_all()
        go_on.set()
        thread.join()
        first = late_orders[0]
        assert (
            OutboxEvent.objects.get(key=first.pk, change="saved").pk
            < OutboxEvent.objects.get(key=second.pk, change="saved").pk
        )
    relay_all()
    assert state_of(first).queue == state_of(second).queue == ["pending"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.databases("postgresql", "mysql")
def test_there_is_one_relay_at_a_time(credential: Any) -> None:
    place()
    RelayState.objects.get_or_create(pk=1)
    holding, done = threading.Event(), threading.Event()

    def other_relay() -> None:
        try:
            with transaction.atomic():
                RelayState.objects.select_for_update().get(pk=1)
                holding.set()
                done.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=other_relay)
    thread.start()
    assert holding.wait(10)
    assert relay() == 0
    done.set()
    thread.join()
    assert relay() == 2


@pytest.mark.django_db(transaction=True)
def test_a_relay_that_dies_in_the_middle_loses_and_doubles_nothing(
    credential: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    purchase = place(stage="confirmed")
    from optico_sync import relay as room

    def die(*args: Any) -> None:
        raise KeyboardInterrupt

    for step in ("_fold", "_queue"):
        with monkeypatch.context() as patch:
            patch.setattr(room, step, die)
            with pytest.raises(KeyboardInterrupt):
                relay()
        assert not Subject.objects.exists()
    relay_all()
    assert state_of(purchase).queue == ["confirmed"]
