"""The embedded worker and its command, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone

from optico_sync import insight
from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import StatusMapping, SyncState, Worker
from tests.helpers import make_credential, place
from tests.processes import wait_until
from tests.settings import OPTICO_SYNC


@contextmanager
def working() -> Iterator[None]:
    """A worker in a thread, stopped at the end."""
    stop = threading.Event()

    def work() -> None:
        try:
            EmbeddedWorker(stop=stop).run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_it_delivers_until_stopped_and_takes_up_credentials_that_come_later(optico: Any) -> None:
    with working():
        make_credential(optico.url)
        place("1001", "confirmed")
        wait_until(lambda: optico.order("1001") is not None, 15)
    assert optico.order("1001")["status"] == "confirmed"
    assert SyncState.objects.get().state == SyncState.State.IN_SYNC
    beat = Worker.objects.get()
    assert beat.stopped_at is not None and beat.delivered == 1


@pytest.mark.django_db(transaction=True)
def test_once_handles_what_is_due_and_leaves_a_heartbeat(optico: Any) -> None:
    make_credential(optico.url)
    place("1001")
    out = StringIO()
    handled = EmbeddedWorker().run_once()
    assert handled == 1
    assert Worker.objects.get().stopped_at is not None
    call_command("optico_worker", "--once", stdout=out)
    assert out.getvalue().strip() == "Handled 0 orders."


@pytest.mark.django_db(transaction=True)
def test_a_new_credential_gets_the_statuses_that_the_shop_lists(optico: Any) -> None:
    credential = make_credential(optico.url)
    place("1001", "Being processed")
    EmbeddedWorker().run_once()
    assert StatusMapping.objects.filter(credential=credential, shop_status="Being processed").exists()


@pytest.mark.django_db(transaction=True)
def test_workers_long_gone_are_forgotten() -> None:
    long_ago = timezone.now() - Worker.KEPT * 2
    Worker.objects.create(name="gone:1", started_at=long_ago, beat_at=long_ago)
    EmbeddedWorker().run_once()
    assert not Worker.objects.filter(name="gone:1").exists()


@pytest.mark.databases("postgresql")
@pytest.mark.django_db(transaction=True)
def test_on_postgresql_a_commit_wakes_a_worker_that_does_not_poll(optico: Any) -> None:
    make_credential(optico.url)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "POLL_INTERVAL": 3600}), working():
        wait_until(lambda: listeners() == 1, 15)
        place("1001", "confirmed")
        wait_until(lambda: optico.order("1001") is not None, 15)


def listeners() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_it_makes_its_rounds_by_itself() -> None:
    EmbeddedWorker().run_once()
    assert not insight.last_round().is_late
