"""Charts as plain shapes: numbers in, coordinates out. A template draws them as SVG, with their table beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, TypeVar

WIDTH, HEIGHT = 720.0, 150.0
#: Room for the numbers on the left and the labels below, in the chart's own units.
LEFT, BOTTOM, TOP = 44.0, 18.0, 6.0
MAX_LABELS = 8

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Series(Generic[Number]):
    """One named row of numbers. ``tone`` is the style that colours it; None is a gap."""

    name: str
    tone: str
    values: Sequence[Number | None]


@dataclass(frozen=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A stretch without gaps. ``points`` is what SVG's polyline takes."""

    points: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """``labels`` name the places on the horizontal axis; every series has as many values."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    is_stacked: bool = False
    unit: str = ""
    width: float = field(default=WIDTH, init=False)
    height: float = field(default=HEIGHT, init=False)

    @property
    def is_empty(self) -> bool:
        return not any(value for one in self.series for value in one.values)

    @property
    def top(self) -> float:
        """The end of the vertical axis: a round number that nothing exceeds."""
        columns = zip(*(one.values for one in self.series), strict=True)
        highest = max(
            (sum(value or 0 for value in column) if self.is_stacked else max(value or 0 for value in column))
            for column in columns
        )
        return _round_up(highest)

    @property
    def bars(self) -> Iterator[Bar]:
        """For a stacked chart: one bar a value, from the bottom up."""
        slot = (WIDTH - LEFT) / max(len(self.labels), 1)
        for index, label in enumerate(self.labels):
            floor = HEIGHT - BOTTOM
            for one in self.series:
                if value := one.values[index]:
                    height = self._scale(value)
                    floor -= height
                    title = f"{label}: {value:g} {one.name}"
                    yield Bar(
                        x=round(LEFT + index * slot + slot * 0.1, 1),
                        y=round(floor, 1),
                        width=round(slot * 0.8, 1),
                        height=round(height, 1),
                        tone=one.tone,
                        title=title,
                    )

    @property
    def lines(self) -> Iterator[Line]:
        """For a chart that is not stacked: one line a series, broken where a value is missing."""
        slot = (WIDTH - LEFT) / max(len(self.labels), 1)
        for one in self.series:
            numbered = list(enumerate(one.values))
            for is_gap, run in groupby(numbered, key=lambda pair: pair[1] is None):
                if not is_gap:
                    points = [
                        f"{LEFT + (index + 0.5) * slot:.1f},{HEIGHT - BOTTOM - self._scale(value or 0):.1f}"
                        for index, value in run
                    ]
                    # A single value is no line: it becomes a short one.
                    yield Line(
                        points=" ".join(points if len(points) > 1 else [*points, _beside(points[0])]), tone=one.tone
                    )

    @property
    def x_ticks(self) -> Iterator[Tick]:
        slot = (WIDTH - LEFT) / max(len(self.labels), 1)
        step = max(-(-len(self.labels) // MAX_LABELS), 1)
        for index in range(0, len(self.labels), step):
            yield Tick(x=round(LEFT + (index + 0.5) * slot, 1), y=HEIGHT - 4, text=self.labels[index])

    @property
    def y_ticks(self) -> Iterator[Tick]:
        for part in (0.0, 0.5, 1.0):
            yield Tick(
                x=LEFT - 6, y=round(HEIGHT - BOTTOM - self._scale(self.top * part), 1), text=_short(self.top * part)
            )

    @property
    def left(self) -> float:
        return LEFT

    @property
    def rows(self) -> Iterator[tuple[str, list[int | float | None]]]:
        """The table: one row a label."""
        for index, label in enumerate(self.labels):
            yield label, [one.values[index] for one in self.series]

    def _scale(self, value: float) -> float:
        return value / self.top * (HEIGHT - BOTTOM - TOP) if self.top else 0.0


def _beside(point: str) -> str:
    x, y = point.split(",")
    return f"{float(x) + 10:.1f},{y}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50...: 0 becomes 1."""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= factor * size:
                return factor * size
        size *= 10


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
