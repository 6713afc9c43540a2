"""What every vendor answers: which fields it needs, what to send, what its reply means.

A vendor is pure. It knows no database, no network and no other vendor; ``build`` turns a snapshot into a request and
``read`` turns a response into an outcome.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync.outcome import Outcome, credential_refused, refused, retry
from optico_sync.redaction import redact
from optico_sync.snapshot import CartSnapshot, OrderSnapshot

#: The longest a vendor may put a credential off by ``Retry-After``, in seconds.
RETRY_AFTER_CEILING = 3600.0

#: The bytes of a reply that are read: no documented reply to an order is longer than a line.
MAX_REPLY = 64 * 1024

Text = str | Promise


class Manner(StrEnum):
    """What a vendor is told about an order."""

    #: Each declared status once, in the order it happened, each with the newest content.
    EVERY_STATUS = "every status"
    #: Only the newest whole state.
    NEWEST = "newest"
    #: One send when the order reaches a sale status, then never again.
    ONCE = "once"


@dataclass(frozen=True, kw_only=True)
class Told:
    """The declared status a request is about, and whether it is a sale."""

    status: str
    is_sale: bool


@dataclass(frozen=True, kw_only=True)
class SecretField:
    """A secret the shop owner types in: shown never, stored encrypted."""

    name: str
    label: Text
    help_text: Text = ""
    is_required: bool = True


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """Something the shop owner decides for this vendor.

    The default tells its kind: a flag, a whole number, or text; text with ``choices`` is one of them.
    """

    name: str
    label: Text
    default: str | int | bool
    choices: tuple[tuple[str, Text], ...] = ()
    help_text: Text = ""
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class Account:
    """A credential as its vendor sees it."""

    base_url: str
    secrets: Mapping[str, str] = field(repr=False)
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request, ready to send.

    ``shown`` is the redacted form that attempts keep. ``fingerprint`` identifies the content without the key: two
    requests with the same one tell the vendor the same.
    """

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    shown: str = field(repr=False)
    fingerprint: str
    method: str = "POST"
    #: The bytes of the answer that are read; what comes after them is dropped.
    max_reply: int = MAX_REPLY


@dataclass(frozen=True, kw_only=True)
class Response:
    """One HTTP response; ``body`` is cut at the transport's limit. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the vendor holds of one order, as it told it. ``reference`` is the order's in the shop."""

    reference: str
    content: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the records that the vendor holds, and the cursor of the page after; None where this is the last."""

    records: Sequence[Record]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field in which shop and vendor differ, with both values as text; None for both where they are personal."""

    field: str
    shop: str | None = None
    vendor: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a connection test showed. ``is_good`` is None where it could neither prove nor disprove the account."""

    is_good: bool | None
    text: Text


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """Seconds to connect, and seconds for the whole exchange."""

    connect: float
    total: float


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A new key may be refused before it works: for ``within`` seconds it is tried again ``every`` so many."""

    within: float
    every: float


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """How a vendor's twin in the sandbox is reached: a path after the sandbox's own address, and its account."""

    secrets: Mapping[str, str] = field(repr=False)
    path: str = ""
    #: Options without which requests would go to the live vendor, or be refused by its twin.
    options: Mapping[str, str | int | bool] = field(default_factory=dict)


class Vendor(ABC):
    """One remote system. Class attributes are its abilities; two methods do the work."""

    #: The word in the database and in ``OPTICO_SYNC["VENDORS"]``.
    name: ClassVar[str]
    label: ClassVar[Text]
    manner: ClassVar[Manner]
    default_base_url: ClassVar[str]
    timeout: ClassVar[Timeout]
    secrets: ClassVar[tuple[SecretField, ...]]
    options: ClassVar[tuple[OptionField, ...]] = ()
    #: Reason code -> what to do at this very vendor, where that says more than the general advice.
    advice: ClassVar[Mapping[str, Text]] = {}
    #: Requests a second that one credential may make, all workers together; None where the vendor sets no limit.
    rate: ClassVar[float | None] = None
    #: Whether it is told about carts too, always only the newest state of one; see ``build_cart``.
    takes_carts: ClassVar[bool] = False
    #: Its twin in the sandbox, for copies of a shop; None where it has none.
    sandbox: ClassVar[Sandbox | None] = None
    #: Whether sending the same record twice leaves the vendor as sending it once: allows repeats when in doubt.
    upserts: ClassVar[bool]
    #: Whether its document offers to read records back, so that they can be compared with the shop and sent again. It
    #: then answers the five questions at the end; only for vendors that ``upserts``, since nothing else corrects them.
    reads_back: ClassVar[bool] = False
    #: How long a new key may need to work at the vendor; None where it works at once.
    new_key: ClassVar[NewKey | None] = None
    #: How many days after it received an order the vendor writes to its customer; None where it never does.
    mail_days: ClassVar[int | None] = None
    #: What an order's first sale sets off there, and what each order that arrives may set off: for whoever is about to
    #: send many. Without the full stop.
    on_sale: ClassVar[Text] = ""
    on_send: ClassVar[Text] = ""

    def missing_secrets(self, account: Account) -> list[str]:
        """Names of the secrets without which nothing can be sent."""
        return [secret.name for secret in self.secrets if secret.is_required and not account.secrets.get(secret.name)]

    def probe(self, *, account: Account) -> Request:
        """A request that tests the connection and by the vendor's document makes no record and mails nobody.

        A vendor whose document offers nothing of the kind is only asked whether anybody is there, without the key.
        """
        return Request(url=account.base_url, body=b"", headers={}, shown="", fingerprint="", method="HEAD")

    def read_probe(self, response: Response, *, account: Account) -> Finding:
        """What the answer to ``probe`` proves, and what it does not, in words a shop owner understands."""
        return Finding(
            is_good=None,
            text=_(
                "The vendor's server was found and its certificate is right. Whether the key is right is not proven: "
                "the vendor offers no way to try it without making a record."
            ),
        )

    def hold(self, options: Mapping[str, Any]) -> float:
        """Seconds that an order rests in its status before this vendor is told; the status is checked again then."""
        return 0.0

    def max_ambiguous(self, options: Mapping[str, Any]) -> int | None:
        """How often an order is sent again although the vendor may have it already; None where that does no harm."""
        return None

    @abstractmethod
    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        """The request that tells the vendor about ``snapshot`` under the declared status ``told``, at ``now``.

        An outcome instead of a request says why there is nothing to send. Never raises for odd data.
        """

    @abstractmethod
    def read(self, response: Response, *, account: Account) -> Outcome:
        """What ``response`` means. Total: any status, any bytes give exactly one outcome."""

    def build_cart(self, cart: CartSnapshot, *, account: Account, now: datetime) -> Request | Outcome:
        """The same for a cart, at a vendor that ``takes_carts``."""
        raise NotImplementedError

    def read_cart(self, response: Response, *, account: Account) -> Outcome:
        """What the answer to a cart means; as total as ``read``."""
        return self.read(response, account=account)

    def build_page(self, *, account: Account, cursor: str) -> Request:
        """The request for a page of the records held; ``cursor`` is empty for the first."""
        raise NotImplementedError

    def read_page(self, response: Response, *, account: Account, cursor: str) -> Page | Outcome:
        """The page, or the outcome that says why it could not be read. Total, as ``read``."""
        raise NotImplementedError

    def build_one(self, reference: str, *, account: Account) -> Request:
        """The request for the record of the order with this reference."""
        raise NotImplementedError

    def read_one(self, response: Response, *, account: Account) -> Record | None | Outcome:
        """The record, None where the vendor has none, or the outcome that says why it could not be read."""
        raise NotImplementedError

    def compare(self, request: Request, record: Record) -> Sequence[Difference]:
        """In what the record differs from what ``request`` would make of it. Empty when they are in step.

        Numbers compare as numbers and times as moments. A field that the vendor keeps by itself is no difference.
        """
        raise NotImplementedError


def read_http(response: Response, *, now: datetime | None = None) -> Outcome | None:
    """The outcome that the HTTP status alone decides, or None where the body must be read.

    No founding document but Optico's speaks of HTTP statuses (5xx: retry); the rest is the common reading.
    """
    status = response.status
    if status in (408, 425, 429):
        return retry("rate_limited", detail=f"HTTP {status}", retry_after=retry_after(response, now=now))
    if status >= 500:
        return retry("vendor_error", detail=f"HTTP {status}", retry_after=retry_after(response, now=now))
    if status in (302, 303, 307):
        return retry("redirect_temporary", detail=f"HTTP {status}")
    if 300 <= status < 400:
        return credential_refused("redirect", detail=f"HTTP {status}")
    if status in (401, 403):
        return credential_refused("forbidden", detail=f"HTTP {status}")
    if status in (404, 405, 410, 415):
        return credential_refused("wrong_address", detail=f"HTTP {status}")
    if status >= 400:
        return refused("refused", detail=f"HTTP {status}")
    if status < 200:
        return retry("unreadable_reply", detail=f"HTTP {status}")
    return None


def retry_after(response: Response, *, now: datetime | None = None) -> float | None:
    """Seconds asked for by ``Retry-After`` (a number or an HTTP date), with a ceiling."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), RETRY_AFTER_CEILING)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_CEILING)


def read_json_object(response: Response) -> dict[str, Any] | None:
    """The body as a JSON object, whatever the declared content type; None when it is not one."""
    try:
        value = json.loads(response.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def excerpt(response: Response, account: Account) -> str:
    """What an attempt keeps of the answer: redacted, cut short."""
    return redact(response.body.decode("utf-8", "replace"), account.secrets.values())


def fingerprint(*parts: bytes) -> str:
    """A short name for content."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
