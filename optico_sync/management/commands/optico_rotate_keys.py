"""``manage.py optico_rotate_keys``: encrypts the stored secrets with the newest key."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router, transaction
from django.db.models import F, Model, TextField
from django.db.models.functions import Cast

from optico_sync import conf
from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import AlertSettings, VendorCredential
from optico_sync.models.fields import key_id, sealed_with

#: Every encrypted column there is.
SEALED: tuple[tuple[type[Model], str], ...] = ((VendorCredential, "sealed_secrets"), (AlertSettings, "webhook_secret"))


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with the first of OPTICO_SYNC['ENCRYPTION_KEYS']. Put the new key first, run "
        "this, then remove the old key."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit 1 when a secret needs an old key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        keys = conf.options().ENCRYPTION_KEYS
        if not keys:
            raise CommandError("OPTICO_SYNC['ENCRYPTION_KEYS'] is empty. Put a Fernet key there.")
        newest = key_id(keys[0])
        stored = [
            (row, field, sealed_with(sealed))
            for model, field in SEALED
            for row, sealed in _sealed_values(model, field)
            if sealed
        ]
        old = [(row, field, used) for row, field, used in stored if used != newest]
        if options["check"]:
            for row, _field, used in old:
                self.stdout.write(f"{row}: encrypted with {used or 'no known key'}")
            if old:
                raise CommandError(f"{len(old)} of the stored secrets do not use the newest key {newest}.")
            self.stdout.write(f"All stored secrets use the newest key {newest}.")
            return
        try:
            with transaction.atomic(using=router.db_for_write(VendorCredential)):
                for row, field, _used in old:
                    type(row)._default_manager.select_for_update().get(pk=row.pk).save(update_fields=[field])
        except EncryptionKeyError as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        self.stdout.write(f"Encrypted {len(old)} of the stored secrets anew with key {newest}.")


def _sealed_values(model: type[Model], field: str) -> Iterator[tuple[Model, str]]:
    """Each row with what is stored in ``field``, which is not decrypted."""
    for row in model._default_manager.defer(field).annotate(sealed=Cast(F(field), TextField())):
        yield row, row.sealed
