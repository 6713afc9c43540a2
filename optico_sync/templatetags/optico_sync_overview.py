"""The overview on the app's first page in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from optico_sync import coverage, figures, insight, setup
from optico_sync.charts import Chart, Series
from optico_sync.installation import SANDBOX_URL
from optico_sync.models import SyncState, VendorCredential

register = template.Library()

#: A fall of the share of credited orders that the page warns of; alerts have a threshold of their own.
FALL_PERCENT = 30


@register.inclusion_tag("optico_sync/overview.html", takes_context=True)
def overview(context: Any) -> dict[str, Any]:
    """Is everything in step; if not, since when, why, and which button. Nothing for who may not see orders."""
    request = context["request"]
    if not request.user.has_perm("optico_sync.view_subject"):
        return {"may_see": False}
    credentials = insight.credentials()
    days = coverage.kept_coverage(coverage.BASELINE_DAYS + 2)
    totals = figures.totals_of(credentials)
    behind = {pk: counted.behind for pk, counted in totals.items()}
    return {
        "may_see": True,
        "can_configure": request.user.has_perm("optico_sync.change_vendorcredential"),
        **insight.pulse(credentials, behind=behind),
        "sandbox_url": SANDBOX_URL,
        "oldest": insight.oldest_waiting(credentials),
        "steps": setup.steps(credentials),
        "states": SyncState.State.choices,
        "totals": [totals.get(credential.pk, credential) for credential in credentials],
        "charts": [*_charts(credentials), _coverage_chart(days)] if credentials else [],
        "fall": coverage.attribution_fall(days, percent=FALL_PERCENT),
    }


@register.filter
def state_label(state: str) -> str:
    return str(SyncState.State(state).label)


def _charts(credentials: list[VendorCredential]) -> list[Chart]:
    hours = figures.by_hour(credentials)
    labels = [_clock(hour.began_at) for hour in hours]
    waiting = dict(figures.waiting(credentials))
    return [
        Chart(
            title=_("Sends per hour"),
            labels=labels,
            is_stacked=True,
            series=[
                Series(name=_("accepted"), tone="good", values=[hour.delivered for hour in hours]),
                Series(name=_("refused"), tone="bad", values=[hour.refused for hour in hours]),
                Series(name=_("failed, tried again"), tone="warn", values=[hour.failed for hour in hours]),
            ],
        ),
        Chart(
            title=_("Orders waiting, at most, in each hour"),
            labels=labels,
            series=[Series(name=_("waiting"), tone="wait", values=[waiting.get(hour.began_at) for hour in hours])],
        ),
        Chart(
            title=_("How fast the vendors answer, in milliseconds"),
            labels=labels,
            series=[
                Series(name=_("half of the answers within"), tone="wait", values=[_whole(hour.p50) for hour in hours]),
                Series(name=_("95 % within"), tone="warn", values=[_whole(hour.p95) for hour in hours]),
            ],
        ),
    ]


def _coverage_chart(days: Sequence[coverage.Day]) -> Chart:
    return Chart(
        title=_("Orders credited to a visit or a call, in percent"),
        labels=[date_format(day.day, "j M") for day in days],
        series=[
            Series(
                name=_("credited"),
                tone="good",
                values=[None if day.share is None else round(100 * day.share) for day in days],
            )
        ],
    )


def _clock(moment: Any) -> str:
    return date_format(localtime(moment), "H:i")


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
