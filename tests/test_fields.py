"""Text that compares exactly, and secrets that are encrypted at rest."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import DeclaredStatus, Subject, VendorCredential
from optico_sync.models.bulk import upsert, write
from optico_sync.models.fields import key_id, seal, sealed_with, unseal
from tests.helpers import KEY, make_credential

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRETS = {"key": KEY}


def keys(*given: str) -> Any:
    return override_settings(OPTICO_SYNC={"ENCRYPTION_KEYS": given})


def stored(credential: VendorCredential) -> str:
    """What the database holds, without the field between."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed_secrets FROM optico_sync_vendorcredential WHERE id = %s", [credential.pk])
        return cursor.fetchone()[0]


def store(credential: VendorCredential, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE optico_sync_vendorcredential SET sealed_secrets = %s WHERE id = %s", [value, credential.pk]
        )


# at rest


@pytest.mark.django_db
def test_saved_secret_is_encrypted_at_rest() -> None:
    with keys(OLD):
        credential = make_credential()
        assert stored(credential).startswith(f"f1${key_id(OLD)}$gAAAA")
        assert KEY not in stored(credential)
        assert VendorCredential.objects.get().secrets == SECRETS


@pytest.mark.django_db
def test_equal_secrets_are_encrypted_differently() -> None:
    assert stored(make_credential(name="a")) != stored(make_credential(name="b"))


def set_by_update(credential: VendorCredential) -> None:
    VendorCredential.objects.filter(pk=credential.pk).update(sealed_secrets='{"key": "changed"}')


def set_by_bulk_update(credential: VendorCredential) -> None:
    credential.set_secrets({"key": "changed"})
    VendorCredential.objects.bulk_update([credential], ["sealed_secrets"])


def set_by_upsert(credential: VendorCredential) -> None:
    credential.set_secrets({"key": "changed"})
    upsert([credential], ["sealed_secrets"], using="default")


def set_by_write(credential: VendorCredential) -> None:
    credential.set_secrets({"key": "changed"})
    write([credential], ["sealed_secrets"], using="default")


def set_by_update_fields(credential: VendorCredential) -> None:
    credential.set_secrets({"key": "changed"})
    credential.save(update_fields=["sealed_secrets"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change", [set_by_update, set_by_bulk_update, set_by_upsert, set_by_write, set_by_update_fields]
)
def test_changed_secret_is_encrypted_once(change: Any) -> None:
    credential = make_credential()
    change(credential)
    assert sealed_with(stored(credential))
    assert "changed" not in stored(credential)
    assert VendorCredential.objects.get().secrets == {"key": "changed"}


@pytest.mark.django_db
def test_bulk_created_secrets_are_encrypted() -> None:
    rows = [VendorCredential(name=name, vendor="optico", sealed_secrets=f"secret {name}") for name in "ab"]
    VendorCredential.objects.bulk_create(rows)
    for row in VendorCredential.objects.all():
        assert sealed_with(stored(row))
        assert row.sealed_secrets == f"secret {row.name}"


@pytest.mark.django_db
def test_values_are_decrypted() -> None:
    make_credential()
    assert json.loads(VendorCredential.objects.values("sealed_secrets")[0]["sealed_secrets"]) == SECRETS
    assert json.loads(VendorCredential.objects.values_list("sealed_secrets", flat=True)[0]) == SECRETS


@pytest.mark.django_db
def test_saving_what_was_read_keeps_it_readable() -> None:
    make_credential()
    for _ in range(2):
        VendorCredential.objects.get().save()
    assert VendorCredential.objects.get().secrets == SECRETS


@pytest.mark.django_db
def test_an_empty_value_stays_empty_and_needs_no_key() -> None:
    with keys():
        credential = VendorCredential.objects.create(name="new", vendor="optico")
        assert stored(credential) == ""
        assert VendorCredential.objects.get().secrets == {}


@pytest.mark.parametrize("text", ["x", "Clé à molette €", "a\x01\n", "k" * 10_000, "f1$abc"])
def test_seal_and_unseal_are_inverse(text: str) -> None:
    assert unseal(seal(text)) == text


# dumps


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["json", "jsonl", "xml"])
def test_dumpdata_and_loaddata_carry_the_ciphertext(form: str, tmp_path: Path) -> None:
    make_credential()
    out = StringIO()
    call_command("dumpdata", "optico_sync.vendorcredential", format=form, stdout=out)
    assert KEY not in out.getvalue() and "f1$" in out.getvalue()
    dump = tmp_path / f"dump.{form}"
    dump.write_text(out.getvalue())
    VendorCredential.objects.update(sealed_secrets="something else")
    call_command("loaddata", str(dump), verbosity=0)
    credential = VendorCredential.objects.get()
    assert credential.secrets == SECRETS
    assert sealed_with(stored(credential)) and KEY not in stored(credential)


@pytest.mark.django_db
def test_a_dump_of_another_installation_is_not_taken(tmp_path: Path) -> None:
    """Otherwise the ciphertext would become the key that is sent."""
    out = StringIO()
    with keys(OTHER):
        make_credential()
        call_command("dumpdata", "optico_sync.vendorcredential", stdout=out)
    dump = tmp_path / "dump.json"
    dump.write_text(out.getvalue())
    with keys(OLD), pytest.raises(Exception, match=key_id(OTHER)):
        call_command("loaddata", str(dump), verbosity=0)


# wrong keys


@pytest.mark.django_db
@pytest.mark.parametrize("left", [(), (OTHER,)])
def test_reading_without_the_key_names_its_id(left: tuple[str, ...]) -> None:
    with keys(OLD):
        make_credential()
    with keys(*left), pytest.raises(EncryptionKeyError, match=key_id(OLD)) as caught:
        VendorCredential.objects.get()
    assert OLD not in str(caught.value)


@pytest.mark.django_db
def test_a_token_of_another_key_under_this_id_is_not_opened() -> None:
    with keys(OTHER):
        token = seal("x").rpartition("$")[2]
    with keys(OLD):
        credential = make_credential()
        store(credential, f"f1${key_id(OLD)}${token}")
        with pytest.raises(EncryptionKeyError, match=key_id(OLD)):
            VendorCredential.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize("cut", [slice(0, -10), slice(0, 30), slice(0, 12)])
def test_a_damaged_value_raises(cut: slice) -> None:
    credential = make_credential()
    store(credential, stored(credential)[cut])
    with pytest.raises(EncryptionKeyError, match="damaged"):
        VendorCredential.objects.get()


@pytest.mark.django_db
def test_a_plain_text_in_the_database_is_never_taken_for_a_secret() -> None:
    credential = make_credential()
    store(credential, json.dumps(SECRETS))
    with pytest.raises(EncryptionKeyError) as caught:
        VendorCredential.objects.get()
    assert KEY not in str(caught.value)


@pytest.mark.django_db
def test_the_row_can_be_read_without_its_secrets() -> None:
    with keys(OLD):
        make_credential()
    with keys():
        assert VendorCredential.objects.defer("sealed_secrets").get().name == "Optico"


@pytest.mark.django_db
def test_saving_without_a_key_raises_and_names_the_setting() -> None:
    with keys(), pytest.raises(EncryptionKeyError, match="ENCRYPTION_KEYS"):
        make_credential()


def test_a_key_that_is_none_is_named_by_its_id_only() -> None:
    with keys("not-a-key"), pytest.raises(EncryptionKeyError, match=key_id("not-a-key")) as caught:
        seal("x")
    assert "not-a-key" not in str(caught.value)


@pytest.mark.django_db
def test_two_keys_read_both_and_write_the_first() -> None:
    with keys(OLD):
        credential = make_credential()
    with keys(NEW, OLD):
        credential = VendorCredential.objects.get()
        assert credential.secrets == SECRETS
        credential.save()
        assert sealed_with(stored(credential)) == key_id(NEW)
    with keys(NEW):
        assert VendorCredential.objects.get().secrets == SECRETS


# lookups


@pytest.mark.parametrize("lookup", ["", "__exact", "__in", "__contains", "__startswith", "__gt", "__regex"])
def test_lookups_are_refused(lookup: str) -> None:
    with pytest.raises(FieldError):
        str(VendorCredential.objects.filter(**{f"sealed_secrets{lookup}": ["x"] if lookup == "__in" else "x"}).query)


@pytest.mark.django_db
def test_isnull_is_allowed() -> None:
    make_credential()
    assert VendorCredential.objects.filter(sealed_secrets__isnull=False).count() == 1


# exact text

WORDS = ["Payée", "payée", "payee", "PAYEE", "payée ", " payée", "straße", "strasse", "paye\u0301e"]


@pytest.mark.django_db
def test_words_that_look_alike_are_different_statuses() -> None:
    credential = VendorCredential.objects.create(name="x", vendor="optico")
    DeclaredStatus.objects.bulk_create(DeclaredStatus(credential=credential, name=word) for word in WORDS)
    for word in WORDS:
        assert DeclaredStatus.objects.get(name=word).name == word
        assert DeclaredStatus.objects.get(name__in=[word]).name == word


@pytest.mark.django_db
def test_keys_that_look_alike_are_different_orders() -> None:
    from django.utils import timezone

    now = timezone.now()
    Subject.objects.bulk_create(Subject(kind="order", key=word, created_at=now, changed_at=now) for word in WORDS)
    assert {subject.key for subject in Subject.objects.filter(kind="order", key__in=WORDS)} == set(WORDS)
    assert Subject.objects.get(kind="order", key="payee").key == "payee"
