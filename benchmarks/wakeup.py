"""From the commit of an order to the start of its request: how long does an idle worker take?

    DATABASE_URL=postgres://... python -m benchmarks.wakeup [--orders 100]

One worker process, a sandbox vendor, three orders a second, quiet period 0, in a test database beside the one that
DATABASE_URL names (SQLite without it), which is dropped at the end. Printed: p50, p95 and the worst.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.db import connection
    from django.test.runner import DiscoverRunner

    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        waits = measure(options.orders)
    finally:
        runner.teardown_databases(databases)
    waits.sort()
    sys.stdout.write("| database | orders | p50 | p95 | worst |\n| --- | --- | --- | --- | --- |\n")
    figures = (statistics.median(waits), waits[int(len(waits) * 0.95)], waits[-1])
    shown = " | ".join(f"{1000 * figure:.0f} ms" for figure in figures)
    sys.stdout.write(f"| {connection.vendor} | {len(waits)} | {shown} |\n")
    return 0


def measure(orders: int) -> list[float]:
    """Seconds from each order's commit to the moment its request starts, by the clock of this machine."""
    from django.db import transaction

    from optico_sync.models import Attempt, Worker
    from optico_sync.sandbox.client import SandboxServer
    from tests.helpers import KEY, STATUSES, make_credential, place
    from tests.processes import kill, nothing_left, processes, wait_until

    committed: dict[str, float] = {}
    with SandboxServer(keys=[KEY], statuses=STATUSES) as vendor, processes() as run:
        make_credential(vendor.url)
        worker = run("django", "optico_worker")
        wait_until(Worker.objects.exists, 30)
        for number in range(orders + 5):
            time.sleep(random.uniform(0.2, 0.4))
            with transaction.atomic():
                purchase = place(f"N-{number}", "confirmed")
            committed[purchase.pk] = time.time()
        wait_until(nothing_left, 30)
        kill(worker)
    attempts = Attempt.objects.order_by("pk").values_list("sync_state__subject__key", "started_at")
    # The first few find the worker still making its threads.
    return [at.timestamp() - committed[key] for key, at in attempts[5:]]


if __name__ == "__main__":
    sys.exit(main())
