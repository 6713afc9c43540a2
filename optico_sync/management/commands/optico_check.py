"""``manage.py optico_check``: tests the connection of each credential."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from optico_sync.models import VendorCredential
from optico_sync.probe import probe

_WORDS = {True: "good", False: "BAD", None: "not proven"}


class Command(BaseCommand):
    help = "Test the connection of every credential, or of those named. Makes no record and mails nobody."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="CREDENTIAL", help="names of credentials; all when none")

    def handle(self, *args: Any, **options: Any) -> None:
        credentials = list(VendorCredential.objects.defer("sealed_secrets"))
        if unknown := set(options["names"]) - {credential.name for credential in credentials}:
            known = ", ".join(credential.name for credential in credentials) or "none"
            raise CommandError(f"There is no credential {', '.join(sorted(unknown))}. Known: {known}.")
        chosen = [one for one in credentials if not options["names"] or one.name in options["names"]]
        bad = 0
        for credential in chosen:
            finding = probe(credential)
            bad += finding.is_good is False
            self.stdout.write(f"{credential.name}: {_WORDS[finding.is_good]}. {finding.text}")
        if bad:
            raise CommandError(f"{bad} of {len(chosen)} credentials cannot send.")
