"""Fill the demo: products, two users, and the sandbox as every vendor. May run again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

# Here and in seed_orders the shop knows more of the app than its settings: it plays the owner who uses the admin.
from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import DeclaredStatus, VendorCredential
from shop_demo.models import Order, Product

SALES = {Order.Status.CONFIRMED, Order.Status.SHIPPED}


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account at the sandbox, as an owner would type it in."""

    name: str
    vendor: str
    secrets: dict[str, str]
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sales: frozenset[str] = frozenset(SALES)


# The keys are the sandbox's own, but Optico's: `shop_demo.demo` gives it that one.
ACCOUNTS = [
    Account(
        name="Optico (sandbox)",
        vendor="optico",
        secrets={"key": "cust_sandbox_demo"},
        options={"dialect": "sales"},
    ),
    Account(name="Ometria (sandbox)", vendor="ometria", secrets={"key": "ometria_sandbox"}, path="/ometria/v2"),
    Account(
        name="Optimizely (sandbox)",
        vendor="optimizely",
        secrets={"site_token": "token_sandbox"},
        options={"site": "sandbox", "cluster": "custom", "channel": "callcentre"},
    ),
    # Customers are asked when their parcel is on its way.
    Account(
        name="Guaranteed Reviews (sandbox)",
        vendor="guaranteed_reviews",
        secrets={"api_key": "reviews_sandbox"},
        path="/private/v3/orders",
        sales=frozenset({Order.Status.SHIPPED}),
    ),
]

PRODUCTS = [
    ("LAMP-01", "Reading lamp “Heron”", "59.00"),
    ("MUG-01", "Stoneware mug, sea green", "14.50"),
    ("MUG-02", "Stoneware mug, chalk", "14.50"),
    ("NOTE-01", "Notebook, dotted, A5", "9.90"),
    ("PEN-01", "Brass ballpoint pen", "24.00"),
    ("BAG-01", "Canvas shopping bag", "19.00"),
    ("TEA-01", "Mountain herb tea, 80 g", "7.35"),
    ("CLOCK-01", "Wall clock “Noon”", "44.95"),
]


class Command(BaseCommand):
    help = "Fill the demo shop: products, users admin and agent, and the sandbox as every vendor."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        for sku, title, price in PRODUCTS:
            Product.objects.get_or_create(sku=sku, defaults={"title": title, "price": Decimal(price)})
        seed_users()
        try:
            seed_vendors()
        except EncryptionKeyError as error:
            raise CommandError(
                f"{error} Put the key into OPTICO_ENCRYPTION_KEYS in .env, or delete the database."
            ) from error
        self.stdout.write(f"Demo data is in place; the vendors are at {settings.SANDBOX_URL}.")


def seed_users() -> None:
    users = get_user_model().objects
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", email="admin@shop.example", password="admin")  # noqa: S106 - demo only
    if not users.filter(username="agent").exists():
        agent = users.create_user("agent", email="agent@shop.example", password="agent", is_staff=True)  # noqa: S106
        allowed = ["view_order", "change_order", "view_orderline"]
        agent.user_permissions.set(Permission.objects.filter(content_type__app_label="shop_demo", codename__in=allowed))


def seed_vendors() -> None:
    """What is there stays as its owner left it, but the addresses follow the sandbox's port."""
    for account in ACCOUNTS:
        base_url = settings.SANDBOX_URL + account.path
        credential = VendorCredential.objects.filter(name=account.name).first()
        if credential is None:
            credential = VendorCredential(
                name=account.name,
                vendor=account.vendor,
                base_url=base_url,
                options=account.options,
                is_enabled=True,
                start_at=timezone.now() - timedelta(days=28),
            )
            credential.set_secrets(account.secrets)
            credential.save()
            for status in Order.Status:
                DeclaredStatus.objects.create(credential=credential, name=status.value, is_sale=status in account.sales)
        elif credential.base_url != base_url:
            credential.base_url = base_url
            credential.save(update_fields=["base_url"])
