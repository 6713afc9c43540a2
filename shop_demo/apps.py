"""The Django app."""

from django.apps import AppConfig


class ShopDemoConfig(AppConfig):
    name = "shop_demo"
    verbose_name = "Shop"
    default_auto_field = "django.db.models.BigAutoField"
