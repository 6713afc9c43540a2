"""``manage.py optico_rotate_keys``."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from optico_sync.models import VendorCredential
from optico_sync.models.fields import key_id, sealed_with
from tests.helpers import KEY, make_credential
from tests.test_fields import NEW, OLD, OTHER, keys, store, stored

pytestmark = pytest.mark.django_db


def rotate(*arguments: str) -> str:
    out = StringIO()
    call_command("optico_rotate_keys", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def credential() -> VendorCredential:
    with keys(OLD):
        return make_credential()


def test_rotate_encrypts_with_the_newest_key(credential: VendorCredential) -> None:
    with keys(NEW, OLD):
        told = rotate()
    assert f"Encrypted 1 of the stored secrets anew with key {key_id(NEW)}" in told
    with keys(NEW):
        assert VendorCredential.objects.get().secrets == {"key": KEY}


def test_rotate_again_changes_nothing(credential: VendorCredential) -> None:
    with keys(NEW, OLD):
        rotate()
        before = stored(credential)
        assert "Encrypted 0 " in rotate()
    assert stored(credential) == before


def test_rotate_changes_nothing_but_the_secret(credential: VendorCredential) -> None:
    """A worker may record a delivery in the same moment, and the account is still the same."""
    before = VendorCredential.objects.defer("sealed_secrets").values(
        *(field.name for field in VendorCredential._meta.concrete_fields if field.name != "sealed_secrets")
    )
    first: Any = before.get()
    with keys(NEW, OLD):
        rotate()
    assert before.get() == first


def test_rotate_leaves_a_credential_without_secrets(credential: VendorCredential) -> None:
    empty = VendorCredential.objects.create(name="empty", vendor="optico")
    with keys(NEW, OLD):
        assert "Encrypted 1 " in rotate()
    assert stored(empty) == ""


def test_rotate_with_a_wrong_key_changes_nothing(credential: VendorCredential) -> None:
    with keys(OTHER):
        second = make_credential(name="Second")
    before = [stored(credential), stored(second)]
    with keys(NEW, OLD), pytest.raises(CommandError, match=f"Nothing was changed.*{key_id(OTHER)}"):
        rotate()
    assert [stored(credential), stored(second)] == before


def test_rotate_with_a_damaged_value_changes_nothing(credential: VendorCredential) -> None:
    store(credential, "damaged")
    with keys(NEW, OLD), pytest.raises(CommandError, match="Nothing was changed"):
        rotate()
    assert stored(credential) == "damaged"


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_rotate_without_keys_names_the_setting(arguments: tuple[str, ...], credential: VendorCredential) -> None:
    with keys(), pytest.raises(CommandError, match="ENCRYPTION_KEYS"):
        rotate(*arguments)


def test_check_fails_while_an_old_key_is_needed(credential: VendorCredential) -> None:
    before = stored(credential)
    out = StringIO()
    with keys(NEW, OLD), pytest.raises(CommandError, match=key_id(NEW)) as caught:
        call_command("optico_rotate_keys", "--check", stdout=out)
    assert caught.value.returncode == 1
    assert f"Optico: encrypted with {key_id(OLD)}" in out.getvalue()
    assert stored(credential) == before


def test_check_passes_after_the_rotation(credential: VendorCredential) -> None:
    with keys(NEW, OLD):
        rotate()
        assert f"All stored secrets use the newest key {key_id(NEW)}" in rotate("--check")
    assert sealed_with(stored(credential)) == key_id(NEW)
