"""Capture: every save of an order or cart, or of what belongs to it, is told by a row in the shop's own transaction.

It runs inside the shop's checkout. So it makes one round trip, and none for what the transaction has told already; it
asks the database nothing, and lets nothing out: a failure is counted, logged, and told to the relay by the next event
that succeeds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import signals
from django.utils import timezone

from optico_sync import attribution, conf, wakeups
from optico_sync.attribution import NOTHING, Attribution
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import OutboxEvent, Subject
from optico_sync.models.clock import NOW
from optico_sync.shops import get_shop
from optico_sync.shops.base import Reader, Relation
from optico_sync.told import RELATED, Told, ledger

logger = logging.getLogger(__name__)

_UID = "optico_sync.capture"
_SAVEPOINT = "optico_sync_capture"
_LENGTHS = {field.name: field.max_length for field in OutboxEvent._meta.concrete_fields}
#: The columns of text that differ from event to event, and their lengths.
_TEXTS = [
    (name, _LENGTHS[name])
    for name in ("key", "relation", "reference", "status", "visit_id", "call_id", "agent", "cart_key", "source")
]

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
        _watch(reader.model, _subject_receiver(kind, reader, OutboxEvent.Change.SAVED.value), signals.post_save, kind)
        _watch(
            reader.model, _subject_receiver(kind, reader, OutboxEvent.Change.DELETED.value), signals.post_delete, kind
        )
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
        event = Told(
            Subject.Kind.ORDER.value, _key(model._meta.pk, key), OutboxEvent.Change.ATTRIBUTED.value, seen=seen
        )
        _insert(using or router.db_for_write(model), event)
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


def _receiver(event_of: Callable[[Any, Attribution, bool], Told | None]) -> Callable[..., None]:
    def changed(
        sender: Any = None, instance: Any = None, raw: bool = False, using: str | None = None, **kwargs: Any
    ) -> None:
        if raw or instance is None:
            return
        try:
            options, seen = conf.options(), attribution.current()
            by_triggers = options.CAPTURE == "triggers"
            if not options.ENABLED or (by_triggers and seen is NOTHING):
                # Triggers write what changed; all that they cannot know is whose it is.
                return
            if event := event_of(instance, seen, by_triggers):
                _insert(using or router.db_for_write(sender), event)
        except Exception as error:
            _count_missed(error)

    return changed


def _subject_receiver(kind: str, reader: Reader, change: str) -> Callable[..., None]:
    def event_of(instance: models.Model, seen: Attribution, by_triggers: bool) -> Told:
        key = _key(instance._meta.pk, instance.pk)
        if by_triggers:
            return Told(kind, key, RELATED, seen=seen)
        facts = reader.facts(instance)
        return Told(kind, key, change, "", facts.reference, facts.status, facts.attribution.or_else(seen))

    return _receiver(event_of)


def _related_receiver(kind: str, relation: Relation) -> Callable[..., None]:
    path = "" if relation.owner_field else relation.path
    column = relation.owner_field or relation.model._meta.pk.attname
    field: Any = relation.model._meta.get_field(column)
    while field.remote_field:
        field = field.target_field

    def event_of(instance: models.Model, seen: Attribution, by_triggers: bool) -> Told | None:
        key = getattr(instance, column)
        return None if key is None else Told(kind, _key(field, key), RELATED, path, seen=seen)

    return _receiver(event_of)


def _key(field: Any, value: Any) -> str:
    """A key as the database will give it back: in memory it may still be a text or another spelling of a UUID."""
    return str(field.to_python(value))


def _insert(using: str, event: Told) -> None:
    """One INSERT, or none where it adds nothing to what this transaction has told.

    Raises what the database raises, with the shop's transaction as it was before.
    """
    connection = connections[using]
    if connection.needs_rollback:
        # The shop's transaction is lost already: there will be nothing to tell.
        return
    told = ledger(connection)
    if told and told.has(event):
        return
    earlier_losses = _missed
    seen = event.seen
    texts = (
        event.key,
        event.relation,
        event.reference,
        event.status,
        seen.visit_id,
        seen.call_id,
        seen.agent,
        seen.cart_key,
        seen.source,
    )
    given: dict[str, Any] = {name: text[:length] for (name, length), text in zip(_TEXTS, texts, strict=True) if text}
    if connection.timezone_name != "UTC":
        # What the database's own clock says is not what Django would read there.
        given["created_at"] = connection.ops.adapt_datetimefield_value(timezone.now())
    if earlier_losses:
        given["missed"] = earlier_losses
    statement = _statement(using, event.kind, event.change, tuple(given))
    _execute(connection, statement, given)
    if told is None and not connection.get_autocommit():
        # Somebody else than Django commits, and has no hooks.
        return
    if (told is None or told.is_empty) and wakeups.is_wanted():
        connection.on_commit(wakeups.ring, robust=True)
    if earlier_losses:
        connection.on_commit(lambda: _settle_missed(earlier_losses), robust=True)
    if told is not None:
        told.add(event)


@lru_cache
def _statement(using: str, kind: str, change: str, given: tuple[str, ...]) -> str:
    """The INSERT of an event with the columns ``given``. All else stands in it: each parameter takes its time."""
    quote = connections[using].ops.quote_name
    now = NOW[connections[using].vendor].replace("%", "%%")
    constants = {
        "kind": f"'{kind}'", "change": f"'{change}'", "missed": "0", "created_at": now, "relayed_at": "NULL",
    }  # fmt: skip
    # By name, since Django looks for each ``%s`` in the whole of a statement for SQLite.
    values = {
        field.name: f"%({field.name})s" if field.name in given else constants.get(field.name, "''")
        for field in OutboxEvent._meta.concrete_fields
        if not field.primary_key
    }
    columns = ", ".join(quote(name) for name in values)
    return f"INSERT INTO {quote(OutboxEvent._meta.db_table)} ({columns}) VALUES ({', '.join(values.values())})"  # noqa: S608


def _execute(connection: BaseDatabaseWrapper, statement: str, parameters: dict[str, Any]) -> None:
    """Run the INSERT so that its failure leaves the shop's transaction usable.

    ``Model.save`` would mark the connection for rollback; a plain cursor does not. Only PostgreSQL spoils the
    transaction by itself, so there a savepoint goes along, in the same round trip.
    """
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql" or (not connection.in_atomic_block and connection.get_autocommit()):
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
