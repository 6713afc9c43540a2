"""How fast is a backlog delivered, and at what cost?

    DATABASE_URL=postgres://... python -m benchmarks.delivery [--rounds 5] [--only fast slow pair memory]

A backlog of orders with three lines each, a vendor stub and every contestant in processes of their own, in a test
database beside the one that DATABASE_URL names (SQLite without it), which is dropped at the end. The worker does all
that it does in life: claim, read, build, send, record. Contestants take turns, and the ratios are medians of each
round's own.

``fast`` has a vendor that answers at once, ``slow`` one that takes 50 ms (with Redis beside it, where
``benchmarks/requirements.txt`` is installed), ``pair`` two workers on PostgreSQL, ``memory`` the peak with few and many
orders waiting.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rounds import empty_database, interleave, machine, print_table, ratio
from benchmarks.stub import KEY

#: In flight, everywhere.
THREADS = 32
#: Seconds that the slow vendor takes.
LATENCY = 0.05
PARTS = ("fast", "slow", "pair", "memory")

Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--orders", type=int, default=6000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    with empty_database(), vendor() as url:
        from django.db import connection

        has_pair = connection.vendor == "postgresql"
        sys.stdout.write(f"{machine()}\n")
        install(url)
        seed(options.orders)
        if "fast" in options.only:
            fast(url, options.orders, options.rounds)
        if "slow" in options.only:
            slow(url, options.orders, options.rounds)
        if "pair" in options.only and has_pair:
            pair(url, options.orders, options.rounds)
        if "memory" in options.only:
            memory(url, options.many)
    return 0


# the measurements


def fast(url: str, orders: int, rounds: int) -> None:
    found = interleave(
        {
            "`requests.Session.post`, ready payloads": partial(ceiling, "session", url, orders),
            "`HTTPAdapter.send`, ready payloads": partial(ceiling, "adapter", url, orders),
            "the worker, everything included": partial(drain, url, orders),
        },
        rounds,
    )
    show("vendor at 0 ms", found)
    worker = found["the worker, everything included"]
    own = statistics.median(figures["own"] for figures in worker)
    sys.stdout.write(f"The worker's own part, all but HTTP: {own:.2f} s of CPU for 1,000 orders.\n")


def slow(url: str, orders: int, rounds: int) -> None:
    contestants: dict[str, Callable[[], Figures]] = {
        "`requests.Session.post`, ready payloads": partial(ceiling, "session", url, orders, latency=LATENCY),
        "the worker, everything included": partial(drain, url, orders, latency=LATENCY),
    }
    if importlib.util.find_spec("celery"):
        # Timed by the vendor's clock; as many orders as the others would take it minutes.
        contestants["Celery, 32 threads, tuned"] = partial(celery, url, orders // 3, latency=LATENCY)
    found = interleave(contestants, rounds)
    show("vendor at 50 ms, 32 in flight", found)
    limit = THREADS / LATENCY
    for name, figures in found.items():
        sys.stdout.write(f"{name}: {statistics.median(one['rate'] for one in figures) / limit:.2f} of C/L.\n")


def pair(url: str, orders: int, rounds: int) -> None:
    """At 0 ms two cores have enough with one worker, the vendor and the database; at 50 ms they wait."""
    for latency in (0.0, LATENCY):
        drained = partial(drain, url, orders, latency=latency)
        found = interleave({"one worker": drained, "two workers": partial(drained, workers=2)}, rounds)
        show(f"two processes, vendor at {1000 * latency:.0f} ms", found)


def memory(url: str, many: int) -> None:
    from optico_sync.models import SyncState

    rows = []
    for waiting in (20_000, many):
        seed(waiting)
        figures = drain(url, waiting, until=10_000)
        SyncState.objects.update(due_at=None)
        rows.append((f"{waiting:,}", f"{figures['peak']:.0f} MiB", f"{figures['rate']:.0f}"))
    print_table(("waiting", "peak of the worker", "orders/s"), rows)


def show(what: str, found: dict[str, list[Figures]]) -> None:
    names = list(found)
    rows = []
    for name in names:
        median = {key: statistics.median(one[key] for one in found[name]) for key in ("rate", "cpu")}
        against = [
            f"{ratio((one['rate'] for one in found[name]), (one['rate'] for one in found[other])):.2f}"
            for other in names[:-1]
        ]
        rows.append((name, f"{median['rate']:.0f}", *against, f"{median['cpu']:.2f}"))
    heads = [f"to the {place}" for place in ("first", "second", "third")[: len(names) - 1]]
    print_table((what, "orders/s", *heads, "CPU s per 1,000"), rows)


# the contestants


def ceiling(role: str, url: str, orders: int, *, latency: float = 0.0) -> Figures:
    ask(url, f"begin?{latency}")
    with sender("benchmarks.senders", role, url, str(orders), str(THREADS)) as process:
        process.stdin.write("go\n")
        figures = json.loads(process.stdout.readline())
    heard(url, orders)
    return {"rate": orders / figures["seconds"], "cpu": 1000 * figures["cpu"] / orders}


def drain(url: str, orders: int, *, latency: float = 0.0, workers: int = 1, until: int = 0) -> Figures:
    """From the word to go until the last order is recorded, or ``until`` so many are."""
    from optico_sync.models import SyncState

    rewind(orders)
    left = SyncState.objects.filter(due_at__isnull=False)
    ask(url, f"begin?{latency}")
    processes = [sender("benchmarks.senders", "worker") for _ in range(workers)]
    started = [process.__enter__() for process in processes]
    began = time.perf_counter()
    for process in started:
        process.stdin.write("go\n")
    while ask(url, "report")["orders"] < until if until else left.exists():
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    for process in started:
        process.stdin.write("stop\n")
    figures = [json.loads(process.stdout.readline()) for process in started]
    for process in processes:
        process.__exit__(None, None, None)
    told = heard(url, None if until else orders)
    cpu, http = (sum(one[key] for one in figures) for key in ("cpu", "http"))
    return {
        "rate": told / seconds,
        "cpu": 1000 * cpu / told,
        "own": 1000 * (cpu - http) / told,
        "peak": max(one["peak"] for one in figures),
    }


def celery(url: str, orders: int, *, latency: float) -> Figures:
    """By the vendor's clock, from the first order to the last: its start costs it nothing."""
    from benchmarks.celery_orders import app, send
    from tests.oddshop.models import Purchase

    app.control.purge()
    for key in Purchase.objects.order_by("number").values_list("pk", flat=True)[:orders]:
        send.delay(f"{url}/api/customer-order", key)
    ask(url, f"begin?{latency}")
    options = ("--pool", "threads", "--concurrency", str(THREADS), "--without-mingle", "--without-gossip")
    with sender("celery", "--app", "benchmarks.celery_orders", "worker", *options, is_ready=False) as process:
        while ask(url, "report")["orders"] < orders:
            assert process.poll() is None, "Celery ended"
            time.sleep(0.05)
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    heard(url, orders)
    cpu = sum(int(tick) for tick in ticks) / os.sysconf("SC_CLK_TCK")
    return {"rate": orders / ask(url, "report")["seconds"], "cpu": 1000 * cpu / orders}


@contextmanager
def sender(module: str, *arguments: str, is_ready: bool = True) -> Iterator[Any]:
    """A process on the test database; it has said that it is ready."""
    from django.db import connection

    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "OPTICO_TEST_DATABASE": str(connection.settings_dict["NAME"])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if is_ready else subprocess.DEVNULL,
        stderr=None if is_ready else subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as process:
        if is_ready:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.terminate()


# the vendor


@contextmanager
def vendor() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-m", "benchmarks.stub"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def ask(url: str, what: str) -> Figures:
    with urllib.request.urlopen(f"{url}/{what}") as answer:
        return json.load(answer)


def heard(url: str, orders: int | None) -> float:
    """How many orders the vendor was told; each of them once, and nothing it refused."""
    report = ask(url, "report")
    assert not report["twice"] and not report["refused"], report
    assert orders is None or report["orders"] == orders, report
    return report["orders"]


# the backlog


def install(url: str) -> None:
    from django.utils import timezone

    from optico_sync.models import DeclaredStatus, Installation, Sweep, VendorCredential

    Installation.start()
    credential = VendorCredential(
        name="Optico",
        vendor="optico",
        base_url=url,
        is_enabled=True,
        concurrency=THREADS,
        start_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
    credential.set_secrets({"key": KEY.decode()})
    credential.save()
    DeclaredStatus.objects.create(credential=credential, name="confirmed", is_sale=True)
    credential.map_statuses(["confirmed"])
    # A worker sweeps when it starts, and then every 15 minutes: that one is over.
    now = timezone.now()
    Sweep.objects.create(scope=Sweep.Scope.RECENT, started_at=now, finished_at=now, lease="", leased_until=now)


def seed(orders: int) -> None:
    """So many orders with three lines each, all relayed and none of them sent."""
    from django.utils import timezone

    from optico_sync.models import Subject, SyncState, VendorCredential
    from tests.oddshop.models import Article, Item, Purchase

    credential = VendorCredential.objects.get()
    first = Article.objects.get_or_create(sku="PROD-001")[0]
    now = timezone.now()
    for start in range(Purchase.objects.count(), orders, 5000):
        numbers = range(start, min(start + 5000, orders))
        purchases = Purchase.objects.bulk_create(
            Purchase(number=f"N-{number:07}", stage="confirmed", visit="5ef3a1b7c9d24e605ef3a1b7") for number in numbers
        )
        Item.objects.bulk_create(
            Item(purchase=purchase, article=first, title="Blue Widget", pieces=2, paid="59.98")
            for purchase in purchases
            for _ in range(3)
        )
        subjects = Subject.objects.bulk_create(
            Subject(
                kind=Subject.Kind.ORDER,
                key=purchase.pk,
                reference=purchase.number,
                status="confirmed",
                visit_id=purchase.visit,
                created_at=now,
                changed_at=now,
                status_at=now,
                changes=1,
            )
            for purchase in purchases
        )
        SyncState.objects.bulk_create(
            SyncState(subject=subject, credential=credential, due_at=None) for subject in subjects
        )


def rewind(orders: int) -> None:
    """The first ``orders`` as the relay left them, and no trace of a delivery."""
    from django.db import connection
    from django.utils import timezone

    from optico_sync.models import Attempt, Hour, Subject, SyncState

    Attempt.objects.all().delete()
    Hour.objects.all().delete()
    fresh = SyncState(queue=["confirmed"], last_queued="confirmed", generation=1, due_at=timezone.now())
    kept = ("id", "subject", "credential")
    values = {field.name: getattr(fresh, field.attname) for field in SyncState._meta.fields if field.name not in kept}
    chosen = Subject.objects.order_by("pk").values_list("pk", flat=True)[orders - 1]
    SyncState.objects.filter(subject__lte=chosen).update(**values)
    Subject.objects.update(content="")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    sys.exit(main())
