"""What the sandbox knows: orders, the journal of requests, and who is being served right now.

In memory, in one process, behind one lock.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar, Protocol, TypeVar, cast

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
DEFAULT_OMETRIA_KEYS = ("ometria_sandbox",)
DEFAULT_OPTIMIZELY_TOKENS = {"sandbox": "token_sandbox"}
DEFAULT_REVIEWS_KEYS = ("reviews_sandbox",)
OMETRIA_RATE = 4
STORED = "stored"
READ = "read"
FAULT = "fault"
SECRETS = frozenset({"key", "api_key", "sitetoken", "x-ometria-auth"})
PERSONAL = frozenset({"email", "firstname", "lastname", "first_name", "last_name", "mail_to", "ip_address", "postcode"})


class Peer(Protocol):
    """The TCP connection a request came over."""

    id: int

    def gone(self) -> bool:
        """True once the client has closed its end."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How the vendors' accounts are set up. All keys of a vendor belong to one account and share its records."""

    keys: frozenset[str] = frozenset(DEFAULT_KEYS)
    statuses: Mapping[str, bool] = field(default_factory=lambda: dict(DEFAULT_STATUSES))
    latency: float = 0.0
    visits: frozenset[str] | None = None  # those the Cart API knows; None: any that is no "no cookie"
    ometria_keys: frozenset[str] = frozenset(DEFAULT_OMETRIA_KEYS)
    ometria_rate: int = OMETRIA_RATE  # requests a second for each key; 0: no limit
    optimizely_tokens: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_OPTIMIZELY_TOKENS))
    reviews_keys: frozenset[str] = frozenset(DEFAULT_REVIEWS_KEYS)


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
    dialect: str = "sales"
    products: list[dict[str, Any]] | None = None
    total_cost: Decimal | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "conversions": int(self.conversion is not None)}


@dataclass(kw_only=True)
class Record:
    """What a vendor keeps under one id."""

    id: str
    created: datetime
    updated: datetime
    submissions: int = 0
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.data,
            "id": self.id,
            "created": self.created,
            "updated": self.updated,
            "submissions": self.submissions,
        }


class Part:
    """What one twin remembers, until the next reset. A twin with more to remember adds to it."""

    vendor: ClassVar[str]

    def __init__(self) -> None:
        self.kept: dict[str, Record] = {}

    def put(self, record_id: str, data: Mapping[str, Any]) -> Record:
        """Create the record, or update it: what `data` does not name keeps its value."""
        now = datetime.now(UTC)
        record = self.kept.pop(record_id, None) or Record(id=record_id, created=now, updated=now)
        self.kept[record_id] = record  # at the end: the latest touched is last
        record.updated = now
        record.submissions += 1
        record.data = {**record.data, **data}
        return record

    def replace(self, record_id: str, data: Mapping[str, Any]) -> Record:
        """Create the record, or put `data` in the place of all it says."""
        record = self.put(record_id, {})
        record.data = dict(data)
        return record


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(kw_only=True, eq=False)
class Entry:
    """One request. `verdict` is None until it is decided, which is always before the answer is sent.

    A request may concern several records, `record_ids`; `order_id` is the first, or empty.
    """

    seq: int
    vendor: str
    time: datetime
    method: str
    path: str
    content_type: str
    order_id: str
    record_ids: list[str]
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
            self._parts: dict[type[Part], Part] = {}
            self._in_flight: dict[tuple[str, str], dict[Entry, Peer]] = {}
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
        vendor: str,
        ids: Sequence[str],
        method: str,
        path: str,
        content_type: str,
        fields: dict[str, str],
        remarks: list[str],
    ) -> Entry:
        """Write a request into the journal and count who else is being served for its records."""
        record_ids = list(dict.fromkeys(ids)) or [""]
        with self._lock:
            crowds = [self._in_flight.setdefault((vendor, record_id), {}) for record_id in record_ids]
            for others in crowds:
                # A client that timed out and closed its connection is no longer being served, though a slow
                # answer to it may still be under way here.
                for entry in [entry for entry, other in others.items() if other.gone()]:
                    del others[entry]
            self._requests += 1
            entry = Entry(
                seq=self._requests,
                vendor=vendor,
                time=datetime.now(UTC),
                method=method,
                path=path,
                content_type=content_type,
                order_id=record_ids[0],
                record_ids=record_ids,
                fields=masked(fields),
                remarks=remarks,
                connection=peer.id,
                concurrency=max(map(len, crowds)) + 1,
            )
            for others in crowds:
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

    def conclude(self, entry: Entry, *, verdict: str, fault: str | None, remarks: Sequence[str] = ()) -> None:
        with self._lock:
            if remarks:
                self._remarked += not entry.remarks
                entry.remarks.extend(remarks)
            entry.verdict = verdict
            entry.fault = fault
            self._verdicts[verdict] += 1

    def leave(self, entry: Entry) -> None:
        """The answer is about to be complete: the next request for these records is no longer concurrent."""
        with self._lock:
            for record_id in entry.record_ids:
                others = self._in_flight.get((entry.vendor, record_id))
                if others is not None and others.pop(entry, None) is not None and not others:
                    del self._in_flight[entry.vendor, record_id]

    @contextmanager
    def part(self, kind: type[AnyPart]) -> Iterator[AnyPart]:
        """A twin's own part, which is nobody else's meanwhile."""
        with self._lock:
            part = self._parts.setdefault(kind, kind())
            yield cast("AnyPart", part)

    # Questions

    def order(self, order_id: str) -> dict[str, Any] | None:
        with self._lock:
            order = self._orders.get(order_id)
            return order.as_dict() if order else None

    def orders(self, *, latest: int | None = None) -> list[dict[str, Any]]:
        """All orders, the latest touched first."""
        with self._lock:
            return [order.as_dict() for order in islice(reversed(self._orders.values()), latest)]

    def record(self, kind: type[Part], record_id: str) -> dict[str, Any] | None:
        with self.part(kind) as part:
            record = part.kept.get(record_id)
            return record.as_dict() if record else None

    def records(self, kind: type[Part], *, latest: int | None = None) -> list[dict[str, Any]]:
        """All records of one vendor, the latest touched first."""
        with self.part(kind) as part:
            return [record.as_dict() for record in islice(reversed(part.kept.values()), latest)]

    def count(self, kind: type[Part]) -> int:
        with self.part(kind) as part:
            return len(part.kept)

    def journal(
        self,
        *,
        after: int = 0,
        order_id: str | None = None,
        vendor: str | None = None,
        latest: int | None = None,
    ) -> list[dict[str, Any]]:
        """Entries in the order they came; with `latest`, only so many and the latest first."""
        with self._lock:
            entries: Iterable[Entry] = list(self._journal)
        if latest is not None:
            entries = reversed(list(entries))
        wanted = (
            entry
            for entry in entries
            if entry.seq > after
            and (order_id is None or order_id in entry.record_ids)
            and (vendor is None or entry.vendor == vendor)
        )
        return [entry.as_dict() for entry in islice(wanted, latest)]

    def summary(self) -> dict[str, Any]:
        with self._lock:
            return {
                "requests": self._requests,
                "forgotten": self._requests - len(self._journal),
                "orders": len(self._orders),
                "conversions": self._conversions,
                "records": {kind.vendor: len(part.kept) for kind, part in self._parts.items()},
                "verdicts": dict(self._verdicts),
                "with_remarks": self._remarked,
                "connections": len(self._connections),
                "max_concurrency": self._max_concurrency,
            }


def masked(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields with keys reduced to their last four characters, and personal data to the first."""
    return {name: _masked(name, value) for name, value in fields.items()}


def _masked(name: str, value: str) -> str:
    kind = _kind(name)
    if kind is SECRETS:
        return mask(value)
    return f"{value[0]}..." if kind is PERSONAL and value else value


@lru_cache(maxsize=4096)
def _kind(name: str) -> frozenset[str] | None:
    """What the last name in "key", "user.email", "orders[0].email" or "details[email]" tells."""
    last = name.lower().removesuffix("]").rpartition("[")[2].rpartition(".")[2]
    return next((kind for kind in (SECRETS, PERSONAL) if last in kind), None)


def mask(key: str) -> str:
    return f"...{key[-4:]}" if len(key) > 4 else "..."


ledger = Ledger()
