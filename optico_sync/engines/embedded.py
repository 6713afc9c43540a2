"""The worker that comes with the app: relay, sweep and one lane a credential, in threads of one process.

It carries no work of its own. Everything it knows is in the database, so it may be killed at any moment. It polls; on
PostgreSQL it also listens, and starts at once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from functools import cached_property, partial

from django.db import close_old_connections, connections, router
from django.utils.translation import gettext_lazy as _

from optico_sync import conf, jobs, wakeups
from optico_sync.delivery import Lane
from optico_sync.engines import chores
from optico_sync.models import Installation, OutboxEvent, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay, relay_all, seed_mappings

logger = logging.getLogger(__name__)

#: Seconds between two heartbeats.
BEAT = 5.0
#: Seconds to wait after an error before trying again; the database may be restarting.
PAUSE = 2.0

_CHANNEL = "optico_sync"
_RELAY = "optico_sync-relay"


class EmbeddedEngine(wakeups.Engine):
    """PostgreSQL carries the wake-up to the workers that listen; on other databases they only poll."""

    interval = 0.01
    start_hint = _("Start manage.py optico_worker.")
    round_hint = _("The worker does it by itself.")

    @cached_property
    def wakes(self) -> bool:  # type: ignore[override]
        return _can_listen(_outbox())

    def announce(self) -> None:
        with connections[_outbox()].cursor() as cursor:
            # One transaction; not waiting for the disk, for it writes nothing and holds the lock of all notifications.
            cursor.execute(f"SET LOCAL synchronous_commit TO off; NOTIFY {_CHANNEL}")


def _outbox() -> str:
    return router.db_for_write(OutboxEvent)


def _can_listen(using: str) -> bool:
    """Only with psycopg 3, which can wait for a notification and give up after a while."""
    connection = connections[using]
    return connection.vendor == "postgresql" and getattr(connection, "Database").__name__ == "psycopg"  # noqa: B009


class EmbeddedWorker:
    """Relays and delivers until ``stop`` is set."""

    def __init__(self, *, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self.name = f"{socket.gethostname()}:{os.getpid()}"[:100]
        self._lanes: dict[int, threading.Thread] = {}
        self._bells: dict[str, threading.Event] = {}
        self._delivered = 0
        self._count = threading.Lock()

    def run(self) -> None:
        """Work until stopped, then finish what is in flight and give back what is not."""
        self._arrive()
        threads = [self._start(_RELAY, lambda: self._forever(self._relay_once))]
        if _can_listen(_outbox()):
            threads.append(self._start("optico_sync-ear", self._listen))
        threads.append(self._start("optico_sync-jobs", lambda: self._forever(lambda: jobs.work(self.stop))))
        # A mail server that never answers must not keep a worker from stopping.
        busy = self._start("optico_sync-chores", lambda: self._forever(self._do_chores, BEAT), daemon=True)
        try:
            while not self.stop.is_set():
                try:
                    self._start_lanes()
                    self._beat()
                    wakeups.note_round()
                except Exception as error:
                    self._complain("heartbeat", error)
                    # A connection that the database has cut would stay so, and new lanes would never start.
                    close_old_connections()
                self.stop.wait(BEAT if self._lanes else min(BEAT, 1.0))
        finally:
            self.stop.set()
            self._ring(*self._bells)
            for thread in (*threads, *self._lanes.values()):
                thread.join()
            busy.join(timeout=PAUSE)
            self._beat(end=True)

    def run_once(self) -> int:
        """Relay and deliver what is due now, then return how many orders were handled. For cron."""
        self._arrive()
        wakeups.note_round()
        try:
            relay_all()
            chores.sweep_when_due(self.stop)
            relay_all()
            for credential in VendorCredential.objects.defer("sealed_secrets"):
                seed_mappings(credential)
            self._drain_all()
            while jobs.work(self.stop):
                self._drain_all()
            chores.run(self.stop)
        finally:
            self._beat(end=True)
        return self._delivered

    def _arrive(self) -> None:
        found = Installation.start()
        if found.is_another:
            differing = ", ".join(found.differing)
            logger.warning("This is another installation (%s): nothing is sent. See optico_installation.", differing)
        self._beat(start=True)

    def _start_lanes(self) -> None:
        """One thread a credential, for credentials that appeared since; one that ended starts again."""
        for credential in VendorCredential.objects.defer("sealed_secrets"):
            thread = self._lanes.get(credential.pk)
            if thread is None or not thread.is_alive():
                if thread is None:
                    seed_mappings(credential)
                work = partial(self._work_lane, credential.pk)
                self._lanes[credential.pk] = self._start(f"optico_sync-lane-{credential.pk}", work)

    def _start(self, name: str, work: Callable[[], None], *, daemon: bool = False) -> threading.Thread:
        self._bells[name] = threading.Event()
        thread = threading.Thread(target=work, name=name, daemon=daemon)
        thread.start()
        return thread

    def _ring(self, *names: str) -> None:
        for name in names:
            self._bells[name].set()

    def _work_lane(self, credential_id: int) -> None:
        lane = Lane(credential_id, worker=self.name, stop=self.stop)
        try:
            self._forever(lambda: self._deliver_once(lane))
        finally:
            self._close(lane)
            connections.close_all()

    def _drain_all(self) -> None:
        for credential_id in list(VendorCredential.objects.values_list("pk", flat=True)):
            self._drain(Lane(credential_id, worker=self.name, stop=self.stop))

    def _drain(self, lane: Lane) -> None:
        try:
            while not self.stop.is_set() and self._deliver_once(lane):
                pass
        finally:
            self._close(lane)

    def _deliver_once(self, lane: Lane) -> bool:
        """Whether there may be more to do."""
        count = lane.deliver(ahead=True)
        self._add(count)
        return bool(count) or lane.is_busy

    def _close(self, lane: Lane) -> None:
        self._add(lane.close())

    def _add(self, count: int) -> None:
        with self._count:
            self._delivered += count

    def _relay_once(self) -> int:
        count = relay()
        if count:
            self._ring(*(thread.name for thread in list(self._lanes.values())))
        return count

    def _listen(self) -> None:
        """Ring the relay at every notification. What is missed while the connection is down, the polling finds."""

        def hear() -> int:
            connection = connections[_outbox()]
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {_CHANNEL}")
            while not self.stop.is_set():
                for _heard in connection.connection.notifies(timeout=1.0, stop_after=1):
                    self._ring(_RELAY)
            return 1

        self._forever(hear)

    def _do_chores(self) -> None:
        chores.run(self.stop)

    def _forever(self, work: Callable[[], int | None], rest: float | None = None) -> None:
        """Call ``work`` until stopped, resting when there is nothing to do. An error is logged and tried again."""
        bell = self._bells[threading.current_thread().name]
        try:
            while True:
                bell.clear()
                if self.stop.is_set():
                    return
                try:
                    if not work():
                        bell.wait(rest or conf.options().POLL_INTERVAL)
                except Exception as error:
                    self._complain(threading.current_thread().name, error)
                    close_old_connections()
                    self.stop.wait(PAUSE)
        finally:
            connections.close_all()

    @staticmethod
    def _complain(what: str, error: Exception) -> None:
        # A database error's text can quote a row, so only its type is told.
        logger.error("%s failed (%s); it goes on in a moment.", what, type(error).__name__)

    def _beat(self, *, start: bool = False, end: bool = False) -> None:
        using = router.db_for_write(Worker)
        now = database_now(using)
        with self._count:
            delivered = self._delivered
        values = {"beat_at": now, "stopped_at": now if end else None, "delivered": delivered}
        if start:
            values["started_at"] = now
            Worker.objects.using(using).update_or_create(name=self.name, defaults=values)
        else:
            Worker.objects.using(using).filter(name=self.name).update(**values)
