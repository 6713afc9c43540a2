"""The machinery: workers, rounds, captures, what passed by unseen, and all of it at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models, router
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from optico_sync import conf, wakeups
from optico_sync.insight.lines import credential_lines, last_compared
from optico_sync.insight.spans import spell
from optico_sync.models import (
    Installation,
    OutboxEvent,
    RelayState,
    Sweep,
    VendorCredential,
    Worker,
)
from optico_sync.models.clock import database_now
from optico_sync.models.installation import Comparison
from optico_sync.shops import event_databases

#: A captured change that is older than this should have been relayed.
RELAY_LATE = timedelta(seconds=30)
#: The round should have run since; cron cannot run it more often than every minute.
ROUND_LATE = timedelta(minutes=3)


class WorkerState(models.TextChoices):
    RUNNING = "running", gettext_lazy("running")
    #: Its heartbeat stopped without a word.
    SILENT = "silent", gettext_lazy("silent")
    STOPPED = "stopped", gettext_lazy("stopped")


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """The worker that was heard last, and how many are running."""

    worker: Worker | None
    state: WorkerState | None
    age: str
    running: int

    @property
    def start_hint(self) -> str | Promise:
        """What runs the deliveries in this installation."""
        return wakeups.words().start_hint


def worker_state(worker: Worker, now: datetime) -> WorkerState:
    """Whether ``worker`` runs, by the database's clock."""
    if worker.stopped_at:
        return WorkerState.STOPPED
    return WorkerState.SILENT if now - worker.beat_at > worker.silence else WorkerState.RUNNING


def workers_now() -> datetime:
    """The clock that heartbeats are compared with."""
    return database_now(router.db_for_write(Worker))


def heartbeat(now: datetime | None = None) -> Heartbeat:
    """Does anybody deliver?"""
    now = now or workers_now()
    workers = list(Worker.objects.order_by("-beat_at")[:100])
    running = [worker for worker in workers if worker_state(worker, now) == WorkerState.RUNNING]
    if not workers:
        return Heartbeat(worker=None, state=None, age="", running=0)
    heard = (running or workers)[0]
    age = spell(now - heard.beat_at)
    return Heartbeat(worker=heard, state=worker_state(heard, now), age=age, running=len(running))


@dataclass(frozen=True, kw_only=True)
class Round:
    """The periodic round, which finds what became due without a wake-up."""

    last_at: datetime | None
    age: str
    is_late: bool
    #: How it is set up for the engine of this installation.
    hint: str | Promise


def last_round() -> Round:
    """Does anybody look for retries that have become due?"""
    last_at = RelayState.objects.values_list("round_at", flat=True).first()
    silence = workers_now() - last_at if last_at else None
    return Round(
        last_at=last_at,
        age=spell(silence) if silence is not None else "",
        is_late=silence is None or silence > ROUND_LATE,
        hint=wakeups.words().round_hint,
    )


@dataclass(frozen=True, kw_only=True)
class Captures:
    """Changes that were saved in the shop and did not get on: lost ones, and ones no relay has taken up."""

    missed: int = 0
    last_missed_at: datetime | None = None
    waiting_since: datetime | None = None


def captures(now: datetime | None = None) -> Captures:
    """Is what the shop saves taken up?"""
    now = now or timezone.now()
    relay = RelayState.objects.first() or RelayState()
    late = [at for at in map(_oldest_event, event_databases()) if at and now - at > RELAY_LATE]
    since = min(late, default=None)
    return Captures(missed=relay.missed_captures, last_missed_at=relay.last_missed_at, waiting_since=since)


def _oldest_event(using: str) -> datetime | None:
    """When the oldest change was saved that no relay has taken up, of those captured in the database ``using``."""
    oldest = OutboxEvent.objects.using(using).filter(relayed_at__isnull=True).order_by("pk")
    return oldest.values_list("created_at", flat=True).first()


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """What capture missed and the sweep found in the last days (``Sweep.KEPT``), and when it last looked."""

    missed: int = 0
    #: A few of them, newest first, by reference.
    references: Sequence[str] = ()
    last_missed_at: datetime | None = None
    #: When a sweep last came to its end; None before the first.
    swept_at: datetime | None = None

    @property
    def has_more(self) -> bool:
        return self.missed > len(self.references)


def unseen() -> Unseen:
    """Did changes pass by unseen? Two queries."""
    last = Sweep.objects.filter(finished_at__isnull=False).order_by("-finished_at").first()
    finds = list(Sweep.objects.filter(found__gt=0, started_at__gt=timezone.now() - Sweep.KEPT).order_by("-pk"))
    references = dict.fromkeys(reference for find in finds for reference in find.references)
    return Unseen(
        missed=sum(find.found for find in finds),
        references=list(references)[: Sweep.EXAMPLES],
        last_missed_at=finds[0].started_at if finds else None,
        swept_at=last.finished_at if last else None,
    )


def pulse(known: Sequence[VendorCredential], *, behind: Mapping[int, int] | None = None) -> dict[str, Any]:
    """Does everything run? What the strip on top of the pages shows."""
    return {
        "lines": credential_lines(known, behind=behind),
        "heartbeat": heartbeat(),
        "captures": captures(),
        "round": last_round(),
        "unseen": unseen(),
        "comparisons": last_compared(known),
        "is_silenced": not conf.options().ENABLED,
        "installation": installation(),
    }


def installation() -> Comparison:
    """Is this the installation that everything was set up for, or a copy of it? Nothing is sent from another one."""
    return Installation.compare()
