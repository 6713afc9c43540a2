"""The pace of a vendor's limit: when the next requests of one credential may start."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta


class Pace:
    """The times at which requests may start, reserved in the credential's row.

    So the vendor's limit holds for all workers together, and a backfill cannot use up what live orders need.
    """

    #: Seconds of slots that one claim may reserve: enough to be worth it, short enough not to keep others waiting.
    SPAN = 5.0
    #: The same where a claim holds no live order: one that comes meanwhile gets the slots after these.
    SPAN_OF_JOBS = 1.0
    #: A little wider than the limit asks for: requests that start evenly do not arrive quite so.
    SLACK = 1.05

    def __init__(self, rate: float | None, next_slot_at: datetime | None, now: datetime) -> None:
        self.rate = rate / self.SLACK if rate else None
        self._first = max((next_slot_at - now).total_seconds(), 0.0) if next_slot_at else 0.0
        self._next = time.monotonic() + self._first
        self._now = now
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        if not self.rate:
            return 1000
        return 0 if self._first > self.SPAN else max(int(self.SPAN * self.rate), 1)

    @property
    def limit_of_jobs(self) -> int:
        return max(int(self.SPAN_OF_JOBS * self.rate), 1) if self.rate else self.limit

    def reserve(self, count: int) -> datetime:
        """The first slot after ``count`` requests."""
        assert self.rate  # noqa: S101 - for the type checker
        return self._now + timedelta(seconds=self._first + count / self.rate)

    def wait(self, stop: threading.Event) -> bool:
        """Rest until the next request may start. True when ``stop`` was set meanwhile.

        The lock is kept while resting: a thread that wakes late then pushes back those behind it.
        """
        if not self.rate:
            return False
        with self._lock:
            stopped = stop.wait(max(self._next - time.monotonic(), 0.0))
            self._next = max(self._next, time.monotonic()) + 1 / self.rate
            return stopped
