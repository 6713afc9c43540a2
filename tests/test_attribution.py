"""Whose visit an order belongs to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

from optico_sync import attribution, capture, insight
from optico_sync.attribution import NOTHING, Attribution, RequestAttribution, clean_visit_id
from optico_sync.capture import set_attribution
from optico_sync.exceptions import InvalidAttribution
from optico_sync.middleware import VisitMiddleware
from optico_sync.models import OutboxEvent, Subject
from optico_sync.relay import relay_all
from tests.helpers import Vendor, deliver, fill, place
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC

VISIT = "3617898c651df0f8617f70a0"
OTHER = "ffff898c651df0f8617f70a0"


def seen_in(request: HttpRequest) -> Attribution:
    """What a save would see inside this request."""
    seen: list[Attribution] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(attribution.current())
        return HttpResponse()

    VisitMiddleware(view)(request)
    return seen[0]


def request(user: Any = None, headers: dict[str, str] | None = None, **cookies: str) -> HttpRequest:
    made = RequestFactory().get("/", headers=headers)
    made.COOKIES.update(cookies)
    if user is not None:
        made.user = user
    return made


@pytest.mark.parametrize("name", ["optico_visitId", "optico_visit_id"])
def test_both_cookie_names_are_read(name: str) -> None:
    assert seen_in(request(**{name: VISIT})).visit_id == VISIT


def test_the_first_valid_cookie_wins() -> None:
    assert seen_in(request(optico_visitId=VISIT, optico_visit_id=OTHER)).visit_id == VISIT
    assert seen_in(request(optico_visitId="<>", optico_visit_id=OTHER)).visit_id == OTHER


@pytest.mark.parametrize("cookies", [("optico_visitId", "optico_visit_id"), ("optico_visit_id", "optico_visitId")])
def test_oc_11_where_both_cookies_differ_the_settings_order_decides(cookies: tuple[str, str]) -> None:
    values = {"optico_visitId": VISIT, "optico_visit_id": OTHER}
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "VISIT_COOKIES": list(cookies)}):
        assert seen_in(request(**values)).visit_id == values[cookies[0]]


def test_headless_shops_send_a_header() -> None:
    assert seen_in(request(headers={"X-Optico-Visit-Id": VISIT})).visit_id == VISIT


@pytest.mark.parametrize(
    "value", ['"><script>', "x" * 5000, "", " ", "a b", "é", "0", "undefined", "null", "1\n", "../etc", "\x00"]
)
def test_os_04_hostile_and_empty_values_count_as_absent(value: str) -> None:
    assert clean_visit_id(value) == ""
    assert seen_in(request(optico_visitId=value)) == NOTHING


def test_os_05_a_staff_request_never_brings_a_visit() -> None:
    staff = User(username="agent", is_staff=True)
    assert seen_in(request(staff, optico_visitId=VISIT)) == NOTHING
    assert seen_in(request(SimpleLazyObject(lambda: staff), optico_visitId=VISIT)).visit_id == VISIT
    looked_at = SimpleLazyObject(lambda: staff)
    assert looked_at.is_staff
    assert seen_in(request(looked_at, optico_visitId=VISIT)) == NOTHING


def test_customers_and_guests_bring_theirs() -> None:
    for user in (User(username="customer"), AnonymousUser()):
        assert seen_in(request(user, optico_visitId=VISIT)).visit_id == VISIT


def test_asking_costs_no_query_even_for_a_user_nobody_looked_at(django_assert_num_queries: Any, db: None) -> None:
    user = SimpleLazyObject(lambda: User.objects.get(pk=1))
    with django_assert_num_queries(0):
        seen_in(request(user, optico_visitId=VISIT))


def test_outside_a_request_there_is_nothing() -> None:
    seen_in(request(optico_visitId=VISIT))
    assert attribution.current() == NOTHING


def test_under_asgi_two_requests_do_not_mix() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.01)
        return HttpResponse(attribution.current().visit_id)

    async def both() -> list[bytes]:
        middleware = VisitMiddleware(view)
        answers = await asyncio.gather(
            *(middleware(request(optico_visitId=visit)) for visit in (VISIT, OTHER))  # type: ignore[arg-type]
        )
        return [answer.content for answer in answers]

    assert asyncio.run(both()) == [VISIT.encode(), OTHER.encode()]


def test_under_asgi_a_user_looked_at_the_async_way_counts() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(attribution.current().visit_id)

    made = request(optico_visitId=VISIT)
    made._acached_user = User(username="agent", is_staff=True)  # type: ignore[attr-defined]
    answer = asyncio.run(VisitMiddleware(view)(made))  # type: ignore[arg-type]
    assert answer.content == b""


@pytest.mark.django_db
def test_os_05_staff_moving_the_order_keeps_the_visit_of_the_checkout(credential: Any, vendor: Vendor) -> None:
    customers = request(AnonymousUser(), optico_visitId=VISIT)
    with attribution.during(attribution.RequestAttribution(customers, ["optico_visitId"])):
        purchase = place("1001")
    staff = request(User(username="agent", is_staff=True), optico_visitId=OTHER)
    with attribution.during(attribution.RequestAttribution(staff, ["optico_visitId"])):
        purchase.stage = "confirmed"
        purchase.save()
    deliver(credential, sender=vendor)
    assert [(form["status"], form["visit_id"]) for form in vendor.forms] == [("pending", VISIT), ("confirmed", VISIT)]


@pytest.mark.django_db
def test_os_05_an_order_without_visit_gets_none_from_staff(credential: Any, vendor: Vendor) -> None:
    staff = request(User(username="agent", is_staff=True), optico_visitId=OTHER)
    with attribution.during(attribution.RequestAttribution(staff, ["optico_visitId"])):
        place("1001", "confirmed", operator="anna", call="77001")
    deliver(credential, sender=vendor)
    (form,) = vendor.forms
    assert "visit_id" not in form
    assert (form["agent"], form["call_id"]) == ("anna", "77001")


@pytest.mark.django_db
def test_where_each_fact_came_from_is_remembered() -> None:
    with attribution.during(RequestAttribution(request(optico_visitId=VISIT), ["optico_visitId"])):
        place("1", call="77001")
    with attribution.during(RequestAttribution(request(headers={"X-Optico-Visit-Id": VISIT}), [])):
        place("2")
    place("3", visit=VISIT, operator="anna")
    trolley = fill(visit_id=OTHER)
    place("4", basket=str(trolley.pk))
    relay_all()
    found = dict(Subject.objects.filter(kind="order").order_by("reference").values_list("reference", "sources"))
    assert found == {
        "1": {"visit_id": "cookie", "call_id": "order"},
        "2": {"visit_id": "header"},
        "3": {"visit_id": "order", "agent": "order"},
        "4": {"visit_id": "cart", "cart_key": "order"},
    }


def test_the_first_visit_wins(credential: Any, vendor: Vendor) -> None:
    purchase = None
    for visit in ("", VISIT, OTHER):
        with attribution.during(attribution.RequestAttribution(request(optico_visitId=visit), ["optico_visitId"])):
            purchase = purchase or place("1001")
            purchase.save()
    deliver(credential, sender=vendor)
    assert Subject.objects.get().visit_id == VISIT
    assert {form["visit_id"] for form in vendor.forms} == {VISIT}


# said outright


@pytest.mark.django_db
def test_set_attribution_sends_the_order_again_with_it(credential: Any, vendor: Vendor) -> None:
    purchase = place("1001", "confirmed")
    deliver(credential, sender=vendor)
    assert set_attribution(purchase, visit_id=VISIT, call_id=" 77 ", agent="anna")
    deliver(credential, sender=vendor)
    first, second = vendor.forms
    assert "visit_id" not in first
    assert (second["visit_id"], second["call_id"], second["agent"]) == (VISIT, "77", "anna")
    assert first["status"] == second["status"] == "confirmed"


@pytest.mark.django_db
def test_set_attribution_takes_the_primary_key_and_costs_one_insert(django_assert_num_queries: Any) -> None:
    purchase = place()
    with django_assert_num_queries(1):
        set_attribution(purchase.key, call_id="77")
    relay_all()
    assert Subject.objects.get().call_id == "77"


@pytest.mark.django_db
def test_set_attribution_never_replaces_what_is_known() -> None:
    purchase = place(visit=VISIT)
    set_attribution(purchase, visit_id=OTHER, agent="anna")
    relay_all()
    subject = Subject.objects.get()
    assert subject.attribution == Attribution(visit_id=VISIT, agent="anna")
    assert subject.sources == {"visit_id": "order", "agent": "stated"}


@pytest.mark.django_db
def test_set_attribution_does_not_bring_a_deleted_order_back() -> None:
    purchase = place()
    key = purchase.pk
    purchase.delete()
    set_attribution(key, call_id="77")
    relay_all()
    assert Subject.objects.get().deleted_at


@pytest.mark.django_db
def test_set_attribution_of_nothing_records_nothing() -> None:
    purchase = place()
    before = OutboxEvent.objects.count()
    assert not set_attribution(purchase, visit_id="")
    assert OutboxEvent.objects.count() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("visit_id", "<>"),
        ("visit_id", "undefined"),
        ("visit_id", "x" * 65),
        ("call_id", "0"),
        ("call_id", "77a"),
        ("agent", "a" * 151),
        ("agent", "a\x00b"),
    ],
)
def test_set_attribution_names_what_is_wrong_and_records_nothing(field: str, value: str) -> None:
    purchase = place()
    before = OutboxEvent.objects.count()
    with pytest.raises(InvalidAttribution, match=field):
        set_attribution(purchase, **{"agent": "anna", field: value})
    assert OutboxEvent.objects.count() == before


@pytest.mark.django_db
def test_set_attribution_asks_for_a_saved_order() -> None:
    with pytest.raises(ValueError, match="save it first"):
        set_attribution(Purchase(key=None), call_id="77")


@pytest.mark.django_db
def test_set_attribution_does_not_disturb_the_shop_when_our_settings_are_wrong(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_missed", 0)
    purchase = place()
    settings.OPTICO_SYNC = {"ORDER": {"model": "no.Such"}}
    assert not set_attribution(purchase.key, call_id="77")
    assert capture.missed() == 1


@pytest.mark.django_db
def test_attribution_of_knows_what_no_worker_has_taken_up(django_assert_num_queries: Any) -> None:
    purchase = place(visit=VISIT)
    relay_all()
    set_attribution(purchase, call_id="77")
    set_attribution(purchase, call_id="78")
    with django_assert_num_queries(2):
        assert insight.attribution_of(purchase.key) == Attribution(visit_id=VISIT, call_id="77")
    assert insight.attribution_of("nobody") == NOTHING
