"""The supervisor behind ``make demo``."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shop_demo import demo

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
#: A supervisor with one sleeping child, which says when it listens to signals.
SUPERVISOR = f"""
import os, sys
from shop_demo.demo import Supervisor, describe_end, say
supervisor = Supervisor()
supervisor.listen()
supervisor.start("child", [sys.executable, "-c", {SLEEP!r}], os.environ)
say("ready")
ended = supervisor.watch()
supervisor.stop()
"""


@pytest.fixture
def supervisor() -> Iterator[demo.Supervisor]:
    supervisor = demo.Supervisor()
    yield supervisor
    supervisor.stop(patience=0)


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def start(supervisor: demo.Supervisor, name: str, code: str) -> demo.Child:
    return supervisor.start(name, [sys.executable, "-c", code], os.environ)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_free_port_is_no_problem() -> None:
    assert demo.find_port_problem(free_port()) == ""


@pytest.mark.parametrize(("flag", "variable"), [("--port", "PORT="), ("--sandbox-port", "SANDBOX_PORT=")])
def test_a_busy_port_is_named_and_nothing_starts(
    busy_port: int, flag: str, variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.Supervisor, "start", None)
    other = "--port" if flag == "--sandbox-port" else "--sandbox-port"
    assert demo.main([flag, str(busy_port), other, str(free_port())]) == 2
    said = capsys.readouterr().out
    assert f"Port {busy_port}" in said
    assert f"make demo {variable}" in said


def test_one_port_for_both_is_refused() -> None:
    with pytest.raises(demo.PortError, match="cannot share port 8000"):
        demo.check_ports(8000, 8000)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", ""])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        demo.main([f"--port={text}"])
    assert exit_.value.code == 2


def test_stop_ends_every_child(supervisor: demo.Supervisor) -> None:
    children = [start(supervisor, name, SLEEP) for name in ("one", "two")]
    supervisor.stop()
    assert [child.status() for child in children] == [-signal.SIGTERM, -signal.SIGTERM]


def test_stop_kills_a_child_that_does_not_listen(
    supervisor: demo.Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    child = start(supervisor, "deaf", STUBBORN)
    while "deaf | deaf" not in capsys.readouterr().out:
        time.sleep(0.02)
    supervisor.stop(patience=0.2)
    assert child.status() == -signal.SIGKILL
    assert "The deaf did not stop" in capsys.readouterr().out


def test_watch_returns_the_child_that_ended(supervisor: demo.Supervisor) -> None:
    start(supervisor, "sleeper", SLEEP)
    start(supervisor, "quitter", "raise SystemExit(3)")
    ended = supervisor.watch()
    assert ended is not None
    assert demo.describe_end(ended) == "quitter ended with exit status 3."


def test_run_says_why_a_step_failed(supervisor: demo.Supervisor, capsys: pytest.CaptureFixture[str]) -> None:
    code = "print('no such table'); raise SystemExit(1)"
    assert supervisor.run("prepare", [sys.executable, "-c", code], os.environ) is False
    said = capsys.readouterr().out
    assert "prepare | no such table" in said
    assert "prepare ended with exit status 1." in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_without_a_word(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SUPERVISOR]
    with subprocess.Popen(
        command, cwd=demo.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == ""
        assert process.wait(timeout=10) == 0
