"""``manage.py optico_purge``: removes the history and the carts that are older than the settings say."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from optico_sync import conf
from optico_sync.purge import BATCH, purge

#: Batches that ``--dry-run`` counts.
COUNTED = 200


class Command(BaseCommand):
    help = (
        "Remove captured changes and attempts older than HISTORY_DAYS, and carts that nobody changed for CART_DAYS. "
        "Orders and where they stand stay for ever. The worker does the same by itself, a little every hour."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=int, metavar="DAYS", help="than so many days, whatever the settings")
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        days, is_dry = options["older_than"], options["dry_run"]
        if days is not None and days < 1:
            raise CommandError("--older-than must be a day at least.")
        if days is None and not (conf.options().HISTORY_DAYS or conf.options().CART_DAYS):
            self.stdout.write("Everything is kept for ever: HISTORY_DAYS and CART_DAYS are 0.")
            return
        counts: Counter[str] = Counter()
        batches = purge(days=days, is_dry=is_dry)
        with tqdm(unit=" rows", disable=None, file=self.stderr) as progress:
            for what, count in islice(batches, COUNTED) if is_dry else batches:
                counts[what] += count
                progress.update(count)
        found = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing"
        is_more = is_dry and next(batches, None) is not None
        more = f" and perhaps more: only {COUNTED * BATCH} rows were looked at" if is_more else ""
        self.stdout.write(f"{'Would remove' if is_dry else 'Removed'} {found}{more}.")
