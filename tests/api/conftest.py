"""Callers with a name, a password and just these permissions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from optico_sync.models import Subject, VendorCredential
from tests.helpers import Clock, Vendor, deliver, error, place, reply

ROOT = "/optico-api/v1"

Caller = Callable[..., "Api"]


class Api:
    """Calls the API as one user, with HTTP's basic authentication."""

    def __init__(self, user: User | None = None, **headers: str) -> None:
        self.user = user
        self._client = Client()
        self._headers = headers
        if user:
            self._headers["Authorization"] = authorization(user)

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(f"{ROOT}{path}", query, headers=self._headers)

    def post(self, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        return self._client.post(f"{ROOT}{path}", body, content_type=content_type, headers=self._headers)


def authorization(user: User) -> str:
    return "Basic " + b64encode(f"{user.username}:secret".encode()).decode()


@pytest.fixture
def caller(db: None) -> Caller:
    """A staff member with these permissions of the app."""

    def make(*codenames: str, name: str = "machine", **fields: Any) -> Api:
        user = User.objects.create_user(name, password="secret", **{"is_staff": True, **fields})
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="optico_sync", codename__in=codenames)
        )
        return Api(user)

    return make


@pytest.fixture
def viewer(caller: Caller) -> Api:
    return caller("view_subject", name="viewer")


@pytest.fixture
def operator(caller: Caller) -> Api:
    return caller("view_subject", "resend_subject", name="operator")


@pytest.fixture
def agent(caller: Caller) -> Api:
    """An agent's software."""
    return caller("attribute_subject", name="agent")


@pytest.fixture
def monitor(caller: Caller) -> Api:
    return caller("view_worker", name="monitor")


@pytest.fixture
def refused(credential: VendorCredential, clock: Clock) -> Subject:
    """An order that the vendor refused."""
    place("1001", "confirmed", visit="64f1", call="77")
    deliver(credential, sender=Vendor(lambda form: error("No, cust_TEST, anna@example.com!")), clock=clock)
    return Subject.objects.get(reference="1001")


@pytest.fixture
def in_sync(credential: VendorCredential, clock: Clock) -> Subject:
    place("2001", "confirmed")
    deliver(credential, sender=Vendor(lambda form: reply()), clock=clock)
    return Subject.objects.get(reference="2001")
