"""``manage.py optico_installation``: is this the installation that everything was set up for, or a copy of it?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from optico_sync.installation import SANDBOX_URL, adopt, stay_off, use_sandbox
from optico_sync.management.arguments import add_operator, operator_named
from optico_sync.models import Installation
from optico_sync.models.installation import SIGNS, Comparison
from optico_sync.verbs import log


class Command(BaseCommand):
    help = "Say which installation this is and what differs; from another one than recorded nothing is sent (exit 1)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        answers = parser.add_mutually_exclusive_group()
        answers.add_argument("--adopt", action="store_true", help="this is the real one: go on sending")
        answers.add_argument(
            "--sandbox",
            nargs="?",
            const=SANDBOX_URL,
            metavar="URL",
            help=f"this is a copy: forget every live key and send to the sandbox ({SANDBOX_URL})",
        )
        answers.add_argument("--stay-off", action="store_true", help="this is a copy that sends nothing: ask no more")
        add_operator(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        operator = operator_named(options["operator"])
        found = Installation.compare()
        wanted = options["adopt"] or options["sandbox"] or options["stay_off"]
        if found.is_another and wanted:
            told = self._answer(options)
            self.stdout.write(told)
            log(operator, list(Installation.objects.all()), told)
            return
        self._show(found)
        if found.is_another:
            raise CommandError("Nothing is sent. Choose --adopt, --sandbox or --stay-off.")
        self.stdout.write("Nothing is held." if found.record else "Not recorded yet: the first worker does that.")

    def _answer(self, options: dict[str, Any]) -> str:
        """Do it; returns what was done, in words."""
        if options["adopt"]:
            return f"Adopted. Credentials that go on sending: {adopt()}."
        if options["stay_off"]:
            stay_off()
            return "This copy stays off."
        try:
            off = use_sandbox(options["sandbox"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        told = "Every credential sends to the sandbox now; the live keys are gone from this copy."
        return "\n".join([told, *(f"{name}: switched off, for want of a sandbox." for name in off)])

    def _show(self, found: Comparison) -> None:
        """Each sign, here and as recorded."""
        for sign in SIGNS:
            here = getattr(found.here, sign)
            was = getattr(found.record.known, sign) if found.record else here
            self.stdout.write(f"{sign}: {here or '-'}" + (f" (recorded: {was or '-'})" if was != here else ""))
        if found.record:
            self.stdout.write(f"recorded: {found.record.recorded_at:%Y-%m-%d %H:%M} by {found.record.machine}")
