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
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections, transaction
from django.test import Client, override_settings

from optico_sync import capture, triggers
from optico_sync.models import Attempt, OutboxEvent, Subject, SyncState
from optico_sync.relay import relay_all
from optico_sync.verbs import resend_selected
from optico_sync.selection import Selection
from optico_sync.sweep import sweep
from tests.helpers import Vendor, deliver, make_credential, move, place, state_of
from tests.oddshop.models import Item, Purchase
from tests.settings import OPTICO_SYNC

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


def test_the_sweep_finds_what_passed_by_unseen_in_the_shops_database():
    credential, vendor = make_credential(), Vendor()
    changed, gone = place("1001"), place("1002")
    deliver(credential, sender=vendor)
    Purchase.objects.filter(pk=changed.pk).update(stage="confirmed")
    Item.objects.filter(purchase=gone)._raw_delete("default")
    Purchase.objects.filter(pk=gone.pk)._raw_delete("default")
    Purchase.objects.bulk_create([Purchase(number="1003", stage="shipped")])
    (*_, run) = sweep()
    assert (run._state.db, run.found, sorted(run.references)) == ("optico", 3, sorted(["1001", "1003", str(gone.pk)]))
    deliver(credential, sender=vendor)
    assert state_of(changed).accepted_status == "confirmed"
    assert state_of(Purchase.objects.get(number="1003")).reason == "no_lines"
    assert Subject.objects.get(key=gone.pk).deleted_at


def test_a_crash_while_the_sweep_records_what_it_found_repeats_and_loses_nothing():
    credential, vendor = make_credential(), Vendor()
    purchase = place("1001")
    deliver(credential, sender=vendor)
    Purchase.objects.filter(pk=purchase.pk).update(stage="confirmed")
    # The event is committed in the one database, and the progress is not in the other.
    with pytest.raises(IntegrityError), transaction.atomic(using="optico"):
        list(sweep())
        raise IntegrityError
    assert waiting() == 1
    list(sweep())
    deliver(credential, sender=vendor)
    assert (vendor.statuses, state_of(purchase).accepted_status) == (["pending", "confirmed"], "confirmed")


@pytest.fixture
def by_triggers():
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "CAPTURE": "triggers"}):
        capture.connect()
        call_command("optico_triggers", "--install")
        yield
        call_command("optico_triggers", "--remove")
        assert not triggers.installed("default")
    capture.connect()


def problems(alias):
    return [message.id for message in run_checks(databases=[alias]) if message.id == "optico_sync.E008"]


def test_triggers_are_beside_the_orders_and_nowhere_else(by_triggers):
    assert triggers.installed("default") and not triggers.installed("optico")
    call_command("optico_triggers", "--check")
    assert problems("default") == problems("optico") == []
    name, table = sorted(triggers.installed("default").items())[0]
    with connections["default"].cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}")
    with pytest.raises(CommandError, match="--install"):
        call_command("optico_triggers", "--check")
    assert problems("default") and not problems("optico")


def test_what_triggers_capture_is_delivered_from_the_other(by_triggers):
    credential, vendor = make_credential(), Vendor()
    purchase = place("1001")
    Purchase.objects.filter(pk=purchase.pk).update(stage="confirmed")
    assert not OutboxEvent.objects.using("optico").exists()
    deliver(credential, sender=vendor)
    assert (vendor.statuses, waiting()) == (["pending", "confirmed"], 0)


def test_migrations_of_either_leave_the_triggers_in_place(by_triggers):
    before = triggers.installed("default")
    call_command("migrate", "sessions", "zero", database="default", verbosity=0)
    call_command("migrate", "sessions", database="default", verbosity=0)
    call_command("migrate", "optico_sync", "zero", database="optico", verbosity=0)
    call_command("migrate", "optico_sync", database="optico", verbosity=0)
    assert triggers.installed("default") == before and not triggers.installed("optico")
'''


def test_the_shop_and_the_app_in_two_databases(pytester: pytest.Pytester, monkeypatch: Any) -> None:
    page = (BASE_DIR / "docs" / "install.md").read_text(encoding="utf-8")
    (router,) = re.findall(r"```python\n(# shop/routers\.py\n.*?)```", page, re.DOTALL)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "two_databases")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{BASE_DIR}")
    pytester.makepyfile(two_databases=SETTINGS, routers=router, test_cases=CASES)
    found = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly")
    found.assert_outcomes(passed=10)
