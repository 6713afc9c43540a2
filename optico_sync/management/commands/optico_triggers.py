"""``manage.py optico_triggers``: lets the database itself capture what changes."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from optico_sync import conf, triggers
from optico_sync.exceptions import ConfigurationError
from optico_sync.shops import event_databases


class Command(BaseCommand):
    help = "Install, remove or check the triggers by which the database itself captures what changes in the shop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_mutually_exclusive_group(required=True)
        verbs.add_argument("--install", action="store_true", help="install what is missing, remove what is out of date")
        verbs.add_argument("--remove", action="store_true", help="remove all of them")
        verbs.add_argument("--check", action="store_true", help="change nothing; exit 1 when --install is needed")

    def handle(self, *args: Any, **options: Any) -> None:
        # Orders and carts may live in two databases, each with an outbox.
        databases = event_databases()
        try:
            if options["install"]:
                self._install(databases)
            elif options["remove"]:
                self._remove(databases)
            else:
                self._check(databases)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database refused: {error}. docs/triggers.md names the rights it takes.") from error

    def _install(self, databases: Sequence[str]) -> None:
        self.stdout.write(f"{sum(map(triggers.install, databases))} triggers are installed.")
        if conf.options().CAPTURE != "triggers":
            self.stdout.write(
                f'Now set {conf.SETTING}["CAPTURE"] = "triggers" and restart: until then all counts twice.'
            )

    def _remove(self, databases: Sequence[str]) -> None:
        self.stdout.write(f"Removed {sum(map(triggers.remove, databases))} triggers.")
        if conf.options().CAPTURE == "triggers":
            self.stdout.write(
                f'Now set {conf.SETTING}["CAPTURE"] = "signals" and restart: until then only the sweep sees.'
            )

    def _check(self, databases: Sequence[str]) -> None:
        wrong = [problem for using in databases for problem in triggers.problems(using)]
        for problem in wrong:
            self.stdout.write(problem)
        if wrong:
            raise CommandError("Run optico_triggers --install.")
        self.stdout.write("All triggers are installed and up to date.")
