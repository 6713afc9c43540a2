"""Orders or carts, narrowed down, newest first: page by page by key, however many there are.

Nothing is counted or sorted that is not shown. Where an index finds what is asked for, it is followed; where none does,
one step looks through a bounded number of orders and says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce
from operator import or_

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Left

from optico_sync.models import Subject, SyncState, VendorCredential

#: So many are counted at most.
COUNTED = 1000
#: What one step looks through: so many keys of each stretch of an index, or so many orders where there is no index.
STRETCH = 1000
WINDOW = 50_000

_NEVER_OFFERED = "never_offered"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Newest first. ``older`` and ``newer`` are the keys that the pages beside begin at; None where there is none."""

    subjects: list[Subject]
    older: int | None = None
    newer: int | None = None
    #: How many there are in all, at most one more than ``COUNTED``; None where nobody counted.
    count: int | None = None
    #: When the last order that was looked at was first seen, where the page is not full and there is more to look at.
    stopped_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which orders or carts are meant; what is empty does not narrow them down.

    State, reason and credential must be true of one and the same sync state.
    """

    known: Sequence[VendorCredential]
    kind: str = Subject.Kind.ORDER
    state: str = ""
    reason: str = ""
    credential_id: int | None = None
    attributed: str = ""
    term: str = ""
    #: The database to ask, where not the usual one for reading.
    using: str | None = None

    @property
    def rows(self) -> QuerySet[Subject]:
        """All of them, for asking which of some keys are among them."""
        rows = self._subjects.filter(kind=self.kind)
        if self._is_about_states:
            rows = rows.filter(self._where)
        if self.attributed:
            rows = rows.filter(orders_attributed(self.attributed))
        if self._named is not None:
            return rows.filter(pk__in=self._named)
        if self.term:
            # Very many begin like this: not by their index, which would read them all and sort them.
            begins = Q(beginning=self.term) | Q(key=self.term)
            rows = rows.alias(beginning=Left("reference", len(self.term))).filter(begins)
        return rows

    def chunks(self, size: int = STRETCH) -> Iterator[list[Subject]]:
        """All of them, newest first, with flat memory. What changes meanwhile is met at most once."""
        page = self.page(size=size)
        yield page.subjects
        while page.older is not None:
            page = self.page(size=size, older_than=page.older)
            yield page.subjects

    def page(
        self, *, size: int, older_than: int | None = None, newer_than: int | None = None, counts: bool = False
    ) -> Page:
        """Up to ``size`` of them, from a key on or the first; ``counts`` all of them too, where that is cheap."""
        is_back = newer_than is not None
        key, way = (newer_than, _BACK) if is_back else (older_than, _ON)
        rows = _beyond(self.rows, key, way).order_by(f"{way.sign}pk")
        end: int | None = None
        is_countable = True
        if self._named is None and self._stretches is not None:
            keys, end = self._follow(self._stretches, key, way)
            rows, is_countable = rows.filter(pk__in=keys), end is None
        elif self._named is None and self._is_narrowed:
            passed = _beyond(self._subjects.filter(kind=self.kind), key, way).order_by(f"{way.sign}pk")
            end = passed.values_list("pk", flat=True)[WINDOW - 1 : WINDOW].first()
            rows, is_countable = rows if end is None else rows.filter(**{f"pk__{way.until}": end}), False
        found = list(rows[: size + 1])
        is_full = len(found) > size
        found = found[:size]
        stop = found[-1].pk if is_full else end
        count = None
        if counts and (stop is None or is_countable):
            count = len(found) if stop is None else rows.order_by()[: COUNTED + 1].count()
        came_from = None if key is None else found[0].pk if found else key + (1 if is_back else -1)
        return Page(
            subjects=found[::-1] if is_back else found,
            older=came_from if is_back else stop,
            newer=stop if is_back else came_from,
            count=count,
            stopped_at=None if is_full or end is None else self._first_seen(end),
        )

    def _follow(self, stretches: Sequence[Q], key: int | None, way: _Way) -> tuple[Collection[int], int | None]:
        """The next keys of what ``stretches`` of the index hold, and how far all of them are known."""
        keys: set[int] = set()
        ends: list[int] = []
        for stretch in stretches:
            states = SyncState.objects.using(self.using).filter(stretch)
            if key is not None:
                states = states.filter(**{f"subject_id__{way.side}": key})
            some = list(states.order_by(f"{way.sign}subject_id").values_list("subject_id", flat=True)[:STRETCH])
            keys.update(some)
            ends += some[STRETCH - 1 :]
        if not ends:
            return keys, None
        end = way.nearest(ends)
        return [key for key in keys if way.nearest([key, end]) == key], end

    def _first_seen(self, key: int) -> datetime | None:
        return self._subjects.filter(pk=key).values_list("created_at", flat=True).first()

    @property
    def _subjects(self) -> QuerySet[Subject]:
        return Subject.objects.using(self.using)

    @property
    def _is_narrowed(self) -> bool:
        return bool(self._is_about_states or self.attributed or self.term)

    @property
    def _is_about_states(self) -> bool:
        return bool(self.state or self.reason or self.credential_id)

    @property
    def _asked(self) -> list[VendorCredential]:
        return [credential for credential in self.known if self.credential_id in (None, credential.pk)]

    @property
    def _asks_never_offered(self) -> bool:
        """Whether orders without a sync state are meant too."""
        is_asked = self.state in ("", SyncState.State.NOT_SENT) and self.reason in ("", _NEVER_OFFERED)
        return is_asked and bool(self.state or self.reason)

    @property
    def _standings(self) -> list[Q]:
        """What is true of the sync states that are meant, as an owner sees them."""
        if not (self.state or self.reason):
            return [Q(credential=credential) for credential in self._asked]
        return [where for credential in self._asked for where in self._standings_with(credential)]

    def _standings_with(self, credential: VendorCredential) -> Iterator[Q]:
        mine, why = Q(credential=credential), credential.hold_reason
        # What waits for a credential that holds shows as held, for the credential's reason.
        if why and self.state in ("", SyncState.State.HELD) and self.reason in ("", why):
            yield from (mine & _in_state(state) for state in SyncState.PENDING)
        hidden = SyncState.PENDING if why else ()
        shown = [state for state in SyncState.State.values if self.state in ("", state) and state not in hidden]
        if self.reason:
            yield mine & Q(reason=self.reason, state__in=shown) & ~Q(reason="")
        else:
            yield from (mine & _in_state(state) for state in shown)

    @property
    def _stretches(self) -> list[Q] | None:
        """The same, where an index finds each of them in the order of the keys."""
        is_rest = self.state == SyncState.State.IN_SYNC and not self.reason
        is_kept = (self.state or self.reason) and not is_rest and not self._asks_never_offered
        return self._standings if is_kept else None

    @property
    def _where(self) -> Q:
        states = SyncState.objects.using(self.using).filter(subject=OuterRef("pk"))
        found = Q(Exists(states.filter(reduce(or_, self._standings)))) if self._standings else Q(pk__in=[])
        if self._asks_never_offered:
            for credential in self._asked:
                found |= ~Q(Exists(states.filter(credential=credential)))
        return found

    @cached_property
    def _named(self) -> list[int] | None:
        """The keys of what is searched for, where they are few."""
        if not self.term:
            return None
        # Two questions, because each has an index of its own.
        keys = self._subjects.filter(kind=self.kind, key=self.term).values_list("pk", flat=True)
        begins = self._subjects.filter(reference__startswith=self.term).values_list("pk", flat=True)[: STRETCH + 1]
        found = list(begins)
        return None if len(found) > STRETCH else [*found, *keys]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """Towards the oldest, or back towards the newest."""

    sign: str
    side: str
    until: str
    nearest: Callable[[Iterable[int]], int]


_ON = _Way(sign="-", side="lt", until="gte", nearest=max)
_BACK = _Way(sign="", side="gt", until="lte", nearest=min)


def refused(known: Collection[VendorCredential], kind: str = Subject.Kind.ORDER) -> int:
    """How many need somebody, at most one more than ``COUNTED``. One query."""
    states = SyncState.objects.filter(_in_state(SyncState.State.REFUSED), credential__in=known, subject__kind=kind)
    return len(set(states.order_by().values_list("subject_id", flat=True)[: COUNTED + 1]))


def orders_attributed(to: str) -> Q:
    """The subjects credited to a ``visit``, to a ``call``, or to ``no`` one."""
    match to:
        case "visit":
            return ~Q(visit_id="")
        case "call":
            return ~Q(call_id="")
        case "no":
            return Q(visit_id="", call_id="")
    raise ValueError(f"Orders are attributed to a visit, a call or no one, not to {to!r}.")


def _in_state(state: str) -> Q:
    # Spelled as the index is, or SQLite would not use it.
    return Q(state=state) if state == SyncState.State.IN_SYNC else Q(state=state) & ~Q(state=SyncState.State.IN_SYNC)


def _beyond(rows: QuerySet[Subject], key: int | None, way: _Way) -> QuerySet[Subject]:
    return rows if key is None else rows.filter(**{f"pk__{way.side}": key})
