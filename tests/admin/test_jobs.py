"""The pages of jobs: progress, pause, resume, cancel; and the backfill, shown beforehand and confirmed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from optico_sync import jobs, selection
from optico_sync.admin import jobs as page
from optico_sync.models import Job, StatusMapping, SyncState, VendorCredential
from optico_sync.preview import TYPE_FROM
from optico_sync.selection import Selection
from tests.admin.conftest import Login
from tests.helpers import Vendor, deliver, make_credential
from tests.oddshop.models import Item, Purchase

pytestmark = pytest.mark.django_db

LIST = "/admin/optico_sync/job/"
BACKFILL = f"{LIST}backfill/"
ALL = {"preview": "1"}


def old_orders(count: int, **fields: Any) -> None:
    made = Purchase.objects.bulk_create(
        Purchase(number=f"OLD-{number:04}", **{"stage": "confirmed", **fields}) for number in range(count)
    )
    Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in made)


def html(response: Any) -> str:
    assert response.status_code == 200, response
    return response.content.decode()


def started(count: int = 3) -> Job:
    old_orders(count)
    (job,) = jobs.start(Job.Verb.SEND, Selection(), by="anna")
    jobs.work()
    return job


def press(client: Client, job: Job, verb: str) -> str:
    return html(client.post(f"{LIST}{job.pk}/move/", {"verb": verb}, follow=True))


def confirm(client: Client, query: str = "?preview=1", **typed: str) -> str:
    return html(client.post(BACKFILL + query, typed, follow=True))


# jobs


def test_the_list_says_how_far_each_came(operator: Client, credential: VendorCredential) -> None:
    started()
    found = html(operator.get(LIST))
    assert "3 / 3" in found and "Optico" in found and "sync-running" in found and "anna" in found


def test_the_list_takes_a_constant_number_of_queries(operator: Client, credential: VendorCredential) -> None:
    counts = []
    for _round in range(2):
        jobs.start(Job.Verb.SEND, Selection())
        with CaptureQueriesContext(connection) as asked:
            operator.get(LIST)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_page_tells_in_words_what_became_of_its_orders(
    operator: Client, credential: VendorCredential, vendor: Vendor
) -> None:
    job = started()
    assert "3 orders wait to be sent." in html(operator.get(f"{LIST}{job.pk}/change/"))
    deliver(credential, sender=vendor)
    jobs.work()
    found = html(operator.get(f"{LIST}{job.pk}/change/"))
    assert "The vendor has 3 orders." in found and "sync-finished" in found
    assert 'value="cancel"' not in found
    assert re.search(r'<progress [^>]*max="3" value="3"', found)


def test_a_page_says_which_orders_are_meant(operator: Client, credential: VendorCredential) -> None:
    meant = Selection(placed_from=datetime(2026, 1, 31, 23, tzinfo=UTC), statuses=["<b>"], reason="unmapped_status")
    (job,) = jobs.start(Job.Verb.SEND, meant)
    found = html(operator.get(f"{LIST}{job.pk}/change/"))
    assert "1 Feb 2026, 00:00" in found and "&lt;b&gt;" in found and "This shop status is not mapped" in found


def test_buttons_pause_resume_and_cancel_and_each_is_in_the_log_with_its_numbers(
    operator: Client, credential: VendorCredential, vendor: Vendor
) -> None:
    job = started()
    assert "Paused." in press(operator, job, "pause")
    assert deliver(credential, sender=vendor) == 0
    assert "Resumed." in press(operator, job, "resume")
    assert "Cancelled." in press(operator, job, "cancel")
    jobs.work()
    assert not SyncState.objects.filter(due_at__isnull=False).exists()
    assert "Nothing was changed: the job is cancelled." in press(operator, job, "resume")
    log = list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
    assert [line.split(".")[0] for line in log] == ["Paused", "Resumed", "Cancelled"]
    assert all("3 of 3 orders were looked at." in line for line in log)


def test_who_may_not_send_again_sees_and_does_nothing(viewer: Client, login: Login, credential: Any) -> None:
    job = started()
    assert viewer.get(LIST).status_code == 403
    assert viewer.get(BACKFILL).status_code == 403
    assert viewer.post(f"{LIST}{job.pk}/move/", {"verb": "cancel"}).status_code == 403
    looker = login("view_job", name="looker")
    found = html(looker.get(f"{LIST}{job.pk}/change/"))
    assert 'name="verb"' not in found and "Send old orders" not in html(looker.get(LIST))
    assert looker.post(f"{LIST}{job.pk}/move/", {"verb": "cancel"}).status_code == 403


def test_only_known_verbs_and_only_by_post(operator: Client, credential: VendorCredential) -> None:
    job = started()
    assert operator.get(f"{LIST}{job.pk}/move/").status_code == 405
    assert operator.post(f"{LIST}{job.pk}/move/", {"verb": "delete"}).status_code == 400
    assert operator.post(f"{LIST}{job.pk}/change/").status_code == 405
    assert operator.get(f"{LIST}999/change/").status_code == 302


# the backfill


def test_a_backfill_is_shown_first_and_started_by_post_alone(operator: Client, credential: VendorCredential) -> None:
    old_orders(3)
    assert "What this will do" not in html(operator.get(BACKFILL))
    found = html(operator.get(BACKFILL, ALL))
    assert "3 orders are meant." in found and "3 requests are sent." in found
    assert not Job.objects.exists()
    found = confirm(operator)
    job = Job.objects.get()
    assert (job.asked_by, job.credential, job.total) == ("operator", credential, 3)
    assert f"Job {job.pk}, Optico started: orders to look at: 3." in found
    assert LogEntry.objects.get().change_message in found


def test_many_must_be_typed(operator: Client, credential: VendorCredential) -> None:
    old_orders(TYPE_FROM)
    assert "To confirm, type 100:" in html(operator.get(BACKFILL, ALL))
    for typed in ({}, {"typed": "99"}):
        assert "Type the number to confirm. Nothing was sent." in confirm(operator, **typed)
    assert not Job.objects.exists()
    confirm(operator, typed="100")
    assert Job.objects.count() == 1


def test_of_very_many_the_first_are_shown_and_all_must_be_typed(
    operator: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LIMIT", 200)
    old_orders(201)
    found = html(operator.get(BACKFILL, ALL))
    assert "201 orders are meant." in found and "numbers of the first 200 of them only" in found
    assert "200 requests are sent." in found and "To confirm, type 201:" in found


def test_more_than_are_counted_at_once_say_so(
    operator: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LIMIT", 200)
    monkeypatch.setattr(selection, "COUNTED_AT_ONCE", 201)
    old_orders(202)
    found = html(operator.get(BACKFILL, ALL))
    assert "201 orders or more are meant: the job counts them all." in found and "To confirm, type 201:" in found
    found = confirm(operator, typed="201")
    job = Job.objects.get()
    assert f"Job {job.pk}, Optico started: it counts its orders first." in found
    assert "max=" not in re.findall("<progress[^>]*>", html(operator.get(f"{LIST}{job.pk}/change/")))[0]


def test_dates_statuses_and_credential_select(operator: Client, credential: VendorCredential) -> None:
    other = make_credential(name="other")
    StatusMapping.objects.create(credential=credential, shop_status="confirmed")
    old_orders(2, bought_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    query = f"?placed_from=2026-02-01&placed_until=2026-02-02&statuses=confirmed&credential={other.pk}"
    assert "2 orders are meant." in html(operator.get(BACKFILL + query))
    confirm(operator, query)
    assert Job.objects.get().credential == other
    assert "0 orders are meant." in html(operator.get(BACKFILL, {"placed_from": "2026-02-02"}))


def test_the_start_date_is_told_with_the_cure(operator: Client, credential: VendorCredential) -> None:
    old_orders(2, bought_at=datetime(1999, 1, 1, tzinfo=UTC))
    found = html(operator.get(BACKFILL, ALL))
    assert "2 orders are older than their credential&#x27;s start date" in found.replace("&#39;", "&#x27;").replace(
        "credential's", "credential&#x27;s"
    )
    assert "There is nothing to send." in found
    confirm(operator, "?reaches_back=on")
    assert Job.objects.get().reaches_back


def test_a_bad_query_starts_nothing(operator: Client, credential: VendorCredential) -> None:
    old_orders(1)
    confirm(operator, "?placed_from=yesterday")
    confirm(operator, "?credential=999")
    confirm(operator, "")
    assert not Job.objects.exists()


def test_nothing_is_inline(operator: Client, credential: VendorCredential) -> None:
    job = started()
    for url in (LIST, f"{LIST}{job.pk}/change/", f"{BACKFILL}?preview=1"):
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|<style", html(operator.get(url)))
