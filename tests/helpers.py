"""What many tests say: place an order, let it be delivered, script the vendor's answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from django.db import connection, models

from optico_sync.attribution import Attribution, during
from optico_sync.models import DeclaredStatus, Subject, SyncState, VendorCredential
from optico_sync.testing import KEY, deliver_now
from optico_sync.vendors.base import Request, Response
from tests.oddshop.models import Article, Item, Load, Purchase, Trolley

STATUSES = {"pending": False, "confirmed": True, "shipped": True, "cancelled": False, "refunded": False}
#: By the name that says it best in a test.
deliver = deliver_now
SUCCESS = b'{"status": "success"}'


def make_credential(base_url: str = "http://127.0.0.1:9", *, name: str = "Optico", **fields: Any) -> VendorCredential:
    credential = VendorCredential(
        name=name,
        vendor="optico",
        base_url=base_url,
        is_enabled=True,
        start_at=datetime(2000, 1, 1, tzinfo=UTC),
        **fields,
    )
    credential.set_secrets({"key": KEY})
    credential.save()
    for status, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=status, is_sale=is_sale)
    return credential


def place(number: str = "1001", stage: str = "pending", items: Iterable[tuple] = (), **fields: Any) -> Purchase:
    """An order with ``items`` of (sku, title, pieces, paid)."""
    purchase = Purchase.objects.create(number=number, stage=stage, **fields)
    for sku, title, pieces, paid in items or [("PROD-001", "Blue Widget", 2, "59.98")]:
        article = Article.objects.create(sku=sku)
        Item.objects.create(purchase=purchase, article=article, title=title, pieces=pieces, paid=Decimal(paid))
    return purchase


def fill(*loads: tuple[str, str, int, int], visit_id: str = "", **fields: Any) -> Trolley:
    """A cart with loads of (sku, title, pieces, cents each), filled in a visitor's request."""
    with during(Visitor(visit_id)):
        trolley = Trolley.objects.create(**fields)
        for sku, title, pieces, cents in loads or [("PROD-001", "Blue Widget", 2, 2999)]:
            article = Article.objects.create(sku=sku)
            Load.objects.create(trolley=trolley, article=article, title=title, pieces=pieces, cents=cents)
    return trolley


class Visitor:
    """A request of a visitor, as far as attribution goes."""

    def __init__(self, visit_id: str) -> None:
        self._visit_id = visit_id

    def attribution(self) -> Attribution:
        return Attribution(visit_id=self._visit_id)


def move(purchase: Purchase, stage: str) -> None:
    purchase.stage = stage
    purchase.save()


def state_of(saved: Purchase | Trolley, credential: VendorCredential | None = None) -> SyncState:
    kind = Subject.Kind.CART if isinstance(saved, Trolley) else Subject.Kind.ORDER
    states = SyncState.objects.filter(subject__kind=kind, subject__key=str(saved.pk))
    return (states.filter(credential=credential) if credential else states).get()


def form_of(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}


def reply(body: bytes = SUCCESS, status: int = 200, **headers: str) -> Response:
    return Response(status=status, headers=headers, body=body)


def error(message: str) -> Response:
    return reply(json.dumps({"status": "error", "message": message}).encode())


def pieces(rows: int, model: type[models.Model]) -> int:
    """Further statements an INSERT of ``rows`` may take: Django 5.2 cuts it at 999 parameters on SQLite, else none."""
    limit = connection.features.max_query_params
    return rows * len(model._meta.concrete_fields) // limit + 1 if limit and limit < 10_000 else 0


class Clock:
    """The database's clock, in the test's hand. It starts ahead of what the relay writes by the real one."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(minutes=1)

    def __call__(self, using: str) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Vendor:
    """A vendor made of a function: answers each request, and remembers the forms it was sent."""

    def __init__(self, answer: Callable[[dict[str, str]], Response] = lambda form: reply()) -> None:
        self.answer = answer
        self.forms: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def __call__(self, vendor: object, connections: int) -> Vendor:
        return self

    def send(self, request: Request) -> Response:
        form = form_of(request)
        with self._lock:
            self.forms.append(form)
        return self.answer(form)

    def close(self) -> None:
        pass

    @property
    def statuses(self) -> list[str]:
        return [form["status"] for form in self.forms]
