"""Erase: forget whose an order is, on a person's request, and remember that it was sent, so that it never is again.

What a vendor holds is not here to be erased: ``insight.holders`` says which of them to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import router, transaction
from django.db.models import Q, QuerySet

from optico_sync import insight
from optico_sync.models import Attempt, OutboxEvent, Subject, SyncState
from optico_sync.models.bulk import upsert
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all

_SUBJECT_FIELDS = ["visit_id", "call_id", "agent", "cart_key", "sources", "erased_at"]
_STATE_FIELDS = [
    "state", "reason", "detail", "queue", "tried", "refused_status", "answered_generation", "is_forced", "is_held",
    "is_withheld", "repeats", "doubts", "attempts", "due_at", "job", "before",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was there to be erased: nothing of what an earlier time erased."""

    orders: int
    carts: int
    attempts: int
    changes: int


def whole(orders: Sequence[Subject]) -> list[Subject]:
    """The orders, and what else is known of the same person: their carts, and the other carts of the same visits."""
    mine = Q(key__in={order.cart_key for order in orders if order.cart_key})
    mine |= Q(visit_id__in={order.visit_id for order in orders if order.visit_id})
    carts = Subject.objects.using(router.db_for_write(Subject)).filter(mine, kind=Subject.Kind.CART)
    return [*orders, *carts.order_by("pk")]


def erase(order_ids: Collection[int]) -> Erased:
    """Forget whose these orders and their carts are, what was said about them, and what their changes told."""
    # What is captured already may name a cart.
    relay_all()
    using = router.db_for_write(Subject)
    with transaction.atomic(using=using):
        orders = list(Subject.objects.using(using).filter(pk__in=order_ids, kind=Subject.Kind.ORDER))
        everything = {subject.pk for subject in whole(orders)}
        # Locked as the relay locks them.
        rows = Subject.objects.using(using).select_for_update().filter(pk__in=everything).order_by("kind", "key")
        subjects = list(rows)
        new = [subject for subject in subjects if subject.erased_at is None]
        now = database_now(using)
        for subject in subjects:
            subject.erase(now)
        upsert(subjects, _SUBJECT_FIELDS, using=using)
        states = list(SyncState.objects.using(using).select_for_update().filter(subject__in=subjects).order_by("pk"))
        for state in states:
            state.erase()
        upsert(states, _STATE_FIELDS, using=using)
        attempts = _empty(Attempt.objects.using(using).filter(sync_state__in=states), Attempt.BODIES)
    # A change that is relayed from now on is emptied by the relay.
    changes = sum(_empty(insight.events_of(subject), OutboxEvent.PERSONAL) for subject in subjects)
    of_orders = sum(subject.kind == Subject.Kind.ORDER for subject in new)
    return Erased(orders=of_orders, carts=len(new) - of_orders, attempts=attempts, changes=changes)


def _empty(rows: QuerySet, fields: Sequence[str]) -> int:
    """Empty ``fields`` where there is something in them. Returns in how many rows."""
    nothing = dict.fromkeys(fields, "")
    return rows.exclude(**nothing).order_by().update(**nothing)
