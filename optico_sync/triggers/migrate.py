"""Migrations: triggers that were there before are there afterwards, and stand in nobody's way meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.apps import AppConfig
from django.db import DatabaseError, connections
from django.db.models import signals

from optico_sync import triggers
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent
from optico_sync.shops import event_databases

logger = logging.getLogger(__name__)

#: Databases whose triggers are to be put back.
_pending: set[str] = set()


def connect(app: AppConfig) -> None:
    """Follow every ``migrate``. Asks no database by itself."""
    signals.pre_migrate.connect(_before, sender=app, dispatch_uid=__name__)
    signals.post_migrate.connect(_after, sender=app, dispatch_uid=__name__)


def _before(*, using: str, plan: Sequence[object] = (), **kwargs: object) -> None:
    if not plan or using not in event_databases() or not triggers.installed(using):
        return
    _pending.add(using)
    if connections[using].vendor == "sqlite":
        # It swallows no error: a trigger that names a table which is just being made anew would fail the shop.
        triggers.remove(using)


def _after(*, using: str, **kwargs: object) -> None:
    if using not in _pending:
        return
    _pending.discard(using)
    connection = connections[using]
    try:
        if OutboxEvent._meta.db_table in connection.introspection.table_names():
            triggers.install(using)
        else:
            triggers.remove(using)
    except (ConfigurationError, DatabaseError) as error:
        logger.error(
            "The triggers could not be put back (%s). Until optico_triggers --install only the sweep finds changes.",
            type(error).__name__,
        )
