from pathlib import Path

from django.urls import URLPattern, URLResolver, include, path
from django.views.static import serve

from optico_sync.sandbox import control, views
from optico_sync.sandbox.vendors import ROUTES

STATIC_ROOT = Path(__file__).parent / "static"

api = [
    path("journal", control.JournalView.as_view()),
    path("orders", control.OrdersView.as_view()),
    path("orders/<path:order_id>", control.OrderView.as_view()),
    path("records", control.RecordsView.as_view()),
    path("records/<str:vendor>/<path:record_id>", control.RecordView.as_view()),
    path("summary", control.SummaryView.as_view()),
    path("reset", control.ResetView.as_view()),
    path("config", control.ConfigView.as_view()),
    path("faults", control.FaultsView.as_view()),
    path("faults/clear", control.ClearFaultsView.as_view()),
]

pages: list[URLPattern | URLResolver] = [
    *(
        path(route, views.TwinView.as_view(twins=twins, parser_classes=twins[0].parsers), name=name)
        for name, route, twins in ROUTES
    ),
    path("sandbox/", views.journal_page, name="journal"),
    path("sandbox/orders/<path:order_id>/", views.order_page, name="order"),
    path("sandbox/records/<str:vendor>/<path:record_id>/", views.record_page, name="record"),
    path("sandbox/api/", include(api)),
    # On its own the sandbox has no staticfiles app to serve the style sheet.
    path("sandbox/static/<path:path>", serve, {"document_root": STATIC_ROOT}),
]

# The namespace is given here, since a root URLconf has none of its own.
urlpatterns = [path("", include((pages, "optico_sandbox")))]
