"""The cart of a session."""

from __future__ import annotations

import uuid

from django.http import HttpRequest

from shop_demo.models import MAX_QUANTITY, Cart, CartLine, Product

SESSION_KEY = "cart"


def cart_id(request: HttpRequest) -> uuid.UUID | None:
    """The key of this session's cart, which may be gone already."""
    key = request.session.get(SESSION_KEY)
    return uuid.UUID(key) if key else None


def cart_lines(request: HttpRequest) -> list[CartLine]:
    """What is in the cart and can still be bought."""
    key = cart_id(request)
    if key is None:
        return []
    return list(CartLine.objects.filter(cart=key, product__is_active=True).select_related("product"))


def add(request: HttpRequest, product: Product, quantity: int) -> None:
    """Put so many more of ``product`` into the cart, which begins with its first product."""
    key = cart_id(request)
    cart = Cart.objects.filter(pk=key).first() if key else None
    if cart is None:
        cart = Cart.objects.create()
        request.session[SESSION_KEY] = str(cart.pk)
    line, created = cart.lines.get_or_create(product=product, defaults={"quantity": quantity})
    if not created:
        line.quantity = min(line.quantity + quantity, MAX_QUANTITY)
        line.save(update_fields=["quantity"])


def change(request: HttpRequest, product: Product, quantity: int) -> None:
    """Set the quantity of what is in the cart; 0 removes it."""
    line = CartLine.objects.filter(cart=cart_id(request), product=product).first()
    if line and quantity:
        line.quantity = quantity
        line.save(update_fields=["quantity"])
    elif line:
        line.delete()


def forget(request: HttpRequest) -> None:
    request.session.pop(SESSION_KEY, None)
