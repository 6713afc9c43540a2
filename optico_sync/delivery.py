"""Delivery: claim what is due, read it, build, send, read the answers, settle.

A ``Lane`` is one credential's deliveries in one process: a slow vendor never takes another's threads. Nothing is sent
inside a transaction, and every settle names the lease it holds, so a worker that lost its lease loses quietly.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import OperationalError, connections, router, transaction
from django.db.models import F

from optico_sync import conf, signals
from optico_sync.exceptions import ConfigurationError, EncryptionKeyError
from optico_sync.models import (
    Attempt,
    DeclaredStatus,
    Hour,
    Job,
    Rules,
    Step,
    Subject,
    SyncState,
    VendorCredential,
    Verdict,
)
from optico_sync.models.bulk import insert, write
from optico_sync.models.clock import database_now
from optico_sync.models.contents import note_contents
from optico_sync.models.credentials import BREAKER_THRESHOLD, HEEDED_FIELDS, RESUMED_FIELDS, lock_credential
from optico_sync.models.installation import Facts, admit, facts_here, recorded_facts
from optico_sync.models.jobs import count_settled
from optico_sync.models.sync import REPEAT_DELAYS
from optico_sync.outcome import Kind, Outcome, Scope, delivered, not_sent, refused
from optico_sync.pace import Pace
from optico_sync.shops import read_all
from optico_sync.shops.content import content_of
from optico_sync.snapshot import CART, CartSnapshot, OrderSnapshot
from optico_sync.transport import Sender, exchange, open_transport
from optico_sync.vendors.base import Account, Manner, Request, Vendor, excerpt

logger = logging.getLogger(__name__)

#: Seconds for which a lane remembers where it runs: the database can be replaced under it.
_FACTS_KEPT = 60.0

#: The part of a lease that must be left, beyond the vendor's time-out, when a send starts.
_MARGIN = 2.0

#: Seconds within which a claim should be sent.
_SPAN = 5.0

#: An order takes about so many times the processor's time that sending it takes: it is read, built and recorded too.
#: More of them in flight than fit into the vendor's time do not get out sooner: they only take the interpreter from one
#: another, and 32 that do so cost half as much again.
_OWN_SHARE = 4
#: Requests at once until a vendor's first answers tell how long it takes.
_AT_FIRST = 8

_SIGNALS = {
    SyncState.State.IN_SYNC: signals.delivered,
    SyncState.State.REFUSED: signals.refused,
    SyncState.State.NOT_SENT: signals.not_sent,
}

#: For each request at once, so many orders of a job are claimed together: a live one finds no more ahead of it.
_JOB_SHARE = 4

_NOT_TRIED = Outcome(kind=Kind.HELD, reason="")

_SETTLED_FIELDS = [
    "state", "reason", "detail", "queue", "tried", "generation", "answered_generation", "is_forced", "repeats",
    "doubts", "sent_status", "accepted_status", "accepted_is_sale", "refused_status", "fingerprint", "delivered_at",
    "attempts", "due_at", "lease", "job", "before",
]  # fmt: skip


@dataclass
class _Plan:
    """What to do about one claimed row: verdicts that need no vendor, then perhaps one request."""

    state: SyncState
    subject: Subject
    manner: Manner
    verdicts: list[Verdict] = field(default_factory=list)
    verdict: Verdict | None = None
    request: Request | None = None
    attempt: Attempt | None = None
    #: Seconds that the exchange took, and the processor for it.
    took: float = 0.0
    spent: float = 0.0
    #: The row as it was settled, where its state became another.
    moved: SyncState | None = None


@dataclass
class _Claim:
    """Rows leased to this worker, and until when by its own clock."""

    credential: VendorCredential
    vendor: Vendor
    account: Account
    states: list[SyncState]
    lease: str
    ends: _Deadline
    now: datetime
    pace: Pace
    #: Whether there were as many as were asked for, so that more may be due.
    is_full: bool


class _Deadline:
    """A moment ahead, by whichever clock ran further: a suspended machine stops one of them."""

    def __init__(self, seconds: float) -> None:
        self._monotonic = time.monotonic() + seconds
        self._wall = time.time() + seconds

    def left(self) -> float:
        return min(self._monotonic - time.monotonic(), self._wall - time.time())


@dataclass
class _Health:
    """The vendor's answers during one batch, counted by all its threads."""

    failures: int
    #: That of the batch before, of which some may still be out.
    before: _Health | None = None
    answered: bool = False
    stopped_by: Outcome | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_bad(self) -> bool:
        """Whether to start nothing more."""
        return bool(self.stopped_by or (self.before and self.before.stopped_by))

    def count(self, outcome: Outcome) -> None:
        with self.lock:
            if outcome.kind is Kind.RETRY:
                self.failures += 1
                if self.failures >= BREAKER_THRESHOLD or outcome.retry_after is not None:
                    self.stopped_by = self.stopped_by or outcome
                return
            self.failures, self.answered = 0, True
            if outcome.scope is Scope.CREDENTIAL:
                self.stopped_by = outcome


@dataclass
class _Batch:
    """A claim that is being sent."""

    claim: _Claim
    plans: list[_Plan]
    health: _Health
    sends: list[Future[None]]

    def wait(self) -> None:
        """Until every request was answered, or was not begun."""
        for send in self.sends:
            send.result()
        # It would keep all batches before alive.
        self.health.before = None


class Lane:
    """One credential's deliveries in this process."""

    def __init__(
        self,
        credential_id: int,
        *,
        worker: str = "",
        stop: threading.Event | None = None,
        clock: Callable[[str], datetime] = database_now,
        sender: Callable[[Vendor, int], Sender] | None = None,
    ) -> None:
        self._credential_id = credential_id
        self._worker = worker
        self._stop = stop or threading.Event()
        self._clock = clock
        self._make_sender = sender or open_transport
        self._using = router.db_for_write(SyncState)
        self._sender: Sender | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 0
        #: The batch that is being sent while the next one is claimed.
        self._out: _Batch | None = None
        #: Seconds that the vendor took for a request lately, and the processor for sending it.
        self._latency: float | None = None
        self._spent = 0.0
        self._facts: tuple[Facts, float] | None = None

    def deliver(self, *, ahead: bool = False) -> int:
        """Claim one batch, send it and settle it. Returns how many orders were settled; 0 when nothing is due.

        ``ahead`` leaves a batch after which more may be due at its sending, and settles it once the next one is being
        sent too, so that the vendor is kept busy: ``is_busy`` until then, and ``close`` settles what is left.
        """
        last, self._out, settled = self._out, None, 0
        try:
            self._out = self._start(last)
        finally:
            if last:
                settled = self._finish(last)
        if self._out and not (ahead and self._out.claim.is_full):
            settled += self._finish_out()
        return settled

    @property
    def is_busy(self) -> bool:
        """Whether a batch is out."""
        return self._out is not None

    def close(self) -> int:
        """Settle what is out, and let the threads and connections go. Returns how many orders were settled."""
        try:
            return self._finish_out()
        finally:
            self._close_workshop()

    def _start(self, last: _Batch | None) -> _Batch | None:
        """Claim what is due, and begin to send it after ``last``."""
        claim = self._claim()
        if claim is None:
            return None
        health = _Health(failures=claim.credential.failures, before=last.health if last else None)
        try:
            plans = self._plan(claim)
        except Exception:
            # Nothing was sent: no need to wait until the leases run out.
            held = SyncState.objects.using(self._using).filter(lease=claim.lease)
            held.update(lease="", due_at=self._clock(self._using))
            raise
        return _Batch(claim, plans, health, self._send_all(claim, plans, health))

    def _finish(self, batch: _Batch) -> int:
        """Wait for the answers and settle."""
        batch.wait()
        self._settle_surely(batch.claim, batch.plans, batch.health)
        if sent := [plan for plan in batch.plans if plan.attempt]:
            # The quicker ones waited least for this process's own threads.
            self._latency = sorted(plan.took for plan in sent)[len(sent) // 4]
            self._spent = statistics.median(plan.spent for plan in sent)
        return len(batch.plans)

    def _finish_out(self) -> int:
        batch, self._out = self._out, None
        return self._finish(batch) if batch else 0

    # claim

    def _claim(self) -> _Claim | None:
        """Lease what is due, unless the credential may not send now."""
        due = SyncState.objects.using(self._using).filter(credential=self._credential_id)
        if not conf.options().ENABLED:
            return None
        if not due.due(self._clock(self._using)).exists():
            return None
        here = self._here()
        with transaction.atomic(using=self._using):
            now = self._clock(self._using)
            credential = lock_credential(self._credential_id, self._using, recorded=recorded_facts())
            # The record is read with every claim: a dump may be restored under a worker that runs.
            if credential is None or not admit(credential, credential.recorded, here, now):  # type: ignore[attr-defined]
                return None
            if not credential.is_enabled or credential.paused_at:
                return None
            if credential.open_until and credential.open_until > now:
                return None
            try:
                vendor, account = credential.spec, credential.account
            except (ConfigurationError, EncryptionKeyError) as error:
                reason = "secret_unreadable" if isinstance(error, EncryptionKeyError) else "incomplete_credential"
                _pause(credential, reason, str(error), now)
                return None
            if missing := vendor.missing_secrets(account):
                _pause(credential, "incomplete_credential", ", ".join(missing), now)
                return None
            lease = timedelta(seconds=conf.options().LEASE)
            ends = _Deadline(lease.total_seconds())
            limit = conf.options().BATCH_SIZE
            pace = Pace(credential.rate_at(now), credential.next_slot_at, now)
            limit = min(limit, pace.limit, self._sendable(credential.concurrency))
            if credential.opened_at:
                # Half open: one order goes ahead, and nobody else probes until it has settled.
                limit = 1
                credential.open_until = now + lease
                credential.save(update_fields=["open_until"])
            rows = due.due(now).select_for_update(skip_locked=True)
            states = list(rows.live()[:limit])
            if not states and limit:
                share = min(limit, _JOB_SHARE * credential.concurrency, pace.limit_of_jobs)
                states = list(rows.exclude(job=None)[:share])
            if not states:
                return None
            token = uuid.uuid4().hex
            claimed = SyncState.objects.using(self._using).filter(pk__in=[state.pk for state in states])
            claimed.update(lease=token, due_at=now + lease)
            if pace.rate:
                credential.next_slot_at = pace.reserve(len(states))
                credential.save(update_fields=["next_slot_at"])
            # Whoever held these is gone and may have sent them.
            expired = [state for state in states if state.lease]
            if expired and vendor.upserts:
                # Repeat the newest state later.
                claimed.filter(pk__in=[state.pk for state in expired]).update(repeats=len(REPEAT_DELAYS))
            elif expired:
                for state in expired:
                    state.doubts += 1
                claimed.filter(pk__in=[state.pk for state in expired]).update(doubts=F("doubts") + 1)
        # Where a worker that dies leaves doubts, no more than one batch is at stake.
        is_full = len(states) == limit and vendor.upserts
        return _Claim(credential, vendor, account, states, token, ends, now, pace, is_full)

    def _sendable(self, threads: int) -> int:
        """How many requests can be sent in a while: nobody else can take what is claimed."""
        return max(threads, int(threads * _SPAN / self._latency)) if self._latency else conf.options().BATCH_SIZE

    def _here(self) -> Facts:
        """What this process knows of itself."""
        if self._facts is None or time.monotonic() - self._facts[1] > _FACTS_KEPT:
            self._facts = facts_here(self._using), time.monotonic()
        return self._facts[0]

    # plan

    def _plan(self, claim: _Claim) -> list[_Plan]:
        """Read all orders and carts in a constant number of queries, and decide about each."""
        using = self._using
        subjects = Subject.objects.using(using).defer("sources").in_bulk([one.subject_id for one in claim.states])
        rules = Rules(claim.credential, using)
        snapshots = read_all((subject.kind, subject.key) for subject in subjects.values())
        # Before anything is sent: the sweep compares with what was read here.
        contents = {key: content_of(order) for key, order in snapshots.get(Subject.Kind.ORDER, {}).items()}
        note_contents([one for one in subjects.values() if one.kind == Subject.Kind.ORDER], contents, using=using)
        reaching_back = _reaching_back(claim.states, using)
        plans = []
        for state in claim.states:
            subject = subjects[state.subject_id]
            manner = claim.credential.manner_of(subject.kind)
            plan = _Plan(state, subject, manner or Manner.NEWEST)
            plans.append(plan)
            steps = state.steps(plan.manner) if manner else []
            if not steps:
                step = Step(shop_status=subject.status, index=None)
                outcome = delivered("unchanged") if state.delivered_at else not_sent("never_offered")
                plan.verdicts = [Verdict(step=step, outcome=outcome, is_final=True)]
                continue
            snapshot = snapshots[subject.kind].get(subject.key)
            # What the vendor has is kept in step, however old.
            is_exempt = state.delivered_at is not None or state.job_id in reaching_back
            whole = rules.admit(snapshot, subject, is_exempt=is_exempt, is_new=not state.delivered_at)
            if isinstance(whole, Outcome):
                plan.verdicts = [Verdict(step=step, outcome=whole, is_final=True) for step in steps]
            elif isinstance(whole, CartSnapshot):
                request = rules.build_cart(whole, account=claim.account, now=claim.now)
                self._propose(plan, Verdict(step=steps[0], outcome=_NOT_TRIED), request, claim)
            else:
                self._plan_order(plan, steps, whole, rules, claim)
        return plans

    def _plan_order(
        self,
        plan: _Plan,
        steps: Sequence[Step],
        order: OrderSnapshot,
        rules: Rules,
        claim: _Claim,
    ) -> None:
        for step in steps:
            if plan.manner is not Manner.EVERY_STATUS:
                step = Step(shop_status=order.status, index=step.index)
                if wait := _hold_left(claim, plan.subject):
                    plan.verdicts.append(Verdict(step=step, outcome=wait))
                    break
            verdict, request = _decide(step, order, rules, claim)
            self._propose(plan, verdict, request, claim)
            if plan.request:
                break

    def _propose(self, plan: _Plan, verdict: Verdict, request: Request | Outcome, claim: _Claim) -> None:
        """Plan to send ``request``; an outcome, or content that the vendor has already, is a verdict by itself."""
        state = plan.state
        if isinstance(request, Outcome):
            plan.verdicts.append(Verdict(step=verdict.step, outcome=request))
        elif verdict.step.index is None and not state.is_repeat and request.fingerprint == state.fingerprint:
            plan.verdicts.append(Verdict(step=verdict.step, outcome=delivered("unchanged")))
        elif _is_in_doubt(state.doubts, claim):
            # It was edited since, or a worker died with it: that makes another send no safer.
            plan.verdicts.append(Verdict(step=verdict.step, outcome=refused("ambiguous")))
        else:
            verdict.fingerprint = request.fingerprint
            plan.verdict, plan.request = verdict, request

    # send

    def _send_all(self, claim: _Claim, plans: Sequence[_Plan], health: _Health) -> list[Future[None]]:
        left = deque(plan for plan in plans if plan.request)
        if not left:
            return []
        pool, sender = self._workshop(claim)
        useful = _AT_FIRST if self._latency is None else _useful(self._latency, self._spent)
        sends: list[Future[None]] = []
        fastest = math.inf

        def work() -> None:
            nonlocal fastest
            while left:
                try:
                    plan = left.popleft()
                except IndexError:
                    return
                self._send(plan, claim, sender, health)
                if not plan.attempt:
                    continue
                # A slow answer may be this process's own doing; where not even one was fast, it is the vendor.
                fastest = min(fastest, plan.took)
                if left and len(sends) < min(self._threads, _useful(fastest, plan.spent)):
                    sends.append(pool.submit(work))

        for _ in range(min(useful, self._threads, len(left))):
            sends.append(pool.submit(work))
        return sends

    def _workshop(self, claim: _Claim) -> tuple[ThreadPoolExecutor, Sender]:
        """Threads and kept-alive connections, as many as the credential allows."""
        threads = claim.credential.concurrency
        if self._pool is None or self._sender is None or threads != self._threads:
            self._close_workshop()
            self._threads = threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"optico_sync-{claim.credential.pk}")
            self._sender = self._make_sender(claim.vendor, threads)
        return self._pool, self._sender

    def _close_workshop(self) -> None:
        if self._pool:
            self._pool.shutdown()
        if self._sender:
            self._sender.close()

    def _send(self, plan: _Plan, claim: _Claim, sender: Sender, health: _Health) -> None:
        """One exchange. Not begun when the worker stops, the vendor is in trouble, or the lease could run out."""
        verdict, request = plan.verdict, plan.request
        assert verdict is not None and request is not None  # noqa: S101 - for the type checker
        if claim.pace.wait(self._stop):
            return
        too_late = claim.ends.left() < claim.vendor.timeout.total + _MARGIN
        if self._stop.is_set() or health.is_bad or too_late:
            return
        started_at, began, processor = datetime.now(UTC), time.monotonic(), time.thread_time()
        vendor = claim.vendor
        read = partial(vendor.read_cart if plan.subject.kind == CART else vendor.read, account=claim.account)
        response, outcome = exchange(sender, request, read, name=vendor.name)
        health.count(outcome)
        if outcome.ambiguous and _is_in_doubt(plan.state.doubts + 1, claim):
            outcome = dataclasses.replace(refused("ambiguous", detail=outcome.detail), ambiguous=True)
        verdict.outcome, verdict.was_sent = outcome, True
        plan.took, plan.spent = time.monotonic() - began, time.thread_time() - processor
        plan.attempt = Attempt(
            sync_state_id=plan.state.pk,
            started_at=started_at,
            duration_ms=int(plan.took * 1000),
            generation=plan.state.generation,
            shop_status=verdict.step.shop_status,
            status=verdict.declared,
            request=request.shown,
            http_status=response.status if response else None,
            answer=excerpt(response, claim.account) if response else "",
            outcome=outcome.kind,
            reason=outcome.reason,
            detail=outcome.detail,
            worker=self._worker,
        )

    # settle

    def _settle_surely(self, claim: _Claim, plans: Sequence[_Plan], health: _Health) -> None:
        """Settle, again where the database gives up on it (a deadlock, a lost connection): the vendor was told.

        Should the last try fail too, the leases run out and everything is sent once more.
        """
        for tries_left in (2, 1, 0):
            try:
                self._settle(claim, plans, health)
                break
            except OperationalError as error:
                if not tries_left:
                    raise
                logger.warning("Settling is tried again (%s).", type(error).__name__)
                connections[self._using].close_if_unusable_or_obsolete()
                for plan in plans:
                    plan.moved = None
        _announce(plans, claim.credential)

    def _settle(self, claim: _Claim, plans: Sequence[_Plan], health: _Health) -> None:
        """Record everything in one transaction: the vendor's health, the rows that are still ours, the attempts."""
        using = self._using
        by_row = {plan.state.pk: plan for plan in plans}
        with transaction.atomic(using=using):
            now = self._clock(using)
            is_down = self._judge(claim, plans, health, now)
            rows = list(SyncState.objects.using(using).select_for_update().filter(pk__in=list(by_row)).order_by("pk"))
            settled: dict[int, Counter[tuple[str, str]]] = {}
            for row in rows:
                plan = by_row[row.pk]
                if row.is_erased and plan.attempt:
                    plan.attempt.erase()
                if row.lease == claim.lease:
                    before, job_id = row.state, row.job_id
                    verdicts = [*plan.verdicts, plan.verdict] if plan.verdict else plan.verdicts
                    row.settle(
                        verdicts,
                        generation=plan.state.generation,
                        now=now,
                        vendor_is_down=is_down,
                        manner=plan.manner,
                        upserts=claim.vendor.upserts,
                    )
                    plan.moved = row if row.state != before else None
                    if job_id and not row.job_id:
                        settled.setdefault(job_id, Counter())[_became(row)] += 1
                elif plan.attempt and claim.vendor.upserts:
                    row.doubt(now, repeats=len(REPEAT_DELAYS))
            write(rows, _SETTLED_FIELDS, using=using)
            if made := [plan.attempt for plan in plans if plan.attempt]:
                insert(made, using=using)
                Hour.count(claim.credential, made, now=now, using=using)
            self._note_statuses(claim, plans, now)
            if settled:
                count_settled(settled, using=using)

    def _judge(self, claim: _Claim, plans: Iterable[_Plan], health: _Health, now: datetime) -> bool:
        """Move the credential's breaker, pause and clock. True when the vendor as a whole is not answering."""
        outcomes = [plan.verdict.outcome for plan in plans if plan.attempt and plan.verdict]
        # A vendor may see before sending that the account itself is wrong.
        unsent = [
            verdict.outcome
            for plan in plans
            for verdict in plan.verdicts
            if verdict.outcome.kind is Kind.REFUSED and verdict.outcome.scope is Scope.CREDENTIAL
        ]
        if not outcomes and not unsent:
            if claim.credential.opened_at:
                # The probe turned out to need no vendor: the next one may go at once.
                VendorCredential.objects.using(self._using).filter(pk=claim.credential.pk).update(open_until=now)
            return False
        credential = lock_credential(claim.credential.pk, self._using)
        if credential is None or credential.secrets_version != claim.credential.secrets_version:
            # The secrets were replaced meanwhile: what the old ones were told says nothing about the new ones.
            return False
        was_open = credential.opened_at is not None
        failed = health.failures if health.answered else health.failures - claim.credential.failures
        is_down = credential.record_answers(health.answered, failed, now)
        for outcome in (*outcomes, *unsent):
            if outcome.kind is Kind.REFUSED and outcome.scope is Scope.CREDENTIAL:
                credential.pause(outcome.reason, outcome.detail, now)
        credential.heed([*outcomes, *unsent], now)
        if any(outcome.kind is Kind.DELIVERED for outcome in outcomes):
            credential.last_delivery_at = now
        credential.save(
            update_fields=[
                *HEEDED_FIELDS, "failures", "opened_at", "open_reason", "paused_at", "pause_reason", "pause_detail",
                "last_delivery_at",
            ]
        )  # fmt: skip
        if is_down and not was_open:
            # It was the vendor all along: what the orders spent on it is given back.
            retrying = SyncState.objects.using(self._using).filter(
                credential=credential, state=SyncState.State.RETRYING
            )
            retrying.filter(lease="").update(attempts=0, due_at=now)
        return is_down

    def _note_statuses(self, claim: _Claim, plans: Iterable[_Plan], now: datetime) -> None:
        """Remember which declared statuses the vendor does not know; one that works again sends what it parked."""
        unknown, known = set(), set()
        for plan in plans:
            if plan.attempt and plan.verdict:
                outcome = plan.verdict.outcome
                if outcome.reason == "unknown_status":
                    unknown.add(plan.verdict.declared)
                elif outcome.kind is Kind.DELIVERED and plan.verdict.declared:
                    known.add(plan.verdict.declared)
        declared = DeclaredStatus.objects.using(self._using).filter(credential=claim.credential)
        if unknown:
            declared.filter(name__in=unknown, unknown_since__isnull=True).update(unknown_since=now)
        if known:
            for status in declared.filter(name__in=known - unknown, unknown_since__isnull=False):
                status.declare()


def _useful(latency: float, spent: float) -> int:
    """How many requests at once keep both busy: the vendor, and the processor that spends ``spent`` on sending one."""
    return max(1, math.ceil(latency / (_OWN_SHARE * max(spent, 0.0001))))


def _became(row: SyncState) -> tuple[str, str]:
    """What became of an order that a job sent, and why."""
    match row.state:
        case SyncState.State.IN_SYNC if not row.reason:
            return "done", ""
        case SyncState.State.REFUSED:
            return "refused", row.reason
    return "left_out", row.reason


def _announce(plans: Iterable[_Plan], credential: VendorCredential) -> None:
    """Tell the shop's own code. What was in sync without a send is no news."""
    for plan in plans:
        signal = _SIGNALS.get(SyncState.State(plan.moved.state)) if plan.moved else None
        if plan.moved and signal and (plan.attempt or signal is not signals.delivered):
            plan.moved.subject, plan.moved.credential = plan.subject, credential
            signal.send_robust(SyncState, subject=plan.subject, credential=credential, sync_state=plan.moved)


def _pause(credential: VendorCredential, reason: str, detail: str, now: datetime) -> None:
    credential.pause(reason, detail, now)
    credential.save(update_fields=RESUMED_FIELDS)
    logger.warning("Credential %s is paused: %s", credential.pk, reason)


def _reaching_back(states: Iterable[SyncState], using: str) -> set[int]:
    """The jobs among those of ``states`` that also send orders from before the start date."""
    jobs = {state.job_id for state in states if state.job_id}
    if not jobs:
        return set()
    return set(Job.objects.using(using).filter(pk__in=jobs, reaches_back=True).values_list("pk", flat=True))


def _hold_left(claim: _Claim, subject: Subject) -> Outcome | None:
    """An outcome that waits, while the vendor's own hold since the order got its status is not over."""
    hold = claim.vendor.hold(claim.account.options)
    left = hold - (claim.now - (subject.status_at or subject.created_at)).total_seconds()
    if hold <= 0 or left <= 0:
        return None
    return Outcome(kind=Kind.HELD, reason="hold_period", retry_after=left)


def _decide(step: Step, order: OrderSnapshot, rules: Rules, claim: _Claim) -> tuple[Verdict, Request | Outcome]:
    """The verdict to come and its request for this step, or the outcome that needs none."""
    told = rules.tell(step.shop_status)
    if isinstance(told, Outcome):
        return Verdict(step=step, outcome=_NOT_TRIED), told
    request = rules.build(order, told, account=claim.account, now=claim.now)
    return Verdict(step=step, outcome=_NOT_TRIED, declared=told.status, is_sale=told.is_sale), request


def _is_in_doubt(doubts: int, claim: _Claim) -> bool:
    """Whether so many sends that may have taken effect are more than the vendor allows."""
    limit = claim.vendor.max_ambiguous(claim.account.options)
    return limit is not None and doubts > limit
