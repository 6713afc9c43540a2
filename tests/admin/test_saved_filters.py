"""The links above a list."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from optico_sync.admin import saved_filters
from optico_sync.models import SavedFilter, Subject, VendorCredential
from tests.admin.conftest import Login

ORDERS, CARTS = "/admin/optico_sync/subject/", "/admin/optico_sync/cart/"


def links(client: Client, url: str = ORDERS) -> dict[str, str]:
    """The shortcuts by name, each with where it leads."""
    bar = client.get(url).text.split('class="sync-shortcuts"')[1].split("</nav>")[0]
    found = re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)', bar)
    return {name.strip(): href.replace("&amp;", "&") for href, name in found}


def save(client: Client, query: str, name: str = "Mine", *, url: str = ORDERS, **data: str) -> str:
    response = client.post(f"{url}filters/save/", {"name": name, "query": query, **data}, follow=True)
    assert response.status_code == 200
    return response.text


def test_there_are_ready_made_ones_with_a_count_where_it_is_cheap(viewer: Client, refused: Subject) -> None:
    assert links(viewer) == {
        "Needs somebody": "?state=refused", "Waiting": "?state=waiting", "Credited to nobody": "?attributed=no"
    }  # fmt: skip
    html = viewer.get(ORDERS, {"state": "refused"}).text
    assert re.search(r'<a href="\?state=refused" aria-current="page">Needs somebody <b>1</b></a>', html)
    assert "Save these filters" not in html


def test_one_is_saved_used_and_deleted(viewer: Client, refused: Subject) -> None:
    asked = {"reason": "refused", "q": "10", "p": "older-99"}
    assert "Save these filters" in viewer.get(ORDERS, asked).text
    html = save(viewer, "reason=refused&q=10&p=older-99&evil=1")
    assert "Saved as “Mine”." in html and 'aria-current="page">Mine' in html and "Save these filters" not in html
    assert links(viewer)["Mine"] == "?q=10&reason=refused"
    (saved,) = SavedFilter.objects.all()
    html = viewer.post(f"{ORDERS}filters/{saved.pk}/delete/", follow=True).text
    assert "Deleted “Mine”." in html and "Mine" not in links(viewer)


def test_the_same_name_is_saved_anew(viewer: Client, credential: VendorCredential) -> None:
    save(viewer, "state=held")
    save(viewer, "state=waiting&attributed=no")
    assert links(viewer)["Mine"] == "?attributed=no&state=waiting"


def test_orders_and_carts_have_their_own(admin_client: Client, credential: VendorCredential) -> None:
    save(admin_client, "state=held", url=CARTS)
    assert "Mine" in links(admin_client, CARTS) and "Mine" not in links(admin_client)
    assert "Credited to nobody" not in links(admin_client, CARTS)
    (saved,) = SavedFilter.objects.all()
    assert admin_client.post(f"{ORDERS}filters/{saved.pk}/delete/").status_code == 404


def test_nobody_sees_or_deletes_anothers(viewer: Client, operator: Client, credential: VendorCredential) -> None:
    save(operator, "state=held")
    (saved,) = SavedFilter.objects.all()
    assert saved.user_key == str(User.objects.get(username="operator").pk)
    assert "Mine" not in links(viewer)
    assert viewer.post(f"{ORDERS}filters/{saved.pk}/delete/").status_code == 404
    assert SavedFilter.objects.exists()


def test_who_may_configure_saves_for_everybody(login: Login, viewer: Client, credential: VendorCredential) -> None:
    chief = login("view_subject", "change_vendorcredential", name="chief")
    assert "for everybody" in chief.get(ORDERS, {"state": "held"}).text
    save(chief, "state=held", "Ours", is_shared="on")
    assert links(viewer)["Ours"] == "?state=held"
    (saved,) = SavedFilter.objects.all()
    html = viewer.get(ORDERS, {"state": "waiting"}).text
    assert "for everybody" not in html and "/delete/" not in html
    assert viewer.post(f"{ORDERS}filters/{saved.pk}/delete/").status_code == 403
    shared = {"name": "x", "query": "state=held", "is_shared": "on"}
    assert viewer.post(f"{ORDERS}filters/save/", shared).status_code == 403
    assert chief.post(f"{ORDERS}filters/{saved.pk}/delete/").status_code == 302
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize(
    ("name", "query", "told"),
    [
        ("", "state=held", "This field is required."),
        ("x" * 61, "state=held", "at most 60"),
        ("x", "evil=1", "There is nothing to save"),
        ("x", "q=" + "9" * 600, "at most 500"),
    ],
)
def test_what_cannot_be_saved_says_why(
    viewer: Client, credential: VendorCredential, name: str, query: str, told: str
) -> None:
    assert told in save(viewer, query, name)
    assert not SavedFilter.objects.exists()


def test_there_are_only_so_many(viewer: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_filters, "MOST", 2)
    for name in ("a", "b"):
        save(viewer, "state=held", name)
    assert "there are 2 already" in save(viewer, "state=held", "c")
    assert "Saved as “b”." in save(viewer, "state=waiting", "b")
    assert SavedFilter.objects.count() == 2


def test_a_name_is_escaped(viewer: Client, credential: VendorCredential) -> None:
    save(viewer, "q=<script>", "<script>alert(1)</script>")
    html = viewer.get(ORDERS).text
    assert "&lt;script&gt;alert(1)" in html and "<script>alert" not in html


def test_it_takes_the_right_to_see_orders(login: Login, viewer: Client) -> None:
    assert login().post(f"{ORDERS}filters/save/", {"name": "x", "query": "state=held"}).status_code == 403
    assert viewer.get(f"{ORDERS}filters/save/").status_code == 405
    assert viewer.get(f"{ORDERS}filters/1/delete/").status_code == 405
    assert login(name="other").post(f"{ORDERS}filters/1/delete/").status_code == 403
