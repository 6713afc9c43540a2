"""The only module that talks HTTP.

A vendor call needs no cookie jar, no redirects, no netrc and no proxy from the environment, so requests are prepared
once and handed to the adapter: the same library at half the CPU of ``Session.post``. Retries are rows with a due time,
never here.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_match_hostname import CertificateError

from optico_sync import conf
from optico_sync.conf import Network
from optico_sync.exceptions import ForbiddenAddress, NoAnswer, NotConnected, TransportError
from optico_sync.outcome import Outcome, credential_refused, retry
from optico_sync.vendors.base import Request, Response, Timeout, Vendor

logger = logging.getLogger(__name__)

USER_AGENT = "optico-sync"

_Answer = TypeVar("_Answer")


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
        #: Origin -> the headers that every request to it has.
        self._headers: dict[str, Mapping[str, str]] = {}

    def send(self, request: Request) -> Response:
        """Send ``request`` and read the answer, within the timeout's total.

        Raises ``NotConnected`` or ``ForbiddenAddress`` when nothing was sent, ``NoAnswer`` when it may have been.
        """
        prepared = self._prepare(request)
        timeout: Any = urllib3.Timeout(connect=self._timeout.connect, total=self._timeout.total)
        try:
            answer: Any = self._adapter.send(
                prepared,
                stream=True,
                timeout=timeout,
                verify=self._limits.ca_bundle or True,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _translate(error) from None
        except OSError:
            # requests' answer to a CA bundle that is not there.
            raise _not_verified("the file of certificate authorities cannot be read") from None
        try:
            body = _read(answer, request.max_reply)
        except Exception as error:
            answer.close()
            raise _translate(error) from None
        return Response(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=body,
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        origin = _origin(request.url)
        headers = self._headers.get(origin)
        if headers is None:
            if not origin.startswith(("http://", "https://")):
                raise ForbiddenAddress("the base URL is not https")
            try:
                first = requests.Request("GET", request.url, headers={"User-Agent": USER_AGENT}).prepare()
            except (requests.RequestException, ValueError) as error:
                raise ForbiddenAddress(f"the base URL cannot be used ({type(error).__name__})") from None
            headers = self._headers[origin] = dict(first.headers)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, request.url
        prepared.headers = CaseInsensitiveDict({**headers, **request.headers})
        prepared.body = request.body or None
        if request.body or request.method == "POST":
            prepared.headers["Content-Length"] = str(len(request.body))
        return prepared


class Sender(Protocol):
    """What requests are sent through; ``Transport`` in life."""

    def send(self, request: Request) -> Response: ...

    def close(self) -> None: ...


def exchange(
    sender: Sender, request: Request, read: Callable[[Response], _Answer | Outcome], *, name: str
) -> tuple[Response | None, _Answer | Outcome]:
    """Send, and ``read`` what came back from the vendor called ``name``. Never raises."""
    try:
        response = sender.send(request)
    except ForbiddenAddress as error:
        return None, credential_refused(error.reason, detail=str(error))
    except TransportError as error:
        return None, retry(error.reason, detail=str(error), ambiguous=error.ambiguous)
    except Exception as error:
        logger.error("Sending to %s failed in an unexpected way (%s).", name, type(error).__name__)
        return None, retry("dropped", detail=type(error).__name__, ambiguous=True)
    try:
        return response, read(response)
    except Exception as error:
        logger.error("The answer of %s could not be read (%s).", name, type(error).__name__)
        return response, retry("unreadable_reply", detail=type(error).__name__, ambiguous=True)


def open_transport(vendor: Vendor, connections: int) -> Transport:
    """A transport to ``vendor`` within the limits that the settings draw."""
    return open_to(vendor.timeout, connections)


def open_to(timeout: Timeout, connections: int) -> Transport:
    """A transport to anybody else within the same limits."""
    options = conf.options()
    limits = Limits(allowed_networks=options.ALLOWED_NETWORKS, ca_bundle=options.CA_BUNDLE)
    return Transport(timeout=timeout, limits=limits, connections=connections)


def _read(raw: Any, limit: int) -> bytes:
    """The body up to ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    while size < limit:
        chunk = raw.read1(limit - size, decode_content=True)
        if not chunk:
            # Back to the pool, so that the connection is kept alive.
            raw.release_conn()
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    raw.close()
    return b"".join(chunks)


def _translate(error: Exception) -> TransportError:
    """What broke an exchange as our exception, without its text: that may hold the URL or the body."""
    cause = _innermost(error)
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
        return NoAnswer("no answer in time", timed_out=True)
    return NoAnswer(f"the connection broke ({type(cause).__name__})", timed_out=False)


def _innermost(error: BaseException) -> BaseException:
    """What urllib3 wraps in ``reason`` and ``args`` and requests wraps again."""
    for _ in range(5):
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _not_verified(message: str) -> NotConnected:
    failure = NotConnected(message)
    failure.reason = "certificate"
    return failure


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _GuardedAdapter(HTTPAdapter):
    """Connects only to public addresses over https, and to what the settings allow.

    What ``HTTPAdapter`` does for every request although it is the same for all of them is done once, and what nobody
    here reads is not made: a third of its time.
    """

    def __init__(self, limits: Limits, **kwargs: Any) -> None:
        self._limits = limits
        self._found: tuple[str, Any] = "", None
        super().__init__(pool_connections=2, pool_block=False, max_retries=0, **kwargs)

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """The pool of the request's origin, ready to verify whom it meets."""
        origin = _origin(request.url)
        known, pool = self._found
        if origin != known:
            pool = super().get_connection_with_tls_context(request, verify)
            super().cert_verify(pool, request.url, verify, None)
            self._found = origin, pool
        return pool

    def cert_verify(self, *given: Any) -> None:
        """Done when the pool was found."""

    def close(self) -> None:
        """urllib3 closes the connections of a pool that nobody holds any more."""
        self._found = "", None
        super().close()

    def request_url(self, request: Any, proxies: Any) -> str:
        """There is no proxy."""
        return request.path_url

    def build_response(self, request: Any, answer: Any) -> Any:
        """urllib3's own answer: nobody asks for the cookies and the encoding that ``requests`` looks for."""
        return answer

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        check = self._check

        class GuardedHTTP(_Guarded, HTTPConnection):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                return _connect(self, check, encrypted=False)

        class GuardedHTTPS(_Guarded, HTTPSConnection):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                return _connect(self, check, encrypted=True)

        class GuardedHTTPPool(HTTPConnectionPool):
            ConnectionCls = GuardedHTTP

        class GuardedHTTPSPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHTTPS

        self.poolmanager.pool_classes_by_scheme = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}

    def _check(self, address: str, encrypted: bool) -> None:
        ip = _innermost_address(ipaddress.ip_address(address.partition("%")[0]))
        if any(ip in network for network in self._limits.allowed_networks):
            return
        if not _is_public(ip):
            raise ForbiddenAddress("the base URL's host is not a public address")
        if not encrypted:
            raise ForbiddenAddress("the base URL is not https")


class _Guarded:
    """A connection whose ``timeout`` is a moment: a socket's own restarts with every byte, this one does not.

    urllib3 sets it to the time to connect and send, then to what is left of the total.
    """

    sock: socket.socket | None
    _ends: float | None = None
    #: The head of a request, until it leaves together with the body; None when none is being written.
    _head: bytes | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds left; a little when there are none, since 0 would mean "do not wait" to a socket."""
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.001)

    @timeout.setter
    def timeout(self, seconds: object) -> None:
        self._ends = time.monotonic() + seconds if isinstance(seconds, int | float) else None

    def connect(self) -> None:
        """Connect and shake hands. Whatever fails here, nothing was sent."""
        connection: Any = super()
        try:
            connection.connect()
        except (ssl.SSLCertVerificationError, CertificateError):
            raise _not_verified("the TLS certificate could not be verified") from None
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise NotConnected(f"could not connect ({type(error).__name__})") from None

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        """Keep the head back: head and body leave in one piece, not in two packets."""
        connection: Any = super()
        if self.sock is None:
            self.connect()
        self._head = b""
        connection.endheaders(*args, **kwargs)

    def getresponse(self) -> Any:
        connection: Any = super()
        if self._head:
            # There was no body.
            self.send(b"")
        return connection.getresponse()

    def send(self, data: Any) -> None:
        connection: Any = super()
        if self._head == b"":
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, None
        if self.sock is not None:
            self.arm(self.sock)
        connection.send(data)

    def response_class(self, sock: socket.socket, **kwargs: Any) -> HTTPResponse:
        """What http.client reads the answer with."""
        return HTTPResponse(_TimedSocket(sock, self), **kwargs)  # type: ignore[arg-type]

    def arm(self, sock: socket.socket) -> None:
        """Give ``sock`` the time that is left for its next wait."""
        if self._ends is not None and self._ends < time.monotonic():
            raise TimeoutError
        sock.settimeout(self.timeout)


class _TimedSocket(io.RawIOBase):
    """The reading side of a socket, within its connection's time."""

    def __init__(self, sock: socket.socket, connection: _Guarded) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        """All that http.client asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.arm(self._sock)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: All that is given out for the public; what lies outside is for old or special uses, whatever ``is_global`` says.
_UNICAST = ipaddress.IPv6Network("2000::/3")


def _innermost_address(ip: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: ::ffff:127.0.0.1 is 127.0.0.1."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _is_public(ip: Address) -> bool:
    if not ip.is_global or ip.is_multicast:
        return False
    # 6to4 carries an IPv4 address, perhaps a private one, and is given up (RFC 7526).
    return isinstance(ip, ipaddress.IPv4Address) or (ip in _UNICAST and ip.sixtofour is None)


def _connect(connection: Any, check: Callable[[str, bool], None], *, encrypted: bool) -> socket.socket:
    """A socket to the first address that answers, after every address was checked: the name is resolved only once."""
    try:
        found = socket.getaddrinfo(connection._dns_host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotConnected("the name of the base URL's host was not found") from None
    for *_rest, address in found:
        check(str(address[0]), encrypted)
    failure = OSError()
    for family, kind, protocol, _name, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(connection.timeout)
            sock.connect(address)
            # What is left, for the TLS handshake.
            sock.settimeout(connection.timeout)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure
