"""The shop's own code hears where an order came to stand."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.dispatch import Signal

from optico_sync import signals
from optico_sync.models import StatusMapping, Subject, SyncState, VendorCredential
from tests.helpers import Vendor, deliver, error, move, place, reply, state_of
from tests.settings import BASE_DIR

ALL = {"delivered": signals.delivered, "refused": signals.refused, "not_sent": signals.not_sent}


class Ear:
    """Hears every signal: its name, the order's reference, the credential's name and the reason."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, str]] = []
        self.in_transaction: list[bool] = []

    def hears(self, name: str) -> Any:
        def receiver(
            sender: Any, *, subject: Subject, credential: VendorCredential, sync_state: SyncState, **kwargs: Any
        ) -> None:
            assert sender is SyncState
            assert (sync_state.subject, sync_state.credential) == (subject, credential)
            self.heard.append((name, subject.reference, credential.name, sync_state.reason))
            self.in_transaction.append(connection.in_atomic_block)

        return receiver


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    receivers = {name: ear.hears(name) for name in ALL}
    for name, signal in ALL.items():
        signal.connect(receivers[name])
    yield ear
    for name, signal in ALL.items():
        signal.disconnect(receivers[name])


@pytest.fixture
def deaf() -> Iterator[None]:
    """A receiver with a bug."""

    def receiver(**kwargs: Any) -> None:
        raise RuntimeError("a bug of the shop's")

    signals.delivered.connect(receiver)
    yield
    signals.delivered.disconnect(receiver)


def test_every_signal_is_here() -> None:
    assert {name: value for name, value in vars(signals).items() if isinstance(value, Signal)} == ALL


@pytest.mark.django_db
def test_delivered_is_told_when_the_newest_is_accepted(credential: Any, vendor: Vendor, ear: Ear) -> None:
    purchase = place()
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert (vendor.statuses, ear.heard) == (["pending", "confirmed"], [("delivered", "1001", "Optico", "")])


@pytest.mark.django_db
def test_what_did_not_change_is_no_news(credential: Any, vendor: Vendor, ear: Ear) -> None:
    purchase = place()
    deliver(credential, sender=vendor)
    purchase.save()
    deliver(credential, sender=vendor)
    assert len(ear.heard) == 1


@pytest.mark.django_db
def test_refused_is_told_with_its_reason(credential: Any, ear: Ear) -> None:
    place()
    deliver(credential, sender=Vendor(lambda form: error("Invalid products format")))
    assert ear.heard == [("refused", "1001", "Optico", "invalid_products")]


@pytest.mark.django_db
def test_not_sent_is_told_with_its_reason(credential: Any, vendor: Vendor, ear: Ear) -> None:
    choice = StatusMapping.Choice.DO_NOT_SEND
    StatusMapping.objects.create(credential=credential, shop_status="draft", choice=choice)
    place(stage="draft")
    deliver(credential, sender=vendor)
    assert ear.heard == [("not_sent", "1001", "Optico", "status_not_sent")]


@pytest.mark.django_db
def test_a_retry_is_not_told_before_it_ends(credential: Any, vendor: Vendor, clock: Any, ear: Ear) -> None:
    place()
    deliver(credential, sender=Vendor(lambda form: reply(status=500)), clock=clock)
    assert ear.heard == []
    clock.forward(minutes=5)
    deliver(credential, sender=vendor, clock=clock)
    assert [name for name, *_rest in ear.heard] == ["delivered"]


@pytest.mark.django_db
def test_a_receiver_that_raises_disturbs_neither_the_order_nor_the_others(
    credential: Any, vendor: Vendor, deaf: None, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = place("1"), place("2")
    with caplog.at_level(logging.CRITICAL, logger="django.dispatch"):
        deliver(credential, sender=vendor)
    assert {state_of(first).state, state_of(second).state} == {SyncState.State.IN_SYNC}
    assert sorted(reference for _name, reference, *_rest in ear.heard) == ["1", "2"]


@pytest.mark.django_db(transaction=True)
def test_it_is_told_after_the_record_is_committed(credential: Any, vendor: Vendor, ear: Ear) -> None:
    with transaction.atomic():
        place()
    deliver(credential, sender=vendor)
    assert ear.in_transaction == [False]


@pytest.mark.django_db
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lost_its_lease_says_nothing(credential: Any, ear: Ear) -> None:
    place()

    def slow(form: dict[str, str]) -> Any:
        SyncState.objects.update(lease="somebody else")
        # This thread's own: nobody else would close it.
        connection.close()
        return reply()

    deliver(credential, sender=Vendor(slow))
    assert ear.heard == []


def test_the_page_names_every_signal_and_no_other() -> None:
    page = (BASE_DIR / "docs" / "install.md").read_text(encoding="utf-8")
    table = page.split("\n## Hear of it in your own code\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == ALL.keys()
