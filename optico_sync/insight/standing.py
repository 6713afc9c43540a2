"""Orders and carts: where each stands with each credential, whose it is, and whom it names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from optico_sync.insight.lines import credentials
from optico_sync.insight.spans import spell
from optico_sync.models import (
    Attempt,
    Subject,
    SyncState,
    VendorCredential,
)
from optico_sync.models.sync import ERASED
from optico_sync.outcome import REASONS, Reason
from optico_sync.shops import get_shop

_NEVER_OFFERED = "never_offered"
_REASONS_READ = 1000
_CURED_IN_SETTINGS = frozenset(
    [
        "unmapped_status", "unknown_status", "invalid_products", "certificate", "key_refused", "forbidden",
        "wrong_address", "redirect", "forbidden_address", "secret_unreadable", "incomplete_credential",
        "credential_off", "status_not_sent", "before_start", "new_key",
    ]
)  # fmt: skip


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
