"""Long work on many orders: what was asked, how far it came, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from optico_sync.models.credentials import VendorCredential


class JobQuerySet(models.QuerySet["Job"]):
    """The questions asked of the jobs."""

    def running(self) -> Self:
        """Those whose orders may be sent."""
        return self.filter(state=Job.State.RUNNING)

    def left(self) -> Self:
        """Those that still have something to do, if only to take back what a cancelled one has queued."""
        return self.filter(finished_at=None).exclude(state=Job.State.PAUSED)

    def with_credentials(self) -> Self:
        """Their secrets may be unreadable, and are nobody's business here."""
        return self.select_related("credential").defer("credential__sealed_secrets")


class Job(models.Model):
    """One verb for all the orders of a saved query, worked through in chunks by whoever holds the lease.

    A job that sends is about one credential. What it queues waits behind everything that is live, and a little of it
    at a time, so that pausing and cancelling take hold at once.
    """

    class Verb(models.TextChoices):
        SEND = "send", _("send")
        #: Only what the vendor does not have yet.
        BACKFILL = "backfill", _("backfill")
        HOLD = "hold", _("hold")
        RELEASE = "release", _("release")
        WITHHOLD = "withhold", _("do not send")
        SEND_AFTER_ALL = "send_after_all", _("send after all")
        #: Somebody looked: what was sent without a clear answer is at the vendor.
        CONFIRM = "confirm", _("it is there")

    class State(models.TextChoices):
        #: Nobody has begun yet.
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        #: Until somebody resumes it; nothing of it is sent meanwhile.
        PAUSED = "paused", _("paused")
        #: For good: what was not sent by then goes back to what it was.
        CANCELLED = "cancelled", _("cancelled")
        #: Every order was looked at, and nothing of it waits.
        FINISHED = "finished", _("finished")

    verb = models.CharField(_("verb"), max_length=20, choices=Verb)
    #: The saved query: what ``Selection`` makes of itself.
    selection = models.JSONField()
    credential = models.ForeignKey(
        VendorCredential, models.CASCADE, null=True, related_name="jobs", verbose_name=_("vendor credential")
    )
    #: Whether it also sends orders placed before its credential's start date.
    reaches_back = models.BooleanField(_("also before the start date"), default=False)
    #: The user's name: users may live in another database.
    asked_by = models.CharField(_("asked by"), max_length=150, blank=True)
    asked_at = models.DateTimeField(_("asked"))
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    #: Orders to look at; None until the job has counted them, where they were too many to count when it was asked for.
    total = models.PositiveBigIntegerField(_("orders"), null=True)
    #: Key of the last order looked at: where to go on after a kill.
    cursor = models.CharField(max_length=255, blank=True)
    is_at_end = models.BooleanField(default=False)
    looked_at = models.PositiveBigIntegerField(_("looked at"), default=0)
    #: Orders that the vendor has now; or those that were held, or released.
    done = models.PositiveBigIntegerField(_("done"), default=0)
    #: The others, by reason code.
    left_out = models.JSONField(default=dict)
    refused = models.JSONField(default=dict)
    lease = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField()

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        indexes = [
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=True), name="optico_sync_job_left"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.pk}"

    @property
    def sends(self) -> bool:
        """Whether it is about requests to a vendor, and not only about rows here."""
        return self.verb in (self.Verb.SEND, self.Verb.BACKFILL)

    @property
    def is_over(self) -> bool:
        """Whether nobody will touch it any more."""
        return self.finished_at is not None

    def count(self, *, done: int = 0, left_out: Mapping[str, int], refused: Mapping[str, int]) -> None:
        """Add what became of some of its orders; the row is locked, and not saved yet."""
        self.done += done
        self.left_out = Counter(self.left_out) + Counter(left_out)
        self.refused = Counter(self.refused) + Counter(refused)

    # What an operator does to it. Each names the states it leaves, so that who comes second loses quietly.

    def pause(self) -> bool:
        """Send nothing more of it until it is resumed. False when it is over or cancelled."""
        return self._move(self.State.PAUSED, self.State.WAITING, self.State.RUNNING)

    def resume(self) -> bool:
        """Go on where it was paused."""
        return self._move(self.State.RUNNING if self.started_at else self.State.WAITING, self.State.PAUSED)

    def cancel(self) -> bool:
        """Send nothing more of it, for good."""
        return self._move(self.State.CANCELLED, self.State.WAITING, self.State.RUNNING, self.State.PAUSED)

    def _move(self, to: State, *out_of: State) -> bool:
        moved = type(self).objects.using(self._state.db).filter(pk=self.pk, state__in=out_of).update(state=to)
        self.refresh_from_db(fields=["state"])
        return bool(moved)


def count_settled(settled: Mapping[int, Counter[tuple[str, str]]], *, using: str) -> None:
    """Count orders that came to stand somewhere, by job: ``done``, ``left_out`` or ``refused``, and why."""
    for job in Job.objects.using(using).select_for_update().filter(pk__in=settled).order_by("pk"):
        of = {kind: Counter[str]() for kind in ("done", "left_out", "refused")}
        for (kind, reason), count in settled[job.pk].items():
            of[kind][reason] += count
        job.count(done=of["done"].total(), left_out=of["left_out"], refused=of["refused"])
        job.save(update_fields=["done", "left_out", "refused"])
