"""Lists by key: every order once, in order, by an index or a bounded look, in both directions."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optico_sync import insight, listing
from optico_sync.listing import Listing
from optico_sync.models import Subject, SyncState, VendorCredential
from tests.helpers import make_credential

pytestmark = pytest.mark.django_db

ASKED: list[dict[str, Any]] = [
    {},
    *({"state": state} for state in SyncState.State.values),
    *({"state": state, "credential_id": 0} for state in ("in_sync", "not_sent", "held")),
    {"credential_id": 1},
    *({"reason": reason} for reason in ("refused", "never_offered", "key_refused", "no_rule", "nonsense")),
    {"reason": "refused", "state": "refused", "attributed": "call"},
    {"reason": "refused", "state": "waiting"},
    *({"attributed": to} for to in ("visit", "call", "no")),
    {"term": "R1"},
    {"term": "r1"},
    {"term": "key-17"},
    {"term": "R1", "state": "refused"},
    {"kind": "cart"},
    {"kind": "cart", "state": "waiting"},
]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[VendorCredential]:
    """Two hundred orders and carts, one of two credentials paused, every state, some never offered."""
    monkeypatch.setattr(listing, "STRETCH", 7)
    monkeypatch.setattr(listing, "WINDOW", 20)
    make_credential(name="sends")
    paused = make_credential(name="paused")
    paused.pause("key_refused", "", timezone.now())
    paused.save()
    known, now, chance = insight.credentials(), timezone.now(), random.Random(7)
    Subject.objects.bulk_create(
        Subject(
            kind="cart" if n % 5 == 0 else "order",
            key=f"key-{n}",
            reference=f"R{n}",
            visit_id="v" if chance.random() < 0.5 else "",
            call_id="c" if chance.random() < 0.05 else "",
            created_at=now,
            changed_at=now,
        )
        for n in range(200)
    )
    reasons = {"refused": ["refused", "unmapped_status"], "not_sent": ["no_rule", "never_offered", "before_start"]}
    states = []
    for subject in Subject.objects.all():
        for credential in known:
            if chance.random() < 0.8:
                state = chance.choice(SyncState.State.values)
                reason = chance.choice(reasons.get(state, [""]))
                states.append(SyncState(subject=subject, credential=credential, state=state, reason=reason))
    SyncState.objects.bulk_create(states)
    return known


def asking(known: list[VendorCredential], asked: dict[str, Any]) -> Listing:
    given = dict(asked)
    if "credential_id" in given:
        given["credential_id"] = known[given["credential_id"]].pk
    return Listing(known=known, **given)


def expected(known: list[VendorCredential], asked: dict[str, Any]) -> list[int]:
    """The same worked out row by row, from what an owner sees."""
    kind = asked.get("kind", "order")
    subjects = list(Subject.objects.filter(kind=kind).order_by("-pk"))
    index = asked.get("credential_id")
    told = known if index is None else [known[index]]
    stored = {
        (state.subject_id, state.credential_id): state for state in SyncState.objects.select_related("credential")
    }

    def stands(subject: Subject, credential: VendorCredential) -> bool:
        state = stored.get((subject.pk, credential.pk))
        if not (asked.get("state") or asked.get("reason")):
            return state is not None
        shown = state.shown_state if state else "not_sent"
        hides = state and state.state in SyncState.PENDING and credential.hold_reason
        reason = (hides or state.reason) if state else "never_offered"
        return asked.get("state") in (None, shown) and asked.get("reason") in (None, reason)

    def fits(subject: Subject) -> bool:
        is_about_states = asked.keys() & {"state", "reason", "credential_id"}
        term, to = asked.get("term", ""), asked.get("attributed")
        credited = {"visit": bool(subject.visit_id), "call": bool(subject.call_id), "no": not subject.is_attributed}
        return (
            (not is_about_states or any(stands(subject, credential) for credential in told))
            and (to is None or credited[to])
            and (not term or subject.reference.startswith(term) or subject.key == term)
        )

    return [subject.pk for subject in subjects if fits(subject)]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_pages_hold_every_order_once_in_both_directions(many: list[VendorCredential], asked: dict[str, Any]) -> None:
    wanted, asks = expected(many, asked), asking(many, asked)
    assert [subject.pk for chunk in asks.chunks(9) for subject in chunk] == wanted
    page = asks.page(size=4)
    found = [subject.pk for subject in page.subjects]
    while page.older is not None:
        page = asks.page(size=4, older_than=page.older)
        found += [subject.pk for subject in page.subjects]
    assert found == wanted
    back = [subject.pk for subject in page.subjects]
    while page.newer is not None:
        page = asks.page(size=4, newer_than=page.newer)
        assert page.older is not None
        back = [subject.pk for subject in page.subjects] + back
    assert back == wanted


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_is_counted_is_right(many: list[VendorCredential], asked: dict[str, Any]) -> None:
    count = asking(many, asked).page(size=4, counts=True).count
    assert count in (None, len(expected(many, asked)))


def test_what_an_index_holds_is_counted(many: list[VendorCredential], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "STRETCH", 500)
    for asked in ({}, {"state": "refused"}, {"term": "R1"}, {"reason": "no_rule"}):
        assert asking(many, asked).page(size=4, counts=True).count == len(expected(many, asked))


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"state": "refused"}, "optico_sync_not_in_sync"),
        ({"state": "held"}, "optico_sync_not_in_sync"),
        ({"reason": "no_rule"}, "optico_sync_why"),
        ({"kind": "cart"}, "optico_sync_newest"),
        ({"term": "R1"}, "optico_sync_subject_reference_"),
    ],
)
@pytest.mark.databases("sqlite")
def test_the_index_is_followed_in_its_order(many: list[VendorCredential], asked: dict[str, Any], index: str) -> None:
    with CaptureQueriesContext(connection) as captured:
        asking(many, asked).page(size=4, older_than=150)
    plans = []
    for query in captured:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plans.append(" | ".join(row[3] for row in cursor.fetchall()))
    assert any(index in plan and "TEMP B-TREE" not in plan for plan in plans), plans
    assert not [plan for plan in plans if "SCAN" in plan], plans
