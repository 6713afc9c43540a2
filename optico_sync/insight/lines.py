"""The credentials: what each does at the moment, what waits for it, and how it compared when it was read back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Max, Min, Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync.exceptions import ConfigurationError
from optico_sync.insight.spans import spell
from optico_sync.models import (
    Reconciliation,
    Subject,
    SyncState,
    VendorCredential,
)
from optico_sync.models.sync import time_spent
from optico_sync.outcome import Reason

_CURED_BY_A_KEY = frozenset(["key_refused", "secret_unreadable", "new_key"])


@dataclass(frozen=True, kw_only=True)
class CredentialLine:
    """What one credential does at the moment."""

    class State(models.TextChoices):
        SENDING = "sending", gettext_lazy("sending")
        #: The same, and nothing is left to send.
        IN_STEP = "in_step", gettext_lazy("in step")
        OFF = "off", gettext_lazy("off")
        PAUSED = "paused", gettext_lazy("paused")
        SILENT = "silent", gettext_lazy("not answering")
        #: The vendor does not take the new key yet.
        TRYING = "trying", gettext_lazy("trying the key")

    credential: VendorCredential
    now: datetime
    #: Orders that are still to be told; None where nobody counted.
    behind: int | None = None

    @property
    def state(self) -> State:
        if not self.credential.is_enabled:
            return self.State.OFF
        if self.credential.paused_at:
            return self.State.PAUSED
        if not self.credential.opened_at:
            is_in_step = self.behind == 0 and self.credential.last_delivery_at
            return self.State.IN_STEP if is_in_step else self.State.SENDING
        return self.State.TRYING if self.credential.open_reason else self.State.SILENT

    @property
    def reason(self) -> Reason:
        """Why nothing is sent, and what to do; empty words when it is."""
        return self.credential.explain(self.credential.hold_reason)

    @property
    def detail(self) -> str:
        return self.credential.pause_detail if self.state == self.State.PAUSED else ""

    @property
    def wrong_secret(self) -> str:
        """The name of the secret to type again, where it is the key that keeps it from sending."""
        if self.credential.hold_reason not in _CURED_BY_A_KEY:
            return ""
        return next((secret.name for secret in self.credential.spec.secrets if secret.is_required), "")

    @property
    def since(self) -> datetime | None:
        return {
            self.State.PAUSED: self.credential.paused_at,
            self.State.SILENT: self.credential.opened_at,
            self.State.TRYING: self.credential.opened_at,
        }.get(self.state)

    @property
    def next_probe(self) -> datetime | None:
        return self.credential.open_until if self.state in (self.State.SILENT, self.State.TRYING) else None

    @property
    def slowed_to(self) -> float | None:
        """Requests a second, while the vendor asked for fewer than it usually takes."""
        try:
            return self.credential.rate_at(self.now) if self.slowed_until else None
        except ConfigurationError:
            return None

    @property
    def slowed_until(self) -> datetime | None:
        return self.credential.slowed_until(self.now)

    @property
    def asked_until(self) -> datetime | None:
        """Until when the vendor, which answers, asked to be left alone."""
        return self.credential.asked_until(self.now)

    @property
    def last_delivery(self) -> str:
        """``12 s``; empty before the first delivery."""
        delivered_at = self.credential.last_delivery_at
        return spell(self.now - delivered_at) if delivered_at else ""


def credentials() -> list[VendorCredential]:
    """All of them, with their secrets left sealed."""
    return list(VendorCredential.objects.defer("sealed_secrets"))


def credential_lines(
    known: Iterable[VendorCredential] | None = None, *, behind: Mapping[int, int] | None = None
) -> list[CredentialLine]:
    """What every credential does at the moment; ``behind`` is how many orders each is still to be told, by its key."""
    now = timezone.now()
    return [
        CredentialLine(credential=credential, now=now, behind=(behind or {}).get(credential.pk))
        for credential in (credentials() if known is None else known)
    ]


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """One difference between the shop and the vendor. ``field`` is empty where a whole order is not there."""

    order: str
    #: Primary key of the order, if the shop has it.
    subject: int | None
    kind: Reconciliation.Drift
    field: str
    shop: str | None
    vendor: str | None

    @property
    def is_personal(self) -> bool:
        return self.shop is None and self.vendor is None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The last comparison of what a credential's vendor holds with the shop; ``run`` is None when there was none."""

    credential: VendorCredential
    run: Reconciliation | None
    #: What happened, where the vendor could not be read.
    problem: str | Promise = ""
    rows: Sequence[DriftRow] = ()

    @property
    def tone(self) -> str:
        """The badge's colour, by the word of a state."""
        return "refused" if self.run and (self.run.failure or self.run.drifted) else "in_sync"

    @property
    def word(self) -> str:
        if self.run and self.run.failure:
            return _("not read")
        return _("drift") if self.run and self.run.drifted else _("in step")

    @property
    def more(self) -> int:
        """Drifted orders of which no row was kept."""
        return self.run.drifted - len({(row.order, row.kind) for row in self.rows}) if self.run else 0


def compared(credential: VendorCredential) -> Compared | None:
    """The last comparison; None where the vendor offers to read nothing back."""
    if not credential.reads_back:
        return None
    run = Reconciliation.objects.filter(credential=credential).first()
    if run is None:
        return Compared(credential=credential, run=None)
    rows = [DriftRow(**{**drift, "kind": Reconciliation.Drift(drift["kind"])}) for drift in run.drifts]
    return Compared(credential=credential, run=run, problem=credential.explain(run.failure).text, rows=rows)


def last_compared(known: Sequence[VendorCredential]) -> list[Compared]:
    """The last comparison of each credential whose vendor can be read back, its rows left out. One query, or none."""
    readable = [credential for credential in known if credential.reads_back]
    if not readable:
        return []
    runs = {run.credential_id: run for run in Reconciliation.objects.filter(credential__in=readable).defer("drifts")}
    return [
        Compared(
            credential=credential,
            run=(run := runs.get(credential.pk)),
            problem=credential.explain(run.failure).text if run else "",
        )
        for credential in readable
    ]


@dataclass(frozen=True, kw_only=True)
class Oldest:
    """The order that waits longest, and for whom."""

    order: str
    credential: VendorCredential
    since: datetime


def oldest_waiting(known: Sequence[VendorCredential]) -> Oldest | None:
    """The order that should have been sent longest ago; what is held by a credential counts too.

    What a job sends has time, here and in ``waiting``.
    """
    due = SyncState.objects.live().filter(
        credential__in=known, due_at__lt=timezone.now() - timedelta(seconds=5), is_held=False
    )
    state = due.filter(subject__kind=Subject.Kind.ORDER).order_by("due_at").select_related("subject").first()
    if state is None or state.due_at is None:
        return None
    credential = next(one for one in known if one.pk == state.credential_id)
    return Oldest(order=str(state.subject), credential=credential, since=state.due_at)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What waits for one credential."""

    #: The last change of the order that has waited longest; None where all of them rest on purpose.
    changed_at: datetime | None
    #: Since when an order should have been sent, or is being tried; in the future where all is in time.
    due_since: datetime


def waiting(known: Collection[VendorCredential], now: datetime) -> dict[int, Waiting]:
    """By primary key of each credential that orders wait for. One statement, which reads only what waits."""
    orders = SyncState.objects.live().filter(credential__in=known, subject__kind=Subject.Kind.ORDER)
    found = (
        orders.filter(state__in=SyncState.PENDING, due_at__isnull=False)
        .order_by()
        .values("credential")
        .annotate(
            changed_at=Min("subject__changed_at", filter=~Q(reason="hold_period")),
            due_at=Min("due_at"),
            tries=Max("attempts", filter=Q(state=SyncState.State.RETRYING)),
        )
    )
    return {
        row["credential"]: Waiting(
            changed_at=row["changed_at"], due_since=min(row["due_at"], now - time_spent(row["tries"] or 0))
        )
        for row in found
    }
