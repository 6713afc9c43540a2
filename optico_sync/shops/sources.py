"""Where a shop keeps its facts: sources, as the settings name them, checked at start and read later.

A source is a dotted path (``"customer.email"``), a callable that takes the object, or ``{"value": ...}`` for a
constant.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import InterfaceError, OperationalError, models
from django.utils import timezone

from optico_sync.exceptions import ConfigurationError, Unreadable

#: A path, a callable or ``{"value": constant}``.
Source = str | Callable[[Any], Any] | Mapping[str, Any]


class Fields:
    """The sources of one model's facts, by key. ``name`` is the setting that holds them.

    Raises ``ConfigurationError`` naming the key, the path, the model and the nearest field when a path leads nowhere.
    """

    def __init__(self, model: type[models.Model], sources: Mapping[str, Any], name: str) -> None:
        self.model = model
        self.name = name
        self._sources: dict[str, Source] = {key: source for key, source in sources.items() if source is not None}
        for key, source in self._sources.items():
            _check_source(model, source, f"{name}[{key!r}]")

    def __contains__(self, key: str) -> bool:
        return key in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def get(self, obj: models.Model, key: str) -> object:
        """The value, None where nothing is named; ``Unreadable`` names the setting and never the value."""
        try:
            return _value(obj, self._sources.get(key))
        except (OperationalError, InterfaceError):
            # The database is in trouble, not this object.
            raise
        except Exception as error:
            raise Unreadable(f"{self.name}[{key!r}] could not be read ({type(error).__name__})") from None

    def text(self, obj: models.Model, key: str) -> str:
        return text(self.get(obj, key))

    def number(self, obj: models.Model, key: str) -> Decimal | None:
        value = self.get(obj, key)
        return None if value is None else number(value, f"{self.name}[{key!r}]")

    def moment(self, obj: models.Model, key: str) -> datetime | None:
        value = self.get(obj, key)
        return None if value is None else moment(value, f"{self.name}[{key!r}]")

    def in_memory(self, obj: models.Model, key: str) -> object:
        """What is known without a query: constants, and the object's own columns that are loaded."""
        source = self.plain.get(key)
        if isinstance(source, str):
            # A deferred column is not there, and reading it would ask the database.
            return obj.__dict__.get(source)
        return _value(obj, source)

    def is_plain(self, key: str) -> bool:
        """Whether the source of ``key`` is a constant or one of the model's own columns."""
        return key in self.plain

    @cached_property
    def plain(self) -> dict[str, str | Mapping[str, Any]]:
        """By key: the constants, and the sources that are one of the model's own columns."""
        known = _names(self.model)
        plain: dict[str, str | Mapping[str, Any]] = {}
        for key, source in self._sources.items():
            if isinstance(source, Mapping):
                plain[key] = source
            elif isinstance(source, str) and (column := _column(known.get(source), source)):
                plain[key] = column
        return plain

    def lookup(self, key: str) -> str:
        """The query lookup of ``key``. Raises ``ConfigurationError`` where no field is named."""
        path = self._sources.get(key)
        if not isinstance(path, str):
            raise ConfigurationError(f"Nothing can be searched by {key}: {self.name}[{key!r}] names no field.")
        return path.replace(".", "__")

    @property
    def joins(self) -> set[str]:
        """The forward relations that dotted paths go through, for ``select_related``."""
        joins = set()
        for source in self._sources.values():
            if not isinstance(source, str) or "." not in source:
                continue
            steps: list[str] = []
            current = self.model
            for part in source.split(".")[:-1]:
                field = _names(current).get(part)
                if field is None or field.related_model is None or not (field.many_to_one or field.one_to_one):
                    break
                steps.append(part)
                current = field.related_model
            if steps:
                joins.add("__".join(steps))
        return joins


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


# values


def text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        value = value.value
    return str(value).replace("\x00", "")


def table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def number(value: object, name: str) -> Decimal:
    """Text, integers, decimals and floats as they print. Raises ``Unreadable`` for anything else."""
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise Unreadable(f"{name} is not a number") from None
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


def _is_many(field: Any) -> bool:
    return bool(field is not None and (field.one_to_many or field.many_to_many))


def _check_source(model: type[models.Model], source: object, name: str) -> None:
    """Raise unless every step of a dotted path is there. What code computes is only known when it runs."""
    if callable(source) or (isinstance(source, Mapping) and source.keys() == {"value"}):
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


def _no_such(name: str, path: object, part: str, model: type[models.Model], known: Iterable[str], what: str) -> str:
    near = difflib.get_close_matches(part, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(sorted(known))}."
    return f"{name} is {path!r}, but {model._meta.label} has no {what} {part!r}.{hint}"
