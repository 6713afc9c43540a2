"""The workers' list."""

from datetime import timedelta

import pytest
from django.test import Client

from optico_sync.models import Worker
from optico_sync.models.clock import database_now

URL = "/admin/optico_sync/worker/"


@pytest.fixture
def workers(db: None) -> None:
    now = database_now("default")
    Worker.objects.create(name="runs", started_at=now, beat_at=now - timedelta(seconds=5), delivered=7)
    Worker.objects.create(name="silent", started_at=now, beat_at=now - timedelta(minutes=3))
    Worker.objects.create(name="stopped", started_at=now, beat_at=now - timedelta(hours=2), stopped_at=now)


def test_list_says_who_runs(login, workers: None) -> None:
    html = login("view_worker").get(URL).content.decode()
    for word in ("running", "silent", "stopped"):
        assert f'<span class="sync-badge sync-{word}">{word}</span>' in html
    assert "5 s ago" in html or "6 s ago" in html


def test_workers_are_for_reading(admin_client: Client, workers: None) -> None:
    worker = Worker.objects.first()
    assert admin_client.get(URL).status_code == 200
    assert admin_client.get(f"{URL}{worker.pk}/change/").status_code == 200
    for url in (f"{URL}add/", f"{URL}{worker.pk}/delete/"):
        assert admin_client.get(url).status_code == 403
    assert admin_client.post(f"{URL}{worker.pk}/change/", {"name": "x"}).status_code == 403


def test_workers_need_permission(viewer: Client, workers: None) -> None:
    assert viewer.get(URL).status_code == 403
