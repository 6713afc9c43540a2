"""What will this do? What would be sent, worked out beforehand: for each vendor, in numbers and plain words.

Nothing is guessed: every order is read and built as delivery would do it, and nothing is sent or kept.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db import router, transaction
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from optico_sync.exceptions import ConfigurationError, EncryptionKeyError, Unreadable
from optico_sync.models import Installation, Subject, SyncState, VendorCredential
from optico_sync.models.clock import database_now
from optico_sync.models.rules import Rules
from optico_sync.outcome import Kind, Outcome, not_sent, refused
from optico_sync.shops import read_all
from optico_sync.snapshot import CART, ORDER, CartSnapshot, OrderSnapshot
from optico_sync.vendors.base import Account, Manner

#: From so many requests on, or so many customers written to, their number must be typed.
TYPE_FROM = 100
TYPE_FROM_MAILS = 10
#: What waits is looked at up to here; a shop owner's browser does not wait for ever.
LOOKED_AT = 20_000

CHUNK = 500


@dataclass(kw_only=True)
class Preview:
    """What one vendor would be told. ``left_out`` and ``refused`` count orders by reason code."""

    credential: VendorCredential
    orders: int = 0
    #: Requests: an order whose statuses wait in a queue takes one for each.
    sends: int = 0
    #: Carts whose newest state would be told, a request each.
    carts: int = 0
    #: Orders and carts that wait too, beyond those that were looked at.
    beyond: int = 0
    #: Orders that changed back, or in nothing that the vendor is told.
    in_step: int = 0
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
    def requests(self) -> int:
        """As many as were worked out."""
        return self.sends + self.carts

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What tells two previews of the same orders apart."""
        return self.sends, self.carts, self.sales, self.mails, self.left_out, self.refused, self.problem

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
        if self.carts:
            told = ngettext("%(count)d cart is told.", "%(count)d carts are told.", self.carts)
            yield told % {"count": self.carts}
        if self.beyond:
            told = ngettext(
                "%(count)d more waits and was not looked at.",
                "%(count)d more wait and were not looked at.",
                self.beyond,
            )
            yield told % {"count": self.beyond}
        if self.mails and self.first_mail_at and self.last_mail_at:
            told = ngettext(
                "%(count)d customer is written to by the vendor, on %(first)s.",
                "%(count)d customers are written to by the vendor, from %(first)s to %(last)s.",
                self.mails,
            )
            yield told % {"count": self.mails, "first": _day(self.first_mail_at), "last": _day(self.last_mail_at)}
        if self.sales:
            told = ngettext("%(count)d order becomes a sale there", "%(count)d orders become a sale there", self.sales)
            told %= {"count": self.sales}
            if spec.on_sale:
                told = _("%(name)s: %(what)s") % {"name": told, "what": spec.on_sale}
            yield f"{told}."
        if self.sends and spec.on_send:
            yield f"{spec.on_send}."
        if self.in_step:
            told = ngettext(
                "%(count)d order is in step already and is not sent.",
                "%(count)d orders are in step already and are not sent.",
                self.in_step,
            )
            yield told % {"count": self.in_step}
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
        if self.requests and self.credential.hold_reason:
            yield _("At the moment nothing leaves: %(reason)s") % {
                "reason": self.credential.explain(self.credential.hold_reason).text
            }


def preview(
    chunks: Iterable[Sequence[str]],
    *,
    credential_id: int | None = None,
    verb: str = "",
    reaches_back: bool = False,
) -> list[Preview]:
    """What sending the orders with these keys again would do, one preview a credential.

    With a ``verb`` a job sends them, which leaves alone what is held or on its way; with ``reaches_back`` also those
    from before the start date. Memory stays flat: the orders of one chunk are held at a time.
    """
    using = router.db_for_write(SyncState)
    credentials = VendorCredential.objects.using(using)
    if credential_id:
        credentials = credentials.filter(pk=credential_id)
    forecasts = [
        _Forecast(credential, using, is_resend=True, verb=verb, reaches_back=reaches_back)
        for credential in credentials.defer("sealed_secrets")
    ]
    for keys in chunks:
        orders = read_all((ORDER, key) for key in keys).get(ORDER, {})
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


def to_type(found: Iterable[Preview]) -> int:
    """The number of requests, where it must be typed before they are made; else 0."""
    found = list(found)
    sends, mails = sum(one.requests for one in found), sum(one.mails for one in found)
    return sends if sends >= TYPE_FROM or mails >= TYPE_FROM_MAILS else 0


def foresee(change: Callable[[], object], *, among: Collection[int] | None = None) -> list[Preview]:
    """What would go out because of ``change``, one preview for each credential that it sets going.

    The change is made, its rules are read, and it is taken back; only then the orders are read, so that nobody waits
    for a lock meanwhile. ``among`` are the subjects that it is about, where it is not about all.
    """
    using = router.db_for_write(SyncState)
    before = {outlook.credential.pk: outlook for outlook in _outlooks(using, among)}
    with transaction.atomic(using=using):
        change()
        after = _outlooks(using, among)
        transaction.set_rollback(True, using=using)
    found: list[Preview | None] = []
    # Without the shop's orders nothing can be foreseen, and nothing is sent; the checks say what is wrong.
    with contextlib.suppress(ConfigurationError):
        found = [outlook.since(before[outlook.credential.pk]) for outlook in after if outlook.credential.pk in before]
    return [one for one in found if one and one.requests]


def _outlooks(using: str, among: Collection[int] | None) -> list[_Outlook]:
    is_copy = Installation.compare().is_another
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets")
    return [_Outlook(credential, using, among, is_copy=is_copy) for credential in credentials]


class _Outlook:
    """What one credential has to send, and the rules it does it by, as they are at this moment."""

    def __init__(
        self, credential: VendorCredential, using: str, among: Collection[int] | None, *, is_copy: bool
    ) -> None:
        self.credential = credential
        # A vendor that does not answer is no reason: it is tried again by itself.
        self._is_kept_back = is_copy or bool(credential.paused_at)
        self._using = using
        self._forecast = _Forecast(credential, using, is_resend=False)
        self._facts = self._forecast.facts
        due = SyncState.objects.using(using).may_go().filter(credential=credential, due_at__isnull=False)
        if among is not None:
            due = due.filter(subject__in=among)
        #: Each with its generation, which whoever releases a row raises.
        self._due = list(due.order_by("due_at").values_list("pk", "generation"))

    def since(self, before: _Outlook) -> Preview | None:
        """What goes out because it is no longer as ``before``; None where nothing does."""
        if not self.credential.is_enabled:
            return None
        went = before.credential.is_enabled and (self._is_kept_back or not before._is_kept_back)
        if went and before._facts == self._facts:
            waited = set(before._due)
            return self._work_out([row for row in self._due if row not in waited])
        found = self._work_out(self._due)
        is_news = not went or before._work_out(before._due).numbers != found.numbers
        return found if is_news else None

    def _work_out(self, due: Sequence[tuple[int, int]]) -> Preview:
        forecast, rows = self._forecast, iter(due[:LOOKED_AT])
        forecast.found.beyond = max(len(due) - LOOKED_AT, 0)
        while chunk := dict(islice(rows, CHUNK)):
            states = list(SyncState.objects.using(self._using).filter(pk__in=chunk).select_related("subject", "job"))
            snapshots = read_all((state.subject.kind, state.subject.key) for state in states)
            now = database_now(self._using)
            for state in states:
                if state.generation != chunk[state.pk]:
                    # It was the change that released it.
                    state.try_again()
                forecast.add(state.subject, state, snapshots[state.subject.kind].get(state.subject.key), now)
        return forecast.found


class _Forecast:
    """One credential's preview in the making."""

    def __init__(
        self,
        credential: VendorCredential,
        using: str,
        *,
        is_resend: bool,
        verb: str = "",
        reaches_back: bool = False,
    ) -> None:
        self.found = Preview(credential=credential)
        self._is_resend = is_resend
        self._verb = verb
        self._reaches_back = reaches_back
        try:
            self._account: Account = credential.account
            self._rules = Rules(credential, using)
            self._limit = credential.spec.max_ambiguous(self._account.options)
        except EncryptionKeyError:
            self.found.problem = "secret_unreadable"
        except ConfigurationError:
            self.found.problem = "incomplete_credential"

    @property
    def facts(self) -> tuple[Any, ...]:
        """The rules; from then on they are those of the moment when they were asked for."""
        return (self.found.problem,) if self.found.problem else self._rules.facts

    def add(
        self,
        subject: Subject,
        state: SyncState | None,
        order: OrderSnapshot | CartSnapshot | Unreadable | None,
        now: datetime,
    ) -> None:
        """Count one order or cart. ``state`` is worked on in memory and never saved."""
        found, manner = self.found, self.found.credential.manner
        if found.problem:
            return
        if subject.kind == CART:
            self._add_cart(subject, state, order, now)
            return
        found.orders += 1
        state = state or SyncState(subject=subject, credential=found.credential)
        bar = state.bars(manner, self._verb) if self._verb else ""
        if bar == "unchanged":
            found.in_step += 1
            return
        if bar and bar != "told_once":
            found.left_out[bar] += 1
            return
        if state.is_withheld:
            self._count(not_sent("withheld"))
            return
        if self._is_resend:
            status = order.status if isinstance(order, OrderSnapshot) else subject.status
            if not state.resend(status=status, due_at=now, manner=manner):
                found.done += 1
                return
        is_exempt = (
            self._reaches_back
            or state.delivered_at is not None
            or bool(state.job_id and state.job and state.job.reaches_back)
        )
        admitted = self._rules.admit(order, subject, is_exempt=is_exempt, is_new=not state.delivered_at)
        if isinstance(admitted, Outcome):
            self._count(admitted)
            return
        assert isinstance(admitted, OrderSnapshot)  # noqa: S101 - for the type checker
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
            if self._limit is not None and state.doubts > self._limit:
                reasons.append(refused("ambiguous"))
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
        else:
            found.in_step += 1

    def _add_cart(self, subject: Subject, state: SyncState | None, cart: Any, now: datetime) -> None:
        """What of it is left out is no order, and nobody's question."""
        if state is None or not state.steps(Manner.NEWEST):
            return
        admitted = self._rules.admit(cart, subject)
        if isinstance(admitted, CartSnapshot):
            request = self._rules.build_cart(admitted, account=self._account, now=now)
            if not isinstance(request, Outcome) and (state.is_repeat or request.fingerprint != state.fingerprint):
                self.found.carts += 1

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
