"""Narrowing the list of orders down."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import insight
from optico_sync.models import Subject, SyncState, VendorCredential
from optico_sync.outcome import REASONS


def known_credentials(request: HttpRequest) -> list[VendorCredential]:
    """All credentials, read once for a page."""
    known = getattr(request, "_optico_sync_credentials", None)
    if known is None:
        known = insight.credentials()
        request._optico_sync_credentials = known  # type: ignore[attr-defined]
    return known


def chosen_credential(request: HttpRequest) -> int | None:
    """The credential that the list is narrowed down to."""
    given = request.GET.get(CredentialFilter.parameter_name)
    return next((known.pk for known in known_credentials(request) if str(known.pk) == given), None)


class _StandingFilter(admin.SimpleListFilter):
    """State, credential and reason must be true of one and the same sync state, so they are asked together, once."""

    parameters = ("state", "credential", "reason")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subject]) -> QuerySet[Subject]:
        given = [name for name in self.parameters if request.GET.get(name)]
        if not given or self.parameter_name != given[0]:
            return queryset
        state, reason = request.GET.get("state", ""), request.GET.get("reason", "")
        if state not in ("", *SyncState.State.values) or reason not in REASONS:
            return queryset.none()
        credential_id = chosen_credential(request)
        if "credential" in given and credential_id is None:
            return queryset.none()
        known = known_credentials(request)
        return queryset.filter(insight.orders_where(known, state=state, reason=reason, credential_id=credential_id))


class StateFilter(_StandingFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in SyncState.State]


class CredentialFilter(_StandingFilter):
    title = gettext_lazy("vendor credential")
    parameter_name = "credential"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(credential.pk), credential.name) for credential in known_credentials(request)]

    def has_output(self) -> bool:
        # Also with one credential: it leaves out the orders never offered to it.
        return bool(self.lookup_choices)


class ReasonFilter(_StandingFilter):
    title = gettext_lazy("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = insight.reasons(known_credentials(request))
        if (chosen := request.GET.get("reason")) in REASONS and chosen and chosen not in codes:
            codes.append(chosen)
        return [(code, Truncator(str(REASONS[code].text)).chars(60)) for code in codes]


class AttributedFilter(admin.SimpleListFilter):
    title = gettext_lazy("attributed")
    parameter_name = "attributed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("visit", _("to a visit")), ("call", _("to a call")), ("no", _("to nobody"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subject]) -> QuerySet[Subject]:
        to = self.value() or ""
        is_known = to in dict(self.lookup_choices)
        return queryset.filter(insight.orders_attributed(to)) if is_known else queryset
