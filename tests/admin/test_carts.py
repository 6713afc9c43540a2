"""The pages of carts."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from optico_sync.models import Subject
from tests.helpers import Vendor, deliver, fill, make_credential, place

pytestmark = pytest.mark.django_db
VISIT = "3617898c651df0f8617f70a0"
CARTS = "/admin/optico_sync/cart/"
ORDERS = "/admin/optico_sync/subject/"


@pytest.fixture
def told(credential: Any, vendor: Vendor) -> Subject:
    """A cart that the vendor has, beside an order and a vendor that takes no carts."""
    make_credential(name="Other vendor")
    type(credential).objects.filter(name="Other vendor").update(vendor="ometria")
    fill(visit_id=VISIT)
    place("1001")
    deliver(credential, sender=vendor)
    return Subject.objects.get(kind=Subject.Kind.CART)


def html(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_carts_and_orders_have_lists_of_their_own(admin_client: Client, told: Subject) -> None:
    carts, orders = html(admin_client, CARTS), html(admin_client, ORDERS)
    assert "1 cart" in carts and "1001" not in carts
    assert "1 order" in orders and f"/cart/{told.pk}/" not in orders
    assert "Other vendor" not in carts.split("result_list")[1].split("sync-paginator")[0]


def test_a_carts_page_tells_what_happened_and_has_no_buttons(admin_client: Client, told: Subject) -> None:
    page = html(admin_client, reverse("admin:optico_sync_cart_change", args=[told.pk]))
    assert VISIT in page and "sent to Optico" in page and "in sync" in page
    assert "customer-cart" not in page and 'name="verb"' not in page and "Status in the shop" not in page
    assert "Other vendor" not in page


def test_a_cart_is_no_order_and_an_order_no_cart(admin_client: Client, told: Subject) -> None:
    order = Subject.objects.get(kind=Subject.Kind.ORDER)
    for name, pk in (("cart", order.pk), ("subject", told.pk)):
        assert admin_client.get(reverse(f"admin:optico_sync_{name}_change", args=[pk])).status_code == 302


def test_a_cart_is_found_by_its_key(admin_client: Client, told: Subject) -> None:
    assert "1 cart" in html(admin_client, f"{CARTS}?q={told.key}")
    assert "0 carts" in html(admin_client, f"{CARTS}?q=none")
