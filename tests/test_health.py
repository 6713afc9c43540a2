"""Is all well? And ``optico_health``, whose exit status says so."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from optico_sync import figures
from optico_sync.health import Level, health
from optico_sync.models import OutboxEvent, RelayState, Subject, Sweep, SyncState, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from optico_sync.sweep import sweep
from tests.helpers import Vendor, deliver, error, make_credential, place

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker() -> Worker:
    now = database_now("default")
    return Worker.objects.create(name="w", started_at=now, beat_at=now)


def codes() -> list[str]:
    return [problem.code for problem in health().problems]


def ago(**span: float) -> Any:
    return database_now("default") - timedelta(**span)


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("optico_health", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


# what is a problem


def test_a_shop_that_sends_nothing_is_fine() -> None:
    place()
    assert health().level == Level.FINE


def test_a_shop_that_delivers_is_fine(credential: VendorCredential, worker: Worker, vendor: Vendor) -> None:
    place(stage="confirmed")
    deliver(credential, sender=vendor)
    assert (health().level, codes()) == (Level.FINE, [])


def test_no_worker_is_broken(credential: VendorCredential) -> None:
    assert (health().level, codes()) == (Level.BROKEN, ["no_worker"])


def test_a_worker_that_fell_silent_is_broken(credential: VendorCredential, worker: Worker) -> None:
    Worker.objects.update(beat_at=ago(minutes=1))
    assert codes() == ["no_worker"]


def test_a_worker_that_cron_starts_is_fine_between_its_runs(credential: VendorCredential, worker: Worker) -> None:
    Worker.objects.update(beat_at=ago(minutes=5), stopped_at=ago(minutes=5))
    assert codes() == []
    Worker.objects.update(beat_at=ago(minutes=16), stopped_at=ago(minutes=16))
    assert codes() == ["no_worker"]


def test_an_app_that_is_silenced_is_broken(credential: VendorCredential, worker: Worker, settings: Any) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENABLED": False}
    assert (health().level, codes()) == (Level.BROKEN, ["disabled"])


def test_no_worker_is_needed_while_every_credential_is_off(credential: VendorCredential) -> None:
    VendorCredential.objects.update(is_enabled=False)
    assert codes() == []


def test_a_credential_that_its_owner_switched_off_is_no_problem(credential: VendorCredential, worker: Worker) -> None:
    place(stage="confirmed")
    deliver(credential, sender=Vendor(lambda form: error("no")))
    VendorCredential.objects.update(is_enabled=False, paused_at=ago(minutes=1), pause_reason="key_refused")
    assert codes() == []


def test_a_paused_credential_is_broken(credential: VendorCredential, worker: Worker) -> None:
    VendorCredential.objects.update(paused_at=ago(minutes=1), pause_reason="key_refused")
    (problem,) = health().problems
    assert (problem.level, problem.code, problem.credential) == (Level.BROKEN, "paused", credential)
    assert problem.text.startswith("The vendor refused the key. Type the right key into the credential.")


def test_an_open_breaker_is_degraded(credential: VendorCredential, worker: Worker) -> None:
    VendorCredential.objects.update(opened_at=ago(minutes=1), failures=5)
    assert (health().level, codes()) == (Level.DEGRADED, ["not_answering"])


def test_a_refused_order_is_degraded_until_it_is_held(credential: VendorCredential, worker: Worker) -> None:
    place(stage="confirmed")
    deliver(credential, sender=Vendor(lambda form: error("no")))
    assert (health().level, codes()) == (Level.DEGRADED, ["refused"])
    SyncState.objects.update(state="held", is_held=True)
    assert codes() == []


def test_an_order_that_waits_long_is_degraded(credential: VendorCredential, worker: Worker) -> None:
    place()
    relay_all()
    assert codes() == []
    SyncState.objects.update(due_at=ago(minutes=16))
    assert (health().level, codes()) == (Level.DEGRADED, ["late"])
    SyncState.objects.update(reason="hold_period", due_at=ago(hours=-1))
    assert codes() == []


def test_an_order_that_is_tried_for_long_is_degraded(credential: VendorCredential, worker: Worker) -> None:
    place()
    relay_all()
    SyncState.objects.update(state="retrying", attempts=6, due_at=ago(hours=-2))
    assert codes() == []
    SyncState.objects.update(attempts=7)
    assert codes() == ["late"]


def test_an_old_order_that_is_sent_again_is_not_late(credential: VendorCredential, worker: Worker) -> None:
    place()
    relay_all()
    Subject.objects.update(changed_at=ago(days=20))
    assert codes() == []


def test_orders_that_wait_while_a_new_key_is_tried_are_late(credential: VendorCredential, worker: Worker) -> None:
    place()
    relay_all()
    VendorCredential.objects.update(opened_at=ago(minutes=20), open_reason="new_key")
    assert codes() == []
    SyncState.objects.update(due_at=ago(minutes=16))
    assert codes() == ["late"]


def test_a_cart_that_waits_long_is_nobodys_worry(credential: VendorCredential, worker: Worker) -> None:
    place()
    relay_all()
    Subject.objects.update(kind="cart")
    SyncState.objects.update(due_at=ago(minutes=16))
    assert codes() == []


def test_changes_that_no_relay_takes_up_are_broken(credential: VendorCredential, worker: Worker) -> None:
    place()
    OutboxEvent.objects.update(created_at=ago(minutes=16))
    assert (health().level, codes()) == (Level.BROKEN, ["not_taken_up"])


def test_changes_that_were_lost_are_degraded_for_a_day(worker: Worker) -> None:
    RelayState.objects.create(missed_captures=2, last_missed_at=ago(hours=23))
    assert (health().level, codes()) == (Level.DEGRADED, ["missed"])
    RelayState.objects.update(last_missed_at=ago(hours=25))
    assert codes() == []


def test_a_sweep_that_no_longer_comes_is_a_reason_to_look(credential: VendorCredential, worker: Worker) -> None:
    for _chunk in sweep():
        pass
    assert codes() == []
    Sweep.objects.update(finished_at=ago(hours=1, minutes=1))
    assert (health().level, codes()) == (Level.DEGRADED, ["not_swept"])
    assert health().as_dict()["sweep"]["swept_at"]


def test_the_worst_comes_first(credential: VendorCredential) -> None:
    VendorCredential.objects.update(opened_at=ago(minutes=1), failures=5)
    assert codes() == ["no_worker", "not_answering"]


# the numbers


def test_it_tells_clocks_and_totals_of_every_credential(
    credential: VendorCredential, worker: Worker, vendor: Vendor
) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=vendor)
    make_credential(name="second")
    place("1002")
    relay_all()
    first, second = health().as_dict()["credentials"]
    assert first["totals"] | {"in_sync": 1, "waiting": 1} == first["totals"]
    assert second["totals"] | {"not_sent": 1, "waiting": 1} == second["totals"]
    assert first["orders"] == second["orders"] == Subject.objects.count() == 2
    assert first["last_delivery_at"] and not second["last_delivery_at"]
    changed_at = Subject.objects.get(reference="1002").changed_at
    assert second["oldest_waiting_since"] == changed_at.isoformat(timespec="milliseconds")


def test_it_costs_the_same_however_many_there_are(credential: VendorCredential, worker: Worker) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            health().as_dict()
        return len(queries)

    place()
    relay_all()
    before = cost()
    for number in range(20):
        place(f"2{number}")
    make_credential(name="second")
    relay_all()
    assert cost() == before == 13


def test_totals_of_very_many_orders_are_those_a_worker_counted(
    credential: VendorCredential, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_credential(name="second")
    for number in ("1", "2"):
        place(number)
    relay_all()
    monkeypatch.setattr(figures, "COUNTED_AT_ONCE", 1)
    uncounted = health().as_dict()["credentials"]
    assert [(one["totals"], one["orders"]) for one in uncounted] == [(None, None)] * 2
    for _twice in range(2):
        figures.take_readings()
    with CaptureQueriesContext(connection) as queries:
        counted = health().as_dict()["credentials"]
    assert [(one["totals"]["waiting"], one["orders"]) for one in counted] == [(2, 2)] * 2
    assert all(one["counted_at"] for one in counted)
    assert len(queries) <= 13


def test_it_tells_no_personal_data(credential: VendorCredential, worker: Worker) -> None:
    place("1001", operator="Anna Smith", visit="3617898c651df0f8617f70a0", call="77001")
    credential.pause("key_refused", "Invalid API key for anna@example.com", database_now("default"))
    credential.save()
    relay_all()
    told = json.dumps(health().as_dict())
    assert not [word for word in ("Anna", "anna@", "3617898c", "77001", "1001", "cust_") if word in told]


# the command


def test_exit_status_says_how_bad_it_is(credential: VendorCredential, worker: Worker) -> None:
    assert run()[0] == 0
    VendorCredential.objects.update(opened_at=ago(minutes=1), failures=5)
    assert run()[0] == 1
    Worker.objects.all().delete()
    status, told = run()
    assert status == 2
    assert told.splitlines()[:3] == [
        "Health: broken.",
        "broken: No worker is running, so nothing is sent: start manage.py optico_worker.",
        "degraded: Optico: The vendor is not answering; one order at a time is tried until it does. "
        "Nothing to do: everything that waits is sent by itself when the vendor is back.",
    ]


def test_json_holds_everything(credential: VendorCredential, worker: Worker) -> None:
    status, told = run("--json")
    assert status == 0
    found = json.loads(told)
    assert found["status"] == "fine"
    assert found.keys() == health().as_dict().keys()


def test_a_database_that_cannot_be_asked_is_broken() -> None:
    def down(*arguments: Any) -> Any:
        raise OperationalError("could not connect to 10.0.0.1")

    with connection.execute_wrapper(down):
        status, told = run("--json")
    assert status == 2
    found = json.loads(told)
    assert (found["status"], [problem["code"] for problem in found["problems"]]) == ("broken", ["database"])
    assert "10.0.0.1" not in told


def test_wrong_settings_do_not_change_the_exit_status(settings: Any) -> None:
    settings.OPTICO_SYNC = {"ORDER": {"model": "no.Such"}}
    assert run()[0] == 0
