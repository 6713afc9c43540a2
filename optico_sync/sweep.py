"""Sweep: compare the shop's orders with what was captured, and queue what passed by unseen.

Signals do not see ``QuerySet.update``, ``bulk_*`` and raw SQL, and where the shop saves in autocommit an order and its
event are two commits. So contents are compared, never dates: many shops keep no date of the last change.

Orders only. A cart's next change replaces it as a whole, and one that nobody touches any more is of no use to an agent.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connections, models, router, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from optico_sync import conf
from optico_sync.attribution import clean_call_id
from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.models import OutboxEvent, Subject, Sweep, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.models.contents import note_contents
from optico_sync.models.subjects import DIFFERS
from optico_sync.relay import relay
from optico_sync.shops import get_shop, has_shop
from optico_sync.shops.content import content_of
from optico_sync.snapshot import OrderSnapshot

#: Orders that are read together, and locked together where something was found.
CHUNK = 200
#: How long a sweep that was killed keeps the next one waiting.
LEASE = timedelta(seconds=60)
#: Seconds that an event may come after its order where the shop saves in autocommit.
GRACE = 1.0
#: Seconds to wait until what is captured is relayed before a chunk is read again.
PATIENCE = 10.0


@dataclass(frozen=True, kw_only=True)
class _Suspect:
    """An order that no captured change explains: ``content`` is what it holds, empty when the shop has it no more.

    ``changes`` are those captured so far, None when it was never captured.
    """

    key: str
    changes: int | None
    content: str


class _LostLease(Exception):
    """Another process has taken this sweep over."""


def is_due() -> bool:
    """Whether the recent orders are to be swept now."""
    using = router.db_for_write(Sweep)
    interval = conf.options().SWEEP_INTERVAL
    if not interval or not conf.options().ENABLED or not has_shop():
        return False
    last = Sweep.objects.using(using).filter(scope=Sweep.Scope.RECENT).order_by("-pk").first()
    if last is None:
        return True
    now = database_now(using)
    return now >= (last.started_at + timedelta(seconds=interval) if last.finished_at else last.leased_until)


def sweep(scope: str = Sweep.Scope.RECENT, *, stop: threading.Event | None = None) -> Iterator[Sweep]:
    """Sweep the orders of ``scope``; yields the record after every chunk.

    One that was stopped or killed is taken up where it was left. Yields nothing while another process is at it.
    """
    using = router.db_for_write(Sweep)
    run = _claim(scope, using) if conf.options().ENABLED else None
    if run is None:
        return
    try:
        sweeper = _Sweeper(run, using, stop or threading.Event())
        while run.running and not sweeper.is_stopped:
            sweeper.advance()
            yield run
    except _LostLease:
        return
    finally:
        # Whoever comes next need not wait.
        mine = Sweep.objects.using(using).filter(pk=run.pk, lease=run.lease)
        mine.update(leased_until=database_now(using))


def _claim(scope: str, using: str) -> Sweep | None:
    """The sweep to go on with, or a new one; None while another process has it."""
    now = database_now(using)
    sweeps = Sweep.objects.using(using)
    sweeps.filter(started_at__lt=now - Sweep.KEPT, leased_until__lte=now).delete()
    hold = {"lease": uuid.uuid4().hex, "leased_until": now + LEASE}
    if not sweeps.filter(running=scope, leased_until__lte=now).update(**hold):
        window = timedelta(seconds=conf.options().SWEEP_WINDOW)
        since = now - window if scope == Sweep.Scope.RECENT else None
        try:
            with transaction.atomic(using=using):
                return sweeps.create(scope=scope, running=scope, started_at=now, since=since, **hold)
        except IntegrityError:
            return None
    return sweeps.filter(lease=hold["lease"]).first()


class _Sweeper:
    """One run in this process, a chunk at a time."""

    def __init__(self, run: Sweep, using: str, stop: threading.Event) -> None:
        self._run = run
        self._using = using
        self._stop = stop
        self._shop = get_shop()
        #: Where the orders live, and their events.
        self._there = self._shop.database
        self._first_new = _first_new(run, using)

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def advance(self) -> None:
        """Look at one chunk. A constant number of statements when there is nothing to tell, and when there is."""
        is_known = self._run.stage == Sweep.Stage.KNOWN
        checked, suspects, cursor = self._known() if is_known else self._unknown()
        progress: dict[str, Any] = {"cursor": cursor, "checked": self._run.checked + checked}
        if not cursor and is_known:
            progress["stage"] = Sweep.Stage.UNKNOWN
        elif not cursor:
            progress.update(running=None, finished_at=database_now(self._using))
        if not suspects:
            self._record(progress)
        elif not self._stop.wait(GRACE) and self._is_relayed():
            self._queue(suspects, progress)
        else:
            # The same chunk again: nothing is known of it yet.
            self._record({})

    # look

    def _known(self) -> tuple[int, list[_Suspect], str]:
        """Orders that were captured, newest first: how many, those that differ, and where the next chunk begins."""
        subjects = Subject.objects.using(self._using).filter(kind=Subject.Kind.ORDER, deleted_at__isnull=True)
        if self._run.cursor:
            subjects = subjects.filter(pk__lt=self._run.cursor)
        chunk = list(subjects.order_by("-pk")[:CHUNK])
        recent = [one for one in chunk if self._run.since is None or one.created_at >= self._run.since]
        orders = self._shop.read([subject.key for subject in recent], using=self._there) if recent else {}
        contents = {key: content_of(order) for key, order in orders.items()}
        suspects = [
            _Suspect(key=subject.key, changes=subject.changes, content=contents.pop(subject.key, ""))
            for subject in recent
            if _differs(subject, orders.get(subject.key), contents.get(subject.key, ""))
        ]
        note_contents(recent, contents, using=self._using)
        has_more = len(recent) == CHUNK
        return len(recent), suspects, str(chunk[-1].pk) if has_more else ""

    def _unknown(self) -> tuple[int, list[_Suspect], str]:
        """The same of orders in the shop, of which those count that were never captured."""
        if self._first_new is None:
            return 0, [], ""
        try:
            orders = self._shop.find(using=self._there, placed_from=self._first_new)
        except ConfigurationError:
            # The date is no column of the shop's: each order says it itself, which is for the long sweep.
            if self._run.since is not None:
                return 0, [], ""
            orders = self._shop.find(using=self._there)
        if self._run.cursor:
            orders = orders.filter(pk__gt=self._run.cursor)
        keys = [str(key) for key in orders.values_list("pk", flat=True)[:CHUNK]]
        lost = sorted(set(keys) - self._live(keys).keys())
        read = self._shop.read(lost, using=self._there) if lost else {}
        suspects = [
            _Suspect(key=key, changes=None, content=content_of(order))
            for key, order in read.items()
            if isinstance(order, OrderSnapshot) and order.placed_at and order.placed_at >= self._first_new
        ]
        return len(suspects), suspects, keys[-1] if len(keys) == CHUNK else ""

    def _live(self, keys: Collection[str]) -> dict[str, int]:
        """Captured orders that were not deleted, with how often they changed."""
        subjects = Subject.objects.using(self._using).filter(kind=Subject.Kind.ORDER, key__in=keys)
        return dict(subjects.filter(deleted_at__isnull=True).values_list("key", "changes"))

    # tell

    def _is_relayed(self) -> bool:
        """Relay what is captured by now, so that it can explain what was seen. False when that takes too long."""
        waiting = OutboxEvent.objects.using(self._there).filter(relayed_at__isnull=True)
        newest = waiting.order_by("-pk").values_list("pk", flat=True).first()
        end = time.monotonic() + PATIENCE
        while newest is not None and waiting.filter(pk__lte=newest).exists():
            if time.monotonic() > end or self._stop.is_set():
                return False
            if not relay():
                self._stop.wait(0.05)
        return True

    def _queue(self, suspects: Sequence[_Suspect], progress: dict[str, Any]) -> None:
        """Queue those that still differ, and record that with the progress: a kill loses none.

        The orders are locked: no save can get between the status that is found and its event. Where the orders live in
        a database of their own, theirs is committed first: what a kill then doubles is one event.
        """
        with transaction.atomic(using=self._using), transaction.atomic(using=self._there):
            locked = self._lock([suspect.key for suspect in suspects if suspect.content])
            keys = [suspect.key for suspect in suspects]
            live, orders = self._live(keys), self._shop.read(keys, using=self._there)
            found = []
            for suspect in suspects:
                order = orders.get(suspect.key)
                is_explained = live.get(suspect.key) != suspect.changes
                is_moving = (content_of(order) if order else "") != suspect.content
                if not is_explained and not is_moving and (order is None or suspect.key in locked):
                    found.append(_event(suspect.key, order))
            OutboxEvent.objects.using(self._there).bulk_create(found)
            progress["found"] = self._run.found + len(found)
            names = [event.reference or event.key for event in found]
            progress["references"] = [*self._run.references, *names][: Sweep.EXAMPLES]
            self._record(progress)

    def _lock(self, keys: Collection[str]) -> set[str]:
        """Those of the orders that nobody is saving at this moment, locked."""
        model = self._shop.model
        no_key = connections[self._there].features.has_select_for_no_key_update
        rows = model._base_manager.using(self._there).filter(pk__in=keys).order_by("pk")
        rows = rows.select_for_update(skip_locked=True, no_key=no_key)
        return {str(key) for key in rows.values_list("pk", flat=True)}

    def _record(self, progress: Mapping[str, Any]) -> None:
        values = {"leased_until": database_now(self._using) + LEASE, **progress}
        mine = Sweep.objects.using(self._using).filter(pk=self._run.pk, lease=self._run.lease)
        if not mine.update(**values):
            raise _LostLease
        for name, value in values.items():
            setattr(self._run, name, value)


def _differs(subject: Subject, order: OrderSnapshot | Unreadable | None, content: str) -> bool:
    """Whether the order is not what it was when it was captured, or first read afterwards."""
    if order is None or subject.content_after(content) == DIFFERS:
        return True
    # The first reading after a captured change may hold a missed one: its content is told, its status is in no queue.
    return isinstance(order, OrderSnapshot) and order.status[:200] not in ("", subject.status)


def _first_new(run: Sweep, using: str) -> datetime | None:
    """Orders placed from then on should have been captured: none is older than the app or than every credential.

    None when no order can be missing, for want of a credential.
    """
    applied = MigrationRecorder(connections[using]).migration_qs.filter(app="optico_sync")
    installed_at = applied.aggregate(first=models.Min("applied"))["first"]
    starts = VendorCredential.objects.using(using).aggregate(first=models.Min("start_at"))["first"]
    if installed_at is None or starts is None:
        return None
    return max(filter(None, (installed_at, starts, run.since)))


def _event(key: str, order: OrderSnapshot | Unreadable | None) -> OutboxEvent:
    """What capture would have written; an order that is gone was deleted."""
    event = OutboxEvent(
        kind=Subject.Kind.ORDER,
        key=key,
        change=OutboxEvent.Change.FOUND if order else OutboxEvent.Change.DELETED,
        created_at=timezone.now(),
    )
    if isinstance(order, OrderSnapshot):
        seen = order.attribution
        event.reference, event.status = order.reference[:255], order.status[:200]
        event.visit_id, event.call_id = seen.visit_id, clean_call_id(seen.call_id)
        event.agent, event.cart_key = seen.agent[:150], seen.cart_key[:255]
    return event
