"""Where the shop's staff work: products, and the status of orders."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from shop_demo.models import Order, OrderLine, Product


def mark_as(status: Order.Status) -> Callable[[admin.ModelAdmin, HttpRequest, QuerySet[Order]], None]:
    """The action that gives orders ``status``."""

    @admin.action(description=f"Mark as {status.label.lower()}", permissions=["change"])
    def mark(model_admin: admin.ModelAdmin, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        count = 0
        for order in queryset:
            # One by one: what listens to saved orders hears nothing of QuerySet.update().
            order.status = status
            order.save(update_fields=["status"])
            count += 1
        messages.success(request, f"Orders marked as {status.label.lower()}: {count}.")

    mark.__name__ = f"mark_as_{status.value}"
    return mark


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    extra = 0
    readonly_fields = ["line_total"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["number", "status", "customer_name", "total", "call_id", "agent", "placed_at"]
    list_editable = ["status"]
    list_filter = ["status", "agent"]
    search_fields = ["number", "customer_name", "email", "call_id"]
    readonly_fields = ["number", "currency", "cart_id", "placed_at", "total"]
    inlines = [OrderLineInline]
    actions = [mark_as(status) for status in Order.Status if status is not Order.Status.PENDING]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).prefetch_related("lines")

    @admin.display(description="total")
    def total(self, order: Order) -> Decimal:
        return order.total


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["sku", "title", "price", "is_active"]
    search_fields = ["sku", "title"]
