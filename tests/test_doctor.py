"""The status doctor."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from optico_sync.doctor import diagnose
from optico_sync.models import DeclaredStatus, StatusMapping, SyncState
from tests.helpers import Vendor, deliver, error, move, place, reply, state_of

pytestmark = pytest.mark.django_db


def url_of(credential: Any) -> str:
    return f"/admin/optico_sync/vendorcredential/{credential.pk}/doctor/"


def test_every_status_of_the_shop_stands_beside_what_it_becomes(credential: Any, vendor: Vendor) -> None:
    for number, stage in enumerate(["confirmed", "confirmed", "pending", "Being processed"]):
        place(str(number), stage)
    deliver(credential, sender=vendor)
    rows = {row.status: row for row in diagnose(credential).rows}
    assert (rows["confirmed"].orders, rows["pending"].orders, rows["Being processed"].orders) == (2, 1, 1)
    assert rows["confirmed"].declared and rows["confirmed"].declared.is_sale
    assert rows["confirmed"].is_decided and not rows["Being processed"].is_decided
    assert (rows["confirmed"].parked, rows["Being processed"].parked) == (0, 1)


def test_what_the_vendor_refuses_is_released_by_declaring_it(admin_client: Client, credential: Any) -> None:
    known: set[str] = set()
    vendor = Vendor(lambda form: reply() if form["status"] in known else error("Unknown status"))
    purchases = [place(str(number), "confirmed") for number in range(3)]
    deliver(credential, sender=vendor)
    (row,) = [row for row in diagnose(credential).rows if row.status == "confirmed"]
    assert (row.is_refused_by_vendor, row.parked) == (True, 3)
    html = admin_client.get(url_of(credential)).content.decode()
    assert "release 3 orders" in html
    assert "Call Center" in html and "Agents / Paramètres" in html
    known.add("confirmed")
    admin_client.post(
        f"/admin/optico_sync/vendorcredential/{credential.pk}/declare/{row.declared.pk}/", {"confirmed": "1"}
    )
    deliver(credential, sender=vendor)
    assert {state_of(purchase).state for purchase in purchases} == {SyncState.State.IN_SYNC}
    assert not diagnose(credential).rows[0].is_refused_by_vendor


def test_names_that_look_alike_are_told_apart(credential: Any) -> None:
    DeclaredStatus.objects.create(credential=credential, name="Payée")
    credential.map_statuses(["payee", "PAYÉE ", "sent"])
    assert [twins.names for twins in diagnose(credential).twins] == [["PAYÉE ", "Payée", "payee"]]


def test_sale_no_sale_sale_is_found(credential: Any, vendor: Vendor) -> None:
    odd, usual = place("1001", "confirmed"), place("1002", "confirmed")
    for stage in ("pending", "shipped"):
        deliver(credential, sender=vendor)
        move(odd, stage)
    move(usual, "refunded")
    deliver(credential, sender=vendor)
    assert [subject.reference for subject in diagnose(credential).back_and_forth] == ["1001"]


def test_a_vendor_that_never_hears_of_a_sale(credential: Any, vendor: Vendor) -> None:
    place("1", "confirmed")
    deliver(credential, sender=vendor)
    assert not diagnose(credential).fires_no_sale
    StatusMapping.objects.filter(shop_status="confirmed").update(choice="do_not_send", declared=None)
    found = diagnose(credential)
    assert found.fires_no_sale
    assert "confirmed" in [status.name for status in found.unused]


def test_the_page_costs_the_same_at_any_number_of_orders(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    costs = []
    for size in (1, 20):
        for number in range(size):
            place(f"{size}-{number}", "confirmed")
        deliver(credential, sender=vendor)
        with CaptureQueriesContext(connection) as asked:
            assert admin_client.get(url_of(credential)).status_code == 200
        costs.append(len(asked))
    assert costs[0] == costs[1]


def test_the_page_needs_the_credentials_permission(client: Client, django_user_model: Any, credential: Any) -> None:
    client.force_login(django_user_model.objects.create_user("staff", is_staff=True))
    assert client.get(url_of(credential)).status_code == 403
