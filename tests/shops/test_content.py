"""What orders hold, as fingerprints."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from optico_sync.shops.content import content_of
from optico_sync.snapshot import Customer, Line, OrderSnapshot

LINE = Line(product_id="P-1", name="Widget", quantity=Decimal(1), total=Decimal("9.90"))
ORDER = OrderSnapshot(
    key="1",
    reference="N-1",
    status="paid",
    currency="EUR",
    lines=(LINE,),
    placed_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
    customer=Customer(first_name="Ada"),
)


def test_equal_for_equal_content_whatever_the_time_zone_of_its_date() -> None:
    there = datetime(2026, 11, 21, 11, tzinfo=timezone(timedelta(hours=1)))
    assert content_of(ORDER) == content_of(replace(ORDER, placed_at=there))


def test_whatever_changes_is_another_content() -> None:
    changed = [
        ORDER,
        replace(ORDER, status="refunded"),
        replace(ORDER, lines=()),
        replace(ORDER, lines=(replace(LINE, total=Decimal("9.91")),)),
        replace(ORDER, lines=(replace(LINE, details={"size": "M"}),)),
        replace(ORDER, customer=Customer(last_name="Ada")),
        replace(ORDER, properties={"gift": True}),
    ]
    assert len({content_of(order) for order in changed}) == len(changed)


def test_details_that_hold_themselves_hold_up_nobody() -> None:
    details: dict[str, Any] = {}
    details["self"] = details
    assert content_of(replace(ORDER, lines=(replace(LINE, details=details),)))
