"""Figures for the overview: totals that add up, and series over time, cheap at any number of orders.

A chart reads rows that were counted while the work was done (``Hour``) or by a worker now and then (``Reading``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from optico_sync import coverage
from optico_sync.models import Hour, Reading, Subject, SyncState, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.models.figures import DURATION_CLASSES

#: Up to so many rows they are counted when asked; beyond, the newest reading tells.
COUNTED_AT_ONCE = 20_000
#: How often a worker counts them.
EVERY = timedelta(minutes=5)
#: How long readings and hours are kept.
KEPT = timedelta(days=35)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many orders stand where with one credential: ``counts`` by state add up to all orders.

    ``read_at`` is None when they were counted just now.
    """

    credential: VendorCredential
    counts: dict[str, int]
    read_at: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def behind(self) -> int:
        """Orders that are still to be told."""
        return sum(self.counts[state] for state in (*SyncState.PENDING, SyncState.State.HELD))


@dataclass(frozen=True, kw_only=True)
class HourFigures:
    """One hour, all credentials asked for together. Answer times are in milliseconds, None where nothing was sent."""

    began_at: datetime
    delivered: int = 0
    refused: int = 0
    failed: int = 0
    p50: float | None = None
    p95: float | None = None


def totals(credential: VendorCredential) -> Totals | None:
    """Where the orders stand; None where there are too many to count at once and no worker has counted them yet."""
    return totals_of([credential]).get(credential.pk)


def totals_of(credentials: Collection[VendorCredential]) -> dict[int, Totals]:
    """The same by primary key of each credential, without those not counted yet. At most five statements."""
    by_key = {credential.pk: credential for credential in credentials}
    states = SyncState.objects.filter(credential__in=by_key)
    if _is_few(states) and _is_few(Subject.objects.filter(kind=Subject.Kind.ORDER)):
        counted = SyncState.objects.totals_of(credentials)
        return {key: Totals(credential=by_key[key], counts=counts) for key, counts in counted.items()}
    newest = Reading.objects.filter(credential=OuterRef("pk")).order_by("-at").values("pk")[:1]
    keys = VendorCredential.objects.filter(pk__in=by_key).values_list(Subquery(newest), flat=True)
    return {
        reading.credential_id: Totals(
            credential=by_key[reading.credential_id], counts=reading.totals, read_at=reading.at
        )
        for reading in Reading.objects.filter(pk__in=list(keys))
    }


def take_readings() -> int:
    """Count every credential's orders once, and forget what is too old to be shown. Returns how many were counted."""
    using = router.db_for_write(Reading)
    now = database_now(using)
    credentials = list(VendorCredential.objects.using(using).defer("sealed_secrets"))
    counted = SyncState.objects.using(using).totals_of(credentials)
    readings = [Reading.of(credential, counted[credential.pk], now) for credential in credentials]
    Reading.objects.using(using).bulk_create(readings)
    Reading.objects.using(using).filter(at__lt=now - KEPT).delete()
    Hour.objects.using(using).filter(began_at__lt=now - KEPT).delete()
    coverage.keep_days()
    return len(readings)


def take_readings_when_due() -> None:
    """The same, unless it was done a moment ago."""
    using = router.db_for_write(Reading)
    last = Reading.objects.using(using).order_by("-pk").values_list("at", flat=True).first()
    if last is None or database_now(using) - last >= EVERY:
        take_readings()


def waiting(credentials: Sequence[VendorCredential], *, hours: int = 24) -> list[tuple[datetime, int]]:
    """How many orders were still to be told, the most of each hour, oldest first. Hours without a reading lack."""
    since = _this_hour() - timedelta(hours=hours - 1)
    behind: dict[datetime, dict[datetime, int]] = {}
    for reading in Reading.objects.filter(credential__in=credentials, at__gte=since):
        hour = reading.at.replace(minute=0, second=0, microsecond=0)
        moment = behind.setdefault(hour, {})
        moment[reading.at] = moment.get(reading.at, 0) + reading.behind
    return [(hour, max(behind[hour].values())) for hour in sorted(behind)]


def by_hour(credentials: Sequence[VendorCredential], *, hours: int = 24) -> list[HourFigures]:
    """What was sent in each of the last ``hours``, oldest first, this one included."""
    began = [_this_hour() - timedelta(hours=back) for back in reversed(range(hours))]
    found: dict[datetime, list[Hour]] = {}
    for hour in Hour.objects.filter(credential__in=credentials, began_at__gte=began[0]):
        found.setdefault(hour.began_at, []).append(hour)
    return [_sum(at, found.get(at, [])) for at in began]


def percentile(durations: Sequence[int], share: float) -> float | None:
    """The answer time, in milliseconds, that ``share`` of the counted answers did not exceed; read off the classes."""
    whole = sum(durations)
    if not whole:
        return None
    left, start = whole * share, 0.0
    for count, end in zip(durations, (*DURATION_CLASSES, 2 * DURATION_CLASSES[-1]), strict=True):
        if count and left <= count:
            return start + (end - start) * left / count
        left, start = left - count, end
    return start


def _is_few(rows: QuerySet) -> bool:
    return rows[: COUNTED_AT_ONCE + 1].count() <= COUNTED_AT_ONCE


def _sum(began_at: datetime, hours: Sequence[Hour]) -> HourFigures:
    counted = [hour.durations for hour in hours if hour.durations]
    durations = [sum(column) for column in zip(*counted, strict=True)]
    return HourFigures(
        began_at=began_at,
        delivered=sum(hour.delivered for hour in hours),
        refused=sum(hour.refused for hour in hours),
        failed=sum(hour.failed for hour in hours),
        p50=percentile(durations, 0.5),
        p95=percentile(durations, 0.95),
    )


def _this_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0)
