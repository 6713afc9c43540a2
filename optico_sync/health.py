"""Is all well? One answer for a monitor: fine, degraded or broken, why, and the numbers behind it.

No personal data: counts, clocks, reason codes, and the names that the owner gave to the credentials. It takes thirteen
statements at most, each of them small, however many orders and credentials there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from django.db import Error as DatabaseError
from django.utils.translation import gettext as _

from optico_sync import conf, figures, insight
from optico_sync.figures import Totals
from optico_sync.insight import Captures, CredentialLine, Heartbeat, Unseen, WorkerState

#: What should have happened by now: a change taken up, an order sent, a worker started again by cron.
LATE = timedelta(minutes=15)
#: So many sweeps may fail to come before somebody should look.
SWEEPS_MISSED = 3
#: How long a change that could not be recorded is a reason to look.
MISSED_LATELY = timedelta(days=1)


class Level(IntEnum):
    """How bad it is; the number is the exit status of ``optico_health``."""

    FINE = 0
    #: Orders are late or need somebody, and the rest goes on.
    DEGRADED = 1
    #: Nothing goes out, to one vendor at least, until somebody acts.
    BROKEN = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not well. ``code`` is for machines, ``credential`` names the one it is about, if any."""

    level: Level
    code: str
    text: str
    credential: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"level": self.level.word, "code": self.code, "credential": self.credential, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class CredentialHealth:
    """What one credential does, and how many orders stand where with it."""

    line: CredentialLine
    #: Empty where there are too many to count at once, and no worker has counted them yet.
    totals: Mapping[str, int]
    #: When a worker counted them; None for just now.
    counted_at: datetime | None
    #: Since when the order that has waited longest waits; None when none does.
    oldest_waiting_since: datetime | None

    @property
    def name(self) -> str:
        return self.line.credential.name

    def as_dict(self) -> dict[str, Any]:
        credential = self.line.credential
        return {
            "id": credential.pk,
            "name": credential.name,
            "vendor": credential.vendor,
            "state": self.line.state.value,
            "reason": credential.hold_reason,
            "since": _clock(self.line.since),
            "next_probe_at": _clock(self.line.next_probe),
            "last_delivery_at": _clock(credential.last_delivery_at),
            "oldest_waiting_since": _clock(self.oldest_waiting_since),
            "totals": dict(self.totals) or None,
            "orders": sum(self.totals.values()) if self.totals else None,
            "counted_at": _clock(self.counted_at),
        }


@dataclass(frozen=True, kw_only=True)
class Health:
    """The answer."""

    at: datetime
    credentials: tuple[CredentialHealth, ...]
    worker: Heartbeat
    captures: Captures
    unseen: Unseen

    @property
    def level(self) -> Level:
        return max((problem.level for problem in self.problems), default=Level.FINE)

    @property
    def problems(self) -> list[Problem]:
        """Worst first."""
        return sorted(_problems(self), key=lambda problem: -problem.level)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: clocks are ISO 8601 text, what is not known is None."""
        heard = self.worker.worker
        return {
            "status": self.level.word,
            "at": _clock(self.at),
            "problems": [problem.as_dict() for problem in self.problems],
            "credentials": [credential.as_dict() for credential in self.credentials],
            "worker": {
                "running": self.worker.running,
                "state": self.worker.state.value if self.worker.state else None,
                "name": heard.name if heard else None,
                "beat_at": _clock(heard.beat_at if heard else None),
            },
            "captures": {
                "missed": self.captures.missed,
                "last_missed_at": _clock(self.captures.last_missed_at),
                "waiting_since": _clock(self.captures.waiting_since),
            },
            "sweep": {"found": self.unseen.missed, "swept_at": _clock(self.unseen.swept_at)},
        }


def health() -> Health:
    """How everything is now, by the database's clock. Raises ``django.db.Error`` when the tables cannot be read."""
    known = insight.credentials()
    totals = figures.totals_of(known)
    oldest = insight.waiting_since(known)
    return Health(
        at=insight.workers_now(),
        credentials=tuple(
            _credential_health(line, totals.get(line.credential.pk), oldest.get(line.credential.pk))
            for line in insight.credential_lines(known)
        ),
        worker=insight.heartbeat(),
        captures=insight.captures(),
        unseen=insight.unseen(),
    )


def unreadable(error: DatabaseError) -> Problem:
    """What ``health`` could not find out. The error's own text may quote a row, so only its type is told."""
    told = _("The database cannot be asked (%(error)s): is it up, and is the app migrated?")
    return Problem(level=Level.BROKEN, code="database", text=told % {"error": type(error).__name__})


def _credential_health(line: CredentialLine, totals: Totals | None, oldest: datetime | None) -> CredentialHealth:
    return CredentialHealth(
        line=line,
        totals=totals.counts if totals else {},
        counted_at=totals.read_at if totals else None,
        oldest_waiting_since=oldest,
    )


def _problems(health: Health) -> Iterator[Problem]:
    if any(credential.line.credential.is_enabled for credential in health.credentials):
        yield from _machinery(health)
    for credential in health.credentials:
        yield from _of_credential(credential, health.at)
    missed_at = health.captures.last_missed_at
    if missed_at and health.at - missed_at < MISSED_LATELY:
        told = _("Changes in the shop could not be recorded: %(count)d so far. Send such orders with optico_resync.")
        yield Problem(level=Level.DEGRADED, code="missed", text=told % {"count": health.captures.missed})


def _machinery(health: Health) -> Iterator[Problem]:
    worker, waiting = health.worker, health.captures.waiting_since
    if not conf.options().ENABLED:
        told = _("OPTICO_SYNC['ENABLED'] is False: nothing is captured and nothing is sent.")
        yield Problem(level=Level.BROKEN, code="disabled", text=told)
    # One that was stopped may be about to start again, or be cron's.
    is_between = (
        worker.worker is not None and worker.state == WorkerState.STOPPED and health.at - worker.worker.beat_at < LATE
    )
    if not worker.running and not is_between:
        told = _("No worker is running, so nothing is sent: start manage.py optico_worker.")
        yield Problem(level=Level.BROKEN, code="no_worker", text=told)
    every, swept_at = timedelta(seconds=conf.options().SWEEP_INTERVAL), health.unseen.swept_at
    if every and swept_at and health.at - swept_at > SWEEPS_MISSED * every + LATE:
        told = _("The orders were last compared with the shop %(time)s ago: look at the worker's log.")
        text = told % {"time": insight.spell(health.at - swept_at)}
        yield Problem(level=Level.DEGRADED, code="not_swept", text=text)
    if waiting and health.at - waiting > LATE:
        told = _("Changes saved in the shop have been waiting to be taken up for %(time)s: look at the worker's log.")
        text = told % {"time": insight.spell(health.at - waiting)}
        yield Problem(level=Level.BROKEN, code="not_taken_up", text=text)


def _of_credential(credential: CredentialHealth, now: datetime) -> Iterator[Problem]:
    line = credential.line
    if line.state == CredentialLine.State.OFF:
        return
    held = str(line.reason.text)
    if line.state == CredentialLine.State.PAUSED:
        yield Problem(level=Level.BROKEN, code="paused", credential=credential.name, text=held)
    elif line.state == CredentialLine.State.SILENT:
        yield Problem(level=Level.DEGRADED, code="not_answering", credential=credential.name, text=held)
    elif (since := credential.oldest_waiting_since) and now - since > LATE:
        told = _("An order has been waiting for %(time)s.")
        text = told % {"time": insight.spell(now - since)}
        yield Problem(level=Level.DEGRADED, code="late", credential=credential.name, text=text)
    if refused := credential.totals.get("refused"):
        told = _("Orders refused: %(count)d. Each says in the admin what to do; hold those that are to stay so.")
        text = told % {"count": refused}
        yield Problem(level=Level.DEGRADED, code="refused", credential=credential.name, text=text)


def _clock(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None
