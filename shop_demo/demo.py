"""`python -m shop_demo.demo`: the shop, the sandbox vendor and the delivery worker, started and stopped together.

Plain standard library, so that it can say what is wrong before anything else works.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
SANDBOX_KEY = "cust_sandbox_demo"
#: For how long a child may finish what it is doing before it is killed.
PATIENCE = 10.0
TICK = 0.1


class PortError(Exception):
    """A port cannot be listened on; the message says which, and what to type instead."""


class Child:
    """A process in a group of its own, so that a Ctrl-C in the terminal reaches only the supervisor."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603 - the commands are written below
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group, unless the process has ended: its number may be somebody else's by then."""
        if self.status() is None:
            os.killpg(self.pid, number)

    def finish(self) -> None:
        """Wait for the process and for the rest of its output."""
        self._process.wait()
        self._reader.join(timeout=1)

    def _pass_on(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if text := line.rstrip():
                    say(f"{self.name:>7} | {text}")


class Supervisor:
    """Runs children until one ends or somebody wants to stop."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        # A plain flag: a signal handler may interrupt anything, so it must not take a lock.
        self.stopping = False

    def listen(self) -> None:
        """Let Ctrl-C, `kill` and a closed terminal ask for the end."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        child = Child(name, command, environment)
        self.children.append(child)
        return child

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Run one step to its end. True when it went well; a stop in the middle is not well."""
        child = self.start(name, command, environment)
        while child.status() is None and not self.stopping:
            time.sleep(TICK)
        if self.stopping:
            return False
        self.children.remove(child)
        child.finish()
        if child.status():
            say(describe_end(child))
        return child.status() == 0

    def wait_for(self, ports: Sequence[int]) -> bool:
        """True once all ports answer; False when a child ended first or somebody wants to stop."""
        while not self.stopping and self.ended() is None:
            if all(answers(port) for port in ports):
                return True
            time.sleep(TICK)
        return False

    def watch(self) -> Child | None:
        """The first child that ends by itself; None when somebody wants to stop."""
        while not self.stopping:
            if ended := self.ended():
                ended.finish()
                return ended
            time.sleep(TICK)
        return None

    def ended(self) -> Child | None:
        return next((child for child in self.children if child.status() is not None), None)

    def stop(self, patience: float = PATIENCE) -> None:
        """End all children: asked first, killed when they do not listen."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while any(child.status() is None for child in self.children) and time.monotonic() < deadline:
            time.sleep(TICK)
        for child in self.children:
            if child.status() is None:
                say(f"The {child.name} did not stop within {patience:g} seconds and was killed.")
                child.signal(signal.SIGKILL)
            child.finish()
        self.children.clear()

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        self.stopping = True


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        check_ports(options.port, options.sandbox_port)
    except PortError as error:
        say(str(error))
        return 2
    supervisor = Supervisor()
    supervisor.listen()
    try:
        return run(supervisor, options.port, options.sandbox_port)
    finally:
        supervisor.stop()


def run(supervisor: Supervisor, port: int, sandbox_port: int) -> int:
    """Prepare the database, start everything, and stay until the end."""
    environment = {
        **os.environ,
        "SANDBOX_URL": f"http://{HOST}:{sandbox_port}",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_RUNSERVER_HIDE_WARNING": "true",
    }
    manage = [sys.executable, "manage.py"]
    sandbox = [sys.executable, "-m", "optico_sync.sandbox"]
    for step in (["migrate", "--verbosity", "0"], ["seed_demo"]):
        if not supervisor.run("prepare", [*manage, *step], environment):
            return 0 if supervisor.stopping else 1
    supervisor.start("sandbox", [*sandbox, "--port", str(sandbox_port), "--key", SANDBOX_KEY], environment)
    supervisor.start("worker", [*manage, "optico_worker"], environment)
    # Without the reloader the shop is one process, which a signal ends.
    supervisor.start("shop", [*manage, "runserver", "--noreload", f"{HOST}:{port}"], environment)
    if supervisor.wait_for([port, sandbox_port]):
        say(describe_addresses(port, sandbox_port))
    ended = supervisor.watch()
    if ended is None:
        say("Stopping.")
        return 0
    say(f"{describe_end(ended)} Stopping the others.")
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shop_demo.demo", description="Runs the demo shop.")
    parser.add_argument("--port", type=read_port, default=8000, help="where the shop listens (default: 8000)")
    parser.add_argument("--sandbox-port", type=read_port, default=8001, help="where the vendor does (default: 8001)")
    return parser


def read_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def check_ports(port: int, sandbox_port: int) -> None:
    """Raise ``PortError`` unless both can be listened on now."""
    if port == sandbox_port:
        raise PortError(f"The shop and the sandbox cannot share port {port}. Try: make demo SANDBOX_PORT={port + 1}")
    for number, owner, variable in ((port, "shop", "PORT"), (sandbox_port, "sandbox", "SANDBOX_PORT")):
        if problem := find_port_problem(number):
            raise PortError(
                f"Port {number}, where the {owner} should listen, {problem}. Nothing was started.\n"
                f"Try another one: make demo {variable}={number + 10 if number < 65525 else 8010}"
            )


def find_port_problem(port: int) -> str:
    """Why nothing could listen on ``port``; empty when it is free."""
    with socket.socket() as probe:
        # As the servers do: a port that was left a moment ago counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return "is busy" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    return ""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def describe_end(child: Child) -> str:
    status = child.status() or 0
    how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return f"{child.name} {how}."


def describe_addresses(port: int, sandbox_port: int) -> str:
    shop, sandbox = f"http://{HOST}:{port}", f"http://{HOST}:{sandbox_port}"
    return (
        "\n"
        f"  Shop               {shop}/\n"
        f"  Admin              {shop}/admin/                      admin / admin (for this demo only)\n"
        f"  Orders at vendors  {shop}/admin/optico_sync/subject/\n"
        f"  Is all well?       {shop}/optico-api/v1/health          (as admin)\n"
        f"  Sandbox's journal  {sandbox}/sandbox/\n"
        "\n"
        "  Ctrl-C stops everything.\n"
    )


def say(text: str) -> None:
    """Print, even if nobody listens any more: a closed terminal must not keep the children from being stopped."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
