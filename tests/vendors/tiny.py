"""A vendor that nobody has heard of, as a shop would write one of its own: one module, named in the settings."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from optico_sync.outcome import Outcome, delivered, not_sent, retry
from optico_sync.snapshot import OrderSnapshot
from optico_sync.vendors.base import (
    Account,
    Difference,
    Manner,
    OptionField,
    Page,
    Record,
    Request,
    Response,
    SecretField,
    Timeout,
    Told,
    Vendor,
    fingerprint,
    read_http,
)


class Newest(Vendor):
    """Wants the newest state of every order."""

    name = "newest"
    label = "Newest"
    manner = Manner.NEWEST
    default_base_url = "https://newest.example"
    timeout = Timeout(connect=1, total=2)
    upserts = True
    secrets = (SecretField(name="token", label="Token"),)
    options = (
        OptionField(name="flavour", label="Flavour", default="plain"),
        OptionField(name="age", label="Age", default=7),
        OptionField(name="loud", label="Loud", default=False),
    )

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        content: dict[str, Any] = {
            "id": snapshot.reference,
            "status": told.status,
            "sale": told.is_sale,
            "lines": [line.name for line in snapshot.lines],
        }
        body = json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "Token": account.secrets["token"]}
        return Request(
            url=account.base_url, body=body, headers=headers, shown=body.decode(), fingerprint=fingerprint(body)
        )

    def read(self, response: Response, *, account: Account) -> Outcome:
        return read_http(response) or (delivered() if response.body == b"ok" else retry("unreadable_reply"))


class Once(Newest):
    """Wants to hear of an order once, when it is sold."""

    name = "once"
    label = "Once"
    manner = Manner.ONCE
    upserts = False

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        if not told.is_sale:
            return not_sent("not_a_sale")
        return super().build(snapshot, told=told, account=account, now=now)

    def hold(self, options: Any) -> float:
        return float(options["age"]) * 3600 if options.get("loud") else 0.0


class Careful(Once):
    """Must not be told twice."""

    name = "careful"
    label = "Careful"

    def max_ambiguous(self, options: Any) -> int:
        return 3


class Mailing(Once):
    """Mails the customer."""

    name = "mailing"
    label = "Mailing"
    mail_days = 10


class Slow(Newest):
    """Admits four requests a second."""

    name = "slow"
    label = "Slow"
    rate = 4.0


class Bookish(Newest):
    """Offers to read back what it holds, one record a page, with cursors of its own."""

    name = "bookish"
    label = "Bookish"
    reads_back = True

    def build_page(self, *, account: Account, cursor: str) -> Request:
        return self._get(f"{account.base_url}?after={cursor}")

    def read_page(self, response: Response, *, account: Account, cursor: str) -> Page | Outcome:
        content = json.loads(response.body)
        return Page(records=[_held(order) for order in content["orders"]], next=content["next"])

    def build_one(self, reference: str, *, account: Account) -> Request:
        return self._get(f"{account.base_url}?id={reference}")

    def read_one(self, response: Response, *, account: Account) -> Record | None | Outcome:
        return _held(json.loads(response.body)) if response.status == 200 else None

    def compare(self, request: Request, record: Record) -> list[Difference]:
        ours = json.loads(request.body)
        return [
            Difference(field=name, shop=str(value), vendor=str(record.content.get(name)))
            for name, value in ours.items()
            if value != record.content.get(name)
        ]

    def _get(self, url: str) -> Request:
        return Request(url=url, body=b"", headers={}, shown="", fingerprint="", method="GET")


def _held(order: dict[str, Any]) -> Record:
    return Record(reference=order["id"], content=order)
