"""The store: querysets ask, methods move."""

from optico_sync.models.credentials import DeclaredStatus, StatusMapping, VendorCredential
from optico_sync.models.sync import Attempt, OutboxEvent, RelayState, Step, Subject, SyncState, Verdict, Worker

__all__ = [
    "Attempt",
    "DeclaredStatus",
    "OutboxEvent",
    "RelayState",
    "StatusMapping",
    "Step",
    "Subject",
    "SyncState",
    "Verdict",
    "VendorCredential",
    "Worker",
]
