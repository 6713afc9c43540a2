"""Optimizely's offline orders, as the vendor's document tells them."""

import copy

import pytest
import requests

HEADERS = {"site": "sandbox", "siteToken": "token_sandbox", "channel": "store"}
# The document's own example.
PAYLOAD = {
    "lang": "en-gb",
    "user": {"id": "abcd1234efgh", "info": {"gender": "male"}},
    "order": {
        "refCode": "orderRef",
        "orderDate": "2016-05-16T14:25:00 GMT",
        "currency": "GBP",
        "shipping": 0.0,
        "subTotal": 90.0,
        "total": 90.0,
        "items": [
            {"refCode": "ref1", "qty": 1, "price": 50.0, "attributes": {"discount": "true"}},
            {"refCode": "ref2", "qty": 2, "price": 20.0, "attributes": {"attr21": "value21"}},
        ],
        "attributes": {"store": "StreamlyCool Regent Street", "storePostcode": "W1B 4HX"},
    },
}
OK = {"status": "OK"}


def post(sandbox, payload=PAYLOAD, method="POST", **more):
    url = f"{sandbox.url}/tracker/smart-api/orders/offline"
    more = {"json": payload, "headers": HEADERS, **more}
    return requests.request(method, url, timeout=5, **more)


def changed(where, **changes):
    """The example with fields of "user", "order" or "item" changed; None leaves one out."""
    payload = copy.deepcopy(PAYLOAD)
    part = payload["order"]["items"][0] if where == "item" else payload[where] if where else payload
    part.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del part[name]
    return payload


def code(response):
    assert response.status_code == 200
    assert response.json()["status"] == "fail"
    [error] = response.json()["errors"]
    assert error["message"]
    return error["code"]


def test_documented_example_is_stored(sandbox):
    response = post(sandbox)

    assert (response.status_code, response.json()) == (200, OK)
    record = sandbox.record("optimizely", "orderRef")
    assert record["order"] == PAYLOAD["order"]
    assert (record["site"], record["channel"], record["user"]) == ("sandbox", "store", PAYLOAD["user"])
    [entry] = sandbox.journal("orderRef", vendor="optimizely")
    assert (entry["verdict"], entry["remarks"]) == ("stored", [])


@pytest.mark.parametrize("name", HEADERS)
def test_header_absent(sandbox, name):
    assert code(post(sandbox, headers={**HEADERS, name: None})) == "InvalidSiteToken"
    assert sandbox.records("optimizely") == []


def test_tokens_by_site(sandbox):
    assert code(post(sandbox, headers={**HEADERS, "siteToken": "wrong"})) == "InvalidSiteToken"
    shown = sandbox.config(optimizely_tokens={"shop": "secret_1234"})
    assert shown["optimizely_tokens"] == {"shop": "...1234"}
    assert code(post(sandbox)) == "InvalidSiteToken"
    assert post(sandbox, headers={**HEADERS, "site": "shop", "siteToken": "secret_1234"}).json() == OK


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        changed("", order=[]),
        *(changed("order", **{name: None}) for name in PAYLOAD["order"] if name not in ("attributes", "shipping")),
        *(changed("item", **{name: None}) for name in ("refCode", "qty", "price")),
        changed("user", id=None),
        changed("order", total="90"),
        changed("order", refCode=7),
        changed("order", orderDate="yesterday"),
        changed("order", orderDate="2016-13-16T14:25:00 GMT"),
        changed("item", qty="1"),
        changed("item", attributes=[]),
    ],
)
def test_payload_not_as_documented(sandbox, payload):
    assert code(post(sandbox, payload)) == "MalformedJson"
    assert sandbox.records("optimizely") == []


def test_body_that_is_no_json(sandbox):
    assert code(post(sandbox, json=None, data=b"{")) == "MalformedJson"
    assert sandbox.journal()[0]["remarks"] == ["content type is not application/json"]


def test_other_method(sandbox):
    assert code(post(sandbox, method="PUT")) == "MalformedJson"
    assert sandbox.journal()[0]["remarks"] == ["method PUT: only POST documented"]


@pytest.mark.parametrize(
    ("payload", "remark"),
    [
        (changed("user", email="a@example.com"), "user.email is deprecated: use id"),
        (changed("user", id=None, email="a@example.com"), "user.email is deprecated: use id"),
        (changed("", user=None), "no user: enriches nobody's behaviour"),
        (changed("", lang="English"), "lang is 'English'"),
        (changed("order", currency="gbp"), "currency is 'gbp'"),
        (changed("order", items=[]), "order.items is empty"),
        (changed("order", shipping=None), "no order.shipping"),
        (changed("item", qty=1.5), "order.items[0].qty is 1.5: the example counts whole pieces"),
        (changed("order", refund=1), "unknown field order.refund"),
        (
            changed("order", orderDate="2016-05-16T14:25:00Z"),
            "order.orderDate is '2016-05-16T14:25:00Z', not as in 2016-05-16T14:25:00 GMT",
        ),
    ],
)
def test_oddity_is_accepted_with_a_remark(sandbox, payload, remark):
    assert post(sandbox, payload).json() == OK
    assert [text.removeprefix("order.") for text in sandbox.journal()[0]["remarks"]] == [remark.removeprefix("order.")]


def test_channel_beyond_the_four(sandbox):
    assert post(sandbox, headers={**HEADERS, "channel": "web"}).json() == OK
    assert sandbox.journal()[0]["remarks"] == ["channel is 'web'"]


def test_order_sent_twice_is_kept_once(sandbox):
    post(sandbox)
    assert post(sandbox, changed("order", total=80)).json() == OK

    [record] = sandbox.records("optimizely")
    assert (record["order"]["total"], record["submissions"]) == (80, 2)
    first, second = sandbox.journal()
    assert first["remarks"] == []
    assert second["remarks"] == ["order sent before: the document does not say what becomes of it"]
    assert sandbox.summary()["with_remarks"] == 1


def test_personal_data_and_token_are_masked(sandbox):
    post(sandbox, changed("user", email="someone@example.com"))

    for path in ("/sandbox/", "/sandbox/api/journal", "/sandbox/api/config", "/sandbox/records/optimizely/orderRef/"):
        text = requests.get(sandbox.url + path, timeout=5).text
        for secret in ("someone", "token_sandbox", ">male<", '"male"', "> male"):
            assert secret not in text


def test_faults_by_order(sandbox):
    sandbox.script("orderRef", ["429", "drop_after"])
    assert post(sandbox).status_code == 429
    assert sandbox.records("optimizely") == []
    with pytest.raises(requests.ConnectionError):
        post(sandbox)
    assert sandbox.record("optimizely", "orderRef")["submissions"] == 1
