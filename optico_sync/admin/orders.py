"""Orders and carts: where each one stands, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import insight
from optico_sync.admin.badges import CSS, render_standings
from optico_sync.admin.installation import buttons, may_configure
from optico_sync.admin.order_filters import (
    AttributedFilter,
    CredentialFilter,
    ReasonFilter,
    StateFilter,
    chosen_credential,
    known_credentials,
)
from optico_sync.admin.paginator import LIMIT, BoundedPaginator
from optico_sync.admin.readonly import ReadOnlyAdmin
from optico_sync.admin.verbs import VERBS, act
from optico_sync.models import Cart, Subject
from optico_sync.preview import preview
from optico_sync.rehearsal import compare
from optico_sync.resync import batched

#: From so many orders on, sending again is shown beforehand; from so many on, their number must be typed.
ASK_FROM = 10
TYPE_FROM = 100


class OrderList(ChangeList):
    """Reads where the orders of the page stand in one query, whatever their number."""

    #: How many orders the pages reach.
    limit = LIMIT

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        subjects = list(self.result_list)
        rows = insight.standings(subjects, known_credentials(request))
        for subject in subjects:
            subject.standings = rows[subject.pk]
        self.result_list = subjects


class StandingAdmin(ReadOnlyAdmin):
    """What the pages of orders and of carts have in common."""

    kind: str
    list_title: str | Promise
    page_title: str | Promise
    list_filter = [StateFilter, CredentialFilter, ReasonFilter, AttributedFilter]
    change_list_template = "admin/optico_sync/subject/change_list.html"
    list_per_page = 50
    # Sorting by another column would read them all.
    sortable_by = ()
    ordering = ["-pk"]
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = CSS

    # the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subject]:
        return super().get_queryset(request).filter(kind=self.kind)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OrderList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subject], search_term: str
    ) -> tuple[QuerySet[Subject], bool]:
        term = search_term.strip()
        return (queryset.filter(insight.orders_named(term, self.kind)) if term else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        pulse = {} if request.method == "POST" else self._pulse(request)
        return super().changelist_view(request, {"title": self.list_title, **pulse, **(extra_context or {})})

    def _pulse(self, request: HttpRequest) -> dict[str, Any]:
        return {**insight.pulse(known_credentials(request)), **buttons(request)}

    @admin.display(description=gettext_lazy("attributed"))
    def attributed(self, subject: Subject) -> str:
        if subject.visit_id and subject.call_id:
            return _("visit and call")
        if subject.call_id:
            return _("call")
        return _("visit") if subject.visit_id else _("to nobody")

    @admin.display(description=gettext_lazy("last change"))
    def changed(self, subject: Subject) -> str:
        return date_format(localtime(subject.changed_at), "j M H:i")

    @admin.display(description=gettext_lazy("where it stands"))
    def standing(self, subject: Subject) -> SafeString:
        return render_standings(subject.standings)  # type: ignore[attr-defined]

    # one's own page

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("optico_sync.resend_subject")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        subject = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, subject):
            raise PermissionDenied
        if subject is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        rows = insight.standings([subject], known_credentials(request))[subject.pk]
        may_operate = self.has_resend_permission(request)
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.page_title) % {"subject": subject},
            "opts": self.opts,
            "original": subject,
            "media": self.media,
            "has_view_permission": True,
            "rows": rows,
            "facts": insight.attribution_facts(subject),
            "timeline": insight.timeline(subject, rows, bodies=may_operate),
            "can_read_bodies": may_operate,
            "can_resend": may_operate and self.kind == Subject.Kind.ORDER,
            "can_configure": may_configure(request),
            "heartbeat": insight.heartbeat(),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/subject/change_form.html", context)


@admin.register(Subject)
class OrderAdmin(StandingAdmin):
    kind = Subject.Kind.ORDER
    list_title = gettext_lazy("Orders: where each one stands")
    page_title = gettext_lazy("Order %(subject)s")
    list_display = ["order", "shop_status", "attributed", "standing", "changed"]
    search_fields = ["reference"]
    search_help_text = gettext_lazy("The order's number or its beginning, or its exact key in the shop.")
    actions = ["send_again", "hold", "release"]

    @admin.display(description=gettext_lazy("order"))
    def order(self, subject: Subject) -> str:
        return str(subject)

    @admin.display(description=gettext_lazy("shop status"))
    def shop_status(self, subject: Subject) -> str:
        return _("deleted in the shop") if subject.deleted_at else subject.status

    # what an operator can do

    @admin.action(description=gettext_lazy("Send again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        """Many at once are shown beforehand; very many must be confirmed by typing their number."""
        subjects = list(queryset[: LIMIT + 1])
        if not ASK_FROM <= len(subjects) <= LIMIT:
            self._act("resend", request, queryset)
            return None
        must_type = len(subjects) >= TYPE_FROM
        if "confirmed" in request.POST:
            if not must_type or request.POST.get("typed", "").strip() == str(len(subjects)):
                self._act("resend", request, queryset)
                return None
            messages.error(request, _("Type the number of orders to confirm."))
        return self._ask(request, subjects, must_type=must_type)

    def _ask(self, request: HttpRequest, subjects: Sequence[Subject], *, must_type: bool) -> HttpResponse:
        keys = [subject.key for subject in subjects]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Send %(count)d orders again: what will this do?") % {"count": len(subjects)},
            "opts": self.opts,
            "media": self.media,
            "count": len(subjects),
            "must_type": must_type,
            "found": preview(batched(keys), credential_id=chosen_credential(request)),
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/subject/preview.html", context)

    @admin.action(description=gettext_lazy("Hold"), permissions=["resend"])
    def hold(self, request: HttpRequest, queryset: QuerySet[Subject]) -> None:
        self._act("hold", request, queryset)

    @admin.action(description=gettext_lazy("Release"), permissions=["resend"])
    def release(self, request: HttpRequest, queryset: QuerySet[Subject]) -> None:
        self._act("release", request, queryset)

    def _act(self, verb: str, request: HttpRequest, queryset: QuerySet[Subject]) -> None:
        """In a list narrowed down to one credential, the action is about that credential."""
        subjects = list(queryset[: LIMIT + 1])
        if len(subjects) > LIMIT:
            told = _("At most %(limit)d orders at once: narrow the list down, or use manage.py optico_resync.")
            messages.error(request, told % {"limit": LIMIT})
        elif subjects:
            wanted = chosen_credential(request)
            credential = next((known for known in known_credentials(request) if known.pk == wanted), None)
            act(request, verb, subjects, credential=credential)

    # one order's page

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        compare_ = self.admin_site.admin_view(self.compare_view)
        return [
            path("<int:subject_id>/act/", view, name="optico_sync_subject_act"),
            path("<int:subject_id>/compare/", compare_, name="optico_sync_subject_compare"),
            *super().get_urls(),
        ]

    def compare_view(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """What each vendor was last sent, beside what it would be sent now."""
        if not (self.has_view_permission(request) and self.has_resend_permission(request)):
            raise PermissionDenied
        subject = get_object_or_404(self.get_queryset(request), pk=subject_id)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Order %(subject)s: last sent, and what would be sent now") % {"subject": subject},
            "opts": self.opts,
            "original": subject,
            "media": self.media,
            "rows": compare(subject),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/subject/compare.html", context)

    def act_view(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """A button of the order page: ``verb`` for one ``credential``."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_resend_permission(request)):
            raise PermissionDenied
        subject = get_object_or_404(Subject, pk=subject_id)
        given = request.POST.get("credential")
        credential = next((known for known in known_credentials(request) if str(known.pk) == given), None)
        verb = request.POST.get("verb", "")
        if credential is None or verb not in VERBS:
            raise BadRequest("Unknown verb or credential.")
        act(request, verb, [subject], credential=credential)
        url = reverse("admin:optico_sync_subject_change", args=[subject.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)


@admin.register(Cart)
class CartAdmin(StandingAdmin):
    kind = Subject.Kind.CART
    list_title = gettext_lazy("Carts: where each one stands")
    page_title = gettext_lazy("Cart %(subject)s")
    list_display = ["cart", "attributed", "standing", "changed"]
    search_fields = ["key"]
    search_help_text = gettext_lazy("The cart's exact key in the shop.")

    @admin.display(description=gettext_lazy("cart"))
    def cart(self, subject: Subject) -> str:
        return str(subject)
