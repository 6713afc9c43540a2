"""The credential's page shows the last comparison with what its vendor holds."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from optico_sync.models import Reconciliation, Subject, VendorCredential
from tests.helpers import make_credential


@pytest.fixture
def ometria(db: None) -> VendorCredential:
    credential = make_credential(name="Ometria")
    VendorCredential.objects.update(vendor="ometria")
    return credential


def page(client: Client, credential: VendorCredential) -> str:
    return client.get(f"/admin/optico_sync/vendorcredential/{credential.pk}/change/").content.decode()


def ran(credential: VendorCredential, **values: Any) -> None:
    now = timezone.now()
    Reconciliation.objects.create(credential=credential, started_at=now, finished_at=now, **values)


def drift(**values: Any) -> dict[str, Any]:
    row = {"order": "1001", "subject": None, "kind": "differs", "field": "status", "shop": "shipped", "vendor": "paid"}
    return {**row, **values}


def test_a_vendor_that_reads_nothing_back_shows_nothing(owner: Client, credential: VendorCredential) -> None:
    assert "compared" not in page(owner, credential)


def test_before_the_first_run_it_says_how(owner: Client, ometria: VendorCredential) -> None:
    html = page(owner, ometria)
    assert "never compared" in html and "optico_reconcile" in html


def test_in_step(owner: Client, ometria: VendorCredential) -> None:
    ran(ometria, compared=12, on_their_way=3, left_out=2)
    html = page(owner, ometria)
    assert "in step" in html
    assert "Orders compared: 12, drifted: 0, on their way: 3, left out by the rules: 2." in html
    assert "What differs" not in html


def test_drift_is_a_table_without_personal_values(owner: Client, ometria: VendorCredential) -> None:
    rows = [drift(vendor="<b>paid</b>"), drift(field="customer.email", shop=None, vendor=None)]
    ran(ometria, compared=12, drifted=5, drifts=rows)
    html = page(owner, ometria)
    assert "<code>status</code>" in html and "&lt;b&gt;paid&lt;/b&gt;" in html
    assert "<code>customer.email</code>" in html and "personal data: not shown" in html
    assert "4 orders more are not shown." in html


def test_an_order_is_a_link_for_those_who_may_see_orders(login: Any, ometria: VendorCredential) -> None:
    now = timezone.now()
    subject = Subject.objects.create(kind="order", key="k", reference="1001", created_at=now, changed_at=now)
    ran(ometria, drifted=1, drifts=[drift(subject=subject.pk)])
    link = f'href="/admin/optico_sync/subject/{subject.pk}/change/"'
    assert link in page(login("view_vendorcredential", "view_subject", name="both"), ometria)
    assert link not in page(login("view_vendorcredential", name="one"), ometria)


def test_a_vendor_that_could_not_be_read_says_why(owner: Client, ometria: VendorCredential) -> None:
    ran(ometria, failure="timeout")
    html = page(owner, ometria)
    assert "not read" in html and "did not answer in time" in html
    assert "Orders compared" not in html


def test_a_credential_that_was_only_read_back_can_be_deleted(owner: Client, ometria: VendorCredential) -> None:
    ran(ometria)
    owner.post(f"/admin/optico_sync/vendorcredential/{ometria.pk}/delete/", {"post": "yes"})
    assert not VendorCredential.objects.exists()
