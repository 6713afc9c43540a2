"""``manage.py optico_round``: the periodic round of an engine that has no schedule of its own."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from optico_sync import conf, wakeups
from optico_sync.engines import chores
from optico_sync.exceptions import ConfigurationError


class Command(BaseCommand):
    help = "Wake the engine for whatever is due. For cron, with ENGINE celery or django_tasks."

    def handle(self, *args: Any, **options: Any) -> None:
        if conf.options().ENGINE == "embedded":
            raise CommandError(
                "ENGINE is embedded, and its worker makes its rounds by itself: run optico_worker, "
                "or optico_worker --once from cron."
            )
        try:
            wakeups.make_round()
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        except Exception as error:
            # Its text may quote the broker's address, password included.
            raise CommandError(
                f"The engine could not be woken ({type(error).__name__}); nothing is lost. Is its broker running?"
            ) from None
        chores.run()
