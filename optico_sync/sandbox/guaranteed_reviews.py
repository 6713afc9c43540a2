"""Guaranteed Reviews' private Orders API, as its document tells it: ``POST /private/v3/orders``.

The document's example is PHP's cURL, which sends multipart; a plain form says the same, and JSON is accepted with a
remark. The example also sends integers and floats as text, so either will do. Who is mailed, and when (ten days
after the order arrived), is kept with the order.

Choices the document leaves open: every answer is 200, a wrong key included; an order that lacks something mandatory
is not imported, the others of its call are; `message` says so in the sandbox's own words, except for orders already
sent, for which the document has some; the order first sent stays as it was.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework.parsers import FormParser, MultiPartParser

from optico_sync.sandbox.ledger import STORED, Ledger, Part
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
    read_json,
    read_object,
    unreadable,
    wrong_method,
)

PATH = "private/v3/orders"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
PARAMETERS = frozenset({"api_key", "orders"})
MAIL_DELAY = timedelta(days=10)

ALREADY_SENT = "Some orders were not imported because they had already been sent (see documentation)"
BAD_KEY = "Invalid API key"
BAD_ORDERS = "orders is missing, or not a JSON array"
BAD_ORDER = "Some orders were not imported because they are not as documented"

DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class ReviewsPart(Part):
    vendor = "guaranteed_reviews"

    def __init__(self) -> None:
        super().__init__()
        self.references: set[str] = set()


def date(value: Any, name: str, findings: Findings) -> None:
    try:
        right = DATE.fullmatch(value) and datetime.fromisoformat(value)
    except ValueError:
        right = None
    if not right:
        findings.error(name, "is not YYYY-MM-DD HH:MM:SS")


def email(value: Any, name: str, findings: Findings) -> None:
    if not EMAIL.fullmatch(value):
        findings.remark(f"{name} is no address")


def as_text(value: Any, name: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.remark(f"{name} is no string")


TEXT = Field(kind="scalar", rule=as_text)
REQUIRED_TEXT = Field(kind="scalar", need="required", rule=as_text)
PRODUCT = {
    "id": Field(kind="whole numeral", need="required"),
    "name": Field(kind="string", need="required"),
    "category_id": TEXT,
    "category_name": TEXT,
    "qty": Field(kind="whole numeral"),
    "unit_price": Field(kind="numeral"),
    "mpn": TEXT,
    "ean13": TEXT,
    "sku": TEXT,
    "upc": TEXT,
    "url": TEXT,
}
ORDER = {
    "id_order": REQUIRED_TEXT,
    "order_date": Field(kind="string", need="required", rule=date),
    "firstname": Field(kind="string", need="required"),
    "lastname": Field(kind="string", need="required"),
    "email": Field(kind="string", need="required", rule=email),
    "reference": TEXT,
    "products": Field(kind="array", of=PRODUCT),
}


class ReviewsTwin(Twin):
    vendor = "guaranteed_reviews"
    title = "Review mails"
    endpoint = f"POST /{PATH}"
    parsers = (MultiPartParser, FormParser)
    part = ReviewsPart
    columns = ("Mail on", "Mail to", "Order date", "Reference", "Products")

    def parse(self, message: Message) -> Call:
        remarks = wrong_method(message, "POST") + query_string(message)
        sent, fields = read(message, remarks)
        key, orders = sent.get("api_key"), read_orders(sent.get("orders"))
        remarks += [f"unknown parameter {name[:40]}" for name in sent if name not in PARAMETERS]
        checked: list[tuple[Any, Findings]] = []
        for index, order in enumerate(orders or []):
            findings = Findings()
            if isinstance(order, dict):
                inspect(order, ORDER, findings, f"orders[{index}].")
            else:
                findings.error(f"orders[{index}]", "is not of type object")
            remarks += findings.remarks
            remarks += [f"{name} {text}" for name, text in findings.errors]
            checked.append((order, findings))
        if orders == []:
            remarks.append("orders is empty")
        ids = [str(order["id_order"]) for order, _ in checked if isinstance(order, dict) and order.get("id_order")]
        if orders is not None:
            fields |= flatten({"orders": orders})
        content = (key, orders, checked)
        return Call(ids=ids, fields=fields, remarks=remarks, content=content)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        key, orders, checked = call.content
        if not isinstance(key, str) or key not in ledger.config.reviews_keys:
            return reply(len(checked), 0, BAD_KEY)
        if orders is None:
            return reply(0, 0, BAD_ORDERS)
        imported, message = 0, None
        with ledger.part(ReviewsPart) as part:
            for order, findings in checked:
                if findings.errors:
                    message = message or BAD_ORDER
                elif store(part, order):
                    imported += 1
                else:
                    message = ALREADY_SENT
        return reply(len(checked), imported, message)

    def cells(self, record: dict[str, Any]) -> Sequence[Any]:
        products = ", ".join(str(product["name"]) for product in record.get("products", ()))
        return (
            f"{record['mail_at']:%Y-%m-%d %H:%M}",
            f"{record['mail_to'][:1]}...",
            record["order_date"],
            record.get("reference", ""),
            products,
        )


def read(message: Message, remarks: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters; and the fields for the journal, but for the orders."""
    if message.method != "POST":
        return {}, {}
    if message.media_type == JSON_TYPE:
        remarks.append("body is JSON: the document's example sends a form")
        sent = read_object(message)
        if sent is None:
            return {}, unreadable(message)
    else:
        if message.media_type not in FORMS:
            remarks.append(f"content type is not {' or '.join(FORMS)}")
        remarks += [f"{name[:40]} sent {len(values)} times" for name, values in message.form.items() if values[1:]]
        sent = {name: values[-1] for name, values in message.form.items()}
    fields = flatten({name: value for name, value in sent.items() if name != "orders"})
    if "orders" in sent and read_orders(sent["orders"]) is None:
        fields["orders"] = "(not a JSON array)"
    return sent, fields


def read_orders(sent: Any) -> list[Any] | None:
    """The orders: a JSON array in text, or in a JSON body an array as it is."""
    if isinstance(sent, str):
        try:
            sent = read_json(sent)
        except ValueError:
            return None
    return sent if isinstance(sent, list) else None


def store(part: ReviewsPart, order: dict[str, Any]) -> bool:
    """Keep the order and its mail; False if it had already been sent."""
    order_id, reference = str(order["id_order"]), str(order.get("reference", ""))
    if order_id in part.kept or reference in part.references:
        return False
    mail_at = datetime.now(UTC) + MAIL_DELAY
    part.put(order_id, {**order, "mail_to": order["email"], "mail_at": mail_at})
    if reference:
        part.references.add(reference)
    return True


def reply(count: int, imported: int, message: str | None) -> Outcome:
    verdict = message or STORED
    if message and imported:
        verdict = f"{imported} of {count} stored: {message}"
    body = {
        "success": int(imported > 0),
        "orders_count": count,
        "orders_imported": imported,
        "message": message,
    }
    return Outcome(verdict=verdict, body=body)
