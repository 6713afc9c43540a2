"""A mapping proposed from the model alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models

from optico_sync.exceptions import ConfigurationError
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.proposal import MISSING, propose, written
from optico_sync.snapshot import OrderSnapshot
from shop_demo.models import Order, OrderLine, Product
from tests.helpers import place
from tests.oddshop.models import Purchase, Ticket, Trolley
from tests.settings import OPTICO_SYNC

#: What no model says by itself.
UNSAID = {"details"}


def pasted(model: type[models.Model], **hints: Any) -> dict[str, Any]:
    """The proposal as it comes back from a settings file."""
    scope: dict[str, Any] = {}
    exec(written(propose(model, **hints)), scope)
    return scope["OPTICO_SYNC"]["ORDER"]


def test_what_is_written_is_what_was_proposed() -> None:
    for model in (Order, Purchase, Ticket, User):
        assert pasted(model) == propose(model)


@pytest.mark.django_db
def test_the_demo_shop_loads_and_reads() -> None:
    order = Order.objects.create(number="SD-1", customer_name="Zoë", email="zoe@example.com")
    product = Product.objects.create(sku="A", title="Thing", price=5)
    OrderLine.objects.create(order=order, product=product, sku="A", title="Thing", quantity=2, unit_price=5)
    found = MappedShop(pasted(Order)).read([str(order.pk)], using="default")[str(order.pk)]
    assert isinstance(found, OrderSnapshot)
    assert (found.reference, found.status, found.currency, found.total) == ("SD-1", "pending", "EUR", order.total)
    assert found.customer.email == "zoe@example.com"
    assert [(line.product_id, line.name, line.quantity, line.total) for line in found.lines] == [("A", "Thing", 2, 10)]


@pytest.mark.django_db
def test_an_odd_shop_is_understood_by_types_and_relations() -> None:
    proposed, ours = pasted(Purchase), OPTICO_SYNC["ORDER"]
    assert {key: proposed[key] for key in ours if key != "lines"} == {key: ours[key] for key in ours if key != "lines"}
    assert {key: proposed["lines"][key] for key in ours["lines"].keys() - UNSAID} == {
        key: ours["lines"][key] for key in ours["lines"].keys() - UNSAID
    }
    purchase = place()
    assert isinstance(MappedShop(proposed).read([purchase.pk], using="default")[purchase.pk], OrderSnapshot)


def test_lines_in_json_are_named_after_a_real_one() -> None:
    proposed = pasted(Ticket, item={"sku": "A", "title": "Thing", "qty": 2, "price": "5"})
    assert proposed["lines"] == {
        "json": "basket", "product_id": "sku", "name": "title", "quantity": "qty", "unit_price": "price",
    }  # fmt: skip
    assert (proposed["status"], proposed["currency"]) == ("phase", {"value": "EUR"})
    MappedShop(proposed)


def test_whole_numbers_called_cents_are_cents() -> None:
    assert propose(Trolley)["lines"]["unit_price"] == {"cents": "cents"}


def test_what_is_not_there_is_marked_and_never_made_up() -> None:
    proposed = pasted(User)
    assert (proposed["reference"], proposed["placed_at"], proposed["customer"]["email"]) == (
        "username",
        "date_joined",
        "email",
    )
    assert (proposed["status"], proposed["lines"]) == (MISSING, MISSING)
    assert "# nothing looks like it: name it yourself" in written(proposed)
    assert '"currency": {"value": "EUR"},  # no field found: correct it' in written(proposed)
    with pytest.raises(ConfigurationError, match="'status'"):
        MappedShop(proposed)
