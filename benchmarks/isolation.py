"""One vendor hangs with time-outs: how much of its rate does another keep?

    python -m benchmarks.isolation [--orders 600] [--rounds 3]

Two sandboxes, one worker, SQLite. In each round the healthy vendor's orders are delivered twice: with the other vendor
switched off, and with it hanging. Printed: both rates and their ratio, medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{Path(folder) / 'isolation.sqlite3'}"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, run_syncdb=True)
        alone, beside = measure(options.orders, options.rounds)
    ratio = statistics.median(second / first for first, second in zip(alone, beside, strict=True))
    sys.stdout.write(f"| vendor beside | orders/s (median of {options.rounds}) | ratio |\n| --- | --- | --- |\n")
    sys.stdout.write(f"| switched off | {statistics.median(alone):.0f} | 1.00 |\n")
    sys.stdout.write(f"| hanging | {statistics.median(beside):.0f} | {ratio:.2f} |\n")
    return 0


def measure(orders: int, rounds: int) -> tuple[list[float], list[float]]:
    """Orders a second of the healthy vendor: alone, and beside the one that hangs."""
    from optico_sync.models import VendorCredential
    from optico_sync.sandbox.client import SandboxServer
    from tests.helpers import KEY, STATUSES, make_credential

    rates: dict[bool, list[float]] = {False: [], True: []}
    with SandboxServer(keys=[KEY], statuses=STATUSES) as healthy, SandboxServer(keys=[KEY]) as hung:
        healthy.config(latency=0.02)
        hung.fault_all({"kind": "hang", "seconds": 30})
        make_credential(healthy.url, name="healthy")
        other = make_credential(hung.url, name="hung")
        for _ in range(rounds):
            for is_on in (False, True):
                VendorCredential.objects.filter(pk=other.pk).update(
                    is_enabled=is_on, opened_at=None, open_until=None, failures=0
                )
                rates[is_on].append(run(orders))
    return rates[False], rates[True]


def run(orders: int) -> float:
    """Place ``orders``, and deliver them with one worker."""
    from django.db import connections

    from optico_sync.engines.embedded import EmbeddedWorker
    from optico_sync.models import SyncState
    from optico_sync.relay import relay_all
    from tests.helpers import place

    for _ in range(orders):
        place("N", "confirmed")
    relay_all()
    waiting = SyncState.objects.filter(credential__name="healthy", state=SyncState.State.WAITING)
    stop = threading.Event()

    def work() -> None:
        try:
            EmbeddedWorker(stop=stop).run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    began = time.perf_counter()
    thread.start()
    try:
        while waiting.exists():
            time.sleep(0.02)
        return orders / (time.perf_counter() - began)
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
