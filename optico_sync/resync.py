"""What an operator can do about orders: send again, hold, release, and decide what is not sent.

Carts need nobody: the next change replaces them, what is over is not told any more, and no customer is written to
because of one. A decision against one cart would end with it, and the visitor's next cart be told again: who wants none
told switches them off for the whole credential. Each verb works through its subjects in chunks of its own
transactions, with rows locked in one order, and has the engine woken at once where it leaves something to send.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from django.db import models, router, transaction

from optico_sync import wakeups
from optico_sync.exceptions import Unreadable
from optico_sync.models import Attempt, DeclaredStatus, OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.models.bulk import upsert
from optico_sync.models.clock import database_now
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot

CHUNK = 500

_Item = TypeVar("_Item")

RESENT_FIELDS = [
    "state", "reason", "detail", "queue", "last_queued", "tried", "refused_status", "generation", "is_forced",
    "is_held", "attempts", "doubts", "due_at", "job", "before",
]  # fmt: skip
_HELD_FIELDS = ["state", "reason", "detail", "is_held", "is_withheld", "due_at", "job", "before"]
_CONFIRMED_FIELDS = [
    "state", "reason", "detail", "queue", "tried", "refused_status", "answered_generation", "is_forced", "attempts",
    "doubts", "repeats", "sent_status", "accepted_status", "accepted_is_sale", "delivered_at", "due_at",
]  # fmt: skip


def resend(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Send these orders again, with their content and status of now. Returns how many sends were queued.

    Rules hold as ever: what is not mapped, too old or deleted is not sent, and says so.
    """
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        subjects = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, erased_at=None).in_bulk(chunk)
        keys = [subject.key for subject in subjects.values()]
        orders = get_shop().read(keys, using=get_shop().database)
        with transaction.atomic(using=using):
            now = database_now(using)
            credentials = list(_credentials(credential_id, using))
            pending = unrelayed(keys)
            states = {(state.subject_id, state.credential_id): state for state in locked(chunk, credential_id, using)}
            new: list[SyncState] = []
            for subject in subjects.values():
                order = orders.get(subject.key)
                status = order.status if isinstance(order, OrderSnapshot) and subject.key not in pending else ""
                for credential in credentials:
                    state = states.get((subject.pk, credential.pk))
                    if state is None:
                        state = SyncState(subject=subject, credential=credential)
                        new.append(state)
                    known = state.last_queued or subject.status
                    count += state.resend(status=status or known, due_at=now, manner=credential.manner)
            for credential in credentials:
                credential.map_statuses({state.last_queued for state in (*states.values(), *new)})
            upsert(states.values(), RESENT_FIELDS, using=using)
            SyncState.objects.using(using).bulk_create(new)
    if count:
        wakeups.ring_soon(using)
    return count


def hold(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Send nothing of these orders until they are released. Returns how many sync states are held now."""
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        with transaction.atomic(using=using):
            states = [state for state in locked(chunk, credential_id, using) if not (state.is_held or state.is_erased)]
            for state in states:
                state.hold()
            upsert(states, _HELD_FIELDS, using=using)
        count += len(states)
    return count


def release(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Let go what was held by hand, and try again what was refused. Returns how many sync states were released."""
    stuck = models.Q(is_held=True) | models.Q(state=SyncState.State.REFUSED)
    return _release(subject_ids, stuck & models.Q(is_withheld=False), credential_id)


def withhold(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Send no more of these orders, whatever changes, until somebody sends them after all.

    Also to a credential that they were never offered to. Returns how many sync states are withheld now.
    """
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        with transaction.atomic(using=using):
            subjects = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, erased_at=None).in_bulk(chunk)
            states = list(locked(list(subjects), credential_id, using))
            known = {(state.subject_id, state.credential_id) for state in states}
            new = []
            for credential in _credentials(credential_id, using):
                for subject in subjects.values():
                    if (subject.pk, credential.pk) not in known:
                        state = SyncState(subject=subject, credential=credential)
                        # Should it be sent after all, it starts with the status of now.
                        state.change(statuses=[subject.status], due_at=database_now(using), manner=credential.manner)
                        new.append(state)
            old = [state for state in states if not state.is_withheld]
            for state in (*old, *new):
                state.withhold()
            upsert(old, _HELD_FIELDS, using=using)
            SyncState.objects.using(using).bulk_create(new)
        count += len(old) + len(new)
    return count


def send_after_all(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Undo ``withhold``: everything that came about meanwhile is sent. Returns how many sync states that concerns."""
    return _release(subject_ids, models.Q(is_withheld=True), credential_id)


def confirm(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Somebody looked: the vendor has what was sent without a clear answer. Returns how many sync states it settles."""
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        with transaction.atomic(using=using):
            now = database_now(using)
            doubtful = locked(chunk, credential_id, using)
            states = list(doubtful.filter(state=SyncState.State.REFUSED, reason="ambiguous"))
            made = Attempt.objects.using(using).filter(sync_state__in=states, reason="ambiguous").order_by("pk")
            last = {attempt.sync_state_id: attempt for attempt in made.defer("request", "answer")}
            sales = set(
                DeclaredStatus.objects.using(using)
                .filter(credential__in={state.credential_id for state in states}, is_sale=True)
                .values_list("credential", "name")
            )
            for state in states:
                if attempt := last.get(state.pk):
                    state.confirm(
                        status=attempt.shop_status,
                        declared=attempt.status,
                        is_sale=(state.credential_id, attempt.status) in sales,
                        at=attempt.started_at,
                    )
                else:
                    # A worker died before it could record what it sent.
                    state.confirm(status="", declared="", is_sale=None, at=now)
            upsert(states, _CONFIRMED_FIELDS, using=using)
        count += len(states)
    return count


def _release(subject_ids: Collection[int], which: models.Q, credential_id: int | None) -> int:
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        states = SyncState.objects.using(using).filter(which, subject__in=chunk)
        if credential_id:
            states = states.filter(credential=credential_id)
        count += states.release(database_now(using))
    if count:
        wakeups.ring_soon(using)
    return count


def batched(items: Iterable[_Item], size: int = CHUNK) -> Iterator[list[_Item]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def unrelayed(keys: Collection[str]) -> set[str]:
    """The orders among these that bring statuses of their own, in their order: captured, and not relayed yet."""
    waiting = OutboxEvent.objects.using(get_shop().database).filter(relayed_at__isnull=True)
    return set(waiting.filter(kind=Subject.Kind.ORDER, key__in=keys).values_list("key", flat=True))


def locked(subject_ids: Collection[int], credential_id: int | None, using: str) -> models.QuerySet[SyncState]:
    """Where these orders stand, locked in the one order that everybody keeps to."""
    states = SyncState.objects.using(using).select_for_update().filter(subject__in=subject_ids).order_by("pk")
    return states.filter(credential=credential_id) if credential_id else states


def _credentials(credential_id: int | None, using: str) -> models.QuerySet[VendorCredential]:
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets")
    return credentials.filter(pk=credential_id) if credential_id else credentials


def know(keys: Collection[str], orders: Mapping[str, OrderSnapshot | Unreadable] | None = None) -> list[Subject]:
    """The subjects of these orders; those never captured are made from the order as it stands, read unless given."""
    using = router.db_for_write(Subject)
    known = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, key__in=keys)
    missing = set(keys).difference(known.values_list("key", flat=True))
    if missing:
        now = database_now(using)
        if orders is None:
            orders = get_shop().read(sorted(missing), using=get_shop().database)
        new = [
            Subject(kind=Subject.Kind.ORDER, key=key, created_at=now, changed_at=now, **_first_facts(orders[key]))
            for key in sorted(missing & orders.keys())
        ]
        Subject.objects.using(using).bulk_create(new, ignore_conflicts=True)
    return list(known.all())


def _first_facts(order: OrderSnapshot | Unreadable) -> dict[str, Any]:
    if isinstance(order, Unreadable):
        return {}
    seen = order.attribution
    return {
        "reference": order.reference[:255],
        "status": order.status[:200],
        "visit_id": seen.visit_id,
        "call_id": seen.call_id[:64],
        "agent": seen.agent[:150],
        "cart_key": seen.cart_key[:255],
        "sources": {
            name: Subject.Source.ORDER.value
            for name in ("visit_id", "call_id", "agent", "cart_key")
            if getattr(seen, name)
        },
    }
