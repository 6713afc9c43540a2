"""Reconciliation: read back what a vendor holds, page by page, and compare it with the shop, field by field.

What the shop holds is what delivery would send now. One page is in memory at a time, and of the drift its first rows
and the keys of its orders. When the vendor cannot be read to its end, nothing is claimed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import FieldError
from django.db import router, transaction
from django.db.models import Q

from optico_sync.exceptions import ConfigurationError, EncryptionKeyError, Unreadable
from optico_sync.models import Installation, OutboxEvent, Reconciliation, Rules, Subject, SyncState, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.models.credentials import HEEDED_FIELDS, lock_credential
from optico_sync.models.installation import OTHER_INSTALLATION
from optico_sync.outcome import Kind, Outcome, credential_refused, not_sent, retry
from optico_sync.pace import Pace
from optico_sync.redaction import redact
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot
from optico_sync.transport import exchange, open_transport
from optico_sync.vendors.base import Account, Difference, Manner, Page, Record, Request, Response, Vendor

#: Rows of drift that are kept and shown; the count is of all.
KEPT = 200
#: Orders asked for one by one before their states are read again.
CHUNK = 100
#: Seconds to rest before a passing failure is tried again, and the longest rest that a vendor may ask for.
RESTS = (1.0, 2.0)
LONGEST_REST = 120.0

Drift = Reconciliation.Drift

_ON_THEIR_WAY = (*SyncState.PENDING, SyncState.State.HELD)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The run as it is kept, and the keys of the drifted orders that the shop has."""

    run: Reconciliation
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class _Order:
    """An order of the shop beside what the vendor holds of it; None where it holds nothing."""

    subject: Subject
    snapshot: OrderSnapshot | Unreadable
    record: Record | None = None

    @property
    def reference(self) -> str:
        return self.snapshot.reference if isinstance(self.snapshot, OrderSnapshot) else self.subject.reference


class _Unread(Exception):
    """The vendor could not be read; ``outcome`` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def reconcile(
    credential: VendorCredential,
    *,
    rest: Callable[[float], None] = time.sleep,
    progress: Callable[[int], object] = lambda count: None,
) -> Result:
    """Compare everything that the vendor of ``credential`` holds with the shop, and keep the result.

    ``progress`` is told how many records were read since the last time. Raises ``ConfigurationError`` where the shop's
    orders cannot be found.
    """
    using = router.db_for_write(SyncState)
    started_at = database_now(using)
    try:
        account = _account(credential)
        with contextlib.closing(_Reader(credential, account, using, rest)) as reader:
            comparison = _Comparison(credential, account, started_at, using)
            _compare_all(comparison, reader, progress)
    except _Unread as error:
        failure = {"failure": error.outcome.reason, "failure_detail": error.outcome.detail}
        return Result(run=_keep(credential, started_at, using, **failure))
    run = _keep(credential, started_at, using, drifts=comparison.drifts, **comparison.counts)
    return Result(run=run, keys=comparison.keys)


def _keep(credential: VendorCredential, started_at: datetime, using: str, **found: Any) -> Reconciliation:
    """The last run takes the place of the one before."""
    run = Reconciliation(credential=credential, started_at=started_at, finished_at=database_now(using), **found)
    with transaction.atomic(using=using):
        Reconciliation.objects.using(using).filter(credential=credential).delete()
        run.save(using=using)
    return run


def _account(credential: VendorCredential) -> Account:
    if Installation.compare().is_another:
        # A copy does not even ask: the live key stays where it is.
        raise _Unread(credential_refused(OTHER_INSTALLATION))
    try:
        account = credential.account
    except EncryptionKeyError as error:
        raise _Unread(credential_refused("secret_unreadable", detail=str(error))) from None
    if missing := credential.spec.missing_secrets(account):
        raise _Unread(credential_refused("incomplete_credential", detail=", ".join(missing)))
    return account


def _compare_all(comparison: _Comparison, reader: _Reader, progress: Callable[[int], object]) -> None:
    for asked_at, records in reader.pages():
        comparison.compare_page(records, asked_at)
        progress(len(records))
    # An order that moved to a page already read was not seen: each is asked for before it is called missing.
    for orders in comparison.not_seen():
        asked_at = reader.now()
        found = [replace(order, record=reader.one(order.reference)) for order in orders]
        comparison.compare(found, asked_at)
        progress(len(found))
    comparison.count_queue()


class _Reader:
    """Asks the vendor, in the slots that the credential has for live orders too."""

    def __init__(
        self, credential: VendorCredential, account: Account, using: str, rest: Callable[[float], None]
    ) -> None:
        self._credential_id = credential.pk
        self._vendor: Vendor = credential.spec
        self._account = account
        self._using = using
        self._rest = rest
        self._sender = open_transport(self._vendor, 1)

    def close(self) -> None:
        self._sender.close()

    def now(self) -> datetime:
        return database_now(self._using)

    def pages(self) -> Iterator[tuple[datetime, Sequence[Record]]]:
        """The records the vendor holds, page by page, with the moment from which on they may be old."""
        cursor: str | None = ""
        previous: list[str] = []
        while cursor is not None:
            asked_at = self.now()
            request = self._vendor.build_page(account=self._account, cursor=cursor)
            page: Page = self._ask(request, partial(self._vendor.read_page, account=self._account, cursor=cursor))
            references = [record.reference for record in page.records]
            if references and references == previous:
                raise _Unread(retry("unreadable_reply", detail="the same page came twice"))
            yield asked_at, page.records
            cursor, previous = page.next, references

    def one(self, reference: str) -> Record | None:
        """What the vendor holds of one order."""
        request = self._vendor.build_one(reference, account=self._account)
        return self._ask(request, partial(self._vendor.read_one, account=self._account))

    def _ask(self, request: Request, read: Callable[[Response], _Answer | Outcome]) -> _Answer:
        """The answer, tried again after passing failures. Raises ``_Unread``."""
        rests = list(RESTS)
        while True:
            self._take_slot()
            _response, answer = exchange(self._sender, request, read, name=self._vendor.name)
            if not isinstance(answer, Outcome):
                return answer
            self._heed(answer)
            asked_for = answer.retry_after or 0.0
            if answer.kind is not Kind.RETRY or not rests or asked_for > LONGEST_REST:
                raise _Unread(answer)
            self._rest(max(rests.pop(0), asked_for))

    def _heed(self, answer: Outcome) -> None:
        """What the vendor asks of a reader it asks of the account: live orders keep to it too."""
        with transaction.atomic(using=self._using):
            credential = self._lock()
            credential.heed([answer], self.now())
            credential.save(update_fields=HEEDED_FIELDS)

    def _take_slot(self) -> None:
        """Reserve one request in the credential's row, and wait for its time. Raises ``_Unread`` when that is far."""
        with transaction.atomic(using=self._using):
            credential, now = self._lock(), self.now()
            asked_until = credential.asked_until(now) or now
            if asked_until - now > timedelta(seconds=LONGEST_REST):
                raise _Unread(retry("rate_limited"))
            pace = Pace(credential.rate_at(now), max(credential.next_slot_at or now, asked_until), now)
            if pace.rate:
                credential.next_slot_at = pace.reserve(1)
                credential.save(update_fields=["next_slot_at"])
        pace.wait(threading.Event())

    def _lock(self) -> VendorCredential:
        credential = lock_credential(self._credential_id, self._using)
        if credential is None:
            raise ConfigurationError("The credential was deleted meanwhile.")
        return credential


class _Comparison:
    """The shop beside the vendor, and what came of it so far."""

    def __init__(self, credential: VendorCredential, account: Account, started_at: datetime, using: str) -> None:
        self._vendor = credential.spec
        self._account = account
        self._started_at = started_at
        self._using = using
        self._rules = Rules(credential, using)
        self._states = SyncState.objects.using(using).filter(credential=credential, subject__kind=Subject.Kind.ORDER)
        self._seen_before = Q(read_back_at__isnull=True) | Q(read_back_at__lt=started_at)
        self.counts: Counter[str] = Counter()
        self.drifts: list[dict[str, Any]] = []
        self.keys: list[str] = []

    # what is compared

    def compare_page(self, records: Sequence[Record], asked_at: datetime) -> None:
        """Compare a page of the vendor's records. A constant number of queries."""
        held = {record.reference: record for record in records}
        orders = self._find(held)
        for reference in sorted(held.keys() - {order.reference for order in orders}):
            self._note(Drift.UNKNOWN, reference)
        self.compare(orders, asked_at)

    def not_seen(self) -> Iterator[list[_Order]]:
        """The orders that the vendor should hold and no page had, in chunks."""
        last = 0
        delivered = self._states.filter(self._seen_before, delivered_at__lt=self._started_at)
        delivered = delivered.exclude(state__in=_ON_THEIR_WAY).select_related("subject").order_by("pk")
        while states := list(delivered.filter(pk__gt=last)[:CHUNK]):
            last = states[-1].pk
            snapshots = self._read([state.subject.key for state in states])
            orders = []
            for state in states:
                snapshot = snapshots.get(state.subject.key)
                order = _Order(state.subject, snapshot) if snapshot else None
                if order and isinstance(self._expect(order, state), Request):
                    orders.append(order)
            yield orders

    def count_queue(self) -> None:
        """Count what waits and was on no page."""
        self.counts["on_their_way"] += self._states.filter(self._seen_before, state__in=_ON_THEIR_WAY).count()

    def compare(self, orders: Sequence[_Order], asked_at: datetime) -> None:
        """Compare orders with what the vendor held of them, which was asked for at ``asked_at``."""
        # Asked after the orders were read: what changed in between is then on its way, and no drift.
        changing = self._changing([order.subject.key for order in orders])
        found = self._states.filter(subject__in=[order.subject.pk for order in orders if order.subject.pk])
        states = {state.subject_id: state for state in found}
        for order in orders:
            state = states.get(order.subject.pk)
            if state and state.read_back_at and state.read_back_at >= self._started_at:
                # On a page before this one already: the vendor's list moved on.
                continue
            if order.subject.key in changing or (state and _is_on_its_way(state, asked_at)):
                self.counts["on_their_way"] += 1
                continue
            request = self._expect(order, state)
            if isinstance(request, Outcome):
                self.counts["left_out"] += 1
                continue
            self.counts["compared"] += 1
            if order.record is None:
                self._note(Drift.MISSING, order.reference, order.subject)
            elif differences := self._vendor.compare(request, order.record):
                self._note(Drift.DIFFERS, order.reference, order.subject, differences)
        self._mark_seen([states[pk].pk for order in orders if order.record and (pk := order.subject.pk) in states])

    def _expect(self, order: _Order, state: SyncState | None) -> Request | Outcome:
        """What delivery would send of the order now."""
        if state and state.is_withheld:
            return not_sent("withheld")
        admitted = self._rules.admit(order.snapshot, order.subject)
        if isinstance(admitted, Outcome):
            return admitted
        # One that is told every status in order gets newer content under the last it accepted.
        is_told_each = self._vendor.manner is Manner.EVERY_STATUS and state and state.sent_status
        told = self._rules.tell(state.sent_status if state and is_told_each else admitted.status)
        if isinstance(told, Outcome):
            return told
        return self._rules.build(admitted, told, account=self._account, now=self._started_at)

    def _note(
        self, kind: Drift, reference: str, subject: Subject | None = None, differences: Sequence[Difference] = ()
    ) -> None:
        self.counts["drifted"] += 1
        if subject:
            self.keys.append(subject.key)
        row = {"order": _masked(reference), "subject": subject and subject.pk, "kind": kind.value}
        for difference in differences or [Difference(field="", shop="", vendor="")]:
            if len(self.drifts) < KEPT:
                values = {"shop": _masked(difference.shop), "vendor": _masked(difference.vendor)}
                self.drifts.append({**row, "field": difference.field, **values})

    # what is asked of the database

    def _find(self, held: Mapping[str, Record]) -> list[_Order]:
        """The orders of the shop that have these references; those never captured too."""
        orders = Subject.objects.using(self._using).filter(kind=Subject.Kind.ORDER)
        subjects = list(orders.filter(reference__in=held))
        if others := held.keys() - {subject.reference for subject in subjects}:
            found = get_shop().find(using=get_shop().database, references=others)
            keys = [str(key) for key in found.values_list("pk", flat=True)]
            subjects += orders.filter(key__in=keys)
            captured = {subject.key for subject in subjects}
            subjects += [Subject(key=key, created_at=self._started_at) for key in keys if key not in captured]
        snapshots = self._read([subject.key for subject in subjects])
        present = [_Order(subject, snapshots[subject.key]) for subject in subjects if subject.key in snapshots]
        return [replace(order, record=held[order.reference]) for order in present if order.reference in held]

    def _read(self, keys: Collection[str]) -> Mapping[str, OrderSnapshot | Unreadable]:
        return get_shop().read(keys, using=get_shop().database)

    def _changing(self, keys: Collection[str]) -> set[str]:
        """Which of these orders have captured changes that no relay has taken up yet."""
        source = get_shop().database
        events = OutboxEvent.objects.using(source).filter(relayed_at__isnull=True, kind=Subject.Kind.ORDER)
        changing = set(events.filter(relation="", key__in=keys).values_list("key", flat=True))
        related: dict[str, set[str]] = {}
        for relation, key in events.exclude(relation="").values_list("relation", "key"):
            related.setdefault(relation, set()).add(key)
        for path, parts in related.items():
            # A relation that the settings no longer name; the relay reports it.
            with contextlib.suppress(ConfigurationError, FieldError):
                changing.update(*get_shop().owners(path, parts, using=source).values())
        return changing

    def _mark_seen(self, state_ids: Collection[int]) -> None:
        with transaction.atomic(using=self._using):
            # Locked in the one order that everybody keeps to.
            locked = SyncState.objects.using(self._using).select_for_update().filter(pk__in=state_ids).order_by("pk")
            keys = list(locked.values_list("pk", flat=True))
            seen = SyncState.objects.using(self._using).filter(pk__in=keys)
            seen.update(read_back_at=database_now(self._using))


def _is_on_its_way(state: SyncState, asked_at: datetime) -> bool:
    """Whether it waits, is being sent, or was sent after the vendor was asked."""
    is_newer = state.delivered_at is not None and state.delivered_at >= asked_at
    return bool(state.lease) or state.state in _ON_THEIR_WAY or is_newer


def _masked(text: str | None) -> str | None:
    """What the vendor holds may be of anybody's making, and is shown on terminals too."""
    if text is None:
        return None
    text = "".join(char if char.isprintable() else " " for char in text)
    return redact(text) if "@" in text else text
