"""What is done now and then, whoever carries the wake-ups: jobs, the sweep, figures, alerts, the purge.

Each looks for itself whether it is due, and one process at a time does it, however many ask.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

from optico_sync import alerts, figures, jobs, purge
from optico_sync.sweep import is_due, sweep

logger = logging.getLogger(__name__)

#: Seconds between two chunks of a sweep or a purge, which have time: deliveries go first.
REST = 0.2
#: Chunks of one purge, so that the rest is not kept waiting: what is left is for the next.
PURGED_AT_ONCE = 100
#: Seconds that one round may spend on jobs.
JOBS_SPAN = 5.0


def run(stop: threading.Event | None = None) -> None:
    """Do what is due. What fails is logged, and does not keep the rest from being done."""
    stop = stop or threading.Event()
    _try("Working jobs", partial(work_jobs, stop))
    sweep_when_due(stop)
    for name, work in (
        ("Counting for the overview", figures.take_readings_when_due),
        ("Alerting", alerts.watch),
        ("The purge", partial(_purge_when_due, stop)),
    ):
        if not stop.is_set():
            _try(name, work)


def work_jobs(stop: threading.Event) -> None:
    """Queue what the jobs may have waiting; for a while only, since one can leave out orders for hours."""
    end = time.monotonic() + JOBS_SPAN
    while jobs.work(stop) and time.monotonic() < end:
        pass


def sweep_when_due(stop: threading.Event) -> None:
    """Compare the recent orders with what was captured, unless that was done a moment ago."""

    def compare() -> None:
        if is_due():
            for _chunk in sweep(stop=stop):
                stop.wait(REST)

    _try("The sweep", compare)


def _purge_when_due(stop: threading.Event) -> None:
    if purge.is_due():
        for _batch in islice(purge.purge(), PURGED_AT_ONCE):
            if stop.wait(REST):
                return


def _try(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        # A database error's text can quote a row, so only its type is told.
        logger.error("%s failed (%s); it is tried again.", name, type(error).__name__)
