"""Declared statuses and mappings, on the credential's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync.models import DeclaredStatus, StatusMapping, SyncState, VendorCredential
from tests.admin.test_credentials import page, typed, url_of
from tests.admin.test_questions import go_on
from tests.helpers import Vendor, deliver, error, make_credential, place


@pytest.fixture
def parked(credential: VendorCredential) -> StatusMapping:
    """Two orders wait for a decision about their status."""
    for number in ("1", "2"):
        place(number, "on hold")
    deliver(credential, sender=Vendor())
    return StatusMapping.objects.get(shop_status="on hold")


def decide(client: Client, mapping: StatusMapping, decision: object) -> str:
    rows = list(mapping.credential.status_mappings.all())
    data: dict[str, Any] = {"status_mappings-TOTAL_FORMS": len(rows), "status_mappings-INITIAL_FORMS": len(rows)}
    for number, row in enumerate(rows):
        data[f"status_mappings-{number}-id"] = row.pk
        data[f"status_mappings-{number}-credential"] = row.credential_id
        data[f"status_mappings-{number}-decision"] = row.declared_id or row.choice
        if row == mapping:
            data[f"status_mappings-{number}-decision"] = decision
    url = url_of(mapping.credential)
    response = client.post(url, typed(base_url="http://127.0.0.1:9", _continue="1", **data), follow=True)
    return go_on(client, url, response)


def test_mapping_is_one_choice(owner: Client, parked: StatusMapping) -> None:
    html = page(owner, url_of(parked.credential))
    assert "send as “confirmed (sale)”" in html
    assert "– not decided yet: its orders wait –" in html
    assert "do not send" in html


def test_mapping_to_a_declared_status_releases_its_orders(owner: Client, parked: StatusMapping) -> None:
    declared = DeclaredStatus.objects.get(name="pending")
    html = decide(owner, parked, declared.pk)
    assert "Orders released: 2." in html
    parked.refresh_from_db()
    assert (parked.choice, parked.declared) == ("send", declared)
    assert set(SyncState.objects.values_list("state", flat=True)) == {"waiting"}


def test_mapping_to_do_not_send_releases_its_orders(owner: Client, parked: StatusMapping) -> None:
    assert "Orders released: 2." in decide(owner, parked, "do_not_send")
    deliver(parked.credential, sender=Vendor())
    assert set(SyncState.objects.values_list("state", "reason")) == {("not_sent", "status_not_sent")}


def test_saving_without_a_decision_releases_nothing(owner: Client, parked: StatusMapping) -> None:
    assert "Orders released" not in decide(owner, parked, "undecided")


def test_mapping_takes_only_this_credentials_statuses(owner: Client, parked: StatusMapping) -> None:
    foreign = make_credential(name="other").declared_statuses.first()
    assert "Select a valid choice" in decide(owner, parked, foreign.pk)
    parked.refresh_from_db()
    assert parked.choice == "undecided"


def test_mapping_works_while_the_key_cannot_be_read(owner: Client, parked: StatusMapping, settings: Any) -> None:
    key = "YW5vdGhlci1rZXktb2YtdGhlLXRlc3RzLW51bWJlcjI="
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENCRYPTION_KEYS": [key]}
    mapping = StatusMapping.objects.select_related("credential").defer("credential__sealed_secrets").get(pk=parked.pk)
    assert "Orders released: 2." in decide(owner, mapping, "do_not_send")


def test_new_declared_status_releases_its_orders(owner: Client, parked: StatusMapping) -> None:
    declared = {"declared_statuses-TOTAL_FORMS": "1", "declared_statuses-0-name": "on hold"}
    url = url_of(parked.credential)
    response = owner.post(url, typed(base_url="http://127.0.0.1:9", _continue="1", **declared), follow=True)
    assert "Orders released: 2." in go_on(owner, url, response)
    parked.refresh_from_db()
    assert str(parked) == "on hold → on hold"


def test_mapping_of_a_deleted_declared_status_is_undecided(owner: Client, credential: VendorCredential) -> None:
    declared = credential.declared_statuses.get(name="pending")
    StatusMapping.objects.create(credential=credential, shop_status="pending", declared=declared)
    declared.delete()
    assert '<option value="undecided" selected>' in page(owner, url_of(credential))


# "Declared at the vendor now"


@pytest.fixture
def unknown(credential: VendorCredential) -> DeclaredStatus:
    """A status that the vendor did not know, and an order it parked."""
    place("1", "confirmed")
    deliver(credential, sender=Vendor(lambda form: error("Unknown status")))
    return DeclaredStatus.objects.get(name="confirmed")


def test_declared_now_releases_its_orders(owner: Client, unknown: DeclaredStatus) -> None:
    url = url_of(unknown.credential, f"declare/{unknown.pk}/")
    assert url in page(owner, url_of(unknown.credential))
    html = owner.post(url).content.decode()
    assert "What will this do?" in html and "1 request is sent." in html and "1 order becomes a sale there" in html
    assert owner.post(url, {"back": "yes"}).status_code == 302
    assert DeclaredStatus.objects.get(name="confirmed").unknown_since and not LogEntry.objects.exists()
    html = go_on(owner, url, owner.post(url))
    assert "“confirmed” is declared now. Orders released: 1." in html
    unknown.refresh_from_db()
    assert unknown.unknown_since is None
    assert SyncState.objects.get().state == "waiting"
    assert "Orders released: 1." in LogEntry.objects.get().change_message


def test_declared_now_needs_permission(login: Any, unknown: DeclaredStatus) -> None:
    looker = login("view_vendorcredential", "resend_subject")
    assert looker.post(url_of(unknown.credential, f"declare/{unknown.pk}/")).status_code == 403
    unknown.refresh_from_db()
    assert unknown.unknown_since


def test_declared_now_is_about_this_credential(owner: Client, unknown: DeclaredStatus) -> None:
    other = make_credential(name="other")
    assert owner.post(url_of(other, f"declare/{unknown.pk}/")).status_code == 404


def test_looker_changes_nothing(login: Any, parked: StatusMapping) -> None:
    looker = login("view_vendorcredential")
    html = page(looker, url_of(parked.credential))
    assert "on hold" in html
    assert "<select" not in html
    decide(looker, parked, "do_not_send")
    parked.refresh_from_db()
    assert parked.choice == "undecided"


def test_page_costs_the_same_however_many_statuses(owner: Client, credential: VendorCredential) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(owner, url_of(credential))
        return len(captured)

    credential.map_statuses(["one"])
    count()
    before = count()
    credential.map_statuses([f"status {number}" for number in range(20)])
    DeclaredStatus.objects.bulk_create(
        DeclaredStatus(credential=credential, name=f"d{number}", unknown_since=timezone.now()) for number in range(20)
    )
    assert count() == before
