"""Orders and answers as odd as they come, for the properties that every vendor must have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from iso4217 import Currency

from optico_sync.attribution import Attribution
from optico_sync.snapshot import Address, Customer, Line, OrderSnapshot

#: Control characters and halves of surrogate pairs included.
any_text = st.text(st.characters(codec=None), max_size=12)
any_name = any_text | st.just("Doe")
any_amount = (
    st.decimals() | st.decimals(-(10**6), 10**6, places=3) | st.sampled_from([Decimal(1), Decimal("1E+30"), Decimal(0)])
)
any_moment = (
    st.datetimes(timezones=st.none() | st.just(UTC) | st.just(ZoneInfo("Europe/Paris")))
    | st.just(datetime.min.replace(tzinfo=UTC))
    | st.just(datetime.max.replace(tzinfo=UTC))
)
any_scalar = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_value = st.recursive(
    any_scalar | any_amount | any_moment | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)
any_table = (
    st.dictionaries(any_text, any_value, max_size=3)
    # Huge ones.
    | st.just({f"key {number}": "é" * 300 for number in range(60)})
    | st.integers(4000, 6000).map(lambda digits: {"number": 10**digits})
)
iso_currency = st.sampled_from(sorted({currency.code for currency in Currency}))
any_currency = iso_currency | any_text | st.just(" eur")

any_line = st.builds(
    Line,
    product_id=any_text,
    product_key=any_text | st.sampled_from(["", "7", "SKU-9"]),
    variant_id=any_text,
    sku=any_text,
    name=any_name,
    url=any_text,
    quantity=any_amount | st.integers(1, 99).map(Decimal),
    total=any_amount,
    tax=st.none() | any_amount,
    discount=any_amount,
    quantity_refunded=any_amount,
    refunded=any_amount,
    details=any_table,
)
any_customer = st.builds(
    Customer,
    key=any_text,
    pseudonym=any_text,
    email=any_text | st.emails(),
    first_name=any_name,
    last_name=any_name,
)
any_address = st.builds(
    Address, first_name=any_name, last_name=any_name, city=any_text, country_code=any_text | st.just("fr")
)


any_attribution = st.builds(
    Attribution, visit_id=any_text, call_id=any_text | st.just("7"), agent=any_text, cart_key=any_text
)


def any_order(base: OrderSnapshot) -> st.SearchStrategy[OrderSnapshot]:
    """``base`` with some of its fields odd, so that most are not refused for the first of them."""
    odd = st.fixed_dictionaries(
        {},
        optional={
            "key": any_text,
            "reference": any_text,
            "status": any_text,
            "currency": any_currency,
            "lines": st.lists(any_line | st.just(base.lines[0]), max_size=3).map(tuple),
            "placed_at": st.none() | any_moment,
            "total": st.none() | any_amount,
            "shipping": st.none() | any_amount,
            "discount": any_amount,
            "tax": st.none() | any_amount,
            "exchange_rate": st.none() | any_amount,
            "is_offline": st.booleans(),
            "channel": any_text,
            "store": any_text,
            "language": any_text | st.sampled_from(["fr", "pt-BR"]),
            "customer": any_customer,
            "billing": any_address,
            "delivery": any_address,
            "properties": any_table,
            "attribution": any_attribution,
        },
    )
    return odd.map(lambda changes: replace(base, **changes))


#: What was bought at what price for each line: more than nothing, and a part of a piece too.
sold = st.lists(
    st.tuples(st.integers(1, 99).map(Decimal) | st.decimals("0.001", 1000, places=3), st.decimals(0, 10**9, places=3)),
    min_size=1,
    max_size=4,
)

any_status = st.integers(100, 599)
any_headers = st.dictionaries(st.sampled_from(["content-type", "retry-after", "x-queuesize-remaining"]), any_text)


def any_body(names: Sequence[str], words: Sequence[str | int]) -> st.SearchStrategy[bytes]:
    """Any bytes, and JSON that nearly speaks the vendor's language: its ``names`` and ``words`` in any places."""
    tree = st.recursive(
        any_scalar | st.sampled_from(words),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
        max_leaves=6,
    )
    return st.binary(max_size=60) | tree.map(lambda value: json.dumps(value).encode())
