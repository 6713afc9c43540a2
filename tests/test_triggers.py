"""Triggers capture what signals do, and what they do not, in the shop's own statement."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from optico_sync import capture, triggers
from optico_sync.attribution import during
from optico_sync.models import OutboxEvent, Subject
from optico_sync.relay import relay_all
from optico_sync.triggers.watches import watches
from tests.helpers import Vendor, Visitor, deliver, make_credential, move, place
from tests.oddshop.models import Address, Admission, Article, GiftPurchase, Item, Load, Purchase, Seat, Trolley
from tests.settings import OPTICO_SYNC as SETTINGS

pytestmark = pytest.mark.django_db(transaction=True)

BY_TRIGGERS = {**SETTINGS, "CAPTURE": "triggers"}
ADMISSIONS = {
    **BY_TRIGGERS,
    "ORDER": {
        "model": "oddshop.Admission",
        "reference": "number",
        "status": "stage",
        "currency": {"value": "EUR"},
        "agent": {"value": "O'Neil \\ Co"},
        "lines": {"relation": "seats", "product_id": "row", "name": "row", "quantity": {"value": 1}, "total": "price"},
        "related": ["seats"],
    },
    "CART": {},
}


def using(settings: dict[str, Any]) -> Iterator[None]:
    with override_settings(OPTICO_SYNC=settings):
        capture.connect()
        triggers.install("default")
        yield
        # Before the tables are emptied, which would be captured.
        triggers.remove("default")
    capture.connect()


@pytest.fixture
def by_triggers(transactional_db: None) -> Iterator[None]:
    yield from using(BY_TRIGGERS)


@pytest.fixture
def admissions(transactional_db: None) -> Iterator[None]:
    yield from using(ADMISSIONS)


def told() -> list[tuple[str, ...]]:
    """What the outbox holds, apart from when."""
    columns = ("kind", "key", "relation", "change", "reference", "status", "visit_id", "call_id", "agent", "cart_key")
    return list(OutboxEvent.objects.order_by("pk").values_list(*columns))


def changes() -> list[tuple[str, str]]:
    return list(OutboxEvent.objects.order_by("pk").values_list("key", "change"))


def scenario(key: str) -> None:
    """Everything that capture knows, with a change in each save."""
    address = Address.objects.create(street="Old")
    facts = {"basket": "C-77", "visit": "3617898c651df0f8617f70a0", "call": "4711", "operator": "Anna"}
    purchase = place("1001", key=key, address=address, **facts)
    move(purchase, "confirmed")
    address.street = "New"
    address.save()
    trolley = Trolley.objects.create(account="a")
    load = Load.objects.create(trolley=trolley, title="Widget", cents=5)
    load.delete()
    trolley.delete()
    purchase.delete()


def test_they_write_what_signals_write(transactional_db: None) -> None:
    scenario("first")
    by_signals = told()
    OutboxEvent.objects.all().delete()
    for _ in using(BY_TRIGGERS):
        scenario("first")
        ours = told()
    # Keys that the database gives are other ones.
    assert [(*row[:1], *row[2:]) for row in ours] == [(*row[:1], *row[2:]) for row in by_signals]
    assert [row[1] for row in ours if row[0] == "order" and not row[2]] == ["first"] * 5


def test_they_see_what_sends_no_signal(by_triggers: None) -> None:
    Purchase.objects.bulk_create([Purchase(key="a", number="1"), Purchase(key="b", number="2")])
    Purchase.objects.filter(key="a").update(stage="confirmed")
    Purchase.objects.bulk_update([Purchase(key="b", stage="shipped")], ["stage"])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oddshop_purchase SET stage = 'refunded' WHERE number = '1'")
    Item.objects.bulk_create([Item(purchase_id="b", title="x", paid=1)])
    Item.objects.filter(purchase_id="b")._raw_delete("default")
    Purchase.objects.filter(key="a")._raw_delete("default")
    statuses = OutboxEvent.objects.order_by("pk").values_list("key", "change", "status")
    assert list(statuses) == [
        ("a", "saved", "pending"),
        ("b", "saved", "pending"),
        ("a", "saved", "confirmed"),
        ("b", "saved", "shipped"),
        ("a", "saved", "refunded"),
        ("b", "related", ""),
        ("b", "related", ""),
        ("a", "deleted", "refunded"),
    ]


def test_an_update_that_changes_nothing_writes_nothing(by_triggers: None) -> None:
    purchase = place()
    OutboxEvent.objects.all().delete()
    purchase.save()
    Purchase.objects.update(stage="pending")
    assert told() == []


@pytest.mark.parametrize("stage", ["Pending", "pending ", "pendïng"])
def test_a_change_that_a_collation_overlooks_is_one(by_triggers: None, stage: str) -> None:
    place()
    OutboxEvent.objects.all().delete()
    Purchase.objects.update(stage=stage)
    assert OutboxEvent.objects.get().status == stage


def test_nothing_rolled_back_is_left(by_triggers: None) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        place()
        raise ZeroDivisionError
    assert told() == []


def test_a_line_that_goes_to_another_order_changes_both(by_triggers: None) -> None:
    first, second = place("1", key="a"), place("2", key="b")
    OutboxEvent.objects.all().delete()
    Item.objects.filter(purchase=first).update(purchase=second)
    assert sorted(changes()) == [("a", "related"), ("b", "related")]


def test_a_child_table_belongs_to_its_order(by_triggers: None) -> None:
    gift = GiftPurchase.objects.create(number="1", key="a")
    OutboxEvent.objects.all().delete()
    GiftPurchase.objects.filter(pk=gift.pk).update(wish="Happy birthday")
    assert changes() == [("a", "related")]


def test_keys_are_spelled_as_the_shop_spells_them(admissions: None, transactional_db: None) -> None:
    make_credential()
    key = uuid.uuid4()
    Admission.objects.bulk_create([Admission(pk=key, number=7, note={"a": 1})])
    Seat.objects.bulk_create([Seat(admission_id=key, row="A", price=5), Seat(row="nobody's", price=5)])
    Admission.objects.update(note={"a": 2}, stage=2)
    assert [(row[1], *row[3:6]) for row in told()] == [
        (str(key), "saved", "7", "1"),
        (str(key), "related", "", ""),
        (str(key), "saved", "7", "2"),
    ]
    assert OutboxEvent.objects.filter(agent="O'Neil \\ Co").count() == 2


def test_the_moment_is_now(by_triggers: None) -> None:
    from optico_sync.models.clock import database_now

    before = database_now("default")
    place()
    after = database_now("default")
    assert before <= OutboxEvent.objects.earliest("pk").created_at <= after


def test_over_long_text_is_cut_and_an_over_long_visit_left_out(by_triggers: None) -> None:
    with override_settings(OPTICO_SYNC={**BY_TRIGGERS, "ORDER": {**SETTINGS["ORDER"], "agent": {"value": "x" * 200}}}):
        triggers.install("default")
        place()
    assert len(OutboxEvent.objects.earliest("pk").agent) == 150


def test_what_the_column_holds_is_cleaned_before_it_is_kept(by_triggers: None, transactional_db: None) -> None:
    """The trigger cannot tell a visit from the word "undefined"."""
    make_credential()
    place(visit="undefined", call="no call")
    relay_all()
    subject = Subject.objects.get()
    assert (subject.visit_id, subject.call_id) == ("", "")


def test_the_shop_gets_its_own_keys_back(by_triggers: None) -> None:
    place()
    trolley = Trolley.objects.create()
    assert list(Trolley.objects.values_list("pk", flat=True)) == [trolley.pk]


def test_it_is_delivered_like_any_other(by_triggers: None, transactional_db: None) -> None:
    credential, vendor = make_credential(), Vendor()
    place("1001")
    deliver(credential, sender=vendor)
    Purchase.objects.update(stage="confirmed")
    Item.objects.update(title="Red Widget")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]
    assert "Red Widget" in vendor.forms[-1]["products"]


# once a transaction, where the database can remember


@pytest.fixture
def purchase(by_triggers: None) -> Purchase:
    purchase = place("1", key="a")
    OutboxEvent.objects.all().delete()
    return purchase


def add_line(purchase: Purchase) -> None:
    Item.objects.create(purchase=purchase, title="x", paid=1)


@pytest.mark.databases("postgresql")
def test_an_order_and_its_lines_are_one_event(by_triggers: None) -> None:
    with transaction.atomic():
        purchase = place("1", key="a", items=[("A", "One", 1, "1"), ("B", "Two", 1, "2")])
        Item.objects.bulk_create([Item(purchase=purchase, title="Three", paid=1)] * 2)
    assert changes() == [("a", "saved")]


@pytest.mark.databases("postgresql")
def test_lines_alone_are_one_event_a_transaction(purchase: Purchase) -> None:
    for _ in range(2):
        with transaction.atomic():
            add_line(purchase)
            Item.objects.update(title="y")
    add_line(purchase)
    assert changes() == [("a", "related")] * 3


def test_each_status_is_told_whatever_was_told_before(purchase: Purchase) -> None:
    with transaction.atomic():
        for stage in ("confirmed", "pending"):
            add_line(purchase)
            move(purchase, stage)
    assert [status for status in OutboxEvent.objects.order_by("pk").values_list("status", flat=True) if status] == [
        "confirmed",
        "pending",
    ]


def test_lines_of_several_orders_are_all_told(purchase: Purchase) -> None:
    with transaction.atomic():
        other = place("2", key="b")
        add_line(purchase)
        add_line(other)
    assert {key for key, _change in changes()} == {"a", "b"}


def test_a_line_after_an_update_that_changed_nothing_is_told(purchase: Purchase) -> None:
    with transaction.atomic():
        Purchase.objects.update(stage="pending")
        add_line(purchase)
    assert changes() == [("a", "related")]


def test_what_a_savepoint_took_along_is_told_again(purchase: Purchase) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            add_line(purchase)
            raise ZeroDivisionError
        add_line(purchase)
    assert changes() == [("a", "related")]


def test_what_is_relayed_in_a_transaction_that_goes_on_is_news_again(purchase: Purchase) -> None:
    """As in a test of a shop, which is one transaction."""
    with transaction.atomic():
        add_line(purchase)
        relay_all()
        add_line(purchase)
        assert OutboxEvent.objects.filter(relayed_at=None).count() == 1


# signals beside them


def test_python_adds_nothing_where_nobody_knows_whose_it_is(by_triggers: None) -> None:
    with CaptureQueriesContext(connection) as captured:
        purchase = Purchase.objects.create(number="1")
        purchase.stage = "confirmed"
        purchase.save()
    assert len(captured) == 2
    assert OutboxEvent.objects.count() == 2


def test_python_adds_whose_it_is_once_a_transaction(by_triggers: None) -> None:
    with during(Visitor("3617898c651df0f8617f70a0")), transaction.atomic():
        purchase = place(items=[("A", "a", 1, "1"), ("B", "b", 1, "1")])
        purchase.save()
    seen = OutboxEvent.objects.exclude(visit_id="")
    assert set(seen.values_list("key", "visit_id")) == {(purchase.pk, "3617898c651df0f8617f70a0")}
    assert seen.count() == 1


def test_what_a_rolled_back_savepoint_took_along_is_added_again(by_triggers: None) -> None:
    with during(Visitor("3617898c651df0f8617f70a0")), transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            place(key="a")
            raise ZeroDivisionError
        place(key="a")
    assert OutboxEvent.objects.filter(key="a", visit_id="3617898c651df0f8617f70a0").count() == 1


def test_what_an_earlier_transaction_told_is_told_again(by_triggers: None) -> None:
    """It is not known here whether that one was committed."""
    with during(Visitor("3617898c651df0f8617f70a0")):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            place(key="a")
            raise ZeroDivisionError
        with transaction.atomic():
            place(key="a")
    assert OutboxEvent.objects.filter(key="a", visit_id="3617898c651df0f8617f70a0").count() == 1


# G2: harmless


def statement(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.databases("postgresql", "mysql")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        ("ALTER TABLE optico_sync_outboxevent RENAME TO gone", "ALTER TABLE gone RENAME TO optico_sync_outboxevent"),
        (
            "ALTER TABLE optico_sync_outboxevent RENAME COLUMN reference TO gone",
            "ALTER TABLE optico_sync_outboxevent RENAME COLUMN gone TO reference",
        ),
        (
            "ALTER TABLE oddshop_item RENAME COLUMN purchase_id TO gone",
            "ALTER TABLE oddshop_item RENAME COLUMN gone TO purchase_id",
        ),
    ],
    ids=["no outbox", "another outbox", "another watched table"],
)
def test_a_trigger_that_fails_does_not_disturb_the_shop(by_triggers: None, spoil: str, repair: str) -> None:
    purchase = place()
    statement(spoil)
    try:
        with transaction.atomic():
            statement("UPDATE oddshop_item SET title = 'x'")
            statement("UPDATE oddshop_purchase SET stage = 'shipped'")
            Article.objects.create(sku="after")
    finally:
        statement(repair)
    purchase.refresh_from_db()
    assert purchase.stage == "shipped"
    assert Item.objects.get().title == "x"
    assert Article.objects.filter(sku="after").exists()


@pytest.mark.databases("postgresql")
def test_whoever_writes_to_the_shop_needs_no_rights_on_the_outbox(by_triggers: None) -> None:
    place()
    OutboxEvent.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE optico_sync_clerk")
        try:
            cursor.execute("GRANT ALL ON oddshop_purchase TO optico_sync_clerk")
            cursor.execute("SET ROLE optico_sync_clerk")
            cursor.execute("UPDATE oddshop_purchase SET stage = 'shipped'")
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY optico_sync_clerk")
            cursor.execute("DROP ROLE optico_sync_clerk")
    assert OutboxEvent.objects.get().status == "shipped"


# install, check, remove


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("optico_triggers", *arguments, stdout=out)
    return out.getvalue().strip()


def test_install_check_and_remove() -> None:
    with override_settings(OPTICO_SYNC=BY_TRIGGERS):
        with pytest.raises(CommandError, match="--install"):
            run("--check")
        installed = run("--install")
        assert installed.endswith("triggers are installed.")
        assert run("--install") == installed
        assert run("--check") == "All triggers are installed and up to date."
    count = installed.split()[0]
    assert run("--remove") == f"Removed {count} triggers."
    assert triggers.installed("default") == {}
    assert run("--remove") == "Removed 0 triggers."


def test_the_commands_say_when_the_setting_does_not_fit() -> None:
    assert 'Now set OPTICO_SYNC["CAPTURE"] = "triggers"' in run("--install")
    with override_settings(OPTICO_SYNC=BY_TRIGGERS):
        assert 'Now set OPTICO_SYNC["CAPTURE"] = "signals"' in run("--remove")


def test_other_columns_need_other_triggers(by_triggers: None) -> None:
    with override_settings(OPTICO_SYNC={**BY_TRIGGERS, "ORDER": {**SETTINGS["ORDER"], "status": "site"}}):
        wrong = list(triggers.problems("default"))
        assert any("oddshop_purchase: the trigger on UPDATE is missing or out of date." in one for one in wrong)
        triggers.install("default")
        assert list(triggers.problems("default")) == []
        Purchase.objects.create(number="1", site="here")
        assert [event.status for event in OutboxEvent.objects.all()] == ["here"]


def test_a_table_that_is_made_anew_is_noticed(by_triggers: None) -> None:
    """As SQLite's migrations do, which take its triggers along."""
    statement(next(iter(drop("oddshop_item"))))
    assert list(triggers.problems("default"))
    triggers.install("default")
    assert list(triggers.problems("default")) == []


def drop(table: str) -> list[str]:
    name = next(name for name, where in triggers.installed("default").items() if where == table)
    return list(triggers.dialect_of(connection).drop(name, table))


@pytest.mark.databases("postgresql")
def test_a_trigger_that_is_switched_off_is_noticed(by_triggers: None) -> None:
    statement("ALTER TABLE oddshop_purchase DISABLE TRIGGER USER")
    try:
        assert len(list(triggers.problems("default"))) == 3
    finally:
        statement("ALTER TABLE oddshop_purchase ENABLE TRIGGER USER")


def test_migrations_leave_them_as_they_were(by_triggers: None) -> None:
    before = triggers.installed("default")
    call_command("migrate", "sessions", "zero", verbosity=0)
    call_command("migrate", "sessions", verbosity=0)
    assert triggers.installed("default") == before != {}


def test_migrations_install_none_where_none_were(transactional_db: None) -> None:
    call_command("migrate", "sessions", "zero", verbosity=0)
    call_command("migrate", "sessions", verbosity=0)
    assert triggers.installed("default") == {}


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ({"model": "oddshop.GiftPurchase"}, "inherits columns from another table"),
        ({"status": "bought_at"}, "is a DateTimeField, which a trigger cannot spell"),
    ],
)
def test_what_a_trigger_cannot_do_is_said(order: dict[str, str], problem: str) -> None:
    changed = override_settings(OPTICO_SYNC={**BY_TRIGGERS, "ORDER": {**SETTINGS["ORDER"], **order}})
    with changed, pytest.raises(CommandError, match=problem):
        run("--install")
    assert triggers.installed("default") == {}


def test_an_adapter_that_names_no_columns_is_told(by_triggers: None) -> None:
    from optico_sync.exceptions import ConfigurationError
    from optico_sync.shops import get_shop

    shop = get_shop()
    shop.columns = None
    with pytest.raises(ConfigurationError, match="Give it `columns`"):
        list(watches("order", shop))
    get_shop.cache_clear()
