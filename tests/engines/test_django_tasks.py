"""The django.tasks engine in this process: django-tasks-db's table, and the backends that must not be used."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import override_settings
from django_tasks_db.models import DBTaskResult

from optico_sync import wakeups
from optico_sync.engines import django_tasks
from optico_sync.models.wakeups import RELAY
from tests.helpers import make_credential, place
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC

LIBRARY = django_tasks.ImmediateBackend.__module__.split(".backends")[0]


def chosen(**options: Any) -> Any:
    return override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": "django_tasks", "ENGINE_OPTIONS": options})


def backends(**named: str) -> Any:
    return override_settings(TASKS={alias: {"BACKEND": path} for alias, path in named.items()})


def problems(**options: Any) -> list[str]:
    return [str(message.id) for message in run_checks(**options) if str(message.id).startswith("optico_sync.")]


@pytest.mark.django_db
def test_a_task_carries_a_lane_and_a_token_and_no_order() -> None:
    with chosen():
        place("1001")
        wakeups.make_round()
    lane, token = DBTaskResult.objects.get().args_kwargs["args"]
    assert (lane, len(token)) == (RELAY, 32)


@pytest.mark.django_db(transaction=True)
def test_db_worker_delivers(optico: Any) -> None:
    make_credential(optico.url)
    with chosen():
        place("1001", "confirmed")
        wait_until(lambda: not wakeups._bell._times, 30)
        call_command("optico_round")
        call_command("db_worker", batch=True, startup_delay=False, verbosity=0)
    assert optico.order("1001")["status"] == "confirmed"
    assert not DBTaskResult.objects.failed().exists()


@pytest.mark.django_db
@pytest.mark.parametrize("backend", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_a_backend_without_a_worker_is_refused(backend: str) -> None:
    """Immediate, Django's default, would call the vendor inside the checkout."""
    with chosen(), backends(default=f"{LIBRARY}.backends.{backend}"):
        assert problems() == ["optico_sync.E006"]
        with pytest.raises(CommandError, match="TASKS"):
            call_command("optico_round")


@pytest.mark.django_db
def test_options_choose_another_backend_than_the_default() -> None:
    immediate = f"{LIBRARY}.backends.immediate.ImmediateBackend"
    with chosen(backend="queue"), backends(default=immediate, queue="django_tasks_db.DatabaseBackend"):
        assert problems() == []
        wakeups.make_round()
    assert DBTaskResult.objects.get().backend_name == "queue"


@pytest.mark.django_db
@pytest.mark.parametrize("options", [{"queue_name": "unlisted"}, {"backend": "unlisted"}, {"queue": "misspelt"}])
def test_options_that_do_not_fit_are_reported(options: dict[str, str]) -> None:
    with chosen(**options):
        assert problems() == ["optico_sync.E006"]


@pytest.mark.django_db
def test_a_round_that_never_ran_is_reported() -> None:
    make_credential("https://www.optico.fr")
    with chosen():
        assert problems(databases=["default"]) == ["optico_sync.W008"]
        wakeups.note_round()
        assert problems(databases=["default"]) == []
