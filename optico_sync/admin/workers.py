"""The delivery workers and their heartbeats."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import insight
from optico_sync.admin.badges import CSS
from optico_sync.admin.readonly import ReadOnlyAdmin
from optico_sync.models import Worker


class WorkerList(ChangeList):
    """Asks the database's clock once for all rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        now = insight.workers_now()
        for worker in self.result_list:
            worker.now = now


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["name", "how", "state", "heartbeat", "started_at", "delivered"]
    list_display_links = None
    sortable_by = ()
    ordering = ["-beat_at"]
    fields = ["name", "how", "state", "heartbeat", "started_at", "stopped_at", "delivered"]

    class Media:
        css = CSS

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WorkerList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Worker | None:
        worker = super().get_object(request, object_id, from_field)
        if worker:
            worker.now = insight.workers_now()
        return worker

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": _("Delivery workers"), **(extra_context or {})})

    @admin.display(description=gettext_lazy("engine"))
    def how(self, worker: Worker) -> str:
        return _("built in") if worker.engine == "embedded" else worker.engine

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Worker) -> SafeString:
        state = insight.worker_state(worker, worker.now)  # type: ignore[attr-defined]
        return render_to_string("optico_sync/_badge.html", {"state": state.value, "label": state.label})

    @admin.display(description=gettext_lazy("last heartbeat"))
    def heartbeat(self, worker: Worker) -> str:
        age = insight.spell(worker.now - worker.beat_at)  # type: ignore[attr-defined]
        return _("%(time)s ago") % {"time": age}
