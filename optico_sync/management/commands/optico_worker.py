"""``manage.py optico_worker``: delivers until it is told to stop."""

from __future__ import annotations

import gc
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import Installation


class Command(BaseCommand):
    help = "Send what waits to the vendors, until SIGTERM or Ctrl-C; --once for cron."
    # The others load the shop's URLs with all their views, 12 MiB and more that a worker has no use for.
    requires_system_checks = ("optico_sync",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="send what is due now, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        worker = EmbeddedWorker(stop=stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread: the handler may interrupt this one while it holds the event's own lock.
            signal.signal(number, lambda *_received: threading.Thread(target=stop.set).start())
        # All code is loaded by now and stays: to look through it at every collection is a tenth of a worker's time.
        gc.freeze()
        if options["once"]:
            self.stdout.write(f"Handled {worker.run_once()} orders.")
            return
        self.stdout.write(f"Worker {worker.name} started.")
        found = Installation.compare()
        if found.is_another:
            self.stdout.write(f"Another installation ({found.words}): nothing is sent. See optico_installation.")
        worker.run()
        self.stdout.write(f"Worker {worker.name} stopped.")
