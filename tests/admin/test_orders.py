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

from optico_sync import jobs, listing, resync, selection, sweep
from optico_sync.admin import orders
from optico_sync.models import Job, OutboxEvent, RelayState, Subject, SyncState, VendorCredential, Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
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
    asked = [query["sql"] for query in queries if "100 1" in query["sql"]]
    assert asked and not [sql for sql in asked if "%100" in sql]


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
    assert counts[0] <= 18 + 3 * (connection.vendor == "postgresql")


def sixty() -> None:
    now = timezone.now()
    Subject.objects.bulk_create(
        Subject(kind="order", key=str(n), reference=f"R{n}", created_at=now, changed_at=now) for n in range(60)
    )


def test_count_is_bounded(viewer: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    sixty()
    monkeypatch.setattr(listing, "COUNTED", 55)
    monkeypatch.setattr(orders.OrderList, "limit", 55)
    with CaptureQueriesContext(connection) as captured:
        html = page(viewer)
    assert "More than 55 orders" in html
    counting = [query["sql"] for query in captured if "COUNT(*)" in query["sql"]]
    assert len(counting) == 1
    assert "LIMIT 56" in counting[0]


# pages


def link(html: str, rel: str) -> str:
    """Where the link ``rel`` leads; empty without one."""
    found = re.search(rf'<a rel="{rel}" href="([^"]*)"', html)
    return found.group(1).replace("&amp;", "&") if found else ""


def numbers(html: str) -> list[str]:
    return re.findall(r'<th class="field-order"><a [^>]*>([^<]*)</a>', html)


def test_pages_reach_every_order_and_lead_back(viewer: Client, credential: VendorCredential) -> None:
    sixty()
    first = page(viewer)
    assert numbers(first) == [f"R{n}" for n in range(59, 9, -1)]
    assert "60 orders" in first and not link(first, "prev")
    second = viewer.get(URL + link(first, "next")).text
    assert numbers(second) == [f"R{n}" for n in range(9, -1, -1)]
    assert not link(second, "next") and 'aria-label="Pages"' in second
    # What is new meanwhile moves no page.
    place("newest")
    relay_all()
    assert numbers(viewer.get(URL + link(first, "next")).text) == numbers(second)
    back = viewer.get(URL + link(second, "prev")).text
    assert numbers(back) == numbers(first)
    # What is newer than the first fifty is shown as a whole first page.
    assert numbers(viewer.get(URL + link(back, "prev")).text) == ["newest", *numbers(first)[:-1]]


def test_pages_keep_the_filters_and_the_search(viewer: Client, credential: VendorCredential) -> None:
    sixty()
    html = page(viewer, q="R", attributed="no")
    following = link(html, "next")
    assert "q=R" in following and "attributed=no" in following
    second = viewer.get(URL + following).text
    assert len(numbers(second)) == 10
    # A filter or a search begins with the first page.
    assert not re.search(r'(name="p"|href="\?[^"]*p=older[^"]*state=)', second)


def test_a_page_that_stops_early_says_how_far_it_looked(
    viewer: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    sixty()
    Subject.objects.filter(reference="R0").update(call_id="7")
    monkeypatch.setattr(listing, "WINDOW", 40)
    html = page(viewer, attributed="call")
    assert not numbers(html)
    assert f"Looked as far as {timezone.localtime():%-d %b %Y}; there may be more." in html and "Look further" in html
    assert numbers(viewer.get(URL + link(html, "next")).text) == ["R0"]


@pytest.mark.parametrize(
    "place", ["2", "older-", "older-x", "older-²", "newer-99999999999999999999", "sideways-5", "-5"]
)
def test_a_place_that_is_none_is_the_first_page(viewer: Client, credential: VendorCredential, place: str) -> None:
    sixty()
    assert numbers(page(viewer, p=place))[0] == "R59"


def test_a_list_is_narrowed_down_by_its_own_filters_only(viewer: Client, refused: Subject) -> None:
    assert viewer.get(URL, {"sync_states__detail__startswith": "N"}).status_code == 400


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
    entries = LogEntry.objects.all()
    assert {(entry.object_id, entry.object_repr) for entry in entries} == {
        (str(refused.pk), "1001"),
        (str(in_sync.pk), "2001"),
    }
    for entry in entries:
        assert entry.get_change_message() == "Send again. Sends queued: 2 (orders chosen: 2)."
        assert entry.user.username == "operator"


def test_hold_and_release(operator: Client, in_sync: Subject) -> None:
    assert "Held: 1 (orders chosen: 1)." in act(operator, "hold", in_sync)
    assert SyncState.objects.get().is_held
    assert "Nothing to hold" in act(operator, "hold", in_sync)
    assert "Released: 1" in act(operator, "release", in_sync)
    assert not SyncState.objects.get().is_held
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(in_sync.pk)] * 3


def test_do_not_send_and_send_after_all(operator: Client, refused: Subject, in_sync: Subject) -> None:
    assert "Not sent from now on: 2 (orders chosen: 2)." in act(operator, "withhold", refused, in_sync)
    assert listed(operator, state="not_sent", reason="withheld") == {"1001", "2001"}
    assert "Nothing was queued" in act(operator, "send_again", in_sync)
    assert "Sent after all: 2 (orders chosen: 2)." in act(operator, "send_after_all", refused, in_sync)
    assert not SyncState.objects.filter(is_withheld=True).exists()


def test_it_is_there(operator: Client, refused: Subject, in_sync: Subject) -> None:
    assert "Nothing to confirm: only where no clear answer came." in act(operator, "confirm", refused)
    SyncState.objects.filter(subject=refused).update(reason="ambiguous")
    assert "Confirmed to be at the vendor: 1 (orders chosen: 2)." in act(operator, "confirm", refused, in_sync)
    assert set(SyncState.objects.values_list("state", "reason")) == {("in_sync", "confirmed"), ("in_sync", "")}
    assert {entry.get_change_message().split(".")[0] for entry in LogEntry.objects.all()} == {"It is there"}


def test_action_is_about_the_credential_that_is_filtered(operator: Client, in_sync: Subject) -> None:
    second = make_credential(name="Second")
    resync.resend([in_sync.pk])
    html = act(operator, "hold", in_sync, query=f"?credential={second.pk}")
    assert "Second: Held: 1" in html
    assert [state.credential for state in SyncState.objects.filter(is_held=True)] == [second]


def test_action_on_too_many_chosen_orders_is_refused(
    operator: Client, refused: Subject, in_sync: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "LIMIT", 1)
    assert "At most 1 chosen orders at once" in act(operator, "hold", refused, in_sync)
    assert not SyncState.objects.filter(is_held=True).exists()


# all that match


def test_all_that_match_can_be_chosen_without_javascript(operator: Client, refused: Subject) -> None:
    html = page(operator)
    assert '<input type="checkbox" name="select_across" value="1">' in html and "all that match" in html
    assert 'type="hidden" name="select_across"' not in html


def test_all_that_match_on_one_page_are_acted_on_at_once(operator: Client, refused: Subject, in_sync: Subject) -> None:
    # What a browser sends when no row is chosen.
    data = {"action": "hold", "_selected_action": "0", "select_across": "1", "index": "0"}
    html = operator.post(f"{URL}?state=refused", data, follow=True).text
    assert "Held: 1 (orders chosen: 1)." in html
    assert [state.subject for state in SyncState.objects.filter(is_held=True)] == [refused]
    assert not Job.objects.exists()


def test_nothing_chosen_says_so(operator: Client, refused: Subject) -> None:
    html = operator.post(URL, {"action": "hold", "_selected_action": "0", "index": "0"}, follow=True).text
    assert "Nothing was done: choose orders, or all that match." in html


@pytest.fixture
def matching(credential: VendorCredential, in_sync: Subject, monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """Five waiting orders on pages of two, beside one that is in sync."""
    monkeypatch.setattr(orders.OrderAdmin, "list_per_page", 2)
    monkeypatch.setattr(orders, "TYPE_FROM", 5)
    for number in range(5):
        place(f"M{number}", "confirmed")
    relay_all()
    return list(Subject.objects.filter(reference__startswith="M").order_by("pk"))


def test_all_that_match_are_done_by_a_job_after_a_preview(operator: Client, matching: list[Subject]) -> None:
    asked = {"action": "send_again", "_selected_action": "0", "select_across": "1"}
    html = operator.post(f"{URL}?state=waiting&q=M", {**asked, "index": "0"}, follow=True).text
    assert "Send again: all 5 orders that match?" in html and "To confirm, type 5:" in html
    assert "5 orders are left out" in html or "requests are sent" in html
    assert not Job.objects.exists()
    (newest,) = re.findall(r'name="newest_id" value="(\d+)"', html)
    place("M-later", "confirmed")
    relay_all()
    confirmed = {**asked, "confirmed": "yes", "newest_id": newest}
    html = operator.post(f"{URL}?state=waiting&q=M", {**confirmed, "typed": "4"}, follow=True).text
    assert "Type the number of orders to confirm." in html and not Job.objects.exists()
    html = operator.post(f"{URL}?state=waiting&q=M", {**confirmed, "typed": "5"}, follow=True).text
    assert "Send again, Optico is queued: a worker does it, orders in it: 5." in html
    (job,) = Job.objects.all()
    assert (job.verb, job.asked_by, job.total) == ("send", "operator", 5)
    meant = {key for chunk in Selection.of_json(job.selection).chunks() for key in chunk}
    assert meant == {subject.key for subject in matching}
    # The request has touched no order.
    assert not SyncState.objects.filter(is_forced=True).exists()
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == str(job.pk) and "orders in it: 5" in entry.change_message


def test_of_very_many_that_match_the_question_says_that_there_are_more(
    operator: Client, matching: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "COUNTED", 3)
    asked = {"action": "hold", "_selected_action": "0", "select_across": "1"}
    html = operator.post(f"{URL}?state=waiting", asked, follow=True).text
    assert "Hold: all orders that match, 3 or more?" in html and "To confirm, type 5:" in html
    html = operator.post(f"{URL}?state=waiting", {**asked, "confirmed": "yes", "typed": "5"}, follow=True).text
    assert "Hold is queued: a worker counts its orders and does it." in html
    assert Job.objects.get().total is None
    assert "0 / …" in operator.get("/admin/optico_sync/job/").text
    jobs.work()
    assert Job.objects.get().total == 5


@pytest.mark.parametrize(("verb", "word"), [("hold", "Hold"), ("release", "Release"), ("confirm", "It is there")])
def test_holding_and_releasing_all_that_match_are_jobs_too(
    operator: Client, matching: list[Subject], verb: str, word: str
) -> None:
    asked = {"action": verb, "_selected_action": "0", "select_across": "1"}
    html = operator.post(f"{URL}?q=M", asked, follow=True).text
    assert f"{word}: all 5 orders that match?" in html and {"confirm": "They are"}.get(verb, f"{word} them") in html
    operator.post(f"{URL}?q=M", {**asked, "confirmed": "yes", "typed": "5"})
    (job,) = Job.objects.all()
    assert (job.verb, job.total, job.credential) == (verb, 5, None)
    assert not SyncState.objects.filter(is_held=True).exists()


def test_a_job_of_all_is_about_the_credential_that_is_filtered(
    operator: Client, credential: VendorCredential, matching: list[Subject]
) -> None:
    make_credential(name="Second")
    asked = {"action": "send_again", "_selected_action": "0", "select_across": "1", "confirmed": "yes", "typed": "6"}
    operator.post(f"{URL}?credential={credential.pk}", asked)
    assert [job.credential for job in Job.objects.all()] == [credential]


def test_a_viewer_starts_no_job(viewer: Client, matching: list[Subject]) -> None:
    asked = {"action": "hold", "_selected_action": "0", "select_across": "1", "confirmed": "yes", "typed": "6"}
    viewer.post(URL, asked)
    assert not Job.objects.exists()


def test_late_changes_are_told(viewer: Client, credential: VendorCredential) -> None:
    place()
    OutboxEvent.objects.update(created_at=timezone.now() - timezone.timedelta(minutes=5))
    assert "wait to be taken up since" in page(viewer)


def test_a_shop_that_is_silenced_says_so(viewer: Client, settings: Any) -> None:
    words = "nothing is captured and nothing is sent"
    assert words not in page(viewer)
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENABLED": False}
    assert words in page(viewer)
