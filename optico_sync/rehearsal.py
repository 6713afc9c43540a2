"""What each vendor would get of an order, without sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import DatabaseError, router
from django.utils.functional import Promise

from optico_sync.exceptions import ConfigurationError, EncryptionKeyError, Unreadable
from optico_sync.models import Attempt, Rules, Subject, VendorCredential
from optico_sync.outcome import Kind, Outcome
from optico_sync.shops import get_shop
from optico_sync.snapshot import OrderSnapshot
from optico_sync.vendors import get_vendor, vendor_paths
from optico_sync.vendors.base import Account, Told, Vendor


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """``shown`` is the redacted request, or why there is none; ``remark`` what was assumed."""

    name: str
    shown: str | Promise
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What one vendor was last sent, and what it would be sent now: lines, and whether the other side lacks them."""

    credential: VendorCredential
    sent_at: datetime | None
    sent: Sequence[tuple[str, bool]]
    now: Sequence[tuple[str, bool]]
    #: Why nothing would be sent now.
    why_not: str = ""

    @property
    def is_same(self) -> bool:
        return (
            self.sent_at is not None
            and not self.why_not
            and not any(differs for _line, differs in (*self.sent, *self.now))
        )


def compare(subject: Subject) -> list[Beside]:
    """For every credential, by its own rules. Redacted on both sides, as attempts are; nothing is sent."""
    using = router.db_for_read(VendorCredential)
    shop = get_shop()
    order = shop.read([subject.key], using=shop.database).get(subject.key)
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets")
    withheld = set(subject.sync_states.filter(is_withheld=True).values_list("credential", flat=True))
    return [
        _beside(subject, order, credential, using, is_withheld=credential.pk in withheld) for credential in credentials
    ]


def _beside(
    subject: Subject,
    order: OrderSnapshot | Unreadable | None,
    credential: VendorCredential,
    using: str,
    *,
    is_withheld: bool,
) -> Beside:
    made = Attempt.objects.using(using).filter(sync_state__subject=subject, sync_state__credential=credential)
    last = made.filter(outcome=Kind.DELIVERED).order_by("-pk").first()
    sent = last.request.splitlines() if last else []
    shown, why_not = "", str(credential.explain("withheld").text)
    if not is_withheld:
        shown, why_not = _now(subject, order, credential, using)
    now = shown.splitlines()
    return Beside(
        credential=credential,
        sent_at=last.started_at if last else None,
        sent=[(line, line not in now) for line in sent],
        now=[(line, line not in sent) for line in now],
        why_not=why_not,
    )


def _now(
    subject: Subject, order: OrderSnapshot | Unreadable | None, credential: VendorCredential, using: str
) -> tuple[str, str]:
    """The request, or why there is none."""
    try:
        account = credential.account
        rules = Rules(credential, using)
    except (ConfigurationError, EncryptionKeyError) as error:
        return "", str(error)
    admitted = rules.admit(order, subject)
    told = admitted if isinstance(admitted, Outcome) else rules.tell(admitted.status)
    if not (isinstance(admitted, Outcome) or isinstance(told, Outcome)):
        request = rules.build(admitted, told, account=account, now=datetime.now(UTC))
        if not isinstance(request, Outcome):
            return request.shown, ""
        told = request
    assert isinstance(told, Outcome)  # noqa: S101 - for the type checker
    return "", str(credential.explain(told.reason).text)


def rehearse(order: OrderSnapshot) -> Iterator[Rehearsal]:
    """With each credential there is; for a vendor that has none, with a stand-in account."""
    try:
        credentials = list(VendorCredential.objects.defer("sealed_secrets"))
    except DatabaseError:
        # Not migrated yet.
        credentials = []
    for credential in credentials:
        yield _with_credential(order, credential)
    for name in sorted(vendor_paths().keys() - {credential.vendor for credential in credentials}):
        try:
            vendor = get_vendor(name)
        except ConfigurationError as error:
            yield Rehearsal(name=name, shown=str(error))
            continue
        told = Told(status=order.status, is_sale=True)
        remark = f"stand-in account, “{order.status}” taken for a declared status that is a sale"
        yield Rehearsal(name=str(vendor.label), shown=_built(vendor, order, told, _stand_in(vendor)), remark=remark)


def _with_credential(order: OrderSnapshot, credential: VendorCredential) -> Rehearsal:
    try:
        vendor, account = credential.spec, credential.account
    except (ConfigurationError, EncryptionKeyError) as error:
        return Rehearsal(name=credential.name, shown=str(error))
    told, remark = Rules(credential, router.db_for_read(VendorCredential)).tell(order.status), ""
    if isinstance(told, Outcome):
        if told.kind is Kind.NOT_SENT:
            return Rehearsal(name=credential.name, shown=credential.explain(told.reason).text)
        told = Told(status=order.status, is_sale=True)
        remark = f"“{order.status}” is not mapped yet, taken for a declared status that is a sale"
    return Rehearsal(name=credential.name, shown=_built(vendor, order, told, account), remark=remark)


def _built(vendor: Vendor, order: OrderSnapshot, told: Told, account: Account) -> str:
    request = vendor.build(order, told=told, account=account, now=datetime.now(UTC))
    if isinstance(request, Outcome):
        reason = VendorCredential(vendor=vendor.name).explain(request.reason)
        return " ".join(filter(None, [f"Nothing: {reason.text}", str(reason.advice), request.detail]))
    return f"{request.method} {request.shown}"


def _stand_in(vendor: Vendor) -> Account:
    """An account that has everything and is nobody's."""
    options = {
        option.name: option.default or ("example" if option.is_required else option.default)
        for option in vendor.options
    }
    secrets = {secret.name: "stand-in" for secret in vendor.secrets}
    return Account(base_url=vendor.default_base_url, secrets=secrets, options=options)
