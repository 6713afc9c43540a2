"""``manage.py seed_orders``: orders made up for the sandbox, and for nobody else."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from optico_sync import capture
from optico_sync.models import Subject, SyncState, VendorCredential
from shop_demo.management.commands import seed_orders
from shop_demo.models import Order
from shop_demo.settings import OPTICO_SYNC as DEMO

State = SyncState.State


@pytest.fixture(autouse=True)
def demo(db: None, sandbox: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo shop as it is after ``seed_demo``, with its orders captured."""
    sandbox.config(keys=["cust_sandbox_demo"], ometria_rate=0)
    settings.SANDBOX_URL = sandbox.url
    monkeypatch.setattr(seed_orders, "PATIENCE", 8.0)
    with override_settings(OPTICO_SYNC={**settings.OPTICO_SYNC, "ORDER": DEMO["ORDER"]}):
        capture.connect()
        call_command("seed_demo", stdout=io.StringIO())
        yield
    capture.connect()


def seed(count: int) -> str:
    out = io.StringIO()
    call_command("seed_orders", count=count, stdout=out)
    return out.getvalue()


def test_orders_in_every_state(sandbox: Any) -> None:
    assert "Placed 40 orders" in seed(40)
    assert Order.objects.count() == Subject.objects.count() == 40
    shown = {(state.shown_state, state.reason) for state in SyncState.objects.select_related("credential")}
    assert {state for state, _reason in shown} == set(State.values)
    reasons = {reason for _state, reason in shown}
    assert {"unmapped_status", "unknown_status", "not_a_sale", "not_offline", "before_start", "vendor_error"} <= reasons
    assert Subject.objects.exclude(visit_id="").exists() and Subject.objects.exclude(call_id="").exists()
    assert not [credential for credential in VendorCredential.objects.all() if credential.hold_reason]
    assert len(sandbox.orders()) > 20


def test_an_account_elsewhere_stops_it_before_anything_is_done() -> None:
    VendorCredential.objects.create(name="Real", vendor="optico", base_url="https://www.optico.fr")
    with pytest.raises(CommandError, match="“Real” is at https://www.optico.fr"):
        seed(5)
    assert not Order.objects.exists()


@pytest.mark.parametrize("url", ["https://www.optico.fr", "http://192.0.2.1:8001", "http://127.0.0.1:9"])
def test_without_a_sandbox_on_this_machine_nothing_is_done(settings: Any, url: str) -> None:
    settings.SANDBOX_URL = url
    VendorCredential.objects.update(base_url=url)
    with pytest.raises(CommandError, match="sandbox"):
        seed(5)
    assert not Order.objects.exists()
