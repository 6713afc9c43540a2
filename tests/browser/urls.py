from django.urls import include, path

from shop_demo.urls import urlpatterns as shop
from tests.browser.settings import THEME

urlpatterns = [*shop, *([path("grappelli/", include("grappelli.urls"))] if THEME == "grappelli" else [])]
