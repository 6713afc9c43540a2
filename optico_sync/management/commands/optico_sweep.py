"""``manage.py optico_sweep``: finds changes that were not captured."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import Sweep
from optico_sync.sweep import LEASE, sweep


class Command(BaseCommand):
    help = (
        "Compare the recent orders with what was captured, and queue what passed by unseen: changes by "
        "QuerySet.update(), bulk_create(), SQL. The worker does the same by itself every SWEEP_INTERVAL seconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="every order; one that was stopped is taken up where it was left"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not conf.options().ENABLED:
            raise CommandError(f"{conf.SETTING}['ENABLED'] is False: nothing is swept.")
        last = None
        try:
            with tqdm(unit=" orders", disable=None, file=self.stderr) as progress:
                for last in sweep(Sweep.Scope.ALL if options["all"] else Sweep.Scope.RECENT):
                    progress.update(last.checked - progress.n)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        if last is None:
            seconds = int(LEASE.total_seconds())
            raise CommandError(f"A sweep is running, or was killed less than {seconds} seconds ago. Try again then.")
        if last.running:
            raise CommandError("Another process has taken this sweep over.")
        self.stdout.write(f"Checked {last.checked} orders. {self._told(last)}")

    @staticmethod
    def _told(last: Sweep) -> str:
        if not last.found:
            return "Nothing was missed by capture."
        more = ", ..." if last.found > len(last.references) else ""
        return f"Found by the sweep, missed by capture: {last.found} ({', '.join(last.references)}{more}). Queued."
