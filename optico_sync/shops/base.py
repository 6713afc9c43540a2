"""What a shop adapter knows: which models make up an order, and how to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import models

from optico_sync.attribution import Attribution
from optico_sync.exceptions import UnreadableOrder
from optico_sync.snapshot import OrderSnapshot


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What capture reads from an order in memory: plain fields only, never a query."""

    reference: str
    status: str
    attribution: Attribution


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A model that belongs to an order.

    ``order_field`` is the attribute that holds the order's key; empty where the order must be looked up, which the
    relay does by ``path``, a lookup on the order model.
    """

    model: type[models.Model]
    path: str
    order_field: str = ""


class ShopAdapter(ABC):
    """How one shop's orders are found and read. All reading takes a constant number of queries."""

    #: The shop's order model.
    order_model: type[models.Model]
    #: Models whose saves change an order too.
    relations: tuple[Relation, ...] = ()

    @abstractmethod
    def facts(self, order: models.Model) -> Facts:
        """What is known of ``order`` while it is being saved. Runs inside the shop's checkout: no queries."""

    @abstractmethod
    def read(self, keys: Collection[str], *, using: str) -> Mapping[str, OrderSnapshot | UnreadableOrder]:
        """The orders with these keys as they stand in the database ``using``. A missing key is a deleted order."""

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

    def known_statuses(self) -> Iterable[str]:
        """The statuses an order can have, where the shop's code lists them."""
        return ()

    def orders_related(self, path: str, keys: Collection[str], *, using: str) -> Mapping[str, set[str]]:
        """Related key -> keys of the orders that reach it by ``path``."""
        found: dict[str, set[str]] = {}
        orders = self.order_model._base_manager.using(using).filter(**{f"{path}__in": keys})
        for related, order in orders.values_list(path, "pk"):
            found.setdefault(str(related), set()).add(str(order))
        return found
