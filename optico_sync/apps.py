"""The Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OpticoSyncConfig(AppConfig):
    """Label and primary keys are fixed for ever: they are in table names and migrations."""

    name = "optico_sync"
    label = "optico_sync"
    verbose_name = _("Optico sync")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Watch the shop's models. Asks no database, and raises nothing into the shop."""
        # Models can only be imported once the app registry is ready.
        from optico_sync import capture, checks, wakeups  # noqa: F401, PLC0415
        from optico_sync.triggers import migrate  # noqa: PLC0415

        capture.connect()
        migrate.connect(self)
        # Here rather than in the first checkout; it also makes the engine's tasks known to its workers.
        wakeups.is_wanted()
