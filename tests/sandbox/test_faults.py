"""What goes wrong on demand, seen from the other end of a real socket."""

import socket
import threading
import time
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from optico_sync.sandbox.client import SandboxError


def verdicts(sandbox, order_id="ORDER-1"):
    return [(entry["verdict"], entry["fault"]) for entry in sandbox.journal(id=order_id)]


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("500", 500, "text/html; charset=utf-8"),
        ("503", 503, "text/html; charset=utf-8"),
        ("429", 429, "text/html; charset=utf-8"),
        ("html200", 200, "text/html; charset=utf-8"),
        ("html403", 403, "text/html; charset=utf-8"),
    ],
)
def test_page_in_place_of_an_answer(sandbox, send, kind, status, content_type):
    sandbox.script("ORDER-1", [kind])
    response = send()

    assert response.status_code == status
    assert response.headers["Content-Type"] == content_type
    assert response.text.startswith("<!doctype html>")
    assert verdicts(sandbox) == [("fault", kind)]
    assert sandbox.orders() == []


@pytest.mark.parametrize("retry_after", [7, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_429_says_when_to_come_back(sandbox, send, retry_after):
    sandbox.script("ORDER-1", [{"kind": "429", "retry_after": retry_after}])

    assert send().headers["Retry-After"] == str(retry_after)


@pytest.mark.parametrize(("kind", "verdict"), [("drop_before", "fault"), ("drop_after", "stored")])
def test_dropped_connection(sandbox, send, kind, verdict):
    sandbox.script("ORDER-1", [kind])
    with pytest.raises(requests.ConnectionError):
        send()

    assert verdicts(sandbox) == [(verdict, kind)]
    assert (sandbox.order("ORDER-1") is not None) is (verdict == "stored")


def test_truncated_answer_is_stored_and_no_json(sandbox, send):
    sandbox.script("ORDER-1", ["truncated"])
    response = send()

    assert int(response.headers["Content-Length"]) == len(response.content)
    with pytest.raises(requests.JSONDecodeError):
        response.json()
    assert sandbox.order("ORDER-1")["submissions"] == 1


def test_dripping_answer_comes_byte_by_byte(sandbox):
    sandbox.script("ORDER-1", [{"kind": "drip", "interval": 0.005}])
    pieces = exchange(sandbox)

    body = b"".join(pieces).partition(b"\r\n\r\n")[2]
    assert body == b'{"status": "success"}'
    assert len(pieces) > 10
    assert verdicts(sandbox) == [("stored", "drip")]


def test_latency_comes_before_the_answer(sandbox, send):
    sandbox.script("ORDER-1", [{"kind": "latency", "seconds": 0.2}])
    started = time.monotonic()

    assert send().json() == {"status": "success"}
    assert time.monotonic() - started >= 0.2
    assert verdicts(sandbox) == [("stored", "latency")]


def test_hang_never_answers(sandbox, send):
    sandbox.script("ORDER-1", [{"kind": "hang", "seconds": 0.2}])
    with pytest.raises(requests.ConnectionError):
        send()

    assert verdicts(sandbox) == [("fault", "hang")]


@pytest.mark.parametrize("status", [301, 302])
def test_redirect(sandbox, send, status):
    sandbox.script("ORDER-1", [{"kind": "redirect", "status": status, "url": "https://elsewhere.example/login"}])
    response = send()

    assert response.status_code == status
    assert response.headers["Location"] == "https://elsewhere.example/login"
    assert sandbox.orders() == []


@pytest.mark.parametrize("stored", [True, False])
def test_reply_as_told(sandbox, send, stored):
    reply = {"status": 418, "content_type": "text/plain", "body": " tea\n", "stored": stored}
    sandbox.script("ORDER-1", [{"kind": "reply", **reply}])
    response = send()

    assert (response.status_code, response.headers["Content-Type"], response.text) == (418, "text/plain", " tea\n")
    assert bool(sandbox.orders()) is stored


def test_reply_without_a_body_keeps_the_connection_in_step(sandbox, send):
    sandbox.script("ORDER-1", [{"kind": "reply", "status": 204, "body": "lost"}])

    assert send().status_code == 204
    assert send().json() == {"status": "success"}


def test_script_is_used_up_one_request_at_a_time(sandbox, send):
    sandbox.script("ORDER-1", ["500", "ok", "503"])

    assert send(id="ORDER-2").status_code == 200
    assert [send().status_code for _ in range(4)] == [500, 200, 503, 200]


def test_script_goes_before_the_fault_for_all(sandbox, send):
    sandbox.fault_all("503")
    sandbox.script("ORDER-1", ["ok"])

    assert [send().status_code for _ in range(3)] == [200, 503, 503]
    sandbox.fault_all(None)
    assert send().status_code == 200


def test_probability_repeats_with_its_seed(sandbox, send):
    def run():
        sandbox.fault_probability(0.5, ["500", "503"], seed=7)
        return [send().status_code for _ in range(20)]

    first = run()
    assert {200, 500, 503} == set(first)
    assert run() == first


def test_cleared_faults_are_gone(sandbox, send):
    sandbox.fault_all("500")
    sandbox.script("ORDER-1", ["500"])
    sandbox.fault_probability(1, ["500"])
    sandbox.clear_faults()

    assert send().status_code == 200


def test_latency_of_every_answer(sandbox, send):
    sandbox.config(latency=0.1)
    started = time.monotonic()
    send()

    assert time.monotonic() - started >= 0.1


def test_requests_at_once_for_one_order_are_counted(sandbox, send):
    sandbox.fault_all({"kind": "latency", "seconds": 0.3})
    threads = [threading.Thread(target=send) for _ in range(3)]
    threads += [threading.Thread(target=send, kwargs={"id": "ORDER-2"})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entry["concurrency"] for entry in sandbox.journal(id="ORDER-1")) == [1, 2, 3]
    assert [entry["concurrency"] for entry in sandbox.journal(id="ORDER-2")] == [1]
    assert sandbox.summary()["max_concurrency"] == 3


@pytest.mark.parametrize("fault", ["ok", "truncated", {"kind": "drip", "interval": 0}, "500"])
def test_requests_in_turn_are_never_counted_as_at_once(sandbox, send, fault):
    sandbox.fault_all(fault)
    for _ in range(50):
        send()

    assert sandbox.summary()["max_concurrency"] == 1


def test_client_that_gave_up_is_not_counted(sandbox, send):
    sandbox.script("ORDER-1", [{"kind": "hang", "seconds": 1}])
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{sandbox.url}/api/customer-order", data={"key": "cust_sandbox", "id": "ORDER-1"}, timeout=0.1)
    send()

    assert [entry["concurrency"] for entry in sandbox.journal()] == [1, 1]


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ("lightning", "kind"),
        ({"seconds": 1}, "kind"),
        ({"kind": "latency", "seconds": -1}, "seconds"),
        ({"kind": "500", "seconds": 1}, "seconds"),
        ({"kind": "redirect", "status": 200}, "status"),
        ({"kind": "redirect", "url": "/a\r\nb: c"}, "url"),
        ({"kind": "drip", "speed": 1}, "speed"),
    ],
)
def test_bad_fault_is_refused_by_field(sandbox, fault, field):
    with pytest.raises(SandboxError) as caught:
        sandbox.fault_all(fault)

    assert caught.value.status == 400
    assert list(caught.value.errors["all"]) == [field]


def exchange(sandbox):
    """One request over a bare socket; what each read brought."""
    address = urlsplit(sandbox.url)
    body = urlencode({"key": "cust_sandbox", "id": "ORDER-1", "status": "paid"})
    head = (
        "POST /api/customer-order HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall((head + body).encode())
        return list(iter(lambda: connection.recv(4096), b""))
