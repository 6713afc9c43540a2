"""How many orders have a visit or a call: a broken cookie banner fails no request, and costs more than one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import router
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncHour
from django.utils import timezone

from optico_sync.models import CreditedDay, Subject

#: Days that a fall is measured against.
BASELINE_DAYS = 28
#: Up to so many orders are counted when asked; beyond, a worker counts the days now and then.
COUNTED_AT_ONCE = 20_000
#: Days that a worker counts again: an order can be credited later than it was placed.
RECOUNTED = 3
#: Orders below which a share says nothing.
_FEWEST_BEFORE, _FEWEST_NOW = 100, 20
#: A fall by chance is smaller than so many standard deviations.
_DEVIATIONS = 3.0


@dataclass(frozen=True, kw_only=True)
class Day:
    """Orders first seen on one day of the shop, and how many of them have a visit or a call."""

    day: date
    orders: int = 0
    attributed: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None without orders."""
        return self.attributed / self.orders if self.orders else None


@dataclass(frozen=True, kw_only=True)
class Fall:
    """The share of attributed orders ``before`` and ``now``, both from 0 to 1."""

    before: float
    now: float

    @property
    def before_percent(self) -> int:
        return round(100 * self.before)

    @property
    def now_percent(self) -> int:
        return round(100 * self.now)


def attribution_coverage(days: int, *, now: datetime | None = None) -> list[Day]:
    """One entry for each of the last ``days`` days, oldest first, today included. One query over that window."""
    now = now or timezone.now()
    wanted = _last(days, now)
    # By the hour in UTC, since MariaDB may lack the zones' tables; hours make days here.
    hours = (
        _since(wanted[0])
        .filter(created_at__lte=now)
        # Old orders that an operator sent again were never captured: nobody's visit was there to be seen.
        .filter(status_at__isnull=False, erased_at__isnull=True)
        .order_by()
        .annotate(hour=TruncHour("created_at", tzinfo=UTC))
        .values("hour")
        .annotate(seen=Count("pk"), attributed=Count("pk", filter=~Q(visit_id="") | ~Q(call_id="")))
        .values_list("hour", "seen", "attributed")
    )
    orders, attributed = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
    for hour, seen, with_visit_or_call in hours:
        # In a zone that is half an hour off, the first hour begins the day before.
        day = max(timezone.localtime(hour).date(), wanted[0])
        orders[day] += seen
        attributed[day] += with_visit_or_call
    return [Day(day=day, orders=orders[day], attributed=attributed[day]) for day in wanted]


def kept_coverage(days: int) -> list[Day]:
    """The same for a page: counted when there are few orders, else as a worker counted them last. Two queries."""
    wanted = _last(days, timezone.now())
    if _since(wanted[0])[: COUNTED_AT_ONCE + 1].count() <= COUNTED_AT_ONCE:
        return attribution_coverage(days)
    kept = {one.day: one for one in CreditedDay.objects.filter(day__gte=wanted[0])}
    return [
        Day(day=day, orders=kept[day].orders, attributed=kept[day].attributed) if day in kept else Day(day=day)
        for day in wanted
    ]


def keep_days() -> None:
    """Count the last days for pages to show, all of them the first time, and forget what is too old to be shown."""
    using = router.db_for_write(CreditedDay)
    wanted = _last(BASELINE_DAYS + 2, timezone.now())
    kept = CreditedDay.objects.using(using)
    has_gap = not kept.filter(day=wanted[-RECOUNTED]).exists()
    for day in attribution_coverage(len(wanted) if has_gap else RECOUNTED):
        kept.update_or_create(day=day.day, defaults={"orders": day.orders, "attributed": day.attributed})
    kept.filter(day__lt=wanted[0]).delete()


def attribution_fall(days: Sequence[Day], *, percent: int) -> Fall | None:
    """Whether the last two of ``days`` have a share lower by ``percent`` than the others, and not by chance."""
    before, now = _total(days[:-2]), _total(days[-2:])
    if before.share is None or now.share is None:
        return None
    if before.orders < _FEWEST_BEFORE or now.orders < _FEWEST_NOW:
        return None
    chance = math.sqrt(before.share * (1 - before.share) / now.orders)
    lost = before.share - now.share
    if lost <= before.share * percent / 100 or lost <= _DEVIATIONS * chance:
        return None
    return Fall(before=before.share, now=now.share)


def _last(days: int, now: datetime) -> list[date]:
    today = timezone.localtime(now).date()
    return [today - timedelta(days=ago) for ago in range(days - 1, -1, -1)]


def _since(day: date) -> QuerySet[Subject]:
    midnight = timezone.make_aware(datetime.combine(day, datetime.min.time()))
    return Subject.objects.filter(kind=Subject.Kind.ORDER, created_at__gte=midnight)


def _total(days: Sequence[Day]) -> Day:
    return Day(
        day=days[0].day if days else date.min,
        orders=sum(day.orders for day in days),
        attributed=sum(day.attributed for day in days),
    )
