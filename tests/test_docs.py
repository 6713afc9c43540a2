"""The README says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields

from django.core.management import get_commands

from optico_sync import conf
from optico_sync.models import AlertKind, SyncState
from tests.settings import BASE_DIR

README = (BASE_DIR / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table_and_no_other() -> None:
    table = README.split("\n## Settings\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == {
        option.name for option in fields(conf.Options)
    }


def test_every_command_is_in_the_table_and_no_other() -> None:
    table = README.split("\n## Commands\n")[1].split("\n## ")[0]
    ours = {name for name, app in get_commands().items() if app == "optico_sync"}
    assert set(re.findall(r"^\| `(\w+)", table, re.MULTILINE)) == ours


def test_every_check_is_in_the_table_and_no_other() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (BASE_DIR / "optico_sync").rglob("*.py"))
    ids = r"optico_sync\.[EW]\d{3}"
    assert set(re.findall(ids, README)) == set(re.findall(ids, source))


def test_every_state_is_in_the_table() -> None:
    table = README.split("\n## The six states\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)[1:] == [str(label) for label in SyncState.State.labels]


def test_every_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (BASE_DIR / picture).is_file(), picture


def test_every_kind_of_alert_is_in_the_table() -> None:
    table = README.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == AlertKind.values


def test_no_row_of_a_table_stands_twice() -> None:
    for table in re.split(r"\n(?!\|)", README):
        names = re.findall(r"^\| (`[^`]+`) \|", table, re.MULTILINE)
        assert len(names) == len(set(names)), names
