"""Who empties a backlog, each in a process of its own. ``benchmarks.delivery`` starts them, and tells them to go.

    python -m benchmarks.senders worker
    python -m benchmarks.senders session|adapter http://127.0.0.1:8001 3000 32

``worker`` is the app: the embedded engine as ``optico_worker`` runs it. The others are ceilings: ready payloads, no
database; ``session`` is a plain ``requests.Session.post``, ``adapter`` hands prepared requests to ``HTTPAdapter.send``.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter

from benchmarks.stub import KEY

HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
PRODUCTS = '[{"id":"PROD-001","name":"Blue Widget","quantity":2,"cost_per_unit":29.99}]'


def main(role: str, *arguments: str) -> None:
    if role == "worker":
        run = prepare_worker()
    else:
        url, count, threads = arguments
        run = prepare_ceiling(role, url, int(count), int(threads))
    say("ready")
    sys.stdin.readline()
    began, cpu = time.perf_counter(), time.process_time()
    more = run()
    say(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "cpu": time.process_time() - cpu,
                "peak": peak(),
                **more,
            }
        )
    )


def peak() -> float:
    """In MiB, since this program began: ``ru_maxrss`` remembers the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def prepare_worker() -> Callable[[], dict[str, float]]:
    """The app's worker; it stops at the next line of its input."""
    import django

    django.setup()
    from django.core.management import call_command

    from optico_sync.transport import Transport

    spent: list[float] = []
    send = Transport.send

    def timed(*given: object) -> object:
        began = time.thread_time()
        try:
            return send(*given)
        finally:
            spent.append(time.thread_time() - began)

    Transport.send = timed  # what HTTP takes, apart from all the rest

    def run() -> dict[str, float]:
        def stop() -> None:
            sys.stdin.readline()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()
        call_command("optico_worker", stdout=io.StringIO())
        return {"http": sum(spent)}

    return run


def prepare_ceiling(role: str, url: str, count: int, threads: int) -> Callable[[], dict[str, float]]:
    """``count`` ready payloads, and ``threads`` that post them, each with a session of its own."""
    orders = (
        {"id": f"N-{number}", "currency": "EUR", "visit_id": "5ef3a1b7c9d24e605ef3a1b7", "status": "confirmed"}
        for number in range(count)
    )
    bodies = [urlencode({"key": KEY, **order, "products": PRODUCTS}).encode() for order in orders]
    left, lock = iter(bodies), threading.Lock()
    open_client = {"session": by_session, "adapter": by_adapter}[role]

    def work() -> None:
        post = open_client(f"{url}/api/customer-order")
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            assert post(body).json()["status"] == "success"

    def run() -> dict[str, float]:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return {}

    return run


def by_session(url: str) -> Callable[[bytes], requests.Response]:
    session = requests.Session()
    return lambda body: session.post(url, data=body, headers=HEADERS, timeout=5)


def by_adapter(url: str) -> Callable[[bytes], requests.Response]:
    adapter = HTTPAdapter()
    prepared = requests.Request("POST", url, headers=HEADERS).prepare()

    def post(body: bytes) -> requests.Response:
        request = prepared.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return adapter.send(request, timeout=5)

    return post


if __name__ == "__main__":
    main(*sys.argv[1:])
