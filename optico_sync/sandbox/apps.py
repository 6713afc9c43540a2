from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "optico_sync.sandbox"
    label = "optico_sandbox"
    verbose_name = "Optico sandbox"
