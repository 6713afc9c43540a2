"""Fill the demo with orders of the last weeks, in every state that the pages can show. For a sandbox only.

Each comes about as in life: placed from a cart or on the phone, moved by saving it, captured, and sent to the running
sandbox. What is left waiting is the worker's.
"""

from __future__ import annotations

import random
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.http import HttpRequest
from django.utils import timezone

from optico_sync import conf, resync
from optico_sync.attribution import RequestAttribution, during
from optico_sync.delivery import Lane
from optico_sync.models import DeclaredStatus, Subject, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer
from shop_demo.models import Cart, CartLine, Order, Product
from shop_demo.orders import place_order, place_phone_order

#: How long ago the first order was placed: beyond the accounts' start date, which leaves the oldest out.
DAYS = 35
#: Seconds to deliver; Ometria takes four orders a second, and the rest is left for the worker.
PATIENCE = 20.0

#: Declared here and not at Optico, as happens when an owner forgets one.
UNDECLARED = "returned"
#: Mapped to nothing.
UNMAPPED = "backordered"

#: The statuses an order goes through after its first; taken in turn.
LIVES = [
    ["confirmed", "shipped"],
    ["confirmed"],
    ["confirmed", "shipped"],
    [],
    ["confirmed", "shipped", "refunded"],
    ["confirmed", "shipped"],
    ["cancelled"],
    ["confirmed", "shipped", UNDECLARED],
    ["confirmed", "shipped"],
    ["confirmed", UNMAPPED],
]
CUSTOMERS = ["Ada Example", "Bo Example", "Chloé Exemple", "Dörte Beispiel", "Łucja Przykład"]
AGENTS = ["agent_anna", "agent_jo"]


class Command(BaseCommand):
    help = "Place orders over the last weeks, in every state. Needs seed_demo and a running sandbox (make demo)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=200, help="how many orders (default: 200)")

    def handle(self, *args: Any, **options: Any) -> None:
        count = options["count"]
        if count < 1:
            raise CommandError("--count is at least 1.")
        sandbox = find_sandbox()
        credentials = list(VendorCredential.objects.defer("sealed_secrets"))
        products = list(Product.objects.filter(is_active=True))
        if not (credentials and products):
            raise CommandError("There are no products or no vendor credentials: run manage.py seed_demo first.")
        for credential in credentials:
            DeclaredStatus.objects.get_or_create(credential=credential, name=UNDECLARED)
        dice = random.Random(count)  # noqa: S311 - chooses products, guards nothing
        late = max(count // 20, 1)
        orders = [place(number, count, products, dice) for number in range(count - late)]
        relay_all()
        held = [order for order in orders if order.status == "confirmed"][::10]
        resync.hold(
            list(Subject.objects.filter(key__in=[str(order.pk) for order in held]).values_list("pk", flat=True))
        )
        # Just one, and not for ever: more of them in a row would look as if the vendor were down.
        for order in [order for order in orders if order.status == "pending"][-1:]:
            sandbox.script(order.number, ["500"] * 8)
        deliver(credentials)
        orders += [place(number, count, products, dice) for number in range(count - late, count)]
        relay_all()
        self.stdout.write(f"Placed {count} orders, {len(held)} of them held; what waits is sent by the worker.")


def find_sandbox() -> SandboxServer:
    """The running sandbox. ``CommandError`` unless every account there is is at this machine's own sandbox."""
    address = urlsplit(settings.SANDBOX_URL)
    if not is_own_machine(address.hostname or ""):
        raise CommandError(f"SANDBOX_URL is {settings.SANDBOX_URL}: orders are only made up for a sandbox of your own.")
    for credential in VendorCredential.objects.defer("sealed_secrets"):
        where = urlsplit(credential.base_url)
        if (where.scheme, where.netloc) != (address.scheme, address.netloc):
            raise CommandError(
                f"“{credential}” is at {credential.base_url}, which is not the sandbox: it would be told of orders "
                "that nobody placed. Nothing was done."
            )
    sandbox = SandboxServer()
    # Not started here: only spoken to.
    sandbox.url = settings.SANDBOX_URL
    try:
        sandbox.summary()
    except OSError as error:
        raise CommandError(f"No sandbox answers at {settings.SANDBOX_URL}. Start it: make demo") from error
    return sandbox


def is_own_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def place(number: int, count: int, products: list[Product], dice: random.Random) -> Order:
    """Order ``number`` of ``count``, the first the oldest, with the life that is its turn. Every fourth by phone."""
    placed_at = timezone.now() - timedelta(days=DAYS) * (count - number - 1) / count
    customer = CUSTOMERS[number % len(CUSTOMERS)]
    order = Order(customer_name=customer, email=f"customer{number}@shop.example", placed_at=placed_at)
    chosen = [(product, dice.randint(1, 3)) for product in dice.sample(products, min(2, len(products)))]
    if number % 4 == 3:
        order.call_id, order.agent = str(dice.randint(10_000, 99_999)), AGENTS[number % len(AGENTS)]
        place_phone_order(order, chosen)
    else:
        cart = Cart.objects.create()
        CartLine.objects.bulk_create(CartLine(cart=cart, product=one, quantity=quantity) for one, quantity in chosen)
        with during(visitor(dice.randbytes(12).hex() if number % 3 else "")):
            place_order(cart.pk, order)
    for status in LIVES[number % len(LIVES)]:
        order.status = status
        order.save(update_fields=["status"])
    return order


def visitor(visit_id: str) -> RequestAttribution:
    """The request of somebody with Optico's cookie, or without."""
    request = HttpRequest()
    cookies = conf.options().VISIT_COOKIES
    request.COOKIES[cookies[0]] = visit_id
    return RequestAttribution(request, cookies)


def deliver(credentials: Iterable[VendorCredential]) -> None:
    """Send what is due, until nothing waits or patience ends."""
    # Those that limit the rate last, or the others would wait for them.
    ordered = sorted(credentials, key=lambda credential: credential.spec.rate or 0)
    lanes = [Lane(credential.pk, worker="seed_orders") for credential in ordered]
    waiting = SyncState.objects.filter(state=SyncState.State.WAITING)
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end and waiting.exists():
            for lane in lanes:
                while time.monotonic() < end and lane.deliver():
                    pass
            time.sleep(0.2)
    finally:
        for lane in lanes:
            lane.close()
