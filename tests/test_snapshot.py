"""Money: the currency's own digits, never a float in between."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from decimal import Decimal, localcontext

import pytest
from iso4217 import Currency

from optico_sync.attribution import Attribution
from optico_sync.snapshot import Line, OrderSnapshot, exponent, round_total, unit_price


def line(total: str, quantity: str = "1") -> Line:
    return Line(product_id="P", name="Thing", quantity=Decimal(quantity), total=Decimal(total))


@pytest.mark.parametrize("currency", [currency for currency in Currency if currency.exponent is not None])
def test_exponent_is_the_one_of_iso_4217(currency: Currency) -> None:
    assert exponent(currency.code) == currency.exponent


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        ("EUR", 2), ("JPY", 0), ("KRW", 0), ("CLP", 0), ("ISK", 0), ("UGX", 0), ("XOF", 0), ("KWD", 3), ("BHD", 3),
        ("TND", 3), ("CLF", 4), ("HUF", 2), ("TWD", 2), ("IDR", 2), ("XAU", 0), ("FRF", 2), ("ZZZ", 2), ("", 2),
    ],
)  # fmt: skip
def test_exponent_of_currencies_known_to_bite(code: str, digits: int) -> None:
    assert exponent(code) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("59.98", "EUR", "59.98"),
        ("59.00", "EUR", "59"),
        ("100", "EUR", "100"),
        ("1.005", "EUR", "1.01"),
        ("-1.005", "EUR", "-1.01"),
        ("0.125", "EUR", "0.13"),
        ("1.5", "JPY", "2"),
        ("2.5", "JPY", "3"),
        ("1.2345", "KWD", "1.235"),
        ("0.004", "EUR", "0"),
        ("-0.004", "EUR", "0"),
        ("0E+5", "EUR", "0"),
        ("1E+3", "EUR", "1000"),
        ("1E-40", "EUR", "0"),
        ("12345678901234567890123456789012345.678", "EUR", "12345678901234567890123456789012345.68"),
    ],
)
def test_round_total(amount: str, currency: str, text: str) -> None:
    assert str(round_total(Decimal(amount), currency)) == text


@pytest.mark.parametrize(
    ("total", "quantity", "currency", "text"),
    [
        ("59.98", "2", "EUR", "29.99"),
        ("10.00", "3", "EUR", "3.3333"),
        ("20.00", "3", "EUR", "6.6667"),
        ("100", "3", "JPY", "33.3333"),
        ("1", "3", "KWD", "0.3333"),
        ("9", "3", "EUR", "3"),
        ("0", "3", "EUR", "0"),
        ("-10", "3", "EUR", "-3.3333"),
        ("0.0001", "100", "EUR", "0"),
        ("999999999999.99", "1", "EUR", "999999999999.99"),
    ],
)
def test_unit_price(total: str, quantity: str, currency: str, text: str) -> None:
    assert str(unit_price(line(total, quantity), currency)) == text


def test_rounding_does_not_depend_on_the_callers_context() -> None:
    with localcontext(prec=3):
        assert str(round_total(Decimal("123456.785"), "EUR")) == "123456.79"


def test_unit_price_does_not_depend_on_the_callers_context() -> None:
    with localcontext(prec=3):
        assert str(unit_price(line("123456.78", "2"), "EUR")) == "61728.39"


def test_repr_shows_nobodys_data() -> None:
    order = OrderSnapshot(
        key="1",
        reference="1001",
        status="paid",
        currency="EUR",
        lines=(Line(product_id="P", name="Mug", quantity=Decimal(1), total=Decimal(1), details={"engraving": "Anna"}),),
        attribution=Attribution(agent="Anna Smith"),
    )
    assert "Anna" not in repr(order)


@pytest.mark.parametrize("picture", [line("1"), OrderSnapshot(key="1", reference="", status="", currency="", lines=())])
def test_pictures_are_frozen(picture: Line | OrderSnapshot) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(picture, fields(picture)[0].name, "x")
