"""Accounts at vendors, as the shop owner types them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models, router
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from optico_sync import doctor, insight, relay, wakeups
from optico_sync.admin import questions
from optico_sync.admin.badges import CSS
from optico_sync.admin.credential_form import forget_name, form_for, option_name, secret_name
from optico_sync.admin.installation import answer, banner, may_configure
from optico_sync.admin.statuses import DeclaredStatusInline, RoutingRuleInline, StatusMappingInline
from optico_sync.exceptions import ConfigurationError
from optico_sync.installation import adopt
from optico_sync.models import DeclaredStatus, Installation, SyncState, VendorCredential
from optico_sync.models.credentials import RESUMED_FIELDS
from optico_sync.models.installation import OTHER_INSTALLATION
from optico_sync.preview import Preview, foresee
from optico_sync.probe import probe
from optico_sync.vendors import get_vendor, vendor_paths
from optico_sync.vendors.base import Vendor

#: No password ever reaches an error page.
_hide_post = method_decorator(sensitive_post_parameters())


@admin.register(VendorCredential)
class VendorCredentialAdmin(admin.ModelAdmin):
    list_display = ["name", "vendor_label", "state", "last_delivery", "open_until"]
    sortable_by = ()
    ordering = ["name"]
    actions = ["resume"]
    inlines = [DeclaredStatusInline, StatusMappingInline, RoutingRuleInline]

    class Media:
        css = CSS

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[VendorCredential]:
        """With the secrets left sealed: a wrong encryption key must not take the pages down that can repair it."""
        return super().get_queryset(request).defer("sealed_secrets")

    # the list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": _("Vendor credentials"), **banner(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("vendor"))
    def vendor_label(self, credential: VendorCredential) -> str:
        spec = _spec_of(credential)
        return str(spec.label) if spec else credential.vendor

    @admin.display(description=gettext_lazy("state"))
    def state(self, credential: VendorCredential) -> SafeString:
        return render_to_string(
            "optico_sync/_line.html", {"line": insight.credential_lines([credential])[0], "brief": True}
        )

    @admin.display(description=gettext_lazy("last delivery"))
    def last_delivery(self, credential: VendorCredential) -> str:
        ago = insight.credential_lines([credential])[0].last_delivery
        return _("%(time)s ago") % {"time": ago} if ago else _("none yet")

    @admin.action(description=gettext_lazy("Resume sending"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: models.QuerySet[VendorCredential]) -> HttpResponse | None:
        if "back" in request.POST:
            return None
        chosen = list(queryset)
        if question := self._question(request, lambda: _resume(*chosen)):
            return question
        for credential in chosen:
            self._resume(request, credential)
        return None

    # the form

    @_hide_post
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if object_id is None and self.has_add_permission(request) and _chosen_vendor(request) is None:
            return self._choose_vendor(request)
        save = partial(super().changeform_view, request, object_id, form_url, extra_context)
        credential = self.get_object(request, unquote(object_id)) if object_id and request.method == "POST" else None
        if credential is None or not self.has_change_permission(request, credential):
            return save()
        return self._save_or_ask(request, credential, save)

    @sensitive_variables()
    def _save_or_ask(
        self, request: HttpRequest, credential: VendorCredential, save: Callable[[], HttpResponse]
    ) -> HttpResponse:
        """Save, unless orders would go out because of it: that is asked first, in numbers."""
        if not request.POST.keys().isdisjoint(("confirmed", "back")):
            questions.give_secrets_back(request)
        if "back" in request.POST or questions.is_confirmed(request):
            return save()
        responses: list[HttpResponse] = []
        found = self._foresee(request, lambda: responses.append(save()))
        if responses and not isinstance(responses[0], HttpResponseRedirect):
            # It cannot be saved, and says why.
            return responses[0]
        if not found:
            return save()
        spec = _spec_of(credential)
        secrets = [secret_name(secret) for secret in spec.secrets] if spec else []
        questions.keep_secrets(request, secrets)
        return self._ask(request, credential, found, secrets=secrets)

    def _foresee(self, request: HttpRequest, change: Callable[[], object]) -> list[Preview]:
        """What ``change`` would send. It is taken back, so nothing is told or logged of it."""
        request._optico_sync_is_rehearsal = True  # type: ignore[attr-defined]
        try:
            return foresee(change)
        finally:
            request._optico_sync_is_rehearsal = False  # type: ignore[attr-defined]

    def _question(
        self, request: HttpRequest, change: Callable[[], object], credential: VendorCredential | None = None
    ) -> HttpResponse | None:
        """What ``change`` would send, in numbers; None where nothing goes out by it, or somebody wants just that."""
        if questions.is_confirmed(request):
            return None
        found = self._foresee(request, change)
        return self._ask(request, credential, found) if found else None

    def _ask(
        self,
        request: HttpRequest,
        credential: VendorCredential | None,
        found: list[Preview],
        secrets: Sequence[str] = (),
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("What will this do?"),
            "opts": self.opts,
            "media": self.media,
            "original": credential,
            **questions.question(request, found, secrets=secrets),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/vendorcredential/question.html", context)

    def message_user(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if not getattr(request, "_optico_sync_is_rehearsal", False):
            super().message_user(request, *args, **kwargs)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        # The log may be in another database than the credentials, where nothing is taken back.
        if not getattr(request, "_optico_sync_is_rehearsal", False):
            return super().log_change(request, obj, message)
        return None

    def _choose_vendor(self, request: HttpRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add a vendor credential: which vendor?"),
            "opts": self.opts,
            "media": self.media,
            "add": True,
            "has_view_permission": self.has_view_permission(request),
            "vendors": _vendors(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/vendorcredential/choose_vendor.html", context)

    def get_form(
        self, request: HttpRequest, obj: VendorCredential | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm]:
        form = form_for(_spec_of(obj) if obj else _chosen_vendor(request))
        kwargs["form"] = type("CredentialForm", (form,), {"is_taken_back": "back" in request.POST})
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: VendorCredential | None = None) -> Any:
        spec = _spec_of(obj) if obj else _chosen_vendor(request)
        account: list[str | tuple[str, ...]] = ["base_url"]
        if spec and (obj is None or self.has_change_permission(request, obj)):
            secrets = [
                secret_name(secret) if secret.is_required else (secret_name(secret), forget_name(secret))
                for secret in spec.secrets
            ]
            account = [*secrets, *(option_name(option) for option in spec.options), "base_url"]
        label = spec.label if spec else _("A vendor that is no longer there: %(name)s") % {"name": obj and obj.vendor}
        return [
            (None, {"fields": ["name", "is_enabled"]}),
            (label, {"fields": account}),
            (_("What and how fast"), {"fields": ["start_at", "concurrency"]}),
        ]

    def get_inlines(self, request: HttpRequest, obj: VendorCredential | None) -> list[Any]:
        return self.inlines if obj else [DeclaredStatusInline]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: VendorCredential | None = None,
    ) -> HttpResponse:
        if obj:
            context["line"] = insight.credential_lines([obj])[0]
            context["compared"] = insight.compared(obj)
            context |= banner(request)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def save_model(self, request: HttpRequest, obj: VendorCredential, form: Any, change: bool) -> None:
        """Only what the form is about: a worker may be moving the breaker at the same moment."""
        obj.save(update_fields=form.written_fields if change else None)
        if not change:
            # From now on there is something that a copy must not send.
            Installation.start()
            relay.seed_mappings(obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        parked = _parked(form.instance)
        super().save_related(request, form, formsets, change)
        if (released := parked - _parked(form.instance)) > 0:
            told = _("Orders released: %(count)d.") % {"count": released}
            self.message_user(request, told, messages.SUCCESS)
            self.log_change(request, form.instance, told)
        wakeups.ring_soon(router.db_for_write(VendorCredential))

    def response_add(self, request: HttpRequest, obj: VendorCredential, post_url_continue: str | None = None) -> Any:
        """On to the statuses, which are the next thing to do."""
        if "_addanother" in request.POST or "_popup" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        told = _("%(name)s is stored. Now check below what each shop status becomes at the vendor.")
        messages.success(request, told % {"name": obj})
        return HttpResponseRedirect(self._page_of(obj.pk))

    # buttons

    def get_urls(self) -> list[URLPattern]:
        views = (self.resume_view, self.declare_view, self.probe_view, self.installation_view)
        resume, declare, probe_, installation = (self.admin_site.admin_view(view) for view in views)
        return [
            path("installation/", installation, name="optico_sync_installation"),
            path("<int:pk>/resume/", resume, name="optico_sync_vendorcredential_resume"),
            path("<int:pk>/probe/", probe_, name="optico_sync_vendorcredential_probe"),
            path(
                "<int:pk>/doctor/",
                self.admin_site.admin_view(self.doctor_view),
                name="optico_sync_vendorcredential_doctor",
            ),
            path("<int:pk>/declare/<int:status>/", declare, name="optico_sync_vendorcredential_declare"),
            *super().get_urls(),
        ]

    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        credential = self._posted_to(request, pk)
        if isinstance(credential, HttpResponse):
            return credential
        if "back" not in request.POST:
            if question := self._question(request, lambda: _resume(credential), credential):
                return question
            self._resume(request, credential)
        return HttpResponseRedirect(self._page_of(pk))

    def declare_view(self, request: HttpRequest, pk: int, status: int) -> HttpResponse:
        """“Declared at the vendor now”: sends what waited for it."""
        credential = self._posted_to(request, pk)
        if isinstance(credential, HttpResponse):
            return credential
        declared = get_object_or_404(DeclaredStatus, pk=status, credential=credential)
        declared.credential = credential
        if "back" in request.POST:
            return HttpResponseRedirect(self._page_of(pk))
        if question := self._question(request, declared.declare, credential):
            return question
        count = declared.declare()
        wakeups.ring_soon(router.db_for_write(VendorCredential))
        told = _("“%(status)s” is declared now. Orders released: %(count)d.")
        told %= {"status": declared.name, "count": count}
        self.log_change(request, credential, told)
        messages.success(request, told)
        return HttpResponseRedirect(self._page_of(pk))

    def probe_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """“Test the connection”: says exactly what was and was not proven."""
        credential = self._posted_to(request, pk)
        if isinstance(credential, HttpResponse):
            return credential
        finding = probe(credential)
        level = {True: messages.SUCCESS, False: messages.ERROR, None: messages.WARNING}[finding.is_good]
        messages.add_message(request, level, f"{credential}: {finding.text}")
        self.log_change(request, credential, _("Test the connection. %(finding)s") % {"finding": finding.text})
        return HttpResponseRedirect(self._page_of(pk))

    def doctor_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What the shop's statuses become at this vendor, and what is wrong with that."""
        credential = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_view_permission(request, credential):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Status doctor: %(name)s") % {"name": credential},
            "opts": self.opts,
            "media": self.media,
            "found": doctor.diagnose(credential),
            "advice": credential.explain("unknown_status").advice,
            "limit": doctor.LOOKED_AT,
            "can_configure": self.has_change_permission(request, credential),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/optico_sync/vendorcredential/doctor.html", context)

    def installation_view(self, request: HttpRequest) -> HttpResponse:
        """The answers of the banner on a copy: ``verb`` is "sandbox" with ``url``, "adopt" or "stay_off"."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not may_configure(request):
            raise PermissionDenied
        if "back" not in request.POST:
            is_real = request.POST.get("verb") == "adopt" and insight.installation().is_another
            if is_real and (question := self._question(request, adopt)):
                return question
            answer(request)
        return HttpResponseRedirect(
            reverse("admin:optico_sync_vendorcredential_changelist", current_app=self.admin_site.name)
        )

    def _posted_to(self, request: HttpRequest, pk: int) -> VendorCredential | HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        credential = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, credential):
            raise PermissionDenied
        return credential

    def _resume(self, request: HttpRequest, credential: VendorCredential) -> None:
        if insight.installation().is_another:
            messages.error(request, str(credential.explain(OTHER_INSTALLATION).text))
            return
        _resume(credential)
        wakeups.ring_soon(router.db_for_write(VendorCredential))
        if credential.is_enabled:
            told = _("%(name)s is sending again.") % {"name": credential}
            messages.success(request, told)
        else:
            told = _("%(name)s is ready, but still switched off.") % {"name": credential}
            messages.warning(request, told)
        self.log_change(request, credential, told)

    def _page_of(self, pk: int) -> str:
        return reverse("admin:optico_sync_vendorcredential_change", args=[pk], current_app=self.admin_site.name)

    # deleting

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A credential with a record of orders stays. Django would list every one of them."""
        told = _("%(name)s has a record of orders: switch it off instead of deleting it.")
        protected = [
            told % {"name": credential}
            for credential in objs
            if SyncState.objects.filter(credential=credential).exists()
        ]
        return ([], {}, set(), protected) if protected else super().get_deleted_objects(objs, request)


def _spec_of(credential: VendorCredential) -> Vendor | None:
    try:
        return credential.spec
    except ConfigurationError:
        return None


def _vendors() -> list[Vendor]:
    """Those that can be used; the system checks name the others."""
    found = []
    for name in sorted(vendor_paths()):
        try:
            found.append(get_vendor(name))
        except ConfigurationError:
            continue
    return found


def _chosen_vendor(request: HttpRequest) -> Vendor | None:
    """The one that ``?vendor=`` names, or the only one there is."""
    known = _vendors()
    if len(known) == 1:
        return known[0]
    return next((vendor for vendor in known if vendor.name == request.GET.get("vendor")), None)


def _resume(*credentials: VendorCredential) -> None:
    for credential in credentials:
        credential.resume()
        credential.save(update_fields=RESUMED_FIELDS)


def _parked(credential: VendorCredential) -> int:
    return SyncState.objects.filter(credential=credential, state=SyncState.State.REFUSED).count()
