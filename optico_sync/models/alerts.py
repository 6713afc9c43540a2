"""What somebody is told by e-mail or webhook: the settings, what is wrong at the moment, and the messages."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from optico_sync.models.credentials import VendorCredential
from optico_sync.models.fields import EncryptedTextField

#: How long trouble lasts before it is told of again; afterwards once a day.
REMIND_AFTER = timedelta(hours=4)
#: A message that fails is tried again after these; then it is given up.
NOTICE_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360, 720))


class AlertKind(models.TextChoices):
    #: Changes wait for longer than they should.
    WAITING = "waiting", _("changes wait too long")
    #: A vendor does not answer.
    BREAKER = "breaker", _("a vendor does not answer")
    #: The key, the address or the account is wrong.
    PAUSED = "paused", _("a credential is paused, because its key was refused or the like")
    #: Orders are parked until somebody maps or declares it.
    STATUS = "status", _("a status is not mapped, or not declared at the vendor")
    #: Nobody delivers.
    WORKER = "worker", _("no worker is heard")
    #: Fewer orders than usual have a visit or a call: perhaps a broken cookie banner.
    ATTRIBUTION = "attribution", _("fewer orders than usual have a visit or a call")


def all_kinds() -> list[str]:
    return list(AlertKind.values)


def _minutes(label: object, default: int, help_text: object = "") -> models.PositiveIntegerField:
    limits = [MinValueValidator(1), MaxValueValidator(60 * 24 * 7)]
    return models.PositiveIntegerField(label, default=default, validators=limits, help_text=help_text)  # type: ignore[arg-type]


class AlertSettings(models.Model):
    """The single row of what the shop owner decides about alerts. Without an address there are none."""

    recipients = models.TextField(
        _("e-mail addresses"), blank=True, help_text=_("One a line. Without an address no e-mail is sent.")
    )
    webhook_url = models.URLField(_("webhook"), max_length=500, blank=True)
    webhook_secret = EncryptedTextField(editable=False, blank=True, default="")
    language = models.CharField(max_length=20, blank=True)
    kinds = models.JSONField(default=all_kinds)
    waiting_minutes = _minutes(_("changes wait for (minutes)"), 30)
    breaker_minutes = _minutes(_("a vendor does not answer for (minutes)"), 10)
    worker_minutes = _minutes(
        _("no worker is heard for (minutes)"),
        10,
        _("More than the time between two runs, where cron starts optico_worker --once."),
    )
    attribution_drop = models.PositiveSmallIntegerField(
        _("attributed orders fall by (percent)"),
        default=40,
        validators=[MinValueValidator(5), MaxValueValidator(95)],
        help_text=_("Of the share that they had in the four weeks before."),
    )

    #: Workers and cron share the work: whoever comes first in a while does it.
    watched_at = models.DateTimeField(null=True, editable=False)
    attribution_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("alert settings")
        verbose_name_plural = _("alerts")

    def __str__(self) -> str:
        return str(_("Alerts"))

    @classmethod
    def known(cls, using: str) -> AlertSettings | None:
        """The row, with its secret left sealed; None before anybody decided anything."""
        return cls.objects.using(using).defer("webhook_secret").first()

    def take_turn(self, now: datetime, rest: timedelta) -> bool:
        """Whether nobody looked for ``rest``; then it is this one's turn."""
        rested = Q(watched_at__isnull=True) | Q(watched_at__lte=now - rest)
        return bool(AlertSettings.objects.using(self._state.db).filter(rested, pk=self.pk).update(watched_at=now))

    @property
    def addresses(self) -> list[str]:
        return self.recipients.split()

    @property
    def channels(self) -> list[str]:
        """Where messages go; nowhere without an address."""
        to = {Notice.Channel.MAIL: self.recipients.strip(), Notice.Channel.WEBHOOK: self.webhook_url}
        return [channel for channel, address in to.items() if address]

    @property
    def language_code(self) -> str:
        return self.language or settings.LANGUAGE_CODE


class Alert(models.Model):
    """One thing that is, or was, wrong. Open until ``recovered_at``."""

    kind = models.CharField(_("kind"), max_length=20, choices=AlertKind)
    credential = models.ForeignKey(VendorCredential, models.CASCADE, null=True, verbose_name=_("credential"))
    #: What tells two troubles of one kind apart, such as a status.
    about = models.CharField(_("about"), max_length=200, blank=True)
    since = models.DateTimeField(_("since"))
    opened_at = models.DateTimeField(_("noticed"))
    #: How often somebody was told: 0 at once, 1 after some hours, then once a day.
    stage = models.SmallIntegerField(_("reminders"), default=-1)
    #: Since when the trouble is not there; not over yet, since many troubles flicker.
    absent_since = models.DateTimeField(null=True)
    recovered_at = models.DateTimeField(_("over since"), null=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alert record")
        indexes = [
            models.Index(fields=["recovered_at"], condition=Q(recovered_at__isnull=True), name="optico_sync_open_alert")
        ]

    def __str__(self) -> str:
        what = self.get_kind_display()
        return str(_("%(name)s: %(what)s") % {"name": self.credential.name, "what": what}) if self.credential else what

    def stage_at(self, now: datetime) -> int:
        """The stage that is due at ``now``."""
        age = now - self.opened_at
        return 0 if age < REMIND_AFTER else 1 + age // timedelta(days=1)


class Notice(models.Model):
    """One message on its way to somebody; written first, sent afterwards, so a failure is seen and tried again."""

    class Channel(models.TextChoices):
        MAIL = "mail", _("e-mail")
        WEBHOOK = "webhook", _("webhook")

    channel = models.CharField(_("channel"), max_length=10, choices=Channel)
    #: ``subject`` and ``text`` for people, ``event`` and ``alerts`` for machines.
    message = models.JSONField()
    created_at = models.DateTimeField(_("written"))
    due_at = models.DateTimeField(_("next attempt"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("sent"), null=True)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="optico_sync_due_notice")]

    def __str__(self) -> str:
        return f"{self.channel} {self.created_at:%Y-%m-%d %H:%M}"

    def take(self, now: datetime) -> bool:
        """Count an attempt, unless somebody else is at it. Should this process die, it is tried again later."""
        later = now + NOTICE_DELAYS[min(self.attempts, len(NOTICE_DELAYS) - 1)]
        mine = Notice.objects.using(self._state.db).filter(pk=self.pk, due_at=self.due_at)
        if not mine.update(due_at=later, attempts=F("attempts") + 1):
            return False
        self.attempts += 1
        return True

    def succeed(self, now: datetime) -> None:
        self.sent_at, self.due_at, self.error = now, None, ""
        self.save(update_fields=["sent_at", "due_at", "error"])

    def fail(self, error: str, now: datetime) -> None:
        """Try again later, or give up when it failed for about a day."""
        delay = NOTICE_DELAYS[self.attempts - 1] if self.attempts <= len(NOTICE_DELAYS) else None
        self.error, self.due_at = error[:300], now + delay if delay else None
        self.save(update_fields=["due_at", "error"])
