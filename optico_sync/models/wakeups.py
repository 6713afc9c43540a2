"""Wake-ups that are out, so that at most one waits for each lane, whatever the engine."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

#: The relay's lane; every other lane is the primary key of a credential.
RELAY = 0


class WakeupQuerySet(models.QuerySet["Wakeup"]):
    """Each transition is one conditional UPDATE, so that of two who try one loses quietly."""

    def take(self, lane: int, *, now: datetime, lost_after: timedelta) -> str:
        """The token for a new wake-up of ``lane``. Empty while one is out, which another then follows.

        One that was heard of longer than ``lost_after`` ago is taken for lost: its broker or its worker died.
        """
        self.get_or_create(lane=lane)
        token = uuid.uuid4().hex
        free = self.filter(Q(token="") | Q(moved_at__lt=now - lost_after), lane=lane)
        while not free.update(token=token, moved_at=now, is_followed=False):
            if self.filter(lane=lane).exclude(token="").update(is_followed=True):
                return ""
        return token

    def begin(self, lane: int, token: str, *, now: datetime) -> bool:
        """Whether the wake-up still counts. What asks for another from here on is told to follow it."""
        return bool(self.filter(lane=lane, token=token).update(moved_at=now, is_followed=False))

    def end(self, lane: int, token: str) -> bool:
        """Let the next one go out. True when somebody asked for it meanwhile."""
        mine = self.filter(lane=lane, token=token)
        return not mine.filter(is_followed=False).update(token="") and bool(mine.update(token=""))


class Wakeup(models.Model):
    """A lane, and the token of the wake-up that waits or is at work for it; empty when there is none."""

    lane = models.PositiveBigIntegerField(unique=True)
    token = models.CharField(max_length=32, blank=True)
    moved_at = models.DateTimeField(null=True)
    is_followed = models.BooleanField(default=False)

    objects = WakeupQuerySet.as_manager()

    def __str__(self) -> str:
        return f"lane {self.lane}"
