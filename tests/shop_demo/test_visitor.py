"""The page that plays a visitor."""

import re

import pytest
from django.test import Client

NAMES = ["optico_visitId", "optico_visit_id"]


@pytest.fixture(autouse=True)
def database(db: None) -> None:
    """The plugin's middleware and the session may look there."""


def visits(client: Client) -> dict[str, str]:
    return {name: client.cookies[name].value for name in NAMES if name in client.cookies and client.cookies[name].value}


@pytest.mark.parametrize("name", NAMES)
def test_visitor_sets_the_cookie(client: Client, name: str) -> None:
    client.post("/visitor/", {"cookie": name})
    assert list(visits(client)) == [name]
    assert re.fullmatch("[0-9a-f]{24}", visits(client)[name])


def test_visitor_shows_the_cookie(client: Client) -> None:
    page = client.post("/visitor/", {"cookie": NAMES[0]}, follow=True).content.decode()
    assert visits(client)[NAMES[0]] in page


def test_visitor_is_somebody_new_each_time(client: Client) -> None:
    client.post("/visitor/", {"cookie": NAMES[0]})
    first = visits(client)
    client.post("/visitor/", {"cookie": NAMES[0]})
    assert visits(client) != first


def test_visitor_removes_both(client: Client) -> None:
    client.cookies.load({NAMES[0]: "a" * 24, NAMES[1]: "b" * 24})
    client.post("/visitor/", {"cookie": ""})
    assert visits(client) == {}
