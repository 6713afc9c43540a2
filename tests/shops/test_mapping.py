"""Reading a shop by the names in ``OPTICO_SYNC["ORDER"]``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.apps.registry import Apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import OperationalError, models
from django.test import override_settings

from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.shops import get_shop
from optico_sync.shops.base import ShopAdapter
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.sources import primary_keys
from optico_sync.shops.values import moment as _moment
from optico_sync.shops.values import number as _number
from optico_sync.snapshot import OrderSnapshot
from tests.helpers import place
from tests.oddshop.models import Address, Article, GiftPurchase, Item, Purchase, PurchaseProxy
from tests.settings import OPTICO_SYNC

ORDER: dict[str, Any] = OPTICO_SYNC["ORDER"]
LINES: dict[str, Any] = ORDER["lines"]


def shop(lines: Mapping[str, Any] | None = None, **changes: Any) -> MappedShop:
    return MappedShop({**ORDER, **changes, "lines": {**LINES, **(lines or {})}})


def read(purchase: Purchase, adapter: MappedShop | None = None) -> OrderSnapshot | Unreadable:
    return (adapter or shop()).read([purchase.pk], using="default")[purchase.pk]


def snapshot(purchase: Purchase, adapter: MappedShop | None = None) -> OrderSnapshot:
    found = read(purchase, adapter)
    assert isinstance(found, OrderSnapshot), found
    return found


# the shop in the settings


def test_get_shop_is_made_once() -> None:
    assert get_shop() is get_shop()


def test_get_shop_follows_the_settings() -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": {**ORDER, "model": "oddshop.GiftPurchase"}}):
        assert get_shop().model is GiftPurchase
    assert get_shop().model is Purchase


class OwnShop(ShopAdapter):
    model = Purchase

    def facts(self, order: models.Model) -> Any: ...

    def read(self, keys: Any, *, using: str) -> Any: ...

    def find(self, **criteria: Any) -> Any: ...


class BrokenShop(OwnShop):
    def __init__(self) -> None:
        raise KeyError("a bug of its own")


def test_get_shop_takes_an_adapter_of_the_shops_own() -> None:
    with override_settings(OPTICO_SYNC={"SHOP": "tests.shops.test_mapping.OwnShop"}):
        assert isinstance(get_shop(), OwnShop)
        assert (get_shop().known_statuses(), get_shop().relations) == ((), ())


@pytest.mark.parametrize("path", ["no.such", "nonsense", "tests.shops.test_mapping.BrokenShop", "tests.settings.env"])
def test_get_shop_with_an_adapter_that_cannot_be_used_names_it(path: str) -> None:
    with override_settings(OPTICO_SYNC={"SHOP": path}), pytest.raises(ConfigurationError, match=path):
        get_shop()


# reading


@pytest.mark.django_db
def test_read_gives_the_whole_order() -> None:
    purchase = place(
        "1001",
        "shipped",
        [("A", "Thing", 2, "59.98"), ("B", "Other", "1.5", "3")],
        basket="C-77",
        visit="abc",
        call="5",
        operator="Anna",
        bought_at=datetime(2024, 3, 15, 13, 25, tzinfo=UTC),
    )
    order = snapshot(Purchase.objects.get(pk=purchase.pk))
    assert (order.key, order.reference, order.status, order.currency) == (purchase.pk, "1001", "shipped", "EUR")
    assert order.placed_at == datetime(2024, 3, 15, 13, 25, tzinfo=UTC)
    seen = order.attribution
    assert (seen.cart_key, seen.visit_id, seen.call_id, seen.agent) == ("C-77", "abc", "5", "Anna")
    assert [(line.product_id, line.name, line.quantity, line.total) for line in order.lines] == [
        ("A", "Thing", 2, Decimal("59.98")),
        ("B", "Other", Decimal("1.5"), 3),
    ]


@pytest.mark.django_db
def test_path_reaches_through_relations_and_methods() -> None:
    purchase = place(address=Address.objects.create(street="Main St"))
    assert snapshot(purchase, shop(reference="address.street")).reference == "Main St"
    assert snapshot(purchase, shop(reference="address.street.upper")).reference == "MAIN ST"


@pytest.mark.django_db
def test_path_over_a_missing_relation_is_empty() -> None:
    adapter = shop(lines={"product_id": "article.sku"}, agent="address.street", cart_key="giftpurchase.wish")
    purchase = place()
    Item.objects.update(article=None)
    order = snapshot(purchase, adapter)
    assert (order.attribution.agent, order.attribution.cart_key, order.lines[0].product_id) == ("", "", "")


@pytest.mark.django_db
def test_callable_and_constant_sources() -> None:
    adapter = shop(
        reference=lambda order: f"No {order.number}",
        currency={"value": "CHF"},
        lines={"name": lambda line: line.title.upper(), "product_id": {"value": 7}},
    )
    order = snapshot(place("5"), adapter)
    assert (order.reference, order.currency) == ("No 5", "CHF")
    assert (order.lines[0].name, order.lines[0].product_id) == ("BLUE WIDGET", "7")


class Colour(Enum):
    RED = "red"


class Rank(IntEnum):
    FIRST = 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "text"),
    [(Colour.RED, "red"), (Rank.FIRST, "1"), (Purchase.Stage.SHIPPED, "shipped"), (None, ""), (7, "7"), ("a\0b", "ab")],
)
def test_values_become_text(value: Any, text: str) -> None:
    assert snapshot(place(), shop(agent={"value": value})).attribution.agent == text
    assert snapshot(place(), shop(agent=lambda order: value)).attribution.agent == text


@pytest.mark.django_db
def test_unit_price_is_multiplied() -> None:
    lines = {key: source for key, source in LINES.items() if key != "total"}
    adapter = MappedShop({**ORDER, "lines": {**lines, "unit_price": "paid"}})
    purchase = place(items=[("A", "Thing", 3, "1.25")])
    assert snapshot(purchase, adapter).lines[0].total == Decimal("3.75")


@pytest.mark.django_db
@pytest.mark.parametrize("extra", [[1], "text", {"a": 1}])
def test_details_are_pairs_a_text_or_a_list(extra: Any) -> None:
    (found,) = snapshot(place(), shop(lines={"details": {"value": extra}})).lines
    assert found.details == extra
    assert found.detail_pairs == (extra if isinstance(extra, dict) else {})


@pytest.mark.django_db
@pytest.mark.parametrize("extra", [7, None])
def test_details_of_any_other_kind_are_left_out(extra: Any) -> None:
    assert snapshot(place(), shop(lines={"details": {"value": extra}})).lines[0].details == {}


@pytest.mark.django_db
def test_hostile_visit_counts_as_absent() -> None:
    assert snapshot(place(visit="<script>")).attribution.visit_id == ""


@pytest.mark.django_db
def test_orders_that_the_default_manager_hides_are_read() -> None:
    purchase = place(site="hidden")
    assert not Purchase.objects.filter(pk=purchase.pk).exists()
    assert snapshot(purchase).reference == "1001"
    assert shop().find(using="default", keys=[purchase.pk]).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("model", [PurchaseProxy, GiftPurchase])
def test_proxies_and_children_are_read_as_the_order(model: type[Purchase]) -> None:
    purchase = model.objects.create(number="7")
    assert snapshot(purchase).reference == "7"


@pytest.mark.django_db
@pytest.mark.parametrize("model", ["oddshop.PurchaseProxy", "oddshop.GiftPurchase"])
def test_proxies_and_children_can_be_the_order(model: str) -> None:
    purchase = GiftPurchase.objects.create(number="7")
    Item.objects.create(purchase=purchase, title="x", paid=1)
    order = snapshot(purchase, shop(model=model))
    assert (order.reference, order.key, len(order.lines)) == ("7", purchase.pk, 1)


@pytest.mark.django_db
def test_an_order_that_is_gone_is_not_there() -> None:
    assert shop().read(["no such key"], using="default") == {}


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 50, 500])
def test_reading_costs_two_queries_however_many_orders(count: int, django_assert_num_queries: Any) -> None:
    orders = [Purchase(number=str(number)) for number in range(count)]
    Purchase.objects.bulk_create(orders)
    Item.objects.bulk_create(Item(purchase=order, title="x", paid=1) for order in orders for _line in range(2))
    adapter = shop(agent="address.street", cart_key="giftpurchase.wish")
    with django_assert_num_queries(2):
        found = adapter.read([order.pk for order in orders], using="default")
    assert len(found) == count
    assert all(isinstance(order, OrderSnapshot) and len(order.lines) == 2 for order in found.values())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "total",
    [lambda order: sum(line.paid for line in order.things.all()), "sum_of_lines"],
    ids=["a callable", "a property"],
)
def test_code_of_the_shop_that_goes_through_the_lines_costs_no_query_for_each_order(
    total: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Purchase, "sum_of_lines", property(lambda order: sum(line.paid for line in order.things.all())), raising=False
    )
    orders = Purchase.objects.bulk_create(Purchase(number=str(number)) for number in range(3))
    Item.objects.bulk_create(Item(purchase=order, title="x", paid=2) for order in orders for _line in range(2))
    adapter = shop(total=total)
    with django_assert_num_queries(2):
        found = adapter.read([order.pk for order in orders], using="default")
    assert [order.total for order in found.values() if isinstance(order, OrderSnapshot)] == [4, 4, 4]


@pytest.mark.django_db
def test_lines_are_the_same_read_as_values_and_read_as_rows() -> None:
    """As rows where a callable is among the sources."""
    purchase = Purchase.objects.create(number="7")
    article = Article.objects.create(sku="A-1")
    Item.objects.create(purchase=purchase, article=article, title="x", paid=250, extra={"note": {"colour": "red"}})
    Item.objects.create(purchase=purchase, title="y", paid="1.5", extra={"note": None})
    named = {
        "sku": "article.sku",
        "product_key": "article_id",
        "variant_id": "pk",
        "url": "extra.note.colour",
        "tax": {"cents": "paid"},
        "discount": {"value": "1.20"},
    }
    values = snapshot(purchase, shop(named)).lines
    assert values == snapshot(purchase, shop({**named, "refunded": lambda item: 0})).lines
    assert [(line.sku, line.url, line.tax) for line in values] == [
        ("A-1", "red", Decimal("2.5")),
        ("", "", Decimal("0.015")),
    ]


@pytest.mark.django_db
def test_what_a_model_does_to_its_columns_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    purchase = Purchase.objects.create(number="7")
    Item.objects.create(purchase=purchase, title="x", paid=1)

    def from_db(cls: type[Item], *given: Any, **options: Any) -> Item:
        item = models.Model.from_db.__func__(cls, *given, **options)
        item.title = item.title.upper()
        return item

    monkeypatch.setattr(Item, "from_db", classmethod(from_db))
    assert snapshot(purchase, shop()).lines[0].name == "X"


# keys of every kind


def keyed(model: str, status: str, relation: str) -> MappedShop:
    one = {"value": 1}
    lines = {"relation": relation, "product_id": one, "name": one, "quantity": one, "total": one}
    return MappedShop({"model": model, "reference": "pk", "status": status, "currency": one, "lines": lines})


@pytest.fixture
def accounts() -> MappedShop:
    """A shop with whole numbers for keys: users as orders, their log as lines."""
    return keyed("auth.User", "username", "logentry_set")


@pytest.mark.django_db
def test_number_keys_are_found_as_they_were_asked_for(accounts: MappedShop) -> None:
    user = User.objects.create(username="paid")
    found = accounts.read([str(user.pk), f"00{user.pk}"], using="default")
    assert found.keys() == {str(user.pk), f"00{user.pk}"}


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x", "1.5", "None", "9" * 30, "-" + "9" * 30, "²", "1" * 5000])
def test_what_cannot_be_a_number_key_is_no_order(key: str, accounts: MappedShop) -> None:
    user = User.objects.create(username="paid")
    assert accounts.read([key, str(user.pk)], using="default").keys() == {str(user.pk)}
    assert [row.pk for row in accounts.find(using="default", keys=[key, str(user.pk)])] == [user.pk]


def test_uuid_keys_are_read_in_both_spellings() -> None:
    class Parcel(models.Model):
        id = models.UUIDField(primary_key=True)

        class Meta:
            app_label = "oddshop"
            managed = False
            apps = Apps()

    value = uuid.uuid4()
    assert primary_keys(Parcel, [str(value), value.hex, "no uuid", ""]) == {str(value): value, value.hex: value}


# numbers and moments


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("12.50", "12.50"),
        (" 7 ", "7"),
        (3, "3"),
        (0.1, "0.1"),
        (19.99, "19.99"),
        (Decimal("1.005"), "1.005"),
        ("1e3", "1000"),
        (-2, "-2"),
    ],
)
def test_numbers_are_read_as_they_print(given: Any, number: str) -> None:
    assert _number(given, "total") == Decimal(number)


@pytest.mark.parametrize(
    "given",
    ["NaN", "sNaN", "Infinity", "-Infinity", float("nan"), float("inf"), Decimal("NaN"), None, "", "x", "1,234"],
)
def test_what_is_no_number_makes_the_order_unreadable(given: Any) -> None:
    with pytest.raises(Unreadable, match="total"):
        _number(given, "total")


def test_an_aware_moment_stays() -> None:
    moment = datetime(2024, 3, 15, 13, 25, tzinfo=UTC)
    assert _moment(moment, "placed_at") is moment


def test_a_naive_moment_is_local_time() -> None:
    assert _moment(datetime(2024, 3, 15, 13, 25), "placed_at") == datetime(2024, 3, 15, 12, 25, tzinfo=UTC)


def test_a_date_is_its_midnight_in_local_time() -> None:
    assert _moment(date(2024, 7, 1), "placed_at") == datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Paris"))


@pytest.mark.parametrize("given", ["2024-03-15", 1710509107])
def test_what_is_no_moment_makes_the_order_unreadable(given: Any) -> None:
    with pytest.raises(Unreadable, match="placed_at"):
        _moment(given, "placed_at")


# a bad order


def broken(order: Any) -> str:
    if order.number == "bad":
        raise RuntimeError("Anna Smith, 4 Privet Drive")
    return order.number


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["reference", "placed_at"])
def test_a_bad_order_spoils_only_itself(key: str) -> None:
    bad, good = place("bad"), place("good")
    change: Any = broken if key == "reference" else lambda order: broken(order) and None
    found = shop(**{key: change}).read([bad.pk, good.pk], using="default")
    assert isinstance(found[good.pk], OrderSnapshot)
    assert isinstance(found[bad.pk], Unreadable)
    assert key in str(found[bad.pk]) and "Anna" not in str(found[bad.pk])


@pytest.mark.django_db
def test_numbers_beyond_all_arithmetic_spoil_only_their_order() -> None:
    lines = {key: source for key, source in LINES.items() if key != "total"} | {"unit_price": {"value": "1e999999"}}
    lines["quantity"] = {"value": "1e999999"}
    assert isinstance(read(place(), MappedShop({**ORDER, "lines": lines})), Unreadable)


@pytest.mark.django_db
def test_a_database_in_trouble_is_not_the_orders_fault() -> None:
    def lost(order: Any) -> str:
        raise OperationalError("server closed the connection")

    with pytest.raises(OperationalError):
        read(place(), shop(agent=lost))


# capture's facts


@pytest.mark.django_db
def test_facts_are_read_without_a_query(django_assert_num_queries: Any) -> None:
    address = Address.objects.create(street="Main St")
    purchase = place("1001", "shipped", basket="C", visit="abc", call="5", operator="Anna", address=address)
    fresh = Purchase.objects.get(pk=purchase.pk)
    with django_assert_num_queries(0):
        facts = shop().facts(fresh)
    assert (facts.reference, facts.status) == ("1001", "shipped")
    seen = facts.attribution
    assert (seen.visit_id, seen.call_id, seen.agent, seen.cart_key) == ("abc", "5", "Anna", "C")


@pytest.mark.django_db
def test_facts_leave_out_what_would_cost_a_query(django_assert_num_queries: Any) -> None:
    address = Address.objects.create(street="Main St")
    fresh = Purchase.objects.get(pk=place(address=address).pk)
    adapter = shop(agent="address.street", call_id=lambda order: order.address.street, cart_key="address")
    with django_assert_num_queries(0):
        seen = adapter.facts(fresh).attribution
    assert (seen.agent, seen.call_id, seen.cart_key) == ("", "", "")


@pytest.mark.django_db
def test_facts_of_deferred_fields_are_not_known(django_assert_num_queries: Any) -> None:
    fresh = Purchase.objects.only("number").get(pk=place(basket="C").pk)
    with django_assert_num_queries(0):
        facts = shop().facts(fresh)
    assert (facts.reference, facts.status, facts.attribution.cart_key) == ("1001", "", "")


@pytest.mark.django_db
def test_facts_of_a_child_are_read_without_a_query(django_assert_num_queries: Any) -> None:
    gift = GiftPurchase.objects.create(number="7", stage=Purchase.Stage.CONFIRMED)
    with django_assert_num_queries(0):
        assert shop().facts(gift).status == "confirmed"


def test_facts_know_constants_and_column_names() -> None:
    address = Address(pk=12)
    seen = shop(agent={"value": "web"}, cart_key="address_id", call_id="pk").facts(Purchase(key="77", address=address))
    assert (seen.attribution.agent, seen.attribution.cart_key, seen.attribution.call_id) == ("web", "12", "77")


def test_facts_of_an_int_reference_are_text() -> None:
    assert shop().facts(Purchase(number=100001)).reference == "100001"


# finding


@pytest.fixture
def three(db: None) -> list[Purchase]:
    return [
        place(number, stage, key=number, bought_at=datetime(2024, 1, day, tzinfo=UTC))
        for number, stage, day in [("a", "pending", 1), ("b", "shipped", 2), ("c", "shipped", 3)]
    ]


@pytest.mark.parametrize(
    ("criteria", "keys"),
    [
        ({}, "abc"),
        ({"references": ["a", "c", "z"]}, "ac"),
        ({"references": []}, ""),
        ({"keys": ["b", "z"]}, "b"),
        ({"keys": []}, ""),
        ({"statuses": ["shipped"]}, "bc"),
        ({"placed_from": datetime(2024, 1, 2, tzinfo=UTC)}, "bc"),
        ({"placed_until": datetime(2024, 1, 2, tzinfo=UTC)}, "a"),
        ({"statuses": ["shipped"], "placed_until": datetime(2024, 1, 3, tzinfo=UTC)}, "b"),
        ({"keys": ["a", "b"], "references": ["b", "c"]}, "b"),
    ],
)
def test_find_by_each_criterion(criteria: Any, keys: str, three: list[Purchase]) -> None:
    assert [order.pk for order in shop().find(using="default", **criteria)] == list(keys)


@pytest.mark.django_db
def test_find_follows_a_path() -> None:
    purchase = place(address=Address.objects.create(street="Main St"))
    assert shop(reference="address.street").find(using="default", references=["Main St"]).get() == purchase


@pytest.mark.django_db
@pytest.mark.parametrize("source", [lambda order: order.number, {"value": "x"}])
def test_find_by_what_is_no_field_names_the_setting(source: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"reference.*OPTICO_SYNC\['ORDER'\]\['reference'\]"):
        shop(reference=source).find(using="default", references=["x"])


def test_find_by_a_date_that_is_not_mapped_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="placed_at"):
        shop(placed_at=None).find(using="default", placed_from=datetime.now(UTC) - timedelta(days=1))


# known statuses


def test_known_statuses_are_the_choices_of_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Purchase._meta.get_field("stage"), "choices", Purchase.Stage.choices)
    assert list(shop().known_statuses()) == ["pending", "confirmed", "shipped", "cancelled", "refunded"]


def test_known_statuses_of_a_free_text_are_none() -> None:
    assert list(shop().known_statuses()) == []
    assert list(shop(status={"value": "new"}).known_statuses()) == []


# related models


def relation(path: str, **changes: Any) -> tuple[type[models.Model], str, str]:
    (found,) = shop(related=[path], **changes).relations
    return found.model, found.path, found.owner_field


def test_a_reverse_foreign_key_holds_the_orders_key() -> None:
    assert relation("things") == (Item, "things", "purchase_id")


def test_a_forward_foreign_key_is_looked_up() -> None:
    assert relation("address") == (Address, "address", "")


@pytest.mark.parametrize("path", ["things.article", "things__article"])
def test_a_nested_relation_is_looked_up(path: str) -> None:
    model, query, order_field = relation(path)
    assert (model.__name__, query, order_field) == ("Article", "things__article", "")


def test_a_child_holds_the_orders_key() -> None:
    assert relation("giftpurchase") == (GiftPurchase, "giftpurchase", "purchase_ptr_id")


def test_an_accessor_becomes_the_name_for_queries() -> None:
    lines = {"relation": "logentry_set", **dict.fromkeys(("product_id", "name", "quantity", "total"), {"value": 1})}
    user = {"model": "auth.User", "reference": "username", "status": "email", "currency": {"value": "EUR"}}
    relations = MappedShop({**user, "lines": lines, "related": ["logentry_set", "groups"]}).relations
    assert [(one.model, one.path, one.owner_field) for one in relations] == [
        (LogEntry, "logentry", "user_id"),
        (Group, "groups", ""),
    ]


@pytest.mark.django_db
def test_orders_related_reaches_the_orders() -> None:
    address = Address.objects.create(street="Main St")
    here, there = place("1", address=address), place("2", address=address, site="hidden")
    place("3")
    found = shop().owners("address", [str(address.pk), "999999"], using="default")
    assert found == {str(address.pk): {here.pk, there.pk}}


@pytest.mark.django_db
def test_orders_related_reaches_through_a_nested_path() -> None:
    purchase = place()
    article = Item.objects.get().article
    assert article is not None
    found = shop().owners("things__article", [str(article.pk)], using="default")
    assert found == {str(article.pk): {purchase.pk}}


# wrong names


def without(key: str) -> dict[str, Any]:
    return {name: source for name, source in ORDER.items() if name != key}


def with_lines(**changes: Any) -> dict[str, Any]:
    return {**ORDER, "lines": {**LINES, **changes}}


WRONG: list[tuple[Any, list[str]]] = [
    ({**ORDER, "model": "oddshop.Purchas"}, ["'model'", "'oddshop.Purchas'", "'oddshop.Purchase'"]),
    ({**ORDER, "model": 7}, ["'model'", "app_label.Model"]),
    ({**ORDER, "model": "nonsense"}, ["'model'", "'nonsense'"]),
    ({**ORDER, "reference": "nummer"}, ["['reference']", "'nummer'", "oddshop.Purchase", "'number'"]),
    ({**ORDER, "reference": "address.stret"}, ["['reference']", "address.stret", "oddshop.Address", "'street'"]),
    ({**ORDER, "reference": "things.title"}, ["['reference']", "'things'", "callable"]),
    ({**ORDER, "reference": 7}, ["['reference']", "7"]),
    ({**ORDER, "reference": {"valu": 7}}, ["['reference']", "value"]),
    ({**ORDER, "reference": None}, ["lacks 'reference'"]),
    ({**ORDER, "reference": ""}, ["['reference']"]),
    ({**ORDER, "status": "address.street"}, ["['status']", "field of oddshop.Purchase itself"]),
    ({**ORDER, "status": "address"}, ["['status']", "field of oddshop.Purchase itself"]),
    ({**ORDER, "status": "things"}, ["['status']"]),
    ({**ORDER, "status": str}, ["['status']", "field of oddshop.Purchase itself"]),
    ({**ORDER, "status": "get_deferred_fields"}, ["['status']", "field of oddshop.Purchase itself"]),
    ({**ORDER, "refrence": "number"}, ["'refrence'", "'reference'"]),
    ({**ORDER, 7: "number"}, ["7", "Known: model"]),
    (without("currency"), ["lacks 'currency'"]),
    (without("lines"), ["lacks 'lines'"]),
    ({**ORDER, "lines": "things"}, ["['lines']", "dict"]),
    ({**ORDER, "related": "things"}, ["['related']", "list"]),
    ({**ORDER, "related": 7}, ["['related']", "list"]),
    ({**ORDER, "related": [7]}, ["['related']", "7"]),
    ({**ORDER, "related": ["thing"]}, ["['related']", "'thing'", "oddshop.Purchase", "'things'"]),
    ({**ORDER, "related": ["number"]}, ["['related']", "'number'", "relation"]),
    ({**ORDER, "related": ["things.artikle"]}, ["['related']", "oddshop.Item", "'article'"]),
    (with_lines(relation="thing"), ["['relation']", "'thing'", "oddshop.Purchase", "'things'"]),
    (with_lines(relation="address"), ["['relation']", "'address'", "relation to many rows", "things"]),
    (with_lines(relation="things.article"), ["['relation']", "relation to many rows"]),
    (with_lines(relation=None), ["'relation'", "'json'"]),
    (with_lines(json="extra"), ["'relation'", "'json'"]),
    (with_lines(relation=7), ["['relation']", "7"]),
    (with_lines(quantity="piece"), ["['lines']['quantity']", "'piece'", "oddshop.Item", "'pieces'"]),
    (with_lines(product_id="article.sku_"), ["['lines']['product_id']", "oddshop.Article", "'sku'"]),
    (with_lines(unit_price="paid"), ["'total'", "'unit_price'"]),
    (with_lines(total=None), ["'total'", "'unit_price'"]),
    (with_lines(quantty="pieces"), ["'quantty'", "'quantity'"]),
]


@pytest.mark.parametrize(("order", "words"), WRONG)
def test_a_wrong_name_is_told_with_its_place_and_the_nearest(order: Any, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MappedShop(order)
    message = str(caught.value)
    assert message.startswith("OPTICO_SYNC['ORDER']")
    assert [word for word in words if word not in message] == [], message


def test_none_means_that_an_optional_key_is_not_there() -> None:
    adapter = shop(agent=None, related=None, lines={"unit_price": None, "details": None})
    assert adapter.relations == ()


# django-oscar's word


def test_oscar_without_oscar_is_told() -> None:
    with (
        override_settings(OPTICO_SYNC={"SHOP": "oscar"}),
        pytest.raises(ConfigurationError, match=r"'SHOP'\] is 'oscar', and INSTALLED_APPS lacks Oscar's basket, order"),
    ):
        get_shop()
