"""Where a shop keeps its facts: sources, as the settings name them, checked at start and read later.

A source is one of

- a dotted path (``"customer.email"``), through relations, methods and the keys of JSON columns; of a relation to many
  rows it takes the ``first`` or the ``last`` by primary key (``"addresses.first.city"``);
- a callable that takes the object, or ``{"call": "shop.reading.tax"}`` where settings can only hold text;
- ``{"value": "EUR"}``, a constant;
- ``{"label": "status"}``, the label of a field with choices, in the language of ``LANGUAGE_CODE``;
- ``{"cents": "paid"}``, a source of whole numbers of the currency's smallest unit.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property, partial
from operator import attrgetter, itemgetter
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import InterfaceError, OperationalError, models
from django.db.models import Prefetch
from django.db.models.manager import BaseManager
from django.db.models.query_utils import DeferredAttribute
from django.utils import translation
from django.utils.module_loading import import_string

from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.shops.values import moment, number, text
from optico_sync.snapshot import exponent

_WAYS = "a dotted path, a callable, or a dict with one of 'value', 'label', 'cents' and 'call'"
#: Which row of a relation to many rows a path goes on with.
_FIRST, _LAST = "first", "last"


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a path goes through beyond its model, to be read for all rows at once. Relations are lookups."""

    #: Forward relations.
    join: str = ""
    #: The relation to many rows behind them, the model there, and the forward relations from there on.
    many: str = ""
    many_model: type[models.Model] | None = None
    many_join: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one fact is found: at the end of a path, in what a function gives, or here."""

    path: tuple[str, ...] = ()
    function: Callable[[Any], object] | None = None
    constant: object = None
    #: The model's own column that the path means, empty where it means none.
    column: str = ""
    #: The field at the end of the path, as far as fields lead.
    field: Any = None
    #: What a query can read in place of the row, and the parts of the path that lead on inside of its value. Empty
    #: where the row itself is needed: code of the shop's may compute it.
    lookup: str = ""
    within: tuple[str, ...] = ()
    is_label: bool = False
    is_cents: bool = False
    reach: Reach = Reach()

    @cached_property
    def reader(self) -> Callable[[Any], object]:
        """What reads it."""
        if self.function:
            find = self.function
        elif self.column:
            find = attrgetter(self.column)
        elif self.path:
            find = partial(_follow, path=self.path)
        else:
            return lambda obj: self.constant
        return (lambda obj: self._told(find(obj))) if self.is_label else find

    def at(self, place: int) -> Source:
        """The same fact where it is the value at ``place`` of a tuple."""
        first, within = itemgetter(place), self.within
        find = (lambda row: _follow(first(row), within)) if within else first
        return dataclasses.replace(self, function=find, path=(), column="")

    @property
    def is_stored(self) -> bool:
        """Whether it is a constant or what a query can read."""
        return bool(self.lookup) if self.path else self.function is None

    @property
    def is_plain(self) -> bool:
        """Whether it is a constant or one of the model's own columns."""
        return bool(self.column) if self.path else self.function is None

    def in_memory(self, obj: models.Model) -> object:
        """What is known without a query."""
        if self.column:
            # A deferred column is not there, and reading it would ask the database.
            value = obj.__dict__.get(self.column)
            return self._told(value) if self.is_label else value
        return self.constant if self.is_plain else None

    def labels(self) -> dict[str, str]:
        """Value -> label of a field with choices. A label must not depend on who saves the order in which language."""
        with translation.override(settings.LANGUAGE_CODE):
            return {text(value): text(label) for value, label in getattr(self.field, "flatchoices", ())}

    def choices(self) -> list[str]:
        """What it can be, where the field lists it."""
        labels = self.labels()
        return list(labels.values()) if self.is_label else list(labels)

    def stored(self, told: Iterable[str]) -> list[str]:
        """What the column holds where the fact is one of ``told``."""
        if not self.is_label:
            return list(told)
        return [value for value, label in self.labels().items() if label in told]

    def _told(self, value: object) -> object:
        return self.labels().get(text(value), value)


class Fields:
    """The sources of one model's facts, by key. ``name`` is the setting that holds them.

    Without a model they are read from JSON, whose keys are only known when it is read. Raises ``ConfigurationError``
    naming the key, the path, the model and the nearest field when a path leads nowhere.
    """

    def __init__(self, model: type[models.Model] | None, sources: Mapping[str, Any], name: str) -> None:
        self.name = name
        self._sources = {
            key: _parse(model, given, f"{name}[{key!r}]") for key, given in sources.items() if given is not None
        }
        self._readers = {key: source.reader for key, source in self._sources.items()}

    def __contains__(self, key: str) -> bool:
        return key in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __getitem__(self, key: str) -> Source:
        return self._sources[key]

    def get(self, obj: object, key: str) -> object:
        """The value, None where nothing is named; ``Unreadable`` names the setting and never the value."""
        read = self._readers.get(key)
        if read is None:
            return None
        try:
            return read(obj)
        except (OperationalError, InterfaceError):
            # The database is in trouble, not this object.
            raise
        except Exception as error:
            raise Unreadable(f"{self.name}[{key!r}] could not be read ({type(error).__name__})") from None

    def text(self, obj: object, key: str) -> str:
        return text(self.get(obj, key))

    def number(self, obj: object, key: str, currency: str = "") -> Decimal | None:
        """The number; an amount in ``currency`` where that is given. None where nothing is known."""
        value = self.get(obj, key)
        if value is None or value == "":
            return None
        found = number(value, f"{self.name}[{key!r}]", currency)
        return found.scaleb(-exponent(currency)) if self._sources[key].is_cents else found

    def needed(self, obj: object, key: str, currency: str = "") -> Decimal:
        found = self.number(obj, key, currency)
        if found is None:
            raise Unreadable(f"{self.name}[{key!r}] is empty")
        return found

    def positive(self, obj: object, key: str, currency: str = "") -> Decimal:
        """Zero when not known; shops store a discount or refund with either sign."""
        found = self.number(obj, key, currency) if key in self._sources else None
        return abs(found) if found else Decimal(0)

    def moment(self, obj: object, key: str) -> datetime | None:
        value = self.get(obj, key)
        return None if value is None else moment(value, f"{self.name}[{key!r}]")

    def in_memory(self, obj: models.Model, key: str) -> object:
        """What is known without a query: constants, and the object's own columns that are loaded."""
        source = self._sources.get(key)
        return source.in_memory(obj) if source else None

    @property
    def plain(self) -> dict[str, str | Mapping[str, Any]]:
        """By key: the constants, and the sources that are one of the model's own columns as it stands there."""
        return {
            key: source.column or {"value": source.constant}
            for key, source in self._sources.items()
            if source.is_plain and not (source.is_label or source.is_cents)
        }

    def lookup(self, key: str) -> str:
        """The query lookup of ``key``. Raises ``ConfigurationError`` where no field is named."""
        source = self._sources.get(key)
        if source is None or not source.path or source.reach.many:
            raise ConfigurationError(f"Nothing can be searched by {key}: {self.name}[{key!r}] names no field.")
        return "__".join(source.path)

    @property
    def reaches(self) -> list[Reach]:
        return [source.reach for source in self._sources.values()]

    @property
    def is_stored(self) -> bool:
        """Whether no code of the shop's is asked for any of them."""
        return all(source.is_stored for source in self._sources.values())

    def of_values(self, *before: str) -> tuple[list[str], Fields]:
        """The lookups of a query that reads them after ``before``, and the same facts of the tuples that it gives.

        To make an instance of every row is most of what reading many of them costs. Only where ``is_stored``.
        """
        lookups = list(dict.fromkeys([*before, *(source.lookup for source in self._sources.values() if source.lookup)]))
        there = copy.copy(self)
        there._sources = {
            key: source.at(lookups.index(source.lookup)) if source.lookup else source
            for key, source in self._sources.items()
        }
        there._readers = {key: source.reader for key, source in there._sources.items()}
        return lookups, there


def rows_with(model: type[models.Model], reaches: Iterable[Reach], using: str) -> models.QuerySet:
    """All rows of ``model``, whatever its default manager hides, by primary key, with what ``reaches`` go through.

    One query, and one more for each relation to many rows.
    """
    reaches = list(reaches)
    joins = {reach.join for reach in reaches if reach.join}
    manies: dict[tuple[str, type[models.Model]], list[Reach]] = {}
    for reach in reaches:
        if reach.many_model:
            manies.setdefault((reach.many, reach.many_model), []).append(Reach(join=reach.many_join))
    rows = model._base_manager.using(using).order_by("pk")
    rows = rows.select_related(*sorted(joins)) if joins else rows
    return rows.prefetch_related(
        *(Prefetch(path, queryset=rows_with(there, beyond, using)) for (path, there), beyond in manies.items())
    )


def check_keys(given: Mapping[str, Any], known: Mapping[str, bool], name: str) -> None:
    """Raise for a key that is not among ``known``, and for one that must be there and is not."""
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


def get_model(label: object, name: str) -> type[models.Model]:
    """The installed model ``"app_label.Model"`` that the setting ``name`` holds."""
    try:
        return apps.get_model(str(label))
    except (LookupError, ValueError):
        near = difflib.get_close_matches(str(label), [model._meta.label for model in apps.get_models()], n=1)
        raise ConfigurationError(
            f"{name}['model'] names {label!r}, and no such model is installed."
            + (f" Did you mean {near[0]!r}?" if near else " Write it as 'app_label.Model'.")
        ) from None


def many_model(model: type[models.Model], path: object, name: str) -> type[models.Model]:
    """The model of a relation that leads to many rows."""
    related = related_model(model, path, name)
    names = _names(model)
    if not _is_many(names.get(str(path))):
        many = [key for key, field in names.items() if _is_many(field)]
        raise ConfigurationError(_no_such(name, path, str(path), model, many, "relation to many rows"))
    return related


def related_model(model: type[models.Model], path: object, name: str) -> type[models.Model]:
    """The model at the end of a path of relations."""
    for part in str(path).replace(".", "__").split("__"):
        field = _names(model).get(part)
        related = getattr(field, "related_model", None)
        if related is None:
            relations = [key for key, value in _names(model).items() if value.is_relation]
            raise ConfigurationError(_no_such(name, path, part, model, relations, "relation"))
        model = related
    return model


def reach_of(model: type[models.Model], path: str, name: str) -> Reach:
    """What a path of relations reaches, for callables that will go through them."""
    related_model(model, path, name)
    joins, field, rest = _walk(model, path.split("."), path, name)
    if not rest:
        return Reach(join="__".join(joins))
    beyond, _field, more = _walk(field.related_model, rest[1:], path, name)
    if more:
        raise ConfigurationError(f"{name} is {path!r}, which leads to many rows twice. Name the first of them only.")
    many = "__".join([*joins, rest[0]])
    return Reach(join="__".join(joins), many=many, many_model=field.related_model, many_join="__".join(beyond))


def find_field(model: type[models.Model], name: str) -> Any:
    """The field or relation that code reaches by ``name``, or None."""
    return _names(model).get(name)


def query_path(model: type[models.Model], path: str) -> str:
    """``path`` of accessors as a lookup: a reverse relation's query name can differ from its accessor."""
    parts = []
    for part in path.split("__"):
        field = _names(model)[part]
        parts.append(field.name)
        model = field.related_model
    return "__".join(parts)


def usable(rows: models.QuerySet, path: str, values: Iterable[str]) -> list[str]:
    """The values the field can have at all: no order has the number "A-7" where numbers are integers."""
    found = []
    for value in values:
        with contextlib.suppress(ValueError, TypeError, ValidationError):
            rows.filter(**{path: value})
            found.append(value)
    return found


def primary_keys(model: type[models.Model], keys: Collection[str]) -> dict[str, Any]:
    """Each key as the model's own type. What cannot be a key of this model is left out."""
    field = model._meta.pk
    found = {}
    for key in keys:
        try:
            value = field.to_python(key)
            field.run_validators(value)
        except (ValidationError, ValueError, OverflowError):
            continue
        found[key] = value
    return found


# reading


def _follow(obj: Any, path: Iterable[str]) -> object:
    """What is at the end of ``path``; None where it ends before."""
    for part in path:
        if obj is None:
            return None
        try:
            obj = _next(obj, part)
        except (ObjectDoesNotExist, IndexError):
            return None
        if callable(obj) and not isinstance(obj, BaseManager):
            obj = obj()
    return obj


def _next(obj: Any, part: str) -> Any:
    if isinstance(obj, Mapping):
        return obj.get(part)
    if isinstance(obj, list | tuple) and part.isdecimal():
        return obj[int(part)]
    if isinstance(obj, BaseManager) and part in (_FIRST, _LAST):
        # All of them, because they were read beforehand for the whole batch.
        return list(obj.all())[0 if part == _FIRST else -1]
    return getattr(obj, part)


# checking


def _parse(model: type[models.Model] | None, given: object, name: str) -> Source:
    """The source that the settings name, its path checked step by step."""
    if callable(given):
        return Source(function=given)
    if isinstance(given, str) and given:
        return _parse_path(model, given, name) if model else Source(path=tuple(given.split(".")))
    word, inner = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else ("", None)
    if word == "value":
        return Source(constant=inner)
    if word == "call":
        return Source(function=_import(inner, name))
    if word == "cents":
        return dataclasses.replace(_parse(model, inner, name), is_cents=True)
    if word == "label" and isinstance(inner, str):
        source = _parse(model, inner, name)
        if not getattr(source.field, "flatchoices", ()):
            raise ConfigurationError(f"{name} asks for the label of {inner!r}, which is no field with choices.")
        return dataclasses.replace(source, is_label=True)
    raise ConfigurationError(f"{name} must be {_WAYS}, not {given!r}.")


def _import(path: object, name: str) -> Callable[[Any], object]:
    try:
        function = import_string(str(path))
    except Exception as error:
        # Whatever a dotted path leads to, and whatever its code does.
        raise ConfigurationError(f"{name} calls {path!r}, which cannot be imported ({error}).") from error
    if not callable(function):
        raise ConfigurationError(f"{name} calls {path!r}, which is not callable.")
    return function


def _parse_path(model: type[models.Model], path: str, name: str) -> Source:
    """A path whose steps are all there. What code computes, and what JSON holds, is only known when it is read."""
    parts = tuple(path.split("."))
    joins, field, rest = _walk(model, parts, path, name)
    if not _is_many(field):
        column = _column(field, path) if len(parts) == 1 else ""
        there = related_model(model, ".".join(joins), name) if joins else model
        is_stored = bool(rest) and _is_stored(there, field)
        return Source(
            path=parts,
            field=field,
            column=column,
            lookup="__".join([*joins, field.attname]) if is_stored else "",
            within=tuple(rest[1:]),
            reach=Reach(join="__".join(joins)),
        )
    relation, which, *after = (*rest, "")
    beyond, field_there, rest_there = _walk(field.related_model, after[:-1], path, name)
    if which not in (_FIRST, _LAST) or _is_many(field_there):
        raise ConfigurationError(
            f"{name} is {path!r}, but {(rest_there or [relation])[0]!r} leads to many rows. Say which, as in "
            f"'{relation}.{_FIRST}' or '{relation}.{_LAST}' (once in a path), or use a callable."
        )
    reach = Reach(
        join="__".join(joins),
        many="__".join([*joins, relation]),
        many_model=field.related_model,
        many_join="__".join(beyond),
    )
    return Source(path=parts, field=field_there, reach=reach)


def _walk(
    model: type[models.Model], parts: Sequence[str], path: str, name: str
) -> tuple[list[str], Any, Sequence[str]]:
    """Forward relations from ``model`` as far as they lead, the field after them, and the parts from that one on."""
    joins: list[str] = []
    field = None
    for index, part in enumerate(parts):
        field = _names(model).get(part)
        if field is None and not hasattr(model, part):
            raise ConfigurationError(_no_such(name, path, part, model, _names(model), "field"))
        if field is None or field.related_model is None or _is_many(field) or part == getattr(field, "attname", ""):
            return joins, field, parts[index:]
        joins.append(part)
        model = field.related_model
    return joins, field, ()


# names


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


def _column(field: Any, name: str) -> str:
    """The attribute of the model's own column that ``name`` means, empty where it means none."""
    is_column = field is not None and field.concrete and (not field.is_relation or name == field.attname)
    return field.attname if is_column else ""


def _is_stored(model: type[models.Model], field: Any) -> bool:
    """Whether an instance of ``model`` shows what its column holds, with no code of the shop's in between."""
    if field is None or not field.concrete:
        return False
    shown_by = type(inspect.getattr_static(model, field.attname, None))
    is_plain = shown_by is DeferredAttribute or (field.is_relation and issubclass(shown_by, DeferredAttribute))
    built_by = inspect.getattr_static(model, "from_db"), inspect.getattr_static(model, "__init__")
    return is_plain and built_by == (inspect.getattr_static(models.Model, "from_db"), models.Model.__init__)


def _is_many(field: Any) -> bool:
    return bool(field is not None and (field.one_to_many or field.many_to_many))


def _no_such(name: str, path: object, part: str, model: type[models.Model], known: Iterable[str], what: str) -> str:
    near = difflib.get_close_matches(part, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(sorted(known))}."
    return f"{name} is {path!r}, but {model._meta.label} has no {what} {part!r}.{hint}"
