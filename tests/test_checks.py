"""System checks: each id appears when it should, and a clean installation has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import override_settings

import optico_sync
from optico_sync import triggers
from optico_sync.checks import TAG
from optico_sync.management.commands.optico_worker import Command
from optico_sync.models import VendorCredential
from tests.helpers import make_credential
from tests.settings import OPTICO_SYNC as CLEAN

# From Django 6.1 on a check without names looks at the databases too.
pytestmark = pytest.mark.django_db

SOURCE = "".join(path.read_text(encoding="utf-8") for path in Path(optico_sync.__file__).parent.rglob("*.py"))
ALL_IDS = set(re.findall(r"optico_sync\.[EW]\d{3}", SOURCE))
SEEN_HERE = {
    "optico_sync.E001",
    "optico_sync.E002",
    "optico_sync.E003",
    "optico_sync.E004",
    "optico_sync.E005",
    "optico_sync.W001",
    "optico_sync.W002",
    "optico_sync.W003",
    "optico_sync.W004",
    "optico_sync.W005",
    "optico_sync.W006",
    "optico_sync.E007",
    # In tests/engines.
    "optico_sync.E006",
    "optico_sync.W007",
    "optico_sync.W008",
    "optico_sync.E008",
    "optico_sync.W009",
}


def messages(**options: Any) -> list[CheckMessage]:
    return [message for message in run_checks(**options) if str(message.id).startswith("optico_sync.")]


def the_only(**options: Any) -> CheckMessage:
    (message,) = messages(**options)
    assert message.hint
    return message


def changed(**values: Any) -> Any:
    return override_settings(OPTICO_SYNC={**CLEAN, **values})


def test_every_id_is_tested_here() -> None:
    assert ALL_IDS == SEEN_HERE


@pytest.mark.django_db
def test_a_clean_installation_has_no_message() -> None:
    make_credential("https://www.optico.fr")
    assert messages(databases=["default"]) == []


def test_w001_unknown_setting() -> None:
    with changed(QUIETPERIOD=1):
        message = the_only()
    assert (message.id, message.hint) == ("optico_sync.W001", "Did you mean 'QUIET_PERIOD'?")


def test_e001_unusable_setting() -> None:
    with changed(BATCH_SIZE="many"):
        message = the_only()
    assert message.id == "optico_sync.E001" and "BATCH_SIZE" in message.msg


@override_settings(OPTICO_SYNC="nonsense")
def test_e001_setting_that_is_no_dict() -> None:
    assert "optico_sync.E001" in [message.id for message in messages()]


def test_w002_no_order_model() -> None:
    with changed(ORDER={}):
        message = the_only()
    assert message.id == "optico_sync.W002" and "ORDER" in str(message.hint)


@pytest.mark.parametrize(
    "change",
    [
        {"ORDER": {**CLEAN["ORDER"], "model": "oddshop.Purchas"}},
        {"ORDER": {**CLEAN["ORDER"], "status": "stag"}},
        {"SHOP": "no.such.Adapter"},
        {"SHOP": "nonsense"},
        {"SHOP": "optico_sync.conf.Options"},
        {"SHOP": "optico_sync.conf.SETTING"},
        {"SHOP": "optico_sync.shops.base.ShopAdapter"},
    ],
)
def test_e002_order_model_or_adapter_that_cannot_be_used(change: Any) -> None:
    with changed(**change):
        message = the_only()
    assert message.id == "optico_sync.E002" and "OPTICO_SYNC" in message.msg


def test_w006_no_encryption_key() -> None:
    with changed(ENCRYPTION_KEYS=[]):
        message = the_only()
    assert message.id == "optico_sync.W006" and "generate_key" in str(message.hint)


@pytest.mark.parametrize("wrong", [["too-short"], [CLEAN["ENCRYPTION_KEYS"][0], "second-too-short"]])
def test_e003_a_key_that_is_none(wrong: list[str]) -> None:
    with changed(ENCRYPTION_KEYS=wrong):
        message = the_only()
    assert message.id == "optico_sync.E003" and "too-short" not in message.msg


@override_settings(MIDDLEWARE=[])
def test_w003_middleware_absent() -> None:
    ours = [message for message in messages() if message.id == "optico_sync.W003"]
    assert "VisitMiddleware" in str(ours[0].hint)


@pytest.mark.parametrize(
    "path", ["no.such.Vendor", "nonsense", "optico_sync.conf.Options", "optico_sync.vendors.base.Vendor"]
)
def test_e004_vendor_that_cannot_be_used(path: str) -> None:
    with changed(VENDORS={"mine": path}):
        message = the_only()
    assert message.id == "optico_sync.E004" and path in message.msg


@pytest.mark.parametrize("setting", ["API_AUTHENTICATION", "API_PERMISSIONS", "API_THROTTLES"])
def test_e005_class_of_the_api_that_cannot_be_loaded(setting: str) -> None:
    with changed(**{setting: ["no.such.Class"]}):
        message = the_only()
    assert message.id == "optico_sync.E005" and setting in message.msg


@pytest.mark.parametrize("name", ["kafka", "no.such.Engine", "optico_sync.conf.Options", "optico_sync.conf.SETTING"])
def test_e007_engine_that_cannot_be_used(name: str) -> None:
    with changed(ENGINE=name):
        message = the_only()
    assert message.id == "optico_sync.E007" and name in message.msg


@pytest.mark.django_db
def test_w004_base_url_that_is_not_https() -> None:
    make_credential("http://vendor.example", name="Plain")
    message = the_only(databases=["default"])
    assert message.id == "optico_sync.W004" and "'Plain'" in message.msg
    assert "vendor.example" not in message.msg


@pytest.mark.django_db
def test_w004_is_not_asked_without_the_database_or_while_debugging() -> None:
    make_credential("http://vendor.example")
    assert messages() == []
    with override_settings(DEBUG=True):
        assert messages(databases=["default"]) == []


@pytest.mark.django_db(transaction=True)
def test_w004_asks_nothing_of_a_database_that_is_not_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optico_sync.models.VendorCredential._meta.db_table", "no_such_table")
    assert messages(databases=["default"]) == []


@pytest.fixture
def installed(transactional_db: None) -> Iterator[None]:
    make_credential("https://www.optico.fr")
    triggers.install("default")
    yield
    triggers.remove("default")


def test_e008_triggers_that_are_missing() -> None:
    with changed(CAPTURE="triggers"):
        assert messages() == []
        message = the_only(databases=["default"])
    assert message.id == "optico_sync.E008" and "oddshop_purchase" in message.msg


def test_e008_triggers_that_cannot_do_what_the_settings_ask() -> None:
    with changed(CAPTURE="triggers", ORDER={**CLEAN["ORDER"], "status": "bought_at"}):
        message = the_only(databases=["default"])
    assert message.id == "optico_sync.E008" and "cannot spell" in message.msg


def test_e008_is_silent_once_they_are_installed(installed: None) -> None:
    with changed(CAPTURE="triggers"):
        assert messages(databases=["default"]) == []


def test_w009_triggers_beside_signals(installed: None) -> None:
    message = the_only(databases=["default"])
    assert message.id == "optico_sync.W009" and "counts twice" in message.msg


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transaction_mode": "IMMEDIATE"},
        {"init_command": "PRAGMA journal_mode=WAL;"},
        {"transaction_mode": "DEFERRED", "init_command": "PRAGMA journal_mode=WAL;"},
        {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF;"},
        {"transaction_mode": None, "init_command": None},
    ],
)
def test_w005_sqlite_without_wal_or_immediate(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    message = the_only()
    assert message.id == "optico_sync.W005" and "IMMEDIATE" in str(message.hint)


def test_w005_knows_the_options_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"transaction_mode": "immediate", "init_command": "pragma JOURNAL_MODE = wal"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert messages() == []


@pytest.mark.django_db
def test_no_check_raises_while_the_settings_are_nonsense() -> None:
    with override_settings(OPTICO_SYNC={"ORDER": {"model": 7}, "VENDORS": {"x": ""}, "ENCRYPTION_KEYS": ["\ud800"]}):
        assert messages(databases=["default"])


def test_check_command_does_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """``check`` runs where images are built; from Django 6.1 on it hands every database to the checks."""

    def unreachable(*args: Any) -> Any:
        raise OperationalError("could not connect")

    monkeypatch.setattr(VendorCredential.objects, "using", unreachable)
    call_command("check", "optico_sync")
    assert messages(databases=["default"]) == []


def test_a_worker_runs_the_checks_of_the_app_and_no_others() -> None:
    """The others load the shop's views."""
    assert Command.requires_system_checks == (TAG,)
    ours = {check for check in registry.registered_checks if check.__module__ == "optico_sync.checks"}
    without = {check.__name__ for check in ours if TAG not in check.tags}
    assert without == {check.__name__ for check in ours if Tags.database in check.tags}
    assert len(ours) > len(without) > 0
