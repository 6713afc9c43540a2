"""Wake-ups: the engine is told that there may be work. What work, the database knows.

A wake-up may be lost, doubled or late, and nothing depends on it but speed: the periodic round finds everything.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache, partial

from django.core.checks import CheckMessage
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.dispatch import receiver
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import RelayState, Wakeup
from optico_sync.models.clock import database_now
from optico_sync.models.wakeups import RELAY

logger = logging.getLogger(__name__)

#: One row an engine that comes with the app.
ENGINES = {
    "embedded": "optico_sync.engines.embedded.EmbeddedEngine",
    "celery": "optico_sync.engines.celery.CeleryEngine",
    "django_tasks": "optico_sync.engines.django_tasks.DjangoTasksEngine",
}
#: Seconds without wake-ups after one that failed: the broker is down, and the round does its work.
REST = 10.0


class Engine:
    """What wakes the delivery. To add one, say how a wake-up is sent; its task calls ``engines.task.run``."""

    #: Whether a committed change is worth a wake-up; else whoever delivers looks by itself.
    wakes = True
    #: The least number of seconds between two announcements of one process.
    interval = 0.5
    #: What must run, and how the periodic round is set up, for the admin and the checks.
    start_hint: str | Promise = _("Start its worker.")
    round_hint: str | Promise = _("Run manage.py optico_round every minute, for example from cron.")

    def send(self, lane: int, token: str) -> None:
        """Have ``engines.task.run(lane, token)`` called soon, in another process. May be slow, and may raise.

        Never called in the shop's checkout.
        """
        raise NotImplementedError

    def announce(self) -> None:
        """Tell that changes were committed. May be slow, and may raise."""
        wake(RELAY)

    def check(self) -> Iterable[CheckMessage]:
        """What is wrong with its set-up."""
        return ()


def get_engine() -> Engine:
    """The engine that the settings name. Raises ``ConfigurationError`` that names the setting and the cure."""
    return _load(conf.options().ENGINE)


def words() -> Engine:
    """The engine, to say what must run; one that cannot be loaded is for the system checks to tell."""
    try:
        return get_engine()
    except ConfigurationError:
        return Engine()


def wake(lane: int) -> bool:
    """Send a wake-up for ``lane``, unless one is out. Raises what the engine raises, as if nothing had been sent."""
    engine = get_engine()
    wakeups = Wakeup.objects.using(router.db_for_write(Wakeup))
    lost_after = timedelta(seconds=conf.options().LEASE)
    token = wakeups.take(lane, now=database_now(wakeups.db), lost_after=lost_after)
    if not token:
        return False
    try:
        engine.send(lane, token)
    except Exception:
        wakeups.end(lane, token)
        raise
    return True


def make_round() -> None:
    """The periodic round: look for whatever became due without a wake-up. Raises what the engine raises."""
    note_round()
    wake(RELAY)


def note_round() -> None:
    """Record that a round runs, for whoever asks when the last one was."""
    states = RelayState.objects.using(router.db_for_write(RelayState))
    now = database_now(states.db)
    if not states.filter(pk=1).update(round_at=now):
        states.get_or_create(pk=1, defaults={"round_at": now})


def ring(rest: float | None = None) -> None:
    """A change was committed in this process: have the engine told after ``rest``, the quiet period unless given.

    Takes microseconds, and raises nothing.
    """
    _bell.ring(conf.options().QUIET_PERIOD if rest is None else rest)


def ring_soon(using: str) -> None:
    """An operator left something to send, which needs no rest: have the engine told once it is committed."""
    if is_wanted():
        transaction.on_commit(partial(ring, 0.0), using=using, robust=True)


def is_wanted() -> bool:
    """Whether the engine wants to hear of committed changes. Raises nothing: it is asked in the checkout."""
    try:
        return get_engine().wakes
    except ConfigurationError:
        return False


class _Bell:
    """Tells the engine from a thread of its own.

    Celery's publish to a broker that is down takes 0.6 seconds by default and 6 with ``retry=False`` (5.7; 2 ms told
    not to retry), and as long as connecting may take where the broker's packets are dropped. A NOTIFY in the shop's
    transaction would be no better: it holds a lock of the whole PostgreSQL cluster until the commit is on disk, so
    that checkouts commit one by one. Neither belongs in a checkout.

    The engine is told when the quiet period is over, for then there is something to do, and once for everything
    within its ``interval``.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring(self, rest: float) -> None:
        due = time.monotonic() + rest
        with self._changed:
            interval = get_engine().interval
            is_first = not self._times or due < self._times[0] - interval
            if is_first:
                self._times.appendleft(due)
            elif self._times[-1] < due:
                self._times.append(max(due, self._times[-1] + interval))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="optico_sync-bell", daemon=True)
                self._thread.start()
            elif is_first:
                # Else it sleeps until the first one anyhow, and waking it would take the checkout's time.
                self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._times or (left := self._times[0] - time.monotonic()) > 0:
                    self._changed.wait(left if self._times else None)
            began = time.monotonic()
            rest = self._announce()
            with self._changed:
                while self._times and self._times[0] <= began:
                    self._times.popleft()
            if rest >= REST or not self._times:
                # Nobody's connection: it must not keep a test database from being dropped.
                connections.close_all()
            time.sleep(rest)

    @staticmethod
    def _announce() -> float:
        """Tell the engine. Returns how long to rest."""
        try:
            get_engine().announce()
            return get_engine().interval
        except Exception as error:
            # The error's own text may quote a broker's address, password included.
            logger.warning("The engine could not be woken (%s); the round finds the work.", type(error).__name__)
            return REST


_bell = _Bell()


def _new_bell() -> None:
    global _bell  # noqa: PLW0603 - a forked process has no thread, and perhaps a lock that nobody gives back
    _bell = _Bell()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_bell)


@lru_cache
def _load(name: str) -> Engine:
    path = ENGINES.get(name, name)
    try:
        engine = import_string(path)()
    except Exception as error:
        # Whatever a dotted path leads to, and whatever its code does; also an optional package that is absent.
        raise ConfigurationError(f"{conf.SETTING}['ENGINE'] is {name!r}, which cannot be used ({error}).") from error
    if not isinstance(engine, Engine):
        raise ConfigurationError(f"{conf.SETTING}['ENGINE'] is {name!r}, which is not an Engine.")
    return engine


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == conf.SETTING:
        _load.cache_clear()
