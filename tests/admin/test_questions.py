"""What will this do? Asked before a credential is switched on or gets other rules; the numbers are what happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.timezone import localtime

from optico_sync import jobs
from optico_sync.models import DeclaredStatus, Installation, Job, RoutingRule, Subject, SyncState, VendorCredential
from optico_sync.models.installation import Facts
from optico_sync.preview import foresee
from optico_sync.relay import relay_all
from optico_sync.resync import hold, withhold
from optico_sync.selection import Selection
from tests.admin.test_credentials import typed, url_of
from tests.helpers import KEY, Vendor, deliver, error, fill, make_credential, place
from tests.oddshop.models import Purchase
from tests.settings import OPTICO_SYNC
from tests.test_together import ITEMS, ORDER, account

pytestmark = pytest.mark.django_db
ASKED = "What will this do?"
ORDERS = "/admin/optico_sync/subject/"


def hidden(html: str) -> dict[str, list[str]]:
    """What the question's own form posts."""
    form = html.split('<div id="content-main" class="sync-page">')[1].split("</form>")[0]
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and name[1] not in ("csrfmiddlewaretoken", "typed"):
            fields.setdefault(name[1], []).append(unescape(value[1]) if value else "")
    return fields


def go_on(client: Client, url: str, response: Any, **changed: Any) -> str:
    """The page after the question was answered with yes; the page itself where nothing was asked."""
    html = response.content.decode()
    if ASKED not in html:
        return html
    return client.post(url, {**hidden(html), "confirmed": "yes", **changed}, follow=True).content.decode()


def switch_on(client: Client, credential: VendorCredential, **fields: Any) -> Any:
    """As the form posts it when nothing but the switch is touched."""
    start = localtime(credential.start_at)
    data = {f"option_{name}": value for name, value in credential.chosen_options.items() if value is not False}
    data |= {"start_at_0": f"{start:%Y-%m-%d}", "start_at_1": f"{start:%H:%M:%S}"}
    data |= {"name": credential.name, "base_url": credential.base_url, **fields}
    return client.post(url_of(credential), typed(**data))


def off(credential: VendorCredential) -> VendorCredential:
    VendorCredential.objects.filter(pk=credential.pk).update(is_enabled=False)
    return VendorCredential.objects.get(pk=credential.pk)


def is_on(credential: VendorCredential) -> bool:
    return VendorCredential.objects.get(pk=credential.pk).is_enabled


# the numbers are what the vendor then records


@override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER})
def test_switching_on_the_reviews_tells_whom_they_then_mail(owner: Client, optico: Any) -> None:
    reviews = off(account(optico, "guaranteed_reviews", "/private/v3/orders"))
    for number, stage in (("1001", "confirmed"), ("1002", "confirmed"), ("1003", "pending"), ("1004", "confirmed")):
        place(number, stage, ITEMS)
    place("old", "confirmed", ITEMS, bought_at=timezone.now() - timedelta(days=2000))
    relay_all()
    hold([SyncState.objects.get(subject__reference="1004").subject_id])
    response = switch_on(owner, reviews)
    html = response.content.decode()
    day = localtime(timezone.now() + timedelta(days=10))
    assert ASKED in html and "2 requests are sent." in html
    assert f"2 customers are written to by the vendor, from {day:%-d %b %Y} to {day:%-d %b %Y}." in html
    assert "1 order is left out: The order is older than the credential&#x27;s start date." in html
    assert "1 order is left out: It has not reached a status that is a sale." in html
    assert not is_on(reviews) and not LogEntry.objects.exists()
    go_on(owner, url_of(reviews), response)
    assert is_on(reviews)
    deliver(reviews)
    assert len(optico.records("guaranteed_reviews")) == 2


def test_switching_on_optico_tells_what_it_then_converts(owner: Client, live: VendorCredential, optico: Any) -> None:
    credential = off(live)
    for number, stage in (("1", "pending"), ("2", "confirmed"), ("3", "shipped"), ("4", "strange")):
        place(number, stage)
    fill(visit_id="64f1")
    relay_all()
    response = switch_on(owner, credential)
    html = response.content.decode()
    for told in ("3 requests are sent.", "1 cart is told.", "2 orders become a sale there", "1 order cannot be sent:"):
        assert told in html
    go_on(owner, url_of(credential), response)
    deliver(credential)
    records = optico.orders()
    assert (len(records), sum(record["conversions"] for record in records)) == (3, 2)
    assert len(optico.journal()) == 4


def test_what_is_in_step_already_is_told_and_not_sent(owner: Client, live: VendorCredential, optico: Any) -> None:
    for number in ("1", "2"):
        place(number, "confirmed")
    deliver(live)
    credential = off(live)
    for order in Purchase.objects.all():
        order.save()
    place("3", "confirmed")
    relay_all()
    response = switch_on(owner, credential)
    html = response.content.decode()
    assert "1 request is sent." in html and "2 orders are in step already and are not sent." in html
    go_on(owner, url_of(credential), response)
    deliver(credential)
    assert len(optico.journal()) == 3


def test_a_rule_that_releases_tells_what_it_then_sends(owner: Client, live: VendorCredential, optico: Any) -> None:
    for number in ("1", "2"):
        place(number, "packed")
    deliver(live)
    optico.config(keys=[KEY], statuses={"packed": True})
    declared = {
        "declared_statuses-TOTAL_FORMS": "1",
        "declared_statuses-0-name": "packed",
        "declared_statuses-0-is_sale": "on",
    }
    response = switch_on(owner, live, **declared)
    html = response.content.decode()
    assert "2 requests are sent." in html and "2 orders become a sale there" in html
    assert not DeclaredStatus.objects.filter(name="packed").exists()
    assert "Orders released: 2." in go_on(owner, url_of(live), response)
    assert "Orders released: 2." in "".join(entry.change_message for entry in LogEntry.objects.all())
    deliver(live)
    assert sum(record["conversions"] for record in optico.orders()) == 2


def test_an_earlier_start_tells_what_waits_by_it(owner: Client, credential: VendorCredential) -> None:
    """A credential that is paused holds a thousand orders; its start date decides which of them are sent."""
    credential.pause("forbidden", "", timezone.now())
    credential.save()
    for number in range(3):
        place(str(number), "confirmed", bought_at=timezone.now() - timedelta(days=number * 10))
    relay_all()
    cut = {"start_at_0": f"{timezone.now() - timedelta(days=15):%Y-%m-%d}", "start_at_1": "00:00:00"}
    html = switch_on(owner, credential, **cut).content.decode()
    assert "2 requests are sent." in html and "1 order is left out" in html
    assert "At the moment nothing leaves: " in html


def test_a_routing_rule_tells_what_another_credential_loses_and_this_one_sends(
    owner: Client, credential: VendorCredential
) -> None:
    second = make_credential(name="second")
    RoutingRule.objects.create(credential=second, field="currency", value="*")
    place("1", "confirmed")
    relay_all()
    rule = {"rules-TOTAL_FORMS": "1", "rules-0-position": "5", "rules-0-field": "currency", "rules-0-value": "*"}
    html = switch_on(owner, credential, **rule).content.decode()
    assert "1 request is sent." in html and "<h2>second</h2>" not in html


# when nothing is asked


def test_nothing_is_asked_where_nothing_waits(owner: Client, credential: VendorCredential) -> None:
    assert switch_on(owner, off(credential)).status_code == 302
    assert is_on(credential) and LogEntry.objects.count() == 1


def test_nothing_is_asked_of_what_changes_nothing(owner: Client, credential: VendorCredential) -> None:
    place("1", "confirmed")
    relay_all()
    assert switch_on(owner, credential, name="Renamed", concurrency="4").status_code == 302
    assert switch_on(owner, credential, is_enabled="").status_code == 302
    assert not is_on(credential)


def test_nothing_is_asked_while_it_is_off(owner: Client, credential: VendorCredential) -> None:
    place("1", "packed")
    deliver(credential, sender=Vendor())
    declared = {"declared_statuses-TOTAL_FORMS": "1", "declared_statuses-0-name": "packed"}
    assert switch_on(owner, off(credential), is_enabled="", **declared).status_code == 302
    assert state_of_first().state == "waiting"


def state_of_first() -> SyncState:
    return SyncState.objects.get()


def test_what_cannot_be_saved_is_not_asked(owner: Client, credential: VendorCredential) -> None:
    place("1", "confirmed")
    relay_all()
    html = switch_on(owner, off(credential), name="").content.decode()
    assert "This field is required." in html and ASKED not in html


def test_wrong_settings_are_no_reason_to_keep_the_form_from_being_saved(
    owner: Client, credential: VendorCredential
) -> None:
    place("1", "confirmed")
    relay_all()
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": {"model": "no.Such"}}):
        assert switch_on(owner, off(credential)).status_code == 302
    assert is_on(credential)


# the answer


@pytest.fixture
def waiting(credential: VendorCredential) -> VendorCredential:
    """Switched off, with three orders of ten days each."""
    for number in range(3):
        place(str(number), "confirmed", bought_at=timezone.now() - timedelta(days=number * 10))
    relay_all()
    return off(credential)


def test_very_many_are_typed(owner: Client, waiting: VendorCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optico_sync.preview.TYPE_FROM", 3)
    response = switch_on(owner, waiting)
    assert "To confirm, type 3:" in response.content.decode()
    assert "Type the number to confirm." in go_on(owner, url_of(waiting), response)
    assert "Type the number to confirm." in go_on(owner, url_of(waiting), response, typed="2")
    assert not is_on(waiting)
    go_on(owner, url_of(waiting), response, typed="3")
    assert is_on(waiting)


def test_a_cut_off_date_is_worked_out_before_it_counts(owner: Client, waiting: VendorCredential) -> None:
    response = switch_on(owner, waiting)
    assert "3 requests are sent." in response.content.decode()
    day = f"{localtime(timezone.now() - timedelta(days=15)):%Y-%m-%d}"
    again = owner.post(url_of(waiting), {**hidden(response.content.decode()), "confirmed": "yes", "start_at_0": day})
    html = again.content.decode()
    assert "2 requests are sent." in html and "1 order is left out" in html and not is_on(waiting)
    go_on(owner, url_of(waiting), again)
    vendor = Vendor()
    deliver(waiting, sender=vendor)
    assert is_on(waiting) and len(vendor.forms) == 2
    assert SyncState.objects.get(state="not_sent").reason == "before_start"


def test_a_typed_key_is_kept_and_is_on_no_page(owner: Client, waiting: VendorCredential) -> None:
    response = switch_on(owner, waiting, secret_key="cust_a_new_key_77", name="Renamed", _continue="1")
    html = response.content.decode()
    assert "cust_a_new_key_77" not in html and "is kept, encrypted" in html
    assert all("cust_a_new_key_77" not in str(session.get_decoded()) for session in Session.objects.all())
    html = go_on(owner, url_of(waiting), response)
    stored = VendorCredential.objects.get()
    assert (stored.secrets, stored.name, stored.is_enabled) == ({"key": "cust_a_new_key_77"}, "Renamed", True)
    assert "cust_a_new_key_77" not in html and html.count("You may edit it again below.") == 1
    assert not any("optico_sync_typed" in session.get_decoded() for session in Session.objects.all())


def test_back_saves_nothing_and_loses_only_the_key(owner: Client, waiting: VendorCredential) -> None:
    response = switch_on(owner, waiting, secret_key="cust_a_new_key_77", name="Renamed")
    data = {**hidden(response.content.decode()), "back": "yes"}
    html = owner.post(url_of(waiting), data).content.decode()
    assert "Nothing was saved." in html and 'value="Renamed"' in html and "cust_a_new_key_77" not in html
    stored = VendorCredential.objects.get()
    assert (stored.name, stored.is_enabled, stored.secrets) == ("Optico", False, {"key": KEY})
    assert not LogEntry.objects.exists()


def test_a_key_kept_for_one_page_is_not_given_to_another(owner: Client, waiting: VendorCredential) -> None:
    second = make_credential(name="second")
    switch_on(owner, waiting, secret_key="cust_a_new_key_77")
    switch_on(owner, second, confirmed="yes", shown_start="")
    assert VendorCredential.objects.get(pk=second.pk).secrets == {"key": KEY}


def test_nothing_is_inline(owner: Client, waiting: VendorCredential) -> None:
    html = switch_on(owner, waiting).content.decode()
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|<style", html)


def test_looking_ahead_takes_everything_back(credential: VendorCredential) -> None:
    place("1", "confirmed")
    relay_all()
    off(credential)
    before = list(SyncState.objects.values()), list(VendorCredential.objects.values("is_enabled"))
    (found,) = foresee(lambda: VendorCredential.objects.update(is_enabled=True))
    assert found.sends == 1
    assert (list(SyncState.objects.values()), list(VendorCredential.objects.values("is_enabled"))) == before


def test_a_refused_order_of_which_a_repeat_is_due_later_is_foreseen_too(credential: VendorCredential) -> None:
    placed(1)
    SyncState.objects.update(
        state="refused", reason="unknown_status", refused_status="confirmed", tried=1, repeats=1,
        due_at=timezone.now() + timedelta(minutes=10),
    )  # fmt: skip
    (found,) = jobs.foresee(Job.Verb.RELEASE, Selection())
    assert found.sends == 1


@pytest.mark.parametrize("size", [2, 30])
def test_looking_ahead_takes_a_constant_number_of_queries(credential: VendorCredential, size: int) -> None:
    for number in range(size):
        place(str(number), "confirmed")
    relay_all()
    off(credential)
    with CaptureQueriesContext(connection) as asked:
        foresee(lambda: VendorCredential.objects.update(is_enabled=True))
    # PostgreSQL is asked which cluster this is, before and after.
    assert len(asked) <= 22 + 6 * (connection.vendor == "postgresql")


# what orders wait behind: a hand, a pause, a copy


def placed(count: int) -> list[int]:
    for number in range(count):
        place(str(number), "confirmed")
    relay_all()
    return list(Subject.objects.order_by("pk").values_list("pk", flat=True))


def tick(client: Client, verb: str, pks: list[int], **fields: str) -> str:
    return client.post(ORDERS, {"action": verb, "_selected_action": pks, "index": "0", **fields}, follow=True).text


@pytest.mark.parametrize(("keep", "verb"), [(hold, "release"), (withhold, "send_after_all")])
def test_letting_many_go_tells_what_is_then_sent(
    operator: Client, credential: VendorCredential, vendor: Vendor, keep: Callable[..., int], verb: str
) -> None:
    pks = placed(12)
    keep(pks)
    html = tick(operator, verb, pks)
    assert ASKED.lower() in html and "12 requests are sent." in html and "12 orders become a sale there" in html
    assert SyncState.objects.filter(is_held=True).count() == 12 and not LogEntry.objects.exists()
    tick(operator, verb, pks, confirmed="yes")
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 12 and LogEntry.objects.count() == 12


def test_what_was_refused_is_foreseen_too(operator: Client, credential: VendorCredential, vendor: Vendor) -> None:
    pks = placed(10)
    deliver(credential, sender=Vendor(lambda form: error("Missing required parameter")))
    assert "10 requests are sent." in tick(operator, "release", pks)
    tick(operator, "release", pks, confirmed="yes")
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 10


@pytest.mark.parametrize(("count", "verb"), [(9, "release"), (12, "hold"), (12, "withhold")])
def test_few_and_what_lets_nothing_go_are_not_asked(
    operator: Client, credential: VendorCredential, count: int, verb: str
) -> None:
    pks = placed(count)
    if verb == "release":
        hold(pks)
    assert ASKED.lower() not in tick(operator, verb, pks).lower()
    assert SyncState.objects.filter(is_held=verb != "release").count() == count


def test_only_what_is_ticked_is_looked_at(operator: Client, credential: VendorCredential) -> None:
    pks = placed(12)
    hold(pks)
    other = make_credential(name="other")
    assert "10 requests are sent." in tick(operator, "release", pks[:10])
    off(credential)
    # Nothing leaves by it, so nothing is asked.
    assert "Released: 10" in tick(operator, "release", pks[:10])
    assert not SyncState.objects.filter(credential=other).exists()


def test_very_many_let_go_are_typed(
    operator: Client, credential: VendorCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optico_sync.preview.TYPE_FROM", 10)
    pks = placed(11)
    hold(pks)
    assert "To confirm, type 11:" in tick(operator, "release", pks)
    assert "Type the number of orders to confirm." in tick(operator, "release", pks, confirmed="yes", typed="10")
    assert SyncState.objects.filter(is_held=True).count() == 11
    assert "Released: 11" in tick(operator, "release", pks, confirmed="yes", typed="11")


def test_all_that_match_are_shown_before_they_are_let_go(
    operator: Client, credential: VendorCredential, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optico_sync.admin.orders.OrderAdmin.list_per_page", 2)
    hold(placed(3))
    asked = {"action": "release", "_selected_action": "0", "select_across": "1"}
    html = operator.post(f"{ORDERS}?state=held", asked, follow=True).text
    assert "Release: all 3 orders that match?" in html and "3 requests are sent." in html and "Release them" in html
    assert SyncState.objects.filter(is_held=True).count() == 3
    operator.post(f"{ORDERS}?state=held", {**asked, "confirmed": "yes"})
    jobs.work()
    deliver(credential, sender=vendor)
    assert len(vendor.forms) == 3


@pytest.fixture
def paused(credential: VendorCredential) -> VendorCredential:
    """Its key was refused, and three orders wait."""
    placed(3)
    credential.pause("key_refused", "Invalid API key", timezone.now())
    credential.save()
    return credential


def is_paused() -> bool:
    return bool(VendorCredential.objects.get().paused_at)


def test_a_new_key_tells_what_waited_for_it(owner: Client, paused: VendorCredential, vendor: Vendor) -> None:
    response = switch_on(owner, paused, secret_key="cust_a_new_key_77")
    html = response.content.decode()
    assert ASKED in html and "3 requests are sent." in html and "cust_a_new_key_77" not in html
    assert is_paused() and not LogEntry.objects.exists()
    go_on(owner, url_of(paused), response)
    assert VendorCredential.objects.get().secrets == {"key": "cust_a_new_key_77"}
    deliver(VendorCredential.objects.get(), sender=vendor)
    assert len(vendor.forms) == 3


def test_a_new_key_for_which_nothing_waited_is_not_asked_about(owner: Client, credential: VendorCredential) -> None:
    placed(3)
    assert switch_on(owner, credential, secret_key="cust_a_new_key_77").status_code == 302


def test_resuming_tells_what_waited(owner: Client, paused: VendorCredential) -> None:
    url = url_of(paused, "resume/")
    response = owner.post(url)
    assert "3 requests are sent." in response.content.decode() and is_paused()
    owner.post(url, {"back": "yes"})
    assert is_paused() and not LogEntry.objects.exists()
    assert "is sending again." in go_on(owner, url, response) and not is_paused()


def test_resuming_from_the_list_tells_it_too(owner: Client, paused: VendorCredential) -> None:
    url = "/admin/optico_sync/vendorcredential/"
    response = owner.post(url, {"action": "resume", "_selected_action": [paused.pk], "index": "0"})
    assert "3 requests are sent." in response.content.decode() and is_paused()
    owner.post(url, {**hidden(response.content.decode()), "back": "yes"})
    assert is_paused()
    assert "is sending again." in go_on(owner, url, response) and not is_paused()


@pytest.mark.parametrize("has_worker", [False, True])
def test_adopting_a_copy_tells_what_waited(
    owner: Client, credential: VendorCredential, vendor: Vendor, has_worker: bool
) -> None:
    placed(3)
    Installation.record(Facts(database="db.example", address="postgresql://db.example:5432/shop"))
    if has_worker:
        deliver(credential, sender=vendor)
        assert is_paused()
    url = "/admin/optico_sync/vendorcredential/installation/"
    response = owner.post(url, {"verb": "adopt"})
    html = response.content.decode()
    assert ASKED in html and "3 requests are sent." in html
    assert Installation.compare().is_another and not LogEntry.objects.exists()
    owner.post(url, {"verb": "adopt", "back": "yes"})
    assert Installation.compare().is_another
    assert "This is the real installation now" in go_on(owner, url, response)
    deliver(VendorCredential.objects.get(), sender=vendor)
    assert len(vendor.forms) == 3
