"""How an attempt ended, and what a shop owner should do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Kind(StrEnum):
    """The end of one attempt, or of the decision not to make one."""

    #: The vendor has the record.
    DELIVERED = "delivered"
    #: Unknown or passing; the same bytes can succeed later.
    RETRY = "retry"
    #: The same bytes will fail again: somebody must act.
    REFUSED = "refused"
    #: Nothing is wrong with the order; its credential cannot send now.
    HELD = "held"
    #: Left out on purpose.
    NOT_SENT = "not_sent"


class Scope(StrEnum):
    """How far the outcome reaches."""

    ORDER = "order"
    CREDENTIAL = "credential"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one attempt.

    ``detail`` is the vendor's own message, already redacted. ``retry_after`` is in seconds. ``ambiguous`` says that
    the request may still take effect at the vendor although no answer came. ``is_for_now`` says that the statuses left
    out are told after all as soon as the order changes.
    """

    kind: Kind
    reason: str
    scope: Scope = Scope.ORDER
    detail: str = ""
    retry_after: float | None = None
    ambiguous: bool = False
    is_for_now: bool = False


@dataclass(frozen=True)
class Reason:
    """A reason code in words a shop owner understands: what happened, and what to do."""

    text: str | Promise
    advice: str | Promise


_WAIT = _("Nothing to do: it is tried again by itself.")

#: Every reason code there is. Closed: an unknown code is a bug, and a test says so.
REASONS: dict[str, Reason] = {
    # delivered
    "accepted": Reason(_("The vendor has it."), ""),
    "unchanged": Reason(_("Nothing changed since the vendor last accepted it."), ""),
    "accepted_with_warning": Reason(
        _("The vendor has it, with a warning."),
        _("Read the vendor's message below. Nothing is sent again."),
    ),
    "unverified": Reason(
        _("The vendor's server took it without saying that it is recorded."),
        _("Nothing to do; if it is missing at the vendor, ask the vendor's support."),
    ),
    "duplicate": Reason(
        _("The vendor already has an order with this number."),
        _(
            "Nothing to do after a lost answer. On a first attempt another shop may use the same numbers at this "
            "vendor: give this credential a prefix of its own."
        ),
    ),
    "confirmed": Reason(
        _("Somebody looked at the vendor: it is there."), _("Nothing to do: no clear answer had come to the last send.")
    ),
    # retry
    "timeout": Reason(_("The vendor did not answer in time."), _WAIT),
    "dropped": Reason(_("The connection broke before an answer came."), _WAIT),
    "connection": Reason(_("The vendor could not be reached."), _WAIT),
    "certificate": Reason(
        _("The vendor's TLS certificate could not be verified."),
        _("Check the base URL of the credential and the date of this server. Sending is tried again by itself."),
    ),
    "vendor_error": Reason(_("The vendor answered with a server error."), _WAIT),
    "rate_limited": Reason(_("The vendor asked to slow down."), _WAIT),
    "unreadable_reply": Reason(
        _("The answer was not one the vendor documents, so it does not count as success."),
        _("It is tried again by itself. If it stays, show the answer below to the vendor's support."),
    ),
    "redirect_temporary": Reason(_("The vendor redirected the request; redirects are never followed."), _WAIT),
    # refused, this order
    "unmapped_status": Reason(
        _("This shop status is not mapped to a declared status."),
        _("Open the credential's status mappings and choose a declared status or “do not send”."),
    ),
    "unknown_status": Reason(
        _("The vendor does not know this status."),
        _("Declare it at the vendor, then choose “Declared at the vendor now” here, or map the shop status elsewhere."),
    ),
    "missing_parameter": Reason(
        _("The vendor says that a required field is missing or empty."),
        _("Check the order's reference and status in the shop, then send it again."),
    ),
    "invalid_products": Reason(
        _("The vendor could not read the products."),
        _("Show the request below to your developer or to the vendor's support, then send the order again."),
    ),
    "unknown_visit": Reason(
        _("The vendor does not know this visit."),
        _(
            "Check that the shop's pages carry the tracking of this very account. Send the order again if the visit "
            "has become known."
        ),
    ),
    "missing_visit": Reason(
        _("No visit is known, and the vendor's Cart dialect takes orders only with one."),
        _("Choose the Sales dialect in the credential's options: it takes orders without a visit."),
    ),
    "missing_cart": Reason(
        _("No cart is known, and the vendor's Cart dialect takes orders only with one."),
        _("Choose the Sales dialect in the credential's options: it takes orders without a cart."),
    ),
    "too_many_lines": Reason(
        _("There are more lines than fit into one request of this form: some would be lost without a word."),
        _("For an order, choose the Sales dialect in the credential's options. A cart this large is left out."),
    ),
    "cart_key_refused": Reason(
        _("The vendor refused the key for carts; orders go on with their own."),
        _("Type the right key for carts into the credential, or forget it to use the same key for both."),
    ),
    "bad_call_id": Reason(
        _("The call id is not a whole number, as the vendor requires."),
        _("Correct the call id on the order and save it: it is then sent by itself."),
    ),
    "no_reference": Reason(
        _("The order has no reference, and the vendor requires one."),
        _("Give the order its number in the shop and save it, or correct ORDER.reference in the settings."),
    ),
    "bad_currency": Reason(
        _("The order's currency is not a three-letter ISO 4217 code."),
        _("Correct the order's currency, or ORDER.currency in the settings, then send it again."),
    ),
    "unreadable_order": Reason(
        _("The shop's order could not be read."),
        _("Ask your developer to check OPTICO_SYNC['ORDER']; the detail below names the field."),
    ),
    "refused": Reason(
        _("The vendor refused this order."),
        _("Read the vendor's message below, correct the order, then send it again."),
    ),
    "unspecified": Reason(
        _("The vendor refused this order and gave no reason."),
        _("Send it again; if it is refused again, ask the vendor's support."),
    ),
    "ambiguous": Reason(
        _("No clear answer came, so it is not known whether the vendor has this order."),
        _(
            "Look at the vendor whether the order is there. If it is, choose “It is there”. If it is not, choose “Send "
            "again”, or “Do not send” to leave it at that."
        ),
    ),
    "no_items": Reason(
        _("No line of the order can be sent, and the vendor requires one."),
        _("Check the quantities and the product codes of the order's lines, then send it again."),
    ),
    "negative_total": Reason(
        _("The order's total is below zero."),
        _("Correct the order's discount or prices, then send it again."),
    ),
    "no_date": Reason(
        _("The order has no date, and the vendor requires one."),
        _("Give the order its date in the shop, or name its field in ORDER.placed_at in the settings."),
    ),
    "missing_name": Reason(
        _("The customer's first or last name is missing, and the vendor requires both."),
        _("Fill in the name on the order's billing address and save it, then send it again."),
    ),
    "missing_email": Reason(
        _("The customer's e-mail address is missing or malformed, and the vendor requires one."),
        _("Correct the e-mail address on the order, then send it again."),
    ),
    "totals_mismatch": Reason(
        _("The order's lines, shipping and discount do not add up to its total."),
        _("Correct the order's amounts, or ORDER.total, ORDER.shipping and ORDER.discount in the settings."),
    ),
    "too_large": Reason(
        _("The order is larger than the vendor allows."),
        _("Split the order, or ask your developer to leave something out of ORDER.properties in the settings."),
    ),
    # refused, the whole credential
    "key_refused": Reason(
        _("The vendor refused the key."),
        _("Type the right key into the credential. Everything that waits is then sent by itself."),
    ),
    "forbidden": Reason(
        _("The vendor's server forbids the request (perhaps a firewall)."),
        _("Check the key and ask the vendor to admit this server's address, then resume the credential."),
    ),
    "wrong_address": Reason(
        _("There is nothing of this vendor at the base URL."),
        _("Correct the credential's base URL. Everything that waits is then sent by itself."),
    ),
    "redirect": Reason(
        _("The base URL moved; redirects are never followed, because they would carry the key elsewhere."),
        _("Ask the vendor for the new address and correct the credential's base URL."),
    ),
    "forbidden_address": Reason(
        _("The base URL points to an address that is not public or not https."),
        _("Correct the base URL, or ask your developer to name the network in OPTICO_SYNC['ALLOWED_NETWORKS']."),
    ),
    "secret_unreadable": Reason(
        _("The stored key cannot be decrypted with the keys in the settings."),
        _("Ask your developer to put the old encryption key back, or type the vendor's key in again."),
    ),
    "incomplete_credential": Reason(
        _("The credential lacks a key or an option that the vendor requires."),
        _("Open the credential and fill in what is missing. Everything that waits is then sent by itself."),
    ),
    "other_installation": Reason(
        _("This is another installation than the one it was set up for, perhaps a copy of it: nothing is sent."),
        _(
            "Choose at the top of the list of credentials whether this is a copy or the real one, or run "
            "manage.py optico_installation. Nothing is lost meanwhile."
        ),
    ),
    # held
    "credential_off": Reason(_("The credential is switched off."), _("Switch it on to send what waits.")),
    "breaker_open": Reason(
        _("The vendor is not answering; one order at a time is tried until it does."),
        _("Nothing to do: everything that waits is sent by itself when the vendor is back."),
    ),
    "new_key": Reason(
        _("The vendor does not take the new key yet."),
        _(
            "A new key may take some minutes to work: it is tried again by itself. Check meanwhile that it was typed "
            "in right."
        ),
    ),
    "held_by_operator": Reason(_("Held by hand."), _("Choose “release” when it may be sent.")),
    # not sent
    "withheld": Reason(
        _("Somebody decided that it is not sent."), _("Nothing to do. To undo it, choose “Send after all”.")
    ),
    "status_not_sent": Reason(
        _("Its status is mapped to “do not send”."),
        _("Nothing to do. To send it, change the status mapping, then send the order again."),
    ),
    "not_a_sale": Reason(
        _("It has not reached a status that is a sale."),
        _("Nothing to do: it is sent by itself when it does."),
    ),
    "no_lines": Reason(
        _("It has no lines yet."),
        _(
            "Nothing to do: it is sent by itself as soon as it has some. If the shop shows lines, ask your developer "
            "to check OPTICO_SYNC['ORDER']['lines'] and ['related']."
        ),
    ),
    "order_deleted": Reason(_("The order was deleted in the shop."), _("Nothing to do.")),
    "cart_over": Reason(
        _("Nobody shops with this cart any more: it was ordered, merged or deleted."), _("Nothing to do.")
    ),
    "carts_off": Reason(
        _("The credential is not told about carts."),
        _("Nothing to do. To show carts to agents, change the credential's options."),
    ),
    "no_visit": Reason(
        _("No visit is known, and the vendor takes carts only with one."),
        _("Nothing to do: without consent there is no cookie."),
    ),
    "empty_cart": Reason(
        _("The cart is empty, which the vendor has no way to be told."),
        _("Nothing to do: it is sent when something is put into it."),
    ),
    "before_start": Reason(
        _("The order is older than the credential's start date."),
        _("Nothing to do. To send it, move the start date back, then send the order again."),
    ),
    "other_credential": Reason(
        _("By the routing rules it belongs to another credential of this vendor."), _("Nothing to do.")
    ),
    "no_rule": Reason(
        _("No routing rule of this vendor's credentials fits it."),
        _("Add a rule to the credential it belongs to, then send the order again."),
    ),
    "never_offered": Reason(
        _("It has not changed since this credential exists."),
        _("Nothing to do. To send it, choose “send again”."),
    ),
    "not_offline": Reason(
        _("It was placed on the website, whose own tracking reports it; only offline orders are sent."),
        _("Nothing to do. To send web orders too, change the credential's options, then send the order again."),
    ),
    "too_old": Reason(
        _("The order is older than the credential's options allow."),
        _("Nothing to do. To send it, raise the highest age in the options, then send the order again."),
    ),
    "skipped_domain": Reason(
        _("The customer's e-mail domain is on the list of those that are not written to."),
        _("Nothing to do. To send it, take the domain off the list in the options, then send the order again."),
    ),
    "erased": Reason(
        _("Its personal data was erased on request: it is never sent again."),
        _("Nothing to do here. What a vendor holds must be erased at the vendor: the order's page says where."),
    ),
    # left out by a job
    "on_its_way": Reason(_("It waits to be sent already, or is being sent."), _("Nothing to do.")),
    "told_once": Reason(_("The vendor was told already, which happens only once."), _("Nothing to do.")),
    "job_cancelled": Reason(
        _("The job was cancelled before it was sent."),
        _("It stands where it stood before. Start another job to send it."),
    ),
    # waiting
    "hold_period": Reason(_("It rests for the time set in the credential."), _("Nothing to do: it is sent by itself.")),
    "": Reason("", ""),
}


def delivered(reason: str = "accepted") -> Outcome:
    """The vendor has the record."""
    return Outcome(kind=Kind.DELIVERED, reason=reason)


def retry(reason: str, *, detail: str = "", retry_after: float | None = None, ambiguous: bool = False) -> Outcome:
    """Passing trouble. It counts against the vendor, not the order, as soon as the breaker opens."""
    return Outcome(
        kind=Kind.RETRY,
        scope=Scope.CREDENTIAL,
        reason=reason,
        detail=detail,
        retry_after=retry_after,
        ambiguous=ambiguous,
    )


def refused(reason: str, *, detail: str = "") -> Outcome:
    """This order will be refused again until somebody changes it or a setting."""
    return Outcome(kind=Kind.REFUSED, reason=reason, detail=detail)


def credential_refused(reason: str, *, detail: str = "") -> Outcome:
    """The key, address or account is wrong: pause the credential, keep every order."""
    return Outcome(kind=Kind.REFUSED, scope=Scope.CREDENTIAL, reason=reason, detail=detail)


def not_sent(reason: str, *, detail: str = "", is_for_now: bool = False) -> Outcome:
    """Left out on purpose; with ``is_for_now`` only until the order changes."""
    return Outcome(kind=Kind.NOT_SENT, reason=reason, detail=detail, is_for_now=is_for_now)
