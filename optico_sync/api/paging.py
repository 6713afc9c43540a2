"""Pages by cursor: what is new meanwhile moves no page, and nothing is counted."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from optico_sync.api.serializers import MAX_PAGE
from optico_sync.listing import Listing
from optico_sync.models import Subject


class NewestFirst(CursorPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE

    def read(self, listing: Listing, request: Request) -> list[Subject]:
        """The page that ``request`` asks for."""
        self.base_url = request.build_absolute_uri()
        size = self.get_page_size(request) or MAX_PAGE
        cursor = self.decode_cursor(request)
        key = int(cursor.position) if cursor and cursor.position else None
        if cursor and cursor.reverse:
            self._page = listing.page(size=size, newer_than=key)
        else:
            self._page = listing.page(size=size, older_than=key)
        return self._page.subjects

    def get_next_link(self) -> str | None:
        return self._link(self._page.older, is_back=False)

    def get_previous_link(self) -> str | None:
        return self._link(self._page.newer, is_back=True)

    def _link(self, key: int | None, *, is_back: bool) -> str | None:
        return None if key is None else self.encode_cursor(Cursor(offset=0, reverse=is_back, position=key))

    def decode_cursor(self, request: Request) -> Any:
        """Refuses what is not one of ours: its position would reach the database as it is."""
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            is_ours = False
        else:
            is_ours = cursor is None or cursor.position is None or _is_key(str(cursor.position))
        if not is_ours:
            raise ValidationError({"cursor": [_("Take it from `next` or `previous` of an earlier answer.")]})
        return cursor


def _is_key(position: str) -> bool:
    return position.isascii() and position.isdecimal() and len(position) <= 18
