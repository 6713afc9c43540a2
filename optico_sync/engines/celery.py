"""Celery 5.4 or newer, on Redis or RabbitMQ, with the Celery app that the shop has.

The message carries a lane's number and a token. Results are not stored, and Celery's own retries are not used.
"""

from __future__ import annotations

from collections.abc import Iterable

from celery import current_app, shared_task
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.utils.translation import gettext_lazy as _

from optico_sync import conf, wakeups
from optico_sync.engines import chores
from optico_sync.engines.task import run
from optico_sync.exceptions import ConfigurationError


# Acknowledged when done: the broker then gives the task of a killed process to another, sooner than the round would.
@shared_task(name="optico_sync.work", ignore_result=True, acks_late=True, reject_on_worker_lost=True)
def work(lane: int, token: str) -> None:
    run(lane, token)


@shared_task(name="optico_sync.round", ignore_result=True)
def make_round() -> None:
    wakeups.make_round()
    chores.run()


class CeleryEngine(wakeups.Engine):
    start_hint = _("Start a Celery worker and Celery beat.")
    round_hint = _('Put the task "optico_sync.round" into the schedule of Celery beat, every 5 seconds.')

    def send(self, lane: int, token: str) -> None:
        if current_app.conf.task_always_eager:
            raise ConfigurationError("CELERY_TASK_ALWAYS_EAGER would deliver in the shop's own process.")
        work.apply_async((lane, token), retry_policy={"max_retries": 0}, **conf.options().ENGINE_OPTIONS)

    def check(self) -> Iterable[CheckMessage]:
        if current_app.conf.task_always_eager:
            yield Error(
                "Celery runs tasks at once (task_always_eager), so no wake-up is sent: vendors would be called in the "
                "shop's own process.",
                hint=f"Unset CELERY_TASK_ALWAYS_EAGER, or set {conf.SETTING}['ENGINE'] to \"embedded\".",
                id="optico_sync.E006",
            )
        if apps.is_installed("django_celery_beat"):
            # The schedule is in the database; `check --database` sees whether the round runs.
            return
        if not any(entry.get("task") == make_round.name for entry in current_app.conf.beat_schedule.values()):
            yield Warning(
                "Celery beat does not run the periodic round, so retries are sent late or never.",
                hint=f"{self.round_hint} See docs/scaling.md. If it is there already, import your Celery app in the "
                "__init__.py beside your settings.",
                id="optico_sync.W007",
            )
