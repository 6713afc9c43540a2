"""Carts on their way to the vendor, and what an order inherits from its cart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import capture, resync, verbs
from optico_sync.models import OutboxEvent, RoutingRule, Subject, SyncState
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
from optico_sync.shops import get_shop
from tests.helpers import Vendor, deliver, fill, make_credential, place, state_of
from tests.oddshop.models import Load
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
VISIT = "3617898c651df0f8617f70a0"
OTHER = "ffff898c651df0f8617f70a0"


@pytest.fixture
def without_carts() -> Iterator[None]:
    settings = {name: value for name, value in OPTICO_SYNC.items() if name != "CART"}
    with override_settings(OPTICO_SYNC=settings):
        capture.connect()
        yield
    capture.connect()


def subject_of(saved: Any) -> Subject:
    return Subject.objects.get(kind=Subject.Kind.CART, key=str(saved.pk))


@pytest.mark.django_db(transaction=True)
def test_a_cart_and_what_is_in_it_are_captured() -> None:
    trolley = fill(visit_id=VISIT)
    trolley.loads.get().delete()
    saved, added, removed = OutboxEvent.objects.order_by("pk")
    assert {event.kind for event in (saved, added, removed)} == {"cart"}
    assert {event.key for event in (saved, added, removed)} == {str(trolley.pk)}
    assert (saved.visit_id, added.visit_id, removed.visit_id) == (VISIT, VISIT, "")


@pytest.mark.usefixtures("without_carts")
def test_without_the_setting_carts_are_nobodys_business() -> None:
    fill(visit_id=VISIT)
    assert not OutboxEvent.objects.exists()


def test_orders_and_carts_of_the_same_key_are_two_subjects(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    place("1001", "confirmed", key=str(trolley.pk), visit=OTHER)
    deliver(credential, sender=vendor)
    assert {(form["id"], form["visit_id"]) for form in vendor.forms} == {(str(trolley.pk), VISIT), ("1001", OTHER)}
    assert Subject.objects.count() == 2


def test_a_vendor_that_takes_no_carts_is_never_offered_one() -> None:
    ometria = make_credential(name="Ometria")
    type(ometria).objects.filter(pk=ometria.pk).update(vendor="ometria")
    fill(visit_id=VISIT)
    relay_all()
    assert not SyncState.objects.exists()


def test_the_first_visit_of_a_cart_stays(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    relay_all()
    with_other = fill(visit_id=OTHER)
    Load.objects.create(trolley=trolley, title="More", cents=100)
    deliver(credential, sender=vendor)
    assert subject_of(trolley).visit_id == VISIT
    assert subject_of(with_other).visit_id == OTHER


# over


def test_a_cart_that_was_merged_is_not_sent_again(credential: Any, vendor: Vendor) -> None:
    """At sign-in the anonymous cart's lines move: the surviving cart is sent, the dead one is not."""
    anonymous, own = fill(visit_id=VISIT), fill(("PROD-007", "Red Gadget", 1, 5900), account="anna", visit_id=VISIT)
    deliver(credential, sender=vendor)
    vendor.forms.clear()
    for load in anonymous.loads.all():
        load.trolley = own
        load.save()
    anonymous.merged_into = own
    anonymous.save()
    deliver(credential, sender=vendor)
    (form,) = vendor.forms
    assert (form["id"], form["is_logged_in"], form["products[1][name]"]) == (str(own.pk), "1", "Red Gadget")
    assert (state_of(anonymous).state, state_of(anonymous).reason) == (SyncState.State.IN_SYNC, "cart_over")


def test_a_cart_deleted_at_checkout_is_over(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    relay_all()
    state = state_of(trolley)
    trolley.delete()
    deliver(credential, sender=vendor)
    state.refresh_from_db()
    assert (vendor.forms, state.state, state.reason) == ([], SyncState.State.NOT_SENT, "cart_over")


def test_a_cart_that_is_filled_again_is_sent(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    trolley.loads.all().delete()
    deliver(credential, sender=vendor)
    assert (vendor.forms, state_of(trolley).reason) == ([], "empty_cart")
    Load.objects.create(trolley=trolley, title="Widget", cents=100, article=None)
    deliver(credential, sender=vendor)
    assert [form["products[0][price]"] for form in vendor.forms] == ["1.00"]


# where carts go


def test_carts_of_another_shop_go_to_its_credential(credential: Any, vendor: Vendor) -> None:
    RoutingRule.objects.create(credential=credential, field="currency", value="GBP")
    trolley = fill(visit_id=VISIT)
    deliver(credential, sender=vendor)
    assert (vendor.forms, state_of(trolley).reason) == ([], "no_rule")


def test_carts_from_before_the_start_date_are_not_sent(credential: Any, vendor: Vendor) -> None:
    credential.start_at = credential.start_at.replace(year=2999)
    credential.save()
    trolley = fill(visit_id=VISIT)
    deliver(credential, sender=vendor)
    assert (vendor.forms, state_of(trolley).reason) == ([], "before_start")


def test_a_cart_that_cannot_be_read_spoils_no_other(credential: Any, vendor: Vendor) -> None:
    bad, good = fill(visit_id=VISIT), fill(visit_id=VISIT)
    lines = {**OPTICO_SYNC["CART"]["lines"], "unit_price": lambda load: 1 // (load.trolley_id - bad.pk)}
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "CART": {**OPTICO_SYNC["CART"], "lines": lines}}):
        deliver(credential, sender=vendor)
    assert state_of(bad).reason == "unreadable_order"
    assert "['CART']['lines']['unit_price']" in state_of(bad).detail
    assert state_of(good).state == SyncState.State.IN_SYNC


@pytest.mark.parametrize("count", [1, 50])
def test_carts_are_read_in_a_constant_number_of_queries(count: int, django_assert_num_queries: Any) -> None:
    keys = [str(fill().pk) for _number in range(count)]
    carts = get_shop().carts
    assert carts is not None
    with django_assert_num_queries(2):
        assert len(carts.read(keys, using="default")) == count


# what an order inherits


def test_an_order_inherits_the_visit_of_its_cart(credential: Any, vendor: Vendor) -> None:
    """The bank's call-back makes the order: a request without cookies."""
    trolley = fill(visit_id=VISIT)
    key = str(trolley.pk)
    relay_all()
    place("1001", "confirmed", basket=key)
    trolley.delete()
    deliver(credential, sender=vendor)
    (form,) = vendor.forms
    assert (form["id"], form["visit_id"], form["cart_id"]) == ("1001", VISIT, key)


def test_an_order_relayed_with_its_cart_inherits_too(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    place("1001", "confirmed", basket=str(trolley.pk))
    deliver(credential, sender=vendor)
    assert {form["visit_id"] for form in vendor.forms} == {VISIT}


def test_an_orders_own_visit_comes_before_its_carts(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    place("1001", "confirmed", basket=str(trolley.pk), visit=OTHER)
    deliver(credential, sender=vendor)
    assert Subject.objects.get(kind="order").visit_id == OTHER


def test_relaying_orders_with_carts_takes_one_query_more(django_assert_num_queries: Any) -> None:
    relay_all_once()
    for number in range(5):
        place(str(number), basket="7")
    with CaptureQueriesContext(connection) as with_carts:
        relay_all()
    for number in range(5):
        place(str(number))
    with django_assert_num_queries(len(with_carts) - 1):
        relay_all()


def relay_all_once() -> None:
    """The first relay of all makes its own row."""
    place()
    relay_all()


# carts are no orders


def test_operators_verbs_leave_carts_alone(credential: Any, vendor: Vendor) -> None:
    trolley = fill(visit_id=VISIT)
    deliver(credential, sender=vendor)
    vendor.forms.clear()
    assert list(verbs.resend_selected(Selection(state="in_sync"))) == []
    assert resync.resend([subject_of(trolley).pk]) == 0
    deliver(credential, sender=vendor)
    assert vendor.forms == []


def test_totals_are_of_orders(credential: Any, vendor: Vendor) -> None:
    fill(visit_id=VISIT)
    place(stage="confirmed")
    deliver(credential, sender=vendor)
    assert sum(SyncState.objects.totals(credential).values()) == 1
    assert (
        SyncState.objects.totals(credential)["in_sync"] == SyncState.objects.totals(credential, "cart")["in_sync"] == 1
    )
