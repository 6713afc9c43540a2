"""The one place where secrets and personal data are masked before they reach a log, an attempt or the admin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

#: Characters of a reply that are kept: enough for any message, too little for a page of somebody's data.
KEPT = 2000

_MASK = "…"
#: Longer than any e-mail address or number: what is masked is looked for a little beyond what is kept.
_MARGIN = 400
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# A date with its hour has as many digits as a number, and is none.
_PHONE = re.compile(r"(?<![\w.-])(?!\d{4}-\d\d-\d\d\b)\+?\d(?:[ ./-]?\d){8,14}(?![\w.-])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def mask_secret(secret: str) -> str:
    """``…4567``: enough to tell two keys apart, too little to use one."""
    return _MASK + secret[-4:] if len(secret) >= 12 else _MASK


def mask_name(name: str) -> str:
    """The first letter only."""
    return name[:1] + _MASK if name else ""


@lru_cache(maxsize=32)
def _forms(secret: str) -> re.Pattern[str]:
    """Finds ``secret`` as it is and as URLs, forms and JSON write it."""
    in_json = json.dumps(secret)[1:-1]
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), in_json, in_json.replace("/", r"\/")}
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)), re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets`` (as they are or encoded), e-mail addresses and telephone numbers, cut short."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = mask_secret(secret).join(_forms(secret).split(text))
    text = _CONTROL.sub(" ", text[: KEPT + _MARGIN])
    text = _PHONE.sub(_MASK, _EMAIL.sub(_MASK, text))
    return text if len(text) <= KEPT else text[:KEPT] + _MASK
