"""The control API and the pages."""

import html

import pytest
import requests

from optico_sync.sandbox.client import SandboxError


def test_journal_masks_the_key(sandbox, send):
    send(key="cust_very_secret_1234")

    [entry] = sandbox.journal()
    assert entry["fields"]["key"] == "...1234"
    for path in ("/sandbox/", "/sandbox/api/journal", "/sandbox/api/config"):
        assert "very_secret" not in requests.get(sandbox.url + path, timeout=5).text


def test_journal_after_and_by_order(sandbox, send):
    for order_id in ("A", "B", "A"):
        send(id=order_id)

    assert [entry["seq"] for entry in sandbox.journal()] == [1, 2, 3]
    assert [entry["seq"] for entry in sandbox.journal(after=1)] == [2, 3]
    assert [entry["seq"] for entry in sandbox.journal(id="A")] == [1, 3]


def test_journal_query_is_checked(sandbox):
    response = requests.get(f"{sandbox.url}/sandbox/api/journal?after=x&order=1", timeout=5)

    assert response.status_code == 400
    assert list(response.json()) == ["order"]


def test_journal_tells_connections_apart(sandbox, send):
    send()
    send()
    requests.post(f"{sandbox.url}/api/customer-order", timeout=5)

    first, second, third = (entry["connection"] for entry in sandbox.journal())
    assert first == second != third
    assert sandbox.summary()["connections"] == 2


def test_config_of_keys_and_statuses(sandbox, send):
    shown = sandbox.config(keys=["cust_other_0001"], statuses={"done": True, "open": False})

    assert shown["keys"] == ["...0001"]
    assert send().json()["message"] == "Invalid api key"
    assert send(key="cust_other_0001").json()["message"] == "Unknown status"
    assert send(key="cust_other_0001", status="done").json() == {"status": "success"}
    assert sandbox.order("ORDER-1")["conversions"] == 1


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"keys": "cust_x"}, "keys"),
        ({"keys": [""]}, "keys"),
        ({"statuses": [{"name": "paid"}]}, "statuses"),
        ({"latency": "slow"}, "latency"),
        ({"latency": -1}, "latency"),
        ({"latecny": 1}, "latecny"),
    ],
)
def test_bad_config_is_refused_by_field(sandbox, wish, field):
    response = requests.put(f"{sandbox.url}/sandbox/api/config", json=wish, timeout=5)

    assert response.status_code == 400
    assert list(response.json()) == [field]


def test_config_that_is_no_object_is_refused(sandbox):
    assert requests.put(f"{sandbox.url}/sandbox/api/config", json=[1], timeout=5).status_code == 400
    assert requests.put(f"{sandbox.url}/sandbox/api/config", data="x", timeout=5).status_code == 415


def test_reset_returns_to_the_start(sandbox, send):
    send()
    sandbox.config(keys=["cust_other"], latency=1)
    sandbox.fault_all("500")
    sandbox.reset()

    assert sandbox.orders() == sandbox.journal() == []
    assert send().json() == {"status": "success"}
    assert sandbox.journal()[0]["seq"] == 1


def test_unknown_order_is_none(sandbox):
    assert sandbox.order("ORDER-404") is None


def test_client_raises_what_the_sandbox_refuses(sandbox):
    with pytest.raises(SandboxError, match="latency"):
        sandbox.config(latency=-1)


def test_journal_page_shows_orders_and_requests(sandbox, send):
    sandbox.script("ORDER-1", ["503"])
    send()
    send(status="confirmed", currency="eur")
    response = requests.get(f"{sandbox.url}/sandbox/", timeout=5)

    assert response.status_code == 200
    for text in ("ORDER-1", "on confirmed", "503", "currency is 'eur'", "...dbox"):
        assert html.escape(text) in response.text


def test_order_page_shows_its_history(sandbox, send):
    send(id="A/1 ü", products='[{"id":"P","name":"<b>","quantity":2,"cost_per_unit":2.5,"details":{"items":"x"}}]')
    response = requests.get(f"{sandbox.url}/sandbox/orders/A%2F1%20%C3%BC/", timeout=5)

    assert response.status_code == 200
    assert "&lt;b&gt;" in response.text
    assert "5.0" in response.text
    assert requests.get(f"{sandbox.url}/sandbox/orders/none/", timeout=5).status_code == 404


def test_journal_page_bears_any_text(sandbox, send):
    sandbox.config(statuses={"items": True})
    assert send(id="a\nb/?#", status="items", items="<script>").json() == {"status": "success"}
    response = requests.get(f"{sandbox.url}/sandbox/", timeout=5)

    assert response.status_code == 200
    assert "<script" not in response.text


def test_pages_are_served_under_a_strict_policy(sandbox):
    response = requests.get(f"{sandbox.url}/sandbox/", timeout=5)

    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert "style=" not in response.text
    css = requests.get(f"{sandbox.url}/sandbox/static/optico_sandbox/sandbox.css", timeout=5)
    assert css.headers["Content-Type"] == "text/css"
