"""The Cart API, and its dialect of orders, as the vendor's document tells them."""

import pytest
import requests

SUCCESS = {"status": "success"}
VISIT = "3617898c651df0f8617f70a0"
PRODUCT = {
    "products[0][id]": "1",
    "products[0][name]": "Product 1",
    "products[0][quantity]": "2",
    "products[0][price]": "29.99",
}
COMMON = {"key": "cust_sandbox", "id": "1", "currency": "EUR", "visit_id": VISIT, **PRODUCT}
CART = {**COMMON, "is_logged_in": "1"}
ORDER = {**COMMON, "cart_id": "7", "status": "paid"}


def error(message):
    return {"status": "error", "message": message}


@pytest.fixture
def post(sandbox):
    def _post(path, fields, **changes):
        data = {name: value for name, value in {**fields, **changes}.items() if value is not None}
        return requests.post(f"{sandbox.url}/api/{path}", data=data, timeout=5)

    return _post


@pytest.fixture
def cart(post):
    return lambda **changes: post("customer-cart", CART, **changes)


@pytest.fixture
def order(post):
    return lambda **changes: post("customer-order", ORDER, **changes)


def test_documented_cart_is_stored(sandbox, cart):
    response = cart(**{"products[0][details][dimensions][width]": "20cm"})

    assert (response.status_code, response.json()) == (200, SUCCESS)
    record = sandbox.record("cart", "1")
    assert record["products"] == [
        {
            "id": "1",
            "name": "Product 1",
            "quantity": 2,
            "price": "29.99",
            "details": {"dimensions": {"width": "20cm"}},
        }
    ]
    assert (record["total"], record["visit_id"], record["is_logged_in"]) == ("59.98", VISIT, "1")
    assert sandbox.orders() == []
    [entry] = sandbox.journal(vendor="cart")
    assert (entry["verdict"], entry["remarks"], entry["fields"]["key"]) == ("stored", [], "...dbox")


@pytest.mark.parametrize("name", ["key", "id", "currency", "visit_id", "is_logged_in"])
@pytest.mark.parametrize("value", [None, ""])
def test_cart_parameter_absent_or_empty(sandbox, cart, name, value):
    assert cart(**{name: value}).json() == error("Missing required parameter")
    assert sandbox.records("cart") == []


@pytest.mark.parametrize("name", ["cart_id", "currency", "visit_id", "status"])
def test_order_parameter_absent(sandbox, order, name):
    assert order(**{name: None}).json() == error("Missing required parameter")
    assert sandbox.orders() == []


def test_cart_without_products(cart):
    assert cart(**dict.fromkeys(PRODUCT)).json() == error("Missing required parameter")


def test_wrong_key(sandbox, cart, order):
    assert cart(key="cust_nobody").json() == error("Invalid API key")
    assert order(key="cust_nobody").json() == error("Invalid API key")
    assert "cust_nobody" not in str(sandbox.journal())


@pytest.mark.parametrize(
    "change",
    [
        {"products[0][id]": None},
        {"products[0][name]": ""},
        {"products[0][quantity]": "two"},
        {"products[0][quantity]": "2.5"},
        {"products[0][price]": "29,99"},
        {"products[0][price]": "nan"},
        {"products[0][cost_per_unit]": "1"},
        {"products[0]": "x"},
        {"products[x][id]": "1"},
        {"products[0][name][first]": "x"},
        {f"products[0][details]{'[a]' * 70}": "x"},
        {**dict.fromkeys(PRODUCT), "products": '[{"id":"1"}]'},
    ],
    ids=str,
)
def test_products_not_as_documented(sandbox, cart, change):
    assert cart(**change).json() == error("Invalid products format")
    assert sandbox.records("cart") == []


@pytest.mark.parametrize("visit_id", ["0", "undefined", "null"])
def test_no_cookie_is_an_unknown_visit(cart, order, visit_id):
    assert cart(visit_id=visit_id).json() == error("Unknown visit_id")
    assert order(visit_id=visit_id).json() == error("Unknown visit_id")


def test_configured_visits_are_the_only_ones(sandbox, cart):
    assert sandbox.config(visits=["abc"])["visits"] == ["abc"]
    assert cart().json() == error("Unknown visit_id")
    assert cart(visit_id="abc").json() == SUCCESS
    sandbox.config(visits=None)
    assert cart().json() == SUCCESS


def test_same_cart_is_updated(sandbox, cart):
    cart(agent="agent_john")
    cart(**{"products[0][quantity]": "1"})

    [record] = sandbox.records("cart")
    assert (record["total"], record["submissions"], record["agent"]) == ("29.99", 2, "agent_john")


def test_cart_and_order_of_one_id_are_two(sandbox, cart, order):
    cart()
    order()

    assert sandbox.record("cart", "1")["total"] == sandbox.order("1")["total_cost"] == "59.98"


def test_order_in_brackets_is_the_sales_apis_order(sandbox, send, order):
    assert send(id="1", status="pending").json() == SUCCESS
    assert order().json() == SUCCESS

    stored = sandbox.order("1")
    assert stored == sandbox.record("optico", "1")
    assert [step["status"] for step in stored["history"]] == ["pending", "paid"]
    assert (stored["dialect"], stored["total_cost"], stored["conversions"]) == ("cart", "59.98", 1)
    assert stored["attributed"] is True
    assert [entry["remarks"] for entry in sandbox.journal(vendor="optico")] == [[], []]
    assert requests.get(f"{sandbox.url}/sandbox/orders/1/", timeout=5).status_code == 200


def test_statuses_are_shared(order):
    assert order(status="lost").json() == error("Unknown status")


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (
            {"products": "[]"},
            "products both in brackets and in one field: two dialects in one request",
        ),
        ({"total": "3"}, "unknown parameter total"),
        ({"products_1": "3"}, "unknown parameter products_1"),
        ({"currency": "eur"}, "currency is 'eur'"),
        ({"products[0][price]": ["1", "2"]}, "products[0][price] sent 2 times"),
    ],
)
def test_oddity_is_accepted_with_a_remark(sandbox, order, change, remark):
    assert order(**change).json() == SUCCESS
    assert sandbox.journal()[0]["remarks"] == [remark]


def test_is_logged_in_is_one_or_nought(sandbox, cart):
    cart(is_logged_in="0")
    cart(is_logged_in="yes")

    assert [entry["remarks"] for entry in sandbox.journal()] == [[], ["is_logged_in is 'yes'"]]


def test_other_method_has_no_fields(sandbox):
    response = requests.get(f"{sandbox.url}/api/customer-cart", timeout=5)

    assert (response.status_code, response.json()) == (200, error("Missing required parameter"))
    assert sandbox.journal()[0]["remarks"][0].startswith("method GET")


def test_faults_by_cart(sandbox, cart):
    sandbox.script("1", ["500", "drop_after", "truncated"])
    assert cart().status_code == 500
    assert sandbox.record("cart", "1") is None
    with pytest.raises(requests.ConnectionError):
        cart()
    with pytest.raises(ValueError):
        cart().json()
    assert sandbox.record("cart", "1")["submissions"] == 2
