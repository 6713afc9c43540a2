"""G3 with the engines whose workers are not ours: real processes, killed by -9 in the middle of 2,000 orders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from optico_sync.models import Attempt, Worker
from optico_sync.sandbox.client import SandboxServer
from tests.celery_app import make_app
from tests.helpers import KEY, STATUSES, make_credential, move, place
from tests.processes import kill, nothing_left, processes, told, wait_until
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = 2000
LEASE = 20


@pytest.fixture
def vendor() -> Iterator[SandboxServer]:
    with SandboxServer(keys=[KEY], statuses=STATUSES) as server:
        yield server


def check_that_nothing_is_lost(start_workers: Any, vendor: SandboxServer, engine: str) -> None:
    """The workers are killed with -9 once a quarter is delivered, and others are started."""
    make_credential(vendor.url, concurrency=32)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": engine, "LEASE": LEASE}):
        with transaction.atomic():
            purchases = [place(f"N-{number}") for number in range(ORDERS)]
        workers = start_workers()
        with transaction.atomic():
            for purchase in purchases:
                move(purchase, "confirmed")
        wait_until(lambda: vendor.summary()["requests"] > ORDERS // 2, 60)
        for worker in workers:
            kill(worker)
        assert not nothing_left()
        start_workers()
        wait_until(nothing_left, 90)
    heard = {order: [status for status, _ in groupby(statuses)] for order, statuses in told(vendor).items()}
    assert len(heard) == ORDERS
    assert {tuple(statuses) for statuses in heard.values()} == {("pending", "confirmed")}
    assert Worker.objects.get().engine == engine
    assert Attempt.objects.values("worker").distinct().count() > 1


@pytest.fixture
def celery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Two Celery workers of two processes each, on the broker that the variable ``request.param`` names, and beat."""
    broker, queue = os.environ[request.param], f"optico-tests-{os.getpid()}"
    app = make_app(broker, queue)
    with processes(OPTICO_TEST_ENGINE="celery", OPTICO_TEST_BROKER=broker, OPTICO_TEST_QUEUE=queue) as run:
        run("celery", "-A", "tests.celery_app", "beat", "-s", str(tmp_path / "beat"))

        def start() -> list:
            return [
                run(
                    "celery", "-A", "tests.celery_app", "worker", "-c", "2", "-n", f"{name}@%h",
                    "--without-gossip", "--without-mingle", lease=LEASE,
                )
                for name in ("a", "b")
            ]  # fmt: skip

        yield start
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)


@pytest.mark.services("REDIS_URL")
@pytest.mark.parametrize("celery", ["REDIS_URL"], indirect=True)
def test_celery_on_redis(celery: Any, vendor: SandboxServer) -> None:
    check_that_nothing_is_lost(celery, vendor, "celery")


@pytest.mark.services("AMQP_URL")
@pytest.mark.parametrize("celery", ["AMQP_URL"], indirect=True)
def test_celery_on_rabbitmq(celery: Any, vendor: SandboxServer) -> None:
    check_that_nothing_is_lost(celery, vendor, "celery")


@pytest.mark.services("KILL_TASK_WORKERS")
@pytest.mark.databases("sqlite", "postgresql")
def test_django_tasks_db(vendor: SandboxServer) -> None:
    """With the round as cron would run it, only more often."""
    with processes(OPTICO_TEST_ENGINE="django_tasks") as run:

        def start() -> list:
            workers = [run("django", "db_worker", "--interval", "0.2", lease=LEASE) for _ in range(2)]
            run("tests.engines.cron", lease=LEASE)
            return workers

        check_that_nothing_is_lost(start, vendor, "django_tasks")
