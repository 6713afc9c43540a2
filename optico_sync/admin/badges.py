"""The six states as badges: the same wherever an order is listed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from django.contrib import admin
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from optico_sync.insight import Standing
from optico_sync.models import Subject

CSS: dict[str, Sequence[str]] = {"all": ["optico_sync/admin.css"]}


def render_standings(rows: Sequence[Standing]) -> SafeString:
    """One line or two for every credential."""
    return render_to_string("optico_sync/_standings.html", {"rows": rows})


def order_url(subject: Subject, site: admin.AdminSite) -> str:
    """The address of an order's own page, on this admin site or the usual one; empty where neither has it."""
    for name in (site.name, None):
        with contextlib.suppress(NoReverseMatch):
            return reverse("admin:optico_sync_subject_change", args=[subject.pk], current_app=name)
    return ""
