"""What a list shows, as a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.formats import get_format
from django.utils.translation import gettext as _

from optico_sync import insight
from optico_sync.listing import Listing
from optico_sync.models import Subject

#: A cell that begins so could be run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Columns = Mapping[str, Callable[[Subject], str]]


class _Line:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def as_csv(listing: Listing, columns: Columns, *, name: str) -> StreamingHttpResponse:
    """``columns`` by heading, and a state and a reason for each credential; read bit by bit, as it is downloaded."""
    response = StreamingHttpResponse(_lines(listing, columns), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.localdate():%Y-%m-%d}.csv"'
    response["Cache-Control"] = "private, no-store"
    return response


def _lines(listing: Listing, columns: Columns) -> Iterator[str]:
    # Where a comma is for decimals, spreadsheets part columns by semicolons.
    write = csv.writer(_Line(), delimiter=";" if get_format("DECIMAL_SEPARATOR") == "," else ",").writerow
    language = translation.get_language()
    known = [credential for credential in listing.known if credential.manner_of(listing.kind)]
    headings = [f"{credential.name}: {word}" for credential in known for word in (_("state"), _("reason"))]
    # The mark by which Excel knows UTF-8.
    yield "\ufeff" + write(_safe([*columns, *headings]))
    for subjects in listing.chunks():
        rows = insight.standings(subjects, known)
        with translation.override(language):
            lines = [
                write(_safe([*(column(subject) for column in columns.values()), *_stand(rows[subject.pk])]))
                for subject in subjects
            ]
        yield "".join(lines)


def _stand(rows: Iterable[insight.Standing]) -> Iterator[Any]:
    for row in rows:
        yield row.label
        yield row.reason.text


def _safe(cells: Iterable[Any]) -> list[str]:
    return [f"'{text}" if text.startswith(_FORMULA) else text for text in map(str, cells)]
