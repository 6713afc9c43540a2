"""Comparisons: what a vendor holds with the shop, and the shop with what was captured."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from optico_sync.models.credentials import VendorCredential


class Reconciliation(models.Model):
    """The last time that what a credential's vendor holds was read back and compared with the shop.

    ``drifts`` are the first rows of the table that the operator saw: ``order``, ``subject`` (its primary key, if any),
    ``kind``, ``field``, ``shop`` and ``vendor``, the last two null where the values are personal data.
    """

    class Drift(models.TextChoices):
        DIFFERS = "differs", _("differs")
        #: It was delivered, and is not there any more.
        MISSING = "missing", _("not at the vendor")
        #: The vendor holds a record of an order that the shop never had, or has no longer.
        UNKNOWN = "unknown", _("not in the shop")

    credential = models.OneToOneField(VendorCredential, models.CASCADE, related_name="reconciliation")
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    #: Reason code when the vendor could not be read; nothing is claimed then.
    failure = models.CharField(max_length=50, blank=True)
    failure_detail = models.TextField(blank=True)
    compared = models.PositiveIntegerField(_("compared"), default=0)
    drifted = models.PositiveIntegerField(_("drifted"), default=0)
    on_their_way = models.PositiveIntegerField(_("on their way"), default=0)
    left_out = models.PositiveIntegerField(_("left out"), default=0)
    drifts = models.JSONField(default=list)

    class Meta:
        verbose_name = _("reconciliation")
        verbose_name_plural = _("reconciliations")

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"


class Sweep(models.Model):
    """One comparison of the shop's orders with what was captured: how far it came, and what it found."""

    class Scope(models.TextChoices):
        RECENT = "recent", _("recent orders")
        ALL = "all", _("all orders")

    class Stage(models.TextChoices):
        #: Orders that were captured once: did they change since?
        KNOWN = "known"
        #: Orders in the shop: were they captured at all?
        UNKNOWN = "unknown"

    scope = models.CharField(max_length=10, choices=Scope)
    #: The scope until it is finished: unique, so that one of each runs at a time.
    running = models.CharField(max_length=10, null=True, unique=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    #: Orders from before are not looked at; NULL for all.
    since = models.DateTimeField(null=True)
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.KNOWN)
    #: Key of the last order looked at in this stage: where to go on after a kill.
    cursor = models.CharField(max_length=255, blank=True)
    checked = models.PositiveBigIntegerField(default=0)
    found = models.PositiveBigIntegerField(default=0)
    #: References of the first that were found.
    references = models.JSONField(default=list)
    lease = models.CharField(max_length=32)
    leased_until = models.DateTimeField()

    #: References that are kept, and for how long.
    EXAMPLES = 20
    KEPT = timedelta(days=7)

    def __str__(self) -> str:
        return f"{self.scope}: {self.found} of {self.checked}"
