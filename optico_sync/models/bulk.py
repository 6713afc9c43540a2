"""Writing many rows in one statement.

Without ``bulk_update``, which makes an expression of every row and field, and without ``bulk_create`` where nobody
needs the new keys: PostgreSQL is sent arrays then, whose texts psycopg escapes in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models


def upsert(rows: Iterable[models.Model], fields: Sequence[str], *, using: str) -> None:
    """Write ``fields`` of rows that the caller has locked, an INSERT that updates on conflict."""
    rows = list(rows)
    if not rows:
        return
    has_target = connections[using].features.supports_update_conflicts_with_target
    type(rows[0])._default_manager.using(using).bulk_create(
        rows, update_conflicts=True, update_fields=fields, unique_fields=["pk"] if has_target else None
    )


def write(rows: Iterable[models.Model], fields: Sequence[str], *, using: str) -> None:
    """The same for rows that mostly get the same values, in a third of the time.

    One UPDATE with a plain value for a field that is the same in all rows, else a CASE by primary key, which the
    database walks through for every row: for a few hundred rows.
    """
    rows = list(rows)
    if not rows:
        return
    meta, connection = rows[0]._meta, connections[using]
    quote = connection.ops.quote_name
    key = quote(str(meta.pk.column))
    keys = [int(row.pk) for row in rows]
    sets: list[str] = []
    values: list[Any] = []
    for name in fields:
        field: Any = meta.get_field(name)
        found = _prepared(field, rows, connection)
        if len(found) == 1:
            sets.append(f"{quote(field.column)} = %s")
        else:
            cases = "".join(f" WHEN {pk} THEN %s" for pk in keys)
            sets.append(f"{quote(field.column)} = CASE {key}{cases} END")
        values += found
    chosen = ", ".join(map(str, keys))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {quote(meta.db_table)} SET {', '.join(sets)} WHERE {key} IN ({chosen})", values)  # noqa: S608


def insert(rows: Iterable[models.Model], *, using: str) -> None:
    """Add ``rows``, whose primary keys the database chooses and nobody reads back."""
    rows = list(rows)
    if not rows:
        return
    meta, connection = rows[0]._meta, connections[using]
    quote = connection.ops.quote_name
    fields: list[Any] = [field for field in meta.concrete_fields if not field.primary_key]
    found = (_prepared(field, rows, connection) for field in fields)
    values = list(zip(*(one * len(rows) if len(one) == 1 else one for one in found), strict=True))
    into = f"{quote(meta.db_table)} ({', '.join(quote(field.column) for field in fields)})"
    with connection.cursor() as cursor:
        # psycopg 3 has it: a third of an INSERT's time. psycopg 2 has not.
        if connection.vendor == "postgresql" and hasattr(cursor, "copy"):
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
        else:
            places = ", ".join([f"({', '.join(['%s'] * len(fields))})"] * len(values))
            cursor.execute(f"INSERT INTO {into} VALUES {places}", [value for row in values for value in row])  # noqa: S608


def _prepared(field: Any, rows: Sequence[models.Model], connection: Any) -> list[Any]:
    """The values of ``field`` as the database takes them: of each row, or one where it is the same in all of them."""
    found = [getattr(row, field.attname) for row in rows]
    if found.count(found[0]) == len(found):
        del found[1:]
    return [field.get_db_prep_save(value, connection) for value in found]
