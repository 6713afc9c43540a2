"""The examples in docs/api.md work as they stand."""

from __future__ import annotations

import json
import re
import shlex
from argparse import ArgumentParser

import pytest
from django.test import Client

from optico_sync.models import Worker
from optico_sync.models.clock import database_now
from optico_sync.relay import relay_all
from tests.api.conftest import ROOT, Api, Caller, authorization
from tests.api.test_access import PERMISSIONS
from tests.helpers import make_credential, place
from tests.settings import BASE_DIR

TEXT = (BASE_DIR / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^curl .+$", TEXT, re.MULTILINE)

curl = ArgumentParser(prog="curl")
curl.add_argument("url")
curl.add_argument("-u")
curl.add_argument("-X")
curl.add_argument("-H", default="")
curl.add_argument("-d")


@pytest.fixture
def machine(caller: Caller) -> Api:
    make_credential(pk=1)
    now = database_now("default")
    Worker.objects.create(name="w", started_at=now, beat_at=now)
    place("1001", key="1001")
    relay_all()
    return caller(*PERMISSIONS, name="machine")


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_answered(machine: Api, example: str) -> None:
    given = curl.parse_args(shlex.split(example)[1:])
    assert given.u == "machine:secret"
    host, path = given.url.split("/optico-api", 1)
    assert host == "https://shop.example"
    method = given.X or ("POST" if given.d else "GET")
    content_type = given.H.removeprefix("Content-Type: ") or "application/octet-stream"
    answer = Client().generic(
        method,
        f"/optico-api{path}",
        given.d or "",
        content_type,
        headers={"Authorization": authorization(machine.user)},
    )
    assert answer.status_code in (200, 202), answer.content


def test_every_address_has_an_example() -> None:
    for path in ("orders?", "orders/1001'", "/resend", "/hold", "/release", "/attribution", "/health", "/metrics"):
        assert path.rstrip("'") in " ".join(EXAMPLES), path


def test_the_problem_is_as_shown(machine: Api) -> None:
    shown = json.loads(TEXT.split("```json\n")[1].split("```")[0])
    assert machine.post("/orders/1001/attribution", {"call_id": "77a"}).json() == shown


def test_the_permissions_are_those_that_are_needed() -> None:
    assert set(re.findall(r"^\| `optico_sync\.(\w+)` \|", TEXT, re.MULTILINE)) == PERMISSIONS


def test_the_root_is_the_readme_s() -> None:
    assert f'path("{ROOT.split("/")[1]}/", include("optico_sync.api.urls"))' in TEXT
