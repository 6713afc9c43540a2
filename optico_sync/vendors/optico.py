"""Optico call tracking: the Sales API (``POST /api/customer-order``), https://www.optico.fr/api-docs/sales.

Seen 2026-11: page of 17 October 2019. Where the page contradicts itself, the line says which reading is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

import simplejson
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync.attribution import clean_call_id
from optico_sync.outcome import Outcome, credential_refused, delivered, refused, retry
from optico_sync.redaction import mask_name, mask_secret, redact
from optico_sync.snapshot import Line, OrderSnapshot, round_total, unit_price
from optico_sync.vendors.base import (
    Account,
    Finding,
    Manner,
    OptionField,
    Request,
    Response,
    SecretField,
    Timeout,
    Told,
    Vendor,
    fingerprint,
    read_http,
    read_json_object,
)
from optico_sync.vendors.wire import clean_text, to_json

PATH = "/api/customer-order"

HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

#: The documented error messages, compared in lower case: the Sales page writes "Invalid api key", its sister page
#: "Invalid API key".
ERRORS: dict[str, Outcome] = {
    "invalid api key": credential_refused("key_refused"),
    "missing required parameter": refused("missing_parameter"),
    "unknown status": refused("unknown_status"),
    "invalid products format": refused("invalid_products"),
}

# No limit on ``details`` is documented. These keep one odd order from becoming a request of megabytes.
MAX_KEYS = 50
MAX_DEPTH = 4
MAX_TEXT = 1000
MAX_DETAILS = 16 * 1024


class Optico(Vendor):
    """Orders for Optico's call center, so that a sale is credited to its call, agent, keyword or visit."""

    name: ClassVar[str] = "optico"
    label = _("Optico")
    manner = Manner.EVERY_STATUS
    default_base_url = "https://www.optico.fr"
    # "Timeout: 5 seconds recommended", and curl's --max-time 5 bounds the whole exchange.
    timeout = Timeout(connect=5.0, total=5.0)
    # "re-submitting the same order id updates the existing record rather than creating a duplicate"
    upserts = True
    secrets = (
        SecretField(
            name="key",
            label=_("Customer API key"),
            help_text=_("From the domain settings in Optico's back office."),
        ),
    )
    options = (
        OptionField(
            name="dialect",
            label=_("Order dialect"),
            choices=(("sales", _("Sales API: products as one JSON field")),),
            default="sales",
            help_text=_("How products are written. Optico documents this form for orders."),
        ),
    )

    # The Sales page says "Call Center > Statuses", its sister page "Agents / Paramètres".
    advice = {
        "unknown_status": _(
            "Declare it at Optico under Call Center > Statuses (in French: Agents / Paramètres), then choose "
            "“Declared at the vendor now” on the declared status here, or map the shop status to another one."
        ),
    }

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        """The form post of the Sales page's "Parameters" table. Optional fields that are not known are left out."""
        reference = clean_text(snapshot.reference)
        if not reference:
            return refused("no_reference")
        call_id = snapshot.attribution.call_id.strip()
        if call_id and not clean_call_id(call_id):
            return refused("bad_call_id")
        currency = snapshot.currency.strip().upper()
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            return refused("bad_currency")
        products = build_products(snapshot.lines, currency)
        fields = {
            "id": reference,
            "status": told.status,
            "cart_id": clean_text(snapshot.attribution.cart_key),
            # The table says "integer", every example is 24 hex characters: sent as it is, never converted.
            "visit_id": snapshot.attribution.visit_id,
            "call_id": call_id,
            "agent": clean_text(snapshot.attribution.agent),
            "currency": currency,
            # Always the complete list, also when it is empty: what leaving it out does to an update is not documented.
            "products": to_json(products),
        }
        fields = {name: value for name, value in fields.items() if value}
        content = urlencode(fields).encode()
        key = account.secrets["key"]
        return Request(
            url=account.base_url.rstrip("/") + PATH,
            body=urlencode({"key": key}).encode() + b"&" + content,
            headers=HEADERS,
            shown=_shown(fields, products, key),
            fingerprint=fingerprint(content),
        )

    def probe(self, *, account: Account) -> Request:
        """An order without its ``id``: "Missing required parameter" is the only thing that can come of it."""
        body = urlencode({"key": account.secrets["key"]}).encode()
        url = account.base_url.rstrip("/") + PATH
        return Request(url=url, body=body, headers=HEADERS, shown="", fingerprint="")

    def read_probe(self, response: Response, *, account: Account) -> Finding:
        message = _message(read_json_object(response) or {}).lower()
        if message == "invalid api key":
            return Finding(is_good=False, text=_("Optico answers and refuses the key."))
        if message == "missing required parameter":
            return Finding(
                is_good=True,
                text=_(
                    "Optico answers and does not refuse the key. Nothing was recorded. That the statuses are declared "
                    "there is not proven: only an order shows that."
                ),
            )
        return Finding(
            is_good=False,
            text=_("Something answers at the base URL, but not as Optico documents it. Check the base URL."),
        )

    def read(self, response: Response, *, account: Account) -> Outcome:
        """Every request is documented to return HTTP 200 with an envelope; only its ``status`` tells success."""
        envelope = read_json_object(response) if response.status < 500 else None
        status = envelope.get("status") if envelope else None
        word = status.lower() if isinstance(status, str) else ""
        if envelope is not None and word == "error" and response.status not in (408, 425, 429):
            return _read_error(envelope, account)
        outcome = read_http(response)
        if outcome is not None:
            return outcome
        if word == "success":
            return delivered()
        return retry("unreadable_reply")


def _message(envelope: Mapping[str, Any]) -> str:
    """The error's text. Sister APIs call it ``error`` or ``errors``."""
    errors = envelope.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else ""
    message = envelope.get("message") or envelope.get("error") or first
    return message.strip() if isinstance(message, str) else ""


def _read_error(envelope: Mapping[str, Any], account: Account) -> Outcome:
    """ "Do not retry on a JSON {"status":"error"} body." """
    message = _message(envelope)
    if not message:
        return refused("unspecified")
    known = ERRORS.get(message.lower())
    detail = redact(message, account.secrets.values())
    if known is None:
        return refused("refused", detail=detail)
    return Outcome(kind=known.kind, scope=known.scope, reason=known.reason, detail=detail)


def build_products(lines: Iterable[Line], currency: str) -> list[dict[str, Any]]:
    """The product objects. Optico computes the total as the sum of quantity × cost_per_unit.

    Shipping and discounts on the whole order cannot be said: no pseudo-product is invented for them. A line of
    quantity zero adds nothing and one below zero would reduce revenue: both are left out.
    """
    left = MAX_DETAILS
    products = []
    for line in lines:
        if line.quantity <= 0:
            continue
        details = {str(name): value for name, value in line.details.items()}
        if line.quantity == line.quantity.to_integral_value():
            quantity, price = int(line.quantity), unit_price(line, currency)
        else:
            # ``quantity`` is documented as an integer; 1.5 kg is sold as one piece that says so.
            quantity, price = 1, round_total(line.total, currency)
            details = {"quantity": format(line.quantity.normalize(), "f"), **details}
        product: dict[str, Any] = {
            "id": clean_text(line.product_id),
            "name": clean_text(line.name),
            "quantity": quantity,
            "cost_per_unit": price,
        }
        if capped := cap_details(details, size=left):
            product["details"] = capped
            left -= len(to_json(capped))
        products.append(product)
    return products


def cap_details(value: Mapping[str, Any], *, size: int = MAX_DETAILS) -> dict[str, Any]:
    """``value`` as plain JSON of at most ``size`` bytes; what has no JSON form is dropped, then the last keys."""
    capped: dict[str, Any] = _cap(value, MAX_DEPTH)
    while capped and len(to_json(capped)) > size:
        capped.popitem()
    return capped


def _cap(value: Any, depth: int) -> Any:
    """``value`` as JSON knows it, or None where it must go."""
    if value is None or isinstance(value, bytes | bytearray | memoryview) or depth == 0:
        return None
    if isinstance(value, bool | int):
        return value if abs(value) < 10**15 else str(value)[:MAX_TEXT]
    if isinstance(value, Decimal):
        return format(value, "f")[:MAX_TEXT] if value.is_finite() and abs(value.adjusted()) < MAX_TEXT else None
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        capped = {
            clean_text(str(name))[:MAX_TEXT]: _cap(item, depth - 1) for name, item in list(value.items())[:MAX_KEYS]
        }
        return {name: item for name, item in capped.items() if item is not None}
    if isinstance(value, list | tuple | set | frozenset):
        items = (_cap(item, depth - 1) for item in list(value)[:MAX_KEYS])
        return [item for item in items if item is not None]
    if isinstance(value, str | Promise):
        return clean_text(str(value))[:MAX_TEXT]
    return None


def _shown(fields: Mapping[str, str], products: list[dict[str, Any]], key: str) -> str:
    """The request as attempts keep it: without the key, the agent's name and what the customer may have typed."""
    shown = {"key": mask_secret(key), **fields}
    if "agent" in shown:
        shown["agent"] = mask_name(shown["agent"])
    public = [{**product, "details": "…"} if "details" in product else product for product in products]
    shown["products"] = simplejson.dumps(public, use_decimal=True, ensure_ascii=False)
    return "\n".join(f"{name}={value}" for name, value in shown.items())
