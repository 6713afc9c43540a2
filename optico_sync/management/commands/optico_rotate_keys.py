"""``manage.py optico_rotate_keys``: encrypts the stored secrets with the newest key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router, transaction
from django.db.models import F, TextField
from django.db.models.functions import Cast

from optico_sync import conf
from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import VendorCredential
from optico_sync.models.fields import key_id, sealed_with


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
        stored = VendorCredential.objects.annotate(sealed=Cast(F("sealed_secrets"), TextField()))
        old = [
            (pk, name, sealed_with(sealed))
            for pk, name, sealed in stored.values_list("pk", "name", "sealed")
            if sealed and sealed_with(sealed) != newest
        ]
        if options["check"]:
            for _pk, name, used in old:
                self.stdout.write(f"{name}: encrypted with {used or 'no known key'}")
            if old:
                raise CommandError(f"{len(old)} of the stored secrets do not use the newest key {newest}.")
            self.stdout.write(f"All stored secrets use the newest key {newest}.")
            return
        try:
            with transaction.atomic(using=router.db_for_write(VendorCredential)):
                for pk, _name, _used in old:
                    credential = VendorCredential.objects.select_for_update().get(pk=pk)
                    credential.save(update_fields=["sealed_secrets"])
        except EncryptionKeyError as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        self.stdout.write(f"Encrypted {len(old)} of the stored secrets anew with key {newest}.")
