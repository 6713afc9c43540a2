"""What is wrong now. Each question is one bounded query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from optico_sync.coverage import BASELINE_DAYS, attribution_coverage, attribution_fall
from optico_sync.models import (
    Alert,
    AlertKind,
    AlertSettings,
    OutboxEvent,
    StatusMapping,
    SyncState,
    VendorCredential,
    Worker,
)
from optico_sync.models.installation import OTHER_INSTALLATION
from optico_sync.models.sync import RETRY_DELAYS
from optico_sync.shops import event_databases

#: Coverage moves slowly and costs more.
COVERAGE_EVERY = timedelta(hours=1)

Key = tuple[str, int | None, str]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that is wrong now."""

    kind: AlertKind
    credential: VendorCredential | None = None
    about: str = ""
    since: datetime | None = None
    text: str = ""

    @property
    def key(self) -> Key:
        return self.kind, self.credential.pk if self.credential else None, self.about


def troubles(settings: AlertSettings, now: datetime) -> Iterator[Trouble]:
    """Everything that is wrong now, of the kinds that somebody wants to hear of."""
    finders: dict[str, Callable[[AlertSettings, Sequence[VendorCredential], datetime], Iterable[Trouble]]] = {
        AlertKind.WAITING: _waiting,
        AlertKind.BREAKER: _breakers,
        AlertKind.PAUSED: _paused,
        AlertKind.STATUS: _statuses,
        AlertKind.WORKER: _workers,
        AlertKind.ATTRIBUTION: _attribution,
    }
    credentials = list(VendorCredential.objects.defer("sealed_secrets").filter(is_enabled=True))
    for kind, find in finders.items():
        if kind in settings.kinds:
            yield from find(settings, credentials, now)


def _waiting(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
    """Work that is overdue, or was tried for so long. What waits for a credential is that credential's trouble."""
    patience = timedelta(minutes=settings.waiting_minutes)
    tries = _tries_in(patience)
    for credential in known:
        if credential.hold_reason:
            continue
        states = SyncState.objects.filter(credential=credential, is_held=False)
        due = states.filter(due_at__lt=now - patience).order_by("due_at").values_list("due_at", flat=True).first()
        is_stuck = states.filter(state=SyncState.State.RETRYING, attempts__gte=tries).exists()
        if due or is_stuck:
            since = due or now - patience
            text = _("The oldest change waits since %(at)s.") % {"at": _moment(since)}
            yield Trouble(kind=AlertKind.WAITING, credential=credential, since=since, text=text)
    if known and (saved_at := min(filter(None, map(_oldest_event, event_databases())), default=now)) < now - patience:
        text = _("Changes saved in the shop wait to be taken up since %(at)s.") % {"at": _moment(saved_at)}
        yield Trouble(kind=AlertKind.WAITING, since=saved_at, text=text)


def _oldest_event(using: str) -> datetime | None:
    """When the oldest change was saved that no relay has taken up, of those captured in the database ``using``."""
    waiting = OutboxEvent.objects.using(using).filter(relayed_at__isnull=True).order_by("pk")
    return waiting.values_list("created_at", flat=True).first()


def _breakers(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
    patience = timedelta(minutes=settings.breaker_minutes)
    for credential in known:
        if not credential.paused_at and credential.opened_at and now - credential.opened_at >= patience:
            yield _of_credential(AlertKind.BREAKER, credential, "breaker_open", credential.opened_at)


def _paused(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
    for credential in known:
        if credential.paused_at and credential.pause_reason != OTHER_INSTALLATION:
            yield _of_credential(AlertKind.PAUSED, credential, credential.pause_reason, credential.paused_at)


def _statuses(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
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
        reason = "unknown_status" if mapping.declared else "unmapped_status"
        trouble = _of_credential(AlertKind.STATUS, by_key[mapping.credential_id], reason, None)
        text = f"“{mapping.shop_status}”: {trouble.text}"
        yield Trouble(kind=AlertKind.STATUS, credential=trouble.credential, about=mapping.shop_status, text=text)


def _workers(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
    heard = Worker.objects.aggregate(heard=Max("beat_at"))["heard"]
    if known and (heard is None or now - heard >= timedelta(minutes=settings.worker_minutes)):
        told = _("A worker was last heard at %(at)s.") % {"at": _moment(heard)} if heard else ""
        text = _("No worker is running, so nothing is sent: start manage.py optico_worker.")
        yield Trouble(kind=AlertKind.WORKER, since=heard, text=f"{told} {text}".strip())


def _attribution(settings: AlertSettings, known: Sequence[VendorCredential], now: datetime) -> Iterator[Trouble]:
    """Looked at once in a while; in between it is as it was."""
    if settings.attribution_at and now - settings.attribution_at < COVERAGE_EVERY:
        last = Alert.objects.filter(kind=AlertKind.ATTRIBUTION, recovered_at__isnull=True, absent_since=None).first()
        if last:
            yield Trouble(kind=AlertKind.ATTRIBUTION, since=last.since, text=_cookie_advice())
        return
    settings.attribution_at = now
    settings.save(update_fields=["attribution_at"])
    fall = attribution_fall(attribution_coverage(BASELINE_DAYS + 2, now=now), percent=settings.attribution_drop)
    if fall:
        text = _("%(now)d %% of the orders of the last two days have a visit or a call; before it were %(before)d %%.")
        text %= {"now": round(fall.now * 100), "before": round(fall.before * 100)}
        yield Trouble(kind=AlertKind.ATTRIBUTION, since=now, text=f"{text} {_cookie_advice()}")


def _cookie_advice() -> str:
    return _("Check the cookie banner, Optico's script on the shop's pages and the middleware.")


def _of_credential(kind: AlertKind, credential: VendorCredential, reason: str, since: datetime | None) -> Trouble:
    meaning = credential.explain(reason)
    return Trouble(kind=kind, credential=credential, since=since, text=f"{meaning.text} {meaning.advice}".strip())


def _tries_in(patience: timedelta) -> int:
    """After how many failed tries an order has been tried for longer than ``patience``."""
    spent = timedelta(0)
    for count, delay in enumerate(RETRY_DELAYS, start=1):
        if spent >= patience:
            return count
        spent += delay
    return len(RETRY_DELAYS) + 1


def _moment(at: datetime) -> str:
    return date_format(timezone.localtime(at), "DATETIME_FORMAT")
