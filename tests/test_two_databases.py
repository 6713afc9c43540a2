"""The shop in one database, the app in another, by the router of docs/install.md: run apart, on two SQLite files."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.settings import BASE_DIR

SETTINGS = """
from pathlib import Path
from tests.settings import *

def _sqlite(name):
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}
    path = str(Path(__file__).with_name(name))
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options, "TEST": {"NAME": path}}

DATABASES = {"default": _sqlite("shop.sqlite3"), "optico": _sqlite("optico.sqlite3")}
DATABASE_ROUTERS = ["routers.OpticoRouter"]
"""

CASES = '''
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.test import Client

from optico_sync.models import Attempt, OutboxEvent, Subject, SyncState
from optico_sync.relay import relay_all
from optico_sync.resync import Selection, resend_selected
from tests.helpers import Vendor, deliver, make_credential, move, place, state_of

pytest_plugins = ["optico_sync.testing"]
pytestmark = pytest.mark.django_db(databases=["default", "optico"], transaction=True)


def tables(alias):
    return {name for name in connections[alias].introspection.table_names() if name.startswith("optico_sync")}


def fail(alias, when, table):
    """Let a database refuse something, as if it went away just then."""
    with connections[alias].cursor() as cursor:
        body = "BEGIN SELECT RAISE(ABORT, 'gone'); END"
        cursor.execute(f"CREATE TRIGGER gone BEFORE {when} ON {table} {body}")


def recover(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("DROP TRIGGER gone")


def waiting():
    return OutboxEvent.objects.using("default").filter(relayed_at=None).count()


def test_only_the_outbox_is_beside_the_orders():
    assert tables("default") == {"optico_sync_outboxevent"}
    assert len(tables("optico")) > 5


def test_an_order_is_captured_in_its_own_transaction_and_delivered_from_the_other():
    credential, vendor = make_credential(), Vendor()
    with transaction.atomic():
        purchase = place("1001")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        place("1002")
        raise ZeroDivisionError
    assert waiting() and not OutboxEvent.objects.using("optico").exists()
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending", "confirmed"]
    assert (state_of(purchase).state, waiting(), Attempt.objects.count()) == ("in_sync", 0, 2)
    assert state_of(purchase)._state.db == "optico"


def test_a_crash_before_the_work_is_written_loses_nothing():
    credential, vendor = make_credential(), Vendor()
    place()
    fail("optico", "INSERT", "optico_sync_syncstate")
    with pytest.raises(IntegrityError):
        relay_all()
    assert waiting() and not Subject.objects.exists()
    recover("optico")
    deliver(credential, sender=vendor)
    assert (vendor.statuses, waiting()) == (["pending"], 0)


def test_a_crash_between_the_work_and_its_mark_repeats_and_loses_nothing():
    credential, vendor = make_credential(), Vendor()
    purchase = place()
    fail("default", "UPDATE", "optico_sync_outboxevent")
    with pytest.raises(IntegrityError):
        relay_all()
    assert waiting() and SyncState.objects.exists()
    recover("default")
    deliver(credential, sender=vendor)
    assert (set(vendor.statuses), waiting(), state_of(purchase).state) == ({"pending"}, 0, "in_sync")


def test_operators_see_and_resend_across_both():
    credential, vendor = make_credential(), Vendor()
    place("1001")
    deliver(credential, sender=vendor)
    assert list(resend_selected(Selection(references=["1001"]))) == [1]
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 2
    call_command("optico_inspect", order="1001")
    call_command("optico_rotate_keys")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    html = client.get(f"/admin/optico_sync/subject/{Subject.objects.get().pk}/change/").content.decode()
    assert "saved" in html and "pending" in html
    assert client.get("/admin/optico_sync/subject/").status_code == 200
'''


def test_the_shop_and_the_app_in_two_databases(pytester: pytest.Pytester, monkeypatch: Any) -> None:
    page = (BASE_DIR / "docs" / "install.md").read_text(encoding="utf-8")
    (router,) = re.findall(r"```python\n(# shop/routers\.py\n.*?)```", page, re.DOTALL)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "two_databases")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{BASE_DIR}")
    pytester.makepyfile(two_databases=SETTINGS, routers=router, test_cases=CASES)
    found = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly")
    found.assert_outcomes(passed=5)
