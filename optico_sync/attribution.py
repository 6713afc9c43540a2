"""Whose visit an order belongs to: the visitor's cookie, the agent's call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils.functional import LazyObject, empty
from django.utils.translation import gettext as _

from optico_sync.exceptions import InvalidAttribution

#: Optico's documents call ``visit_id`` an integer and show 24 hex characters: it is opaque text. A cookie is the
#: visitor's to forge, so anything else counts as absent.
_VISIT_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

#: An agent's name or number on one line, as long as the store keeps it.
_AGENT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,150}")

_CALL_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)

#: What careless code puts into a cookie or a form when there is no visit: ``intval()`` in the Sales document's PHP
#: example gives 0, its JavaScript example the word "undefined".
_NO_VISIT = frozenset({"0", "undefined", "null", "none", "nan", "false"})

VISIT_HEADER = "X-Optico-Visit-Id"
#: Where the request has it. Its ``headers`` would first be made of all that it has.
_VISIT_KEY = HttpHeaders.to_wsgi_name(VISIT_HEADER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What links an order to a visit or a call. Empty text means "not known".

    ``source`` says where the visit was seen, ``COOKIE`` or ``HEADER``; empty for a field of the order or cart itself.
    """

    visit_id: str = ""
    call_id: str = ""
    agent: str = ""
    cart_key: str = ""
    source: str = ""

    def or_else(self, other: Attribution) -> Attribution:
        """Fill what is empty here from ``other``: the first non-empty value wins."""
        if other is NOTHING:
            return self
        return Attribution(
            visit_id=self.visit_id or other.visit_id,
            call_id=self.call_id or other.call_id,
            agent=self.agent or other.agent,
            cart_key=self.cart_key or other.cart_key,
            source=self.source if self.visit_id else other.source,
        )


NOTHING = Attribution()


#: Where a visit can be seen, besides a field of the order or cart.
COOKIE, HEADER = "cookie", "header"


class Source(Protocol):
    """Whoever can say to whom the saves of the moment belong."""

    def attribution(self) -> Attribution:
        """``NOTHING`` itself where nothing is known."""
        ...


_current: ContextVar[Source | None] = ContextVar("optico_sync_attribution", default=None)


def clean_visit_id(value: object) -> str:
    """``value`` when it can be a visit id, else empty text."""
    if isinstance(value, str) and _VISIT_ID.fullmatch(value) and value.lower() not in _NO_VISIT:
        return value
    return ""


def clean_call_id(value: str) -> str:
    """``value`` when it can be a call id (the Sales document: an integer), else empty text.

    A mistyped one must not be remembered as the first that was known: the order would keep it for ever.
    """
    value = value.strip()
    return value if _CALL_ID.fullmatch(value) else ""


def stated(*, visit_id: str = "", call_id: str = "", agent: str = "") -> Attribution:
    """What somebody says outright, and so can be told of a mistake in. Empty text means "not known".

    Raises ``InvalidAttribution`` that names the argument and what it must look like.
    """
    call_id, agent = call_id.strip(), agent.strip()
    if visit_id and not clean_visit_id(visit_id):
        raise InvalidAttribution("visit_id", _("must be 1 to 64 letters, digits, - or _, as Optico's cookie holds it."))
    if call_id and not clean_call_id(call_id):
        raise InvalidAttribution("call_id", _("must be a whole number above 0, as Optico gives it to the call."))
    if agent and not _AGENT.fullmatch(agent):
        raise InvalidAttribution("agent", _("must be one line of at most 150 characters."))
    return Attribution(visit_id=visit_id, call_id=call_id, agent=agent)


class RequestAttribution:
    """The visit of one HTTP request, read when an order is saved in it.

    Read late because only then is it known whether the request belongs to staff, and without a query: a user that
    the view never asked for cannot have been checked as staff by it.
    """

    def __init__(self, request: HttpRequest, cookies: Sequence[str]) -> None:
        self._request = request
        self._cookies = cookies

    def attribution(self) -> Attribution:
        return NOTHING if self._seen.visit_id and self._is_staff() else self._seen

    @cached_property
    def _seen(self) -> Attribution:
        for name in self._cookies:
            if visit_id := clean_visit_id(self._request.COOKIES.get(name)):
                return Attribution(visit_id=visit_id, source=COOKIE)
        if visit_id := clean_visit_id(self._request.META.get(_VISIT_KEY)):
            return Attribution(visit_id=visit_id, source=HEADER)
        return NOTHING

    def _is_staff(self) -> bool:
        user = getattr(self._request, "_acached_user", None) or self._request.__dict__.get("user")
        if isinstance(user, LazyObject) and user.__dict__.get("_wrapped") is empty:
            return False
        return bool(getattr(user, "is_staff", False))


def current() -> Attribution:
    """The attribution of the request or block this code runs in."""
    source = _current.get()
    return source.attribution() if source else NOTHING


@contextmanager
def during(source: Source) -> Iterator[None]:
    """Attribute every save inside the block to ``source``."""
    token = _current.set(source)
    try:
        yield
    finally:
        _current.reset(token)
