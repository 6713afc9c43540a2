"""How many orders have a visit or a call, day by day, and when that is a fall."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import coverage
from optico_sync.coverage import Day, attribution_coverage, attribution_fall
from optico_sync.models import CreditedDay, Subject

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def first_seen(at: datetime, *, count: int = 1, kind: str = "order", **facts: object) -> None:
    start = Subject.objects.count()
    Subject.objects.bulk_create(
        Subject(kind=kind, key=f"k{start + n}", created_at=at, changed_at=at, **{"status_at": at, **facts})
        for n in range(count)
    )


def days(before: tuple[int, int], now: tuple[int, int]) -> list[Day]:
    shares = [before] * 10 + [now] * 2
    return [Day(day=date(2026, 11, 1 + n), orders=all_, attributed=some) for n, (all_, some) in enumerate(shares)]


@pytest.mark.django_db
def test_orders_are_counted_by_the_days_of_the_shop() -> None:
    first_seen(NOW, visit_id="v")
    first_seen(NOW, call_id="7")
    first_seen(NOW, agent="Anna")
    # One o'clock in the morning in Paris.
    first_seen(datetime(2026, 11, 20, 0, tzinfo=UTC), visit_id="v")
    first_seen(datetime(2026, 11, 18, 23, 30, tzinfo=UTC))
    first_seen(NOW - timedelta(days=30), visit_id="v")
    assert [(day.day.day, day.orders, day.attributed) for day in attribution_coverage(3, now=NOW)] == [
        (19, 1, 0),
        (20, 1, 1),
        (21, 3, 2),
    ]


@pytest.mark.django_db
def test_carts_and_old_orders_sent_again_are_not_counted() -> None:
    first_seen(NOW, kind="cart", visit_id="v")
    first_seen(NOW, status_at=None)
    assert attribution_coverage(1, now=NOW) == [Day(day=date(2026, 11, 21))]


@pytest.mark.django_db
def test_where_there_are_many_orders_a_page_shows_what_a_worker_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    first_seen(now, count=3, visit_id="v")
    first_seen(now - timedelta(days=20), count=2)
    first_seen(now - timedelta(days=40), count=2)
    live = coverage.attribution_coverage(30)
    assert coverage.kept_coverage(30) == live and sum(day.orders for day in live) == 5
    monkeypatch.setattr(coverage, "COUNTED_AT_ONCE", 4)
    assert sum(day.orders for day in coverage.kept_coverage(30)) == 0
    CreditedDay.objects.create(day=date(2020, 1, 1), orders=1, attributed=1)
    coverage.keep_days()
    assert coverage.kept_coverage(30) == live
    # Later only the newest days are counted again; an order may have been credited meanwhile.
    first_seen(now, call_id="7")
    Subject.objects.filter(visit_id="").update(call_id="7")
    coverage.keep_days()
    kept = coverage.kept_coverage(30)
    assert (kept[-1].orders, kept[-1].attributed) == (4, 4) and kept[:-1] == live[:-1]
    assert CreditedDay.objects.count() == 30


@pytest.mark.django_db
def test_it_is_one_query_however_long_the_window() -> None:
    first_seen(NOW, count=50)
    with CaptureQueriesContext(connection) as captured:
        attribution_coverage(30, now=NOW)
    assert len(captured) == 1


def test_a_fall_is_measured_against_the_weeks_before() -> None:
    fall = attribution_fall(days((50, 40), (50, 10)), percent=40)
    assert fall and (fall.before, fall.now) == (0.8, 0.2)


@pytest.mark.parametrize(
    "before, now",
    [
        ((50, 40), (50, 30)),
        ((50, 40), (5, 0)),
        ((5, 4), (50, 0)),
        ((50, 0), (50, 0)),
        ((0, 0), (0, 0)),
        ((50, 2), (11, 0)),
    ],
    ids=["a little", "few orders now", "few before", "never any", "no orders", "by chance"],
)
def test_no_fall(before: tuple[int, int], now: tuple[int, int]) -> None:
    assert attribution_fall(days(before, now), percent=40) is None
