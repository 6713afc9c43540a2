"""Capture: every save of an order or cart, or of what belongs to it, becomes one row in the shop's own transaction.

It runs inside the shop's checkout. So it makes exactly one round trip, asks the database nothing, and lets nothing
out: a failure is counted, logged, and told to the relay by the next event that succeeds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import signals, sql
from django.utils import timezone

from optico_sync import attribution, conf, wakeups
from optico_sync.attribution import NOTHING, Attribution
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent, Subject
from optico_sync.shops import get_shop
from optico_sync.shops.base import Reader, Relation

logger = logging.getLogger(__name__)

_UID = "optico_sync.capture"
_SAVEPOINT = "optico_sync_capture"

_connected: list[tuple[signals.ModelSignal, type[models.Model], str]] = []
_missed = 0
_missed_lock = threading.Lock()


def connect() -> None:
    """Watch the shop's models. Wrong settings connect nothing and raise nothing: the system checks name them."""
    disconnect()
    try:
        shop = get_shop()
    except ConfigurationError as error:
        if conf.options().ORDER or conf.options().SHOP != "mapping":
            logger.error("No order is captured: %s", error)
        return
    for kind, reader in shop.readers.items():
        _watch(reader.model, _subject_receiver(kind, reader, OutboxEvent.Change.SAVED), signals.post_save, kind)
        _watch(reader.model, _subject_receiver(kind, reader, OutboxEvent.Change.DELETED), signals.post_delete, kind)
        for relation in reader.relations:
            receiver = _related_receiver(kind, relation)
            _watch(relation.model, receiver, signals.post_save, f"{kind}.{relation.path}")
            _watch(relation.model, receiver, signals.post_delete, f"{kind}.{relation.path}")


def disconnect() -> None:
    """Watch nothing."""
    while _connected:
        signal, model, uid = _connected.pop()
        signal.disconnect(sender=model, dispatch_uid=uid)


def set_attribution(
    order: models.Model | str, *, visit_id: str = "", call_id: str = "", agent: str = "", using: str | None = None
) -> bool:
    """Say whose visit or call ``order`` is: for an agent's software, a headless checkout, whoever knows it.

    ``order`` is the order or its primary key. Like a save of it this is one INSERT in the transaction of the moment,
    and the worker then sends the order again. The first value known for each of the three wins, so one that an
    earlier save brought stays; empty text means "not known", and nothing but empty text records nothing.

    True when it is recorded. A failure of the database or of the settings is counted and logged as for any capture,
    and not raised. Raises ``InvalidAttribution`` (a ``ValueError``) for what cannot be a visit, call or agent, and
    ``ValueError`` for an order that is not saved yet.
    """
    seen = attribution.stated(visit_id=visit_id, call_id=call_id, agent=agent)
    key = order.pk if isinstance(order, models.Model) else order
    if key is None:
        raise ValueError("The order has no primary key yet: save it first.")
    if seen == NOTHING or not conf.options().ENABLED:
        return False
    try:
        model = type(order) if isinstance(order, models.Model) else get_shop().model
        _insert(
            using or router.db_for_write(model),
            kind=Subject.Kind.ORDER.value,
            key=_key(model._meta.pk, key),
            change=OutboxEvent.Change.ATTRIBUTED,
            seen=seen,
        )
    except Exception as error:
        _count_missed(error)
        return False
    return True


def missed() -> int:
    """Captures that failed in this process and are not recorded yet."""
    return _missed


def _watch(model: type[models.Model], receiver: Callable[..., None], signal: signals.ModelSignal, name: str) -> None:
    """Connect to ``model``, its proxies and its children: a signal names the class that was saved, not its parent."""
    for sender in apps.get_models():
        if issubclass(sender, model):
            uid = f"{_UID}.{name}"
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=uid)
            _connected.append((signal, sender, uid))


def _subject_receiver(kind: str, reader: Reader, change: str) -> Callable[..., None]:
    def subject_changed(
        sender: Any = None, instance: Any = None, raw: bool = False, using: str | None = None, **kwargs: Any
    ) -> None:
        if raw or instance is None:
            return
        try:
            if not conf.options().ENABLED:
                return
            alias, key = using or router.db_for_write(sender), _key(instance._meta.pk, instance.pk)
            if conf.options().CAPTURE == "triggers":
                _add_attribution(alias, kind, key)
                return
            facts = reader.facts(instance)
            _insert(
                alias,
                kind=kind,
                key=key,
                change=change,
                reference=facts.reference,
                status=facts.status,
                seen=facts.attribution.or_else(attribution.current()),
            )
        except Exception as error:
            _count_missed(error)

    return subject_changed


def _related_receiver(kind: str, relation: Relation) -> Callable[..., None]:
    path = "" if relation.owner_field else relation.path
    field = relation.model._meta.get_field(relation.owner_field or relation.model._meta.pk.attname)

    def related_changed(
        sender: Any = None, instance: Any = None, raw: bool = False, using: str | None = None, **kwargs: Any
    ) -> None:
        if raw or instance is None:
            return
        try:
            if not conf.options().ENABLED:
                return
            key = getattr(instance, relation.owner_field) if relation.owner_field else instance.pk
            if key is None:
                return
            alias, key = using or router.db_for_write(sender), _key(field, key)
            if conf.options().CAPTURE == "triggers":
                _add_attribution(alias, kind, key, path)
            else:
                _insert(
                    alias,
                    kind=kind,
                    key=key,
                    relation=path,
                    change=OutboxEvent.Change.RELATED,
                    seen=attribution.current(),
                )
        except Exception as error:
            _count_missed(error)

    return related_changed


@dataclass(frozen=True)
class _Told:
    """Whose an order or cart is was written in this transaction; a hook, because Django drops it with its savepoint."""

    kind: str
    key: str
    relation: str
    seen: Attribution

    def __call__(self) -> None:
        pass


def _add_attribution(using: str, kind: str, key: str, relation: str = "") -> None:
    """Where triggers write the changes: add whose it is, once a transaction, and nothing where nobody knows."""
    told = _Told(kind, key, relation, attribution.current())
    if told.seen == NOTHING or any(hook[1] == told for hook in connections[using].run_on_commit):
        return
    _insert(using, kind=kind, key=key, relation=relation, change=OutboxEvent.Change.RELATED, seen=told.seen)
    transaction.on_commit(told, using=using)


def _key(field: Any, value: Any) -> str:
    """A key as the database will give it back: in memory it may still be a text or another spelling of a UUID."""
    return str(field.to_python(value))


def _insert(
    using: str,
    *,
    kind: str,
    key: str,
    change: str,
    relation: str = "",
    reference: str = "",
    status: str = "",
    seen: Attribution = NOTHING,
) -> None:
    """One INSERT. Raises what the database raises, with the shop's transaction as it was before."""
    connection = connections[using]
    if connection.needs_rollback:
        # The shop's transaction is lost already: there will be nothing to tell.
        return
    earlier_losses = _missed
    values = {
        "kind": kind,
        "key": key,
        "relation": relation,
        "change": str(change),
        "reference": reference,
        "status": status,
        "visit_id": seen.visit_id,
        "call_id": seen.call_id,
        "agent": seen.agent,
        "cart_key": seen.cart_key,
        "source": seen.source,
        "missed": earlier_losses,
        "created_at": connection.ops.adapt_datetimefield_value(timezone.now()),
        "relayed_at": None,
    }
    statement, columns = _statement(using, connection.vendor)
    parameters = [
        value[:limit] if limit and isinstance(value := values[name], str) else values[name] for name, limit in columns
    ]
    _execute(connection, statement, parameters)
    if wakeups.is_wanted():
        transaction.on_commit(wakeups.ring, using=using, robust=True)
    if earlier_losses:
        transaction.on_commit(lambda: _settle_missed(earlier_losses), using=using, robust=True)


@lru_cache
def _statement(using: str, vendor: str) -> tuple[str, tuple[tuple[str, int | None], ...]]:
    """The INSERT, compiled once by Django for this database, and its columns with their lengths."""
    fields = [field for field in OutboxEvent._meta.concrete_fields if not field.primary_key]
    query = sql.InsertQuery(OutboxEvent)
    query.insert_values(fields, [OutboxEvent(created_at=timezone.now())])
    ((statement, _parameters),) = query.get_compiler(using=using).as_sql()
    return statement, tuple((field.name, field.max_length) for field in fields)


def _execute(connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> None:
    """Run the INSERT so that its failure leaves the shop's transaction usable.

    ``Model.save`` would mark the connection for rollback; a plain cursor does not. Only PostgreSQL spoils the
    transaction by itself, so there a savepoint goes along, in the same round trip.
    """
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql" or connection.get_autocommit():
            cursor.execute(statement, parameters)
            return
        before, after = f"SAVEPOINT {_SAVEPOINT}", f"RELEASE SAVEPOINT {_SAVEPOINT}"
        try:
            if connection.settings_dict.get("OPTIONS", {}).get("server_side_binding"):
                # The server then takes one statement at a time.
                cursor.execute(before)
                cursor.execute(statement, parameters)
                cursor.execute(after)
            else:
                cursor.execute(f"{before}; {statement}; {after}", parameters)
        except Exception:
            cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            cursor.execute(after)
            raise


def _count_missed(error: Exception) -> None:
    global _missed  # noqa: PLW0603 - a count for the whole process
    with _missed_lock:
        _missed += 1
    # The error's own text may quote the row, so only its type is told.
    logger.error("A change in the shop could not be captured (%s). The shop was not disturbed.", type(error).__name__)


def _settle_missed(recorded: int) -> None:
    global _missed  # noqa: PLW0603
    with _missed_lock:
        _missed = max(_missed - recorded, 0)
