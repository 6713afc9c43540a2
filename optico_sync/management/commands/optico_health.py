"""``manage.py optico_health``: is all well? For monitors and cron."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError

from optico_sync.health import Finding, Health, Level, health, unreadable


class Command(BaseCommand):
    help = "Say whether all is well. Exit status 0: fine, 1: degraded, 2: broken. No personal data."
    # A check that fails ends a command with status 1, which would say "degraded" here.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="everything, as the API's health gives it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = health()
        except DatabaseError as error:
            level, problems = Level.BROKEN, [unreadable(error)]
            whole = {"status": level.word, "problems": [problem.as_dict() for problem in problems]}
            lines = self._problem_lines(level, problems)
        else:
            level, whole = found.level, found.as_dict()
            lines = [*self._problem_lines(level, found.problems), *self._total_lines(found)]
        self.stdout.write(json.dumps(whole) if options["json"] else "\n".join(lines))
        if level:
            raise SystemExit(int(level))

    @staticmethod
    def _problem_lines(level: Level, problems: Sequence[Finding]) -> list[str]:
        def told(problem: Finding) -> str:
            whose = f"{problem.credential.name}: " if problem.credential else ""
            return f"{problem.level.word}: {whose}{problem.text}"

        return [f"Health: {level.word}.", *map(told, problems)]

    @staticmethod
    def _total_lines(found: Health) -> list[str]:
        return [
            f"{credential.name}: "
            + (", ".join(f"{state} {count}" for state, count in credential.totals.items()) or "not counted yet")
            for credential in found.credentials
        ]
