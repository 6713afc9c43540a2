"""One order's page: facts, panels, buttons, time line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.template.defaultfilters import date
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import localtime

from optico_sync import resync
from optico_sync.models import Attempt, Subject, SyncState, VendorCredential
from optico_sync.relay import relay_all
from tests.helpers import KEY, Clock, Vendor, deliver, make_credential, move, place, reply
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC


def url_of(subject: Subject, end: str = "change") -> str:
    return f"/admin/optico_sync/subject/{subject.pk}/{end}/"


def page(client: Client, subject: Subject) -> str:
    response = client.get(url_of(subject))
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """The text of the page, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def press(client: Client, subject: Subject, verb: str, credential: VendorCredential) -> int:
    return client.post(url_of(subject, "act"), {"verb": verb, "credential": credential.pk}).status_code


# what it says


def test_page_tells_the_facts(viewer: Client, refused: Subject) -> None:
    text = words(page(viewer, refused))
    for fact in ("Order 1001", "64f1", "77", refused.key, "Status in the shop confirmed"):
        assert fact in text


def test_panel_tells_reason_and_advice(viewer: Client, refused: Subject) -> None:
    text = words(page(viewer, refused))
    assert "refused The vendor refused this order." in text
    assert "Read the vendor&#x27;s message below, correct the order, then send it again." in text
    assert "The vendor has nothing yet" in text
    assert "Still to tell it confirmed" in text


def test_panel_tells_what_the_vendor_has(viewer: Client, in_sync: Subject) -> None:
    assert "The vendor has “confirmed”, a sale," in words(page(viewer, in_sync))


@pytest.fixture
def mailing(clock: Clock) -> Iterator[VendorCredential]:
    """A vendor that mails the customer, after an hour's hold of ours."""
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "VENDORS": {"mailing": "tests.vendors.tiny.Mailing"}}):
        credential = make_credential(name="Mailing", options={"age": 1, "loud": True})
        credential.vendor = "mailing"
        credential.set_secrets({"token": "t0ken"})
        credential.save()
        yield credential


def test_waiting_order_tells_when_its_customer_would_be_mailed(viewer: Client, mailing: VendorCredential) -> None:
    place("1001", "confirmed")
    relay_all()
    subject = Subject.objects.get()
    assert subject.status_at is not None
    planned = localtime(subject.status_at + timedelta(hours=1))
    assert (
        f"mails the customer about {date(planned + timedelta(days=10), 'j M Y')} at the earliest, if the order is sent "
        f"as planned, {date(planned, 'j M Y, H:i')}"
    ) in words(page(viewer, subject))


def test_delivered_order_tells_when_its_customer_is_mailed(
    viewer: Client, mailing: VendorCredential, clock: Clock
) -> None:
    place("1001", "confirmed")
    clock.forward(hours=2)
    deliver(mailing, sender=Vendor(lambda form: reply(b"ok")), clock=clock)
    mailed = date(localtime(clock.now + timedelta(days=10)), "j M Y")
    text = words(page(viewer, Subject.objects.get()))
    assert f"mails the customer about {mailed}, 10 days after it received the order" in text


def test_no_mail_is_promised_for_an_order_that_is_held(viewer: Client, mailing: VendorCredential) -> None:
    place("1001", "confirmed")
    relay_all()
    resync.hold([Subject.objects.get().pk])
    assert "mails the customer" not in page(viewer, Subject.objects.get())


def test_deleted_order_says_so(viewer: Client, credential: VendorCredential, vendor: Vendor) -> None:
    order = place()
    deliver(credential, sender=vendor)
    order.delete()
    deliver(credential, sender=vendor)
    assert "Deleted in the shop" in page(viewer, Subject.objects.get())


def test_timeline_tells_saves_and_attempts(viewer: Client, credential: VendorCredential, vendor: Vendor) -> None:
    order = place(stage="pending")
    deliver(credential, sender=vendor)
    move(order, "confirmed")
    text = words(page(viewer, Subject.objects.get()))
    newest, sent, oldest = (
        "saved as “confirmed” not taken up",
        "accepted “pending” sent to Optico HTTP 200",
        "saved as “pending”",
    )
    assert -1 < text.find(newest) < text.find(sent) < text.find(oldest)


def test_timeline_tells_who_did_what(operator: Client, viewer: Client, in_sync: Subject) -> None:
    staff = User.objects.get(username="operator")
    press(operator, in_sync, "hold", VendorCredential.objects.get())
    LogEntry.objects.create(
        user=staff,
        content_type=ContentType.objects.get_for_model(Purchase),
        object_id=in_sync.key,
        object_repr="2001",
        action_flag=2,
        change_message='[{"changed": {"fields": ["stage"]}}]',
    )
    LogEntry.objects.create(
        user=staff,
        content_type=ContentType.objects.get_for_model(Purchase),
        object_id="another",
        object_repr="x",
        action_flag=2,
        change_message="of another order",
    )
    text = words(page(viewer, in_sync))
    assert "By operator: Hold. Optico: Held: 1 (orders chosen: 1)." in text
    assert "In the shop&#x27;s admin, by operator: Changed Stage." in text or "by operator: Changed stage." in text
    assert "of another order" not in text


def test_next_try_says_when_and_which(viewer: Client, credential: VendorCredential, clock: Clock) -> None:
    place()
    for _ in range(2):
        deliver(credential, sender=Vendor(lambda form: reply(status=500)), clock=clock)
        clock.forward(seconds=10)
    text = words(page(viewer, Subject.objects.get()))
    assert re.search(r"Next attempt \d+ \w+ \d{4}, \d\d:\d\d:\d\d \([^)]*\), try 3", text)


def test_hostile_text_is_escaped(operator: Client, refused: Subject) -> None:
    Subject.objects.update(reference="<script>alert(1)</script>", agent="<script>alert(2)</script>")
    html = page(operator, refused)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|<style", html)


def test_unknown_order_goes_back_to_the_index(viewer: Client) -> None:
    assert viewer.get("/admin/optico_sync/subject/999/change/").status_code == 302


# who sees what


def test_bodies_are_for_operators_only(viewer: Client, operator: Client, refused: Subject) -> None:
    assert "products=" in page(operator, refused)
    html = page(viewer, refused)
    assert "products=" not in html
    assert "Request and answer" not in html
    assert "No &lt;script&gt;" in html


def test_key_is_on_no_page(operator: Client, refused: Subject) -> None:
    assert KEY not in page(operator, refused)


def test_page_needs_permission(login: Callable[..., Client], refused: Subject) -> None:
    assert login().get(url_of(refused)).status_code == 403
    assert Client().get(url_of(refused)).status_code == 302


def test_settings_link_is_for_those_who_may(login: Callable[..., Client], credential: VendorCredential) -> None:
    place(stage="nobody's")
    deliver(credential, sender=Vendor())
    subject = Subject.objects.get()
    link = f"/admin/optico_sync/vendorcredential/{credential.pk}/change/"
    assert link in page(login("view_subject", "change_vendorcredential", name="both"), subject)
    assert link not in page(login("view_subject", name="one"), subject)


# buttons


def test_buttons_are_for_operators_only(viewer: Client, operator: Client, refused: Subject) -> None:
    credential = VendorCredential.objects.get()
    assert 'name="verb"' not in page(viewer, refused)
    for verb in ("resend", "hold", "release", "withhold"):
        assert f'name="verb" value="{verb}"' in page(operator, refused)
        assert press(viewer, refused, verb, credential) == 403
    assert SyncState.objects.get().state == "refused"


def test_operator_without_view_permission_cannot_act(login: Callable[..., Client], refused: Subject) -> None:
    assert press(login("resend_subject"), refused, "hold", VendorCredential.objects.get()) == 403


@pytest.mark.parametrize(
    ("verb", "state"), [("resend", "waiting"), ("hold", "held"), ("release", "waiting"), ("withhold", "not_sent")]
)
def test_button_does_it_and_logs_it(operator: Client, refused: Subject, verb: str, state: str) -> None:
    assert press(operator, refused, verb, VendorCredential.objects.get()) == 302
    assert SyncState.objects.get().state == state
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.object_repr) == (str(refused.pk), "1001")
    assert "Optico: " in entry.change_message
    assert KEY not in entry.change_message


def test_a_withheld_order_offers_only_to_be_sent_after_all(operator: Client, in_sync: Subject) -> None:
    resync.withhold([in_sync.pk])
    html = page(operator, in_sync)
    assert re.findall(r'name="verb" value="(\w+)"', html) == ["send_after_all"]
    assert "not sent Somebody decided that it is not sent." in words(html)
    assert "The vendor has “confirmed”, a sale," in words(html)
    press(operator, in_sync, "send_after_all", VendorCredential.objects.get())
    assert SyncState.objects.get().state == "waiting"


def test_a_doubt_offers_to_say_that_it_is_there(operator: Client, refused: Subject) -> None:
    assert 'value="confirm"' not in page(operator, refused)
    SyncState.objects.update(reason="ambiguous")
    html = page(operator, refused)
    assert re.findall(r'name="verb" value="(\w+)"', html) == ["confirm", "resend", "hold", "release", "withhold"]
    for button in ("It is there", "Send again", "Do not send"):
        assert f"“{button}”" in html and f">{button}</button>" in html
    press(operator, refused, "confirm", VendorCredential.objects.get())
    assert SyncState.objects.get().state == "in_sync"
    assert "It is there. Optico: Confirmed to be at the vendor: 1" in LogEntry.objects.get().change_message


def test_button_acts_on_its_credential_only(operator: Client, in_sync: Subject) -> None:
    second = make_credential(name="second")
    resync.resend([in_sync.pk])
    press(operator, in_sync, "hold", second)
    assert [state.credential for state in SyncState.objects.filter(is_held=True)] == [second]


def test_act_takes_only_what_it_knows(operator: Client, refused: Subject) -> None:
    credential = VendorCredential.objects.get()
    assert operator.get(url_of(refused, "act")).status_code == 405
    assert press(operator, refused, "destroy", credential) == 400
    assert operator.post(url_of(refused, "act"), {"verb": "hold"}).status_code == 400
    assert operator.post("/admin/optico_sync/subject/999/act/", {"verb": "hold"}).status_code == 404


def test_act_needs_a_csrf_token(operator: Client, refused: Subject) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert press(strict, refused, "hold", VendorCredential.objects.get()) == 403


def test_page_takes_no_post(admin_client: Client, refused: Subject) -> None:
    assert admin_client.post(url_of(refused), {"reference": "x"}).status_code == 405


def test_history_is_there(operator: Client, refused: Subject) -> None:
    press(operator, refused, "hold", VendorCredential.objects.get())
    assert "Held: 1" in operator.get(url_of(refused, "history")).content.decode()


# cost


def test_page_costs_the_same_whatever_happened(operator: Client, refused: Subject, vendor: Vendor) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(operator, refused)
        return len(captured)

    count()
    before = count()
    for number in range(2):
        make_credential(name=f"c{number}")
    attempt = Attempt.objects.get()
    for _copy in range(30):
        attempt.pk = None
        attempt.save()
    resync.resend([refused.pk])
    relay_all()
    assert count() == before
    assert before <= 14
