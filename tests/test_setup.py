"""The way to the first delivery."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from optico_sync import insight, probe, setup
from optico_sync.models import Worker
from optico_sync.relay import relay_all
from tests.helpers import Vendor, deliver, make_credential, place
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db


def open_steps() -> list[str]:
    return [str(step.label) for step in setup.steps(insight.credentials()) if not step.is_done]


def test_from_empty_to_the_first_delivery(vendor: Vendor, optico: Any) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENCRYPTION_KEYS": []}):
        assert "Keys can be stored encrypted" in open_steps()
    assert open_steps() == ["A worker was seen", "There is a vendor credential, switched on"]
    Worker.objects.create(name="w", started_at="2026-01-01T00:00Z", beat_at="2026-01-01T00:00Z")
    credential = make_credential(optico.url)
    own = [
        f"Optico: {what}"
        for what in (
            "the connection was tested",
            "every status of the shop is mapped, and one is a sale",
            "the first order was delivered",
        )
    ]
    assert open_steps() == own
    probe.probe(credential)
    assert open_steps() == own[1:]
    place("1", "confirmed")
    relay_all()
    assert open_steps() == own[2:]
    deliver(credential, sender=vendor)
    assert setup.steps(insight.credentials()) == []


def test_a_test_that_failed_leaves_the_step_undone() -> None:
    credential = make_credential("http://127.0.0.1:9")
    probe.probe(credential)
    assert "Optico: the connection was tested" in open_steps()


def test_an_undecided_status_leaves_the_mapping_undone(credential: Any) -> None:
    place("1", "confirmed")
    place("2", "Being processed")
    relay_all()
    assert "Optico: every status of the shop is mapped, and one is a sale" in open_steps()


@override_settings(OPTICO_SYNC={}, MIDDLEWARE=[])
def test_what_is_the_developers_task_comes_first() -> None:
    assert open_steps()[:3] == [
        "The shop's order model is named",
        "The visit middleware is there",
        "Keys can be stored encrypted",
    ]


def test_a_credential_that_is_off_asks_for_nothing() -> None:
    make_credential(name="Later").__class__.objects.update(is_enabled=False)
    assert "There is a vendor credential, switched on" in open_steps()
    assert not [label for label in open_steps() if label.startswith("Later")]
