"""``manage.py optico_reconcile``: compares what the vendors hold with the shop."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from optico_sync.exceptions import ConfigurationError
from optico_sync.management.arguments import add_operator, operator_named
from optico_sync.models import Reconciliation, VendorCredential
from optico_sync.reconcile import Result, reconcile
from optico_sync.relay import relay_all
from optico_sync.selection import CHUNK, Selection
from optico_sync.verbs import resend_selected

DRIFT, UNREAD = 1, 2

_HEAD = ("order", "what", "field", "in the shop", "at the vendor")
_WHAT = {"differs": "differs", "missing": "not at the vendor", "unknown": "not in the shop"}
#: Characters of a value in the table.
_WIDTH = 40


class Command(BaseCommand):
    help = (
        "Read back what the vendors hold, where they offer it, and compare it with the shop field by field. Exits 0 "
        "when they are in step, 1 when they are not, 2 when a vendor could not be read."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--credential", metavar="NAME", help="only this vendor credential")
        parser.add_argument("--repair", action="store_true", help="queue the drifted orders to be sent again")
        add_operator(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self._operator = operator_named(options["operator"])
        credentials = self._chosen(options["credential"])
        try:
            relay_all()
            runs = [self._reconcile(credential, repair=options["repair"]) for credential in credentials]
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=UNREAD) from error
        except Exception as error:
            # Django would exit with 1, which says drift.
            raise CommandError(f"It could not be done ({type(error).__name__}).", returncode=UNREAD) from error
        if unread := [run for run in runs if run.failure]:
            raise CommandError(f"{len(unread)} of {len(runs)} credentials could not be read.", returncode=UNREAD)
        if drifted := sum(run.drifted for run in runs):
            raise CommandError(f"{drifted} orders drifted.", returncode=DRIFT)

    @staticmethod
    def _chosen(name: str | None) -> list[VendorCredential]:
        """The credentials that can be read back, or the one that was named."""
        credentials = list(VendorCredential.objects.defer("sealed_secrets"))
        if name is None:
            chosen = [credential for credential in credentials if credential.reads_back]
            if not chosen:
                raise CommandError("There is no credential whose vendor offers to read back.", returncode=UNREAD)
            return chosen
        named = next((credential for credential in credentials if credential.name == name), None)
        if named is None:
            known = ", ".join(credential.name for credential in credentials) or "none"
            raise CommandError(f"There is no credential {name!r}. Known: {known}.", returncode=UNREAD)
        if not named.reads_back:
            raise CommandError(f"The vendor of {name!r} offers no way to read back.", returncode=UNREAD)
        return [named]

    def _reconcile(self, credential: VendorCredential, *, repair: bool) -> Reconciliation:
        with tqdm(desc=credential.name, unit=" orders", disable=None, file=self.stderr) as progress:
            result = reconcile(credential, progress=progress.update)
        run = result.run
        if run.failure:
            reason = credential.explain(run.failure)
            said = f" ({run.failure_detail})" if run.failure_detail else ""
            self.stdout.write(f"{credential.name}: could not be read. {reason.text}{said}")
            return run
        self.stdout.write(
            f"{credential.name}: {run.compared} orders compared, {run.drifted} drifted; {run.on_their_way} on their "
            f"way, {run.left_out} left out by the rules."
        )
        self._write_table(run)
        if repair:
            self.stdout.write(f"Queued {_repair(credential, result, self._operator)} orders to be sent again.")
        return run

    def _write_table(self, run: Reconciliation) -> None:
        rows = [_HEAD, *(_cells(drift) for drift in run.drifts)]
        if len(rows) == 1:
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        shown = len({(drift["order"], drift["kind"]) for drift in run.drifts})
        if shown < run.drifted:
            self.stdout.write(f"... and {run.drifted - shown} orders more.")


def _repair(credential: VendorCredential, result: Result, operator: Any) -> int:
    count = 0
    for first in range(0, len(result.keys), CHUNK):
        selection = Selection(keys=result.keys[first : first + CHUNK], credential_id=credential.pk)
        count += sum(resend_selected(selection, user=operator))
    return count


def _cells(drift: dict[str, Any]) -> Sequence[str]:
    shop, vendor = (_value(drift[side], drift) for side in ("shop", "vendor"))
    return (drift["order"], _WHAT[drift["kind"]], drift["field"], shop, vendor)


def _value(value: str | None, drift: dict[str, Any]) -> str:
    if value is None:
        return "(personal)"
    if drift["field"] and not value:
        return "(none)"
    return value if len(value) <= _WIDTH else value[: _WIDTH - 1] + "…"
