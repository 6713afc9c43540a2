"""What no field of the demo shop says by itself, for the mapping in the settings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

#: All prices of the shop include this value added tax.
VAT = Decimal("0.20")
CENT = Decimal("0.01")


def first_name(order: Any) -> str:
    return order.customer_name.partition(" ")[0]


def last_name(order: Any) -> str:
    return order.customer_name.partition(" ")[2]


def is_phone_order(order: Any) -> bool:
    """No web page tracked it: an agent typed it in."""
    return bool(order.call_id or order.agent)


def channel(order: Any) -> str:
    return "phone" if is_phone_order(order) else "online"


def line_tax(line: Any) -> Decimal:
    return (line.line_total - line.line_total / (1 + VAT)).quantize(CENT)


def tax(order: Any) -> Decimal:
    """The lines' tax: shipping is sold without."""
    return sum((line_tax(line) for line in order.lines.all()), Decimal(0))
