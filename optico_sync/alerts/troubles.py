"""What somebody is to be told of: what ``health`` finds, by the owner's patience, and what is no monitor's affair."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from optico_sync.coverage import BASELINE_DAYS, attribution_coverage, attribution_fall
from optico_sync.health import Finding, Level, advised, look
from optico_sync.models import Alert, AlertKind, AlertSettings, StatusMapping, SyncState, VendorCredential
from optico_sync.models.installation import OTHER_INSTALLATION

#: Coverage moves slowly and costs more.
COVERAGE_EVERY = timedelta(hours=1)


def troubles(settings: AlertSettings, now: datetime) -> list[Finding]:
    """Everything that is wrong now, of the kinds that somebody wants to hear of, and has been for long enough."""
    patience: dict[str, timedelta] = {
        AlertKind.WAITING: timedelta(minutes=settings.waiting_minutes),
        AlertKind.BREAKER: timedelta(minutes=settings.breaker_minutes),
        AlertKind.WORKER: timedelta(minutes=settings.worker_minutes),
    }
    seen = look(now)
    found = [one for one in seen.findings() if one.lasts(patience.get(one.kind, timedelta(0)), now)]
    if AlertKind.STATUS in settings.kinds:
        found += _statuses([one.line.credential for one in seen.credentials if one.line.credential.is_enabled])
    if AlertKind.ATTRIBUTION in settings.kinds:
        found += _attribution(settings, now)
    # A copy of the installation tells nobody.
    found = [one for one in found if not (one.credential and one.credential.pause_reason == OTHER_INSTALLATION)]
    order = AlertKind.values
    return sorted((one for one in found if one.kind in settings.kinds), key=lambda one: order.index(one.kind))


def _statuses(known: Collection[VendorCredential]) -> Iterator[Finding]:
    """Statuses that park an order at this moment."""
    parked = SyncState.objects.filter(
        credential=OuterRef("credential"),
        state=SyncState.State.REFUSED,
        reason__in=("unmapped_status", "unknown_status"),
        refused_status=OuterRef("shop_status"),
    )
    by_key = {credential.pk: credential for credential in known}
    unsettled = Q(choice=StatusMapping.Choice.UNDECIDED) | Q(declared__unknown_since__isnull=False)
    mappings = StatusMapping.objects.filter(unsettled, Exists(parked), credential__in=by_key).select_related("declared")
    for mapping in mappings:
        credential = by_key[mapping.credential_id]
        why = advised(credential, "unknown_status" if mapping.declared else "unmapped_status")
        text = f"“{mapping.shop_status}”: {why}"
        kind, about = AlertKind.STATUS, mapping.shop_status
        yield Finding(level=Level.DEGRADED, code="status", kind=kind, credential=credential, about=about, text=text)


def _attribution(settings: AlertSettings, now: datetime) -> Iterator[Finding]:
    """Looked at once in a while; in between it is as it was."""
    if settings.attribution_at and now - settings.attribution_at < COVERAGE_EVERY:
        last = Alert.objects.filter(kind=AlertKind.ATTRIBUTION, recovered_at__isnull=True, absent_since=None).first()
        if last:
            yield _fallen(last.since)
        return
    settings.attribution_at = now
    settings.save(update_fields=["attribution_at"])
    fall = attribution_fall(attribution_coverage(BASELINE_DAYS + 2, now=now), percent=settings.attribution_drop)
    if fall:
        text = _("%(now)d %% of the orders of the last two days have a visit or a call; before it were %(before)d %%.")
        yield _fallen(now, text % {"now": fall.now_percent, "before": fall.before_percent})


def _fallen(since: datetime, text: str = "") -> Finding:
    advice = _("Check the cookie banner, Optico's script on the shop's pages and the middleware.")
    text = f"{text} {advice}".strip()
    return Finding(level=Level.DEGRADED, code="attribution", kind=AlertKind.ATTRIBUTION, since=since, text=text)
