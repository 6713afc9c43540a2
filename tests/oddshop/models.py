"""A deliberately odd shop: text keys, a default manager that hides orders, proxies, children, an address beside."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy
from djmoney.models.fields import MoneyField


def new_key() -> str:
    return uuid.uuid4().hex


class Address(models.Model):
    street = models.CharField(max_length=100)


class OwnSite(models.Manager):
    """Hides orders of other sites, as multi-site shops do."""

    def get_queryset(self) -> models.QuerySet:
        return super().get_queryset().exclude(site="hidden")


class Purchase(models.Model):
    class Stage(models.TextChoices):
        PENDING = "pending", "Pending"
        CONFIRMED = "confirmed", "Confirmed"
        SHIPPED = "shipped", "Shipped"
        CANCELLED = "cancelled", "Cancelled"
        REFUNDED = "refunded", "Refunded"

    key = models.CharField(primary_key=True, max_length=40, default=new_key)
    number = models.CharField(max_length=40)
    stage = models.CharField(max_length=40, default=Stage.PENDING)
    currency = models.CharField(max_length=3, default="EUR")
    bought_at = models.DateTimeField(default=timezone.now)
    basket = models.CharField(max_length=40, blank=True)
    visit = models.CharField(max_length=64, blank=True)
    call = models.CharField(max_length=40, blank=True)
    operator = models.CharField(max_length=40, blank=True)
    site = models.CharField(max_length=20, blank=True)
    address = models.ForeignKey(Address, models.SET_NULL, null=True, related_name="purchases_there")

    objects = OwnSite()


class PurchaseProxy(Purchase):
    class Meta:
        proxy = True


class GiftPurchase(Purchase):
    wish = models.CharField(max_length=100, blank=True)


class Article(models.Model):
    sku = models.CharField(max_length=40)


class Item(models.Model):
    purchase = models.ForeignKey(Purchase, models.CASCADE, related_name="things")
    article = models.ForeignKey(Article, models.SET_NULL, null=True)
    title = models.CharField(max_length=200)
    pieces = models.DecimalField(max_digits=12, decimal_places=3, default=1)
    paid = models.DecimalField(max_digits=14, decimal_places=4)
    extra = models.JSONField(default=dict)


class Trolley(models.Model):
    """A cart that stays when it is over."""

    account = models.CharField(max_length=40, blank=True)
    merged_into = models.ForeignKey("self", models.SET_NULL, null=True)


class Load(models.Model):
    trolley = models.ForeignKey(Trolley, models.CASCADE, related_name="loads")
    article = models.ForeignKey(Article, models.SET_NULL, null=True)
    title = models.CharField(max_length=200)
    pieces = models.IntegerField(default=1)
    cents = models.IntegerField()


class Ticket(models.Model):
    """An order that keeps everything in one row: a number for a status, lines in JSON, cents, an amount in words."""

    class Phase(models.IntegerChoices):
        #: Its label is translated.
        OPEN = 0, gettext_lazy("waiting")
        PAID = 10, "Paid in full"

    code = models.IntegerField(unique=True)
    phase = models.IntegerField(choices=Phase, default=Phase.OPEN)
    basket = models.JSONField(default=list)
    packed = models.TextField(blank=True)
    cents = models.BigIntegerField(default=0)
    written = models.CharField(max_length=40, blank=True)
    extra = models.JSONField(default=dict)


class Parcel(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="parcels")
    address = models.ForeignKey(Address, models.SET_NULL, null=True, related_name="+")
    courier = models.CharField(max_length=40, blank=True)


class Admission(models.Model):
    """An order that is known by a UUID, in a table whose name must be quoted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    number = models.IntegerField()
    stage = models.IntegerField(default=1)
    sold_at = models.DateTimeField(default=timezone.now)
    note = models.JSONField(null=True)

    class Meta:
        db_table = "odd admissions"


class Seat(models.Model):
    admission = models.ForeignKey(Admission, models.CASCADE, null=True, related_name="seats")
    row = models.CharField(max_length=10)
    price = models.DecimalField(max_digits=12, decimal_places=2)


class Bill(models.Model):
    """An order that keeps its amounts in django-money's fields."""

    number = models.CharField(max_length=40)
    stage = models.CharField(max_length=40, default="paid")
    total = MoneyField(max_digits=14, decimal_places=2, default_currency="EUR")


class BillLine(models.Model):
    bill = models.ForeignKey(Bill, models.CASCADE, related_name="lines")
    sku = models.CharField(max_length=40)
    title = models.CharField(max_length=40)
    pieces = models.IntegerField(default=1)
    paid = MoneyField(max_digits=14, decimal_places=2, default_currency="EUR")


class Unwatched(models.Model):
    name = models.CharField(max_length=40)
