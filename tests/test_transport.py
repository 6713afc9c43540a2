"""The transport, over real sockets: time, size, TLS, and the addresses it must not reach."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from optico_sync.exceptions import ForbiddenAddress, NoAnswer, NotConnected, TransportError
from optico_sync.transport import Limits, Transport
from optico_sync.vendors.base import MAX_REPLY, Request, Timeout

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SECRET = "cust_SECRET_KEY"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Handler = Callable[[socket.socket, bytes], bool]


def say(answer: bytes, *, stay: bool = True) -> Handler:
    def handle(sock: socket.socket, received: bytes) -> bool:
        sock.sendall(answer)
        return stay

    return handle


def drip(start: bytes, pause: float = 0.02) -> Handler:
    """``start``, then one byte after another without an end."""

    def handle(sock: socket.socket, received: bytes) -> bool:
        sock.sendall(start)
        for _ in range(500):
            sock.sendall(b"x")
            time.sleep(pause)
        return False

    return handle


class Server:
    """Answers each request by a function of the raw socket; the function says whether the connection stays."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.handler, self.context = handler, context
        self.connections = 0
        self.requests: list[bytes] = []
        #: What each request began with, as it arrived.
        self.first_pieces: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._open: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with sock:
                while (received := self._receive(sock)) and self.handler(sock, received):
                    pass

    def _receive(self, sock: socket.socket) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            if not (chunk := sock.recv(65536)):
                return b""
            received += chunk
        self.first_pieces.append(received)
        head, _end, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += sock.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def serving(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(handler, context)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def transport(total: float = 5, connect: float = 5, allowed: Any = LOOPBACK, **options: Any) -> Iterator[Transport]:
    made = Transport(
        timeout=Timeout(connect=connect, total=total),
        limits=Limits(allowed_networks=allowed, **options),
        connections=4,
    )
    try:
        yield made
    finally:
        made.close()


def request(port: int | None, host: str = "127.0.0.1", scheme: str = "http", body: bytes = b"") -> Request:
    at = f":{port}" if port else ""
    return Request(
        url=f"{scheme}://{host}{at}/api/customer-order",
        body=body or f"key={SECRET}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        shown="",
        fingerprint="",
    )


def failure(handler: Handler, total: float = 5, context: ssl.SSLContext | None = None) -> TransportError:
    with serving(handler, context) as server, transport(total) as sender, pytest.raises(TransportError) as caught:
        sender.send(request(server.port))
    return caught.value


# what goes out and comes back


def test_send_posts_the_body_and_reads_the_answer() -> None:
    answer = b"HTTP/1.1 201 Created\r\nX-Some: Thing\r\nContent-Length: 2\r\n\r\nok"
    with serving(say(answer)) as server, transport() as sender:
        response = sender.send(request(server.port))
    assert (response.status, response.body, response.headers["x-some"]) == (201, b"ok", "Thing")
    head, _end, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/customer-order HTTP/1.1\r\n")
    assert b"Content-Type: application/x-www-form-urlencoded" in head
    assert b"User-Agent: optico-sync" in head
    assert body == f"key={SECRET}".encode()


def test_send_keeps_the_connection_alive() -> None:
    with serving(say(OK)) as server, transport() as sender:
        for _ in range(3):
            assert sender.send(request(server.port)).body == b"ok"
        assert server.connections == 1


def test_head_and_body_leave_in_one_piece() -> None:
    with serving(say(OK)) as server, transport() as sender:
        for _ in range(20):
            sender.send(request(server.port))
    assert server.first_pieces == server.requests


def test_send_to_several_origins_by_turns() -> None:
    with serving(say(OK)) as one, serving(say(OK)) as two, serving(say(OK)) as three, transport() as sender:
        for server in (one, two, three) * 2:
            assert sender.send(request(server.port)).body == b"ok"
        assert [len(server.requests) for server in (one, two, three)] == [2, 2, 2]


def test_send_reads_chunks_and_keeps_the_connection_alive() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    with serving(say(answer)) as server, transport() as sender:
        assert [sender.send(request(server.port)).body for _ in range(2)] == [b"ok", b"ok"]
        assert server.connections == 1


def test_send_reads_a_reply_without_a_length() -> None:
    with serving(say(b"HTTP/1.0 200 OK\r\n\r\nok", stay=False)) as server, transport() as sender:
        assert sender.send(request(server.port)).body == b"ok"


def test_send_connects_again_after_the_vendor_closed() -> None:
    with serving(say(OK, stay=False)) as server, transport() as sender:
        assert sender.send(request(server.port)).body == b"ok"
        time.sleep(0.05)
        assert sender.send(request(server.port)).body == b"ok"


def test_reply_is_cut_at_64_kib() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    with serving(say(long)) as server, transport() as sender:
        assert len(sender.send(request(server.port)).body) == MAX_REPLY == 65536
        assert len(sender.send(request(server.port)).body) == MAX_REPLY


def test_compressed_reply_is_cut_at_64_kib() -> None:
    body = gzip.compress(b"x" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(say(head + body)) as server, transport() as sender:
        assert len(sender.send(request(server.port)).body) <= MAX_REPLY + 1024


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirect_is_never_followed(status: str) -> None:
    def handle(sock: socket.socket, received: bytes) -> bool:
        sock.sendall(f"HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode())
        return True

    with serving(handle) as server, transport() as sender:
        assert sender.send(request(server.port)).status == int(status[:3])
        assert len(server.requests) == 1


def test_threads_share_one_transport() -> None:
    def echo(sock: socket.socket, received: bytes) -> bool:
        body = received.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    with serving(echo) as server, transport() as sender, ThreadPoolExecutor(4) as pool:
        bodies = [f"order {number}".encode() for number in range(100)]
        answers = list(pool.map(lambda body: sender.send(request(server.port, body=body)).body, bodies))
        assert answers == bodies
        assert server.connections <= 4


# time


def test_silence_is_a_timeout() -> None:
    began = time.monotonic()
    error = failure(lambda sock, received: bool(time.sleep(0.8)), total=0.3)
    assert isinstance(error, NoAnswer) and error.reason == "timeout" and error.ambiguous
    assert time.monotonic() - began < 2


DRIPS = {
    "status line": b"HTTP/1.1 200 O",
    "header": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
    "body without end": b"HTTP/1.1 200 OK\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0",
}


@pytest.mark.parametrize("part", DRIPS)
def test_dripping_cannot_outlast_the_total(part: str) -> None:
    began = time.monotonic()
    with serving(drip(DRIPS[part])) as server, transport(0.4) as sender:
        with pytest.raises(NoAnswer) as caught:
            sender.send(request(server.port))
        took = time.monotonic() - began
    assert caught.value.reason == "timeout" and caught.value.ambiguous
    assert 0.3 < took < 1.5


def test_dripping_over_tls_cannot_outlast_the_total(authority: trustme.CA, ca_file: str) -> None:
    with (
        serving(drip(DRIPS["header"]), server_context(authority)) as server,
        transport(0.4, ca_bundle=ca_file) as sender,
    ):
        began = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            sender.send(request(server.port, scheme="https", host="localhost"))
        assert time.monotonic() - began < 1.5
    assert caught.value.reason == "timeout"


def test_a_reader_that_never_reads_cannot_outlast_the_total() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, transport(0.4) as sender:
        began = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            sender.send(request(listener.getsockname()[1], body=b"x" * 30_000_000))
        assert time.monotonic() - began < 1.5
    assert caught.value.reason == "timeout"


def test_a_tls_handshake_that_never_ends_sends_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, transport(0.4) as sender:
        began = time.monotonic()
        with pytest.raises(NotConnected) as caught:
            sender.send(request(listener.getsockname()[1], scheme="https"))
        assert time.monotonic() - began < 1.5
    assert (caught.value.reason, caught.value.ambiguous) == ("connection", False)


def test_connecting_has_its_own_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(sock: socket.socket, address: Any) -> None:
        time.sleep(sock.gettimeout() or 60)
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", never)
    began = time.monotonic()
    with transport(total=5, connect=0.2) as sender, pytest.raises(NotConnected):
        sender.send(request(9))
    assert time.monotonic() - began < 1.5


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    def slow_first(sock: socket.socket, received: bytes) -> bool:
        if b"first" in received:
            time.sleep(0.5)
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + (b"first!" if b"first" in received else b"second")
        )
        return True

    with serving(slow_first) as server, transport(0.2) as sender:
        with pytest.raises(NoAnswer):
            sender.send(request(server.port, body=b"first"))
        assert sender.send(request(server.port, body=b"another")).body == b"second"


# breaking


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with transport() as sender, pytest.raises(NotConnected) as caught:
        sender.send(request(port))
    assert (caught.value.reason, caught.value.ambiguous) == ("connection", False)


def test_an_unknown_name_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, socket.gaierror("no such name"))
    with transport() as sender, pytest.raises(NotConnected) as caught:
        sender.send(request(80, host="vendor.example"))
    assert not caught.value.ambiguous


def test_a_name_that_is_too_long_sent_nothing() -> None:
    with transport() as sender, pytest.raises(NotConnected):
        sender.send(request(80, host="a" * 70 + ".example"))


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", b"what is this\r\n\r\n"],
    ids=["nothing", "half a line", "half a body", "not HTTP"],
)
def test_a_connection_that_breaks_may_have_sent_it(answer: bytes) -> None:
    error = failure(say(answer, stay=False))
    assert isinstance(error, NoAnswer) and (error.reason, error.ambiguous) == ("dropped", True)


def test_a_connection_reset_before_reading_may_have_sent_it() -> None:
    """The server closes while the body still comes in."""
    listener = socket.create_server(("127.0.0.1", 0))

    def close_at_once() -> None:
        sock, _address = listener.accept()
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        sock.close()

    thread = threading.Thread(target=close_at_once)
    thread.start()
    with listener, transport() as sender, pytest.raises(NoAnswer) as caught:
        sender.send(request(listener.getsockname()[1], body=b"x" * 10_000_000))
    thread.join()
    assert (caught.value.reason, caught.value.ambiguous) == ("dropped", True)


def test_endless_headers_are_an_answer_that_broke() -> None:
    error = failure(say(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"\r\n"))
    assert error.reason == "dropped"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + SECRET.encode()])
def test_error_texts_hold_neither_url_nor_key_nor_body(answer: bytes) -> None:
    error = failure(say(answer, stay=False))
    told = f"{error} {error!r} {error.__cause__!r}"
    assert not any(word in told for word in (SECRET, "127.0.0.1", "customer-order"))
    assert error.__suppress_context__


# environment


def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("default login spy password spy\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving(say(OK)) as server, transport() as sender:
        assert sender.send(request(server.port)).body == b"ok"
        assert b"authorization" not in server.requests[0].lower()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_private_authority_is_trusted_when_named(host: str, authority: trustme.CA, ca_file: str) -> None:
    with serving(say(OK), server_context(authority)) as server, transport(ca_bundle=ca_file) as sender:
        for _ in range(2):
            assert sender.send(request(server.port, host=host, scheme="https")).body == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize("variable", ["", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_unknown_authority_is_refused_whatever_the_environment(
    variable: str, authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, ca_file)
    with serving(say(OK), server_context(authority)) as server, transport() as sender:
        with pytest.raises(NotConnected) as caught:
            sender.send(request(server.port, host="localhost", scheme="https"))
        assert server.requests == []
    assert (caught.value.reason, caught.value.ambiguous) == ("certificate", False)


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, ca_file: str) -> None:
    with (
        serving(say(OK), server_context(authority, "other.example")) as server,
        transport(ca_bundle=ca_file) as sender,
    ):
        with pytest.raises(NotConnected) as caught:
            sender.send(request(server.port, host="localhost", scheme="https"))
        assert (caught.value.reason, server.requests) == ("certificate", [])


def test_a_missing_file_of_authorities_is_refused() -> None:
    with transport(ca_bundle="/no/such/file.pem") as sender, pytest.raises(NotConnected) as caught:
        sender.send(request(9, scheme="https"))
    assert caught.value.reason == "certificate"
    assert "/no/such" not in str(caught.value)


def test_a_server_that_speaks_no_tls_was_sent_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        with listener.accept()[0] as sock:
            sock.sendall(b"220 hello\r\n")
            sock.recv(65536)

    thread = threading.Thread(target=greet)
    thread.start()
    with listener, transport() as sender, pytest.raises(NotConnected) as caught:
        sender.send(request(listener.getsockname()[1], scheme="https"))
    thread.join()
    assert (caught.value.reason, caught.value.ambiguous) == ("connection", False)


# addresses


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> list[Any]:
    """Every name resolves to ``addresses``, and no socket ever connects; returns where it would have."""
    met: list[Any] = []

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if isinstance(addresses[0], Exception):
            raise addresses[0]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    def connect(sock: socket.socket, address: Any) -> None:
        met.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return met


NOT_PUBLIC = {
    "loopback": "127.0.0.1",
    "private": "10.1.2.3",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "link-local, cloud metadata": "169.254.169.254",
    "CGNAT": "100.64.0.1",
    "unspecified": "0.0.0.0",
    "multicast": "224.0.0.1",
    "multicast, global scope": "239.1.1.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback 6": "::1",
    "unspecified 6": "::",
    "link-local 6": "fe80::1%eth0",
    "site-local": "fec0::1",
    "unique local": "fd00::1",
    "multicast 6": "ff0e::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "compatible loopback": "::7f00:1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 private": "2002:a00:1::1",
    "6to4, given up": "2002:5db8:d822::1",
    "NAT64 loopback": "64:ff9b::7f00:1",
    "NAT64 private": "64:ff9b::a00:1",
    "NAT64 local": "64:ff9b:1::a00:1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "documentation": "2001:db8::1",
}


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    met = resolve(monkeypatch, NOT_PUBLIC[kind])
    with transport(allowed=()) as sender, pytest.raises(ForbiddenAddress) as caught:
        sender.send(request(None, host="vendor.example", scheme="https"))
    assert met == []
    assert (caught.value.reason, caught.value.ambiguous) == ("forbidden_address", False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "localhost"]
)
def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    with serving(say(OK)) as server, transport(allowed=()) as sender:
        with pytest.raises(ForbiddenAddress):
            sender.send(request(server.port, host=host))
        assert server.connections == 0


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]"])
def test_literal_ipv6_is_refused(host: str) -> None:
    with transport(allowed=()) as sender, pytest.raises(ForbiddenAddress):
        sender.send(request(9, host=host))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_a_public_address_is_met_over_https(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    met = resolve(monkeypatch, address)
    with transport(allowed=()) as sender, pytest.raises(NotConnected):
        sender.send(request(None, host="vendor.example", scheme="https"))
    assert met == [address]


def test_http_is_refused_for_a_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    met = resolve(monkeypatch, "93.184.216.34")
    with transport() as sender, pytest.raises(ForbiddenAddress, match="not https"):
        sender.send(request(None, host="vendor.example"))
    assert met == []


def test_a_network_in_the_settings_is_met_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    met = resolve(monkeypatch, "10.1.2.3")
    with transport(allowed=(ipaddress.ip_network("10.0.0.0/8"),)) as sender, pytest.raises(NotConnected):
        sender.send(request(None, host="vendor.internal"))
    assert met == ["10.1.2.3"]


@pytest.mark.parametrize("addresses", [("93.184.216.34", "10.0.0.1"), ("10.0.0.1", "93.184.216.34")])
def test_one_bad_address_among_good_ones_is_refused(addresses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    met = resolve(monkeypatch, *addresses)
    with transport(allowed=()) as sender, pytest.raises(ForbiddenAddress):
        sender.send(request(None, host="vendor.example", scheme="https"))
    assert met == []


def test_the_second_address_is_met_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(say(OK)) as server, transport() as sender:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", server.port)) for last in (2, 1)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        assert sender.send(request(server.port, host="vendor.example")).body == b"ok"


@pytest.mark.parametrize(
    "url", ["ftp://vendor.example/", "file:///etc/passwd", "vendor.example", "", "https://", "https://.x/"]
)
def test_a_url_that_is_no_web_address_is_refused(url: str) -> None:
    with transport() as sender, pytest.raises(ForbiddenAddress):
        sender.send(Request(url=url, body=b"", headers={}, shown="", fingerprint=""))
