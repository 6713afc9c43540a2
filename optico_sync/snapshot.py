"""The neutral, frozen picture of an order or cart that vendors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from iso4217 import Currency

from optico_sync.attribution import NOTHING, Attribution

#: The kinds of subject, as the database and the adapters spell them.
ORDER = "order"
CART = "cart"

#: Minor unit exponents of ISO 4217. Currencies that were withdrawn keep the two decimals nearly all of them had.
_EXPONENTS: dict[str, int] = {currency.code: currency.exponent or 0 for currency in Currency}
_DEFAULT_EXPONENT = 2

#: Wide enough that no amount a database column can hold is refused by ``quantize``.
_WIDE = Context(prec=100)
#: More digits than an amount or quantity out of a database has.
_MAX_DIGITS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of an order or cart. Amounts are in currency units; empty text and None mean "not known".

    ``quantity`` is what was bought, before refunds, and ``total`` what the customer pays for the whole line, tax
    included, after the line's own discounts. ``tax`` is the part of ``total`` that is tax, ``discount`` what was taken
    off, never negative. ``details`` are key-value pairs, a text or a list; they may hold what the customer typed, so
    ``repr`` leaves them out.
    """

    product_id: str
    name: str
    quantity: Decimal
    total: Decimal
    #: The shop's stock keeping unit, and the product's key in the shop's database.
    sku: str = ""
    product_key: str = ""
    variant_id: str = ""
    tax: Decimal | None = None
    discount: Decimal = Decimal(0)
    quantity_refunded: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    url: str = ""
    details: Mapping[str, Any] | Sequence[Any] | str = field(default_factory=dict, repr=False)

    @property
    def detail_pairs(self) -> Mapping[str, Any]:
        """The details, for a vendor that can only be told key-value pairs."""
        return self.details if isinstance(self.details, Mapping) else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Customer:
    """Who buys. All of it is personal data.

    ``key`` is the account's key in the shop, empty for a guest. ``pseudonym`` is the id by which the shop's own
    on-site tracking knows the customer; it never comes from the e-mail address or the key by itself.
    """

    key: str = ""
    pseudonym: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where to. ``country_code`` is ISO 3166-1 alpha-2."""

    first_name: str = ""
    last_name: str = ""
    city: str = ""
    state: str = ""
    postcode: str = ""
    country_code: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSnapshot:
    """One order as it stands in the shop's database now. ``placed_at`` is aware; ``status`` is the shop's.

    ``total`` is what the customer pays in all; ``shipping`` is with tax, ``discount`` what was taken off the order as
    a whole (never negative), ``tax`` all tax in ``total``. ``exchange_rate`` is what one unit of ``currency`` was worth
    in the shop's own currency, by the shop's books; None leaves it to the vendor. ``is_offline`` says that no web page
    tracked the sale: an agent or a point of sale took it.
    """

    key: str
    reference: str
    status: str
    currency: str
    lines: tuple[Line, ...]
    placed_at: datetime | None = None
    total: Decimal | None = None
    shipping: Decimal | None = None
    discount: Decimal = Decimal(0)
    tax: Decimal | None = None
    exchange_rate: Decimal | None = None
    is_offline: bool = False
    channel: str = ""
    store: str = ""
    language: str = ""
    payment_method: str = ""
    shipping_method: str = ""
    coupon_code: str = ""
    customer: Customer = field(default=Customer(), repr=False)
    billing: Address = field(default=Address(), repr=False)
    delivery: Address = field(default=Address(), repr=False)
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attribution: Attribution = field(default=NOTHING, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class CartSnapshot:
    """One cart as it stands in the shop's database now.

    ``is_open`` is False once nobody shops with it any more: it was ordered, or merged into another one at sign-in.
    ``is_logged_in`` says whether it belongs to an account. ``store``, ``channel`` and ``language`` decide where it
    goes, as an order's do.
    """

    key: str
    currency: str
    lines: tuple[Line, ...]
    is_open: bool = True
    is_logged_in: bool = False
    channel: str = ""
    store: str = ""
    language: str = ""
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


def check_amounts(*amounts: Decimal | None) -> None:
    """Raise ``ArithmeticError`` for NaN, which passes through rounding, infinity, and what fits no database."""
    for amount in amounts:
        if amount is not None and (not amount.is_finite() or (amount and abs(amount.adjusted()) > _MAX_DIGITS)):
            raise InvalidOperation


def _round(amount: Decimal, digits: int) -> Decimal:
    """Rounded, without trailing zeros and never in exponent notation."""
    rounded = amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP, context=_WIDE)
    text = format(rounded, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Decimal("0") if text in ("-0", "") else Decimal(text)
