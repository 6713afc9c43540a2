"""Optimizely's offline orders, as their document tells them: ``POST /tracker/smart-api/orders/offline``.

The document's page on headers is a page of its own (publicly known: ``site``, ``siteToken``, ``channel``), and so is
the one on replies: ``{"status": "OK"}``, or ``{"status": "fail", "errors": [{"code", "message"}]}``, under which
HTTP status it does not say; here always 200. ``MalformedJson`` is the vendor's code for bad JSON and for missing
mandatory elements; `BAD_TOKEN` is the sandbox's own name for a refusal of the headers.

Choices the document leaves open: a field is mandatory unless marked optional, but for ``customerId`` and
``attributes``, which its example lacks or could lack; an order sent twice replaces the first, with a remark; the
document promises a separate token for each channel, and the sandbox has one for each site.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

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
    read_object,
    unreadable,
    wrong_method,
    wrong_type,
)

PATH = "tracker/smart-api/orders/offline"
HEADERS = ("site", "siteToken", "channel")
CHANNELS = frozenset({"store", "mobileapp", "tv", "callcentre"})

MALFORMED = "MalformedJson"
BAD_TOKEN = "InvalidSiteToken"  # noqa: S105 - an error code

LANG = re.compile(r"[a-z]{2}(-[a-z]{2})?")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d [A-Z]{3,4}")
CURRENCY = re.compile(r"[A-Z]{3}")


class OfflineOrdersPart(Part):
    vendor = "optimizely"


def lang(value: Any, name: str, findings: Findings) -> None:
    if not LANG.fullmatch(value):
        findings.remark(f"{name} is {value[:40]!r}")


def user(value: Any, name: str, findings: Findings) -> None:
    if not (value.get("id") or value.get("email")):
        findings.error(name, "either email or id must be supplied")
    if "email" in value:
        findings.remark(f"{name}.email is deprecated: use id")


def date(value: Any, name: str, findings: Findings) -> None:
    documented = DATE.fullmatch(value)
    try:
        datetime.fromisoformat(value.partition(" ")[0] if documented else value)
    except ValueError:
        findings.error(name, "is not a date")
        return
    if not documented:
        findings.remark(f"{name} is {value[:40]!r}, not as in 2016-05-16T14:25:00 GMT")


def currency(value: Any, name: str, findings: Findings) -> None:
    if not CURRENCY.fullmatch(value):
        findings.remark(f"{name} is {value[:40]!r}")


def not_empty(value: Any, name: str, findings: Findings) -> None:
    if not value:
        findings.remark(f"{name} is empty")


def whole(value: Any, name: str, findings: Findings) -> None:
    if value != int(value):
        findings.remark(f"{name} is {value}: the example counts whole pieces")


STRING = Field(kind="string")
REQUIRED_STRING = Field(kind="string", need="required")
REQUIRED_NUMBER = Field(kind="number", need="required")
PAIRS = Field(kind="object")

USER = {"email": STRING, "id": STRING, "info": PAIRS}
ITEM = {
    "refCode": REQUIRED_STRING,
    "qty": Field(kind="number", need="required", rule=whole),
    "price": REQUIRED_NUMBER,
    "attributes": PAIRS,
}
ORDER = {
    "refCode": REQUIRED_STRING,
    "orderDate": Field(kind="string", need="required", rule=date),
    "customerId": STRING,
    "currency": Field(kind="string", need="required", rule=currency),
    # Optional in the public XML form of this feed.
    "shipping": Field(kind="number", need="expected"),
    "subTotal": REQUIRED_NUMBER,
    "total": REQUIRED_NUMBER,
    "items": Field(kind="array", need="required", of=ITEM, rule=not_empty),
    "attributes": PAIRS,
}
PAYLOAD = {
    "lang": Field(kind="string", rule=lang),
    "user": Field(kind="object", of=USER, rule=user),
    "order": Field(kind="object", need="required", of=ORDER),
}


class OptimizelyTwin(Twin):
    vendor = "optimizely"
    title = "Optimizely offline orders"
    endpoint = f"POST /{PATH}"
    part = OfflineOrdersPart
    columns = ("Site", "Channel", "Total", "Items", "User", "Order date")

    def parse(self, message: Message) -> Call:
        headers = {name: message.header(name) for name in HEADERS}
        findings = Findings()
        findings.remarks += wrong_method(message, "POST") + wrong_type(message, JSON_TYPE) + query_string(message)
        if headers["channel"] and headers["channel"] not in CHANNELS:
            findings.remark(f"channel is {headers['channel'][:40]!r}")
        payload = read_object(message)
        fields = dict(headers)
        order_id = ""
        if payload is None:
            findings.error("body", "is not a JSON object")
            fields |= unreadable(message)
        else:
            inspect(payload, PAYLOAD, findings)
            if "user" not in payload:
                findings.remark("no user: enriches nobody's behaviour")
            order = payload.get("order")
            if isinstance(order, dict) and isinstance(order.get("refCode"), str):
                order_id = order["refCode"]
            # Diets, allergies, gender: the journal tells the keys only.
            fields |= {name: "..." if name.startswith("user.info") else text for name, text in flatten(payload).items()}
        if message.method != "POST":
            findings.error("method", "is not POST")
        content = (headers, payload, order_id, findings)
        return Call(ids=(order_id,), fields=fields, remarks=findings.remarks, content=content)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        headers, payload, order_id, findings = call.content
        missing = [name for name in HEADERS if not headers[name]]
        if missing:
            return failure(BAD_TOKEN, f"Missing header: {', '.join(missing)}")
        if ledger.config.optimizely_tokens.get(headers["site"]) != headers["siteToken"]:
            return failure(BAD_TOKEN, "site and siteToken do not match")
        if findings.errors:
            return failure(MALFORMED, str(findings))
        remarks = []
        with ledger.part(OfflineOrdersPart) as part:
            if order_id in part.kept:
                remarks.append("order sent before: the document does not say what becomes of it")
            data = {"lang": "en-gb", **payload, "site": headers["site"], "channel": headers["channel"]}
            part.replace(order_id, data)
        return Outcome(verdict=STORED, body={"status": "OK"}, remarks=remarks)

    def cells(self, record: dict[str, Any]) -> Sequence[Any]:
        order, who = record["order"], record.get("user", {})
        return (
            record["site"],
            record["channel"],
            f"{order['total']} {order['currency']}",
            ", ".join(f"{item['qty']} x {item['refCode']}" for item in order["items"]),
            who.get("id") or (f"{who['email'][:1]}..." if who.get("email") else ""),
            order["orderDate"],
        )


def failure(code: str, message: str) -> Outcome:
    body = {"status": "fail", "errors": [{"code": code, "message": message}]}
    return Outcome(verdict=f"{code}: {message}", body=body)
