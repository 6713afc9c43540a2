"""The Celery engine in this process: a broker in memory, one that is not there, and what the checks say."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.core.checks import run_checks
from django.test import override_settings
from kombu.simple import SimpleQueue

from optico_sync import wakeups
from optico_sync.engines.celery import make_round, work
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent
from optico_sync.models.wakeups import RELAY
from tests.celery_app import make_app
from tests.helpers import make_credential, place
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC


@pytest.fixture(autouse=True)
def app() -> Iterator[Celery]:
    """The settings name Celery, and the shop's app has a broker in memory."""
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": "celery"}):
        yield make_app("memory://", f"optico-{uuid.uuid4()}")


def messages(app: Celery, queue: str = "") -> list[Any]:
    """The arguments of every task that waits."""
    found = []
    with app.connection_for_read() as connection, SimpleQueue(connection, queue or app.conf.task_default_queue) as box:
        while len(box):
            message = box.get()
            found.append(message.payload[0])
            message.ack()
    return found


def problems(**options: Any) -> list[str]:
    return [str(message.id) for message in run_checks(**options) if str(message.id).startswith("optico_sync.")]


@pytest.mark.django_db
def test_a_message_carries_a_lane_and_a_token_and_no_order(app: Celery) -> None:
    place("1001")
    wakeups.make_round()
    ((lane, token),) = messages(app)
    assert (lane, len(token)) == (RELAY, 32)


@pytest.mark.django_db(transaction=True)
def test_tasks_deliver(app: Celery, optico: Any) -> None:
    make_credential(optico.url)
    place("1001", "confirmed")
    wait_until(lambda: not wakeups._bell._times, 30)
    make_round()
    while waiting := messages(app):
        for arguments in waiting:
            work(*arguments)
    assert optico.order("1001")["status"] == "confirmed"


@pytest.mark.django_db
def test_options_choose_the_queue(app: Celery) -> None:
    options = {**OPTICO_SYNC, "ENGINE": "celery", "ENGINE_OPTIONS": {"queue": "slow-lane"}}
    with override_settings(OPTICO_SYNC=options):
        wakeups.make_round()
    assert messages(app) == [] and len(messages(app, "slow-lane")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_not_there_breaks_no_checkout(caplog: pytest.LogCaptureFixture) -> None:
    make_app("redis://127.0.0.1:1/0", "nowhere")
    place("1001")
    assert OutboxEvent.objects.exists()
    wait_until(lambda: "could not be woken" in caplog.text, 30)


@pytest.mark.django_db
def test_tasks_that_would_run_at_once_are_refused(app: Celery) -> None:
    """They would call the vendor in the shop's own process."""
    app.conf.task_always_eager = True
    with pytest.raises(ConfigurationError, match="EAGER"):
        wakeups.make_round()
    assert problems() == ["optico_sync.E006"]


@pytest.mark.django_db
def test_a_schedule_without_the_round_is_reported(app: Celery) -> None:
    assert problems() == []
    app.conf.beat_schedule = {}
    assert problems() == ["optico_sync.W007"]


@pytest.mark.django_db
def test_a_schedule_in_the_database_is_for_the_check_with_the_database(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.conf.beat_schedule = {}
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: True)
    assert problems() == []
    make_credential("https://www.optico.fr")
    assert problems(databases=["default"]) == ["optico_sync.W008"]
    wakeups.note_round()
    assert problems(databases=["default"]) == []
