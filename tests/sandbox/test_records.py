"""The control API and the pages, for records of every vendor."""

import pytest
import requests

from optico_sync.sandbox.client import SandboxError
from tests.sandbox import test_cart, test_guaranteed_reviews, test_ometria, test_optimizely


@pytest.fixture
def filled(sandbox, send):
    send()
    requests.post(f"{sandbox.url}/api/customer-cart", data={**test_cart.CART, "id": "A/1 ü"}, timeout=5)
    test_ometria.post(sandbox)
    test_optimizely.post(sandbox)
    test_guaranteed_reviews.post(sandbox, test_guaranteed_reviews.ORDER)
    return sandbox


def test_every_vendor_has_its_record(filled):
    ids = {"optico": "ORDER-1", "cart": "A/1 ü", "ometria": "123553"}
    ids |= {"optimizely": "orderRef", "guaranteed_reviews": "1234"}
    for vendor, record_id in ids.items():
        assert [record["id"] for record in filled.records(vendor)] == [record_id]
        assert filled.record(vendor, record_id)["id"] == record_id
        assert filled.record(vendor, "none") is None
        [entry] = filled.journal(vendor=vendor)
        assert (entry["vendor"], entry["order_id"], entry["verdict"]) == (vendor, record_id, "stored")
    assert filled.summary()["orders"] == 1


def test_journal_page_has_a_section_for_each(filled):
    text = requests.get(f"{filled.url}/sandbox/", timeout=5).text

    mail_at = filled.record("guaranteed_reviews", "1234")["mail_at"]
    for part in ("Carts", "2 x Product 1", "Ometria orders", "96.4 GBP", "Optimizely offline", "1 x ref1", "Review"):
        assert part in text
    assert mail_at[:10] in text
    for path in ("cart/A%2F1%20%C3%BC", "ometria/123553", "optimizely/orderRef", "guaranteed_reviews/1234"):
        assert f"/sandbox/records/{path}/" in text
        assert requests.get(f"{filled.url}/sandbox/records/{path}/", timeout=5).status_code == 200
    assert requests.get(f"{filled.url}/sandbox/records/cart/none/", timeout=5).status_code == 404
    assert requests.get(f"{filled.url}/sandbox/records/nobody/1/", timeout=5).status_code == 404


def test_unknown_vendor(sandbox):
    with pytest.raises(SandboxError, match="vendor"):
        sandbox.records("nobody")
    assert requests.get(f"{sandbox.url}/sandbox/api/records", timeout=5).status_code == 400
    assert sandbox.record("nobody", "1") is None


def test_reset_forgets_every_vendor(filled):
    filled.config(visits=["1"], ometria_rate=1, reviews_keys=[], ometria_keys=[], optimizely_tokens={})
    filled.reset()

    for vendor in ("optico", "cart", "ometria", "optimizely", "guaranteed_reviews"):
        assert filled.records(vendor) == []
    assert test_guaranteed_reviews.post(filled, test_guaranteed_reviews.ORDER)["success"] == 1


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"ometria_keys": "x"}, "ometria_keys"),
        ({"ometria_rate": -1}, "ometria_rate"),
        ({"optimizely_tokens": ["x"]}, "optimizely_tokens"),
        ({"reviews_keys": [""]}, "reviews_keys"),
        ({"visits": "x"}, "visits"),
    ],
)
def test_bad_config_is_refused_by_field(sandbox, wish, field):
    with pytest.raises(SandboxError) as caught:
        sandbox.config(**wish)
    assert list(caught.value.errors) == [field]
