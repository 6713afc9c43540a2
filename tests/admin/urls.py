"""The admin, and beside it an admin site of the shop's own."""

from typing import ClassVar

from django.contrib import admin
from django.urls import path

from optico_sync.admin.shop import SyncBadgesMixin
from tests.oddshop.models import Purchase, PurchaseProxy

site = admin.AdminSite(name="shop")


@admin.register(Purchase, site=site)
class PurchaseAdmin(SyncBadgesMixin, admin.ModelAdmin):
    list_display: ClassVar = ["number", "stage"]
    list_editable: ClassVar = ["stage"]
    fieldsets: ClassVar = [(None, {"fields": ["number", "stage"]})]


@admin.register(PurchaseProxy, site=site)
class PlainAdmin(SyncBadgesMixin, admin.ModelAdmin):
    pass


urlpatterns = [path("admin/", admin.site.urls), path("shop/", site.urls)]
