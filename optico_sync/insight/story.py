"""One order's time line: what was captured, what was sent, and who did what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError, ValidationError
from django.db import models, router
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from optico_sync import conf
from optico_sync.attribution import NOTHING, Attribution
from optico_sync.exceptions import ConfigurationError
from optico_sync.insight.standing import Standing
from optico_sync.models import (
    Attempt,
    OutboxEvent,
    Subject,
    VendorCredential,
)
from optico_sync.outcome import Kind
from optico_sync.shops import get_shop

#: The most of one order's history that is read at once.
MAX_CHANGES = 100
MAX_ATTEMPTS = 50
MAX_DEEDS = 50


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
