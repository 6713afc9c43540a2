"""The pytest plugin for shops: what its example says works, and what is wrong is told."""

from __future__ import annotations

from typing import Any

import pytest

from optico_sync.testing import OpticoSandbox
from tests.helpers import move, place
from tests.settings import BASE_DIR


def test_an_order_reaches_the_sandbox(optico_sandbox: OpticoSandbox) -> None:
    optico_sandbox.declare(pending=False, confirmed=True)
    purchase = place("1001")
    move(purchase, "confirmed")
    optico_sandbox.deliver_now()
    assert optico_sandbox.problems() == []
    (order,) = optico_sandbox.orders
    assert order == optico_sandbox.order("1001")
    assert order["status"] == "confirmed"


def test_each_test_begins_with_an_empty_vendor(optico_sandbox: OpticoSandbox) -> None:
    assert (optico_sandbox.orders, optico_sandbox.order("1001")) == ([], None)


def test_problems_are_told_in_words(optico_sandbox: OpticoSandbox) -> None:
    place("1001", "confirmed")
    optico_sandbox.deliver_now()
    assert optico_sandbox.problems() == [
        "1001: refused. This shop status is not mapped to a declared status. confirmed"
    ]


def test_it_wakes_a_shop_that_is_silenced_in_its_tests(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "ENABLED": False, "QUIET_PERIOD": 60, "ENCRYPTION_KEYS": []}
    optico_sandbox = request.getfixturevalue("optico_sandbox")
    optico_sandbox.declare(pending=False)
    place()
    optico_sandbox.deliver_now()
    assert optico_sandbox.problems() == [] and len(optico_sandbox.orders) == 1


SHOP_SETTINGS = """
from tests.settings import *
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
SHOP_TEST = """
from tests.oddshop.models import Purchase, Item

def test_a_paid_order_reaches_the_vendor(optico_sandbox):
    optico_sandbox.declare(paid=True)
    order = Purchase.objects.create(number="1001", stage="paid")
    Item.objects.create(purchase=order, title="Thing", paid=5)
    optico_sandbox.deliver_now()
    assert optico_sandbox.problems() == []
    assert optico_sandbox.order("1001")["status"] == "paid"
"""


def test_a_project_names_the_plugin_in_its_conftest(pytester: pytest.Pytester, monkeypatch: Any) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop_settings")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{BASE_DIR}")
    pytester.makepyfile(shop_settings=SHOP_SETTINGS, test_shop=SHOP_TEST)
    pytester.makeconftest(
        'from optico_sync.testing import deliver_now  # noqa\npytest_plugins = ["optico_sync.testing"]'
    )
    pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider").assert_outcomes(passed=1)
