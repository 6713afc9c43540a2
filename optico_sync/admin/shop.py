"""Badges for the shop's own order admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.forms import Media
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from optico_sync import insight
from optico_sync.admin.badges import CSS, order_url, render_standings

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as _Base
    from django.contrib.admin.views.main import ChangeList as _BaseList
else:
    _Base = _BaseList = object


class SyncBadgesMixin(_Base):
    """Shows where an order stands in the shop's own order admin: a column in the list, a field on the order's page.

    ::

        from optico_sync.admin.shop import SyncBadgesMixin

        @admin.register(Order)
        class OrderAdmin(SyncBadgesMixin, admin.ModelAdmin):
            list_display = ["number", "status", "total"]

    It costs three queries a page, whatever the number of orders.
    """

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*super().get_list_display(request), "sync_badges"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        own = super().get_changelist(request, **kwargs)
        return type(own.__name__, (_WithStandings, own), {})

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if obj is None else [*own, "sync_standing"]

    def get_fieldsets(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        own = super().get_fieldsets(request, obj)
        if obj is None or "sync_standing" in flatten_fieldsets(own):
            return own
        return [*own, (_("Sync"), {"fields": ["sync_standing"]})]

    @property
    def media(self) -> Media:
        return super().media + Media(css=CSS)

    @admin.display(description=_("sync"))
    def sync_badges(self, order: models.Model) -> SafeString:
        return render_standings(order.optico_sync_standings)  # type: ignore[attr-defined]

    @admin.display(description=_("sync"))
    def sync_standing(self, order: models.Model) -> SafeString:
        subject, rows = insight.standings_by_key([str(order.pk)])[str(order.pk)]
        url = order_url(subject, self.admin_site) if subject else ""
        return render_to_string("optico_sync/_order_field.html", {"rows": rows, "url": url})


class _WithStandings(_BaseList):
    """Reads where the orders of the page stand, beside whatever list the shop uses."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # The result stays a queryset, which editable lists need; reading it here keeps its objects.
        found = insight.standings_by_key([str(order.pk) for order in self.result_list])
        for order in self.result_list:
            order.optico_sync_standings = found[str(order.pk)][1]
