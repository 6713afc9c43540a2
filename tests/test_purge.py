"""The purge removes what explains nothing any more, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import insight, purge, resync
from optico_sync.engines import chores
from optico_sync.models import Attempt, OutboxEvent, Purge, Subject, SyncState, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from tests.helpers import Vendor, deliver, error, fill, make_credential, move, place, state_of
from tests.oddshop.models import Load, Purchase
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
VISIT = "3617898c651df0f8617f70a0"


def age(**span: float) -> None:
    """Everything there is so far becomes so much older."""
    then = database_now("default") - timedelta(**span)
    OutboxEvent.objects.update(created_at=then)
    OutboxEvent.objects.filter(relayed_at__isnull=False).update(relayed_at=then)
    Attempt.objects.update(started_at=then)
    Subject.objects.update(created_at=then, changed_at=then)


def purged(**options: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for what, count in purge.purge(**options):
        counts[what] = counts.get(what, 0) + count
    return {what: count for what, count in counts.items() if count}


@pytest.fixture
def purchase(credential: VendorCredential, vendor: Vendor) -> Purchase:
    """An order that was sent three times."""
    purchase = place("1001", "pending")
    for stage in ("pending", "confirmed", "shipped"):
        move(purchase, stage)
        deliver(credential, sender=vendor)
    return purchase


# history


def test_what_is_young_stays(purchase: Purchase) -> None:
    age(days=89)
    assert purged() == {}


def test_old_changes_go_and_the_last_attempt_stays(purchase: Purchase, credential: VendorCredential) -> None:
    age(days=91)
    changes = OutboxEvent.objects.count()
    assert purged() == {"captured changes": changes, "attempts": 2}
    assert Attempt.objects.get().status == "shipped"
    assert state_of(purchase).state == SyncState.State.IN_SYNC
    assert purged() == {}


def test_the_last_attempt_and_the_last_that_was_accepted_stay(purchase: Purchase, credential: VendorCredential) -> None:
    for _twice in range(2):
        resync.resend([Subject.objects.get().pk])
        deliver(credential, sender=Vendor(lambda form: error("no")))
    age(days=91)
    purged()
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == ["delivered", "refused"]


def test_an_attempt_that_stayed_goes_when_a_newer_one_takes_its_place(
    purchase: Purchase, credential: VendorCredential, vendor: Vendor
) -> None:
    age(days=91)
    purged()
    (stayed,) = Attempt.objects.all()
    resync.resend([Subject.objects.get().pk])
    deliver(credential, sender=vendor)
    assert purged() == {}
    age(days=91)
    assert purged() == {"attempts": 1}
    assert Attempt.objects.get().pk > stayed.pk


def test_the_clock_of_one_worker_does_not_keep_the_rest(purchase: Purchase) -> None:
    age(days=91)
    Attempt.objects.filter(pk=Attempt.objects.earliest("pk").pk).update(
        started_at=database_now("default") + timedelta(days=400)
    )
    assert purged()["attempts"] == 2


def test_a_change_that_is_not_relayed_stays_however_old(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "confirmed")
    age(days=500)
    assert purged() == {}
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]
    assert state_of(purchase).state == SyncState.State.IN_SYNC


def test_a_change_that_was_relayed_late_is_kept_as_long_as_any(credential: VendorCredential) -> None:
    place("1001", "confirmed")
    age(days=500)
    relay_all()
    assert purged() == {}


def test_unsent_work_survives_the_loss_of_its_history(credential: VendorCredential) -> None:
    """Retrying, refused, held and waiting orders are sent afterwards as if nothing had been removed."""
    place("1", "confirmed"), place("2", "confirmed")
    deliver(credential, sender=Vendor(lambda form: error("no")))
    waiting = place("3", "pending")
    relay_all()
    move(waiting, "confirmed")
    relay_all()
    resync.hold([Subject.objects.get(reference="2").pk])
    before = list(SyncState.objects.order_by("pk").values())
    age(days=91)
    assert purged()["captured changes"]
    assert list(SyncState.objects.order_by("pk").values()) == before
    resync.release(Subject.objects.values_list("pk", flat=True))
    vendor = Vendor()
    deliver(credential, sender=vendor)
    assert sorted((form["id"], form["status"]) for form in vendor.forms) == [
        ("1", "confirmed"),
        ("2", "confirmed"),
        ("3", "confirmed"),
        ("3", "pending"),
    ]


def test_an_order_is_not_sent_again_after_its_history_went(purchase: Purchase, credential: VendorCredential) -> None:
    age(days=91)
    purged()
    purchase.save()
    vendor = Vendor()
    deliver(credential, sender=vendor)
    assert vendor.forms == []


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "HISTORY_DAYS": 0, "CART_DAYS": 0})
def test_nothing_goes_where_it_is_to_be_kept_for_ever(purchase: Purchase) -> None:
    fill()
    relay_all()
    SyncState.objects.update(due_at=None)
    age(days=4000)
    assert purged() == {}
    assert not insight.timeline(Subject.objects.get(kind="order"), []).kept_days


def test_the_time_line_of_an_old_order_says_what_is_missing(purchase: Purchase) -> None:
    subject = Subject.objects.get()
    assert insight.timeline(subject, []).kept_days == 0
    age(days=91)
    subject.refresh_from_db()
    assert insight.timeline(subject, []).kept_days == 90


# carts


@pytest.fixture
def cart(credential: VendorCredential, vendor: Vendor) -> Any:
    trolley = fill(visit_id=VISIT)
    deliver(credential, sender=vendor)
    return trolley


def identity(kind: str) -> tuple[int, int]:
    (six,) = SyncState.objects.totals_of(insight.credentials(), kind).values()
    return sum(six.values()), Subject.objects.filter(kind=kind).count()


def test_a_cart_that_nobody_touched_goes_with_all_that_is_known_of_it(cart: Any, purchase: Purchase) -> None:
    age(days=29)
    assert purged() == {}
    age(days=31)
    assert purged() == {"carts": 1}
    assert not Subject.objects.filter(kind="cart").exists()
    assert {state.subject.kind for state in SyncState.objects.select_related("subject")} == {"order"}
    assert Attempt.objects.count() == 3
    assert identity("cart") == (0, 0)
    assert identity("order") == (1, 1)


def test_totals_add_up_when_some_carts_go(cart: Any, credential: VendorCredential) -> None:
    age(days=31)
    fill(visit_id=VISIT)
    make_credential(name="never offered").delete()
    relay_all()
    assert identity("cart") == (2, 2)
    assert purged() == {"carts": 1}
    assert identity("cart") == (1, 1)


def test_a_cart_that_is_changed_now_and_then_stays(cart: Any) -> None:
    age(days=31)
    now = database_now("default")
    Subject.objects.update(changed_at=now - timedelta(days=2))
    assert purged(is_dry=True) == purged() == {}
    # It changed after it was looked at.
    assert purge._remove_carts([Subject.objects.get().pk], now - timedelta(days=30), "default") == 0


def test_a_cart_of_which_something_is_still_to_be_sent_stays(cart: Any) -> None:
    age(days=31)
    now = database_now("default")
    SyncState.objects.update(state=SyncState.State.WAITING, due_at=now)
    assert purged(is_dry=True) == purged() == {}
    # It became due after it was looked at.
    assert purge._remove_carts([Subject.objects.get().pk], now, "default") == 0


def test_a_cart_with_a_change_that_nobody_took_up_keeps_its_visit(cart: Any, credential: VendorCredential) -> None:
    Load.objects.create(trolley=cart, title="More", cents=100)
    age(days=31)
    assert purged() == {}
    relay_all()
    assert Subject.objects.get(kind="cart").visit_id == VISIT


def test_a_cart_that_comes_back_is_a_new_one(cart: Any, credential: VendorCredential, vendor: Vendor) -> None:
    age(days=31)
    purged()
    Load.objects.create(trolley=cart, title="More", cents=100)
    deliver(credential, sender=vendor)
    assert state_of(cart).reason == "no_visit"


# the machinery


def test_workers_that_are_long_gone_go() -> None:
    now = database_now("default")
    for name, days in (("gone", 3), ("late", 1)):
        Worker.objects.create(name=name, started_at=now, beat_at=now - timedelta(days=days))
    purged()
    assert [worker.name for worker in Worker.objects.all()] == ["late"]


def test_it_works_through_many_in_batches(
    credential: VendorCredential, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    for number in range(5):
        move(place(str(number), "pending"), "confirmed")
        fill(visit_id=VISIT)
    deliver(credential, sender=vendor)
    age(days=91)
    for number, cart in enumerate(Subject.objects.filter(kind="cart")):
        Subject.objects.filter(pk=cart.pk).update(created_at=cart.created_at - timedelta(minutes=number))
    changes = OutboxEvent.objects.count()
    expected = {"captured changes": changes, "attempts": 5, "carts": 5}
    assert purged(is_dry=True) == expected
    assert max(count for _what, count in purge.purge()) <= 3
    assert (OutboxEvent.objects.count(), Attempt.objects.count(), Subject.objects.count()) == (0, 5, 5)


def test_what_stays_is_not_read_again(purchase: Purchase, credential: VendorCredential, vendor: Vendor) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            purged()
        return len(queries)

    age(days=91)
    purged()
    before = cost()
    for number in range(5):
        place(f"2{number}", "confirmed")
    deliver(credential, sender=vendor)
    age(days=91)
    purged()
    assert cost() == before
    assert Purge.objects.get().attempt == Attempt.objects.latest("pk").pk


def test_the_round_purges_once_an_hour(purchase: Purchase) -> None:
    age(days=91)
    chores.run()
    assert not OutboxEvent.objects.exists()
    purchase.save()
    relay_all()
    age(days=91)
    chores.run()
    assert OutboxEvent.objects.exists()
    Purge.objects.update(began_at=database_now("default") - timedelta(hours=1))
    chores.run()
    assert not OutboxEvent.objects.exists()


def test_one_round_does_not_purge_for_ever(purchase: Purchase, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[tuple[str, int]]:
        while True:
            yield "attempts", 1

    monkeypatch.setattr(purge, "purge", endless)
    monkeypatch.setattr(chores, "REST", 0)
    chores.run()


# the command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("optico_purge", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_command_says_what_it_would_remove_and_removes_it(purchase: Purchase, cart: Any) -> None:
    age(days=10)
    assert run() == "Removed nothing.\n"
    changes = OutboxEvent.objects.count()
    told = f"{changes} captured changes, 2 attempts, 1 carts.\n"
    assert run("--older-than", "9", "--dry-run") == f"Would remove {told}"
    assert OutboxEvent.objects.count() == changes
    assert run("--older-than", "9") == f"Removed {told}"
    assert run("--older-than", "9") == "Removed nothing.\n"


def test_the_command_counts_no_further_than_it_must(purchase: Purchase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 1)
    monkeypatch.setattr("optico_sync.management.commands.optico_purge.COUNTED", 2)
    age(days=91)
    assert run("--dry-run").startswith("Would remove 2 captured changes and perhaps more")


def test_the_command_removes_nothing_of_today() -> None:
    with pytest.raises(CommandError, match="a day at least"):
        run("--older-than", "0")


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "HISTORY_DAYS": 0, "CART_DAYS": 0})
def test_the_command_says_that_everything_is_kept() -> None:
    assert "kept for ever" in run()
