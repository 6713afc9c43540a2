"""Imports point one way: down. The floors are those of the architecture; a new room needs a row here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import optico_sync

PACKAGE = Path(optico_sync.__file__).parent

#: Room (the first name below the package) -> floor. A room imports only from floors below it, and from itself.
FLOORS = {
    "exceptions": 1,
    "attribution": 1,
    "snapshot": 1,
    "outcome": 1,
    "redaction": 1,
    "pace": 1,
    "signals": 1,
    "conf": 2,
    "vendors": 2,
    "models": 3,
    "shops": 3,
    "transport": 3,
    # Between the store and those who work: capture rings, the engines and the doors listen.
    "wakeups": 3.5,
    # What capture tells once, and the relay has it forget.
    "told": 3.5,
    "base_url": 3,
    "capture": 4,
    "relay": 4,
    "delivery": 4,
    # One on the other: which orders an operator means, what is done with them, and how for very many.
    "selection": 4.2,
    "resync": 4.4,
    "jobs": 4.6,
    "sweep": 4,
    "triggers": 4,
    "insight": 4,
    "listing": 4,
    "doctor": 4,
    "preview": 4,
    "figures": 4,
    "setup": 4,
    "charts": 1,
    "reconcile": 4,
    "purge": 4,
    "erase": 4,
    "health": 4,
    "probe": 4,
    "rehearsal": 4,
    "installation": 4,
    "coverage": 4,
    "alerts": 4,
    # Between what can be done and the doors: the operator's verbs, and the log of them.
    "verbs": 4.5,
    "engines": 5,
    "admin": 5,
    "api": 5,
    "management": 5,
    "checks": 5,
    "middleware": 5,
    "templatetags": 5,
    "apps": 5,
    "testing": 5,
}

#: Imports beside, each with its reason: (module or its beginning, room it may import).
BESIDE = {
    # A wrong visit has an error of its own.
    ("attribution", "exceptions"),
    # A snapshot carries its attribution.
    ("snapshot", "attribution"),
    # The vendors' registry holds rows of the settings.
    ("vendors", "conf"),
    # Whether all is well follows from the answers to smaller questions.
    ("health", "insight"),
    ("health", "figures"),
    # What is captured must be relayed before it can be told what was missed.
    ("sweep", "relay"),
    # What pages show is counted together, now and then.
    ("figures", "coverage"),
    # A change that is not taken up yet may name a cart; what the time line shows is what is to be forgotten.
    ("erase", "relay"),
    ("erase", "insight"),
    # What an alert is about is what a monitor sees.
    ("alerts", "health"),
    # An alert asks how many orders are attributed.
    ("alerts", "coverage"),
    # A command starts the worker that comes with the app.
    ("management", "engines"),
    # Connecting the receivers and the checks is what it is for.
    ("apps", "checks"),
}

#: Doors that put the app and the sandbox together, for tests.
TOGETHER = {"testing"}

#: Modules that may import inside a function.
LATE = {"apps.py"}

#: Libraries for the network, and the one module that may import them.
NETWORK = {"requests", "urllib3", "http", "httpx", "aiohttp", "socket", "ssl"}
HTTP_LIBRARIES = {"requests", "urllib3", "httpx", "aiohttp"}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    target: str
    is_late: bool

    @property
    def room(self) -> str:
        return self.module.split("/")[0].removesuffix(".py")

    @property
    def target_room(self) -> str:
        """The room of ours that is imported; empty for other packages."""
        parts = self.target.split(".")
        return parts[1] if parts[0] == "optico_sync" and len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def imports_of(path: Path) -> Iterator[Import]:
    module = path.relative_to(PACKAGE).as_posix()
    tree = ast.parse(path.read_text())
    late = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [*_package(path, node.level), node.module]))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (Import(module, node.lineno, name, node in late) for name in names)


def _package(path: Path, level: int) -> list[str]:
    """The package that so many dots lead to from ``path``."""
    return [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-level]] if level else []


ALL = [found for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts for found in imports_of(path)]
HOUSE = [found for found in ALL if found.room != "sandbox"]


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
    } - {"__init__", "__pycache__", "sandbox", "migrations"}
    assert rooms <= FLOORS.keys()


def test_the_imports_were_found() -> None:
    assert ("delivery", "transport") in {(found.room, found.target_room) for found in HOUSE}


def test_imports_point_down() -> None:
    wrong = [
        str(found)
        for found in HOUSE
        if (target := found.target_room) and target not in ("sandbox", found.room)
        if FLOORS[target] >= FLOORS[found.room] and (found.room, target) not in BESIDE
    ]
    assert wrong == []


def test_every_exception_is_needed() -> None:
    assert {(found.room, found.target_room) for found in HOUSE} >= BESIDE


def test_vendors_know_no_sibling() -> None:
    wrong = [
        str(found)
        for found in HOUSE
        if found.room == "vendors" and found.target.startswith("optico_sync.vendors.")
        if found.target.split(".")[2] not in ("base", "wire", found.module.split("/")[-1].removesuffix(".py"))
    ]
    assert wrong == []


def test_vendors_know_no_database_and_no_network() -> None:
    wrong = [
        str(found)
        for found in HOUSE
        if found.room == "vendors"
        if found.target.startswith(("django.db", "django.apps")) or found.target.split(".")[0] in NETWORK
    ]
    assert wrong == []


def test_the_ground_floor_knows_no_database_and_no_settings() -> None:
    wrong = [
        str(found)
        for found in HOUSE
        if FLOORS.get(found.room) == 1
        if found.target.startswith(("django.db", "django.apps", "django.conf")) or found.target.split(".")[0] in NETWORK
    ]
    assert wrong == []


def test_one_module_talks_http() -> None:
    talking = {found.module for found in HOUSE if found.target.split(".")[0] in HTTP_LIBRARIES}
    assert talking == {"transport.py"}


def test_the_sandbox_and_the_app_do_not_know_each_other() -> None:
    wrong = [
        str(found)
        for found in ALL
        if found.target_room and found.room not in TOGETHER
        if (found.room == "sandbox") != (found.target_room == "sandbox")
    ]
    assert wrong == []


def test_imports_stand_at_the_top() -> None:
    assert [str(found) for found in HOUSE if found.is_late and found.module not in LATE] == []


def test_no_import_counts_dots_upwards() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > 1
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["tests", "shop_demo"])
def test_the_app_does_not_know_its_users(folder: str) -> None:
    assert [str(found) for found in ALL if found.target.split(".")[0] == folder] == []
