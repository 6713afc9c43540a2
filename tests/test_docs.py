"""The README says what the code does."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.beat import beat
from celery.bin.worker import worker
from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.management import get_commands, load_command_class
from django.test import override_settings

from optico_sync import conf
from optico_sync.engines.celery import make_round, work
from optico_sync.models import AlertKind, SyncState
from tests.settings import BASE_DIR

README = (BASE_DIR / "README.md").read_text(encoding="utf-8")
PAGES = [BASE_DIR / "README.md", *sorted((BASE_DIR / "docs").rglob("*.*"))]
PROSE = [page for page in PAGES if page.suffix == ".md"]
TEXTS = [
    page for page in PAGES if page.suffix in {".md", ".yaml", ".service", ".timer"} and page.name != "openapi.yaml"
]
EXAMPLES = BASE_DIR / "docs" / "examples"


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


# what the pages and the examples name


def named_in(pages: list[Path], pattern: str) -> set[tuple[str, ...]]:
    """What ``pattern`` finds, with the page it is on."""
    found = set()
    for page in pages:
        for names in re.findall(pattern, page.read_text(encoding="utf-8")):
            found.add((page.name, *([names] if isinstance(names, str) else names)))
    return found


def test_every_command_and_its_options_exist() -> None:
    known = get_commands()
    run = named_in(TEXTS, r"manage\.py (\w+)([^\n`|#;]*)")
    assert {(page, name) for page, name, _rest in run if name not in known} == set()
    named = {(page, name, rest) for page, name, rest in named_in(TEXTS, r"`(\w+)( --[^\n`]+)") if name in known}
    assert len(run) > 10 and len(named) > 5
    for page, name, rest in run | named:
        parser = load_command_class(known[name], name).create_parser("manage.py", name)
        unknown = set(re.findall(r"--[a-z-]+", rest)) - set(parser._option_string_actions)
        assert not unknown, f"{page}: {name} has no {unknown}"


def test_every_setting_that_is_spelled_exists() -> None:
    names = named_in(TEXTS, r"OPTICO_SYNC(?:\[| = \{(?:\.\.\., )?)[\"']([A-Z_]+)[\"']")
    assert len(names) > 10
    known = {option.name for option in fields(conf.Options)}
    assert {(page, name) for page, name in names if name not in known} == set()


def test_every_dotted_name_exists() -> None:
    others = {"work", "round"}
    for model in apps.get_app_config("optico_sync").get_models():
        permissions = [codename for codename, _label in model._meta.permissions]
        others.update(permissions, (get_permission_codename(verb, model._meta) for verb in ("view", "change")))
    for page, name in named_in(TEXTS, r"\boptico_sync\.([A-Za-z_][\w.]*\w)"):
        if name not in others and not re.fullmatch(r"[EW]\d{3}", name):
            assert pkgutil.resolve_name(f"optico_sync.{name}"), f"{page} names {name}"
    assert {work.name, make_round.name} == {"optico_sync.work", "optico_sync.round"}


def test_every_page_that_is_linked_exists() -> None:
    for page in PROSE:
        text = page.read_text(encoding="utf-8")
        links = [page.parent / link for link in re.findall(r"\]\((?!http|#)([^)#\s]+)", text)]
        for path in (*links, *(BASE_DIR / named for named in re.findall(r"`(docs/[^`*]+)`", text))):
            assert path.exists(), f"{page.name} names {path}"


def test_the_examples_run_what_there_is() -> None:
    """The compose file's services and the units, whose `manage.py` commands are looked at above."""
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))["services"]
    lines = {name: str(service.get("command", "")) for name, service in services.items()}
    lines |= {unit.name: unit.read_text(encoding="utf-8") for unit in EXAMPLES.glob("*.service")}
    assert {name for name, line in lines.items() if "manage.py optico_worker" in line} == {
        "worker", "optico-worker@.service"
    }  # fmt: skip
    for name, command in (("celery", worker), ("beat", beat)):
        options = {spelled for parameter in command.params for spelled in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", lines[name])) <= options
    scaling = (BASE_DIR / "docs" / "scaling.md").read_text(encoding="utf-8")
    (queue,) = re.findall(r"--queues (\w+)", lines["celery"])
    assert f'"optico_sync.*": {{"queue": "{queue}"}}' in scaling
    # Stopped gently, for as long as the page says.
    assert {services[name]["stop_grace_period"] for name in ("worker", "celery")} == {"30s"}
    assert "TimeoutStopSec=30" in lines["optico-worker@.service"]


def test_the_examples_take_the_key_from_where_the_guides_put_it() -> None:
    compose = (EXAMPLES / "compose.yaml").read_text(encoding="utf-8")
    for guide in ("install.md", "install-oscar.md"):
        text = (BASE_DIR / "docs" / guide).read_text(encoding="utf-8")
        (key,) = set(re.findall(r'os\.environ\["(\w+)"\]', text))
        assert f"{key}: ${{{key}}}" in compose


@pytest.mark.parametrize("guide", ["install.md", "install-oscar.md"])
def test_the_settings_of_a_guide_can_be_pasted_into_a_new_project(guide: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (BASE_DIR / "docs" / guide).read_text(encoding="utf-8").split("## A class")[0].split("## What is read")[0]
    monkeypatch.setenv("OPTICO_ENCRYPTION_KEY", "b3B0aWNvLXN5bmMtdGVzdHMta2V5LW51bWJlci0wMDE=")
    settings: dict[str, Any] = {"INSTALLED_APPS": ["oscar"], "MIDDLEWARE": []}
    for block in re.findall(r"```python\n(?!\")(.*?)```", text, re.DOTALL):
        exec(compile(block, guide, "exec"), settings)
    assert settings["INSTALLED_APPS"][-1] == "optico_sync"
    with override_settings(OPTICO_SYNC=settings["OPTICO_SYNC"]):
        assert not list(conf.problems())
