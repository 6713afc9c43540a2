"""The shop's answers are the same to the byte with the app in, the vendor down, and the app's tables missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.conf import settings
from django.contrib.sites.models import Site
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from oscar.apps.voucher.models import Voucher

from optico_sync import capture
from optico_sync.models import OutboxEvent
from tests.helpers import deliver, make_credential
from tests.oscar.shopper import Shopper, make_product, make_user, make_voucher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("atomic_requests")]

#: What is random in every answer: Django's CSRF tokens and session keys, and the salt of signed messages.
_RANDOM = re.compile(r'(csrfmiddlewaretoken" value="|csrftoken=|sessionid=|messages=)[^";]*')


@dataclass
class Transcript:
    """Everything the shop said."""

    answers: list[str] = field(default_factory=list)

    def shopper(self, **options: Any) -> Shopper:
        return _Recorded(self, **options)

    def add(self, answer: HttpResponse) -> None:
        headers = sorted(f"{name}: {value}" for name, value in answer.headers.items() if name != "Content-Length")
        said = [answer.request["PATH_INFO"], str(answer.status_code), *headers, str(answer.cookies)]
        self.answers.append(_RANDOM.sub(r"\1", "\n".join([*said, answer.content.decode()])))


class _Recorded(Shopper):
    def __init__(self, transcript: Transcript, **options: Any) -> None:
        self.transcript = transcript
        super().__init__(raise_request_exception=False, **options)

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        self.transcript.add(answer)
        return answer


def go_shopping() -> list[str]:
    """A guest, an account, a refused order and staff, in a shop that was just opened."""
    call_command("flush", interactive=False, reset_sequences=True)
    Site.objects.clear_cache()
    mail.outbox.clear()
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC), tick=False):
        transcript = Transcript()
        pens, lamp = make_product("PEN-01", "Blue pen", "3.33"), make_product("LAMP-01", "Desk lamp", "29.99")
        voucher = make_voucher("ONCE", usage=Voucher.SINGLE_USE)
        guest, refused = transcript.shopper(), transcript.shopper()
        account = transcript.shopper(user=make_user("zoe"))
        staff = transcript.shopper(user=make_user("staff", is_staff=True, is_superuser=True))
        for shopper in (guest, refused):
            shopper.add(lamp)
            shopper.use_voucher("ONCE")
            shopper.say_where_to()
        guest.confirm()
        order = guest.get("/checkout/thank-you/").context["order"]
        refused.confirm()
        refused.drop_voucher(voucher)
        refused.confirm()
        refused.get("/checkout/thank-you/")
        account.buy(pens, lamp, quantity=7)
        page = f"/dashboard/orders/{order.number}/"
        staff.post(page, {"order_action": "change_order_status", "new_status": "Being processed"})
        staff.get(page)
        staff.post(f"/admin/order/order/{order.pk}/delete/", {"post": "yes"})
        letters = [_RANDOM.sub(r"\1", f"{letter.to} {letter.subject}\n{letter.body}") for letter in mail.outbox]
    return transcript.answers + letters


@contextmanager
def without_the_app() -> Iterator[None]:
    middleware = [path for path in settings.MIDDLEWARE if not path.startswith("optico_sync.")]
    capture.disconnect()
    try:
        with override_settings(MIDDLEWARE=middleware):
            yield
    finally:
        capture.connect()


@contextmanager
def with_a_credential() -> Iterator[None]:
    make_credential()
    yield


@contextmanager
def vendor_down() -> Iterator[None]:
    """A worker that knocks in vain after every answer."""
    credential = make_credential("http://127.0.0.1:9")
    told = Transcript.add

    def add(self: Transcript, answer: HttpResponse) -> None:
        told(self, answer)
        deliver(credential)

    Transcript.add = add  # type: ignore[method-assign]
    try:
        yield
    finally:
        Transcript.add = told  # type: ignore[method-assign]


@contextmanager
def without_tables() -> Iterator[None]:
    models = [model for model in apps.get_app_config("optico_sync").get_models() if not model._meta.proxy]
    with connection.schema_editor() as editor:
        for model in reversed(models):
            editor.delete_model(model)
    try:
        yield
        assert capture.missed() > 10
    finally:
        capture._missed = 0
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)


@pytest.mark.parametrize("circumstances", [with_a_credential, vendor_down, without_tables])
def test_the_shop_says_the_same(circumstances: Callable[[], Any]) -> None:
    with without_the_app():
        expected = go_shopping()
    assert len(expected) == 31
    with circumstances():
        found = go_shopping()
    for said, should in zip(found, expected, strict=True):
        assert said == should
    if circumstances is not without_tables:
        assert OutboxEvent.objects.count() > 20
