"""Who is let in, and how it is said that somebody is not."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.throttling import SimpleRateThrottle

from optico_sync.api.urls import v1
from optico_sync.models import Subject
from tests.api.conftest import ROOT, Api, Caller

pytestmark = pytest.mark.django_db

#: Every address, what it is asked with, and the permission it takes.
DOORS = [
    ("get", "/orders", "view_subject"),
    ("get", "/orders/k", "view_subject"),
    ("post", "/orders/k/resend", "resend_subject"),
    ("post", "/orders/k/hold", "resend_subject"),
    ("post", "/orders/k/release", "resend_subject"),
    ("post", "/orders/k/withhold", "resend_subject"),
    ("post", "/orders/k/send-after-all", "resend_subject"),
    ("post", "/orders/k/confirm", "resend_subject"),
    ("post", "/orders/k/attribution", "attribute_subject"),
    ("get", "/health", "view_worker"),
    ("get", "/metrics", "view_worker"),
    ("get", "/schema", "view_subject"),
]
PERMISSIONS = {"view_subject", "resend_subject", "attribute_subject", "view_worker"}


class Somebody(BaseAuthentication):
    """Lets in who says so."""

    def authenticate(self, request: Any) -> Any:
        name = request.headers.get("X-Name")
        return (Named(), None) if name else None

    def authenticate_header(self, request: Any) -> str:
        return "Name"


class Named:
    pk = 1
    is_authenticated = is_active = is_staff = True

    def has_perm(self, permission: str) -> bool:
        return permission == "optico_sync.view_subject"


class Closed(BasePermission):
    message = "Closed today."

    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Once(SimpleRateThrottle):
    rate = "1/day"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"once-{request.user.pk}"


def test_every_address_is_listed_here() -> None:
    assert len(v1) == len(DOORS)


@pytest.mark.parametrize(("method", "path", "needed"), DOORS)
def test_each_door_takes_its_own_permission(caller: Caller, method: str, path: str, needed: str) -> None:
    others = caller(*(PERMISSIONS - {needed}), name="others")
    answer = getattr(others, method)(path)
    assert answer.status_code == 403
    assert answer.json()["detail"] == f"This needs the permission optico_sync.{needed}."
    assert getattr(caller(needed), method)(path).status_code != 403


@pytest.mark.parametrize(("method", "path", "needed"), DOORS)
def test_staff_only(caller: Caller, method: str, path: str, needed: str) -> None:
    customer = caller(*PERMISSIONS, is_staff=False)
    answer = getattr(customer, method)(path)
    assert (answer.status_code, answer.json()["detail"]) == (403, "Only staff may use this.")


@pytest.mark.parametrize(("method", "path", "needed"), DOORS)
def test_nobody_is_not_let_in(db: None, method: str, path: str, needed: str) -> None:
    answer = getattr(Api(), method)(path)
    assert answer.status_code in (401, 403)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_staff_that_left_is_not_let_in(caller: Caller) -> None:
    assert caller("view_subject", is_active=False).get("/orders").status_code in (401, 403)


def test_a_session_needs_its_csrf_token(operator: Api, in_sync: Subject) -> None:
    client = Client(enforce_csrf_checks=True)
    assert operator.user
    client.force_login(operator.user)
    assert client.get(f"{ROOT}/orders").status_code == 200
    answer = client.post(f"{ROOT}/orders/{in_sync.key}/hold")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_authentication_is_what_the_settings_name(settings: Any, viewer: Api) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "API_AUTHENTICATION": [f"{__name__}.Somebody"]}
    assert Api(**{"X-Name": "x"}).get("/orders").status_code == 200
    answer = viewer.get("/orders")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Name")


def test_permissions_are_what_the_settings_name(settings: Any, viewer: Api) -> None:
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "API_PERMISSIONS": [f"{__name__}.Closed"]}
    assert viewer.get("/orders").json()["detail"] == "Closed today."


def test_open_permissions_of_the_project_open_nothing_here(settings: Any, caller: Caller) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
    assert caller().get("/orders").status_code == 403


def test_throttles_are_what_the_settings_name(settings: Any, viewer: Api) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "once"}}
    settings.OPTICO_SYNC = {**settings.OPTICO_SYNC, "API_THROTTLES": [f"{__name__}.Once"]}
    assert viewer.get("/orders").status_code == 200
    answer = viewer.get("/orders")
    assert (answer.status_code, answer.json()["title"]) == (429, "Too Many Requests")
    assert int(answer.headers["Retry-After"]) > 3600


@pytest.mark.parametrize(("method", "path", "needed"), [door for door in DOORS if "/k" not in door[1]])
def test_an_answer_in_another_form_is_not_spoken(caller: Caller, method: str, path: str, needed: str) -> None:
    api = caller(needed)
    api._headers["Accept"] = "image/png"
    answer = getattr(api, method)(path)
    assert (answer.status_code, answer.json()["status"]) == (406, 406)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_method_that_is_not_there(viewer: Api) -> None:
    answer = viewer.post("/orders")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")


@pytest.mark.parametrize("path", ["", "/ordrs", "/orders/", "/orders/a%0ab"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_address_that_is_not_there(viewer: Api, method: str, path: str) -> None:
    answer = getattr(viewer, method)(path)
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such address.")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_addresses_have_names() -> None:
    assert reverse("optico_sync_api:order", args=["1001"]) == f"{ROOT}/orders/1001"
