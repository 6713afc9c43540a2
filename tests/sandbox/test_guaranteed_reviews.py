"""Guaranteed Reviews' Orders API, as the vendor's document tells it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import requests

# The document's own example; its address is blotted out there.
ORDER = {
    "id_order": "1234",
    "order_date": "2019-01-01 12:00:00",
    "firstname": "John",
    "lastname": "Doe",
    "email": "customer@example.com",
    "reference": "12345678",
    "products": [
        {
            "id": "100",
            "name": "My Product 100",
            "category_id": "cat1",
            "category_name": "Category 1",
            "qty": "1",
            "unit_price": "25.90",
            "mpn": "MPN100",
            "ean13": "1234567890123",
            "sku": "SKU100",
            "upc": "UPCCODE",
            "url": "",
        }
    ],
}
IMPORTED = {"success": 1, "orders_count": 1, "orders_imported": 1, "message": None}
ALREADY_SENT = "Some orders were not imported because they had already been sent (see documentation)"


def post(sandbox, *orders, key="reviews_sandbox", how="multipart"):
    url = f"{sandbox.url}/private/v3/orders"
    form = {"api_key": key, "orders": json.dumps(orders)}
    form = {name: value for name, value in form.items() if value is not None}
    if how == "multipart":
        response = requests.post(url, files={name: (None, value) for name, value in form.items()}, timeout=5)
    elif how == "form":
        response = requests.post(url, data=form, timeout=5)
    else:
        response = requests.post(url, json={**form, "orders": orders}, timeout=5)
    assert response.status_code == 200
    return response.json()


def refused(message, count=1):
    return {"success": 0, "orders_count": count, "orders_imported": 0, "message": message}


@pytest.mark.parametrize("how", ["multipart", "form", "json"])
def test_documented_example_is_imported(sandbox, how):
    assert post(sandbox, ORDER, how=how) == IMPORTED

    record = sandbox.record("guaranteed_reviews", "1234")
    assert record["products"] == ORDER["products"]
    assert record["mail_to"] == "customer@example.com"
    due = datetime.now(UTC) + timedelta(days=10)
    assert abs(datetime.fromisoformat(record["mail_at"]) - due) < timedelta(minutes=1)
    [entry] = sandbox.journal("1234", vendor="guaranteed_reviews")
    assert entry["verdict"] == "stored"
    assert entry["remarks"] == ([] if how != "json" else ["body is JSON: the document's example sends a form"])


@pytest.mark.parametrize("again", [ORDER, {**ORDER, "id_order": "other"}, {**ORDER, "reference": "other"}])
def test_order_already_sent(sandbox, again):
    post(sandbox, ORDER)
    before = sandbox.records("guaranteed_reviews")

    assert post(sandbox, {**again, "email": "other@example.com"}) == refused(ALREADY_SENT)
    assert sandbox.records("guaranteed_reviews") == before
    assert sandbox.journal()[1]["verdict"] == ALREADY_SENT


def test_orders_without_reference_are_not_one(sandbox):
    order = {name: value for name, value in ORDER.items() if name != "reference"}

    assert post(sandbox, order, {**order, "id_order": "2"}, {**order, "id_order": "3", "reference": ""}) == {
        "success": 1,
        "orders_count": 3,
        "orders_imported": 3,
        "message": None,
    }


def test_some_of_many(sandbox):
    bad = {**ORDER, "id_order": "2", "reference": "2", "order_date": "2019-01-01"}
    answer = post(sandbox, ORDER, ORDER, bad)

    assert answer["success"] == 1
    assert (answer["orders_count"], answer["orders_imported"]) == (3, 1)
    [entry] = sandbox.journal("2")
    assert entry["record_ids"] == ["1234", "2"]
    assert entry["verdict"].startswith("1 of 3 stored: ")
    assert "orders[2].order_date is not YYYY-MM-DD HH:MM:SS" in entry["remarks"]


@pytest.mark.parametrize("name", ["id_order", "order_date", "firstname", "lastname", "email"])
@pytest.mark.parametrize("value", ["", None])
def test_mandatory_field(sandbox, name, value):
    answer = post(sandbox, {**ORDER, name: value})

    assert answer["orders_imported"] == answer["success"] == 0
    assert answer["message"]
    assert sandbox.records("guaranteed_reviews") == []


@pytest.mark.parametrize(
    "products", [{}, ["x"], [{"id": "1"}], [{"name": "A"}], [{"id": "x", "name": "A"}], [{"id": 1, "name": 2}]]
)
def test_products_not_as_documented(sandbox, products):
    assert post(sandbox, {**ORDER, "products": products})["orders_imported"] == 0


def test_numbers_as_numbers(sandbox):
    assert (
        post(sandbox, {**ORDER, "products": [{"id": 10**400, "name": "A", "qty": 1, "unit_price": 25.9}]}) == IMPORTED
    )
    assert sandbox.journal()[0]["remarks"] == []


@pytest.mark.parametrize("key", ["wrong_key", "", None])
def test_wrong_key(sandbox, key):
    assert post(sandbox, ORDER, key=key) == refused("Invalid API key")
    assert "wrong_key" not in str(sandbox.journal())
    assert sandbox.records("guaranteed_reviews") == []


def test_keys_are_configured(sandbox):
    assert sandbox.config(reviews_keys=["secret_1234"])["reviews_keys"] == ["...1234"]
    assert post(sandbox, ORDER)["success"] == 0
    assert post(sandbox, ORDER, key="secret_1234") == IMPORTED


@pytest.mark.parametrize("orders", [None, "", "nonsense customer@example.com", "{}", "[" * 100_000])
def test_orders_that_are_no_array(sandbox, orders):
    data = {"api_key": "reviews_sandbox", "orders": orders}
    response = requests.post(f"{sandbox.url}/private/v3/orders", data=data, timeout=5)

    assert response.json() == refused("orders is missing, or not a JSON array", count=0)
    assert "customer@" not in str(sandbox.journal())


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"id_order": 1234}, "orders[0].id_order is no string"),
        ({"email": "nobody"}, "orders[0].email is no address"),
        ({"phone": "1"}, "unknown field orders[0].phone"),
    ],
)
def test_oddity_is_accepted_with_a_remark(sandbox, change, remark):
    assert post(sandbox, {**ORDER, **change}) == IMPORTED
    assert sandbox.journal()[0]["remarks"] == [remark]


def test_other_method(sandbox):
    response = requests.get(f"{sandbox.url}/private/v3/orders", timeout=5)

    assert response.json() == refused("Invalid API key", count=0)
    assert sandbox.journal()[0]["remarks"] == ["method GET: only POST documented"]


def test_personal_data_and_key_are_masked(sandbox):
    post(sandbox, ORDER)

    for path in (
        "/sandbox/",
        "/sandbox/api/journal",
        "/sandbox/api/config",
        "/sandbox/records/guaranteed_reviews/1234/",
    ):
        text = requests.get(sandbox.url + path, timeout=5).text
        for secret in ("customer@", "Doe", "reviews_sandbox"):
            assert secret not in text
    fields = sandbox.journal()[0]["fields"]
    assert (fields["orders[0].email"], fields["orders[0].firstname"]) == ("c...", "J...")


def test_faults_by_any_order_of_the_call(sandbox):
    sandbox.script("2", ["500", "drop_after"])
    orders = ORDER, {**ORDER, "id_order": "2", "reference": "2"}
    with pytest.raises(AssertionError):
        post(sandbox, *orders)
    assert sandbox.records("guaranteed_reviews") == []
    with pytest.raises(requests.ConnectionError):
        post(sandbox, *orders)

    assert post(sandbox, *orders) == refused(ALREADY_SENT, count=2)
    assert len(sandbox.records("guaranteed_reviews")) == 2
