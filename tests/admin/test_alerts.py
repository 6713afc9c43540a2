"""The page of alerts: whom to tell, when, what is wrong now, and a test."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client, override_settings
from django.utils import timezone

from optico_sync.models import Alert, AlertKind, AlertSettings, Notice
from tests.admin.conftest import Login
from tests.settings import OPTICO_SYNC

LIST = "/admin/optico_sync/alertsettings/"
PAGE = f"{LIST}1/change/"
SECRET = "a secret of sixteen or more"

pytestmark = pytest.mark.django_db


@pytest.fixture
def alerter(login: Login) -> Client:
    return login("change_alertsettings", "view_alertsettings", name="alerter")


def save(client: Client, **fields: Any) -> str:
    client.get(LIST)
    values = {
        "recipients": "owner@shop.example",
        "webhook_url": "",
        "secret": "",
        "language": "fr",
        "kinds": AlertKind.values,
        "waiting_minutes": 30,
        "breaker_minutes": 10,
        "worker_minutes": 10,
        "attribution_drop": 40,
        **fields,
    }
    return client.post(PAGE, values, follow=True).content.decode()


def test_the_list_leads_to_the_only_page(alerter: Client, viewer: Client) -> None:
    assert alerter.get(LIST).headers["Location"] == PAGE
    assert "nothing is looked for" in alerter.get(PAGE).content.decode()
    assert viewer.get(LIST).status_code == 403
    assert alerter.get(f"{LIST}add/").status_code == 403


def test_addresses_are_stored_one_a_line(alerter: Client) -> None:
    save(alerter, recipients="a@shop.example, b@shop.example;a@shop.example", kinds=["paused"])
    stored = AlertSettings.objects.get()
    assert stored.addresses == ["a@shop.example", "b@shop.example"]
    assert (stored.kinds, stored.language) == (["paused"], "fr")


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"recipients": "owner@shop"}, "“owner@shop” is no e-mail address."),
        ({"webhook_url": "http://hooks.example/x", "secret": SECRET}, "use https://"),
        ({"webhook_url": "https://10.0.0.1/x", "secret": SECRET}, "not public"),
        ({"webhook_url": "https://hooks.example/x"}, "a true message from a false one"),
        ({"webhook_url": "https://hooks.example/x", "secret": "short"}, "at least 16 characters"),
        ({"waiting_minutes": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_refused_with_the_cure(alerter: Client, fields: dict[str, Any], told: str) -> None:
    assert told in save(alerter, **fields)
    assert AlertSettings.objects.get().channels == []


def test_the_secret_goes_in_and_never_comes_out(alerter: Client) -> None:
    save(alerter, webhook_url="https://hooks.example/x?token=1", secret=SECRET)
    assert AlertSettings.objects.get().webhook_secret == SECRET
    assert SECRET not in alerter.get(PAGE).content.decode()
    save(alerter, webhook_url="https://hooks.example/y")
    assert AlertSettings.objects.get().webhook_secret == SECRET


def test_the_page_opens_when_the_secret_cannot_be_read(alerter: Client) -> None:
    save(alerter, webhook_url="https://hooks.example/x", secret=SECRET)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENCRYPTION_KEYS": []}):
        assert alerter.get(PAGE).status_code == 200


def test_the_test_button_sends_and_is_logged(alerter: Client, viewer: Client) -> None:
    save(alerter)
    assert viewer.post(f"{LIST}test/").status_code == 403
    assert alerter.get(f"{LIST}test/").status_code == 405
    html = alerter.post(f"{LIST}test/", follow=True).content.decode()
    assert "E-mail: sent" in html
    assert mail.outbox[0].to == ["owner@shop.example"]
    assert "Test message. e-mail: sent" in LogEntry.objects.latest("pk").change_message


def test_the_test_button_says_what_failed(alerter: Client) -> None:
    save(alerter, recipients="", webhook_url="http://127.0.0.1:9/x", secret=SECRET)
    html = alerter.post(f"{LIST}test/", follow=True).content.decode()
    assert "Webhook: could not connect" in html and "next attempt" in html


def test_the_page_shows_what_is_wrong(alerter: Client, credential: Any) -> None:
    now = timezone.now()
    Alert.objects.create(kind="status", about="<Layaway>", credential=credential, since=now, opened_at=now)
    Notice.objects.create(channel="mail", message={"subject": "S <b>"}, created_at=now, error="TimeoutError")
    save(alerter)
    html = alerter.get(PAGE).content.decode()
    assert "<q>&lt;Layaway&gt;</q>" in html and "S &lt;b&gt;" in html
    assert "TimeoutError" in html and "given up" in html
