"""The app's first page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.module_loading import import_string

from optico_sync import figures, wakeups
from optico_sync.models import Reconciliation, Subject
from optico_sync.outcome import retry
from optico_sync.relay import relay_all
from tests.helpers import Vendor, deliver, error, make_credential, place, reply
from tests.settings import OPTICO_SYNC

pytestmark = pytest.mark.django_db
URL = "/admin/optico_sync/"


def page(client: Client) -> str:
    response = client.get(URL)
    assert response.status_code == 200
    return response.content.decode()


def test_an_empty_installation_says_what_to_do(admin_client: Client) -> None:
    html = page(admin_client)
    assert "Setting up" in html and "Add one with the key the vendor gave you" in html
    assert "No vendor credential yet" in html and "sync-chart" not in html.split("sync-charts")[1]


@pytest.mark.parametrize(
    ("engine", "words", "is_a_step"),
    [
        ("embedded", "The worker does it by itself.", False),
        ("celery", "into the schedule of Celery beat, every 5 seconds", True),
        ("django_tasks", "Run manage.py optico_round every minute, for example from cron.", True),
    ],
)
def test_who_looks_for_what_has_become_due_is_said_for_each_engine(
    admin_client: Client, engine: str, words: str, is_a_step: bool
) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ENGINE": engine}):
        html = page(admin_client)
        assert "was never looked for" in html and html.count(words) == 1 + is_a_step
        assert ("The periodic round was seen" in html) == is_a_step
        wakeups.note_round()
        html = page(admin_client)
        assert "last looked for" in html and words not in html


def test_every_engine_says_how_its_round_is_set_up() -> None:
    hints = {name: str(import_string(path).round_hint) for name, path in wakeups.ENGINES.items()}
    assert len(set(hints.values())) == len(hints)


def test_numbers_link_to_their_orders_and_add_up(admin_client: Client, credential: Any) -> None:
    answers = {"1": reply(), "2": error("Unknown status"), "3": reply()}
    for number in answers:
        place(number, "confirmed")
    deliver(credential, sender=Vendor(lambda form: answers[form["id"]]))
    html = page(admin_client)
    assert f'?credential={credential.pk}&amp;state=refused">1</a>' in html
    assert f'?credential={credential.pk}&amp;state=in_sync">2</a>' in html
    listed = admin_client.get(f"/admin/optico_sync/subject/?credential={credential.pk}&state=refused")
    assert "1 order" in listed.content.decode()
    cells = re.findall(r"<td[^>]*>(?:<a[^>]*>)?(\d+)", html.split('id="sync-totals"')[1].split("</tbody>")[0])
    assert sum(map(int, cells[:-1])) == int(cells[-1]) == 3


def test_one_sentence_says_whether_a_vendor_is_in_step(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    place("1", "confirmed")
    relay_all()
    assert ">sending<" in page(admin_client)
    deliver(credential, sender=vendor)
    html = page(admin_client)
    assert ">in step<" in html and "Last delivery" in html


def test_a_vendor_that_asked_for_fewer_requests_says_how_many_and_until_when(admin_client: Client) -> None:
    credential = make_credential("https://api.ometria.com/v2")
    credential.vendor = "ometria"
    credential.save()
    assert "fewer requests" not in page(admin_client)
    now = timezone.now()
    credential.heed([retry("rate_limited", retry_after=20), retry("rate_limited")], now)
    credential.heed([retry("rate_limited")], now)
    credential.save()
    slowed_until, asked_until = (
        timezone.localtime(now + timedelta(seconds=seconds)).strftime("%H:%M:%S") for seconds in (60, 20)
    )
    for url in (URL, f"{URL}vendorcredential/", f"{URL}vendorcredential/{credential.pk}/change/"):
        html = admin_client.get(url).content.decode()
        assert f"The vendor asked for fewer requests: 1 a second until {slowed_until}." in html
        assert f"The vendor asked to wait until {asked_until}." in html
    credential.slowed_at -= timedelta(seconds=90)
    credential.save()
    assert "fewer requests: 2 a second" in page(admin_client)
    credential.slowed_at -= timedelta(seconds=60)
    credential.save()
    assert "fewer requests" not in page(admin_client)


def test_charts_have_a_table_beside_and_no_inline_style_or_script(
    admin_client: Client, credential: Any, vendor: Vendor
) -> None:
    place("1", "confirmed")
    deliver(credential, sender=vendor)
    figures.take_readings()
    html = page(admin_client).split('<div class="sync-page')[1].split("app-optico_sync")[0]
    assert html.count('class="sync-chart"') == 4
    assert html.count("<svg") == html.count("As a table") == 2, "nothing waits, and no order has a visit"
    assert "style=" not in html and "<script" not in html and "onclick" not in html


def test_numbers_in_the_drawing_are_not_localised(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    place("1", "confirmed")
    deliver(credential, sender=vendor)
    html = admin_client.get(URL, headers={"accept-language": "fr"}).content.decode()
    assert re.search(r'<rect [^>]*height="\d+\.\d+"', html)


def test_who_may_not_see_orders_sees_no_overview(client: Client, credential: Any) -> None:
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_worker"))
    client.force_login(viewer)
    assert "sync-overview" not in page(client)


def test_the_page_costs_the_same_at_any_number_of_orders(admin_client: Client, credential: Any, vendor: Vendor) -> None:
    costs = []
    for size in (2, 30):
        for number in range(size):
            place(f"{size}-{number}", "confirmed")
        deliver(credential, sender=vendor)
        page(admin_client)
        with CaptureQueriesContext(connection) as asked:
            page(admin_client)
        costs.append(len(asked))
    assert costs[0] == costs[1] <= 26


def test_a_second_credential_costs_only_its_own_counts(admin_client: Client, credential: Any) -> None:
    with CaptureQueriesContext(connection) as one:
        page(admin_client)
    make_credential(name="second")
    with CaptureQueriesContext(connection) as two:
        page(admin_client)
    assert len(two) - len(one) <= 5


def test_the_oldest_waiting_order_is_named(admin_client: Client, credential: Any) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=Vendor(lambda form: reply(b"", 503)))
    credential.sync_states.update(due_at="2026-01-01T00:00Z")
    assert "The oldest one waiting: 1001, for Optico" in page(admin_client)


def test_a_fall_of_the_credited_orders_is_told(admin_client: Client, credential: Any) -> None:
    now = timezone.now()
    Subject.objects.bulk_create(
        Subject(kind="order", key=str(number), created_at=at, changed_at=at, status_at=at, visit_id=visit)
        for number, (at, visit) in enumerate(
            [(now - timedelta(days=5), "v1")] * 150 + [(now - timedelta(hours=1), "")] * 30
        )
    )
    html = page(admin_client)
    assert "fewer credited" in html and "before it were 100 %" in html


def test_a_refused_key_leads_to_the_field_to_type_it(admin_client: Client, login: Any, credential: Any) -> None:
    credential.pause("key_refused", "", timezone.now())
    credential.save()
    url = f"/admin/optico_sync/vendorcredential/{credential.pk}/change/"
    link = f'<a href="{url}#id_secret_key">Type the new key here</a>'
    assert link in page(admin_client)
    assert 'id="id_secret_key"' in admin_client.get(url).content.decode()
    assert "Type the new key here" not in page(login("view_subject"))
    type(credential).objects.update(pause_reason="forbidden")
    assert link not in page(admin_client)


def test_the_last_comparison_stands_beside_the_sweep(admin_client: Client, credential: Any) -> None:
    assert "Read back" not in page(admin_client)
    type(credential).objects.update(vendor="ometria")
    assert "What Optico holds has not been compared with the shop yet" in page(admin_client)
    now = timezone.now()
    run = Reconciliation.objects.create(
        credential=credential, started_at=now, finished_at=now, compared=40, drifted=2, drifts=[]
    )
    html = page(admin_client)
    assert "What Optico holds was last compared with the shop" in html and "See what differs" in html
    assert "Orders compared: 40, drifted: 2." in html
    run.drifted = 0
    run.save()
    assert "See what differs" not in page(admin_client)
    run.failure = "timeout"
    run.save()
    assert "The vendor did not answer in time." in page(admin_client)
