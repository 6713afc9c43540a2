"""Real worker processes on a real database: no order twice at once, nothing lost by kill -9, a clean stop."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from optico_sync import jobs
from optico_sync.jobs import WINDOW
from optico_sync.models import Attempt, Job, OutboxEvent, Sweep, SyncState, Worker
from optico_sync.sandbox.client import SandboxServer
from optico_sync.sweep import CHUNK
from tests.helpers import KEY, STATUSES, make_credential, place
from tests.oddshop.models import Item, Purchase
from tests.processes import Start, kill, nothing_left, processes, told, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

IS_SQLITE = connection.vendor == "sqlite"
# SQLite lets one writer in at a time: fewer of everything shows the same.
WORKERS, ORDERS = (2, 300) if IS_SQLITE else (4, 2000)
State = SyncState.State


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``manage.py optico_worker``, or another ``command``, on the test database, or another one."""
    with processes() as run:

        def start_command(*arguments: str, command: str = "optico_worker", **options: Any) -> subprocess.Popen:
            return run("django", command, *arguments, **options)

        yield start_command


@pytest.fixture
def vendor() -> Iterator[SandboxServer]:
    with SandboxServer(keys=[KEY], statuses=STATUSES) as server:
        yield server


def buy(count: int, stage: str = "pending") -> list[Purchase]:
    with transaction.atomic():
        purchases = [Purchase.objects.create(number=f"N-{number}", stage=stage) for number in range(count)]
        Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in purchases)
    return purchases


def stop(process: subprocess.Popen) -> str:
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    return output


def test_workers_share_the_orders_and_keep_every_order_of_statuses(start: Start, vendor: SandboxServer) -> None:
    make_credential(vendor.url)
    purchases = buy(ORDERS)
    workers = [start() for _ in range(WORKERS)]
    for stage in ("confirmed", "shipped"):
        for purchase in purchases[:: 1 if stage == "confirmed" else 4]:
            purchase.stage = stage
            purchase.save()
    wait_until(nothing_left, 120)
    heard = told(vendor)
    assert len(heard) == ORDERS
    assert {tuple(statuses) for statuses in heard.values()} == {
        ("pending", "confirmed"),
        ("pending", "confirmed", "shipped"),
    }
    assert vendor.summary()["max_concurrency"] == 1
    for worker in workers:
        assert "failed" not in stop(worker)
    if not IS_SQLITE:
        assert len(set(Attempt.objects.values_list("worker", flat=True))) == WORKERS
    assert Worker.objects.filter(stopped_at__isnull=False).count() == WORKERS


def test_a_worker_killed_in_the_middle_loses_nothing(start: Start, vendor: SandboxServer) -> None:
    """G3: leases run out, another takes over, and no status arrives before an earlier one."""
    make_credential(vendor.url)
    count = ORDERS // 4
    purchases = buy(count)
    for purchase in purchases:
        purchase.stage = "confirmed"
        purchase.save()
    vendor.config(latency=0.03)
    first = start(lease=20)
    wait_until(lambda: vendor.summary()["requests"] > count // 4, 60)
    kill(first)
    assert SyncState.objects.exclude(lease="").exists()
    vendor.config(latency=0)
    start(lease=20)
    wait_until(nothing_left, 90)
    heard = {order: [status for status, _ in groupby(statuses)] for order, statuses in told(vendor).items()}
    assert len(heard) == count
    assert {tuple(statuses) for statuses in heard.values()} == {("pending", "confirmed")}


def test_sigterm_finishes_what_is_in_flight_and_gives_the_leases_back(start: Start, vendor: SandboxServer) -> None:
    make_credential(vendor.url)
    buy(200)
    vendor.config(latency=0.2)
    worker = start()
    wait_until(lambda: vendor.summary()["requests"] > 8, 30)
    output = stop(worker)
    assert "stopped" in output
    assert not SyncState.objects.exclude(lease="").exists()
    settled = Attempt.objects.count()
    assert settled == vendor.summary()["requests"] < 200
    assert SyncState.objects.filter(state=State.IN_SYNC).count() == settled
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"delivered"}


def test_once_sends_what_is_due_and_ends(start: Start, vendor: SandboxServer) -> None:
    make_credential(vendor.url)
    buy(20)
    worker = start("--once")
    output, _ = worker.communicate(timeout=60)
    assert (worker.returncode, output.strip()) == (0, "Handled 20 orders.")
    assert vendor.summary()["orders"] == 20


def test_a_sweep_killed_in_the_middle_goes_on_and_tells_every_order_once(start: Start) -> None:
    make_credential()
    Purchase.objects.bulk_create([Purchase(number=f"N-{number}") for number in range(3 * CHUNK)])
    first = start("--all", command="optico_sweep")
    wait_until(lambda: Sweep.objects.filter(found__gte=CHUNK).exists(), 60)
    first.kill()
    first.communicate()
    (looked_at,) = Sweep.objects.filter(finished_at=None).values_list("checked", flat=True)
    Sweep.objects.update(leased_until=timezone.now())
    second = start("--all", command="optico_sweep")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert CHUNK <= looked_at < 3 * CHUNK == Sweep.objects.get().found
    assert OutboxEvent.objects.values("key").distinct().count() == OutboxEvent.objects.count() == 3 * CHUNK


def test_a_backfill_killed_in_the_middle_goes_on_and_delivers_every_order(start: Start, vendor: SandboxServer) -> None:
    """No list of keys is lost with the process: the next one goes on at the cursor, and only leases are sent twice."""
    credential = make_credential(vendor.url)
    # The worker's first sweep would find the orders too, and send them live.
    now = timezone.now()
    Sweep.objects.create(scope=Sweep.Scope.RECENT, started_at=now, finished_at=now, lease="", leased_until=now)
    count = WINDOW + 2 * jobs.CHUNK
    made = Purchase.objects.bulk_create(Purchase(number=f"N-{number}", stage="pending") for number in range(count))
    Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in made)
    vendor.config(latency=0.01)
    first = start("--from", "2000-01-01", "--yes", "--wait", command="optico_backfill", lease=20)
    killed = start(lease=20)
    wait_until(lambda: vendor.summary()["requests"] > count // 4, 60)
    kill(first)
    kill(killed)
    job = Job.objects.get()
    assert 0 < job.looked_at < count and job.state == Job.State.RUNNING
    in_flight = SyncState.objects.exclude(lease="").count()
    vendor.config(latency=0)
    start(lease=20)
    second = start("--resume", str(job.pk), "--wait", command="optico_backfill", lease=20)
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert f"The vendor has {count} orders." in output
    heard = told(vendor)
    assert len(heard) == count == SyncState.objects.filter(credential=credential, state=State.IN_SYNC).count()
    wait_until(lambda: not SyncState.objects.exclude(lease="").exists(), 30)
    assert sum(len(statuses) - 1 for statuses in heard.values()) <= 3 * in_flight


@pytest.mark.databases("postgresql")
def test_a_worker_survives_the_loss_of_its_database_connection(start: Start, vendor: SandboxServer, db: Any) -> None:
    make_credential(vendor.url)
    start()
    wait_until(lambda: Worker.objects.exists(), 30)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    buy(10)
    wait_until(lambda: vendor.summary()["orders"] == 10, 60)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[str]:
    """Filled by ``dump_and_restore``: the name of a database elsewhere."""
    if IS_SQLITE:
        yield str(tmp_path / "restored.sqlite3")
        return
    name = f"{connection.settings_dict['NAME']}_copy"
    yield name
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def dump_and_restore(name: str) -> None:
    """What an administrator does: a backup of the test database, restored as ``name``."""
    if IS_SQLITE:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [name])
        return
    own = connection.settings_dict
    environment = {**os.environ, "PGPASSWORD": own["PASSWORD"]}
    where = ["-h", own["HOST"], "-p", str(own["PORT"]), "-U", own["USER"]]
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    dump = subprocess.run(["pg_dump", *where, own["NAME"]], env=environment, check=True, capture_output=True)
    subprocess.run(["psql", "-q", *where, name], env=environment, check=True, input=dump.stdout, capture_output=True)


def output_of(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=60)
    return output


@pytest.mark.databases("sqlite", "postgresql")
def test_a_copy_restored_elsewhere_sends_nothing_until_it_is_adopted(
    start: Start, vendor: SandboxServer, copy: str
) -> None:
    """G9: real workers on a real dump. What waited in production's queue does not leave the copy."""
    make_credential(vendor.url)
    buy(1)
    output_of(start("--once"))
    for number in range(20):
        place(f"W-{number}")
    dump_and_restore(copy)
    output = output_of(start("--once", OPTICO_TEST_DATABASE=copy))
    assert "This is another installation (database" in output and "Handled 0 orders." in output
    check = start(OPTICO_TEST_DATABASE=copy, command="optico_check")
    assert "another installation" in output_of(check) and check.returncode == 1
    assert vendor.summary()["orders"] == len(vendor.journal()) == 1
    output_of(start("--once"))
    assert vendor.summary()["orders"] == 21
    assert "Adopted." in output_of(start("--adopt", OPTICO_TEST_DATABASE=copy, command="optico_installation"))
    assert "Handled 20 orders." in output_of(start("--once", OPTICO_TEST_DATABASE=copy))
