"""Where shops keep their facts: paths, labels, cents, amounts in words, money objects, JSON."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import translation

from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.values import number
from optico_sync.snapshot import OrderSnapshot
from tests.oddshop.models import Address, Parcel, Ticket

LINES: dict[str, Any] = {"json": "basket", "product_id": "sku", "name": "title", "quantity": "n", "total": "paid"}
ORDER: dict[str, Any] = {
    "model": "oddshop.Ticket",
    "reference": "code",
    "status": "phase",
    "currency": {"value": "EUR"},
    "lines": LINES,
}
ITEM = {"sku": "A", "title": "Thing", "n": 2, "paid": "59.98"}


def shop(lines: dict[str, Any] | None = None, **changes: Any) -> MappedShop:
    return MappedShop({**ORDER, "lines": {**LINES, **(lines or {})}, **changes})


def read(ticket: Ticket, adapter: MappedShop | None = None) -> OrderSnapshot | Unreadable:
    return (adapter or shop()).read([str(ticket.pk)], using="default")[str(ticket.pk)]


def snapshot(ticket: Ticket, adapter: MappedShop | None = None) -> OrderSnapshot:
    found = read(ticket, adapter)
    assert isinstance(found, OrderSnapshot), found
    return found


def complaint(**order: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        shop(**order)
    return str(caught.value)


@pytest.fixture
def ticket(db: None) -> Ticket:
    return Ticket.objects.create(code=7, phase=Ticket.Phase.PAID, basket=[ITEM])


def taxed(order: Ticket) -> str:
    return f"{order.code},50"


# a relation to many rows


@pytest.mark.parametrize(("path", "street"), [("parcels.first", "1st St"), ("parcels.last", "3rd St")])
def test_a_path_takes_one_of_many_rows(path: str, street: str, ticket: Ticket) -> None:
    for name in ("1st St", "2nd St", "3rd St"):
        Parcel.objects.create(ticket=ticket, address=Address.objects.create(street=name))
    assert snapshot(ticket, shop(channel=f"{path}.address.street")).channel == street


def test_the_first_of_no_rows_is_nothing(ticket: Ticket) -> None:
    assert snapshot(ticket, shop(channel="parcels.first.courier")).channel == ""


@pytest.mark.parametrize("path", ["parcels", "parcels.courier", "parcels.first.address.purchases_there"])
def test_a_path_that_leaves_open_which_row_says_how_to_choose(path: str) -> None:
    message = complaint(channel=path)
    assert "many rows" in message and ".first'" in message


def test_a_path_behind_many_rows_is_checked_too() -> None:
    assert "Did you mean 'courier'" in complaint(channel="parcels.first.curier")


@pytest.mark.parametrize("count", [1, 50, 500])
def test_reading_costs_one_query_for_each_relation_to_many_rows(count: int, db: None, django_assert_num_queries: Any):
    tickets = Ticket.objects.bulk_create(Ticket(code=code, basket=[ITEM]) for code in range(count))
    address = Address.objects.create(street="Main St")
    Parcel.objects.bulk_create(
        Parcel(ticket=one, courier=courier, address=address) for one in tickets for courier in ("Ann", "Bob")
    )
    adapter = shop(
        channel="parcels.first.courier",
        store="parcels.last.address.street",
        agent=lambda order: order.parcels.all()[0].courier,
        prefetch=["parcels.address"],
        customer={"first_name": "parcels.first.courier"},
    )
    with django_assert_num_queries(2):
        found = adapter.read([str(one.pk) for one in tickets], using="default")
    assert {(one.channel, one.store, one.attribution.agent) for one in found.values()} == {("Ann", "Main St", "Ann")}


def test_what_callables_go_through_is_checked() -> None:
    assert "Did you mean 'parcels'" in complaint(prefetch=["parcel"])
    assert "list" in complaint(prefetch="parcels")
    assert "twice" in complaint(prefetch=["parcels.address.purchases_there"])


# labels


def test_a_label_instead_of_a_value(ticket: Ticket) -> None:
    adapter = shop(status={"label": "phase"})
    assert snapshot(ticket, adapter).status == "Paid in full"
    assert adapter.facts(ticket).status == "Paid in full"
    assert list(adapter.known_statuses()) == ["waiting", "Paid in full"]
    assert list(adapter.find(using="default", statuses=["Paid in full"])) == [ticket]


def test_a_label_does_not_follow_the_visitors_language(ticket: Ticket) -> None:
    ticket.phase = Ticket.Phase.OPEN
    with translation.override("fr"):
        assert shop(status={"label": "phase"}).facts(ticket).status == "waiting"


def test_a_value_without_a_label_stays(ticket: Ticket) -> None:
    ticket.phase = 99
    assert shop(status={"label": "phase"}).facts(ticket).status == "99"


def test_the_label_of_a_field_without_choices_is_refused() -> None:
    message = complaint(status={"label": "code"})
    assert "['status']" in message and "choices" in message


def test_a_number_for_a_status_is_its_text(ticket: Ticket) -> None:
    assert (snapshot(ticket).status, shop().facts(ticket).status) == ("10", "10")
    assert list(shop().find(using="default", statuses=["10"])) == [ticket]


# callables by name


def test_a_callable_is_named_by_its_path(ticket: Ticket) -> None:
    assert snapshot(ticket, shop(total={"call": "tests.shops.test_sources.taxed"})).total == Decimal("7.50")


@pytest.mark.parametrize("path", ["no.such", "tests.shops.test_sources.ORDER", 7])
def test_a_callable_that_cannot_be_used_is_named(path: Any) -> None:
    message = complaint(total={"call": path})
    assert "['total']" in message and repr(path) in message


# amounts


@pytest.mark.parametrize(("currency", "total"), [("EUR", "12.34"), ("JPY", "1234"), ("KWD", "1.234")])
def test_cents_are_the_smallest_unit_of_the_currency(currency: str, total: str, ticket: Ticket) -> None:
    Ticket.objects.update(cents=1234)
    lines = {"total": None, "unit_price": {"cents": "paid"}}
    order = snapshot(ticket, shop(lines=lines, total={"cents": "cents"}, currency={"value": currency}))
    assert order.total == Decimal(total)
    Ticket.objects.update(basket=[{**ITEM, "paid": 617}])
    order = snapshot(ticket, shop(lines=lines, currency={"value": currency}))
    assert order.lines[0].total == Decimal(total)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("59,98", "59.98"),
        ("59,98 €", "59.98"),
        ("€59.98", "59.98"),
        ("EUR 59.98", "59.98"),
        ("1.234,56", "1234.56"),
        ("1,234.56 USD", "1234.56"),
        ("1 234,5", "1234.5"),
        ("1\u202f234\u202f567,00 €", "1234567"),
        ("1'234.50 CHF", "1234.5"),
        ("1.234.567", "1234567"),
        ("-4,90 €", "-4.90"),
        ("€ -4.90", "-4.90"),
        ("0,125", "0.125"),
        ("12 kr", "12"),
        ("1.234", "1.234"),
    ],
)
def test_an_amount_as_people_write_it(written: str, amount: str) -> None:
    assert number(written, "total") == Decimal(amount)


@pytest.mark.parametrize("written", ["1,234", "1.234 €", "€ 1,234"])
def test_an_amount_that_can_be_read_in_two_ways_is_not_guessed(written: str) -> None:
    with pytest.raises(Unreadable, match="two numbers"):
        number(written, "total")


@pytest.mark.parametrize("written", ["(5.00)", "5 %", "1,2,3", "12 34", "2024-01-02", "1,234,5", "€", "5 + 6", True])
def test_what_is_no_amount_is_not_guessed(written: Any) -> None:
    with pytest.raises(Unreadable, match="not a number"):
        number(written, "total")


@dataclass
class Money:
    """As money fields give it: an amount, and a currency that is a code or has one."""

    amount: Decimal
    currency: Any


EUROS = Money(Decimal("12.50"), SimpleNamespace(code="EUR"))


@pytest.mark.parametrize(
    "given", [EUROS, Money(Decimal("12.50"), "EUR"), SimpleNamespace(net=None, gross=EUROS, currency="EUR")]
)
def test_a_money_object_is_its_amount(given: Any) -> None:
    assert number(given, "total", "EUR") == Decimal("12.50")


def test_money_in_another_currency_is_not_mixed() -> None:
    with pytest.raises(Unreadable, match="total is in EUR, and .* USD"):
        number(EUROS, "total", "USD")


# lines in JSON


def test_lines_in_json(ticket: Ticket) -> None:
    (line,) = snapshot(ticket).lines
    assert (line.product_id, line.name, line.quantity, line.total) == ("A", "Thing", 2, Decimal("59.98"))


def test_lines_in_json_deeper_down(ticket: Ticket) -> None:
    Ticket.objects.update(extra={"cart": {"rows": [{"n": 1, "paid": 2.1, "product": {"codes": ["x", "A-1"]}}]}})
    (line,) = snapshot(ticket, shop(lines={"json": "extra.cart.rows", "product_id": "product.codes.1"})).lines
    assert (line.product_id, line.name, line.total) == ("A-1", "", Decimal("2.1"))


@pytest.mark.parametrize(("packed", "count"), [("", 0), ('[{"n": 1, "paid": 0.1}]', 1)])
def test_lines_in_json_in_a_text_column(packed: str, count: int, ticket: Ticket) -> None:
    Ticket.objects.update(packed=packed)
    assert len(snapshot(ticket, shop(lines={"json": "packed"})).lines) == count


@pytest.mark.parametrize(
    ("basket", "word"), [({"A": 1}, "not a list"), ([{"n": 1}], "['total'] is empty"), (["A"], "could not be read")]
)
def test_lines_in_json_that_are_none_name_the_setting(basket: Any, word: str, ticket: Ticket) -> None:
    Ticket.objects.update(basket=basket)
    problem = read(ticket)
    assert isinstance(problem, Unreadable)
    assert str(problem).startswith("OPTICO_SYNC['ORDER']['lines']") and word in str(problem)


def test_text_that_is_not_json_names_the_setting(ticket: Ticket) -> None:
    Ticket.objects.update(packed="{")
    assert "['json'] is not JSON" in str(read(ticket, shop(lines={"json": "packed"})))


def test_the_column_of_json_lines_is_checked() -> None:
    message = complaint(lines={**LINES, "json": "baskte"})
    assert "['lines']['json']" in message and "Did you mean 'basket'" in message
