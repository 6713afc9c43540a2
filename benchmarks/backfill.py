"""How much memory does a backfill take among few orders, and among very many?

    python -m benchmarks.backfill [--orders 10000 1000000]

SQLite. The orders are made in a process of their own. Then, in a fresh one: the work of the job itself, until all
orders were looked at, with what it queues settled at once in the vendor's stead. Printed: the peak of the resident
memory, and orders a second.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Orders of one INSERT.
SLICE = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        sys.stdout.write(STEPS[options.step](*options.orders))
        return 0
    sys.stdout.write("| orders in the shop | peak | orders/s |\n| --- | --- | --- |\n")
    for orders in options.orders:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "DATABASE_URL": f"sqlite:///{Path(folder) / 'backfill.sqlite3'}"}
            command = [sys.executable, "-m", "benchmarks.backfill", "--orders", str(orders), "--step"]
            subprocess.run([*command, "make"], env=environment, check=True)
            told = subprocess.run([*command, "work"], env=environment, check=True, stdout=subprocess.PIPE, text=True)
            sys.stdout.write(told.stdout)
            sys.stdout.flush()
    return 0


def set_up() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()


def make(orders: int) -> str:
    set_up()
    from django.core.management import call_command

    from tests.helpers import make_credential
    from tests.oddshop.models import Item, Purchase

    call_command("migrate", verbosity=0, run_syncdb=True)
    make_credential()
    for first in range(0, orders, SLICE):
        last = min(first + SLICE, orders)
        made = Purchase.objects.bulk_create(Purchase(number=f"N-{n}", stage="confirmed") for n in range(first, last))
        Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in made)
    return ""


def work(orders: int) -> str:
    set_up()
    from optico_sync import jobs
    from optico_sync.models import Job, SyncState
    from optico_sync.selection import Selection

    (job,) = jobs.start(Job.Verb.SEND, Selection())
    began = time.perf_counter()
    while jobs.work():
        SyncState.objects.filter(job=job).update(job=None, due_at=None, state=SyncState.State.IN_SYNC)
    job = Job.objects.get()
    assert (job.looked_at, job.state) == (orders, Job.State.FINISHED), job.state  # noqa: S101
    rate = orders / (time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {orders:,} | {peak:.1f} MiB | {rate:,.0f} |\n"


STEPS = {"make": make, "work": work}

if __name__ == "__main__":
    sys.exit(main())
