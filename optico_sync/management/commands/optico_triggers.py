"""``manage.py optico_triggers``: lets the database itself capture what changes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from optico_sync import conf, triggers
from optico_sync.exceptions import ConfigurationError


class Command(BaseCommand):
    help = "Install, remove or check the triggers by which the database itself captures what changes in the shop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_mutually_exclusive_group(required=True)
        verbs.add_argument("--install", action="store_true", help="install what is missing, remove what is out of date")
        verbs.add_argument("--remove", action="store_true", help="remove all of them")
        verbs.add_argument("--check", action="store_true", help="change nothing; exit 1 when --install is needed")

    def handle(self, *args: Any, **options: Any) -> None:
        using = triggers.outbox_database()
        try:
            if options["install"]:
                self._install(using)
            elif options["remove"]:
                self._remove(using)
            else:
                self._check(using)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database refused: {error}. docs/triggers.md names the rights it takes.") from error

    def _install(self, using: str) -> None:
        self.stdout.write(f"{triggers.install(using)} triggers are installed.")
        if conf.options().CAPTURE != "triggers":
            self.stdout.write(
                f'Now set {conf.SETTING}["CAPTURE"] = "triggers" and restart: until then all counts twice.'
            )

    def _remove(self, using: str) -> None:
        self.stdout.write(f"Removed {triggers.remove(using)} triggers.")
        if conf.options().CAPTURE == "triggers":
            self.stdout.write(
                f'Now set {conf.SETTING}["CAPTURE"] = "signals" and restart: until then only the sweep sees.'
            )

    def _check(self, using: str) -> None:
        wrong = list(triggers.problems(using))
        for problem in wrong:
            self.stdout.write(problem)
        if wrong:
            raise CommandError("Run optico_triggers --install.")
        self.stdout.write("All triggers are installed and up to date.")
