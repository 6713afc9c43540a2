"""The vendors' endpoints, and the pages that show what they heard."""

import time
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from optico_sync.sandbox.answers import spoilt
from optico_sync.sandbox.ledger import FAULT, Peer, ledger, masked
from optico_sync.sandbox.twins import Message, Outcome, Twin, flatten
from optico_sync.sandbox.vendors import TWINS

ORDERS_SHOWN = 200
RECORDS_SHOWN = 50
ENTRIES_SHOWN = 100
FIELDS_SHOWN = 10
UNJUDGED = Outcome(verdict=FAULT)
CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class UnknownPeer:
    """Stands in for the connection under a server that does not tell."""

    id = 0

    def gone(self) -> bool:
        return False


class OpenView(APIView):
    """Answers anyone, in JSON, whatever they say they accept."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)
    metadata_class = None

    def perform_authentication(self, request: Request) -> None:
        """Nobody to authenticate: the project may have no users at all."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        renderer = self.renderer_classes[0]()
        return renderer, renderer.media_type


class TwinView(OpenView):
    """A vendor's endpoint: whatever is sent is written down, perhaps spoilt, judged by a twin, and answered."""

    twins: tuple[Twin, ...] = ()

    def post(self, request: Request, record_id: str = "") -> HttpResponseBase:
        message = Message(request, record_id)
        twin = next(twin for twin in self.twins if twin.speaks(message))
        call = twin.parse(message)
        peer: Peer = request.META.get("optico_sandbox.peer") or UnknownPeer()
        entry = ledger.arrive(
            peer=peer,
            vendor=twin.vendor,
            ids=call.ids,
            method=message.method,
            path=request.path,
            content_type=message.content_type,
            fields=call.fields,
            remarks=call.remarks,
        )
        try:
            fault = ledger.faults.pick(*entry.record_ids)
            outcome = twin.judge(call, ledger, seq=entry.seq) if fault.judged else UNJUDGED
            ledger.conclude(
                entry,
                verdict=outcome.verdict,
                fault=None if fault.kind == "ok" else fault.kind,
                remarks=outcome.remarks,
            )
            if ledger.config.latency:
                time.sleep(ledger.config.latency)
            answer = HttpResponse() if outcome is UNJUDGED else twin.answer(outcome)
            return spoilt(fault, answer, leave=lambda: ledger.leave(entry))
        except BaseException:
            ledger.leave(entry)
            raise

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return self.post(request, *args, **kwargs)


def journal_page(request: HttpRequest) -> HttpResponse:
    context = {
        "summary": ledger.summary(),
        "orders": ledger.orders(latest=ORDERS_SHOWN),
        "sections": [_section(twin) for twin in TWINS.values() if twin.columns],
        "entries": [_row(entry) for entry in ledger.journal(latest=ENTRIES_SHOWN)],
        "statuses": list(ledger.config.statuses.items()),
        "latency": ledger.config.latency,
        "faults": ledger.faults.as_dict(),
    }
    return _page(request, "optico_sandbox/journal.html", context)


def order_page(request: HttpRequest, order_id: str) -> HttpResponse:
    order = ledger.order(order_id)
    if order is None:
        raise Http404(order_id)
    context = {
        "order": order,
        "products": [
            {
                **product,
                "cost": product.get("cost_per_unit", product.get("price")),
                "details": list(flatten({"details": product["details"]}).items()) if "details" in product else [],
            }
            for product in order["products"] or []
        ],
        "entries": [_row(entry) for entry in ledger.journal(order_id=order_id, vendor="optico", latest=ENTRIES_SHOWN)],
    }
    return _page(request, "optico_sandbox/order.html", context)


def record_page(request: HttpRequest, vendor: str, record_id: str) -> HttpResponse:
    twin = TWINS.get(vendor)
    record = twin.record(ledger, record_id) if twin else None
    if twin is None or record is None:
        raise Http404(record_id)
    entries = ledger.journal(order_id=record_id, vendor=vendor, latest=ENTRIES_SHOWN)
    context = {
        "twin": twin,
        "record": record,
        "facts": [
            # A twin hides what a name alone does not give away, such as a customer's diet.
            (name, "..." if ".info." in name else value)
            for name, value in masked(flatten(record)).items()
        ],
        "entries": [_row(entry) for entry in entries],
    }
    return _page(request, "optico_sandbox/record.html", context)


def _section(twin: Twin) -> dict[str, Any]:
    records = twin.records(ledger, latest=RECORDS_SHOWN)
    rows = [{"id": record["id"], "cells": twin.cells(record)} for record in records]
    return {"twin": twin, "rows": rows, "count": twin.count(ledger)}


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as the template wants it: in pairs, since `fields.items` would find a parameter named "items"."""
    rest = [(name, value) for name, value in entry["fields"].items() if name not in ("id", "status")]
    more = len(rest) - FIELDS_SHOWN
    return {**entry, "status": entry["fields"].get("status"), "rest": rest[:FIELDS_SHOWN], "more": max(more, 0)}


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render(request, template, context)
    response["Content-Security-Policy"] = CSP
    response["Cache-Control"] = "no-store"
    return response
