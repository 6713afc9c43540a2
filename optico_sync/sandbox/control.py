"""The control API, for tests and tools: what was heard, what to accept, what to spoil."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from optico_sync.sandbox.ledger import ledger, mask
from optico_sync.sandbox.serializers import (
    ConfigSerializer,
    FaultsSerializer,
    JournalQuerySerializer,
    RecordsQuerySerializer,
)
from optico_sync.sandbox.vendors import TWINS
from optico_sync.sandbox.views import OpenView


class ExactJSONEncoder(JSONEncoder):
    """Money as text: REST framework would make floats of it."""

    def default(self, obj: Any) -> Any:
        return str(obj) if isinstance(obj, Decimal) else super().default(obj)


class ExactJSONRenderer(JSONRenderer):
    encoder_class = ExactJSONEncoder
    ensure_ascii = True  # survives whatever text a request contained


class ControlView(OpenView):
    parser_classes = (JSONParser,)
    renderer_classes = (ExactJSONRenderer,)


class JournalView(ControlView):
    def get(self, request: Request) -> Response:
        query = JournalQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        after, order_id = query.validated_data["after"], query.validated_data["id"]
        summary = ledger.summary()
        entries = ledger.journal(after=after, order_id=order_id, vendor=query.validated_data["vendor"])
        return Response({"entries": entries, "last": summary["requests"], "forgotten": summary["forgotten"]})


class OrdersView(ControlView):
    def get(self, request: Request) -> Response:
        orders = ledger.orders()
        return Response({"count": len(orders), "orders": orders})


class OrderView(ControlView):
    def get(self, request: Request, order_id: str) -> Response:
        order = ledger.order(order_id)
        if order is None:
            raise NotFound({"id": ["No such order."]})
        return Response(order)


class RecordsView(ControlView):
    def get(self, request: Request) -> Response:
        query = RecordsQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        records = TWINS[query.validated_data["vendor"]].records(ledger)
        return Response({"count": len(records), "records": records})


class RecordView(ControlView):
    def get(self, request: Request, vendor: str, record_id: str) -> Response:
        if vendor not in TWINS:
            raise NotFound({"vendor": ["No such vendor."]})
        record = TWINS[vendor].record(ledger, record_id)
        if record is None:
            raise NotFound({"id": ["No such record."]})
        return Response(record)


class SummaryView(ControlView):
    def get(self, request: Request) -> Response:
        return Response(ledger.summary())


class ResetView(ControlView):
    def post(self, request: Request) -> Response:
        ledger.reset()
        return Response(ledger.summary())


class ConfigView(ControlView):
    def get(self, request: Request) -> Response:
        config = ledger.config
        return Response(
            {
                "keys": sorted(mask(key) for key in config.keys),
                "statuses": [{"name": name, "is_sale": is_sale} for name, is_sale in config.statuses.items()],
                "latency": config.latency,
                "visits": None if config.visits is None else sorted(config.visits),
                "ometria_keys": sorted(mask(key) for key in config.ometria_keys),
                "ometria_rate": config.ometria_rate,
                "optimizely_tokens": {site: mask(token) for site, token in config.optimizely_tokens.items()},
                "reviews_keys": sorted(mask(key) for key in config.reviews_keys),
            }
        )

    def put(self, request: Request) -> Response:
        wish = ConfigSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        changes: dict[str, Any] = dict(wish.validated_data)
        for name in ("keys", "visits", "ometria_keys", "reviews_keys"):
            if changes.get(name) is not None:
                changes[name] = frozenset(changes[name])
        if "statuses" in changes:
            changes["statuses"] = {status["name"]: status["is_sale"] for status in changes["statuses"]}
        ledger.configure(replace(ledger.config, **changes))
        return self.get(request)

    post = put


class FaultsView(ControlView):
    def get(self, request: Request) -> Response:
        return Response(ledger.faults.as_dict())

    def post(self, request: Request) -> Response:
        wish = FaultsSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        values = wish.validated_data
        for order_id, faults in values.get("orders", {}).items():
            ledger.faults.script(order_id, faults)
        if "all" in values:
            ledger.faults.every(values["all"])
        if "probability" in values:
            ledger.faults.sometimes(**(values["probability"] or {"probability": 0.0, "faults": []}))
        return self.get(request)

    def delete(self, request: Request) -> Response:
        ledger.faults.clear()
        return self.get(request)


class ClearFaultsView(ControlView):
    def post(self, request: Request) -> Response:
        ledger.faults.clear()
        return Response(ledger.faults.as_dict())
