"""What an order or cart holds, as a fingerprint: equal for equal content, and nobody can be read out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from optico_sync import conf
from optico_sync.attribution import Attribution
from optico_sync.exceptions import Unreadable
from optico_sync.snapshot import Address, CartSnapshot, Customer, Line, OrderSnapshot


def content_of(snapshot: OrderSnapshot | CartSnapshot | Unreadable) -> str:
    """``<how it was read>-<what was read>``: fingerprints compare only where the first parts are equal."""
    return f"{_reading()}-{_digest(snapshot, size=12)}"


@lru_cache(maxsize=1)
def _reading() -> str:
    """Changes with the settings that say how an order is read: other settings see other orders in the same rows."""
    options = conf.options()
    known = [[field.name for field in fields(part)] for part in (OrderSnapshot, Line, Customer, Address)]
    return _digest([known, options.SHOP, options.ORDER], size=4)


def _digest(value: object, *, size: int) -> str:
    try:
        text = _encode(value)
    except (ValueError, RecursionError) as error:
        # Details of the shop's that hold themselves. No change of such an order is seen, and nothing else is held up.
        text = type(error).__name__
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def _plain(value: Any) -> object:
    """What JSON cannot spell; the same in every process, so without memory addresses."""
    kind = type(value)
    if kind is Decimal or kind is Unreadable:
        return str(value)
    if kind in _VALUES_OF:
        return _VALUES_OF[kind](value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return str(value)


_encode = json.JSONEncoder(default=_plain, skipkeys=True, check_circular=False).encode


#: What gives all of a snapshot's values.
_VALUES_OF = {
    part: attrgetter(*(field.name for field in fields(part)))
    for part in (OrderSnapshot, CartSnapshot, Line, Customer, Address, Attribution)
}


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == conf.SETTING:
        _reading.cache_clear()
