"""The shop's pages."""

from __future__ import annotations

import secrets
from decimal import Decimal

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from shop_demo import carts
from shop_demo.forms import CartForm, CheckoutForm, PhoneOrderForm
from shop_demo.models import SHIPPING_PRICE, Order, Product
from shop_demo.orders import EmptyCart, place_order, place_phone_order

#: Optico's documents name its cookie in two ways.
VISIT_COOKIES = ("optico_visitId", "optico_visit_id")
VISIT_LIFETIME = 30 * 24 * 3600

#: The numbers of the orders that were placed in a session.
ORDERS_KEY = "orders"

form_page = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
def product_list(request: HttpRequest) -> HttpResponse:
    return render(request, "shop_demo/product_list.html", {"products": Product.objects.filter(is_active=True)})


@require_safe
def cart(request: HttpRequest) -> HttpResponse:
    lines = carts.cart_lines(request)
    subtotal = sum((line.total for line in lines), Decimal("0.00"))
    return render(request, "shop_demo/cart.html", {"lines": lines, "subtotal": subtotal})


@require_POST
def cart_add(request: HttpRequest) -> HttpResponse:
    form = CartForm({"quantity": 1, **request.POST.dict()})
    if not form.is_valid() or not form.cleaned_data["quantity"]:
        return _refuse_product(request, form)
    product = form.cleaned_data["sku"]
    carts.add(request, product, form.cleaned_data["quantity"])
    messages.success(request, f"“{product}” is in your cart.")
    return redirect("product-list")


@require_POST
def cart_change(request: HttpRequest) -> HttpResponse:
    form = CartForm(request.POST)
    if not form.is_valid():
        return _refuse_product(request, form)
    carts.change(request, form.cleaned_data["sku"], form.cleaned_data["quantity"])
    return redirect("cart")


@require_POST
def cart_remove(request: HttpRequest) -> HttpResponse:
    carts.change(request, get_object_or_404(Product, sku=request.POST.get("sku", "")), 0)
    return redirect("cart")


@form_page
def checkout(request: HttpRequest) -> HttpResponse:
    lines = carts.cart_lines(request)
    if not lines:
        return _refuse_empty_cart(request)
    form = CheckoutForm(request.POST or None)
    if form.is_valid():
        try:
            order = place_order(lines[0].cart_id, form.save(commit=False))
        except EmptyCart:
            return _refuse_empty_cart(request)
        carts.forget(request)
        request.session[ORDERS_KEY] = [*request.session.get(ORDERS_KEY, []), order.number]
        return redirect(order)
    subtotal = sum((line.total for line in lines), Decimal("0.00"))
    context = {
        "form": form,
        "lines": lines,
        "shipping_price": SHIPPING_PRICE,
        "total": subtotal + SHIPPING_PRICE,
    }
    return render(request, "shop_demo/checkout.html", context)


@require_safe
def order(request: HttpRequest, number: str) -> HttpResponse:
    """For who placed it, and for staff; for anybody else there is no such order."""
    own = number in request.session.get(ORDERS_KEY, [])
    if not own and not request.user.is_staff:
        raise Http404
    found = get_object_or_404(Order.objects.prefetch_related("lines"), number=number)
    return render(request, "shop_demo/order.html", {"order": found, "own": own})


@form_page
def visitor(request: HttpRequest) -> HttpResponse:
    """Play a visitor who came through Optico: a button sets the cookie that its script would set."""
    if request.method != "POST":
        cookies = [(name, request.COOKIES[name]) for name in VISIT_COOKIES if name in request.COOKIES]
        return render(request, "shop_demo/visitor.html", {"cookies": cookies, "names": VISIT_COOKIES})
    chosen = request.POST.get("cookie", "")
    response = redirect("visitor")
    for name in VISIT_COOKIES:
        if name == chosen:
            response.set_cookie(name, secrets.token_hex(12), max_age=VISIT_LIFETIME, samesite="Lax")
        else:
            response.delete_cookie(name, samesite="Lax")
    return response


@staff_member_required
@form_page
def phone_order(request: HttpRequest) -> HttpResponse:
    form = PhoneOrderForm(request.POST or None, initial={"agent": request.user.get_username()})
    if form.is_valid():
        return redirect(place_phone_order(form.save(commit=False), form.chosen_products()))
    return render(request, "shop_demo/phone_order.html", {"form": form})


def _refuse_product(request: HttpRequest, form: CartForm) -> HttpResponse:
    if "sku" in form.errors:
        messages.error(request, "This product is no longer for sale.")
    else:
        messages.error(request, "Choose a quantity from 1 to 99.")
    return redirect("cart")


def _refuse_empty_cart(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Your cart is empty.")
    return redirect("cart")
