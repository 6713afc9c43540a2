"""What the shop owner sees. Doors only: every page asks ``insight``, every button calls one verb."""

from optico_sync.admin import alerts, credentials, jobs, orders, workers

__all__ = ["alerts", "credentials", "jobs", "orders", "workers"]
