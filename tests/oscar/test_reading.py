"""What Oscar's rows mean to a vendor: above all, what one unit costs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sites.models import Site
from django.test import override_settings
from django.utils import timezone
from oscar.apps.address.models import Country
from oscar.apps.catalogue.models import Option, Product
from oscar.apps.order.models import (
    BillingAddress,
    Line,
    LineAttribute,
    Order,
    OrderDiscount,
    ShippingAddress,
    Surcharge,
)
from oscar.apps.payment.models import Source, SourceType

from optico_sync.exceptions import ConfigurationError
from optico_sync.outcome import Outcome
from optico_sync.shops import get_shop
from optico_sync.shops.oscar import OscarShop
from optico_sync.snapshot import Address, Customer, OrderSnapshot, unit_price
from optico_sync.snapshot import Line as LineSnapshot
from optico_sync.vendors.ometria import find_amounts
from tests.oscar.shopper import ADDRESS, EMAIL, Shopper, make_product, make_user, make_voucher

pytestmark = pytest.mark.django_db


def read(order: Order, shop: OscarShop | None = None) -> OrderSnapshot:
    found = (shop or get_shop()).read([str(order.pk)], using="default")[str(order.pk)]
    assert isinstance(found, OrderSnapshot), found
    return found


def make_order(number: str = "100001", **fields: Any) -> Order:
    """An order as an import makes it: without a basket, addresses or a customer."""
    amounts = {"total_incl_tax": "12.00", "total_excl_tax": "10.00"}
    return Order.objects.create(number=number, currency="EUR", **{**amounts, **fields})


def make_line(order: Order, paid: str = "12.00", net: str = "10.00", **fields: Any) -> Line:
    return Line.objects.create(
        order=order,
        num_allocated=0,
        line_price_incl_tax=paid,
        line_price_excl_tax=net,
        **{
            "partner_sku": "PEN-01",
            "title": "Blue pen",
            "line_price_before_discounts_incl_tax": paid,
            "line_price_before_discounts_excl_tax": net,
            **fields,
        },
    )


def test_an_order_is_read_whole(pens: Product) -> None:
    Site.objects.update(domain="shop.example")
    Site.objects.clear_cache()
    make_voucher("PEN-DAY", percent=10)
    shopper = Shopper()
    shopper.add(pens, 7)
    shopper.use_voucher("PEN-DAY")
    order = shopper.buy()
    assert read(order) == OrderSnapshot(
        key=str(order.pk),
        reference=str(100000 + order.basket_id),
        status="Pending",
        currency="EUR",
        placed_at=order.date_placed,
        total=Decimal("29.42"),
        tax=Decimal("4.91"),
        shipping=Decimal("4.80"),
        shipping_method="Courier",
        payment_method="Card",
        coupon_code="PEN-DAY",
        store="shop.example",
        customer=Customer(email=EMAIL, first_name="Anna", last_name="Example"),
        delivery=Address(first_name="Anna", last_name="Example", city="Paris", postcode="75001", country_code="FR"),
        lines=(
            LineSnapshot(
                product_id="PEN-01",
                sku="PEN-01",
                product_key=str(pens.pk),
                name="Blue pen",
                quantity=Decimal(7),
                total=Decimal("24.62"),
                tax=Decimal("4.11"),
                discount=Decimal("3.35"),
            ),
        ),
        attribution=read(order).attribution,
    )
    assert read(order).attribution.cart_key == str(order.basket_id)


# money


def test_a_unit_costs_what_was_paid_for_the_line(pens: Product) -> None:
    """Seven pens at 3.33 and 20 % tax: Oscar stores a unit of 4.00, and 27.97 for the line."""
    order = Shopper().buy(pens, quantity=7)
    (line,) = read(order).lines
    assert order.lines.get().unit_price_incl_tax == Decimal("4.00")
    assert (line.total, line.discount) == (Decimal("27.97"), 0)
    assert unit_price(line, "EUR") == Decimal("3.9957")


@pytest.mark.parametrize("percent", [0, 12, 33, 100])
@pytest.mark.parametrize("quantity", [1, 3, 7, 13])
def test_lines_and_shipping_add_up_to_the_total(percent: int, quantity: int) -> None:
    products = [make_product(f"SKU-{price}", price, price) for price in ("3.33", "0.07", "19.99")]
    shopper = Shopper()
    for product in products:
        shopper.add(product, quantity)
    if percent:
        make_voucher("SAVE", percent=percent)
        shopper.use_voucher("SAVE")
    snapshot = read(shopper.buy())
    assert snapshot.discount == 0
    amounts = find_amounts(snapshot, "EUR")
    assert not isinstance(amounts, Outcome), amounts
    assert amounts.grand_total == snapshot.total


def test_surcharges_count_with_shipping() -> None:
    order = make_order(
        total_incl_tax="18.40", total_excl_tax="15.00", shipping_incl_tax="4.80", shipping_excl_tax="4.00"
    )
    make_line(order)
    Surcharge.objects.create(order=order, name="Cash on delivery", code="cod", incl_tax="1.60", excl_tax="1.00")
    assert read(order).shipping == Decimal("6.40")
    assert not isinstance(find_amounts(read(order), "EUR"), Outcome)


def test_an_order_without_lines_is_read_too() -> None:
    assert read(make_order()).lines == ()


# who


def test_the_accounts_name_and_address_come_first(pens: Product) -> None:
    user = make_user(first_name="Annabel", last_name="Account")
    order = Shopper(user=user).buy(pens)
    assert read(order).customer == Customer(
        key=str(user.pk), email="anna@example.com", first_name="Annabel", last_name="Account"
    )


def test_names_are_of_one_person(pens: Product) -> None:
    order = Shopper(user=make_user(first_name="Annabel")).buy(pens)
    customer = read(order).customer
    assert (customer.first_name, customer.last_name) == (ADDRESS["first_name"], ADDRESS["last_name"])


def test_an_order_without_addresses_and_e_mail_is_read() -> None:
    """Digital goods, or an import."""
    snapshot = read(make_order())
    assert (snapshot.customer, snapshot.billing, snapshot.delivery) == (Customer(), Address(), Address())


def test_a_deleted_accounts_order_keeps_what_the_addresses_say(pens: Product) -> None:
    user = make_user()
    order = Shopper(user=user).buy(pens)
    user.delete()
    snapshot = read(Order.objects.get(pk=order.pk))
    assert snapshot.customer == Customer(first_name="Anna", last_name="Example")
    assert snapshot.attribution.cart_key == ""


# lines


def test_a_line_outlives_its_product(pens: Product) -> None:
    order = Shopper().buy(pens)
    pens.delete()
    (line,) = read(order).lines
    assert (line.product_id, line.sku, line.name, line.product_key) == ("PEN-01", "PEN-01", "Blue pen", "")


def test_options_are_details(pens: Product) -> None:
    line = make_line(make_order())
    option = Option.objects.create(name="Engraving", code="engraving")
    LineAttribute.objects.create(line=line, option=option, type="engraving", value="For Zoë")
    LineAttribute.objects.create(line=line, type="colours", value=["red", "blue"])
    (read_line,) = read(line.order).lines
    assert read_line.details == {"engraving": "For Zoë", "colours": ["red", "blue"]}


def test_several_vouchers_and_payments_are_all_named() -> None:
    order = make_order()
    for code in ("ONE", "", "TWO", "ONE"):
        OrderDiscount.objects.create(order=order, voucher_code=code, amount=1)
    for name in ("Card", "Gift card"):
        Source.objects.create(order=order, source_type=SourceType.objects.create(name=name, code=name))
    assert (read(order).coupon_code, read(order).payment_method) == ("ONE, TWO", "Card, Gift card")


# number and status


def test_the_number_is_text_although_oscar_saves_an_integer_first() -> None:
    order = Order(number=100001, status="Pending")
    assert get_shop().facts(order).reference == "100001"


def test_an_order_without_a_status_is_placed() -> None:
    order = make_order()
    assert (get_shop().facts(order).status, read(order).status) == ("placed", "placed")
    assert list(get_shop().find(using="default", statuses=["placed"])) == [order]
    assert list(get_shop().find(using="default", statuses=["Pending"])) == []


def test_an_order_saved_without_its_status_says_nothing_about_it() -> None:
    order = Order.objects.only("number").get(pk=make_order(status="Complete").pk)
    assert get_shop().facts(order).status == ""


def test_the_pipelines_statuses_are_known() -> None:
    assert list(get_shop().known_statuses()) == ["Pending", "Being processed", "Cancelled", "Complete"]


def test_without_a_first_status_orders_begin_as_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Order, "pipeline", {"": ("Paid",), "Open": ("Shut",)})
    with override_settings(OSCAR_INITIAL_ORDER_STATUS=""):
        assert list(get_shop().known_statuses()) == ["placed", "Open", "Paid", "Shut"]


def test_orders_are_found_by_number_and_date() -> None:
    now = timezone.now()
    old, new = make_order("1", date_placed=now - timedelta(days=2)), make_order("A-2", date_placed=now)
    shop = get_shop()
    assert list(shop.find(using="default", references=["A-2", "nothing"])) == [new]
    assert list(shop.find(using="default", placed_until=now - timedelta(days=1))) == [old]
    assert list(shop.find(using="default", keys=[str(new.pk), "x"], placed_from=now)) == [new]


# what is not there, and what it costs


def test_a_deleted_order_is_missing() -> None:
    order = make_order()
    key = str(order.pk)
    order.delete()
    assert get_shop().read([key, "no key"], using="default") == {}


def make_orders(count: int) -> list[str]:
    """Orders with everything an order can have."""
    country, _made = Country.objects.get_or_create(iso_3166_1_a2="FR")
    kind = SourceType.objects.create(name="Card", code="card")
    users = User.objects.bulk_create(
        User(username=str(number), email=f"{number}@example.com") for number in range(count)
    )
    orders = Order.objects.bulk_create(
        Order(
            number=str(number),
            user=user,
            site_id=1,
            currency="EUR",
            total_incl_tax=24,
            total_excl_tax=20,
            date_placed=timezone.now(),
            billing_address=BillingAddress.objects.create(country=country),
            shipping_address=ShippingAddress.objects.create(country=country),
        )
        for number, user in enumerate(users)
    )
    lines = [make_line(order) for order in orders for _line in range(2)]
    LineAttribute.objects.bulk_create(LineAttribute(line=line, type="size", value="L") for line in lines)
    OrderDiscount.objects.bulk_create(OrderDiscount(order=order, voucher_code="ONE") for order in orders)
    Surcharge.objects.bulk_create(Surcharge(order=order, name="Cash", code="cash") for order in orders)
    Source.objects.bulk_create(Source(order=order, source_type=kind) for order in orders)
    return [str(order.pk) for order in orders]


@pytest.mark.parametrize("count", [1, 50, 500])
def test_orders_are_read_in_a_constant_number_of_queries(
    count: int, django_assert_num_queries: Callable[..., Any]
) -> None:
    keys = make_orders(count)
    with django_assert_num_queries(6):
        found = get_shop().read(keys, using="default")
    assert len(found) == count
    assert all(isinstance(snapshot, OrderSnapshot) for snapshot in found.values())


# forks


def test_what_a_fork_added_is_named_in_the_settings() -> None:
    shop = OscarShop({"agent": "user.username", "customer": {"pseudonym": "user.username"}, "lines": {"sku": "upc"}})
    order = make_order(user=make_user("zoe"))
    make_line(order, upc="4006381333931")
    snapshot = read(order, shop)
    assert (snapshot.attribution.agent, snapshot.customer.pseudonym, snapshot.customer.email) == (
        "zoe",
        "zoe",
        "zoe@example.com",
    )
    assert (snapshot.lines[0].sku, snapshot.lines[0].product_id) == ("4006381333931", "PEN-01")


def test_a_wrong_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"\['ORDER'\]\['call_id'\] is 'gest_email'.*'guest_email'"):
        OscarShop({"call_id": "gest_email"})
    with pytest.raises(ConfigurationError, match=r"\['ORDER'\]\['lines'\] must be a dict"):
        OscarShop({"lines": "lines"})


@override_settings(OSCAR_INITIAL_ORDER_STATUS="", OSCAR_ORDER_STATUS_PIPELINE={})
def test_triggers_are_refused_where_the_status_placed_stands_for_none() -> None:
    assert OscarShop().columns is None


def test_triggers_know_the_columns_where_every_order_has_a_status() -> None:
    assert OscarShop().columns
