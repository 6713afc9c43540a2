"""The page that erases what is known of a person, and says whom else to ask."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from optico_sync.models import Attempt, Subject, VendorCredential
from tests.admin.conftest import Login
from tests.helpers import Clock, Vendor, deliver, fill, place

VISIT = "3617898c651df0f8617f70a0"


@pytest.fixture
def eraser(login: Login) -> Client:
    return login("view_subject", "resend_subject", "erase_subject", name="eraser")


@pytest.fixture
def order(credential: VendorCredential, clock: Clock) -> Subject:
    """Sent, with a cart."""
    cart = fill(visit_id=VISIT)
    place("1001", "confirmed", visit=VISIT, call="77", basket=str(cart.pk))
    deliver(credential, sender=Vendor(), clock=clock)
    return Subject.objects.get(reference="1001")


def url_of(subject: Subject, end: str = "erase") -> str:
    return f"/admin/optico_sync/subject/{subject.pk}/{end}/"


def text_of(client: Client, url: str) -> str:
    html = client.get(url).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def erase(client: Client, subject: Subject, typed: str = "1001") -> int:
    return client.post(url_of(subject), {"typed": typed}).status_code


def test_it_takes_a_permission_of_its_own(operator: Client, order: Subject) -> None:
    assert operator.get(url_of(order)).status_code == erase(operator, order) == 403
    assert "Erase personal data" not in text_of(operator, url_of(order, "change"))
    order.refresh_from_db()
    assert order.visit_id == VISIT


def test_the_page_says_what_goes_what_stays_and_whom_to_ask(eraser: Client, order: Subject) -> None:
    assert "Erase personal data" in text_of(eraser, url_of(order, "change"))
    text = text_of(eraser, url_of(order))
    for words in (
        "Removed here: visit, call, agent and cart",
        "So it is with 1 cart of the same person.",
        "it is not sent again, even when it changes",
        "Optico : order 1001, last sent on",
        "Optico : cart",
        "Note the carts first",
        "To confirm, type 1001:",
    ):
        assert words in text


def test_only_the_typed_number_erases(eraser: Client, order: Subject) -> None:
    assert erase(eraser, order, "1002") == erase(eraser, order, "") == 200
    order.refresh_from_db()
    assert order.visit_id == VISIT and not LogEntry.objects.exists()
    assert erase(eraser, order, " 1001 ") == 302
    order.refresh_from_db()
    assert order.visit_id == "" and order.erased_at
    assert not Attempt.objects.exclude(request="").exists()


def test_the_log_tells_who_erased_how_much(eraser: Client, order: Subject) -> None:
    erase(eraser, order)
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id, entry.object_repr) == ("eraser", str(order.pk), "1001")
    assert re.fullmatch(r"Erased: orders 1, carts 1, attempts 2, captured changes \d+\.", entry.change_message)
    assert VISIT not in entry.change_message


def test_afterwards_the_pages_say_so(eraser: Client, order: Subject) -> None:
    erase(eraser, order)
    text = text_of(eraser, url_of(order))
    assert "Erased here on" in text and "Optico : order 1001" in text and "type 1001" not in text
    page = text_of(eraser, url_of(order, "change"))
    assert "Its personal data was erased on request" in page and "Personal data erased" in page
    assert "Send again" not in page and "What is left to erase at the vendors" in page
    assert "Its personal data was erased on request" in text_of(eraser, url_of(order, "compare"))


def test_carts_have_no_such_page(eraser: Client, order: Subject) -> None:
    cart = Subject.objects.get(kind="cart")
    assert eraser.get(url_of(cart)).status_code == 404
