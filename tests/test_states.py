"""The queue's own rules, and what the vendor is left with after everything that can go wrong.

The simulation runs the real rows: two workers, saves, time-outs that take effect late, lost answers, kills, pauses
beyond the lease, on a clock in the test's hand.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from optico_sync.models import Step, SyncState, VendorCredential, Verdict
from optico_sync.models.sync import MAX_QUEUE, REPEAT_DELAYS
from optico_sync.outcome import REASONS, delivered, not_sent, refused, retry

State = SyncState.State
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(**fields: object) -> SyncState:
    return SyncState(**fields)


def saved(state: SyncState, *statuses: str, at: datetime = START) -> SyncState:
    state.change(statuses=statuses, due_at=at)
    return state


def settle(state: SyncState, outcome: object, *, index: int = 0, generation: int | None = None) -> None:
    steps = state.steps()
    verdict = Verdict(step=steps[index], outcome=outcome, was_sent=True, declared="d")  # type: ignore[arg-type]
    generation = state.generation if generation is None else generation
    state.settle([verdict], generation=generation, now=START, vendor_is_down=False)


def test_every_state_has_a_label_and_a_sentence_nowhere_empty() -> None:
    assert {str(label) for label in State.labels} == {
        "waiting",
        "retrying",
        "in sync",
        "refused",
        "not sent",
        "held",
    }
    assert len(State) == 6


def test_repeated_saves_under_one_status_collapse() -> None:
    state = saved(saved(row(), "pending"), "pending", "confirmed", "confirmed")
    assert (state.queue, state.generation) == (["pending", "confirmed"], 2)


def test_the_queue_is_bounded_and_keeps_the_newest() -> None:
    state = row()
    for number in range(MAX_QUEUE + 10):
        saved(state, f"s{number}")
    assert len(state.queue) == MAX_QUEUE
    assert state.queue[-1] == f"s{MAX_QUEUE + 9}"


def test_a_change_does_not_hurry_a_vendor_that_asked_to_wait() -> None:
    state = saved(row(), "pending")
    state.lease = "x"
    settle(state, retry("rate_limited", retry_after=600))
    saved(state, "confirmed", at=START + timedelta(seconds=5))
    assert state.due_at == START + timedelta(seconds=600)


def test_a_change_during_a_send_leaves_the_lease_alone_and_is_due_after_it() -> None:
    state = saved(row(), "pending")
    generation = state.generation
    state.lease, state.due_at = "token", START + timedelta(seconds=60)
    saved(state, "confirmed")
    assert state.due_at == START + timedelta(seconds=60)
    settle(state, delivered(), generation=generation)
    assert (state.state, state.due_at, state.queue, state.lease) == (State.WAITING, START, ["confirmed"], "")


def test_a_refused_last_status_is_parked_and_kept() -> None:
    state = saved(row(), "pending")
    settle(state, refused("unknown_status"))
    assert (state.state, state.queue, state.tried, state.due_at) == (State.REFUSED, ["pending"], 1, None)
    saved(state, "confirmed")
    assert [step.shop_status for step in state.steps()] == ["pending", "confirmed"]


def test_a_delivered_later_status_drops_what_was_parked_before_it() -> None:
    state = saved(row(), "pending", "confirmed")
    verdicts = [
        Verdict(step=Step(shop_status="pending", index=0), outcome=refused("unmapped_status")),
        Verdict(step=Step(shop_status="confirmed", index=1), outcome=delivered(), was_sent=True, declared="confirmed"),
    ]
    state.settle(verdicts, generation=state.generation, now=START, vendor_is_down=False)
    assert (state.state, state.queue, state.refused_status, state.reason) == (State.IN_SYNC, [], "", "")


def test_all_left_out_on_purpose_is_not_sent() -> None:
    state = saved(row(), "internal")
    settle(state, not_sent("status_not_sent"))
    assert (state.state, state.reason, state.queue, state.due_at) == (State.NOT_SENT, "status_not_sent", [], None)


def test_newer_content_waits_behind_a_parked_status_and_is_told_under_the_accepted_one() -> None:
    state = saved(row(), "confirmed")
    settle(state, delivered())
    saved(state, "weird")
    assert [(step.shop_status, step.index) for step in state.steps()] == [("weird", 0), ("confirmed", None)]


def test_refused_newer_content_does_not_loop() -> None:
    state = saved(row(), "confirmed")
    settle(state, delivered())
    saved(state)
    settle(state, refused("missing_parameter"))
    assert (state.state, state.due_at, state.steps()) == (State.REFUSED, None, [])


def test_resend_of_something_in_sync_tells_the_last_status_again() -> None:
    state = saved(row(), "confirmed")
    settle(state, delivered())
    state.resend(status="confirmed", due_at=START)
    assert [step.index for step in state.steps()] == [None]
    assert state.is_repeat
    settle(state, delivered())
    assert (state.state, state.is_forced) == (State.IN_SYNC, False)


def test_resend_tells_a_status_that_was_never_captured() -> None:
    state = saved(row(), "confirmed")
    settle(state, delivered())
    state.resend(status="shipped", due_at=START)
    assert state.queue == ["shipped"]


def test_hold_keeps_what_waits_and_release_is_not_needed_to_collect() -> None:
    state = saved(row(), "pending")
    state.hold()
    saved(state, "confirmed")
    assert (state.state, state.queue, state.due_at) == (State.HELD, ["pending", "confirmed"], None)


def test_a_deleted_order_ends_its_repeats() -> None:
    state = saved(row(), "confirmed")
    settle(state, delivered())
    state.repeats = 2
    verdict = Verdict(step=state.steps()[0], outcome=not_sent("order_deleted"), is_final=True)
    state.settle([verdict], generation=state.generation, now=START, vendor_is_down=False)
    assert (state.state, state.due_at, state.repeats) == (State.IN_SYNC, None, 0)


def test_a_vendor_may_say_more_than_the_general_advice() -> None:
    credential = VendorCredential(vendor="optico", is_enabled=True)
    state = row(state=State.REFUSED, reason="unknown_status", credential=credential)
    assert "Agents / Paramètres" in str(state.shown_reason.advice)
    assert state.shown_reason.text == REASONS["unknown_status"].text


def test_a_vendor_no_longer_there_does_not_break_the_page() -> None:
    state = row(state=State.REFUSED, reason="refused", credential=VendorCredential(vendor="gone", is_enabled=True))
    assert state.shown_reason.advice == REASONS["refused"].advice


# Simulation


@dataclass
class World:
    """One order, one vendor, several workers, and everything that can go wrong between them."""

    dice: random.Random
    state: SyncState = field(default_factory=row)
    now: datetime = START
    shop_status: str = ""
    shop_content: int = 0
    #: What the vendor applied, in the order it did.
    applied: list[tuple[str, int]] = field(default_factory=list)
    transitions: list[str] = field(default_factory=list)
    #: Requests under way that the vendor applies when their time comes.
    late: list[tuple[datetime, tuple[str, int]]] = field(default_factory=list)
    #: Workers that sent and have not settled: when they wake, lease, generation, verdict.
    asleep: list[tuple[datetime, str, int, Verdict]] = field(default_factory=list)
    tokens: itertools.count = field(default_factory=itertools.count)

    def save(self) -> None:
        self.shop_content += 1
        if not self.shop_status or self.dice.random() < 0.7:
            self.shop_status = self.dice.choice(["pending", "confirmed", "shipped", "refunded"])
            if not self.transitions or self.transitions[-1] != self.shop_status:
                self.transitions.append(self.shop_status)
        self.state.change(statuses=[self.shop_status], due_at=self.now)

    def work(self, *, calm: bool) -> None:
        """A worker claims if something is due, sends, and settles now, later or never."""
        state = self.state
        if state.due_at is None or state.due_at > self.now:
            return
        if state.lease:
            state.repeats = len(REPEAT_DELAYS)
        state.lease = str(next(self.tokens))
        state.due_at = self.now + timedelta(seconds=60)
        steps = state.steps()
        generation, lease = state.generation, state.lease
        if not steps:
            step = Step(shop_status=self.shop_status, index=None)
            verdict = Verdict(step=step, outcome=not_sent("never_offered"), is_final=True)
            state.settle([verdict], generation=generation, now=self.now, vendor_is_down=False)
            return
        told = (steps[0].shop_status, self.shop_content)
        fate = "fine" if calm else self.dice.choices(["fine", "late", "lost", "sleeps", "killed"], [6, 1, 1, 1, 1])[0]
        outcome = delivered() if fate in ("fine", "sleeps") else retry("timeout", ambiguous=True)
        verdict = Verdict(step=steps[0], outcome=outcome, was_sent=True, declared=steps[0].shop_status)
        wakes = self.now + timedelta(seconds=self.dice.uniform(1, 600))
        if fate == "late" or (fate in ("sleeps", "killed") and self.dice.random() < 0.5):
            # A worker may be suspended before the request leaves; then it leaves when the worker wakes.
            self.late.append((wakes, told))
        else:
            self.apply(told)
        if fate == "sleeps":
            self.asleep.append((wakes, lease, generation, verdict))
        elif fate != "killed":
            state.settle([verdict], generation=generation, now=self.now, vendor_is_down=False)

    def apply(self, told: tuple[str, int]) -> None:
        self.applied.append(told)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for request in [item for item in self.late if item[0] <= self.now]:
            self.late.remove(request)
            self.apply(request[1])
        for sleeper in [item for item in self.asleep if item[0] <= self.now]:
            self.asleep.remove(sleeper)
            _wakes, lease, generation, verdict = sleeper
            if self.state.lease == lease:
                self.state.settle([verdict], generation=generation, now=self.now, vendor_is_down=False)
            else:
                self.state.doubt(self.now, repeats=len(REPEAT_DELAYS))


def run(seed: int) -> World:
    world = World(random.Random(seed))
    world.save()
    for _ in range(world.dice.randint(3, 25)):
        if world.dice.random() < 0.4:
            world.save()
        world.work(calm=False)
        world.pass_time(world.dice.choice([0.1, 1, 5, 30, 61, 120]))
    for _ in range(400):
        world.work(calm=True)
        world.pass_time(10)
    return world


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_after_everything_that_can_go_wrong_the_vendor_holds_the_newest(first: int) -> None:
    for seed in range(first, first + 250):
        world = run(seed)
        assert world.applied[-1] == (world.shop_status, world.shop_content), seed
        assert (world.state.state, world.state.due_at) == (State.IN_SYNC, None), seed
        told = iter(status for status, _content in world.applied)
        assert all(status in told for status in world.transitions), f"a transition is missing in seed {seed}"
