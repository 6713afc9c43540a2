"""Which installation is this? A copy of production restored elsewhere sends nothing (G9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from optico_sync import insight
from optico_sync.installation import adopt, stay_off, use_sandbox
from optico_sync.models import Installation, SyncState, VendorCredential
from optico_sync.models.installation import Facts, facts_here
from optico_sync.probe import probe
from optico_sync.reconcile import reconcile
from optico_sync.sandbox.client import SandboxServer
from optico_sync.vendors import REGISTRY, get_vendor
from tests.helpers import KEY, Vendor, deliver, make_credential, move, place, state_of
from tests.settings import OPTICO_SYNC

HOME = Facts(database="postgresql 1/shop", address="postgresql://db:5432/shop", secret="s1", hosts="shop.example")


def elsewhere(**changes: str) -> bool:
    return HOME.is_another(dataclasses.replace(HOME, **changes))


@pytest.fixture
def restored(db: None) -> None:
    """The database is a dump of an installation somewhere else."""
    Installation.record(dataclasses.replace(HOME, database="another", address="another"))


@pytest.fixture
def out() -> Iterator[StringIO]:
    yield StringIO()


def named(name: str) -> Any:
    return override_settings(OPTICO_SYNC={**OPTICO_SYNC, "INSTALLATION": name})


# what tells two installations apart


def test_another_database_is_another_installation() -> None:
    assert elsewhere(database="postgresql 2/shop")


@pytest.mark.parametrize("sign", ["address", "secret", "hosts"])
def test_one_small_sign_alone_may_change(sign: str) -> None:
    """A pooler, a rotated key, a new domain."""
    assert not elsewhere(**{sign: "other"})


def test_two_small_signs_together_are_another_installation() -> None:
    """A copied disk whose database is called the same: a container on a developer's machine."""
    assert elsewhere(secret="s2", hosts="localhost")
    assert elsewhere(address="postgresql://staging:5432/shop", hosts="staging.example")


def test_the_name_wins_and_a_copy_without_it_is_another() -> None:
    production = dataclasses.replace(HOME, name="production")
    moved = dataclasses.replace(production, database="2", address="2", secret="2", hosts="2")
    assert not production.is_another(moved)
    assert production.is_another(HOME)
    assert production.is_another(dataclasses.replace(production, name="staging"))
    assert not HOME.is_another(production)


@pytest.mark.django_db
def test_no_secret_is_stored(settings: Any) -> None:
    Installation.start()
    assert settings.SECRET_KEY not in str(Installation.objects.values().get())


@pytest.mark.databases("postgresql")
@pytest.mark.django_db
def test_postgresql_is_known_by_its_own_number_whatever_the_address() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier FROM pg_control_system()")
        (number,) = cursor.fetchone()
    assert facts_here("default").database == f"{number}/{connection.settings_dict['NAME']}"


# what the record does


@pytest.mark.django_db
def test_the_first_start_is_recorded_and_single_changes_are_taken_over() -> None:
    assert Installation.start().record is not None
    with override_settings(SECRET_KEY="rotated"):
        assert not Installation.start().differing
    with override_settings(SECRET_KEY="rotated", ALLOWED_HOSTS=["shop.example"]):
        assert not Installation.start().is_another


@pytest.mark.django_db
def test_a_copy_does_not_take_anything_over(restored: None) -> None:
    assert Installation.start().is_another
    assert Installation.start().is_another


@pytest.mark.django_db
def test_a_lane_alone_records_before_it_sends(credential: Any, vendor: Vendor) -> None:
    place("1001")
    deliver(credential, sender=vendor)
    assert Installation.objects.count() == 1 and vendor.forms


# a copy sends nothing


@pytest.mark.django_db
def test_a_copy_collects_and_holds(restored: None, credential: Any, vendor: Vendor) -> None:
    purchase = place("1001")
    deliver(credential, sender=vendor)
    assert vendor.forms == []
    (row,) = insight.standings([state_of(purchase).subject])[state_of(purchase).subject_id]
    assert (row.state, row.reason_code) == (SyncState.State.HELD, "other_installation")
    assert SyncState.objects.totals(VendorCredential.objects.get())["held"] == 1


@pytest.mark.django_db
def test_a_dump_restored_under_a_worker_that_runs_stops_the_next_batch(credential: Any, vendor: Vendor) -> None:
    purchase = place("1001")
    deliver(credential, sender=vendor)
    Installation.objects.update(facts=dataclasses.asdict(HOME))
    move(purchase, "confirmed")
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending"]


@pytest.mark.django_db
def test_a_new_key_does_not_open_a_copy(restored: None, credential: Any, vendor: Vendor) -> None:
    place("1001")
    deliver(credential, sender=vendor)
    stored = VendorCredential.objects.get()
    stored.set_secrets({"key": "cust_NEW"})
    stored.save()
    deliver(credential, sender=vendor)
    assert vendor.forms == []


def test_a_copy_tests_no_connection(restored: None, live: Any, optico: Any) -> None:
    finding = probe(live)
    assert finding.is_good is False and "another installation" in str(finding.text)
    assert optico.journal() == []


def test_a_copy_reads_nothing_back(restored: None, live: Any, optico: Any) -> None:
    assert reconcile(live).run.failure == "other_installation"
    assert optico.journal() == []


@pytest.mark.django_db
def test_settings_put_right_again_release_by_themselves(credential: Any, vendor: Vendor) -> None:
    Installation.start()
    place("1001")
    with named("typo"), override_settings(SECRET_KEY="other", ALLOWED_HOSTS=[]):
        deliver(credential, sender=vendor)
    assert VendorCredential.objects.get().pause_reason == "other_installation"
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending"]
    assert VendorCredential.objects.get().paused_at is None


@pytest.mark.django_db
def test_the_next_start_releases_where_no_lane_would_ask(credential: Any, vendor: Vendor) -> None:
    """Celery and django.tasks wake no lane of a credential that is paused."""
    Installation.start()
    place("1001")
    with named("typo"), override_settings(SECRET_KEY="other", ALLOWED_HOSTS=[]):
        deliver(credential, sender=vendor)
        assert Installation.start().is_another
        assert VendorCredential.objects.get().paused_at
    Installation.start()
    assert VendorCredential.objects.get().paused_at is None


# the three answers


@pytest.mark.django_db
def test_adopting_sends_what_waited(restored: None, credential: Any, vendor: Vendor) -> None:
    place("1001")
    deliver(credential, sender=vendor)
    assert adopt() == 1
    deliver(credential, sender=vendor)
    assert vendor.statuses == ["pending"]


@pytest.mark.django_db
def test_adopting_leaves_a_refused_key_paused(restored: None, credential: Any, vendor: Vendor) -> None:
    VendorCredential.objects.update(paused_at="2026-11-01T10:00:00Z", pause_reason="key_refused")
    assert adopt() == 0
    assert VendorCredential.objects.get().pause_reason == "key_refused"


def test_the_sandbox_gets_what_waits_and_the_live_key_is_gone(restored: None, db: None) -> None:
    make_credential("https://live.example")
    place("1001")
    with SandboxServer() as sandbox:
        assert use_sandbox(sandbox.url) == []
        deliver(VendorCredential.objects.get())
        assert [entry["fields"]["key"] for entry in sandbox.journal()] == ["...dbox"]
    assert KEY not in str(VendorCredential.objects.get().secrets)


@pytest.mark.django_db
@pytest.mark.parametrize("name", REGISTRY)
def test_every_vendor_has_a_sandbox_that_its_requests_go_to(name: str) -> None:
    spec = get_vendor(name)
    live = {option.name: option.default for option in spec.options} | {"site": "shop", "cluster": "uk"}
    credential = VendorCredential(name="v", vendor=name, base_url=spec.default_base_url, options=live, is_enabled=True)
    credential.point_at_sandbox("http://127.0.0.1:8001/")
    assert credential.is_enabled and not spec.missing_secrets(credential.account)
    assert spec.probe(account=credential.account).url.startswith("http://127.0.0.1:8001")
    # Where the address follows from an option, the option follows the sandbox.
    assert credential.options["cluster"] == ("custom" if "cluster" in {o.name for o in spec.options} else "uk")


@pytest.mark.django_db
def test_a_vendor_without_a_sandbox_is_switched_off(restored: None) -> None:
    make_credential()
    VendorCredential.objects.update(vendor="gone")
    assert use_sandbox("http://127.0.0.1:8001") == ["Optico"]
    assert not VendorCredential.objects.get().is_enabled


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["https://www.optico.fr", "http://203.0.113.9", "ftp://127.0.0.1", ""])
def test_a_live_or_unusable_address_is_no_sandbox(restored: None, url: str) -> None:
    make_credential("https://live.example")
    with pytest.raises(ValidationError):
        use_sandbox(url)
    assert VendorCredential.objects.get().secrets == {"key": KEY}


@pytest.mark.django_db
def test_staying_off_asks_no_more_and_sends_nothing(restored: None, credential: Any, vendor: Vendor) -> None:
    stay_off()
    place("1001")
    deliver(credential, sender=vendor)
    found = insight.installation()
    assert vendor.forms == [] and found.is_another and found.record and found.record.stays_off


# the command


@pytest.mark.django_db
def test_the_command_says_what_differs_and_fails_on_a_copy(restored: None, out: StringIO) -> None:
    with pytest.raises(CommandError, match="--adopt, --sandbox or --stay-off"):
        call_command("optico_installation", stdout=out)
    assert "(recorded: another)" in out.getvalue()
    call_command("optico_installation", "--stay-off", stdout=out)
    User.objects.create_user("anna")
    call_command("optico_installation", "--adopt", "--as", "anna", stdout=out)
    assert LogEntry.objects.get().change_message == "Adopted. Credentials that go on sending: 0."
    call_command("optico_installation", stdout=out)
    assert out.getvalue().endswith("Nothing is held.\n")


@pytest.mark.django_db
def test_the_command_points_at_the_sandbox(restored: None, out: StringIO) -> None:
    make_credential()
    call_command("optico_installation", "--sandbox", stdout=out)
    assert VendorCredential.objects.get().base_url == "http://127.0.0.1:8001"
    with pytest.raises(CommandError, match="https"):
        Installation.record(HOME)
        call_command("optico_installation", "--sandbox", "http://8.8.8.8", stdout=out)
