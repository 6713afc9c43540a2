"""Ometria's Order API, as its document tells it: ``/ometria/v2/orders`` and ``/ometria/v2/orders/{id}``.

Not in the document but publicly known: the base path, the header ``X-Ometria-Auth``, and the limit of four
requests a second for each key, answered 429. The document names no code for an order that is not as it says; here
that is 400 with ``{"error": ..., "errors": [{"field", "message"}]}``. It shows no body of a good POST either; here
it is ``{}``, and nobody should read it.

Choices the document leaves open: its table requires an item's ``subtotal``, while its own examples go without, so
that is a remark; ``discount`` of an item "must be negative", so 0 is a remark there and no error; a body whose id is
not the path's is kept under the path's; a POST replaces the whole order; the list is in order of creation, and a
limit over 250 is 250.
"""

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from optico_sync.sandbox.ledger import READ, STORED, Ledger, Part
from optico_sync.sandbox.twins import (
    JSON_TYPE,
    Call,
    Field,
    Findings,
    Message,
    Outcome,
    Twin,
    flatten,
    inspect,
    query_string,
    read_object,
    unreadable,
    wrong_method,
    wrong_type,
)

PATH = "ometria/v2/orders"
HEADER = "X-Ometria-Auth"
DEFAULT_LIMIT = 10
MAX_LIMIT = 250

FORBIDDEN = "API key is not authorised to access this resource"
NOT_FOUND = "Order with specified ID was not found"
TOO_MANY = "Too many requests"
BAD_METHOD = "Method not allowed"

# "YYYY-MM-DDThh:mm:ss+Z"; the document's own example has "+00".
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class OmetriaPart(Part):
    vendor = "ometria"

    def __init__(self) -> None:
        super().__init__()
        self._recent: dict[str, deque[float]] = {}

    def admit(self, key: str, rate: int) -> bool:
        """Whether the key may ask once more within this second."""
        now = time.monotonic()
        recent = self._recent.setdefault(key, deque())
        while recent and recent[0] <= now - 1:
            recent.popleft()
        if rate and len(recent) >= rate:
            return False
        recent.append(now)
        return True


# The document's schema


def is_order(value: Any, name: str, findings: Findings) -> None:
    if value != "order":
        findings.error(name, 'must be "order"')


def timestamp(value: Any, name: str, findings: Findings) -> None:
    try:
        right = TIMESTAMP.fullmatch(value) and datetime.fromisoformat(value)
    except ValueError:
        right = None
    if not right:
        findings.error(name, "is not an ISO 8601 time with its offset")


def currency(value: Any, name: str, findings: Findings) -> None:
    if len(value) != 3:
        findings.error(name, "is not of 3 characters")
    elif not (value.isascii() and value.isalpha() and value.isupper()):
        findings.remark(f"{name} is {value!r}")


def country(value: Any, name: str, findings: Findings) -> None:
    if len(value) != 2:
        findings.error(name, "is not of 2 characters")
    elif not (value.isascii() and value.isalpha() and value.isupper()):
        findings.remark(f"{name} is {value!r}")


def not_positive(value: Any, name: str, findings: Findings) -> None:
    if value > 0:
        findings.error(name, "must not be positive")


def negative(value: Any, name: str, findings: Findings) -> None:
    not_positive(value, name, findings)
    if value == 0:
        findings.remark(f"{name} is 0: must be a negative number")


def email(value: Any, name: str, findings: Findings) -> None:
    if not EMAIL.fullmatch(value):
        findings.remark(f"{name} is no address")


def customer(value: Any, name: str, findings: Findings) -> None:
    if not value.get("id") and not value.get("email"):
        findings.remark(f"{name} has neither id nor email: no profile")


def line_items(value: Any, name: str, findings: Findings) -> None:
    for index, item in enumerate(value):
        if isinstance(item, dict) and not (item.get("product_id") or item.get("sku")):
            findings.error(f"{name}[{index}]", "one of product_id and sku is required")


STRING = Field(kind="string")
NUMBER = Field(kind="number")
OBJECT = Field(kind="object")
REQUIRED_STRING = Field(kind="string", need="required")
REQUIRED_NUMBER = Field(kind="number", need="required")
EXPECTED_NUMBER = Field(kind="number", need="expected")
REQUIRED_CURRENCY = Field(kind="string", need="required", rule=currency)
DISCOUNT = Field(kind="number", rule=not_positive)

ADDRESS = {"city": STRING, "state": STRING, "postcode": STRING, "country_code": Field(kind="string", rule=country)}
CUSTOMER = {"id": STRING, "email": Field(kind="string", rule=email), "firstname": STRING, "lastname": STRING}
LINE_ITEM_TOTAL = {
    "currency": Field(kind="string", rule=currency),
    "unit_price": REQUIRED_NUMBER,
    "discount": DISCOUNT,
    "refunded": NUMBER,
    "subtotal": EXPECTED_NUMBER,
    "tax": NUMBER,
    "total": REQUIRED_NUMBER,
}
LINE_ITEM_TOTALS = {
    "base": Field(kind="object", of=LINE_ITEM_TOTAL),
    "local": Field(kind="object", of=LINE_ITEM_TOTAL),
}
VARIANT_OPTION = {"type": REQUIRED_STRING, "id": REQUIRED_STRING, "label": REQUIRED_STRING}
LINE_ITEM = {
    "product_id": STRING,
    "variant_id": STRING,
    "quantity": Field(kind="integer", need="required"),
    "sku": STRING,
    "unit_price": REQUIRED_NUMBER,
    "quantity_refunded": Field(kind="integer"),
    "refunded": NUMBER,
    "subtotal": EXPECTED_NUMBER,
    "tax": NUMBER,
    "total": NUMBER,
    "discount": Field(kind="number", rule=negative),
    "is_on_sale": Field(kind="boolean"),
    "variant_options": Field(kind="array", of=VARIANT_OPTION),
    "totals": Field(kind="object", of=LINE_ITEM_TOTALS),
    "properties": OBJECT,
}
SHARED = {
    "@type": Field(kind="string", need="required", rule=is_order),
    "id": REQUIRED_STRING,
    "timestamp": Field(kind="string", need="required", rule=timestamp),
    "web_id": STRING,
    "status": STRING,
    "is_valid": Field(kind="boolean"),
    "customer": Field(kind="object", of=CUSTOMER, rule=customer),
    "lineitems": Field(kind="array", of=LINE_ITEM, rule=line_items),
    "ip_address": STRING,
    "channel": STRING,
    "store": STRING,
    "payment_method": STRING,
    "shipping_method": STRING,
    "shipping_address": Field(kind="object", of=ADDRESS),
    "billing_address": Field(kind="object", of=ADDRESS),
    "coupon_code": STRING,
    "properties": OBJECT,
}
ORDER = {
    **SHARED,
    "grand_total": REQUIRED_NUMBER,
    "subtotal": NUMBER,
    "discount": DISCOUNT,
    "shipping": NUMBER,
    "tax": NUMBER,
    "currency": REQUIRED_CURRENCY,
}
TOTAL = {
    "currency": REQUIRED_CURRENCY,
    "shipping": NUMBER,
    "tax": NUMBER,
    "discount": DISCOUNT,
    "subtotal": NUMBER,
    "grand_total": REQUIRED_NUMBER,
}
TOTALS = {"base": Field(kind="object", of=TOTAL), "local": Field(kind="object", of=TOTAL)}
ORDER_EXTENDED = {**SHARED, "totals": Field(kind="object", need="required", of=TOTALS)}


def check_order(order: Mapping[str, Any], findings: Findings) -> None:
    """`totals` make an order an OrderExtended."""
    inspect(order, ORDER_EXTENDED if "totals" in order else ORDER, findings)
    if order.get("status") == "refunded" and order.get("is_valid") is not False:
        findings.remark("status is refunded: is_valid should be false")


# The twin


class OmetriaTwin(Twin):
    vendor = "ometria"
    title = "Ometria orders"
    endpoint = f"POST /{PATH}/<id>"
    part = OmetriaPart
    columns = ("Status", "Valid", "Total", "Items", "Customer", "Timestamp")

    def parse(self, message: Message) -> Call:
        key = message.header(HEADER)
        findings = Findings()
        fields = {"id": message.record_id} if message.record_id else {}
        fields |= {HEADER: key}
        order: dict[str, Any] | None = None
        if message.method == "POST" and message.record_id:
            findings.remarks += wrong_type(message, JSON_TYPE) + query_string(message)
            order = read_object(message)
            if order is None:
                findings.error("body", "is not a JSON object")
                fields |= unreadable(message)
            else:
                fields |= {name: text for name, text in flatten(order).items() if name != "id"}
                check_order(order, findings)
                if order.get("id") != message.record_id:
                    findings.remark("id is not the path's")
        else:
            findings.remarks += wrong_method(message, *(("GET", "POST") if message.record_id else ("GET",)))
            fields |= {name: values[-1] for name, values in parse_qs(message.query).items()}
        content = (message.method, message.record_id, key, order, fields, findings)
        return Call(ids=(message.record_id,), fields=fields, remarks=findings.remarks, content=content)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        method, record_id, key, order, fields, findings = call.content
        with ledger.part(OmetriaPart) as part:
            if key not in ledger.config.ometria_keys:
                return refusal(403, FORBIDDEN)
            if not part.admit(key, ledger.config.ometria_rate):
                return refusal(429, TOO_MANY)
            if method == "GET":
                return read_one(part, record_id) if record_id else read_list(part, fields)
            if method != "POST" or not record_id:
                return refusal(405, BAD_METHOD)
            if findings.errors:
                return refusal(400, str(findings), findings)
            part.replace(record_id, {"order": {**order, "id": record_id}})
        return Outcome(verdict=STORED, body={})

    def record(self, ledger: Ledger, record_id: str) -> dict[str, Any] | None:
        record = super().record(ledger, record_id)
        return record and unfold(record)

    def records(self, ledger: Ledger, *, latest: int | None = None) -> list[dict[str, Any]]:
        return [unfold(record) for record in super().records(ledger, latest=latest)]

    def cells(self, record: dict[str, Any]) -> Sequence[Any]:
        if "totals" in record:
            totals = record["totals"].values()
            total = " / ".join(f"{part['grand_total']} {part['currency']}" for part in totals)
        else:
            total = f"{record['grand_total']} {record['currency']}"
        who = record.get("customer", {})
        return (
            record.get("status", ""),
            ("yes" if record["is_valid"] else "no") if "is_valid" in record else "",
            total,
            len(record.get("lineitems", ())),
            who.get("id") or (f"{who['email'][:1]}..." if who.get("email") else ""),
            record["timestamp"],
        )


def read_one(part: OmetriaPart, record_id: str) -> Outcome:
    record = part.kept.get(record_id)
    return Outcome(verdict=READ, body=shown(record.data["order"])) if record else refusal(404, NOT_FOUND)


def read_list(part: OmetriaPart, fields: Mapping[str, str]) -> Outcome:
    findings = Findings()
    numbers = {}
    for name, default in (("limit", DEFAULT_LIMIT), ("offset", 0)):
        text = fields.get(name, str(default))
        if text.isascii() and text.isdigit() and len(text) < 10:
            numbers[name] = int(text)
        else:
            findings.error(name, "is not a whole number")
    if findings.errors:
        return refusal(400, str(findings), findings)
    remarks = []
    if numbers["limit"] > MAX_LIMIT:
        remarks.append(f"limit is over {MAX_LIMIT}")
    first = numbers["offset"]
    records = sorted(part.kept.values(), key=lambda record: record.created)
    page = records[first : first + min(numbers["limit"], MAX_LIMIT)]
    return Outcome(verdict=READ, body=[shown(record.data["order"]) for record in page], remarks=remarks)


def shown(order: dict[str, Any]) -> dict[str, Any]:
    """The order as Ometria returns it: one value "is automatically calculated"."""
    refunded = sum(item.get("quantity_refunded", 0) for item in order.get("lineitems", ()))
    return {**order, "total_unit_quantity_refunded": refunded}


def unfold(record: dict[str, Any]) -> dict[str, Any]:
    """The sandbox's own view: the order's fields beside when and how often it came."""
    return {**record["order"], **{name: record[name] for name in ("id", "created", "updated", "submissions")}}


def refusal(status: int, message: str, findings: Findings | None = None) -> Outcome:
    body: dict[str, Any] = {"error": message}
    if findings:
        body["errors"] = [{"field": name, "message": text} for name, text in findings.errors]
    return Outcome(verdict=message, status=status, body=body)
