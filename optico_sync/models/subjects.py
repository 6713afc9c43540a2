"""What is kept in step: the shop's orders and carts."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from optico_sync.attribution import COOKIE, HEADER, Attribution
from optico_sync.models.fields import ExactCharField
from optico_sync.snapshot import CART, ORDER

#: Stands for the content of an order of which two readings do not agree, with no captured change between them.
DIFFERS = "differs"


class Subject(models.Model):
    """An order or cart that is kept in step, known by its key in the shop. It outlives what it stands for."""

    class Kind(models.TextChoices):
        ORDER = ORDER, _("order")
        CART = CART, _("cart")

    kind = models.CharField(max_length=20, choices=Kind)
    key = ExactCharField(_("key in the shop"), max_length=255)
    reference = ExactCharField(_("reference"), max_length=255, blank=True, db_index=True)
    status = models.CharField(_("status in the shop"), max_length=200, blank=True)
    visit_id = models.CharField(_("visit"), max_length=64, blank=True)
    call_id = models.CharField(_("call"), max_length=64, blank=True)
    agent = models.CharField(_("agent"), max_length=150, blank=True)
    cart_key = models.CharField(_("cart"), max_length=255, blank=True)
    #: Attribution field -> where its value was first seen.
    sources = models.JSONField(default=dict)
    created_at = models.DateTimeField(_("first seen"))
    changed_at = models.DateTimeField(_("last change"))
    #: Since when it has its status.
    status_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(_("deleted in the shop"), null=True, blank=True)
    #: Since when nothing is known of whose it is, on request; it is not sent again.
    erased_at = models.DateTimeField(_("personal data erased"), null=True, blank=True)
    #: Counts the times that the relay folded captured changes in, so that a reading can say what it came after.
    changes = models.PositiveIntegerField(default=0)
    #: Fingerprint of the order when it was first read after its last captured change; empty until then.
    content = models.CharField(max_length=40, blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="optico_sync_subject_once")]
        indexes = [
            models.Index(fields=["kind", "created_at"], name="optico_sync_first_seen"),
            # For lists: of the carts, where there are few among many orders, and the other way round.
            models.Index(fields=["kind", "id"], name="optico_sync_newest"),
        ]
        permissions = [
            ("resend_subject", _("Can send again, hold, release and withhold orders")),
            ("attribute_subject", _("Can say whose visit or call an order belongs to")),
            ("erase_subject", _("Can erase personal data of orders")),
        ]

    def __str__(self) -> str:
        return self.reference or self.key

    @property
    def attribution(self) -> Attribution:
        return Attribution(visit_id=self.visit_id, call_id=self.call_id, agent=self.agent, cart_key=self.cart_key)

    @property
    def is_attributed(self) -> bool:
        """Without a visit or a call the vendor records the sale but credits nobody."""
        return bool(self.visit_id or self.call_id)

    class Source(models.TextChoices):
        COOKIE = COOKIE, _("the visitor's cookie")
        HEADER = HEADER, _("the header of a headless shop")
        ORDER = ORDER, _("the order in the shop")
        CART = CART, _("the cart")
        #: By ``set_attribution``: somebody said it outright.
        STATED = "stated", _("a program that said so")

    def attribute(self, seen: Attribution, *, source: str) -> None:
        """Fill what is not known yet, with ``source`` unless ``seen`` knows better; not saved. First values win."""
        for name in ("visit_id", "call_id", "agent", "cart_key"):
            if (value := getattr(seen, name)) and not getattr(self, name):
                setattr(self, name, value)
                found = (seen.source if name == "visit_id" else "") or source
                self.sources = {**self.sources, name: str(found)}

    def erase(self, now: datetime) -> None:
        """Forget whose it is; not saved yet."""
        self.visit_id = self.call_id = self.agent = self.cart_key = ""
        self.sources = {}
        self.erased_at = self.erased_at or now

    def content_after(self, reading: str) -> str:
        """What to remember of the content now that it was read as ``reading``: the first reading, or ``DIFFERS``.

        A reading by other settings says nothing about the earlier one, and takes its place.
        """
        if self.content == DIFFERS:
            return DIFFERS
        if not self.content or self.content.split("-")[0] != reading.split("-")[0]:
            return reading
        return self.content if self.content == reading else DIFFERS


class Cart(Subject):
    """The carts among the subjects, for a page of their own."""

    class Meta:
        proxy = True
        verbose_name = _("cart")
        verbose_name_plural = _("carts")
