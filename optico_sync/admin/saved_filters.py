"""The links above a list: filters that everybody needs, and those that somebody saved under a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync.admin.installation import may_configure
from optico_sync.admin.order_filters import FILTERS, known_credentials
from optico_sync.listing import COUNTED, refused
from optico_sync.models import SavedFilter, Subject, SyncState

#: So many one person, or everybody together, may save for a list.
MOST = 30

_NEEDS_SOMEBODY = f"state={SyncState.State.REFUSED}"
_READY: Mapping[str, Sequence[tuple[str | Promise, str]]] = {
    Subject.Kind.ORDER: [
        (gettext_lazy("Needs somebody"), _NEEDS_SOMEBODY),
        (gettext_lazy("Waiting"), f"state={SyncState.State.WAITING}"),
        (gettext_lazy("Credited to nobody"), "attributed=no"),
    ],
    Subject.Kind.CART: [
        (gettext_lazy("Needs somebody"), _NEEDS_SOMEBODY),
        (gettext_lazy("Waiting"), f"state={SyncState.State.WAITING}"),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """One link. ``count`` is text, empty where nobody counted; ``saved`` is None for those that are always there."""

    name: str | Promise
    query: str
    is_current: bool
    count: str = ""
    saved: SavedFilter | None = None
    can_delete: bool = False


class SaveForm(forms.Form):
    name = forms.CharField(max_length=60, label=gettext_lazy("Name"))
    query = forms.CharField(max_length=500, widget=forms.HiddenInput)
    is_shared = forms.BooleanField(required=False, label=gettext_lazy("for everybody"))

    def clean_query(self) -> str:
        query = spelled(QueryDict(self.cleaned_data["query"]))
        if not query:
            raise forms.ValidationError(_("There is nothing to save: the list shows everything."))
        return query


def spelled(asked: QueryDict) -> str:
    """The filters and the search in one way of writing, so that equal ones are recognised."""
    names = sorted([SEARCH_VAR, *(chosen.parameter_name for chosen in FILTERS)])
    return urlencode([(name, str(asked[name])) for name in names if asked.get(name)])


def shortcuts(request: HttpRequest, kind: str) -> dict[str, object]:
    """What ``_shortcuts.html`` shows. Two queries."""
    current = spelled(request.GET)
    waits = refused(known_credentials(request), kind)
    counts = {_NEEDS_SOMEBODY: f"{COUNTED}+" if waits > COUNTED else str(waits)}
    ready = [
        Shortcut(name=name, query=query, is_current=query == current, count=counts.get(query, ""))
        for name, query in _READY[kind]
    ]
    saved = [
        Shortcut(
            name=one.name,
            query=one.query,
            is_current=one.query == current,
            saved=one,
            can_delete=bool(one.user_key) or may_configure(request),
        )
        for one in _seen_by(request).filter(kind=kind).order_by("name")
    ]
    is_new = bool(current) and all(shortcut.query != current for shortcut in (*ready, *saved))
    return {
        "shortcuts": [*ready, *saved],
        "save_form": SaveForm(initial={"query": current}, auto_id="save_%s") if is_new else None,
        "can_share": may_configure(request),
    }


def save(request: HttpRequest, kind: str) -> str:
    """Save what was posted, and tell. Returns the query of the list to go back to."""
    form = SaveForm(request.POST)
    if not form.is_valid():
        for error in [error for errors in form.errors.values() for error in errors]:
            messages.error(request, str(error))
        return spelled(QueryDict(request.POST.get("query", "")))
    is_shared = form.cleaned_data["is_shared"]
    if is_shared and not may_configure(request):
        raise PermissionDenied
    owned = SavedFilter.objects.filter(kind=kind, user_key="" if is_shared else str(request.user.pk))
    name, query = form.cleaned_data["name"], form.cleaned_data["query"]
    if owned.exclude(name=name).count() >= MOST:
        messages.error(request, _("Not saved: there are %(count)d already. Delete one first.") % {"count": MOST})
        return str(query)
    SavedFilter.objects.update_or_create(
        kind=kind, user_key="" if is_shared else str(request.user.pk), name=name, defaults={"query": query}
    )
    messages.success(request, _("Saved as “%(name)s”.") % {"name": name})
    return str(query)


def delete(request: HttpRequest, kind: str, pk: int) -> None:
    """Delete one's own, or with the right to configure one of everybody's."""
    one = _seen_by(request).filter(kind=kind, pk=pk).first()
    if one is None:
        raise Http404
    if not (one.user_key or may_configure(request)):
        raise PermissionDenied
    one.delete()
    messages.success(request, _("Deleted “%(name)s”.") % {"name": one.name})


def _seen_by(request: HttpRequest) -> QuerySet[SavedFilter]:
    return SavedFilter.objects.filter(Q(user_key="") | Q(user_key=str(request.user.pk)))
