"""A shop that forks Oscar's order app, with an order class and a manager of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.settings import BASE_DIR

FORK = {
    "shop/__init__.py": "",
    "shop/order/__init__.py": "",
    "shop/order/apps.py": """
        from oscar.apps.order import apps

        class OrderConfig(apps.OrderConfig):
            name = "shop.order"
    """,
    "shop/order/models.py": """
        from django.db import models
        from oscar.apps.order.abstract_models import AbstractOrder

        class Visible(models.Manager):
            def get_queryset(self):
                return super().get_queryset().exclude(agent="hidden")

        class Order(AbstractOrder):
            agent = models.CharField(max_length=40, blank=True)
            objects = Visible()

        from oscar.apps.order.models import *
    """,
    "shop/settings.py": """
        from tests.oscar.settings import *

        INSTALLED_APPS[INSTALLED_APPS.index("oscar.apps.order.apps.OrderConfig")] = "shop.order.apps.OrderConfig"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        MIGRATION_MODULES = {app.split(".")[-3]: None for app in INSTALLED_APPS if app.endswith("Config")}
        OPTICO_SYNC = {"SHOP": "oscar", "ORDER": {"agent": "agent"}}
    """,
    "try.py": """
        import django

        django.setup()

        from django.core.management import call_command
        from optico_sync.models import OutboxEvent
        from optico_sync.shops import get_shop
        from shop.order.models import Order

        call_command("check", fail_level="WARNING", tag=["models"])
        call_command("migrate", run_syncdb=True, verbosity=0)
        order = Order.objects.create(number=100001, agent="hidden", total_incl_tax=0, total_excl_tax=0)
        event = OutboxEvent.objects.get()
        print(get_shop().model.__module__, event.reference, event.agent)
        print(get_shop().read([str(order.pk)], using="default")[str(order.pk)].attribution.agent)
    """,
}


def test_a_forked_order_class_is_captured_and_read(tmp_path: Path) -> None:
    for name, text in FORK.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        indent = " " * 8
        path.write_text("\n".join(line.removeprefix(indent) for line in text.splitlines()))
    run = subprocess.run(
        [sys.executable, "try.py"],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(BASE_DIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[-2:] == ["shop.order.models 100001 hidden", "hidden"], run.stderr


def test_nothing_of_oscar_is_imported(tmp_path: Path) -> None:
    """A shop without Oscar does not have it."""
    program = (
        "import sys, optico_sync.shops.oscar; print([name for name in sys.modules if name.split('.')[0] == 'oscar'])"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    run = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {program}"],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
