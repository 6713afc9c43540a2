"""What the sandbox knows: orders, the journal of requests, and who is being served right now.

In memory, in one process, behind one lock.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol

from optico_sync.sandbox.faults import FaultBook

JOURNAL_LENGTH = 50_000
DEFAULT_KEYS = ("cust_sandbox",)
DEFAULT_STATUSES = {
    "confirmed": True,
    "paid": True,
    "shipped": True,
    "pending": False,
    "cancelled": False,
    "refunded": False,
}
STORED = "stored"
FAULT = "fault"


class Peer(Protocol):
    """The TCP connection a request came over."""

    id: int

    def gone(self) -> bool:
        """True once the client has closed its end."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How the vendor's account is set up. All keys belong to one domain, so they share its orders."""

    keys: frozenset[str] = frozenset(DEFAULT_KEYS)
    statuses: Mapping[str, bool] = field(default_factory=lambda: dict(DEFAULT_STATUSES))
    latency: float = 0.0


@dataclass(kw_only=True)
class Order:
    id: str
    status: str
    is_sale: bool
    created: datetime
    updated: datetime
    submissions: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    conversion: dict[str, Any] | None = None
    attributed: bool = False
    cart_id: str | None = None
    visit_id: str | None = None
    call_id: str | None = None
    agent: str | None = None
    currency: str | None = None
    products: list[dict[str, Any]] | None = None
    total_cost: Decimal | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "conversions": int(self.conversion is not None)}


@dataclass(kw_only=True, eq=False)
class Entry:
    """One request. `verdict` is None until it is decided, which is always before the answer is sent."""

    seq: int
    time: datetime
    method: str
    path: str
    content_type: str
    order_id: str
    fields: dict[str, str]
    remarks: list[str]
    connection: int
    concurrency: int
    verdict: str | None = None
    fault: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Ledger:
    """Thread-safe memory of one sandbox."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._start = Config()
        self.faults = FaultBook()
        self.reset()

    def start_with(self, config: Config, *, seed: int | None = None, journal_length: int = JOURNAL_LENGTH) -> None:
        """Set the state that `reset` returns to."""
        self._start = config
        self.faults = FaultBook(seed)
        self.reset(journal_length=journal_length)

    def reset(self, *, journal_length: int | None = None) -> None:
        with self._lock:
            length = journal_length or getattr(self, "journal_length", JOURNAL_LENGTH)
            self.journal_length = length
            self.config = self._start
            self.faults.clear()
            self._orders: dict[str, Order] = {}
            self._journal: deque[Entry] = deque(maxlen=length)
            self._in_flight: dict[str, dict[Entry, Peer]] = {}
            self._verdicts: Counter[str] = Counter()
            self._connections: set[int] = set()
            self._requests = self._remarked = self._conversions = self._max_concurrency = 0

    def configure(self, config: Config) -> None:
        with self._lock:
            self.config = config

    # The way of a request: arrive, (store), conclude, leave.

    def arrive(
        self,
        *,
        peer: Peer,
        method: str,
        path: str,
        content_type: str,
        fields: dict[str, str],
        remarks: list[str],
    ) -> Entry:
        """Write a request into the journal and count who else is being served for its order."""
        order_id = fields.get("id", "")
        with self._lock:
            others = self._in_flight.setdefault(order_id, {})
            # A client that timed out and closed its connection is no longer being served, though a slow answer
            # to it may still be under way here.
            for entry in [entry for entry, other in others.items() if other.gone()]:
                del others[entry]
            self._requests += 1
            entry = Entry(
                seq=self._requests,
                time=datetime.now(UTC),
                method=method,
                path=path,
                content_type=content_type,
                order_id=order_id,
                fields=masked(fields),
                remarks=remarks,
                connection=peer.id,
                concurrency=len(others) + 1,
            )
            others[entry] = peer
            self._journal.append(entry)
            self._connections.add(peer.id)
            self._remarked += bool(remarks)
            self._max_concurrency = max(self._max_concurrency, entry.concurrency)
            return entry

    def store(self, order_id: str, status: str, is_sale: bool, *, seq: int, changes: Mapping[str, Any]) -> None:
        """Create the order, or update it: what `changes` does not name keeps its value."""
        now = datetime.now(UTC)
        with self._lock:
            order = self._orders.pop(order_id, None)
            if order is None:
                order = Order(id=order_id, status=status, is_sale=is_sale, created=now, updated=now)
            self._orders[order_id] = order  # at the end: the latest touched is last
            order.updated = now
            order.submissions += 1
            if not order.history or order.history[-1]["status"] != status:
                order.history.append({"status": status, "is_sale": is_sale, "time": now, "seq": seq})
            order.status = status
            order.is_sale = is_sale
            for name, value in changes.items():
                setattr(order, name, value)
            if is_sale and order.conversion is None:
                order.conversion = {"status": status, "time": now, "seq": seq}
                self._conversions += 1

    def conclude(self, entry: Entry, *, verdict: str, fault: str | None) -> None:
        with self._lock:
            entry.verdict = verdict
            entry.fault = fault
            self._verdicts[verdict] += 1

    def leave(self, entry: Entry) -> None:
        """The answer is about to be complete: the next request for this order is no longer concurrent."""
        with self._lock:
            others = self._in_flight.get(entry.order_id)
            if others is not None and others.pop(entry, None) is not None and not others:
                del self._in_flight[entry.order_id]

    # Questions

    def order(self, order_id: str) -> dict[str, Any] | None:
        with self._lock:
            order = self._orders.get(order_id)
            return order.as_dict() if order else None

    def orders(self, *, latest: int | None = None) -> list[dict[str, Any]]:
        """All orders, the latest touched first."""
        with self._lock:
            return [order.as_dict() for order in islice(reversed(self._orders.values()), latest)]

    def journal(
        self, *, after: int = 0, order_id: str | None = None, latest: int | None = None
    ) -> list[dict[str, Any]]:
        """Entries in the order they came; with `latest`, only so many and the latest first."""
        with self._lock:
            entries: Iterable[Entry] = list(self._journal)
        if latest is not None:
            entries = reversed(list(entries))
        wanted = (entry for entry in entries if entry.seq > after and (order_id is None or entry.order_id == order_id))
        return [entry.as_dict() for entry in islice(wanted, latest)]

    def summary(self) -> dict[str, Any]:
        with self._lock:
            return {
                "requests": self._requests,
                "forgotten": self._requests - len(self._journal),
                "orders": len(self._orders),
                "conversions": self._conversions,
                "verdicts": dict(self._verdicts),
                "with_remarks": self._remarked,
                "connections": len(self._connections),
                "max_concurrency": self._max_concurrency,
            }


def masked(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields with their key reduced to its last four characters."""
    return {name: mask(value) if name == "key" else value for name, value in fields.items()}


def mask(key: str) -> str:
    return f"...{key[-4:]}" if len(key) > 4 else "..."


ledger = Ledger()
