"""``optico_inspect``: the proposal, an order as it is read, and what each vendor would get of it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from optico_sync.models import OutboxEvent, StatusMapping, SyncState, VendorCredential
from tests.helpers import KEY, make_credential, place
from tests.oddshop.models import Item, Purchase

pytestmark = pytest.mark.django_db


def inspect(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("optico_inspect", *args, stdout=out, **options)
    return out.getvalue()


def test_a_model_gets_a_proposal_and_its_newest_order_is_shown() -> None:
    place("1001", bought_at="2024-01-02T00:00Z", key="b")
    place("1002", bought_at="2024-01-01T00:00Z", key="c")
    text = inspect("oddshop.Purchase")
    assert '"reference": "number",' in text
    assert "Order 1001 is read as" in text
    assert "line 1: product_id=PROD-001, name=Blue Widget, quantity=2.000, total=59.9800" in text


def test_an_order_is_chosen_by_its_reference() -> None:
    place("1001")
    place("1002")
    assert "Order 1001 is read as" in inspect("oddshop.Purchase", order="1001")
    with pytest.raises(CommandError, match="no order '77'"):
        inspect("oddshop.Purchase", order="77")


def test_without_a_model_the_configured_shop_is_shown() -> None:
    place("1001")
    text = inspect()
    assert "OPTICO_SYNC = {" not in text
    assert "Order 1001 is read as" in text


def test_without_an_order_it_says_so() -> None:
    assert "There is no order yet" in inspect()


@pytest.mark.parametrize(
    ("model", "words"),
    [("oddshop.Purchas", "Did you mean 'oddshop.Purchase'"), ("auth.User", "Complete what is marked")],
)
def test_what_cannot_be_proposed_is_told_with_the_cure(model: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        inspect(model)


def test_a_credential_shows_its_own_request_without_its_key() -> None:
    make_credential()
    place("1001", "confirmed")
    text = inspect()
    assert "Optico would get (“confirmed” is not mapped yet" in text
    assert "POST " in text and "PROD-001" in text
    assert KEY not in text


def test_a_status_that_is_not_sent_says_so() -> None:
    credential = make_credential()
    choice = StatusMapping.Choice.DO_NOT_SEND
    StatusMapping.objects.create(credential=credential, shop_status="draft", choice=choice)
    place(stage="draft")
    assert "Optico would get\nIts status is mapped to “do not send”." in inspect()


def test_a_vendor_without_a_credential_shows_what_a_stand_in_would_get() -> None:
    place("1001", "confirmed")
    text = inspect()
    assert "Ometria would get (stand-in account" in text
    assert "Guaranteed Reviews would get (stand-in account" in text
    assert "Nothing: The customer's e-mail address is missing or malformed" in text


def test_nothing_is_sent_and_nothing_is_recorded() -> None:
    make_credential()
    place()
    events = OutboxEvent.objects.count()
    inspect("oddshop.Purchase")
    assert (OutboxEvent.objects.count(), SyncState.objects.count()) == (events, 0)


def test_personal_data_is_shown_by_its_first_letter(settings: Any) -> None:
    customer = {"email": {"value": "zoe@example.com"}, "first_name": {"value": "Zoe"}}
    settings.OPTICO_SYNC = {
        **settings.OPTICO_SYNC,
        "ORDER": {**settings.OPTICO_SYNC["ORDER"], "customer": customer},
    }
    place()
    text = inspect()
    assert "customer: email=z…, first_name=Z…" in text
    assert "zoe@example.com" not in text


def test_an_order_that_cannot_be_read_names_the_setting(settings: Any) -> None:
    order = settings.OPTICO_SYNC["ORDER"]
    settings.OPTICO_SYNC = {
        **settings.OPTICO_SYNC,
        "ORDER": {**order, "lines": {**order["lines"], "quantity": "title"}},
    }
    purchase = Purchase.objects.create(number="1001")
    Item.objects.create(purchase=purchase, title="many", paid=1)
    with pytest.raises(CommandError, match=r"\['lines'\]\['quantity'\] is not a number"):
        inspect()


def test_it_needs_none_of_our_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    place("1001", "confirmed")
    monkeypatch.setattr(VendorCredential._meta, "db_table", "not_migrated")
    assert "Optico would get (stand-in account" in inspect()
