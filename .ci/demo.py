"""Starts ``make demo``, asks the pages for an answer, stops it with Ctrl-C; then the same again."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PORT, SANDBOX_PORT = 8123, 8124
PAGES = (
    f"http://127.0.0.1:{PORT}/",
    f"http://127.0.0.1:{PORT}/admin/login/",
    f"http://127.0.0.1:{SANDBOX_PORT}/sandbox/",
)
LOGIN = "admin / admin"


def answers(page: str) -> bool:
    try:
        return urllib.request.urlopen(page, timeout=2).status == 200
    except OSError:
        return False


def start_and_stop(log: Path) -> None:
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "demo", f"PORT={PORT}", f"SANDBOX_PORT={SANDBOX_PORT}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        # The addresses are told a moment after they answer: whoever stopped it in between would not have seen them.
        end = time.monotonic() + 120
        while not (all(answers(page) for page in PAGES) and LOGIN in log.read_text()):
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"make demo did not start, or did not tell the login:\n{log.read_text()}")
            time.sleep(0.5)
    finally:
        stop(process)
    output = log.read_text()
    if "Traceback" in output or any(answers(page) for page in PAGES):
        raise SystemExit(f"make demo did not stop cleanly:\n{output}")


def stop(process: subprocess.Popen) -> None:
    """As Ctrl-C does: the whole group is told."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=30)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            start_and_stop(Path(folder) / "output")
    sys.stdout.write("The demo started, answered and stopped twice.\n")
