"""Triggers: the watched tables write the outbox themselves, so that nothing that changes them passes by unseen.

``QuerySet.update``, ``bulk_*``, raw SQL and autocommit are captured in the same statement, without any Python.
A trigger's name ends in a digest of what it does: what is installed under another name is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections, transaction

from optico_sync.shops import get_shop
from optico_sync.triggers.dialects import PREFIX, Trigger, dialect_of
from optico_sync.triggers.watches import watches


def wanted(using: str) -> list[Trigger]:
    """What should be installed in ``using``, for the orders and carts that live there: the outbox is beside them.

    Raises ``ConfigurationError`` where a trigger cannot do what the settings ask.
    """
    dialect = dialect_of(connections[using])
    shop = get_shop()
    return [
        trigger
        for kind, reader in shop.readers.items()
        if reader.database == using
        for watch in watches(kind, reader)
        for trigger in dialect.triggers(watch)
    ]


def installed(using: str) -> dict[str, str]:
    """Name of each trigger of ours that works -> its table."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(dialect_of(connection).list_sql)
        return {name: table for name, table in cursor.fetchall() if name.startswith(PREFIX)}


def problems(using: str) -> Iterator[str]:
    """What is not as it should be, in words; nothing when all is well."""
    there = installed(using)
    names = set()
    for trigger in wanted(using):
        names.add(trigger.name)
        if trigger.name not in there:
            yield f"{trigger.table}: the trigger on {trigger.event} is missing or out of date."
    for name in sorted(there.keys() - names):
        yield f"{there[name]}: the trigger {name} is not needed any more."


def install(using: str) -> int:
    """Install what is missing, and remove what is out of date. Returns how many triggers there are now.

    The tables are locked for a moment where the database locks them for a trigger. On MariaDB and MySQL each statement
    is a transaction of its own: start again what was interrupted.
    """
    triggers = wanted(using)
    there = installed(using)
    names = {trigger.name for trigger in triggers}
    connection = connections[using]
    dialect = dialect_of(connection)
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for trigger in triggers:
            if trigger.name not in there:
                for statement in trigger.statements:
                    cursor.execute(statement)
        # Afterwards, so that no change falls between: on MariaDB others go on writing meanwhile.
        for name in there.keys() - names:
            for statement in dialect.drop(name, there[name]):
                cursor.execute(statement)
    return len(triggers)


def remove(using: str) -> int:
    """Remove every trigger of ours, also those that the settings know no more. Returns how many there were."""
    connection = connections[using]
    there = installed(using)
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for name, table in there.items():
            for statement in dialect_of(connection).drop(name, table):
                cursor.execute(statement)
    return len(there)
