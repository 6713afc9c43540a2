"""What a shop owner does in the admin, from the first day to the worst one: in each manner the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings

from optico_sync import jobs
from optico_sync.attribution import during
from optico_sync.engines.embedded import EmbeddedWorker
from optico_sync.models import Subject, VendorCredential
from optico_sync.sandbox.client import SandboxServer
from shop_demo.models import Cart, CartLine, Order, Product
from shop_demo.orders import place_order
from tests.browser.conftest import Manner, Owner, Sit
from tests.helpers import KEY, STATUSES, Clock, Visitor, deliver, make_credential

MANNERS = [
    Manner(),
    Manner(language="fr", scheme="dark"),
    Manner(width=390),
    Manner(has_javascript=False),
]
OVERVIEW = "/admin/optico_sync/"
BACKFILL = "/admin/optico_sync/job/backfill/"
ORDERS = "/admin/optico_sync/subject/"
NEW_KEY = "cust_NEW"


@pytest.fixture(params=MANNERS, ids=str)
def owner(request: pytest.FixtureRequest, transactional_db: None, sit: Sit) -> Iterator[Owner]:
    Product.objects.create(sku="MUG-01", title="Sea-green mug", price="14.50")
    sitting = sit(request.param, User.objects.create_superuser("owner", password="owner"))
    yield sitting
    assert sitting.complaints == []


@pytest.fixture
def account(owner: Owner, optico: SandboxServer) -> VendorCredential:
    return make_credential(optico.url)


def buy(*statuses: str, visit_id: str = "") -> Order:
    """An order from the website, and what becomes of it."""
    cart = Cart.objects.create()
    CartLine.objects.create(cart=cart, product=Product.objects.get(), quantity=2)
    with during(Visitor(visit_id)):
        order = place_order(cart.pk, Order(customer_name="Ada Example", email="ada@shop.example"))
    for status in statuses:
        order.status = status
        order.save()
    return order


def work() -> None:
    """What the worker does, once."""
    EmbeddedWorker().run_once()


def open_order(owner: Owner, order: Order) -> None:
    owner.open(f"{ORDERS}{Subject.objects.get(key=order.pk, kind=Subject.Kind.ORDER).pk}/change/")


def test_from_an_empty_database_to_the_first_delivery(owner: Owner, optico: SandboxServer) -> None:
    owner.open(OVERVIEW)
    owner.sees("Setting up")
    owner.sees("Add one with the key the vendor gave you, and switch it on.")
    owner.press("Add one")
    owner.press("Optico", within=owner.page.locator(".sync-choices"))
    owner.fill("name", "Our Optico")
    owner.tick("switched on")
    owner.fill("Customer API key", KEY)
    owner.fill("Base URL", optico.url)
    for row, (name, is_sale) in enumerate(STATUSES.items()):
        if name != "refunded":
            owner.page.fill(f"#id_declared_statuses-{row}-name", name)
            owner.page.set_checked(f"#id_declared_statuses-{row}-is_sale", is_sale)
    owner.press("Save")
    owner.sees("%(name)s is stored. Now check below what each shop status becomes at the vendor.", name="Our Optico")

    owner.press("Test the connection")
    owner.sees_message("success")
    refunded = owner.page.locator("#status_mappings-group tr", has_text="refunded").locator("select")
    refunded.select_option(label=owner.say("do not send"))
    owner.press("Save")

    owner.open(OVERVIEW)
    owner.sees("%(name)s: the first order was delivered", name="Our Optico")
    order = buy("confirmed")
    work()
    owner.open(OVERVIEW)
    owner.misses("Setting up")
    owner.sees("in step")
    assert optico.order(order.number)["status"] == "confirmed"


def test_a_refused_key_is_repaired(owner: Owner, account: VendorCredential, optico: SandboxServer) -> None:
    optico.config(keys=[NEW_KEY])
    order = buy("confirmed")
    work()
    owner.open(OVERVIEW)
    owner.sees("The vendor refused the key.")
    owner.sees("Type the right key into the credential. Everything that waits is then sent by itself.")
    owner.press(account.name, within=owner.page.locator(".sync-strip"))
    owner.fill("Customer API key", NEW_KEY)
    owner.press("Save")
    owner.sees("What will this do?")
    owner.press("Go on")
    work()
    owner.open(OVERVIEW)
    owner.sees("in step")
    owner.misses("The vendor refused the key.")
    assert optico.order(order.number)["status"] == "confirmed"


def test_an_undeclared_status_is_declared_and_released(
    owner: Owner, account: VendorCredential, optico: SandboxServer
) -> None:
    optico.config(statuses={"pending": False, "confirmed": True})
    order = buy("confirmed", "shipped")
    work()
    owner.open(f"{ORDERS}?state=refused")
    owner.sees("The vendor does not know this status.")
    owner.press(order.number)
    owner.press("Open the credential")
    optico.config(statuses=STATUSES)
    owner.press("Declared at the vendor now")
    owner.sees("Nothing is saved and nothing is sent yet. If you go on, this is sent now, for it has waited:")
    owner.press("Go on")
    owner.sees("“%(status)s” is declared now. Orders released: %(count)d.", status="shipped", count=1)
    work()
    open_order(owner, order)
    owner.sees("in sync")
    assert optico.order(order.number)["status"] == "shipped"


def test_a_vendor_goes_down_and_comes_back(
    owner: Owner, account: VendorCredential, optico: SandboxServer, clock: Clock
) -> None:
    optico.fault_all("503")
    orders = [buy() for _ in range(6)]
    deliver(account, clock=clock)
    owner.open(OVERVIEW)
    owner.sees("The vendor is not answering; one order at a time is tried until it does.")
    owner.sees("Nothing to do: everything that waits is sent by itself when the vendor is back.")
    open_order(owner, orders[-1])
    owner.sees("held")
    optico.clear_faults()
    for _ in range(5):
        clock.forward(minutes=10)
        deliver(account, clock=clock)
    owner.open(OVERVIEW)
    owner.sees("in step")
    owner.misses("The vendor is not answering; one order at a time is tried until it does.")
    assert {order["id"] for order in optico.orders()} == {order.number for order in orders}


def test_an_order_is_explained_held_and_released(
    owner: Owner, account: VendorCredential, optico: SandboxServer
) -> None:
    visit = "64f1a2b3c4d5e6f708192a3b"
    order = buy(visit_id=visit)
    work()
    owner.open(f"{ORDERS}?q={order.number}")
    owner.press(order.number)
    owner.sees(visit)
    owner.sees("“%(status)s” sent to %(vendor)s", status="pending", vendor=account.name)
    owner.page.locator("summary").first.click()
    owner.sees(f"visit_id={visit}")
    owner.misses(KEY)
    owner.misses(order.email)
    owner.press("Hold")
    owner.sees("Held by hand.")
    order.status = "confirmed"
    order.save()
    work()
    assert optico.order(order.number)["status"] == "pending"
    open_order(owner, order)
    owner.press("Release")
    work()
    open_order(owner, order)
    owner.misses("Held by hand.")
    owner.press("What each vendor was last sent, beside what it would be sent now")
    owner.sees("status=confirmed")
    assert optico.order(order.number)["status"] == "confirmed"


def test_many_orders_are_previewed_and_sent_again(
    owner: Owner, account: VendorCredential, optico: SandboxServer
) -> None:
    for _ in range(12):
        buy("confirmed")
    work()
    heard = len(optico.journal())
    owner.open(ORDERS)
    for box in owner.page.locator("input.action-select").all():
        box.check()
    owner.page.select_option("select[name=action]", label=owner.say("Send again"))
    owner.press("Go")
    owner.sees("%(action)s, %(count)d orders: what will this do?", action=owner.say("Send again"), count=12)
    assert len(optico.journal()) == heard
    owner.press("Send them again")
    owner.sees("Sends queued: %(count)d (orders chosen: %(orders)d).", count=12, orders=12)
    work()
    assert len(optico.journal()) == heard + 12


def test_old_orders_are_previewed_and_sent_as_a_job(
    owner: Owner, account: VendorCredential, optico: SandboxServer
) -> None:
    with override_settings(OPTICO_SYNC={**settings.OPTICO_SYNC, "ENABLED": False}):
        old = [buy("confirmed") for _ in range(3)]
    Order.objects.update(placed_at=account.start_at - timedelta(days=30))
    work()
    assert optico.orders() == []
    owner.open(BACKFILL)
    owner.press("What will this do?")
    owner.sees("There is nothing to send.")
    owner.tick("Also orders from before the credential's start date, this once")
    owner.press("What will this do?")
    owner.sees("What this will do")
    assert optico.orders() == []
    owner.press("Send them")
    owner.sees("%(count)d of %(total)d orders were looked at.", count=0, total=3)
    for _ in range(3):
        jobs.work()
        work()
    owner.press("Refresh")
    owner.sees("finished")
    assert {order["id"] for order in optico.orders()} == {order.number for order in old}
