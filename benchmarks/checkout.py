"""What does a checkout pay for the app, and for what one would take instead?

    DATABASE_URL=postgres://... python -m benchmarks.checkout [--rounds 40] [--checkouts 10] [--bulk] [--only NAME ...]

The demo shop's models, in a test database beside the one that DATABASE_URL names, which is dropped at the end. A
checkout is an order with three lines in one transaction, then a change of its status in another. Contestants take turns
in every round; a figure is the median of a turn's checkouts, a ratio the median of the rounds' own. Peers that
``benchmarks/requirements.txt`` names are measured where they are installed; Celery needs a Redis, at REDIS_URL.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from operator import sub
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rounds import empty_database, interleave, machine, print_table, ratio
from benchmarks.stub import KEY

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/9")
VISIT = "5f2b6c1d8e9a4b7c6d5e4f3a"
PRICE = Decimal("29.99")
#: What ratios are to.
NONE = "no integration"

Contestant = Callable[[], AbstractContextManager[None]]


class Turn(NamedTuple):
    """Seconds of a checkout: by the clock, the median one; of the CPU, the mean.

    Steadier, on a machine that does other things: what waiting for the disk and for others takes is not in it.
    """

    wall: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--checkouts", type=int, default=10, help="in each turn")
    parser.add_argument("--bulk", action="store_true", help="the lines by bulk_create, which sends no signals")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants whose name begins so")
    options = parser.parse_args()
    with empty_database("benchmarks.settings"), stub() as url:
        from optico_sync import capture

        capture.disconnect()
        compare = partial(race, rounds=options.rounds, times=options.checkouts, only=options.only)
        check_out = partial(place_and_confirm, place_in_bulk if options.bulk else place_line_by_line)
        sys.stdout.write(f"{machine()}\n\n")
        compare("checkout", check_out, {**ours(), **theirs(url)})
        for kind in ("answers", "hangs"):
            with worker(hangs=kind == "hangs"):
                compare(f"checkout beside a worker whose vendor {kind}", check_out, {"signals": signals})
        compare("save of a model that is not watched", save_product, {"signals": signals})
    return 0


def race(
    what: str,
    work: Callable[[int], None],
    contestants: Mapping[str, Contestant | None],
    *,
    rounds: int,
    times: int,
    only: Sequence[str] | None,
) -> None:
    """Measure all that are installed, and print them."""
    chosen = {name: one for name, one in contestants.items() if not only or name.startswith(tuple(only))}
    if not chosen:
        return
    present: dict[str, Contestant] = {NONE: nullcontext, **{name: one for name, one in chosen.items() if one}}
    figures = interleave({name: partial(measure, one, work, times) for name, one in present.items()}, rounds)
    walls = {name: [turn.wall for turn in turns] for name, turns in figures.items()}
    cpus = {name: [turn.cpu for turn in turns] for name, turns in figures.items()}
    rows = [
        (
            name,
            f"{1000 * statistics.median(walls[name]):.2f}",
            f"{ratio(walls[name], walls[NONE]):.2f}",
            f"{1000 * statistics.median(map(sub, walls[name], walls[NONE])):.2f}",
            f"{ratio(cpus[name], cpus[NONE]):.2f}",
            count_statements(present[name], work),
        )
        for name in present
    ]
    rows += [(name, "not installed", "", "", "", "") for name, one in chosen.items() if one is None]
    print_table((what, "ms", "ratio", "added ms", "ratio of CPU", "SQL"), rows)
    sys.stdout.write("\n")


# the checkout


def place_line_by_line(number: int) -> Any:
    from shop_demo.models import Order, OrderLine

    order = Order.objects.create(customer_name="Anna Smith", email="anna@shop.example", cart_id=f"cart-{number}")
    for line in range(3):
        OrderLine.objects.create(order=order, sku=f"SKU-{line}", title="Blue widget", quantity=2, unit_price=PRICE)
    return order


def place_in_bulk(number: int) -> Any:
    from shop_demo.models import Order, OrderLine

    order = Order.objects.create(customer_name="Anna Smith", email="anna@shop.example", cart_id=f"cart-{number}")
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order, sku=f"SKU-{line}", title="Blue widget", quantity=2, unit_price=PRICE, line_total=2 * PRICE
        )
        for line in range(3)
    )
    return order


def place_and_confirm(place: Callable[[int], Any], number: int) -> None:
    from django.db import transaction

    with transaction.atomic():
        order = place(number)
    with transaction.atomic():
        order.status = order.Status.CONFIRMED
        order.save()


def save_product(number: int) -> None:
    from shop_demo.models import Product

    Product(sku=str(time.perf_counter_ns()), title="Blue widget", price=PRICE).save()


def measure(contestant: Contestant, work: Callable[[int], None], times: int) -> Turn:
    walls = []
    with contestant():
        work(0)
        cpu = cpu_time()
        for number in range(times):
            began = time.perf_counter()
            work(number)
            walls.append(time.perf_counter() - began)
        cpu = cpu_time() - cpu
    return Turn(statistics.median(walls), cpu / times)


def cpu_time() -> float:
    """Of this process, with SQLite in it, and of PostgreSQL's session where that is a process of this machine."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return time.process_time()
    session = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    return time.process_time() + (int(session.read_text().split()[0]) / 1e9 if session.exists() else 0.0)


def count_statements(contestant: Contestant, work: Callable[[int], None]) -> int:
    """Leaves out BEGIN and COMMIT, which all share."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with contestant(), CaptureQueriesContext(connection) as captured:
        work(0)
    return sum(not query["sql"].startswith(("BEGIN", "COMMIT")) for query in captured.captured_queries)


# who takes part


def ours() -> dict[str, Contestant | None]:
    return {
        "signals": signals,
        "signals, with a visit": partial(signals, visit=VISIT),
        "signals, five vendors": partial(signals, vendors=5),
        "triggers": triggers,
        "triggers, with a visit": partial(triggers, visit=VISIT),
    }


def theirs(url: str) -> dict[str, Contestant | None]:
    """None for a peer that is not installed."""
    return {
        "post in post_save, vendor at 0 ms": partial(post, url, 0, in_transaction=True),
        "post in on_commit, vendor at 0 ms": partial(post, url, 0),
        "post in on_commit, vendor at 50 ms": partial(post, url, 0.05),
        "Celery .delay in on_commit": celery() if find_spec("celery") and find_spec("redis") else None,
        "django-tasks-db enqueue": tasks_db if find_spec("django_tasks_db") else None,
        "django-outbox-pattern": outbox_pattern if find_spec("django_outbox_pattern") else None,
    }


@contextmanager
def signals(visit: str = "", vendors: int = 0) -> Iterator[None]:
    """As in a request that the middleware has seen."""
    from django.test import RequestFactory

    from optico_sync import capture, conf
    from optico_sync.attribution import RequestAttribution, during
    from optico_sync.models import VendorCredential

    request = RequestFactory().post("/checkout/")
    if visit:
        request.COOKIES["optico_visitId"] = visit
    for number in range(vendors):
        VendorCredential.objects.create(
            name=f"Vendor {number}", vendor="optico", base_url="http://127.0.0.1:9", is_enabled=True
        )
    capture.connect()
    try:
        with during(RequestAttribution(request, conf.options().VISIT_COOKIES)):
            yield
    finally:
        capture.disconnect()
        VendorCredential.objects.filter(name__startswith="Vendor ").delete()


@contextmanager
def triggers(visit: str = "") -> Iterator[None]:
    from django.conf import settings
    from django.test import override_settings

    from optico_sync import triggers

    with override_settings(OPTICO_SYNC={**settings.OPTICO_SYNC, "CAPTURE": "triggers"}):
        triggers.install("default")
        try:
            with signals(visit):
                yield
        finally:
            triggers.remove("default")


@contextmanager
def receiver(call: Callable[[Any], None]) -> Iterator[None]:
    """``call`` with every order that is saved, as one would write it by hand."""
    from django.db.models.signals import post_save

    from shop_demo.models import Order

    def saved(instance: Any, **kwargs: Any) -> None:
        call(instance)

    post_save.connect(saved, sender=Order)
    try:
        yield
    finally:
        post_save.disconnect(saved, sender=Order)


@contextmanager
def post(url: str, latency: float, *, in_transaction: bool = False) -> Iterator[None]:
    import requests
    from django.db import transaction

    urllib.request.urlopen(f"{url}/begin?{latency}").close()
    with requests.Session() as session:

        def send(order: Any) -> None:
            session.post(url, {"key": KEY, "id": order.number, "status": "confirmed"}, timeout=5).raise_for_status()

        def send_after_commit(order: Any) -> None:
            transaction.on_commit(partial(send, order))

        with receiver(send if in_transaction else send_after_commit):
            yield


def celery() -> Contestant:
    from celery import Celery
    from django.db import transaction

    app = Celery("benchmarks", broker=REDIS)
    app.conf.update(task_default_queue="benchmark-checkout", task_ignore_result=True)

    @app.task
    def send(key: int) -> None:
        raise NotImplementedError

    @contextmanager
    def contestant() -> Iterator[None]:
        with receiver(lambda order: transaction.on_commit(partial(send.delay, order.pk))):
            yield
        app.control.purge()

    return contestant


@contextmanager
def tasks_db() -> Iterator[None]:
    # Any task will do: none is run.
    from optico_sync.engines.django_tasks import work

    with receiver(lambda order: work.enqueue(order.pk, "")):
        yield


@contextmanager
def outbox_pattern() -> Iterator[None]:
    from django_outbox_pattern.decorators import Config, publish

    from shop_demo.models import Order

    publish([Config(destination="/topic/orders", fields=["number", "status"])])(Order)
    try:
        yield
    finally:
        del Order.save


@contextmanager
def stub() -> Iterator[str]:
    """A vendor that answers at once or as late as it is told, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.stub"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def worker(*, hangs: bool) -> Iterator[None]:
    """A worker process that delivers, at once, to a vendor that answers or never does."""
    from optico_sync.models import DeclaredStatus, Subject, VendorCredential, Worker
    from optico_sync.sandbox.client import SandboxServer
    from tests.processes import kill, processes, wait_until

    statuses = {"pending": False, "confirmed": True}
    with SandboxServer(keys=[KEY.decode()], statuses=statuses) as sandbox, processes(OPTICO_QUIET_PERIOD="0") as start:
        if hangs:
            sandbox.fault_all({"kind": "hang", "seconds": 30})
        credential = VendorCredential(
            name="Optico",
            vendor="optico",
            base_url=sandbox.url,
            is_enabled=True,
            start_at=datetime(2000, 1, 1, tzinfo=UTC),
        )
        credential.set_secrets({"key": KEY.decode()})
        credential.save()
        for name, is_sale in statuses.items():
            DeclaredStatus.objects.create(credential=credential, name=name, is_sale=is_sale)
        process = start("django", "optico_worker")
        try:
            wait_until(Worker.objects.exists, 30)
            yield
        finally:
            kill(process)
            Worker.objects.all().delete()
            Subject.objects.all().delete()
            credential.delete()


if __name__ == "__main__":
    sys.exit(main())
