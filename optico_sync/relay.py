"""Relay: captured changes become work, a queue for each order or cart and credential.

One relay at a time, in batches, a constant number of statements a batch. Relayed is a flag on the event and never "id
greater than the last one": transactions commit out of id order.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from django.core.exceptions import FieldError
from django.db import connections, router, transaction

from optico_sync import conf, told
from optico_sync.attribution import NOTHING, Attribution, clean_call_id, clean_visit_id
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent, RelayState, Subject, SyncState, VendorCredential
from optico_sync.models.bulk import upsert
from optico_sync.models.clock import database_now
from optico_sync.shops import event_databases, get_shop

logger = logging.getLogger(__name__)

BATCH = 1000

_NEVER = datetime.min.replace(tzinfo=UTC)

_SUBJECT_FIELDS = [
    "reference", "status", "status_at", "visit_id", "call_id", "agent", "cart_key", "sources", "changed_at",
    "deleted_at", "changes", "content",
]  # fmt: skip
_STATE_FIELDS = [
    "state", "reason", "detail", "queue", "last_queued", "tried", "refused_status", "generation", "due_at",
    "job", "before",
]  # fmt: skip


@dataclass
class _Change:
    """All that happened to one order or cart in a batch of events."""

    events: list[int] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    reference: str = ""
    #: What was seen of whose it is, each with where, oldest first.
    seen: list[tuple[Attribution, Subject.Source]] = field(default_factory=list)
    first_at: datetime = _NEVER
    last_at: datetime = _NEVER
    #: None where nothing says whether the order is still there.
    is_deleted: bool | None = None

    def add(self, event: OutboxEvent) -> None:
        self.events.append(event.pk)
        if event.status and event.change != OutboxEvent.Change.DELETED:
            self.statuses.append(event.status)
        self.reference = event.reference or self.reference
        seen = _cleaned(event.attribution)
        if seen != NOTHING:
            is_stated = event.change == OutboxEvent.Change.ATTRIBUTED
            self.seen.append((seen, Subject.Source.STATED if is_stated else Subject.Source(event.kind)))
        if self.first_at is _NEVER:
            self.first_at = event.created_at
        self.last_at = event.created_at
        if event.change in (OutboxEvent.Change.SAVED, OutboxEvent.Change.FOUND, OutboxEvent.Change.DELETED):
            self.is_deleted = event.change == OutboxEvent.Change.DELETED


def _cleaned(seen: Attribution) -> Attribution:
    """A trigger writes what the shop's column holds, whether it can be a visit and a call or not."""
    return replace(seen, visit_id=clean_visit_id(seen.visit_id), call_id=clean_call_id(seen.call_id))


def relay(limit: int = BATCH) -> int:
    """Turn up to ``limit`` captured changes of each database into work.

    Returns how many; 0 also when another relay is at it.
    """
    if not conf.options().ENABLED:
        return 0
    return sum(_relay_from(source, limit) for source in event_databases())


def _relay_from(source: str, limit: int) -> int:
    """Relay what was captured in the database ``source``.

    Where that is not the app's own, the work is committed first and its events are marked afterwards: a crash in
    between repeats them and loses none. Until then they stay locked, so that another relay takes only later ones.
    """
    using = router.db_for_write(SyncState)
    unrelayed = OutboxEvent.objects.using(source).filter(relayed_at__isnull=True).order_by("pk")
    if not unrelayed.exists():
        return 0
    RelayState.objects.using(using).get_or_create(pk=1)
    is_apart = source != using
    with transaction.atomic(using=source):
        with transaction.atomic(using=using) if is_apart else contextlib.nullcontext():
            state = RelayState.objects.using(using).select_for_update(skip_locked=True).filter(pk=1).first()
            if state is None:
                return 0
            now = database_now(using)
            events = list((unrelayed.select_for_update(skip_locked=True) if is_apart else unrelayed)[:limit])
            changes = _changes(events)
            subjects = _fold(changes, now, using)
            _queue(changes, subjects, now, using)
            state.relayed_at = now
            if lost := sum(event.missed for event in events):
                state.missed_captures += lost
                state.last_missed_at = now
            state.save(using=using)
        relayed = OutboxEvent.objects.using(source)
        if erased := [pk for one in changes if subjects[one].erased_at for pk in changes[one].events]:
            # Whose it is was not to be known any more.
            relayed.filter(pk__in=erased).update(**dict.fromkeys(OutboxEvent.PERSONAL, ""))
        relayed.filter(pk__in=[event.pk for event in events]).update(relayed_at=now)
    told.forget(connections[source])
    return len(events)


def relay_all() -> int:
    """Relay until nothing is left. Returns how many changes."""
    total = 0
    while count := relay():
        total += count
    return total


def seed_mappings(credential: VendorCredential) -> None:
    """Give a new credential a mapping row for every status known so far, so that its owner can decide beforehand."""
    known = set(credential.status_mappings.model.objects.order_by().values_list("shop_status", flat=True).distinct())
    # The system checks report a wrong setting; the statuses then appear as orders come.
    with contextlib.suppress(ConfigurationError):
        known.update(get_shop().known_statuses())
    credential.map_statuses(known)


def _changes(events: Sequence[OutboxEvent]) -> dict[tuple[str, str], _Change]:
    """What happened, by subject, in order of the subjects' keys so that locks are always taken in one order."""
    related: dict[tuple[str, str], set[str]] = {}
    for event in events:
        if event.relation:
            related.setdefault((event.kind, event.relation), set()).add(event.key)
    owners = {(kind, path): _owners(kind, path, keys) for (kind, path), keys in related.items()}
    changes: dict[tuple[str, str], _Change] = {}
    for event in events:
        keys = owners[event.kind, event.relation].get(event.key, ()) if event.relation else (event.key,)
        for key in keys:
            changes.setdefault((event.kind, key), _Change()).add(event)
    return dict(sorted(changes.items()))


def _owners(kind: str, path: str, keys: set[str]) -> Mapping[str, set[str]]:
    """Related key -> its owners; none for a relation that the settings no longer name, which must not stop the rest."""
    try:
        reader = get_shop().readers[kind]
        return reader.owners(path, keys, using=reader.database)
    except (ConfigurationError, FieldError, KeyError) as error:
        logger.warning("Changes of %r belong to no %s any more (%s).", path, kind, type(error).__name__)
        return {}


def _fold(changes: dict[tuple[str, str], _Change], now: datetime, using: str) -> dict[tuple[str, str], Subject]:
    """The changes' subjects, made where they are new, with status and attribution folded in."""
    kinds = {kind for kind, _key in changes}
    keys = [key for _kind, key in changes]
    found = (
        Subject.objects.using(using).select_for_update().filter(kind__in=kinds, key__in=keys).order_by("kind", "key")
    )
    known = {(subject.kind, subject.key): subject for subject in found}
    new = []
    for (kind, key), change in changes.items():
        subject = known.get((kind, key))
        if subject is None:
            subject = Subject(kind=kind, key=key, created_at=change.first_at)
            new.append(subject)
        subject.reference = change.reference or subject.reference
        if change.statuses and change.statuses[-1] != subject.status:
            subject.status, subject.status_at = change.statuses[-1], change.last_at
        for seen, source in change.seen if subject.erased_at is None else ():
            subject.attribute(seen, source=source)
        subject.changed_at = change.last_at
        # Whoever reads it next says what it is now.
        subject.changes, subject.content = subject.changes + 1, ""
        if change.is_deleted is not None:
            subject.deleted_at = change.last_at if change.is_deleted else None
    _inherit([*known.values(), *new], using)
    upsert(known.values(), _SUBJECT_FIELDS, using=using)
    created = Subject.objects.using(using).bulk_create(new)
    return known | {(subject.kind, subject.key): subject for subject in created}


def _inherit(subjects: Sequence[Subject], using: str) -> None:
    """Give orders the attribution of their carts where they have none of their own; not saved.

    The order may have been made by the bank's call-back or by staff, and its cart may be gone by now.
    """
    orders = [
        subject
        for subject in subjects
        if subject.kind == Subject.Kind.ORDER and subject.cart_key and not (subject.visit_id and subject.call_id)
    ]
    if not orders:
        return
    stored = Subject.objects.using(using).filter(kind=Subject.Kind.CART, key__in={order.cart_key for order in orders})
    carts = {cart.key: cart for cart in (*stored, *(one for one in subjects if one.kind == Subject.Kind.CART))}
    for order in orders:
        if cart := carts.get(order.cart_key):
            order.attribute(cart.attribution, source=Subject.Source.CART)


def _queue(
    changes: dict[tuple[str, str], _Change], subjects: dict[tuple[str, str], Subject], now: datetime, using: str
) -> None:
    """Raise every credential's generation of the changed subjects, and queue their new statuses."""
    credentials = list(VendorCredential.objects.using(using).defer("sealed_secrets"))
    if not credentials:
        return
    statuses = {status for change in changes.values() for status in change.statuses}
    statuses.update(subject.status for subject in subjects.values())
    for credential in credentials:
        credential.map_statuses(statuses)
    rows = SyncState.objects.using(using).select_for_update().filter(subject__in=list(subjects.values())).order_by("pk")
    states = {(state.subject_id, state.credential_id): state for state in rows}
    old, new = [], []
    options = conf.options()
    for identity, change in changes.items():
        subject = subjects[identity]
        if subject.erased_at:
            continue
        is_cart = subject.kind == Subject.Kind.CART
        quiet = timedelta(seconds=options.CART_QUIET_PERIOD if is_cart else options.QUIET_PERIOD)
        due_at = min(max(now, change.last_at + quiet), now + quiet)
        for credential in credentials:
            if (manner := credential.manner_of(subject.kind)) is None:
                continue
            state = states.get((subject.pk, credential.pk))
            if state is None:
                state = SyncState(subject=subject, credential=credential)
                new.append(state)
            else:
                old.append(state)
            # A credential that came later, or was told nothing so far, starts with the status the order has.
            news = change.statuses or ([] if state.last_queued else [subject.status])
            state.change(statuses=news, due_at=due_at, manner=manner)
    upsert(old, _STATE_FIELDS, using=using)
    SyncState.objects.using(using).bulk_create(new)
