"""An engine of a shop's own, named by its dotted path: it remembers the wake-ups, and runs them when told."""

from __future__ import annotations

import threading
from collections.abc import Callable

from optico_sync.engines.task import run
from optico_sync.wakeups import Engine

PATH = "tests.engines.recording.RecordingEngine"


class RecordingEngine(Engine):
    """``broker`` is what a send does: nothing, hang, or raise."""

    waiting: list[tuple[int, str]] = []
    broker: Callable[[], None] = staticmethod(lambda: None)
    threads: list[threading.Thread] = []

    def send(self, lane: int, token: str) -> None:
        self.threads.append(threading.current_thread())
        type(self).broker()
        self.waiting.append((lane, token))

    @classmethod
    def reset(cls) -> None:
        cls.waiting, cls.threads, cls.broker = [], [], staticmethod(lambda: None)

    @classmethod
    def run_all(cls) -> list[int]:
        """Run what waits, and what that wakes. Returns the lanes in turn."""
        lanes = []
        while cls.waiting:
            lane, token = cls.waiting.pop(0)
            lanes.append(lane)
            run(lane, token)
        return lanes
