"""Text that compares exactly, and text that is encrypted in the database."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.core.exceptions import FieldError
from django.db import models
from django.db.models.lookups import StartsWith
from django.utils.translation import gettext as _

from optico_sync import conf
from optico_sync.exceptions import EncryptionKeyError

#: format, key id, Fernet token
_SEALED = re.compile(r"f1\$([0-9a-f]{8})\$([0-9A-Za-z_=-]+)")


def key_id(key: str) -> str:
    """The name by which a stored value says which key it needs."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:8]


def seal(text: str) -> str:
    """``text`` encrypted with the first key of the settings. Raises ``EncryptionKeyError`` when there is none."""
    keys = conf.options().ENCRYPTION_KEYS
    if not keys:
        raise EncryptionKeyError(
            _("%(setting)s is empty, so no secret can be stored. Put a Fernet key there.")
            % {"setting": f"{conf.SETTING}['ENCRYPTION_KEYS']"}
        )
    return f"f1${key_id(keys[0])}${cipher(keys[0]).encrypt(text.encode()).decode()}"


def unseal(stored: str) -> str:
    """What ``seal`` was given. Raises ``EncryptionKeyError`` that names the key id: never returns ciphertext."""
    match = _SEALED.fullmatch(stored)
    if match is None:
        raise EncryptionKeyError(_("A stored secret is damaged: it is not in the format f1$<key id>$<token>."))
    wanted, token = match.groups()
    for key in conf.options().ENCRYPTION_KEYS:
        if key_id(key) == wanted:
            try:
                return cipher(key).decrypt(token.encode()).decode()
            except InvalidToken:
                told = _("A stored secret is damaged: key %(key)s does not open it.")
                raise EncryptionKeyError(told % {"key": wanted}) from None
    told = _("A stored secret needs the encryption key %(key)s, which is not in the settings.")
    raise EncryptionKeyError(told % {"key": wanted})


def sealed_with(stored: str) -> str:
    """The id of the key that ``stored`` was encrypted with; empty when it is not encrypted."""
    match = _SEALED.fullmatch(stored)
    return match.group(1) if match else ""


def cipher(key: str) -> Fernet:
    """The cipher of one key. Raises ``EncryptionKeyError`` when it is none."""
    try:
        return Fernet(key)
    except ValueError:
        raise EncryptionKeyError(
            _("The encryption key %(key)s is not a Fernet key (32 bytes in URL-safe base64).") % {"key": key_id(key)}
        ) from None


class ExactCharField(models.CharField):
    """Text that is equal only to itself: MariaDB and MySQL otherwise take "Payée" and "payee" for one status."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            # The plain "utf8mb4_bin" pads: to it "paid" and "paid " are one word.
            parameters["collation"] = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return parameters


@ExactCharField.register_lookup
class Begins(StartsWith):
    """Case counts, and SQLite too finds it by an index: its LIKE ignores both."""

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        # No text sorts between a beginning and the same with the last character there is.
        return f"({column} >= %s AND {column} < %s)", [*parameters, self.rhs, *parameters, self.rhs + chr(0x10FFFF)]


class EncryptedTextField(models.TextField):
    """Text, encrypted at rest by ``OPTICO_SYNC["ENCRYPTION_KEYS"]``.

    Reading with a wrong or missing key raises. Serializers (``dumpdata``) write and read the ciphertext. It cannot be
    looked up, since equal texts are encrypted differently.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return unseal(value) if value else value

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        # ``bulk_update`` hands over expressions whose values come here one by one.
        if not value or hasattr(value, "as_sql"):
            return super().get_db_prep_save(value, connection)
        return seal(super().get_db_prep_save(value, connection))

    def to_python(self, value: Any) -> Any:
        return unseal(value) if isinstance(value, str) and _SEALED.fullmatch(value) else super().to_python(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return seal(str(value)) if value else ""

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"{self.name} is encrypted and cannot be looked up by {lookup_name!r}.")
        return super().get_lookup(lookup_name)
