"""The one place where secrets and personal data are masked before they reach a log, an attempt or the admin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

#: Characters of a reply that are kept: enough for any message, too little for a page of somebody's data.
KEPT = 2000

_MASK = "…"
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(r"(?<![\w.-])\+?\d(?:[ ./-]?\d){8,14}(?![\w.-])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def mask_secret(secret: str) -> str:
    """``…4567``: enough to tell two keys apart, too little to use one."""
    return _MASK + secret[-4:] if len(secret) >= 12 else _MASK


def mask_name(name: str) -> str:
    """The first letter only."""
    return name[:1] + _MASK if name else ""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets`` (as they are or URL-encoded), e-mail addresses and telephone numbers, cut short."""
    for secret in secrets:
        if secret:
            for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(form, mask_secret(secret))
    text = _CONTROL.sub(" ", text)
    text = _PHONE.sub(_MASK, _EMAIL.sub(_MASK, text))
    return text if len(text) <= KEPT else text[:KEPT] + _MASK
