"""Who may see and do what: every address of the admin, and the permissions it takes, no more and no less."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client, override_settings
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from optico_sync.models import AlertSettings, Job, Subject, SyncState, VendorCredential, Worker
from tests.admin.conftest import Login
from tests.helpers import KEY, Vendor, deliver, place, reply
from tests.settings import BASE_DIR, OPTICO_SYNC
from tests.test_together import ORDER

pytestmark = pytest.mark.django_db

SEE, ACT, ERASE = "view_subject", "resend_subject", "erase_subject"
CONFIGURE = "change_vendorcredential"
#: What nobody may, whatever the permissions: rows that the machine writes.
NOBODY = "nobody"

#: Address -> how it is asked, and the permissions it takes, all of them.
PAGES: dict[str, tuple[str, set[str]]] = {
    "subject_changelist": ("get", {SEE}),
    "subject_change": ("get", {SEE}),
    "subject_history": ("get", {SEE}),
    "subject_compare": ("get", {SEE, ACT}),
    "subject_act": ("post", {SEE, ACT}),
    "subject_erase": ("get", {SEE, ERASE}),
    "subject_add": ("get", {NOBODY}),
    "subject_delete": ("post", {NOBODY}),
    "subject_export": ("get", {SEE}),
    "subject_save_filter": ("post", {SEE}),
    "subject_delete_filter": ("post", {SEE}),
    "cart_changelist": ("get", {"view_cart"}),
    "cart_change": ("get", {"view_cart"}),
    "cart_history": ("get", {"view_cart"}),
    "cart_add": ("get", {NOBODY}),
    "cart_delete": ("post", {NOBODY}),
    "cart_export": ("get", {"view_cart"}),
    "cart_save_filter": ("post", {"view_cart"}),
    "cart_delete_filter": ("post", {"view_cart"}),
    "job_changelist": ("get", {"view_job"}),
    "job_change": ("get", {"view_job"}),
    "job_history": ("get", {"view_job"}),
    "job_backfill": ("get", {ACT}),
    "job_move": ("post", {ACT}),
    "job_add": ("get", {NOBODY}),
    "job_delete": ("post", {NOBODY}),
    "vendorcredential_changelist": ("get", {"view_vendorcredential"}),
    "vendorcredential_change": ("get", {"view_vendorcredential"}),
    "vendorcredential_history": ("get", {"view_vendorcredential"}),
    "vendorcredential_doctor": ("get", {"view_vendorcredential"}),
    "vendorcredential_add": ("get", {"add_vendorcredential"}),
    "vendorcredential_delete": ("get", {"delete_vendorcredential"}),
    "vendorcredential_resume": ("post", {CONFIGURE}),
    "vendorcredential_probe": ("post", {CONFIGURE}),
    "vendorcredential_declare": ("post", {CONFIGURE}),
    "installation": ("post", {CONFIGURE}),
    "worker_changelist": ("get", {"view_worker"}),
    "worker_change": ("get", {"view_worker"}),
    "worker_history": ("get", {"view_worker"}),
    "worker_add": ("get", {NOBODY}),
    "worker_delete": ("post", {NOBODY}),
    "alertsettings_changelist": ("get", {"view_alertsettings"}),
    "alertsettings_change": ("get", {"view_alertsettings"}),
    "alertsettings_history": ("get", {"view_alertsettings"}),
    "alertsettings_test": ("post", {"change_alertsettings"}),
    "alertsettings_add": ("get", {NOBODY}),
    "alertsettings_delete": ("post", {NOBODY}),
}
ACTIONS = ["send_again", "hold", "release", "withhold", "send_after_all"]
#: Django's own: whoever may change something may see it.
IMPLIES = {"view_vendorcredential": CONFIGURE, "view_alertsettings": "change_alertsettings", "view_job": ACT}


def ours() -> list[str]:
    known = Permission.objects.filter(content_type__app_label="optico_sync")
    return list(known.values_list("codename", flat=True).order_by("pk"))


def address(name: str, credential: VendorCredential) -> str:
    rows: dict[str, Any] = {
        "subject": Subject.objects.filter(kind="order"),
        "cart": Subject.objects.filter(kind="cart"),
        "vendorcredential": VendorCredential.objects.all(),
        "job": Job.objects.all(),
        "worker": Worker.objects.all(),
        "alertsettings": AlertSettings.objects.all(),
    }
    own = [row.pk for row in rows.get(name.split("_")[0], ())][:1]
    status = credential.declared_statuses.values_list("pk", flat=True)[0]
    for args in ([], own, [*own, status]):
        with contextlib.suppress(NoReverseMatch):
            return reverse(f"admin:optico_sync_{name}", args=args)
    raise AssertionError(name)


def ask(client: Client, name: str, credential: VendorCredential) -> int:
    method, _needed = PAGES[name]
    given = {"subject_act": {"verb": "hold", "credential": credential.pk}, "job_move": {"verb": "pause"}}.get(name, {})
    return getattr(client, method)(address(name, credential), given).status_code


@pytest.fixture(autouse=True)
def shop(credential: VendorCredential, vendor: Vendor) -> None:
    place("1001", "confirmed")
    deliver(credential, sender=vendor)
    now = timezone.now()
    Subject.objects.create(kind="cart", key="c1", created_at=now, changed_at=now)
    Job.objects.create(verb="hold", selection={}, asked_at=now, leased_until=now)
    Worker.objects.create(name="w-1", started_at=now, beat_at=now)
    AlertSettings.objects.create(pk=1)


def test_every_address_is_listed_here() -> None:
    names = {
        pattern.name.removeprefix("optico_sync_")
        for model, model_admin in admin.site._registry.items()
        if model._meta.app_label == "optico_sync"
        for pattern in model_admin.get_urls()
        if pattern.name
    }
    assert names == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_an_address_takes_its_permissions_and_no_others(login: Login, credential: VendorCredential, name: str) -> None:
    _method, needed = PAGES[name]
    if NOBODY in needed:
        assert ask(login(*ours()), name, credential) == 403
        return
    # Nobody has saved a filter here that could be deleted.
    allowed = {404} if name.endswith("delete_filter") else {200, 302}
    assert ask(login(*needed, name="just"), name, credential) in allowed
    for lacking in needed:
        others = [codename for codename in ours() if codename not in (lacking, IMPLIES.get(lacking))]
        assert ask(login(*others, name=f"all but {lacking}"), name, credential) == 403


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_on_the_list_takes_the_permission_to_act(login: Login, action: str) -> None:
    chosen = {"action": action, "_selected_action": [Subject.objects.filter(kind="order").get().pk]}
    before = list(SyncState.objects.values())
    others = login(*(codename for codename in ours() if codename != ACT), name="others")
    others.post("/admin/optico_sync/subject/", chosen)
    assert list(SyncState.objects.values()) == before and not LogEntry.objects.exists()
    assert f'value="{action}"' not in others.get("/admin/optico_sync/subject/").content.decode()
    login(SEE, ACT, name="operator").post("/admin/optico_sync/subject/", chosen)
    assert LogEntry.objects.count() == 1


def test_to_act_to_configure_and_to_erase_are_apart(login: Login, credential: VendorCredential) -> None:
    for number, granted in enumerate(({SEE, ACT}, {SEE, CONFIGURE}, {SEE, ERASE})):
        client = login(*granted, name=str(number))
        assert (ask(client, "subject_act", credential) == 302) == (ACT in granted)
        assert (ask(client, "vendorcredential_probe", credential) == 302) == (CONFIGURE in granted)
        text = client.get(address("subject_change", credential)).content.decode()
        assert ('name="verb"' in text) == (ACT in granted)
        assert ("Request and answer" in text) == (ACT in granted)


def test_a_viewer_sees_no_secret_no_body_and_no_customer(login: Login, credential: VendorCredential) -> None:
    with override_settings(OPTICO_SYNC={**OPTICO_SYNC, "ORDER": ORDER}):
        place("1002", "confirmed", operator="anna")
        deliver(credential, sender=Vendor(lambda form: reply()))
        viewer = login(SEE, "view_cart", "view_vendorcredential", "view_worker", "view_alertsettings", name="viewer")
        pages = ["/admin/", "/admin/optico_sync/"]
        pages += [address(name, credential) for name, (method, _needed) in PAGES.items() if method == "get"]
        pages += [reverse("admin:optico_sync_subject_change", args=[subject.pk]) for subject in Subject.objects.all()]
        text = "".join(
            response.getvalue().decode() for url in pages if (response := viewer.get(url)).status_code == 200
        )
    assert "1002" in text
    for hidden in (KEY, "products=", "zoe.lecki", "Łęcki", "Blue Widget"):
        assert hidden not in text
    # A colleague's name is no customer's, and Django's own history names colleagues too.
    assert "<code>anna</code>" in text


def test_the_readme_lists_the_apps_own_permissions() -> None:
    table = (BASE_DIR / "README.md").read_text(encoding="utf-8").split("\n## Who may do what\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`optico_sync\.(\w+)`", table))
    assert {codename for codename, _label in Subject._meta.permissions} <= named <= set(ours())


@pytest.mark.parametrize(
    ("name", "told"), [("vendorcredential_probe", "Test the connection. "), ("vendorcredential_resume", "is sending")]
)
def test_what_is_done_to_a_credential_is_logged(
    admin_client: Client, credential: VendorCredential, name: str, told: str
) -> None:
    ask(admin_client, name, credential)
    assert told in LogEntry.objects.get().change_message
