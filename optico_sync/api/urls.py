"""The addresses of the API: ``path("optico-api/", include("optico_sync.api.urls"))``."""

from __future__ import annotations

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path, re_path

from optico_sync.api import monitoring, orders
from optico_sync.api.problems import nowhere

app_name = "optico_sync_api"

# A key may hold slashes, so the whole key comes last.
v1: list[URLPattern | URLResolver] = [
    path("health", monitoring.HealthView.as_view(), name="health"),
    path("orders", orders.OrderList.as_view(), name="orders"),
    path("orders/<path:key>/resend", orders.ResendOrder.as_view(), name="resend"),
    path("orders/<path:key>/hold", orders.HoldOrder.as_view(), name="hold"),
    path("orders/<path:key>/release", orders.ReleaseOrder.as_view(), name="release"),
    path("orders/<path:key>/withhold", orders.WithholdOrder.as_view(), name="withhold"),
    path("orders/<path:key>/send-after-all", orders.SendOrderAfterAll.as_view(), name="send_after_all"),
    path("orders/<path:key>/confirm", orders.ConfirmOrder.as_view(), name="confirm"),
    path("orders/<path:key>/attribution", orders.AttributeOrder.as_view(), name="attribution"),
    path("orders/<path:key>", orders.OrderDetail.as_view(), name="order"),
]

if find_spec("prometheus_client"):
    from optico_sync.api.metrics import MetricsView

    v1.append(path("metrics", MetricsView.as_view(), name="metrics"))

if find_spec("drf_spectacular"):
    from optico_sync.api.openapi import SchemaView

    v1.append(path("schema", SchemaView.as_view(), name="schema"))

urlpatterns = [path("v1/", include(v1)), re_path("", nowhere)]
