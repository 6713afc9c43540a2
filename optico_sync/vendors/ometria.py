"""Ometria: the Order API. ``POST /orders/{order_id}`` creates or updates an order, ``GET`` reads back what is held.

Seen 2026-11: the page "Order API". It names neither the host, the key's header, the limits nor any error body; those
come from https://docs.ometria.com/docs/ometria-data-api-introduction and the page "Ometria data architecture" of the
same manual (seen 2026-11), and the lines below say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any, ClassVar
from urllib.parse import quote

import simplejson
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync.outcome import Outcome, credential_refused, delivered, refused, retry
from optico_sync.redaction import mask_secret
from optico_sync.snapshot import (
    Address,
    Customer,
    Line,
    OrderSnapshot,
    check_amounts,
    exponent,
    round_total,
    unit_price,
)
from optico_sync.vendors.base import (
    Account,
    Difference,
    Finding,
    Manner,
    NewKey,
    OptionField,
    Page,
    Record,
    Request,
    Response,
    Sandbox,
    SecretField,
    Timeout,
    Told,
    Vendor,
    excerpt,
    fingerprint,
    read_http,
    read_json_object,
    retry_after,
)
from optico_sync.vendors.wire import clean_text, to_json

PATH = "/orders"
HEADER = "X-Ometria-Auth"

#: Page "Ometria data architecture": the custom properties of a record together are less than 1 kB as JSON.
MAX_PROPERTIES = 1000
#: Page "Ometria data API introduction": 60 KB a record, else "Payload invalid: Record is too large."
MAX_RECORD = 60_000
#: "Number of items to return. Max 250."
PAGE = 250
#: "In this case, the whole order needs to be resubmitted with the following values set": the document's own word.
REFUNDED = "refunded"

#: Seconds to wait after a 429, and when the vendor's queue is full (older copies of the introduction).
SHORT_WAIT = 1.0
QUEUE_WAIT = 60.0

#: What holds personal data, or may have been typed by hand: never shown, neither in attempts nor as a difference.
_PERSONAL = frozenset({"customer", "shipping_address", "billing_address", "properties"})
#: Fields that mean 0 or nothing when they are not sent. Others are then left to the vendor, as a product's id is.
_MEANT_WHEN_ABSENT = frozenset(
    {
        "shipping", "tax", "discount", "refunded", "quantity_refunded", "coupon_code", "payment_method",
        "shipping_method", "store",
    }
)  # fmt: skip
#: Characters of a value that a difference shows.
MAX_SHOWN = 100

#: Wide enough for the sums of what ``check_amounts`` lets pass.
_WIDE = Context(prec=100)


class Ometria(Vendor):
    """Orders for Ometria's customer profiles and reports: always the newest whole order."""

    name: ClassVar[str] = "ometria"
    label = _("Ometria")
    on_send = _("Automations at Ometria may start for these customers")
    manner = Manner.NEWEST
    # Not in the document; see the introduction named above.
    default_base_url = "https://api.ometria.com/v2"
    timeout = Timeout(connect=5.0, total=10.0)
    # "Create new or update an existing order"
    upserts = True
    reads_back = True
    # Four requests a second for an account, by the introduction; beyond it answers 429.
    rate = 4.0
    # "A new key may take up to 10 minutes to work", says a third party; the document is silent.
    new_key = NewKey(within=3600.0, every=600.0)
    sandbox = Sandbox(path="/ometria/v2", secrets={"key": "ometria_sandbox"})
    secrets = (
        SecretField(
            name="key",
            label=_("API key"),
            help_text=_("From Settings > API keys at Ometria. A new key may take ten minutes to work."),
        ),
    )
    options = (
        OptionField(
            name="unit_price",
            label=_("Unit price"),
            choices=(("net", _("Without tax")), ("gross", _("With tax"))),
            default="net",
            help_text=_("What a line's unit price and subtotal mean. Ask your contact at Ometria when in doubt."),
        ),
        OptionField(
            name="product_matching",
            label=_("Product matching"),
            choices=(("both", _("Product id and SKU")), ("sku", _("SKU only"))),
            default="both",
            help_text=_("With a product id that Ometria does not know it creates a product; with the SKU only, never."),
        ),
        OptionField(
            name="product_id",
            label=_("Product id"),
            choices=(("product_key", _("The product's key in the shop")), ("product_id", _("The product's code"))),
            default="product_key",
            help_text=_("What your product feed at Ometria calls the product's id. It must be equal to the letter."),
        ),
        OptionField(
            name="send_customer",
            label=_("Send the customer"),
            default=True,
            help_text=_(
                "Name, e-mail address and account key. An unknown e-mail address or key makes a new profile at "
                "Ometria, without marketing preferences."
            ),
        ),
        OptionField(
            name="send_addresses",
            label=_("Send the addresses"),
            default=False,
            help_text=_("City, state, postcode and country of the delivery and billing addresses."),
        ),
        OptionField(
            name="base_currency",
            label=_("Reporting currency"),
            default="",
            help_text=_(
                "The currency your Ometria account reports in, such as EUR. Orders in another one are then sent with "
                "the shop's own exchange rate, where it names one. Empty: Ometria converts by the rate of the day."
            ),
        ),
        OptionField(
            name="store",
            label=_("Store when unknown"),
            default="",
            help_text=_("Ometria recommends the domain, such as example.com or example.com/uk. Empty: none is sent."),
        ),
        OptionField(
            name="offline_channel",
            label=_("Channel of offline orders"),
            default="instore",
            help_text=_("For orders without a channel that an agent or a point of sale took. Others are online."),
        ),
    )
    advice = {
        "key_refused": _(
            "Check the key under Settings > API keys at Ometria; a new key may take ten minutes to work. Everything "
            "that waits is then sent by itself."
        ),
        "no_items": _(
            "Check that the products of the order's lines have a SKU or the id chosen in the credential's options."
        ),
    }

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        """The document's ``Order``, whole each time; ``OrderExtended`` where the shop names its own exchange rate.

        Without one Ometria converts an order in a foreign currency by the rates of the day.
        """
        options = {**{option.name: option.default for option in self.options}, **account.options}
        try:
            with localcontext(_WIDE):
                return _build(snapshot, told, account, options)
        except ArithmeticError:
            # Amounts that are no numbers or fit no database, a date at the end of the calendar.
            return refused("unreadable_order", detail="an amount, a quantity or the date is out of range")

    def probe(self, *, account: Account) -> Request:
        """ "List Orders" changes nothing, and answers 200 or 403."""
        url = account.base_url.strip().rstrip("/") + PATH + "?limit=1"
        return Request(url=url, body=b"", headers=_headers(account), shown="", fingerprint="", method="GET")

    def read_probe(self, response: Response, *, account: Account) -> Finding:
        if response.status in (401, 403):
            return Finding(is_good=False, text=_("Ometria answers and refuses the key."))
        if response.status == 200 and response.body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            return Finding(is_good=True, text=_("Ometria answers and takes the key. Nothing was recorded."))
        if response.status == 429 or response.status >= 500:
            return Finding(is_good=None, text=_("Ometria is busy and said nothing about the key. Try again later."))
        return Finding(
            is_good=False,
            text=_("Something answers at the base URL, but not as Ometria documents it. Check the base URL."),
        )

    def read(self, response: Response, *, account: Account) -> Outcome:
        """ "200 OK: Order object successfully created or updated", and "403: API key is not authorised"."""
        if problem := _read_problem(response, account):
            return problem
        status = response.status
        reply = read_json_object(response)
        if reply is not None and _is_rejected(reply):
            return _read_refusal(response, account)
        if status == 200 and (reply is not None or not response.body.strip()):
            return delivered()
        if status in (201, 202, 204):
            # Success at many an API, and not documented at this one.
            return delivered("unverified")
        # Not Ometria answering, perhaps; sent again, the order is only updated.
        return retry("unreadable_reply")

    def build_page(self, *, account: Account, cursor: str) -> Request:
        """ "List Orders", from an offset. The document gives it neither an order nor a filter."""
        path = f"{PATH}?limit={PAGE}&offset={cursor or 0}"
        return _build_reading(path, account, max_reply=PAGE * MAX_RECORD)

    def read_page(self, response: Response, *, account: Account, cursor: str) -> Page | Outcome:
        """ "Array<Order>". A short page need not be the last, for a vendor may give less than was asked for."""
        if problem := _read_problem(response, account):
            return problem
        orders = _parse(response)
        if response.status != 200 or not isinstance(orders, list):
            return retry("unreadable_reply")
        records = [record for record in map(_record, orders) if record]
        if len(records) < len(orders):
            return retry("unreadable_reply", detail="an order without an id")
        return Page(records=records, next=str(int(cursor or 0) + len(records)) if records else None)

    def build_one(self, reference: str, *, account: Account) -> Request:
        """ "Get Order". The limit and offset that the document lists there mean nothing."""
        path = f"{PATH}/{quote(clean_text(reference), safe='')}"
        return _build_reading(path, account, max_reply=2 * MAX_RECORD)

    def read_one(self, response: Response, *, account: Account) -> Record | None | Outcome:
        """ "404: Order with specified ID was not found"."""
        if response.status == 404:
            return None
        if problem := _read_problem(response, account):
            return problem
        return (_record(_parse(response)) if response.status == 200 else None) or retry("unreadable_reply")

    def compare(self, request: Request, record: Record) -> Sequence[Difference]:
        """Every field that is sent, and amounts and codes that no longer are; Ometria adds fields of its own."""
        order = json.loads(request.body, parse_float=Decimal)
        if "totals" in order and "totals" not in record.content:
            order = _flatten(order, record.content.get("currency"))
        return list(_differences(order, record.content))


@dataclass(frozen=True, kw_only=True)
class _Amounts:
    """The order's money, ``subtotal + tax + shipping + discount = grand_total``; ``tax`` is None when not known."""

    currency: str
    grand_total: Decimal
    subtotal: Decimal
    shipping: Decimal | None
    tax: Decimal | None
    discount: Decimal

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "grand_total": self.grand_total,
            "subtotal": self.subtotal,
            "shipping": self.shipping,
            "tax": self.tax,
            # "This value should be negative or 0. Not positive."
            "discount": -self.discount if self.discount else None,
            "currency": self.currency,
        }


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """The shop's own rate: how many units of ``base``, the account's currency, one unit of the order's is worth."""

    rate: Decimal
    base: str

    def convert(self, amounts: _Amounts) -> _Amounts:
        return _round_amounts(
            amounts.grand_total * self.rate,
            shipping=None if amounts.shipping is None else amounts.shipping * self.rate,
            tax=None if amounts.tax is None else amounts.tax * self.rate,
            discount=amounts.discount * self.rate,
            currency=self.base,
        )

    def convert_line(self, line: Line) -> Line:
        return replace(
            line,
            total=line.total * self.rate,
            tax=None if line.tax is None else line.tax * self.rate,
            discount=line.discount * self.rate,
            refunded=line.refunded * self.rate,
        )


def _build(snapshot: OrderSnapshot, told: Told, account: Account, options: Mapping[str, Any]) -> Request | Outcome:
    key = _key(account)
    if not (key and key.isascii() and key.isprintable()):
        return credential_refused("incomplete_credential", detail="the API key")
    reference = clean_text(snapshot.reference)
    if not reference:
        return refused("no_reference")
    if not reference.strip("."):
        # "." and ".." would lead the request to another path.
        return refused("unreadable_order", detail="the reference")
    currency, base = snapshot.currency.strip().upper(), str(options["base_currency"]).strip().upper()
    if not _is_currency(currency):
        return refused("bad_currency")
    if base and not _is_currency(base):
        return credential_refused("incomplete_credential", detail="the reporting currency")
    if snapshot.placed_at is None:
        return refused("no_date")
    _check_range(snapshot)
    amounts = find_amounts(snapshot, currency)
    if isinstance(amounts, Outcome):
        return amounts
    exchange = None
    if base not in ("", currency) and snapshot.exchange_rate is not None:
        if snapshot.exchange_rate <= 0:
            return refused("unreadable_order", detail="the exchange rate")
        exchange = _Exchange(rate=snapshot.exchange_rate, base=base)

    # Every line wholly refunded is the full refund, whatever the shop calls its status.
    is_refunded = (told.status == REFUNDED and not told.is_sale) or _is_wholly_refunded(snapshot.lines)
    properties = _Properties(MAX_PROPERTIES, with_emails=bool(options["send_customer"]))
    items = build_items(
        snapshot.lines, currency, options=options, properties=properties, exchange=exchange, as_placed=is_refunded
    )
    if not items and any(line.quantity > 0 for line in snapshot.lines):
        return refused("no_items")
    order: dict[str, Any] = {
        "@type": "order",
        "id": reference,
        # Always when it was placed: a changed timestamp "can trigger automation campaigns".
        "timestamp": format_date(snapshot.placed_at),
        **({"totals": _totals(exchange.convert(amounts).fields, amounts.fields)} if exchange else amounts.fields),
        "status": REFUNDED if is_refunded else clean_text(told.status),
        "is_valid": told.is_sale and not is_refunded,
        "customer": build_customer(snapshot.customer) if options["send_customer"] else None,
        "lineitems": items,
        "channel": clean_text(snapshot.channel)
        or (clean_text(str(options["offline_channel"])) if snapshot.is_offline else "online"),
        "store": clean_text(snapshot.store) or clean_text(str(options["store"])),
        "payment_method": clean_text(snapshot.payment_method),
        "shipping_method": clean_text(snapshot.shipping_method),
        "coupon_code": clean_text(snapshot.coupon_code),
        "shipping_address": build_address(snapshot.delivery) if options["send_addresses"] else None,
        "billing_address": build_address(snapshot.billing) if options["send_addresses"] else None,
        "properties": properties.take(snapshot.properties),
    }
    order = _known(order)
    body = to_json(order).encode("ascii")
    if len(body) >= MAX_RECORD:
        return refused("too_large")
    return Request(
        # "/" too is percent-encoded: it would be another path.
        url=account.base_url.strip().rstrip("/") + PATH + "/" + quote(reference, safe=""),
        body=body,
        headers=_headers(account),
        shown=_shown(order, key, left_out=len(snapshot.lines) - len(items)),
        fingerprint=fingerprint(body),
    )


def find_amounts(snapshot: OrderSnapshot, currency: str) -> _Amounts | Outcome:
    """The amounts as placed, also after a partial refund, for which the document names the lines' values only.

    In the example 83.33 + 16.07 + 2 - 5 = 96.40. Its tax contradicts its line (100 - 83.33 = 16.67): the sum holds.
    """
    lines = sum((line.total for line in snapshot.lines), Decimal(0))
    shipping, discount = snapshot.shipping, abs(snapshot.discount)
    total = lines + (shipping or 0) - discount
    tolerance = Decimal(1).scaleb(-exponent(currency)) * max(len(snapshot.lines), 1)
    grand_total = total if snapshot.total is None else snapshot.total
    if abs(grand_total - total) > tolerance:
        return refused("totals_mismatch", detail=f"{format(total, 'f')} is not {format(grand_total, 'f')}")
    taxes = [line.tax for line in snapshot.lines if line.tax is not None]
    tax = snapshot.tax
    if len(taxes) == len(snapshot.lines):
        of_lines = sum(taxes, Decimal(0))
        tax = of_lines if tax is None else tax
        # What the order's tax has beyond its lines' is shipping's, and what it lacks is the discount's.
        rest = tax - of_lines
        if shipping is not None and rest > 0:
            shipping -= min(rest, max(shipping, Decimal(0)))
        elif rest < 0:
            discount -= min(-rest, discount)
    return _round_amounts(grand_total, shipping=shipping, tax=tax, discount=discount, currency=currency)


def _round_amounts(
    grand_total: Decimal, *, shipping: Decimal | None, tax: Decimal | None, discount: Decimal, currency: str
) -> _Amounts:
    grand_total, discount = round_total(grand_total, currency), round_total(discount, currency)
    shipping = None if shipping is None else round_total(shipping, currency)
    tax = None if tax is None else round_total(tax, currency)
    subtotal = grand_total - (shipping or 0) - (tax or 0) + discount
    return _Amounts(
        currency=currency,
        grand_total=grand_total,
        # A sum of decimals keeps the longer one's zeros.
        subtotal=round_total(subtotal, currency),
        shipping=shipping,
        tax=tax,
        discount=discount,
    )


def build_items(
    lines: Iterable[Line],
    currency: str,
    *,
    options: Mapping[str, Any],
    properties: _Properties,
    exchange: _Exchange | None = None,
    as_placed: bool = False,
) -> list[dict[str, Any]]:
    """The line items, refunds taken off unless ``as_placed``. A line wholly refunded stays, with quantity 0.

    A line without any code is left out ("One of product_id or sku is required"); its money stays in the order's.
    """
    items = []
    for line in lines:
        codes = _codes(line, options)
        if codes and line.quantity > 0:
            placed = replace(line, quantity_refunded=Decimal(0), refunded=Decimal(0)) if as_placed else line
            item = _measure(placed, currency, options)
            if exchange:
                converted = _measure(exchange.convert_line(placed), exchange.base, options)
                item = _extend(item, base={**converted, "currency": exchange.base}, currency=currency)
            item["properties"] = properties.take(_details(placed))
            items.append({**codes, **_known(item)})
    return items


def _measure(line: Line, currency: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The item's quantities and amounts."""
    quantity, quantity_refunded = line.quantity, _quantity_refunded(line)
    left = (quantity - quantity_refunded) / quantity
    refunded = max(line.refunded, Decimal(0)) or line.total * (1 - left)
    if line.total >= 0:
        refunded = min(refunded, line.total)
    refunded = round_total(refunded, currency)
    total = round_total(line.total - refunded, currency)
    # The part of the line's money that is left after refunds; a line of no money goes by its quantity.
    part = total / line.total if line.total else left
    if _is_in_parts(line):
        is_gone = quantity_refunded == quantity
        quantity, quantity_refunded = Decimal(1), Decimal(1 if is_gone else 0)
    # The examples contradict each other: subtotal 100 = total 100 beside discount -10, 99 - 4 = 95 elsewhere. The
    # latter is taken, as in the vendor's own Magento extension: total = subtotal + discount + tax.
    tax = None if line.tax is None else round_total(line.tax * part, currency)
    discount = round_total(abs(line.discount) * part, currency)
    is_net = options["unit_price"] != "gross" and line.tax is not None
    price = line.total + abs(line.discount) - (line.tax or 0 if is_net else 0)
    subtotal = total + discount - (tax or 0 if is_net else 0)
    return {
        # "not inclusive of any refunded items"
        "quantity": int(quantity - quantity_refunded),
        "quantity_refunded": int(quantity_refunded) or None,
        "refunded": refunded or None,
        "unit_price": unit_price(replace(line, total=price, quantity=quantity), currency),
        # Required, though missing from the document's own order.
        "subtotal": round_total(subtotal, currency),
        "tax": tax,
        "total": total,
        # "Must be a negative number": never 0.
        "discount": -discount if discount else None,
    }


def _extend(item: dict[str, Any], *, base: dict[str, Any], currency: str) -> dict[str, Any]:
    """The item with its amounts in both currencies.

    ``OrderLineItem`` requires ``unit_price`` and ``subtotal`` also beside ``totals``, and the document's own
    ``OrderExtended`` repeats the former; its other amounts are in ``totals`` alone.
    """
    names = ("currency", "unit_price", "discount", "refunded", "subtotal", "tax", "total")
    totals = ({name: amounts.get(name) for name in names} for amounts in (base, {**item, "currency": currency}))
    kept = ("quantity", "quantity_refunded", "unit_price", "subtotal")
    return {**{name: item[name] for name in kept}, "totals": _totals(*totals)}


def _totals(base: dict[str, Any], local: dict[str, Any]) -> dict[str, Any]:
    """``OrderExtendedTotals``: "base currency" is the account's, "local" the one the order was sold in."""
    return {"base": _known(base), "local": _known(local)}


def _details(line: Line) -> Mapping[str, Any]:
    """ "integer": 1.5 kg is one piece that says so."""
    if _is_in_parts(line):
        return {"quantity": line.quantity - _quantity_refunded(line), **line.detail_pairs}
    return line.detail_pairs


def _quantity_refunded(line: Line) -> Decimal:
    return min(max(line.quantity_refunded, Decimal(0)), line.quantity)


def _is_in_parts(line: Line) -> bool:
    return not _is_whole(line.quantity) or not _is_whole(_quantity_refunded(line))


def _codes(line: Line, options: Mapping[str, Any]) -> dict[str, str]:
    """Both codes are flagged "Required", and "One of product_id or sku is required": the sentence holds."""
    product_id = line.product_id if options["product_id"] == "product_id" else line.product_key
    codes = {
        "product_id": "" if options["product_matching"] == "sku" else clean_text(product_id),
        "variant_id": clean_text(line.variant_id),
        "sku": clean_text(line.sku),
    }
    codes = {name: code for name, code in codes.items() if code}
    return codes if codes.keys() & {"product_id", "sku"} else {}


def build_customer(customer: Customer) -> dict[str, str]:
    """Who bought. An id must hold no personal data (page "Conventions"), so an e-mail address is none."""
    key, email = clean_text(customer.key), clean_text(customer.email)
    fields = {
        "id": "" if "@" in key else key,
        "email": email if "@" in email.strip("@") else "",
        "firstname": clean_text(customer.first_name),
        "lastname": clean_text(customer.last_name),
    }
    return {name: value for name, value in fields.items() if value}


def build_address(address: Address) -> dict[str, str]:
    """The four fields of ``OrderAddress``, without a country that is no ISO 3166-1 alpha-2 code."""
    country = clean_text(address.country_code).upper()
    fields = {
        "city": clean_text(address.city),
        "state": clean_text(address.state),
        "postcode": clean_text(address.postcode),
        "country_code": country if len(country) == 2 and country.isascii() and country.isalpha() else "",
    }
    return {name: value for name, value in fields.items() if value}


def format_date(moment: datetime) -> str:
    """``2024-03-15T13:25:07+00:00``: "YYYY-MM-DDThh:mm:ss+Z"; the example's bare ``+00`` is no ISO 8601 date-time."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class _Properties:
    """What is left of the room that all custom properties of one record share."""

    def __init__(self, size: int, *, with_emails: bool) -> None:
        self.left = size
        self.with_emails = with_emails

    def take(self, values: Mapping[str, Any]) -> dict[str, str]:
        """``values`` as text: whole keys while there is room, never a cut text; what has parts is left out."""
        taken: dict[str, str] = {}
        size = 2
        for name, value in values.items():
            key = clean_text(name) if isinstance(name, str) else ""
            text = clean_text(_property(value))
            if not key or not text or key in taken or ("@" in text and not self.with_emails):
                continue
            added = len(to_json({key: text})) - 2 + (1 if taken else 0)
            if size + added > self.left:
                continue
            taken[key] = text
            size += added
        if taken:
            self.left -= size
        return taken


def _property(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Promise):
        return str(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) >= MAX_PROPERTIES:
            return ""
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, int):
        return str(value) if abs(value) < 10**100 else ""
    if isinstance(value, float):
        # Neither "nan" nor an exponent.
        return _property(Decimal(repr(float(value))))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return ""


def _check_range(snapshot: OrderSnapshot) -> None:
    """Raise for what is no number or no amount: a NaN passes through rounding."""
    numbers: list[Decimal | None] = [
        snapshot.total, snapshot.shipping, snapshot.discount, snapshot.tax, snapshot.exchange_rate,
    ]  # fmt: skip
    for line in snapshot.lines:
        numbers += [line.quantity, line.total, line.tax, line.discount, line.quantity_refunded, line.refunded]
    check_amounts(*numbers)


def _is_wholly_refunded(lines: Iterable[Line]) -> bool:
    bought = [line for line in lines if line.quantity > 0]
    return bool(bought) and all(line.quantity_refunded >= line.quantity for line in bought)


def _is_whole(quantity: Decimal) -> bool:
    return quantity == quantity.to_integral_value()


def _is_currency(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isalpha()


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` without what says nothing: an empty string "is not a valid value" where another is expected."""
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [])}


def _key(account: Account) -> str:
    return str(account.secrets.get("key", "")).strip()


def _headers(account: Account) -> dict[str, str]:
    return {HEADER: _key(account), "Content-Type": "application/json", "Accept": "application/json"}


def _wait(response: Response) -> float:
    """Seconds to wait after a 429; the vendor documents no ``Retry-After``, but some server before it may send one."""
    is_full = response.headers.get("x-queuesize-remaining", "").strip() == "0"
    return max(retry_after(response) or 0.0, QUEUE_WAIT if is_full else SHORT_WAIT)


def _is_rejected(reply: Mapping[str, Any]) -> bool:
    """The reply of the vendor's Push API, ``accepted`` and ``rejected``, should this one speak like it."""
    rejected = reply.get("rejected")
    return isinstance(rejected, int) and rejected > 0


def _read_problem(response: Response, account: Account) -> Outcome | None:
    """The outcome that the HTTP status decides, or None where the body must be read."""
    status = response.status
    if status in (401, 403):
        return credential_refused("key_refused", detail=f"HTTP {status}")
    if status == 429:
        return retry("rate_limited", detail="HTTP 429", retry_after=_wait(response))
    outcome = read_http(response)
    return _read_refusal(response, account) if outcome and outcome.reason == "refused" else outcome


def _read_refusal(response: Response, account: Account) -> Outcome:
    """No error body is documented, so it is kept as it came, redacted."""
    detail = excerpt(response, account)
    if response.status == 413 or "record is too large" in detail.lower():
        return refused("too_large", detail=detail)
    return refused("refused", detail=detail or f"HTTP {response.status}")


def _shown(order: Mapping[str, Any], key: str, *, left_out: int) -> str:
    """The request as attempts keep it: without the key, the customer, and what may have been typed by hand."""
    shown = _without_people(order)
    shown["lineitems"] = [_without_people(item) for item in order.get("lineitems", [])]
    lines = [f"{HEADER}: {mask_secret(key)}", "", simplejson.dumps(shown, use_decimal=True, ensure_ascii=False)]
    if left_out:
        lines.append(f"({left_out} lines are left out: no quantity, or neither SKU nor product id)")
    return "\n".join(lines)


def _without_people(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "…" if name in _PERSONAL else part for name, part in value.items()}


# Reading back


def _build_reading(path: str, account: Account, *, max_reply: int) -> Request:
    url = account.base_url.strip().rstrip("/") + path
    return Request(
        url=url, body=b"", headers=_headers(account), shown="", fingerprint="", method="GET", max_reply=max_reply
    )


def _parse(response: Response) -> object:
    """The body as JSON, its numbers as ``Decimal``; None when it is none."""
    try:
        return json.loads(response.body.decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _record(order: object) -> Record | None:
    if not isinstance(order, Mapping):
        return None
    reference = order.get("id")
    return Record(reference=reference, content=order) if isinstance(reference, str) and reference else None


def _flatten(order: Mapping[str, Any], currency: object) -> Mapping[str, Any]:
    """An ``OrderExtended`` as an ``Order``, which is all that is documented for reading back, in ``currency``."""
    part = next((name for name, totals in order["totals"].items() if totals["currency"] == currency), None)
    if part is None:
        return order
    items = [{**item, **item["totals"][part]} for item in order.get("lineitems", ())]
    items = [{name: value for name, value in item.items() if name not in ("totals", "currency")} for item in items]
    plain = {name: value for name, value in order.items() if name not in ("totals", "lineitems")}
    return {**plain, **order["totals"][part], "lineitems": items}


def _differences(ours: Mapping[str, Any], held: Mapping[str, Any], path: str = "") -> Iterator[Difference]:
    for name in [*ours, *sorted(_MEANT_WHEN_ABSENT & held.keys() - ours.keys())]:
        mine, theirs, field = ours.get(name), held.get(name), path + name
        if name == "lineitems":
            yield from _item_differences(ours[name], theirs)
        elif isinstance(mine, Mapping):
            inner = _differences(mine, theirs if isinstance(theirs, Mapping) else {}, field + ".")
            # The names of custom properties are the shop's own.
            yield from inner if name != "properties" else [Difference(field=field)] if any(inner) else []
        elif not _is_same(name, mine, theirs):
            is_personal = not _PERSONAL.isdisjoint(path.split("."))
            shown = {} if is_personal else {"shop": _as_text(mine), "vendor": _as_text(theirs)}
            yield Difference(field=field, **shown)


def _item_differences(ours: Sequence[Mapping[str, Any]], held: object) -> Iterator[Difference]:
    """Item by item, paired by their codes: nothing says that the vendor keeps their order."""
    theirs = [item for item in held if isinstance(item, Mapping)] if isinstance(held, list) else []
    if len(theirs) != len(ours):
        yield Difference(field="lineitems (count)", shop=str(len(ours)), vendor=str(len(theirs)))
        return
    for mine, item in zip(sorted(ours, key=_item_code), sorted(theirs, key=_item_code), strict=True):
        yield from _differences(mine, item, f"lineitems[{_item_code(mine)}].")


def _item_code(item: Mapping[str, Any]) -> str:
    return str(item.get("sku") or item.get("product_id"))


def _is_same(name: str, mine: object, theirs: object) -> bool:
    """Numbers as numbers, times as moments; what is absent is as good as 0 or nothing, but no flag."""
    if name == "timestamp":
        return _moment(mine) == _moment(theirs)
    if isinstance(mine, bool):
        return mine is theirs
    if isinstance(mine, int | Decimal) or isinstance(theirs, int | Decimal):
        number = _number(theirs)
        return number is not None and _number(mine) == number
    return (mine or "") == (theirs or "")


def _number(value: object) -> Decimal | None:
    """``value`` as a finite number, 0 where there is none; None for what is no number."""
    try:
        number = Decimal(str(value or 0))
    except InvalidOperation:
        return None
    return number if number.is_finite() and not isinstance(value, bool) else None


def _moment(value: object) -> datetime | None:
    """ "YYYY-MM-DDThh:mm:ss+Z"; UTC where the offset is absent."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None


def _as_text(value: object) -> str:
    """A value of the record in short; what has parts is not shown, for anything may be in it."""
    if isinstance(value, Mapping | list):
        return "…"
    return str(value).lower() if isinstance(value, bool) else str("" if value is None else value)[:MAX_SHOWN]
