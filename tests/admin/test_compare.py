"""What each vendor was last sent, beside what it would be sent now."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from optico_sync.models import Subject
from tests.helpers import KEY, Vendor, deliver, move, place

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    response = client.get(f"/admin/optico_sync/subject/{Subject.objects.get().pk}/compare/")
    assert response.status_code == 200
    return response.content.decode()


def test_what_differs_is_marked_on_both_sides(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    purchase = place("1001", "confirmed", operator="Anna Smith")
    deliver(credential, sender=vendor)
    assert "the same" in page(admin_client)
    move(purchase, "shipped")
    html = page(admin_client)
    assert "<del>status=confirmed</del>" in html and "<ins>status=shipped</ins>" in html
    assert "the same" not in html
    assert KEY not in html and "Anna Smith" not in html


def test_why_nothing_would_be_sent_is_said(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    purchase = place("1001", "Being processed")
    deliver(credential, sender=vendor)
    assert "Nothing was accepted yet" in page(admin_client)
    assert "Nothing would be sent now" in page(admin_client)
    assert "not mapped to a declared status" in page(admin_client)
    purchase.delete()
    assert "deleted in the shop" in page(admin_client)


def test_the_order_page_leads_there_for_who_may_read_requests(
    client: Client, django_user_model: Any, credential: Any, vendor: Vendor
) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=vendor)
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_subject"))
    client.force_login(viewer)
    pk = Subject.objects.get().pk
    assert "/compare/" not in client.get(f"/admin/optico_sync/subject/{pk}/change/").content.decode()
    assert client.get(f"/admin/optico_sync/subject/{pk}/compare/").status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="resend_subject"))
    assert "/compare/" in client.get(f"/admin/optico_sync/subject/{pk}/change/").content.decode()
    assert client.get(f"/admin/optico_sync/subject/{pk}/compare/").status_code == 200
