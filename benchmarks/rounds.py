"""Rounds: contestants measured in turn, over and over, so that what else the machine does disturbs all of them alike.

Read the ratios, which are medians of each round's own, and not the milliseconds.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

Figure = TypeVar("Figure")


@contextmanager
def empty_database(settings: str = "tests.settings") -> Iterator[None]:
    """Django with an empty database beside the one that DATABASE_URL names (SQLite without it), dropped at the end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    import django

    django.setup()
    from django.test.runner import DiscoverRunner

    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        yield
    finally:
        runner.teardown_databases(databases)


def interleave(contestants: Mapping[str, Callable[[], Figure]], rounds: int) -> dict[str, list[Figure]]:
    """Each contestant's figures, one a round. Every round has another order, and the first, to warm up, is dropped."""
    figures: dict[str, list[Figure]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name in random.sample(list(contestants), len(contestants)):
            figure = contestants[name]()
            if number:
                figures[name].append(figure)
    return figures


def ratio(figures: Iterable[float], to: Iterable[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(figures, to, strict=True))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """As Markdown, so that it goes into docs/performance.md as it is."""
    for row in (heads, ["---"] * len(heads), *rows):
        sys.stdout.write(f"| {' | '.join(str(cell) for cell in row)} |\n")
    sys.stdout.flush()


def machine() -> str:
    """What the figures were measured with."""
    import django
    from django.db import connection

    version = ".".join(str(part) for part in connection.get_database_version())
    return (
        f"{os.cpu_count()} cores, {connection.display_name} {version}, Python {platform.python_version()}, "
        f"Django {django.get_version()}"
    )
