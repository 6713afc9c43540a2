"""What a shop adapter knows: which models make up an order or a cart, and how to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import models, router

from optico_sync.attribution import NOTHING, Attribution
from optico_sync.exceptions import Unreadable
from optico_sync.snapshot import CART, ORDER, CartSnapshot, OrderSnapshot

Snapshot = TypeVar("Snapshot", OrderSnapshot, CartSnapshot)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What capture reads from an order or cart in memory: plain fields only, never a query.

    A cart has neither reference nor status.
    """

    reference: str = ""
    status: str = ""
    attribution: Attribution = NOTHING


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A model that belongs to an order or cart, its owner.

    ``owner_field`` is the attribute that holds the owner's key; empty where the owner must be looked up, which the
    relay does by ``path``, a lookup on the owner's model.
    """

    model: type[models.Model]
    path: str
    owner_field: str = ""


class Reader(ABC, Generic[Snapshot]):
    """How one kind of subject is found and read. All reading takes a constant number of queries."""

    #: The shop's model.
    model: type[models.Model]
    #: Models whose saves change it too.
    relations: tuple[Relation, ...] = ()
    #: What ``facts`` takes from where, for the database triggers: a field of ``model``, or ``{"value": constant}``, by
    #: the name of the fact. None where triggers cannot be used.
    columns: Mapping[str, str | Mapping[str, Any]] | None = None

    @property
    def database(self) -> str:
        """Where it lives, and so its events. Never a replica, which may not have it yet."""
        return router.db_for_write(self.model)

    @abstractmethod
    def facts(self, instance: models.Model) -> Facts:
        """What is known of ``instance`` while it is being saved. Runs inside the shop's checkout: no queries."""

    @abstractmethod
    def read(self, keys: Collection[str], *, using: str) -> Mapping[str, Snapshot | Unreadable]:
        """Those with these keys as they stand in the database ``using``. A missing key is a deleted one."""

    def owners(self, path: str, keys: Collection[str], *, using: str) -> Mapping[str, set[str]]:
        """Related key -> keys of those that reach it by ``path``."""
        found: dict[str, set[str]] = {}
        rows = self.model._base_manager.using(using).filter(**{f"{path}__in": keys})
        for related, owner in rows.values_list(path, "pk"):
            found.setdefault(str(related), set()).add(str(owner))
        return found


class CartReader(Reader[CartSnapshot]):
    """How one shop's carts are found and read."""


class ShopAdapter(Reader[OrderSnapshot]):
    """How one shop's orders are found and read; and its carts, where it names them."""

    carts: CartReader | None = None

    @abstractmethod
    def find(
        self,
        *,
        using: str,
        references: Collection[str] | None = None,
        keys: Collection[str] | None = None,
        statuses: Collection[str] | None = None,
        placed_from: datetime | None = None,
        placed_until: datetime | None = None,
    ) -> models.QuerySet:
        """The orders that fit all of what is given, by ascending primary key."""

    def newest(self, *, using: str) -> models.Model | None:
        """The order placed last, as an example to look at."""
        return self.find(using=using).last()

    def known_statuses(self) -> Iterable[str]:
        """The statuses an order can have, where the shop's code lists them."""
        return ()

    @property
    def readers(self) -> Mapping[str, Reader]:
        """By kind of subject: who reads it."""
        return {ORDER: self, CART: self.carts} if self.carts else {ORDER: self}
