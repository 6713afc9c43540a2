"""The banner on a copy: three buttons, for those who may configure."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from optico_sync.models import Installation, VendorCredential
from optico_sync.models.installation import Facts

URL = "/admin/optico_sync/vendorcredential/installation/"
LIST = "/admin/optico_sync/vendorcredential/"
QUESTION = "Is this a copy?"

pytestmark = pytest.mark.django_db


@pytest.fixture
def restored(db: None) -> None:
    Installation.record(Facts(database="db.example", address="postgresql://db.example:5432/shop"))


def page(client: Client, url: str = LIST) -> str:
    return client.get(url).content.decode()


def test_the_original_shows_no_banner(owner: Client, credential: VendorCredential) -> None:
    Installation.start()
    assert QUESTION not in page(owner)


def test_a_copy_asks_on_every_page(owner: Client, viewer: Client, credential: VendorCredential, restored: None) -> None:
    for url in (LIST, f"{LIST}{credential.pk}/change/"):
        assert QUESTION in page(owner, url) and "What differs: the database" in page(owner, url)
    for url in ("/admin/optico_sync/", "/admin/optico_sync/subject/"):
        assert QUESTION in page(viewer, url)
    seen = page(viewer, "/admin/optico_sync/subject/")
    assert QUESTION in seen and 'value="adopt"' not in seen and "db.example" not in seen


def test_only_who_may_change_credentials_decides(operator: Client, owner: Client, restored: None) -> None:
    assert operator.post(URL, {"verb": "adopt"}).status_code == 403
    assert owner.get(URL).status_code == 405
    assert owner.post(URL, {"verb": "explode"}).status_code == 400
    assert LogEntry.objects.count() == 0


def test_adopting_ends_it_and_is_logged(owner: Client, credential: VendorCredential, restored: None) -> None:
    html = owner.post(URL, {"verb": "adopt"}, follow=True).content.decode()
    assert "This is the real installation now" in html and QUESTION not in html
    assert "It differed in: the database" in LogEntry.objects.get().change_message


def test_the_sandbox_is_refused_at_a_live_address(owner: Client, credential: VendorCredential, restored: None) -> None:
    html = owner.post(URL, {"verb": "sandbox", "url": "https://www.optico.fr"}, follow=True).content.decode()
    assert "name the sandbox" in html and QUESTION in html
    html = owner.post(URL, {"verb": "sandbox", "url": "http://127.0.0.1:8001"}, follow=True).content.decode()
    assert "the live keys are gone" in html
    assert VendorCredential.objects.get().base_url == "http://127.0.0.1:8001"


def test_staying_off_leaves_a_quiet_line(owner: Client, credential: VendorCredential, restored: None) -> None:
    html = owner.post(URL, {"verb": "stay_off"}, follow=True).content.decode()
    assert QUESTION not in html and "a copy that stays off" in html


def test_a_decided_question_is_not_answered_twice(owner: Client, credential: VendorCredential, restored: None) -> None:
    owner.post(URL, {"verb": "adopt"})
    html = owner.post(URL, {"verb": "sandbox", "url": "http://127.0.0.1:8001"}, follow=True).content.decode()
    assert "Nothing to decide" in html
    assert VendorCredential.objects.get().base_url == credential.base_url


def test_resuming_does_not_open_a_copy(owner: Client, credential: VendorCredential, restored: None) -> None:
    html = owner.post(f"{LIST}{credential.pk}/resume/", follow=True).content.decode()
    assert "is sending again" not in html and "another installation" in html
