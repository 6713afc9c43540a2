"""A browser, and somebody who sits before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django.utils.translation import gettext, override
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from optico_sync import alerts, figures, jobs
from optico_sync.models import AlertSettings, Job, SavedFilter, Worker
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer
from optico_sync.selection import Selection
from optico_sync.sweep import sweep
from optico_sync.wakeups import note_round
from shop_demo.management.commands import seed_orders
from shop_demo.models import Cart, CartLine, Product
from tests.browser.settings import THEME

ORDERS = 20
# Theme by theme, or the rest.
collect_ignore = ["test_pages.py", "test_stories.py"] if THEME else ["test_theme.py"]
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How somebody looks at the pages."""

    language: str = "en"
    width: int = 1280
    scheme: str = "light"
    has_javascript: bool = True

    def __str__(self) -> str:
        return f"{self.language}-{self.width}-{self.scheme}{'' if self.has_javascript else '-no-javascript'}"


class Owner:
    """Somebody at the browser. Speaks in the words of the catalogue, so that one story is told in every language."""

    def __init__(self, page: Page, manner: Manner, url: str) -> None:
        self.page = page
        self.manner = manner
        self.url = url
        #: What the browser complained about: scripts and styles that the policy forbids, errors, files that lack.
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, said: ConsoleMessage) -> None:
        # The browser asks every shop for its icon.
        if said.type == "error" and "favicon.ico" not in said.location["url"]:
            self.complaints.append(f"{said.text} ({said.location['url']}:{said.location['lineNumber']})")

    def say(self, words: str, **values: object) -> str:
        with override(self.manner.language):
            return gettext(words) % values if values else gettext(words)

    def open(self, path: str) -> None:
        answer = self.page.goto(self.url + path)
        assert answer and answer.status == 200, f"{path}: {answer and answer.status}"

    def press(self, words: str, *, within: Locator | None = None) -> None:
        """The button or link of these words."""
        inside, name = within or self.page, self.say(words)
        inside.get_by_role("button", name=name, exact=True).or_(
            inside.get_by_role("link", name=name, exact=True)
        ).first.click()

    def fill(self, words: str, value: str) -> None:
        self.page.get_by_label(self.say(words), exact=False).first.fill(value)

    def tick(self, words: str) -> None:
        self.page.get_by_label(self.say(words)).first.check()

    def sees_message(self, level: str) -> None:
        """What the page says of what was just done."""
        expect(self.page.locator(f".messagelist .{level}").first).to_be_visible()

    def sees(self, words: str, **values: object) -> None:
        expect(self.page.locator("body")).to_contain_text(self.say(words, **values), use_inner_text=True)

    def misses(self, words: str, **values: object) -> None:
        expect(self.page.locator("body")).not_to_contain_text(self.say(words, **values), use_inner_text=True)

    @property
    def text(self) -> str:
        return flat(self.page.locator("body").inner_text())


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


Sit = Callable[..., Owner]


@pytest.fixture
def sit(chromium: Browser, live_server: LiveServer) -> Iterator[Sit]:
    """Sit down before a browser, logged in."""
    contexts = []

    def sit_down(manner: Manner, user: User) -> Owner:
        client = Client()
        client.force_login(user)
        context = chromium.new_context(
            viewport={"width": manner.width, "height": 844 if manner.width < 800 else 900},
            color_scheme=manner.scheme,
            locale=manner.language,
            java_script_enabled=manner.has_javascript,
            reduced_motion="reduce",
        )
        contexts.append(context)
        name = django_settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        return Owner(page, manner, live_server.url)

    yield sit_down
    for context in contexts:
        context.close()


@pytest.fixture
def demo(transactional_db: None, optico_server: SandboxServer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    """The owner of the demo shop, which has orders in every state."""
    settings.SANDBOX_URL = optico_server.url
    # Long enough on a busy machine; what is placed last stays waiting.
    monkeypatch.setattr(seed_orders, "PATIENCE", 60)
    optico_server.reset()
    optico_server.config(keys=["cust_sandbox_demo"])
    call_command("seed_demo", verbosity=0)
    call_command("seed_orders", count=ORDERS, verbosity=0)
    fill_carts()
    now = timezone.now()
    Worker.objects.create(name="shop-1", started_at=now, beat_at=now + timedelta(hours=1), delivered=ORDERS)
    Worker.objects.create(name="shop-2", started_at=now, beat_at=now - timedelta(days=1))
    AlertSettings.objects.create(pk=1, recipients="owner@shop.example")
    jobs.start(Job.Verb.HOLD, Selection(state="in_sync", newest_id=jobs.newest_id()), by="admin")
    SavedFilter.objects.create(kind="order", user_key="", name="Refused by Optico", query="state=refused")
    note_round()
    for _chunk in sweep():
        pass
    alerts.watch(is_forced=True)
    figures.take_readings()
    return User.objects.get(username="admin")


def fill_carts() -> None:
    for product in Product.objects.all()[:3]:
        CartLine.objects.create(cart=Cart.objects.create(), product=product, quantity=2)
    relay_all()
