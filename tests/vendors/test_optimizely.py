"""Conformance with Optimizely's offline order tracking: cases OZ-01 to OZ-12. The queue's part is tested with it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils.translation import gettext_lazy, override
from hypothesis import given, settings
from hypothesis import strategies as st

from optico_sync.outcome import REASONS, Kind, Outcome, Scope
from optico_sync.sandbox.ledger import Config
from optico_sync.sandbox.vendors import OPTIMIZELY as OPTIMIZELY_TWIN
from optico_sync.snapshot import Customer, Line, OrderSnapshot, round_total, unit_price
from optico_sync.vendors import get_vendor
from optico_sync.vendors.base import Account, Manner, Request, Response, Told
from tests.vendors.judge import verdict
from tests.vendors.strategies import any_body, any_headers, any_order, any_status, any_text, iso_currency, sold

OPTIMIZELY = get_vendor("optimizely")
TOKEN = "T0KEN-1234abcd5678"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


def account(base_url: str = "https://ignored.example", token: str = TOKEN, **options: Any) -> Account:
    chosen = {option.name: option.default for option in OPTIMIZELY.options}
    chosen |= {"site": "acme", "cluster": "uk", "languages": "fr=fr-fr, en=en-gb", **options}
    return Account(base_url=base_url, secrets={"site_token": token}, options=chosen)


def line(**values: Any) -> Line:
    return Line(
        **{"product_id": "P", "name": "Thing", "sku": "S", "quantity": Decimal(1), "total": Decimal(1), **values}
    )


O1 = OrderSnapshot(
    key="5",
    reference="1001",
    status="confirmed",
    currency="EUR",
    placed_at=datetime(2024, 3, 15, 14, 25, 7, tzinfo=PARIS),
    total=Decimal("123.88"),
    shipping=Decimal("4.90"),
    is_offline=True,
    language="en",
    customer=Customer(
        key="42", pseudonym="u-7f3a", email="john.doe@example.com", first_name="Johnny", last_name="Doesson"
    ),
    lines=(
        line(product_id="100", sku="PROD-001", name="Blue Widget", quantity=Decimal(2), total=Decimal("59.98")),
        line(product_id="107", sku="PROD-007", name="Red Gadget", total=Decimal("59.00")),
    ),
)


def attempt(snapshot: OrderSnapshot, to: Account | None = None, *, is_sale: bool = True) -> Request | Outcome:
    told = Told(status="confirmed", is_sale=is_sale)
    return OPTIMIZELY.build(snapshot, told=told, account=to or account(), now=NOW)


def build(snapshot: OrderSnapshot, to: Account | None = None) -> Request:
    request = attempt(snapshot, to)
    assert isinstance(request, Request), request
    return request


def content_of(request: Request) -> dict[str, Any]:
    return json.loads(request.body, parse_float=Decimal, parse_int=Decimal)


def content(**changes: Any) -> dict[str, Any]:
    return content_of(build(replace(O1, **changes)))


def reason(result: Request | Outcome) -> tuple[Kind, Scope, str]:
    assert isinstance(result, Outcome), result
    return result.kind, result.scope, result.reason


def refusal(code: str) -> tuple[Kind, Scope, str]:
    return Kind.REFUSED, Scope.ORDER, code


INCOMPLETE = (Kind.REFUSED, Scope.CREDENTIAL, "incomplete_credential")


def test_oz_01_basic_order_whole_request() -> None:
    request = build(O1)
    assert request.url == "https://acme.peerius.com/tracker/smart-api/orders/offline"
    assert request.headers == {
        "Content-Type": "application/json",
        "site": "acme",
        "siteToken": TOKEN,
        "channel": "callcentre",
    }
    assert request.body == (
        b'{"lang":"en-gb","user":{"id":"u-7f3a"},"order":{"refCode":"1001","orderDate":"2024-03-15T13:25:07 GMT",'
        b'"currency":"EUR","shipping":4.9,"subTotal":118.98,"total":123.88,"items":['
        b'{"refCode":"PROD-001","qty":2,"price":29.99},{"refCode":"PROD-007","qty":1,"price":59}]}}'
    )


def test_oz_01_the_document_s_example() -> None:
    example = {
        "lang": "en-gb",
        "user": {"id": "abcd1234efgh"},
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
    snapshot = replace(
        O1,
        reference="orderRef",
        placed_at=datetime(2016, 5, 16, 14, 25, tzinfo=UTC),
        currency="GBP",
        shipping=Decimal(0),
        total=Decimal(90),
        store="StreamlyCool Regent Street",
        properties={"storePostcode": "W1B 4HX"},
        customer=Customer(pseudonym="abcd1234efgh"),
        lines=(
            line(sku="ref1", total=Decimal(50), details={"discount": True}),
            line(sku="ref2", quantity=Decimal(2), total=Decimal(40), details={"attr21": "value21"}),
        ),
    )
    assert json.loads(build(snapshot).body) == example


@pytest.mark.parametrize(
    ("cluster", "url"),
    [
        ("uat", "https://uat.peerius.com/tracker/smart-api/orders/offline"),
        ("uk", "https://acme.peerius.com/tracker/smart-api/orders/offline"),
        ("se", "https://acme.peerius.episerver.net/tracker/smart-api/orders/offline"),
        ("us", "https://acme.uswe01.productrecs.episerver.net/tracker/smart-api/orders/offline"),
        ("custom", "https://eu.example/x/tracker/smart-api/orders/offline"),
    ],
)
def test_oz_01_addresses_of_the_clusters(cluster: str, url: str) -> None:
    assert build(O1, account("https://eu.example/x/", cluster=cluster)).url == url


def test_oz_01_a_complete_address_is_taken_as_it_is() -> None:
    url = "https://acme.productrecs.optimizely.com/tracker/smart-api/orders/offline"
    assert build(O1, account(url, cluster="custom")).url == url


def test_oz_01_neither_token_nor_email_in_the_body() -> None:
    body = build(replace(O1, properties={"contact": "john.doe@example.com"})).body.decode()
    assert not [word for word in (TOKEN, "siteToken", '"site"', "@", "email", "Johnny") if word in body]


def test_oz_02_web_order_is_not_sent() -> None:
    web = replace(O1, is_offline=False)
    assert reason(attempt(web)) == (Kind.NOT_SENT, Scope.ORDER, "not_offline")
    assert isinstance(attempt(web, account(only_offline=False)), Request)


def test_oz_02_only_a_sale_is_sent() -> None:
    assert reason(attempt(O1, is_sale=False)) == (Kind.NOT_SENT, Scope.ORDER, "not_a_sale")


@pytest.mark.parametrize("pseudonym", ["", "  ", "john.doe@example.com"])
def test_oz_03_without_a_pseudonym_there_is_no_user(pseudonym: str) -> None:
    customer = Customer(key="42", pseudonym=pseudonym, email="john.doe@example.com")
    assert content(customer=customer).keys() == {"lang", "order"}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 7, 1, 0, 30, 0, 987654, tzinfo=PARIS), "2024-06-30T22:30:00 GMT"),
        (datetime(2024, 7, 1, 0, 30), "2024-06-30T22:30:00 GMT"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1), "2024-10-27T01:30:00 GMT"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=0), "2024-10-27T00:30:00 GMT"),
        (datetime(987, 1, 2, tzinfo=UTC), "0987-01-02T00:00:00 GMT"),
    ],
)
def test_oz_04_dates(moment: datetime, text: str) -> None:
    assert content(placed_at=moment)["order"]["orderDate"] == text


def test_oz_04_no_date_and_impossible_date() -> None:
    assert reason(attempt(replace(O1, placed_at=None))) == refusal("no_date")
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))
    assert reason(attempt(replace(O1, placed_at=first))) == refusal("unreadable_order")


def test_oz_05_unicode_is_escaped_to_ascii() -> None:
    request = build(replace(O1, properties={"store": "Crêperie «Été» 🍮"}))
    assert b'"attributes":{"store":"Cr\\u00eaperie \\u00ab\\u00c9t\\u00e9\\u00bb \\ud83c\\udf6e"}' in request.body
    assert content_of(request)["order"]["attributes"] == {"store": "Crêperie «Été» 🍮"}


def test_oz_06_order_discount_is_folded_into_the_subtotal() -> None:
    order = content(discount=Decimal("10.00"), total=Decimal("113.88"))["order"]
    assert [order[name] for name in ("subTotal", "shipping", "total")] == [
        Decimal("108.98"),
        Decimal("4.9"),
        Decimal("113.88"),
    ]
    assert [item["price"] for item in order["items"]] == [Decimal("29.99"), 59]
    assert "discount" not in order


def test_oz_06_negative_total_is_refused() -> None:
    assert reason(attempt(replace(O1, discount=Decimal("123.89")))) == refusal("negative_total")
    assert content(discount=Decimal("123.88"))["order"]["total"] == 0


def test_oz_06_unknown_shipping_is_left_out() -> None:
    order = content(shipping=None)["order"]
    assert "shipping" not in order
    assert (order["subTotal"], order["total"]) == (Decimal("118.98"), Decimal("123.88"))
    assert content(shipping=None, total=None)["order"]["total"] == Decimal("118.98")


@pytest.mark.parametrize(
    ("currency", "quantity", "total", "price"),
    [
        ("KWD", "1", "12.345", "12.345"),
        ("JPY", "1", "1500", "1500"),
        ("EUR", "1", "1E+2", "100"),
        ("EUR", "3", "10.00", "3.3333"),
    ],
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_oz_07_decimals_are_plain_numbers(currency: str, quantity: str, total: str, price: str, language: str) -> None:
    sold = line(quantity=Decimal(quantity), total=Decimal(total))
    with override(language):
        body = build(replace(O1, lines=(sold,), currency=currency, shipping=None, total=None)).body.decode()
    amount = format(Decimal(total).normalize(), "f")
    assert f'"subTotal":{amount},"total":{amount}' in body
    assert f'"qty":{quantity},"price":{price}}}' in body


def test_oz_08_quantity_zero_is_left_out() -> None:
    nothing = line(sku="NONE", quantity=Decimal(0), total=Decimal(0))
    assert [item["refCode"] for item in content(lines=(nothing, *O1.lines))["order"]["items"]] == [
        "PROD-001",
        "PROD-007",
    ]
    assert reason(attempt(replace(O1, lines=(nothing,)))) == refusal("no_items")
    assert reason(attempt(replace(O1, lines=()))) == refusal("no_items")


def test_oz_08_fractional_quantity_is_sent_as_it_is() -> None:
    (item,) = content(lines=(line(quantity=Decimal("1.500"), total=Decimal("15.00")),))["order"]["items"]
    assert item == {"refCode": "S", "qty": Decimal("1.5"), "price": 10}


def test_oz_08_product_code_is_chosen_and_kept_to_the_letter() -> None:
    sold = line(sku=" Ab-1 ", product_id="77")
    assert content(lines=(sold,))["order"]["items"][0]["refCode"] == " Ab-1 "
    by_id = build(replace(O1, lines=(sold,)), account(product_id="product_id"))
    assert content_of(by_id)["order"]["items"][0]["refCode"] == "77"


def test_oz_08_a_line_without_its_code_keeps_its_money() -> None:
    order = content(lines=(*O1.lines, line(sku="", total=Decimal(5))))["order"]
    assert (len(order["items"]), order["subTotal"]) == (2, Decimal("123.98"))
    assert reason(attempt(replace(O1, lines=(line(sku=""),)))) == refusal("no_items")


def test_oz_09_attributes_are_text() -> None:
    details = {"gift": True, "weight": Decimal("1.50"), "x": None, "wrapped": False, "floor": 3, "height": 1.5}
    more = {
        "lazy": gettext_lazy("Yes"),
        "nan": float("nan"),
        "nested": {"a": 1},
        "empty": " ",
        "raw": b"x",
        "tiny": 1e-7,
    }
    (item,) = content(lines=(line(details={**details, **more}),))["order"]["items"]
    assert item["attributes"] == {
        "gift": "true",
        "weight": "1.50",
        "wrapped": "false",
        "floor": "3",
        "height": "1.5",
        "lazy": "Yes",
        "tiny": "0.0000001",
    }


def test_oz_09_attributes_are_bounded() -> None:
    attributes = content(properties={f"key{number}": "y" * 5000 for number in range(500)})["order"]["attributes"]
    assert len(attributes) < 50 + 1
    assert {len(text) for text in attributes.values()} == {1000}


@pytest.mark.parametrize(
    ("code", "options", "lang"),
    [
        ("fr", {}, "fr-fr"),
        ("fr-fr", {"languages": "fr-fr=fr-fr"}, "fr-fr"),
        ("fr_CA", {"languages": "fr-ca=fr"}, "fr"),
        ("pt-BR", {}, "pt-br"),
        ("az-Cyrl-AZ", {}, "az-cyrl-az"),
        ("xx", {"language": "EN-gb"}, "en-gb"),
        ("", {"language": "en-gb"}, "en-gb"),
        ("xx", {}, None),
        ("", {}, None),
    ],
)
def test_oz_10_languages(code: str, options: dict[str, str], lang: str | None) -> None:
    request = build(replace(O1, language=code), account(**options))
    assert content_of(request).get("lang") == lang
    assert ("xx is not in the language map" in request.shown) == (code == "xx" and not lang)


@pytest.mark.parametrize("url", ["https://<sitename>.peerius.com", "https://a>b", "https://", "", "ftp://x"])
def test_oz_11_unusable_address_pauses_the_credential(url: str) -> None:
    assert reason(attempt(O1, account(url, cluster="custom"))) == INCOMPLETE


@pytest.mark.parametrize(
    "wrong",
    [
        {"site": ""},
        {"site": "<sitename>"},
        {"site": "evil.example/"},
        {"site": "acme\r\nX: y"},
        {"token": ""},
        {"token": "a\nb"},
        {"token": "clé"},
        {"languages": "fr"},
        {"languages": "fr="},
    ],
)
def test_oz_11_incomplete_credential_says_what_is_missing(wrong: dict[str, str]) -> None:
    outcome = attempt(O1, account(**wrong))
    assert reason(outcome) == INCOMPLETE
    assert isinstance(outcome, Outcome) and outcome.detail


def read(body: bytes | str, status: int = 200, **headers: str) -> Outcome:
    data = body.encode() if isinstance(body, str) else body
    return OPTIMIZELY.read(Response(status=status, headers=headers, body=data), account=account())


ORDER, CREDENTIAL = Scope.ORDER, Scope.CREDENTIAL


def fail(code: str, status: str = "fail") -> str:
    return json.dumps({"status": status, "errors": [{"code": code, "message": f"about {TOKEN} of a@example.com"}]})


@pytest.mark.parametrize(
    ("status", "body", "kind", "scope", "code"),
    [
        (200, '{"status":"OK"}', Kind.DELIVERED, ORDER, "accepted"),
        (201, '{"status":"ok"}', Kind.DELIVERED, ORDER, "accepted"),
        (200, '{ "status" : "OK", }', Kind.DELIVERED, ORDER, "accepted"),
        (200, '\ufeff{"status":"OK"}', Kind.DELIVERED, ORDER, "accepted"),
        (200, fail("X", "warning"), Kind.DELIVERED, ORDER, "accepted_with_warning"),
        (200, '{"status":"warning"}', Kind.DELIVERED, ORDER, "accepted_with_warning"),
        (200, fail("MalformedJson"), Kind.REFUSED, ORDER, "refused"),
        (200, fail("LocationNotRecognized"), Kind.REFUSED, ORDER, "refused"),
        (200, fail("SiteNotRecognized"), Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, fail("MissingOrMalformedToken"), Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, fail("channelNotRecognized"), Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, '{"status":"fail"}', Kind.REFUSED, ORDER, "unspecified"),
        (200, '{"status":"fail","errors":["x",{"code":1}]}', Kind.REFUSED, ORDER, "unspecified"),
        (200, "", Kind.DELIVERED, ORDER, "unverified"),
        (204, "", Kind.DELIVERED, ORDER, "unverified"),
        (200, "{}", Kind.DELIVERED, ORDER, "unverified"),
        (200, '{"id":7}', Kind.DELIVERED, ORDER, "unverified"),
        (200, "<html>Welcome</html>", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "[]", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "null", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, '{"status":"later"}', Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, '{"status":1}', Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (401, "", Kind.REFUSED, CREDENTIAL, "forbidden"),
        (403, '{"status":"OK"}', Kind.REFUSED, CREDENTIAL, "forbidden"),
        (404, "", Kind.REFUSED, CREDENTIAL, "wrong_address"),
        (400, "", Kind.REFUSED, ORDER, "refused"),
        (400, '{"status":"OK"}', Kind.REFUSED, ORDER, "refused"),
        (400, fail("MalformedJson"), Kind.REFUSED, ORDER, "refused"),
        (400, fail("SiteNotRecognized"), Kind.REFUSED, CREDENTIAL, "key_refused"),
        (429, "", Kind.RETRY, CREDENTIAL, "rate_limited"),
        (500, fail("SiteNotRecognized"), Kind.RETRY, CREDENTIAL, "vendor_error"),
        (302, '{"status":"OK"}', Kind.RETRY, CREDENTIAL, "redirect_temporary"),
        (301, "", Kind.REFUSED, CREDENTIAL, "redirect"),
    ],
)
def test_oz_12_reply_classes(status: int, body: str, kind: Kind, scope: Scope, code: str) -> None:
    outcome = read(body, status)
    assert (outcome.kind, outcome.scope, outcome.reason) == (kind, scope, code)


@pytest.mark.parametrize("status", ["fail", "warning"])
def test_oz_12_messages_are_kept_redacted(status: str) -> None:
    detail = read(fail("MalformedJson", status)).detail
    assert detail.startswith("MalformedJson: about …")
    assert TOKEN not in detail and "@" not in detail


def test_oz_12_an_uncertain_send_may_not_be_repeated_at_will() -> None:
    assert (OPTIMIZELY.manner, OPTIMIZELY.upserts) == (Manner.ONCE, False)


def test_shown_holds_neither_token_nor_customer() -> None:
    typed = {"engraving": "For Johnny"}
    lines = (replace(O1.lines[0], details=typed), *O1.lines[1:])
    shown = build(replace(O1, properties=typed, lines=lines)).shown
    assert "1001" in shown and "PROD-001" in shown and "29.99" in shown
    assert not [word for word in (TOKEN, "@", "u-7f3a", "Johnny", "Doesson") if word in shown]


def test_fingerprint_ignores_the_token_and_sees_everything_else() -> None:
    assert build(O1).fingerprint == build(O1, account(token="another")).fingerprint
    others = {
        build(O1, account(channel="store")).fingerprint,
        build(replace(O1, shipping=Decimal(5))).fingerprint,
        build(O1).fingerprint,
    }
    assert len(others) == 3


@pytest.mark.parametrize("odd", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "1E+101"])
@pytest.mark.parametrize("field", ["line", "total", "shipping", "discount"])
def test_amounts_that_are_no_numbers_are_refused(field: str, odd: str) -> None:
    amount = Decimal(odd)
    lines = {"lines": (line(total=amount),)}
    order = replace(replace(O1, shipping=None), **(lines if field == "line" else {field: amount}))
    assert reason(attempt(order)) in (refusal("unreadable_order"), refusal("negative_total"))


@pytest.mark.parametrize(
    ("field", "value", "code"), [("reference", " ", "no_reference"), ("currency", "€", "bad_currency")]
)
def test_orders_that_cannot_be_said_are_refused(field: str, value: str, code: str) -> None:
    assert reason(attempt(replace(O1, **{field: value}))) == refusal(code)


JUDGE = Config(optimizely_tokens={"acme": TOKEN})


@settings(max_examples=200)
@given(
    snapshot=any_order(O1),
    languages=any_text | st.just("fr=fr-fr"),
    code=st.sampled_from(["sku", "product_id"]),
    only_offline=st.booleans(),
)
def test_any_order_builds_what_the_sandbox_accepts_or_says_why_not(
    snapshot: OrderSnapshot, languages: str, code: str, only_offline: bool
) -> None:
    result = attempt(snapshot, account(languages=languages, product_id=code, only_offline=only_offline))
    if isinstance(result, Outcome):
        assert result.reason in REASONS
    else:
        assert verdict(OPTIMIZELY_TWIN, result, config=JUDGE)[0] == "stored"


@given(currency=iso_currency, bought=sold, shipping=st.decimals(0, 1000, places=3), name=any_text)
def test_parsed_amounts_equal_the_decimals(
    currency: str, bought: list[tuple[Decimal, Decimal]], shipping: Decimal, name: str
) -> None:
    lines = tuple(line(name=name, quantity=quantity, total=total) for quantity, total in bought)
    request = build(replace(O1, currency=currency, lines=lines, shipping=shipping))
    order = content_of(request)["order"]
    assert [item["qty"] for item in order["items"]] == [quantity for quantity, _total in bought]
    assert [item["price"] for item in order["items"]] == [unit_price(one, currency) for one in lines]
    assert order["shipping"] == round_total(shipping, currency)
    assert order["subTotal"] == round_total(sum(total for _quantity, total in bought), currency)
    assert order["total"] == order["subTotal"] + order["shipping"]
    assert b"E+" not in request.body and b"E-" not in request.body


ANSWERS = any_body(["status", "errors", "code", "message"], ["OK", "fail", "warning", "SiteNotRecognized"])


@settings(max_examples=300)
@given(status=any_status, body=ANSWERS | st.just(b""), headers=any_headers)
def test_read_is_total_and_only_success_is_delivered(status: int, body: bytes, headers: dict[str, str]) -> None:
    outcome = OPTIMIZELY.read(Response(status=status, headers=headers, body=body), account=account())
    assert outcome.reason in REASONS
    assert status < 300 or outcome.kind is not Kind.DELIVERED
    if outcome.reason == "accepted":
        assert json.loads(body)["status"].lower().strip() == "ok"
