"""What is wrong, and is all well? Here it is found, once, for the monitors and for the alerts.

A finding says since when. How long something may last before it is told is a question of its own: ``Health`` has an
answer for monitors (fine, degraded or broken, and the numbers behind it), the owner of the shop another for alerts.

No personal data: counts, clocks, reason codes, and the names that the owner gave to the credentials. It takes thirteen
statements at most, each of them small, however many orders and credentials there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from django.db import Error as DatabaseError
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from optico_sync import conf, figures, insight
from optico_sync.figures import Totals
from optico_sync.insight import Captures, CredentialLine, Heartbeat, Unseen, Waiting, WorkerState
from optico_sync.models import AlertKind, VendorCredential

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
class Finding:
    """One thing that is not well. ``code`` is for machines, ``credential`` the one it is about, if any."""

    level: Level
    code: str
    text: str
    credential: VendorCredential | None = None
    #: What tells two of one code apart, such as a status.
    about: str = ""
    #: Since when; None where nobody knows.
    since: datetime | None = None
    #: How long it may last before it is a problem to a monitor.
    patience: timedelta = timedelta(0)
    #: The ``AlertKind`` that an owner may want to be told of; empty where it is for monitors only.
    kind: str = ""

    def lasts(self, patience: timedelta, now: datetime) -> bool:
        """Whether it has been so for longer than ``patience``."""
        return self.since is None or not patience or now - self.since >= patience

    def as_dict(self) -> dict[str, str]:
        name = self.credential.name if self.credential else ""
        return {"level": self.level.word, "code": self.code, "credential": name, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class CredentialHealth:
    """What one credential does, and how many orders stand where with it."""

    line: CredentialLine
    #: Orders that wait for it; None when none does.
    waiting: Waiting | None
    #: None where nobody counted, or there are too many to count at once and no worker has counted them yet.
    counted: Totals | None = None

    @property
    def totals(self) -> Mapping[str, int]:
        return self.counted.counts if self.counted else {}

    @property
    def oldest_waiting_since(self) -> datetime | None:
        """The last change of the order that has waited longest."""
        return self.waiting.changed_at if self.waiting else None

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
            "counted_at": _clock(self.counted.read_at if self.counted else None),
        }


@dataclass(frozen=True, kw_only=True)
class Health:
    """The answer."""

    at: datetime
    credentials: tuple[CredentialHealth, ...]
    worker: Heartbeat
    captures: Captures
    unseen: Unseen = Unseen()

    @property
    def level(self) -> Level:
        return max((problem.level for problem in self.problems), default=Level.FINE)

    @property
    def problems(self) -> list[Finding]:
        """What has lasted for too long, worst first."""
        lasting = (finding for finding in self.findings() if finding.lasts(finding.patience, self.at))
        return sorted(lasting, key=lambda finding: -finding.level)

    def findings(self) -> Iterator[Finding]:
        """Everything that is not well, however short a time."""
        if any(credential.line.credential.is_enabled for credential in self.credentials):
            yield from _machinery(self)
        for credential in self.credentials:
            yield from _of_credential(credential)
        missed_at = self.captures.last_missed_at
        if missed_at and self.at - missed_at < MISSED_LATELY:
            told = _(
                "Changes in the shop could not be recorded: %(count)d so far. Send such orders with optico_resync."
            )
            yield Finding(level=Level.DEGRADED, code="missed", text=told % {"count": self.captures.missed})

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


def look(now: datetime | None = None) -> Health:
    """How everything is, without what takes counting, at ``now`` or by the database's clock."""
    known = insight.credentials()
    now = now or insight.workers_now()
    waiting = insight.waiting(known, now)
    return Health(
        at=now,
        credentials=tuple(
            CredentialHealth(line=line, waiting=waiting.get(line.credential.pk))
            for line in insight.credential_lines(known)
        ),
        worker=insight.heartbeat(now),
        captures=insight.captures(now),
    )


def health() -> Health:
    """How everything is now. Raises ``django.db.Error`` when the tables cannot be read."""
    found = look()
    totals = figures.totals_of([one.line.credential for one in found.credentials])
    counted = (replace(one, counted=totals.get(one.line.credential.pk)) for one in found.credentials)
    return replace(found, credentials=tuple(counted), unseen=insight.unseen())


def unreadable(error: DatabaseError) -> Finding:
    """What ``health`` could not find out. The error's own text may quote a row, so only its type is told."""
    told = _("The database cannot be asked (%(error)s): is it up, and is the app migrated?")
    return Finding(level=Level.BROKEN, code="database", text=told % {"error": type(error).__name__})


def advised(credential: VendorCredential, code: str) -> str:
    """What the reason ``code`` means, and what to do."""
    reason = credential.explain(code)
    return f"{reason.text} {reason.advice}".strip()


def _machinery(health: Health) -> Iterator[Finding]:
    worker, waiting = health.worker, health.captures.waiting_since
    if not conf.options().ENABLED:
        told = _("OPTICO_SYNC['ENABLED'] is False: nothing is captured and nothing is sent.")
        yield Finding(level=Level.BROKEN, code="disabled", text=told)
    if not worker.running:
        heard = worker.worker.beat_at if worker.worker else None
        told = _("A worker was last heard at %(at)s.") % {"at": _moment(heard)} if heard else ""
        cure = _("No worker is running, so nothing is sent: start manage.py optico_worker.")
        text = f"{told} {cure}".strip()
        # One that was stopped may be about to start again, or be cron's.
        rest = LATE if worker.state == WorkerState.STOPPED else timedelta(0)
        kind = AlertKind.WORKER
        yield Finding(level=Level.BROKEN, code="no_worker", kind=kind, since=heard, patience=rest, text=text)
    every, swept_at = timedelta(seconds=conf.options().SWEEP_INTERVAL), health.unseen.swept_at
    if every and swept_at:
        told = _("The orders were last compared with the shop %(time)s ago: look at the worker's log.")
        text = told % {"time": insight.spell(health.at - swept_at)}
        rest = SWEEPS_MISSED * every + LATE
        yield Finding(level=Level.DEGRADED, code="not_swept", since=swept_at, patience=rest, text=text)
    if waiting:
        text = _("Changes saved in the shop wait to be taken up since %(at)s.") % {"at": _moment(waiting)}
        kind = AlertKind.WAITING
        yield Finding(level=Level.BROKEN, code="not_taken_up", kind=kind, since=waiting, patience=LATE, text=text)


def _of_credential(health: CredentialHealth) -> Iterator[Finding]:
    line, credential = health.line, health.line.credential
    if line.state == CredentialLine.State.OFF:
        return
    why = advised(credential, credential.hold_reason)
    about: dict[str, Any] = {"credential": credential, "since": line.since, "text": why}
    if line.state == CredentialLine.State.PAUSED:
        yield Finding(level=Level.BROKEN, code="paused", kind=AlertKind.PAUSED, **about)
    elif line.state == CredentialLine.State.SILENT:
        yield Finding(level=Level.DEGRADED, code="not_answering", kind=AlertKind.BREAKER, **about)
    elif health.waiting:
        since = health.waiting.due_since
        about |= {"since": since, "text": _("The oldest change waits since %(at)s.") % {"at": _moment(since)}}
        yield Finding(level=Level.DEGRADED, code="late", kind=AlertKind.WAITING, patience=LATE, **about)
    if refused := health.totals.get("refused"):
        told = _(
            "Orders refused: %(count)d. Each says in the admin what to do; choose “Do not send” for those that are to "
            "stay so."
        )
        text = told % {"count": refused}
        yield Finding(level=Level.DEGRADED, code="refused", credential=credential, text=text)


def _moment(at: datetime) -> str:
    return date_format(timezone.localtime(at), "DATETIME_FORMAT")


def _clock(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None
