"""Any shop, by naming its fields: ``OPTICO_SYNC["ORDER"]``.

A value is a dotted path from the order (``"customer.email"``), a callable that takes the order, or
``{"value": ...}`` for a constant. ``lines`` names the relation and, from each line, its fields.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.db import InterfaceError, OperationalError, models
from django.db.models import Prefetch
from django.utils import timezone

from optico_sync import conf
from optico_sync.attribution import Attribution, clean_call_id, clean_visit_id
from optico_sync.exceptions import ConfigurationError, UnreadableOrder
from optico_sync.shops.base import Facts, Relation, ShopAdapter
from optico_sync.snapshot import Address, Customer, Line, OrderSnapshot

NAME = f"{conf.SETTING}['ORDER']"

#: Key in ``ORDER`` -> whether it must be there.
ORDER_KEYS = {
    "model": True,
    "reference": True,
    "status": True,
    "currency": True,
    "lines": True,
    "placed_at": False,
    "total": False,
    "shipping": False,
    "discount": False,
    "tax": False,
    "is_offline": False,
    "channel": False,
    "store": False,
    "language": False,
    "payment_method": False,
    "shipping_method": False,
    "coupon_code": False,
    "properties": False,
    "customer": False,
    "billing": False,
    "delivery": False,
    "cart_key": False,
    "visit_id": False,
    "call_id": False,
    "agent": False,
    "related": False,
}
LINE_KEYS = {
    "relation": True,
    "product_id": True,
    "name": True,
    "quantity": True,
    "total": False,
    "unit_price": False,
    "sku": False,
    "product_key": False,
    "variant_id": False,
    "tax": False,
    "discount": False,
    "quantity_refunded": False,
    "refunded": False,
    "url": False,
    "details": False,
}
#: Keys of ``ORDER`` that are dicts of sources themselves -> what they may name.
PARTS: dict[str, type[Customer] | type[Address]] = {"customer": Customer, "billing": Address, "delivery": Address}

#: A path, a callable or ``{"value": constant}``.
Source = str | Callable[[Any], Any] | Mapping[str, Any]


class MappedShop(ShopAdapter):
    """Reads a shop by the names in ``OPTICO_SYNC["ORDER"]``.

    Raises ``ConfigurationError`` naming the key, the path, the model and the nearest field when a name is wrong.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        _check_keys(order, ORDER_KEYS, NAME)
        self._order = {key: source for key, source in order.items() if source is not None}
        self.order_model = _get_model(order["model"])
        lines = order["lines"]
        if not isinstance(lines, Mapping):
            raise ConfigurationError(f"{NAME}['lines'] must be a dict with {', '.join(LINE_KEYS)}.")
        _check_keys(lines, LINE_KEYS, f"{NAME}['lines']")
        self._lines = {key: source for key, source in lines.items() if source is not None}
        if ("total" in self._lines) == ("unit_price" in self._lines):
            raise ConfigurationError(f"{NAME}['lines'] needs either 'total' (what the line costs) or 'unit_price'.")
        self._line_model = _many_model(self.order_model, lines["relation"], f"{NAME}['lines']['relation']")
        for key in ORDER_KEYS.keys() - {"model", "lines", "related"} - PARTS.keys():
            _check_path(self.order_model, order.get(key), f"{NAME}[{key!r}]")
        self._parts: dict[str, dict[str, Any]] = {
            key: self._read_part(key, part, self._order.pop(key)) for key, part in PARTS.items() if key in self._order
        }
        if not _is_plain(self.order_model, order["status"]):
            raise ConfigurationError(
                f"{NAME}['status'] is {order['status']!r}: it must be a field of {self.order_model._meta.label} "
                "itself, because it is read while the order is being saved. For anything else write a ShopAdapter."
            )
        for key in LINE_KEYS.keys() - {"relation"}:
            _check_path(self._line_model, lines.get(key), f"{NAME}['lines'][{key!r}]")
        related = self._order.get("related", ())
        if not isinstance(related, list | tuple):
            raise ConfigurationError(f"{NAME}['related'] must be a list of relation names, not {related!r}.")
        self.relations = tuple(self._relation(path) for path in related)

    def facts(self, order: models.Model) -> Facts:
        return Facts(
            reference=_text(self._in_memory(order, "reference")),
            status=_text(self._in_memory(order, "status")),
            attribution=Attribution(
                visit_id=clean_visit_id(_text(self._in_memory(order, "visit_id"))),
                call_id=clean_call_id(_text(self._in_memory(order, "call_id"))),
                agent=_text(self._in_memory(order, "agent")),
                cart_key=_text(self._in_memory(order, "cart_key")),
            ),
        )

    def read(self, keys: Collection[str], *, using: str) -> Mapping[str, OrderSnapshot | UnreadableOrder]:
        relation = self._lines["relation"]
        lines = self._line_model._base_manager.using(using)
        if joins := _joins(self._line_model, self._lines, LINE_KEYS):
            lines = lines.select_related(*joins)
        wanted = self._primary_keys(keys)
        orders = self.order_model._base_manager.using(using).filter(pk__in=set(wanted.values()))
        orders = orders.prefetch_related(Prefetch(relation, queryset=lines.order_by("pk")))
        order_joins = set(_joins(self.order_model, self._order, ORDER_KEYS))
        for part in self._parts.values():
            order_joins.update(_joins(self.order_model, part, part))
        if order_joins:
            orders = orders.select_related(*sorted(order_joins))
        found = {order.pk: self._snapshot(order) for order in orders}
        return {key: found[pk] for key, pk in wanted.items() if pk in found}

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
        orders = self.order_model._base_manager.using(using).all()
        if keys is not None:
            orders = orders.filter(pk__in=set(self._primary_keys(keys).values()))
        for values, key in ((references, "reference"), (statuses, "status")):
            if values is not None:
                path = self._lookup(key)
                orders = orders.filter(**{f"{path}__in": _usable(orders, path, values)})
        if placed_from is not None:
            orders = orders.filter(**{f"{self._lookup('placed_at')}__gte": placed_from})
        if placed_until is not None:
            orders = orders.filter(**{f"{self._lookup('placed_at')}__lt": placed_until})
        return orders.order_by("pk")

    def _lookup(self, key: str) -> str:
        path = self._order.get(key)
        if not isinstance(path, str):
            raise ConfigurationError(f"Orders cannot be searched by {key}: {NAME}[{key!r}] names no field.")
        return path.replace(".", "__")

    def known_statuses(self) -> Iterable[str]:
        try:
            field = self.order_model._meta.get_field(self._order["status"])
        except (FieldDoesNotExist, TypeError, AttributeError):
            return ()
        return [_text(value) for value, _label in getattr(field, "flatchoices", ())]

    @cached_property
    def _plain(self) -> dict[str, str | Mapping[str, Any]]:
        """What capture may read: constants, and the attributes of the order's own columns."""
        names = _names(self.order_model)
        return {
            key: names[source].attname if isinstance(source, str) else source
            for key, source in self._order.items()
            if _is_plain(self.order_model, source)
        }

    def _in_memory(self, order: models.Model, key: str) -> object:
        source = self._plain.get(key)
        if isinstance(source, str):
            # A deferred column is not there, and reading it would ask the database.
            return order.__dict__.get(source)
        return _value(order, source)

    def _primary_keys(self, keys: Collection[str]) -> dict[str, Any]:
        """Each key as the model's own type. What cannot be a key of this model is no order, and left out."""
        field = self.order_model._meta.pk
        usable = {}
        for key in keys:
            try:
                value = field.to_python(key)
                field.run_validators(value)
            except (ValidationError, ValueError, OverflowError):
                continue
            usable[key] = value
        return usable

    def _snapshot(self, order: models.Model) -> OrderSnapshot | UnreadableOrder:
        try:
            return OrderSnapshot(
                key=str(order.pk),
                reference=_text(self._get(order, "reference")),
                status=_text(self._get(order, "status")),
                currency=_text(self._get(order, "currency")),
                placed_at=_moment(self._get(order, "placed_at"), "placed_at"),
                total=self._amount(order, "total"),
                shipping=self._amount(order, "shipping"),
                discount=abs(self._amount(order, "discount") or Decimal(0)),
                tax=self._amount(order, "tax"),
                is_offline=bool(self._get(order, "is_offline")),
                channel=_text(self._get(order, "channel")),
                store=_text(self._get(order, "store")),
                language=_text(self._get(order, "language")),
                payment_method=_text(self._get(order, "payment_method")),
                shipping_method=_text(self._get(order, "shipping_method")),
                coupon_code=_text(self._get(order, "coupon_code")),
                customer=Customer(**self._part(order, "customer")),
                billing=Address(**self._part(order, "billing")),
                delivery=Address(**self._part(order, "delivery")),
                properties=_table(self._get(order, "properties")),
                lines=tuple(self._line(line) for line in getattr(order, self._lines["relation"]).all()),
                attribution=Attribution(
                    visit_id=clean_visit_id(_text(self._get(order, "visit_id"))),
                    call_id=_text(self._get(order, "call_id")),
                    agent=_text(self._get(order, "agent")),
                    cart_key=_text(self._get(order, "cart_key")),
                ),
            )
        except UnreadableOrder as error:
            return error
        except (OperationalError, InterfaceError):
            # The database is in trouble, not this order.
            raise
        except Exception as error:
            return UnreadableOrder(f"the order could not be read ({type(error).__name__})")

    def _read_part(self, key: str, part: type[Customer] | type[Address], given: object) -> dict[str, Any]:
        """The sources of a dict inside ``ORDER``, checked."""
        name = f"{NAME}[{key!r}]"
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name} must be a dict with {', '.join(field.name for field in fields(part))}.")
        _check_keys(given, dict.fromkeys((field.name for field in fields(part)), False), name)
        for inner, source in given.items():
            _check_path(self.order_model, source, f"{name}[{inner!r}]")
        return {inner: source for inner, source in given.items() if source is not None}

    def _part(self, order: models.Model, key: str) -> dict[str, str]:
        sources = self._parts.get(key, {})
        return {inner: _text(_read(order, source, f"{NAME}[{key!r}][{inner!r}]")) for inner, source in sources.items()}

    def _amount(self, order: models.Model, key: str) -> Decimal | None:
        value = self._get(order, key)
        return None if value is None else _number(value, f"{NAME}[{key!r}]")

    def _get(self, order: models.Model, key: str) -> object:
        return _read(order, self._order.get(key), f"{NAME}[{key!r}]")

    def _line(self, line: models.Model) -> Line:
        def get(key: str) -> object:
            return _read(line, self._lines.get(key), f"{NAME}['lines'][{key!r}]")

        def number(key: str) -> Decimal:
            return _number(get(key), f"{NAME}['lines'][{key!r}]")

        def positive(key: str) -> Decimal:
            """Zero when not known; shops store a discount or refund with either sign."""
            return abs(number(key)) if get(key) is not None else Decimal(0)

        quantity = number("quantity")
        return Line(
            product_id=_text(get("product_id")),
            name=_text(get("name")),
            quantity=quantity,
            total=number("total") if "total" in self._lines else quantity * number("unit_price"),
            sku=_text(get("sku")),
            product_key=_text(get("product_key")),
            variant_id=_text(get("variant_id")),
            tax=number("tax") if get("tax") is not None else None,
            discount=positive("discount"),
            quantity_refunded=positive("quantity_refunded"),
            refunded=positive("refunded"),
            url=_text(get("url")),
            details=_table(get("details")),
        )

    def _relation(self, path: str) -> Relation:
        name = f"{NAME}['related']"
        if not isinstance(path, str):
            raise ConfigurationError(f"{name} must be a list of relation names, not {path!r}.")
        lookup = path.replace(".", "__")
        model = _related_model(self.order_model, lookup, name)
        query = _query_path(self.order_model, lookup)
        field = _names(self.order_model).get(lookup)
        if field is not None and (field.one_to_many or field.one_to_one) and not field.concrete:
            # The related row holds the order's key itself, unless its foreign key points to another field.
            remote = field.remote_field
            if isinstance(remote, models.ForeignKey) and remote.target_field.primary_key:
                return Relation(model=model, path=query, order_field=remote.attname)
        return Relation(model=model, path=query)


def _check_keys(given: Mapping[str, Any], known: Mapping[str, bool], name: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigurationError(
                f"{name} has no key {key!r}. "
                + (f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}.")
            )
    missing = [key for key, required in known.items() if required and given.get(key) is None]
    if missing:
        raise ConfigurationError(f"{name} lacks {', '.join(map(repr, missing))}.")


def _get_model(label: object) -> type[models.Model]:
    try:
        return apps.get_model(str(label))
    except (LookupError, ValueError):
        near = difflib.get_close_matches(str(label), [model._meta.label for model in apps.get_models()], n=1)
        raise ConfigurationError(
            f"{NAME}['model'] names {label!r}, and no such model is installed."
            + (f" Did you mean {near[0]!r}?" if near else " Write it as 'app_label.Model'.")
        ) from None


def _names(model: type[models.Model]) -> dict[str, Any]:
    """Every name by which code reaches a field of ``model``: relations by their accessor."""
    found: dict[str, Any] = {"pk": model._meta.pk}
    for field in model._meta.get_fields():
        found[field.name] = field
        if hasattr(field, "attname"):
            found[field.attname] = field
        if hasattr(field, "get_accessor_name") and (accessor := field.get_accessor_name()):
            found[accessor] = field
    return found


def _related_model(model: type[models.Model], path: object, name: str) -> type[models.Model]:
    for part in str(path).replace(".", "__").split("__"):
        field = _names(model).get(part)
        related = getattr(field, "related_model", None)
        if related is None:
            relations = [key for key, value in _names(model).items() if value.is_relation]
            raise ConfigurationError(_no_such(name, path, part, model, relations, "relation"))
        model = related
    return model


def _many_model(model: type[models.Model], path: object, name: str) -> type[models.Model]:
    """The model of a relation that leads to many rows."""
    related = _related_model(model, path, name)
    names = _names(model)
    if not _is_many(names.get(str(path))):
        many = [key for key, field in names.items() if _is_many(field)]
        raise ConfigurationError(_no_such(name, path, str(path), model, many, "relation to many rows"))
    return related


def _is_many(field: Any) -> bool:
    return bool(field is not None and (field.one_to_many or field.many_to_many))


def _query_path(model: type[models.Model], path: str) -> str:
    """``path`` of accessors as a lookup: a reverse relation's query name can differ from its accessor."""
    parts = []
    for part in path.split("__"):
        field = _names(model)[part]
        parts.append(field.name)
        model = field.related_model
    return "__".join(parts)


def _check_path(model: type[models.Model], source: object, name: str) -> None:
    """Raise unless every step of a dotted path is there. What code computes is only known when it runs."""
    if source is None or callable(source) or (isinstance(source, Mapping) and source.keys() == {"value"}):
        return
    if not isinstance(source, str):
        raise ConfigurationError(f"{name} must be a path, a callable or {{'value': ...}}, not {source!r}.")
    for part in source.split("."):
        names = _names(model)
        field = names.get(part)
        if field is None:
            if hasattr(model, part):
                return
            raise ConfigurationError(_no_such(name, source, part, model, names, "field"))
        if field.related_model is None or part == getattr(field, "attname", ""):
            return
        if _is_many(field):
            raise ConfigurationError(f"{name} is {source!r}, but {part!r} leads to many rows. Use a callable.")
        model = field.related_model


def _usable(orders: models.QuerySet, path: str, values: Iterable[str]) -> list[str]:
    """The values the field can have at all: no order has the number "A-7" where numbers are integers."""
    usable = []
    for value in values:
        with contextlib.suppress(ValueError, TypeError, ValidationError):
            orders.filter(**{path: value})
            usable.append(value)
    return usable


def _is_plain(model: type[models.Model], source: object) -> bool:
    if isinstance(source, Mapping):
        return True
    field = _names(model).get(source) if isinstance(source, str) else None
    return field is not None and field.concrete and (not field.is_relation or source == field.attname)


def _no_such(name: str, path: object, part: str, model: type[models.Model], known: Iterable[str], what: str) -> str:
    near = difflib.get_close_matches(part, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(sorted(known))}."
    return f"{name} is {path!r}, but {model._meta.label} has no {what} {part!r}.{hint}"


def _joins(model: type[models.Model], sources: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """The forward relations that dotted paths go through, for ``select_related``."""
    joins = set()
    for key in keys:
        source = sources.get(key)
        if not isinstance(source, str) or "." not in source:
            continue
        steps: list[str] = []
        current = model
        for part in source.split(".")[:-1]:
            field = _names(current).get(part)
            if field is None or field.related_model is None or not (field.many_to_one or field.one_to_one):
                break
            steps.append(part)
            current = field.related_model
        if steps:
            joins.add("__".join(steps))
    return sorted(joins)


def _value(obj: object, source: Source | None) -> object:
    if source is None:
        return None
    if isinstance(source, Mapping):
        return source["value"]
    if callable(source):
        return source(obj)
    for part in source.split("."):
        try:
            obj = getattr(obj, part)
        except ObjectDoesNotExist:
            return None
        if obj is None:
            return None
        if callable(obj) and not isinstance(obj, models.Manager):
            obj = obj()
    return obj


def _read(obj: models.Model, source: Source | None, name: str) -> object:
    """The value, or ``UnreadableOrder`` that names the setting and never the value."""
    try:
        return _value(obj, source)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        raise UnreadableOrder(f"{name} could not be read ({type(error).__name__})") from None


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        value = value.value
    return str(value).replace("\x00", "")


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object, name: str) -> Decimal:
    """Text, integers, decimals and floats as they print. Raises ``UnreadableOrder`` for anything else."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise UnreadableOrder(f"{name} is not a number") from None
    if not number.is_finite():
        raise UnreadableOrder(f"{name} is not a finite number")
    return number


def _moment(value: object, key: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        raise UnreadableOrder(f"{NAME}[{key!r}] is not a date and time")
    return value if timezone.is_aware(value) else timezone.make_aware(value)
