"""The store: querysets ask, methods move."""

from optico_sync.models.credentials import DeclaredStatus, RoutingRule, StatusMapping, VendorCredential
from optico_sync.models.sync import Attempt, OutboxEvent, RelayState, Step, Subject, SyncState, Verdict, Worker

__all__ = [
    "Attempt",
    "DeclaredStatus",
    "OutboxEvent",
    "RelayState",
    "RoutingRule",
    "StatusMapping",
    "Step",
    "Subject",
    "SyncState",
    "Verdict",
    "VendorCredential",
    "Worker",
]
