"""Guaranteed Reviews Company (Société des Avis Garantis): the private Orders API.

Seen 2026-11: the page "private Orders API". Its customers are mailed ten days after an order is received, and nothing
takes that back: every rule below would rather not send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

import simplejson
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from optico_sync.outcome import Outcome, credential_refused, delivered, not_sent, refused, retry
from optico_sync.redaction import mask_secret, redact
from optico_sync.snapshot import Line, OrderSnapshot, check_amounts, round_total, unit_price
from optico_sync.vendors.base import (
    Account,
    Manner,
    OptionField,
    Request,
    Response,
    Sandbox,
    SecretField,
    Timeout,
    Told,
    Vendor,
    fingerprint,
    read_http,
    read_json_object,
)
from optico_sync.vendors.wire import clean_text, to_json

#: ``success`` is documented as an integer; the vendor's own examples write other integers as text.
YES = (1, "1", True, "true")
NO = (0, "0", False, "false")

#: Further than any age or hold that makes sense, and no overflow.
MAX_DAYS = 36500

# The messages are prose; only the "already been sent" one is documented, and in English only.
_DUPLICATE = re.compile(r"already (?:been )?sent|déjà", re.IGNORECASE)
_API_KEY = re.compile(r"api[ _-]?key|clé", re.IGNORECASE)
_MISSING_FIELDS = re.compile(r"missing fields?", re.IGNORECASE)
_KEY = re.compile(r"\bkey\b|authenti|authoriz|authoris|unauthor", re.IGNORECASE)

_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")


class GuaranteedReviews(Vendor):
    """Completed orders, so that their customers are asked for a review. Each is sent once and never again."""

    name: ClassVar[str] = "guaranteed_reviews"
    label = _("Guaranteed Reviews")
    manner = Manner.ONCE
    # The document's is empty (``$apiEndPoint = ""``). This one: the public copy of the page,
    # https://www.guaranteed-reviews.com/settings/private-api-orders/, seen 2026-11.
    default_base_url = "https://api.guaranteed-reviews.com/private/v3/orders"
    timeout = Timeout(connect=5.0, total=15.0)
    # A repeat does no harm ("An order will not be re-imported"), but it changes nothing either.
    upserts = False
    # "From the date your orders are received via the API, your customers will be contacted 10 days later by e-mail."
    mail_days = 10
    sandbox = Sandbox(path="/private/v3/orders", secrets={"api_key": "reviews_sandbox"})
    secrets = (
        SecretField(
            name="api_key",
            label=_("Private API key"),
            help_text=_(
                "Each language of your account has a key of its own: add one credential for each, with a routing rule "
                "for its language."
            ),
        ),
    )
    options = (
        OptionField(
            name="encoding",
            label=_("Encoding"),
            choices=(
                ("multipart", _("Multipart form, as in the documentation")),
                ("json", _("JSON")),
                ("form", _("URL-encoded form")),
            ),
            default="multipart",
            help_text=_("How the request is written. Change it only when the vendor's support says so."),
        ),
        OptionField(
            name="max_age_days",
            label=_("Highest age in days"),
            default=30,
            help_text=_("Older orders are not sent: the customer is mailed ten days after an order is received."),
        ),
        OptionField(
            name="hold_hours",
            label=_("Hours to wait"),
            default=0,
            help_text=_(
                "How long an order must have its status before it is sent. There is no way to stop the mail about an "
                "order that is cancelled later."
            ),
        ),
        OptionField(
            name="id_prefix",
            label=_("Prefix of order numbers"),
            default="",
            help_text=_("For shops that share a key: the vendor silently ignores an order whose number it has seen."),
        ),
        OptionField(
            name="product_ids",
            label=_("Product ids that are no whole numbers"),
            choices=(("drop", _("Leave the product out")), ("string", _("Send them as text"))),
            default="drop",
            help_text=_("The documentation allows whole numbers only; some shops send text."),
        ),
        OptionField(
            name="skip_domains",
            label=_("E-mail domains left out"),
            default="",
            help_text=_("Customers who are never asked, such as your own staff: example.com, example.org."),
        ),
    )
    advice = {
        "missing_parameter": _("Check the customer's names and e-mail address on the order, then send it again."),
    }

    def hold(self, options: Mapping[str, Any]) -> float:
        """An order that is cancelled soon after is mailed about all the same, unless it has waited here."""
        return _whole(options.get("hold_hours"), at_most=MAX_DAYS * 24) * 3600.0

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        """One order, though ``orders`` is a list: a reply about several does not say which were imported."""
        options = {**{option.name: option.default for option in self.options}, **account.options}
        if not told.is_sale:
            return not_sent("not_a_sale")
        if snapshot.placed_at is None:
            return refused("no_date")
        placed_at = snapshot.placed_at
        if timezone.is_naive(placed_at):
            placed_at = timezone.make_aware(placed_at)
        if now - placed_at > timedelta(days=_whole(options["max_age_days"], at_most=MAX_DAYS)):
            return not_sent("too_old")
        key = str(account.secrets.get("api_key", "")).strip()
        if not (key and key.isascii() and key.isprintable()):
            return credential_refused("incomplete_credential", detail="the private API key")
        try:
            order = build_order(snapshot, placed_at=placed_at, options=options)
        except ArithmeticError:
            # Amounts that are no numbers or fit no database, a date at the end of the calendar.
            return refused("unreadable_order", detail="an amount, a quantity or the date is out of range")
        if isinstance(order, Outcome):
            return order
        content = to_json([order]).encode("ascii")
        content_type, body = ENCODINGS.get(str(options["encoding"]), _multipart)(key, [order])
        return Request(
            url=account.base_url.strip(),
            body=body,
            headers={"Content-Type": content_type},
            shown=_shown(order, key, left_out=_left_out(snapshot, order)),
            fingerprint=fingerprint(content),
        )

    def read(self, response: Response, *, account: Account) -> Outcome:
        """ "An object containing a 'success' object" is an object with an integer ``success``, two counts, a message.

        No HTTP status is documented, so a readable refusal counts under 200 and under 4xx.
        """
        outcome = read_http(response)
        if outcome is not None and outcome.reason != "refused":
            return outcome
        reply = read_json_object(response) or {}
        success = reply.get("success")
        imported, count = _count(reply.get("orders_imported")), _count(reply.get("orders_count"))
        if success in NO and not imported:
            return _read_no(reply.get("message"), count, account)
        if outcome is not None:
            return outcome
        # "Returns '1' if at least one order has been imported"; one was sent.
        if success in YES and (imported is None or imported >= max(count or 0, 1)):
            return delivered()
        # What contradicts itself too: an order that did get in is not imported twice.
        return retry("unreadable_reply")


def _read_no(message: object, count: int | None, account: Account) -> Outcome:
    """What ``success: 0`` means, by its message."""
    text = message.strip() if isinstance(message, str) else ""
    if _DUPLICATE.search(text) and count != 0:
        # Also the answer to a repeat after a lost reply. An outcome has no memory of earlier attempts: that another
        # shop's order may have the number is said by the reason's text.
        return delivered("duplicate")
    detail = redact(text, account.secrets.values())
    if _MISSING_FIELDS.search(text) and not _API_KEY.search(text):
        # Seen in the wild as "Missing fields for array ...": what follows may be the customer, and is not kept.
        return refused("missing_parameter", detail="Missing fields")
    if _API_KEY.search(text) or _KEY.search(text):
        # The reply to a wrong key is not documented.
        return credential_refused("key_refused", detail=detail)
    return refused("refused", detail=detail) if text else refused("unspecified")


def build_order(
    snapshot: OrderSnapshot, *, placed_at: datetime, options: Mapping[str, Any]
) -> dict[str, Any] | Outcome:
    """The order object, or the outcome that says which mandatory field cannot be filled. Nothing is invented."""
    number = clean_text(snapshot.reference)
    order_id = number or clean_text(snapshot.key)
    if not order_id:
        return refused("no_reference")
    email = clean_text(snapshot.customer.email)
    if not _is_email(email):
        return refused("missing_email")
    if _is_skipped(email, _words(options["skip_domains"])):
        return not_sent("skipped_domain")
    people = (snapshot.billing, snapshot.delivery, snapshot.customer)
    first_name = next(filter(None, (clean_text(person.first_name) for person in people)), "")
    last_name = next(filter(None, (clean_text(person.last_name) for person in people)), "")
    if not (first_name and last_name):
        return refused("missing_name")
    prefix = clean_text(str(options["id_prefix"]))
    order: dict[str, Any] = {
        # The reply's warning calls it ``order_id``; the table and the example say ``id_order``.
        "id_order": prefix + order_id,
        # No zone is documented; the vendor's own shop modules send the shop's local time.
        "order_date": timezone.localtime(placed_at).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds"),
        "firstname": first_name,
        "lastname": last_name,
        "email": email,
    }
    if number:
        # Never "": an order with the reference of another is not imported, and two empty ones may count as equal.
        order["reference"] = prefix + number
    if products := build_products(snapshot.lines, snapshot.currency, product_ids=str(options["product_ids"])):
        order["products"] = products
    return order


def build_products(lines: Iterable[Line], currency: str, *, product_ids: str) -> list[dict[str, Any]]:
    """The product objects: without deleted products, lines of no quantity, and names or ids that cannot be sent."""
    currency = currency.strip().upper()
    products = []
    for line in lines:
        product_id = _product_id(line, product_ids)
        name = clean_text(line.name)
        if product_id is None or not name or line.quantity <= 0:
            continue
        check_amounts(line.quantity, line.total)
        # "tax included", although the vendor's own PrestaShop module sends it without: the document holds.
        if line.quantity == line.quantity.to_integral_value():
            quantity, price = int(line.quantity), unit_price(line, currency)
        else:
            # ``qty`` is documented as an integer: 1.5 kg is one piece.
            quantity, price = 1, round_total(line.total, currency)
        product: dict[str, Any] = {"id": product_id, "name": name, "qty": quantity, "unit_price": price}
        if sku := clean_text(line.sku):
            product["sku"] = sku
        if (url := clean_text(line.url)).startswith(("https://", "http://")):
            product["url"] = url
        products.append(product)
    return products


def _product_id(line: Line, rule: str) -> int | str | None:
    """ "integer, mandatory", although the example says ``'100'``."""
    key = clean_text(line.product_key)
    if _INTEGER.fullmatch(key):
        return int(key)
    return key if key and rule == "string" else None


def _multipart(key: str, orders: list[dict[str, Any]]) -> tuple[str, bytes]:
    """As cURL sends the example's array: two plain parts. The boundary follows from the content, so that a repeat is
    the same bytes."""
    parts = {"api_key": key.encode("ascii"), "orders": to_json(orders).encode("ascii")}
    boundary = "optico-sync-" + fingerprint(parts["orders"])
    written = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts.items()
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join(written) + f"--{boundary}--\r\n".encode()


def _json(key: str, orders: list[dict[str, Any]]) -> tuple[str, bytes]:
    """As the vendor's own shop modules do: ``orders`` is a list here, not text."""
    return "application/json; charset=utf-8", to_json({"api_key": key, "orders": orders}).encode("ascii")


def _form(key: str, orders: list[dict[str, Any]]) -> tuple[str, bytes]:
    return "application/x-www-form-urlencoded", urlencode({"api_key": key, "orders": to_json(orders)}).encode("ascii")


ENCODINGS: dict[str, Callable[[str, list[dict[str, Any]]], tuple[str, bytes]]] = {
    "multipart": _multipart,
    "json": _json,
    "form": _form,
}


def _is_email(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _is_skipped(email: str, domains: Iterable[str]) -> bool:
    """Whether the address is at one of ``domains`` or below it."""
    host = "." + email.rpartition("@")[2].lower()
    return any(host.endswith("." + domain.lstrip("@.")) for domain in domains)


def _words(text: object) -> list[str]:
    """``a, B`` as ``["a", "b"]``."""
    return [word for word in re.split(r"[\s,;]+", clean_text(str(text)).lower()) if word]


def _whole(value: object, *, at_most: int) -> int:
    return min(max(value, 0), at_most) if isinstance(value, int) else 0


def _count(value: object) -> int | None:
    """A count of the reply, which may be text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
        return int(value)
    return int(value) if isinstance(value, int) else None


def _left_out(snapshot: OrderSnapshot, order: Mapping[str, Any]) -> int:
    return len(snapshot.lines) - len(order.get("products", ()))


def _shown(order: Mapping[str, Any], key: str, *, left_out: int) -> str:
    """The request as attempts keep it: without the key and the customer."""
    shown = {**order, "firstname": "…", "lastname": "…", "email": "…"}
    lines = [f"api_key={mask_secret(key)}", f"orders={simplejson.dumps([shown], use_decimal=True, ensure_ascii=False)}"]
    if left_out:
        lines.append(
            f"({left_out} lines are left out: no quantity, no name, no product, or an id that is no whole number)"
        )
    return "\n".join(lines)
