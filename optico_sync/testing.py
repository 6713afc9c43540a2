"""Tests for a shop's own mapping: a pytest plugin that plays Optico beside the tests. PYTEST_DONT_REWRITE.

Name it in the top ``conftest.py``::

    pytest_plugins = ["optico_sync.testing"]

and ask for the fixture::

    def test_a_paid_order_reaches_the_vendor(optico_sandbox):
        optico_sandbox.declare(paid=True)
        order = Order.objects.create(number="1001", status="paid", ...)
        optico_sandbox.deliver_now()
        assert optico_sandbox.problems() == []
        assert optico_sandbox.order("1001")["status"] == "paid"
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from optico_sync.delivery import Lane
from optico_sync.models import DeclaredStatus, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer

KEY = "cust_TEST"


class OpticoSandbox:
    """A vendor to play with, and the credential that sends to it."""

    def __init__(self, server: SandboxServer, credential: VendorCredential) -> None:
        self.server = server
        self.credential = credential

    def declare(self, **statuses: bool) -> None:
        """Declare order statuses at the vendor: name -> whether it is a sale. Shop statuses of that name map to it."""
        for name, is_sale in statuses.items():
            DeclaredStatus.objects.create(credential=self.credential, name=name, is_sale=is_sale)
        known = self.credential.declared_statuses.values_list("name", "is_sale")
        self.server.config(statuses=dict(known))

    def deliver_now(self) -> int:
        """Send what is due. Returns how many sends and decisions that were."""
        return deliver_now(self.credential)

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders that the vendor has, the latest touched first."""
        return self.server.orders()

    def order(self, reference: str) -> dict[str, Any] | None:
        """The order as the vendor has it; None when it never came."""
        return self.server.order(reference)

    def problems(self) -> list[str]:
        """What is not in sync, each with its reason in words."""
        states = SyncState.objects.filter(credential=self.credential).exclude(state=SyncState.State.IN_SYNC)
        return [
            " ".join(filter(None, [f"{one.subject}: {one.shown_state}.", str(one.shown_reason.text), one.detail]))
            for one in states.select_related("subject", "credential").order_by("pk")
        ]


def deliver_now(credential: VendorCredential, **options: Any) -> int:
    """Relay and deliver until nothing is due; ``options`` are those of ``Lane``."""
    relay_all()
    lane = Lane(credential.pk, **options)
    total = 0
    try:
        while count := lane.deliver():
            total += count
            relay_all()
    finally:
        lane.close()
    return total


@pytest.fixture(scope="session")
def optico_server() -> Iterator[SandboxServer]:
    """The sandbox in a process of its own, on a free port."""
    with SandboxServer(seed=1) as server:
        yield server


@pytest.fixture
def optico_sandbox(db: None, settings: Any, optico_server: SandboxServer) -> OpticoSandbox:
    """An empty vendor, a credential that sends to it, and no waiting."""
    settings.OPTICO_SYNC = {
        **settings.OPTICO_SYNC,
        "ENABLED": True,
        "QUIET_PERIOD": 0,
        "CART_QUIET_PERIOD": 0,
        "ALLOWED_NETWORKS": ["127.0.0.0/8"],
        "ENCRYPTION_KEYS": ["b3B0aWNvLXN5bmMtdGVzdGluZy1uby1zZWNyZXQtMDE="],
    }
    optico_server.reset()
    optico_server.config(keys=[KEY], statuses={})
    credential = VendorCredential(
        name="Sandbox",
        vendor="optico",
        base_url=optico_server.url,
        is_enabled=True,
        start_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
    credential.set_secrets({"key": KEY})
    credential.save()
    return OpticoSandbox(optico_server, credential)
