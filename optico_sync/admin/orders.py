"""Orders and carts: where each one stands, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import insight, jobs
from optico_sync.admin.badges import CSS, render_standings
from optico_sync.admin.export import as_csv
from optico_sync.admin.installation import buttons, may_configure
from optico_sync.admin.order_filters import (
    FILTERS,
    chosen_credential,
    known_credentials,
    listing_of,
)
from optico_sync.admin.readonly import ReadOnlyAdmin
from optico_sync.admin.saved_filters import delete, save, shortcuts
from optico_sync.erase import whole
from optico_sync.listing import COUNTED, Listing, Page
from optico_sync.models import Cart, Job, Subject, VendorCredential
from optico_sync.preview import TYPE_FROM, Preview, foresee, preview, to_type
from optico_sync.rehearsal import compare
from optico_sync.resync import batched
from optico_sync.selection import Selection
from optico_sync.verbs import VERBS, do, erase_by_hand

#: So many orders an action does at once, in the request.
LIMIT = 1000
#: From so many orders on, what an action would send is shown beforehand.
ASK_FROM = 10

_JOBS = {
    "send_again": Job.Verb.SEND,
    "hold": Job.Verb.HOLD,
    "release": Job.Verb.RELEASE,
    "withhold": Job.Verb.WITHHOLD,
    "send_after_all": Job.Verb.SEND_AFTER_ALL,
    "confirm": Job.Verb.CONFIRM,
}


class OrderList(ChangeList):
    """Pages by key, and where the orders of the page stand in one query, whatever their number."""

    #: Up to so many are counted.
    limit = COUNTED
    model_admin: StandingAdmin

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Subject]:
        super().get_queryset(request, exclude_parameters)
        self.listing = listing_of(request, self.model_admin.kind, self.query)
        return self.listing.rows.order_by("-pk")

    def get_results(self, request: HttpRequest) -> None:
        self.page = page = self._page(request.GET.get(PAGE_VAR, ""))
        rows = insight.standings(page.subjects, self.listing.known)
        for subject in page.subjects:
            subject.standings = rows[subject.pk]  # type: ignore[attr-defined]
        self.result_list = page.subjects
        self.result_count = len(page.subjects) if page.count is None else page.count
        # Beside the box of the search, Django names the number found unless this one is equal.
        self.full_result_count = self.result_count
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True

    def _page(self, place: str) -> Page:
        """The first page, or the one ``older-<key>`` or ``newer-<key>``."""
        word, _dash, key = place.partition("-")
        if not (key.isascii() and key.isdecimal() and len(key) <= 18):
            word = ""
        size = self.list_per_page
        if word == "newer":
            page = self.listing.page(size=size, newer_than=int(key))
            if page.newer is not None:
                return page
        # What is newer than the second page is the first one, whole.
        return self.listing.page(size=size, older_than=int(key) if word == "older" else None, counts=word != "older")

    @property
    def older_url(self) -> str:
        return self._url("older", self.page.older)

    @property
    def newer_url(self) -> str:
        return self._url("newer", self.page.newer)

    def _url(self, word: str, key: int | None) -> str:
        return "" if key is None else self.get_query_string({PAGE_VAR: f"{word}-{key}"})


class StandingAdmin(ReadOnlyAdmin):
    """What the pages of orders and of carts have in common."""

    kind: str
    list_title: str | Promise
    page_title: str | Promise
    list_filter = FILTERS
    change_list_template = "admin/optico_sync/subject/change_list.html"
    list_per_page = 50
    # Sorting by another column would read them all.
    sortable_by = ()
    ordering = ["-pk"]
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = CSS

    # the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subject]:
        return super().get_queryset(request).filter(kind=self.kind)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OrderList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in [chosen.parameter_name for chosen in FILTERS]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = {} if request.method == "POST" else {**self._pulse(request), **shortcuts(request, self.kind)}
        return super().changelist_view(request, {"title": self.list_title, **shown, **(extra_context or {})})

    def _pulse(self, request: HttpRequest) -> dict[str, Any]:
        return {**insight.pulse(known_credentials(request)), **buttons(request)}

    def get_urls(self) -> list[URLPattern]:
        guarded, name = self.admin_site.admin_view, f"optico_sync_{self.opts.model_name}"
        return [
            path("export/", guarded(self.export_view), name=f"{name}_export"),
            path("filters/save/", guarded(self.save_filter_view), name=f"{name}_save_filter"),
            path("filters/<int:pk>/delete/", guarded(self.delete_filter_view), name=f"{name}_delete_filter"),
            *super().get_urls(),
        ]

    def _listing(self, request: HttpRequest) -> Listing:
        # No order has a NUL in its name, and PostgreSQL refuses to be asked for one.
        return listing_of(request, self.kind, request.GET.get(SEARCH_VAR, "").replace("\x00", ""))

    def save_filter_view(self, request: HttpRequest) -> HttpResponse:
        """Give the filters of the list a name."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._to_list(save(request, self.kind))

    def delete_filter_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        delete(request, self.kind, pk)
        return self._to_list("")

    def _to_list(self, query: str) -> HttpResponse:
        name = f"admin:optico_sync_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(f"{reverse(name, current_app=self.admin_site.name)}?{query}")

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list as a spreadsheet, with its filters and its search, however long it is."""
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        listing = self._listing(request)
        shown = [getattr(self, str(name)) for name in self.list_display if name not in ("standing", "changed")]
        columns = {str(column.short_description): column for column in shown}
        columns[_("last change")] = lambda subject: localtime(subject.changed_at).isoformat(" ", "seconds")
        return as_csv(listing, columns, name=str(self.opts.verbose_name_plural))

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

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("optico_sync.erase_subject")

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
            "can_resend": may_operate and self.kind == Subject.Kind.ORDER and not subject.erased_at,
            "can_erase": self.has_erase_permission(request) and self.kind == Subject.Kind.ORDER,
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
    actions = ["send_again", "hold", "release", "withhold", "send_after_all", "confirm"]

    @admin.display(description=gettext_lazy("order"))
    def order(self, subject: Subject) -> str:
        return str(subject)

    @admin.display(description=gettext_lazy("shop status"))
    def shop_status(self, subject: Subject) -> str:
        return _("deleted in the shop") if subject.deleted_at else subject.status

    # what an operator can do

    @admin.action(description=gettext_lazy("Send again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("send_again", request, queryset)

    @admin.action(description=gettext_lazy("Hold"), permissions=["resend"])
    def hold(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("hold", request, queryset)

    @admin.action(description=gettext_lazy("Release"), permissions=["resend"])
    def release(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("release", request, queryset)

    @admin.action(description=gettext_lazy("Do not send"), permissions=["resend"])
    def withhold(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("withhold", request, queryset)

    @admin.action(description=gettext_lazy("Send after all"), permissions=["resend"])
    def send_after_all(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("send_after_all", request, queryset)

    @admin.action(description=gettext_lazy("It is there"), permissions=["resend"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        return self._act_or_ask("confirm", request, queryset)

    def _act_or_ask(self, action: str, request: HttpRequest, queryset: QuerySet[Subject]) -> HttpResponse | None:
        """What is ticked at once, unless many go out by it; all that match by a job, after a question."""
        if matching := self._all_matching(request):
            return self._ask_all(request, action, matching)
        verb = "resend" if action == "send_again" else action
        subjects = list(queryset[: LIMIT + 1])
        count = len(subjects)
        if ASK_FROM <= count <= LIMIT and (found := self._foresee(verb, request, subjects)):
            number = count if count >= TYPE_FROM or to_type(found) else 0
            if not self._is_confirmed(request, number):
                title = _("%(action)s, %(count)d orders: what will this do?")
                title %= {"action": getattr(self, action).short_description, "count": count}
                return self._ask(request, action, title, to_type=number, found=found)
        self._act(verb, request, subjects)
        return None

    def _foresee(self, verb: str, request: HttpRequest, subjects: Sequence[Subject]) -> list[Preview]:
        """What would go out; nothing by a verb that only keeps orders back."""
        wanted = chosen_credential(request)
        if verb == "resend":
            return preview(batched([subject.key for subject in subjects]), credential_id=wanted)
        if verb in ("release", "send_after_all"):
            pks = [subject.pk for subject in subjects]
            return foresee(lambda: VERBS[verb].run(pks, credential_id=wanted), among=pks)
        return []

    def _act(self, verb: str, request: HttpRequest, subjects: Sequence[Subject]) -> None:
        """In a list narrowed down to one credential, the action is about that credential."""
        if len(subjects) > LIMIT:
            told = _("At most %(limit)d chosen orders at once: narrow the list down, and choose all that match.")
            messages.error(request, told % {"limit": LIMIT})
        elif subjects:
            wanted = chosen_credential(request)
            credential = next((known for known in known_credentials(request) if known.pk == wanted), None)
            _act(request, verb, subjects, credential)
        else:
            messages.warning(request, _("Nothing was done: choose orders, or all that match."))

    def _all_matching(self, request: HttpRequest) -> Selection | None:
        """What matches the filters and the search, where that was chosen and does not fit on one page."""
        if request.POST.get("select_across") != "1":
            return None
        listing = self._listing(request)
        if listing.page(size=self.list_per_page).older is None:
            return None
        asked = request.POST.get("newest_id", "")
        return Selection(
            state=listing.state or None,
            reason=listing.reason,
            credential_id=listing.credential_id,
            attributed=listing.attributed,
            term=listing.term,
            # What is confirmed is what was shown: orders that came meanwhile are not meant.
            newest_id=int(asked) if asked.isascii() and asked.isdecimal() else jobs.newest_id(),
        )

    def _ask_all(self, request: HttpRequest, action: str, matching: Selection) -> HttpResponse | None:
        """A job does it, never the request; asked first, since it can be about every order there is."""
        verb, label = _JOBS[action], str(getattr(self, action).short_description)
        count, is_all = matching.count_at_once()
        found = jobs.foresee(verb, matching, credential_id=matching.credential_id, limit=LIMIT)
        number = count if is_all else max(count, TYPE_FROM)
        if is_all and count < TYPE_FROM and not to_type(found):
            number = 0
        if self._is_confirmed(request, number):
            self._start(request, verb, label, matching)
            return None
        title = (
            _("%(action)s: all %(count)d orders that match?")
            if is_all
            else _("%(action)s: all orders that match, %(count)d or more?")
        )
        title %= {"action": label, "count": count}
        sample = LIMIT if found and not is_all else 0
        return self._ask(request, action, title, to_type=number, found=found, sample=sample, newest=matching.newest_id)

    def _start(self, request: HttpRequest, verb: str, label: str, matching: Selection) -> None:
        by = request.user.get_username()
        started = jobs.start(verb, matching, credential_id=matching.credential_id, by=by)
        if not started:
            messages.warning(request, _("Nothing was queued: no vendor credential is switched on."))
        for job in started:
            told = (
                _("%(job)s is queued: a worker counts its orders and does it.")
                if job.total is None
                else _("%(job)s is queued: a worker does it, orders in it: %(count)d.")
            )
            told %= {"job": f"{label}, {job.credential}" if job.credential else label, "count": job.total}
            url = reverse("admin:optico_sync_job_change", args=[job.pk], current_app=self.admin_site.name)
            messages.success(request, format_html('<a href="{}">{}</a>', url, told))
            self.log_addition(request, job, told)

    def _is_confirmed(self, request: HttpRequest, to_type: int) -> bool:
        if "confirmed" not in request.POST:
            return False
        if not to_type or request.POST.get("typed", "").strip() == str(to_type):
            return True
        messages.error(request, _("Type the number of orders to confirm."))
        return False

    def _ask(
        self,
        request: HttpRequest,
        action: str,
        title: str,
        *,
        to_type: int,
        found: Sequence[Preview],
        sample: int = 0,
        newest: int | None = None,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "action": action,
            "to_type": to_type,
            "found": found,
            "sample": sample,
            "newest": newest,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/subject/preview.html", context)

    # one order's page

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        compare_ = self.admin_site.admin_view(self.compare_view)
        erase_ = self.admin_site.admin_view(self.erase_view)
        return [
            path("<int:subject_id>/act/", view, name="optico_sync_subject_act"),
            path("<int:subject_id>/compare/", compare_, name="optico_sync_subject_compare"),
            path("<int:subject_id>/erase/", erase_, name="optico_sync_subject_erase"),
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

    def erase_view(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """What erasing an order removes, what stays, and which vendors to ask. Its number, typed, does it."""
        if not (self.has_view_permission(request) and self.has_erase_permission(request)):
            raise PermissionDenied
        subject = get_object_or_404(self.get_queryset(request), pk=subject_id)
        if request.method == "POST":
            if request.POST.get("typed", "").strip() == str(subject):
                messages.success(request, erase_by_hand([subject], user=request.user))
                return HttpResponseRedirect(request.path)
            messages.error(request, _("Type the order's number to confirm."))
        everything = whole([subject])
        context = {
            **self.admin_site.each_context(request),
            "title": _("Order %(subject)s: erase personal data") % {"subject": subject},
            "opts": self.opts,
            "original": subject,
            "media": self.media,
            "carts": len(everything) - 1,
            "holders": insight.holders(everything),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/subject/erase.html", context)

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
        _act(request, verb, [subject], credential)
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


def _act(request: HttpRequest, verb: str, subjects: Sequence[Subject], credential: VendorCredential | None) -> None:
    done = do(verb, subjects, user=request.user, credential=credential)
    messages.add_message(request, messages.SUCCESS if done.count else messages.WARNING, done.told)
