"""What a credential is told about an order or cart: its owner's decisions, read once for many of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from optico_sync.exceptions import Unreadable
from optico_sync.models.credentials import DeclaredStatus, RoutingRule, StatusMapping, VendorCredential
from optico_sync.models.subjects import Subject
from optico_sync.models.sync import ERASED
from optico_sync.outcome import Outcome, not_sent, refused
from optico_sync.snapshot import CartSnapshot, OrderSnapshot
from optico_sync.vendors.base import Account, Request, Told

_Snapshot = TypeVar("_Snapshot", bound=OrderSnapshot | CartSnapshot)

logger = logging.getLogger(__name__)


class Rules:
    """Start date, routing rules and status mappings of one credential. Two queries."""

    def __init__(self, credential: VendorCredential, using: str) -> None:
        self._credential = credential
        self._using = using
        self._vendor = credential.spec
        self._mappings = {
            mapping.shop_status: mapping
            for mapping in StatusMapping.objects.using(using).filter(credential=credential).select_related("declared")
        }
        self._routing = list(RoutingRule.objects.using(using).filter(credential__vendor=credential.vendor))

    @property
    def facts(self) -> tuple[Any, ...]:
        """All that its owner decided; when it is equal, so is what the vendor is told."""
        mapped = {
            mapping.shop_status: (mapping.choice, mapping.declared and _declared_facts(mapping.declared))
            for mapping in self._mappings.values()
        }
        declared = sorted(map(_declared_facts, self._declared.values()))
        routing = [(rule.credential_id, rule.field, rule.value) for rule in self._routing]
        return self._credential.start_at, self._credential.chosen_options, mapped, declared, routing

    def admit(
        self,
        snapshot: _Snapshot | Unreadable | None,
        subject: Subject,
        *,
        is_exempt: bool = False,
        is_new: bool = False,
    ) -> _Snapshot | Outcome:
        """The order or cart with its attribution, or the outcome that holds whatever its status.

        ``is_exempt`` admits it although it is older than the start date; ``is_new`` says that the vendor has nothing of
        it yet.
        """
        if subject.erased_at:
            return not_sent(ERASED)
        if snapshot is None:
            return not_sent("order_deleted" if subject.kind == Subject.Kind.ORDER else "cart_over")
        if isinstance(snapshot, Unreadable):
            return refused("unreadable_order", detail=str(snapshot))
        if isinstance(snapshot, CartSnapshot):
            if not snapshot.is_open:
                return not_sent("cart_over")
            began_at = subject.changed_at
        else:
            began_at = snapshot.placed_at or subject.created_at
        if began_at < self._credential.start_at and not is_exempt:
            return not_sent("before_start")
        if self._routing:
            rule = next((rule for rule in self._routing if rule.fits(snapshot)), None)
            if rule is None:
                return not_sent("no_rule")
            if rule.credential_id != self._credential.pk:
                return not_sent("other_credential")
        if is_new and isinstance(snapshot, OrderSnapshot) and not snapshot.lines:
            # Many shops save an order before its lines; an abandoned payment leaves it so for ever.
            return not_sent("no_lines", is_for_now=True)
        attribution = subject.attribution.or_else(snapshot.attribution)
        return snapshot if attribution == snapshot.attribution else replace(snapshot, attribution=attribution)

    def tell(self, shop_status: str) -> Told | Outcome:
        """What ``shop_status`` becomes at the vendor, or why it is not told."""
        mapping = self._mappings.get(shop_status)
        if mapping and mapping.choice == StatusMapping.Choice.DO_NOT_SEND:
            return not_sent("status_not_sent")
        # A status that nobody has seen yet maps itself where the very same word is declared.
        declared = mapping.declared if mapping else self._declared.get(shop_status)
        if declared is None:
            return refused("unmapped_status", detail=shop_status)
        return Told(status=declared.name, is_sale=declared.is_sale)

    @cached_property
    def _declared(self) -> dict[str, DeclaredStatus]:
        declared = DeclaredStatus.objects.using(self._using).filter(credential=self._credential)
        return {status.name: status for status in declared}

    def build(self, order: OrderSnapshot, told: Told, *, account: Account, now: datetime) -> Request | Outcome:
        """What the vendor makes of an order."""
        return self._guarded(partial(self._vendor.build, order, told=told, account=account, now=now))

    def build_cart(self, cart: CartSnapshot, *, account: Account, now: datetime) -> Request | Outcome:
        """What the vendor makes of a cart."""
        return self._guarded(partial(self._vendor.build_cart, cart, account=account, now=now))

    def _guarded(self, build: Callable[[], Request | Outcome]) -> Request | Outcome:
        """A bug in a vendor spoils only that order or cart."""
        try:
            return build()
        except Exception as error:
            logger.error("%s could not build a request (%s).", self._vendor.name, type(error).__name__)
            return refused("unreadable_order", detail=type(error).__name__)


def _declared_facts(declared: DeclaredStatus) -> tuple[str, bool]:
    return declared.name, declared.is_sale
