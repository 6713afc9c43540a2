"""What will this do? Sending many orders, worked out beforehand: for each vendor, in numbers and plain words.

Nothing is guessed: every order is read and built as delivery would do it, and nothing is sent or written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import router
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from optico_sync.exceptions import ConfigurationError, EncryptionKeyError, Unreadable
from optico_sync.models import Subject, SyncState, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.models.rules import Rules
from optico_sync.outcome import Kind, Outcome
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot
from optico_sync.vendors.base import Account, Manner


@dataclass(kw_only=True)
class Preview:
    """What one vendor would be told. ``left_out`` and ``refused`` count orders by reason code."""

    credential: VendorCredential
    orders: int = 0
    #: Requests: an order whose statuses wait in a queue takes one for each.
    sends: int = 0
    #: Orders that have been told and are told only once.
    done: int = 0
    #: Orders that would become a sale at the vendor by this.
    sales: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    first_mail_at: datetime | None = None
    last_mail_at: datetime | None = None
    #: Why nothing can be built, as a reason code.
    problem: str = ""

    @property
    def mails(self) -> int:
        """Customers whom the vendor would write to."""
        return self.sends if self.first_mail_at else 0

    @property
    def sentences(self) -> list[str]:
        """The same in words that a shop owner understands."""
        return list(self._tell())

    def _tell(self) -> Iterator[str]:
        if self.problem:
            yield str(self.credential.explain(self.problem).text)
            return
        spec = self.credential.spec
        yield ngettext("%(count)d request is sent.", "%(count)d requests are sent.", self.sends) % {"count": self.sends}
        if self.mails and self.first_mail_at and self.last_mail_at:
            told = ngettext(
                "%(count)d customer is written to by the vendor, on %(first)s.",
                "%(count)d customers are written to by the vendor, from %(first)s to %(last)s.",
                self.mails,
            )
            yield told % {"count": self.mails, "first": _day(self.first_mail_at), "last": _day(self.last_mail_at)}
        if self.sales:
            told = ngettext("%(count)d order becomes a sale there", "%(count)d orders become a sale there", self.sales)
            yield f"{told % {'count': self.sales}}{': ' if spec.on_sale else ''}{spec.on_sale}."
        if self.sends and spec.on_send:
            yield f"{spec.on_send}."
        if self.done:
            told = ngettext(
                "%(count)d order was told already, which happens only once.",
                "%(count)d orders were told already, which happens only once.",
                self.done,
            )
            yield told % {"count": self.done}
        for code, count in self.left_out.most_common():
            told = ngettext("%(count)d order is left out:", "%(count)d orders are left out:", count)
            yield f"{told % {'count': count}} {self.credential.explain(code).text}"
        for code, count in self.refused.most_common():
            told = ngettext("%(count)d order cannot be sent:", "%(count)d orders cannot be sent:", count)
            yield f"{told % {'count': count}} {self.credential.explain(code).text}"
        if self.sends and self.credential.hold_reason:
            yield _("At the moment nothing leaves: %(reason)s") % {
                "reason": self.credential.explain(self.credential.hold_reason).text
            }


def preview(
    chunks: Iterable[Sequence[str]], *, credential_id: int | None = None, is_resend: bool = True
) -> list[Preview]:
    """What sending the orders with these keys would do, one preview a credential.

    ``is_resend`` asks about sending them again as they are; without it, about what waits to be sent anyway. Memory
    stays flat: the orders of one chunk are held at a time.
    """
    using = router.db_for_write(SyncState)
    credentials = VendorCredential.objects.using(using)
    if credential_id:
        credentials = credentials.filter(pk=credential_id)
    forecasts = [
        _Forecast(credential, using, is_resend=is_resend) for credential in credentials.defer("sealed_secrets")
    ]
    for keys in chunks:
        orders = get_shop().read(keys, using=get_shop().database)
        known = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, key__in=keys)
        subjects = {subject.key: subject for subject in known}
        states = {
            (state.subject_id, state.credential_id): state
            for state in SyncState.objects.using(using).filter(subject__in=list(subjects.values()))
        }
        now = database_now(using)
        for key in keys:
            subject = subjects.get(key) or Subject(kind=Subject.Kind.ORDER, key=key, created_at=now, changed_at=now)
            for forecast in forecasts:
                state = states.get((subject.pk, forecast.found.credential.pk)) if subject.pk else None
                forecast.add(subject, state, orders.get(key), now)
    return [forecast.found for forecast in forecasts]


class _Forecast:
    """One credential's preview in the making."""

    def __init__(self, credential: VendorCredential, using: str, *, is_resend: bool) -> None:
        self.found = Preview(credential=credential)
        self._is_resend = is_resend
        try:
            self._account: Account = credential.account
            self._rules = Rules(credential, using)
        except EncryptionKeyError:
            self.found.problem = "secret_unreadable"
        except ConfigurationError:
            self.found.problem = "incomplete_credential"

    def add(
        self, subject: Subject, state: SyncState | None, order: OrderSnapshot | Unreadable | None, now: datetime
    ) -> None:
        """Count one order. ``state`` is worked on in memory and never saved."""
        found, manner = self.found, self.found.credential.manner
        if found.problem or (state is None and not self._is_resend):
            return
        found.orders += 1
        state = state or SyncState(subject=subject, credential=found.credential)
        if self._is_resend:
            status = order.status if isinstance(order, OrderSnapshot) else subject.status
            if not state.resend(status=status, due_at=now, manner=manner):
                found.done += 1
                return
        admitted = self._rules.admit(order, subject)
        if isinstance(admitted, Outcome):
            self._count(admitted)
            return
        is_sale, sends = bool(state.accepted_is_sale), 0
        reasons: list[Outcome] = []
        for step in state.steps(manner):
            told = self._rules.tell(step.shop_status if manner is Manner.EVERY_STATUS else admitted.status)
            if isinstance(told, Outcome):
                reasons.append(told)
                continue
            request = self._rules.build(admitted, told, account=self._account, now=now)
            if isinstance(request, Outcome):
                reasons.append(request)
                continue
            if step.index is None and not state.is_repeat and request.fingerprint == state.fingerprint:
                continue
            sends += 1
            if told.is_sale and not is_sale:
                found.sales += 1
                is_sale = True
        found.sends += sends
        if sends:
            self._count_mail(subject, now)
        elif reasons:
            self._count(reasons[-1])

    def _count(self, outcome: Outcome) -> None:
        counter = self.found.refused if outcome.kind is Kind.REFUSED else self.found.left_out
        counter[outcome.reason] += 1

    def _count_mail(self, subject: Subject, now: datetime) -> None:
        credential = self.found.credential
        days = credential.mail_days
        if days is None:
            return
        hold = timedelta(seconds=credential.spec.hold(credential.chosen_options))
        mail_at = max(now, (subject.status_at or subject.created_at) + hold) + timedelta(days=days)
        self.found.first_mail_at = min(self.found.first_mail_at or mail_at, mail_at)
        self.found.last_mail_at = max(self.found.last_mail_at or mail_at, mail_at)


def _day(moment: datetime) -> str:
    return date_format(localtime(moment), "j M Y")
