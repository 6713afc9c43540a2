"""Which installation the records belong to: a copy of the database restored elsewhere must send nothing.

A dump brings the single ``Installation`` row along, so the copy finds there what it is not. No sign is sure by itself:
host names change with every deploy of a container, keys are rotated, domains are added, and two databases can both be
called "shop". Therefore the database itself decides, or two smaller signs together; the README has the table.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import NotSupportedError, ProgrammingError, connections, models, router, transaction
from django.db.models import Subquery
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync import conf
from optico_sync.models.credentials import RESUMED_FIELDS, VendorCredential

#: The reason code of a credential that is paused because this is another installation.
OTHER_INSTALLATION = "other_installation"

#: Signs of which one may change in ordinary life, but hardly two at a time.
_SMALL_SIGNS = frozenset(["address", "secret", "hosts"])

SIGNS: Mapping[str, str | Promise] = {
    "name": _("the name in OPTICO_SYNC['INSTALLATION']"),
    "database": _("the database"),
    "address": _("the address of the database"),
    "secret": "SECRET_KEY",
    "hosts": "ALLOWED_HOSTS",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What tells one installation from another. The key only as a fingerprint."""

    #: ``OPTICO_SYNC["INSTALLATION"]``: wins where it is set.
    name: str = ""
    #: The database by its own word where it has one, the same whatever address it is reached at.
    database: str = ""
    #: How the settings reach the database.
    address: str = ""
    secret: str = ""
    hosts: str = ""

    @classmethod
    def read(cls, stored: Mapping[str, str]) -> Facts:
        """What ``dataclasses.asdict`` made, perhaps of another version."""
        return cls(**{field.name: stored.get(field.name, "") for field in dataclasses.fields(cls)})

    def differing(self, here: Facts) -> list[str]:
        """The signs in which ``here`` differs."""
        return [sign for sign in SIGNS if getattr(self, sign) != getattr(here, sign)]

    def is_another(self, here: Facts) -> bool:
        """Whether ``here`` is another installation than this one."""
        if self.name:
            return self.name != here.name
        differing = self.differing(here)
        return "database" in differing or len(_SMALL_SIGNS.intersection(differing)) > 1


def facts_here(using: str) -> Facts:
    """The facts of this process. One query at most."""
    address = _address(connections[using].settings_dict, connections[using].vendor)
    return Facts(
        name=conf.options().INSTALLATION,
        database=_identity(using) or address,
        address=address,
        secret=salted_hmac("optico_sync.installation", "fingerprint", algorithm="sha256").hexdigest()[:16],
        hosts=", ".join(sorted(settings.ALLOWED_HOSTS)),
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """This process beside what is recorded. ``record`` is None before the first start."""

    record: Installation | None
    here: Facts

    @property
    def is_another(self) -> bool:
        """Whether nothing may be sent from here."""
        return self.record is not None and self.record.known.is_another(self.here)

    @property
    def differing(self) -> list[str]:
        """The signs that differ."""
        return self.record.known.differing(self.here) if self.record else []

    @property
    def words(self) -> str:
        """The same in words."""
        return ", ".join(str(SIGNS[sign]) for sign in self.differing)


class Installation(models.Model):
    """The single row that says which installation this database belongs to."""

    facts = models.JSONField(default=dict)
    #: The machine that recorded it; shown, never compared: in containers it changes with every deploy.
    machine = models.CharField(max_length=255, blank=True)
    recorded_at = models.DateTimeField()
    #: Somebody decided that this copy sends nothing: no more asking.
    stays_off = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("installation")
        verbose_name_plural = _("installation")

    def __str__(self) -> str:
        return self.known.name or self.known.address

    @property
    def known(self) -> Facts:
        return Facts.read(self.facts)

    @classmethod
    def using(cls) -> str:
        return router.db_for_write(cls)

    @classmethod
    def compare(cls) -> Comparison:
        """This process beside what is recorded."""
        using = cls.using()
        return Comparison(record=cls.objects.using(using).first(), here=facts_here(using))

    @classmethod
    def record(cls, here: Facts, *, only_first: bool = False) -> None:
        """Remember ``here`` as the installation; with ``only_first`` where none is known yet."""
        values: dict[str, Any] = {
            "facts": dataclasses.asdict(here),
            "machine": socket.gethostname()[:255],
            "recorded_at": timezone.now(),
            "stays_off": False,
        }
        rows = cls.objects.using(cls.using())
        if only_first:
            rows.get_or_create(pk=1, defaults=values)
        else:
            rows.update_or_create(pk=1, defaults=values)

    @classmethod
    def start(cls) -> Comparison:
        """A worker starts: the first one is recorded, and so is what may change in ordinary life."""
        found = cls.compare()
        if found.is_another:
            return found
        release(cls.using())
        if found.record is None or found.differing:
            cls.record(found.here)
            found = cls.compare()
        return found


def release(using: str) -> int:
    """Let go on what is paused because of another installation. Returns how many credentials."""
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets")
    paused = list(credentials.filter(pause_reason=OTHER_INSTALLATION))
    for credential in paused:
        credential.resume()
        credential.save(update_fields=RESUMED_FIELDS)
    return len(paused)


def recorded_facts() -> Subquery:
    """What is recorded, for ``admit``, to be read along with a credential."""
    return Subquery(Installation.objects.values("facts")[:1])


def admit(credential: VendorCredential, recorded: Mapping[str, str] | None, here: Facts, now: datetime) -> bool:
    """Whether ``credential``, locked by the caller, may send from ``here`` by what is ``recorded``.

    Pauses it where it may not, so that every page says why; resumes it where it may again.
    """
    if recorded is None:
        Installation.record(here, only_first=True)
        return True
    known = Facts.read(recorded)
    if known.is_another(here):
        if not credential.paused_at:
            credential.pause(OTHER_INSTALLATION, ", ".join(str(SIGNS[sign]) for sign in known.differing(here)), now)
            credential.save(update_fields=RESUMED_FIELDS)
        return False
    if credential.pause_reason == OTHER_INSTALLATION:
        credential.resume()
        credential.save(update_fields=RESUMED_FIELDS)
    return True


def _address(database: Mapping[str, Any], vendor: str) -> str:
    name = str(database["NAME"] or "")
    if vendor == "sqlite":
        return name if "memory" in name else str(Path(name).resolve())
    return f"{vendor}://{database['HOST'] or 'localhost'}:{database['PORT'] or ''}/{name}"


def _identity(using: str) -> str:
    """The database by its own word; empty where it has none.

    PostgreSQL gives every cluster a number when it is made: the same through a pooler and after a failover, another
    one where a dump is restored. MariaDB and SQLite have nothing of the kind.
    """
    if connections[using].vendor != "postgresql":
        return ""
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute("SELECT system_identifier || '/' || current_database() FROM pg_control_system()")
            return cursor.fetchone()[0]
    except (ProgrammingError, NotSupportedError):
        # A service that speaks PostgreSQL's language without being one, or that forbids the question.
        return ""
