"""Conformance with Optico's Cart API and its dialect of orders: cases OC-01 to OC-15."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response as Answer

from optico_sync.attribution import Attribution
from optico_sync.models import Attempt, SyncState
from optico_sync.outcome import REASONS, Kind, Outcome
from optico_sync.sandbox import cart as sandbox_cart
from optico_sync.sandbox.ledger import Config
from optico_sync.snapshot import CartSnapshot, Line, OrderSnapshot, round_total, unit_price
from optico_sync.vendors import get_vendor
from optico_sync.vendors.base import Account, Request, Response, Told
from optico_sync.vendors.wire import clean_text
from tests.helpers import KEY, Clock, deliver, fill, make_credential, place, state_of
from tests.oddshop.models import Load, Trolley
from tests.settings import OPTICO_SYNC
from tests.vendors.strategies import any_table, iso_currency, sold

OPTICO = get_vendor("optico")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VISIT = "3617898c651df0f8617f70a0"
D = Decimal
LINES = (
    Line(product_id="PROD-001", name="Blue Widget", quantity=D(2), total=D("59.98")),
    Line(product_id="PROD-007", name="Red Gadget", quantity=D(1), total=D("59.00")),
)
K1 = CartSnapshot(key="C-77", currency="EUR", lines=LINES, is_logged_in=True, attribution=Attribution(visit_id=VISIT))
O1 = OrderSnapshot(
    key="1",
    reference="1001",
    status="any",
    currency="EUR",
    lines=LINES,
    attribution=Attribution(visit_id=VISIT, cart_key="C-77"),
)
PRODUCTS = (
    "products%5B0%5D%5Bid%5D=PROD-001&products%5B0%5D%5Bname%5D=Blue+Widget&products%5B0%5D%5Bquantity%5D=2"
    "&products%5B0%5D%5Bprice%5D=29.99&products%5B1%5D%5Bid%5D=PROD-007&products%5B1%5D%5Bname%5D=Red+Gadget"
    "&products%5B1%5D%5Bquantity%5D=1&products%5B1%5D%5Bprice%5D=59.00"
)


def account(cart_key: str = "", **options: Any) -> Account:
    chosen = {option.name: option.default for option in OPTICO.options}
    secrets = {"key": "TESTKEY", "cart_key": cart_key} if cart_key else {"key": "TESTKEY"}
    return Account(base_url="https://www.optico.fr", secrets=secrets, options={**chosen, **options})


def attempt_cart(cart: CartSnapshot, cart_key: str = "", **options: Any) -> Request | Outcome:
    return OPTICO.build_cart(cart, account=account(cart_key, **options), now=NOW)


def attempt_order(order: OrderSnapshot, status: str = "Completed", **options: Any) -> Request | Outcome:
    told = Told(status=status, is_sale=True)
    return OPTICO.build(order, told=told, account=account(**{"dialect": "cart", **options}), now=NOW)


def fields_of(request: Request | Outcome) -> dict[str, str]:
    assert isinstance(request, Request), request
    return dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True))


def cart_fields(cart: CartSnapshot = K1, **options: Any) -> dict[str, str]:
    return fields_of(attempt_cart(cart, **options))


def reason_of(result: Request | Outcome) -> tuple[Kind, str]:
    assert isinstance(result, Outcome), result
    return result.kind, result.reason


def line(**values: Any) -> Line:
    return Line(**{"product_id": "P", "name": "Thing", "quantity": D(1), "total": D(1), **values})


def cart(*lines: Line, currency: str = "EUR", **seen: str) -> CartSnapshot:
    return CartSnapshot(
        key="C-77", currency=currency, lines=lines, attribution=Attribution(**{"visit_id": VISIT, **seen})
    )


def test_oc_01_basic_cart_whole_request() -> None:
    request = attempt_cart(K1)
    assert isinstance(request, Request)
    assert (request.method, request.url) == ("POST", "https://www.optico.fr/api/customer-cart")
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    assert sorted(request.body.decode("ascii").split("&")) == sorted(
        f"key=TESTKEY&id=C-77&currency=EUR&visit_id={VISIT}&is_logged_in=1&{PRODUCTS}".split("&")
    )


def test_oc_01_on_the_wire(db: None, httpserver: HTTPServer) -> None:
    received: list[Received] = []
    httpserver.expect_request("/api/customer-cart").respond_with_handler(
        lambda request: received.append(request) or Answer('{"status":"success"}')
    )
    credential = make_credential(httpserver.url_for("").rstrip("/"))
    trolley = fill(("PROD-001", "Blue Widget", 2, 2999), visit_id=VISIT, account="anna")
    deliver(credential)
    (request,) = received
    assert request.form.to_dict() == {
        "key": KEY,
        "id": str(trolley.pk),
        "currency": "EUR",
        "visit_id": VISIT,
        "is_logged_in": "1",
        "products[0][id]": "PROD-001",
        "products[0][name]": "Blue Widget",
        "products[0][quantity]": "2",
        "products[0][price]": "29.99",
    }
    assert state_of(trolley).state == SyncState.State.IN_SYNC


def test_oc_02_order_in_the_bracket_dialect_whole_request() -> None:
    request = attempt_order(O1)
    assert isinstance(request, Request)
    assert request.url == "https://www.optico.fr/api/customer-order"
    assert sorted(request.body.decode("ascii").split("&")) == sorted(
        f"key=TESTKEY&id=1001&cart_id=C-77&currency=EUR&visit_id={VISIT}&status=Completed&{PRODUCTS}".split("&")
    )


def test_oc_02_sandbox_agrees(live: Any, optico: Any) -> None:
    live.options = {"dialect": "cart"}
    live.save()
    purchase = place("1001", "confirmed", basket="C-77", visit=VISIT, call="77001", operator="agent_anna")
    deliver(live)
    stored = optico.order("1001")
    assert (stored["dialect"], stored["total_cost"], stored["cart_id"]) == ("cart", "59.98", "C-77")
    assert (stored["call_id"], stored["agent"], stored["attributed"]) == ("77001", "agent_anna", True)
    assert [entry["remarks"] for entry in optico.journal()] == [[]]
    assert state_of(purchase).state == SyncState.State.IN_SYNC


def test_oc_03_anonymous_is_a_zero() -> None:
    assert cart_fields(dataclasses.replace(K1, is_logged_in=False))["is_logged_in"] == "0"


def test_oc_04_unicode_is_utf_8() -> None:
    name = "Crème brûlée – ½ kg 🍮 & <Été> 100%+"
    request = attempt_cart(cart(line(product_id="PROD-9", name=name, total=D("7.50"))))
    assert isinstance(request, Request)
    assert (
        b"products%5B0%5D%5Bname%5D=Cr%C3%A8me+br%C3%BBl%C3%A9e+%E2%80%93+%C2%BD+kg+%F0%9F%8D%AE+%26+"
        b"%3C%C3%89t%C3%A9%3E+100%25%2B" in request.body
    )


@pytest.mark.parametrize(
    ("details", "wanted"),
    [
        (
            {"color": "blue", "dimensions": {"width": "20cm"}, "gift": True, "note": None},
            {"[color]": "blue", "[dimensions][width]": "20cm", "[gift]": "1"},
        ),
        ("some product details", {"": "some product details"}),
        (["a", "b"], {"[0]": "a", "[1]": "b"}),
        ({"off": False, "size": 3, "price": D("1.10")}, {"[off]": "0", "[size]": "3", "[price]": "1.10"}),
        ({"html": "<b>red</b>\x00"}, {"[html]": "red"}),
    ],
)
def test_oc_05_nested_details(details: Any, wanted: dict[str, str]) -> None:
    found = cart_fields(cart(line(details=details)))
    prefix = "products[0][details]"
    assert {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)} == wanted


def test_oc_06_hostile_keys() -> None:
    found = cart_fields(cart(line(details={"a[b]": "x", "": "y"})))
    assert [name for name in found if "details" in name] == ["products[0][details][a_b_]"]


@pytest.mark.parametrize("size", [1, 200])
def test_oc_07_huge_details_lose_no_line(size: int) -> None:
    details = {f"key{number}": "y" * size for number in range(300)}
    found = cart_fields(cart(*(line(product_id=f"P{number}", details=details) for number in range(10))))
    assert len(found) <= 900
    for number in range(10):
        assert found[f"products[{number}][id]"] == f"P{number}"
        assert {f"products[{number}][{name}]" for name in ("name", "quantity", "price")} <= found.keys()


def test_oc_07_details_go_where_the_form_would_grow_too_long() -> None:
    details = {f"k{number}": "y" for number in range(20)}
    found = cart_fields(cart(*(line(details=details) for _number in range(60))))
    assert len(found) == 5 + 60 * 4


def test_oc_08_big_cart_is_refused_and_not_cut() -> None:
    assert len(cart_fields(cart(*[line()] * 225))) == 5 + 225 * 4 - 0
    assert reason_of(attempt_cart(cart(*[line()] * 226))) == (Kind.REFUSED, "too_many_lines")
    many = dataclasses.replace(O1, lines=(line(),) * 226)
    assert reason_of(attempt_order(many)) == (Kind.REFUSED, "too_many_lines")
    assert isinstance(attempt_order(many, dialect="sales"), Request)


@pytest.mark.parametrize("lines", [(), (line(quantity=D(0)), line(quantity=D(-1)))])
def test_oc_09_an_order_of_which_nothing_is_left_is_refused_here(lines: tuple[Line, ...]) -> None:
    """The document requires products, and its answer would name none of them."""
    assert reason_of(attempt_order(dataclasses.replace(O1, lines=lines))) == (Kind.REFUSED, "no_items")


@pytest.mark.parametrize("lines", [(), (line(quantity=D(0)), line(quantity=D(-1)))])
def test_oc_09_empty_cart_is_not_sent(lines: tuple[Line, ...]) -> None:
    assert reason_of(attempt_cart(cart(*lines))) == (Kind.NOT_SENT, "empty_cart")


def test_oc_10_without_a_visit() -> None:
    assert reason_of(attempt_cart(cart(line(), visit_id=""))) == (Kind.NOT_SENT, "no_visit")
    lost = dataclasses.replace(O1, attribution=Attribution(cart_key="C-77"))
    assert reason_of(attempt_order(lost)) == (Kind.REFUSED, "missing_visit")
    assert "Sales" in str(REASONS["missing_visit"].advice)


def test_oc_10_an_order_without_a_cart() -> None:
    """The document requires ``cart_id`` as it requires the visit: a phone order has neither."""
    lost = dataclasses.replace(O1, attribution=Attribution(visit_id=VISIT))
    assert reason_of(attempt_order(lost)) == (Kind.REFUSED, "missing_cart")


@pytest.mark.parametrize(
    ("currency", "total", "price"),
    [("KWD", "1.234", "1.234"), ("JPY", "1500", "1500"), ("EUR", "59", "59.00"), ("EUR", "0", "0.00")],
)
def test_oc_12_prices_have_the_currencys_digits(currency: str, total: str, price: str) -> None:
    assert cart_fields(cart(line(total=D(total)), currency=currency))["products[0][price]"] == price


def test_oc_12_a_price_that_does_not_divide_keeps_four_digits() -> None:
    assert cart_fields(cart(line(quantity=D(3), total=D(10))))["products[0][price]"] == "3.3333"


def test_oc_13_changes_within_the_quiet_period_are_one_request(live: Any, optico: Any, clock: Clock) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "CART_QUIET_PERIOD": 2.0}):
        trolley = fill(visit_id=VISIT)
        load = trolley.loads.get()
        for pieces in (3, 4, 5, 6):
            load.pieces = pieces
            load.save()
        # Later than the relay, and within the period.
        clock.now = datetime.now(UTC) + timedelta(seconds=1)
        deliver(live, clock=clock)
        assert optico.records("cart") == []
        clock.forward(seconds=3)
        deliver(live, clock=clock)
    (entry,) = optico.journal(vendor="cart")
    assert entry["fields"]["products[0][quantity]"] == "6"


def test_oc_13_a_change_during_a_retry_sends_only_the_newest(live: Any, optico: Any, clock: Clock) -> None:
    trolley = fill(visit_id=VISIT)
    optico.script(str(trolley.pk), ["500"])
    deliver(live, clock=clock)
    load = trolley.loads.get()
    load.pieces = 7
    load.save()
    clock.forward(seconds=5)
    deliver(live, clock=clock)
    sent = [entry["fields"]["products[0][quantity]"] for entry in optico.journal(vendor="cart")]
    assert sent == ["2", "7"]
    assert optico.record("cart", str(trolley.pk))["products"][0]["quantity"] == 7


def test_oc_14_replies_are_read_as_an_orders() -> None:
    def read(message: str, cart_key: str = "") -> tuple[Kind, str]:
        body = f'{{"status":"error","message":"{message}"}}'.encode()
        outcome = OPTICO.read_cart(Response(status=200, headers={}, body=body), account=account(cart_key))
        return outcome.kind, outcome.reason

    assert read("Unknown visit_id") == (Kind.REFUSED, "unknown_visit")
    assert read("Invalid API key") == (Kind.REFUSED, "key_refused")
    assert read("Invalid API key", cart_key="another") == (Kind.REFUSED, "cart_key_refused")
    success = Response(status=200, headers={}, body=b'{"status":"success"}')
    assert OPTICO.read_cart(success, account=account()).kind is Kind.DELIVERED


def test_oc_14_a_refused_cart_is_superseded_by_its_next_change(live: Any, optico: Any) -> None:
    optico.config(visits=["another"])
    trolley = fill(visit_id=VISIT)
    deliver(live)
    assert (state_of(trolley).state, state_of(trolley).reason) == (SyncState.State.REFUSED, "unknown_visit")
    optico.config(visits=[VISIT])
    trolley.save()
    deliver(live)
    assert state_of(trolley).state == SyncState.State.IN_SYNC


def test_oc_14_a_refused_key_for_carts_keeps_no_order_back(live: Any, optico: Any) -> None:
    live.set_secrets({"key": KEY, "cart_key": "revoked"})
    live.save()
    trolley, purchase = fill(visit_id=VISIT), place(stage="confirmed")
    deliver(live)
    assert (state_of(trolley).reason, state_of(purchase).state) == ("cart_key_refused", SyncState.State.IN_SYNC)
    live.refresh_from_db()
    assert live.paused_at is None


def test_oc_15_sending_a_cart_is_no_business_of_the_shop_page(db: None, django_assert_num_queries: Any) -> None:
    """One INSERT for the cart and all that is in it, whatever the vendor is up to: it listens nowhere here."""
    credential = make_credential("http://127.0.0.1:9")
    with django_assert_num_queries(3):
        trolley = Trolley.objects.create()
        Load.objects.create(trolley_id=trolley.pk, title="Widget", cents=100)
    deliver(credential)
    assert state_of(trolley).state in (SyncState.State.NOT_SENT, SyncState.State.RETRYING)


def test_the_key_for_carts_is_used_for_carts_only() -> None:
    assert cart_fields(K1, cart_key="CARTKEY")["key"] == "CARTKEY"
    told = Told(status="x", is_sale=True)
    assert fields_of(OPTICO.build(O1, told=told, account=account("CARTKEY"), now=NOW))["key"] == "TESTKEY"


def test_the_prefix_goes_before_order_numbers_and_cart_ids() -> None:
    assert cart_fields(K1, id_prefix="FR-")["id"] == "FR-C-77"
    for dialect in ("sales", "cart"):
        found = fields_of(attempt_order(O1, dialect=dialect, id_prefix="FR-"))
        assert (found["id"], found["cart_id"]) == ("FR-1001", "FR-C-77")


def test_carts_can_be_switched_off() -> None:
    assert reason_of(attempt_cart(K1, carts=False)) == (Kind.NOT_SENT, "carts_off")


def test_a_cart_with_a_call_and_an_agent_says_so_and_hides_the_agent() -> None:
    request = attempt_cart(cart(line(), call_id="77001", agent="Anna Smith"))
    found = fields_of(request)
    assert (found["call_id"], found["agent"]) == ("77001", "Anna Smith")
    assert isinstance(request, Request)
    assert "Anna Smith" not in request.shown and "TESTKEY" not in request.shown


@pytest.mark.django_db
def test_attempts_of_carts_hold_no_key(live: Any, optico: Any) -> None:
    fill(visit_id=VISIT)
    deliver(live)
    assert KEY not in Attempt.objects.get().request


# any cart at all

texts = st.text(max_size=8)
numbers = st.one_of(
    st.decimals(min_value=-1000, max_value=1000, places=3),
    st.sampled_from([D(0), D(1), D("1E+30"), D("-0.5"), D("1E-40")]),
)
leaves = st.one_of(texts, st.none(), numbers, st.integers(), st.floats(), st.binary(max_size=3), st.booleans())
details = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, Mapping | list | str))
odd_lines = st.builds(Line, product_id=texts, name=texts, quantity=numbers, total=numbers, details=details)
odd_carts = st.builds(
    CartSnapshot,
    key=texts,
    currency=st.sampled_from(["EUR", "JPY", "KWD", "usd"]) | texts,
    lines=st.lists(odd_lines, max_size=3).map(tuple),
    is_logged_in=st.booleans(),
    attribution=st.builds(Attribution, visit_id=st.sampled_from(["", VISIT]), call_id=texts, agent=texts),
)


@settings(max_examples=150)
@given(odd_carts)
def test_any_cart_builds_what_the_sandbox_can_read_or_says_why_not(snapshot: CartSnapshot) -> None:
    result = attempt_cart(snapshot)
    if isinstance(result, Outcome):
        assert result.reason in REASONS
        return
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(result.body.decode("ascii"), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    config = Config(keys=frozenset({"TESTKEY"}))
    _values, problem = sandbox_cart.read(form, config, required=sandbox_cart.CART_REQUIRED)
    is_named = all(clean_text(line.product_id) and clean_text(line.name) for line in snapshot.lines)
    assert problem is None or not is_named or not clean_text(snapshot.key)


JUDGE = Config(keys=frozenset({"TESTKEY"}), statuses={"Completed": True})


@given(bought=sold, currency=iso_currency, details=any_table)
def test_an_order_comes_back_as_it_was_sold(
    bought: list[tuple[Decimal, Decimal]], currency: str, details: dict[str, Any]
) -> None:
    """Sent by our hand, read by the sandbox's: its products are the order's lines, in their order."""
    lines = tuple(
        line(product_id=f"P-{number}", quantity=quantity, total=total, details=details)
        for number, (quantity, total) in enumerate(bought)
    )
    snapshot = dataclasses.replace(O1, lines=lines, currency=currency)
    form = {name: [value] for name, value in fields_of(attempt_order(snapshot)).items()}
    values, problem = sandbox_cart.read(form, JUDGE, required=sandbox_cart.ORDER_REQUIRED)
    assert problem is None
    assert (values["id"], values["cart_id"], values["currency"]) == ("1001", "C-77", currency)
    assert [product["id"] for product in values["products"]] == [one.product_id for one in lines]
    for one, product in zip(lines, values["products"], strict=True):
        if one.quantity == int(one.quantity):
            assert (product["quantity"], product["price"]) == (one.quantity, unit_price(one, currency))
        else:
            # A part of a piece: one piece at the line's price.
            assert (product["quantity"], product["price"]) == (1, round_total(one.total, currency))
