"""``optico_backfill``: previewed, confirmed, watched until delivered."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command

from optico_sync import jobs
from optico_sync.management.commands import optico_backfill as command
from optico_sync.models import Job, SyncState
from tests.helpers import Vendor, deliver, error, make_credential, reply
from tests.oddshop.models import Item, Purchase

pytestmark = pytest.mark.django_db


def old_orders(count: int, first: int = 0, **fields: Any) -> None:
    made = Purchase.objects.bulk_create(
        Purchase(number=f"OLD-{number:04}", **{"stage": "confirmed", **fields})
        for number in range(first, first + count)
    )
    Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in made)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def backfill(*arguments: str) -> str:
    out = io.StringIO()
    call_command("optico_backfill", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.fixture
def worker(credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """Somebody delivers whenever the command rests."""
    monkeypatch.setattr(command.time, "sleep", lambda seconds: deliver(credential, sender=vendor))
    return vendor


def test_it_reports_what_was_delivered(worker: Vendor) -> None:
    old_orders(250)
    told = backfill("--yes", "--wait")
    assert "250 requests are sent." in told
    assert "Started job 1: Optico." in told.replace(f"job {Job.objects.get().pk}", "job 1")
    assert "backfill, Optico: finished." in told and "The vendor has 250 orders." in told
    assert len(worker.forms) == 250


def test_who_starts_and_stops_it_is_in_the_log(credential: Any, django_user_model: Any) -> None:
    django_user_model.objects.create_user("anna")
    old_orders(3)
    backfill("--yes", "--no-wait", "--as", "anna")
    job = Job.objects.get()
    backfill("--pause", str(job.pk), "--as", "anna")
    assert job.asked_by == "anna"
    log = LogEntry.objects.order_by("pk").values_list("user__username", "object_id", "change_message")
    assert [line[:2] for line in log] == [("anna", str(job.pk))] * 2
    assert [line[2].split(":")[0] for line in log] == ["waiting", "paused"]


def test_it_says_when_some_were_refused_and_exits_1(worker: Vendor, capsys: pytest.CaptureFixture) -> None:
    worker.answer = lambda form: error("Missing required parameter") if form["id"] == "OLD-0001" else reply()
    old_orders(3)
    out = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("optico_backfill", "--wait", stdout=out, stderr=io.StringIO())
    assert stopped.value.code == 1
    assert "1 order cannot be sent: The vendor says that a required field is missing or empty." in out.getvalue()


def test_a_dry_run_sends_nothing(credential: Any) -> None:
    old_orders(2)
    told = backfill("--dry-run")
    assert "2 requests are sent." in told and "Nothing was sent: this was a dry run." in told
    assert not Job.objects.exists() and not SyncState.objects.exists()


def test_many_are_refused_without_a_terminal_and_without_yes(credential: Any) -> None:
    old_orders(100)
    with pytest.raises(CommandError, match=r"about 100 requests: confirm it by --yes\. Nothing was sent\."):
        backfill()
    assert not Job.objects.exists()


@pytest.mark.parametrize(("typed", "count"), [("100", 1), ("yes", 0), ("", 0)])
def test_many_are_typed_on_a_terminal(credential: Any, monkeypatch: pytest.MonkeyPatch, typed: str, count: int) -> None:
    old_orders(100)
    monkeypatch.setattr("sys.stdin", Terminal(f"{typed}\n"))
    try:
        backfill("--no-wait")
    except CommandError as error:
        assert "Not confirmed" in str(error)
    assert Job.objects.count() == count


def test_few_need_no_confirmation_and_none_need_no_job(credential: Any) -> None:
    assert "There is nothing to send." in backfill()
    old_orders(1)
    assert "optico_backfill --list" in backfill()
    assert Job.objects.count() == 1


def test_the_start_date_is_told_with_the_cure(credential: Any, vendor: Vendor) -> None:
    old_orders(2, bought_at=datetime(1999, 1, 1, tzinfo=UTC))
    told = backfill("--from", "1998-01-01")
    assert "therefore left out: 2. To send those too, this once, add --before-start." in told
    assert not Job.objects.exists()
    backfill("--from", "1998-01-01", "--before-start", "--no-wait")
    jobs.work()
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 2


def test_orders_before_the_cut_off_are_not_even_looked_at(credential: Any) -> None:
    old_orders(2, bought_at=datetime(2001, 1, 1, tzinfo=UTC))
    assert "There is nothing to send." in backfill("--from", "2002-01-01")


def test_pause_resume_cancel_and_list(worker: Vendor) -> None:
    old_orders(3)
    backfill("--no-wait")
    job = Job.objects.get()
    assert ": paused." in backfill("--pause", str(job.pk))
    with pytest.raises(CommandError, match="is paused: it cannot be paused"):
        backfill("--pause", str(job.pk))
    assert ": finished." in backfill("--resume", str(job.pk), "--wait")
    with pytest.raises(CommandError, match="is finished: it cannot be cancelled"):
        backfill("--cancel", str(job.pk))
    assert f"Job {job.pk}, backfill, Optico: finished." in backfill("--list")
    old_orders(3, first=3)
    backfill("--no-wait")
    told = backfill("--cancel", str(Job.objects.latest("pk").pk))
    assert ": cancelled." in told
    assert not SyncState.objects.filter(due_at__isnull=False).exists()


def test_an_unknown_job_is_named(credential: Any) -> None:
    with pytest.raises(CommandError, match="There is no job 77"):
        backfill("--cancel", "77")
    assert "There is no job." in backfill("--list")


def test_control_c_leaves_it_to_the_worker_and_says_so(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old_orders(3)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    out = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("optico_backfill", "--wait", stdout=out, stderr=io.StringIO())
    assert stopped.value.code == 2
    job = Job.objects.get()
    assert f"The worker goes on with job {job.pk}." in out.getvalue() and f"--cancel {job.pk}" in out.getvalue()
    assert job.state == Job.State.RUNNING


def test_it_says_that_no_worker_is_heard(credential: Any) -> None:
    old_orders(1)
    assert "No worker is heard" in backfill("--no-wait")


def test_a_log_gets_plain_lines_with_rate_and_time_left(worker: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LINE", 0.0)
    old_orders(450)
    told = backfill("--yes", "--wait")
    assert " of 450 orders, " in told and "a second, about " in told and "\r" not in told


def test_without_a_credential_that_is_on_there_is_nobody_to_send_to(db: None) -> None:
    make_credential()
    type(make_credential(name="x")).objects.update(is_enabled=False)
    with pytest.raises(CommandError, match="No vendor credential is switched on"):
        backfill()
