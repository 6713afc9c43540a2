"""The process: how it starts, listens and ends."""

import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from optico_sync.sandbox.client import ROOT, SandboxServer

COMMAND = [sys.executable, "-m", "optico_sync.sandbox"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_stops_cleanly_and_silently(name):
    process = subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    greeting = process.stdout.readline()
    address = urlsplit(greeting.split()[-1])
    with socket.create_connection((address.hostname, address.port)):
        process.send_signal(getattr(signal, name))
        rest, errors = process.communicate(timeout=5)

    assert greeting.startswith("Sandbox listening on http://127.0.0.1:")
    assert (process.returncode, rest, errors) == (0, "", "")


def test_port_in_use_is_said_in_one_line(sandbox):
    port = str(urlsplit(sandbox.url).port)
    done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, cwd=ROOT, timeout=10)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"Cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_options_set_keys_and_statuses():
    with SandboxServer(keys=["cust_a_0001", "cust_b_0002"], statuses={"done": True, "open": False}) as server:
        config = server.config()
        server.config(latency=1)
        server.reset()

        assert config["keys"] == ["...0001", "...0002"]
        assert config["statuses"] == [{"name": "done", "is_sale": True}, {"name": "open", "is_sale": False}]
        assert server.config() == config
    assert server.stop() is None


def test_client_tells_of_a_server_that_does_not_start(sandbox):
    with pytest.raises(RuntimeError, match="exit status 2"):
        SandboxServer(port=urlsplit(sandbox.url).port).start()


def test_stop_gives_the_exit_status():
    assert SandboxServer().start().stop() == 0


def talk(sandbox, data):
    address = urlsplit(sandbox.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET /nowhere HTTP/1.0\r\n\r\n", b"404"),
    ],
)
def test_request_that_cannot_be_read_is_refused(sandbox, request_bytes, status):
    assert talk(sandbox, request_bytes).startswith(b"HTTP/1.1 " + status)


def test_pipelined_requests_are_answered_in_order(sandbox):
    request = b"HEAD /sandbox/api/summary HTTP/1.1\r\nHost: x\r\n"
    answer = talk(sandbox, request + b"\r\n" + request + b"Connection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"Connection: close\r\n\r\n")


def test_expect_continue_is_answered(sandbox):
    head = (
        b"POST /api/customer-order HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )

    assert talk(sandbox, head + b"x").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
