"""The sweep finds what passed by unseen, says so, and never cries wolf."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import insight, sweep
from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import OutboxEvent, Subject, Sweep, SyncState, VendorCredential
from optico_sync.models.contents import note_contents
from optico_sync.models.subjects import DIFFERS
from optico_sync.relay import relay_all
from optico_sync.shops import get_shop
from optico_sync.shops.content import content_of
from tests.helpers import Vendor, deliver, make_credential, move, pieces, place, state_of
from tests.oddshop.models import Address, Item, Purchase
from tests.settings import OPTICO_SYNC as SETTINGS

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is between its order's commit and its event's."""
    monkeypatch.setattr(sweep, "GRACE", 0.0)


def swept(scope: str = Sweep.Scope.RECENT, **options: Any) -> Sweep:
    *_, last = sweep.sweep(scope, **options)
    assert last.finished_at
    return last


def missed(scope: str = Sweep.Scope.RECENT) -> list[str]:
    """References that a sweep reports."""
    return swept(scope).references


def without_signals(*purchases: Purchase) -> None:
    Purchase.objects.bulk_create(purchases)


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def purchase(credential: VendorCredential, vendor: Vendor) -> Purchase:
    """An order in sync that the sweep has seen."""
    purchase = place("1001", "pending")
    deliver(credential, sender=vendor)
    assert missed() == []
    return purchase


# found


CHANGES: dict[str, Callable[[Purchase], object]] = {
    "update": lambda order: Purchase.objects.filter(pk=order.pk).update(stage="shipped"),
    "bulk_update": lambda order: Purchase.objects.bulk_update([Purchase(pk=order.pk, stage="shipped")], ["stage"]),
    "raw SQL": lambda order: sql("UPDATE oddshop_purchase SET stage = %s WHERE number = %s", "shipped", order.number),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_status_that_changed_without_a_signal_is_told(
    purchase: Purchase, change: Callable[[Purchase], object], credential: VendorCredential, vendor: Vendor
) -> None:
    change(purchase)
    assert missed() == ["1001"]
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "shipped"]
    assert Subject.objects.get().status == "shipped"
    assert missed() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda order: Item.objects.update(title="Red Widget"),
        lambda order: Item.objects.bulk_create([Item(purchase=order, title="One more", paid=5)]),
        lambda order: Item.objects.filter(purchase=order)._raw_delete("default"),
    ],
    ids=["changed", "added", "removed"],
)
def test_lines_that_changed_without_a_signal_are_told(
    purchase: Purchase, change: Callable[[Purchase], object], credential: VendorCredential, vendor: Vendor
) -> None:
    change(purchase)
    assert missed() == ["1001"]
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "pending"]


def test_orders_made_without_a_signal_are_told_with_their_attribution(
    credential: VendorCredential, vendor: Vendor
) -> None:
    without_signals(*(Purchase(number=f"N{n}", stage="confirmed", visit="3617898c651df0f8617f70a0") for n in range(3)))
    Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in Purchase.objects.all())
    assert sorted(missed()) == ["N0", "N1", "N2"]
    assert deliver(credential, sender=vendor) == 3
    assert {form["visit_id"] for form in vendor.forms} == {"3617898c651df0f8617f70a0"}
    assert Subject.objects.filter(visit_id="3617898c651df0f8617f70a0").count() == 3
    assert missed() == []


def test_an_order_deleted_without_a_signal_is_deleted(purchase: Purchase, credential: VendorCredential) -> None:
    Item.objects.all().delete()
    Purchase.objects.filter(pk=purchase.pk)._raw_delete("default")
    relay_all()
    assert missed() == [purchase.pk]
    relay_all()
    assert Subject.objects.get().deleted_at is not None
    assert missed() == []


def test_a_deleted_order_that_is_back_is_found(purchase: Purchase, credential: VendorCredential) -> None:
    key = purchase.pk
    purchase.delete()
    relay_all()
    without_signals(Purchase(key=key, number="1001"))
    assert missed() == ["1001"]
    relay_all()
    assert Subject.objects.get().deleted_at is None


def test_a_missed_change_is_found_although_a_captured_one_came_before(
    purchase: Purchase, credential: VendorCredential, vendor: Vendor
) -> None:
    """Both between two sweeps: that an event came says nothing about what came after it."""
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    Purchase.objects.update(stage="shipped")
    assert missed() == ["1001"]
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed", "shipped"]


def test_a_missed_status_is_found_although_it_was_there_at_the_first_reading(
    purchase: Purchase, credential: VendorCredential, vendor: Vendor
) -> None:
    move(purchase, "confirmed")
    Purchase.objects.update(stage="shipped")
    deliver(credential, sender=vendor)
    assert missed() == ["1001"]
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed", "shipped"]
    assert missed() == []


def test_a_missed_change_is_found_although_another_vendor_has_read_it(
    credential: VendorCredential, vendor: Vendor
) -> None:
    second, other = make_credential(name="second"), Vendor()
    place("1001", "pending")
    deliver(credential, sender=vendor)
    Item.objects.update(title="Red Widget")
    deliver(second, sender=other)
    assert missed() == ["1001"]
    deliver(credential, sender=vendor)
    assert "Red Widget" in vendor.forms[-1]["products"]


def test_the_page_of_the_order_says_who_found_it(purchase: Purchase) -> None:
    Purchase.objects.update(stage="shipped")
    swept()
    assert OutboxEvent.objects.order_by("-pk")[0].get_change_display() == "found by the sweep"


# not missed


def test_what_is_captured_and_not_relayed_is_not_missed(purchase: Purchase) -> None:
    move(purchase, "shipped")
    place("1002")
    assert swept().found == 0


def test_what_is_relayed_and_not_delivered_is_not_missed(purchase: Purchase) -> None:
    move(purchase, "shipped")
    relay_all()
    assert [swept().found, swept().found] == [0, 0]


def test_what_the_sweep_found_is_not_found_again_before_it_is_delivered(purchase: Purchase) -> None:
    Purchase.objects.update(stage="shipped")
    assert [swept().found, swept().found, swept().found] == [1, 0, 0]


def test_a_related_object_that_must_be_looked_up_explains_a_change(
    credential: VendorCredential, vendor: Vendor
) -> None:
    with override_settings(OPTICO_SYNC={**SETTINGS, "ORDER": {**SETTINGS["ORDER"], "channel": "address.street"}}):
        address = Address.objects.create(street="Old")
        place("1001", address=address)
        deliver(credential, sender=vendor)
        address.street = "New"
        address.save()
        assert swept().found == 0
        deliver(credential, sender=vendor)
        Address.objects.update(street="Newer")
        assert missed() == ["1001"]


def test_an_event_that_comes_a_moment_after_its_order_explains_it(
    purchase: Purchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In autocommit the order and its event are two commits; the sweep looks between them."""
    Purchase.objects.update(stage="shipped")

    class Moment(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            purchase.refresh_from_db()
            purchase.save()
            return False

    assert swept(stop=Moment()).found == 0


def test_an_order_that_does_not_hold_still_is_left_to_the_next_sweep(purchase: Purchase) -> None:
    Purchase.objects.update(stage="confirmed")

    class Moment(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            Purchase.objects.update(stage="shipped")
            return False

    assert swept(stop=Moment()).found == 0
    assert missed() == ["1001"]


def test_a_reading_that_a_captured_change_has_overtaken_says_nothing(credential: VendorCredential) -> None:
    purchase = place("1001")
    relay_all()
    before = list(Subject.objects.all())
    reading = content_of(get_shop().read([purchase.pk], using="default")[purchase.pk])
    move(purchase, "shipped")
    relay_all()
    note_contents(before, {purchase.pk: reading}, using="default")
    assert swept().found == 0


def test_other_settings_see_other_orders_in_the_same_rows(purchase: Purchase) -> None:
    with override_settings(OPTICO_SYNC={**SETTINGS, "ORDER": {**SETTINGS["ORDER"], "channel": {"value": "web"}}}):
        assert swept().found == 0
        Purchase.objects.update(stage="shipped")
        assert missed() == ["1001"]


# G9: old orders


def test_orders_from_before_the_app_are_left_alone(credential: VendorCredential) -> None:
    without_signals(Purchase(number="old", bought_at=timezone.now() - timedelta(days=2)))
    assert (swept().found, swept(Sweep.Scope.ALL).found) == (0, 0)
    assert not OutboxEvent.objects.exists()


def test_orders_from_before_every_start_date_are_left_alone() -> None:
    credential = make_credential()
    VendorCredential.objects.filter(pk=credential.pk).update(start_at=timezone.now() + timedelta(hours=1))
    without_signals(Purchase(number="old"))
    assert (swept().found, swept(Sweep.Scope.ALL).found) == (0, 0)


def test_without_a_credential_no_order_is_looked_for() -> None:
    without_signals(Purchase(number="1"))
    assert swept().found == 0


def test_an_order_that_says_no_date_is_left_alone(credential: VendorCredential) -> None:
    order = {key: value for key, value in SETTINGS["ORDER"].items() if key != "placed_at"}
    with override_settings(OPTICO_SYNC={**SETTINGS, "ORDER": order}):
        without_signals(Purchase(number="1"))
        assert (swept().found, swept(Sweep.Scope.ALL).found) == (0, 0)


def test_a_date_that_is_computed_is_asked_of_each_order_by_the_long_sweep(credential: VendorCredential) -> None:
    order = {**SETTINGS["ORDER"], "placed_at": lambda purchase: purchase.bought_at}
    with override_settings(OPTICO_SYNC={**SETTINGS, "ORDER": order}):
        without_signals(Purchase(number="new"), Purchase(number="old", bought_at=timezone.now() - timedelta(days=2)))
        assert swept().found == 0
        assert missed(Sweep.Scope.ALL) == ["new"]


# the window, the lease, the record


def test_an_order_outside_the_window_is_for_the_long_sweep(purchase: Purchase) -> None:
    Subject.objects.update(created_at=timezone.now() - timedelta(days=8))
    Purchase.objects.update(stage="shipped")
    assert swept().checked == 0
    assert missed(Sweep.Scope.ALL) == ["1001"]


def test_chunks_go_on_where_the_last_one_ended(
    credential: VendorCredential, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CHUNK", 2)
    for number in range(5):
        place(f"known {number}")
    deliver(credential, sender=vendor)
    Purchase.objects.update(stage="shipped")
    without_signals(*(Purchase(number=f"unknown {number}") for number in range(5)))
    record = swept(Sweep.Scope.ALL)
    assert (record.checked, record.found) == (10, 10)
    assert len(set(record.references)) == 10


def test_a_stopped_sweep_goes_on_where_it_was(
    credential: VendorCredential, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CHUNK", 2)
    for number in range(6):
        place(f"{number}")
    deliver(credential, sender=vendor)
    first = sweep.sweep(Sweep.Scope.ALL)
    assert next(first).checked == 2
    first.close()
    assert swept(Sweep.Scope.ALL).checked == 6
    assert Sweep.objects.count() == 1


def test_one_sweep_of_a_kind_runs_at_a_time(purchase: Purchase) -> None:
    first = sweep.sweep()
    next(first)
    assert list(sweep.sweep()) == []
    assert swept(Sweep.Scope.ALL).finished_at
    with pytest.raises(CommandError, match="A sweep is running"):
        call_command("optico_sweep", stderr=StringIO())
    first.close()


def test_a_killed_sweep_is_taken_over_and_its_ghost_ends_quietly(purchase: Purchase) -> None:
    ghost = sweep.sweep()
    next(ghost)
    Sweep.objects.filter(running="recent").update(leased_until=timezone.now() - timedelta(seconds=1))
    heir = sweep.sweep()
    next(heir)
    assert list(ghost) == []
    heir.close()
    assert Sweep.objects.filter(finished_at__isnull=False).count() == 2


def test_old_records_are_dropped(credential: VendorCredential) -> None:
    swept()
    Sweep.objects.update(started_at=timezone.now() - Sweep.KEPT * 2)
    swept()
    assert Sweep.objects.count() == 1


def test_the_record_names_a_bounded_number(credential: VendorCredential) -> None:
    without_signals(*(Purchase(number=f"N{number}") for number in range(30)))
    record = swept()
    assert (record.found, len(record.references)) == (30, Sweep.EXAMPLES)
    unseen = insight.unseen()
    assert (unseen.missed, len(unseen.references), unseen.has_more) == (30, Sweep.EXAMPLES, True)


def test_switched_off_nothing_is_swept(purchase: Purchase) -> None:
    with override_settings(OPTICO_SYNC={**SETTINGS, "ENABLED": False}):
        assert list(sweep.sweep()) == []
        assert not sweep.is_due()


def test_nobody_can_be_read_out_of_what_is_kept(credential: VendorCredential, vendor: Vendor) -> None:
    place("1001", operator="Anna Smith")
    deliver(credential, sender=vendor)
    content = Subject.objects.get().content
    assert len(content) == 33 and set(content) <= set("0123456789abcdef-")


@pytest.mark.parametrize("are_missed", [False, True])
def test_a_chunk_takes_a_constant_number_of_statements(
    credential: VendorCredential, vendor: Vendor, are_missed: bool
) -> None:
    counts = []
    for size in (2, 100):
        for number in range(size):
            place(f"{size}-{number}")
        deliver(credential, sender=vendor)
        if are_missed:
            Purchase.objects.update(stage="shipped" if size == 2 else "refunded")
        with CaptureQueriesContext(connection) as captured:
            assert swept().found == are_missed * Purchase.objects.count()
        counts.append(len(captured))
        deliver(credential, sender=vendor)
    assert counts[1] - counts[0] <= are_missed * pieces(102, OutboxEvent)


# who runs it


def test_the_worker_sweeps_when_it_is_due(purchase: Purchase) -> None:
    Purchase.objects.update(stage="shipped")
    EmbeddedWorker().run_once()
    assert insight.unseen().missed == 0
    Sweep.objects.update(started_at=timezone.now() - timedelta(seconds=901))
    EmbeddedWorker().run_once()
    assert insight.unseen().missed == 1
    assert state_of(purchase).state != SyncState.State.IN_SYNC


def test_never_is_an_interval_too(purchase: Purchase) -> None:
    Sweep.objects.all().delete()
    assert sweep.is_due()
    with override_settings(OPTICO_SYNC={**SETTINGS, "SWEEP_INTERVAL": 0}):
        assert not sweep.is_due()


def test_the_command_says_what_it_found(purchase: Purchase) -> None:
    def told(*arguments: str) -> str:
        out = StringIO()
        call_command("optico_sweep", *arguments, stdout=out, stderr=StringIO())
        return out.getvalue().strip()

    assert told() == "Checked 1 orders. Nothing was missed by capture."
    Purchase.objects.update(stage="shipped")
    assert told("--all") == "Checked 1 orders. Found by the sweep, missed by capture: 1 (1001). Queued."


def test_what_another_worker_has_noted_meanwhile_is_compared_too() -> None:
    place("1001")
    relay_all()
    stale = Subject.objects.get()
    Subject.objects.update(content="a-1")
    note_contents([stale], {stale.key: "a-2"}, using="default")
    assert Subject.objects.get().content == DIFFERS
