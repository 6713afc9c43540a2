"""Alerts: what is wrong is told once, reminded of, and recovered; by e-mail and by a signed webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django import VERSION
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from pytest_httpserver import HTTPServer

from optico_sync import alerts
from optico_sync.alerts.troubles import troubles
from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import (
    Alert,
    AlertKind,
    AlertSettings,
    Installation,
    Notice,
    OutboxEvent,
    Subject,
    SyncState,
    VendorCredential,
    Worker,
)
from optico_sync.models.installation import Facts
from optico_sync.relay import relay_all
from tests.helpers import Clock, Vendor, deliver, error, fill, make_credential, place
from tests.settings import OPTICO_SYNC

SECRET = "a secret of sixteen or more"


class Refusing(BaseEmailBackend):
    """A mail server that knows nobody."""

    def send_messages(self, email_messages: Any) -> int:
        raise smtplib.SMTPRecipientsRefused({"owner@shop.example": (550, b"no such user")})


_BACKEND = f"{__name__}.Refusing"
REFUSING = {"MAILERS": {"default": {"BACKEND": _BACKEND}}} if VERSION >= (6, 1) else {"EMAIL_BACKEND": _BACKEND}

pytestmark = pytest.mark.django_db


@pytest.fixture
def settings_() -> AlertSettings:
    kinds = [kind for kind in AlertKind.values if kind != AlertKind.WORKER]
    return AlertSettings.objects.create(pk=1, recipients="owner@shop.example", kinds=kinds)


@pytest.fixture
def webhook(settings_: AlertSettings, httpserver: HTTPServer) -> HTTPServer:
    settings_.recipients, settings_.webhook_url, settings_.webhook_secret = "", httpserver.url_for("/hook"), SECRET
    settings_.save()
    return httpserver


def watch(clock: Clock, **later: float) -> list[str]:
    """Look, ``later``. Returns the subjects of the mails that this made."""
    clock.forward(**later or {"minutes": 1})
    before = len(mail.outbox)
    alerts.watch(clock=clock)
    return [message.subject.partition("] ")[2] for message in mail.outbox[before:]]


def pause(clock: Clock, reason: str = "key_refused") -> None:
    VendorCredential.objects.update(paused_at=clock.now, pause_reason=reason)


def resume() -> None:
    VendorCredential.objects.update(paused_at=None, pause_reason="")


PAUSED = "Optico: a credential is paused, because its key was refused or the like"


# off


def test_without_an_address_nothing_is_looked_for(credential: Any, clock: Clock) -> None:
    pause(clock)
    assert watch(clock) == []
    AlertSettings.objects.create(pk=1)
    assert watch(clock) == []
    assert not Alert.objects.exists() and not Notice.objects.exists()


def test_a_kind_that_is_not_wanted_is_not_told(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    AlertSettings.objects.update(kinds=[])
    assert watch(clock) == []


def test_a_copy_of_the_installation_tells_nobody(settings_: Any, credential: Any, clock: Clock) -> None:
    Installation.record(Facts(database="elsewhere"))
    pause(clock)
    assert watch(clock) == []


# told once, reminded of, recovered


def test_trouble_is_told_once_and_reminded_of_ever_more_rarely(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    assert watch(clock) == [PAUSED]
    assert [watch(clock, hours=1) for _ in range(3)] == [[], [], []]
    assert watch(clock, hours=1) == [f"Still: {PAUSED}"]
    assert [watch(clock, hours=6) for _ in range(8)] == [[], [], [], [f"Still: {PAUSED}"]] * 2


def test_recovery_is_told_once_it_lasts(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    watch(clock)
    resume()
    assert watch(clock) == []
    assert watch(clock, minutes=6) == [f"Over: {PAUSED}"]
    assert watch(clock, minutes=6) == []


def test_trouble_that_flickers_is_told_once(settings_: Any, credential: Any, clock: Clock) -> None:
    told = []
    for _ in range(5):
        pause(clock)
        told += watch(clock)
        resume()
        told += watch(clock)
    assert told == [PAUSED]


def test_several_workers_tell_once(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    assert watch(clock) == [PAUSED]
    assert watch(clock, seconds=1) == []
    alerts.watch(clock=clock, is_forced=True)
    assert Notice.objects.count() == 1


def test_one_message_tells_of_all_that_is_new(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    AlertSettings.objects.update(kinds=AlertKind.values)
    assert watch(clock) == [f"{PAUSED}, and 1 more"]
    assert "optico_worker" in mail.outbox[0].body


def test_a_kind_no_longer_wanted_ends_without_a_word(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    watch(clock)
    AlertSettings.objects.update(kinds=[])
    assert watch(clock, minutes=10) == []
    assert alerts.open_alerts() == []


# what is wrong


def test_an_order_that_waits_too_long(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001")
    relay_all()
    assert watch(clock, minutes=25) == []
    assert watch(clock, minutes=10) == ["Optico: changes wait too long"]
    deliver(credential, sender=Vendor(), clock=clock)
    watch(clock)
    assert watch(clock, minutes=6) == ["Over: Optico: changes wait too long"]


def test_an_order_that_is_tried_for_too_long(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001")
    relay_all()
    SyncState.objects.update(state="retrying", attempts=6, due_at=clock.now + timedelta(hours=2))
    assert watch(clock) == []
    SyncState.objects.update(attempts=7)
    assert watch(clock) == ["Optico: changes wait too long"]


def test_what_waits_for_a_paused_credential_is_told_as_the_pause(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001")
    relay_all()
    assert watch(clock, minutes=35) == ["Optico: changes wait too long"]
    pause(clock)
    assert watch(clock) == [PAUSED]
    assert watch(clock, minutes=10) == []


def test_changes_that_nobody_takes_up(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001")
    assert OutboxEvent.objects.filter(relayed_at=None).exists()
    assert watch(clock, minutes=35) == ["changes wait too long"]


def test_a_vendor_that_does_not_answer(settings_: Any, credential: Any, clock: Clock) -> None:
    VendorCredential.objects.update(opened_at=clock.now, open_until=clock.now)
    assert watch(clock, minutes=9) == []
    assert watch(clock, minutes=2) == ["Optico: a vendor does not answer"]


def test_a_new_key_that_is_being_tried_is_told_when_orders_wait_for_it(
    settings_: Any, credential: Any, clock: Clock
) -> None:
    VendorCredential.objects.update(opened_at=clock.now, open_until=clock.now, open_reason="new_key")
    assert watch(clock, minutes=25) == []
    place("1001")
    relay_all()
    SyncState.objects.update(due_at=clock.now)
    assert watch(clock, minutes=35) == ["Optico: changes wait too long"]


def test_a_cart_that_waits_is_nobodys_trouble(settings_: Any, credential: Any, clock: Clock) -> None:
    fill(visit_id="3617898c651df0f8617f70a0")
    relay_all()
    assert watch(clock, minutes=35) == []


def test_looking_costs_the_same_however_many_there_are(settings_: Any, credential: Any, clock: Clock) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            troubles(settings_, clock.now + timedelta(hours=1))
        return len(queries)

    settings_.kinds = AlertKind.values
    settings_.attribution_at = clock.now + timedelta(hours=1)
    place("1")
    relay_all()
    before = cost()
    make_credential(name="second")
    for number in range(20):
        place(f"2{number}")
    relay_all()
    assert cost() == before == 7


def test_a_credential_that_is_off_is_nobodys_trouble(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    VendorCredential.objects.update(is_enabled=False)
    assert watch(clock) == []


def test_a_status_that_parks_orders_is_told_by_name(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001", "Layaway")
    deliver(credential, sender=Vendor(), clock=clock)
    (subject,) = watch(clock)
    assert "a status is not mapped" in subject and "“Layaway”" in subject
    mapping = credential.status_mappings.get(shop_status="Layaway")
    mapping.choice = "do_not_send"
    mapping.save()
    watch(clock)
    assert "Over" in watch(clock, minutes=6)[0]


def test_a_status_that_the_vendor_does_not_know(settings_: Any, credential: Any, clock: Clock) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=Vendor(lambda form: error("Unknown status")), clock=clock)
    watch(clock)
    assert "Call Center > Statuses" in mail.outbox[0].body


def test_a_mapping_that_parks_nobody_is_no_trouble(settings_: Any, credential: Any, clock: Clock) -> None:
    credential.map_statuses(["Layaway"])
    assert watch(clock) == []


def test_no_worker_is_heard(settings_: Any, credential: Any, clock: Clock) -> None:
    AlertSettings.objects.update(kinds=[AlertKind.WORKER])
    Worker.objects.create(name="w:1", started_at=clock.now, beat_at=clock.now)
    assert watch(clock, minutes=9) == []
    assert watch(clock, minutes=2) == ["no worker is heard"]
    Worker.objects.update(beat_at=clock.now + timedelta(minutes=6))
    watch(clock)
    assert watch(clock, minutes=6) == ["Over: no worker is heard"]


def test_fewer_orders_than_usual_are_attributed(settings_: Any, credential: Any, clock: Clock) -> None:
    for ago, visit, count in ((5, "v", 150), (0, "", 40)):
        at = clock.now - timedelta(days=ago)
        Subject.objects.bulk_create(
            Subject(kind="order", key=f"{ago}-{n}", created_at=at, changed_at=at, status_at=at, visit_id=visit)
            for n in range(count)
        )
    assert watch(clock) == ["fewer orders than usual have a visit or a call"]
    assert "0 % of the orders of the last two days" in mail.outbox[0].body and "100 %" in mail.outbox[0].body
    assert watch(clock, minutes=10) == []
    Subject.objects.update(visit_id="v")
    assert watch(clock, minutes=10) == []
    watch(clock, hours=1)
    assert "Over" in watch(clock, minutes=6)[0]


# the messages


def test_the_mail_speaks_the_chosen_language_and_names_the_shop(settings_: Any, credential: Any, clock: Clock) -> None:
    AlertSettings.objects.update(language="fr", recipients="owner@shop.example\nit@shop.example")
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        Installation.start()
        pause(clock)
        watch(clock)
    (message,) = mail.outbox
    assert message.to == ["owner@shop.example", "it@shop.example"]
    assert message.subject.startswith("[shop.example] ")
    assert "Le prestataire a refusé la clé" in message.body


def test_the_webhook_is_signed_over_time_and_body(webhook: HTTPServer, credential: Any, clock: Clock) -> None:
    webhook.expect_ordered_request("/hook", "POST").respond_with_data("")
    pause(clock)
    watch(clock)
    ((request, _response),) = webhook.log
    timestamp = request.headers["X-Optico-Timestamp"]
    assert timestamp == str(int(clock.now.timestamp()))
    signed = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + request.data, hashlib.sha256).hexdigest()
    assert request.headers["X-Optico-Signature"] == f"sha256={signed}"
    body = json.loads(request.data)
    (alert,) = body["alerts"]
    assert (alert["event"], alert["kind"], alert["credential"]) == ("trouble", "paused", "Optico")
    assert body["id"] == Notice.objects.get().pk


def test_a_webhook_that_fails_is_shown_and_tried_again(webhook: HTTPServer, credential: Any, clock: Clock) -> None:
    webhook.expect_ordered_request("/hook").respond_with_data("", status=500)
    webhook.expect_ordered_request("/hook").respond_with_data("")
    pause(clock)
    watch(clock)
    notice = Notice.objects.get()
    assert (notice.error, notice.sent_at) == ("HTTP 500", None)
    watch(clock)
    notice.refresh_from_db()
    assert notice.sent_at and not notice.error and notice.attempts == 2
    bodies = [json.loads(request.data) for request, _response in webhook.log]
    assert bodies[0] == bodies[1]


def test_one_channel_failing_does_not_repeat_the_other(settings_: Any, credential: Any, clock: Clock) -> None:
    settings_.webhook_url, settings_.webhook_secret = "http://127.0.0.1:9/", SECRET
    settings_.save()
    pause(clock)
    assert watch(clock) == [PAUSED]
    assert watch(clock, minutes=2) == []
    assert Notice.objects.get(channel="webhook").attempts == 2


def test_a_message_is_given_up_after_a_day(webhook: HTTPServer, credential: Any, clock: Clock) -> None:
    webhook.expect_request("/hook").respond_with_data("", status=410)
    pause(clock)
    for _ in range(12):
        watch(clock, hours=13)
    first = Notice.objects.earliest("pk")
    assert first.due_at is None and first.sent_at is None and first.error == "HTTP 410"


def test_a_webhook_inside_the_network_is_not_called(webhook: HTTPServer, credential: Any, clock: Clock) -> None:
    pause(clock)
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ALLOWED_NETWORKS": []}):
        watch(clock)
    assert webhook.log == [] and "not a public address" in Notice.objects.get().error


def test_a_mail_server_that_fails_names_nobody(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    with override_settings(**REFUSING):
        watch(clock)
    assert Notice.objects.get().error == "SMTPRecipientsRefused"


# who looks


@pytest.mark.django_db(transaction=True)
def test_the_worker_looks_by_itself(credential: Any) -> None:
    AlertSettings.objects.create(pk=1, recipients="owner@shop.example")
    pause(Clock())
    EmbeddedWorker().run_once()
    assert PAUSED in mail.outbox[0].subject


@pytest.mark.django_db(transaction=True)
def test_trouble_with_alerts_does_not_stop_a_worker(optico: Any, live: Any) -> None:
    AlertSettings.objects.create(pk=1, recipients="owner@shop.example", kinds=5)
    place("1001")
    assert EmbeddedWorker().run_once() == 1


def test_cron_names_what_is_wrong_and_fails(settings_: Any, credential: Any) -> None:
    out = StringIO()
    call_command("optico_alerts", stdout=out)
    assert out.getvalue() == "Nothing to report.\n"
    pause(Clock())
    with pytest.raises(CommandError, match="Open alerts: 1."):
        call_command("optico_alerts", stdout=out)
    assert PAUSED in out.getvalue()


def test_a_test_message_goes_everywhere(webhook: HTTPServer) -> None:
    webhook.expect_request("/hook").respond_with_data("")
    AlertSettings.objects.update(recipients="owner@shop.example")
    out = StringIO()
    call_command("optico_alerts", "--test", stdout=out)
    assert out.getvalue() == "mail: sent\nwebhook: sent\n"
    assert "This is a test" in mail.outbox[0].body
    AlertSettings.objects.update(recipients="", webhook_url="")
    with pytest.raises(CommandError, match="no address"):
        call_command("optico_alerts", "--test")


def test_what_is_long_over_is_forgotten(settings_: Any, credential: Any, clock: Clock) -> None:
    pause(clock)
    watch(clock)
    resume()
    watch(clock)
    watch(clock, minutes=6)
    watch(clock, days=91)
    assert not Alert.objects.exists() and not Notice.objects.exists()
