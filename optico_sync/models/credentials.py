"""What the shop owner configures: accounts at vendors, the statuses declared there, how shop statuses map to them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Q, Subquery
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from optico_sync.exceptions import ConfigurationError
from optico_sync.models.clock import database_now
from optico_sync.models.fields import EncryptedTextField, ExactCharField
from optico_sync.outcome import REASONS, Outcome, Reason
from optico_sync.snapshot import ORDER, CartSnapshot, OrderSnapshot
from optico_sync.vendors import get_vendor
from optico_sync.vendors.base import Account, Manner, Vendor

#: So many vendor-wide failures in a row open the breaker.
BREAKER_THRESHOLD = 5
#: The longest time between two probes of an open breaker.
BREAKER_CEILING = timedelta(minutes=5)

#: A vendor that says "too many requests" has its rate halved, at most so often; each span without doubles it again.
MAX_SLOWDOWN = 4
SLOWDOWN_SPAN = timedelta(minutes=1)


#: What ``VendorCredential.heed`` changes.
HEEDED_FIELDS = ["open_until", "slowdown", "slowed_at"]
#: What ``VendorCredential.resume`` changes.
RESUMED_FIELDS = ["paused_at", "pause_reason", "pause_detail", "failures", "opened_at", "open_until", "open_reason"]


class VendorCredential(models.Model):
    """One account at one vendor. Nothing is sent without one.

    The breaker is three columns, shared by all workers and visible in the admin: it opens after
    ``BREAKER_THRESHOLD`` vendor-wide failures in a row, and lets one probe through each time ``open_until`` passes.
    A new key that its vendor does not take yet is waited for in the same way.
    """

    name = models.CharField(_("name"), max_length=100, unique=True, help_text=_("Yours to choose; shown in lists."))
    vendor = models.CharField(_("vendor"), max_length=50)
    base_url = models.URLField(_("base URL"), max_length=300)
    sealed_secrets = EncryptedTextField(editable=False, blank=True, default="")
    options = models.JSONField(_("options"), default=dict, blank=True)
    is_enabled = models.BooleanField(
        _("switched on"), default=False, help_text=_("While it is off, changes are collected and held.")
    )
    start_at = models.DateTimeField(
        _("start date"),
        default=timezone.now,
        help_text=_("Orders placed before this moment are not sent."),
    )
    concurrency = models.PositiveSmallIntegerField(
        _("requests at once"),
        default=8,
        validators=[MinValueValidator(1), MaxValueValidator(128)],
        help_text=_("How many requests each worker may have in flight to this vendor."),
    )

    secrets_version = models.PositiveIntegerField(default=0, editable=False)
    secrets_changed_at = models.DateTimeField(null=True, editable=False)
    paused_at = models.DateTimeField(_("paused since"), null=True, editable=False)
    pause_reason = models.CharField(_("reason of the pause"), max_length=50, blank=True, editable=False)
    pause_detail = models.TextField(blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    opened_at = models.DateTimeField(_("vendor not answering since"), null=True, editable=False)
    open_until = models.DateTimeField(_("next probe"), null=True, editable=False)
    #: What is waited for, as a reason code, where it is not the vendor's answer.
    open_reason = models.CharField(max_length=50, blank=True, editable=False)
    next_slot_at = models.DateTimeField(null=True, editable=False)
    probed_at = models.DateTimeField(_("connection tested"), null=True, editable=False)
    probe_was_good = models.BooleanField(null=True, editable=False)
    #: How often the vendor's rate was halved, and when it was last.
    slowdown = models.PositiveSmallIntegerField(default=0, editable=False)
    slowed_at = models.DateTimeField(null=True, editable=False)
    last_delivery_at = models.DateTimeField(_("last delivery"), null=True, editable=False)

    class Meta:
        verbose_name = _("vendor credential")
        verbose_name_plural = _("vendor credentials")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def spec(self) -> Vendor:
        """The vendor's own knowledge. Raises ``ConfigurationError`` for a vendor that is no longer there."""
        return get_vendor(self.vendor)

    @property
    def manner(self) -> Manner:
        """What its vendor is told about an order; the queue is kept for a vendor that is no longer there."""
        try:
            return self.spec.manner
        except ConfigurationError:
            return Manner.EVERY_STATUS

    @property
    def takes_carts(self) -> bool:
        """Whether its vendor is told about carts."""
        try:
            return self.spec.takes_carts
        except ConfigurationError:
            return False

    def manner_of(self, kind: str) -> Manner | None:
        """What its vendor is told about an order or a cart; None where nothing."""
        if kind == ORDER:
            return self.manner
        return Manner.NEWEST if self.takes_carts else None

    @property
    def reads_back(self) -> bool:
        """Whether its vendor offers to read back what it holds."""
        try:
            return self.spec.reads_back
        except ConfigurationError:
            return False

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets by name. Raises ``EncryptionKeyError`` when they cannot be read."""
        return json.loads(self.sealed_secrets) if self.sealed_secrets else {}

    def set_secrets(self, secrets: Mapping[str, str]) -> None:
        """Replace all secrets; not saved yet. New secrets end a pause, and answers to the old ones no longer count."""
        self.sealed_secrets = json.dumps(dict(secrets))
        self.secrets_version += 1
        self.secrets_changed_at = timezone.now()
        self.resume()

    def resume(self) -> None:
        """End a pause and close the breaker; not saved yet."""
        self.paused_at, self.pause_reason, self.pause_detail = None, "", ""
        self.failures = 0
        self._close()

    def _close(self) -> None:
        self.opened_at, self.open_until, self.open_reason = None, None, ""

    def point_at_sandbox(self, url: str) -> None:
        """Make the sandbox at ``url`` its vendor, and forget the live secrets; not saved yet.

        Off where the vendor has no sandbox, or is no longer there.
        """
        try:
            twin = self.spec.sandbox
        except ConfigurationError:
            twin = None
        self.set_secrets(twin.secrets if twin else {})
        self.base_url = url.rstrip("/") + (twin.path if twin else "")
        self.options = {**self.options, **(twin.options if twin else {})}
        self.is_enabled = self.is_enabled and twin is not None

    @property
    def account(self) -> Account:
        """What the vendor needs to build and read. Raises ``EncryptionKeyError``."""
        return Account(base_url=self.base_url, secrets=self.secrets, options=self.chosen_options)

    @property
    def chosen_options(self) -> dict[str, Any]:
        """The vendor's options as the owner chose them, or their defaults."""
        return {option.name: self.options.get(option.name, option.default) for option in self.spec.options}

    @property
    def mail_days(self) -> int | None:
        """How many days after it received an order its vendor writes to the customer; None where it never does."""
        try:
            return self.spec.mail_days
        except ConfigurationError:
            return None

    def held_as(self, number: str) -> str:
        """How its vendor calls the order or cart that the shop calls ``number``."""
        return f"{self.options.get('id_prefix', '')}{number}"

    @property
    def hold_reason(self) -> str:
        """Why nothing is sent now, as a reason code; empty when it is."""
        if not self.is_enabled:
            return "credential_off"
        if self.paused_at:
            return self.pause_reason
        return (self.open_reason or "breaker_open") if self.opened_at else ""

    def rate_at(self, now: datetime) -> float | None:
        """Requests a second that may be made at ``now``; None for as many as there are."""
        rate = self.spec.rate
        return rate / 2 ** self._slowdown_at(now) if rate else None

    def slowed_until(self, now: datetime) -> datetime | None:
        """When the rate of ``now`` doubles again; None where it is whole."""
        slowdown = self._slowdown_at(now)
        return self.slowed_at + SLOWDOWN_SPAN * (self.slowdown - slowdown + 1) if slowdown and self.slowed_at else None

    def asked_until(self, now: datetime) -> datetime | None:
        """How long the vendor asked to be left alone, although it answers."""
        return self.open_until if self.open_until and self.open_until > now and not self.opened_at else None

    def _slowdown_at(self, now: datetime) -> int:
        spans = (now - self.slowed_at) // SLOWDOWN_SPAN if self.slowed_at else 0
        return max(self.slowdown - max(spans, 0), 0)

    def explain(self, code: str) -> Reason:
        """What the reason ``code`` means, with the vendor's own advice where it has some."""
        reason = REASONS.get(code, REASONS["refused"])
        try:
            advice = self.spec.advice.get(code, reason.advice)
        except ConfigurationError:
            advice = reason.advice
        return Reason(reason.text, advice)

    def pause(self, reason: str, detail: str, now: datetime) -> None:
        """Stop sending until somebody repairs the credential, or until a new key works; not saved yet."""
        new_key = self.spec.new_key if reason == "key_refused" else None
        if new_key and self.secrets_changed_at and now < self.secrets_changed_at + timedelta(seconds=new_key.within):
            self.opened_at = self.opened_at or now
            self.open_until, self.open_reason = now + timedelta(seconds=new_key.every), "new_key"
            return
        self.paused_at, self.pause_reason, self.pause_detail = now, reason, detail

    def heed(self, outcomes: Collection[Outcome], now: datetime) -> None:
        """Wait as long as the vendor asked for, and halve the rate where it said "too many requests"; not saved yet."""
        for outcome in outcomes:
            if outcome.retry_after is not None:
                asked_until = now + timedelta(seconds=outcome.retry_after)
                self.open_until = max(self.open_until or now, asked_until)
        if any(outcome.reason == "rate_limited" for outcome in outcomes):
            self.slowdown, self.slowed_at = min(self._slowdown_at(now) + 1, MAX_SLOWDOWN), now

    def record_answers(self, answered: bool, failures: int, now: datetime) -> bool:
        """Count vendor-wide failures: ``answered`` if any order got an answer before the last ``failures``.

        True when this opened the breaker, or kept it open. Not saved yet.
        """
        self.failures = failures if answered else self.failures + failures
        if self.failures < BREAKER_THRESHOLD:
            if answered:
                self._close()
            return False
        over = min(self.failures - BREAKER_THRESHOLD, 16)
        self.opened_at, self.open_reason = self.opened_at or now, ""
        self.open_until = now + min(timedelta(seconds=2**over), BREAKER_CEILING)
        return True

    def release_parked(self, shop_statuses: Collection[str]) -> int:
        """Try the orders again that one of ``shop_statuses`` parked. Returns how many."""
        now = database_now(self._state.db or DEFAULT_DB_ALIAS)
        return self.sync_states.parked_by(shop_statuses).release(now)

    def map_statuses(self, shop_statuses: Iterable[str]) -> None:
        """Add a mapping for every shop status that has none. The very same word declared at the vendor maps itself."""
        seen = {status for status in shop_statuses if status}
        missing = seen.difference(
            self.status_mappings.filter(shop_status__in=seen).values_list("shop_status", flat=True)
        )
        if not missing:
            return
        declared = {status.name: status for status in self.declared_statuses.filter(name__in=missing)}
        choice = StatusMapping.Choice
        self.status_mappings.bulk_create(
            [
                StatusMapping(
                    credential=self,
                    shop_status=status,
                    declared=declared.get(status),
                    choice=choice.SEND if status in declared else choice.UNDECIDED,
                )
                for status in sorted(missing)
            ],
            ignore_conflicts=True,
        )


def lock_credential(credential_id: int, using: str, **annotations: Subquery) -> VendorCredential | None:
    """The credential, locked, but not against rows that point to it: the relay adds some while it holds the queue.

    With ``annotations`` read in the same statement. Its secrets are read when asked for: they may be unreadable.
    """
    no_key = connections[using].features.has_select_for_no_key_update
    credentials = VendorCredential.objects.using(using).defer("sealed_secrets").select_for_update(no_key=no_key)
    return credentials.annotate(**annotations).filter(pk=credential_id).first()


class RoutingRule(models.Model):
    """Which orders go to which of several credentials at one vendor: the first rule that fits decides.

    Where a vendor's credentials have no rules, each of them gets every order.
    """

    class Field(models.TextChoices):
        STORE = "store", _("store")
        CHANNEL = "channel", _("channel")
        LANGUAGE = "language", _("language")
        CURRENCY = "currency", _("currency")

    credential = models.ForeignKey(VendorCredential, models.CASCADE, related_name="rules")
    position = models.PositiveSmallIntegerField(
        _("position"), default=10, help_text=_("Rules are tried from the lowest position to the highest.")
    )
    field = models.CharField(_("the order's"), max_length=20, choices=Field)
    value = models.CharField(
        _("is"),
        max_length=200,
        help_text=_("Exactly; * fits every order. A language fits with all its regions: fr is also fr-be."),
    )

    class Meta:
        verbose_name = _("routing rule")
        verbose_name_plural = _("routing rules: which orders go here")
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return f"{self.get_field_display()} = {self.value}"

    def fits(self, snapshot: OrderSnapshot | CartSnapshot) -> bool:
        """Whether ``snapshot`` is one of those that this rule sends to its credential."""
        if self.value == "*":
            return True
        if self.field != self.Field.LANGUAGE:
            return self.value == getattr(snapshot, self.field)
        wanted, language = (code.lower().replace("_", "-") for code in (self.value, snapshot.language))
        return language == wanted or language.startswith(f"{wanted}-")


class DeclaredStatus(models.Model):
    """An order status as it is declared at the vendor.

    Saving one maps the shop status of the very same name, and sends the orders that waited for it.
    """

    credential = models.ForeignKey(VendorCredential, models.CASCADE, related_name="declared_statuses")
    name = ExactCharField(
        _("name at the vendor"), max_length=200, help_text=_("Exactly as declared there: case and accents count.")
    )
    is_sale = models.BooleanField(
        _("is a sale"),
        default=False,
        help_text=_("As declared at the vendor: an order that reaches this status counts as a conversion."),
    )
    unknown_since = models.DateTimeField(_("refused by the vendor since"), null=True, editable=False)

    class Meta:
        verbose_name = _("declared status")
        verbose_name_plural = _("declared statuses")
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["credential", "name"], name="optico_sync_declared_once")]

    def __str__(self) -> str:
        sale = _("sale")
        return f"{self.name} ({sale})" if self.is_sale else self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        undecided = StatusMapping.objects.filter(credential=self.credential_id, choice=StatusMapping.Choice.UNDECIDED)
        same_word = undecided.filter(shop_status=self.name)
        for mapping in same_word:
            mapping.declared = self
            mapping.save()
        self.release()

    def declare(self) -> int:
        """The owner has declared it at the vendor: send what it parked. Returns how many orders."""
        self.unknown_since = None
        super().save(update_fields=["unknown_since"])
        return self.release()

    def release(self) -> int:
        """Try the orders again that were refused because of this status. Returns how many."""
        statuses = list(self.mappings.values_list("shop_status", flat=True))
        return _without_secrets(self.credential_id).release_parked(statuses)


class StatusMapping(models.Model):
    """What a shop status becomes at the vendor. A row appears by itself for every status seen in the shop.

    Saving a decision sends the orders that waited for it.
    """

    class Choice(models.TextChoices):
        #: Nobody has decided yet: orders in this status wait for the decision.
        UNDECIDED = "undecided", _("not decided yet")
        SEND = "send", _("send as")
        DO_NOT_SEND = "do_not_send", _("do not send")

    credential = models.ForeignKey(VendorCredential, models.CASCADE, related_name="status_mappings")
    shop_status = ExactCharField(_("status in the shop"), max_length=200)
    choice = models.CharField(_("choice"), max_length=20, choices=Choice, default=Choice.UNDECIDED)
    declared = models.ForeignKey(
        DeclaredStatus,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="mappings",
        verbose_name=_("declared status"),
    )

    class Meta:
        verbose_name = _("status mapping")
        verbose_name_plural = _("status mappings")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["credential", "shop_status"], name="optico_sync_mapped_once"),
            models.CheckConstraint(
                condition=Q(choice="send") | Q(declared__isnull=True), name="optico_sync_declared_only_when_sent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shop_status} → {self.declared or self.get_choice_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A declared status means "send"; "send" without one is no decision."""
        if self.declared_id:
            self.choice = self.Choice.SEND
        elif self.choice == self.Choice.SEND:
            self.choice = self.Choice.UNDECIDED
        super().save(*args, **kwargs)
        if self.choice != self.Choice.UNDECIDED:
            _without_secrets(self.credential_id).release_parked([self.shop_status])


def _without_secrets(credential_id: int) -> VendorCredential:
    """The credential as a status needs it: its secrets may be unreadable, and that is no reason to fail here."""
    return VendorCredential.objects.defer("sealed_secrets").get(pk=credential_id)
