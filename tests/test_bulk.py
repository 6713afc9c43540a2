"""Many locked rows in one statement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from optico_sync.models import Attempt, SyncState
from optico_sync.models.bulk import insert, upsert, write
from optico_sync.outcome import Kind
from optico_sync.relay import relay_all
from tests.helpers import make_credential, place

FIELDS = ["state", "reason", "queue", "tried", "is_forced", "accepted_is_sale", "due_at", "detail"]


def change(row: SyncState, number: int) -> None:
    row.state, row.reason, row.tried = SyncState.State.REFUSED, "refused", number
    row.queue = ["pending", "l'été %s ?"][: number + 1]
    row.is_forced = bool(number)
    row.accepted_is_sale = [None, True, False][number]
    row.due_at = [None, datetime(2026, 11, 21, 10, tzinfo=UTC), datetime(2026, 11, 21, 11, tzinfo=UTC)][number]
    row.detail = ["", "100 % “sûr”", "it's"][number]
    # Not among the fields.
    row.attempts = 7


@pytest.mark.django_db
@pytest.mark.parametrize("way", [upsert, write])
def test_rows_are_written_in_one_statement_each_with_its_own_values(
    way: Callable[..., None], django_assert_num_queries: Any
) -> None:
    make_credential()
    for number in range(4):
        place(str(number))
    relay_all()
    *rows, other = SyncState.objects.order_by("pk")
    for number, row in enumerate(rows):
        change(row, number)
    with django_assert_num_queries(1):
        way(rows, FIELDS, using="default")
    for row, stored in zip(rows, SyncState.objects.order_by("pk"), strict=False):
        assert [getattr(stored, name) for name in FIELDS] == [getattr(row, name) for name in FIELDS]
        assert stored.attempts == 0
    assert SyncState.objects.get(pk=other.pk).state == SyncState.State.WAITING


@pytest.mark.django_db
def test_no_rows_take_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        write([], FIELDS, using="default")
        upsert([], FIELDS, using="default")
        insert([], using="default")


@pytest.mark.django_db
def test_new_rows_are_added_in_one_statement_as_they_are(django_assert_num_queries: Any) -> None:
    made = [
        Attempt(
            sync_state_id=number + 1,
            started_at=datetime(2026, 11, 21, 10, number, tzinfo=UTC),
            duration_ms=number,
            generation=1,
            shop_status="l'été",
            status="100 % \\N",
            request='a\tb\nc\\d "e" {f} %s',
            http_status=None if number else 200,
            answer="",
            outcome=Kind.DELIVERED,
            reason="",
        )
        for number in range(3)
    ]
    with django_assert_num_queries(1):
        insert(made, using="default")
    names = [field.attname for field in Attempt._meta.concrete_fields if not field.primary_key]
    stored = Attempt.objects.order_by("sync_state_id").values_list(*names)
    assert list(stored) == [tuple(getattr(attempt, name) for name in names) for attempt in made]
