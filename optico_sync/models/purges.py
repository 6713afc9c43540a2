"""What purging remembers from one time to the next."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q


class Purge(models.Model):
    """The single row."""

    began_at = models.DateTimeField(null=True)
    #: Primary key of the newest attempt that was looked at. Older ones that are still there explain where an order
    #: stands, and would be read again every time.
    attempt = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return "purge"

    def take_turn(self, now: datetime, rest: timedelta) -> bool:
        """Whether nobody began for ``rest``; then it is this one's turn."""
        rested = Q(began_at__isnull=True) | Q(began_at__lte=now - rest)
        return bool(Purge.objects.using(self._state.db).filter(rested, pk=self.pk).update(began_at=now))
