"""Jobs: how far they came, pause, resume, cancel; and the backfill, shown beforehand and then started as one."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import insight, jobs
from optico_sync.admin.badges import CSS
from optico_sync.admin.order_filters import known_credentials
from optico_sync.admin.orders import LIMIT
from optico_sync.admin.readonly import ReadOnlyAdmin
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import Job, StatusMapping, SyncState
from optico_sync.outcome import REASONS
from optico_sync.preview import to_type
from optico_sync.selection import Selection

_DAY = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
#: Button -> what the log says.
_MOVES = {"pause": gettext_lazy("Paused."), "resume": gettext_lazy("Resumed."), "cancel": gettext_lazy("Cancelled.")}


class BackfillForm(forms.Form):
    """The saved query, as an owner says it."""

    placed_from = forms.DateField(
        label=gettext_lazy("Placed from"),
        required=False,
        widget=_DAY,
        help_text=gettext_lazy("The cut-off: orders placed before this day are not sent."),
    )
    placed_until = forms.DateField(label=gettext_lazy("Placed before"), required=False, widget=_DAY)
    statuses = forms.MultipleChoiceField(
        label=gettext_lazy("In these shop statuses"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked means all of them."),
    )
    credential = forms.ChoiceField(label=gettext_lazy("Vendor credential"), required=False)
    reaches_back = forms.BooleanField(
        label=gettext_lazy("Also orders from before the credential's start date, this once"), required=False
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        seen = StatusMapping.objects.order_by("shop_status").values_list("shop_status", flat=True).distinct()
        known = [(str(one.pk), one.name) for one in known_credentials(request) if one.is_enabled]
        self.fields["statuses"].choices = [(status, status) for status in seen]  # type: ignore[attr-defined]
        self.fields["credential"].choices = [("", _("each that is switched on")), *known]  # type: ignore[attr-defined]

    @property
    def selection(self) -> Selection:
        cleaned = self.cleaned_data
        return Selection(
            placed_from=_begin_of(cleaned["placed_from"]),
            placed_until=_begin_of(cleaned["placed_until"]),
            statuses=cleaned["statuses"] or None,
        )

    @property
    def options(self) -> dict[str, Any]:
        chosen = self.cleaned_data["credential"]
        return {"credential_id": int(chosen) if chosen else None, "reaches_back": self.cleaned_data["reaches_back"]}


def _meant(job: Job) -> list[tuple[str, str]]:
    """The saved query in words."""
    selection = Selection.of_json(job.selection)
    told = [
        (_("placed from"), _day(selection.placed_from)),
        (_("placed before"), _day(selection.placed_until)),
        (_("status in the shop"), ", ".join(selection.statuses or ())),
        (_("state"), str(SyncState.State(selection.state).label) if selection.state else ""),
        (_("reason"), str(REASONS[selection.reason].text)),
        (_("attributed"), selection.attributed),
        (_("search"), selection.term),
        (_("keys in the shop"), ", ".join(selection.keys or ())),
        (_("references"), ", ".join(selection.references or ())),
    ]
    return [(label, value) for label, value in told if value]


def _day(moment: datetime | None) -> str:
    return date_format(timezone.localtime(moment), "j M Y, H:i") if moment else ""


def _begin_of(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time.min)) if day else None


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["name", "vendor", "standing", "progress", "done", "asked_at", "asked_by"]
    list_display_links = ["name"]
    sortable_by = ()
    ordering = ["-pk"]
    change_list_template = "admin/optico_sync/job/change_list.html"

    class Media:
        css = CSS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return Job.objects.with_credentials()

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("optico_sync.resend_subject")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_resend_permission(request) or super().has_view_permission(request, obj)

    # the list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": _("Jobs: work on many orders"), "can_start": self.has_resend_permission(request)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.display(description=gettext_lazy("job"))
    def name(self, job: Job) -> str:
        return _("%(number)d: %(verb)s") % {"number": job.pk, "verb": job.get_verb_display()}

    @admin.display(description=gettext_lazy("vendor credential"))
    def vendor(self, job: Job) -> str:
        return job.credential.name if job.credential else _("all of them")

    @admin.display(description=gettext_lazy("state"))
    def standing(self, job: Job) -> SafeString:
        return render_to_string("optico_sync/_badge.html", {"state": job.state, "label": job.get_state_display()})

    @admin.display(description=gettext_lazy("looked at"))
    def progress(self, job: Job) -> str:
        return f"{job.looked_at} / {'…' if job.total is None else job.total}"

    # one job

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        job = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        may_operate = self.has_resend_permission(request) and not job.is_over
        return self._page(
            request,
            "change_form",
            title=_("Job %(job)s") % {"job": self.name(job)},
            original=job,
            told=jobs.account(job),
            meant=_meant(job),
            dealt_with=jobs.dealt_with(job),
            heartbeat=insight.heartbeat(),
            can_pause=may_operate and job.state in (Job.State.WAITING, Job.State.RUNNING),
            can_resume=may_operate and job.state == Job.State.PAUSED,
            can_cancel=may_operate and job.state != Job.State.CANCELLED,
        )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("backfill/", wrap(self.backfill_view), name="optico_sync_job_backfill"),
            path("<int:job_id>/move/", wrap(self.move_view), name="optico_sync_job_move"),
            *super().get_urls(),
        ]

    def move_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """A button of the job's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_resend_permission(request):
            raise PermissionDenied
        job = get_object_or_404(self.get_queryset(request), pk=job_id)
        verb = request.POST.get("verb", "")
        if verb not in _MOVES:
            raise BadRequest("Unknown verb.")
        if getattr(job, verb)():
            messages.success(request, str(_MOVES[verb]))
            self.log_change(request, job, " ".join([str(_MOVES[verb]), *jobs.account(job)]))
        else:
            messages.warning(
                request, _("Nothing was changed: the job is %(state)s.") % {"state": job.get_state_display()}
            )
        return HttpResponseRedirect(self._url("change", job.pk))

    # the backfill

    def backfill_view(self, request: HttpRequest) -> HttpResponse:
        """The form, what it would do, and, confirmed, the jobs. The query is in the address; only POST starts them."""
        if not self.has_resend_permission(request):
            raise PermissionDenied
        form = BackfillForm(request, request.GET if request.GET else None)
        context: dict[str, Any] = {"title": _("Send old orders"), "form": form}
        if not form.is_valid():
            return self._page(request, "backfill", **context)
        try:
            found = jobs.foresee(Job.Verb.BACKFILL, form.selection, limit=LIMIT, **form.options)
            counted = form.selection.count_at_once()
        except ConfigurationError as error:
            messages.error(request, str(error))
            return self._page(request, "backfill", **context)
        # Of more orders than are looked at here, nobody knows how many requests they make.
        is_sample = counted.number > LIMIT
        number = counted.number if is_sample else to_type(found)
        if request.method == "POST":
            if not number or request.POST.get("typed", "").strip() == str(number):
                return self._start(request, form)
            messages.error(request, _("Type the number to confirm. Nothing was sent."))
        context.update(found=found, counted=counted, sample=LIMIT if is_sample else 0, to_type=number)
        context.update(can_start=is_sample or any(one.sends for one in found))
        return self._page(request, "backfill", **context, old=sum(one.left_out["before_start"] for one in found))

    def _start(self, request: HttpRequest, form: BackfillForm) -> HttpResponse:
        by = request.user.get_username()
        started = jobs.start(Job.Verb.BACKFILL, form.selection, by=by, **form.options)
        for job in started:
            told = (
                _("Job %(job)s started: it counts its orders first.")
                if job.total is None
                else _("Job %(job)s started: orders to look at: %(count)d.")
            )
            told %= {"job": f"{job.pk}, {job.credential}", "count": job.total}
            messages.success(request, told)
            self.log_addition(request, job, told)
        if len(started) == 1:
            return HttpResponseRedirect(self._url("change", started[0].pk))
        return HttpResponseRedirect(self._url("changelist"))

    def _page(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        everywhere = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, f"admin/optico_sync/job/{name}.html", {**everywhere, **context})

    def _url(self, name: str, *args: object) -> str:
        return reverse(f"admin:optico_sync_job_{name}", args=args, current_app=self.admin_site.name)
