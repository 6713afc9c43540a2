"""The Celery engine in this process: a broker in memory, one that is not there, and what the checks say."""

from __future__ import annotations

import socket
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


def run_waiting(app: Celery) -> None:
    """What a Celery worker does until no message waits."""
    while waiting := messages(app):
        for arguments in waiting:
            work(*arguments)


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
    run_waiting(app)
    assert optico.order("1001")["status"] == "confirmed"


@pytest.mark.django_db
def test_options_choose_the_queue(app: Celery) -> None:
    options = {**OPTICO_SYNC, "ENGINE": "celery", "ENGINE_OPTIONS": {"queue": "slow-lane"}}
    with override_settings(OPTICO_SYNC=options):
        wakeups.make_round()
    assert messages(app) == [] and len(messages(app, "slow-lane")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_not_there_breaks_no_checkout_and_the_round_finds_the_work(
    app: Celery, optico: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "REST", 0.0)
    make_credential(optico.url)
    make_app("redis://127.0.0.1:1/0", "nowhere")
    place("1001", "confirmed")
    wait_until(lambda: "could not be woken" in caplog.text and not wakeups._bell._times, 30)
    app.set_current()
    app.set_default()
    assert messages(app) == []
    make_round()
    run_waiting(app)
    assert optico.order("1001")["status"] == "confirmed"


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_takes_the_connection_and_never_answers_holds_up_no_checkout(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the bell's thread waits for it: the shop saves ten orders meanwhile, and would wait as long if it called."""
    monkeypatch.setattr(wakeups, "REST", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(30)
        silent = make_app(f"redis://127.0.0.1:{broker.getsockname()[1]}/0", "silent")
        # So that a checkout that does wait fails this test instead of holding it up for ever.
        silent.conf.broker_transport_options = {"socket_timeout": 20}
        place("1001")
        caller, _address = broker.accept()
        with caller:
            for number in range(1002, 1012):
                place(str(number))
            assert OutboxEvent.objects.values("key").distinct().count() == 11
            # It is still waiting: no order of these was saved because the broker gave up.
            assert wakeups._bell._times
            assert caller.recv(1), "the wake-up was not on its way"
    app.set_current()
    app.set_default()
    wait_until(lambda: not wakeups._bell._times, 30)


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
