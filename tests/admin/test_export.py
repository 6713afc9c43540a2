"""The list as a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import listing
from optico_sync.models import Subject, VendorCredential
from optico_sync.relay import relay_all
from tests.admin.conftest import Login
from tests.helpers import fill, make_credential, place

ORDERS, CARTS = "/admin/optico_sync/subject/export/", "/admin/optico_sync/cart/export/"


def sheet(client: Client, url: str = ORDERS, *, delimiter: str = ",", **asked: object) -> list[dict[str, str]]:
    response = client.get(url, asked)
    assert response.status_code == 200 and response.streaming
    text = b"".join(response.streaming_content).decode()
    assert text[0] == "\ufeff" and text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text[1:]), delimiter=delimiter))


def test_a_row_holds_what_the_list_shows(viewer: Client, refused: Subject, in_sync: Subject) -> None:
    make_credential(name="Second")
    first, second = sheet(viewer)
    assert second | {"last change": ""} == {
        "order": "1001",
        "shop status": "confirmed",
        "attributed": "visit and call",
        "last change": "",
        "Optico: state": "refused",
        "Optico: reason": "The vendor refused this order.",
        "Second: state": "not sent",
        "Second: reason": "It has not changed since this credential exists.",
    }
    changed = timezone.localtime(refused.changed_at)
    assert second["last change"] == changed.isoformat(" ", "seconds")
    assert (first["order"], first["Optico: state"], first["attributed"]) == ("2001", "in sync", "to nobody")


def test_no_visit_and_no_key_leave(viewer: Client, refused: Subject) -> None:
    text = str(sheet(viewer))
    assert "64f1" not in text and "77" not in text and refused.key not in text and "cust_TEST" not in text


def test_filters_and_search_hold(viewer: Client, refused: Subject, in_sync: Subject) -> None:
    assert [row["order"] for row in sheet(viewer, state="refused")] == ["1001"]
    assert [row["order"] for row in sheet(viewer, q="20")] == ["2001"]
    assert sheet(viewer, q="\x00") == sheet(viewer)
    assert not sheet(viewer, state="nonsense") and not sheet(viewer, credential="999")


def test_the_list_links_to_its_own_export(viewer: Client, refused: Subject) -> None:
    html = viewer.get("/admin/optico_sync/subject/", {"state": "refused", "q": "1", "p": "older-999999"}).text
    assert 'href="export/?q=1&amp;state=refused"' in html


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1"])
def test_no_cell_is_a_formula(viewer: Client, credential: VendorCredential, evil: str) -> None:
    VendorCredential.objects.update(name=evil)
    now = timezone.now()
    Subject.objects.create(kind="order", key="k", reference=evil, status=evil, created_at=now, changed_at=now)
    (row,) = sheet(viewer)
    assert row["order"] == row["shop status"] == f"'{evil}"
    assert f"'{evil}: state" in row


def test_it_is_read_bit_by_bit(viewer: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    Subject.objects.bulk_create(
        Subject(kind="order", key=str(n), reference=f"R{n}", created_at=now, changed_at=now) for n in range(30)
    )
    monkeypatch.setattr(listing.Listing.chunks, "__defaults__", (10,))
    response: Any = viewer.get(ORDERS)
    parts = iter(response.streaming_content)
    next(parts)
    with CaptureQueriesContext(connection) as first:
        assert next(parts).count(b"\r\n") == 10
    assert len(first) == 2 and "LIMIT 11" in first[0]["sql"]
    with CaptureQueriesContext(connection) as second:
        assert b"R10," in b"".join(parts)
    assert len(second) == 4


def test_carts_have_theirs(admin_client: Client, credential: VendorCredential) -> None:
    fill()
    place("1001")
    relay_all()
    (row,) = sheet(admin_client, CARTS)
    assert row["cart"] and row["Optico: state"] == "waiting" and "order" not in row


def test_french_spreadsheets_part_columns_by_semicolons(viewer: Client, refused: Subject) -> None:
    viewer.cookies["django_language"] = "fr"
    (row,) = sheet(viewer, delimiter=";")
    assert len(row) == 6


def test_who_may_not_see_orders_may_not_export_them(login: Login, viewer: Client, db: None) -> None:
    assert login().get(ORDERS).status_code == 403
    assert viewer.get(CARTS).status_code == 403
    assert viewer.post(ORDERS).status_code == 405
    assert Client().get(ORDERS).status_code == 302
