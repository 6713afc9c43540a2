"""The statuses declared at a vendor, and what each shop status becomes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from optico_sync.models import DeclaredStatus, RoutingRule, StatusMapping

_CHANGE = "optico_sync.change_vendorcredential"
_WRITE = (_CHANGE, "optico_sync.add_vendorcredential")
_READ = (*_WRITE, "optico_sync.view_vendorcredential")


def _has_any(request: HttpRequest, permissions: tuple[str, ...]) -> bool:
    return any(request.user.has_perm(permission) for permission in permissions)


class _PartOfCredential(admin.TabularInline):
    """Whoever may configure a credential may configure its statuses."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _has_any(request, _READ)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _has_any(request, _WRITE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _has_any(request, _WRITE)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _has_any(request, _WRITE)


class StatusFormSet(BaseInlineFormSet):
    """Hands its rows the credential of the page: loading another would open the secrets."""

    def add_fields(self, form: Any, index: int | None) -> None:
        """With labels for who cannot see the column's head."""
        super().add_fields(form, index)
        for field in form.fields.values():
            field.widget.attrs.setdefault("aria-label", field.label)

    def save_existing(self, form: Any, obj: Any, commit: bool = True) -> Any:
        form.instance.credential = self.instance
        return super().save_existing(form, obj, commit)


class RoutingRuleInline(_PartOfCredential):
    """Which orders go to this one of several credentials at the same vendor."""

    model = RoutingRule
    formset = StatusFormSet
    fields = ["position", "field", "value"]
    extra = 0


class DeclaredStatusInline(_PartOfCredential):
    model = DeclaredStatus
    formset = StatusFormSet
    verbose_name_plural = _("statuses declared at the vendor")
    fields = ["name", "is_sale", "refused"]
    readonly_fields = ["refused"]

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        # Room for a new one without JavaScript.
        return 1 if obj else 5

    @admin.display(description=_("refused by the vendor since"))
    def refused(self, status: DeclaredStatus) -> SafeString | str:
        """With the button that says that it is declared now."""
        if not status.pk or not status.unknown_since:
            return ""
        url = reverse(
            "admin:optico_sync_vendorcredential_declare",
            args=[status.credential_id, status.pk],
            current_app=self.admin_site.name,
        )
        return render_to_string("optico_sync/_declare.html", {"since": status.unknown_since, "url": url})


class MappingForm(forms.ModelForm):
    """One choice: send it as a declared status, do not send it, or not decided yet."""

    decision = forms.ChoiceField(label=_("at the vendor"))

    class Meta:
        model = StatusMapping
        fields: list[str] = []

    def __init__(self, *args: Any, declared: Sequence[DeclaredStatus] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = StatusMapping.Choice
        self.fields["decision"].choices = [  # type: ignore[attr-defined]
            (choice.UNDECIDED, _("– not decided yet: its orders wait –")),
            *((str(status.pk), _("send as “%(status)s”") % {"status": status}) for status in declared),
            (choice.DO_NOT_SEND, choice.DO_NOT_SEND.label),
        ]
        self.initial["decision"] = str(self.instance.declared_id or self._undeclared())

    def _undeclared(self) -> str:
        """``SEND`` whose declared status is gone is no decision."""
        choice = StatusMapping.Choice
        return choice.DO_NOT_SEND if self.instance.choice == choice.DO_NOT_SEND else choice.UNDECIDED

    def save(self, commit: bool = True) -> StatusMapping:
        decision = self.cleaned_data["decision"]
        is_declared = decision not in StatusMapping.Choice.values
        self.instance.declared_id = int(decision) if is_declared else None
        self.instance.choice = StatusMapping.Choice.SEND if is_declared else decision
        return super().save(commit)


class MappingFormSet(StatusFormSet):
    """Reads the declared statuses once for all rows."""

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        if not hasattr(self, "_declared"):
            self._declared = list(self.instance.declared_statuses.all()) if self.instance.pk else []
        return {**super().get_form_kwargs(index), "declared": self._declared}


class StatusMappingInline(_PartOfCredential):
    model = StatusMapping
    form = MappingForm
    formset = MappingFormSet
    extra = 0
    max_num = 0
    can_delete = False
    verbose_name_plural = _("status mappings: what each shop status becomes there")
    readonly_fields = ["shop_status"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return ["shop_status", "decision"]
        return ["shop_status", "choice", "declared"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StatusMapping]:
        return super().get_queryset(request).select_related("declared")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
