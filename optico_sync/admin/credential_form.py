"""The credential's form: exactly the fields that its vendor declares. Secrets go in and never come out."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from optico_sync.base_url import check_base_url
from optico_sync.exceptions import EncryptionKeyError
from optico_sync.models import VendorCredential
from optico_sync.models.credentials import RESUMED_FIELDS
from optico_sync.models.fields import seal
from optico_sync.redaction import mask_secret
from optico_sync.vendors.base import OptionField, SecretField, Vendor

_PLAIN_FIELDS = ["name", "base_url", "is_enabled", "start_at", "concurrency"]


def secret_name(secret: SecretField) -> str:
    return f"secret_{secret.name}"


def forget_name(secret: SecretField) -> str:
    return f"forget_{secret.name}"


def option_name(option: OptionField) -> str:
    return f"option_{option.name}"


class CredentialForm(forms.ModelForm):
    """Made for one vendor by ``form_for``."""

    spec: ClassVar[Vendor | None] = None
    #: Whether somebody came back from the question what it would do: all is shown as typed, and nothing is saved.
    is_taken_back: ClassVar[bool] = False

    base_url = forms.URLField(
        label=gettext_lazy("Base URL"),
        max_length=300,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text=gettext_lazy("Where the vendor is reached. Leave it as it is unless the vendor told you otherwise."),
    )

    class Meta:
        model = VendorCredential
        fields = _PLAIN_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: What ``save_model`` writes of a credential that exists.
        self.written_fields = [*_PLAIN_FIELDS, "options"]
        self._is_readable = True
        if start_at := self.fields.get("start_at"):
            # Date and time have a box each, and no label of their own.
            start_at.widget.attrs["aria-label"] = start_at.label
        if self.spec is None:
            return
        if self.instance.pk is None:
            self.instance.vendor = self.spec.name
            self.fields["base_url"].initial = self.spec.default_base_url
        self._stored = self._read_stored()
        for secret in self.spec.secrets:
            field = self.fields.get(secret_name(secret))
            if field:
                field.required = secret.is_required and self._is_readable and not self._stored.get(secret.name)
                field.help_text = self._help(secret)
            if forget := self.fields.get(forget_name(secret)):
                forget.disabled = not self._stored.get(secret.name)
        for option in self.spec.options:
            if field := self.fields.get(option_name(option)):
                field.initial = self.instance.options.get(option.name, option.default)

    @sensitive_variables()
    def _read_stored(self) -> dict[str, str]:
        if self.instance.pk is None:
            return {}
        try:
            return self.instance.secrets
        except EncryptionKeyError as error:
            self._is_readable = False
            self._problem = str(error)
            return {}

    @sensitive_variables()
    def _help(self, secret: SecretField) -> str:
        help_text = str(secret.help_text)
        if not self._is_readable:
            told = _("It cannot be read: %(problem)s Type it again, or ask your developer for the old encryption key.")
            return f"{help_text} {told % {'problem': self._problem}}".strip()
        if stored := self._stored.get(secret.name):
            masked = mask_secret(stored)
            ends = _("Stored, ends in %(end)s.") % {"end": masked} if len(masked) > 1 else _("Stored.")
            keep = _("Leave it empty to keep it.")
            return f"{help_text} {ends} {keep}".strip()
        return help_text

    def clean_base_url(self) -> str:
        url = self.cleaned_data["base_url"]
        check_base_url(url)
        return url

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        typed = self._typed()
        if self.is_taken_back:
            self.add_error(None, _("Nothing was saved. Look over it and save again; a key must be typed again."))
        if typed and self.spec:
            try:
                seal("")
            except EncryptionKeyError as error:
                raise ValidationError(str(error)) from None
            for secret in self.spec.secrets:
                if not self._is_readable and secret.is_required and secret.name not in typed:
                    self.add_error(secret_name(secret), _("The stored one cannot be read, so type all of them."))
        return cleaned

    @sensitive_variables()
    def save(self, commit: bool = True) -> VendorCredential:
        credential: VendorCredential = super().save(commit=False)
        chosen = self._chosen()
        is_moved = "base_url" in self.changed_data or any(self._option(name) != chosen[name] for name in chosen)
        credential.options = {**credential.options, **chosen}
        typed, forgotten = self._typed(), self._forgotten()
        if typed or forgotten:
            kept = {name: value for name, value in self._stored.items() if name not in forgotten}
            credential.set_secrets({**kept, **typed})
            self.written_fields += ["sealed_secrets", "secrets_version", "secrets_changed_at"]
        elif is_moved:
            credential.resume()
        if typed or forgotten or is_moved:
            self.written_fields += RESUMED_FIELDS
        if commit:
            credential.save()
        return credential

    @sensitive_variables()
    def _typed(self) -> dict[str, str]:
        secrets = self.spec.secrets if self.spec else ()
        given = {secret.name: self.cleaned_data.get(secret_name(secret)) for secret in secrets}
        return {name: value for name, value in given.items() if value}

    def _option(self, name: str) -> str | int | bool | None:
        """What is in force now: an option that came with a later version has its default."""
        defaults = {option.name: option.default for option in self.spec.options} if self.spec else {}
        return self.instance.options.get(name, defaults.get(name))

    def _forgotten(self) -> set[str]:
        secrets = self.spec.secrets if self.spec else ()
        return {secret.name for secret in secrets if self.cleaned_data.get(forget_name(secret))}

    def _chosen(self) -> dict[str, str | int | bool]:
        options = self.spec.options if self.spec else ()
        given = {option.name: self.cleaned_data.get(option_name(option)) for option in options}
        return {name: value for name, value in given.items() if value is not None}


def form_for(spec: Vendor | None) -> type[CredentialForm]:
    """The form of ``spec``'s credentials; only the common fields for a vendor that is no longer there."""
    if spec is None:
        return CredentialForm
    fields: dict[str, Any] = {"spec": spec}
    for secret in spec.secrets:
        widget = forms.PasswordInput(render_value=False, attrs={"class": "vTextField", "autocomplete": "new-password"})
        fields[secret_name(secret)] = forms.CharField(
            label=str(secret.label), max_length=1000, widget=widget, required=secret.is_required
        )
        if not secret.is_required:
            told = _("Forget the stored “%(secret)s”") % {"secret": secret.label}
            fields[forget_name(secret)] = forms.BooleanField(label=told, required=False)
    for option in spec.options:
        fields[option_name(option)] = _option_field(option)
    return type("CredentialForm", (CredentialForm,), fields)


def _option_field(option: OptionField) -> forms.Field:
    """The field that fits the kind of option, which its default tells."""
    words: dict[str, Any] = {"label": str(option.label), "help_text": str(option.help_text)}
    if isinstance(option.default, bool):
        return forms.BooleanField(required=False, **words)
    if isinstance(option.default, int):
        return forms.IntegerField(min_value=0, **words)
    if option.choices:
        return forms.ChoiceField(choices=option.choices, **words)
    return forms.CharField(required=option.is_required, max_length=1000, widget=AdminTextInputWidget, **words)
