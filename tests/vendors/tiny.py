"""A vendor that nobody has heard of, as a shop would write one of its own: one module, named in the settings."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from optico_sync.outcome import Outcome, delivered, not_sent, retry
from optico_sync.snapshot import OrderSnapshot
from optico_sync.vendors.base import (
    Account,
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
