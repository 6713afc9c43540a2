"""Badges in the shop's own order admin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from optico_sync.models import Subject, VendorCredential
from tests.helpers import Vendor, deliver, make_credential, place
from tests.oddshop.models import Purchase

pytestmark = pytest.mark.urls("tests.admin.urls")

URL = "/shop/oddshop/purchase/"
IN_SYNC = '<span class="sync-badge sync-in_sync">in sync</span>'
NOT_SENT = '<span class="sync-badge sync-not_sent">not sent</span>'


@pytest.fixture
def page(admin_client: Client) -> Callable[[str], str]:
    def read(url: str) -> str:
        response = admin_client.get(url)
        assert response.status_code == 200
        return response.content.decode()

    return read


@pytest.fixture
def purchase(credential: VendorCredential) -> Purchase:
    order = place("1")
    deliver(credential, sender=Vendor())
    return order


def test_list_shows_badges(page: Callable[[str], str], purchase: Purchase) -> None:
    place("2")
    html = page(URL)
    assert IN_SYNC in html
    assert NOT_SENT in html
    assert "optico_sync/admin.css" in html


def test_list_stays_editable(admin_client: Client, page: Callable[[str], str], purchase: Purchase) -> None:
    assert 'name="form-0-stage"' in page(URL)
    data = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-key": purchase.pk,
        "form-0-stage": "confirmed",
        "_save": 1,
    }
    assert admin_client.post(URL, data).status_code == 302
    purchase.refresh_from_db()
    assert purchase.stage == "confirmed"


def test_list_costs_the_same_however_long(page: Callable[[str], str]) -> None:
    counts = []
    for orders in (3, 27):
        credential = make_credential(name=str(orders))
        for number in range(orders):
            place(f"{orders}-{number}")
        deliver(credential, sender=Vendor())
        page(URL)
        with CaptureQueriesContext(connection) as captured:
            page(URL)
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", ["purchase", "purchaseproxy"])
def test_order_form_shows_badges_and_the_way(page: Callable[[str], str], purchase: Purchase, model: str) -> None:
    html = page(f"/shop/oddshop/{model}/{purchase.pk}/change/")
    assert html.count(IN_SYNC) == 1
    assert f'href="/admin/optico_sync/subject/{Subject.objects.get().pk}/change/"' in html


def test_order_form_of_an_unknown_order_leads_nowhere(page: Callable[[str], str], credential: VendorCredential) -> None:
    html = page(f"{URL}{place().pk}/change/")
    assert NOT_SENT in html
    assert "/admin/optico_sync/subject/" not in html


@pytest.mark.parametrize("model", ["purchase", "purchaseproxy"])
def test_add_form_has_no_badges(page: Callable[[str], str], credential: VendorCredential, model: str) -> None:
    assert "sync-standings" not in page(f"/shop/oddshop/{model}/add/")
