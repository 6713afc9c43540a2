"""The real demo, started as ``make demo`` starts it, driven over HTTP: shop, worker, vendor and admin agree."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.settings import BASE_DIR, OPTICO_SYNC

VISIT = re.compile(r"[0-9a-f]{24}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@dataclass
class Demo:
    process: subprocess.Popen
    shop: str
    sandbox: str
    session: requests.Session

    def get(self, path: str) -> requests.Response:
        answer = self.session.get(self.shop + path, timeout=10)
        answer.raise_for_status()
        return answer

    def post(self, path: str, page: str | None = None, **fields: Any) -> requests.Response:
        """Fill in the form of ``page`` and send it to ``path``."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page or path).text)
        assert token, f"no form on {page or path}"
        answer = self.session.post(
            self.shop + path,
            data={"csrfmiddlewaretoken": token[1], **fields},
            headers={"Referer": self.shop + path},
            timeout=10,
        )
        answer.raise_for_status()
        return answer

    def log_in(self, name: str) -> None:
        self.post("/admin/login/", username=name, password=name, next="/admin/")

    def record(self, vendor: str, reference: str) -> dict[str, Any] | None:
        answer = requests.get(f"{self.sandbox}/sandbox/api/records/{vendor}/{reference}", timeout=10)
        return answer.json() if answer.ok else None

    def records(self, vendor: str) -> list[dict[str, Any]]:
        return requests.get(f"{self.sandbox}/sandbox/api/records?vendor={vendor}", timeout=10).json()["records"]

    def vendor(self, reference: str) -> dict[str, Any] | None:
        answer = requests.get(f"{self.sandbox}/sandbox/api/orders/{reference}", timeout=10)
        return answer.json() if answer.ok else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, int, int]]:
    port, sandbox_port = free_port(), free_port()
    database: Path = tmp_path_factory.mktemp("demo") / "demo.sqlite3"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "shop_demo.settings",
        "DATABASE_URL": f"sqlite:///{database}",
        "SECRET_KEY": "end-to-end",
        "OPTICO_ENCRYPTION_KEYS": OPTICO_SYNC["ENCRYPTION_KEYS"][0],
        "OPTICO_QUIET_PERIOD": "0",
        "OPTICO_CART_QUIET_PERIOD": "0",
        "OPTICO_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "shop_demo.demo", "--port", str(port), "--sandbox-port", str(sandbox_port)],
        cwd=BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), seconds=90)
        yield process, port, sandbox_port
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        print(output)
    assert process.returncode == 0
    assert "Traceback" not in output


@pytest.fixture
def demo(running: tuple[subprocess.Popen, int, int]) -> Iterator[Demo]:
    process, port, sandbox_port = running
    with requests.Session() as session:
        yield Demo(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}", session)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def wait_for(done: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return value


def buy(demo: Demo) -> str:
    demo.post("/cart/add/", page="/", sku="LAMP-01", quantity=2)
    page = demo.post("/checkout/", customer_name="A Customer", email="customer@example.com")
    return page.url.rstrip("/").rsplit("/", 1)[1]


def test_a_purchase_with_a_cookie_reaches_the_vendor_and_follows_its_status(demo: Demo) -> None:
    demo.post("/visitor/", cookie="optico_visitId")
    visit = demo.session.cookies["optico_visitId"]
    assert VISIT.fullmatch(visit)
    reference = buy(demo)
    order = wait_for(lambda: demo.vendor(reference))
    assert (order["status"], order["visit_id"], order["conversion"]) == ("pending", visit, None)
    assert order["total_cost"] == "118"

    # Staff have a cookie of their own, from their own visit to the shop.
    staff = Demo(demo.process, demo.shop, demo.sandbox, requests.Session())
    staff.post("/visitor/", cookie="optico_visitId")
    assert staff.session.cookies["optico_visitId"] != visit
    staff.log_in("admin")
    found = re.search(
        rf"/admin/shop_demo/order/(\d+)/change/[^>]*>{reference}<", staff.get("/admin/shop_demo/order/").text
    )
    assert found
    for action in ("confirmed", "shipped"):
        staff.post("/admin/shop_demo/order/", action=f"mark_as_{action}", _selected_action=found[1])
    order = wait_for(lambda: (seen := demo.vendor(reference)) and seen["status"] == "shipped" and seen)
    assert [step["status"] for step in order["history"]] == ["pending", "confirmed", "shipped"]
    assert (order["visit_id"], order["attributed"], order["conversions"]) == (visit, True, 1)
    assert order["conversion"]["status"] == "confirmed"

    # The admin says the same as the vendor's journal.
    orders = staff.get(f"/admin/optico_sync/subject/?q={reference}").text
    assert reference in orders and "in sync" in orders and "shipped" in orders
    link = re.search(r'href="(/admin/optico_sync/subject/\d+/change/[^"]*)"', orders)
    assert link
    page = staff.get(link[1]).text
    for word in ("pending", "confirmed", "shipped", visit, "in sync"):
        assert word in page
    assert "cust_sandbox_demo" not in page and "customer@example.com" not in page
    staff.session.close()


def test_a_cart_is_live_while_the_visitor_shops_and_its_order_names_it(demo: Demo) -> None:
    demo.post("/visitor/", cookie="optico_visit_id")
    visit = demo.session.cookies["optico_visit_id"]
    before = {cart["id"] for cart in demo.records("cart")}
    demo.post("/cart/add/", page="/", sku="MUG-01", quantity=1)
    demo.post("/cart/add/", page="/", sku="TEA-01", quantity=2)

    def live() -> dict[str, Any] | None:
        carts = [cart for cart in demo.records("cart") if cart["id"] not in before]
        return next((cart for cart in carts if Decimal(cart["total"]) == Decimal("29.20")), None)

    cart = wait_for(live)
    assert (cart["visit_id"], cart["is_logged_in"]) == (visit, "0")
    demo.post("/cart/change/", page="/cart/", sku="TEA-01", quantity=1)
    wait_for(lambda: Decimal(demo.record("cart", cart["id"])["total"]) == Decimal("21.85"))
    reference = demo.post("/checkout/", customer_name="A Customer", email="customer@example.com").url
    order = wait_for(lambda: demo.vendor(reference.rstrip("/").rsplit("/", 1)[1]))
    assert (order["cart_id"], order["visit_id"]) == (cart["id"], visit)


def test_a_purchase_without_a_cookie_is_recorded_and_not_attributed(demo: Demo) -> None:
    reference = buy(demo)
    order = wait_for(lambda: demo.vendor(reference))
    assert (order["attributed"], order["visit_id"]) == (False, None)
    ometria = wait_for(lambda: demo.record("ometria", reference))
    assert (ometria["status"], ometria["is_valid"], ometria["grand_total"]) == ("pending", False, 122.9)


def test_a_phone_order_is_credited_to_the_call_and_the_agent(demo: Demo) -> None:
    demo.log_in("agent")
    page = demo.post(
        "/phone-order/",
        call_id="4711",
        agent="anna",
        customer_name="A Caller",
        email="caller@example.com",
        **{"quantity_MUG-01": "3"},
    )
    reference = page.url.rstrip("/").rsplit("/", 1)[1]
    order = wait_for(lambda: demo.vendor(reference))
    assert (order["status"], order["call_id"], order["agent"]) == ("confirmed", "4711", "anna")
    assert (order["attributed"], order["conversions"]) == (True, 1)
    # No web page tracked it, so Optimizely hears of it; the customer is asked for a review when it is shipped.
    assert wait_for(lambda: demo.record("optimizely", reference))
    assert demo.record("guaranteed_reviews", reference) is None
    staff = Demo(demo.process, demo.shop, demo.sandbox, requests.Session())
    staff.log_in("admin")
    found = re.search(
        rf"/admin/shop_demo/order/(\d+)/change/[^>]*>{reference}<", staff.get("/admin/shop_demo/order/").text
    )
    assert found
    staff.post("/admin/shop_demo/order/", action="mark_as_shipped", _selected_action=found[1])
    staff.session.close()
    assert wait_for(lambda: demo.record("guaranteed_reviews", reference))


def test_the_vendor_found_nothing_odd_in_any_request(demo: Demo) -> None:
    reference = buy(demo)
    wait_for(lambda: demo.vendor(reference))
    entries = requests.get(f"{demo.sandbox}/sandbox/api/journal", timeout=10).json()["entries"]
    remarks = {remark for entry in entries for remark in entry["remarks"]}
    # The demo has no on-site tracking, so it knows its customers by no pseudonym: that is its own affair.
    assert entries and remarks <= {"no user: enriches nobody's behaviour"}
