"""Remembers whose visit a request belongs to while the request lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from optico_sync import conf
from optico_sync.attribution import RequestAttribution, during

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class VisitMiddleware:
    """Lets every order saved in a request carry the visitor's Optico visit. Works under WSGI and ASGI.

    It only keeps a reference to the request: cookies are read when an order is saved, not on every page.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        if self.is_async:
            return self._call_async(request)
        with during(RequestAttribution(request, conf.options().VISIT_COOKIES)):
            return self.get_response(request)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        with during(RequestAttribution(request, conf.options().VISIT_COOKIES)):
            return await cast(Awaitable[HttpResponseBase], self.get_response(request))
