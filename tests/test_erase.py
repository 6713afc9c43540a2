"""A person is forgotten, and the order is never sent again."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command

from optico_sync import capture, insight, resync
from optico_sync.attribution import during
from optico_sync.coverage import attribution_coverage
from optico_sync.delivery import Lane
from optico_sync.erase import Erased, erase
from optico_sync.models import Attempt, DeclaredStatus, OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.preview import preview
from optico_sync.relay import relay_all
from optico_sync.snapshot import CART
from optico_sync.sweep import sweep
from tests.helpers import Clock, Vendor, Visitor, deliver, fill, make_credential, move, place, reply, state_of
from tests.oddshop.models import Address, Purchase

pytestmark = pytest.mark.django_db
VISIT = "3617898c651df0f8617f70a0"
PERSONAL = (VISIT, "77001", "agent_anna", "Blue Widget")


@pytest.fixture
def cart(credential: VendorCredential) -> Any:
    return fill(visit_id=VISIT)


@pytest.fixture
def purchase(cart: Any, credential: VendorCredential, vendor: Vendor) -> Purchase:
    """An order that was sent, with everything that can be known of a person."""
    purchase = place("1001", "confirmed", basket=str(cart.pk), visit=VISIT, call="77001", operator="agent_anna")
    deliver(credential, sender=vendor)
    vendor.forms.clear()
    return purchase


def subject() -> Subject:
    return Subject.objects.get(kind="order", reference="1001")


def forget() -> Erased:
    return erase([subject().pk])


def stored() -> str:
    """Everything that the app keeps of orders and carts, in one text."""
    models = (Subject, SyncState, OutboxEvent, Attempt)
    return repr([list(model.objects.values()) for model in models])


def standing() -> tuple[str, str]:
    state = SyncState.objects.get(subject=subject())
    return state.state, state.reason


ERASED = (SyncState.State.NOT_SENT, "erased")


# what goes, and what stays


def test_nothing_personal_stays(purchase: Purchase, cart: Any) -> None:
    assert all(word in stored() for word in PERSONAL)
    forget()
    assert not [word for word in PERSONAL if word in stored()]
    assert subject().sources == {} and subject().cart_key == ""


def test_that_it_was_sent_stays(purchase: Purchase, credential: VendorCredential) -> None:
    before = state_of(purchase)
    told = OutboxEvent.objects.exclude(reference="", visit_id="").count()
    assert forget() == Erased(orders=1, carts=1, attempts=2, changes=told)
    after = state_of(purchase)
    assert standing() == ERASED
    for name in ("fingerprint", "delivered_at", "accepted_status", "accepted_is_sale", "sent_status"):
        assert getattr(after, name) == getattr(before, name) != ""
    assert (subject().reference, subject().status) == ("1001", "confirmed")
    assert Attempt.objects.filter(sync_state=after, outcome="delivered", http_status=200).exists()


def test_a_second_time_finds_nothing(purchase: Purchase) -> None:
    forget()
    erased_at = subject().erased_at
    assert forget() == Erased(orders=0, carts=0, attempts=0, changes=0)
    assert subject().erased_at == erased_at


def test_carts_of_the_order_and_of_its_visit_are_erased_and_no_others(purchase: Purchase, credential: Any) -> None:
    same_visit, stranger = fill(visit_id=VISIT), fill(visit_id="ffff898c651df0f8617f70a0")
    other = place("1002", "confirmed", visit="ffff898c651df0f8617f70a0")
    deliver(credential, sender=Vendor())
    assert forget().carts == 2
    assert state_of(same_visit).reason == "erased"
    assert state_of(stranger).state == state_of(other).state == SyncState.State.IN_SYNC
    assert Subject.objects.filter(visit_id="ffff898c651df0f8617f70a0").count() == 2


def test_the_totals_add_up(purchase: Purchase) -> None:
    forget()
    for kind in ("order", "cart"):
        (six,) = SyncState.objects.totals_of(insight.credentials(), kind).values()
        assert sum(six.values()) == six["not_sent"] == 1


# never sent again


def test_neither_a_change_nor_an_operator_sends_it_again(
    purchase: Purchase, cart: Any, credential: VendorCredential, vendor: Vendor
) -> None:
    forget()
    move(purchase, "shipped")
    cart.save()
    deliver(credential, sender=vendor)
    ids = [subject().pk]
    assert resync.resend(ids) == resync.hold(ids) == resync.release(ids) == 0
    DeclaredStatus.objects.get(name="shipped").release()
    deliver(credential, sender=vendor)
    for _chunk in sweep():
        deliver(credential, sender=vendor)
    assert vendor.forms == []
    assert standing() == ERASED
    assert subject().status == "shipped"


def test_a_credential_that_comes_later_is_not_told(purchase: Purchase, vendor: Vendor) -> None:
    forget()
    later = make_credential(name="later")
    move(purchase, "shipped")
    assert resync.resend([subject().pk]) == 0
    deliver(later, sender=vendor)
    assert vendor.forms == []
    rows = insight.standings([subject()])[subject().pk]
    assert {(row.state, row.reason_code) for row in rows} == {ERASED}
    (found,) = preview([[subject().key]], credential_id=later.pk)
    assert (found.sends, found.left_out) == (0, {"erased": 1})


def test_an_order_that_was_not_sent_yet_never_is(credential: VendorCredential, vendor: Vendor) -> None:
    place("1001", "confirmed", visit=VISIT)
    relay_all()
    forget()
    deliver(credential, sender=vendor)
    assert (vendor.forms, standing()) == ([], ERASED)


def test_one_that_is_claimed_at_that_moment_is_not_sent(
    purchase: Purchase, credential: VendorCredential, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = Vendor()
    move(purchase, "shipped")
    forget_before("_plan", credential, clock, vendor, monkeypatch)
    assert (vendor.forms, standing()) == ([], ERASED)
    state = state_of(purchase)
    assert (state.lease, state.due_at) == ("", None)


def test_one_that_is_being_sent_at_that_moment_leaves_only_that_it_was(
    purchase: Purchase, credential: VendorCredential, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(purchase, "shipped")
    forget_before("_settle_surely", credential, clock, Vendor(), monkeypatch)
    assert standing() == ERASED
    assert state_of(purchase).accepted_status == "shipped"
    assert not [word for word in PERSONAL if word in stored()]
    clock.forward(hours=1)
    assert deliver(credential, sender=Vendor(), clock=clock) == 0


def test_a_worker_that_lost_its_lease_sends_it_no_more(
    purchase: Purchase, credential: VendorCredential, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose() -> None:
        SyncState.objects.filter(subject=subject()).update(lease="", due_at=None)
        forget()

    move(purchase, "shipped")
    forget_before("_settle_surely", credential, clock, Vendor(), monkeypatch, lose)
    clock.forward(hours=1)
    vendor = Vendor()
    deliver(credential, sender=vendor, clock=clock)
    assert (vendor.forms, standing()) == ([], ERASED)
    assert not [word for word in PERSONAL if word in stored()]


def forget_before(
    step: str,
    credential: VendorCredential,
    clock: Clock,
    vendor: Vendor,
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[], object] = forget,
) -> None:
    """Deliver a batch, in the middle of which somebody is forgotten."""
    relay_all()
    lane = Lane(credential.pk, clock=clock, sender=vendor)
    go_on = getattr(lane, step)
    monkeypatch.setattr(lane, step, lambda *arguments: (what(), go_on(*arguments))[1])
    lane.deliver()
    lane.close()


# what comes in afterwards


def test_whose_it_is_does_not_come_back(purchase: Purchase, cart: Any, credential: Any) -> None:
    forget()
    purchase.save()
    cart.save()
    capture.set_attribution(purchase, visit_id=VISIT, call_id="77001", agent="agent_anna")
    assert all(word in stored() for word in PERSONAL[:3])
    relay_all()
    assert not [word for word in PERSONAL if word in stored()]
    assert subject().cart_key == ""


def test_what_was_captured_and_not_taken_up_is_forgotten_too(purchase: Purchase) -> None:
    capture.set_attribution(purchase, agent="somebody else")
    forget()
    assert "somebody else" not in stored()


def test_changes_of_what_belongs_to_it_are_forgotten_too(purchase: Purchase) -> None:
    with during(Visitor(VISIT)):
        purchase.address = Address.objects.create()
        purchase.save()
        purchase.address.save()
    relay_all()
    assert OutboxEvent.objects.exclude(relation="").filter(visit_id=VISIT).exists()
    forget()
    assert VISIT not in stored()


# whom to ask


def test_who_was_sent_it_is_told_before_and_after(purchase: Purchase, cart: Any, credential: Any) -> None:
    credential.options = {"id_prefix": "FR-"}
    credential.save()
    make_credential(name="never asked")
    holders = insight.holders([subject(), Subject.objects.get(kind=CART)])
    assert [(one.credential.name, one.kind, one.number, one.is_accepted) for one in holders] == [
        ("Optico", "order", "FR-1001", True),
        ("Optico", "cart", f"FR-{cart.pk}", True),
    ]
    forget()
    (after,) = insight.holders([subject()])
    assert (after.number, after.sent_at) == ("FR-1001", holders[0].sent_at)


def test_a_vendor_that_gave_no_clear_answer_is_named_too(credential: VendorCredential, clock: Clock) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=Vendor(lambda form: reply(b"?")), clock=clock)
    (holder,) = insight.holders([subject()])
    assert not holder.is_accepted


# the command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("optico_erase", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_erases_and_names_the_vendors(purchase: Purchase, cart: Any) -> None:
    assert run("1001", "--dry-run").startswith("Would erase 1 orders and 1 carts.\n")
    assert subject().erased_at is None
    first, second, *held = run("1001").splitlines()
    assert first.startswith("Erased: orders 1, carts 1, attempts 2, captured changes ")
    assert second == "Ask the support of these vendors to erase what they hold:"
    assert [line.split(", last")[0] for line in held] == ["  Optico: order 1001", f"  Optico: cart {cart.pk}"]
    assert run("--key", str(purchase.pk)).startswith("Erased: orders 0, carts 0, attempts 0, captured changes 0.")


def test_the_command_erases_all_or_nothing(purchase: Purchase) -> None:
    with pytest.raises(CommandError, match="No such order here: 4711. Nothing was erased."):
        run("1001", "4711")
    with pytest.raises(CommandError, match="Say which orders"):
        run()
    place("1001", "confirmed")
    with pytest.raises(CommandError, match="More than one order has the reference 1001"):
        run("1001")
    assert not Subject.objects.exclude(erased_at=None).exists()


def test_who_erased_by_the_command_is_in_the_log(purchase: Purchase, django_user_model: Any) -> None:
    django_user_model.objects.create_user("anna")
    with pytest.raises(CommandError, match="There is no user 'ghost'"):
        run("1001", "--as", "ghost")
    assert subject().erased_at is None
    run("1001", "--as", "anna")
    (entry,) = LogEntry.objects.all()
    assert (entry.user.username, entry.object_repr) == ("anna", "1001") and "Erased: orders 1" in entry.change_message


def test_an_order_of_a_moment_ago_is_known(credential: Any) -> None:
    place("1001", "confirmed")
    assert run("1001").startswith("Erased: orders 1")


def test_an_erased_order_does_not_count_as_unattributed(purchase: Purchase) -> None:
    forget()
    assert sum(day.orders for day in attribution_coverage(2)) == 0
