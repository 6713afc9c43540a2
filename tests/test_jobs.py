"""Jobs: very many orders behind what is live, in chunks, paused and cancelled at once, and told honestly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import insight, jobs, listing, resync, selection
from optico_sync.delivery import Lane
from optico_sync.models import Job, OutboxEvent, StatusMapping, Subject, SyncState, VendorCredential
from optico_sync.preview import to_type
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
from tests.helpers import Clock, Vendor, deliver, error, make_credential, move, pieces, place, reply, state_of
from tests.oddshop.models import Item, Purchase
from tests.settings import OPTICO_SYNC
from tests.test_together import ORDER, account

pytestmark = pytest.mark.django_db
State = SyncState.State
ALL = Selection()


def old_orders(count: int, stage: str = "confirmed", first: int = 0, **fields: Any) -> list[Purchase]:
    """Orders from before the app: never captured."""
    made = Purchase.objects.bulk_create(
        Purchase(number=f"OLD-{number:04}", stage=stage, **fields) for number in range(first, first + count)
    )
    Item.objects.bulk_create(Item(purchase=purchase, title="x", paid=1) for purchase in made)
    return made


def begin(selection: Selection = ALL, verb: str = Job.Verb.SEND, **options: Any) -> Job:
    (job,) = jobs.start(verb, selection, **options)
    return job


def run(*credentials: VendorCredential, **options: Any) -> None:
    """Work all jobs, and deliver, until nothing is left to do."""
    relay_all()
    while jobs.work():
        for credential in credentials:
            deliver(credential, **options)


def fresh(job: Job) -> Job:
    return Job.objects.with_credentials().get(pk=job.pk)


def six(credential: VendorCredential) -> dict[str, int]:
    return {state: count for state, count in SyncState.objects.totals(credential).items() if count}


def test_orders_from_before_the_app_are_sent_and_counted(credential: Any, vendor: Vendor) -> None:
    old_orders(450)
    job = begin(by="anna")
    run(credential, sender=vendor)
    job = fresh(job)
    assert (job.state, job.looked_at, job.total, job.done) == (Job.State.FINISHED, 450, 450, 450)
    assert job.finished_at and job.started_at and job.asked_by == "anna"
    assert len({form["id"] for form in vendor.forms}) == len(vendor.forms) == 450
    assert six(credential) == {State.IN_SYNC: 450}


def test_queued_is_not_finished(credential: Any, vendor: Vendor) -> None:
    old_orders(3)
    job = begin()
    jobs.work()
    jobs.work()
    assert (fresh(job).state, fresh(job).looked_at, fresh(job).done) == (Job.State.RUNNING, 3, 0)
    assert "3 orders wait to be sent." in jobs.account(fresh(job))
    deliver(credential, sender=vendor)
    jobs.work()
    assert fresh(job).state == Job.State.FINISHED


def test_live_orders_go_first(credential: Any, vendor: Vendor) -> None:
    old_orders(100)
    begin()
    jobs.work()
    SyncState.objects.update(due_at=timezone.now() - timedelta(days=1))
    lane = Lane(credential.pk, sender=vendor)
    lane.deliver()
    assert len(vendor.forms) == 4 * credential.concurrency
    place("LIVE", "confirmed")
    relay_all()
    lane.deliver()
    lane.close()
    assert vendor.forms[-1]["id"] == "LIVE"
    assert len(vendor.forms) == 4 * credential.concurrency + 1


def test_a_job_takes_a_second_of_a_limited_vendors_slots_at_a_time(
    credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_orders(100)
    begin()
    jobs.work()
    monkeypatch.setattr(type(credential.spec), "rate", 4)
    lane = Lane(credential.pk, sender=vendor)
    assert lane.deliver() == 3
    lane.close()


def test_a_live_change_takes_the_order_out_of_the_job(credential: Any, vendor: Vendor) -> None:
    first, second = old_orders(2)
    job = begin()
    jobs.work()
    move(first, "shipped")
    relay_all()
    row = state_of(first)
    assert (row.job_id, row.before, row.queue) == (None, None, ["confirmed", "shipped"])
    assert state_of(second).job_id == job.pk
    deliver(credential, sender=vendor)
    assert [form["id"] for form in vendor.forms] == [first.number, first.number, second.number]
    jobs.work()
    job = fresh(job)
    assert (job.state, job.done) == (Job.State.FINISHED, 1)
    assert "1 order changed meanwhile and went ahead with the live ones." in jobs.account(job)


def test_a_job_queues_a_window_and_no_more(credential: Any) -> None:
    old_orders(jobs.WINDOW + 400)
    begin()
    while jobs.work():
        pass
    assert SyncState.objects.filter(due_at__isnull=False).count() == jobs.WINDOW


def test_what_rests_and_what_failed_by_itself_keeps_the_others_from_nothing(credential: Any) -> None:
    old_orders(jobs.WINDOW + 2 * jobs.CHUNK)
    job = begin()
    while jobs.work():
        pass
    first, *others = SyncState.objects.order_by("pk").values_list("pk", flat=True)[: 2 * jobs.CHUNK]
    SyncState.objects.filter(pk=first).update(state=State.RETRYING, reason="vendor_error")
    assert jobs.work() == 0
    SyncState.objects.filter(pk__in=others[: jobs.CHUNK]).update(reason="hold_period")
    assert jobs.work() == jobs.CHUNK
    SyncState.objects.filter(pk__in=others[jobs.CHUNK :]).update(state=State.RETRYING, reason="vendor_error")
    assert jobs.work() == jobs.CHUNK
    assert fresh(job).is_at_end


def test_paused_nothing_leaves_and_resumed_all_does(credential: Any, vendor: Vendor) -> None:
    old_orders(10)
    job = begin()
    jobs.work()
    assert job.pause() and not job.pause()
    assert jobs.work() == deliver(credential, sender=vendor) == 0
    assert job.resume()
    run(credential, sender=vendor)
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 10


def prepare(credential: VendorCredential) -> dict[str, Purchase]:
    """Orders of every kind that a job may meet."""
    StatusMapping.objects.create(credential=credential, shop_status="draft", choice="do_not_send")
    bad = Vendor(lambda form: error("Missing required parameter") if form["id"] == "refused" else reply())
    found = {"in_sync": place("in_sync", "confirmed"), "refused": place("refused", "confirmed")}
    found["not_sent"], found["held"] = place("not_sent", "draft"), place("held", "confirmed")
    relay_all()
    resync.hold([state_of(found["held"]).subject_id])
    deliver(credential, sender=bad)
    found["waiting"] = place("waiting", "pending")
    (found["never"],) = old_orders(1)
    relay_all()
    return found


def rows() -> list[dict[str, Any]]:
    return list(SyncState.objects.order_by("pk").values())


def test_cancelled_every_order_is_what_it_was(credential: Any, vendor: Vendor) -> None:
    """The six states add up to the same as before, and not one row tells of the job."""
    found = prepare(credential)
    before, states = six(credential), rows()
    assert set(before) == {State.IN_SYNC, State.REFUSED, State.NOT_SENT, State.HELD, State.WAITING}
    job = begin()
    jobs.work()
    assert SyncState.objects.filter(job=job).count() == 4
    assert state_of(found["in_sync"]).state == State.WAITING
    assert job.cancel()
    while jobs.work():
        pass
    after = six(credential)
    after[State.NOT_SENT] -= 1  # the order that was not known before
    assert after == before
    assert rows()[: len(states)] == states
    never = state_of(found["never"])
    assert (never.state, never.reason, never.queue, never.due_at) == (State.NOT_SENT, "never_offered", [], None)
    job = fresh(job)
    assert (job.state, job.is_over, dict(job.left_out)) == (
        Job.State.CANCELLED,
        True,
        {"held_by_operator": 1, "on_its_way": 1, "job_cancelled": 4},
    )
    deliver(credential, sender=vendor)
    assert [form["id"] for form in vendor.forms] == ["waiting"]


def test_after_a_cancel_the_next_change_is_sent_as_ever(credential: Any, vendor: Vendor) -> None:
    (purchase,) = old_orders(1)
    job = begin()
    jobs.work()
    job.cancel()
    jobs.work()
    Item.objects.get(purchase=purchase).save()
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]


def test_what_is_in_flight_when_it_is_cancelled_is_counted_and_not_tried_again(credential: Any, clock: Clock) -> None:
    old_orders(3)
    job = begin()
    jobs.work()
    answers = {"OLD-0000": reply(), "OLD-0001": reply(b"oops", status=500)}

    class Cancelled(Lane):
        def _settle_surely(self, *args: Any) -> None:
            job.cancel()
            super()._settle_surely(*args)

    vendor = Vendor(lambda form: answers.get(form["id"]) or error("Missing required parameter"))
    lane = Cancelled(credential.pk, sender=vendor, clock=clock)
    assert lane.deliver() == 3
    clock.forward(hours=1)
    assert lane.deliver() == 0
    lane.close()
    while jobs.work():
        pass
    job = fresh(job)
    assert (job.is_over, job.done, dict(job.refused), dict(job.left_out)) == (
        True,
        1,
        {"missing_parameter": 1},
        {"job_cancelled": 1},
    )
    assert six(credential) == {State.IN_SYNC: 1, State.REFUSED: 1, State.NOT_SENT: 1}


def test_what_may_have_been_sent_when_it_is_cancelled_says_so(credential: Any) -> None:
    (purchase,) = old_orders(1)
    job = begin()
    jobs.work()
    # A worker was killed with it.
    SyncState.objects.update(lease="gone", due_at=timezone.now() - timedelta(minutes=1))
    job.cancel()
    jobs.work()
    row = state_of(purchase)
    assert (row.state, row.reason, row.due_at, row.lease) == (State.REFUSED, "ambiguous", None, "")
    assert dict(fresh(job).refused) == {"ambiguous": 1}


def test_held_orders_stay_held_and_those_on_their_way_are_left_alone(credential: Any, vendor: Vendor) -> None:
    found = prepare(credential)
    (told,) = jobs.foresee(Job.Verb.SEND, ALL)
    job = begin()
    run(credential, sender=vendor)
    assert (dict(told.left_out), told.sends) == (fresh(job).left_out, fresh(job).done)
    assert state_of(found["held"]).state == State.HELD
    assert vendor.statuses.count("pending") == 1
    assert fresh(job).left_out == {"held_by_operator": 1, "on_its_way": 1, "status_not_sent": 1}


# dates


def early(credential: VendorCredential) -> Purchase:
    (purchase,) = old_orders(1, bought_at=datetime(2020, 1, 1, tzinfo=UTC))
    credential.start_at = datetime(2021, 1, 1, tzinfo=UTC)
    credential.save()
    return purchase


def test_orders_from_before_the_start_date_leave_no_trace(credential: Any, vendor: Vendor) -> None:
    early(credential)
    job = begin()
    run(credential, sender=vendor)
    assert fresh(job).left_out == {"before_start": 1}
    assert fresh(job).state == Job.State.FINISHED
    assert not Subject.objects.exists()
    assert vendor.forms == []


def test_one_job_may_reach_behind_the_start_date_and_what_it_sent_is_kept_in_step(
    credential: Any, vendor: Vendor
) -> None:
    purchase = early(credential)
    begin(reaches_back=True)
    run(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]
    move(purchase, "refunded")
    (other,) = old_orders(1, first=7, bought_at=datetime(2020, 1, 1, tzinfo=UTC))
    move(other, "shipped")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed", "refunded"]
    assert state_of(other).reason == "before_start"


def test_dates_and_statuses_select(credential: Any, vendor: Vendor) -> None:
    old_orders(1, bought_at=datetime(2025, 1, 1, tzinfo=UTC))
    old_orders(1, first=1, bought_at=datetime(2026, 1, 1, tzinfo=UTC))
    old_orders(1, stage="pending", first=2, bought_at=datetime(2026, 1, 1, tzinfo=UTC))
    begin(Selection(placed_from=datetime(2025, 6, 1, tzinfo=UTC), statuses=["confirmed"]))
    run(credential, sender=vendor)
    assert [form["id"] for form in vendor.forms] == ["OLD-0001"]


# several credentials, several verbs


def test_each_credential_has_a_job_of_its_own(credential: Any, vendor: Vendor) -> None:
    """G6: one that stalls does not keep the other from going on."""
    other = make_credential(name="other")
    make_credential(name="off")
    VendorCredential.objects.filter(name="off").update(is_enabled=False)
    old_orders(5)
    started = jobs.start(Job.Verb.SEND, ALL)
    assert [job.credential for job in started] == [credential, other]
    run(credential, sender=vendor)
    assert [fresh(job).state for job in started] == [Job.State.FINISHED, Job.State.RUNNING]


def test_a_job_of_the_list_means_what_matched_when_it_was_asked(credential: Any) -> None:
    vendor = Vendor(lambda form: error("Missing required parameter"))
    place("1", "confirmed")
    place("2", "confirmed")
    deliver(credential, sender=vendor)
    job = begin(Selection(state="refused", reason="missing_parameter", newest_id=jobs.newest_id()))
    place("3", "confirmed")
    deliver(credential, sender=vendor)
    good = Vendor()
    run(credential, sender=good)
    assert sorted(form["id"] for form in good.forms) == ["1", "2"]
    assert fresh(job).total == 2


def test_what_is_at_the_vendor_is_confirmed_for_all_that_match(credential: Any, vendor: Vendor) -> None:
    for number in range(3):
        place(str(number), "confirmed")
    relay_all()
    SyncState.objects.update(state=State.REFUSED, reason="ambiguous", due_at=None)
    job = begin(Selection(reason="ambiguous", newest_id=jobs.newest_id()), verb=Job.Verb.CONFIRM)
    run(credential, sender=vendor)
    assert jobs.account(fresh(job)) == ["3 of 3 orders were looked at.", "Confirmed to be at the vendor: 3."]
    assert six(credential) == {State.IN_SYNC: 3} and not vendor.forms


def test_very_many_are_counted_by_the_job_and_not_by_who_asks(
    credential: Any, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "COUNTED_AT_ONCE", 3)
    old_orders(4)
    with CaptureQueriesContext(connection) as asked:
        job = begin()
    counting = [query["sql"] for query in asked if "COUNT(*)" in query["sql"]]
    assert len(counting) == 1 and "LIMIT 4" in counting[0]
    assert job.total is None
    assert jobs.account(job)[0] == "Orders looked at: 0. How many there are is not counted yet."
    jobs.work()
    assert fresh(job).total == 4


def test_so_are_those_of_the_list(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "COUNTED", 2)
    for number in range(3):
        place(str(number), "confirmed")
    relay_all()
    oldest = Subject.objects.order_by("pk")[:1]
    Subject.objects.filter(pk__in=[subject.pk for subject in oldest]).update(visit_id="64f1")
    everything = Selection(newest_id=jobs.newest_id())
    assert everything.count_at_once() == (2, False)
    assert Selection(state="waiting", newest_id=jobs.newest_id()).count_at_once() == (2, False)
    assert Selection(attributed="visit", newest_id=jobs.newest_id()).count_at_once() == (1, True)
    # Where no index finds them, one step looks through so many and no more.
    monkeypatch.setattr(listing, "WINDOW", 2)
    few = Selection(attributed="visit", newest_id=jobs.newest_id())
    assert few.count_at_once() == (0, False)
    assert few.count() == 1
    monkeypatch.setattr(listing, "WINDOW", 1)
    nobodys = Selection(attributed="no", newest_id=jobs.newest_id())
    assert list(nobodys.chunks(most=1)) == []
    assert len(list(nobodys.chunks())) == 2


def test_all_that_match_are_held_and_released(credential: Any, vendor: Vendor) -> None:
    for number in range(3):
        place(str(number))
    relay_all()
    held = begin(Selection(state="waiting", newest_id=jobs.newest_id()), Job.Verb.HOLD)
    while jobs.work():
        pass
    assert (fresh(held).state, fresh(held).done) == (Job.State.FINISHED, 3)
    assert "Held: 3." in jobs.account(fresh(held))
    assert deliver(credential, sender=vendor) == 0
    begin(Selection(state="held", newest_id=jobs.newest_id()), Job.Verb.RELEASE)
    while jobs.work():
        pass
    assert deliver(credential, sender=vendor) == 3


# safety


def test_a_job_alarms_nobody_for_waiting(credential: Any) -> None:
    old_orders(1)
    begin()
    jobs.work()
    SyncState.objects.update(due_at=timezone.now() - timedelta(days=1))
    assert insight.oldest_waiting([credential]) is None
    assert insight.waiting([credential], timezone.now()) == {}


def test_a_job_that_fails_keeps_no_other_from_going_on(
    credential: Any, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    old_orders(1)
    broken = begin()
    Job.objects.filter(pk=broken.pk).update(selection={"no such thing": 1})
    good = begin()
    run(credential, sender=vendor)
    assert fresh(good).state == Job.State.FINISHED
    assert f"Job {broken.pk} failed (TypeError)" in caplog.text


def test_two_processes_never_do_the_same_chunk(credential: Any) -> None:
    old_orders(1)
    job = begin()
    Job.objects.update(lease="other", leased_until=timezone.now() + timedelta(minutes=1))
    assert jobs.work() == 0
    assert fresh(job).state == Job.State.WAITING


def test_a_process_that_lost_its_lease_writes_nothing(credential: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old_orders(1)
    job = begin()
    real = resync.know

    def steal(*args: Any) -> Any:
        Job.objects.update(lease="other")
        return real(*args)

    monkeypatch.setattr(resync, "know", steal)
    assert jobs.work() == 0
    assert not SyncState.objects.exists() and fresh(job).looked_at == 0


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENABLED": False})
def test_switched_off_no_job_is_worked(credential: Any) -> None:
    old_orders(1)
    begin()
    assert jobs.work() == 0


def test_a_chunk_takes_a_constant_number_of_statements_wherever_it_is(credential: Any, vendor: Vendor) -> None:
    """Flat memory: one chunk is held at a time, found by key."""
    old_orders(5 * jobs.CHUNK)
    begin()
    counts, jumps = [], 0
    while True:
        with CaptureQueriesContext(connection) as captured:
            if not jobs.work():
                break
        counts.append(len(captured))
        jumps += sum(" OFFSET " in query["sql"] for query in captured.captured_queries)
        deliver(credential, sender=vendor)
    assert len(counts) == 5 and jumps == 0
    assert max(counts[1:]) - min(counts[1:]) <= 1
    assert counts[1] <= 30 + 2 * pieces(jobs.CHUNK, SyncState)


# what was foretold


def test_the_numbers_foretold_are_what_the_vendor_then_records(live: Any, optico: Any) -> None:
    StatusMapping.objects.create(credential=live, shop_status="draft", choice="do_not_send")
    place("1", "confirmed")
    deliver(live)
    before = len(optico.journal())
    for number, stage in enumerate(["confirmed", "pending", "draft", "Being processed"], start=2):
        old_orders(1, stage=stage, first=number)
    old_orders(1, first=9, bought_at=datetime(1999, 1, 1, tzinfo=UTC))
    (found,) = jobs.foresee(Job.Verb.SEND, ALL)
    job = begin()
    run(live)
    job = fresh(job)
    assert found.sends == len(optico.journal()) - before == job.done == 3
    assert found.sales == sum(record["conversions"] for record in optico.orders()) - 1 == 1
    assert dict(found.left_out) == job.left_out == {"status_not_sent": 1, "before_start": 1}
    assert dict(found.refused) == job.refused == {"unmapped_status": 1}


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_the_customers_foretold_are_those_who_are_then_written_to(optico: Any) -> None:
    reviews = account(optico, "guaranteed_reviews", "/private/v3/orders")
    place("1", "confirmed")
    deliver(reviews)
    before = len(optico.records("guaranteed_reviews"))
    for number in range(2, 14):
        purchase = place(str(number), "confirmed")
    place("99", "pending")
    SyncState.objects.exclude(delivered_at__isnull=False).delete()
    OutboxEvent.objects.all().delete()
    Purchase.objects.filter(pk=purchase.pk).update(bought_at=datetime(1999, 1, 1, tzinfo=UTC))
    (found,) = jobs.foresee(Job.Verb.SEND, ALL)
    assert to_type([found]) == found.mails == 11
    job = begin()
    run(reviews)
    job = fresh(job)
    assert found.mails == len(optico.records("guaranteed_reviews")) - before == job.done
    assert job.left_out == {"told_once": 1, "not_a_sale": 1, "before_start": 1}


def test_a_backfill_sends_only_what_the_vendor_does_not_have(credential: VendorCredential, vendor: Vendor) -> None:
    place("there", "confirmed")
    deliver(credential, sender=vendor)
    old_orders(2)
    (told,) = jobs.foresee(Job.Verb.BACKFILL, ALL)
    assert (told.sends, told.in_step) == (2, 1)
    job = begin(verb=Job.Verb.BACKFILL)
    run(credential, sender=vendor)
    assert sorted(form["id"] for form in vendor.forms) == ["OLD-0000", "OLD-0001", "there"]
    assert (fresh(job).done, fresh(job).left_out) == (2, {"unchanged": 1})
