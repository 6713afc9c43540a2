"""The Sales API, as the vendor's document tells it."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import requests

SUCCESS = {"status": "success"}
WIDGET = {"id": "PROD-001", "name": "Blue Widget", "quantity": 2, "cost_per_unit": 29.99}
GADGET = {"id": "PROD-007", "name": "Red Gadget", "quantity": 1, "cost_per_unit": 59.00}


def error(message):
    return {"status": "error", "message": message}


def test_documented_example_is_stored(sandbox, send):
    response = send(
        id="ORDER-5678",
        cart_id="CART-1234",
        visit_id="3617898c651df0f8617f70a0",
        status="confirmed",
        currency="EUR",
        agent="agent_john",
        products=json.dumps([WIDGET, GADGET]),
    )

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == SUCCESS
    [entry] = sandbox.journal()
    assert entry["verdict"] == "stored"
    assert entry["remarks"] == []
    order = sandbox.order("ORDER-5678")
    assert order["total_cost"] == "118.98"
    assert order["attributed"] is True
    assert order["currency"] == "EUR"
    assert order["cart_id"] == "CART-1234"
    assert order["agent"] == "agent_john"


@pytest.mark.parametrize("name", ["key", "id", "status"])
@pytest.mark.parametrize("value", [None, ""])
def test_required_field_absent_or_empty(sandbox, send, name, value):
    response = send(**{name: value})

    assert response.status_code == 200
    assert response.json() == error("Missing required parameter")
    assert sandbox.orders() == []


def test_unknown_key(sandbox, send):
    assert send(key="cust_nobody").json() == error("Invalid api key")
    assert sandbox.journal()[0]["verdict"] == "Invalid api key"


def test_undeclared_status(sandbox, send):
    assert send(status="Pending").json() == error("Unknown status")
    assert sandbox.orders() == []


@pytest.mark.parametrize(
    "products",
    [
        "",
        "nonsense",
        "null",
        "{}",
        json.dumps(WIDGET),
        "[1]",
        '[{"id":"A","name":"A","quantity":1,"cost_per_unit":NaN}]',
        '[{"id":"A","name":"\\ud83d","quantity":1,"cost_per_unit":1}]',
        '[{"id":"A","name":"A","quantity":99,"cost_per_unit":1e999999999999999999}]',
        "[" * 100_000,
        *(
            json.dumps([{**WIDGET, **change}])
            for change in (
                {"id": 1},
                {"name": None},
                {"quantity": "2"},
                {"quantity": 2.0},
                {"quantity": True},
                {"cost_per_unit": "29.99"},
                {"cost_per_unit": False},
                {"details": []},
                {"sku": "A"},
            )
        ),
        *(json.dumps([{name: value for name, value in WIDGET.items() if name != absent}]) for absent in WIDGET),
    ],
    ids=lambda products: products[:60],
)
def test_products_not_as_documented(sandbox, send, products):
    assert send(products=products).json() == error("Invalid products format")
    assert sandbox.order("ORDER-1") is None


@pytest.mark.parametrize(
    "products", [[], [{**WIDGET, "details": {"colour": "red"}}], [{**WIDGET, "cost_per_unit": 30}]]
)
def test_products_as_documented(send, products):
    assert send(products=json.dumps(products)).json() == SUCCESS


def test_first_thing_wrong_is_told_first(send):
    assert send(key="cust_nobody", status="").json() == error("Missing required parameter")
    assert send(key="cust_nobody", status="lost", products="x").json() == error("Invalid api key")
    assert send(status="lost", products="x").json() == error("Unknown status")


def test_total_is_exact(sandbox, send):
    send(products=json.dumps([{**WIDGET, "quantity": 3, "cost_per_unit": 0.1}]))

    assert Decimal(sandbox.order("ORDER-1")["total_cost"]) == Decimal("0.3")


def test_same_id_updates_the_order(sandbox, send):
    for status in ("pending", "pending", "confirmed", "refunded"):
        send(status=status, visit_id="42")

    assert len(sandbox.orders()) == 1
    order = sandbox.order("ORDER-1")
    assert order["submissions"] == 4
    assert order["status"] == "refunded"
    assert [step["status"] for step in order["history"]] == ["pending", "confirmed", "refunded"]


def test_update_keeps_what_it_does_not_name(sandbox, send):
    send(products=json.dumps([WIDGET]), call_id="17")
    send(status="paid")

    order = sandbox.order("ORDER-1")
    assert order["total_cost"] == "59.98"
    assert order["call_id"] == "17"
    assert order["attributed"] is True


def test_conversion_fires_once_on_the_first_sale_status(sandbox, send):
    for status in ("pending", "confirmed", "shipped", "refunded", "paid"):
        send(status=status)

    order = sandbox.order("ORDER-1")
    assert order["conversions"] == 1
    assert order["conversion"]["status"] == "confirmed"
    assert order["conversion"]["seq"] == 2
    assert sandbox.summary()["conversions"] == 1


def test_no_conversion_without_a_sale_status(sandbox, send):
    send(status="cancelled")

    assert sandbox.order("ORDER-1")["conversion"] is None


@pytest.mark.parametrize(
    ("fields", "attributed"),
    [({}, False), ({"visit_id": "0"}, False), ({"visit_id": "7"}, True), ({"call_id": "7"}, True)],
)
def test_order_is_attributed_by_visit_or_call(sandbox, send, fields, attributed):
    send(**fields)

    assert sandbox.order("ORDER-1")["attributed"] is attributed


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        ({"total": "3"}, "unknown parameter total"),
        ({"visit_id": ""}, "visit_id is ''"),
        ({"visit_id": "0"}, "visit_id is '0'"),
        ({"visit_id": "undefined"}, "visit_id is 'undefined'"),
        ({"visit_id": "null"}, "visit_id is 'null'"),
        ({"call_id": "abc"}, "call_id is 'abc'"),
        ({"call_id": "0"}, "call_id is '0'"),
        ({"currency": "eur"}, "currency is 'eur'"),
        ({"currency": ""}, "currency is ''"),
        ({"agent": ["a", "b"]}, "agent sent 2 times"),
        ({"agent": b"\xff"}, "agent is not valid UTF-8"),
    ],
)
def test_oddity_is_accepted_with_a_remark(sandbox, send, fields, remark):
    assert send(**fields).json() == SUCCESS
    assert sandbox.journal()[0]["remarks"] == [remark]


def test_json_body_has_no_fields(sandbox):
    body = {"key": "cust_sandbox", "id": "ORDER-1", "status": "paid"}
    response = requests.post(f"{sandbox.url}/api/customer-order", json=body, timeout=5)

    assert response.json() == error("Missing required parameter")
    [entry] = sandbox.journal()
    assert entry["content_type"] == "application/json"
    assert entry["remarks"] == ["content type is not application/x-www-form-urlencoded"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_method_has_no_fields(sandbox, method):
    data = {"key": "cust_sandbox", "id": "ORDER-1", "status": "paid"}
    response = requests.request(method, f"{sandbox.url}/api/customer-order", data=data, timeout=5)

    assert response.status_code == 200
    assert response.json() == error("Missing required parameter")
    assert sandbox.journal()[0]["remarks"][0].startswith(f"method {method}")


def test_text_beyond_ascii_survives(sandbox, send):
    send(id="Bestellung/ä 1", products=json.dumps([{**WIDGET, "name": "Café 🚲"}]))

    assert sandbox.order("Bestellung/ä 1")["products"][0]["name"] == "Café 🚲"


def test_many_orders_at_once_are_all_stored(sandbox, send):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: send(id=f"ORDER-{number}", status="paid").json(), range(200)))

    assert answers == [SUCCESS] * 200
    assert sandbox.summary()["conversions"] == len(sandbox.orders()) == 200
