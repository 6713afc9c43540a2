"""A small threaded HTTP/1.1 server: keep-alive, quiet, and able to hang up in the middle of things."""

import io
import logging
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import unquote_to_bytes

logger = logging.getLogger(__name__)

MAX_LINE = 65_536
MAX_HEADERS = 200
MAX_BODY = 64 * 1024 * 1024
BODILESS = (204, 304)

WSGIApplication = Callable[..., Iterable[bytes]]


class BadRequest(Exception):
    """The request cannot be read; the connection is closed after the answer."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status


class Server(socketserver.ThreadingTCPServer):
    """Serves a WSGI application, one thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, host: str, port: int, application: WSGIApplication) -> None:
        self.application = application
        self.connection_ids = count(1)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Connection)

    @property
    def url(self) -> str:
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is the point of the exercise; anything else is a bug worth a traceback."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("Connection from %s failed", client_address)


class Connection(socketserver.StreamRequestHandler):
    """One client's connection, over which it may ask many times."""

    server: Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.id = next(self.server.connection_ids)
        host, port = self.server.server_address[:2]
        self.environ = {
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": str(self.client_address[0]),
            "SCRIPT_NAME": "",
            "optico_sandbox.peer": self,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def gone(self) -> bool:
        """True once the client has closed its end, whatever is still being prepared for it here."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def handle(self) -> None:
        try:
            while (environ := self.read()) is not None and self.answer(environ):
                pass
        except BadRequest as exc:
            self.send(f"{exc.status.value} {exc.status.phrase}", [], b"", keep_alive=False)

    def read(self) -> dict[str, Any] | None:
        """The next request as a WSGI environ, or None when the client has nothing more to say."""
        line = self.rfile.readline(MAX_LINE)
        if not line:
            return None
        try:
            method, target, protocol = line.decode("latin-1").split()
        except ValueError:
            raise BadRequest(HTTPStatus.BAD_REQUEST) from None
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            **self.environ,
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": protocol,
            **self.read_headers(),
        }
        if "HTTP_TRANSFER_ENCODING" in environ:
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
        body = self.read_body(environ)
        if body is None:
            return None
        environ["wsgi.input"] = io.BytesIO(body)
        return environ

    def read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = self.rfile.readline(MAX_LINE)
            if line in (b"\r\n", b"\n", b""):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise BadRequest(HTTPStatus.BAD_REQUEST)
            name = name.upper().replace("-", "_")
            headers[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value.strip()
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def read_body(self, environ: dict[str, Any]) -> bytes | None:
        text = environ.get("CONTENT_LENGTH") or "0"
        if not (text.isascii() and text.isdigit()):
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        length = int(text)
        if length > MAX_BODY:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def answer(self, environ: dict[str, Any]) -> bool:
        """Answer one request; False if the connection is done with."""
        started = time.perf_counter()
        status, headers = "", []

        def start_response(given: str, given_headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            nonlocal status, headers
            status, headers = given, given_headers

        result: Any = self.server.application(environ, start_response)
        try:
            keep_alive = wants_keep_alive(environ)
            if getattr(result, "drop_connection", False):
                status, keep_alive = "(dropped)", False
            elif getattr(result, "streaming", False):
                keep_alive = self.stream(status, headers, result, keep_alive=keep_alive)
            else:
                body = b"".join(result)
                self.send(status, headers, body, keep_alive=keep_alive, bodiless=environ["REQUEST_METHOD"] == "HEAD")
        finally:
            result.close()
        logger.info(
            "#%d %s %s %s %.1f ms",
            self.id,
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            status,
            (time.perf_counter() - started) * 1000,
        )
        return keep_alive

    def send(
        self,
        status: str,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        keep_alive: bool,
        bodiless: bool = False,
    ) -> None:
        """The whole answer in one write, so that it leaves in one packet."""
        if int(status[:3]) in BODILESS:
            body = b""
        else:
            headers = [*headers, ("Content-Length", str(len(body)))]
        self.connection.sendall(head_bytes(status, headers, keep_alive=keep_alive) + (b"" if bodiless else body))

    def stream(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes], *, keep_alive: bool) -> bool:
        """The answer piece by piece, each as soon as it is there."""
        keep_alive = keep_alive and any(name.lower() == "content-length" for name, _ in headers)
        self.connection.sendall(head_bytes(status, headers, keep_alive=keep_alive))
        for chunk in chunks:
            self.connection.sendall(chunk)
        return keep_alive


def wants_keep_alive(environ: dict[str, Any]) -> bool:
    wish: str = environ.get("HTTP_CONNECTION", "").lower()
    return "keep-alive" in wish if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else "close" not in wish


def head_bytes(status: str, headers: list[tuple[str, str]], *, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
