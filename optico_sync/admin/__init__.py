"""What the shop owner sees. Doors only: every page asks ``insight``, every button calls one verb."""

from optico_sync.admin import credentials, orders, workers

__all__ = ["credentials", "orders", "workers"]
