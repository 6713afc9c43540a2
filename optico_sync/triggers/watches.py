"""What a row of a watched table becomes in the outbox, whatever the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import models

from optico_sync.exceptions import ConfigurationError
from optico_sync.shops.base import Reader, Relation


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One table. ``key`` is the column that holds the key of the subject, or of the related object that leads to it.

    ``facts`` are what else capture tells of the subject itself, by column of the outbox: a field, or a constant.
    """

    table: str
    kind: str
    key: models.Field
    columns: tuple[models.Field, ...]
    is_subject: bool = False
    relation: str = ""
    facts: Mapping[str, models.Field | str] = field(default_factory=dict)


def watches(kind: str, reader: Reader) -> Iterator[Watch]:
    """The tables of one kind of subject, and of all that belongs to it.

    Raises ``ConfigurationError`` for a model whose columns are in more than one table, or a shop adapter that does not
    say in which columns its facts are.
    """
    model = _concrete(reader.model)
    if model._meta.parents:
        raise ConfigurationError(
            f"{model._meta.label} inherits columns from another table, which triggers cannot follow. Use signals."
        )
    yield Watch(
        table=model._meta.db_table,
        kind=kind,
        key=model._meta.pk,
        columns=_columns(model),
        is_subject=True,
        facts=_facts(kind, reader),
    )
    for child in _children(model):
        yield Watch(table=child._meta.db_table, kind=kind, key=child._meta.pk, columns=_columns(child))
    for relation in reader.relations:
        yield from _related(kind, relation)


def _related(kind: str, relation: Relation) -> Iterator[Watch]:
    model = _concrete(relation.model)
    for part in (*model._meta.get_parent_list(), model, *_children(model)):
        columns = _columns(part)
        owner = next((column for column in columns if column.attname == relation.owner_field), None)
        yield Watch(
            table=part._meta.db_table,
            kind=kind,
            key=owner or part._meta.pk,
            columns=columns,
            relation="" if owner else relation.path,
        )


def _facts(kind: str, reader: Reader) -> dict[str, models.Field | str]:
    if reader.columns is None:
        raise ConfigurationError(
            f"{type(reader).__name__} does not say from which columns it takes what it tells of its {kind}s while they "
            "are saved, so no trigger can. Give it `columns`, or use signals."
        )
    return {
        name: source["value"] if isinstance(source, Mapping) else _column(reader.model, source)
        for name, source in reader.columns.items()
    }


def _concrete(model: type[models.Model]) -> type[models.Model]:
    return model._meta.concrete_model or model


def _column(model: type[models.Model], name: str) -> models.Field:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)  # noqa: S101 - for the type checker
    return field


def _children(model: type[models.Model]) -> list[Any]:
    """Models with a table of their own beside that of ``model``."""
    return [
        child
        for child in apps.get_models()
        if issubclass(child, model) and child is not model and not child._meta.proxy
    ]


def _columns(model: type[models.Model]) -> tuple[models.Field, ...]:
    return tuple(field for field in model._meta.local_concrete_fields)
