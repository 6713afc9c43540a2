"""The neutral, frozen picture of an order that vendors read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from iso4217 import Currency

from optico_sync.attribution import NOTHING, Attribution

#: Minor unit exponents of ISO 4217. Currencies that were withdrawn keep the two decimals nearly all of them had.
_EXPONENTS: dict[str, int] = {currency.code: currency.exponent or 0 for currency in Currency}
_DEFAULT_EXPONENT = 2

#: Wide enough that no amount a database column can hold is refused by ``quantize``.
_WIDE = Context(prec=100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of an order.

    ``total`` is what the customer pays for the whole line, tax included, after the line's own discounts, in currency
    units. ``details`` may hold what the customer typed, so ``repr`` leaves it out.
    """

    product_id: str
    name: str
    quantity: Decimal
    total: Decimal
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSnapshot:
    """One order as it stands in the shop's database now. ``placed_at`` is aware; ``status`` is the shop's."""

    key: str
    reference: str
    status: str
    currency: str
    lines: tuple[Line, ...]
    placed_at: datetime | None = None
    attribution: Attribution = field(default=NOTHING, repr=False)


def exponent(currency: str) -> int:
    """Digits after the decimal point of ``currency``: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _EXPONENTS.get(currency, _DEFAULT_EXPONENT)


def round_total(amount: Decimal, currency: str) -> Decimal:
    """``amount`` to the currency's own digits, half up."""
    return _round(amount, exponent(currency))


def unit_price(line: Line, currency: str) -> Decimal:
    """What one unit of ``line`` cost, to at least four digits: 10.00 for 3 is 3.3333, and the residue is accepted."""
    return _round(_WIDE.divide(line.total, line.quantity), max(exponent(currency), 4))


def _round(amount: Decimal, digits: int) -> Decimal:
    """Rounded, without trailing zeros and never in exponent notation."""
    rounded = amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP, context=_WIDE)
    text = format(rounded, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Decimal("0") if text in ("-0", "") else Decimal(text)
