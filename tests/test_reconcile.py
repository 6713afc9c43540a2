"""Reading back: what Ometria's twin holds is compared with the shop, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any, ClassVar

import pytest
import requests
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_httpserver import HTTPServer

from optico_sync.models import DeclaredStatus, OutboxEvent, Reconciliation, StatusMapping, SyncState, VendorCredential
from optico_sync.outcome import Outcome, retry
from optico_sync.reconcile import LONGEST_REST, RESTS, reconcile
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer
from optico_sync.vendors.base import Manner, Page, Response
from optico_sync.vendors.ometria import Ometria
from tests.helpers import STATUSES, deliver, move, place, state_of
from tests.oddshop.models import Address, Article, Item, Purchase
from tests.settings import OPTICO_SYNC
from tests.vendors.tiny import Bookish

pytestmark = pytest.mark.django_db
State = SyncState.State
HEADERS = {"X-Ometria-Auth": "ometria_sandbox"}
EMAIL = "zoe.lecki@example.com"
ORDER = {
    **OPTICO_SYNC["ORDER"],
    "store": "site",
    "customer": {"email": {"value": EMAIL}, "last_name": {"value": "Łęcki"}},
    "lines": {**OPTICO_SYNC["ORDER"]["lines"], "sku": "article.sku"},
}


class Unhurried(Ometria):
    """Ometria without its limit, so that many orders do not take minutes."""

    rate = None


class Meanwhile(Unhurried):
    """Lets something happen between the vendor's answer and the look at the shop."""

    happens: ClassVar[list[Callable[[], object]]] = []

    def read_page(self, response: Response, **options: Any) -> Page | Outcome:
        page = super().read_page(response, **options)
        while self.happens:
            self.happens.pop()()
        return page


class Diary(Bookish):
    """Is told every status in order, and read back."""

    manner = Manner.EVERY_STATUS


VENDORS = {
    "ometria": "tests.test_reconcile.Unhurried",
    "meanwhile": "tests.test_reconcile.Meanwhile",
    "bookish": "tests.vendors.tiny.Bookish",
    "diary": "tests.test_reconcile.Diary",
}


@pytest.fixture(autouse=True)
def shop() -> Any:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER, "VENDORS": VENDORS}):
        yield


@pytest.fixture
def ometria(optico: SandboxServer) -> SandboxServer:
    optico.config(ometria_rate=0)
    return optico


@pytest.fixture
def account(db: None, ometria: SandboxServer) -> VendorCredential:
    return make_account(f"{ometria.url}/ometria/v2")


def make_account(base_url: str, *, name: str = "Ometria", vendor: str = "ometria") -> VendorCredential:
    start_at = timezone.now() - timedelta(days=1000)
    credential = VendorCredential(name=name, vendor=vendor, base_url=base_url, is_enabled=True, start_at=start_at)
    credential.set_secrets({"key": "ometria_sandbox", "token": "t"})
    credential.save()
    for status, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=status, is_sale=is_sale)
    return credential


def held(sandbox: SandboxServer, number: str) -> dict[str, Any]:
    return requests.get(f"{sandbox.url}/ometria/v2/orders/{number}", headers=HEADERS, timeout=5).json()


def tell(sandbox: SandboxServer, order: dict[str, Any]) -> None:
    """Somebody else changes what the vendor holds."""
    url = f"{sandbox.url}/ometria/v2/orders/{order['id']}"
    requests.post(url, json=order, headers=HEADERS, timeout=5).raise_for_status()


def lose(sandbox: SandboxServer, *numbers: str) -> None:
    """The vendor loses these orders."""
    kept = [held(sandbox, record["id"]) for record in sandbox.records("ometria") if record["id"] not in numbers]
    sandbox.reset()
    sandbox.config(ometria_rate=0)
    for order in reversed(kept):
        tell(sandbox, order)


def run(credential: VendorCredential, **options: Any) -> Reconciliation:
    return reconcile(credential, rest=lambda seconds: None, **options).run


def drifts(run: Reconciliation) -> list[tuple[str, str, str, str | None, str | None]]:
    return [tuple(drift[name] for name in ("order", "kind", "field", "shop", "vendor")) for drift in run.drifts]


def command(*options: str) -> tuple[int, str]:
    """Exit status and output."""
    out = StringIO()
    try:
        call_command("optico_reconcile", *options, stdout=out, stderr=StringIO())
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def place_many(count: int, *, first: int = 10000) -> None:
    """Orders in few statements."""
    article = Article.objects.create(sku="PROD-001")
    purchases = [Purchase(number=str(first + number), stage="shipped") for number in range(count)]
    Purchase.objects.bulk_create(purchases)
    Item.objects.bulk_create(
        [Item(purchase=purchase, article=article, title="Widget", paid=Decimal(10)) for purchase in purchases]
    )
    OutboxEvent.objects.bulk_create(
        [
            OutboxEvent(
                kind="order",
                key=purchase.pk,
                change="saved",
                reference=purchase.number,
                status="shipped",
                created_at=timezone.now(),
            )
            for purchase in purchases
        ]
    )


# in step


def test_what_was_delivered_is_in_step(account: VendorCredential, ometria: SandboxServer) -> None:
    for number, stage in (("1001", "pending"), ("1002", "shipped"), ("1003", "refunded")):
        place(number, stage, site="shop.example")
    deliver(account)
    found = run(account)
    assert (found.compared, found.drifted, found.on_their_way, found.left_out, found.failure) == (3, 0, 0, 0, "")
    assert command() == (0, "Ometria: 3 orders compared, 0 drifted; 0 on their way, 0 left out by the rules.\n")


def test_every_page_is_read_and_every_order_compared_once(account: VendorCredential, ometria: SandboxServer) -> None:
    place_many(260)
    deliver(account)
    tell(ometria, {**held(ometria, "10255"), "grand_total": 11})
    after = ometria.journal()[-1]["seq"]
    found = run(account)
    assert (found.compared, drifts(found)) == (260, [("10255", "differs", "grand_total", "10", "11")])
    asked = [entry["fields"] for entry in ometria.journal(after=after)]
    assert [(fields["limit"], fields["offset"]) for fields in asked] == [("250", "0"), ("250", "250"), ("250", "260")]


# drift of each kind


@pytest.mark.parametrize(
    ("field", "value", "ours"),
    [
        ("grand_total", 1, "59.98"),
        ("status", "pending", "shipped"),
        ("is_valid", False, "true"),
        ("timestamp", "2015-01-02T09:00:00+00", None),
        ("store", "elsewhere.example", "shop.example"),
        ("coupon_code", "SUMMER", ""),
        ("discount", -3, ""),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(
    account: VendorCredential, ometria: SandboxServer, field: str, value: Any, ours: str | None
) -> None:
    place("1001", "shipped", site="shop.example")
    deliver(account)
    tell(ometria, {**held(ometria, "1001"), field: value})
    ((order, kind, name, in_shop, at_vendor),) = drifts(run(account))
    assert (order, kind, name) == ("1001", "differs", field)
    assert at_vendor == ("false" if value is False else str(value))
    assert in_shop == ours or ours is None


def test_a_line_that_differs_is_named_by_its_code(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped", [("A", "One", 1, "10"), ("B", "Two", 2, "20")])
    deliver(account)
    order = held(ometria, "1001")
    order["lineitems"][1]["quantity"] = 3
    order["lineitems"].reverse()
    tell(ometria, order)
    assert drifts(run(account)) == [("1001", "differs", "lineitems[B].quantity", "2", "3")]
    tell(ometria, {**order, "lineitems": order["lineitems"][:1]})
    assert drifts(run(account)) == [("1001", "differs", "lineitems (count)", "2", "1")]


def test_the_same_number_or_moment_otherwise_written_is_in_step(
    account: VendorCredential, ometria: SandboxServer
) -> None:
    bought_at = datetime.fromisoformat("2026-03-15T14:25:07+01:00")
    place("1001", "shipped", bought_at=bought_at)
    deliver(account)
    tell(
        ometria,
        {**held(ometria, "1001"), "timestamp": "2026-03-15T13:25:07+00", "grand_total": 59.980, "discount": 0},
    )
    assert run(account).drifted == 0


def test_an_edit_that_nothing_captured_is_drift(account: VendorCredential, ometria: SandboxServer) -> None:
    purchase = place("1001", "shipped")
    deliver(account)
    Item.objects.filter(purchase=purchase).update(paid=Decimal("70.00"))
    assert {drift[2] for drift in drifts(run(account))} >= {"grand_total", "lineitems[PROD-001].total"}


def test_an_order_that_the_vendor_lost_is_asked_for_before_it_is_called_missing(
    account: VendorCredential, ometria: SandboxServer
) -> None:
    for number in ("1001", "1002"):
        place(number, "shipped")
    deliver(account)
    lose(ometria, "1002")
    after = ometria.journal()[-1]["seq"]
    assert drifts(run(account)) == [("1002", "missing", "", "", "")]
    assert ometria.journal("1002", after=after)[-1]["method"] == "GET"


def test_a_record_that_the_shop_does_not_have(account: VendorCredential, ometria: SandboxServer) -> None:
    purchase = place("1001", "shipped")
    deliver(account)
    purchase.delete()
    deliver(account)
    assert drifts(run(account)) == [("1001", "unknown", "", "", "")]


def test_an_order_that_was_never_captured_is_found_in_the_shop(
    account: VendorCredential, ometria: SandboxServer
) -> None:
    purchase = place("1001", "shipped")
    deliver(account)
    state_of(purchase).subject.delete()
    OutboxEvent.objects.all().delete()
    assert (run(account).compared, run(account).drifted) == (1, 0)


# what is no drift


def test_what_waits_is_on_its_way_and_no_drift(account: VendorCredential, ometria: SandboxServer) -> None:
    changed, captured = place("1001", "pending"), place("1002", "pending")
    sent_on = place("1004", "pending", address=Address.objects.create())
    deliver(account)
    move(changed, "shipped")
    place("1003", "shipped")
    relay_all()
    # Captured, and not relayed yet: by a part of the order, and by what it points to.
    item = captured.things.get()
    item.paid = Decimal(1)
    item.save()
    sent_on.address.save()
    found = run(account)
    assert (found.compared, found.drifted, found.on_their_way) == (0, 0, 4)


def test_what_is_delivered_while_a_page_is_read_is_no_drift(ometria: SandboxServer, db: None) -> None:
    account = make_account(f"{ometria.url}/ometria/v2", vendor="meanwhile")
    purchase = place("1001", "pending")
    deliver(account)
    Meanwhile.happens[:] = [lambda: move(purchase, "shipped") or deliver(account)]
    found = run(account)
    assert (found.drifted, found.on_their_way) == (0, 1)


def test_what_a_worker_is_sending_is_no_drift(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    tell(ometria, {**held(ometria, "1001"), "grand_total": 1})
    SyncState.objects.update(lease="somebody's")
    found = run(account)
    assert (found.drifted, found.on_their_way) == (0, 1)


def test_what_the_rules_leave_out_is_not_compared(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    tell(ometria, {**held(ometria, "1001"), "grand_total": 1})
    mapping = StatusMapping.objects.get(shop_status="shipped")
    mapping.declared, mapping.choice = None, StatusMapping.Choice.DO_NOT_SEND
    mapping.save()
    found = run(account)
    assert (found.compared, found.drifted, found.left_out) == (0, 0, 1)


# the vendor in trouble


def test_a_vendor_that_goes_down_midway_lets_nothing_be_claimed(
    account: VendorCredential, ometria: SandboxServer
) -> None:
    place_many(251)
    deliver(account)
    tell(ometria, {**held(ometria, "10000"), "grand_total": 1})
    ometria.script("", ["ok", *["500"] * (len(RESTS) + 1)])
    found = run(account)
    assert (found.failure, found.compared, found.drifted, found.drifts) == ("vendor_error", 0, 0, [])


def test_a_passing_failure_is_tried_again(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    ometria.script("", ["500", "429"])
    rests: list[float] = []
    assert reconcile(account, rest=rests.append).run.compared == 1
    assert rests == list(RESTS)


def test_a_run_that_could_not_be_read_queues_nothing(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    lose(ometria, "1001")
    account.set_secrets({"key": "wrong"})
    account.save()
    status, out = command("--repair")
    assert (status, out.splitlines()[0]) == (
        2,
        "Ometria: could not be read. The vendor refused the key. (HTTP 403)",
    )
    assert not SyncState.objects.filter(state=State.WAITING).exists()
    account.refresh_from_db()
    assert account.paused_at is None


def test_a_vendor_that_repeats_a_page_does_not_go_on_for_ever(
    account: VendorCredential, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/orders").respond_with_json([{"id": "1"}])
    account.base_url = httpserver.url_for("")
    assert run(account).failure_detail == "the same page came twice"


# the rate


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_the_rate_holds_for_reading_and_sending_together(optico: SandboxServer) -> None:
    account = make_account(f"{optico.url}/ometria/v2")
    for number in ("1", "2", "3"):
        place(number, "shipped")
    deliver(account)
    optico.reset()
    optico.config(statuses=STATUSES)
    place("4", "shipped")
    relay_all()
    # Two pages and three orders asked for, right after the last sends: the vendor would answer 429.
    assert run(account).drifted == 3
    deliver(account)
    verdicts = [entry["verdict"] for entry in optico.journal(vendor="ometria")]
    assert (len(verdicts), "Too many requests" in verdicts) == (5, False)


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_om_15_a_429_to_a_reader_halves_the_rate_for_all(optico: SandboxServer) -> None:
    account = make_account(f"{optico.url}/ometria/v2")
    place("1001", "shipped")
    relay_all()
    optico.script("", [{"kind": "429", "retry_after": "30"}])
    seen = []

    def rest(seconds: float) -> None:
        account.refresh_from_db()
        seen.append((seconds, account.rate_at(timezone.now()), deliver(account)))
        VendorCredential.objects.update(open_until=timezone.now())

    assert not reconcile(account, rest=rest).run.failure
    assert seen == [(30, 2.0, 0)]
    assert deliver(account) == 1


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_a_reader_leaves_alone_a_vendor_that_asked_the_senders_for_it(optico: SandboxServer) -> None:
    account = make_account(f"{optico.url}/ometria/v2")
    account.heed([retry("rate_limited", retry_after=LONGEST_REST + 60)], timezone.now())
    account.save()
    assert run(account).failure == "rate_limited"
    assert optico.journal(vendor="ometria") == []
    asked_until = timezone.now() + timedelta(seconds=1)
    VendorCredential.objects.update(open_until=asked_until)
    assert not run(account).failure
    account.refresh_from_db()
    assert account.next_slot_at > asked_until


# the command


def test_repair_queues_the_drifted_and_then_all_is_in_step(account: VendorCredential, ometria: SandboxServer) -> None:
    sound, lost, changed = (place(number, "shipped") for number in ("1001", "1002", "1003"))
    deliver(account)
    tell(ometria, {**held(ometria, "1003"), "grand_total": 1})
    lose(ometria, "1002")
    status, out = command("--repair", "--credential", "Ometria")
    assert status == 1
    assert "Queued 2 orders to be sent again." in out
    waiting = SyncState.objects.filter(state=State.WAITING).values_list("subject__key", flat=True)
    assert set(waiting) == {lost.pk, changed.pk}
    deliver(account)
    assert command()[0] == 0
    assert state_of(sound).attempts_made.count() == 1


def test_without_repair_nothing_is_queued(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    lose(ometria, "1001")
    assert command()[0] == 1
    assert not SyncState.objects.exclude(state=State.IN_SYNC).exists()


def test_drift_is_shown_as_a_table(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    tell(ometria, {**held(ometria, "1001"), "status": "pending"})
    assert command()[1].splitlines()[1:] == [
        "order  what     field   in the shop  at the vendor",
        "1001   differs  status  shipped      pending",
        "1 orders drifted.",
    ]


@pytest.mark.parametrize("options", [("--credential", "no such"), ("--credential", "Optico"), ()])
def test_nothing_to_read_back_exits_2(options: tuple[str, ...], credential: VendorCredential) -> None:
    assert command(*options)[0] == 2


def test_an_unreadable_key_exits_2(account: VendorCredential, settings: Any) -> None:
    key = "YW5vdGhlci1rZXktb2YtdGhpcnR5LXR3by1ieXRlcyE="
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENCRYPTION_KEYS": [key]}
    status, out = command()
    assert status == 2 and "cannot be decrypted" in out


def test_a_shop_that_fails_exits_2_and_not_as_drift(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    order = {**ORDER, "reference": lambda purchase: purchase.number}
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": order, "VENDORS": VENDORS}):
        tell(ometria, {**held(ometria, "1001"), "id": "unheard-of"})
        status, out = command()
    assert status == 2 and "names no field" in out


# what is kept


def test_no_personal_data_is_kept_or_shown(account: VendorCredential, ometria: SandboxServer) -> None:
    place("1001", "shipped")
    deliver(account)
    order = held(ometria, "1001")
    order["customer"] = {"email": "other@example.com", "lastname": "Müller"}
    tell(ometria, {**order, "store": "other@example.com", "coupon_code": "\x1b[31m"})
    _status, out = command()
    fields = [(drift[2], drift[4]) for drift in drifts(Reconciliation.objects.get())]
    assert ("customer.email", None) in fields and ("customer.lastname", None) in fields
    kept = json.dumps(list(Reconciliation.objects.values("drifts")), ensure_ascii=False)
    for secret in (EMAIL, "other@example.com", "Müller", "Łęcki", "ometria_sandbox", "\x1b"):
        assert secret not in out + kept
    assert "(personal)" in out


def test_the_last_run_takes_the_place_of_the_one_before(account: VendorCredential, ometria: SandboxServer) -> None:
    run(account)
    ometria.fault_all("500")
    last = run(account)
    assert Reconciliation.objects.get() == last
    assert last.started_at <= last.finished_at


def test_a_page_takes_a_constant_number_of_queries(account: VendorCredential, ometria: SandboxServer) -> None:
    counts = []
    for count, first in ((2, 10000), (200, 20000)):
        place_many(count, first=first)
        deliver(account)
        with CaptureQueriesContext(connection) as captured:
            run(account)
        counts.append(len(captured))
    assert counts[0] == counts[1]


# any vendor


def book(*lines: str, number: str = "1", status: str = "shipped", sale: bool = True) -> dict[str, Any]:
    """What the tiny vendor holds of an order."""
    return {"id": number, "status": status, "sale": sale, "lines": list(lines or ["Blue Widget"])}


@pytest.fixture
def pages(httpserver: HTTPServer) -> Callable[..., None]:
    """The vendor takes everything, and holds these pages and nothing else."""

    def hold(*pages: list[dict[str, Any]]) -> None:
        httpserver.expect_request("/", method="POST").respond_with_data("ok")
        for index, orders in enumerate(pages):
            cursor = str(index) if index else ""
            following = str(index + 1) if index + 1 < len(pages) else None
            page = httpserver.expect_request("/", method="GET", query_string={"after": cursor})
            page.respond_with_json({"orders": orders, "next": following})
        httpserver.expect_request("/", method="GET").respond_with_data(status=404)

    return hold


@pytest.fixture
def bookish(httpserver: HTTPServer, db: None) -> VendorCredential:
    return make_account(httpserver.url_for("/"), name="Bookish", vendor="bookish")


def test_any_vendor_that_declares_it_is_read_back(bookish: VendorCredential, pages: Callable[..., None]) -> None:
    pages([book()], [book(number="2", sale=False)])
    for number in ("1", "2", "3"):
        place(number, "shipped")
    deliver(bookish)
    found = run(bookish)
    assert found.compared == 3
    assert drifts(found) == [("2", "differs", "sale", "True", "False"), ("3", "missing", "", "", "")]


def test_an_order_on_two_pages_is_compared_once(bookish: VendorCredential, pages: Callable[..., None]) -> None:
    pages([book(sale=False)], [book(sale=False), book(number="2")])
    for number in ("1", "2"):
        place(number, "shipped")
    deliver(bookish)
    found = run(bookish)
    assert (found.compared, found.drifted) == (2, 1)


def test_a_vendor_told_every_status_holds_the_last_that_is_sent(
    httpserver: HTTPServer, pages: Callable[..., None], db: None
) -> None:
    diary = make_account(httpserver.url_for("/"), vendor="diary")
    pages([book()])
    purchase = place("1", "shipped")
    deliver(diary)
    relay_all()
    diary.map_statuses(["draft"])
    StatusMapping.objects.filter(shop_status="draft").update(choice=StatusMapping.Choice.DO_NOT_SEND)
    move(purchase, "draft")
    deliver(diary)
    found = run(diary)
    assert (found.compared, found.drifted) == (1, 0)
