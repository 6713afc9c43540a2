"""The operator's verbs and ``optico_resync``."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync.models import OutboxEvent, Subject, SyncState
from optico_sync.relay import relay_all
from optico_sync.resync import hold, release, resend
from tests.helpers import Vendor, deliver, error, make_credential, move, pieces, place, state_of
from tests.oddshop.models import Purchase

pytestmark = pytest.mark.django_db
State = SyncState.State


def resync(*arguments: str) -> str:
    out = StringIO()
    call_command("optico_resync", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def old_order(number: str, **fields: Any) -> Purchase:
    """One that was placed before the app was installed: never captured."""
    purchase = place(number, **fields)
    OutboxEvent.objects.all().delete()
    return purchase


def test_an_order_in_sync_is_sent_once_more(credential: Any, vendor: Vendor) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=vendor)
    assert resync("1001") == "Queued 1 orders to be sent again."
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed", "confirmed"]
    assert deliver(credential, sender=vendor) == 0


def test_an_order_never_captured_is_made_from_the_shop(credential: Any, vendor: Vendor) -> None:
    old_order("1001", stage="confirmed", visit="3617898c651df0f8617f70a0")
    resync("1001")
    deliver(credential, sender=vendor)
    assert [(form["status"], form["visit_id"]) for form in vendor.forms] == [("confirmed", "3617898c651df0f8617f70a0")]
    assert Subject.objects.get().reference == "1001"


def test_a_status_that_passed_unseen_is_told(credential: Any, vendor: Vendor) -> None:
    """``QuerySet.update`` sends no signal."""
    place("1001", "pending")
    deliver(credential, sender=vendor)
    Purchase.objects.update(stage="shipped")
    resync("1001")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "shipped"]


def test_what_is_captured_and_not_relayed_keeps_its_order(credential: Any, vendor: Vendor) -> None:
    purchase = place("1001", "pending")
    deliver(credential, sender=vendor)
    move(purchase, "confirmed")
    move(purchase, "shipped")
    resend([Subject.objects.get().pk])
    deliver(credential, sender=vendor)
    told = [status for number, status in enumerate(vendor.statuses) if vendor.statuses[:number][-1:] != [status]]
    assert told == ["pending", "confirmed", "shipped"]


def test_orders_older_than_the_credential_stay_unsent_also_when_resent(credential: Any, vendor: Vendor) -> None:
    purchase = old_order("1001")
    credential.start_at = timezone.now() + timedelta(days=1)
    credential.save()
    resync("1001")
    deliver(credential, sender=vendor)
    assert vendor.forms == []
    assert state_of(purchase).reason == "before_start"


def test_dry_run_says_would_and_does_nothing(credential: Any) -> None:
    old_order("1001")
    assert resync("1001", "--dry-run").startswith("Would queue 1 orders to be sent again.")
    assert not Subject.objects.exists()
    assert not SyncState.objects.exists()


def test_an_unknown_reference_is_named_and_nothing_is_half_done(credential: Any) -> None:
    old_order("1001")
    with pytest.raises(CommandError, match=r"No such order: 9998, 9999\. Nothing was queued\."):
        resync("1001", "9999", "9998")
    assert not SyncState.objects.exists()


def test_an_unknown_key_is_named(credential: Any) -> None:
    with pytest.raises(CommandError, match="No such order: nothing-here"):
        resync("--key", "nothing-here")


def test_no_selection_is_refused(credential: Any) -> None:
    with pytest.raises(CommandError, match="Say which orders"):
        resync()


def test_an_unknown_credential_is_named_with_the_known_ones(credential: Any) -> None:
    with pytest.raises(CommandError, match="There is no credential 'Optoco'. Known: Optico"):
        resync("1001", "--credential", "Optoco")


def test_without_a_credential_there_is_nobody_to_send_to() -> None:
    old_order("1001")
    with pytest.raises(CommandError, match="no vendor credential"):
        resync("1001")


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "2026-02-30T10:00"])
def test_a_bad_date_is_named(credential: Any, day: str) -> None:
    with pytest.raises(CommandError, match="is not a date"):
        resync("--from", day)


def test_selection_by_date_status_key_and_credential(credential: Any) -> None:
    other = make_credential(name="other")
    first = old_order("1", stage="confirmed", bought_at=timezone.make_aware(datetime(2026, 1, 10, 12)))
    second = old_order("2", stage="shipped", bought_at=timezone.make_aware(datetime(2026, 2, 10, 12)))
    resync("--from", "2026-01-01", "--until", "2026-02-01", "--credential", "Optico")
    assert list(SyncState.objects.values_list("subject__key", "credential")) == [(first.pk, credential.pk)]
    resync("--status", "shipped", "--credential", "other")
    assert SyncState.objects.filter(subject__key=second.pk).get().credential == other
    resync("--key", second.pk)
    assert SyncState.objects.filter(subject__key=second.pk).count() == 2


def test_selection_by_state(credential: Any) -> None:
    vendor = Vendor(lambda form: error("Unknown status") if form["id"] == "bad" else error("x") and _success())
    bad, good = place("bad"), place("good")
    deliver(credential, sender=vendor)
    assert resync("--state", "refused") == "Queued 1 orders to be sent again."
    assert (state_of(bad).state, state_of(good).state) == (State.WAITING, State.IN_SYNC)


def _success() -> Any:
    from tests.helpers import reply

    return reply()


def test_a_refused_order_sent_again_goes_out_under_what_it_waits_with(credential: Any) -> None:
    vendor = Vendor(lambda form: error("Missing required parameter") if len(vendor.forms) == 1 else _success())
    purchase = place("1001", "confirmed")
    deliver(credential, sender=vendor)
    assert state_of(purchase).state == State.REFUSED
    resync("1001")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed", "confirmed"]
    assert state_of(purchase).state == State.IN_SYNC


def test_hold_keeps_back_collects_and_release_sends_all(credential: Any, vendor: Vendor) -> None:
    purchase = place("1001", "pending")
    relay_all()
    subject = Subject.objects.get()
    assert hold([subject.pk]) == 1
    assert hold([subject.pk]) == 0
    move(purchase, "confirmed")
    assert deliver(credential, sender=vendor) == 0
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.HELD, "held_by_operator")
    assert release([subject.pk]) == 1
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]


def test_release_leaves_alone_what_needs_none(credential: Any, vendor: Vendor) -> None:
    purchase = place()
    deliver(credential, sender=vendor)
    assert release([state_of(purchase).subject_id]) == 0


def test_the_verbs_may_be_kept_to_one_credential(credential: Any, vendor: Vendor) -> None:
    make_credential(name="other")
    place()
    relay_all()
    assert hold([Subject.objects.get().pk], credential_id=credential.pk) == 1
    assert SyncState.objects.filter(is_held=True).get().credential == credential


def test_a_resend_takes_a_constant_number_of_statements(credential: Any, vendor: Vendor) -> None:
    counts = []
    for size in (2, 40):
        for number in range(size):
            place(f"{size}-{number}")
        deliver(credential, sender=vendor)
        subjects = list(Subject.objects.filter(reference__startswith=f"{size}-").values_list("pk", flat=True))
        with CaptureQueriesContext(connection) as captured:
            assert resend(subjects) == size
        counts.append(len(captured))
    assert counts[1] - counts[0] <= pieces(40, SyncState)


# whose deed it is


def test_who_sends_again_is_in_the_log_and_on_the_time_line(
    credential: Any, vendor: Vendor, admin_client: Client
) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=vendor)
    resync("1001", "--as", "admin")
    (entry,) = LogEntry.objects.all()
    assert (entry.user.username, entry.object_repr) == ("admin", "1001")
    assert entry.change_message == "Send again. Sends queued: 1 (orders chosen: 1)."
    page = admin_client.get(f"/admin/optico_sync/subject/{entry.object_id}/change/").content.decode()
    assert "By admin: Send again." in " ".join(page.split())


def test_nobody_unknown_sends_anything_again(credential: Any) -> None:
    place("1001", "confirmed")
    with pytest.raises(CommandError, match="There is no user 'ghost'"):
        resync("1001", "--as", "ghost")
    assert not SyncState.objects.filter(is_forced=True).exists()
    resync("1001")
    assert not LogEntry.objects.exists()
