"""Read-only questions: where does an order stand, what happened to it, does everything run?

No answer is guessed, and none is costly: what could grow is bounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError, ValidationError
from django.db import models, router
from django.db.models import Max, Min, Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from optico_sync import conf, wakeups
from optico_sync.attribution import NOTHING, Attribution
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import (
    Attempt,
    Installation,
    OutboxEvent,
    Reconciliation,
    RelayState,
    Subject,
    Sweep,
    SyncState,
    VendorCredential,
    Worker,
)
from optico_sync.models.clock import database_now
from optico_sync.models.installation import Comparison
from optico_sync.models.sync import ERASED, time_spent
from optico_sync.outcome import REASONS, Kind, Reason
from optico_sync.shops import event_databases, get_shop

#: The most of one order's history that is read at once.
MAX_CHANGES = 100
MAX_ATTEMPTS = 50
MAX_DEEDS = 50
#: A captured change that is older than this should have been relayed.
RELAY_LATE = timedelta(seconds=30)
#: The round should have run since; cron cannot run it more often than every minute.
ROUND_LATE = timedelta(minutes=3)

_NEVER_OFFERED = "never_offered"
_REASONS_READ = 1000
_CURED_IN_SETTINGS = frozenset(
    [
        "unmapped_status", "unknown_status", "invalid_products", "certificate", "key_refused", "forbidden",
        "wrong_address", "redirect", "forbidden_address", "secret_unreadable", "incomplete_credential",
        "credential_off", "status_not_sent", "before_start", "new_key",
    ]
)  # fmt: skip
_CURED_BY_A_KEY = frozenset(["key_refused", "secret_unreadable", "new_key"])


# credentials


@dataclass(frozen=True, kw_only=True)
class CredentialLine:
    """What one credential does at the moment."""

    class State(models.TextChoices):
        SENDING = "sending", gettext_lazy("sending")
        #: The same, and nothing is left to send.
        IN_STEP = "in_step", gettext_lazy("in step")
        OFF = "off", gettext_lazy("off")
        PAUSED = "paused", gettext_lazy("paused")
        SILENT = "silent", gettext_lazy("not answering")
        #: The vendor does not take the new key yet.
        TRYING = "trying", gettext_lazy("trying the key")

    credential: VendorCredential
    now: datetime
    #: Orders that are still to be told; None where nobody counted.
    behind: int | None = None

    @property
    def state(self) -> State:
        if not self.credential.is_enabled:
            return self.State.OFF
        if self.credential.paused_at:
            return self.State.PAUSED
        if not self.credential.opened_at:
            is_in_step = self.behind == 0 and self.credential.last_delivery_at
            return self.State.IN_STEP if is_in_step else self.State.SENDING
        return self.State.TRYING if self.credential.open_reason else self.State.SILENT

    @property
    def reason(self) -> Reason:
        """Why nothing is sent, and what to do; empty words when it is."""
        return self.credential.explain(self.credential.hold_reason)

    @property
    def detail(self) -> str:
        return self.credential.pause_detail if self.state == self.State.PAUSED else ""

    @property
    def wrong_secret(self) -> str:
        """The name of the secret to type again, where it is the key that keeps it from sending."""
        if self.credential.hold_reason not in _CURED_BY_A_KEY:
            return ""
        return next((secret.name for secret in self.credential.spec.secrets if secret.is_required), "")

    @property
    def since(self) -> datetime | None:
        return {
            self.State.PAUSED: self.credential.paused_at,
            self.State.SILENT: self.credential.opened_at,
            self.State.TRYING: self.credential.opened_at,
        }.get(self.state)

    @property
    def next_probe(self) -> datetime | None:
        return self.credential.open_until if self.state in (self.State.SILENT, self.State.TRYING) else None

    @property
    def slowed_to(self) -> float | None:
        """Requests a second, while the vendor asked for fewer than it usually takes."""
        try:
            return self.credential.rate_at(self.now) if self.slowed_until else None
        except ConfigurationError:
            return None

    @property
    def slowed_until(self) -> datetime | None:
        return self.credential.slowed_until(self.now)

    @property
    def asked_until(self) -> datetime | None:
        """Until when the vendor, which answers, asked to be left alone."""
        return self.credential.asked_until(self.now)

    @property
    def last_delivery(self) -> str:
        """``12 s``; empty before the first delivery."""
        delivered_at = self.credential.last_delivery_at
        return spell(self.now - delivered_at) if delivered_at else ""


def credentials() -> list[VendorCredential]:
    """All of them, with their secrets left sealed."""
    return list(VendorCredential.objects.defer("sealed_secrets"))


def credential_lines(
    known: Iterable[VendorCredential] | None = None, *, behind: Mapping[int, int] | None = None
) -> list[CredentialLine]:
    """What every credential does at the moment; ``behind`` is how many orders each is still to be told, by its key."""
    now = timezone.now()
    return [
        CredentialLine(credential=credential, now=now, behind=(behind or {}).get(credential.pk))
        for credential in (credentials() if known is None else known)
    ]


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """One difference between the shop and the vendor. ``field`` is empty where a whole order is not there."""

    order: str
    #: Primary key of the order, if the shop has it.
    subject: int | None
    kind: Reconciliation.Drift
    field: str
    shop: str | None
    vendor: str | None

    @property
    def is_personal(self) -> bool:
        return self.shop is None and self.vendor is None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The last comparison of what a credential's vendor holds with the shop; ``run`` is None when there was none."""

    credential: VendorCredential
    run: Reconciliation | None
    #: What happened, where the vendor could not be read.
    problem: str | Promise = ""
    rows: Sequence[DriftRow] = ()

    @property
    def tone(self) -> str:
        """The badge's colour, by the word of a state."""
        return "refused" if self.run and (self.run.failure or self.run.drifted) else "in_sync"

    @property
    def word(self) -> str:
        if self.run and self.run.failure:
            return _("not read")
        return _("drift") if self.run and self.run.drifted else _("in step")

    @property
    def more(self) -> int:
        """Drifted orders of which no row was kept."""
        return self.run.drifted - len({(row.order, row.kind) for row in self.rows}) if self.run else 0


def compared(credential: VendorCredential) -> Compared | None:
    """The last comparison; None where the vendor offers to read nothing back."""
    if not credential.reads_back:
        return None
    run = Reconciliation.objects.filter(credential=credential).first()
    if run is None:
        return Compared(credential=credential, run=None)
    rows = [DriftRow(**{**drift, "kind": Reconciliation.Drift(drift["kind"])}) for drift in run.drifts]
    return Compared(credential=credential, run=run, problem=credential.explain(run.failure).text, rows=rows)


def last_compared(known: Sequence[VendorCredential]) -> list[Compared]:
    """The last comparison of each credential whose vendor can be read back, its rows left out. One query, or none."""
    readable = [credential for credential in known if credential.reads_back]
    if not readable:
        return []
    runs = {run.credential_id: run for run in Reconciliation.objects.filter(credential__in=readable).defer("drifts")}
    return [
        Compared(
            credential=credential,
            run=(run := runs.get(credential.pk)),
            problem=credential.explain(run.failure).text if run else "",
        )
        for credential in readable
    ]


@dataclass(frozen=True, kw_only=True)
class Oldest:
    """The order that waits longest, and for whom."""

    order: str
    credential: VendorCredential
    since: datetime


def oldest_waiting(known: Sequence[VendorCredential]) -> Oldest | None:
    """The order that should have been sent longest ago; what is held by a credential counts too.

    What a job sends has time, here and in ``waiting``.
    """
    due = SyncState.objects.live().filter(
        credential__in=known, due_at__lt=timezone.now() - timedelta(seconds=5), is_held=False
    )
    state = due.filter(subject__kind=Subject.Kind.ORDER).order_by("due_at").select_related("subject").first()
    if state is None or state.due_at is None:
        return None
    credential = next(one for one in known if one.pk == state.credential_id)
    return Oldest(order=str(state.subject), credential=credential, since=state.due_at)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What waits for one credential."""

    #: The last change of the order that has waited longest; None where all of them rest on purpose.
    changed_at: datetime | None
    #: Since when an order should have been sent, or is being tried; in the future where all is in time.
    due_since: datetime


def waiting(known: Collection[VendorCredential], now: datetime) -> dict[int, Waiting]:
    """By primary key of each credential that orders wait for. One statement, which reads only what waits."""
    orders = SyncState.objects.live().filter(credential__in=known, subject__kind=Subject.Kind.ORDER)
    found = (
        orders.filter(state__in=SyncState.PENDING, due_at__isnull=False)
        .order_by()
        .values("credential")
        .annotate(
            changed_at=Min("subject__changed_at", filter=~Q(reason="hold_period")),
            due_at=Min("due_at"),
            tries=Max("attempts", filter=Q(state=SyncState.State.RETRYING)),
        )
    )
    return {
        row["credential"]: Waiting(
            changed_at=row["changed_at"], due_since=min(row["due_at"], now - time_spent(row["tries"] or 0))
        )
        for row in found
    }


# orders


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one order stands with one credential. ``sync`` is not a stored row where the order was never offered."""

    credential: VendorCredential
    sync: SyncState
    #: Since when the order has its status.
    status_at: datetime | None
    now: datetime
    kind: str = Subject.Kind.ORDER

    @property
    def state(self) -> str:
        return self.sync.shown_state

    @property
    def label(self) -> str:
        return str(SyncState.State(self.state).label)

    @property
    def reason(self) -> Reason:
        return self.sync.shown_reason

    @property
    def reason_code(self) -> str:
        is_shadowed = self.sync.state in SyncState.PENDING and self.credential.hold_reason
        return self.credential.hold_reason if is_shadowed else self.sync.reason

    @property
    def queued(self) -> list[str]:
        """Shop statuses that the vendor has not accepted, oldest first; those it refused stay among them."""
        return self.sync.queue

    @property
    def is_being_sent(self) -> bool:
        return bool(self.sync.lease and self.sync.due_at and self.sync.due_at > self.now)

    @property
    def next_at(self) -> datetime | None:
        """When it is tried next; None when nothing is due, or while it is being sent."""
        is_on_its_way = self.state in SyncState.PENDING or (self.state == SyncState.State.IN_SYNC and self.sync.repeats)
        return self.sync.due_at if is_on_its_way and not self.is_being_sent else None

    @property
    def next_try(self) -> int:
        """Which try of the same thing the next one is."""
        return self.sync.attempts + 1

    @property
    def next_in(self) -> str:
        """``in 5 s``, or ``now`` when it is overdue."""
        if self.next_at is None:
            return ""
        left = self.next_at - self.now
        return _("in %(time)s") % {"time": spell(left)} if left > timedelta(0) else _("now")

    @property
    def planned_at(self) -> datetime | None:
        """When it is sent if nothing changes: after the vendor's own hold. None when nobody knows."""
        if self.next_at is None or self.status_at is None:
            return None
        hold = timedelta(seconds=self.credential.spec.hold(self.credential.chosen_options))
        return max(self.next_at, self.status_at + hold, self.now)

    @property
    def mail_at(self) -> datetime | None:
        """When the vendor writes to the customer about this order, or would, were it sent as planned.

        It counts from the receipt, which is known from its answer; whether the mail went out, only the vendor knows.
        """
        days = self.credential.mail_days
        if days is None:
            return None
        received_at = self.sync.delivered_at or self.planned_at
        return received_at + timedelta(days=days) if received_at else None

    @property
    def has_newer_content(self) -> bool:
        """Its content changed, or is to be repeated, under the status that the vendor has."""
        manner = self.credential.manner_of(self.kind)
        return bool(manner and self.sync.steps(manner))

    @property
    def is_for_settings(self) -> bool:
        """Whether the cure is on the credential's page."""
        return self.reason_code in _CURED_IN_SETTINGS

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a look at the vendor can tell what became of the last send."""
        return self.sync.state == SyncState.State.REFUSED and self.sync.reason == "ambiguous"

    @property
    def can_hold(self) -> bool:
        return self.sync.pk is not None and not (self.sync.is_held or self.sync.is_erased)

    @property
    def can_release(self) -> bool:
        return not self.sync.is_withheld and (self.sync.is_held or self.sync.state == SyncState.State.REFUSED)


def standings(
    subjects: Collection[Subject], known: Sequence[VendorCredential] | None = None
) -> dict[int, list[Standing]]:
    """By primary key of each order or cart: where it stands with every credential that is told of it.

    Two queries, one when the credentials are ``known``.
    """
    states = SyncState.objects.filter(subject__in=[subject.pk for subject in subjects])
    found = {(state.subject_id, state.credential_id): state for state in states}
    known = credentials() if known is None else known
    now = timezone.now()
    return {
        subject.pk: [
            _standing(found.get((subject.pk, credential.pk)), credential, now, subject)
            for credential in known
            if credential.manner_of(subject.kind)
        ]
        for subject in subjects
    }


def standings_by_key(keys: Collection[str]) -> dict[str, tuple[Subject | None, list[Standing]]]:
    """The same by the orders' keys in the shop, each with its subject where it has one. Three queries."""
    subjects = list(Subject.objects.filter(kind=Subject.Kind.ORDER, key__in=keys))
    known = credentials()
    rows = standings(subjects, known)
    by_key = {subject.key: (subject, rows[subject.pk]) for subject in subjects}
    now = timezone.now()
    return {key: by_key.get(key) or (None, [_standing(None, credential, now) for credential in known]) for key in keys}


def attribution_of(key: str) -> Attribution:
    """What is known of whose the order is, changes that no worker has taken up yet included. Two queries."""
    whose = {"kind": Subject.Kind.ORDER, "key": key}
    subject = Subject.objects.filter(**whose).first()
    seen = subject.attribution if subject else NOTHING
    events = OutboxEvent.objects.using(_database_of(Subject.Kind.ORDER))
    waiting = events.filter(**whose, relation="", relayed_at__isnull=True).order_by("pk")
    for event in waiting[:MAX_CHANGES]:
        seen = seen.or_else(event.attribution)
    return seen


def shop_key(key: str) -> str | None:
    """The key of this order as the shop spells it; None where the shop has no such order.

    Raises ``ConfigurationError`` when the settings do not say what an order is.
    """
    shop = get_shop()
    # An order of a moment ago is not yet on a replica; no key holds a NUL, and PostgreSQL refuses to be asked for one.
    using = router.db_for_write(shop.model)
    orders = shop.find(using=using, keys=[] if "\x00" in key else [key])
    found = orders.values_list("pk", flat=True).first()
    return None if found is None else str(found)


def reasons(known: Sequence[VendorCredential]) -> list[str]:
    """Reason codes that occur: those of the credentials, and those of about a thousand orders that are not in sync."""
    states = SyncState.objects.filter(~Q(state=SyncState.State.IN_SYNC), credential__in=known)
    seen = {credential.hold_reason for credential in known}
    seen.update(states.order_by().values_list("reason", flat=True)[:_REASONS_READ])
    if known:
        seen.add(_NEVER_OFFERED)
    return [code for code in REASONS if code and code in seen]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One part of an order's attribution, and where it was first seen."""

    label: str
    value: str
    source: str


def attribution_facts(subject: Subject) -> list[Fact]:
    """Whose visit it belongs to, and how that is known."""
    sources = dict(Subject.Source.choices)
    labels = {field.name: str(field.verbose_name) for field in Subject._meta.concrete_fields}
    return [
        Fact(
            label=labels[name],
            value=getattr(subject, name),
            source=str(sources.get(subject.sources.get(name, ""), "")),
        )
        for name in ("visit_id", "call_id", "agent", "cart_key")
        if getattr(subject, name)
    ]


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A vendor that was sent an order or a cart, and the number under which it knows it."""

    credential: VendorCredential
    kind: str
    number: str
    #: When it was last sent.
    sent_at: datetime
    #: False where the vendor refused it, or nobody knows whether it arrived.
    is_accepted: bool
    #: When the vendor writes to the customer, where that is still to come.
    mail_at: datetime | None


def holders(subjects: Collection[Subject]) -> list[Holder]:
    """Who was sent these orders and carts, as far as is known, whether or not it was accepted. Three queries."""
    found = standings(subjects)
    rows = [(subject, row) for subject in subjects for row in found[subject.pk]]
    made = Attempt.objects.filter(sync_state__in=[row.sync.pk for _subject, row in rows if row.sync.pk])
    last = dict(made.order_by().values_list("sync_state").annotate(Max("started_at")))
    return [
        Holder(
            credential=row.credential,
            kind=subject.kind,
            number=row.credential.held_as(str(subject)),
            sent_at=sent_at,
            is_accepted=row.sync.delivered_at is not None,
            mail_at=row.mail_at if row.sync.delivered_at and row.mail_at and row.mail_at > row.now else None,
        )
        for subject, row in rows
        if (sent_at := last.get(row.sync.pk) or row.sync.delivered_at)
    ]


# one order's time line


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something was saved in the shop; repeats under one status with no attempt between them count as one."""

    at: datetime
    first_at: datetime
    change: str
    label: str
    status: str
    is_relayed: bool
    count: int = 1

    def absorbs(self, older: Change) -> bool:
        same = (self.change, self.status, self.is_relayed) == (older.change, older.status, older.is_relayed)
        return same and self.change != OutboxEvent.Change.DELETED


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One attempt."""

    class Outcome(models.TextChoices):
        DELIVERED = Kind.DELIVERED.value, gettext_lazy("accepted")
        RETRY = Kind.RETRY.value, gettext_lazy("failed, tried again")
        REFUSED = Kind.REFUSED.value, gettext_lazy("refused")

    at: datetime
    attempt: Attempt
    credential: VendorCredential

    @property
    def outcome(self) -> Outcome:
        return self.Outcome(self.attempt.outcome)


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What somebody did in an admin, by Django's log: to the order in the shop, or by a verb of ours."""

    at: datetime
    who: str
    told: str
    is_ours: bool


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Newest first. ``more_changes`` and ``more_attempts`` say that older ones were left out."""

    entries: list[Change | Exchange | Deed]
    more_changes: bool
    more_attempts: bool
    #: Days that history is kept, where the order is older than that; 0 where nothing can be missing.
    kept_days: int


def timeline(subject: Subject, rows: Iterable[Standing], *, bodies: bool = False) -> Timeline:
    """What happened to ``subject``, and who did it. Requests and answers are only read when ``bodies`` are asked for.

    Five queries, and one for every kind of related object that must be looked up.
    """
    events = _events(subject)
    by_state = {row.sync.pk: row.credential for row in rows if row.sync.pk}
    made = Attempt.objects.filter(sync_state__in=list(by_state)).order_by("-pk")
    attempts = list((made if bodies else made.defer("request", "answer"))[: MAX_ATTEMPTS + 1])
    entries: list[Change | Exchange | Deed] = [_change(event) for event in events[:MAX_CHANGES]]
    entries += _deeds(subject)
    entries += [
        Exchange(at=attempt.started_at, attempt=attempt, credential=by_state[attempt.sync_state_id])
        for attempt in attempts[:MAX_ATTEMPTS]
    ]
    entries.sort(key=lambda entry: entry.at, reverse=True)
    kept = conf.options().HISTORY_DAYS
    return Timeline(
        kept_days=kept if timezone.now() - subject.created_at > timedelta(days=kept) else 0,
        entries=list(_collapse(entries)),
        more_changes=len(events) > MAX_CHANGES,
        more_attempts=len(attempts) > MAX_ATTEMPTS,
    )


# the machinery


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


def spell(span: timedelta) -> str:
    """``span`` in one unit, rounded down: ``5 s``, ``3 min``, ``2 h``, ``4 days``."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:
        return _("%(count)d s") % {"count": seconds}
    if seconds < 3600:
        return _("%(count)d min") % {"count": seconds // 60}
    if seconds < 2 * 86400:
        return _("%(count)d h") % {"count": seconds // 3600}
    days = seconds // 86400
    return ngettext("%(count)d day", "%(count)d days", days) % {"count": days}


def _standing(
    state: SyncState | None, credential: VendorCredential, now: datetime, subject: Subject | None = None
) -> Standing:
    if state is None:
        reason = ERASED if subject and subject.erased_at else _NEVER_OFFERED
        state = SyncState(state=SyncState.State.NOT_SENT, reason=reason)
    # Loaded once for all orders; asking the row would be a query each, secrets included.
    state.credential = credential
    if subject is None:
        return Standing(credential=credential, sync=state, status_at=None, now=now)
    status_at = subject.status_at or subject.created_at
    return Standing(credential=credential, sync=state, status_at=status_at, now=now, kind=subject.kind)


def events_of(subject: Subject) -> models.QuerySet[OutboxEvent]:
    """The captured changes of an order or cart and of what belongs to it."""
    whose = Q(relation="", key=subject.key)
    for path, keys in _related_keys(subject):
        whose |= Q(relation=path, key__in=keys)
    return OutboxEvent.objects.using(_database_of(subject.kind)).filter(whose, kind=subject.kind)


def _events(subject: Subject) -> list[OutboxEvent]:
    """The newest of them, newest first, one more than is shown."""
    events = events_of(subject).order_by("-pk")
    # Two questions, because each has an index of its own.
    waiting = list(events.filter(relayed_at__isnull=True)[: MAX_CHANGES + 1])
    relayed = list(events.filter(relayed_at__isnull=False)[: MAX_CHANGES + 1])
    return sorted([*waiting, *relayed], key=lambda event: event.pk, reverse=True)[: MAX_CHANGES + 1]


def _database_of(kind: str) -> str:
    """Where the events of the saves of orders or carts are."""
    with contextlib.suppress(ConfigurationError, KeyError):
        return get_shop().readers[kind].database
    return router.db_for_read(OutboxEvent)


def _related_keys(subject: Subject) -> Iterator[tuple[str, list[str]]]:
    """Keys of the related objects whose events do not name the order. Nothing where the shop cannot say."""
    with contextlib.suppress(ConfigurationError, FieldError, KeyError, ValueError, ValidationError):
        reader = get_shop().readers[subject.kind]
        for relation in reader.relations:
            if not relation.owner_field:
                orders = reader.model._base_manager.using(reader.database).filter(pk=subject.key)
                keys = orders.values_list(relation.path, flat=True)[:MAX_CHANGES]
                yield relation.path, [str(key) for key in keys if key is not None]


def _change(event: OutboxEvent) -> Change:
    return Change(
        at=event.created_at,
        first_at=event.created_at,
        change=event.change,
        label=event.get_change_display(),
        status=event.status,
        is_relayed=event.relayed_at is not None,
    )


def _deeds(subject: Subject) -> list[Deed]:
    """The newest that Django's admin log has of it, where the shop has the admin."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    ours = ContentType.objects.get_for_model(Subject)
    whose = Q(content_type=ours, object_id=str(subject.pk))
    with contextlib.suppress(ConfigurationError, KeyError):
        shops = ContentType.objects.get_for_model(get_shop().readers[subject.kind].model)
        whose |= Q(content_type=shops, object_id=subject.key)
    entries = apps.get_model("admin", "LogEntry").objects.filter(whose).select_related("user").order_by("-pk")
    return [
        Deed(
            at=entry.action_time,
            who=entry.user.get_username(),
            told=entry.get_change_message() or str(entry),
            is_ours=entry.content_type_id == ours.pk,
        )
        for entry in entries[:MAX_DEEDS]
    ]


def _collapse(entries: Iterable[Change | Exchange | Deed]) -> Iterator[Change | Exchange | Deed]:
    last: Change | Exchange | Deed | None = None
    for entry in entries:
        if isinstance(last, Change) and isinstance(entry, Change) and last.absorbs(entry):
            last = replace(last, first_at=entry.first_at, count=last.count + 1)
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last
