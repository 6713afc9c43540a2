"""Orders that an agent takes on the phone."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from shop_demo.models import Order, Product

CALL = {"call_id": "4711", "agent": "agent_jo", "customer_name": "Bo Example"}


@pytest.mark.parametrize("logged_in", [False, True])
def test_phone_order_is_for_staff(client: Client, mug: Product, logged_in: bool) -> None:
    if logged_in:
        client.force_login(get_user_model().objects.create_user("customer"))
    response = client.post("/phone-order/", {**CALL, "quantity_MUG-01": 1})
    assert response.url.startswith("/admin/login/")
    assert not Order.objects.exists()


def test_phone_order_stores_the_call_and_the_agent(agent_client: Client, mug: Product, lamp: Product) -> None:
    response = agent_client.post("/phone-order/", {**CALL, "quantity_MUG-01": 3, "quantity_LAMP-01": 0})
    order = Order.objects.get()
    assert response.url == order.get_absolute_url()
    assert (order.status, order.call_id, order.agent) == (Order.Status.CONFIRMED, "4711", "agent_jo")
    assert list(order.lines.values_list("sku", "quantity")) == [("MUG-01", 3)]


def test_phone_order_offers_the_agents_own_name(agent_client: Client, mug: Product) -> None:
    assert 'name="agent" value="agent"' in agent_client.get("/phone-order/").content.decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity_MUG-01": ""}, "Choose at least one product."),
        ({"quantity_MUG-01": 100}, "less than or equal to 99"),
        ({"call_id": ""}, "This field is required."),
    ],
)
def test_phone_order_says_what_is_missing(
    agent_client: Client, mug: Product, change: dict[str, object], message: str
) -> None:
    page = agent_client.post("/phone-order/", {**CALL, "quantity_MUG-01": 1, **change}).content.decode()
    assert message in page
    assert not Order.objects.exists()
