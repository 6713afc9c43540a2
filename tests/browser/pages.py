"""Every page of the app's admin, found by itself, so that a new one is looked at too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, reverse

from optico_sync.models import Subject, SyncState, VendorCredential


@dataclass(frozen=True, kw_only=True)
class Place:
    name: str
    path: str


def places(user: User) -> list[Place]:
    """The app's first page, and whatever page its models have, each for some examples."""
    client = Client()
    client.force_login(user)
    found = [Place(name="overview", path="/admin/optico_sync/")]
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "optico_sync":
            for pattern in model_admin.get_urls():
                found += _of(pattern, _examples(model))
    vendors = [Place(name=f"add-{name}", path=f"{_ADD}?vendor={name}") for name in _VENDORS]
    meant = Place(name="job_backfill-preview", path=f"{reverse('admin:optico_sync_job_backfill')}?preview=1")
    return [place for place in [*found, *vendors, meant] if _is_page(client.get(place.path))]


def _is_page(answer: HttpResponseBase) -> bool:
    """A button's target answers 405, what nobody may add or delete 403; a list of a single row leads there."""
    return answer.status_code == 200 and not answer.has_header("Content-Disposition")


_ADD = "/admin/optico_sync/vendorcredential/add/"
_VENDORS = ("optico", "ometria", "optimizely", "guaranteed_reviews")


def _of(pattern: URLPattern, examples: Sequence[tuple[str, Model]]) -> Iterator[Place]:
    if not pattern.name:
        return
    count = len(pattern.pattern.converters)
    name = pattern.name.removeprefix("optico_sync_")
    if name.endswith(("_history", "_delete")):
        # Django's own, as they are.
        return
    if not count:
        yield Place(name=name, path=reverse(f"admin:{pattern.name}"))
        return
    # What an object is shows on its first page; of the others one will do.
    for word, example in examples if name.endswith("_change") else examples[:1]:
        yield Place(name=f"{name}-{word}", path=reverse(f"admin:{pattern.name}", args=[example.pk, 1][:count]))


def _examples(model: type[Model]) -> list[tuple[str, Model]]:
    if model is VendorCredential:
        return [(one.vendor, one) for one in VendorCredential.objects.defer("sealed_secrets").order_by("pk")]
    if model is Subject:
        states = SyncState.objects.filter(subject__kind=Subject.Kind.ORDER).order_by("-subject__pk")
        by_state = {one.shown_state: one.subject for one in states.select_related("subject", "credential")}
        return [(str(state), subject) for state, subject in sorted(by_state.items())]
    one = model._default_manager.first()
    return [("one", one)] if one else []
