"""What a wake-up starts, in whatever process the engine runs it: one batch of one lane, then perhaps the next wake-up.

A lane has one task at most, waiting or at work. So a vendor that is slow keeps one process busy and no more, and two
batches of one credential take turns with everybody else's.
"""

from __future__ import annotations

import logging
import os
import socket

from django.db import close_old_connections, router
from django.db.models import Exists, F, OuterRef

from optico_sync import conf, wakeups
from optico_sync.delivery import Lane
from optico_sync.models import Installation, SyncState, VendorCredential, Wakeup, Worker
from optico_sync.models.clock import database_now
from optico_sync.models.wakeups import RELAY
from optico_sync.relay import BATCH, relay, seed_mappings

logger = logging.getLogger(__name__)

#: Lanes that no task of this process is using, with their threads and kept-alive connections.
_idle: dict[int, Lane] = {}


def run(lane: int, token: str = "") -> None:
    """Do the work of one wake-up. Raises nothing: an engine may store what is raised, and errors can quote a row."""
    try:
        _run(lane, token)
    except Exception as error:
        logger.error("The task of lane %s failed (%s); the round starts it again.", lane, type(error).__name__)
        close_old_connections()


def _run(lane: int, token: str) -> None:
    wakeup = Wakeup.objects.using(router.db_for_write(Wakeup))
    if not wakeup.begin(lane, token, now=database_now(wakeup.db)):
        return
    count = 0
    try:
        _beat(0)
        count = _relay() if lane == RELAY else _deliver(lane)
    finally:
        is_followed = wakeup.end(lane, token)
    if is_followed or (count >= BATCH if lane == RELAY else count):
        wakeups.wake(lane)


def _relay() -> int:
    """One batch of captured changes, then a wake-up for every credential that has something due and may send it."""
    Installation.start()
    _seed_new_credentials()
    count = relay()
    using = router.db_for_write(VendorCredential)
    now = database_now(using)
    due = SyncState.objects.due(now).filter(credential=OuterRef("pk")).order_by()
    able = VendorCredential.objects.using(using).filter(is_enabled=True, paused_at=None).exclude(open_until__gt=now)
    for credential_id in list(able.filter(Exists(due)).values_list("pk", flat=True)):
        wakeups.wake(credential_id)
    return count


def _seed_new_credentials() -> None:
    known = Wakeup.objects.values_list("lane", flat=True)
    for credential in VendorCredential.objects.defer("sealed_secrets").exclude(pk__in=list(known)):
        seed_mappings(credential)
        Wakeup.objects.get_or_create(lane=credential.pk)


def _deliver(credential_id: int) -> int:
    """One batch of a credential."""
    lane = _idle.pop(credential_id, None) or Lane(credential_id, worker=f"{socket.gethostname()}:{os.getpid()}"[:100])
    try:
        count = lane.deliver()
    finally:
        if _idle.setdefault(credential_id, lane) is not lane:
            lane.close()
    if count:
        _beat(count)
    return count


def _beat(delivered: int) -> None:
    """One row for all task processes of a machine: which of them a task falls to is chance, and says nothing."""
    engine = conf.options().ENGINE
    workers = Worker.objects.using(router.db_for_write(Worker))
    now = database_now(workers.db)
    name = f"{engine.rpartition('.')[2]}@{socket.gethostname()}"[:100]
    heard = workers.filter(name=name)
    if not heard.update(beat_at=now, engine=engine, stopped_at=None, delivered=F("delivered") + delivered):
        workers.bulk_create(
            [Worker(name=name, engine=engine, started_at=now, beat_at=now, delivered=delivered)], ignore_conflicts=True
        )
