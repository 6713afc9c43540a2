"""What a shop stores, as what vendors are told: text, numbers and moments. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from django.utils import timezone

from optico_sync.exceptions import Unreadable

#: Around an amount: letters, blanks and currency signs. Brackets are not among them: some mean "less" by them.
_AROUND = r"(?:[^\W\d_]|[\s$£¢¤¥€₠-⃏])*"
_WRITTEN = re.compile(
    rf"{_AROUND}(?P<sign>[+-]?){_AROUND}"
    r"(?P<whole>[1-9]\d{0,2}(?P<group>[.,'’\s])\d{3}(?:(?P=group)\d{3})*|\d+)"
    rf"(?:(?P<mark>[.,])(?P<part>\d+))?{_AROUND}"
)


def text(value: object) -> str:
    if value is None:
        return ""
    if type(value) is str and "\x00" not in value:
        return value
    if isinstance(value, Enum):
        value = value.value
    return str(value).replace("\x00", "")


def table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def number(value: object, name: str, currency: str = "") -> Decimal:
    """Integers, decimals, floats as they print, amounts as people write them, and money objects in ``currency``.

    Raises ``Unreadable`` that begins with ``name`` for anything else, and for what can be read in two ways.
    """
    if type(value) is Decimal and value.is_finite():
        return value
    if isinstance(value, Enum):
        value = value.value
    if hasattr(value, "gross"):
        # Money with and without tax: the app tells what the customer pays.
        value = value.gross
    if hasattr(value, "amount") and hasattr(value, "currency"):
        code = str(getattr(value.currency, "code", value.currency))
        if currency and code != currency:
            raise Unreadable(f"{name} is in {code}, and the currency of the whole is {currency}")
        value = value.amount
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        found = _written(str(value), name)
    if not found.is_finite():
        raise Unreadable(f"{name} is not a finite number")
    return found


def moment(value: object, name: str) -> datetime:
    """A date or a time as an aware time; naive ones are in the shop's time zone."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        raise Unreadable(f"{name} is not a date and time")
    return value if timezone.is_aware(value) else timezone.make_aware(value)


def _written(value: str, name: str) -> Decimal:
    """``1 234,50 €``: a currency beside it, thousands set apart, a decimal comma."""
    found = _WRITTEN.fullmatch(value)
    if found is None or (found["mark"] and found["mark"] == found["group"]):
        raise Unreadable(f"{name} is not a number")
    whole, group = found["whole"], found["group"]
    if group and group in ".," and whole.count(group) == 1 and not found["mark"]:
        raise Unreadable(f"{name} can be read as two numbers: {group!r} may stand before decimals or thousands")
    return Decimal(f"{found['sign']}{whole.replace(group, '') if group else whole}.{found['part'] or '0'}")
