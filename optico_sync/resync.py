"""What an operator can do about orders: send again, hold, release. Carts need nobody: the next change replaces them.

Each verb works through its subjects in chunks of its own transactions, with rows locked in one order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.db import models, router, transaction

from optico_sync.exceptions import Unreadable
from optico_sync.models import OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.models.bulk import upsert
from optico_sync.models.clock import database_now
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot

CHUNK = 500

_Item = TypeVar("_Item")

_RESENT_FIELDS = [
    "state", "reason", "detail", "queue", "last_queued", "tried", "refused_status", "generation", "is_forced",
    "is_held", "attempts", "doubts", "due_at",
]  # fmt: skip
_HELD_FIELDS = ["state", "reason", "detail", "is_held", "due_at"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which orders an operator means. What is None does not narrow it down."""

    references: Collection[str] | None = None
    keys: Collection[str] | None = None
    statuses: Collection[str] | None = None
    placed_from: datetime | None = None
    placed_until: datetime | None = None
    state: str | None = None
    credential_id: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it names every order there is, which nobody means by accident."""
        return all(value is None for value in (self.references, self.keys, self.state)) and not self._asks_shop

    @property
    def _asks_shop(self) -> bool:
        given = (self.references, self.keys, self.statuses, self.placed_from, self.placed_until)
        return any(value is not None for value in given)

    def missing(self) -> list[str]:
        """References and keys that no order in the shop has."""
        using = get_shop().database
        lost: list[str] = []
        if self.references is not None:
            found = get_shop().find(using=using, references=self.references)
            orders = get_shop().read([str(key) for key in found.values_list("pk", flat=True)], using=using)
            known = {order.reference for order in orders.values() if isinstance(order, OrderSnapshot)}
            lost += sorted(set(self.references) - known)
        if self.keys is not None:
            lost += sorted(set(self.keys) - get_shop().read(list(self.keys), using=using).keys())
        return lost

    def chunks(self) -> Iterator[list[str]]:
        """The keys of the orders meant, in chunks."""
        keys = self._shop_keys() if self._asks_shop else self._known_keys()
        for chunk in batched(keys, CHUNK):
            yield self._in_state(chunk) if self._asks_shop and self.state else chunk

    def _shop_keys(self) -> Iterable[str]:
        orders = get_shop().find(
            using=get_shop().database,
            references=self.references,
            keys=self.keys,
            statuses=self.statuses,
            placed_from=self.placed_from,
            placed_until=self.placed_until,
        )
        return (str(key) for key in orders.values_list("pk", flat=True).iterator(CHUNK))

    def _known_keys(self) -> Iterable[str]:
        states = self._states().order_by("subject_id").values_list("subject__key", flat=True)
        # A list: the rows leave their state while they are worked on.
        return list(dict.fromkeys(states))

    def _in_state(self, keys: Sequence[str]) -> list[str]:
        return list(self._states().filter(subject__key__in=keys).values_list("subject__key", flat=True).distinct())

    def _states(self) -> models.QuerySet[SyncState]:
        states = SyncState.objects.filter(subject__kind=Subject.Kind.ORDER)
        states = states.shown_as(self.state) if self.state else states
        return states.filter(credential=self.credential_id) if self.credential_id else states


def resend_selected(selection: Selection) -> Iterator[int]:
    """Send the orders of ``selection`` again; yields the number of orders of each chunk as it is queued."""
    for keys in selection.chunks():
        subjects = _know(keys)
        resend([subject.pk for subject in subjects], credential_id=selection.credential_id)
        yield len(keys)


def resend(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Send these orders again, with their content and status of now. Returns how many sends were queued.

    Rules hold as ever: what is not mapped, too old or deleted is not sent, and says so.
    """
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        subjects = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER).in_bulk(chunk)
        source = get_shop().database
        orders = get_shop().read([subject.key for subject in subjects.values()], using=source)
        with transaction.atomic(using=using):
            now = database_now(using)
            credentials = list(_credentials(credential_id, using))
            # What is captured and not relayed yet brings its own statuses, in their order.
            pending = set(
                OutboxEvent.objects.using(source)
                .filter(
                    relayed_at__isnull=True,
                    kind=Subject.Kind.ORDER,
                    key__in=[subject.key for subject in subjects.values()],
                )
                .values_list("key", flat=True)
            )
            states = {(state.subject_id, state.credential_id): state for state in _locked(chunk, credential_id, using)}
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
            upsert(states.values(), _RESENT_FIELDS, using=using)
            SyncState.objects.using(using).bulk_create(new)
    return count


def hold(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Send nothing of these orders until they are released. Returns how many sync states are held now."""
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        with transaction.atomic(using=using):
            states = [state for state in _locked(chunk, credential_id, using) if not state.is_held]
            for state in states:
                state.hold()
            upsert(states, _HELD_FIELDS, using=using)
        count += len(states)
    return count


def release(subject_ids: Collection[int], *, credential_id: int | None = None) -> int:
    """Let go what was held by hand, and try again what was refused. Returns how many sync states were released."""
    using = router.db_for_write(SyncState)
    count = 0
    for chunk in batched(sorted(subject_ids), CHUNK):
        stuck = SyncState.objects.using(using).filter(subject__in=chunk)
        stuck = stuck.filter(models.Q(is_held=True) | models.Q(state=SyncState.State.REFUSED))
        if credential_id:
            stuck = stuck.filter(credential=credential_id)
        count += stuck.release(database_now(using))
    return count


def batched(items: Iterable[_Item], size: int = CHUNK) -> Iterator[list[_Item]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _locked(subject_ids: Collection[int], credential_id: int | None, using: str) -> models.QuerySet[SyncState]:
    states = SyncState.objects.using(using).select_for_update().filter(subject__in=subject_ids).order_by("pk")
    return states.filter(credential=credential_id) if credential_id else states


def _credentials(credential_id: int | None, using: str) -> models.QuerySet[VendorCredential]:
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets")
    return credentials.filter(pk=credential_id) if credential_id else credentials


def _know(keys: Sequence[str]) -> list[Subject]:
    """The subjects of these orders; those never captured are made from the order as it stands."""
    using = router.db_for_write(Subject)
    known = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, key__in=keys)
    missing = set(keys).difference(known.values_list("key", flat=True))
    if missing:
        now = database_now(using)
        orders = get_shop().read(sorted(missing), using=get_shop().database)
        new = [
            Subject(kind=Subject.Kind.ORDER, key=key, created_at=now, changed_at=now, **_first_facts(order))
            for key, order in orders.items()
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
