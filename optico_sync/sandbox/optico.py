"""Optico's Sales API, as its document tells it: ``POST /api/customer-order``.

Where the document names an error, the request is refused with it. Where it is silent, the request is accepted and
the oddity is written down as a remark, so that a test can insist there was none.

Choices the document leaves open: an absent parameter of a known order keeps its value; a visit_id that says "no
cookie" (see `NO_VISIT`) attributes nothing; all keys of a sandbox belong to one domain.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import Any, NoReturn

from django.http import HttpResponse
from rest_framework.parsers import FormParser

from optico_sync.sandbox.answers import envelope
from optico_sync.sandbox.ledger import STORED, Ledger, Part
from optico_sync.sandbox.twins import Call, Message, Outcome, Twin

PATH = "api/customer-order"
CONTENT_TYPE = "application/x-www-form-urlencoded"

REQUIRED = ("key", "id", "status")
OPTIONAL = ("cart_id", "visit_id", "call_id", "agent", "currency", "products")
PARAMETERS = frozenset(REQUIRED + OPTIONAL)
PRODUCT_FIELDS = frozenset({"id", "name", "quantity", "cost_per_unit", "details"})

MISSING = "Missing required parameter"
BAD_KEY = "Invalid api key"
UNKNOWN_STATUS = "Unknown status"
BAD_PRODUCTS = "Invalid products format"

# What a missing cookie turns into on its way through PHP (the document's own example sends intval(... ?? 0)) and
# JavaScript.
NO_VISIT = frozenset({"", "0", "undefined", "null"})
CALL_ID = re.compile(r"[1-9][0-9]*")
CURRENCY = re.compile(r"[A-Z]{3}")


class OrdersPart(Part):
    """Nothing: the ledger itself keeps Optico's orders, which have a life of their own (`ledger.Order`)."""

    vendor = "optico"


class OrderTwin(Twin):
    """What both dialects of ``POST /api/customer-order`` have in common: the orders, and the envelope.

    "Every request returns 200 OK with a JSON envelope" and parameters are POST fields, so any other method is a
    POST without fields.
    """

    vendor = "optico"
    title = "Orders"
    endpoint = f"POST /{PATH}"
    parsers = (FormParser,)
    part = OrdersPart

    def answer(self, outcome: Outcome) -> HttpResponse:
        return envelope(outcome.body)

    def records(self, ledger: Ledger, *, latest: int | None = None) -> list[dict[str, Any]]:
        return ledger.orders(latest=latest)

    def record(self, ledger: Ledger, record_id: str) -> dict[str, Any] | None:
        return ledger.order(record_id)

    def count(self, ledger: Ledger) -> int:
        count: int = ledger.summary()["orders"]
        return count


class SalesTwin(OrderTwin):
    def parse(self, message: Message) -> Call:
        fields = {name: values[-1] for name, values in message.form.items()}
        remarks = remark(message.form, method=message.method, content_type=message.content_type, query=message.query)
        return Call(ids=(fields.get("id", ""),), fields=fields, remarks=remarks, content=fields)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        error = receive(call.content, ledger, seq=seq)
        return Outcome(verdict=error or STORED, body=error)


def receive(fields: Mapping[str, str], ledger: Ledger, *, seq: int) -> str | None:
    """Judge a request and store it if it is right. Returns the vendor's error message, or None."""
    if not all(fields.get(name) for name in REQUIRED):
        return MISSING
    config = ledger.config
    if fields["key"] not in config.keys:
        return BAD_KEY
    if fields["status"] not in config.statuses:
        return UNKNOWN_STATUS
    changes: dict[str, Any] = {name: fields[name] for name in OPTIONAL if name in fields}
    if "products" in fields:
        try:
            changes["products"] = read_products(fields["products"])
            changes["total_cost"] = total_cost(changes["products"])
        except (ValueError, RecursionError, ArithmeticError):
            return BAD_PRODUCTS
    if usable_visit(fields.get("visit_id", "")) or CALL_ID.fullmatch(fields.get("call_id", "")):
        changes["attributed"] = True
    status = fields["status"]
    ledger.store(fields["id"], status, config.statuses[status], seq=seq, changes={**changes, "dialect": "sales"})
    return None


def remark(
    fields: Mapping[str, Sequence[str]],
    *,
    method: str,
    content_type: str,
    query: str,
    parameters: Set[str] = PARAMETERS,
) -> list[str]:
    """What is odd about a request, though the document defines no error for it."""
    remarks = []
    if method != "POST":
        remarks.append(f"method {method}: all endpoints use POST")
    elif content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        remarks.append(f"content type is not {CONTENT_TYPE}")
    if query:
        remarks.append("query string: parameters are POST fields")
    for name, values in fields.items():
        if name not in parameters:
            remarks.append(f"unknown parameter {name}")
        if len(values) > 1:
            remarks.append(f"{name} sent {len(values)} times")
        if any("\ufffd" in value for value in values):
            remarks.append(f"{name} is not valid UTF-8")
    for name, is_right in (
        ("visit_id", usable_visit),
        ("call_id", CALL_ID.fullmatch),
        ("currency", CURRENCY.fullmatch),
    ):
        if fields.get(name) and not is_right(fields[name][-1]):
            remarks.append(f"{name} is {fields[name][-1][:40]!r}")
    return remarks


def read_products(text: str) -> list[dict[str, Any]]:
    """The products of an order; raises ValueError unless they are exactly as documented."""
    products = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    # JSON can spell half a surrogate pair, which is no text: PHP's json_decode refuses it too.
    json.dumps(products, ensure_ascii=False, default=str).encode()
    if not isinstance(products, list):
        raise ValueError("not an array")
    for product in products:
        _check_product(product)
    return products


def total_cost(products: list[dict[str, Any]]) -> Decimal:
    return sum((product["quantity"] * Decimal(product["cost_per_unit"]) for product in products), Decimal(0))


def _check_product(product: Any) -> None:
    right = (
        isinstance(product, dict)
        and product.keys() <= PRODUCT_FIELDS
        and isinstance(product.get("id"), str)
        and isinstance(product.get("name"), str)
        and type(product.get("quantity")) is int
        and type(product.get("cost_per_unit")) in (int, Decimal)
        and isinstance(product.get("details", {}), dict)
    )
    if not right:
        raise ValueError("not a product")


def usable_visit(visit_id: str) -> bool:
    return visit_id.strip().lower() not in NO_VISIT


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
