"""Which orders an operator means: a query that can be saved, and is walked through in chunks by key."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.db import models, router

from optico_sync import insight
from optico_sync.figures import COUNTED_AT_ONCE
from optico_sync.listing import COUNTED, Listing
from optico_sync.models import Subject
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot

#: Orders of one chunk.
CHUNK = 200

_MOMENTS = ("placed_from", "placed_until")


class Counted(NamedTuple):
    """So many orders are meant; at least so many, where not all could be counted while somebody waits."""

    number: int
    is_all: bool


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which orders an operator means. What is None or empty does not narrow it down.

    What the shop knows of an order (references, keys, statuses, dates) is asked in the shop, so that orders which were
    never captured are found too; all else is asked of the orders that are known here.
    """

    references: Collection[str] | None = None
    keys: Collection[str] | None = None
    statuses: Collection[str] | None = None
    placed_from: datetime | None = None
    placed_until: datetime | None = None
    state: str | None = None
    credential_id: int | None = None
    # As the order list narrows down.
    reason: str = ""
    attributed: str = ""
    term: str = ""
    #: Only orders known here, none newer than this primary key: those there were when somebody asked.
    newest_id: int | None = None

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave."""
        moments = {name: datetime.fromisoformat(stored[name]) for name in _MOMENTS if stored.get(name)}
        return cls(**{**stored, **moments})

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON: the query, never a list of what it finds."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, "")}
        return {name: value.isoformat() if name in _MOMENTS else value for name, value in given.items()}

    def of(self, credential_id: int) -> Self:
        """What is meant for one of several: a state or reason is then where an order stands with that one."""
        return replace(self, credential_id=credential_id) if self.state or self.reason else self

    @property
    def is_empty(self) -> bool:
        """Whether it names every order there is, which nobody means by accident."""
        return self == Selection(credential_id=self.credential_id)

    @property
    def _asks_shop(self) -> bool:
        given = (self.references, self.keys, self.statuses, self.placed_from, self.placed_until)
        return any(value is not None for value in given) or self.is_empty

    @property
    def _narrows(self) -> bool:
        return any((self.state, self.reason, self.attributed, self.term, self.newest_id))

    def missing(self) -> list[str]:
        """References and keys that no order in the shop has."""
        using = get_shop().database
        lost: list[str] = []
        if self.references is not None:
            found = get_shop().find(using=using, references=self.references)
            orders = get_shop().read([str(key) for key in found.values_list("pk", flat=True)], using=using)
            known = {order.reference for order in orders.values() if isinstance(order, OrderSnapshot)}
            lost += sorted(set(self.references) - known)
        if self.keys is not None:
            lost += sorted(set(self.keys) - get_shop().read(list(self.keys), using=using).keys())
        return lost

    def count(self) -> int:
        """How many orders a walk through all chunks looks at. Raises ``ConfigurationError`` as that would."""
        return self._rows().count()

    def count_at_once(self) -> Counted:
        """The same for somebody who waits: it costs no more than a bound, however many orders there are."""
        if self._asks_shop:
            count = self._rows()[: COUNTED_AT_ONCE + 1].count()
            return Counted(min(count, COUNTED_AT_ONCE), count <= COUNTED_AT_ONCE)
        # One step of the list that they were seen in.
        page = self._listing.page(size=COUNTED, older_than=self.newest_id + 1 if self.newest_id else None)
        return Counted(len(page.subjects), page.older is None)

    def chunks(self, *, most: int | None = None) -> Iterator[list[str]]:
        """The keys of the orders meant, in chunks, of which one is held at a time; after ``most`` steps at the latest.

        Where few of very many are meant, a step can find none.
        """
        cursor = None
        steps = itertools.count() if most is None else range(most)
        for _step in steps:
            keys, cursor = self.chunk(cursor or "")
            if keys:
                yield keys
            if not cursor:
                return

    def chunk(self, cursor: str) -> tuple[list[str], str]:
        """The keys of the next orders after ``cursor``, and the next cursor: empty at the end.

        By key and not by position: it costs the same anywhere, and nothing moves while orders leave their state.
        """
        if not self._asks_shop:
            return self._known_chunk(int(cursor or 0))
        rows = self._rows()
        if cursor:
            rows = rows.filter(pk__gt=cursor)
        keys = [str(key) for key in rows.values_list("pk", flat=True)[: CHUNK + 1]]
        # One more than a chunk is read, so that the last one knows that it is.
        cursor = keys[CHUNK - 1] if len(keys) > CHUNK else ""
        keys = keys[:CHUNK]
        if self._narrows:
            known = set(self._known().filter(key__in=keys).values_list("key", flat=True))
            keys = [key for key in keys if key in known]
        return keys, cursor

    def _known_chunk(self, since: int) -> tuple[list[str], str]:
        page = self._listing.page(size=CHUNK, newer_than=since)
        asked = [one for one in reversed(page.subjects) if self.newest_id is None or one.pk <= self.newest_id]
        is_over = page.newer is None or (self.newest_id is not None and page.newer >= self.newest_id)
        return [one.key for one in asked], "" if is_over else str(page.newer)

    def _rows(self) -> models.QuerySet:
        if not self._asks_shop:
            return self._known()
        return get_shop().find(
            using=get_shop().database,
            references=self.references,
            keys=self.keys,
            statuses=self.statuses,
            placed_from=self.placed_from,
            placed_until=self.placed_until,
        )

    def _known(self) -> models.QuerySet[Subject]:
        """The orders known here, as the order list narrows them down."""
        rows = self._listing.rows
        return rows.filter(pk__lte=self.newest_id) if self.newest_id else rows

    @property
    def _listing(self) -> Listing:
        return Listing(
            known=insight.credentials(),
            state=self.state or "",
            reason=self.reason,
            credential_id=self.credential_id,
            attributed=self.attributed,
            term=self.term,
            using=router.db_for_write(Subject),
        )
