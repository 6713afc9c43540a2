"""django-oscar 4.2, ready named: ``OPTICO_SYNC = {"SHOP": "oscar"}`` is the whole configuration.

Nothing of Oscar is imported: its models are found by their labels, so forked apps and order classes of the shop's own
are read too. What a fork added is named in ``OPTICO_SYNC["ORDER"]`` and ``["CART"]``, whose keys come before these.

Money. What a line costs is ``line_price_incl_tax``: the whole line as the customer paid it, with tax, after offers and
vouchers. A unit costs the line divided by its quantity: 7 pens at 3.33, with 20 % tax and a voucher, are 24.62 in all
and 3.5171 each. Oscar's own ``unit_price_incl_tax`` says 4.00, before the voucher and rounded, which makes 28.00 of
them. Oscar takes every discount off a line or off shipping, so nothing is left to take off the order as a whole;
surcharges count with shipping. So lines and shipping add up to ``total_incl_tax``.

A basket's lines cost what Oscar stored when they were put in. Prices of today, offers and vouchers come from a strategy
that belongs to a visitor's request, and a worker has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError
from optico_sync.shops.base import Facts
from optico_sync.shops.mapping import PARTS, MappedShop
from optico_sync.snapshot import OrderSnapshot

#: What the status of an order is called that has none: Oscar's is "" unless the project configures a pipeline.
PLACED = "placed"


def shipping(order: Any) -> Decimal:
    return order.shipping_incl_tax + sum(charge.incl_tax for charge in order.surcharges.all())


def coupon_code(order: Any) -> str:
    """The codes of the vouchers that took something off."""
    return _join(discount.voucher_code for discount in order.discounts.all())


def payment_method(order: Any) -> str:
    return _join(source.source_type.name for source in order.sources.all())


def email(order: Any) -> str:
    """The account's, else the guest's. Nobody's once the account is deleted."""
    return getattr(order.user, "email", "") or order.guest_email


def first_name(order: Any) -> str:
    return _names(order)[0]


def last_name(order: Any) -> str:
    return _names(order)[1]


def line_tax(line: Any) -> Decimal:
    return line.line_price_incl_tax - line.line_price_excl_tax


def line_discount(line: Any) -> Decimal:
    return max(line.line_price_before_discounts_incl_tax - line.line_price_incl_tax, Decimal(0))


def line_options(line: Any) -> dict[str, Any]:
    return {attribute.type: attribute.value for attribute in line.attributes.all()}


def basket_currency(basket: Any) -> str:
    """That of its lines, which Oscar keeps the same; an empty basket has none of its own."""
    lines = basket.lines.all()
    return lines[0].price_currency if lines else getattr(settings, "OSCAR_DEFAULT_CURRENCY", "")


def is_open(basket: Any) -> bool:
    """Frozen ones are being paid for, and thaw when that fails. Saved, merged and submitted ones are over."""
    return basket.status in (basket.OPEN, basket.FROZEN)


def stored_price(line: Any) -> Decimal | None:
    """With tax where that was known when it was put in, as the visitor saw it."""
    return line.price_excl_tax if line.price_incl_tax is None else line.price_incl_tax


def basket_options(line: Any) -> dict[str, Any]:
    return {attribute.option.code: attribute.value for attribute in line.attributes.all()}


def _address(name: str) -> dict[str, str]:
    fields = {
        "first_name": "first_name",
        "last_name": "last_name",
        "city": "line4",
        "state": "state",
        "postcode": "postcode",
        # The key of Oscar's countries is the ISO 3166-1 alpha-2 code.
        "country_code": "country_id",
    }
    return {key: f"{name}.{field}" for key, field in fields.items()}


#: As ``OPTICO_SYNC["ORDER"]`` would name them.
ORDER: dict[str, Any] = {
    "model": "order.Order",
    "reference": "number",
    "status": "status",
    "currency": "currency",
    "placed_at": "date_placed",
    "total": "total_incl_tax",
    "tax": "total_tax",
    "shipping": shipping,
    "shipping_method": "shipping_method",
    "payment_method": payment_method,
    "coupon_code": coupon_code,
    "store": "site.domain",
    "cart_key": "basket_id",
    "customer": {"key": "user_id", "email": email, "first_name": first_name, "last_name": last_name},
    "billing": _address("billing_address"),
    "delivery": _address("shipping_address"),
    "lines": {
        "relation": "lines",
        "product_id": "partner_sku",
        "sku": "partner_sku",
        # Empty once the product is deleted; the line keeps SKU and title.
        "product_key": "product_id",
        "name": "title",
        "quantity": "quantity",
        "total": "line_price_incl_tax",
        "tax": line_tax,
        "discount": line_discount,
        "details": line_options,
        "prefetch": ["attributes"],
    },
    "related": ["lines", "discounts", "surcharges", "sources", "shipping_address", "billing_address"],
    "prefetch": ["user", "discounts", "surcharges", "sources.source_type"],
}

#: As ``OPTICO_SYNC["CART"]`` would.
CART: dict[str, Any] = {
    "model": "basket.Basket",
    "currency": basket_currency,
    "is_open": is_open,
    "is_logged_in": "owner_id",
    "lines": {
        "relation": "lines",
        "product_id": "stockrecord.partner_sku",
        "sku": "stockrecord.partner_sku",
        "product_key": "product_id",
        "name": "product.get_title",
        "quantity": "quantity",
        "unit_price": stored_price,
        "details": basket_options,
        # A variant may have its title from the product it belongs to.
        "prefetch": ["product.parent", "attributes.option"],
    },
    "related": ["lines"],
}


class OscarShop(MappedShop):
    """Reads Oscar's orders and baskets. An order without a status has the status ``placed``."""

    def __init__(self, order: Mapping[str, Any] | None = None, cart: Mapping[str, Any] | None = None) -> None:
        labels = {config.label for config in apps.get_app_configs()}
        if missing := {"order", "basket", "payment"} - labels:
            raise ConfigurationError(
                f"{conf.SETTING}['SHOP'] is 'oscar', and INSTALLED_APPS lacks Oscar's {', '.join(sorted(missing))}."
            )
        super().__init__(_with(ORDER, order or {}), _with(CART, cart or {}))
        if PLACED in self.known_statuses():
            # A trigger would write the empty status as it stands, and no status would ever be told.
            self.columns = None

    def facts(self, instance: models.Model) -> Facts:
        facts = super().facts(instance)
        # None where the column is not loaded: that says nothing about the order.
        return replace(facts, status=PLACED) if self._fields.in_memory(instance, "status") == "" else facts

    def find(
        self,
        *,
        using: str,
        references: Collection[str] | None = None,
        keys: Collection[str] | None = None,
        statuses: Collection[str] | None = None,
        placed_from: datetime | None = None,
        placed_until: datetime | None = None,
    ) -> models.QuerySet:
        return super().find(
            using=using,
            references=references,
            keys=keys,
            statuses=[*statuses, ""] if statuses is not None and PLACED in statuses else statuses,
            placed_from=placed_from,
            placed_until=placed_until,
        )

    def known_statuses(self) -> Iterable[str]:
        """Those of the pipeline, ends included; before them what an order has that begins without one."""
        begins = [] if getattr(settings, "OSCAR_INITIAL_ORDER_STATUS", "") else [PLACED]
        pipeline: Mapping[str, Iterable[str]] = getattr(self.model, "pipeline", {})
        ends = [status for following in pipeline.values() for status in following]
        return list(dict.fromkeys(status or PLACED for status in [*begins, *pipeline, *ends]))

    def _snapshot(self, order: models.Model) -> OrderSnapshot:
        snapshot = super()._snapshot(order)
        return replace(snapshot, status=snapshot.status or PLACED)


def _with(named: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``named`` with what the shop names itself; of its lines, customer and addresses it may name single facts."""
    found = {**named, **given}
    for key in {"lines", *PARTS} & given.keys():
        if isinstance(given[key], Mapping):
            found[key] = {**named.get(key, {}), **given[key]}
    return found


def _names(order: Any) -> tuple[str, str]:
    """The names of one person: whoever has both, else whoever has one. An account may have none, and some orders no
    address."""
    people = [
        (getattr(person, "first_name", ""), getattr(person, "last_name", ""))
        for person in (order.user, order.billing_address, order.shipping_address)
    ]
    return next(filter(all, people), next(filter(any, people), ("", "")))


def _join(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, names)))
