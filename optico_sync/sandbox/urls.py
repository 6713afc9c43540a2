from pathlib import Path

from django.urls import URLPattern, URLResolver, include, path
from django.views.static import serve

from optico_sync.sandbox import control, optico, views

STATIC_ROOT = Path(__file__).parent / "static"

api = [
    path("journal", control.JournalView.as_view()),
    path("orders", control.OrdersView.as_view()),
    path("orders/<path:order_id>", control.OrderView.as_view()),
    path("summary", control.SummaryView.as_view()),
    path("reset", control.ResetView.as_view()),
    path("config", control.ConfigView.as_view()),
    path("faults", control.FaultsView.as_view()),
    path("faults/clear", control.ClearFaultsView.as_view()),
]

pages: list[URLPattern | URLResolver] = [
    path(optico.PATH, views.CustomerOrderView.as_view(), name="customer-order"),
    path("sandbox/", views.journal_page, name="journal"),
    path("sandbox/orders/<path:order_id>/", views.order_page, name="order"),
    path("sandbox/api/", include(api)),
    # On its own the sandbox has no staticfiles app to serve the style sheet.
    path("sandbox/static/<path:path>", serve, {"document_root": STATIC_ROOT}),
]

# The namespace is given here, since a root URLconf has none of its own.
urlpatterns = [path("", include((pages, "optico_sandbox")))]
