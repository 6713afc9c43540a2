"""Optico call tracking: orders and carts.

The Sales API (``POST /api/customer-order``), https://www.optico.fr/api-docs/sales, page of 17 October 2019, and the
Cart API (``POST /api/customer-cart``, and a dialect of its own of orders), https://www.optico.fr/api-docs/cart, page
of 7 November 2019; both seen 2026-11. Where the pages contradict each other, the line says which reading is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar

import simplejson
from django.utils.functional import Promise
from django.utils.html import strip_tags
from django.utils.translation import gettext_lazy as _

from optico_sync.attribution import clean_call_id, clean_visit_id
from optico_sync.outcome import Outcome, credential_refused, delivered, not_sent, refused, retry
from optico_sync.redaction import mask_name, mask_secret, redact
from optico_sync.snapshot import CartSnapshot, Line, OrderSnapshot, check_amounts, exponent, round_total, unit_price
from optico_sync.vendors.base import (
    Account,
    Finding,
    Manner,
    OptionField,
    Request,
    Response,
    Sandbox,
    SecretField,
    Timeout,
    Told,
    Vendor,
    fingerprint,
    read_http,
    read_json_object,
)
from optico_sync.vendors.wire import clean_text, to_brackets, to_form, to_json

ORDER_PATH = "/api/customer-order"
CART_PATH = "/api/customer-cart"

SALES, CART = "sales", "cart"

HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

#: The documented error messages, compared in lower case: the Sales page writes "Invalid api key", its sister page
#: "Invalid API key".
ERRORS: dict[str, Outcome] = {
    "invalid api key": credential_refused("key_refused"),
    "missing required parameter": refused("missing_parameter"),
    "unknown status": refused("unknown_status"),
    # Only the Cart page lists it.
    "unknown visit_id": refused("unknown_visit"),
    "invalid products format": refused("invalid_products"),
}

# No limit on ``details`` is documented. These keep one odd order from becoming a request of megabytes.
MAX_KEYS = 50
MAX_DEPTH = 4
MAX_TEXT = 1000
MAX_DETAILS = 16 * 1024

#: How products are shown.
_READABLE = simplejson.JSONEncoder(use_decimal=True, ensure_ascii=False)
#: The key of details that are not key-value pairs but a text or a list.
_PLAIN = "details"

# The Cart page's examples are PHP, whose ``max_input_vars`` (1000 by default) drops further form fields without a word.
MAX_FIELDS = 900
MAX_LINES = 225


class Optico(Vendor):
    """Orders and carts for Optico's call center, so that a sale is credited to its call, agent, keyword or visit."""

    name: ClassVar[str] = "optico"
    label = _("Optico")
    manner = Manner.EVERY_STATUS
    default_base_url = "https://www.optico.fr"
    # "Timeout: 5 seconds recommended", and curl's --max-time 5 bounds the whole exchange.
    timeout = Timeout(connect=5.0, total=5.0)
    # "re-submitting the same order id updates the existing record rather than creating a duplicate"
    upserts = True
    takes_carts = True
    # "Order counts as a conversion. Google Analytics e-commerce event fired automatically."
    on_sale = _("each records a conversion and fires a Google Analytics event, dated now")
    sandbox = Sandbox(secrets={"key": "cust_sandbox"})
    secrets = (
        SecretField(
            name="key",
            label=_("Customer API key"),
            help_text=_("From the domain settings in Optico's back office."),
        ),
        # The Sales page: "the same key used by the Cart API"; the Cart page: one key for all domains, elsewhere.
        SecretField(
            name="cart_key",
            label=_("Key for carts"),
            help_text=_("Only if Optico gave you another one for carts, under Manage APIs."),
            is_required=False,
        ),
    )
    options = (
        OptionField(
            name="dialect",
            label=_("Order dialect"),
            choices=(
                (SALES, _("Sales API: products as one JSON field")),
                (CART, _("Cart API: products in bracketed fields; only orders with a visit and a cart")),
            ),
            default=SALES,
            help_text=_(
                "How the products of orders are written: Optico documents both forms. Keep the first unless Optico "
                "answers “Invalid products format”."
            ),
        ),
        OptionField(
            name="carts",
            label=_("Show carts to agents"),
            default=True,
            help_text=_("While the visitor shops. Needs OPTICO_SYNC['CART'] in the settings, and a visit."),
        ),
        OptionField(
            name="id_prefix",
            label=_("Prefix of numbers"),
            default="",
            help_text=_(
                "Put before every order number and cart id, where several shops with the same numbers share one "
                "account. Choose it once: with another one the same order is recorded anew."
            ),
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
        """The form post of the "Parameters" table of the chosen page. Fields that are not known are left out."""
        reference = clean_text(snapshot.reference)
        if not reference:
            return refused("no_reference")
        fields = _common_fields(reference, snapshot, account)
        if isinstance(fields, Outcome):
            return fields
        fields["status"] = told.status
        if cart_key := clean_text(snapshot.attribution.cart_key):
            fields["cart_id"] = _prefix(account) + cart_key
        if account.options["dialect"] == CART:
            # Both are required there, and "absent or empty" is an error.
            if "visit_id" not in fields:
                return refused("missing_visit")
            if "cart_id" not in fields:
                return refused("missing_cart")
            return _post_brackets(ORDER_PATH, fields, snapshot.lines, account, key=account.secrets["key"])
        products = build_products(snapshot.lines, fields["currency"], price="cost_per_unit", size=MAX_DETAILS)
        # Always the complete list, also when it is empty: what leaving it out does to an update is not documented.
        return _post(ORDER_PATH, fields, [("products", to_json(products))], products, account, account.secrets["key"])

    def build_cart(self, cart: CartSnapshot, *, account: Account, now: datetime) -> Request | Outcome:
        """The form post of the Cart page's table for ``/api/customer-cart``."""
        if not account.options["carts"]:
            return not_sent("carts_off")
        if not clean_visit_id(cart.attribution.visit_id):
            return not_sent("no_visit")
        fields = _common_fields(clean_text(cart.key), cart, account)
        if isinstance(fields, Outcome):
            return fields
        if all(line.quantity <= 0 for line in cart.lines):
            # ``products`` is required, and PHP's form has no empty list. There is no way to delete a cart.
            return not_sent("empty_cart")
        fields["is_logged_in"] = str(int(cart.is_logged_in))
        key = account.secrets.get("cart_key") or account.secrets["key"]
        return _post_brackets(CART_PATH, fields, cart.lines, account, key=key)

    def read_cart(self, response: Response, *, account: Account) -> Outcome:
        """The same envelope. A refused key for carts alone must not keep orders back."""
        outcome = self.read(response, account=account)
        if outcome.reason == "key_refused" and account.secrets.get("cart_key"):
            return refused("cart_key_refused", detail=outcome.detail)
        return outcome

    def probe(self, *, account: Account) -> Request:
        """An order without its ``id``: "Missing required parameter" is the only thing that can come of it."""
        body = to_form([("key", account.secrets["key"])]).encode()
        url = account.base_url.rstrip("/") + ORDER_PATH
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


def build_products(lines: Iterable[Line], currency: str, *, price: str, size: int) -> list[dict[str, Any]]:
    """The product objects, with at most ``size`` bytes of details. Optico's total is the sum of quantity × ``price``.

    Shipping and discounts on the whole order cannot be said: no pseudo-product is invented for them. A line of
    quantity zero adds nothing and one below zero would reduce revenue: both are left out.
    """
    left = size
    products = []
    for line in lines:
        if line.quantity <= 0:
            continue
        # The Sales page knows key-value pairs only.
        details = dict(line.details) if isinstance(line.details, Mapping) else {_PLAIN: line.details}
        quantity = int(line.quantity)
        if quantity == line.quantity:
            amount = unit_price(line, currency)
        else:
            # ``quantity`` is documented as an integer; 1.5 kg is sold as one piece that says so.
            quantity, amount = 1, round_total(line.total, currency)
            details = {"quantity": format(line.quantity.normalize(), "f"), **details}
        product: dict[str, Any] = {
            "id": clean_text(line.product_id),
            "name": clean_text(line.name),
            "quantity": quantity,
            price: amount,
        }
        if details and (capped := cap_details(details, size=left)):
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
        return value if abs(value) < 10**15 else _cap(Decimal(value), depth)
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


def _prefix(account: Account) -> str:
    return clean_text(account.options["id_prefix"])


def _common_fields(own_id: str, snapshot: OrderSnapshot | CartSnapshot, account: Account) -> dict[str, str] | Outcome:
    """What an order and a cart both say."""
    call_id = snapshot.attribution.call_id.strip()
    if call_id and not clean_call_id(call_id):
        return refused("bad_call_id")
    currency = snapshot.currency.strip().upper()
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        return refused("bad_currency")
    try:
        check_amounts(*(amount for line in snapshot.lines for amount in (line.quantity, line.total)))
    except ArithmeticError:
        return refused("unreadable_order", detail="an amount or a quantity is out of range")
    fields = {
        "id": _prefix(account) + own_id,
        "currency": currency,
        # The Sales table says "integer", every example is 24 hex characters: sent as it is, never converted.
        "visit_id": clean_visit_id(snapshot.attribution.visit_id),
        "call_id": call_id,
        "agent": clean_text(snapshot.attribution.agent),
    }
    return {name: value for name, value in fields.items() if value}


def _post_brackets(
    path: str, fields: Mapping[str, str], lines: Iterable[Line], account: Account, *, key: str
) -> Request | Outcome:
    """A post of the Cart page: ``products[0][id]``. Details go first where the form would grow too long."""
    currency = fields["currency"]
    products = build_products(lines, currency, price="price", size=MAX_DETAILS)
    if not products:
        # ``products`` is required, and "absent or empty" is an error.
        return refused("no_items")
    if len(products) > MAX_LINES:
        return refused("too_many_lines")
    for product in products:
        product["price"] = f"{product['price']:.{max(exponent(currency), -product['price'].as_tuple().exponent)}f}"
        if "details" in product:
            # "displayed as-is in the agent dashboard": nobody's markup belongs there. Plain text is allowed here.
            details = _without_markup(product["details"])
            product["details"] = details[_PLAIN] if details.keys() == {_PLAIN} else details
    if len(fields) + 1 + sum(1 for _field in to_brackets("products", products)) > MAX_FIELDS:
        products = [{name: value for name, value in one.items() if name != "details"} for one in products]
    return _post(path, fields, list(to_brackets("products", products)), products, account, key)


def _without_markup(value: Any) -> Any:
    if isinstance(value, dict):
        return {strip_tags(name): _without_markup(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_markup(item) for item in value]
    return strip_tags(value) if isinstance(value, str) else value


def _post(
    path: str,
    fields: Mapping[str, str],
    more: Sequence[tuple[str, str]],
    products: list[dict[str, Any]],
    account: Account,
    key: str,
) -> Request:
    content = to_form([*fields.items(), *more]).encode()
    return Request(
        url=account.base_url.rstrip("/") + path,
        body=to_form([("key", key)]).encode() + b"&" + content,
        headers=HEADERS,
        shown=_shown(fields, products, key),
        fingerprint=fingerprint(content),
    )


def _shown(fields: Mapping[str, str], products: list[dict[str, Any]], key: str) -> str:
    """The request as attempts keep it: without the key, the agent's name and what the customer may have typed."""
    shown = {"key": mask_secret(key), **fields}
    if "agent" in shown:
        shown["agent"] = mask_name(shown["agent"])
    public = [{**product, "details": "…"} if "details" in product else product for product in products]
    shown["products"] = _READABLE.encode(public)
    return "\n".join(f"{name}={value}" for name, value in shown.items())
