"""Credentials: a form that asks what the vendor declares, and keys that never come back."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.views.debug import SafeExceptionReporterFilter

from optico_sync import conf
from optico_sync.admin.credential_form import form_for
from optico_sync.models import StatusMapping, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.vendors.base import SecretField
from optico_sync.vendors.optico import Optico
from tests.helpers import KEY, make_credential, place

CHOOSE = "/admin/optico_sync/vendorcredential/add/"
ADD = CHOOSE + "?vendor=optico"
LIST = "/admin/optico_sync/vendorcredential/"
LONG_KEY = "cust_1f0ab6d2e14567"


class TwoSecrets(Optico):
    name: ClassVar[str] = "twosecrets"
    label = "Two secrets"
    secrets = (SecretField(name="public", label="Public key"), SecretField(name="private", label="Private key"))


def url_of(credential: VendorCredential, end: str = "change/") -> str:
    return f"{LIST}{credential.pk}/{end}"


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def typed(**fields: Any) -> dict[str, Any]:
    """What the form posts."""
    data = {
        "name": "Optico",
        "base_url": "https://www.optico.fr",
        "is_enabled": "on",
        "start_at_0": "2026-01-02",
        "start_at_1": "03:04:05",
        "concurrency": "8",
        "option_dialect": "sales",
        "option_carts": "on",
        "secret_key": "",
    }
    for prefix in ("declared_statuses", "status_mappings", "rules"):
        data |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    return data | fields


def errors(client: Client, url: str, data: dict[str, Any]) -> dict[str, list[str]]:
    response = client.post(url, data)
    assert response.status_code == 200, "it was accepted"
    return dict(response.context["adminform"].form.errors)


# adding


def test_add_form_asks_what_the_vendor_declares(owner: Client) -> None:
    html = page(owner, ADD)
    assert 'type="password" name="secret_key"' in html
    assert 'name="option_dialect"' in html
    assert 'value="https://www.optico.fr"' in html
    assert "sealed_secrets" not in html
    assert 'name="options"' not in html


def test_add_stores_the_key_encrypted(owner: Client) -> None:
    response = owner.post(ADD, typed(secret_key=LONG_KEY), follow=True)
    credential = VendorCredential.objects.get()
    assert response.redirect_chain == [(url_of(credential), 302)]
    assert (credential.vendor, credential.secrets, credential.options) == (
        "optico", {"key": LONG_KEY}, {"dialect": "sales", "carts": True, "id_prefix": ""}
    )  # fmt: skip
    assert LONG_KEY not in response.content.decode()


def test_a_secret_that_is_not_required_can_be_typed_and_forgotten(owner: Client) -> None:
    owner.post(ADD, typed(secret_key=LONG_KEY))
    credential = VendorCredential.objects.get()
    assert 'name="forget_cart_key" disabled' in page(owner, url_of(credential))
    owner.post(url_of(credential), typed(secret_cart_key="another"))
    credential = VendorCredential.objects.get()
    assert credential.secrets == {"key": LONG_KEY, "cart_key": "another"}
    owner.post(url_of(credential), typed(forget_cart_key="on"))
    assert VendorCredential.objects.get().secrets == {"key": LONG_KEY}


def test_add_makes_mappings_for_the_statuses_known(owner: Client) -> None:
    make_credential(name="first")
    for number, status in enumerate(["confirmed", "on hold"]):
        place(str(number), status)
    relay_all()
    declared = {
        "declared_statuses-TOTAL_FORMS": "1",
        "declared_statuses-0-name": "confirmed",
        "declared_statuses-0-is_sale": "on",
    }
    owner.post(ADD, typed(secret_key=LONG_KEY, **declared))
    mappings = StatusMapping.objects.filter(credential__name="Optico")
    assert dict(mappings.values_list("shop_status", "choice")) == {"confirmed": "send", "on hold": "undecided"}


def test_add_without_the_key_is_an_error(owner: Client) -> None:
    assert "secret_key" in errors(owner, ADD, typed())
    assert not VendorCredential.objects.exists()


def test_rejected_form_does_not_give_the_key_back(owner: Client) -> None:
    response = owner.post(ADD, typed(secret_key=LONG_KEY, name=""))
    assert response.status_code == 200
    assert LONG_KEY not in response.content.decode()


def test_several_vendors_are_chosen_from_first(owner: Client, settings: Any) -> None:
    path = f"{TwoSecrets.__module__}.TwoSecrets"
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "VENDORS": {"twosecrets": path, "broken": "no.such.Vendor"}}
    html = page(owner, CHOOSE)
    assert '<a href="?vendor=optico">Optico</a>' in html
    assert '<a href="?vendor=twosecrets">Two secrets</a>' in html
    assert "broken" not in html
    html = page(owner, CHOOSE + "?vendor=twosecrets")
    assert 'name="secret_public"' in html
    assert 'name="secret_private"' in html
    assert 'name="secret_key"' not in html
    owner.post(CHOOSE + "?vendor=twosecrets", typed(secret_public="p" * 20, secret_private="q" * 20))
    assert VendorCredential.objects.get().secrets == {"public": "p" * 20, "private": "q" * 20}


# changing


@pytest.fixture
def stored(db: None) -> VendorCredential:
    credential = make_credential("https://www.optico.fr")
    credential.set_secrets({"key": LONG_KEY})
    credential.save()
    return credential


def test_change_form_shows_only_the_end_of_the_key(owner: Client, stored: VendorCredential) -> None:
    html = page(owner, url_of(stored))
    assert "Stored, ends in …4567." in html
    assert LONG_KEY not in html


def test_short_key_shows_nothing_of_itself(owner: Client, credential: VendorCredential) -> None:
    html = page(owner, url_of(credential))
    assert "Stored. Leave it empty to keep it." in html
    assert KEY[-4:] not in html


def test_empty_key_keeps_the_stored_one(owner: Client, stored: VendorCredential) -> None:
    before = VendorCredential.objects.get().secrets_version
    assert owner.post(url_of(stored), typed(name="Renamed")).status_code == 302
    after = VendorCredential.objects.get()
    assert (after.name, after.secrets, after.secrets_version) == ("Renamed", {"key": LONG_KEY}, before)


def test_new_key_replaces_it_and_ends_the_pause(owner: Client, stored: VendorCredential) -> None:
    stored.pause("key_refused", "Invalid API key", timezone.now())
    stored.save()
    assert owner.post(url_of(stored), typed(secret_key="cust_another_key_9")).status_code == 302
    after = VendorCredential.objects.get()
    assert after.secrets == {"key": "cust_another_key_9"}
    assert after.paused_at is None
    assert after.secrets_version == stored.secrets_version + 1


@pytest.mark.parametrize("field", [{"base_url": "https://other.example.com"}, {}])
def test_new_address_ends_the_pause(owner: Client, stored: VendorCredential, field: dict) -> None:
    stored.options = {"dialect": "sales"}
    stored.pause("wrong_address", "HTTP 404", timezone.now())
    stored.save()
    owner.post(url_of(stored), typed(**field))
    assert (VendorCredential.objects.get().paused_at is None) == bool(field)


def test_saving_does_not_undo_what_a_worker_wrote(owner: Client, stored: VendorCredential, monkeypatch: Any) -> None:
    def pause_meanwhile(self: Any) -> dict[str, str]:
        VendorCredential.objects.update(paused_at=timezone.now(), pause_reason="key_refused")
        return {}

    stored.options = {"dialect": "sales"}
    stored.save()
    monkeypatch.setattr("optico_sync.admin.credential_form.CredentialForm._chosen", pause_meanwhile)
    owner.post(url_of(stored), typed(name="Renamed"))
    assert VendorCredential.objects.get().pause_reason == "key_refused"


@pytest.fixture
def unreadable(stored: VendorCredential, settings: Any) -> VendorCredential:
    key = "YW5vdGhlci1rZXktb2YtdGhlLXRlc3RzLW51bWJlcjI="
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENCRYPTION_KEYS": [key]}
    return stored


def test_unreadable_key_is_told_in_words(owner: Client, unreadable: VendorCredential) -> None:
    html = page(owner, url_of(unreadable))
    assert "It cannot be read: A stored secret needs the encryption key" in html
    assert page(owner, LIST)


def test_unreadable_key_can_be_kept(owner: Client, unreadable: VendorCredential, settings: Any) -> None:
    known = VendorCredential.objects.filter(name="Renamed").defer("sealed_secrets")
    assert owner.post(url_of(unreadable), typed(name="Renamed")).status_code == 302
    assert known.exists()


def test_unreadable_key_can_be_typed_again(owner: Client, unreadable: VendorCredential) -> None:
    assert owner.post(url_of(unreadable), typed(secret_key="cust_typed_again")).status_code == 302
    assert VendorCredential.objects.get().secrets == {"key": "cust_typed_again"}


def test_unreadable_secrets_are_replaced_together(unreadable: VendorCredential) -> None:
    unreadable.vendor = "twosecrets"
    credential = VendorCredential.objects.defer("sealed_secrets").get()
    data = typed(start_at="2026-01-01", secret_public="p" * 20, option_dialect="sales")
    form = form_for(TwoSecrets())(data, instance=credential)
    assert list(form.errors) == ["secret_private"]


def test_without_an_encryption_key_the_form_says_so(owner: Client, settings: Any) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENCRYPTION_KEYS": []}
    (message,) = errors(owner, ADD, typed(secret_key=LONG_KEY))["__all__"]
    assert "ENCRYPTION_KEYS" in message


def test_vendor_that_is_gone_still_opens(owner: Client, stored: VendorCredential) -> None:
    VendorCredential.objects.update(vendor="gone")
    html = page(owner, url_of(stored))
    assert "A vendor that is no longer there: gone" in html
    assert "secret_" not in html
    assert "gone" in page(owner, LIST)


# base URL


@pytest.mark.parametrize(
    "url",
    ["https://www.optico.fr", "https://optico.example:8443/sub", "http://127.0.0.1:8001", "http://localhost:8001",
     "https://127.0.0.1"],
)  # fmt: skip
def test_base_url_is_accepted(owner: Client, url: str) -> None:
    owner.post(ADD, typed(secret_key=LONG_KEY, base_url=url))
    assert VendorCredential.objects.get().base_url == url


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("http://www.optico.fr", "use https://"),
        ("http://10.0.0.1", "ALLOWED_NETWORKS"),
        ("https://10.0.0.1", "ALLOWED_NETWORKS"),
        ("https://169.254.169.254", "not public"),
        ("https://me:secret@www.optico.fr", "Only the address"),
        ("https://www.optico.fr/?key=x", "Only the address"),
        ("ftp://127.0.0.1", "use https://"),
    ],
)
def test_base_url_is_refused_with_its_cure(owner: Client, url: str, cure: str) -> None:
    (message,) = errors(owner, ADD, typed(secret_key=LONG_KEY, base_url=url))["base_url"]
    assert cure in message


def test_without_allowed_networks_even_loopback_needs_more(owner: Client, settings: Any) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ALLOWED_NETWORKS": []}
    assert not conf.options().ALLOWED_NETWORKS
    assert "base_url" in errors(owner, ADD, typed(secret_key=LONG_KEY, base_url="http://127.0.0.1:8001"))


# the list


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ["sending"]),
        ({"is_enabled": False}, ["off", "The credential is switched off.", "Switch it on to send what waits."]),
        ({"paused_at": timezone.now(), "pause_reason": "key_refused"}, ["paused", "The vendor refused the key."]),
        ({"opened_at": timezone.now(), "open_until": timezone.now()}, ["not answering", "Next probe at"]),
    ],
)
def test_list_tells_the_state_in_words(owner: Client, stored: VendorCredential, fields: dict, words: list) -> None:
    VendorCredential.objects.update(**fields)
    html = page(owner, LIST)
    for word in words:
        assert word in html


def test_list_never_reads_the_secrets(owner: Client, stored: VendorCredential) -> None:
    with CaptureQueriesContext(connection) as captured:
        page(owner, LIST)
        before = len(captured)
        for number in range(3):
            make_credential(name=f"c{number}")
        made = len(captured)
        page(owner, LIST)
    assert len(captured) - made == before
    assert not any("SELECT" in q["sql"] and "sealed_secrets" in q["sql"] for q in captured.captured_queries[made:])


# resuming and deleting


@pytest.mark.parametrize("way", ["action", "button"])
def test_resume(owner: Client, stored: VendorCredential, way: str) -> None:
    stored.pause("forbidden", "HTTP 403", timezone.now())
    stored.save()
    assert "Resume sending" in page(owner, url_of(stored))
    if way == "action":
        owner.post(LIST, {"action": "resume", "_selected_action": [stored.pk]})
    else:
        assert owner.post(url_of(stored, "resume/")).status_code == 302
    assert VendorCredential.objects.get().hold_reason == ""
    assert "is sending again" in LogEntry.objects.get().change_message


def test_resume_needs_permission(login: Any, stored: VendorCredential) -> None:
    stored.pause("forbidden", "HTTP 403", timezone.now())
    stored.save()
    looker = login("view_vendorcredential")
    assert looker.post(url_of(stored, "resume/")).status_code == 403
    looker.post(LIST, {"action": "resume", "_selected_action": [stored.pk]})
    assert VendorCredential.objects.get().paused_at
    assert "Resume sending" not in page(looker, url_of(stored))


def test_buttons_take_only_posts(owner: Client, stored: VendorCredential) -> None:
    status = stored.declared_statuses.first()
    assert owner.get(url_of(stored, "resume/")).status_code == 405
    assert owner.get(url_of(stored, f"declare/{status.pk}/")).status_code == 405


def test_credential_with_orders_is_not_deleted(owner: Client, stored: VendorCredential) -> None:
    place()
    relay_all()
    assert "has a record of orders" in page(owner, url_of(stored, "delete/"))
    owner.post(url_of(stored, "delete/"), {"post": "yes"})
    assert VendorCredential.objects.exists()
    SyncState.objects.all().delete()


# secrets stay secret


def test_key_is_on_no_page_and_in_no_log(owner: Client, stored: VendorCredential) -> None:
    owner.post(url_of(stored), typed(secret_key="cust_another_key_9"))
    pages = [page(owner, url) for url in (LIST, url_of(stored), url_of(stored, "history/"))]
    for text in (*pages, *(entry.change_message for entry in LogEntry.objects.all())):
        assert "cust_another_key_9" not in text
        assert LONG_KEY not in text


def test_key_is_on_no_error_page(owner: Client, stored: VendorCredential, monkeypatch: Any, caplog: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(VendorCredential, "save", fail)
    owner.raise_request_exception = False
    with caplog.at_level(logging.ERROR, "django.request"):
        response = owner.post(url_of(stored), typed(secret_key="cust_another_key_9"))
    assert response.status_code == 500
    request = next(record.request for record in caplog.records if hasattr(record, "request"))
    shown = SafeExceptionReporterFilter().get_post_parameters(request)
    assert "cust_another_key_9" not in str(shown)


def test_viewer_sees_no_secret_field(login: Any, stored: VendorCredential) -> None:
    html = page(login("view_vendorcredential"), url_of(stored))
    assert "secret_" not in html
    assert "Customer API key" not in html
    assert "4567" not in html


def test_credentials_need_their_own_permission(operator: Client, stored: VendorCredential) -> None:
    assert operator.get(LIST).status_code == 403
    assert operator.get(url_of(stored)).status_code == 403
    assert operator.get(ADD).status_code == 403


def test_nothing_is_inline(owner: Client, stored: VendorCredential) -> None:
    html = page(owner, url_of(stored))
    assert "<style" not in html
    assert " style=" not in html
