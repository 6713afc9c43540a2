"""Conformance with Optico's Sales API: cases OS-01 to OS-15, over real sockets where bytes or replies matter."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.utils.translation import gettext_lazy, override
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response as Answer

from optico_sync.attribution import Attribution
from optico_sync.models import Attempt, DeclaredStatus, StatusMapping, SyncState
from optico_sync.outcome import REASONS, Kind, Outcome, Scope
from optico_sync.sandbox.ledger import Config
from optico_sync.sandbox.vendors import SALES
from optico_sync.snapshot import Line, OrderSnapshot, round_total, unit_price
from optico_sync.vendors import get_vendor
from optico_sync.vendors.base import Account, Request, Response, Told
from tests.helpers import KEY, Clock, Vendor, deliver, error, form_of, make_credential, move, place, reply, state_of
from tests.vendors.judge import verdict
from tests.vendors.strategies import any_body, any_headers, any_order, any_status, any_text, iso_currency, sold

OPTICO = get_vendor("optico")
ACCOUNT = Account(
    base_url="https://www.optico.fr",
    secrets={"key": KEY},
    options={option.name: option.default for option in OPTICO.options},
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VISIT = "3617898c651df0f8617f70a0"


def line(**values: Any) -> Line:
    values = {"product_id": "P", "name": "Thing", "quantity": Decimal(1), "total": Decimal(1), **values}
    return Line(**values)


def order(*lines: Line, currency: str = "EUR", **seen: str) -> OrderSnapshot:
    return OrderSnapshot(
        key="1",
        reference="1001",
        status="any",
        currency=currency,
        lines=lines,
        attribution=Attribution(**seen),
    )


def build(snapshot: OrderSnapshot, status: str = "confirmed") -> Request:
    request = OPTICO.build(snapshot, told=Told(status=status, is_sale=True), account=ACCOUNT, now=NOW)
    assert isinstance(request, Request), request
    return request


def products_of(request: Request) -> list[dict[str, Any]]:
    return json.loads(form_of(request)["products"], parse_float=Decimal, parse_int=Decimal)


class Optico:
    """A server on a real socket that answers as told, and keeps what it received whole."""

    def __init__(self, server: HTTPServer) -> None:
        self.received: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[Received], Answer] = lambda request: Answer(
            '{"status":"success"}', content_type="application/json"
        )
        self.url = server.url_for("").rstrip("/")
        server.expect_request("/api/customer-order").respond_with_handler(self._handle)

    def _handle(self, request: Received) -> Answer:
        self.received.append((request.method, request.path, dict(request.headers), request.get_data()))
        return self.answer(request)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _method, _path, _headers, body in self.received]


@pytest.fixture
def server(httpserver: HTTPServer) -> Optico:
    return Optico(httpserver)


@pytest.fixture
def account(db: None, server: Optico) -> Any:
    return make_credential(server.url)


def place_o1(stage: str = "confirmed", **fields: Any) -> Any:
    return place(
        "1001",
        stage,
        [("PROD-001", "Blue Widget", 2, "59.98"), ("PROD-007", "Red Gadget", 1, "59.00")],
        **{"basket": "C-77", "visit": VISIT, "bought_at": datetime(2024, 3, 15, 13, 25, 7, tzinfo=UTC), **fields},
    )


O1_PRODUCTS = [
    {"id": "PROD-001", "name": "Blue Widget", "quantity": 2, "cost_per_unit": Decimal("29.99")},
    {"id": "PROD-007", "name": "Red Gadget", "quantity": 1, "cost_per_unit": 59},
]


def test_os_01_basic_order_whole_request(account: Any, server: Optico) -> None:
    place_o1()
    deliver(account)
    ((method, path, headers, body),) = server.received
    assert (method, path) == ("POST", "/api/customer-order")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["Content-Length"] == str(len(body))
    form = parse_qs(body.decode("ascii"), strict_parsing=True)
    products = json.loads(form.pop("products")[0], parse_float=Decimal)
    assert products == O1_PRODUCTS
    assert form == {
        "key": [KEY],
        "id": ["1001"],
        "status": ["confirmed"],
        "cart_id": ["C-77"],
        "visit_id": [VISIT],
        "currency": ["EUR"],
    }


def test_os_01_sandbox_agrees(live: Any, optico: Any) -> None:
    purchase = place_o1(call="77001", operator="agent_anna")
    deliver(live)
    stored = optico.order("1001")
    assert stored["total_cost"] == "118.98"
    assert (stored["status"], stored["attributed"], stored["conversions"]) == ("confirmed", True, 1)
    assert (stored["call_id"], stored["agent"], stored["cart_id"]) == ("77001", "agent_anna", "C-77")
    assert [entry["remarks"] for entry in optico.journal()] == [[]]
    assert state_of(purchase).state == SyncState.State.IN_SYNC


def test_os_02_without_visit_call_and_cart_sends_no_such_fields(account: Any, server: Optico) -> None:
    place_o1("pending", visit="", basket="")
    deliver(account)
    assert parse_qs(server.bodies[0].decode(), keep_blank_values=True).keys() == {
        "key",
        "id",
        "status",
        "currency",
        "products",
    }


@pytest.mark.parametrize("visit", [VISIT, "abc98c651df0f8617f70a012", "12e4aa651df0f8617f70a0bb"])
def test_os_03_hex_visit_survives(visit: str) -> None:
    assert form_of(build(order(line(), visit_id=visit)))["visit_id"] == visit


def test_os_06_unicode_is_escaped_to_ascii() -> None:
    request = build(
        order(line(product_id="PROD-9", name="Crème brûlée – ½ kg 🍮 & <Été> 100%+", total=Decimal("7.50")))
    )
    assert form_of(request)["products"] == (
        '[{"id":"PROD-9","name":"Cr\\u00e8me br\\u00fbl\\u00e9e \\u2013 \\u00bd kg \\ud83c\\udf6e & '
        '<\\u00c9t\\u00e9> 100%+","quantity":1,"cost_per_unit":7.5}]'
    )
    value = request.body.decode("ascii").split("products=")[1]
    assert "%26" in value and "%2B" in value and "%25" in value
    assert "&" not in value


def test_os_06_control_characters_and_lone_surrogates_are_dropped() -> None:
    (product,) = products_of(build(order(line(name="a\x00b\x1f\ud800c\n\td"))))
    assert product["name"] == "abc\n\td"


@pytest.mark.parametrize(
    ("currency", "quantity", "total", "wanted"),
    [
        ("EUR", "3", "0.30", "0.1"),
        ("JPY", "1", "1500", "1500"),
        ("KWD", "1", "1.234", "1.234"),
        ("EUR", "1", "1E+2", "100"),
        ("EUR", "3", "10.00", "3.3333"),
        ("EUR", "7", "24.62", "3.5171"),
        ("EUR", "1", "0.00", "0"),
    ],
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_os_07_decimals_are_plain_numbers(currency: str, quantity: str, total: str, wanted: str, language: str) -> None:
    with override(language):
        request = build(order(line(quantity=Decimal(quantity), total=Decimal(total)), currency=currency))
    text = form_of(request)["products"]
    assert f'"cost_per_unit":{wanted}}}' in text


def test_os_08_quantity_zero_is_left_out(account: Any, server: Optico) -> None:
    place("1", "confirmed", [("A", "None", 0, "0"), ("B", "Two", 2, "4"), ("C", "Back", -1, "-2")])
    place("2", "confirmed", [("A", "None", 0, "0")])
    deliver(account)
    forms = {form["id"][0]: form["products"][0] for form in (parse_qs(body.decode()) for body in server.bodies)}
    assert [product["id"] for product in json.loads(forms["1"])] == ["B"]
    assert forms["2"] == "[]"
    assert any(body.endswith(b"products=%5B%5D") for body in server.bodies)


def test_os_09_fractional_quantity() -> None:
    (product,) = products_of(build(order(line(quantity=Decimal("1.500"), total=Decimal("15.00")))))
    assert (product["quantity"], product["cost_per_unit"]) == (1, 15)
    assert product["details"] == {"quantity": "1.5"}


def test_os_10_unmapped_status_is_not_sent(account: Any, server: Optico) -> None:
    purchase = place(stage="Being processed")
    deliver(account)
    state = state_of(purchase)
    assert server.received == []
    assert (state.state, state.reason) == (SyncState.State.REFUSED, "unmapped_status")
    mapping = StatusMapping.objects.get(shop_status="Being processed")
    assert mapping.choice == StatusMapping.Choice.UNDECIDED


class Strange:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_os_11_huge_details_lose_no_line() -> None:
    nested: dict[str, Any] = {}
    for _ in range(30):
        nested = {"deeper": nested}
    details = {
        "nested": nested,
        "long": "x" * 1_000_000,
        "price": Decimal("1.10"),
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "lazy": gettext_lazy("Yes"),
        "none": None,
        "bytes": b"\xff",
        "nan": float("nan"),
        "object": Strange(),
        "yes": True,
        **{f"key{number}": "y" * 400 for number in range(500)},
    }
    snapshot = order(line(details=details), line(product_id="Q", details=details))
    first, second = products_of(build(snapshot))
    kept = first["details"]
    assert len(kept) <= 50
    assert kept["price"] == "1.10" and kept["when"].startswith("2026-01-02") and kept["lazy"] == "Yes"
    assert len(kept["long"]) == 1000
    assert not {"none", "bytes", "object"} & kept.keys()
    assert _depth(kept) <= 4
    assert sum(len(json.dumps(product.get("details", {}), default=str)) for product in (first, second)) <= 17 * 1024
    assert second["id"] == "Q"


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value.values()), default=0) if isinstance(value, dict) else 0


def read(body: bytes | str, status: int = 200, **headers: str) -> Outcome:
    data = body.encode() if isinstance(body, str) else body
    return OPTICO.read(Response(status=status, headers=headers, body=data), account=ACCOUNT)


OK = '{"status":"success"}'
ORDER, CREDENTIAL = Scope.ORDER, Scope.CREDENTIAL


@pytest.mark.parametrize(
    ("status", "body", "kind", "scope", "reason"),
    [
        (200, OK, Kind.DELIVERED, ORDER, "accepted"),
        (200, '{"status":"success","orderId":9}', Kind.DELIVERED, ORDER, "accepted"),
        (200, "\ufeff" + OK, Kind.DELIVERED, ORDER, "accepted"),
        (200, '{"status":"error","message":"Invalid api key"}', Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, '{"status":"error","message":"Invalid API key"}', Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, '{"status":"error","message":"Unknown status"}', Kind.REFUSED, ORDER, "unknown_status"),
        (200, '{"status":"error","message":"Missing required parameter"}', Kind.REFUSED, ORDER, "missing_parameter"),
        (200, '{"status":"error","message":"Invalid products format"}', Kind.REFUSED, ORDER, "invalid_products"),
        (200, '{"status":"error","message":"Unknown visit_id"}', Kind.REFUSED, ORDER, "unknown_visit"),
        (200, '{"status":"error"}', Kind.REFUSED, ORDER, "unspecified"),
        (200, '{"status":"ERROR","errors":["Unknown status"]}', Kind.REFUSED, ORDER, "unknown_status"),
        (200, '{"status":"error","error":"Invalid api key"}', Kind.REFUSED, CREDENTIAL, "key_refused"),
        (200, '{"status":"OK"}', Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "{}", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "[]", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "null", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, '"success"', Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "<html>Welcome</html>", Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (200, "Warning: mysql in x.php\n" + OK, Kind.RETRY, CREDENTIAL, "unreadable_reply"),
        (500, "", Kind.RETRY, CREDENTIAL, "vendor_error"),
        (502, "<html>", Kind.RETRY, CREDENTIAL, "vendor_error"),
        (503, OK, Kind.RETRY, CREDENTIAL, "vendor_error"),
        (504, '{"status":"error","message":"Unknown status"}', Kind.RETRY, CREDENTIAL, "vendor_error"),
        (429, "", Kind.RETRY, CREDENTIAL, "rate_limited"),
        (403, "<html>Forbidden</html>", Kind.REFUSED, CREDENTIAL, "forbidden"),
        (400, '{"status":"error","message":"Missing required parameter"}', Kind.REFUSED, ORDER, "missing_parameter"),
        (400, "", Kind.REFUSED, ORDER, "refused"),
        (404, "", Kind.REFUSED, CREDENTIAL, "wrong_address"),
        (301, "", Kind.REFUSED, CREDENTIAL, "redirect"),
        (302, OK, Kind.RETRY, CREDENTIAL, "redirect_temporary"),
    ],
)
def test_os_12_reply_classes(status: int, body: str, kind: Kind, scope: Scope, reason: str) -> None:
    outcome = read(body, status)
    assert (outcome.kind, outcome.scope, outcome.reason) == (kind, scope, reason)


def test_os_12_content_type_does_not_matter() -> None:
    assert read(OK, **{"content-type": "text/html"}).kind is Kind.DELIVERED


def test_os_12_retry_after_in_seconds_and_as_a_date_with_a_ceiling() -> None:
    assert read("", 429, **{"retry-after": "30"}).retry_after == 30
    assert read("", 429, **{"retry-after": "999999"}).retry_after == 3600
    assert read("", 503, **{"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}).retry_after == 0
    assert read("", 503, **{"retry-after": "soon"}).retry_after is None


def test_os_12_429_waits_as_long_as_asked(credential: Any, clock: Clock) -> None:
    answers: Iterator[Response] = iter([reply(b"", 429, **{"retry-after": "30"}), reply()])
    vendor = Vendor(lambda form: next(answers))
    purchase = place()
    deliver(credential, sender=vendor, clock=clock)
    clock.forward(seconds=29)
    assert deliver(credential, sender=vendor, clock=clock) == 0
    clock.forward(seconds=2)
    deliver(credential, sender=vendor, clock=clock)
    assert state_of(purchase).state == SyncState.State.IN_SYNC


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_os_12_redirects_are_not_followed(account: Any, server: Optico, httpserver: HTTPServer, status: int) -> None:
    elsewhere: list[Received] = []
    httpserver.expect_request("/elsewhere").respond_with_handler(
        lambda request: elsewhere.append(request) or Answer(OK)
    )
    server.answer = lambda request: Answer(status=status, headers={"Location": httpserver.url_for("/elsewhere")})
    place()
    deliver(account)
    assert (len(server.received), elsewhere) == (1, [])


def test_os_12_read_timeout_then_success_sends_identical_bodies(
    account: Any, server: Optico, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(OPTICO), "timeout", type(OPTICO.timeout)(connect=1.0, total=0.3))
    server.answer = lambda request: (time.sleep(0.6 if len(server.received) == 1 else 0), Answer(OK))[1]
    purchase = place_o1()
    deliver(account, clock=clock)
    assert state_of(purchase).state == SyncState.State.RETRYING
    clock.forward(seconds=2)
    deliver(account, clock=clock)
    first, second = server.bodies
    assert first == second
    assert state_of(purchase).state == SyncState.State.IN_SYNC


def test_os_13_statuses_in_order_after_a_timeout(live: Any, optico: Any, clock: Clock) -> None:
    optico.script("1001", ["drop_after"])
    purchase = place("1001", "pending")
    deliver(live, clock=clock)
    move(purchase, "confirmed")
    move(purchase, "refunded")
    for _ in range(5):
        clock.forward(seconds=5)
        deliver(live, clock=clock)
    sent = [entry["fields"]["status"] for entry in optico.journal("1001")]
    assert sent == ["pending", "pending", "confirmed", "refunded"]
    assert {entry["concurrency"] for entry in optico.journal("1001")} == {1}


def test_os_13_a_refused_status_does_not_block_the_next(live: Any, optico: Any) -> None:
    optico.config(statuses={"confirmed": True})
    purchase = place("1001", "pending")
    deliver(live)
    assert state_of(purchase).reason == "unknown_status"
    move(purchase, "confirmed")
    deliver(live)
    assert optico.order("1001")["status"] == "confirmed"
    assert state_of(purchase).state == SyncState.State.IN_SYNC
    assert DeclaredStatus.objects.get(name="pending").unknown_since is not None


def test_os_14_every_status_change_once(live: Any, optico: Any) -> None:
    purchase = place("1001", "pending")
    deliver(live)
    for stage in ("confirmed", "shipped"):
        move(purchase, stage)
        deliver(live)
    purchase.save()
    purchase.save()
    deliver(live)
    assert [entry["fields"]["status"] for entry in optico.journal("1001")] == ["pending", "confirmed", "shipped"]
    assert optico.order("1001")["conversions"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda form: reply(f"<html>{form['key']} anna@example.com</html>".encode(), 500),
        lambda form: error(f"Invalid api key {form['key']}"),
        lambda form: error("Invalid api key"),
        lambda form: reply(form["key"].encode()),
        lambda form: 1 / 0,
    ],
)
def test_os_15_the_key_shows_up_nowhere(
    credential: Any, caplog: pytest.LogCaptureFixture, answer: Callable[[dict[str, str]], Response]
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor = Vendor(answer)
    purchase = place(operator="Anna Smith")
    deliver(credential, sender=vendor)
    assert vendor.forms[0]["key"] == KEY
    attempt = Attempt.objects.get()
    state = state_of(purchase)
    credential.refresh_from_db()
    texts = [attempt.request, attempt.answer, attempt.detail, state.detail, credential.pause_detail, caplog.text]
    texts += [repr(credential), repr(credential.account), str(credential.__dict__["options"])]
    assert not [text for text in texts if KEY in text or "anna@example.com" in text or "Anna Smith" in text]


def test_no_reference_bad_currency_and_bad_call_id_are_refused_with_a_reason() -> None:
    for snapshot, reason in (
        (OrderSnapshot(key="1", reference=" ", status="", currency="EUR", lines=()), "no_reference"),
        (order(currency="€"), "bad_currency"),
        (order(call_id="CALL-7"), "bad_call_id"),
    ):
        outcome = OPTICO.build(snapshot, told=Told(status="x", is_sale=True), account=ACCOUNT, now=NOW)
        assert isinstance(outcome, Outcome)
        assert (outcome.kind, outcome.reason) == (Kind.REFUSED, reason)


def test_fingerprint_ignores_the_key_and_sees_everything_else() -> None:
    other_key = Account(base_url=ACCOUNT.base_url, secrets={"key": "another"}, options=ACCOUNT.options)
    same = OPTICO.build(order(line()), told=Told(status="confirmed", is_sale=True), account=other_key, now=NOW)
    assert isinstance(same, Request)
    assert same.fingerprint == build(order(line())).fingerprint
    assert build(order(line(name="Other"))).fingerprint != same.fingerprint


JUDGE = Config(keys=frozenset({KEY}), statuses={"confirmed": True})


@settings(max_examples=300)
@given(snapshot=any_order(order(line())))
def test_any_order_builds_what_the_sandbox_accepts_or_says_why_not(snapshot: OrderSnapshot) -> None:
    result = OPTICO.build(snapshot, told=Told(status="confirmed", is_sale=True), account=ACCOUNT, now=NOW)
    if isinstance(result, Outcome):
        assert result.kind is Kind.REFUSED and result.reason in REASONS
    else:
        assert verdict(SALES, result, config=JUDGE) == ("stored", [])


@given(bought=sold, currency=iso_currency, name=any_text)
def test_parsed_amounts_equal_the_decimals(bought: list[tuple[Decimal, Decimal]], currency: str, name: str) -> None:
    lines = [line(name=name, quantity=quantity, total=total) for quantity, total in bought]
    request = build(order(*lines, currency=currency))
    for one, sent in zip(lines, products_of(request), strict=True):
        if one.quantity == int(one.quantity):
            assert (sent["quantity"], sent["cost_per_unit"]) == (one.quantity, unit_price(one, currency))
        else:
            assert (sent["quantity"], sent["cost_per_unit"]) == (1, round_total(one.total, currency))
            assert Decimal(sent["details"]["quantity"]) == one.quantity


ANSWERS = any_body(["status", "message", "error", "errors"], ["success", "SUCCESS", "error", "OK", "Unknown status"])


@settings(max_examples=300)
@given(status=any_status, body=ANSWERS | st.just(OK.encode()), headers=any_headers)
def test_read_is_total_and_only_success_is_delivered(status: int, body: bytes, headers: dict[str, str]) -> None:
    outcome = OPTICO.read(Response(status=status, headers=headers, body=body), account=ACCOUNT)
    assert outcome.reason in REASONS
    if outcome.kind is Kind.DELIVERED:
        assert 200 <= status < 300 and json.loads(body)["status"].lower() == "success"
