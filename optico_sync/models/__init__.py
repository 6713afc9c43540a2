"""The store: querysets ask, methods move."""

from optico_sync.models.alerts import Alert, AlertKind, AlertSettings, Notice
from optico_sync.models.credentials import DeclaredStatus, RoutingRule, StatusMapping, VendorCredential
from optico_sync.models.figures import CreditedDay, Hour, Reading
from optico_sync.models.filters import SavedFilter
from optico_sync.models.installation import Installation
from optico_sync.models.jobs import Job
from optico_sync.models.outbox import OutboxEvent, RelayState
from optico_sync.models.purges import Purge
from optico_sync.models.rules import Rules
from optico_sync.models.runs import Reconciliation, Sweep
from optico_sync.models.subjects import Cart, Subject
from optico_sync.models.sync import Attempt, Step, SyncState, Verdict
from optico_sync.models.wakeups import Wakeup
from optico_sync.models.workers import Worker

__all__ = [
    "Alert",
    "AlertKind",
    "AlertSettings",
    "Attempt",
    "Cart",
    "CreditedDay",
    "DeclaredStatus",
    "Hour",
    "Installation",
    "Job",
    "Notice",
    "OutboxEvent",
    "Purge",
    "Reading",
    "Reconciliation",
    "RelayState",
    "RoutingRule",
    "Rules",
    "SavedFilter",
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
