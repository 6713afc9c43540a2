"""What commands about many orders have in common: dates and credentials as arguments, previews as lines."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from optico_sync.models import VendorCredential
from optico_sync.preview import Preview


def moment(text: str) -> datetime:
    """A date or a date and time, in the shop's time zone where it names none."""
    try:
        day = parse_date(text)
        value = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001
    except ValueError:
        value = None
    if value is None:
        raise ArgumentTypeError(f"{text!r} is not a date such as 2026-11-21 or 2026-11-21T14:00")
    return value if timezone.is_aware(value) else timezone.make_aware(value)


def credential_named(name: str | None) -> int | None:
    """The primary key of the credential of that name."""
    if name is None:
        return None
    credential = VendorCredential.objects.filter(name=name).values_list("pk", flat=True).first()
    if credential is None:
        known = ", ".join(VendorCredential.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no credential {name!r}. Known: {known}.")
    return credential


def add_operator(parser: ArgumentParser) -> None:
    """``--as``: whose deed it is. Django's admin log knows no deed without a user."""
    parser.add_argument(
        "--as", dest="operator", metavar="USERNAME", help="who does it, for Django's admin log and the time line"
    )


def operator_named(name: str | None) -> Any:
    """The user of that name; None where nobody was named."""
    if name is None:
        return None
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist:
        raise CommandError(f"There is no user {name!r}. Nothing was done.") from None


def told(found: Iterable[Preview]) -> Iterator[str]:
    """What each vendor would be told, one line a sentence."""
    for one in found:
        yield f"\n{one.credential}"
        yield from (f"  {sentence}" for sentence in one.sentences)
