"""Delivery: leases, order, retries, the breaker, and what happens when things go wrong in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import delivery
from optico_sync.delivery import Lane, _useful
from optico_sync.exceptions import NoAnswer, NotConnected
from optico_sync.models import (
    Attempt,
    DeclaredStatus,
    Installation,
    StatusMapping,
    Subject,
    SyncState,
    VendorCredential,
)
from optico_sync.outcome import credential_refused
from optico_sync.relay import relay_all
from optico_sync.resync import hold, release
from optico_sync.vendors.base import Response
from optico_sync.vendors.optico import Optico
from tests.helpers import Clock, Vendor, deliver, error, make_credential, move, pieces, place, reply, state_of
from tests.oddshop.models import Item, Purchase
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
State = SyncState.State


def failing(*failures: Exception | Response) -> Callable[[dict[str, str]], Response]:
    """Answer with ``failures`` first, then with success."""
    left = list(failures)

    def answer(form: dict[str, str]) -> Response:
        if not left:
            return reply()
        failure = left.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure

    return answer


def timed_out() -> NoAnswer:
    return NoAnswer("no answer in time", timed_out=True)


def during_send(act: Callable[[], None]) -> Callable[[dict[str, str]], Response]:
    """A vendor that lets ``act`` happen while its first request is in flight."""
    done: list[bool] = []

    def answer(form: dict[str, str]) -> Response:
        if not done:
            done.append(True)
            worker = threading.Thread(target=act)
            worker.start()
            worker.join()
        return reply()

    return answer


# retries


def test_retry_after_1_2_4_seconds_then_a_slow_tail(credential: Any, clock: Clock) -> None:
    # Another order answers in between, so that it is this order's trouble and not the vendor's.
    vendor = Vendor(lambda form: reply(b"", 500) if form["id"] == "bad" else reply())
    bad = place("bad")
    delays = []
    for number in range(6):
        place(f"good {number}")
        clock.forward(days=1)
        deliver(credential, sender=vendor, clock=clock)
        due = state_of(bad).due_at
        assert due is not None
        delays.append((due - clock.now).total_seconds())
    assert delays[:3] == [1, 2, 4]
    # A minute, five, half an hour, each give or take a fifth.
    for delay, wanted in zip(delays[3:], (60, 300, 1800), strict=True):
        assert 0.8 * wanted <= delay <= 1.2 * wanted
    assert state_of(bad).state == State.RETRYING
    assert state_of(bad).attempts == 6


def test_a_save_during_a_send_is_sent_again(credential: Any) -> None:
    """G5: an acknowledgement clears only the generation it sent."""
    purchase = place()

    def edit() -> None:
        Item.objects.update(paid="9.99")
        SyncState.objects.update(generation=9)

    deliver_in_thread = Vendor(lambda form: reply())
    lane = Lane(credential.pk, sender=deliver_in_thread)
    relay_all()
    original = lane._settle

    def edit_first(*args: Any) -> None:
        edit()
        original(*args)

    lane._settle = edit_first  # type: ignore[method-assign]
    lane.deliver()
    state = state_of(purchase)
    assert (state.state, state.answered_generation) == (State.WAITING, 1)
    lane._settle = original  # type: ignore[method-assign]
    lane.deliver()
    lane.close()
    assert [form["products"] for form in deliver_in_thread.forms][1].count("4.995") == 1
    assert state_of(purchase).state == State.IN_SYNC


def test_an_unchanged_order_is_not_sent_again(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    deliver(credential, sender=vendor)
    purchase.save()
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 1
    assert state_of(purchase).state == State.IN_SYNC


def test_changed_content_goes_out_again_under_the_last_status(credential: Any, vendor: Vendor) -> None:
    purchase = place(stage="confirmed")
    deliver(credential, sender=vendor)
    item = purchase.things.get()
    item.paid = "10"
    item.save()
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed", "confirmed"]
    assert '"cost_per_unit":5' in vendor.forms[1]["products"]


# what a status can do


def test_do_not_send_leaves_the_status_out_and_says_so(credential: Any, vendor: Vendor) -> None:
    StatusMapping.objects.create(credential=credential, shop_status="internal", choice=StatusMapping.Choice.DO_NOT_SEND)
    purchase = place(stage="internal")
    deliver(credential, sender=vendor)
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.NOT_SENT, "status_not_sent")
    move(purchase, "confirmed")
    move(purchase, "internal")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]
    assert state_of(purchase).state == State.IN_SYNC


def test_an_unknown_status_parks_and_declaring_it_releases(credential: Any) -> None:
    known: set[str] = {"confirmed"}
    vendor = Vendor(lambda form: reply() if form["status"] in known else error("Unknown status"))
    parked = [place(str(number), "pending") for number in range(3)]
    fine = place("fine", "confirmed")
    deliver(credential, sender=vendor)
    assert {state_of(purchase).state for purchase in parked} == {State.REFUSED}
    assert state_of(fine).state == State.IN_SYNC
    declared = DeclaredStatus.objects.get(name="pending")
    assert declared.unknown_since is not None
    assert deliver(credential, sender=vendor) == 0
    known.add("pending")
    assert declared.declare() == 3
    deliver(credential, sender=vendor)
    assert {state_of(purchase).state for purchase in parked} == {State.IN_SYNC}


def test_mapping_to_another_status_releases_too(credential: Any) -> None:
    vendor = Vendor(lambda form: reply() if form["status"] == "confirmed" else error("Unknown status"))
    purchase = place(stage="pending")
    deliver(credential, sender=vendor)
    mapping = StatusMapping.objects.get(shop_status="pending")
    mapping.declared = DeclaredStatus.objects.get(name="confirmed")
    mapping.save()
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.IN_SYNC
    assert state_of(purchase).accepted_is_sale is True


def test_declaring_the_very_word_maps_and_releases(credential: Any, vendor: Vendor) -> None:
    purchase = place(stage="Payée")
    deliver(credential, sender=vendor)
    assert state_of(purchase).reason == "unmapped_status"
    DeclaredStatus.objects.create(credential=credential, name="payee", is_sale=True)
    assert deliver(credential, sender=vendor) == 0
    DeclaredStatus.objects.create(credential=credential, name="Payée", is_sale=True)
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["Payée"]


def test_a_status_that_works_again_releases_by_itself(credential: Any) -> None:
    known: set[str] = set()
    vendor = Vendor(lambda form: reply() if form["status"] in known else error("Unknown status"))
    parked = place("1", "pending")
    deliver(credential, sender=vendor)
    known.add("pending")
    place("2", "pending")
    deliver(credential, sender=vendor)
    assert state_of(parked).state == State.IN_SYNC
    assert DeclaredStatus.objects.get(name="pending").unknown_since is None


def test_parked_statuses_go_out_in_order_and_never_after_a_later_one(credential: Any) -> None:
    known: set[str] = set()
    vendor = Vendor(lambda form: reply() if form["status"] in known else error("Unknown status"))
    purchase = place(stage="pending")
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert state_of(purchase).queue == ["pending", "confirmed"]
    known.update({"pending", "confirmed"})
    vendor.forms.clear()
    for status in DeclaredStatus.objects.filter(name__in=known):
        status.declare()
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]
    known.remove("pending")
    other = place("2", "pending")
    move(other, "confirmed")
    deliver(credential, sender=vendor)
    known.add("pending")
    DeclaredStatus.objects.get(name="pending").declare()
    vendor.forms.clear()
    deliver(credential, sender=vendor)
    assert vendor.forms == []


def test_a_refused_order_is_tried_again_when_it_changes(credential: Any) -> None:
    vendor = Vendor(failing(error("Missing required parameter")))
    purchase = place(stage="confirmed")
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.REFUSED
    item = purchase.things.get()
    item.title = "Better"
    item.save()
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.IN_SYNC


def test_a_mistyped_declared_status_put_right_releases(credential: Any) -> None:
    vendor = Vendor(lambda form: reply() if form["status"] == "paid" else error("Unknown status"))
    declared = DeclaredStatus.objects.get(name="confirmed")
    purchase = place(stage="confirmed")
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.REFUSED
    declared.name = "paid"
    declared.save()
    deliver(credential, sender=vendor)
    assert (state_of(purchase).state, vendor.statuses) == (State.IN_SYNC, ["confirmed", "paid"])


def test_a_mistyped_call_id_is_told_and_its_cure_works(credential: Any, vendor: Vendor) -> None:
    purchase = place(stage="confirmed", call="CALL-7")
    deliver(credential, sender=vendor)
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.REFUSED, "bad_call_id")
    purchase.call = "4711"
    purchase.save()
    deliver(credential, sender=vendor)
    assert [form["call_id"] for form in vendor.forms] == ["4711"]
    assert state_of(purchase).subject.call_id == "4711"


def test_switched_off_as_a_whole_nothing_is_relayed_or_sent(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENABLED": False}):
        assert deliver(credential, sender=vendor) == 0
    assert not SyncState.objects.exists()
    relay_all()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENABLED": False}):
        assert deliver(credential, sender=vendor) == 0
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.IN_SYNC


# the credential


def test_a_refused_key_pauses_and_the_right_key_releases_everything(credential: Any) -> None:
    vendor = Vendor(lambda form: reply() if form["key"] == "right" else error("Invalid api key"))
    purchases = [place(str(number)) for number in range(20)]
    credential.concurrency = 1
    credential.save()
    deliver(credential, sender=vendor)
    credential.refresh_from_db()
    assert len(vendor.forms) == 1
    assert (credential.hold_reason, credential.paused_at is not None) == ("key_refused", True)
    assert {state_of(purchase).shown_state for purchase in purchases} == {State.HELD}
    assert SyncState.objects.totals(credential)[State.HELD] == 20
    assert {state_of(purchase).attempts for purchase in purchases} == {0}
    credential.set_secrets({"key": "right"})
    credential.save()
    deliver(credential, sender=vendor)
    assert {state_of(purchase).state for purchase in purchases} == {State.IN_SYNC}


def test_an_account_that_its_vendor_finds_wrong_before_sending_is_paused(
    credential: Any, vendor: Vendor, monkeypatch: Any
) -> None:
    refuse = credential_refused("incomplete_credential", detail="site")
    monkeypatch.setattr(type(credential.spec), "build", lambda *args, **kwargs: refuse)
    purchase = place()
    assert deliver(credential, sender=vendor) == 1
    credential.refresh_from_db()
    assert (credential.pause_reason, credential.pause_detail) == ("incomplete_credential", "site")
    assert (state_of(purchase).shown_state, vendor.forms) == (State.HELD, [])


def test_a_key_replaced_during_the_send_is_not_paused_by_the_old_answer(credential: Any) -> None:
    vendor = Vendor(lambda form: reply() if form["key"] == "right" else error("Invalid api key"))
    purchase = place()
    relay_all()
    lane = Lane(credential.pk, sender=vendor)
    settle = lane._settle

    def replace_first(*args: Any) -> None:
        fresh = VendorCredential.objects.get(pk=credential.pk)
        fresh.set_secrets({"key": "right"})
        fresh.save()
        settle(*args)

    lane._settle = replace_first  # type: ignore[method-assign]
    lane.deliver()
    lane.close()
    credential.refresh_from_db()
    assert credential.paused_at is None
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.IN_SYNC


def test_the_breaker_opens_probes_and_closes_and_burns_no_attempts(credential: Any, clock: Clock) -> None:
    up: list[bool] = []

    def answer(form: dict[str, str]) -> Response:
        if not up:
            raise NotConnected("could not connect")
        return reply()

    vendor = Vendor(answer)
    purchases = [place(str(number)) for number in range(40)]
    credential.concurrency = 1
    credential.save()
    deliver(credential, sender=vendor, clock=clock)
    credential.refresh_from_db()
    assert len(vendor.forms) == 5
    assert credential.hold_reason == "breaker_open"
    assert {state_of(purchase).attempts for purchase in purchases} == {0}
    assert {state_of(purchase).shown_state for purchase in purchases} == {State.HELD}
    # Closed to everybody but one probe at a time, at growing intervals.
    assert deliver(credential, sender=vendor, clock=clock) == 0
    gaps = []
    for _ in range(12):
        credential.refresh_from_db()
        gaps.append((credential.open_until - clock.now).total_seconds())
        clock.now = credential.open_until
        assert deliver(credential, sender=vendor, clock=clock) == 1
    assert gaps[:4] == [1, 2, 4, 8]
    assert max(gaps) == 300
    up.append(True)
    credential.refresh_from_db()
    clock.now = credential.open_until
    deliver(credential, sender=vendor, clock=clock)
    credential.refresh_from_db()
    assert (credential.opened_at, credential.failures) == (None, 0)
    assert {state_of(purchase).state for purchase in purchases} == {State.IN_SYNC}


def test_attempts_spent_before_the_breaker_opened_are_given_back(credential: Any, clock: Clock) -> None:
    vendor = Vendor(lambda form: reply(b"", 503))
    waiting, tried = place("1"), place("2")
    relay_all()
    SyncState.objects.filter(subject__reference="1").update(
        state=State.RETRYING, attempts=3, due_at=clock.now + timedelta(hours=9)
    )
    for _ in range(5):
        deliver(credential, sender=vendor, clock=clock)
        clock.forward(seconds=90)
    credential.refresh_from_db()
    assert credential.hold_reason == "breaker_open"
    assert (state_of(waiting).attempts, state_of(tried).attempts) == (0, 0)
    due = state_of(waiting).due_at
    assert due is not None and due <= clock.now


def test_one_bad_order_neither_opens_the_breaker_nor_blocks_the_others(credential: Any, clock: Clock) -> None:
    vendor = Vendor(lambda form: reply(b"", 500) if form["id"] == "bad" else reply())
    bad = place("bad")
    good = [place(str(number)) for number in range(20)]
    for _ in range(10):
        good.append(place("more"))
        clock.forward(hours=13)
        deliver(credential, sender=vendor, clock=clock)
    credential.refresh_from_db()
    assert credential.opened_at is None
    assert {state_of(purchase).state for purchase in good} == {State.IN_SYNC}
    assert state_of(bad).state == State.RETRYING


@pytest.mark.parametrize(
    "hindrance",
    [
        {"is_enabled": False},
        {"paused_at": "2026-01-01T00:00Z", "pause_reason": "key_refused"},
        {"opened_at": "2026-01-01T00:00Z", "open_until": "2036-01-01T00:00Z"},
    ],
)
def test_a_credential_that_is_off_or_paused_holds(credential: Any, vendor: Vendor, hindrance: dict) -> None:
    VendorCredential.objects.update(**hindrance)
    purchase = place()
    assert deliver(credential, sender=vendor) == 0
    assert vendor.forms == []
    assert state_of(purchase).shown_state == State.HELD


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENCRYPTION_KEYS": ["bm90LXRoZS1rZXktdGhhdC1lbmNyeXB0ZWQtaXQtLS0="]})
def test_a_secret_that_cannot_be_read_pauses_and_sends_nothing(credential: Any, vendor: Vendor) -> None:
    with override_settings(OPTICO_SYNC=OPTICO_SYNC):
        credential.set_secrets({"key": "secret"})
        credential.save()
    place()
    deliver(credential, sender=vendor)
    row = VendorCredential.objects.defer("sealed_secrets").get()
    assert (row.pause_reason, vendor.forms) == ("secret_unreadable", [])


def test_a_missing_secret_pauses_and_names_it(credential: Any, vendor: Vendor) -> None:
    credential.set_secrets({})
    credential.save()
    place()
    deliver(credential, sender=vendor)
    credential.refresh_from_db()
    assert (credential.pause_reason, credential.pause_detail) == ("incomplete_credential", "key")


# leases


def test_a_lease_that_ran_out_is_taken_over_and_the_newest_repeated(credential: Any, clock: Clock) -> None:
    """A worker died in the middle: nothing is lost, and what it may have sent is covered twice."""
    vendor = Vendor()
    purchase = place(stage="confirmed")
    relay_all()
    dead = Lane(credential.pk, sender=vendor, clock=clock)
    assert dead._claim() is not None
    assert deliver(credential, sender=vendor, clock=clock) == 0
    clock.forward(seconds=61)
    deliver(credential, sender=vendor, clock=clock)
    assert state_of(purchase).state == State.IN_SYNC
    assert vendor.statuses == ["confirmed"]
    clock.forward(seconds=61)
    deliver(credential, sender=vendor, clock=clock)
    clock.forward(minutes=14)
    assert deliver(credential, sender=vendor, clock=clock) == 0
    clock.forward(minutes=2)
    deliver(credential, sender=vendor, clock=clock)
    clock.forward(days=1)
    assert deliver(credential, sender=vendor, clock=clock) == 0
    assert vendor.statuses == ["confirmed"] * 3


def test_a_worker_that_lost_its_lease_loses_quietly_and_the_newest_is_sent(credential: Any, clock: Clock) -> None:
    purchase = place(stage="pending")
    vendor = Vendor()
    relay_all()
    sleeper = Lane(credential.pk, sender=vendor, clock=clock)
    settle = sleeper._settle

    def sleep_first(*args: Any) -> None:
        # Suspended for an hour; meanwhile the order moved on and another worker took over.
        clock.forward(hours=1)
        move(purchase, "confirmed")
        deliver(credential, sender=vendor, clock=clock)
        settle(*args)

    sleeper._settle = sleep_first  # type: ignore[method-assign]
    sleeper.deliver()
    sleeper.close()
    state = state_of(purchase)
    assert state.sent_status == "confirmed"
    assert state.generation > state.answered_generation
    deliver(credential, sender=vendor, clock=clock)
    assert vendor.statuses == ["pending", "pending", "confirmed", "confirmed"]
    assert state_of(purchase).state == State.IN_SYNC


def test_an_ambiguous_attempt_is_covered_by_two_repeats(credential: Any, clock: Clock) -> None:
    vendor = Vendor(failing(timed_out()))
    purchase = place(stage="pending")
    deliver(credential, sender=vendor, clock=clock)
    move(purchase, "confirmed")
    for step in (2, 61, 16 * 60, 3600):
        clock.forward(seconds=step)
        deliver(credential, sender=vendor, clock=clock)
    assert vendor.statuses == ["pending", "pending", "confirmed", "confirmed", "confirmed"]
    assert state_of(purchase).state == State.IN_SYNC
    assert state_of(purchase).due_at is None


def test_a_request_that_was_never_sent_needs_no_repeat(credential: Any, clock: Clock) -> None:
    vendor = Vendor(failing(NotConnected("refused")))
    place()
    for _ in range(3):
        deliver(credential, sender=vendor, clock=clock)
        clock.forward(hours=1)
    assert len(vendor.forms) == 2


def test_no_send_starts_that_could_outlive_its_lease(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = Vendor()
    purchase = place()
    relay_all()
    monkeypatch.setattr("optico_sync.delivery._Deadline.left", lambda self: 6.9)
    lane = Lane(credential.pk, sender=vendor)
    lane.deliver()
    lane.close()
    assert vendor.forms == []
    state = state_of(purchase)
    assert (state.lease, state.state) == ("", State.WAITING)


def test_a_worker_told_to_stop_gives_back_what_it_has_not_sent(credential: Any) -> None:
    stop = threading.Event()

    def answer(form: dict[str, str]) -> Response:
        stop.set()
        return reply()

    vendor = Vendor(answer)
    purchases = [place(str(number)) for number in range(10)]
    credential.concurrency = 1
    credential.save()
    relay_all()
    lane = Lane(credential.pk, sender=vendor, stop=stop)
    lane.deliver()
    lane.close()
    assert len(vendor.forms) == 1
    assert {state_of(purchase).lease for purchase in purchases} == {""}
    deliver(credential, sender=Vendor())
    assert {state_of(purchase).state for purchase in purchases} == {State.IN_SYNC}


def test_a_crash_at_settling_sends_again_and_loses_nothing(credential: Any, clock: Clock) -> None:
    vendor = Vendor()
    purchase = place()
    relay_all()
    lane = Lane(credential.pk, sender=vendor, clock=clock)

    def die(*args: Any) -> None:
        raise KeyboardInterrupt

    lane._judge = die  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        lane.deliver()
    lane.close()
    assert state_of(purchase).state == State.WAITING
    clock.forward(seconds=61)
    deliver(credential, sender=vendor, clock=clock)
    assert state_of(purchase).state == State.IN_SYNC


@pytest.mark.django_db(transaction=True)
def test_a_settle_that_the_database_gives_up_on_is_tried_again(
    credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    purchase = place()
    judge = Lane._judge
    deadlocks = [OperationalError("deadlock detected")] * 2

    def flaky(*args: Any) -> bool:
        if deadlocks:
            raise deadlocks.pop()
        return judge(*args)

    monkeypatch.setattr(Lane, "_judge", flaky)
    deliver(credential, sender=vendor)
    assert (len(vendor.forms), Attempt.objects.count()) == (1, 1)
    assert state_of(purchase).state == State.IN_SYNC


# the next batch while this one is out


class Crowd:
    """A vendor that answers once ``enough`` requests are in flight, or loses patience; remembers the most."""

    def __init__(self, enough: int, patience: float = 5.0) -> None:
        self.enough, self.patience = enough, patience
        self.most = self.inside = 0
        self._changed = threading.Condition()

    def __call__(self, form: dict[str, str]) -> Response:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.enough, timeout=self.patience)
            self.inside -= 1
        return reply()


def backlog(orders: int) -> None:
    for number in range(orders):
        place(str(number))
    relay_all()


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "BATCH_SIZE": 2})
def test_the_next_batch_is_sent_while_the_last_is_out(credential: Any) -> None:
    backlog(4)
    crowd = Crowd(enough=4)
    lane = Lane(credential.pk, sender=Vendor(crowd))
    assert (lane.deliver(ahead=True), lane.is_busy) == (0, True)
    assert (lane.deliver(ahead=True), lane.is_busy) == (2, True)
    assert (lane.deliver(ahead=True), lane.is_busy) == (2, False)
    lane.close()
    assert crowd.most == 4
    assert set(SyncState.objects.values_list("state", "lease")) == {(State.IN_SYNC, "")}


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "BATCH_SIZE": 2})
def test_a_lane_that_is_closed_settles_what_is_out(credential: Any, vendor: Vendor) -> None:
    backlog(2)
    lane = Lane(credential.pk, sender=vendor)
    assert lane.deliver(ahead=True) == 0
    assert lane.close() == 2
    assert set(SyncState.objects.values_list("state", "lease")) == {(State.IN_SYNC, "")}


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "BATCH_SIZE": 2})
def test_what_is_out_is_settled_although_the_next_claim_fails(credential: Any, vendor: Vendor) -> None:
    backlog(2)
    lane = Lane(credential.pk, sender=vendor)
    lane.deliver(ahead=True)

    def fail() -> None:
        raise OperationalError

    lane._claim = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(OperationalError):
        lane.deliver(ahead=True)
    lane.close()
    assert set(SyncState.objects.values_list("state", flat=True)) == {State.IN_SYNC}


def test_an_order_by_itself_is_settled_at_once(credential: Any, vendor: Vendor) -> None:
    place()
    relay_all()
    lane = Lane(credential.pk, sender=vendor)
    assert (lane.deliver(ahead=True), lane.is_busy) == (1, False)
    lane.close()


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "BATCH_SIZE": 5})
def test_a_vendor_that_goes_down_is_left_alone_by_the_batch_after_too(credential: Any) -> None:
    VendorCredential.objects.update(concurrency=1)
    backlog(10)
    down = Vendor(failing(*[timed_out()] * 10))
    lane = Lane(credential.pk, sender=down)
    while lane.deliver(ahead=True) or lane.is_busy:
        pass
    lane.close()
    assert len(down.forms) == 5
    credential.refresh_from_db()
    assert credential.opened_at is not None and credential.failures == 5
    assert not SyncState.objects.exclude(lease="").exists()


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "BATCH_SIZE": 2})
def test_a_vendor_that_does_not_upsert_has_one_batch_out(
    credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies with it leaves doubts about every order that was claimed."""
    monkeypatch.setattr(Optico, "upserts", False)
    backlog(4)
    lane = Lane(credential.pk, sender=vendor)
    assert (lane.deliver(ahead=True), lane.is_busy) == (2, False)
    lane.close()


def test_a_slow_vendor_is_claimed_no_more_than_it_takes_soon(credential: Any, vendor: Vendor) -> None:
    VendorCredential.objects.update(concurrency=2)
    backlog(20)
    lane = Lane(credential.pk, sender=vendor)
    lane._latency = 1.0
    assert lane.deliver() == 10
    lane._latency = 30.0
    assert lane.deliver() == 2
    lane.close()


@pytest.mark.parametrize(("latency", "at_once"), [(0.0, 1), (0.001, 1), (0.01, 9), (0.05, 42)])
def test_a_fast_vendor_gets_few_requests_at_once(latency: float, at_once: int) -> None:
    """More of them would only take the interpreter from one another."""
    assert _useful(latency, spent=0.0003) == at_once


def test_requests_are_added_by_the_quickest_answer_alone(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow one may be this process's own doing."""
    VendorCredential.objects.update(concurrency=8)
    backlog(4)
    seen: list[float] = []
    monkeypatch.setattr(delivery, "_useful", lambda latency, spent: seen.append(latency) or 1)
    crowd = Crowd(enough=8, patience=0.01)

    def ever_slower(form: dict[str, str]) -> Response:
        crowd.patience += 0.02
        return crowd(form)

    lane = Lane(credential.pk, sender=Vendor(ever_slower))
    lane._latency, lane._spent = 0.0009, 0.0003
    lane.deliver()
    lane.close()
    before, first, *later = seen
    assert before == 0.0009 and later and set(later) == {first}
    assert crowd.most == 1


def test_a_slow_vendor_gets_as_many_requests_at_once_as_it_may(credential: Any) -> None:
    """Although a fast one was expected."""
    VendorCredential.objects.update(concurrency=8)
    backlog(30)
    crowd = Crowd(enough=8, patience=0.2)
    lane = Lane(credential.pk, sender=Vendor(crowd))
    lane._latency, lane._spent = 0.0009, 0.0003
    lane.deliver()
    lane.close()
    assert crowd.most == 8


# bad data


def test_an_order_that_cannot_be_read_is_refused_alone(credential: Any, vendor: Vendor) -> None:
    shop = {**OPTICO_SYNC["ORDER"], "currency": lambda order: 1 / 0 if order.number == "bad" else "EUR"}
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": shop}):
        bad, good = place("bad"), place("good")
        deliver(credential, sender=vendor)
    assert state_of(good).state == State.IN_SYNC
    state = state_of(bad)
    assert (state.state, state.reason) == (State.REFUSED, "unreadable_order")
    assert "OPTICO_SYNC['ORDER']['currency']" in state.detail and "ZeroDivisionError" in state.detail


def test_an_order_of_a_site_that_the_default_manager_hides_is_read(credential: Any, vendor: Vendor) -> None:
    place(site="hidden")
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 1


def test_a_bug_in_the_vendor_class_stops_only_its_order(credential: Any, vendor: Vendor, monkeypatch: Any) -> None:
    spec = credential.spec
    build = type(spec).build

    def buggy(self: Any, snapshot: Any, **kwargs: Any) -> Any:
        if snapshot.reference == "bad":
            raise RuntimeError
        return build(self, snapshot, **kwargs)

    monkeypatch.setattr(type(spec), "build", buggy)
    bad, good = place("bad"), place("good")
    deliver(credential, sender=vendor)
    assert (state_of(bad).state, state_of(good).state) == (State.REFUSED, State.IN_SYNC)


# the record


def test_an_attempt_keeps_what_an_owner_needs(credential: Any) -> None:
    vendor = Vendor(lambda form: error("Unknown status"))
    place("1001", "confirmed", operator="Anna")
    deliver(credential, sender=vendor, worker="w1")
    attempt = Attempt.objects.get()
    assert (attempt.shop_status, attempt.status, attempt.http_status) == ("confirmed", "confirmed", 200)
    assert (attempt.outcome, attempt.reason, attempt.detail) == ("refused", "unknown_status", "Unknown status")
    assert "id=1001" in attempt.request and "Anna" not in attempt.request
    assert attempt.answer == '{"status": "error", "message": "Unknown status"}'
    assert attempt.worker == "w1"


def test_a_batch_of_200_takes_as_many_statements_as_one_of_2(credential: Any, vendor: Vendor) -> None:
    counts = []
    Installation.start()
    for size in (2, 200):
        for number in range(size):
            place(f"{size}-{number}")
        relay_all()
        lane = Lane(credential.pk, sender=vendor)
        with CaptureQueriesContext(connection) as captured:
            assert lane.deliver() == size
        lane.close()
        counts.append(len([q for q in captured.captured_queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]))
    assert counts[1] - counts[0] <= pieces(200, SyncState) + pieces(200, Attempt) + pieces(200, Subject)
    # Three of them make the row of a new hour, and PostgreSQL is asked once a minute which one it is.
    assert counts[0] <= 24 + (connection.vendor == "postgresql")


def test_several_vendors_do_not_wait_for_each_other(credential: Any, clock: Clock) -> None:
    other = make_credential(name="other")
    down = Vendor(lambda form: reply(b"", 500))
    up = Vendor()
    purchase = place()
    deliver(credential, sender=down, clock=clock)
    deliver(other, sender=up, clock=clock)
    assert state_of(purchase, credential).state == State.RETRYING
    assert state_of(purchase, other).state == State.IN_SYNC


def test_hold_during_a_send_is_kept(credential: Any) -> None:
    purchase = place()
    relay_all()
    vendor = Vendor()
    lane = Lane(credential.pk, sender=vendor)
    settle = lane._settle

    def hold_first(*args: Any) -> None:
        assert hold([state_of(purchase).subject_id]) == 1
        settle(*args)

    lane._settle = hold_first  # type: ignore[method-assign]
    lane.deliver()
    lane.close()
    state = state_of(purchase)
    assert (state.state, state.accepted_status, state.due_at) == (State.HELD, "pending", None)


def test_an_order_held_while_its_worker_died_stays_held(credential: Any, vendor: Vendor, clock: Clock) -> None:
    purchase = place()
    relay_all()
    assert Lane(credential.pk, sender=vendor, clock=clock)._claim() is not None
    hold([state_of(purchase).subject_id])
    clock.forward(minutes=5)
    assert deliver(credential, sender=vendor, clock=clock) == 0
    release([state_of(purchase).subject_id])
    deliver(credential, sender=vendor, clock=clock)
    assert state_of(purchase).state == State.IN_SYNC


def test_connections_are_kept_alive_and_requests_run_at_once(live: Any, optico: Any) -> None:
    live.concurrency = 4
    live.save()
    optico.config(latency=0.02)
    for number in range(40):
        place(str(number))
    deliver(live)
    journal = optico.journal()
    assert len(journal) == 40
    assert len({entry["connection"] for entry in journal}) <= 4
    assert Purchase.objects.count() == SyncState.objects.filter(state=State.IN_SYNC).count()


@pytest.mark.parametrize(
    ("fault", "sends", "final"),
    [
        ("500", 2, State.IN_SYNC),
        ("503", 2, State.IN_SYNC),
        ({"kind": "429", "retry_after": 1}, 2, State.IN_SYNC),
        ("drop_before", 4, State.IN_SYNC),
        ("drop_after", 4, State.IN_SYNC),
        ("html200", 2, State.IN_SYNC),
        ("truncated", 2, State.IN_SYNC),
        ({"kind": "drip", "interval": 0.3}, 4, State.IN_SYNC),
        ("html403", 1, State.WAITING),
    ],
)
def test_every_fault_of_the_sandbox_ends_well(
    live: Any, optico: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: Any, sends: int, final: str
) -> None:
    monkeypatch.setattr(type(live.spec), "timeout", type(live.spec.timeout)(connect=1.0, total=1.0))
    optico.script("1001", [fault])
    purchase = place("1001", "confirmed")
    for _ in range(5):
        deliver(live, clock=clock)
        clock.forward(minutes=20)
    assert len(optico.journal("1001")) == sends
    assert state_of(purchase).state == final
    if final == State.IN_SYNC:
        assert optico.order("1001")["conversions"] == 1


def test_due_rows_wait_for_their_time(credential: Any, vendor: Vendor, clock: Clock) -> None:
    purchase = place()
    relay_all()
    SyncState.objects.update(due_at=clock.now + timedelta(seconds=5))
    assert deliver(credential, sender=vendor, clock=clock) == 0
    clock.forward(seconds=6)
    assert deliver(credential, sender=vendor, clock=clock) == 1
    assert state_of(purchase).state == State.IN_SYNC
