"""The queue and its record: what each credential still has to be told, and what it answered."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils.translation import gettext_lazy as _

from optico_sync.models.credentials import VendorCredential
from optico_sync.models.jobs import Job
from optico_sync.models.subjects import Subject
from optico_sync.outcome import REASONS, Kind, Outcome, Reason, Scope
from optico_sync.vendors.base import Manner

#: Retry after 1, 2 and 4 s (the Sales document's figures), then a slow tail.
RETRY_DELAYS = tuple(timedelta(seconds=s) for s in (1, 2, 4, 60, 300, 1800, 7200, 21600, 43200))

#: After an attempt whose request may still take effect, the newest state is repeated twice, the second time later than
#: a worker may sleep: so an old request that arrives late does not stay the last one.
REPEAT_DELAYS = (timedelta(minutes=1), timedelta(minutes=15))


#: What a job changes of a row that it queues, and gives back where it is cancelled before the row was sent.
_GIVEN_BACK = (
    "state", "reason", "detail", "queue", "last_queued", "tried", "refused_status", "generation", "is_forced",
    "attempts", "doubts",
)  # fmt: skip

#: The lasting reason of what was erased on request.
ERASED = "erased"

#: Statuses one order may have waiting for one credential; beyond, the oldest go. No real order comes near.
MAX_QUEUE = 50


def time_spent(tries: int) -> timedelta:
    """How long an order has been tried that failed so many times in a row, at least."""
    return sum((RETRY_DELAYS[min(count, len(RETRY_DELAYS)) - 1] for count in range(1, tries)), timedelta(0))


class SyncStateQuerySet(models.QuerySet["SyncState"]):
    """The questions asked of the queue."""

    def due(self, now: datetime) -> Self:
        """Work to do now, oldest first; an expired lease makes its row due. What a job queued, while the job runs."""
        return self.may_go().filter(due_at__lte=now).order_by("due_at")

    def may_go(self) -> Self:
        """Neither held by hand nor queued by a job that does not run."""
        may_go = Q(job=None) | Q(job__in=Job.objects.using(self.db).running().values("pk"))
        return self.filter(may_go, is_held=False)

    def live(self) -> Self:
        """What changed in the shop or was sent again by hand: it goes before whatever a job has queued."""
        return self.filter(job=None)

    def totals(self, credential: VendorCredential, kind: str = Subject.Kind.ORDER) -> dict[str, int]:
        """How many orders, or carts, stand where: six numbers that add up to all of them. Counts every row."""
        return self.totals_of([credential], kind)[credential.pk]

    def totals_of(
        self, credentials: Collection[VendorCredential], kind: str = Subject.Kind.ORDER
    ) -> dict[int, dict[str, int]]:
        """The same by primary key of each credential, in three statements however many there are."""
        counts = {credential.pk: dict.fromkeys(SyncState.State.values, 0) for credential in credentials}
        is_holding = {credential.pk: bool(credential.hold_reason) for credential in credentials}
        rows = self.filter(credential__in=counts).order_by().values_list("credential", "state")
        others = [other for other in Subject.Kind.values if other != kind]
        if Subject.objects.using(self.db).filter(kind__in=others).exists():
            # Only then, since joining millions takes long.
            rows = rows.filter(subject__kind=kind)
        for key, state, count in rows.annotate(models.Count("pk")):
            is_held = state in SyncState.PENDING and is_holding[key]
            counts[key][SyncState.State.HELD if is_held else state] += count
        subjects = Subject.objects.using(self.db).filter(kind=kind).count()
        for six in counts.values():
            # Those from before it existed were never offered to it.
            six[SyncState.State.NOT_SENT] += subjects - sum(six.values())
        return counts

    def parked_by(self, shop_statuses: Collection[str]) -> Self:
        """Refused because of one of these shop statuses: not mapped, or not known to the vendor."""
        return self.filter(
            state=SyncState.State.REFUSED,
            reason__in=("unmapped_status", "unknown_status"),
            refused_status__in=shop_statuses,
        )

    def release(self, now: datetime) -> int:
        """Try what was refused or held again now, from the first status that waits. Returns how many.

        The generation is raised, so that a worker that holds the row tries again after it settles.
        """
        with transaction.atomic(using=self.db):
            # Locked in the one order that everybody keeps to.
            locked = self.using(self.db).select_for_update().order_by("pk")
            keys = list(locked.values_list("pk", flat=True))
            return (
                self.model._default_manager.using(self.db)
                .filter(pk__in=keys)
                .update(
                    tried=0,
                    refused_status="",
                    is_held=False,
                    is_withheld=False,
                    generation=F("generation") + 1,
                    attempts=0,
                    doubts=0,
                    state=SyncState.State.WAITING,
                    reason="",
                    detail="",
                    due_at=Case(When(lease="", then=Value(now)), default=F("due_at")),
                )
            )


@dataclass(kw_only=True, slots=True)
class Step:
    """What one send tells the vendor. ``index`` is the place in the queue, None for newer content alone."""

    shop_status: str
    index: int | None


@dataclass(kw_only=True, slots=True)
class Verdict:
    """What came of one step. ``declared``, ``is_sale`` and ``fingerprint`` describe what was sent, if anything was.

    ``is_final`` says that the outcome holds for every step that is left: the order is gone, or too old.
    """

    step: Step
    outcome: Outcome
    was_sent: bool = False
    is_final: bool = False
    declared: str = ""
    is_sale: bool = False
    fingerprint: str = ""


class SyncState(models.Model):
    """Where one order or cart stands with one credential.

    ``queue`` holds shop statuses that the vendor has not accepted yet, oldest first. The first ``tried`` of them were
    refused; they stay until a later one is accepted, so that declaring a status sends what it parked. ``generation``
    rises with every change; ``answered_generation`` is the newest one that the vendor, or a rule, has answered.

    A lease is a token. While it is held ``due_at`` is the moment it runs out, so a row whose worker died becomes due
    by itself, and every settle names the token.
    """

    class State(models.TextChoices):
        #: A change has not been sent yet.
        WAITING = "waiting", _("waiting")
        #: A send failed for a passing reason.
        RETRYING = "retrying", _("retrying")
        #: The vendor holds what the shop holds.
        IN_SYNC = "in_sync", _("in sync")
        #: Somebody must act.
        REFUSED = "refused", _("refused")
        #: Left out on purpose, with the reason.
        NOT_SENT = "not_sent", _("not sent")
        #: By hand, or because the credential is off, paused or its breaker is open.
        HELD = "held", _("held")

    #: What a credential that is off, paused or broken holds.
    PENDING = (State.WAITING, State.RETRYING)

    # Without constraints in the database: their checks lock the parent rows, and then the relay, which adds rows, and
    # a settle, which holds the credential, wait for each other.
    # The unique constraint is the index of its subject.
    subject = models.ForeignKey(
        Subject, models.CASCADE, related_name="sync_states", db_constraint=False, db_index=False
    )
    credential = models.ForeignKey(VendorCredential, models.PROTECT, related_name="sync_states", db_constraint=False)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    reason = models.CharField(_("reason"), max_length=50, blank=True)
    detail = models.TextField(_("vendor's message"), blank=True)
    #: Nothing of it goes out until a person says so.
    is_held = models.BooleanField(_("held by hand"), default=False)
    #: That, and for good: it counts as not sent. Only ``send_after_all`` ends it.
    is_withheld = models.BooleanField(_("not sent by hand"), default=False)

    queue = models.JSONField(default=list)
    last_queued = models.CharField(max_length=200, blank=True)
    tried = models.PositiveSmallIntegerField(default=0)
    generation = models.PositiveIntegerField(default=0)
    answered_generation = models.PositiveIntegerField(default=0)
    #: Send once more although nothing changed.
    is_forced = models.BooleanField(default=False)
    repeats = models.PositiveSmallIntegerField(default=0)
    #: Sends that a vendor which does not upsert may have taken although nobody knows, since the last order by hand.
    doubts = models.PositiveSmallIntegerField(default=0)

    sent_status = models.CharField(_("last shop status accepted"), max_length=200, blank=True)
    accepted_status = models.CharField(_("last status accepted"), max_length=200, blank=True)
    accepted_is_sale = models.BooleanField(_("accepted as a sale"), null=True)
    refused_status = models.CharField(_("refused status"), max_length=200, blank=True)
    fingerprint = models.CharField(max_length=32, blank=True)
    delivered_at = models.DateTimeField(_("last delivery"), null=True)
    read_back_at = models.DateTimeField(_("last seen at the vendor"), null=True)

    attempts = models.PositiveIntegerField(_("attempts since the last success"), default=0)
    due_at = models.DateTimeField(_("next attempt"), null=True)
    lease = models.CharField(max_length=32, blank=True)

    #: The job that queued what waits, until it is settled or something live takes its place.
    job = models.ForeignKey(
        Job, models.SET_NULL, null=True, related_name="sync_states", db_constraint=False, db_index=False
    )
    #: What the row was before that; None as soon as a part of it was accepted.
    before = models.JSONField(null=True)

    objects = SyncStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("sync state")
        verbose_name_plural = _("sync states")
        constraints = [models.UniqueConstraint(fields=["subject", "credential"], name="optico_sync_state_once")]
        indexes = [
            models.Index(fields=["credential", "due_at"], condition=Q(due_at__isnull=False), name="optico_sync_due"),
            # What is not in sync is what owners look for, and is few.
            # By order too, so that a list of them is read in its order, page by page.
            models.Index(
                fields=["credential", "state", "subject"], condition=~Q(state="in_sync"), name="optico_sync_not_in_sync"
            ),
            models.Index(fields=["credential", "reason", "subject"], condition=~Q(reason=""), name="optico_sync_why"),
            models.Index(fields=["job"], condition=Q(job__isnull=False), name="optico_sync_of_job"),
        ]

    def __str__(self) -> str:
        return f"{self.subject_id}/{self.credential_id}: {self.state}"

    # What an owner sees

    @property
    def shown_state(self) -> str:
        """One of the six states, the credential's own hold included. Needs ``credential``."""
        return self.State.HELD if self.state in self.PENDING and self.credential.hold_reason else self.state

    @property
    def shown_reason(self) -> Reason:
        """Why, and what to do."""
        code = self.reason
        if self.state in self.PENDING and self.credential.hold_reason:
            code = self.credential.hold_reason
        return self.credential.explain(code)

    # What the relay and the operator do to it

    def change(self, *, statuses: Sequence[str], due_at: datetime, manner: Manner = Manner.EVERY_STATUS) -> None:
        """The order was saved: queue its new ``statuses``, send its newest content; not saved yet."""
        for status in statuses if manner is Manner.EVERY_STATUS else ():
            if status and status != self.last_queued:
                self.queue = [*self.queue, status]
                self.last_queued = status
        if not self.lease:
            # A worker that holds the row counts places in the queue.
            self.queue = self.queue[-MAX_QUEUE:]
        self.generation += 1
        self.tried, self.refused_status = 0, ""
        # What a job has queued for it goes out now.
        self._leave_job()
        if not self.steps(manner, repeat=False):
            if self.state == self.State.WAITING and not self.lease:
                self.state, self.reason = self.State.NOT_SENT, "never_offered"
        elif not self.is_held:
            self.schedule(due_at)

    def resend(self, *, status: str, due_at: datetime, manner: Manner = Manner.EVERY_STATUS) -> bool:
        """Send again although nothing changed, under the order's ``status`` of now; not saved yet.

        False, and nothing changes, where somebody decided against it, or the vendor was told and is told only once.
        """
        if self.is_withheld or (manner is Manner.ONCE and self.delivered_at):
            return False
        is_news = status != self.last_queued or not (self.queue or self.sent_status)
        if status and is_news and manner is Manner.EVERY_STATUS:
            self.queue, self.last_queued = [*self.queue, status], status
        self.is_forced = True
        self.is_held = False
        self.attempts = self.doubts = 0
        self.generation += 1
        self.tried, self.refused_status = 0, ""
        if not self.lease:
            self.due_at = due_at
        self.state, self.reason, self.detail = self.State.WAITING, "", ""
        self._leave_job()
        return True

    def enlist(self, job: Job, *, status: str, due_at: datetime, manner: Manner = Manner.EVERY_STATUS) -> str:
        """Send again for ``job``, behind what is live; not saved yet. Returns why not, as a reason code."""
        if reason := self.bars(manner, job.verb):
            return reason
        if not self.pk:
            self.state, self.reason = self.State.NOT_SENT, "never_offered"
        before = {name: getattr(self, name) for name in _GIVEN_BACK}
        self.resend(status=status, due_at=due_at, manner=manner)
        self.job, self.before = job, before
        return ""

    def bars(self, manner: Manner, verb: str) -> str:
        """Why a job of this verb leaves it alone, as a reason code; empty when it does not."""
        if self.is_erased:
            return ERASED
        if self.is_held:
            return "withheld" if self.is_withheld else "held_by_operator"
        if manner is Manner.ONCE and self.delivered_at:
            return "told_once"
        if verb == Job.Verb.BACKFILL and self.state == self.State.IN_SYNC:
            return "unchanged"
        is_on_its_way = self.lease or (self.pk and self.state in self.PENDING)
        return "on_its_way" if is_on_its_way else ""

    def withdraw(self, now: datetime) -> str:
        """Its job was cancelled: be what it was before; not saved yet. Returns what became of it, as a reason code.

        What may have been sent all the same says so, and what the vendor holds is repeated as after any lost answer.
        Empty where a part was accepted by then: the rest follows.
        """
        before, self.job, self.before = self.before, None, None
        if before is None:
            return ""
        is_in_doubt = bool(self.lease) or self.doubts > before["doubts"] or self.repeats > 0
        for name, value in before.items():
            setattr(self, name, value)
        self.lease, self.due_at = "", None
        if is_in_doubt and not self.delivered_at:
            self.state, self.reason, self.repeats = self.State.REFUSED, "ambiguous", 0
            return self.reason
        if is_in_doubt:
            self.repeats, self.due_at = len(REPEAT_DELAYS), now
        return "job_cancelled"

    def _leave_job(self) -> None:
        self.job = self.before = None

    def try_again(self) -> None:
        """What ``SyncStateQuerySet.release`` does, for a look ahead; never saved."""
        self.is_held = self.is_withheld = False
        self.tried, self.refused_status, self.attempts, self.doubts = 0, "", 0, 0
        self.generation += 1

    def hold(self) -> None:
        """Send nothing until released; what a worker has in flight is settled as usual."""
        self.is_held = True
        self._leave_job()
        self.state, self.reason, self.detail = self.State.HELD, "held_by_operator", ""
        if not self.lease:
            self.due_at = None

    @property
    def is_erased(self) -> bool:
        return self.reason == ERASED

    def erase(self) -> None:
        """Send nothing any more, whatever changes, and keep on record what the vendor has; not saved yet."""
        self.state, self.reason, self.detail = self.State.NOT_SENT, ERASED, ""
        self.queue, self.tried, self.refused_status = [], 0, ""
        self.answered_generation = self.generation
        self.is_forced = self.is_held = self.is_withheld = False
        self.repeats = self.doubts = self.attempts = 0
        self._leave_job()
        if not self.lease:
            self.due_at = None

    def withhold(self) -> None:
        """Not sent, whatever changes, until it is sent after all; what is in flight is settled as usual."""
        self.hold()
        self.is_withheld = True
        self.state, self.reason = self.State.NOT_SENT, "withheld"

    def confirm(self, *, status: str, declared: str, is_sale: bool | None, at: datetime) -> None:
        """Somebody saw at the vendor that the send of unknown end was taken; not saved yet."""
        self.sent_status, self.accepted_status, self.accepted_is_sale = status, declared, is_sale
        self.delivered_at, self.answered_generation = at, self.generation
        self.queue, self.tried, self.refused_status = [], 0, ""
        self.is_forced, self.attempts, self.doubts, self.repeats = False, 0, 0, 0
        self.state, self.reason, self.detail, self.due_at = self.State.IN_SYNC, "confirmed", "", None

    def schedule(self, due_at: datetime) -> None:
        """Due at ``due_at`` or earlier. A retry keeps its time when the vendor asked for it."""
        if self.state != self.State.RETRYING:
            self.state, self.reason, self.detail = self.State.WAITING, "", ""
        if not self.lease and self.reason != "rate_limited":
            self.due_at = min(self.due_at, due_at) if self.due_at else due_at

    # What delivery does to it

    def steps(self, manner: Manner = Manner.EVERY_STATUS, *, repeat: bool = True) -> list[Step]:
        """What is left to tell the vendor, in order; one send uses the first that can be sent.

        Newer content goes out last, under the last accepted status; to a vendor that is told only the newest state,
        or is told once, under the status of the moment. ``repeat`` counts a pending repeat as work.
        """
        is_ahead = self.generation > self.answered_generation or self.is_forced or (repeat and self.repeats > 0)
        if manner is not Manner.EVERY_STATUS:
            is_over = manner is Manner.ONCE and self.delivered_at
            return [Step(shop_status="", index=None)] if is_ahead and not is_over else []
        left = [Step(shop_status=self.queue[index], index=index) for index in range(self.tried, len(self.queue))]
        if self.sent_status and is_ahead:
            left.append(Step(shop_status=self.sent_status, index=None))
        return left

    @property
    def is_repeat(self) -> bool:
        """Whether content goes out again although the vendor has accepted the very same."""
        return self.is_forced or self.repeats > 0

    def settle(
        self,
        verdicts: Sequence[Verdict],
        *,
        generation: int,
        now: datetime,
        vendor_is_down: bool,
        manner: Manner = Manner.EVERY_STATUS,
        upserts: bool = True,
    ) -> None:
        """Record what came of the steps tried at ``generation``, and give the lease back; not saved yet."""
        self.lease = ""
        was_erased = self.is_erased
        is_newest = self.generation == generation
        last = verdicts[-1].outcome
        if last.ambiguous and upserts:
            self.repeats = len(REPEAT_DELAYS)
        elif last.ambiguous:
            self.doubts += 1
        if last.kind is Kind.RETRY:
            self._retry(last, now, vendor_is_down=vendor_is_down)
        elif last.kind is Kind.HELD or last.scope is Scope.CREDENTIAL:
            self.due_at = now + timedelta(seconds=last.retry_after or 0)
            if last.reason:
                self.state, self.reason = self.State.WAITING, last.reason
        else:
            for verdict in verdicts:
                self._record(verdict, generation, now)
            if not is_newest:
                self.tried, self.refused_status = 0, ""
            is_refused = bool(self.refused_status) or last.kind is Kind.REFUSED
            self._conclude(now, manner, is_refused=is_refused, is_for_now=last.is_for_now)
        if was_erased:
            self.erase()
        elif self.is_withheld:
            self.withhold()
        elif self.is_held:
            self.hold()
        elif self.state not in self.PENDING:
            self._leave_job()

    def doubt(self, now: datetime, *, repeats: int) -> None:
        """A worker that lost its lease may have sent something old: send the newest again; not saved yet."""
        if self.is_erased:
            return
        self.generation += 1
        self.repeats = repeats
        self._leave_job()
        if not self.is_held:
            self.schedule(now)

    def _record(self, verdict: Verdict, generation: int, now: datetime) -> None:
        outcome, step = verdict.outcome, verdict.step
        if outcome.kind is Kind.DELIVERED:
            self._accept(verdict, generation, now)
        else:
            self.reason, self.detail = outcome.reason, outcome.detail
            if step.index is not None:
                self.tried = step.index + 1
            if outcome.kind is Kind.REFUSED:
                self.refused_status, self.attempts = step.shop_status, 0
            if verdict.is_final and outcome.kind is Kind.NOT_SENT:
                self.refused_status = ""
        if step.index is None or outcome.kind is Kind.DELIVERED or verdict.is_final:
            self.answered_generation = generation
            if generation == self.generation:
                self.is_forced = False
            if outcome.kind is not Kind.DELIVERED:
                self.repeats = 0

    def _accept(self, verdict: Verdict, generation: int, now: datetime) -> None:
        step = verdict.step
        is_mere_repeat = step.index is None and generation == self.answered_generation and not self.is_forced
        if is_mere_repeat:
            self.repeats = max(self.repeats - 1, 0)
        if step.index is not None:
            self.queue, self.tried, self.refused_status = self.queue[step.index + 1 :], 0, ""
        self.before = None
        if verdict.was_sent:
            self.sent_status, self.delivered_at = step.shop_status, now
            self.accepted_status, self.accepted_is_sale = verdict.declared, verdict.is_sale
            self.fingerprint = verdict.fingerprint
        if not self.queue:
            self.refused_status = ""
        if not self.refused_status:
            self.reason, self.detail = "", ""
        self.attempts = self.doubts = 0

    def _conclude(self, now: datetime, manner: Manner, *, is_refused: bool, is_for_now: bool) -> None:
        """The state that follows from what is left."""
        if self.steps(manner, repeat=False):
            self.state, self.due_at = self.State.WAITING, now
            return
        if not is_refused and not is_for_now:
            # Whatever was passed over on purpose is dealt with.
            self.queue, self.tried = [], 0
        if is_refused:
            self.state = self.State.REFUSED
        elif self.delivered_at:
            self.state = self.State.IN_SYNC
        else:
            self.state = self.State.NOT_SENT
        self.due_at = now + REPEAT_DELAYS[-self.repeats] if self.repeats and self.delivered_at else None

    def _retry(self, outcome: Outcome, now: datetime, *, vendor_is_down: bool) -> None:
        """Later. While the vendor is down its breaker decides when, and the order gets back the attempts it spent."""
        self.state, self.reason, self.detail = self.State.RETRYING, outcome.reason, outcome.detail
        delay = timedelta(0)
        if vendor_is_down:
            self.attempts = 0
        else:
            self.attempts += 1
            delay = RETRY_DELAYS[min(self.attempts, len(RETRY_DELAYS)) - 1]
            if self.attempts > 3:
                delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing
        if outcome.retry_after is not None:
            delay = timedelta(seconds=outcome.retry_after)
        self.due_at = now + delay


class Attempt(models.Model):
    """One HTTP exchange, redacted."""

    sync_state = models.ForeignKey(SyncState, models.CASCADE, related_name="attempts_made", db_constraint=False)
    started_at = models.DateTimeField(_("when"))
    duration_ms = models.PositiveIntegerField(_("milliseconds"))
    generation = models.PositiveIntegerField()
    shop_status = models.CharField(_("shop status"), max_length=200)
    status = models.CharField(_("status sent"), max_length=200)
    request = models.TextField(_("request"))
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    answer = models.TextField(_("answer"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=10)
    reason = models.CharField(_("reason"), max_length=50)
    detail = models.TextField(blank=True)
    worker = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.status}: {self.outcome}"

    @property
    def shown_reason(self) -> Reason:
        return REASONS.get(self.reason, REASONS["refused"])

    #: What is emptied where the order is erased.
    BODIES = ("request", "answer", "detail")

    def erase(self) -> None:
        """Forget what was said; not saved yet."""
        for name in self.BODIES:
            setattr(self, name, "")
