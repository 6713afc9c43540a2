"""Real processes on the test database: how they are started, and what to wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.db import connection

from optico_sync.models import OutboxEvent, SyncState
from optico_sync.sandbox.client import SandboxServer
from tests.settings import BASE_DIR

Start = Callable[..., subprocess.Popen]


@contextmanager
def processes(**more: str) -> Iterator[Start]:
    """Starts ``python -m ...`` on the test database; kills what is left at the end."""
    running: list[subprocess.Popen] = []

    def start(*arguments: str, lease: int = 60, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
                "OPTICO_TEST_DATABASE": str(connection.settings_dict["NAME"]),
                "OPTICO_TEST_LEASE": str(lease),
                "PYTHONPATH": os.pathsep.join([str(BASE_DIR), os.environ.get("PYTHONPATH", "")]),
                **more,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, so that a kill takes its children along.
            start_new_session=True,
        )
        running.append(process)
        return process

    try:
        yield start
    finally:
        for process in running:
            if process.returncode is None:
                # Shown by pytest when the test failed: why a worker did nothing.
                print(kill(process))


def kill(process: subprocess.Popen) -> str:
    """End it, and its children, with -9. Returns what it had printed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def nothing_left() -> bool:
    waiting = SyncState.objects.exclude(state=SyncState.State.IN_SYNC).exists()
    return not waiting and not OutboxEvent.objects.filter(relayed_at__isnull=True).exists()


def told(vendor: SandboxServer) -> dict[str, list[str]]:
    """Order -> the statuses the vendor was told, in the order they came."""
    heard: dict[str, list[str]] = {}
    for entry in vendor.journal():
        heard.setdefault(entry["order_id"], []).append(entry["fields"]["status"])
    return heard
