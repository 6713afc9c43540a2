"""System checks: what is wrong with the installation, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router
from django.db.utils import DatabaseError
from django.utils.module_loading import import_string

from optico_sync import conf, insight, triggers, wakeups
from optico_sync.exceptions import ConfigurationError, EncryptionKeyError
from optico_sync.models import RelayState, SyncState, VendorCredential
from optico_sync.models.fields import cipher
from optico_sync.setup import MIDDLEWARE
from optico_sync.shops import event_databases, get_shop
from optico_sync.vendors import get_vendor, vendor_paths

#: All checks of the app that ask no database: ``manage.py check --tag optico_sync``.
TAG = "optico_sync"


@register(TAG)
def check_settings(**kwargs: Any) -> Iterable[CheckMessage]:
    """Unknown and unusable settings."""
    for problem in conf.problems():
        if problem.unknown:
            yield Warning(problem.message, hint=problem.hint, id="optico_sync.W001")
        else:
            yield Error(problem.message, hint=problem.hint, id="optico_sync.E001")


@register(TAG)
def check_shop(**kwargs: Any) -> Iterable[CheckMessage]:
    """The order model and the names of its fields."""
    if not conf.options().ORDER and conf.options().SHOP == "mapping":
        yield Warning(
            "No order model is named, so nothing is captured.",
            hint=f"Set {conf.SETTING}['ORDER'] to your order model and the names of its fields.",
            id="optico_sync.W002",
        )
        return
    try:
        get_shop()
    except ConfigurationError as error:
        yield Error(
            str(error),
            hint="Until it is corrected no order is captured. Orders saved meanwhile need optico_resync.",
            id="optico_sync.E002",
        )


@register(TAG)
def check_encryption_keys(**kwargs: Any) -> Iterable[CheckMessage]:
    """Keys for the vendors' secrets."""
    hint = (
        f"Put a key into {conf.SETTING}['ENCRYPTION_KEYS']. To make one: "
        'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
    )
    if not conf.options().ENCRYPTION_KEYS:
        yield Warning("There is no encryption key for the vendors' secrets.", hint=hint, id="optico_sync.W006")
        return
    for key in conf.options().ENCRYPTION_KEYS:
        try:
            cipher(key)
        except EncryptionKeyError as error:
            yield Error(str(error), hint=hint, id="optico_sync.E003")


@register(TAG)
def check_middleware(**kwargs: Any) -> Iterable[CheckMessage]:
    """Without the middleware no order gets its visit."""
    if MIDDLEWARE not in settings.MIDDLEWARE:
        yield Warning(
            "The visit middleware is absent: orders will not carry the visitor's Optico visit.",
            hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE.",
            id="optico_sync.W003",
        )


@register(TAG)
def check_vendors(**kwargs: Any) -> Iterable[CheckMessage]:
    """Vendors named in the settings."""
    for name in vendor_paths():
        try:
            get_vendor(name)
        except ConfigurationError as error:
            yield Error(str(error), hint="Correct the dotted path.", id="optico_sync.E004")


@register(TAG)
def check_api(**kwargs: Any) -> Iterable[CheckMessage]:
    """Classes that the API is told to let callers in with."""
    for setting in ("API_AUTHENTICATION", "API_PERMISSIONS", "API_THROTTLES"):
        for path in getattr(conf.options(), setting):
            try:
                import_string(path)
            except ImportError as error:
                message = f"{conf.SETTING}[{setting!r}] names {path!r}, which cannot be loaded ({error})."
                yield Error(message, hint="Correct the dotted path: the API answers nobody.", id="optico_sync.E005")


@register(TAG)
def check_engine(**kwargs: Any) -> Iterable[CheckMessage]:
    """The engine, and what it finds wrong itself."""
    try:
        yield from wakeups.get_engine().check()
    except ConfigurationError as error:
        yield Error(
            str(error),
            hint=f"Name one of {', '.join(wakeups.ENGINES)}, or the dotted path of an Engine, and install its package.",
            id="optico_sync.E007",
        )


@register(Tags.database)
def check_round(databases: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """The periodic round, of an engine that makes no rounds by itself. Only asked for with ``check --database``."""
    using = router.db_for_write(RelayState)
    if conf.options().ENGINE == "embedded" or using not in (databases or ()):
        return
    try:
        is_needed = VendorCredential.objects.using(using).filter(is_enabled=True).exists()
        found = insight.last_round()
        if is_needed and found.is_late:
            yield Warning(
                "The periodic round does not run, so retries are sent late or never.",
                hint=str(found.hint),
                id="optico_sync.W008",
            )
    except DatabaseError:
        # Not migrated yet.
        return


@register(Tags.database)
def check_credentials(databases: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Base URLs that would carry a key in the clear. Only asked for with ``check --database``."""
    using = router.db_for_write(VendorCredential)
    if settings.DEBUG or using not in (databases or ()):
        return
    try:
        stored = list(VendorCredential.objects.using(using).values_list("name", "base_url"))
    except DatabaseError:
        # Not migrated yet.
        return
    for name, base_url in stored:
        if urlsplit(base_url).scheme != "https":
            yield Warning(
                f"The base URL of credential {name!r} is not https.",
                hint="Correct it in the admin: its key would travel in the clear.",
                id="optico_sync.W004",
            )


@register(Tags.database)
def check_triggers(databases: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Triggers that are missing, out of date or in the way. Only asked for with ``check --database``."""
    for using in event_databases():
        if using in (databases or ()):
            yield from _check_triggers(using)


def _check_triggers(using: str) -> Iterable[CheckMessage]:
    are_wanted = conf.options().CAPTURE == "triggers"
    try:
        wrong = list(triggers.problems(using)) if are_wanted else sorted(triggers.installed(using))
    except ConfigurationError as error:
        wrong = [str(error)] if are_wanted else []
    except DatabaseError:
        # Not there yet, or not to be reached.
        return
    if wrong and are_wanted:
        yield Error(
            f"Changes in the shop are not all captured: {' '.join(wrong)}",
            hint="Run manage.py optico_triggers --install. The sweep finds what was missed meanwhile.",
            id="optico_sync.E008",
        )
    elif wrong:
        yield Warning(
            f"The database captures changes by {len(wrong)} triggers, and so do Django's signals: each counts twice.",
            hint=f'Set {conf.SETTING}["CAPTURE"] = "triggers", or run manage.py optico_triggers --remove.',
            id="optico_sync.W009",
        )


@register(TAG)
def check_sqlite(**kwargs: Any) -> Iterable[CheckMessage]:
    """SQLite lets one writer in at a time: without these options the worker and the checkout trip over each other."""
    for alias in dict.fromkeys([*event_databases(), router.db_for_write(SyncState)]):
        connection = connections[alias]
        if connection.vendor != "sqlite":
            continue
        options = connection.settings_dict.get("OPTIONS", {})
        if (
            str(options.get("transaction_mode", "")).upper() != "IMMEDIATE"
            or "wal" not in str(options.get("init_command", "")).lower()
        ):
            yield Warning(
                f"The SQLite database {alias!r} is not set up for a worker beside the shop.",
                hint='Set OPTIONS to {"transaction_mode": "IMMEDIATE", "timeout": 20, '
                '"init_command": "PRAGMA journal_mode=WAL;"}.',
                id="optico_sync.W005",
            )
