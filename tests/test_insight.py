"""Totals add up, the time line is bounded, and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import insight, resync
from optico_sync.insight.story import MAX_ATTEMPTS
from optico_sync.listing import Listing
from optico_sync.models import (
    Attempt,
    OutboxEvent,
    RelayState,
    StatusMapping,
    Subject,
    SyncState,
    VendorCredential,
    Worker,
)
from optico_sync.models.clock import database_now
from optico_sync.outcome import REASONS, Kind
from optico_sync.relay import relay_all
from optico_sync.vendors.base import Response
from tests.helpers import Clock, Vendor, deliver, error, make_credential, move, place, reply

pytestmark = pytest.mark.django_db


def answer(form: dict[str, str]) -> Response:
    if form["id"] == "down":
        return reply(b"", 503)
    return error("Missing required parameter") if form["id"] == "bad" else reply()


@pytest.fixture
def mixed(credential: VendorCredential, clock: Clock) -> VendorCredential:
    """Eight orders, in all six states with ``credential``."""
    StatusMapping.objects.create(credential=credential, shop_status="draft", choice=StatusMapping.Choice.DO_NOT_SEND)
    for number, stage in [("odd", "nobody's"), ("left out", "draft")]:
        place(number, stage)
    for number in ("fine", "held", "down", "bad"):
        place(number, "confirmed")
    deliver(credential, sender=Vendor(answer), clock=clock)
    resync.hold([subject("held").pk])
    Subject.objects.create(kind="order", key="old", reference="old", created_at=clock.now, changed_at=clock.now)
    place("new", "confirmed")
    relay_all()
    return credential


def subject(reference: str) -> Subject:
    return Subject.objects.get(reference=reference)


def found(**asked: object) -> set[str]:
    listing = Listing(known=insight.credentials(), **asked)  # type: ignore[arg-type]
    return {subject.reference for chunk in listing.chunks() for subject in chunk}


def listed(credential: VendorCredential) -> dict[str, int]:
    """The six numbers, counted by the filters of the list."""
    return {state: len(found(state=state, credential_id=credential.pk)) for state in SyncState.State.values}


# totals


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({}, 1),
        ({"is_enabled": False}, 3),
        ({"paused_at": timezone.now(), "pause_reason": "key_refused"}, 3),
        ({"opened_at": timezone.now(), "failures": 5}, 3),
    ],
    ids=["sending", "off", "paused", "breaker open"],
)
def test_totals_add_up_to_all_orders(mixed: VendorCredential, fields: dict, held: int) -> None:
    VendorCredential.objects.filter(pk=mixed.pk).update(**fields)
    mixed.refresh_from_db()
    counts = SyncState.objects.totals(mixed)
    pending = 1 if held == 1 else 0
    assert counts == {
        "waiting": pending, "retrying": pending, "in_sync": 1, "refused": 2, "not_sent": 2, "held": held
    }  # fmt: skip
    assert sum(counts.values()) == Subject.objects.count()
    assert listed(mixed) == counts


def test_totals_add_up_for_every_credential(mixed: VendorCredential) -> None:
    later = make_credential(name="later")
    place("after", "confirmed")
    relay_all()
    for credential in (mixed, later):
        counts = SyncState.objects.totals(credential)
        assert sum(counts.values()) == Subject.objects.count() == 9
        assert listed(credential) == counts
    assert SyncState.objects.totals(later)["not_sent"] == 8


# which orders stand like this


def test_reason_finds_its_orders(mixed: VendorCredential) -> None:
    assert found(reason="vendor_error") == {"down"}
    assert found(reason="never_offered") == {"old"}
    assert found(reason="unmapped_status", state="refused") == {"odd"}
    assert found(reason="unmapped_status", state="retrying") == set()


def test_reason_of_the_credential_hides_the_orders_own(mixed: VendorCredential) -> None:
    mixed.pause("key_refused", "", timezone.now())
    mixed.save()
    assert found(reason="key_refused") == {"down", "new"}
    assert found(reason="vendor_error") == set()


def test_state_and_credential_are_of_one_row(mixed: VendorCredential) -> None:
    other = make_credential(name="other")
    assert found(state="in_sync", credential_id=mixed.pk) == {"fine"}
    assert found(state="in_sync", credential_id=other.pk) == set()
    assert found(credential_id=other.pk) == set()


def test_reasons_are_those_that_occur(mixed: VendorCredential) -> None:
    mixed.is_enabled = False
    occurring = [
        "vendor_error", "unmapped_status", "missing_parameter", "credential_off", "held_by_operator",
        "status_not_sent", "never_offered",
    ]  # fmt: skip
    assert insight.reasons([mixed]) == occurring
    assert insight.reasons([]) == []


# standings


def test_standings_take_two_queries(mixed: VendorCredential, django_assert_num_queries) -> None:
    make_credential(name="second")
    subjects = list(Subject.objects.all())
    with django_assert_num_queries(2):
        rows = insight.standings(subjects)
        words = {str(order): [(row.label, str(row.reason.text)) for row in rows[order.pk]] for order in subjects}
    never = ("not sent", REASONS["never_offered"].text)
    assert words["fine"] == [("in sync", ""), never]
    assert words["down"] == [("retrying", REASONS["vendor_error"].text), never]
    assert words["old"] == [never, never]


def test_standings_by_key_know_orders_without_a_subject(mixed: VendorCredential, django_assert_num_queries) -> None:
    key = subject("fine").key
    with django_assert_num_queries(3):
        known = insight.standings_by_key([key, "nobody"])
    order, rows = known[key]
    assert str(order) == "fine"
    assert [row.state for row in rows] == ["in_sync"]
    order, rows = known["nobody"]
    assert order is None
    assert [row.reason_code for row in rows] == ["never_offered"]


def test_next_attempt_is_told(mixed: VendorCredential) -> None:
    def standing(reference: str) -> insight.Standing:
        order = subject(reference)
        return insight.standings([order])[order.pk][0]

    SyncState.objects.filter(subject=subject("down")).update(due_at=timezone.now() + timedelta(seconds=90))
    assert standing("down").next_in == "in 1 min"
    assert standing("new").next_in == "now"
    assert standing("fine").next_at is standing("held").next_at is None
    SyncState.objects.filter(subject=subject("down")).update(lease="token")
    assert standing("down").is_being_sent
    assert standing("down").next_at is None


# the time line


def line_of(reference: str, **options: bool) -> insight.Timeline:
    order = subject(reference)
    return insight.timeline(order, insight.standings([order])[order.pk], **options)


def told(timeline: insight.Timeline) -> list[str]:
    return [
        f"{entry.attempt.status} {entry.outcome}"
        if isinstance(entry, insight.Exchange)
        else f"{entry.change} {entry.status} x{entry.count}"
        for entry in timeline.entries
    ]


@pytest.mark.django_db(transaction=True)
def test_timeline_merges_changes_and_attempts(credential: VendorCredential, vendor: Vendor) -> None:
    order = place(stage="pending")
    deliver(credential, sender=vendor)
    for _again in range(3):
        move(order, "confirmed")
    deliver(credential, sender=vendor)
    order.delete()
    assert [words for words in told(line_of("1001")) if not words.startswith("related")] == [
        "deleted confirmed x1",
        "confirmed delivered",
        "saved confirmed x3",
        "pending delivered",
        "saved pending x1",
    ]
    assert not line_of("1001").entries[0].is_relayed  # type: ignore[union-attr]


def test_timeline_shows_what_belongs_to_the_order(credential: VendorCredential) -> None:
    order = place()
    place("other")
    relay_all()
    order.things.get().save()
    assert told(line_of("1001"))[0] == "related  x1"


def test_timeline_is_bounded(credential: VendorCredential, vendor: Vendor) -> None:
    order = place()
    deliver(credential, sender=vendor)
    attempt = Attempt.objects.get()
    Attempt.objects.bulk_create(Attempt(**{**values_of(attempt), "id": None}) for _copy in range(60))
    event = OutboxEvent.objects.filter(key=order.pk).first()
    OutboxEvent.objects.bulk_create(OutboxEvent(**{**values_of(event), "id": None}) for _copy in range(110))
    timeline = line_of("1001")
    assert timeline.more_changes
    assert timeline.more_attempts
    assert sum(isinstance(entry, insight.Exchange) for entry in timeline.entries) == MAX_ATTEMPTS


def values_of(row: object) -> dict[str, object]:
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}


def test_bodies_are_only_read_when_asked_for(credential: VendorCredential, vendor: Vendor) -> None:
    place()
    deliver(credential, sender=vendor)
    (closed,) = (e.attempt for e in line_of("1001").entries if isinstance(e, insight.Exchange))
    assert closed.get_deferred_fields() == {"request", "answer"}
    (opened,) = (e.attempt for e in line_of("1001", bodies=True).entries if isinstance(e, insight.Exchange))
    assert not opened.get_deferred_fields()


def test_every_kind_of_attempt_has_a_word() -> None:
    attempted = {Kind.DELIVERED, Kind.RETRY, Kind.REFUSED}
    assert set(insight.Exchange.Outcome.values) == {kind.value for kind in attempted}


# the machinery


def make_worker(name: str = "w", **fields: object) -> Worker:
    now = database_now("default")
    return Worker.objects.create(**{"name": name, "started_at": now, "beat_at": now, **fields})


def test_heartbeat_of_a_running_worker() -> None:
    make_worker("stopped", stopped_at=timezone.now())
    make_worker("running", beat_at=database_now("default") - timedelta(seconds=3))
    heartbeat = insight.heartbeat()
    assert (heartbeat.worker and heartbeat.worker.name, heartbeat.running) == ("running", 1)
    assert heartbeat.age in ("3 s", "4 s")


def test_heartbeat_that_stopped_counts_as_gone() -> None:
    assert insight.heartbeat().running == 0
    make_worker(beat_at=timezone.now() - timedelta(minutes=2))
    heartbeat = insight.heartbeat()
    assert (heartbeat.state, heartbeat.running) == (insight.WorkerState.SILENT, 0)


def test_credential_lines_say_what_each_does(credential: VendorCredential) -> None:
    def state() -> str:
        return insight.credential_lines([credential])[0].state

    assert state() == "sending"
    credential.opened_at = timezone.now()
    assert state() == "silent"
    credential.pause("key_refused", "Invalid API key", timezone.now())
    assert state() == "paused"
    line = insight.credential_lines([credential])[0]
    assert (line.reason, line.detail) == (REASONS["key_refused"], "Invalid API key")
    credential.is_enabled = False
    assert state() == "off"


def test_credentials_leave_their_secrets_sealed(credential: VendorCredential) -> None:
    assert insight.credentials()[0].get_deferred_fields() == {"sealed_secrets"}


def test_captures_tell_what_did_not_get_on(credential: VendorCredential) -> None:
    assert insight.captures() == insight.Captures()
    place()
    assert insight.captures().waiting_since is None
    OutboxEvent.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    RelayState.objects.create(missed_captures=2)
    captures = insight.captures()
    assert captures.missed == 2
    assert captures.waiting_since is not None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (59.9, "59 s"), (61, "1 min"), (7300, "2 h"), (86400, "24 h"), (3 * 86400, "3 days")],
)
def test_spell_uses_one_unit(seconds: float, words: str) -> None:
    assert insight.spell(timedelta(seconds=seconds)) == words


@pytest.mark.databases("sqlite")
def test_what_waits_is_found_by_its_index(credential: VendorCredential) -> None:
    with CaptureQueriesContext(connection) as captured:
        insight.waiting([credential], timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {captured[0]['sql']}")
        assert any("optico_sync_due" in row[3] for row in cursor.fetchall())
