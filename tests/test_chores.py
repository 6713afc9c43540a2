"""What is done now and then, whoever carries the wake-ups."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from optico_sync import jobs
from optico_sync.engines import chores
from optico_sync.models import Job, Reading, Sweep
from optico_sync.selection import Selection
from tests.helpers import make_credential, place
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db


def test_a_round_sweeps_and_counts(credential: Any) -> None:
    chores.run()
    assert Sweep.objects.filter(finished_at__isnull=False).count() == Reading.objects.count() == 1
    chores.run()
    assert Sweep.objects.count() == Reading.objects.count() == 1


def test_a_round_works_jobs_for_a_while_only(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        place(str(number))
    (job,) = jobs.start(Job.Verb.HOLD, Selection())
    monkeypatch.setattr(chores, "JOBS_SPAN", 0.0)
    monkeypatch.setattr("optico_sync.selection.CHUNK", 1)
    looked_at = []
    for _round in range(3):
        chores.run()
        job.refresh_from_db()
        looked_at.append(job.looked_at)
    assert looked_at == [1, 2, 3]


def test_what_fails_is_logged_and_keeps_nothing_else_from_being_done(
    credential: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bool:
        raise RuntimeError("customer@example.com")

    monkeypatch.setattr(chores, "is_due", fail)
    with caplog.at_level(logging.ERROR):
        chores.run()
    assert "The sweep failed (RuntimeError)" in caplog.text and "customer@example.com" not in caplog.text
    assert Reading.objects.count() == 1


@override_settings(OPTICO_SYNC={})
def test_cron_runs_in_a_shop_that_is_not_set_up_yet(capsys: pytest.CaptureFixture) -> None:
    call_command("optico_worker", "--once")
    assert "Handled 0 orders." in capsys.readouterr().out
    assert not Sweep.objects.exists()


def test_the_round_of_an_engine_does_them(optico: Any) -> None:
    make_credential(optico.url)
    place()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": "tests.engines.test_wakeups.Quiet"}):
        call_command("optico_round")
    assert Reading.objects.count() == 1
