"""Three people: one looks, one acts on orders, one configures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from optico_sync.models import Subject, VendorCredential
from tests.helpers import Clock, Vendor, deliver, error, place, reply

Login = Callable[..., Client]


@pytest.fixture
def login(db: None) -> Login:
    """A staff member with these permissions of the app."""

    def log_in(*codenames: str, name: str = "somebody") -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="optico_sync", codename__in=codenames)
        )
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def viewer(login: Login) -> Client:
    return login("view_subject", name="viewer")


@pytest.fixture
def operator(login: Login) -> Client:
    return login("view_subject", "resend_subject", name="operator")


@pytest.fixture
def owner(login: Login) -> Client:
    """May configure credentials, and nothing else."""
    verbs = ("add", "change", "delete", "view")
    return login(*(f"{verb}_vendorcredential" for verb in verbs), name="owner")


@pytest.fixture
def refused(credential: VendorCredential, clock: Clock) -> Subject:
    """An order that the vendor refused with a message of its own."""
    place("1001", "confirmed", visit="64f1", call="77")
    deliver(credential, sender=Vendor(lambda form: error("No <script>alert(1)</script>, cust_TEST!")), clock=clock)
    return Subject.objects.get(reference="1001")


@pytest.fixture
def in_sync(credential: VendorCredential, clock: Clock) -> Subject:
    place("2001", "confirmed")
    deliver(credential, sender=Vendor(lambda form: reply()), clock=clock)
    return Subject.objects.get(reference="2001")
