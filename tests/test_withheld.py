"""“Do not send” is a lasting decision, and “it is there” ends a doubt: both are somebody's, and nothing undoes them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from optico_sync.models import Attempt, StatusMapping, Subject, SyncState, VendorCredential
from optico_sync.preview import foresee, preview
from optico_sync.reconcile import reconcile
from optico_sync.rehearsal import compare
from optico_sync.relay import relay_all
from optico_sync.resync import confirm, hold, release, resend, send_after_all, withhold
from tests.helpers import Clock, Vendor, deliver, error, make_credential, move, place, reply, state_of
from tests.settings import OPTICO_SYNC
from tests.test_together import ITEMS, ORDER, account, optimizely

pytestmark = pytest.mark.django_db
State = SyncState.State


def stands(purchase: Any, credential: VendorCredential | None = None) -> tuple[str, str]:
    state = state_of(purchase, credential)
    return state.shown_state, state.reason


def subjects() -> list[int]:
    return list(Subject.objects.values_list("pk", flat=True))


def test_it_is_not_sent_whatever_changes_and_says_so(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "pending")
    relay_all()
    assert withhold(subjects()) == 1
    assert withhold(subjects()) == 0
    move(purchase, "confirmed")
    assert deliver(credential, sender=vendor) == 0
    assert stands(purchase) == (State.NOT_SENT, "withheld")
    assert sum(SyncState.objects.totals(credential).values()) == 1
    assert SyncState.objects.totals(credential)["not_sent"] == 1


def test_sent_after_all_it_tells_everything_in_order(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "pending")
    relay_all()
    withhold(subjects())
    move(purchase, "confirmed")
    relay_all()
    assert send_after_all(subjects()) == 1
    assert send_after_all(subjects()) == 0
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]
    assert stands(purchase) == (State.IN_SYNC, "")


def test_what_the_vendor_has_is_not_sent_again_for_nothing(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "confirmed")
    deliver(credential, sender=vendor)
    withhold(subjects())
    send_after_all(subjects())
    deliver(credential, sender=vendor)
    assert (vendor.statuses, stands(purchase)) == (["confirmed"], (State.IN_SYNC, ""))


@pytest.mark.parametrize("verb", [resend, release, hold])
def test_no_other_verb_undoes_it(credential: VendorCredential, vendor: Vendor, verb: Any) -> None:
    purchase = place("1001", "confirmed")
    relay_all()
    withhold(subjects())
    assert verb(subjects()) == 0
    deliver(credential, sender=vendor)
    assert (vendor.forms, stands(purchase)) == ([], (State.NOT_SENT, "withheld"))


def test_mapping_its_status_does_not_undo_it(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "strange")
    deliver(credential, sender=vendor)
    assert stands(purchase) == (State.REFUSED, "unmapped_status")
    withhold(subjects())
    mapping = StatusMapping.objects.get(shop_status="strange")
    mapping.declared = credential.declared_statuses.get(name="confirmed")
    mapping.save()
    deliver(credential, sender=vendor)
    assert (vendor.forms, stands(purchase)) == ([], (State.NOT_SENT, "withheld"))


def test_what_is_held_can_be_decided_for_good(credential: VendorCredential) -> None:
    purchase = place()
    relay_all()
    hold(subjects())
    assert withhold(subjects()) == 1
    assert stands(purchase) == (State.NOT_SENT, "withheld")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("answer", "accepted"), [(reply(), "confirmed"), (error("Unknown status"), ""), (reply(status=500), "")]
)
def test_what_is_in_flight_keeps_its_answer(credential: VendorCredential, answer: Any, accepted: str) -> None:
    def withheld_meanwhile(form: Any) -> Any:
        # In a thread of the lane, with a connection of its own.
        withhold(subjects())
        connection.close()
        return answer

    purchase = place("1001", "confirmed")
    deliver(credential, sender=Vendor(withheld_meanwhile))
    state = state_of(purchase)
    assert (state.state, state.reason, state.due_at, state.lease) == (State.NOT_SENT, "withheld", None, "")
    assert (state.accepted_status, Attempt.objects.count()) == (accepted, 1)
    second = Vendor()
    move(purchase, "shipped")
    assert deliver(credential, sender=second) == 0
    send_after_all(subjects())
    deliver(credential, sender=second)
    assert second.statuses[-1] == "shipped"
    assert stands(purchase)[0] == State.IN_SYNC


def test_it_holds_for_a_credential_that_was_never_offered_the_order(credential: VendorCredential) -> None:
    purchase = place("1001", "pending")
    relay_all()
    later = make_credential(name="later")
    assert withhold(subjects(), credential_id=later.pk) == 1
    move(purchase, "confirmed")
    vendor = Vendor()
    deliver(later, sender=vendor)
    assert (vendor.forms, stands(purchase, later)) == ([], (State.NOT_SENT, "withheld"))
    assert stands(purchase, credential)[0] == State.WAITING
    send_after_all(subjects())
    deliver(later, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]


def test_it_is_foreseen_and_nothing_would_be_sent(credential: VendorCredential) -> None:
    first, second = place("1001", "confirmed"), place("1002", "confirmed")
    relay_all()
    withhold([state_of(first).subject_id])
    hold([state_of(second).subject_id])
    keys = [[first.pk, second.pk]]
    (again,) = preview(keys)
    assert (again.sends, dict(again.left_out)) == (1, {"withheld": 1})
    VendorCredential.objects.update(is_enabled=False)
    assert foresee(lambda: VendorCredential.objects.update(is_enabled=True)) == []
    (beside,) = compare(state_of(first).subject)
    assert (beside.now, beside.why_not) == ([], "Somebody decided that it is not sent.")


# "it is there"


@pytest.fixture
def doubtful(optico: Any, clock: Clock) -> Any:
    """A vendor that is told once, and an order of which no answer came although it was taken."""
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER}):
        credential = optimizely(optico, max_ambiguous=0)
        optico.script("1001", ["drop_after"] * 6)
        purchase = place("1001", "confirmed", ITEMS, call="4711")
        deliver(credential, clock=clock)
        assert stands(purchase) == (State.REFUSED, "ambiguous")
        yield credential, purchase


def test_confirmed_it_is_in_sync_and_never_told_again(doubtful: Any, optico: Any, clock: Clock) -> None:
    credential, purchase = doubtful
    attempt = Attempt.objects.get()
    assert confirm(subjects()) == 1
    state = state_of(purchase)
    assert (state.state, state.reason, state.delivered_at) == (State.IN_SYNC, "confirmed", attempt.started_at)
    assert (state.accepted_status, state.accepted_is_sale) == ("confirmed", True)
    move(purchase, "shipped")
    clock.forward(hours=1)
    deliver(credential, clock=clock)
    assert len(optico.journal(vendor="optimizely")) == 1
    assert stands(purchase)[0] == State.IN_SYNC
    assert confirm(subjects()) == 0


def test_withheld_instead_it_is_not_sent(doubtful: Any, optico: Any, clock: Clock) -> None:
    credential, purchase = doubtful
    assert withhold(subjects()) == 1
    move(purchase, "shipped")
    deliver(credential, clock=clock)
    assert len(optico.journal(vendor="optimizely")) == 1
    assert stands(purchase) == (State.NOT_SENT, "withheld")


def test_what_a_worker_died_with_can_be_confirmed_too(doubtful: Any) -> None:
    _credential, purchase = doubtful
    Attempt.objects.all().delete()
    assert confirm(subjects()) == 1
    assert state_of(purchase).delivered_at and stands(purchase) == (State.IN_SYNC, "confirmed")


def test_only_a_doubt_can_be_confirmed(credential: VendorCredential, vendor: Vendor) -> None:
    place("1001", "strange")
    place("1002", "confirmed")
    relay_all()
    assert confirm(subjects()) == 0
    deliver(credential, sender=vendor)
    assert confirm(subjects()) == 0
    assert set(SyncState.objects.values_list("state", flat=True)) == {State.REFUSED, State.IN_SYNC}


def test_a_vendor_told_every_status_goes_on_after_it(credential: VendorCredential, vendor: Vendor) -> None:
    purchase = place("1001", "pending")
    relay_all()
    SyncState.objects.update(state=State.REFUSED, reason="ambiguous", tried=1, due_at=None, answered_generation=1)
    confirm(subjects())
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]


def test_reading_back_leaves_it_out(optico: Any) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER}):
        credential = account(optico, "ometria", "/ometria/v2")
        purchase = place("1001", "pending", ITEMS)
        deliver(credential)
        withhold(subjects())
        move(purchase, "shipped")
        deliver(credential)
        run = reconcile(credential, rest=lambda seconds: None).run
    assert (run.failure, run.compared, run.drifted, run.left_out) == ("", 0, 0, 1)
