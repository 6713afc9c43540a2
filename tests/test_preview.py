"""What will this do? The numbers told beforehand are the numbers the vendor then records."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync.models import OutboxEvent, StatusMapping, Subject, SyncState
from optico_sync.preview import Preview, preview
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
from optico_sync.shops import get_shop
from optico_sync.verbs import resend_selected
from tests.helpers import Vendor, deliver, error, make_credential, place, reply, state_of
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC
from tests.test_together import ORDER, account

pytestmark = pytest.mark.django_db
LIST = "/admin/optico_sync/subject/"


def foresee() -> Preview:
    keys = [str(key) for key in Purchase._base_manager.order_by("pk").values_list("pk", flat=True)]
    (found,) = preview([keys])
    return found


def send_all(credential: Any, **options: Any) -> None:
    for _count in resend_selected(Selection(keys=[str(pk) for pk in Purchase.objects.values_list("pk", flat=True)])):
        pass
    deliver(credential, **options)


def test_the_numbers_are_what_optico_then_records(live: Any, optico: Any) -> None:
    StatusMapping.objects.create(credential=live, shop_status="draft", choice="do_not_send")
    for number, stage in enumerate(["confirmed", "confirmed", "pending", "draft", "Being processed", "shipped"]):
        place(str(1000 + number), stage)
    deliver(live)
    optico.reset()
    optico.config(keys=[live.secrets["key"]], statuses={"pending": False, "confirmed": True, "shipped": True})
    SyncState.objects.update(accepted_is_sale=None, sent_status="", delivered_at=None, queue=[], last_queued="")
    found = foresee()
    send_all(live)
    records = optico.orders()
    assert found.sends == len(records) == 4
    assert found.sales == sum(record["conversions"] for record in records) == 3
    assert (dict(found.left_out), dict(found.refused)) == ({"status_not_sent": 1}, {"unmapped_status": 1})
    assert found.orders == 6


def test_a_sale_that_the_vendor_has_fires_nothing_again(live: Any, optico: Any) -> None:
    place("1001", "confirmed")
    deliver(live)
    found = foresee()
    send_all(live)
    assert (found.sends, found.sales) == (1, 0)
    assert optico.order("1001")["conversions"] == 1


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_the_numbers_are_whom_the_reviews_vendor_then_mails(optico: Any) -> None:
    reviews = account(optico, "guaranteed_reviews", "/private/v3/orders")
    place("1001", "confirmed")
    deliver(reviews)
    place("1002", "confirmed")
    place("1003", "pending")
    relay_all()
    found = foresee()
    send_all(reviews)
    assert found.mails == found.sends == len(optico.records("guaranteed_reviews")) - 1 == 1
    assert found.done == 1 and dict(found.left_out) == {"not_a_sale": 1}
    assert found.first_mail_at and found.first_mail_at.date() == (timezone.now() + timedelta(days=10)).date()
    assert "written to by the vendor" in " ".join(found.sentences)


def test_nothing_is_written_and_nothing_is_sent(credential: Any, django_assert_num_queries: Any) -> None:
    place("1001", "confirmed")
    relay_all()
    before = list(SyncState.objects.values()), OutboxEvent.objects.count()
    with CaptureQueriesContext(connection) as asked:
        foresee()
    assert not [query for query in asked.captured_queries if not query["sql"].startswith("SELECT")]
    assert (list(SyncState.objects.values()), OutboxEvent.objects.count()) == before


def test_orders_never_captured_are_counted_too(credential: Any) -> None:
    place("old", "confirmed")
    OutboxEvent.objects.all().delete()
    assert foresee().sends == 1
    assert not Subject.objects.exists()


def test_an_order_without_lines_is_left_out(credential: Any) -> None:
    Purchase.objects.create(number="empty", stage="confirmed")
    assert (foresee().sends, dict(foresee().left_out)) == (0, {"no_lines": 1})


def test_a_key_that_cannot_be_read_is_said(credential: Any) -> None:
    place("1001")
    with override_settings(
        OPTICO_SYNC={**OPTICO_SYNC, "ENCRYPTION_KEYS": ["bm90LXRoZS1rZXktdGhhdC1lbmNyeXB0ZWQtaXQtLS0="]}
    ):
        assert foresee().problem == "secret_unreadable"
        assert "decrypted" in foresee().sentences[0]


@pytest.mark.parametrize("size", [1, 40])
def test_a_chunk_takes_a_constant_number_of_queries(credential: Any, size: int) -> None:
    make_credential(name="second")
    for number in range(size):
        place(str(number), "confirmed")
    relay_all()
    keys = [str(key) for key in Purchase.objects.values_list("pk", flat=True)]
    with CaptureQueriesContext(connection) as asked:
        preview([keys])
    assert len(asked) <= 13


def test_the_command_tells_the_same(credential: Any, capsys: pytest.CaptureFixture) -> None:
    place("1001", "confirmed")
    relay_all()
    call_command("optico_resync", "1001", "--dry-run")
    told = capsys.readouterr().out
    assert "1 request is sent." in told
    assert "1 order becomes a sale there: each records a conversion and fires a Google Analytics event" in told


# the list


def chosen(count: int, **fields: str) -> dict[str, Any]:
    return {
        "action": "send_again",
        "_selected_action": list(Subject.objects.values_list("pk", flat=True)[:count]),
        **fields,
    }


def test_few_are_sent_at_once_many_are_shown_first(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    for number in range(12):
        place(str(number), "confirmed")
    deliver(credential, sender=vendor)
    admin_client.post(LIST, chosen(3))
    assert SyncState.objects.filter(is_forced=True).count() == 3
    html = admin_client.post(LIST, chosen(12)).content.decode()
    assert "what will this do?" in html and "12 requests are sent." in html and 'name="typed"' not in html
    assert SyncState.objects.filter(is_forced=True).count() == 3
    admin_client.post(LIST, chosen(12, confirmed="yes"))
    assert SyncState.objects.filter(is_forced=True).count() == 12


def test_very_many_must_be_typed(admin_client: Client, credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optico_sync.admin.orders.TYPE_FROM", 12)
    for number in range(12):
        place(str(number), "confirmed")
    deliver(credential, sender=Vendor(lambda form: reply() if form["id"] != "3" else error("Unknown status")))
    for typed in ("", "11"):
        html = admin_client.post(LIST, chosen(12, confirmed="yes", typed=typed)).content.decode()
        assert "To confirm, type 12:" in html
    assert not SyncState.objects.filter(is_forced=True).exists()
    admin_client.post(LIST, chosen(12, confirmed="yes", typed="12"))
    assert SyncState.objects.filter(is_forced=True).count() == 12


def test_an_adapter_that_fails_as_a_whole_is_told_of_as_delivery_tells_it(
    credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place("1001", "confirmed")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("a bug of the shop's")

    monkeypatch.setattr(type(get_shop()), "read", fail)
    assert dict(foresee().refused) == {"unreadable_order": 1}
    deliver(credential, sender=vendor)
    assert (state_of(order).state, state_of(order).reason) == (SyncState.State.REFUSED, "unreadable_order")
