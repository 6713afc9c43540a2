"""The list of orders: badges, filters, search, actions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import resync, sweep
from optico_sync.admin import orders, paginator
from optico_sync.models import OutboxEvent, RelayState, Subject, SyncState, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from tests.helpers import KEY, Vendor, deliver, make_credential, place
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC

URL = "/admin/optico_sync/subject/"


def page(client: Client, **asked: object) -> str:
    response = client.get(URL, asked)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, **asked: object) -> set[str]:
    return set(re.findall(r'<th class="field-order"><a [^>]*>([^<]*)</a>', page(client, **asked)))


def act(client: Client, verb: str, *subjects: Subject, query: str = "", **data: object) -> str:
    chosen = [subject.pk for subject in subjects]
    response = client.post(URL + query, {"action": verb, "_selected_action": chosen, **data}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


# rows


def test_row_says_where_the_order_stands(viewer: Client, refused: Subject, in_sync: Subject) -> None:
    html = page(viewer)
    assert '<span class="sync-badge sync-refused">refused</span>' in html
    assert "The vendor refused this order." in html
    assert '<span class="sync-badge sync-in_sync">in sync</span>' in html
    assert "has “confirmed” · sale" in html
    assert "visit and call" in html


def test_waiting_order_tells_its_next_attempt(viewer: Client, credential: VendorCredential) -> None:
    place()
    relay_all()
    html = page(viewer)
    assert '<span class="sync-badge sync-waiting">waiting</span>' in html
    assert re.search(r"next \d+ \w+ \d\d:\d\d:\d\d \(now\)", html)


def test_row_has_a_badge_for_every_credential(viewer: Client, refused: Subject) -> None:
    paused = make_credential(name="second")
    place("1002")
    relay_all()
    paused.pause("key_refused", "", timezone.now())
    paused.save()
    html = page(viewer)
    assert '<span class="sync-badge sync-held">held</span>' in html
    assert '<span class="sync-badge sync-not_sent">not sent</span>' in html
    assert "It has not changed since this credential exists." in html


def test_order_is_escaped(viewer: Client, credential: VendorCredential) -> None:
    place("<script>alert(1)</script>", "<script>alert(2)</script>")
    deliver(credential, sender=Vendor())
    html = page(viewer)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html


def test_key_is_on_no_page(viewer: Client, refused: Subject) -> None:
    assert KEY not in page(viewer)


def test_nothing_is_inline(viewer: Client, refused: Subject) -> None:
    html = page(viewer)
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|<style", html)


# the strip


def test_strip_says_that_no_worker_runs(viewer: Client, credential: VendorCredential) -> None:
    assert "No worker is running" in page(viewer)
    now = database_now("default")
    Worker.objects.create(name="w-1", started_at=now, beat_at=now)
    html = page(viewer)
    assert "No worker is running" not in html
    assert "Worker w-1, heartbeat" in html


def test_strip_tells_when_the_last_round_was_and_how_to_set_it_up(viewer: Client, credential: VendorCredential) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": "celery"}):
        html = page(viewer)
    assert "Start a Celery worker and Celery beat." in html
    assert "optico_sync.round" in html
    RelayState.objects.create(round_at=database_now("default"))
    html = page(viewer)
    assert "What has become due was last looked for 0 s ago." in html
    assert "The worker does it by itself." not in html


def test_strip_says_why_a_credential_is_paused(viewer: Client, credential: VendorCredential) -> None:
    credential.pause("key_refused", "Invalid API key", timezone.now())
    credential.save()
    html = page(viewer)
    assert "The vendor refused the key." in html
    assert "Type the right key into the credential." in html


def test_strip_tells_what_the_sweep_found(viewer: Client, credential: VendorCredential) -> None:
    assert "have not been compared with the shop yet" in page(viewer)
    list(sweep.sweep())
    assert "No change was missed. Last compared with the shop:" in page(viewer)
    Purchase.objects.bulk_create([Purchase(number="<1001>"), Purchase(number="1002")])
    list(sweep.sweep())
    html = page(viewer)
    assert "Found by the sweep, missed by capture: 2 changes in the last 7 days." in html
    assert "&lt;1001&gt;" in html and "1002" in html


def test_strip_tells_missed_captures(viewer: Client, credential: VendorCredential) -> None:
    assert "could not be recorded" not in page(viewer)
    RelayState.objects.create(missed_captures=3, last_missed_at=timezone.now())
    assert "3 changes could not be recorded" in page(viewer)


def test_list_without_a_credential_says_so(viewer: Client) -> None:
    place()
    relay_all()
    assert "No vendor credential yet" in page(viewer)


# filters and search


@pytest.fixture
def three(credential: VendorCredential, refused: Subject, in_sync: Subject) -> VendorCredential:
    place("3001", call="9")
    relay_all()
    return credential


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"1001", "2001", "3001"}),
        ({"state": "refused"}, {"1001"}),
        ({"state": "waiting"}, {"3001"}),
        ({"state": "held"}, set()),
        ({"state": "nonsense"}, set()),
        ({"reason": "refused"}, {"1001"}),
        ({"reason": "refused", "state": "in_sync"}, set()),
        ({"attributed": "visit"}, {"1001"}),
        ({"attributed": "call"}, {"1001", "3001"}),
        ({"attributed": "no"}, {"2001"}),
        ({"credential": "12345"}, set()),
        ({"q": "2001"}, {"2001"}),
        ({"q": "30"}, {"3001"}),
        ({"q": "001"}, set()),
    ],
)
def test_filters_and_search(viewer: Client, three: VendorCredential, asked: dict, expected: set[str]) -> None:
    assert listed(viewer, **asked) == expected


def test_search_finds_a_whole_key(viewer: Client, three: VendorCredential) -> None:
    subject = Subject.objects.get(reference="2001")
    assert listed(viewer, q=subject.key) == {"2001"}
    assert listed(viewer, q=subject.key[:8]) == set()


def test_search_is_by_prefix_only(viewer: Client, three: VendorCredential) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(viewer, q="100 1")
    (pattern,) = {query["sql"].partition("LIKE")[2][:20] for query in queries if "LIKE" in query["sql"]}
    assert "100 1%" in pattern
    assert "%100" not in pattern


def test_credential_that_is_off_shows_held(viewer: Client, three: VendorCredential) -> None:
    three.is_enabled = False
    three.save()
    assert listed(viewer, state="held") == {"3001"}
    assert listed(viewer, state="waiting") == set()
    assert listed(viewer, reason="credential_off") == {"3001"}


def test_filter_by_credential(viewer: Client, three: VendorCredential) -> None:
    second = make_credential(name="second")
    place("4001")
    relay_all()
    assert listed(viewer, credential=second.pk) == {"4001"}
    assert listed(viewer, credential=second.pk, state="not_sent") == {"1001", "2001", "3001"}


# cost


@pytest.fixture
def queries(viewer: Client) -> Callable[[], int]:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(viewer)
        return len(captured)

    return count


def test_list_costs_the_same_however_long(queries: Callable[[], int], django_assert_num_queries) -> None:
    counts = []
    for number in range(3):
        credential = make_credential(name=f"c{number}")
        for order in range(3 if number == 0 else 15):
            place(f"{number}-{order}", "confirmed" if order % 2 else "odd")
        deliver(credential, sender=Vendor())
        queries()
        counts.append(queries())
    assert len(set(counts)) == 1, counts
    # PostgreSQL is asked which cluster this is.
    assert counts[0] <= 17 + 3 * (connection.vendor == "postgresql")


def test_count_is_bounded(viewer: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    Subject.objects.bulk_create(
        Subject(kind="order", key=str(n), reference=f"R{n}", created_at=now, changed_at=now) for n in range(60)
    )
    monkeypatch.setattr(paginator, "LIMIT", 55)
    monkeypatch.setattr(orders.OrderList, "limit", 55)
    with CaptureQueriesContext(connection) as captured:
        html = page(viewer)
    assert "More than 55 orders" in html
    counting = [query["sql"] for query in captured if "COUNT(*)" in query["sql"]]
    assert len(counting) == 1
    assert "LIMIT 56" in counting[0]


# actions


def test_viewer_has_no_actions(viewer: Client, refused: Subject) -> None:
    assert "_selected_action" not in page(viewer)
    act(viewer, "send_again", refused)
    assert SyncState.objects.get().state == "refused"
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("url", [URL + "add/", URL + "{}/delete/"])
def test_nobody_adds_or_deletes_orders(admin_client: Client, refused: Subject, url: str) -> None:
    assert admin_client.get(url.format(refused.pk)).status_code == 403


def test_send_again_queues_and_logs(operator: Client, refused: Subject, in_sync: Subject) -> None:
    html = act(operator, "send_again", refused, in_sync)
    assert "Sends queued: 2 (orders chosen: 2)." in html
    assert set(SyncState.objects.values_list("state", flat=True)) == {"waiting"}
    (entry,) = LogEntry.objects.all()
    assert entry.object_repr == "2 orders"
    assert entry.get_change_message() == "Send again. Sends queued: 2 (orders chosen: 2). 2001, 1001"
    assert entry.user.username == "operator"


def test_hold_and_release(operator: Client, in_sync: Subject) -> None:
    assert "Held: 1 (orders chosen: 1)." in act(operator, "hold", in_sync)
    assert SyncState.objects.get().is_held
    assert "Nothing to hold" in act(operator, "hold", in_sync)
    assert "Released: 1" in act(operator, "release", in_sync)
    assert not SyncState.objects.get().is_held
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(in_sync.pk)] * 3


def test_action_is_about_the_credential_that_is_filtered(operator: Client, in_sync: Subject) -> None:
    second = make_credential(name="Second")
    resync.resend([in_sync.pk])
    html = act(operator, "hold", in_sync, query=f"?credential={second.pk}")
    assert "Second: Held: 1" in html
    assert [state.credential for state in SyncState.objects.filter(is_held=True)] == [second]


def test_action_on_too_many_orders_is_refused(
    operator: Client, refused: Subject, in_sync: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "LIMIT", 1)
    assert "At most 1 orders at once" in act(operator, "hold", refused, select_across=1)
    assert not SyncState.objects.filter(is_held=True).exists()


def test_late_changes_are_told(viewer: Client, credential: VendorCredential) -> None:
    place()
    OutboxEvent.objects.update(created_at=timezone.now() - timezone.timedelta(minutes=5))
    assert "wait to be taken up since" in page(viewer)


def test_a_shop_that_is_silenced_says_so(viewer: Client, settings: Any) -> None:
    words = "nothing is captured and nothing is sent"
    assert words not in page(viewer)
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENABLED": False}
    assert words in page(viewer)
