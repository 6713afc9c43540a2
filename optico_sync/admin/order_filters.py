"""Narrowing the list of orders down."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy

from optico_sync import insight
from optico_sync.listing import Listing
from optico_sync.models import Subject, SyncState, VendorCredential
from optico_sync.outcome import REASONS

#: Whom an order can be credited to.
ATTRIBUTED = [
    ("visit", gettext_lazy("to a visit")),
    ("call", gettext_lazy("to a call")),
    ("no", gettext_lazy("to nobody")),
]


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


def listing_of(request: HttpRequest, kind: str, term: str) -> Listing:
    """What the address of the page asks for; what it cannot mean is nothing."""
    given = {name: request.GET.get(name, "") for name in ("state", "reason", "credential", "attributed")}
    if given["attributed"] not in dict(ATTRIBUTED):
        given["attributed"] = ""
    return Listing(
        known=known_credentials(request),
        kind=kind,
        state=given["state"],
        reason=given["reason"],
        credential_id=(chosen_credential(request) or -1) if given["credential"] else None,
        attributed=given["attributed"],
        term=term.strip(),
    )


class _Filter(admin.SimpleListFilter):
    """Offers the choices; the list asks for all that was chosen at once."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subject]) -> QuerySet[Subject]:
        return queryset


class StateFilter(_Filter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in SyncState.State]


class CredentialFilter(_Filter):
    title = gettext_lazy("vendor credential")
    parameter_name = "credential"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(credential.pk), credential.name) for credential in known_credentials(request)]

    def has_output(self) -> bool:
        # Also with one credential: it leaves out the orders never offered to it.
        return bool(self.lookup_choices)


class ReasonFilter(_Filter):
    title = gettext_lazy("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = insight.reasons(known_credentials(request))
        if (chosen := request.GET.get("reason")) in REASONS and chosen and chosen not in codes:
            codes.append(chosen)
        return [(code, Truncator(str(REASONS[code].text)).chars(60)) for code in codes]


class AttributedFilter(_Filter):
    title = gettext_lazy("attributed")
    parameter_name = "attributed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in ATTRIBUTED]


FILTERS: list[Any] = [StateFilter, CredentialFilter, ReasonFilter, AttributedFilter]
