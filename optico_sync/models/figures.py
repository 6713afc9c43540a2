"""Figures kept for the overview, so that its charts read a few rows however many orders there are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from optico_sync.models.credentials import VendorCredential
from optico_sync.models.sync import Attempt, SyncState
from optico_sync.outcome import Kind

#: Upper ends, in milliseconds, of the classes that answer times are counted in; the last class is open.
DURATION_CLASSES = (10, 20, 50, 100, 200, 350, 500, 750, 1000, 1500, 2500, 5000)


class Hour(models.Model):
    """What one credential's sends came to in one hour, counted as they are settled."""

    credential = models.ForeignKey(VendorCredential, models.CASCADE, related_name="hours", db_constraint=False)
    began_at = models.DateTimeField()
    delivered = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    #: How many answers fell into each of ``DURATION_CLASSES``, and one more.
    durations = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["credential", "began_at"], name="optico_sync_hour_once")]

    def __str__(self) -> str:
        return f"{self.credential_id} {self.began_at:%Y-%m-%d %H}"

    @classmethod
    def count(cls, credential: VendorCredential, attempts: Iterable[Attempt], *, now: datetime, using: str) -> None:
        """Add ``attempts`` to the hour of ``now``. The caller holds the credential's lock."""
        began_at = now.replace(minute=0, second=0, microsecond=0)
        hour, _made = cls.objects.using(using).get_or_create(credential=credential, began_at=began_at)
        for attempt in attempts:
            hour.add(attempt)
        hour.save(using=using)

    def add(self, attempt: Attempt) -> None:
        """Count one attempt; not saved yet."""
        if attempt.outcome == Kind.DELIVERED:
            self.delivered += 1
        elif attempt.outcome == Kind.REFUSED:
            self.refused += 1
        else:
            self.failed += 1
        if attempt.http_status is not None:
            self.durations = self.durations or [0] * (len(DURATION_CLASSES) + 1)
            self.durations[_class_of(attempt.duration_ms)] += 1


class Reading(models.Model):
    """How many orders stood where with one credential at a moment: six numbers that add up to all orders."""

    credential = models.ForeignKey(VendorCredential, models.CASCADE, related_name="readings", db_constraint=False)
    at = models.DateTimeField()
    waiting = models.PositiveBigIntegerField()
    retrying = models.PositiveBigIntegerField()
    in_sync = models.PositiveBigIntegerField()
    refused = models.PositiveBigIntegerField()
    not_sent = models.PositiveBigIntegerField()
    held = models.PositiveBigIntegerField()

    class Meta:
        verbose_name = _("reading")
        verbose_name_plural = _("readings")
        indexes = [models.Index(fields=["credential", "at"], name="optico_sync_reading_at")]

    def __str__(self) -> str:
        return f"{self.credential_id} {self.at:%Y-%m-%d %H:%M}"

    @classmethod
    def of(cls, credential: VendorCredential, totals: dict[str, int], at: datetime) -> Self:
        return cls(credential=credential, at=at, **totals)

    @property
    def totals(self) -> dict[str, int]:
        return {state: getattr(self, state) for state in SyncState.State.values}

    @property
    def behind(self) -> int:
        """Orders that are still to be told."""
        return self.waiting + self.retrying + self.held


class CreditedDay(models.Model):
    """How many orders were first seen on one day of the shop, and how many of them have a visit or a call."""

    day = models.DateField(unique=True)
    orders = models.PositiveIntegerField()
    attributed = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.day}: {self.attributed} of {self.orders}"


def _class_of(milliseconds: int) -> int:
    return next((index for index, end in enumerate(DURATION_CLASSES) if milliseconds <= end), len(DURATION_CLASSES))
