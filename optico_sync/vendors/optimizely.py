"""Optimizely Product Recommendations (Peerius): the offline order tracking endpoint.

Seen 2026-11: the page "Offline order tracking endpoint", "updated 4 months ago". It describes neither the header nor
any reply; those come from https://docs.developers.optimizely.com/recommendations/docs/header-information and the page
"Response message" of the same manual (both seen 2026-11), and the lines below say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, localcontext
from typing import Any, ClassVar
from urllib.parse import urlsplit

import simplejson
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync.outcome import Kind, Outcome, credential_refused, delivered, not_sent, refused, retry
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

PATH = "/tracker/smart-api/orders/offline"

#: The document's hosts. The UAT one carries no site name; "custom" is the credential's own base URL.
CLUSTERS = {
    "uat": "https://uat.peerius.com",
    "uk": "https://{site}.peerius.com",
    "se": "https://{site}.peerius.episerver.net",
    "us": "https://{site}.uswe01.productrecs.episerver.net",
}

#: Fit for a host name and a header alike, so a site name cannot lead the token to another host.
_SITE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
#: The page "Language codes" lists lower case ``ll`` and ``ll-rr``. The long form means the same everywhere.
_LONG_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]{4})?-[a-z]{2}")
#: Codes that blame the account: ``SiteNotRecognized`` is documented for the sister API, the rest is likely.
_ACCOUNT_CODE = re.compile(r"site|token|channel", re.IGNORECASE)
_TRAILING_COMMA = re.compile(rb",(\s*[}\]])")

# No limit on attributes is documented. These keep one odd order from becoming a request of megabytes.
MAX_ATTRIBUTES = 50
MAX_TEXT = 1000

#: More digits than an amount or quantity out of a database has; what does not fit is refused.
_WIDE = Context(prec=100)
_MILLIONTH = Decimal("0.000001")


class Optimizely(Vendor):
    """Orders placed by telephone or in a store, so that the customer's recommendations on the web know of them."""

    name: ClassVar[str] = "optimizely"
    label = _("Optimizely")
    # Nothing is documented about sending an order again, and public pages say updates must be enabled first.
    manner = Manner.ONCE
    default_base_url = CLUSTERS["uat"]
    timeout = Timeout(connect=5.0, total=15.0)
    upserts = False
    # Another cluster than "custom" would keep the live address.
    sandbox = Sandbox(secrets={"site_token": "token_sandbox"}, options={"site": "sandbox", "cluster": "custom"})
    secrets = (
        SecretField(
            name="site_token",
            label=_("Site token"),
            help_text=_(
                "In Optimizely under Admin > Development > Site tokens: the one of the channel chosen below. "
                "The test environment has tokens of its own."
            ),
        ),
    )
    options = (
        OptionField(
            name="site",
            label=_("Site"),
            default="",
            help_text=_("The site name that Optimizely assigned, as in https://sitename.peerius.com."),
            is_required=True,
        ),
        OptionField(
            name="cluster",
            label=_("Cluster"),
            choices=(
                ("uat", _("Test environment (UAT)")),
                ("uk", _("United Kingdom")),
                ("se", _("Sweden")),
                ("us", _("United States West")),
                ("custom", _("Other: use the base URL")),
            ),
            default="uat",
            help_text=_("Where Optimizely runs your site; the address follows from it. Ask Optimizely when unsure."),
        ),
        OptionField(
            name="channel",
            label=_("Channel"),
            choices=(
                ("callcentre", _("Call centre")),
                ("store", _("Store")),
                ("mobileapp", _("Mobile app")),
                ("tv", _("Television")),
            ),
            default="callcentre",
            help_text=_("Each channel has a site token of its own."),
        ),
        OptionField(
            name="only_offline",
            label=_("Only offline orders"),
            default=True,
            help_text=_("Web orders are reported by the tracking on the website: sent from here they count twice."),
        ),
        OptionField(
            name="language",
            label=_("Language when unknown"),
            default="",
            help_text=_("Such as en-gb. Empty: none is sent, and Optimizely takes en-gb."),
        ),
        OptionField(
            name="languages",
            label=_("Language map"),
            default="",
            help_text=_("The shop's language codes and Optimizely's: fr=fr-fr, en=en-gb."),
        ),
        OptionField(
            name="product_id",
            label=_("Product code"),
            choices=(("sku", _("Stock keeping unit (SKU)")), ("product_id", _("Product id"))),
            default="sku",
            help_text=_("What your catalogue feed at Optimizely calls refCode. It must be equal to the letter."),
        ),
        OptionField(
            name="max_ambiguous",
            label=_("Repeats after a lost answer"),
            default=3,
            help_text=_(
                "When no answer comes, Optimizely may have the order or not, and may count it twice when it is sent "
                "again. 0: it is never sent again by itself."
            ),
        ),
    )
    advice = {
        "key_refused": _(
            "Check the site, the cluster, the channel and its site token. Everything that waits is then sent by itself."
        ),
        "no_items": _(
            "Check the quantities of the order's lines, and that its products have the code chosen in the "
            "credential's options."
        ),
    }

    def max_ambiguous(self, options: Mapping[str, Any]) -> int | None:
        """Whether an order that is sent twice counts twice is not documented; a few repeats harm one profile."""
        return max(int(options["max_ambiguous"]), 0)

    def build(self, snapshot: OrderSnapshot, *, told: Told, account: Account, now: datetime) -> Request | Outcome:
        """The document's JSON. Which fields of ``order`` are required was not to be seen; none is left out lightly."""
        options = {**{option.name: option.default for option in self.options}, **account.options}
        if not told.is_sale:
            return not_sent("not_a_sale")
        if options["only_offline"] and not snapshot.is_offline:
            return not_sent("not_offline")
        amounts = (snapshot.total, snapshot.shipping, snapshot.discount)
        try:
            check_amounts(*amounts, *(amount for line in snapshot.lines for amount in (line.quantity, line.total)))
            return _build(snapshot, account, options)
        except ArithmeticError:
            # Amounts that are no numbers or fit no database, a date at the end of the calendar.
            return refused("unreadable_order", detail="an amount, a quantity or the date is out of range")

    def read(self, response: Response, *, account: Account) -> Outcome:
        """The endpoint's reply is not documented. The family's is an object whose ``status`` is OK, warning or fail."""
        outcome = read_http(response)
        if outcome is not None and outcome.reason != "refused":
            return outcome
        reply = _read_object(response)
        status = reply.get("status") if reply else None
        word = status.strip().lower() if isinstance(status, str) else ""
        if reply is not None and word == "fail":
            return _read_fail(reply, account)
        if outcome is not None:
            return outcome
        if word == "ok":
            return delivered()
        if reply is not None and word == "warning":
            # "errors were found but a useful result was still returned"
            detail = redact(_messages(reply), account.secrets.values())
            return Outcome(kind=Kind.DELIVERED, reason="accepted_with_warning", detail=detail)
        if not response.body.strip() or (reply is not None and "status" not in reply):
            # No reply is documented, so an empty one is no failure; sent again, the order could count twice.
            return delivered("unverified")
        # Something answered, and may have taken it.
        return retry("unreadable_reply", ambiguous=True)


def _build(snapshot: OrderSnapshot, account: Account, options: Mapping[str, Any]) -> Request | Outcome:
    site, token = str(options["site"]).strip(), str(account.secrets.get("site_token", "")).strip()
    languages = _language_map(str(options["languages"]))
    url = _url(account.base_url, str(options["cluster"]), site)
    problem = (
        ("the site" if not _SITE.fullmatch(site) else "")
        or ("the site token" if not (token and token.isascii() and token.isprintable()) else "")
        or ("the base URL, https:// and without < and >" if not url else "")
        or ("the language map, such as fr=fr-fr, en=en-gb" if languages is None else "")
    )
    if problem or languages is None:
        return credential_refused("incomplete_credential", detail=problem)

    reference = clean_text(snapshot.reference)
    currency = snapshot.currency.strip().upper()
    if not reference:
        return refused("no_reference")
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        return refused("bad_currency")
    if snapshot.placed_at is None:
        return refused("no_date")
    items = build_items(snapshot.lines, currency, code=str(options["product_id"]))
    if not items:
        return refused("no_items")
    amounts = build_amounts(snapshot, currency)
    if amounts["total"] < 0:
        return refused("negative_total")

    order: dict[str, Any] = {
        "refCode": reference,
        "orderDate": format_date(snapshot.placed_at),
        # ``customerId`` is in the table, not in the example; public pages have it for B2B only. It is left out.
        "currency": currency,
        **amounts,
        "items": items,
    }
    if attributes := build_attributes({"store": snapshot.store, **snapshot.properties}):
        order["attributes"] = attributes
    content: dict[str, Any] = {}
    language = find_language(snapshot.language, languages, default=str(options["language"]))
    if language:
        content["lang"] = language
    # "When user is given, either email or id must be supplied", and ``email`` is deprecated. An id that holds an
    # e-mail address is no pseudonym. ``info`` wants keys defined at Optimizely first: none is sent.
    pseudonym = _exact(snapshot.customer.pseudonym)
    if pseudonym and "@" not in pseudonym:
        content["user"] = {"id": pseudonym}
    content["order"] = order

    body = to_json(content).encode("ascii")
    # The page "Request header" says "request headers, not the JSON", then the opposite: the first holds.
    headers = {
        "Content-Type": "application/json",
        "site": site,
        "siteToken": token,
        "channel": str(options["channel"]),
    }
    return Request(
        url=url,
        body=body,
        headers=headers,
        shown=_shown(content, headers, unmapped="" if language else clean_text(snapshot.language)),
        fingerprint=fingerprint(headers["channel"].encode(), body),
    )


def _url(base_url: str, cluster: str, site: str) -> str:
    """The address, empty when it cannot be one: no ``<sitename>`` left in.

    "Ensure HTTPS is in the URL." The transport sees to that, and lets http through only to networks that the shop's
    own settings allow, where its sandbox lives.
    """
    base = CLUSTERS.get(cluster, "").format(site=site) or base_url.strip()
    # The document gives complete addresses, so a complete one may have been pasted.
    base = base.rstrip("/").removesuffix(PATH)
    is_usable = base.lower().startswith(("https://", "http://")) and urlsplit(base).netloc and not set("<>") & set(base)
    return base + PATH if is_usable else ""


def build_items(lines: Iterable[Line], currency: str, *, code: str) -> list[dict[str, Any]]:
    """The item objects; ``price`` is for one piece, as 1 × 50 + 2 × 20 = 90 in the example shows.

    A line of no quantity is left out, and one without the catalogue's code, which could only name a wrong product; its
    money stays in ``subTotal``.
    """
    items = []
    for line in lines:
        quantity = _plain(line.quantity)
        ref_code = _exact(line.product_id if code == "product_id" else line.sku)
        if quantity <= 0 or not ref_code:
            continue
        # What was paid in the end: prices with tax, after the line's own discounts.
        item: dict[str, Any] = {"refCode": ref_code, "qty": quantity, "price": unit_price(line, currency)}
        if attributes := build_attributes(line.detail_pairs):
            item["attributes"] = attributes
        items.append(item)
    return items


def build_amounts(snapshot: OrderSnapshot, currency: str) -> dict[str, Decimal]:
    """``shipping``, ``subTotal`` and ``total``. There is no field for a discount: it is taken off ``subTotal``.

    In the example ``total`` is ``subTotal`` and ``shipping``; the shop's own total speaks where shipping is not known.
    """
    with localcontext(_WIDE):
        sub_total = round_total(sum((line.total for line in snapshot.lines), Decimal(0)) - snapshot.discount, currency)
        if snapshot.shipping is None:
            total = sub_total if snapshot.total is None else round_total(snapshot.total, currency)
            return {"subTotal": sub_total, "total": total}
        shipping = round_total(snapshot.shipping, currency)
        # Rounded again: a sum of decimals keeps the longer one's zeros.
        return {"shipping": shipping, "subTotal": sub_total, "total": round_total(sub_total + shipping, currency)}


def build_attributes(values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` as text, as in every example; what is empty, has parts or holds an e-mail address is left out."""
    attributes = {}
    for name, value in list(values.items())[:MAX_ATTRIBUTES]:
        key = clean_text(str(name))[:MAX_TEXT] if isinstance(name, str | int) else ""
        text = clean_text(_attribute(value)[:MAX_TEXT])
        if key and text and "@" not in text:
            attributes[key] = text
    return attributes


def _attribute(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Promise):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < MAX_TEXT else ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**100 else ""
    if isinstance(value, float):
        # Neither "nan" nor an exponent.
        return _attribute(Decimal(repr(float(value))))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return ""


def format_date(moment: datetime) -> str:
    """``2016-05-16T14:25:00 GMT``, which is not ISO 8601 but what the example shows; UTC, without fractions."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + " GMT"


def find_language(code: str, languages: Mapping[str, str], *, default: str = "") -> str:
    """The vendor's language code, empty when unknown. Left out, en-gb is assumed: a French shop would be mislabelled.

    A short code must be in the map, for ``fr`` could be Canadian; a long one in the vendor's form speaks for itself.
    """
    code = clean_text(code).lower().replace("_", "-")
    if code in languages:
        return languages[code]
    return code if _LONG_LANGUAGE.fullmatch(code) else clean_text(default).lower()


def _language_map(text: str) -> dict[str, str] | None:
    """``fr=fr-fr, en=en-gb`` as a mapping in lower case; None when it cannot be read."""
    languages = {}
    for pair in filter(None, (part.strip() for part in clean_text(text).lower().replace("_", "-").split(","))):
        code, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (code and equals and theirs):
            return None
        languages[code] = theirs
    return languages


def _exact(text: str) -> str:
    """``text`` to the letter, spaces included, unless it holds characters that no catalogue can."""
    cleaned = clean_text(text)
    return text if cleaned == text.strip() and cleaned else cleaned


def _plain(quantity: Decimal) -> Decimal:
    """``quantity`` without trailing zeros and exponent; ``qty`` may be a fraction, to a millionth."""
    if quantity == quantity.to_integral_value():
        return Decimal(int(quantity.quantize(Decimal(1), context=_WIDE)))
    return _WIDE.normalize(quantity.quantize(_MILLIONTH, context=_WIDE))


def _read_object(response: Response) -> dict[str, Any] | None:
    """The reply as an object. The manual's own example, ``{ "status" : "OK", }``, has a comma that JSON forbids."""
    reply = read_json_object(response)
    if reply is not None:
        return reply
    body = _TRAILING_COMMA.sub(rb"\1", response.body)
    return read_json_object(Response(status=response.status, headers=response.headers, body=body))


def _read_fail(reply: Mapping[str, Any], account: Account) -> Outcome:
    detail = redact(_messages(reply), account.secrets.values())
    if any(_ACCOUNT_CODE.search(code) for code, _message in _errors(reply)):
        return credential_refused("key_refused", detail=detail)
    return refused("refused", detail=detail) if detail else refused("unspecified")


def _errors(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``errors``, a list of ``{code, message}``, as pairs of text; what has another form counts as absent."""
    errors = reply.get("errors")
    pairs = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, Mapping):
            code, message = error.get("code"), error.get("message")
            pairs.append((code if isinstance(code, str) else "", message if isinstance(message, str) else ""))
    return pairs


def _messages(reply: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, (": ".join(filter(None, pair)) for pair in _errors(reply))))


def _shown(content: Mapping[str, Any], headers: Mapping[str, str], *, unmapped: str) -> str:
    """The request as attempts keep it: without the token, the user, and what may have been typed by hand."""
    order = dict(content["order"])
    order["items"] = [_without_attributes(item) for item in order["items"]]
    shown = {**content, "order": _without_attributes(order)}
    if "user" in shown:
        shown["user"] = {"id": "…"}
    lines = [f"{name}: {value}" for name, value in {**headers, "siteToken": mask_secret(headers["siteToken"])}.items()]
    if unmapped:
        lines.append(f"(lang is left out: {unmapped} is not in the language map)")
    return "\n".join([*lines, "", simplejson.dumps(shown, use_decimal=True, ensure_ascii=False)])


def _without_attributes(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "attributes": "…"} if "attributes" in value else dict(value)
