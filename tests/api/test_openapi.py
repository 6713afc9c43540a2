"""docs/openapi.yaml is the schema of the code, and the code does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import Permission, User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from optico_sync.api.openapi import schema
from optico_sync.models import Subject, Worker
from optico_sync.models.clock import database_now
from tests.api.conftest import ROOT, Api, authorization
from tests.helpers import Vendor, deliver, make_credential, place
from tests.settings import BASE_DIR

FILE = BASE_DIR / "docs" / "openapi.yaml"
#: Keys of orders that are there, one of them only in the shop.
KEYS = ["1001", "a/b", "1003"]


def as_yaml() -> str:
    return OpenApiYamlRenderer().render(schema(), renderer_context={}).decode()


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert FILE.read_text(encoding="utf-8") == as_yaml(), "run python -m tests.api.write_openapi"


def test_it_is_valid_openapi() -> None:
    validate_schema(schema())


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["application/vnd.oai.openapi", "application/vnd.oai.openapi+json"])
def test_the_api_serves_it(viewer: Api, accept: str) -> None:
    viewer._headers["Accept"] = accept
    answer = viewer.get("/schema")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(accept)


def tried() -> Any:
    """The schema with the keys that there are among those that are tried, over WSGI in this process."""
    raw = schema()
    for operations in raw["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "key":
                    parameter["schema"] = {"anyOf": [{"enum": KEYS}, {"type": "string", "minLength": 1}]}
    raw["servers"] = [{"url": ROOT.removesuffix("/v1")}]
    made = schemathesis.openapi.from_dict(raw)
    made.app = get_wsgi_application()
    made.config.generation.update(modes=list(GenerationMode))
    return made


@pytest.fixture
def whole_handler(db: None) -> Iterator[None]:
    """The handler itself would close the test's connection after each request, with the test's transaction in it."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def machine(whole_handler: None) -> dict[str, str]:
    """A caller who may do everything, in a shop that delivers and has an order no worker has seen."""
    credential = make_credential()
    for key in KEYS[:2]:
        place(key, "confirmed", key=key)
    deliver(credential, sender=Vendor())
    place(KEYS[2], key=KEYS[2])
    now = database_now("default")
    Worker.objects.create(name="w", started_at=now, beat_at=now)
    user = User.objects.create_user("machine", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="optico_sync"))
    assert Subject.objects.count() == 2
    return {"Authorization": authorization(user)}


@tried().parametrize()
@settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
def test_nothing_breaks_it_and_it_answers_as_documented(case: Case, machine: dict[str, str]) -> None:
    case.call_and_validate(
        headers=machine,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ],
    )
