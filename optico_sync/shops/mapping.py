"""Any shop, by naming its fields: ``OPTICO_SYNC["ORDER"]`` and, for its carts, ``OPTICO_SYNC["CART"]``.

A value is a source as in ``sources``. ``lines`` names the relation to the lines, or the JSON list that holds them, and
the sources of each line's facts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, models
from django.db.models import Prefetch

from optico_sync import conf
from optico_sync.attribution import Attribution, clean_call_id, clean_visit_id
from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.shops.base import CartReader, Facts, Relation, ShopAdapter
from optico_sync.shops.sources import (
    Fields,
    Reach,
    check_keys,
    find_field,
    get_model,
    many_model,
    primary_keys,
    query_path,
    reach_of,
    related_model,
    rows_with,
    usable,
)
from optico_sync.shops.values import table, text
from optico_sync.snapshot import Address, CartSnapshot, Customer, Line, OrderSnapshot

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
    "exchange_rate": False,
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
    "prefetch": False,
}
#: Key in ``CART`` -> whether it must be there.
CART_KEYS = {
    "model": True,
    "currency": True,
    "lines": True,
    "is_open": False,
    "is_logged_in": False,
    "channel": False,
    "store": False,
    "language": False,
    "visit_id": False,
    "call_id": False,
    "agent": False,
    "related": False,
    "prefetch": False,
}
LINE_KEYS = {
    "relation": False,
    "json": False,
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
    "prefetch": False,
}
#: Keys of ``ORDER`` that are dicts of sources themselves -> what they may name.
PARTS: dict[str, type[Customer] | type[Address]] = {"customer": Customer, "billing": Address, "delivery": Address}
#: What capture tells of an order or cart while it is being saved.
_FACTS = ("reference", "status", "visit_id", "call_id", "agent", "cart_key")
#: Keys that are not sources.
_STRUCTURE = frozenset({"model", "lines", "related", "prefetch", *PARTS})
_LINE_STRUCTURE = frozenset({"relation", "json", "prefetch"})

_Picture = TypeVar("_Picture", OrderSnapshot, CartSnapshot)


class _Mapped:
    """What orders and carts have in common: a model, its fields, its lines and what else belongs to it.

    Raises ``ConfigurationError`` naming the key, the path, the model and the nearest field when a name is wrong.
    """

    def __init__(self, given: Mapping[str, Any], keys: Mapping[str, bool], name: str) -> None:
        check_keys(given, keys, name)
        self.name = name
        self.model = get_model(given["model"], name)
        self._lines = _Lines(self.model, given["lines"], f"{name}['lines']")
        sources = {key: source for key, source in given.items() if key not in _STRUCTURE}
        self._fields = Fields(self.model, sources, name)
        self._parts = {
            key: self._part(key, part, given[key]) for key, part in PARTS.items() if given.get(key) is not None
        }
        self._reaches = [
            *(reach for fields in (self._fields, *self._parts.values()) for reach in fields.reaches),
            *_prefetched(self.model, given, name),
        ]
        self.relations = tuple(
            self._relation(path) for path in _list_of_names(given.get("related"), f"{name}['related']")
        )
        self._facts = {fact: self._fields[fact] for fact in _FACTS if fact in self._fields}
        plain = self._fields.plain
        self.columns: Mapping[str, str | Mapping[str, Any]] | None = {
            fact: plain[fact] for fact in _FACTS if fact in plain
        }

    def facts(self, instance: models.Model) -> Facts:
        known = {fact: text(source.in_memory(instance)) for fact, source in self._facts.items()}
        return Facts(
            reference=known.get("reference", ""),
            status=known.get("status", ""),
            attribution=self._attribution(lambda key: known.get(key, "")),
        )

    def _attribution(self, get: Callable[[str], str]) -> Attribution:
        return Attribution(
            visit_id=clean_visit_id(get("visit_id")),
            call_id=clean_call_id(get("call_id")),
            agent=get("agent"),
            cart_key=get("cart_key"),
        )

    def _read(
        self, keys: Collection[str], using: str, build: Callable[[models.Model], _Picture]
    ) -> dict[str, _Picture | Unreadable]:
        wanted = primary_keys(self.model, keys)
        rows = self._lines.owners(self._reaches, using).filter(pk__in=set(wanted.values()))
        found = {row.pk: _surely(build, row) for row in rows}
        return {key: found[pk] for key, pk in wanted.items() if pk in found}

    def _part(self, key: str, part: type[Customer] | type[Address], given: object) -> Fields:
        """The sources of a dict inside ``ORDER``."""
        name = f"{self.name}[{key!r}]"
        known = [field.name for field in fields(part)]
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name} must be a dict with {', '.join(known)}.")
        check_keys(given, dict.fromkeys(known, False), name)
        return Fields(self.model, given, name)

    def _texts(self, instance: models.Model, key: str) -> dict[str, str]:
        part = self._parts.get(key)
        return {name: part.text(instance, name) for name in part} if part else {}

    def _relation(self, path: str) -> Relation:
        name = f"{self.name}['related']"
        lookup = path.replace(".", "__")
        model = related_model(self.model, lookup, name)
        query = query_path(self.model, lookup)
        field = find_field(self.model, lookup)
        if field is not None and (field.one_to_many or field.one_to_one) and not field.concrete:
            # The related row holds the owner's key itself, unless its foreign key points to another field.
            remote = field.remote_field
            if isinstance(remote, models.ForeignKey) and remote.target_field.primary_key:
                return Relation(model=model, path=query, owner_field=remote.attname)
        return Relation(model=model, path=query)


class MappedShop(_Mapped, ShopAdapter):
    """Reads a shop's orders by the names in ``OPTICO_SYNC["ORDER"]``, its carts by those in ``OPTICO_SYNC["CART"]``."""

    def __init__(self, order: Mapping[str, Any], cart: Mapping[str, Any] | None = None) -> None:
        super().__init__(order, ORDER_KEYS, f"{conf.SETTING}['ORDER']")
        if not self._fields["status"].is_plain:
            raise ConfigurationError(
                f"{self.name}['status'] is {order['status']!r}: it must be a field of {self.model._meta.label} "
                "itself, because it is read while the order is being saved. For anything else write a ShopAdapter."
            )
        self.carts = MappedCarts(cart) if cart else None

    def read(self, keys: Collection[str], *, using: str) -> Mapping[str, OrderSnapshot | Unreadable]:
        return self._read(keys, using, self._snapshot)

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
        orders = self.model._base_manager.using(using).all()
        lookup = self._fields.lookup
        if keys is not None:
            orders = orders.filter(pk__in=set(primary_keys(self.model, keys).values()))
        for values, key in ((references, "reference"), (statuses, "status")):
            if values is not None:
                stored = usable(orders, lookup(key), self._fields[key].stored(values))
                orders = orders.filter(**{f"{lookup(key)}__in": stored})
        if placed_from is not None:
            orders = orders.filter(**{f"{lookup('placed_at')}__gte": placed_from})
        if placed_until is not None:
            orders = orders.filter(**{f"{lookup('placed_at')}__lt": placed_until})
        return orders.order_by("pk")

    def newest(self, *, using: str) -> models.Model | None:
        orders = self.find(using=using)
        if "placed_at" in self._fields and (column := self._fields["placed_at"].column):
            orders = orders.order_by(column, "pk")
        return orders.last()

    def known_statuses(self) -> Iterable[str]:
        return self._fields["status"].choices()

    def _snapshot(self, order: models.Model) -> OrderSnapshot:
        get = self._fields
        currency = get.text(order, "currency")
        return OrderSnapshot(
            key=str(order.pk),
            reference=get.text(order, "reference"),
            status=get.text(order, "status"),
            currency=currency,
            placed_at=get.moment(order, "placed_at"),
            total=get.number(order, "total", currency),
            shipping=get.number(order, "shipping", currency),
            discount=abs(get.number(order, "discount", currency) or Decimal(0)),
            tax=get.number(order, "tax", currency),
            exchange_rate=get.number(order, "exchange_rate"),
            is_offline=bool(get.get(order, "is_offline")),
            channel=get.text(order, "channel"),
            store=get.text(order, "store"),
            language=get.text(order, "language"),
            payment_method=get.text(order, "payment_method"),
            shipping_method=get.text(order, "shipping_method"),
            coupon_code=get.text(order, "coupon_code"),
            customer=Customer(**self._texts(order, "customer")),
            billing=Address(**self._texts(order, "billing")),
            delivery=Address(**self._texts(order, "delivery")),
            properties=table(get.get(order, "properties")),
            lines=self._lines.read(order, currency),
            attribution=Attribution(
                visit_id=clean_visit_id(get.text(order, "visit_id")),
                # As it stands: a vendor says what is wrong with a mistyped one.
                call_id=get.text(order, "call_id"),
                agent=get.text(order, "agent"),
                cart_key=get.text(order, "cart_key"),
            ),
        )


class MappedCarts(_Mapped, CartReader):
    """Reads a shop's carts by the names in ``OPTICO_SYNC["CART"]``."""

    def __init__(self, cart: Mapping[str, Any]) -> None:
        super().__init__(cart, CART_KEYS, f"{conf.SETTING}['CART']")

    def read(self, keys: Collection[str], *, using: str) -> Mapping[str, CartSnapshot | Unreadable]:
        return self._read(keys, using, self._snapshot)

    def _snapshot(self, cart: models.Model) -> CartSnapshot:
        get = self._fields
        currency = get.text(cart, "currency")
        return CartSnapshot(
            key=str(cart.pk),
            currency=currency,
            lines=self._lines.read(cart, currency),
            is_open=bool(get.get(cart, "is_open")) if "is_open" in get else True,
            is_logged_in=bool(get.get(cart, "is_logged_in")),
            channel=get.text(cart, "channel"),
            store=get.text(cart, "store"),
            language=get.text(cart, "language"),
            attribution=self._attribution(lambda key: get.text(cart, key)),
        )


class _Lines:
    """The lines of an order or cart: the rows of a relation, or a JSON list that the owner holds."""

    def __init__(self, owner: type[models.Model], given: object, name: str) -> None:
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name} must be a dict with {', '.join(LINE_KEYS)}.")
        check_keys(given, LINE_KEYS, name)
        if (not given.get("relation")) == (given.get("json") is None):
            raise ConfigurationError(f"{name} needs either 'relation' (to the lines' model) or 'json' (a list).")
        if (given.get("total") is None) == (given.get("unit_price") is None):
            raise ConfigurationError(f"{name} needs either 'total' (what the line costs) or 'unit_price'.")
        self._owner = owner
        self._name = name
        self._relation: str = given.get("relation") or ""
        self._list = Fields(owner, {"json": given.get("json")}, name)
        self._model = many_model(owner, self._relation, f"{name}['relation']") if self._relation else None
        sources = {key: source for key, source in given.items() if key not in _LINE_STRUCTURE}
        self._fields = Fields(self._model, sources, name)
        self._reaches = [*self._fields.reaches, *(_prefetched(self._model, given, name) if self._model else ())]

    def owners(self, reaches: Iterable[Reach], using: str) -> models.QuerySet:
        """All owners, read together with their lines and what ``reaches`` go through."""
        if self._model is None:
            return rows_with(self._owner, [*reaches, *self._list.reaches], using)
        # A path of the owner's may go through the lines too.
        shared = [Reach(join=reach.many_join) for reach in reaches if reach.many == self._relation]
        lines = rows_with(self._model, [*self._reaches, *shared], using)
        owners = rows_with(self._owner, [reach for reach in reaches if reach.many != self._relation], using)
        return owners.prefetch_related(Prefetch(self._relation, queryset=lines))

    def read(self, owner: models.Model, currency: str) -> tuple[Line, ...]:
        rows = getattr(owner, self._relation).all() if self._relation else self._items(owner)
        return tuple(self._line(row, currency) for row in rows)

    def _items(self, owner: models.Model) -> list[Any]:
        items = self._list.get(owner, "json")
        if isinstance(items, str):
            try:
                items = json.loads(items or "[]", parse_float=Decimal)
            except ValueError:
                raise Unreadable(f"{self._name}['json'] is not JSON") from None
        if items is None:
            return []
        if not isinstance(items, list):
            raise Unreadable(f"{self._name}['json'] is not a list")
        return items

    def _line(self, line: object, currency: str) -> Line:
        get = self._fields

        def needed(key: str, currency: str = "") -> Decimal:
            found = get.number(line, key, currency)
            if found is None:
                raise Unreadable(f"{self._name}[{key!r}] is empty")
            return found

        def positive(key: str, currency: str = "") -> Decimal:
            """Zero when not known; shops store a discount or refund with either sign."""
            return abs(get.number(line, key, currency) or Decimal(0))

        quantity = needed("quantity")
        return Line(
            product_id=get.text(line, "product_id"),
            name=get.text(line, "name"),
            quantity=quantity,
            total=needed("total", currency) if "total" in get else quantity * needed("unit_price", currency),
            sku=get.text(line, "sku"),
            product_key=get.text(line, "product_key"),
            variant_id=get.text(line, "variant_id"),
            tax=get.number(line, "tax", currency),
            discount=positive("discount", currency),
            quantity_refunded=positive("quantity_refunded"),
            refunded=positive("refunded", currency),
            url=get.text(line, "url"),
            details=_details(get.get(line, "details")),
        )


def _list_of_names(given: object, name: str) -> Sequence[str]:
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not all(isinstance(path, str) for path in given):
        raise ConfigurationError(f"{name} must be a list of relation names, not {given!r}.")
    return given


def _prefetched(model: type[models.Model], given: Mapping[str, Any], name: str) -> list[Reach]:
    """The relations that callables of the shop's own go through."""
    name = f"{name}['prefetch']"
    return [reach_of(model, path, name) for path in _list_of_names(given.get("prefetch"), name)]


def _details(value: object) -> Mapping[str, Any] | list[Any] | str:
    return value if isinstance(value, Mapping | list | str) else {}


def _surely(build: Callable[[models.Model], _Picture], row: models.Model) -> _Picture | Unreadable:
    """The picture of ``row``; what is wrong with one row spoils only that row."""
    try:
        return build(row)
    except Unreadable as error:
        return error
    except (OperationalError, InterfaceError):
        # The database is in trouble, not this row.
        raise
    except Exception as error:
        return Unreadable(f"it could not be read ({type(error).__name__})")
