from django.apps import AppConfig


class OddShopConfig(AppConfig):
    name = "tests.oddshop"
    label = "oddshop"
