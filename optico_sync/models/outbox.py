"""What was saved in the shop, and how far the relay came."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from optico_sync.attribution import Attribution
from optico_sync.models.fields import ExactCharField
from optico_sync.models.subjects import Subject


class OutboxEvent(models.Model):
    """The fact that something was saved in the shop. Append-only: capture inserts, the relay marks."""

    class Change(models.TextChoices):
        SAVED = "saved", _("saved")
        RELATED = "related", _("part of it saved")
        DELETED = "deleted", _("deleted")
        #: Somebody said outright whose visit or call it belongs to.
        ATTRIBUTED = "attributed", _("attribution set")
        #: Nobody told us; the sweep saw it.
        FOUND = "found", _("found by the sweep")

    kind = models.CharField(max_length=20, choices=Subject.Kind)
    #: Key of the subject, or of the related object when ``relation`` says how the relay finds the subject from it.
    key = ExactCharField(max_length=255)
    relation = models.CharField(max_length=200, blank=True)
    change = models.CharField(_("change"), max_length=10, choices=Change)
    reference = models.CharField(max_length=255, blank=True)
    #: The shop status at this save; empty for related objects, which must never append an old one.
    status = models.CharField(_("status"), max_length=200, blank=True)
    visit_id = models.CharField(max_length=64, blank=True)
    call_id = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=150, blank=True)
    cart_key = models.CharField(max_length=255, blank=True)
    #: Where the visit was seen; empty for a field of the order or cart itself.
    source = models.CharField(max_length=20, blank=True)
    #: Captures that failed in this process since its last event: how a loss becomes visible.
    missed = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    relayed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("captured change")
        verbose_name_plural = _("captured changes")
        indexes = [
            # Only what is not relayed yet, so it stays small for ever. MariaDB ignores conditions; there the leading
            # column does the same.
            models.Index(
                fields=["relayed_at", "id"], condition=Q(relayed_at__isnull=True), name="optico_sync_unrelayed"
            ),
            # For one order's time line. Costs the checkout nothing: the row enters it when it is relayed.
            models.Index(fields=["key"], condition=Q(relayed_at__isnull=False), name="optico_sync_event_key"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} {self.change}"

    @property
    def attribution(self) -> Attribution:
        return Attribution(
            visit_id=self.visit_id,
            call_id=self.call_id,
            agent=self.agent,
            cart_key=self.cart_key,
            source=self.source,
        )

    #: What is emptied where the order or cart is erased.
    PERSONAL = ("reference", "visit_id", "call_id", "agent", "cart_key", "source")


class RelayState(models.Model):
    """The single row that the relay locks, so that there is one at a time; also its record."""

    relayed_at = models.DateTimeField(null=True)
    #: When the periodic round ran last.
    round_at = models.DateTimeField(null=True)
    missed_captures = models.PositiveBigIntegerField(default=0)
    last_missed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return "relay"
