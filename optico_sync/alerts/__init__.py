"""Alerts: what is wrong is told to somebody, and that it is over.

``watch`` may be called by as many workers and cron jobs as there are: one of them does the work. Each trouble is told
once, then reminded of ever more rarely, then recovered. A copy of the installation tells nobody anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from django.db import router, transaction
from django.utils import translation
from django.utils.translation import gettext as _

from optico_sync.alerts.messages import send, send_due, write
from optico_sync.alerts.troubles import troubles
from optico_sync.health import Finding
from optico_sync.models import Alert, AlertKind, AlertSettings, Installation, Notice
from optico_sync.models.clock import database_now

#: How often is looked, however many workers there are.
EVERY = timedelta(seconds=50)
#: Trouble that is away for less is not over.
RECOVERED_AFTER = timedelta(minutes=5)
#: How long alerts that are over, and messages, are kept.
KEPT = timedelta(days=90)


def watch(*, is_forced: bool = False, clock: Callable[[str], datetime] = database_now) -> None:
    """Look for trouble, write the messages about what changed, and send those that are due.

    Does nothing without an address, on a copy of the installation, or where somebody else looked a moment ago.
    """
    using = router.db_for_write(AlertSettings)
    settings = AlertSettings.known(using)
    if settings is None or not settings.channels:
        return
    now = clock(using)
    if not settings.take_turn(now, timedelta(0) if is_forced else EVERY) or Installation.compare().is_another:
        return
    with translation.override(settings.language_code):
        found = troubles(settings, now)
        with transaction.atomic(using=using):
            # Two may look at once where one of them is forced to.
            AlertSettings.objects.using(using).defer("webhook_secret").select_for_update().get(pk=settings.pk)
            if entries := _compare(settings, found, now):
                write(settings, entries, now)
            Alert.objects.using(using).filter(recovered_at__lt=now - KEPT).delete()
            Notice.objects.using(using).filter(created_at__lt=now - KEPT).delete()
    send_due(settings, now)


def send_test(*, clock: Callable[[str], datetime] = database_now) -> list[Notice]:
    """A message to every address at once, so that somebody can see it arrive. Returns the messages, sent or failed."""
    using = router.db_for_write(AlertSettings)
    settings = AlertSettings.known(using)
    if settings is None or not settings.channels:
        return []
    now = clock(using)
    with translation.override(settings.language_code):
        text = _("This is a test. Alerts reach you.")
        notices = write(settings, [{"event": "test", "title": _("Test"), "about": "", "text": text}], now)
    for notice in notices:
        send(settings, notice, now)
    return notices


def open_alerts() -> list[Alert]:
    """What is wrong, as far as it was noticed, and not over."""
    alerts = Alert.objects.filter(recovered_at__isnull=True).select_related("credential").order_by("pk")
    return list(alerts.defer("credential__sealed_secrets"))


def _compare(settings: AlertSettings, found: Sequence[Finding], now: datetime) -> list[dict[str, str]]:
    """Open, remind of and close alerts by what is wrong now. Returns what is to be told."""
    wrong = {(one.kind, one.credential.pk if one.credential else None, one.about): one for one in found}
    alerts = {(alert.kind, alert.credential_id, alert.about): alert for alert in open_alerts()}
    entries = []
    for key, trouble in wrong.items():
        alert = alerts.pop(key, None) or Alert(
            kind=trouble.kind,
            credential=trouble.credential,
            about=trouble.about,
            since=trouble.since or now,
            opened_at=now,
        )
        alert.absent_since = None
        if (stage := alert.stage_at(now)) > alert.stage:
            entries.append(_entry("reminder" if alert.stage >= 0 else "trouble", alert, trouble.text))
            alert.stage = stage
        alert.save()
    for alert in alerts.values():
        if alert.kind == AlertKind.WAITING and alert.credential and alert.credential.hold_reason:
            # It still waits, now for the credential.
            continue
        is_muted = alert.kind not in settings.kinds
        alert.absent_since = alert.absent_since or now
        if is_muted or now - alert.absent_since >= RECOVERED_AFTER:
            alert.recovered_at = alert.absent_since
            if not is_muted:
                entries.append(_entry("recovered", alert, _("This is no longer so.")))
        alert.save(update_fields=["absent_since", "recovered_at"])
    return entries


def _entry(event: str, alert: Alert, text: str) -> dict[str, str]:
    return {
        "event": event,
        "kind": alert.kind,
        "credential": alert.credential.name if alert.credential else "",
        "about": alert.about,
        "since": alert.since.astimezone(UTC).isoformat(timespec="seconds"),
        "title": str(alert),
        "text": text,
    }
