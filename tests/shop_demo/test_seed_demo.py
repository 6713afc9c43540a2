"""``manage.py seed_demo``."""

import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from optico_sync.models import DeclaredStatus, VendorCredential
from shop_demo.models import Product


def seed() -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out)
    return out.getvalue()


def rows() -> list[Any]:
    return [
        list(Product.objects.order_by("pk").values()),
        list(get_user_model().objects.order_by("pk").values("pk", "username", "password", "is_staff", "is_superuser")),
        list(VendorCredential.objects.order_by("pk").values()),
        list(DeclaredStatus.objects.order_by("pk").values()),
    ]


def test_seeding_twice_gives_the_same_rows(db: None) -> None:
    seed()
    first = rows()
    seed()
    assert rows() == first


def test_seeding_fills_in_the_sandbox(db: None, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:8123"
    seed()
    credential = VendorCredential.objects.get(vendor="optico")
    assert (credential.vendor, credential.base_url, credential.is_enabled) == ("optico", "http://127.0.0.1:8123", True)
    assert credential.secrets == {"key": "cust_sandbox_demo"}
    sales = credential.declared_statuses.filter(is_sale=True).values_list("name", flat=True)
    assert sorted(sales) == ["confirmed", "shipped"]


def test_seeding_follows_the_port_and_keeps_what_the_owner_chose(db: None, settings: Any) -> None:
    seed()
    VendorCredential.objects.update(is_enabled=False)
    settings.SANDBOX_URL = "http://127.0.0.1:8124"
    seed()
    credential = VendorCredential.objects.get(vendor="optico")
    assert (credential.base_url, credential.is_enabled) == ("http://127.0.0.1:8124", False)
    reviews = VendorCredential.objects.get(vendor="guaranteed_reviews")
    assert reviews.base_url == "http://127.0.0.1:8124/private/v3/orders"


def test_seeding_without_a_key_names_the_setting(db: None, settings: Any) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENCRYPTION_KEYS": []}
    with pytest.raises(CommandError, match="OPTICO_ENCRYPTION_KEYS"):
        seed()
    assert not Product.objects.exists()
