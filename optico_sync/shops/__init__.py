"""The shop this installation is in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError
from django.dispatch import receiver
from django.utils.module_loading import import_string

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.shops.base import ShopAdapter
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.oscar import OscarShop
from optico_sync.snapshot import CartSnapshot, OrderSnapshot

logger = logging.getLogger(__name__)

Snapshot = OrderSnapshot | CartSnapshot | Unreadable


@lru_cache(maxsize=1)
def get_shop() -> ShopAdapter:
    """The shop adapter that the settings name. Raises ``ConfigurationError`` that names the setting and the cure."""
    shop, order, cart = conf.options().SHOP, conf.options().ORDER, conf.options().CART
    if shop == "mapping":
        if not order:
            raise ConfigurationError(f"{conf.SETTING}['ORDER'] is empty. Name your order model and its fields there.")
        return MappedShop(order, cart)
    if shop == "oscar":
        return OscarShop(order, cart)
    try:
        adapter = import_string(shop)()
    except ConfigurationError:
        raise
    except Exception as error:
        # Whatever a dotted path leads to, and whatever its code does: it must not stop the shop from starting.
        raise ConfigurationError(f"{conf.SETTING}['SHOP'] is {shop!r}, which cannot be used ({error}).") from error
    if not isinstance(adapter, ShopAdapter):
        raise ConfigurationError(f"{conf.SETTING}['SHOP'] is {shop!r}, which is not a ShopAdapter.")
    return adapter


def has_shop() -> bool:
    """Whether the settings name a shop that can be read; where they do not, the system checks say what is wrong."""
    try:
        get_shop()
    except ConfigurationError:
        return False
    return True


def read_all(wanted: Iterable[tuple[str, str]]) -> Mapping[str, Mapping[str, Snapshot]]:
    """The orders and carts named by kind and key, by kind and key.

    When the adapter fails as a whole, each of them says so and none is lost. Raises the database's own errors of
    connection, which are its trouble and not the orders'.
    """
    keys: dict[str, list[str]] = {}
    for kind, key in wanted:
        keys.setdefault(kind, []).append(key)
    return {kind: _read_kind(kind, keys[kind]) for kind in keys}


def _read_kind(kind: str, keys: Sequence[str]) -> Mapping[str, Snapshot]:
    try:
        reader = get_shop().readers.get(kind)
        # Carts that the settings no longer name are gone for us.
        return reader.read(keys, using=reader.database) if reader else {}
    except (OperationalError, InterfaceError):
        raise
    except ConfigurationError as error:
        problem = Unreadable(str(error))
    except Exception as error:
        logger.error("The shop's orders or carts could not be read (%s).", type(error).__name__)
        problem = Unreadable(f"the shop adapter failed ({type(error).__name__})")
    return dict.fromkeys(keys, problem)


def event_databases() -> list[str]:
    """Where the shop's orders and carts live, and so the events of their saves."""
    try:
        readers = get_shop().readers.values()
    except ConfigurationError:
        return [DEFAULT_DB_ALIAS]
    return list(dict.fromkeys(reader.database for reader in readers))


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == conf.SETTING:
        get_shop.cache_clear()
