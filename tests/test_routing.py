"""Several credentials of one vendor: the first rule that fits decides where an order goes."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from optico_sync.models import RoutingRule, SyncState, VendorCredential
from optico_sync.resync import resend
from optico_sync.snapshot import OrderSnapshot
from tests.helpers import Vendor, deliver, make_credential, place, state_of
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
State = SyncState.State


@pytest.fixture(autouse=True)
def by_site() -> Any:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": {**OPTICO_SYNC["ORDER"], "store": "site"}}):
        yield


@pytest.fixture
def france() -> VendorCredential:
    return make_credential(name="France")


@pytest.fixture
def belgium() -> VendorCredential:
    return make_credential(name="Belgium")


def rule(credential: VendorCredential, value: str, *, field: str = "store", position: int = 10) -> RoutingRule:
    return RoutingRule.objects.create(credential=credential, field=field, value=value, position=position)


def sent_to(*credentials: VendorCredential) -> list[list[str]]:
    told = []
    for credential in credentials:
        vendor = Vendor()
        deliver(credential, sender=vendor)
        told.append(sorted(form["id"] for form in vendor.forms))
    return told


def test_without_rules_every_credential_gets_every_order(france: Any, belgium: Any) -> None:
    place("1", site="fr")
    assert sent_to(france, belgium) == [["1"], ["1"]]


def test_an_order_goes_where_its_rule_says(france: Any, belgium: Any) -> None:
    rule(france, "fr")
    rule(belgium, "be")
    french, belgian = place("1", site="fr"), place("2", site="be")
    assert sent_to(france, belgium) == [["1"], ["2"]]
    elsewhere = state_of(french, belgium)
    assert (elsewhere.state, elsewhere.reason) == (State.NOT_SENT, "other_credential")
    assert state_of(belgian, belgium).state == State.IN_SYNC


def test_the_first_rule_that_fits_wins(france: Any, belgium: Any) -> None:
    rule(france, "*", position=90)
    rule(belgium, "EUR", field="currency", position=5)
    place("1", site="fr")
    place("2", site="fr", currency="USD")
    assert sent_to(france, belgium) == [["2"], ["1"]]


def test_an_order_that_fits_no_rule_says_so_and_its_cure_works(france: Any) -> None:
    rule(france, "fr")
    purchase = place("1", site="lu")
    assert sent_to(france) == [[]]
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.NOT_SENT, "no_rule")
    rule(france, "lu")
    resend([state_of(purchase).subject_id])
    assert sent_to(france) == [["1"]]


@pytest.mark.parametrize(
    ("language", "wanted", "fits"),
    [
        ("fr", "fr", True),
        ("fr_FR", "FR", True),
        ("fr-be", "fr-BE", True),
        ("fr", "fr-be", False),
        ("fry", "fr", False),
        ("", "fr", False),
        ("", "*", True),
    ],
)
def test_a_language_fits_with_its_regions(language: str, wanted: str, fits: bool) -> None:
    order = OrderSnapshot(key="1", reference="1", status="", currency="EUR", lines=(), language=language)
    assert RoutingRule(field="language", value=wanted).fits(order) is fits


def test_rules_of_another_vendor_do_not_matter(france: Any) -> None:
    other = VendorCredential.objects.create(name="other", vendor="other", base_url="https://other.example")
    rule(other, "fr")
    place("1", site="lu")
    assert sent_to(france) == [["1"]]
