"""The filters of a list that somebody gave a name."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from optico_sync.models.fields import ExactCharField
from optico_sync.models.subjects import Subject


class SavedFilter(models.Model):
    """One name above a list, and what a click on it asks for."""

    kind = models.CharField(max_length=20, choices=Subject.Kind)
    #: Primary key of whom it belongs to, as text; empty for everybody.
    user_key = ExactCharField(max_length=255, blank=True)
    name = ExactCharField(_("name"), max_length=60)
    #: As in the list's address, without the question mark.
    query = models.CharField(max_length=500)

    class Meta:
        verbose_name = _("saved filter")
        verbose_name_plural = _("saved filters")
        constraints = [models.UniqueConstraint(fields=["kind", "user_key", "name"], name="optico_sync_filter_once")]

    def __str__(self) -> str:
        return self.name
