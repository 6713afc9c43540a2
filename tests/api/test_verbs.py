"""Send again, hold, release; and whose an order is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from optico_sync.models import OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.verbs import do
from tests.api.conftest import Api
from tests.helpers import Vendor, deliver, make_credential, place
from tests.oddshop.models import Purchase

pytestmark = pytest.mark.django_db

VISIT = "3617898c651df0f8617f70a0"


# the operator's verbs


def test_resend_sends_again(operator: Api, in_sync: Subject, credential: VendorCredential, vendor: Vendor) -> None:
    answer = operator.post(f"/orders/{in_sync.key}/resend")
    assert (answer.status_code, answer.json()) == (200, {"affected": 1})
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["confirmed"]


def test_hold_and_release(operator: Api, in_sync: Subject) -> None:
    assert operator.post(f"/orders/{in_sync.key}/hold").json() == {"affected": 1}
    assert SyncState.objects.get().is_held
    assert operator.post(f"/orders/{in_sync.key}/hold").json() == {"affected": 0}
    assert operator.post(f"/orders/{in_sync.key}/release").json() == {"affected": 1}
    assert not SyncState.objects.get().is_held


def test_withhold_and_send_after_all(operator: Api, in_sync: Subject) -> None:
    assert operator.post(f"/orders/{in_sync.key}/withhold").json() == {"affected": 1}
    (standing,) = operator.get(f"/orders/{in_sync.key}").json()["standings"]
    assert (standing["state"], standing["reason"]["code"]) == ("not_sent", "withheld")
    assert operator.post(f"/orders/{in_sync.key}/resend").json() == {"affected": 0}
    assert operator.post(f"/orders/{in_sync.key}/send-after-all").json() == {"affected": 1}
    assert not SyncState.objects.get().is_withheld


def test_confirm(operator: Api, refused: Subject) -> None:
    assert operator.post(f"/orders/{refused.key}/confirm").json() == {"affected": 0}
    SyncState.objects.update(reason="ambiguous")
    assert operator.post(f"/orders/{refused.key}/confirm").json() == {"affected": 1}
    assert SyncState.objects.get().state == "in_sync"


def test_a_verb_may_be_about_one_credential(operator: Api, in_sync: Subject) -> None:
    second = make_credential(name="second")
    operator.post(f"/orders/{in_sync.key}/resend", {"credential": second.pk})
    assert dict(SyncState.objects.values_list("credential__name", "state")) == {
        "Optico": "in_sync",
        "second": "waiting",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [({"credential": 12345}, "credential"), ({"credential": "x"}, "credential"), ({"credentail": 1}, "credentail")],
)
def test_a_verb_that_cannot_be_understood_does_nothing(operator: Api, in_sync: Subject, body: Any, field: str) -> None:
    answer = operator.post(f"/orders/{in_sync.key}/hold", body)
    assert answer.status_code == 400
    assert answer.json()["errors"].keys() == {field}
    assert not SyncState.objects.filter(is_held=True).exists()


@pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "{", "\xff"])
def test_a_body_that_is_no_object_is_refused(operator: Api, in_sync: Subject, body: str) -> None:
    answer = operator.post(f"/orders/{in_sync.key}/hold", body.encode("latin-1"))
    assert answer.status_code == 400
    assert not SyncState.objects.filter(is_held=True).exists()


def test_a_form_is_not_spoken(operator: Api, in_sync: Subject) -> None:
    answer = operator.post(f"/orders/{in_sync.key}/hold", "a=b", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["title"]) == (415, "Unsupported Media Type")


def test_an_order_never_seen_is_not_there(operator: Api, credential: VendorCredential) -> None:
    assert operator.post("/orders/nobody/resend").status_code == 404


def test_wrong_settings_are_told_and_are_no_bug(operator: Api, in_sync: Subject, settings: Any) -> None:
    settings.OPTICO_SYNC = {"ORDER": {"model": "no.Such"}}
    answer = operator.post(f"/orders/{in_sync.key}/resend")
    assert answer.status_code == 503
    assert "OPTICO_SYNC['ORDER']" in answer.json()["detail"]


def test_the_log_says_who_did_what(operator: Api, in_sync: Subject, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "optico_sync.api")
    operator.post(f"/orders/{in_sync.key}/hold")
    assert operator.user
    assert f"hold_order for subject {in_sync.pk} by user {operator.user.pk}: 1." in caplog.text


def test_djangos_admin_log_says_it_too(operator: Api, in_sync: Subject, credential: VendorCredential) -> None:
    operator.post(f"/orders/{in_sync.key}/hold", {"credential": credential.pk})
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.object_id, entry.object_repr) == (operator.user, str(in_sync.pk), "2001")
    assert entry.get_change_message() == "Hold. Optico: Held: 1 (orders chosen: 1)."


def test_a_caller_that_is_no_user_of_the_shop_acts_all_the_same(in_sync: Subject) -> None:
    assert do("hold", [in_sync], user=object()).count == 1
    assert not LogEntry.objects.exists()


# whose it is


def attribute(api: Api, key: str, **given: Any) -> Any:
    return api.post(f"/orders/{key}/attribution", given)


def test_an_agents_software_says_whose_call_it_was(
    agent: Api, in_sync: Subject, credential: VendorCredential, vendor: Vendor
) -> None:
    answer = attribute(agent, in_sync.key, call_id="77001", agent="anna")
    assert answer.status_code == 202
    assert answer.json() == {"visit_id": "", "call_id": "77001", "agent": "anna", "cart_key": ""}
    deliver(credential, sender=vendor)
    assert [(form["status"], form["call_id"], form["agent"]) for form in vendor.forms] == [
        ("confirmed", "77001", "anna")
    ]


def test_a_headless_checkout_need_not_wait_for_the_worker(agent: Api, credential: VendorCredential) -> None:
    purchase = place()
    assert attribute(agent, purchase.key, visit_id=VISIT).status_code == 202
    relay_all()
    assert Subject.objects.get().visit_id == VISIT


def test_an_order_of_before_the_app_is_known_then(agent: Api, credential: VendorCredential) -> None:
    purchase = place()
    OutboxEvent.objects.all().delete()
    assert attribute(agent, purchase.key, call_id="77").status_code == 202
    relay_all()
    assert (Subject.objects.get().call_id, SyncState.objects.get().reason) == ("77", "never_offered")


@pytest.mark.parametrize("is_relayed", [True, False])
def test_another_value_than_the_first_is_a_conflict(agent: Api, is_relayed: bool) -> None:
    purchase = place(visit=VISIT)
    if is_relayed:
        relay_all()
    answer = attribute(agent, purchase.key, visit_id="64f1", agent="anna")
    assert answer.status_code == 409
    assert answer.json()["errors"].keys() == {"visit_id"}
    relay_all()
    assert (Subject.objects.get().visit_id, Subject.objects.get().agent) == (VISIT, "")


def test_the_same_again_changes_nothing(agent: Api) -> None:
    purchase = place(visit=VISIT)
    attribute(agent, purchase.key, agent="anna")
    before = OutboxEvent.objects.count()
    answer = attribute(agent, purchase.key, visit_id=VISIT, agent="anna")
    assert answer.status_code == 202
    assert OutboxEvent.objects.count() == before


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"visit_id": "<>"}, "visit_id"),
        ({"call_id": "77a"}, "call_id"),
        ({"call_id": True}, "call_id"),
        ({"agent": "a" * 151}, "agent"),
        ({"agent": None}, "agent"),
        ({"visit": VISIT}, "visit"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_recorded(agent: Api, given: dict, field: str) -> None:
    purchase = place()
    before = OutboxEvent.objects.count()
    answer = attribute(agent, purchase.key, **given)
    assert (answer.status_code, answer.json()["errors"].keys()) == (400, {field})
    assert OutboxEvent.objects.count() == before


@pytest.mark.parametrize("given", [{}, {"visit_id": "", "agent": "  "}])
def test_something_must_be_said(agent: Api, given: dict) -> None:
    answer = attribute(agent, place().key, **given)
    assert answer.status_code == 400
    assert "at least one" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["nobody", "a%00b", "x" * 300])
def test_an_order_that_the_shop_has_not_is_not_there(agent: Api, db: None, key: str) -> None:
    assert attribute(agent, key, call_id="77").status_code == 404


def test_an_order_that_was_deleted_is_not_there(agent: Api) -> None:
    purchase = place()
    relay_all()
    Purchase.objects.all().delete()
    assert attribute(agent, purchase.key, call_id="77").status_code == 404


def test_what_cannot_be_recorded_is_told(agent: Api, settings: Any) -> None:
    purchase = place()
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENABLED": False}
    assert attribute(agent, purchase.key, call_id="77").status_code == 503
