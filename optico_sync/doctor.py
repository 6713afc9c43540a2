"""The status doctor: what the shop's statuses become at one vendor, before the vendor refuses any of them.

Orders are counted among the newest ones, so the page costs the same in a shop with millions.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Count

from optico_sync.models import Attempt, DeclaredStatus, StatusMapping, Subject, SyncState, VendorCredential
from optico_sync.outcome import Kind

#: So many of the newest orders, and of the newest deliveries, are looked at.
LOOKED_AT = 10_000
DELIVERIES_LOOKED_AT = 2_000
#: So many orders are named in a finding.
NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """One shop status and what becomes of it. ``orders`` counts the newest orders that have it now."""

    status: str
    orders: int
    mapping: StatusMapping | None
    #: Orders that wait because of it.
    parked: int

    @property
    def declared(self) -> DeclaredStatus | None:
        return self.mapping.declared if self.mapping else None

    @property
    def is_decided(self) -> bool:
        return bool(self.mapping and self.mapping.choice != StatusMapping.Choice.UNDECIDED)

    @property
    def is_left_out(self) -> bool:
        return bool(self.mapping and self.mapping.choice == StatusMapping.Choice.DO_NOT_SEND)

    @property
    def is_refused_by_vendor(self) -> bool:
        return bool(self.declared and self.declared.unknown_since)


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Names that look alike and are not: to the vendor they are different statuses."""

    names: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the doctor found for one credential."""

    credential: VendorCredential
    rows: Sequence[Row]
    #: Declared at the vendor, and no shop status becomes one of them.
    unused: Sequence[DeclaredStatus]
    twins: Sequence[Twins]
    #: Orders that became a sale, then none, then a sale again: their subjects.
    back_and_forth: Sequence[Subject] = field(default=())
    #: Whether there are more orders than were counted.
    is_partial: bool = False

    @property
    def fires_no_sale(self) -> bool:
        """Nothing that the shop says would ever count as a sale."""
        return not any(row.declared and row.declared.is_sale for row in self.rows)


def diagnose(credential: VendorCredential) -> Diagnosis:
    """Look at the credential's statuses. Six queries, whatever the number of orders."""
    mappings = {
        mapping.shop_status: mapping for mapping in credential.status_mappings.select_related("declared").order_by("pk")
    }
    declared = list(credential.declared_statuses.all())
    newest = Subject.objects.filter(kind=Subject.Kind.ORDER).order_by("-pk").values_list("status", flat=True)
    seen = list(newest[: LOOKED_AT + 1])
    counts = Counter(seen[:LOOKED_AT])
    parked = dict(
        SyncState.objects.filter(credential=credential)
        .parked_by({*mappings, *counts})
        .order_by()
        .values_list("refused_status")
        .annotate(Count("pk"))
    )
    names = [*mappings, *sorted(status for status in counts if status and status not in mappings)]
    rows = [
        Row(status=name, orders=counts[name], mapping=mappings.get(name), parked=parked.get(name, 0)) for name in names
    ]
    used = {mapping.declared_id for mapping in mappings.values()}
    return Diagnosis(
        credential=credential,
        rows=rows,
        unused=[status for status in declared if status.pk not in used],
        twins=_twins([*names, *(status.name for status in declared)]),
        back_and_forth=_back_and_forth(credential, {status.name: status.is_sale for status in declared}),
        is_partial=len(seen) > LOOKED_AT,
    )


def _twins(names: Iterable[str]) -> list[Twins]:
    """Names that differ only by case, accents or spaces around."""
    alike: dict[str, set[str]] = {}
    for name in names:
        alike.setdefault(_plain(name), set()).add(name)
    return [Twins(names=sorted(group)) for group in alike.values() if len(group) > 1]


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _back_and_forth(credential: VendorCredential, is_sale: dict[str, bool]) -> list[Subject]:
    """Orders whose newest deliveries went from a sale to none and to a sale again, which may count twice."""
    made = Attempt.objects.filter(sync_state__credential=credential, outcome=Kind.DELIVERED).order_by("-pk")
    newest = list(made.values_list("sync_state__subject", "status")[:DELIVERIES_LOOKED_AT])
    told: dict[int, list[bool]] = {}
    for subject_id, status in reversed(newest):
        steps = told.setdefault(subject_id, [])
        sale = is_sale.get(status, False)
        if not steps or steps[-1] != sale:
            steps.append(sale)
    found = [subject_id for subject_id, steps in told.items() if steps.count(True) > 1]
    return list(Subject.objects.filter(pk__in=found).order_by("-pk")[:NAMED])
