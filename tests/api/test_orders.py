"""Where orders stand, as a machine reads it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync.models import Subject, VendorCredential
from optico_sync.relay import relay_all
from tests.api.conftest import Api
from tests.helpers import make_credential, move, place
from tests.oddshop.models import Purchase

pytestmark = pytest.mark.django_db


def listed(api: Api, **asked: Any) -> list[str]:
    answer = api.get("/orders", **asked)
    assert answer.status_code == 200, answer.content
    return [order["reference"] for order in answer.json()["results"]]


@pytest.fixture
def three(credential: VendorCredential, refused: Subject, in_sync: Subject) -> VendorCredential:
    place("3001", call="9")
    relay_all()
    return credential


# the list


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["3001", "2001", "1001"]),
        ({"state": "refused"}, ["1001"]),
        ({"state": "waiting"}, ["3001"]),
        ({"state": "held"}, []),
        ({"reason": "refused"}, ["1001"]),
        ({"reason": "refused", "state": "in_sync"}, []),
        ({"attributed": "visit"}, ["1001"]),
        ({"attributed": "call"}, ["3001", "1001"]),
        ({"attributed": "no"}, ["2001"]),
        ({"q": "2001"}, ["2001"]),
        ({"q": "30"}, ["3001"]),
        ({"q": "001"}, []),
    ],
)
def test_list_has_the_filters_of_the_admin(viewer: Api, three: Any, asked: dict, expected: list[str]) -> None:
    assert listed(viewer, **asked) == expected


def test_list_finds_a_whole_key(viewer: Api, three: Any) -> None:
    assert listed(viewer, q=Subject.objects.get(reference="2001").key) == ["2001"]


def test_list_of_one_credential(viewer: Api, three: VendorCredential) -> None:
    second = make_credential(name="second")
    place("4001")
    relay_all()
    assert listed(viewer, credential=second.pk) == ["4001"]
    assert listed(viewer, credential=second.pk, state="not_sent") == ["3001", "2001", "1001"]


def test_list_says_where_each_order_stands(viewer: Api, refused: Subject, credential: VendorCredential) -> None:
    (order,) = viewer.get("/orders").json()["results"]
    (standing,) = order.pop("standings")
    assert order["sources"] == {"visit_id": "order", "call_id": "order"}
    assert order | {"key": refused.key, "reference": "1001", "status": "confirmed", "deleted_at": None} == order
    assert order["attribution"] == {"visit_id": "64f1", "call_id": "77", "agent": "", "cart_key": ""}
    assert standing["credential"] == {"id": credential.pk, "name": "Optico", "vendor": "optico"}
    assert (standing["state"], standing["reason"]["code"]) == ("refused", "refused")
    assert standing["reason"]["text"] == "The vendor refused this order."
    assert (standing["refused_status"], standing["queued"]) == ("confirmed", ["confirmed"])


def test_list_holds_orders_only(viewer: Api, in_sync: Subject) -> None:
    now = timezone.now()
    Subject.objects.create(kind="cart", key="c-1", reference="c-1", created_at=now, changed_at=now)
    assert listed(viewer) == ["2001"]
    assert viewer.get("/orders/c-1").status_code == 404


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"state": "nonsense"}, "state"),
        ({"state": ""}, "state"),
        ({"reason": "nonsense"}, "reason"),
        ({"credential": "12345"}, "credential"),
        ({"credential": "x"}, "credential"),
        ({"credential": "9" * 30}, "credential"),
        ({"attributed": "maybe"}, "attributed"),
        ({"q": "a\x00b"}, "q"),
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "201"}, "page_size"),
        ({"sate": "refused"}, "sate"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(viewer: Api, three: Any, asked: dict, field: str) -> None:
    answer = viewer.get("/orders", **asked)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["title"], problem["status"]) == ("Bad Request", 400)
    assert problem["errors"].keys() == {field}
    assert problem["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize("position", ["abc", "9" * 40, "-1", "1 OR 1=1", ""])
def test_a_forged_cursor_is_refused(viewer: Api, three: Any, position: str) -> None:
    cursor = b64encode(f"p={position}".encode()).decode()
    assert viewer.get("/orders", cursor=cursor).status_code == 400


def test_pages_follow_each_other_both_ways(viewer: Api, three: Any) -> None:
    first = viewer.get("/orders", page_size=2, attributed="call").json()
    assert (first["previous"], first["next"]) == (None, None)
    first = viewer.get("/orders", page_size=2).json()
    place("9001")
    relay_all()
    second = viewer._client.get(first["next"], headers=viewer._headers).json()
    assert [order["reference"] for order in second["results"]] == ["1001"]
    again = viewer._client.get(second["previous"], headers=viewer._headers).json()
    assert [order["reference"] for order in again["results"]] == ["3001", "2001"]


def test_the_next_page_keeps_the_filters(viewer: Api, three: Any) -> None:
    page = viewer.get("/orders", page_size=1, attributed="call").json()
    assert [order["reference"] for order in page["results"]] == ["3001"]
    page = viewer._client.get(page["next"], headers=viewer._headers).json()
    assert [order["reference"] for order in page["results"]] == ["1001"]
    assert page["next"] is None


@pytest.fixture
def cost(viewer: Api) -> Callable[..., int]:
    def count(path: str, **asked: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(path, **asked).status_code == 200
        return len(queries)

    return count


@pytest.mark.parametrize(("asked", "looks"), [({}, 0), ({"state": "waiting"}, 2), ({"attributed": "no"}, 1)])
def test_list_costs_the_same_for_one_order_and_for_fifty(
    cost: Callable[..., int], credential: VendorCredential, asked: dict, looks: int
) -> None:
    make_credential(name="second")
    place("0")
    relay_all()
    one = cost("/orders", **asked)
    for number in range(1, 50):
        place(str(number))
    relay_all()
    # The caller and its two kinds of permissions; the credentials, the page, where its orders stand. Beside it how far
    # to look, or the keys that an index holds, credential by credential.
    assert cost("/orders", **asked) == one == 6 + looks


# one order


def test_detail_tells_what_happened(viewer: Api, in_sync: Subject) -> None:
    order = viewer.get(f"/orders/{in_sync.key}").json()
    assert order["reference"] == "2001"
    entries = order["timeline"]["entries"]
    attempt, changes = entries[0]["attempt"], [entry["change"] for entry in entries[1:]]
    assert (attempt["outcome"], attempt["status"], attempt["http_status"]) == ("delivered", "confirmed", 200)
    assert attempt["credential"]["name"] == "Optico"
    assert {"change": "saved", "status": "confirmed"}.items() <= changes[-1].items()
    assert entries[0]["change"] is entries[-1]["attempt"] is None
    assert not order["timeline"]["more_attempts"]


def test_detail_shows_bodies_to_operators_only(viewer: Api, operator: Api, refused: Subject) -> None:
    def bodies(api: Api) -> list[str]:
        attempt = api.get(f"/orders/{refused.key}").json()["timeline"]["entries"][0]["attempt"]
        return [attempt["request"], attempt["answer"]]

    assert bodies(viewer) == [None, None]
    request, answer = bodies(operator)
    assert "1001" in request
    assert "No" in answer


def test_detail_is_redacted(operator: Api, refused: Subject) -> None:
    told = operator.get(f"/orders/{refused.key}").content.decode()
    assert "cust_TEST" not in told
    assert "anna@example.com" not in told


def test_detail_costs_the_same_however_much_happened(cost: Callable[..., int], in_sync: Subject) -> None:
    before = cost(f"/orders/{in_sync.key}")
    purchase = Purchase.objects.get()
    for stage in ("pending", "shipped") * 5:
        move(purchase, stage)
    relay_all()
    assert cost(f"/orders/{in_sync.key}") == before


@pytest.mark.parametrize("key", ["nobody", "a/b", "a%00b", "%ff", "x" * 300, "%F0%9F%92%A9"])
def test_an_order_that_is_not_there(viewer: Api, db: None, key: str) -> None:
    answer = viewer.get(f"/orders/{key}")
    assert answer.status_code == 404
    assert "optico_resync" in answer.json()["detail"]


def test_a_key_may_hold_slashes(viewer: Api, credential: VendorCredential) -> None:
    place("1001", key="2026/11/7")
    relay_all()
    assert viewer.get("/orders/2026/11/7").json()["key"] == "2026/11/7"
    assert viewer.get("/orders/2026%2F11%2F7").json()["key"] == "2026/11/7"


def test_timeline_says_who_did_what(operator: Api, in_sync: Subject) -> None:
    operator.post(f"/orders/{in_sync.key}/hold")
    newest = operator.get(f"/orders/{in_sync.key}").json()["timeline"]["entries"][0]
    assert newest["deed"] == {"who": "operator", "told": "Hold. Held: 1 (orders chosen: 1).", "is_ours": True}
    assert newest["change"] is None and newest["attempt"] is None
