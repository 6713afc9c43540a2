"""A mapping for a shop's order model, read off its names, types and relations: a beginning to correct, not a truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import models

from optico_sync.shops.sources import find_field

#: Stands where nothing fits; it is valid Python, and no source.
MISSING = ...

_NUMBERS = (models.DecimalField, models.IntegerField, models.FloatField, models.CharField)
_AMOUNTS = _NUMBERS[:3]
_MOMENTS = (models.DateField,)
_KEYS = (models.CharField, models.IntegerField, models.UUIDField, models.ForeignKey)

#: Key -> what shops call it, best first, and what kind of field it can be. A dotted name goes through a relation.
_ORDER: dict[str, tuple[str, tuple[type, ...]]] = {
    "placed_at": (
        "placed_at date_placed ordered_at bought_at purchased_at order_date created_at created date_created created_on "
        "date added_at timestamp date_joined",
        _MOMENTS,
    ),
    "total": (
        "total_incl_tax total grand_total total_gross total_amount amount_total total_price order_total amount",
        _NUMBERS,
    ),
    "shipping": ("shipping_incl_tax shipping_price shipping_cost shipping_total shipping delivery_cost", _NUMBERS),
    "discount": ("total_discount_incl_tax discount_total discount_amount discount", _AMOUNTS),
    "tax": ("total_tax tax_total tax_amount vat_total tax vat", _NUMBERS),
    "language": ("language_code language lang locale", (models.CharField,)),
    "coupon_code": ("coupon_code voucher_code promo_code", (models.CharField,)),
    "payment_method": ("payment_method payment_type", (models.CharField,)),
    "shipping_method": ("shipping_method delivery_method", (models.CharField,)),
    "cart_key": ("cart_key cart_id basket_id trolley_id cart basket", _KEYS),
    "visit_id": ("optico_visit_id visit_id visit", (models.CharField,)),
    "call_id": ("optico_call_id call_id call", (models.CharField, models.IntegerField)),
    "agent": ("agent_name agent operator sales_rep", (models.CharField,)),
}
_REFERENCE = "number order_number order_no reference ref code invoice_number username slug token uuid"
_STATUS = "status state stage phase order_status step"
_CURRENCY = "currency currency_code order_currency total_currency"
_CUSTOMER = {
    "email": "email guest_email customer_email contact_email",
    "first_name": "first_name billing_first_name firstname",
    "last_name": "last_name billing_last_name lastname surname",
}
_PEOPLE = "customer user account buyer client billing_address"
_LINE = {
    "quantity": "quantity qty pieces units count",
    "total": "line_price_incl_tax line_total total_incl_tax total_price total paid amount subtotal",
    "unit_price": "unit_price_incl_tax unit_price price_each price unit_cost cost",
    "tax": "line_tax tax_amount tax vat",
    "name": "title product_title product_name name description",
    "product_id": "partner_sku sku product_sku product_code article_number code reference",
}
_PRODUCTS = "product article variant item product_variant sku"
_LINES = "lines items order_lines order_items orderline_set orderitem_set line_set item_set products positions"


def propose(model: type[models.Model], item: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings for ``OPTICO_SYNC["ORDER"]``; ``MISSING`` where a required one must be found by hand.

    ``item`` is a line of a real order, for a shop that keeps its lines in JSON.
    """
    found: dict[str, Any] = {
        "model": model._meta.label,
        "reference": _pick(model, _REFERENCE, _KEYS) or "pk",
        "status": _status(model) or MISSING,
        "currency": _pick(model, _CURRENCY, (models.CharField,)) or {"value": "EUR"},
    }
    for key, (names, kinds) in _ORDER.items():
        if path := _pick(model, names, kinds):
            found[key] = _amount(model, path)
    if customer := _customer(model):
        found["customer"] = customer
    relation = _lines_relation(model)
    found["lines"] = _lines(model, relation) if relation else _json_lines(model, item)
    addresses = [field.name for field in model._meta.get_fields() if field.many_to_one and "address" in field.name]
    if related := [*([relation] if relation else []), *addresses]:
        found["related"] = related
    return found


def json_column(model: type[models.Model]) -> str:
    """The column that seems to hold an order's lines; empty where none does."""
    names = _LINES + " cart basket content contents details"
    return _pick(model, names, (models.JSONField,)) or ""


def written(settings: Mapping[str, Any]) -> str:
    """The settings as Python to paste."""
    return "\n".join(["OPTICO_SYNC = {", '    "ORDER": {', *_rows(settings, 8), "    },", "}"])


def _rows(settings: Mapping[str, Any], indent: int) -> Iterator[str]:
    blank = " " * indent
    for key, value in settings.items():
        if isinstance(value, Mapping) and len(value) > 1:
            yield f'{blank}"{key}": {{'
            yield from _rows(value, indent + 4)
            yield f"{blank}}},"
        else:
            remark = "  # nothing looks like it: name it yourself" if value is MISSING else ""
            remark = remark or ("  # no field found: correct it" if _is_constant(value) else "")
            yield f'{blank}"{key}": {_literal(value)},{remark}'


def _is_constant(value: object) -> bool:
    return isinstance(value, Mapping) and "value" in value


def _literal(value: object) -> str:
    if value is MISSING:
        return "..."
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {_literal(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _pick(model: type[models.Model], names: str | Iterable[str], kinds: tuple[type, ...]) -> str:
    """The first of ``names`` that ``model`` has, as a column of such a kind or as a property of its class."""
    for name in names.split() if isinstance(names, str) else names:
        field = find_field(model, name)
        is_column = field is not None and field.concrete and (not field.is_relation or name == field.attname)
        if is_column and isinstance(field, kinds):
            return name
        if field is None and isinstance(getattr(model, name, None), property):
            return name
    return ""


def _beyond(model: type[models.Model], relations: str, names: str, kinds: tuple[type, ...]) -> str:
    """The same behind one of the forward ``relations`` that ``model`` has."""
    for relation in relations.split():
        field = find_field(model, relation)
        there = field.related_model if field is not None and (field.many_to_one or field.one_to_one) else None
        if there and (name := _pick(there, names, kinds)):
            return f"{relation}.{name}"
    return ""


def _status(model: type[models.Model]) -> str:
    """By its name, else the first column that has choices; it must be a column."""
    if name := _pick(model, _STATUS, (models.CharField, models.IntegerField)):
        return name if find_field(model, name) is not None else ""
    return next((field.name for field in model._meta.concrete_fields if getattr(field, "choices", None)), "")


def _amount(model: type[models.Model], path: str) -> object:
    """Whole numbers that say so are cents."""
    field = find_field(model, path)
    return {"cents": path} if "cent" in path and isinstance(field, models.IntegerField) else path


def _customer(model: type[models.Model]) -> dict[str, str]:
    kinds = (models.CharField,)
    paths = {
        key: _pick(model, names, kinds) or _beyond(model, _PEOPLE, names, kinds) for key, names in _CUSTOMER.items()
    }
    return {key: path for key, path in paths.items() if path}


def _lines_relation(model: type[models.Model]) -> str:
    """The relation to many rows that has quantities or prices, by its name where several do."""
    found = []
    for field in model._meta.get_fields():
        if field.one_to_many and field.related_model and hasattr(field, "get_accessor_name"):
            name, there = field.get_accessor_name(), field.related_model
            facts = [_pick(there, _LINE[key], _NUMBERS) for key in ("quantity", "total", "unit_price")] + [
                _cents(there)
            ]
            count, is_known = len(list(filter(None, facts))), name in _LINES.split()
            if name and count >= (1 if is_known else 2):
                found.append((not is_known, -count, name))
    return min(found)[2] if found else ""


def _lines(model: type[models.Model], relation: str) -> dict[str, Any]:
    line = find_field(model, relation).related_model
    texts = (models.CharField, models.TextField)
    identity = _pick(line, _LINE["product_id"], texts) or _beyond(line, _PRODUCTS, _LINE["product_id"], texts)
    names = _pick(line, _LINE["name"], texts) or _beyond(line, _PRODUCTS, _LINE["name"], texts)
    key = _pick(line, [f"{product}_id" for product in _PRODUCTS.split()], _KEYS)
    quantity = _pick(line, _LINE["quantity"], _NUMBERS)
    found: dict[str, Any] = {
        "relation": relation,
        "product_id": identity or key or MISSING,
        "name": names or MISSING,
        "quantity": quantity or {"value": 1},
    }
    if total := _pick(line, _LINE["total"], _NUMBERS):
        found["total"] = _amount(line, total)
    elif price := _pick(line, _LINE["unit_price"], _NUMBERS) or _cents(line):
        found["unit_price"] = _amount(line, price)
    else:
        found["total"] = MISSING
    if tax := _pick(line, _LINE["tax"], _NUMBERS):
        found["tax"] = _amount(line, tax)
    if identity:
        found["sku"] = identity
    if key:
        found["product_key"] = key
    return found


def _cents(line: type[models.Model]) -> str:
    columns = line._meta.concrete_fields
    return next(
        (field.name for field in columns if "cent" in field.name and isinstance(field, models.IntegerField)), ""
    )


def _json_lines(model: type[models.Model], item: Mapping[str, Any] | None) -> object:
    column = json_column(model)
    if not column:
        return MISSING
    keys = list(item or ())

    def named(fact: str) -> object:
        return next((name for name in (*_LINE[fact].split(), fact) if name in keys), MISSING)

    found = {"json": column, **{key: named(key) for key in ("product_id", "name", "quantity")}}
    price = named("unit_price")
    return {**found, "total": named("total")} if price is MISSING else {**found, "unit_price": price}
