"""Ometria's Order API, as the vendor's document tells it."""

import copy

import pytest
import requests

# The document's own example.
ORDER = {
    "@type": "order",
    "billing_address": {"city": "London", "country_code": "GB", "postcode": "W1K 4TG", "state": "Greater London"},
    "channel": "online",
    "coupon_code": "FJ45-TJ5Y-5YK3-T894",
    "currency": "GBP",
    "customer": {"email": "john.smith@example.com", "firstname": "John", "lastname": "Smith"},
    "discount": -5,
    "grand_total": 96.4,
    "id": "123553",
    "ip_address": "127.0.0.1",
    "is_valid": True,
    "lineitems": [
        {
            "product_id": "SS14-059493",
            "properties": {"custom_key": "custom value"},
            "quantity": 2,
            "sku": "SS14-059493-S5",
            "subtotal": 100,
            "total": 100,
            "unit_price": 50,
            "variant_options": [{"id": "large", "label": "Large", "type": "size"}],
        }
    ],
    "payment_method": "card",
    "properties": {"custom_key": "custom value"},
    "shipping": 2,
    "shipping_method": "standard",
    "status": "complete",
    "store": "example.com/en",
    "subtotal": 83.33,
    "tax": 16.07,
    "timestamp": "2015-01-02T09:00:00+00",
    "web_id": "891743",
}
TOTAL = {"currency": "USD", "discount": -10, "grand_total": 149, "shipping": 10, "tax": 20}
ITEM_TOTAL = {"currency": "GBP", "discount": -4, "subtotal": 95, "tax": 0, "total": 95, "unit_price": 99}
HEADERS = {"X-Ometria-Auth": "ometria_sandbox"}
ABSENT = object()


@pytest.fixture
def ometria(sandbox):
    sandbox.config(ometria_rate=0)
    return sandbox


def ask(sandbox, method, path="", headers=HEADERS, **more):
    return requests.request(method, f"{sandbox.url}/ometria/v2/orders{path}", headers=headers, timeout=5, **more)


def post(sandbox, order=ORDER, **more):
    order_id = order.get("id", "123553") if isinstance(order, dict) else "123553"
    return ask(sandbox, "POST", f"/{order_id or '123553'}", json=order, **more)


def changed(path, value):
    """The example with one value changed, as in "lineitems.0.quantity"."""
    order = node = copy.deepcopy(ORDER)
    *way, last = path.split(".")
    for step in way:
        node = node[int(step) if step.isdigit() else step]
    if value is ABSENT:
        del node[last]
    else:
        node[last] = value
    return order


def extended(**totals):
    order = {name: ORDER[name] for name in ("@type", "id", "timestamp", "status", "customer", "lineitems")}
    return {**order, "totals": {"base": TOTAL, "local": TOTAL, **totals}}


def test_documented_example_is_stored(ometria):
    response = post(ometria)

    assert response.status_code == 200
    record = ometria.record("ometria", "123553")
    assert record["grand_total"] == 96.4
    assert record["customer"]["email"] == "john.smith@example.com"
    [entry] = ometria.journal(vendor="ometria")
    assert (entry["verdict"], entry["remarks"], entry["order_id"]) == ("stored", [], "123553")


def test_personal_data_and_key_are_masked(ometria):
    post(ometria)

    for path in ("/sandbox/", "/sandbox/api/journal", "/sandbox/api/config", "/sandbox/records/ometria/123553/"):
        text = requests.get(ometria.url + path, timeout=5).text
        for secret in ("john.smith", "Smith", "ometria_sandbox", "127.0.0.1", "W1K"):
            assert secret not in text
    fields = ometria.journal()[0]["fields"]
    assert (fields["customer.email"], fields["X-Ometria-Auth"]) == ("j...", "...dbox")


@pytest.mark.parametrize("headers", [{}, {"X-Ometria-Auth": "wrong_key"}])
def test_wrong_key(ometria, headers):
    assert post(ometria, headers=headers).status_code == 403
    assert ask(ometria, "GET", headers=headers).status_code == 403
    assert ask(ometria, "GET", "/123553", headers=headers).status_code == 403
    assert ometria.records("ometria") == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((name, ABSENT) for name in ("@type", "id", "timestamp", "grand_total", "currency")),
        ("@type", "contact"),
        ("id", ""),
        ("id", 123553),
        ("grand_total", "96.4"),
        ("grand_total", True),
        ("currency", "EURO"),
        ("discount", 5),
        ("timestamp", "2015-01-02T09:00:00"),
        ("timestamp", "2015-02-30T09:00:00+00"),
        ("timestamp", "2015-01-02"),
        ("is_valid", "true"),
        ("web_id", None),
        ("customer", "John"),
        ("customer.id", 7),
        ("billing_address.country_code", "GBR"),
        ("properties", []),
        ("lineitems", {}),
        ("lineitems", ["x"]),
        ("lineitems.0.quantity", 2.5),
        ("lineitems.0.quantity", ABSENT),
        ("lineitems.0.unit_price", ABSENT),
        ("lineitems.0.discount", 1),
        ("lineitems.0.variant_options", [{"id": "large", "type": "size"}]),
        ("lineitems.0.totals", {"base": {**ITEM_TOTAL, "discount": 4}}),
    ],
)
def test_order_not_as_documented(ometria, path, value):
    response = post(ometria, changed(path, value))

    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]]
    assert ometria.records("ometria") == []


def test_error_names_its_field(ometria):
    assert post(ometria, changed("lineitems.0.quantity", "2")).json() == {
        "error": "lineitems[0].quantity: is not of type integer",
        "errors": [{"field": "lineitems[0].quantity", "message": "is not of type integer"}],
    }


def test_line_item_needs_product_id_or_sku(ometria):
    order = changed("lineitems.0.sku", ABSENT)
    assert post(ometria, order).status_code == 200
    del order["lineitems"][0]["product_id"]
    assert post(ometria, order).status_code == 400


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"\xff", b'{"a":NaN}', b'{"a":1e999}', b"[" * 100_000])
def test_body_that_is_no_object(ometria, body):
    response = ask(ometria, "POST", "/1", data=body, headers={**HEADERS, "Content-Type": "application/json"})

    assert response.status_code == 400
    assert ometria.journal()[0]["fields"]["(body)"] == f"{len(body)} bytes, not a JSON object"


@pytest.mark.parametrize(
    ("path", "value", "remark"),
    [
        ("colour", "red", "unknown field colour"),
        ("lineitems.0.colour", "red", "unknown field lineitems[0].colour"),
        ("lineitems.0.subtotal", ABSENT, "no lineitems[0].subtotal"),
        ("lineitems.0.discount", 0, "lineitems[0].discount is 0: must be a negative number"),
        ("currency", "gbp", "currency is 'gbp'"),
        ("customer", {"firstname": "J"}, "customer has neither id nor email: no profile"),
        ("customer.email", "john", "customer.email is no address"),
        ("status", "refunded", "status is refunded: is_valid should be false"),
    ],
)
def test_oddity_is_accepted_with_a_remark(ometria, path, value, remark):
    assert post(ometria, changed(path, value)).status_code == 200
    assert ometria.journal()[0]["remarks"] == [remark]


def test_id_other_than_the_paths(ometria):
    assert ask(ometria, "POST", "/A%2F1", json=ORDER).status_code == 200
    assert ometria.record("ometria", "A/1")["id"] == "A/1"
    assert ometria.journal()[0]["remarks"] == ["id is not the path's"]


def test_order_extended(ometria):
    assert post(ometria, extended()).status_code == 200
    assert ometria.journal()[0]["remarks"] == []
    assert post(ometria, extended(base={**TOTAL, "discount": 10})).status_code == 400
    assert post(ometria, extended(local={"currency": "USD"})).status_code == 400
    assert requests.get(f"{ometria.url}/sandbox/", timeout=5).status_code == 200


def test_second_post_replaces_the_order(ometria):
    post(ometria)
    post(ometria, {**changed("coupon_code", ABSENT), "status": "refunded", "is_valid": False})

    [record] = ometria.records("ometria")
    assert (record["status"], record["submissions"]) == ("refunded", 2)
    assert "coupon_code" not in record


def test_get_order(ometria):
    post(ometria, changed("lineitems.0.quantity_refunded", 3))

    order = ask(ometria, "GET", "/123553").json()
    assert order.pop("total_unit_quantity_refunded") == 3
    assert order == changed("lineitems.0.quantity_refunded", 3)
    assert ask(ometria, "GET", "/none").status_code == 404
    assert [entry["verdict"] for entry in ometria.journal()][1] == "read"


def test_list_orders(ometria):
    for number in range(12):
        post(ometria, {**ORDER, "id": str(number)})
    post(ometria, {**ORDER, "id": "0"})

    def ids(query):
        return [order["id"] for order in ask(ometria, "GET", query).json()]

    assert ids("") == [str(number) for number in range(10)]
    assert ids("?limit=3&offset=10") == ["10", "11"]
    assert len(ids("?limit=251")) == 12
    assert ometria.journal()[-1]["remarks"] == ["limit is over 250"]
    assert ask(ometria, "GET", "?limit=x").status_code == 400


def test_undocumented_method(ometria):
    assert ask(ometria, "DELETE", "/1").status_code == 405
    assert ask(ometria, "POST").status_code == 405


def test_four_requests_a_second_for_each_key(sandbox):
    sandbox.config(ometria_keys=["key_one", "key_two"])
    one, two = ({"X-Ometria-Auth": key} for key in ("key_one", "key_two"))

    assert [ask(sandbox, "GET", headers=one).status_code for _ in range(6)] == [200] * 4 + [429] * 2
    assert ask(sandbox, "GET", headers=two).status_code == 200


def test_faults_by_order(ometria):
    ometria.script("123553", ["503", "drop_after", "html200"])
    assert post(ometria).status_code == 503
    assert ometria.records("ometria") == []
    with pytest.raises(requests.ConnectionError):
        post(ometria)
    assert ometria.record("ometria", "123553")["submissions"] == 1
    assert post(ometria).text.startswith("<!doctype html>")
    assert [entry["verdict"] for entry in ometria.journal("123553")] == ["fault", "stored", "fault"]
