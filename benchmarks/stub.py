"""A vendor as light as can be, in a process of its own: it must not be what a benchmark measures.

    python -m benchmarks.stub

Prints its port. It answers an order as Optico does, after the latency it was told: ``GET /begin?0.05`` starts a count,
``GET /report`` gives it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

KEY = b"cust_5ef3a1b7c9d24e60"


class Count:
    """What came in since the last ``/begin``."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.orders: Counter[bytes] = Counter()
        self.refused = 0
        self.first = self.last = 0.0

    def order(self, body: bytes) -> bytes:
        key, number = (body.partition(name)[2].partition(b"&")[0] for name in (b"key=", b"&id="))
        if key != KEY or not number or b"&status=confirmed" not in body:
            self.refused += 1
            return b'{"status": "error", "message": "Invalid api key"}'
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.orders[number] += 1
        return b'{"status": "success"}'

    def report(self) -> dict[str, float]:
        return {
            "orders": len(self.orders),
            "twice": sum(count > 1 for count in self.orders.values()),
            "refused": self.refused,
            "seconds": self.last - self.first,
        }


count = Count()


class Connection(asyncio.Protocol):
    """Keep-alive HTTP/1.1 with a length, one request at a time."""

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        global count  # noqa: PLW0603 - a process of one vendor
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = int((head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0").strip())
        if not end or len(body) < length:
            return
        self._read = b""
        if head.startswith(b"POST"):
            self._answer(count.order(body), count.latency)
            return
        path = head.split()[1].decode()
        if path.startswith("/begin"):
            count = Count(float(path.partition("?")[2]))
        self._answer(json.dumps(count.report()).encode())

    def _answer(self, body: bytes, latency: float = 0.0) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        answer %= (len(body), body)
        if latency:
            asyncio.get_running_loop().call_later(latency, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
