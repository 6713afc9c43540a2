"""The vendor's endpoint, and the pages that show what it heard."""

import time
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import FormParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from optico_sync.sandbox import optico
from optico_sync.sandbox.answers import envelope, spoilt
from optico_sync.sandbox.ledger import FAULT, STORED, Peer, ledger

ORDERS_SHOWN = 200
ENTRIES_SHOWN = 100
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


class CustomerOrderView(OpenView):
    """`POST /api/customer-order`.

    "Every request returns 200 OK with a JSON envelope" and parameters are POST fields, so any other method is a
    POST without fields.
    """

    parser_classes = (FormParser,)

    def post(self, request: Request) -> HttpResponseBase:
        sent = read_form(request)
        method = request.method or ""
        content_type = request.META.get("CONTENT_TYPE", "")
        peer: Peer = request.META.get("optico_sandbox.peer") or UnknownPeer()
        fields = {name: values[-1] for name, values in sent.items()}
        entry = ledger.arrive(
            peer=peer,
            method=method,
            path=request.path,
            content_type=content_type,
            fields=fields,
            remarks=optico.remark(
                sent, method=method, content_type=content_type, query=request.META.get("QUERY_STRING", "")
            ),
        )
        try:
            fault = ledger.faults.pick(entry.order_id)
            error = optico.receive(fields, ledger, seq=entry.seq) if fault.judged else None
            ledger.conclude(
                entry,
                verdict=(error or STORED) if fault.judged else FAULT,
                fault=None if fault.kind == "ok" else fault.kind,
            )
            if ledger.config.latency:
                time.sleep(ledger.config.latency)
            return spoilt(fault, envelope(error), leave=lambda: ledger.leave(entry))
        except BaseException:
            ledger.leave(entry)
            raise

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return self.post(request)


def read_form(request: Request) -> dict[str, list[str]]:
    """Every POST field with all its values; empty unless the request is a form."""
    if request.method != "POST":
        return {}
    try:
        data = request.data
    except (UnsupportedMediaType, ParseError):
        return {}
    return dict(data.lists()) if isinstance(data, QueryDict) else {}


def journal_page(request: HttpRequest) -> HttpResponse:
    context = {
        "summary": ledger.summary(),
        "orders": ledger.orders(latest=ORDERS_SHOWN),
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
            {**product, "details": list(product.get("details", {}).items())} for product in order["products"] or []
        ],
        "entries": [_row(entry) for entry in ledger.journal(order_id=order_id, latest=ENTRIES_SHOWN)],
    }
    return _page(request, "optico_sandbox/order.html", context)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as the template wants it: in pairs, since `fields.items` would find a parameter named "items"."""
    rest = [(name, value) for name, value in entry["fields"].items() if name not in ("id", "status")]
    return {**entry, "status": entry["fields"].get("status"), "rest": rest}


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render(request, template, context)
    response["Content-Security-Policy"] = CSP
    response["Cache-Control"] = "no-store"
    return response
