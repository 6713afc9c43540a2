"""The class in docs/install.md, word by word, in the odd shop."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from optico_sync import capture
from optico_sync.models import OutboxEvent, SyncState, VendorCredential
from optico_sync.selection import Selection
from optico_sync.shops import get_shop
from optico_sync.shops.base import ShopAdapter
from optico_sync.shops.mapping import CART_KEYS, LINE_KEYS, ORDER_KEYS, PARTS
from tests.helpers import Vendor, deliver, move, place, state_of
from tests.oddshop import models
from tests.settings import BASE_DIR, OPTICO_SYNC

GUIDE = (BASE_DIR / "docs" / "install.md").read_text(encoding="utf-8")


@pytest.fixture
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopAdapter]:
    """The shop of the example, its module made from the page."""
    (source,) = re.findall(r"```python\n(# shop/adapter\.py\n.*?)```", GUIDE, re.DOTALL)
    adapter = ModuleType("shop.adapter")
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.models", models)
    monkeypatch.setitem(sys.modules, "shop.adapter", adapter)
    exec(compile(source, "docs/install.md", "exec"), vars(adapter))
    settings.OPTICO_SYNC = {**OPTICO_SYNC, "SHOP": "shop.adapter.Shop"}
    capture.connect()
    yield get_shop()
    settings.OPTICO_SYNC = OPTICO_SYNC
    capture.connect()


@pytest.mark.django_db
def test_its_orders_are_captured_and_sent(shop: Any, credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", call="4711", operator="Anna")
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert type(get_shop()).__module__ == "shop.adapter"
    assert [(form["id"], form["status"], form["call_id"]) for form in vendor.forms] == [
        ("1001", "pending", "4711"),
        ("1001", "confirmed", "4711"),
    ]
    assert state_of(purchase).state == SyncState.State.IN_SYNC


@pytest.mark.django_db(transaction=True)
def test_the_saves_of_its_lines_are_captured(shop: ShopAdapter) -> None:
    purchase = place()
    OutboxEvent.objects.all().delete()
    purchase.things.get().save()
    assert OutboxEvent.objects.get().key == purchase.pk


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 50])
def test_it_reads_as_the_mapping_does(shop: ShopAdapter, count: int, django_assert_num_queries: Any) -> None:
    keys = [place(str(number)).pk for number in range(count)]
    with django_assert_num_queries(2):
        found = shop.read([*keys, "gone"], using="default")
    assert found.keys() == set(keys)
    assert [line.product_id for line in found[keys[0]].lines] == ["PROD-001"]


@pytest.mark.django_db
def test_its_orders_are_found_by_an_operator(shop: ShopAdapter) -> None:
    first, second = place("1", "shipped", bought_at=datetime(2024, 1, 1, tzinfo=UTC)), place("2")
    assert list(shop.find(using="default", statuses=["shipped"])) == [first]
    assert list(shop.find(using="default", placed_from=datetime(2024, 1, 2, tzinfo=UTC))) == [second]
    assert list(Selection(references=["2"]).chunks()) == [[second.pk]]
    assert "shipped" in shop.known_statuses()


def test_the_page_names_every_key_and_no_other() -> None:
    table = GUIDE.split("\n### All keys\n")[1].split("\n### ")[0]
    rows = dict(re.findall(r"^\| (`.+?`) \| (.*) \|$", table, re.MULTILINE))
    named = {of: set(re.findall(r"`(\w+)`", keys)) for of, keys in rows.items()}
    assert named["`ORDER`"] == set(ORDER_KEYS)
    assert named["`lines`"] == set(LINE_KEYS)
    assert named["`CART`"] == set(CART_KEYS)
    assert named["`customer`"] == set(PARTS["customer"].__dataclass_fields__)
    assert named["`billing`, `delivery`"] == set(PARTS["billing"].__dataclass_fields__)
