"""The store: querysets ask, methods move."""

from optico_sync.models.alerts import Alert, AlertKind, AlertSettings, Notice
from optico_sync.models.credentials import DeclaredStatus, RoutingRule, StatusMapping, VendorCredential
from optico_sync.models.figures import Hour, Reading
from optico_sync.models.installation import Installation
from optico_sync.models.rules import Rules
from optico_sync.models.sync import (
    Attempt,
    Cart,
    OutboxEvent,
    Reconciliation,
    RelayState,
    Step,
    Subject,
    Sweep,
    SyncState,
    Verdict,
    Worker,
)
from optico_sync.models.wakeups import Wakeup

__all__ = [
    "Alert",
    "AlertKind",
    "AlertSettings",
    "Attempt",
    "Cart",
    "DeclaredStatus",
    "Hour",
    "Installation",
    "Notice",
    "OutboxEvent",
    "Reading",
    "Reconciliation",
    "RelayState",
    "RoutingRule",
    "Rules",
    "StatusMapping",
    "Step",
    "Subject",
    "Sweep",
    "SyncState",
    "Verdict",
    "VendorCredential",
    "Wakeup",
    "Worker",
]
