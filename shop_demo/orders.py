"""How an order comes to be: from a visitor's cart, or on the phone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import transaction

from shop_demo.models import Cart, Order, OrderLine, Product


class EmptyCart(Exception):
    """There is nothing to order: the cart is empty, or has been ordered already."""


@transaction.atomic
def place_order(cart_id: uuid.UUID, order: Order) -> Order:
    """Save ``order`` with what is in the cart, and end the cart. Raises ``EmptyCart``."""
    # The lock makes the second half of a double click wait here, and then find no cart.
    cart = Cart.objects.select_for_update().filter(pk=cart_id).first()
    lines = list(cart.lines.filter(product__is_active=True).select_related("product")) if cart else []
    if cart is None or not lines:
        raise EmptyCart
    order.cart_id = str(cart.pk)
    order.save()
    _add_lines(order, [(line.product, line.quantity) for line in lines])
    cart.delete()
    return order


@transaction.atomic
def place_phone_order(order: Order, products: Iterable[tuple[Product, int]]) -> Order:
    """Save an order taken by an agent: it is confirmed on the phone."""
    order.status = Order.Status.CONFIRMED
    order.save()
    _add_lines(order, products)
    return order


def _add_lines(order: Order, products: Iterable[tuple[Product, int]]) -> None:
    for product, quantity in products:
        OrderLine.objects.create(
            order=order,
            product=product,
            sku=product.sku,
            title=product.title,
            quantity=quantity,
            unit_price=product.price,
        )
