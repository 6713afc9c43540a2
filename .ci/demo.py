"""Starts ``make demo``, asks the pages for an answer, stops it with Ctrl-C; then the same again."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

PORT, SANDBOX_PORT = 8123, 8124
PAGES = (
    f"http://127.0.0.1:{PORT}/",
    f"http://127.0.0.1:{PORT}/admin/login/",
    f"http://127.0.0.1:{SANDBOX_PORT}/sandbox/",
)


def answers(page: str) -> bool:
    try:
        return urllib.request.urlopen(page, timeout=2).status == 200
    except OSError:
        return False


def start_and_stop() -> None:
    process = subprocess.Popen(
        ["make", "demo", f"PORT={PORT}", f"SANDBOX_PORT={SANDBOX_PORT}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 120
        while not all(answers(page) for page in PAGES):
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"make demo did not start:\n{stop(process)}")
            time.sleep(0.5)
    finally:
        output = stop(process)
    if "Traceback" in output or any(answers(page) for page in PAGES):
        raise SystemExit(f"make demo did not stop cleanly:\n{output}")
    if "admin / admin" not in output:
        raise SystemExit(f"make demo did not tell the login:\n{output}")


def stop(process: subprocess.Popen) -> str:
    """As Ctrl-C does: the whole group is told."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    return output


if __name__ == "__main__":
    for _ in range(2):
        start_and_stop()
    sys.stdout.write("The demo started, answered and stopped twice.\n")
