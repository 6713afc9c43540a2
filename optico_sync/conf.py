"""The app's settings: one dict, ``OPTICO_SYNC``, read when used.

What a shop *owner* decides (credentials, statuses, mappings, on and off) is in the admin instead.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

SETTING = "OPTICO_SYNC"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Options:
    """Every setting with its default. Times are in seconds, unless the name says days."""

    #: False silences everything: nothing is captured, nothing is sent.
    ENABLED: bool = True
    #: How the shop's orders are read: "mapping" (by ``ORDER`` below), "oscar" (django-oscar, nothing to name), or the
    #: dotted path of a ``ShopAdapter``.
    SHOP: str = "mapping"
    #: The shop's order model and the names of its fields. See the README.
    ORDER: Mapping[str, Any] = field(default_factory=dict)
    #: The shop's cart model and the names of its fields; empty where carts are not told to anybody. See the README.
    CART: Mapping[str, Any] = field(default_factory=dict)
    #: Who writes the outbox: "signals" of Django, or "triggers" of the database (see docs/triggers.md).
    CAPTURE: str = "signals"
    #: Fernet keys for the vendors' secrets. The first encrypts, all of them decrypt.
    ENCRYPTION_KEYS: tuple[str, ...] = field(default=(), repr=False)
    #: How long an order rests after a save before it is first sent.
    QUIET_PERIOD: float = 5.0
    #: The same for a cart: agents see it while the visitor shops.
    CART_QUIET_PERIOD: float = 2.0
    #: Networks that vendors may live in although they are not public, and without https: "127.0.0.0/8".
    ALLOWED_NETWORKS: tuple[Network, ...] = ()
    #: Cookies that may hold Optico's visit id; the first valid one wins.
    VISIT_COOKIES: tuple[str, ...] = ("optico_visitId", "optico_visit_id")
    #: Further vendors: name -> dotted path of a ``Vendor`` class.
    VENDORS: Mapping[str, str] = field(default_factory=dict)
    #: Orders claimed, read and settled together.
    BATCH_SIZE: int = 200
    #: How long a worker may hold an order before another takes it over.
    LEASE: float = 60.0
    #: How often an idle worker looks for work.
    POLL_INTERVAL: float = 0.5
    #: What wakes the delivery: "embedded", "celery", "django_tasks" or the dotted path of an ``Engine``.
    ENGINE: str = "embedded"
    #: Given to the engine with every wake-up: ``queue`` for Celery; ``backend``, ``queue_name`` for django.tasks.
    ENGINE_OPTIONS: Mapping[str, Any] = field(default_factory=dict)
    #: How often the worker compares the shop's orders with what was captured; 0 for never.
    SWEEP_INTERVAL: float = 900.0
    #: How far back it looks then.
    SWEEP_WINDOW: float = 7 * 86400.0
    #: Days that captured changes and attempts are kept, the last attempts of each order aside; 0 for ever.
    HISTORY_DAYS: int = 90
    #: Days that a cart is kept after its last change; 0 for ever.
    CART_DAYS: int = 30
    #: A file of certificate authorities for vendors behind a private one; empty means the usual ones.
    CA_BUNDLE: str = ""
    #: Dotted paths of the API's authentication, permission and throttle classes. Without any, authentication and
    #: throttles are those of ``REST_FRAMEWORK``; permissions are always the admin's own unless named here.
    API_AUTHENTICATION: tuple[str, ...] = ()
    API_PERMISSIONS: tuple[str, ...] = ()
    API_THROTTLES: tuple[str, ...] = ()
    #: The installation's name, from its environment: a copy that has another one, or none, sends nothing.
    INSTALLATION: str = ""


_DEFAULTS = Options()


class _Wrong(Exception):
    """A setting's value cannot be used; the message says what is expected."""


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be True or False")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be text")
    return value


def _table(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _Wrong("must be a dict with text keys")
    return value


def _paths(value: object) -> Mapping[str, str]:
    table = _table(value)
    if not all(isinstance(path, str) for path in table.values()):
        raise _Wrong("must be a dict of dotted paths")
    return table


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _Wrong("must be a list of texts")
    return tuple(value)


def _seconds(minimum: float, maximum: float = 86400) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise _Wrong(f"must be a number of seconds from {minimum:g} to {maximum:.0f}")
        return float(value)

    return read


def _capture(value: object) -> str:
    if value not in ("signals", "triggers"):
        raise _Wrong('must be "signals" or "triggers"')
    return str(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise _Wrong("must be a whole number from 1 to 1000")
    return value


def _days(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 36500:
        raise _Wrong("must be a whole number of days, 0 for ever")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(item) for item in _texts(value))
    except ValueError as error:
        raise _Wrong(f'must be a list of networks such as "10.0.0.0/8" ({error})') from error


_READERS: dict[str, Callable[[object], Any]] = {
    "ENABLED": _flag,
    "SHOP": _text,
    "ORDER": _table,
    "CART": _table,
    "CAPTURE": _capture,
    "ENCRYPTION_KEYS": _texts,
    "QUIET_PERIOD": _seconds(0),
    "CART_QUIET_PERIOD": _seconds(0),
    "ALLOWED_NETWORKS": _networks,
    "VISIT_COOKIES": _texts,
    "VENDORS": _paths,
    "BATCH_SIZE": _count,
    # A lease shorter than a vendor's time-out would be lost in the middle of every slow send.
    "LEASE": _seconds(20),
    "POLL_INTERVAL": _seconds(0.01),
    "ENGINE": _text,
    "ENGINE_OPTIONS": _table,
    "SWEEP_INTERVAL": _seconds(0),
    "SWEEP_WINDOW": _seconds(60, 366 * 86400),
    "HISTORY_DAYS": _days,
    "CART_DAYS": _days,
    "CA_BUNDLE": _text,
    "API_AUTHENTICATION": _texts,
    "API_PERMISSIONS": _texts,
    "API_THROTTLES": _texts,
    "INSTALLATION": _text,
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in ``OPTICO_SYNC``."""

    setting: str
    message: str
    hint: str
    unknown: bool = False


def options() -> Options:
    """The settings in force. A value that cannot be used counts as its default; ``problems`` names it."""
    return _read()[0]


def problems() -> tuple[Problem, ...]:
    """Everything in ``OPTICO_SYNC`` that cannot be used, for the system checks."""
    return _read()[1]


@lru_cache(maxsize=1)
def _read() -> tuple[Options, tuple[Problem, ...]]:
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        return Options(), (Problem(SETTING, f"{SETTING} must be a dict.", f"Write {SETTING} = {{...}}."),)
    values: dict[str, Any] = {}
    found: list[Problem] = []
    for name, value in given.items():
        if name not in _READERS:
            near = difflib.get_close_matches(str(name), _READERS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known settings: {', '.join(sorted(_READERS))}."
            found.append(Problem(str(name), f"{SETTING} has no setting {name!r}.", hint, unknown=True))
            continue
        try:
            values[name] = _READERS[name](value)
        except _Wrong as wrong:
            default = getattr(_DEFAULTS, name)
            found.append(Problem(name, f"{SETTING}[{name!r}] {wrong}.", f"Correct it; until then {default!r} is used."))
    return Options(**values), tuple(found)


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        _read.cache_clear()
