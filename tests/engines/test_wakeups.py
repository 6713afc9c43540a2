"""Wake-ups: at most one out for each lane, none in the way of a checkout, and none that anything depends on."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import insight, resync, wakeups
from optico_sync.engines.task import run
from optico_sync.models import OutboxEvent, RelayState, Subject, SyncState, Wakeup, Worker
from optico_sync.models.clock import database_now
from optico_sync.models.wakeups import RELAY
from optico_sync.relay import relay_all
from tests.engines.recording import PATH, RecordingEngine
from tests.helpers import make_credential, place
from tests.oddshop.models import Purchase
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC

Recording = type[RecordingEngine]
LOST_AFTER = timedelta(seconds=60)


def take(lane: int, *, after: float = 0) -> str:
    now = database_now("default") + timedelta(seconds=after)
    return Wakeup.objects.take(lane, now=now, lost_after=LOST_AFTER)


# at most one


@pytest.mark.django_db
def test_at_most_one_wakeup_waits_for_a_lane(engine: Recording) -> None:
    assert [wakeups.wake(7), wakeups.wake(7), wakeups.wake(8)] == [True, False, True]
    assert [lane for lane, _token in engine.waiting] == [7, 8]


@pytest.mark.django_db
def test_a_wakeup_that_is_at_work_lets_no_second_out_and_is_followed_by_one() -> None:
    token = take(7)
    assert Wakeup.objects.begin(7, token, now=database_now("default"))
    assert take(7) == ""
    assert Wakeup.objects.end(7, token)
    assert take(7)


@pytest.mark.django_db
def test_what_asks_before_the_work_begins_is_served_by_it() -> None:
    token = take(7)
    take(7)
    Wakeup.objects.begin(7, token, now=database_now("default"))
    assert not Wakeup.objects.end(7, token)


@pytest.mark.django_db
def test_a_lost_wakeup_is_replaced_and_no_longer_counts() -> None:
    lost = take(7)
    assert take(7, after=59) == ""
    newer = take(7, after=61)
    assert newer
    assert not Wakeup.objects.begin(7, lost, now=database_now("default"))
    assert not Wakeup.objects.end(7, lost)
    assert Wakeup.objects.begin(7, newer, now=database_now("default"))


@pytest.mark.django_db
def test_a_wakeup_that_could_not_be_sent_is_not_out(engine: Recording) -> None:
    def down() -> None:
        raise ConnectionError

    engine.broker = staticmethod(down)
    with pytest.raises(ConnectionError):
        wakeups.wake(7)
    engine.reset()
    assert wakeups.wake(7)


# the checkout


@pytest.mark.django_db
def test_the_checkout_still_pays_one_statement(engine: Recording, django_capture_on_commit_callbacks: Any) -> None:
    """G2: the wake-up costs it no query, not even at the commit."""
    purchase = Purchase.objects.create(number="1")
    relay_all()
    with CaptureQueriesContext(connection) as captured, django_capture_on_commit_callbacks(execute=True) as callbacks:
        purchase.save()
    assert len(captured) == 2
    assert callbacks == [wakeups.ring]


@pytest.mark.django_db(transaction=True)
def test_a_committed_change_wakes_the_relay_from_another_thread(engine: Recording) -> None:
    place()
    wait_until(lambda: bool(engine.waiting), 20)
    assert [lane for lane, _token in engine.waiting] == [RELAY]
    assert threading.current_thread() not in engine.threads


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_change_wakes_nobody(engine: Recording) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        place()
        raise ZeroDivisionError
    assert not wakeups._bell._times


@pytest.mark.django_db(transaction=True)
def test_a_hundred_changes_are_one_wakeup(engine: Recording) -> None:
    for number in range(100):
        Purchase.objects.create(number=str(number))
        wakeups.ring()
    wait_until(lambda: bool(engine.waiting) and not wakeups._bell._times, 20)
    assert len(engine.waiting) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_hangs_holds_up_no_checkout(engine: Recording) -> None:
    answered = threading.Event()
    engine.broker = staticmethod(lambda: answered.wait(60) and None)
    place("1001")
    wait_until(lambda: bool(engine.threads), 20)
    # Its send has not come back, and the shop goes on.
    place("1002")
    assert not engine.waiting
    assert set(OutboxEvent.objects.exclude(reference="").values_list("reference", flat=True)) == {"1001", "1002"}
    answered.set()
    wait_until(lambda: bool(engine.waiting), 20)


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_breaks_no_checkout_and_the_round_finds_the_work(
    engine: Recording, optico: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "REST", 0.0)

    def down() -> None:
        raise ConnectionError("amqp://shop:secret@broker")

    engine.broker = staticmethod(down)
    make_credential(optico.url)
    with caplog.at_level(logging.WARNING):
        place("1001", "confirmed")
        wait_until(lambda: "could not be woken" in caplog.text, 20)
    assert "secret" not in caplog.text
    wait_until(lambda: not wakeups._bell._times, 20)
    engine.reset()
    wakeups.make_round()
    engine.run_all()
    assert optico.order("1001")["status"] == "confirmed"


@pytest.mark.django_db(transaction=True)
def test_an_engine_that_cannot_be_loaded_breaks_no_checkout() -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": "no.such.Engine"}):
        Purchase.objects.create(number="1")
    assert OutboxEvent.objects.count() == 1


@pytest.mark.django_db
def test_an_engine_without_wakeups_leaves_no_trace_in_the_shop(django_capture_on_commit_callbacks: Any) -> None:
    deaf = override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": f"{__name__}.Deaf"})
    with deaf, django_capture_on_commit_callbacks() as callbacks:
        Purchase.objects.create(number="1")
    assert callbacks == []


class Deaf(wakeups.Engine):
    wakes = False


@pytest.mark.django_db(transaction=True)
def test_the_engine_is_told_when_the_quiet_period_is_over(engine: Recording) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH, "QUIET_PERIOD": 3600}):
        Purchase.objects.create(number="1")
        assert len(wakeups._bell._times) == 1
        for _ in range(9):
            Purchase.objects.create(number="1")
        # Everything within the interval, together.
        assert len(wakeups._bell._times) == 2
        assert not engine.waiting
        wakeups._new_bell()


# the tasks


@pytest.mark.django_db(transaction=True)
def test_one_task_is_one_batch_and_wakes_the_next(engine: Recording, optico: Any) -> None:
    credential = make_credential(optico.url)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": f"{__name__}.Quiet", "BATCH_SIZE": 2}):
        for number in range(5):
            place(f"N-{number}")
        wakeups.make_round()
        lanes = engine.run_all()
    assert lanes == [RELAY, *[credential.pk] * 4]
    assert optico.summary()["orders"] == 5


class Quiet(RecordingEngine):
    """Sends what it is asked to, and is not told of commits: the order of things is the test's alone."""

    wakes = False


@pytest.fixture
def quiet(engine: Recording) -> Any:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": f"{__name__}.Quiet"}):
        yield engine


@pytest.mark.django_db
def test_the_relay_wakes_only_lanes_that_have_work_and_may_do_it(quiet: Recording) -> None:
    able = make_credential(name="able")
    paused = make_credential(name="paused")
    paused.pause("key_refused", "", database_now("default"))
    paused.save()
    silent = make_credential(name="silent")
    silent.open_until = database_now("default") + timedelta(hours=1)
    silent.save()
    place()
    wakeups.make_round()
    run(*quiet.waiting.pop())
    assert [lane for lane, _token in quiet.waiting] == [able.pk]


@pytest.mark.django_db
def test_a_slow_vendor_keeps_one_process_busy_and_no_more(quiet: Recording) -> None:
    """G6: however often the round comes by, its lane gets no second task, and the other lane gets its own."""
    slow, quick = make_credential(name="slow"), make_credential(name="quick")
    place()
    at_work = take(slow.pk)
    Wakeup.objects.begin(slow.pk, at_work, now=database_now("default"))
    for _ in range(3):
        wakeups.make_round()
        relay = next(waiting for waiting in quiet.waiting if waiting[0] == RELAY)
        quiet.waiting.remove(relay)
        run(*relay)
    assert [lane for lane, _token in quiet.waiting] == [quick.pk]


@pytest.mark.django_db
def test_an_idle_round_wakes_no_lane(quiet: Recording) -> None:
    make_credential()
    wakeups.make_round()
    assert quiet.run_all() == [RELAY]


@pytest.mark.django_db(transaction=True)
def test_the_round_finds_a_retry_that_has_become_due(quiet: Recording, optico: Any) -> None:
    make_credential(optico.url)
    place("1001", "confirmed")
    optico.script("1001", ["503"])
    wakeups.make_round()
    quiet.run_all()
    assert SyncState.objects.get().state == SyncState.State.RETRYING
    SyncState.objects.update(due_at=database_now("default"))
    wakeups.make_round()
    quiet.run_all()
    assert optico.order("1001")["status"] == "confirmed"


@pytest.mark.django_db
def test_a_task_whose_wakeup_was_replaced_does_nothing(quiet: Recording) -> None:
    place()
    run(RELAY, "of yesterday")
    assert OutboxEvent.objects.filter(relayed_at__isnull=True).exists()
    assert not Worker.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_task_that_fails_says_no_word_of_the_row_and_lets_the_next_one_out(
    quiet: Recording, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optico_sync.models.OutboxEvent._meta.db_table", "no_such_table")
    wakeups.make_round()
    quiet.run_all()
    assert "failed (" in caplog.text and "no_such_table" not in caplog.text
    assert wakeups.wake(RELAY)


# what the operator sees


@pytest.mark.django_db(transaction=True)
def test_the_tasks_of_a_machine_are_one_running_worker(quiet: Recording, optico: Any) -> None:
    make_credential(optico.url)
    place("1001")
    for _ in range(2):
        wakeups.make_round()
        quiet.run_all()
    worker = Worker.objects.get()
    assert (worker.name.partition("@")[0], worker.delivered) == ("Quiet", 1)
    assert insight.heartbeat().running == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("engine_name", "state"), [("embedded", "silent"), ("celery", "running")])
def test_a_worker_that_only_runs_tasks_may_be_silent_until_the_next_round(engine_name: str, state: str) -> None:
    now = database_now("default")
    worker = Worker(engine=engine_name, started_at=now, beat_at=now - timedelta(seconds=90))
    assert insight.worker_state(worker, now) == state


@pytest.mark.django_db
def test_the_last_round_is_told_and_a_late_one_too(engine: Recording) -> None:
    assert insight.last_round().is_late and insight.last_round().last_at is None
    wakeups.make_round()
    assert not insight.last_round().is_late
    RelayState.objects.update(round_at=database_now("default") - timedelta(minutes=4))
    assert insight.last_round().is_late and "optico_round" in str(insight.last_round().hint)


@pytest.mark.django_db
def test_round_command(engine: Recording) -> None:
    call_command("optico_round", stdout=StringIO())
    assert [lane for lane, _token in engine.waiting] == [RELAY]


@pytest.mark.django_db
def test_round_command_says_that_the_broker_is_down(engine: Recording) -> None:
    def down() -> None:
        raise ConnectionError("amqp://shop:secret@broker")

    engine.broker = staticmethod(down)
    with pytest.raises(CommandError, match="nothing is lost") as failed:
        call_command("optico_round")
    assert "secret" not in str(failed.value)


def test_round_command_is_not_for_the_embedded_engine() -> None:
    with pytest.raises(CommandError, match="optico_worker"):
        call_command("optico_round")


VERBS = {
    "resend": (SyncState.State.IN_SYNC, {}),
    "release": (SyncState.State.HELD, {"is_held": True}),
    "send_after_all": (SyncState.State.NOT_SENT, {"is_held": True, "is_withheld": True}),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", VERBS)
def test_what_an_operator_leaves_to_send_does_not_rest(engine: Recording, verb: str) -> None:
    state, fields = VERBS[verb]
    make_credential()
    make_credential(name="second")
    with override_settings(OPTICO_SYNC=OPTICO_SYNC):
        for number in range(3):
            place(str(number))
        relay_all()
    SyncState.objects.update(state=state, **fields)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH, "QUIET_PERIOD": 3600}):
        with transaction.atomic():
            assert getattr(resync, verb)(list(Subject.objects.values_list("pk", flat=True))) == 6
            assert not engine.waiting
        wait_until(lambda: bool(engine.waiting), 20)
        assert [lane for lane, _token in engine.waiting] == [RELAY]


def test_what_does_not_rest_overtakes_what_does() -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": f"{__name__}.Counting"}):
        bell = wakeups._Bell()
        bell.ring(3600.0)
        bell.ring(0.0)
        wait_until(lambda: bool(Counting.announced), 20)
        wait_until(lambda: len(bell._times) == 1, 20)


def test_what_comes_later_leaves_the_thread_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change that woke it would pay for it in its checkout."""
    bell, woken = wakeups._Bell(), []
    bell.ring(3600.0)
    monkeypatch.setattr(bell._changed, "notify", lambda: woken.append("up"))
    bell.ring(3600.0)
    assert (len(bell._times), woken) == (2, [])
    bell.ring(60.0)
    assert (len(bell._times), woken) == (3, ["up"])


class Counting(wakeups.Engine):
    announced: list[float] = []

    def announce(self) -> None:
        self.announced.append(0.0)


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["hold", "withhold", "confirm", "release", "send_after_all"])
def test_a_verb_that_leaves_nothing_to_send_wakes_nobody(verb: str, django_capture_on_commit_callbacks: Any) -> None:
    make_credential()
    place()
    relay_all()
    listening = override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH})
    with listening, django_capture_on_commit_callbacks() as callbacks:
        getattr(resync, verb)(list(Subject.objects.values_list("pk", flat=True)))
    assert callbacks == []


@pytest.mark.django_db
def test_many_orders_ring_once(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "batched", lambda items, size: ([item] for item in items))
    make_credential()
    for number in range(3):
        place(str(number))
    relay_all()
    listening = override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": PATH})
    with listening, django_capture_on_commit_callbacks() as callbacks:
        resync.resend(list(Subject.objects.values_list("pk", flat=True)))
    assert len(callbacks) == 1
