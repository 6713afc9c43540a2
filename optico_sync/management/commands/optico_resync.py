"""``manage.py optico_resync``: sends orders again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from optico_sync.exceptions import ConfigurationError
from optico_sync.management.arguments import add_operator, credential_named, moment, operator_named, told
from optico_sync.models import SyncState, VendorCredential
from optico_sync.preview import preview
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
from optico_sync.verbs import resend_selected


class Command(BaseCommand):
    help = (
        "Queue orders to be sent again with their content and status of now. Rules hold as ever: orders that are not "
        "mapped, too old for their credential or deleted are not sent."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("references", nargs="*", metavar="REFERENCE", help="order references (numbers)")
        parser.add_argument("--key", action="append", metavar="KEY", help="primary key of an order; may be repeated")
        parser.add_argument("--state", choices=SyncState.State.values, help="orders in this sync state")
        parser.add_argument("--status", action="append", metavar="STATUS", help="orders in this shop status; repeat")
        parser.add_argument("--from", dest="placed_from", type=moment, metavar="DATE", help="placed at or after")
        parser.add_argument("--until", dest="placed_until", type=moment, metavar="DATE", help="placed before")
        parser.add_argument("--credential", metavar="NAME", help="only this vendor credential")
        add_operator(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        operator = operator_named(options["operator"])
        selection = Selection(
            references=options["references"] or None,
            keys=options["key"],
            statuses=options["status"],
            placed_from=options["placed_from"],
            placed_until=options["placed_until"],
            state=options["state"],
            credential_id=credential_named(options["credential"]),
        )
        if selection.is_empty:
            raise CommandError("Say which orders: references, --key, --state, --status, --from or --until.")
        if not VendorCredential.objects.exists():
            raise CommandError(
                "There is no vendor credential yet, so there is nobody to send to. Add one in the admin."
            )
        try:
            if missing := selection.missing():
                raise CommandError(f"No such order: {', '.join(missing)}. Nothing was queued.")
            if options["dry_run"]:
                self._preview(selection)
                return
            relay_all()
            count = 0
            with tqdm(unit=" orders", disable=None, file=self.stderr) as progress:
                for done in resend_selected(selection, user=operator):
                    count += done
                    progress.update(done)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Queued {count} orders to be sent again.")

    def _preview(self, selection: Selection) -> None:
        found = preview(selection.chunks(), credential_id=selection.credential_id)
        orders = max((one.orders for one in found), default=0)
        self.stdout.write(f"Would queue {orders} orders to be sent again.")
        for line in told(found):
            self.stdout.write(line)
