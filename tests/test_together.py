"""One order, every vendor, over real sockets: what the app builds, the sandbox, which read for itself, accepts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from optico_sync import insight
from optico_sync.models import DeclaredStatus, SyncState, VendorCredential
from tests.helpers import STATUSES, Clock, deliver, make_credential, move, place, state_of
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
State = SyncState.State

ORDER = {
    **OPTICO_SYNC["ORDER"],
    "total": lambda order: sum((item.paid for item in order.things.all()), Decimal("4.90")),
    "shipping": {"value": "4.90"},
    "tax": lambda order: sum((tax_of(item) for item in order.things.all()), Decimal(0)),
    "is_offline": lambda order: bool(order.call),
    "channel": {"value": "online"},
    "language": "site",
    "store": {"value": "shop.example"},
    "customer": {
        "pseudonym": {"value": "u-7f3a"},
        "email": {"value": "zoe.lecki@example.com"},
        "first_name": {"value": "Zoë"},
        "last_name": {"value": "Łęcki-O'Brien"},
    },
    "lines": {
        **OPTICO_SYNC["ORDER"]["lines"],
        "sku": "article.sku",
        "product_key": "article_id",
        "tax": lambda item: tax_of(item),
    },
}
ITEMS = [("PROD-001", "Crème brûlée 🍮", 2, "59.98"), ("PROD-007", "Red Gadget", 1, "59.00")]


def tax_of(item: Any) -> Decimal:
    return (item.paid - item.paid / Decimal("1.2")).quantize(Decimal("0.01"))


@pytest.fixture(autouse=True)
def whole_order() -> Any:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER}):
        yield


def account(optico: Any, vendor: str, path: str = "", *, name: str = "", **options: Any) -> VendorCredential:
    secrets = {
        "optimizely": {"site_token": "token_sandbox"},
        "guaranteed_reviews": {"api_key": "reviews_sandbox"},
        "ometria": {"key": "ometria_sandbox"},
    }[vendor]
    credential = VendorCredential(
        name=name or vendor,
        vendor=vendor,
        base_url=optico.url + path,
        is_enabled=True,
        options=options,
        start_at=timezone.now() - timedelta(days=1000),
    )
    credential.set_secrets(secrets)
    credential.save()
    for status, is_sale in STATUSES.items():
        DeclaredStatus.objects.create(credential=credential, name=status, is_sale=is_sale)
    return credential


def optimizely(optico: Any, **options: Any) -> VendorCredential:
    return account(optico, "optimizely", site="sandbox", cluster="custom", channel="callcentre", **options)


def reviews(optico: Any, **options: Any) -> VendorCredential:
    return account(optico, "guaranteed_reviews", "/private/v3/orders", **options)


def clean_journal(optico: Any, vendor: str) -> list[dict[str, Any]]:
    entries = optico.journal(vendor=vendor)
    assert [entry["remarks"] for entry in entries if entry["remarks"]] == []
    return entries


def test_optimizely_hears_of_a_phone_order_once(optico: Any) -> None:
    credential = optimizely(optico)
    purchase = place("1001", "pending", ITEMS, call="4711")
    for stage in ("confirmed", "shipped", "refunded"):
        move(purchase, stage)
        deliver(credential)
    (entry,) = clean_journal(optico, "optimizely")
    assert entry["verdict"] == "stored"
    assert state_of(purchase).state == State.IN_SYNC
    record = optico.record("optimizely", "1001")
    assert Decimal(str(record["order"]["total"] if "order" in record else record["total"])) == Decimal("123.88")


def test_optimizely_hears_nothing_of_a_web_order(optico: Any) -> None:
    credential = optimizely(optico)
    purchase = place("1001", "confirmed", ITEMS)
    deliver(credential)
    assert clean_journal(optico, "optimizely") == []
    assert state_of(purchase).reason == "not_offline"


@pytest.mark.parametrize(("options", "sends"), [({}, 4), ({"max_ambiguous": 1}, 2), ({"max_ambiguous": 0}, 1)])
@pytest.mark.parametrize("fault", ["drop_after", "html200"])
def test_oz_12_optimizely_in_doubt_is_not_told_again_and_again(
    optico: Any, clock: Clock, options: dict[str, int], sends: int, fault: str
) -> None:
    credential = optimizely(optico, **options)
    optico.script("1001", [fault] * 6)
    purchase = place("1001", "confirmed", ITEMS, call="4711")
    for _ in range(6):
        deliver(credential, clock=clock)
        clock.forward(minutes=20)
    assert len(optico.journal(vendor="optimizely")) == sends
    assert (state_of(purchase).state, state_of(purchase).reason) == (State.REFUSED, "ambiguous")


def test_ometria_holds_the_newest_whole_order(optico: Any) -> None:
    credential = account(optico, "ometria", "/ometria/v2")
    purchase = place("1001", "pending", ITEMS)
    deliver(credential)
    move(purchase, "confirmed")
    move(purchase, "shipped")
    deliver(credential)
    assert [entry["verdict"] for entry in clean_journal(optico, "ometria")] == ["stored", "stored"]
    order = optico.record("ometria", "1001")
    assert (order["status"], order["is_valid"], order["customer"]["lastname"]) == ("shipped", True, "Łęcki-O'Brien")
    assert Decimal(str(order["grand_total"])) == Decimal("123.88")


def test_om_15_a_new_key_is_tried_every_ten_minutes_until_it_works(optico: Any, clock: Clock) -> None:
    optico.config(ometria_keys=["another"])
    credential = account(optico, "ometria", "/ometria/v2")
    purchase = place("1001", "confirmed", ITEMS)
    for minutes, sends in ((0, 1), (9, 1), (2, 2), (9, 2)):
        clock.forward(minutes=minutes)
        deliver(credential, clock=clock)
        assert len(optico.journal(vendor="ometria")) == sends
    credential.refresh_from_db()
    assert (credential.hold_reason, credential.paused_at) == ("new_key", None)
    assert insight.credential_lines([credential])[0].state == insight.CredentialLine.State.TRYING
    optico.config(ometria_keys=["ometria_sandbox"])
    clock.forward(minutes=2)
    deliver(credential, clock=clock)
    credential.refresh_from_db()
    assert (credential.hold_reason, state_of(purchase).state) == ("", State.IN_SYNC)


def test_om_15_a_new_key_refused_for_an_hour_pauses(optico: Any, clock: Clock) -> None:
    optico.config(ometria_keys=["another"])
    credential = account(optico, "ometria", "/ometria/v2")
    place("1001", "confirmed", ITEMS)
    for _ in range(9):
        deliver(credential, clock=clock)
        clock.forward(minutes=11)
    credential.refresh_from_db()
    assert (credential.hold_reason, credential.paused_at is not None) == ("key_refused", True)
    assert len(optico.journal(vendor="ometria")) == 7


def test_om_15_429_halves_the_rate_for_a_while(optico: Any, clock: Clock) -> None:
    credential = account(optico, "ometria", "/ometria/v2")
    optico.script("1001", ["429", "429"])
    purchase = place("1001", "confirmed", ITEMS)
    rates = []
    for seconds in (0, 5, 5, 61, 61):
        clock.forward(seconds=seconds)
        purchase.things.first().save()
        place(f"at {clock.now:%H%M%S}", "confirmed", ITEMS)
        deliver(credential, clock=clock)
        credential.refresh_from_db()
        rates.append(credential.rate_at(clock.now))
    assert rates == [2.0, 1.0, 1.0, 2.0, 4.0]
    assert state_of(purchase).state == State.IN_SYNC


def test_ometria_is_told_the_shops_own_exchange_rate(optico: Any) -> None:
    credential = account(optico, "ometria", "/ometria/v2", base_currency="GBP")
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": {**ORDER, "exchange_rate": {"value": "0.8"}}}):
        place("1001", "shipped", ITEMS)
        deliver(credential)
    assert [entry["verdict"] for entry in clean_journal(optico, "ometria")] == ["stored"]
    totals = optico.record("ometria", "1001")["totals"]
    assert [(part["currency"], part["grand_total"]) for part in totals.values()] == [("GBP", 99.1), ("EUR", 123.88)]


@pytest.mark.parametrize("encoding", ["multipart", "json", "form"])
def test_gr_03_reviews_get_one_order_a_request_each_mailed_once(optico: Any, encoding: str) -> None:
    credential = reviews(optico, encoding=encoding)
    for number in ("1001", "1002", "1003"):
        place(number, "shipped", ITEMS)
    deliver(credential)
    entries = optico.journal(vendor="guaranteed_reviews")
    assert [entry["verdict"] for entry in entries] == ["stored"] * 3
    if encoding == "multipart":
        # The document's own example; the others are only known from the vendor's modules.
        clean_journal(optico, "guaranteed_reviews")
    assert len(optico.records("guaranteed_reviews")) == 3


def test_gr_15_reviews_that_already_have_it_count_as_done(optico: Any, clock: Clock) -> None:
    """The answer is lost, the retry hears "already sent": nobody is mailed twice."""
    credential = reviews(optico)
    optico.script("1001", ["drop_after"])
    purchase = place("1001", "shipped", ITEMS)
    for _ in range(4):
        deliver(credential, clock=clock)
        clock.forward(minutes=20)
    assert len(optico.journal(vendor="guaranteed_reviews")) == 2
    assert state_of(purchase).state == State.IN_SYNC
    assert len(optico.records("guaranteed_reviews")) == 1


def test_reviews_mail_the_customer_when_the_page_says(optico: Any) -> None:
    credential = reviews(optico)
    purchase = place("1001", "shipped", ITEMS)
    deliver(credential)
    promised = datetime.fromisoformat(optico.record("guaranteed_reviews", "1001")["mail_at"])
    (standing,) = insight.standings([state_of(purchase).subject])[state_of(purchase).subject_id]
    assert standing.mail_at is not None
    assert abs(standing.mail_at - promised) < timedelta(minutes=1)


def test_gr_11_each_language_has_its_key(optico: Any) -> None:
    """Routing rules say which key; an order whose language has none says so, and nobody is mailed twice."""
    accounts = [reviews(optico, name=language) for language in ("fr", "en")]
    for credential in accounts:
        credential.rules.create(field="language", value=credential.name)
    french, german = place("1001", "shipped", ITEMS, site="fr_BE"), place("1002", "shipped", ITEMS, site="de")
    for credential in accounts:
        deliver(credential)
    (entry,) = clean_journal(optico, "guaranteed_reviews")
    assert optico.record("guaranteed_reviews", "1001") is not None and entry["verdict"] == "stored"
    assert [state_of(french, credential).reason for credential in accounts] == ["", "other_credential"]
    assert [state_of(german, credential).reason for credential in accounts] == ["no_rule", "no_rule"]


def test_gr_05_an_old_shop_mails_nobody(optico: Any) -> None:
    credential = reviews(optico)
    old = place("1001", "shipped", ITEMS, bought_at=timezone.now() - timedelta(days=31))
    deliver(credential)
    assert optico.journal(vendor="guaranteed_reviews") == []
    assert state_of(old).reason == "too_old"


def test_every_vendor_at_once_each_in_its_manner(optico: Any) -> None:
    accounts = [make_credential(optico.url), optimizely(optico), reviews(optico)]
    purchase = place("1001", "pending", ITEMS, call="4711", visit="3617898c651df0f8617f70a0")
    for stage in ("pending", "confirmed", "shipped"):
        move(purchase, stage)
        for credential in accounts:
            deliver(credential)
    told = {vendor: len(optico.journal(vendor=vendor)) for vendor in ("optico", "optimizely", "guaranteed_reviews")}
    assert told == {"optico": 3, "optimizely": 1, "guaranteed_reviews": 1}
    assert {state_of(purchase, credential).state for credential in accounts} == {State.IN_SYNC}


def test_attempts_keep_no_key_and_no_person(optico: Any) -> None:
    from optico_sync.models import Attempt

    for credential in (optimizely(optico), reviews(optico)):
        place(credential.name, "shipped", ITEMS, call="4711")
        deliver(credential)
    kept = json.dumps(list(Attempt.objects.values("request", "answer", "detail")))
    for secret in ("token_sandbox", "reviews_sandbox", "zoe.lecki", "O'Brien", "Zo\\u00eb"):
        assert secret not in kept


def test_an_order_without_an_email_is_refused_only_by_the_vendor_that_mails(optico: Any) -> None:
    customer = {**ORDER["customer"], "email": {"value": ""}}
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": {**ORDER, "customer": customer}}):
        mailing, other = reviews(optico), make_credential(optico.url)
        purchase = place("1001", "confirmed", ITEMS)
        deliver(mailing)
        deliver(other)
    assert state_of(purchase, other).state == State.IN_SYNC
    found = state_of(purchase, mailing)
    assert (found.state, found.reason) == (State.REFUSED, "missing_email")
