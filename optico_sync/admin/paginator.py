"""Paging without counting a whole table."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

#: So many of the newest rows can be paged through; search and filters reach the rest.
LIMIT = 1000


class BoundedPaginator(Paginator):
    """Counts no further than one beyond ``LIMIT``."""

    object_list: Any

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[: LIMIT + 1].count()
