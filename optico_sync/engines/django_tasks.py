"""``django.tasks``, Django 6's own, or the ``django-tasks`` backport on 5.2; tested with the backend django-tasks-db.

Due times, retries and results are the app's own: a backend may lack all of them, and lose a task.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext_lazy as _

from optico_sync import conf
from optico_sync.engines.task import run
from optico_sync.exceptions import ConfigurationError
from optico_sync.wakeups import Engine

try:
    from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task, task_backends
    from django.tasks.backends.dummy import DummyBackend
    from django.tasks.backends.immediate import ImmediateBackend
except ImportError:
    from django_tasks import DEFAULT_TASK_BACKEND_ALIAS, task, task_backends  # type: ignore[no-redef,assignment]
    from django_tasks.backends.dummy import DummyBackend  # type: ignore[assignment]
    from django_tasks.backends.immediate import ImmediateBackend  # type: ignore[assignment]


# Bare: a queue that the shop's TASKS does not list would raise here, at import.
@task
def work(lane: int, token: str) -> None:
    run(lane, token)


class DjangoTasksEngine(Engine):
    start_hint = _("Start the worker of your django.tasks backend, for django-tasks-db: manage.py db_worker.")

    def send(self, lane: int, token: str) -> None:
        if problem := self._problem():
            raise ConfigurationError(problem)
        work.using(**conf.options().ENGINE_OPTIONS).enqueue(lane, token)

    def check(self) -> Iterable[CheckMessage]:
        if problem := self._problem():
            yield Error(
                problem,
                hint="Set TASKS to a backend with a worker, such as django-tasks-db, or "
                f"{conf.SETTING}['ENGINE'] to \"embedded\".",
                id="optico_sync.E006",
            )

    @staticmethod
    def _problem() -> str:
        options = conf.options().ENGINE_OPTIONS
        alias = options.get("backend", DEFAULT_TASK_BACKEND_ALIAS)
        try:
            backend = task_backends[alias]
            work.using(**options)
        except Exception as error:
            # Each backend, and each Django, has its own words for this.
            return f"{conf.SETTING}['ENGINE_OPTIONS'] does not fit TASKS: {error}"
        if isinstance(backend, ImmediateBackend):
            return f"The backend {alias!r} of TASKS runs tasks at once: vendors would be called in the checkout."
        if isinstance(backend, DummyBackend):
            return f"The backend {alias!r} of TASKS runs no task at all, so nothing would be sent."
        return ""
