"""Figures for the overview, and their charts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import figures
from optico_sync.charts import Chart, Series
from optico_sync.models import Hour, Reading, SyncState
from optico_sync.relay import relay_all
from tests.helpers import Vendor, deliver, error, make_credential, move, place, reply
from tests.oddshop.models import Purchase


@pytest.fixture
def mixed(db: None) -> Any:
    """Two orders in step, one refused, one failed for now."""
    credential = make_credential()
    answers = {"1": reply(), "2": reply(), "3": error("Unknown status"), "4": reply(b"", 400)}
    for number in answers:
        place(number, "confirmed")
    deliver(credential, sender=Vendor(lambda form: answers[form["id"]]))
    return credential


# hours


def test_every_attempt_is_counted_in_its_hour(mixed: Any) -> None:
    hour = Hour.objects.get()
    assert (hour.delivered, hour.refused, hour.failed) == (2, 2, 0)
    assert sum(hour.durations) == 4
    assert timezone.now() - timedelta(hours=1) < hour.began_at <= timezone.now()


@pytest.mark.django_db
def test_what_the_vendor_did_not_answer_has_no_answer_time(credential: Any) -> None:
    place(stage="confirmed")
    deliver(credential, sender=Vendor(lambda form: reply(b"", 503)))
    hour = Hour.objects.get()
    assert (hour.failed, sum(hour.durations)) == (1, 1)


def test_by_hour_gives_every_hour_its_sum(mixed: Any) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    other = make_credential(name="second")
    Hour.objects.create(credential=other, began_at=Hour.objects.get().began_at, delivered=5, failed=1)
    Hour.objects.create(credential=other, began_at=now - timedelta(hours=30), delivered=100)
    hours = figures.by_hour([mixed, other])
    assert len(hours) == 24
    assert sum(hour.delivered for hour in hours) == 7
    assert [hour.began_at for hour in hours] == sorted(hour.began_at for hour in hours)
    assert [figure.p50 for figure in hours[:-2]] == [None] * 22


@pytest.mark.parametrize(
    ("counts", "share", "wanted"),
    [
        ([0] * 13, 0.5, None),
        ([4, *[0] * 12], 0.5, 5.0),
        ([0, 0, 0, 100, *[0] * 9], 0.95, 97.5),
        ([50, 0, 0, 50, *[0] * 9], 0.95, 95.0),
        ([*[0] * 12, 10], 0.5, 7500.0),
    ],
)
def test_percentiles_are_read_off_the_classes(counts: list[int], share: float, wanted: float | None) -> None:
    assert figures.percentile(counts, share) == wanted


# totals and readings


def test_totals_are_counted_when_there_are_few_and_read_when_there_are_many(
    mixed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = figures.totals(mixed)
    assert live and live.read_at is None
    assert (live.counts["in_sync"], live.counts["refused"], live.total) == (2, 2, 4)
    monkeypatch.setattr(figures, "COUNTED_AT_ONCE", 3)
    assert figures.totals(mixed) is None
    figures.take_readings()
    place("5")
    relay_all()
    kept = figures.totals(mixed)
    assert kept and kept.read_at is not None
    assert (kept.counts, kept.total) == (live.counts, 4)


def test_readings_add_up_at_every_moment(mixed: Any) -> None:
    for number in ("1", "2"):
        move(Purchase.objects.get(number=number), "shipped")
    relay_all()
    figures.take_readings()
    reading = Reading.objects.get()
    assert sum(reading.totals.values()) == 4
    assert reading.behind == reading.totals["waiting"] == 2


def test_waiting_is_the_most_of_each_hour_over_all_credentials(mixed: Any) -> None:
    other = make_credential(name="second")
    at = timezone.now().replace(minute=0, second=0, microsecond=0)
    numbers = dict.fromkeys(SyncState.State.values, 0)
    for credential, moment, count in ((mixed, at, 3), (other, at, 4), (mixed, at + timedelta(minutes=1), 5)):
        Reading.objects.create(credential=credential, at=moment, **{**numbers, "waiting": count})
    assert figures.waiting([mixed, other]) == [(at, 7)]


def test_old_figures_are_forgotten(mixed: Any) -> None:
    long_ago = timezone.now() - timedelta(days=60)
    Hour.objects.create(credential=mixed, began_at=long_ago)
    Reading.objects.create(credential=mixed, at=long_ago, **dict.fromkeys(SyncState.State.values, 0))
    figures.take_readings()
    assert not Hour.objects.filter(began_at=long_ago).exists()
    assert not Reading.objects.filter(at=long_ago).exists()


@pytest.mark.django_db
def test_the_charts_figures_cost_the_same_at_any_number_of_orders(credential: Any, vendor: Vendor) -> None:
    costs = []
    for size in (2, 30):
        for number in range(size):
            place(f"{size}-{number}", "confirmed")
        deliver(credential, sender=vendor)
        with CaptureQueriesContext(connection) as asked:
            figures.by_hour([credential])
            figures.waiting([credential])
        costs.append(len(asked))
    assert costs == [2, 2]


# charts


def chart(*values: int | None, stacked: bool = False) -> Chart:
    series = [Series(name="accepted", tone="good", values=values)]
    if stacked:
        series.append(Series(name="refused", tone="bad", values=[1] * len(values)))
    return Chart(title="T", labels=[f"{hour}:00" for hour in range(len(values))], series=series, is_stacked=stacked)


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (1, 1), (2, 2), (3, 5), (7, 10), (11, 20), (51, 100)])
def test_the_axis_ends_at_a_round_number(highest: int, top: int) -> None:
    assert chart(highest).top == top


def test_bars_stand_on_each_other_and_inside_the_chart() -> None:
    made = chart(3, None, 0, stacked=True)
    bars = list(made.bars)
    assert [bar.title for bar in bars] == ["0:00: 3 accepted", "0:00: 1 refused", "1:00: 1 refused", "2:00: 1 refused"]
    assert bars[1].y + bars[1].height == pytest.approx(bars[0].y, abs=0.2)
    assert all(bar.y >= 0 and bar.y + bar.height <= made.height and bar.x + bar.width <= made.width for bar in bars)


def test_lines_break_at_gaps() -> None:
    assert [line.points.count(",") for line in chart(1, 2, None, 4).lines] == [2, 2]
    assert list(chart(None, None).lines) == []


def test_empty_charts_say_so() -> None:
    assert chart(0, None).is_empty and not chart(0, 1).is_empty


def test_the_table_has_every_value() -> None:
    assert list(chart(1, None, stacked=True).rows) == [("0:00", [1, 1]), ("1:00", [None, 1])]


def test_long_axes_have_few_labels() -> None:
    assert len(list(chart(*range(48)).x_ticks)) <= 8
