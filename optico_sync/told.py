"""Told: what the transaction of the moment has put into the outbox already, so that it is not put there twice.

An order with its lines is one change: nobody sees any of it before the commit, and then its event has all of it read.
Forgetting costs an event more than there need be; remembering what was rolled back would lose a change. So everything
is forgotten as soon as Django rolls anything back. (ROLLBACK TO in the shop's own SQL, which Django does not see, is
left to the sweep.)
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

from optico_sync import conf
from optico_sync.attribution import NOTHING, Attribution
from optico_sync.models import OutboxEvent

RELATED: str = OutboxEvent.Change.RELATED.value

#: The setting of a PostgreSQL transaction in which the triggers remember what they have told of last.
TOLD = "optico_sync.told"
#: A transaction that saves more orders than this tells some of them again.
LIMIT = 1000


class Told(NamedTuple):
    """One event. ``key`` is the order's or cart's, or that of the related object when ``relation`` leads to it."""

    kind: str
    key: str
    change: str
    relation: str = ""
    reference: str = ""
    status: str = ""
    seen: Attribution = NOTHING


class Ledger:
    """What one transaction has told last of each order, cart or related object."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        # Django starts another list of hooks at every commit and every rollback, also that of a savepoint.
        self._hooks: list[Any] = connection.run_on_commit
        self._last: dict[tuple[str, str, str], Told] = {}

    def stands(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether the transaction goes on and nothing of it was rolled back."""
        return self._hooks is connection.run_on_commit

    @property
    def is_empty(self) -> bool:
        return not self._last

    def has(self, event: Told) -> bool:
        """Whether ``event`` would tell the relay nothing new."""
        last = self._last.get((event.kind, event.key, event.relation))
        if last is None:
            return False
        if event.change == RELATED:
            return event.seen is NOTHING or last.seen.or_else(event.seen) == last.seen
        return event == last

    def add(self, event: Told) -> None:
        if len(self._last) >= LIMIT:
            self._last.clear()
        self._last[event.kind, event.key, event.relation] = event


_ledgers: WeakKeyDictionary[BaseDatabaseWrapper, Ledger] = WeakKeyDictionary()


def ledger(connection: BaseDatabaseWrapper) -> Ledger | None:
    """Of the transaction of the moment; None in autocommit, and where somebody else than Django commits."""
    if not (connection.in_atomic_block and connection.commit_on_exit):
        return None
    found = _ledgers.get(connection)
    if found is None or not found.stands(connection):
        found = _ledgers[connection] = Ledger(connection)
    return found


def forget(connection: BaseDatabaseWrapper) -> None:
    """What was told is relayed, although its transaction goes on, as in a test: what comes now is news."""
    _ledgers.pop(connection, None)
    if connection.in_atomic_block and connection.vendor == "postgresql" and conf.options().CAPTURE == "triggers":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config(%s, '', true)", [TOLD])
