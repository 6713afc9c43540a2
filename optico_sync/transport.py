"""The only module that talks HTTP.

A vendor call needs no cookie jar, no redirects, no netrc and no proxy from the environment, so requests are prepared
once and handed to the adapter: the same library at half the CPU of ``Session.post``. Retries are rows with a due time,
never here.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from optico_sync.conf import Network
from optico_sync.exceptions import ForbiddenAddress, NoAnswer, NotConnected, TransportError
from optico_sync.vendors.base import Request, Response, Timeout

#: No documented reply is longer than a line; what comes after this is not read.
MAX_REPLY = 64 * 1024

USER_AGENT = "optico-sync"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a transport may connect to, and how it verifies whom it meets."""

    allowed_networks: Sequence[Network] = ()
    ca_bundle: str = ""


class Transport:
    """Kept-alive connections to one vendor. Threads may share it."""

    def __init__(self, *, timeout: Timeout, limits: Limits, connections: int) -> None:
        self._timeout = timeout
        self._limits = limits
        self._adapter = _GuardedAdapter(limits, pool_maxsize=connections)
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def send(self, request: Request) -> Response:
        """Post ``request`` and read the answer, within the timeout's total.

        Raises ``NotConnected`` or ``ForbiddenAddress`` when nothing was sent, ``NoAnswer`` when it may have been.
        """
        started = time.monotonic()
        try:
            answer = self._adapter.send(
                self._prepare(request),
                stream=True,
                timeout=(self._timeout.connect, self._timeout.total),
                verify=self._limits.ca_bundle or True,
            )
        except requests.RequestException as error:
            raise _translate(error) from None
        try:
            body = _read(answer.raw, deadline=started + self._timeout.total)
        except TransportError:
            answer.close()
            raise
        except Exception as error:
            answer.close()
            raise NoAnswer(f"the answer broke off ({type(error).__name__})", timed_out=False) from None
        return Response(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=body,
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        prepared = self._prepared.get(request.url)
        if prepared is None:
            if urlsplit(request.url).scheme not in ("http", "https"):
                raise ForbiddenAddress("the base URL is not https")
            try:
                prepared = requests.Request("POST", request.url, headers={"User-Agent": USER_AGENT}).prepare()
            except (requests.RequestException, ValueError) as error:
                raise ForbiddenAddress(f"the base URL cannot be used ({type(error).__name__})") from None
            self._prepared[request.url] = prepared
        prepared = prepared.copy()
        prepared.headers = CaseInsensitiveDict({**prepared.headers, **request.headers})
        prepared.headers["Content-Length"] = str(len(request.body))
        prepared.body = request.body
        return prepared


def _read(raw: Any, *, deadline: float) -> bytes:
    """The body up to the limit. The socket's own timeout restarts with every byte; the deadline does not."""
    chunks: list[bytes] = []
    size = 0
    while size < MAX_REPLY:
        chunk = raw.read1(MAX_REPLY - size, decode_content=True)
        if not chunk:
            # Back to the pool, so that the connection is kept alive.
            raw.release_conn()
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if time.monotonic() > deadline:
            raise NoAnswer("the answer took too long", timed_out=True)
    raw.close()
    return b"".join(chunks)


def _translate(error: requests.RequestException) -> TransportError:
    """The library's exception as ours, without its text: that may hold the URL or the body."""
    cause = _innermost(error)
    if isinstance(cause, ForbiddenAddress):
        return cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        failure = NotConnected("the TLS certificate could not be verified")
        failure.reason = "certificate"
        return failure
    if isinstance(error, requests.ConnectTimeout) or isinstance(
        cause, urllib3.exceptions.NewConnectionError | socket.gaierror | ConnectionRefusedError
    ):
        return NotConnected(f"could not connect ({type(cause).__name__})")
    if isinstance(error, requests.ReadTimeout):
        return NoAnswer("no answer in time", timed_out=True)
    return NoAnswer(f"the connection broke ({type(cause).__name__})", timed_out=False)


def _innermost(error: BaseException) -> BaseException:
    """What urllib3 wraps in ``reason`` and ``args`` and requests wraps again."""
    for _ in range(5):
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


class _GuardedAdapter(HTTPAdapter):
    """Connects only to public addresses over https, and to what the settings allow."""

    def __init__(self, limits: Limits, **kwargs: Any) -> None:
        self._limits = limits
        super().__init__(pool_connections=2, pool_block=False, max_retries=0, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        check = self._check

        class GuardedHTTP(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _connect(self, check, encrypted=False)

        class GuardedHTTPS(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _connect(self, check, encrypted=True)

        class GuardedHTTPPool(HTTPConnectionPool):
            ConnectionCls = GuardedHTTP

        class GuardedHTTPSPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHTTPS

        self.poolmanager.pool_classes_by_scheme = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}

    def _check(self, address: str, encrypted: bool) -> None:
        ip = ipaddress.ip_address(address.partition("%")[0])
        # ::ffff:127.0.0.1 is 127.0.0.1, and 6to4 and NAT64 carry an IPv4 address too.
        for inner in _addresses_in(ip):
            if any(inner in network for network in self._limits.allowed_networks):
                continue
            if not inner.is_global or inner.is_multicast:
                raise ForbiddenAddress("the base URL's host is not a public address")
            if not encrypted:
                raise ForbiddenAddress("the base URL is not https")


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _addresses_in(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[Any]:
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    inner = ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
    return [ip, inner] if inner else [ip]


def _connect(connection: Any, check: Callable[[str, bool], None], *, encrypted: bool) -> socket.socket:
    """A socket to the first address that answers, after every address was checked: the name is resolved only once."""
    try:
        found = socket.getaddrinfo(connection._dns_host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise urllib3.exceptions.NewConnectionError(connection, f"name not found ({type(error).__name__})") from None
    for *_rest, address in found:
        check(str(address[0]), encrypted)
    failure: OSError | None = None
    for family, kind, protocol, _name, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(connection.timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except TimeoutError:
            sock.close()
            raise urllib3.exceptions.ConnectTimeoutError(connection, "connect timed out") from None
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise urllib3.exceptions.NewConnectionError(connection, f"refused ({type(failure).__name__})")
