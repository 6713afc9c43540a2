"""Products, cart, checkout and the order's page."""

from decimal import Decimal

import pytest
from django.db import transaction
from django.test import Client

from shop_demo import orders
from shop_demo.models import Cart, CartLine, Order, Product

BUYER = {"customer_name": "Ada Example", "email": "ada@shop.example"}


def test_product_list_shows_what_is_for_sale(client: Client, mug: Product, lamp: Product) -> None:
    Product.objects.filter(pk=lamp.pk).update(is_active=False)
    page = client.get("/").content.decode()
    assert mug.title in page
    assert lamp.title not in page


def test_cart_add_twice_adds_up(client: Client, mug: Product) -> None:
    client.post("/cart/add/", {"sku": mug.sku, "quantity": 2})
    client.post("/cart/add/", {"sku": mug.sku})
    assert CartLine.objects.get().quantity == 3


@pytest.mark.parametrize(
    "data", [{"sku": "GONE"}, {"sku": "MUG-01", "quantity": 0}, {"sku": "MUG-01", "quantity": "x"}]
)
def test_cart_add_refuses_nonsense(client: Client, mug: Product, data: dict[str, object]) -> None:
    page = client.post("/cart/add/", data, follow=True).content.decode()
    assert 'class="error"' in page
    assert not CartLine.objects.exists()


def test_cart_shows_the_total(client: Client, full_cart: None) -> None:
    assert "88.00" in client.get("/cart/").content.decode()


def test_cart_change_sets_the_quantity(client: Client, full_cart: None) -> None:
    client.post("/cart/change/", {"sku": "MUG-01", "quantity": 5})
    assert CartLine.objects.get(product__sku="MUG-01").quantity == 5


def test_cart_change_to_zero_removes(client: Client, full_cart: None) -> None:
    client.post("/cart/change/", {"sku": "MUG-01", "quantity": 0})
    assert [line.product.sku for line in CartLine.objects.all()] == ["LAMP-01"]


def test_cart_remove_takes_the_product_out(client: Client, full_cart: None) -> None:
    client.post("/cart/remove/", {"sku": "LAMP-01"})
    assert [line.product.sku for line in CartLine.objects.all()] == ["MUG-01"]


def test_cart_of_another_session_is_left_alone(full_cart: None) -> None:
    Client().post("/cart/change/", {"sku": "MUG-01", "quantity": 9})
    assert CartLine.objects.get(product__sku="MUG-01").quantity == 2


def test_checkout_creates_the_order_with_its_lines(client: Client, full_cart: None) -> None:
    cart = Cart.objects.get()
    client.post("/checkout/", BUYER)
    order = Order.objects.get()
    assert (order.status, order.currency, order.cart_id, order.customer_name) == (
        Order.Status.PENDING,
        "EUR",
        str(cart.pk),
        "Ada Example",
    )
    assert list(order.lines.values_list("sku", "quantity", "line_total")) == [
        ("MUG-01", 2, Decimal("29.00")),
        ("LAMP-01", 1, Decimal("59.00")),
    ]
    assert order.total == Decimal("92.90")


def test_checkout_ends_the_cart(client: Client, full_cart: None) -> None:
    client.post("/checkout/", BUYER)
    assert not Cart.objects.exists()
    assert "empty" in client.get("/cart/").content.decode()


def test_checkout_shows_the_order_to_its_buyer(client: Client, full_cart: None) -> None:
    page = client.post("/checkout/", BUYER, follow=True).content.decode()
    assert Order.objects.get().number in page
    assert "Thank you, Ada Example" in page


def test_checkout_refuses_an_empty_cart(client: Client, db: None) -> None:
    response = client.post("/checkout/", BUYER, follow=True)
    assert response.redirect_chain == [("/cart/", 302)]
    assert "Your cart is empty." in response.content.decode()
    assert not Order.objects.exists()


def test_checkout_shows_an_invalid_email(client: Client, full_cart: None) -> None:
    response = client.post("/checkout/", {**BUYER, "email": "nobody"})
    assert "Enter a valid email address." in response.content.decode()
    assert not Order.objects.exists()
    assert CartLine.objects.count() == 2


def test_the_second_half_of_a_double_click_finds_no_cart(client: Client, full_cart: None) -> None:
    cart = Cart.objects.get()
    orders.place_order(cart.pk, Order(**BUYER))
    with pytest.raises(orders.EmptyCart):
        orders.place_order(cart.pk, Order(**BUYER))
    assert Order.objects.count() == 1


def test_a_failed_line_leaves_no_order(client: Client, full_cart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(orders, "_add_lines", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        orders.place_order(Cart.objects.get().pk, Order(**BUYER))
    assert not Order.objects.exists()
    assert Cart.objects.exists()


def test_order_page_is_hidden_from_another_session(client: Client, full_cart: None) -> None:
    client.post("/checkout/", BUYER)
    assert Client().get(Order.objects.get().get_absolute_url()).status_code == 404


def test_order_page_is_shown_to_staff(client: Client, agent_client: Client, full_cart: None) -> None:
    client.post("/checkout/", BUYER)
    assert agent_client.get(Order.objects.get().get_absolute_url()).status_code == 200
