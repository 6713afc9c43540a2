"""Pages by cursor: what is new meanwhile moves no page, and nothing is counted."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from optico_sync.api.serializers import MAX_PAGE


class NewestFirst(CursorPagination):
    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE

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
