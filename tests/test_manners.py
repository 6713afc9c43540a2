"""What a vendor is told: every status, only the newest state, or once. With vendors that the app does not know."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from optico_sync.delivery import Lane
from optico_sync.exceptions import NoAnswer, NotConnected
from optico_sync.models import Attempt, DeclaredStatus, SyncState, VendorCredential
from optico_sync.outcome import retry
from optico_sync.relay import relay_all
from optico_sync.resync import hold, release, resend
from optico_sync.vendors.base import Request, Response
from tests.helpers import STATUSES, Clock, deliver, move, place, state_of
from tests.settings import OPTICO_SYNC

State = SyncState.State
TINY = {name: f"tests.vendors.tiny.{name.title()}" for name in ("newest", "once", "careful", "slow")}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def known() -> Any:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "VENDORS": TINY}):
        yield


def account_at(vendor: str, **options: Any) -> VendorCredential:
    credential = VendorCredential(
        name=vendor,
        vendor=vendor,
        base_url="https://tiny.example",
        is_enabled=True,
        start_at=datetime(2000, 1, 1, tzinfo=UTC),
        options=options,
    )
    credential.set_secrets({"token": "t0ken"})
    credential.save()
    for status, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=status, is_sale=is_sale)
    return credential


class Tiny:
    """The other end."""

    def __init__(self, *failures: Exception) -> None:
        self.told: list[dict[str, Any]] = []
        self.at: list[float] = []
        self.failures = list(failures)

    def __call__(self, vendor: object, connections: int) -> Tiny:
        return self

    def send(self, request: Request) -> Response:
        self.at.append(time.monotonic())
        self.told.append(json.loads(request.body))
        if self.failures:
            raise self.failures.pop(0)
        return Response(status=200, headers={}, body=b"ok")

    def close(self) -> None:
        pass

    @property
    def statuses(self) -> list[str]:
        return [told["status"] for told in self.told]


@pytest.fixture
def tiny() -> Tiny:
    return Tiny()


def deliver_to(credential: VendorCredential, tiny: Tiny) -> Callable[..., int]:
    return lambda **options: deliver(credential, sender=tiny, **options)


# newest


def test_newest_skips_what_was_between(tiny: Tiny) -> None:
    credential = account_at("newest")
    purchase = place("1", "pending")
    move(purchase, "confirmed")
    move(purchase, "shipped")
    deliver(credential, sender=tiny)
    assert [(told["status"], told["sale"]) for told in tiny.told] == [("shipped", True)]
    state = state_of(purchase)
    assert (state.state, state.accepted_status, state.queue) == (State.IN_SYNC, "shipped", [])


def test_newest_is_told_again_only_when_something_changed(tiny: Tiny) -> None:
    credential = account_at("newest")
    purchase = place("1", "pending")
    deliver(credential, sender=tiny)
    purchase.save()
    deliver(credential, sender=tiny)
    move(purchase, "refunded")
    deliver(credential, sender=tiny)
    assert tiny.statuses == ["pending", "refunded"]


def test_newest_waiting_for_a_retry_is_superseded(clock: Clock) -> None:
    """OM-14: ``pending`` waits for its retry, ``confirmed`` is saved: one request, with ``confirmed``."""
    tiny = Tiny(NotConnected("refused"))
    credential = account_at("newest")
    purchase = place("1", "pending")
    deliver(credential, sender=tiny, clock=clock)
    move(purchase, "confirmed")
    clock.forward(minutes=1)
    deliver(credential, sender=tiny, clock=clock)
    assert tiny.statuses == ["pending", "confirmed"]


def test_newest_repeats_after_an_ambiguous_attempt(clock: Clock) -> None:
    tiny = Tiny(NoAnswer("lost", timed_out=True))
    credential = account_at("newest")
    purchase = place("1", "confirmed")
    for _ in range(6):
        deliver(credential, sender=tiny, clock=clock)
        clock.forward(minutes=20)
    assert len(tiny.told) == 4
    assert (state_of(purchase).state, state_of(purchase).due_at) == (State.IN_SYNC, None)


def test_newest_unmapped_waits_and_is_released(tiny: Tiny) -> None:
    credential = account_at("newest")
    purchase = place("1", "Being processed")
    deliver(credential, sender=tiny)
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.REFUSED, "unmapped_status")
    DeclaredStatus.objects.create(credential=credential, name="Being processed")
    deliver(credential, sender=tiny)
    assert tiny.statuses == ["Being processed"]
    assert state_of(purchase).state == State.IN_SYNC


def test_newest_can_be_sent_again_and_held(tiny: Tiny) -> None:
    credential = account_at("newest")
    purchase = place("1", "confirmed")
    deliver(credential, sender=tiny)
    subject = state_of(purchase).subject_id
    resend([subject])
    deliver(credential, sender=tiny)
    assert tiny.statuses == ["confirmed", "confirmed"]
    hold([subject])
    move(purchase, "shipped")
    deliver(credential, sender=tiny)
    release([subject])
    deliver(credential, sender=tiny)
    assert tiny.statuses == ["confirmed", "confirmed", "shipped"]


# once


def test_once_waits_for_a_sale_and_is_never_told_again(tiny: Tiny) -> None:
    """OZ-13, GR-04."""
    credential = account_at("once")
    purchase = place("1", "pending")
    deliver(credential, sender=tiny)
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.NOT_SENT, "not_a_sale")
    for stage in ("confirmed", "shipped", "refunded", "confirmed"):
        move(purchase, stage)
        deliver(credential, sender=tiny)
    purchase.things.first().save()
    deliver(credential, sender=tiny)
    assert resend([state_of(purchase).subject_id]) == 0
    deliver(credential, sender=tiny)
    assert tiny.statuses == ["confirmed"]
    assert state_of(purchase).state == State.IN_SYNC


def test_once_held_by_hand_after_its_send_comes_back_in_sync(tiny: Tiny) -> None:
    credential = account_at("once")
    purchase = place("1", "confirmed")
    deliver(credential, sender=tiny)
    hold([state_of(purchase).subject_id])
    release([state_of(purchase).subject_id])
    deliver(credential, sender=tiny)
    assert (len(tiny.told), state_of(purchase).state, state_of(purchase).reason) == (1, State.IN_SYNC, "")


def test_once_is_retried_until_it_succeeds_but_not_repeated(clock: Clock) -> None:
    tiny = Tiny(NoAnswer("lost", timed_out=True))
    credential = account_at("once")
    place("1", "confirmed")
    for _ in range(6):
        deliver(credential, sender=tiny, clock=clock)
        clock.forward(minutes=20)
    assert len(tiny.told) == 2


def test_once_rests_for_its_hold_and_checks_the_status_again(tiny: Tiny, clock: Clock) -> None:
    """GR-06: confirmed, then cancelled during the hold: nothing."""
    credential = account_at("once", loud=True, age=2)
    kept, cancelled = place("kept", "confirmed"), place("cancelled", "confirmed")
    deliver(credential, sender=tiny, clock=clock)
    assert tiny.told == []
    state = state_of(kept)
    assert (state.state, state.reason) == (State.WAITING, "hold_period")
    move(cancelled, "cancelled")
    clock.forward(hours=1, minutes=50)
    assert deliver(credential, sender=tiny, clock=clock) == 1
    clock.forward(minutes=15)
    deliver(credential, sender=tiny, clock=clock)
    assert [told["id"] for told in tiny.told] == ["kept"]
    clock.forward(hours=2)
    deliver(credential, sender=tiny, clock=clock)
    assert state_of(cancelled).reason == "not_a_sale"


# once, in doubt


def test_oz_12_an_uncertain_send_is_repeated_three_times_and_then_refused(clock: Clock) -> None:
    tiny = Tiny(*[NoAnswer("lost", timed_out=True)] * 4)
    credential = account_at("careful")
    purchase = place("1", "confirmed")
    for _ in range(6):
        deliver(credential, sender=tiny, clock=clock)
        clock.forward(minutes=20)
    assert len(tiny.told) == 4
    state = state_of(purchase)
    assert (state.state, state.reason, state.due_at) == (State.REFUSED, "ambiguous", None)
    assert "Send again" in str(state.shown_reason.advice)
    assert Attempt.objects.latest("pk").reason == "ambiguous"


def test_in_doubt_an_edit_sends_nothing_but_a_hand_does(clock: Clock) -> None:
    tiny = Tiny(*[NoAnswer("lost", timed_out=True)] * 4)
    credential = account_at("careful")
    purchase = place("1", "confirmed")
    for _ in range(4):
        deliver(credential, sender=tiny, clock=clock)
        clock.forward(minutes=20)
    move(purchase, "shipped")
    deliver(credential, sender=tiny, clock=clock)
    assert (len(tiny.told), state_of(purchase).reason) == (4, "ambiguous")
    resend([state_of(purchase).subject_id])
    clock.forward(minutes=1)
    deliver(credential, sender=tiny, clock=clock)
    assert (len(tiny.told), state_of(purchase).state, state_of(purchase).doubts) == (5, State.IN_SYNC, 0)


def test_a_request_that_never_left_leaves_no_doubt(clock: Clock) -> None:
    tiny = Tiny(*[NotConnected("refused")] * 8)
    credential = account_at("careful")
    purchase = place("1", "confirmed")
    for _ in range(10):
        deliver(credential, sender=tiny, clock=clock)
        clock.forward(hours=13)
    assert (len(tiny.told), state_of(purchase).state) == (9, State.IN_SYNC)


def test_a_worker_that_died_with_it_leaves_a_doubt(tiny: Tiny, clock: Clock) -> None:
    credential = account_at("careful")
    purchase = place("1", "confirmed")
    relay_all()
    for _ in range(4):
        assert Lane(credential.pk, sender=tiny, clock=clock)._claim() is not None
        clock.forward(minutes=2)
    deliver(credential, sender=tiny, clock=clock)
    assert (tiny.told, state_of(purchase).reason) == ([], "ambiguous")


# rate


def test_om_13_never_more_than_four_requests_a_second(tiny: Tiny) -> None:
    credential = account_at("slow")
    for number in range(10):
        place(str(number), "confirmed")
    relay_all()
    end = time.monotonic() + 15
    while len(tiny.told) < 10 and time.monotonic() < end:
        deliver(credential, sender=tiny)
    times = sorted(tiny.at)
    assert len(times) == 10
    # Any five in a row take a second, give or take what a busy machine adds between the pace and the socket.
    assert min(later - earlier for earlier, later in zip(times, times[4:], strict=False)) >= 0.9
    credential.refresh_from_db()
    assert credential.next_slot_at is not None


def test_om_13_workers_share_the_slots(tiny: Tiny, clock: Clock) -> None:
    """What one worker reserved, another waits for: the limit is the key's, not the worker's."""
    credential = account_at("slow")
    for number in range(60):
        place(str(number), "confirmed")
    relay_all()
    first, second = (Lane(credential.pk, sender=tiny, clock=clock)._claim() for _ in range(2))
    assert first is not None and len(first.states) == 19
    # The first has all slots of the coming five seconds.
    assert second is None or second.pace._first >= 4.9
    credential.refresh_from_db()
    assert credential.next_slot_at >= clock.now + timedelta(seconds=4.9)


def test_om_15_a_halved_rate_spreads_its_slots(tiny: Tiny, clock: Clock) -> None:
    credential = account_at("slow")
    credential.heed([retry("rate_limited")], clock.now)
    credential.save()
    for number in range(60):
        place(str(number), "confirmed")
    relay_all()
    claim = Lane(credential.pk, sender=tiny, clock=clock)._claim()
    assert claim is not None and len(claim.states) == 9


def test_a_vendor_of_the_shops_own_needs_only_the_settings() -> None:
    assert account_at("newest").spec.label == "Newest"
