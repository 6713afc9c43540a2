"""Test connection: what one harmless request shows, in the admin and as ``optico_check``."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.urls import reverse

from optico_sync.models import VendorCredential
from optico_sync.probe import probe
from tests.helpers import KEY, make_credential
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db


def check(*names: str) -> str:
    out = StringIO()
    call_command("optico_check", *names, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_good_key_is_found_good_and_nothing_is_recorded(live: Any, optico: Any) -> None:
    finding = probe(live)
    assert finding.is_good is True
    assert "Nothing was recorded" in str(finding.text) and "not proven" in str(finding.text)
    (entry,) = optico.journal()
    assert entry["fields"].keys() == {"key"}
    assert optico.orders() == []


def test_a_refused_key_is_said_to_be_refused(live: Any, optico: Any) -> None:
    """By the document a key that is missing or wrong is one error, a missing ``id`` another."""
    optico.fault_all({"kind": "reply", "body": '{"status":"error","message":"Invalid api key"}'})
    finding = probe(live)
    assert (finding.is_good, str(finding.text)) == (False, "Optico answers and refuses the key.")


def test_html_is_no_optico(live: Any, optico: Any) -> None:
    optico.fault_all("html200")
    assert probe(live).is_good is False


def test_an_address_where_nobody_listens() -> None:
    finding = probe(make_credential("http://127.0.0.1:9"))
    assert finding.is_good is False
    assert "could not be reached" in str(finding.text)


def test_an_address_that_is_not_allowed() -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ALLOWED_NETWORKS": []}):
        finding = probe(make_credential("http://127.0.0.1:9"))
    assert "not public" in str(finding.text)


def test_a_missing_key_and_one_that_cannot_be_read() -> None:
    credential = make_credential()
    credential.set_secrets({})
    credential.save()
    assert "lacks a key" in str(probe(credential).text)
    credential.set_secrets({"key": KEY})
    credential.save()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENCRYPTION_KEYS": []}):
        fresh = VendorCredential.objects.defer("sealed_secrets").get()
        assert "cannot be decrypted" in str(probe(fresh).text)


def test_a_vendor_without_a_harmless_request_is_only_looked_for(optico: Any) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "VENDORS": {"newest": "tests.vendors.tiny.Newest"}}):
        credential = VendorCredential.objects.create(name="n", vendor="newest", base_url=optico.url)
        credential.set_secrets({"token": "t0ken"})
        finding = probe(credential)
    assert finding.is_good is None
    assert "is not proven" in str(finding.text)


def test_the_command_names_each_and_fails_when_one_is_bad(live: Any, optico: Any) -> None:
    assert check().startswith("Optico: good. Optico answers")
    make_credential("http://127.0.0.1:9", name="down")
    with pytest.raises(CommandError, match="1 of 2 credentials cannot send"):
        check()
    assert "down" not in check("Optico")
    with pytest.raises(CommandError, match="There is no credential Optoco. Known: "):
        check("Optoco")


def test_the_button_tells_and_needs_the_permission(live: Any, client: Client) -> None:
    url = reverse("admin:optico_sync_vendorcredential_probe", args=[live.pk])
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    assert client.post(url).status_code == 403
    client.force_login(User.objects.create_superuser("owner"))
    assert client.get(url).status_code == 405
    page = client.post(url, follow=True).content.decode()
    assert "does not refuse the key" in page
    assert "Test the connection" in page
    assert KEY not in page
