"""Products, carts and orders."""

from __future__ import annotations

import secrets
import uuid
from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

#: Letters and digits that are not mistaken for one another on the phone.
_LEGIBLE = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
MAX_QUANTITY = 99
SHIPPING_PRICE = Decimal("4.90")


def new_number() -> str:
    """An order number that tells nobody how many orders there are, and cannot be guessed from another one."""
    return "SD-" + "".join(secrets.choice(_LEGIBLE) for _ in range(8))


class Product(models.Model):
    sku = models.CharField("SKU", max_length=40, unique=True)
    title = models.CharField(max_length=200)
    price = models.DecimalField(max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0"))])
    is_active = models.BooleanField("for sale", default=True)

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class Cart(models.Model):
    """A visitor's cart; the session holds its key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return str(self.pk)


class CartLine(models.Model):
    cart = models.ForeignKey(Cart, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(MAX_QUANTITY)]
    )

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["cart", "product"], name="shop_demo_product_once_in_cart")]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"

    @property
    def total(self) -> Decimal:
        return self.quantity * self.product.price


class Order(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        CONFIRMED = "confirmed", "Confirmed"
        SHIPPED = "shipped", "Shipped"
        CANCELLED = "cancelled", "Cancelled"
        REFUNDED = "refunded", "Refunded"

    number = models.CharField(max_length=32, unique=True, default=new_number, editable=False)
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING)
    currency = models.CharField(max_length=3, default="EUR", editable=False)
    customer_name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    cart_id = models.CharField("cart", max_length=64, blank=True, editable=False)
    call_id = models.CharField("call", max_length=64, blank=True, help_text="The call that brought a phone order.")
    agent = models.CharField(max_length=100, blank=True, help_text="Who took the call.")
    placed_at = models.DateTimeField(default=timezone.now, editable=False)
    shipping_price = models.DecimalField(max_digits=10, decimal_places=2, default=SHIPPING_PRICE)

    class Meta:
        ordering = ["-placed_at", "-pk"]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.number])

    @property
    def subtotal(self) -> Decimal:
        return sum((line.line_total for line in self.lines.all()), Decimal("0.00"))

    @property
    def total(self) -> Decimal:
        return self.subtotal + self.shipping_price


class OrderLine(models.Model):
    """What was bought, at the price of that day: the product may change or go."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.SET_NULL, null=True, blank=True, related_name="+")
    sku = models.CharField("SKU", max_length=40)
    title = models.CharField(max_length=200)
    quantity = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    line_total = models.DecimalField(max_digits=12, decimal_places=2, editable=False)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.title}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.line_total = self.quantity * self.unit_price
        super().save(*args, **kwargs)
