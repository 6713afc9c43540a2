"""Statuses change in the admin, one save per order."""

import pytest
from django.db import connection
from django.db.models.signals import post_save
from django.test import Client
from django.test.utils import CaptureQueriesContext

from shop_demo.models import Order


@pytest.fixture
def orders(db: None) -> list[Order]:
    return [Order.objects.create(customer_name=name) for name in ("Ada Example", "Bo Example")]


def test_action_saves_each_order(admin_client: Client, orders: list[Order]) -> None:
    saved = []

    def note(instance: Order, **kwargs: object) -> None:
        saved.append((instance.pk, instance.status))

    post_save.connect(note, sender=Order)
    try:
        chosen = [order.pk for order in orders]
        data = {"action": "mark_as_shipped", "_selected_action": chosen}
        admin_client.post("/admin/shop_demo/order/", data)
    finally:
        post_save.disconnect(note, sender=Order)
    assert sorted(saved) == [(pk, "shipped") for pk in chosen]


def test_order_form_changes_the_status(admin_client: Client, orders: list[Order]) -> None:
    data = {
        "status": "refunded",
        "customer_name": "Ada Example",
        "shipping_price": "4.90",
        "lines-TOTAL_FORMS": 0,
        "lines-INITIAL_FORMS": 0,
    }
    response = admin_client.post(f"/admin/shop_demo/order/{orders[0].pk}/change/", data)
    assert response.status_code == 302
    assert Order.objects.get(pk=orders[0].pk).status == "refunded"


def test_order_list_costs_the_same_however_long(admin_client: Client, orders: list[Order]) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get("/admin/shop_demo/order/").status_code == 200
        return len(queries)

    count()
    before = count()
    Order.objects.create(customer_name="Cy Example")
    assert count() == before
