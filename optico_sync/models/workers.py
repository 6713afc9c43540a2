"""Who delivers."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _


class Worker(models.Model):
    """A delivery worker's heartbeat."""

    name = models.CharField(_("worker"), max_length=100, unique=True)
    engine = models.CharField(_("engine"), max_length=100, default="embedded")
    started_at = models.DateTimeField(_("started"))
    beat_at = models.DateTimeField(_("last heartbeat"))
    stopped_at = models.DateTimeField(_("stopped"), null=True)
    delivered = models.PositiveBigIntegerField(_("delivered"), default=0)

    #: Silent for longer than this, a worker counts as gone. One that only runs tasks is heard at every round.
    SILENCE = timedelta(seconds=30)
    SILENCE_OF_TASKS = timedelta(minutes=3)
    #: How long a worker that is gone stays in the list.
    KEPT = timedelta(days=2)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name

    @property
    def silence(self) -> timedelta:
        return self.SILENCE if self.engine == "embedded" else self.SILENCE_OF_TASKS
