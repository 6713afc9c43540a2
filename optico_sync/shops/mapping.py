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
#: What is text or an amount in the order's currency as it stands there.
_ORDER_TEXTS = (
    "reference", "status", "channel", "store", "language", "payment_method", "shipping_method", "coupon_code"
)  # fmt: skip
_ORDER_AMOUNTS = ("total", "shipping", "tax")
_LINE_TEXTS = ("product_id", "name", "sku", "product_key", "variant_id", "url")

#: Where an owner's lines are kept while it is read.
_LINES = "_optico_sync_lines"

_Picture = TypeVar("_Picture", OrderSnapshot, CartSnapshot)


class _Mapped:
    """What orders and carts have in common: a model, its fields, its lines and what else belongs to it.

    Raises ``ConfigurationError`` naming the key, the path, the model and the nearest field when a name is wrong.
    """

    def __init__(self, given: Mapping[str, Any], keys: Mapping[str, bool], name: str) -> None:
        check_keys(given, keys, name)
        self.name = name
        self.model = get_model(given["model"], name)
        sources = {key: source for key, source in given.items() if key not in _STRUCTURE}
        self._fields = Fields(self.model, sources, name)
        self._parts = {
            key: self._part(key, part, given[key]) for key, part in PARTS.items() if given.get(key) is not None
        }
        self._lines = _Lines(
            self.model,
            given["lines"],
            f"{name}['lines']",
            beside=[self._fields, *self._parts.values()],
            reaches=_prefetched(self.model, given, name),
        )
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
        found = {row.pk: _surely(build, row) for row in self._lines.owners(set(wanted.values()), using)}
        return {key: found[pk] for key, pk in wanted.items() if pk in found}

    def _part(self, key: str, part: type[Customer] | type[Address], given: object) -> Fields:
        """The sources of a dict inside ``ORDER``."""
        name = f"{self.name}[{key!r}]"
        known = [field.name for field in fields(part)]
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"{name} must be a dict with {', '.join(known)}.")
        check_keys(given, dict.fromkeys(known, False), name)
        return Fields(self.model, given, name)

    def _read_parts(self, instance: models.Model) -> dict[str, Any]:
        return {
            key: PARTS[key](**{name: part.text(instance, name) for name in part}) for key, part in self._parts.items()
        }

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
        self._texts = [key for key in _ORDER_TEXTS if key in self._fields]
        self._amounts = [key for key in _ORDER_AMOUNTS if key in self._fields]
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
        known: dict[str, Any] = {key: get.text(order, key) for key in self._texts}
        known.update((key, get.number(order, key, currency)) for key in self._amounts)
        known.update(self._read_parts(order))
        return OrderSnapshot(
            key=str(order.pk),
            currency=currency,
            placed_at=get.moment(order, "placed_at"),
            discount=get.positive(order, "discount", currency),
            exchange_rate=get.number(order, "exchange_rate"),
            is_offline=bool(get.get(order, "is_offline")),
            properties=table(get.get(order, "properties")),
            lines=self._lines.read(order, currency),
            attribution=Attribution(
                visit_id=clean_visit_id(get.text(order, "visit_id")),
                # As it stands: a vendor says what is wrong with a mistyped one.
                call_id=get.text(order, "call_id"),
                agent=get.text(order, "agent"),
                cart_key=get.text(order, "cart_key"),
            ),
            **known,
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

    def __init__(
        self,
        owner: type[models.Model],
        given: object,
        name: str,
        *,
        beside: Sequence[Fields] = (),
        reaches: Sequence[Reach] = (),
    ) -> None:
        """``beside`` are the owner's own facts, ``reaches`` what the shop's code goes through for them."""
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
        self._texts = [key for key in _LINE_TEXTS if key in self._fields]
        own = [reach for fields in (*beside, self._list) for reach in fields.reaches]
        self._owner_reaches = [*reaches, *own]
        self._reaches = [*self._fields.reaches, *(_prefetched(self._model, given, name) if self._model else ())]
        self._link = self._find_link(beside, reaches)
        if self._link:
            self._lookups, self._fields = self._fields.of_values(self._link)

    def _find_link(self, beside: Iterable[Fields], reaches: Iterable[Reach]) -> str:
        """The lines' foreign key by which they are read as plain values; empty where somebody needs them as rows.

        The shop's code may go through an order's lines wherever it is asked for anything.
        """
        relation = find_field(self._owner, self._relation) if self._model else None
        if not isinstance(relation, models.ManyToOneRel) or not relation.field.target_field.primary_key:
            return ""
        is_read_by_code = reaches or any(reach.many == self._relation for reach in self._owner_reaches)
        is_stored = all(fields.is_stored for fields in (self._fields, *beside))
        return relation.field.attname if is_stored and not is_read_by_code else ""

    def owners(self, keys: Collection[Any], using: str) -> Iterable[models.Model]:
        """The owners of these primary keys, with their lines and all that is read of both. One query for each model."""
        if self._model is None:
            return rows_with(self._owner, self._owner_reaches, using).filter(pk__in=keys)
        beyond = [reach for reach in self._owner_reaches if reach.many != self._relation]
        owners = rows_with(self._owner, beyond, using).filter(pk__in=keys)
        if self._link:
            lines = self._model._base_manager.using(using).filter(**{f"{self._link}__in": keys}).order_by("pk")
            found: dict[Any, list[Any]] = {}
            for line in lines.values_list(*self._lookups):
                found.setdefault(line[0], []).append(line)
            for owner in owners:
                owner.__dict__[_LINES] = found.get(owner.pk, [])
            return owners
        # A path of the owner's may go through the lines too.
        shared = [Reach(join=reach.many_join) for reach in self._owner_reaches if reach.many == self._relation]
        rows = rows_with(self._model, [*self._reaches, *shared], using)
        return owners.prefetch_related(Prefetch(self._relation, queryset=rows))

    def read(self, owner: models.Model, currency: str) -> tuple[Line, ...]:
        if self._link:
            rows = owner.__dict__[_LINES]
        else:
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
        quantity = get.needed(line, "quantity")
        known: dict[str, Any] = {key: get.text(line, key) for key in self._texts}
        return Line(
            quantity=quantity,
            total=get.needed(line, "total", currency)
            if "total" in get
            else quantity * get.needed(line, "unit_price", currency),
            tax=get.number(line, "tax", currency),
            discount=get.positive(line, "discount", currency),
            quantity_refunded=get.positive(line, "quantity_refunded"),
            refunded=get.positive(line, "refunded", currency),
            details=_details(get.get(line, "details")),
            **known,
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
