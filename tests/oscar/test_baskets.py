"""Baskets as carts, through Oscar's own views."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from oscar.apps.basket.models import Basket, Line, LineAttribute
from oscar.apps.catalogue.models import Option, Product

from optico_sync.exceptions import Unreadable
from optico_sync.models import OutboxEvent, SyncState, VendorCredential
from optico_sync.sandbox.client import SandboxServer
from optico_sync.shops import get_shop
from optico_sync.snapshot import CartSnapshot
from tests.helpers import deliver
from tests.oscar.shopper import VISIT, Shopper, make_product, make_user

pytestmark = pytest.mark.django_db


def read(basket: Basket) -> CartSnapshot:
    carts = get_shop().carts
    assert carts is not None
    found = carts.read([str(basket.pk)], using="default")[str(basket.pk)]
    assert isinstance(found, CartSnapshot), found
    return found


def state_of(basket: Basket) -> SyncState:
    return SyncState.objects.get(subject__kind="cart", subject__key=str(basket.pk))


def make_basket(**fields: Any) -> Basket:
    return Basket.objects.create(**fields)


def make_line(basket: Basket, product: Product, **fields: Any) -> Line:
    return Line.objects.create(
        basket=basket,
        product=product,
        stockrecord=product.stockrecords.get(),
        line_reference=f"line-{product.pk}",
        **{"price_currency": "EUR", "price_incl_tax": "4.00", "price_excl_tax": "3.33", **fields},
    )


def test_a_basket_is_shown_to_agents(live: VendorCredential, vendor_account: SandboxServer, pens: Any) -> None:
    Shopper().add(pens, 7)
    deliver(live)
    basket = Basket.objects.get()
    (told,) = vendor_account.records("cart")
    assert (told["id"], told["visit_id"], told["currency"]) == (str(basket.pk), VISIT, "EUR")
    assert [(item["id"], item["name"], item["quantity"], item["price"]) for item in told["products"]] == [
        ("PEN-01", "Blue pen", 7, "4.00")
    ]


def test_a_changed_quantity_saves_the_line_only_and_is_sent(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    shopper = Shopper()
    shopper.add(pens)
    deliver(live)
    basket = Basket.objects.get()
    form = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": basket.lines.get().pk,
        "form-0-quantity": 3,
    }
    shopper.post("/basket/", form)
    deliver(live)
    assert vendor_account.records("cart")[0]["products"][0]["quantity"] == 3


def test_at_sign_in_the_surviving_basket_is_sent_and_the_other_is_over(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any, lamp: Any
) -> None:
    user = make_user()
    Shopper(user=user).add(lamp)
    own = Basket.objects.get(owner=user)
    visitor = Shopper()
    visitor.add(pens)
    anonymous = Basket.objects.get(owner=None)
    deliver(live)
    visitor.force_login(user)
    visitor.get("/basket/")
    deliver(live)
    anonymous.refresh_from_db()
    assert (anonymous.status, anonymous.lines.count(), own.lines.count()) == ("Merged", 0, 2)
    told = vendor_account.record("cart", str(own.pk))
    assert told is not None
    assert {item["id"] for item in told["products"]} == {"PEN-01", "LAMP-01"}
    assert len(vendor_account.journal(str(anonymous.pk))) == 1
    assert state_of(anonymous).reason == "cart_over"


def test_the_order_names_the_basket_that_survived(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    user = make_user()
    visitor = Shopper()
    visitor.add(pens)
    anonymous = Basket.objects.get()
    visitor.force_login(user)
    order = visitor.buy()
    deliver(live)
    told = vendor_account.order(order.number)
    assert told is not None
    assert told["cart_id"] == str(order.basket_id) != str(anonymous.pk)


@pytest.mark.parametrize(
    ("status", "is_open"),
    [("Open", True), ("Frozen", True), ("Saved", False), ("Merged", False), ("Submitted", False)],
)
def test_a_basket_is_over_when_nobody_shops_with_it(status: str, is_open: bool) -> None:
    assert read(make_basket(status=status)).is_open is is_open


def test_a_submitted_basket_is_not_sent_again(live: VendorCredential, vendor_account: SandboxServer, pens: Any) -> None:
    shopper = Shopper()
    shopper.add(pens)
    deliver(live)
    order = shopper.buy()
    deliver(live)
    assert len(vendor_account.journal(str(order.basket_id), vendor="cart")) == 1
    assert state_of(order.basket).reason == "cart_over"


def test_a_frozen_basket_that_thaws_is_nothing_new(
    live: VendorCredential, vendor_account: SandboxServer, pens: Any
) -> None:
    """The payment failed."""
    Shopper().add(pens)
    basket = Basket.objects.get()
    deliver(live)
    basket.freeze()
    deliver(live)
    basket.thaw()
    deliver(live)
    assert len(vendor_account.records("cart")) == len(vendor_account.journal(str(basket.pk))) == 1
    assert state_of(basket).state == SyncState.State.IN_SYNC


def test_an_empty_basket_is_nothing_to_tell(live: VendorCredential, vendor_account: SandboxServer, pens: Any) -> None:
    shopper = Shopper()
    shopper.add(pens)
    basket = Basket.objects.get()
    basket.lines.all().delete()
    deliver(live)
    assert (read(basket).currency, state_of(basket).reason) == ("EUR", "empty_cart")


def test_a_basket_of_an_account_is_logged_in() -> None:
    assert read(make_basket(owner=make_user())).is_logged_in
    assert not read(make_basket()).is_logged_in


# money, names


def test_a_line_costs_what_was_stored_when_it_was_put_in(pens: Any) -> None:
    basket = make_basket()
    make_line(basket, pens, quantity=7, price_incl_tax="3.99")
    pens.stockrecords.update(price=100)
    (line,) = read(basket).lines
    assert (line.quantity, line.total) == (7, Decimal("27.93"))


def test_a_line_whose_tax_is_not_known_costs_what_the_visitor_sees(pens: Any) -> None:
    basket = make_basket()
    make_line(basket, pens, price_incl_tax=None)
    assert read(basket).lines[0].total == Decimal("3.33")


def test_a_line_without_a_price_is_told_and_not_guessed(pens: Any) -> None:
    basket = make_basket()
    make_line(basket, pens, price_incl_tax=None, price_excl_tax=None)
    carts = get_shop().carts
    assert carts is not None
    found = carts.read([str(basket.pk)], using="default")[str(basket.pk)]
    assert isinstance(found, Unreadable)
    assert "unit_price" in str(found)


def test_a_variant_may_have_its_title_from_its_product(pens: Any) -> None:
    pens.structure = Product.PARENT
    pens.save()
    variant = make_product("PEN-01-RED", "", "3.33", structure=Product.CHILD, parent=pens)
    basket = make_basket()
    line = make_line(basket, variant)
    option = Option.objects.create(name="Engraving", code="engraving")
    LineAttribute.objects.create(line=line, option=option, value="For Zoë")
    (read_line,) = read(basket).lines
    assert (read_line.name, read_line.sku, read_line.details) == ("Blue pen", "PEN-01-RED", {"engraving": "For Zoë"})


@pytest.mark.parametrize("count", [1, 50, 500])
def test_baskets_are_read_in_a_constant_number_of_queries(
    count: int, pens: Any, django_assert_num_queries: Callable[..., Any]
) -> None:
    variant = make_product("PEN-01-RED", "", "3.33", structure=Product.CHILD, parent=pens)
    option = Option.objects.create(name="Engraving", code="engraving")
    baskets = [make_basket() for _number in range(count)]
    for basket in baskets:
        LineAttribute.objects.create(line=make_line(basket, variant), option=option, value="x")
    carts = get_shop().carts
    assert carts is not None
    with django_assert_num_queries(3):
        found = carts.read([str(basket.pk) for basket in baskets], using="default")
    assert len(found) == count


def test_a_basket_filled_by_staff_has_no_visit(pens: Any) -> None:
    Shopper(user=make_user("staff", is_staff=True)).add(pens)
    assert set(OutboxEvent.objects.filter(kind="cart").values_list("visit_id", flat=True)) == {""}
