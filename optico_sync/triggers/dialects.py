"""How each database spells a trigger.

A trigger must never fail a checkout: PostgreSQL and MariaDB swallow what goes wrong inside, SQLite cannot.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent
from optico_sync.models.clock import NOW
from optico_sync.told import TOLD
from optico_sync.triggers.watches import Watch

#: By which a trigger, and its function, is known as ours.
PREFIX = "optico_sync_"

_CHANGE = OutboxEvent.Change
#: What a visitor or an agent typed is left out when it is too long to be one, never cut to something that could be.
_WHOLE = frozenset({"visit_id", "call_id"})


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """``event`` is INSERT, UPDATE or DELETE."""

    name: str
    table: str
    event: str
    statements: Sequence[str]


class Dialect(ABC):
    """One database's SQL."""

    #: Rows of name and table of every trigger that is switched on.
    list_sql: str
    #: What a SELECT from no table needs before its condition.
    nowhere = ""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.quote = connection.ops.quote_name

    def triggers(self, watch: Watch) -> Iterator[Trigger]:
        """The three triggers of one table."""
        for event in ("INSERT", "UPDATE", "DELETE"):
            body = self._body(watch, event)
            digest = hashlib.blake2b(f"{watch.table} {event} {body}".encode(), digest_size=8).hexdigest()
            name = f"{PREFIX}{event.lower()}_{digest}"
            yield Trigger(
                name=name, table=watch.table, event=event, statements=self.create(name, watch.table, event, body)
            )

    @abstractmethod
    def create(self, name: str, table: str, event: str, body: str) -> Sequence[str]:
        """The statements that make a trigger which runs ``body`` after each row's ``event``."""

    def drop(self, name: str, table: str) -> Sequence[str]:
        """The statements that remove it."""
        return [f"DROP TRIGGER IF EXISTS {self.quote(name)}"]

    # what is written

    def _body(self, watch: Watch, event: str) -> str:
        if event == "DELETE":
            return self._tell(watch, "OLD", _CHANGE.DELETED if watch.is_subject else _CHANGE.RELATED)
        saved = _CHANGE.SAVED if watch.is_subject else _CHANGE.RELATED
        if event == "INSERT":
            return self._tell(watch, "NEW", saved)
        body = self._tell(watch, "NEW", saved, self.changed(watch))
        if not watch.is_subject and not watch.key.primary_key:
            # It went over to another owner, which is a change of the first one too.
            body += "\n" + self._tell(watch, "OLD", saved, self._differs(watch.key))
        return body

    def _tell(self, watch: Watch, row: str, change: str, condition: str = "") -> str:
        subject = self.literal(f"{watch.kind} {watch.relation} ")
        return self.once(self._insert(watch, row, change, condition), subject, self._text(watch.key, row), change)

    def once(self, insert: str, kind: str, key: str, change: str) -> str:
        """``insert``, or nothing where the transaction has told already that this order or cart changed.

        As ``told`` does for signals, in a database that can remember it until the transaction ends or is rolled back.
        """
        return insert

    def _insert(self, watch: Watch, row: str, change: str, condition: str) -> str:
        values = {
            "kind": self.literal(watch.kind),
            "key": self._text(watch.key, row),
            "relation": self.literal(watch.relation),
            "change": self.literal(change),
            "created_at": NOW[self._connection.vendor],
        }
        for name, source in watch.facts.items():
            spelled = self._text(source, row) if isinstance(source, models.Field) else self.literal(str(source))
            values[name] = f"COALESCE({spelled}, '')"
        fields = [field for field in OutboxEvent._meta.concrete_fields if not field.primary_key]
        columns = ", ".join(self.quote(str(field.column)) for field in fields)
        told = ", ".join(self._fit(field, values.get(field.name) or self._default(field)) for field in fields)
        conditions = [part for part in (condition, f"{self._column(watch.key, row)} IS NOT NULL") if part]
        table = self.quote(OutboxEvent._meta.db_table)
        return f"INSERT INTO {table} ({columns}) SELECT {told} {self.nowhere}WHERE {' AND '.join(conditions)};"

    def _default(self, field: models.Field) -> str:
        if field.null:
            return "NULL"
        return self.literal("") if isinstance(field, models.CharField) else str(int(field.get_default()))

    @staticmethod
    def _fit(field: models.Field, value: str) -> str:
        if not field.max_length or value.startswith("'"):
            return value
        if field.name in _WHOLE:
            return f"CASE WHEN LENGTH({value}) <= {field.max_length} THEN {value} ELSE '' END"
        return f"SUBSTR({value}, 1, {field.max_length})"

    # how it is spelled

    def literal(self, value: str) -> str:
        """A text constant."""
        quoted = str(value).replace("'", "''")
        return f"'{quoted}'"

    def _column(self, field: models.Field, row: str) -> str:
        return f"{row}.{self.quote(str(field.column))}"

    def _text(self, field: models.Field, row: str) -> str:
        """The column as ``str()`` of what Django reads from it."""
        kind: Any = field
        while kind.remote_field:
            kind = kind.target_field
        column = self._column(field, row)
        if isinstance(kind, models.UUIDField) and not self._connection.features.has_native_uuid_field:
            parts = [f"SUBSTR({column}, {start}, {length})" for start, length in _UUID_PARTS]
            return self.join(parts)
        if hasattr(kind, "from_db_value") or not isinstance(kind, _SPELLED):
            raise ConfigurationError(
                f"{field.model._meta.label}.{field.name} is a {type(kind).__name__}, which a trigger cannot spell as "
                "Python does. Use signals."
            )
        return self.as_text(column)

    @abstractmethod
    def as_text(self, column: str) -> str:
        """An integer, text or UUID as text."""

    @abstractmethod
    def join(self, parts: Sequence[str]) -> str:
        """Texts with a hyphen between each two."""

    def changed(self, watch: Watch) -> str:
        """Whether the statement changed anything of the row."""
        return f"({' OR '.join(self._differs(column) for column in watch.columns)})"

    @abstractmethod
    def _differs(self, field: models.Field) -> str:
        """Whether it changed this column, NULL and the case of letters included."""


_SPELLED = (models.CharField, models.TextField, models.IntegerField, models.UUIDField)
#: Where the five parts of a UUID begin in 32 hexadecimal digits, and their lengths.
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


class SQLite(Dialect):
    """SQLite has nothing to swallow an error with. Only one can come up: an outbox that is gone."""

    list_sql = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"

    def create(self, name: str, table: str, event: str, body: str) -> Sequence[str]:
        on = f"AFTER {event} ON {self.quote(table)} FOR EACH ROW"
        return [f"CREATE TRIGGER {self.quote(name)} {on}\nBEGIN\n{body}\nEND"]

    def as_text(self, column: str) -> str:
        return f"CAST({column} AS TEXT)"

    def join(self, parts: Sequence[str]) -> str:
        return " || '-' || ".join(parts)

    def _differs(self, field: models.Field) -> str:
        return f"{self._column(field, 'OLD')} IS NOT {self._column(field, 'NEW')}"


class PostgreSQL(Dialect):
    """A function for each trigger, which runs with the rights of whoever installed it."""

    list_sql = (
        "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid)"
    )

    def create(self, name: str, table: str, event: str, body: str) -> Sequence[str]:
        function = self.quote(name)
        return [
            # The whole is one block, whose failure undoes only itself. A warning goes to the server's log.
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path FROM CURRENT AS $optico_sync$\nDECLARE last text;\nBEGIN\n{body}\nRETURN NULL;\n"
            "EXCEPTION WHEN OTHERS THEN\nRAISE WARNING 'optico_sync: a change was not captured (%)', SQLSTATE;\n"
            "RETURN NULL;\nEND\n$optico_sync$",
            f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
            f"CREATE TRIGGER {function} AFTER {event} ON {self.quote(table)} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()",
        ]

    def drop(self, name: str, table: str) -> Sequence[str]:
        return [
            f"DROP TRIGGER IF EXISTS {self.quote(name)} ON {self.quote(table)}",
            f"DROP FUNCTION IF EXISTS {self.quote(name)}()",
        ]

    def once(self, insert: str, kind: str, key: str, change: str) -> str:
        # A rollback, that of a savepoint too, takes the setting along with the event.
        told = f"{insert}\nIF FOUND THEN\nlast := set_config('{TOLD}', {kind} || {key}, true);\nEND IF;"
        if change != _CHANGE.RELATED:
            return told
        return f"IF current_setting('{TOLD}', true) IS DISTINCT FROM {kind} || {key} THEN\n{told}\nEND IF;"

    def literal(self, value: str) -> str:
        return f"{super().literal(value)}::text"

    def as_text(self, column: str) -> str:
        return f"{column}::text"

    def join(self, parts: Sequence[str]) -> str:
        return f"concat_ws('-', {', '.join(parts)})"

    def changed(self, watch: Watch) -> str:
        # By their bytes: not every type has an equality.
        return "OLD *<> NEW"

    def _differs(self, field: models.Field) -> str:
        return f"{self._column(field, 'OLD')} IS DISTINCT FROM {self._column(field, 'NEW')}"


class MariaDB(Dialect):
    """MariaDB and MySQL."""

    list_sql = (
        "SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    )
    nowhere = "FROM DUAL "

    def create(self, name: str, table: str, event: str, body: str) -> Sequence[str]:
        on = f"AFTER {event} ON {self.quote(table)} FOR EACH ROW"
        # A deadlock has undone the shop's whole transaction, which it must be told as ever.
        swallow = "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;\nDECLARE EXIT HANDLER FOR 1213 RESIGNAL;"
        return [f"CREATE TRIGGER {self.quote(name)} {on}\nBEGIN\n{swallow}\n{body}\nEND"]

    def literal(self, value: str) -> str:
        return super().literal(value.replace("\\", "\\\\"))

    def as_text(self, column: str) -> str:
        return f"CAST({column} AS CHAR)"

    def join(self, parts: Sequence[str]) -> str:
        return f"CONCAT_WS('-', {', '.join(parts)})"

    def _differs(self, field: models.Field) -> str:
        old, new = self._column(field, "OLD"), self._column(field, "NEW")
        if isinstance(field, models.CharField | models.TextField):
            # Collations take "Paid" and "paid" for one.
            old, new = f"BINARY {old}", f"BINARY {new}"
        return f"NOT ({old} <=> {new})"


_DIALECTS: dict[str, type[Dialect]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB}


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """Raises ``ConfigurationError`` for a database that has none."""
    if connection.vendor not in _DIALECTS:
        raise ConfigurationError(f"There are no triggers for {connection.display_name}. Use signals.")
    return _DIALECTS[connection.vendor](connection)
