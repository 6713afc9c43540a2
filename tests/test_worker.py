"""The embedded worker and its command, in this process."""

from __future__ import annotations

import threading
import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import StatusMapping, SyncState, Worker
from tests.helpers import make_credential, place


@pytest.mark.django_db(transaction=True)
def test_it_delivers_until_stopped_and_takes_up_credentials_that_come_later(optico: Any) -> None:
    stop = threading.Event()

    def work() -> None:
        try:
            EmbeddedWorker(stop=stop).run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        make_credential(optico.url)
        place("1001", "confirmed")
        end = time.monotonic() + 15
        while optico.order("1001") is None and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
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
