"""Whom alerts are told to, and what is wrong at the moment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from optico_sync.admin.badges import CSS
from optico_sync.alerts import open_alerts, send_test
from optico_sync.base_url import check_host
from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import AlertKind, AlertSettings, Notice
from optico_sync.models.fields import seal

#: Messages that the page shows.
SHOWN = 10


class AlertForm(forms.ModelForm):
    webhook_url = forms.URLField(
        label=gettext_lazy("Webhook"),
        required=False,
        max_length=500,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text=gettext_lazy("Each message is posted there as JSON, signed."),
    )
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Tell when"),
        choices=AlertKind.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    language = forms.ChoiceField(label=gettext_lazy("Language of the messages"), required=False)
    secret = forms.CharField(
        label=gettext_lazy("Secret that signs the webhook's messages"),
        required=False,
        max_length=200,
        min_length=16,
        widget=forms.PasswordInput(render_value=False, attrs={"class": "vTextField", "autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "Yours to choose, 16 characters or more. It is stored encrypted and never shown; leave it empty to keep it."
        ),
    )

    class Meta:
        model = AlertSettings
        fields = [
            "recipients", "webhook_url", "language", "kinds", "waiting_minutes", "breaker_minutes", "worker_minutes",
            "attribution_drop",
        ]  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "language" in self.fields:
            self.fields["language"].choices = settings.LANGUAGES  # type: ignore[attr-defined]
            self.initial["language"] = self.instance.language_code

    def clean_recipients(self) -> str:
        addresses = self.cleaned_data["recipients"].replace(",", " ").replace(";", " ").split()
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(_("“%(address)s” is no e-mail address.") % {"address": address}) from None
        return "\n".join(dict.fromkeys(addresses))

    def clean_webhook_url(self) -> str:
        if url := self.cleaned_data["webhook_url"]:
            check_host(url)
        return url

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("secret"):
            try:
                seal("")
            except EncryptionKeyError as error:
                self.add_error("secret", str(error))
        elif cleaned.get("webhook_url") and not self._has_secret():
            self.add_error("secret", _("Choose one: without it nobody can tell a true message from a false one."))
        return cleaned

    @sensitive_variables()
    def save(self, commit: bool = True) -> AlertSettings:
        alerts: AlertSettings = super().save(commit=False)
        if secret := self.cleaned_data.get("secret"):
            alerts.webhook_secret = secret
        if commit:
            alerts.save()
        return alerts

    def _has_secret(self) -> bool:
        try:
            return bool(self.instance.webhook_secret)
        except EncryptionKeyError:
            return False


@admin.register(AlertSettings)
class AlertSettingsAdmin(admin.ModelAdmin):
    """The single row; the list leads to it."""

    form = AlertForm
    change_form_template = "admin/optico_sync/alertsettings/change_form.html"
    fieldsets = [
        (None, {"fields": ["recipients", "webhook_url", "secret", "language"]}),
        (
            gettext_lazy("When"),
            {"fields": ["kinds", "waiting_minutes", "breaker_minutes", "worker_minutes", "attribution_drop"]},
        ),
    ]

    class Media:
        css = CSS

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertSettings]:
        """With the secret left sealed: a wrong encryption key must not take the page down that can repair it."""
        return super().get_queryset(request).defer("webhook_secret")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        known, _created = AlertSettings.objects.defer("webhook_secret").get_or_create(pk=1)
        return HttpResponseRedirect(self._page_of(known))

    @method_decorator(sensitive_post_parameters())
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "title": _("Alerts: whom to tell, and when"),
            "alerts": open_alerts(),
            "notices": Notice.objects.order_by("-pk")[:SHOWN],
            "can_test": self.has_change_permission(request),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: AlertSettings, form: Any, change: bool) -> None:
        """Only what the form is about: a worker may be noting its turn at the same moment."""
        typed = ["webhook_secret"] if form.cleaned_data.get("secret") else []
        obj.save(update_fields=[*AlertForm.Meta.fields, *typed])

    def get_urls(self) -> list[URLPattern]:
        test = self.admin_site.admin_view(self.test_view)
        return [path("test/", test, name="optico_sync_alertsettings_test"), *super().get_urls()]

    def test_view(self, request: HttpRequest) -> HttpResponse:
        """“Send a test message”: by the settings as they are stored."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        known = AlertSettings.objects.defer("webhook_secret").filter(pk=1).first()
        if known is None or not self.has_change_permission(request, known):
            raise PermissionDenied
        notices = send_test()
        told = [f"{notice.get_channel_display()}: {notice.error or _('sent')}" for notice in notices]
        for notice, text in zip(notices, told, strict=True):
            messages.add_message(request, messages.ERROR if notice.error else messages.SUCCESS, text)
        if not notices:
            messages.warning(request, _("There is no address yet: type one below and save."))
        self.log_change(request, known, " ".join([_("Test message."), *told]))
        return HttpResponseRedirect(self._page_of(known))

    def _page_of(self, known: AlertSettings) -> str:
        return reverse("admin:optico_sync_alertsettings_change", args=[known.pk], current_app=self.admin_site.name)
