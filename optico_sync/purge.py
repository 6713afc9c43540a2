"""Purge: remove what explains nothing any more, a little at a time, so that no delivery waits for it.

Captured changes that were taken up, attempts, and carts that nobody touches. Orders and where they stand are never
removed: they are the record that keeps an order from being sent twice. Everything is read along an index and no further
than it is old, so that a run costs what it removes, however much is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import takewhile

from django.db import router, transaction
from django.db.models import Exists, Max, OuterRef, Q

from optico_sync import conf
from optico_sync.models import Attempt, OutboxEvent, Purge, Subject, SyncState, Worker
from optico_sync.models.clock import database_now
from optico_sync.outcome import Kind
from optico_sync.shops import event_databases

#: Rows that are looked at, and removed, together.
BATCH = 1000
#: How often the worker purges.
EVERY = timedelta(hours=1)

CHANGES, ATTEMPTS, CARTS = "captured changes", "attempts", "carts"


def is_due() -> bool:
    """Whether it is time, and this process's turn."""
    using = router.db_for_write(Purge)
    record, _made = Purge.objects.using(using).get_or_create(pk=1)
    return record.take_turn(database_now(using), EVERY)


def purge(*, days: int | None = None, is_dry: bool = False) -> Iterator[tuple[str, int]]:
    """Remove what is older than the settings say, or than ``days``; with ``is_dry`` only count it.

    Yields what was removed, and how many, after every batch: stop whenever you like, the next one goes on.
    """
    using = router.db_for_write(SyncState)
    now = database_now(using)
    options = conf.options()
    if kept := options.HISTORY_DAYS if days is None else days:
        before = now - timedelta(days=kept)
        for source in event_databases():
            yield from _changes(before, source, is_dry=is_dry)
        yield from _attempts(before, now, using, is_dry=is_dry)
    if kept := options.CART_DAYS if days is None else days:
        yield from _carts(now - timedelta(days=kept), using, is_dry=is_dry)
    if not is_dry:
        Worker.objects.using(using).filter(beat_at__lt=now - Worker.KEPT).delete()


def _changes(before: datetime, using: str, *, is_dry: bool) -> Iterator[tuple[str, int]]:
    """Changes that were relayed before then. Their keys rise with time, near enough; what is not relayed yet stays."""
    events = OutboxEvent.objects.using(using)
    done = 0
    while batch := list(events.filter(pk__gt=done).order_by("pk").values_list("pk", "created_at")[:BATCH]):
        last, created_at = batch[-1]
        old = events.filter(pk__gt=done, pk__lte=last, relayed_at__lt=before)
        yield CHANGES, old.count() if is_dry else old.delete()[0]
        if created_at >= before:
            return
        done = last


def _attempts(before: datetime, now: datetime, using: str, *, is_dry: bool) -> Iterator[tuple[str, int]]:
    """Attempts from before then, but for the last of each order and credential, and the last that was accepted."""
    attempts = Attempt.objects.using(using)
    record, _made = Purge.objects.using(using).get_or_create(pk=1)
    done = record.attempt
    while batch := list(
        attempts.filter(pk__gt=done).order_by("pk").values_list("pk", "sync_state_id", "started_at")[:BATCH]
    ):
        # A worker's clock may run ahead: such a one must not keep the rest for ever.
        old = list(takewhile(lambda row: not before <= row[2] <= now, batch))
        if not old:
            return
        done = old[-1][0]
        states = {state for _pk, state, _at in old}
        made = attempts.filter(sync_state__in=states).order_by().values("sync_state")
        last = made.annotate(last=Max("pk"), accepted=Max("pk", filter=Q(outcome=Kind.DELIVERED)))
        kept = {pk for pks in last.values_list("last", "accepted") for pk in pks if pk}
        if is_dry:
            yield ATTEMPTS, len({pk for pk, _state, _at in old} - kept)
            continue
        # Those too that stayed an earlier time, and explain nothing any more.
        gone = attempts.filter(sync_state__in=states, pk__lte=done).exclude(pk__in=kept)
        count, _by_model = gone.delete()
        Purge.objects.using(using).filter(pk=1).update(attempt=done)
        yield ATTEMPTS, count


def _carts(before: datetime, using: str, *, is_dry: bool) -> Iterator[tuple[str, int]]:
    """Carts that did not change since then, but for those of which something is still to be sent."""
    due = SyncState.objects.using(using).filter(subject=OuterRef("pk"), due_at__isnull=False)
    carts = Subject.objects.using(using).filter(kind=Subject.Kind.CART, changed_at__lt=before)
    left = carts.filter(~Exists(due), created_at__lt=before).order_by("created_at")
    batch = list(left.values_list("pk", "created_at")[:BATCH])
    while batch:
        keys = [pk for pk, _at in batch]
        yield CARTS, len(keys) if is_dry else _remove_carts(keys, before, using)
        batch = list(left.filter(created_at__gt=batch[-1][1]).values_list("pk", "created_at")[:BATCH])


def _remove_carts(pks: list[int], before: datetime, using: str) -> int:
    """Locked as the relay locks them, and looked at again. What a change not taken up yet is about stays."""
    with transaction.atomic(using=using):
        rows = Subject.objects.using(using).select_for_update(skip_locked=True).order_by("kind", "key")
        carts = {cart.key: cart.pk for cart in rows.filter(pk__in=pks, changed_at__lt=before)}
        for source in event_databases():
            waiting = OutboxEvent.objects.using(source).filter(relayed_at__isnull=True, kind=Subject.Kind.CART)
            for key in waiting.filter(key__in=carts).values_list("key", flat=True):
                carts.pop(key, None)
        states = SyncState.objects.using(using).select_for_update().filter(subject__in=carts.values()).order_by("pk")
        busy = {state.subject_id for state in states if state.due_at}
        gone = set(carts.values()) - busy
        Subject.objects.using(using).filter(pk__in=gone).delete()
        return len(gone)
