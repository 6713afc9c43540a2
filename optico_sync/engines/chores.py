"""What is done now and then, whoever carries the wake-ups: the sweep, the figures for the overview, alerts.

Each looks for itself whether it is due, and one process at a time does it, however many ask.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from optico_sync import alerts, figures
from optico_sync.sweep import is_due, sweep

logger = logging.getLogger(__name__)

#: Seconds between two chunks of a sweep, which has time: deliveries go first.
REST = 0.2


def run(stop: threading.Event | None = None) -> None:
    """Do what is due. What fails is logged, and does not keep the rest from being done."""
    stop = stop or threading.Event()
    sweep_when_due(stop)
    for name, work in (("Counting for the overview", figures.take_readings_when_due), ("Alerting", alerts.watch)):
        if not stop.is_set():
            _try(name, work)


def sweep_when_due(stop: threading.Event) -> None:
    """Compare the recent orders with what was captured, unless that was done a moment ago."""

    def compare() -> None:
        if is_due():
            for _chunk in sweep(stop=stop):
                stop.wait(REST)

    _try("The sweep", compare)


def _try(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        # A database error's text can quote a row, so only its type is told.
        logger.error("%s failed (%s); it is tried again.", name, type(error).__name__)
