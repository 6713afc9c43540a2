from django.contrib import admin
from django.urls import include, path

from shop_demo import views

urlpatterns = [
    path("", views.product_list, name="product-list"),
    path("cart/", views.cart, name="cart"),
    path("cart/add/", views.cart_add, name="cart-add"),
    path("cart/change/", views.cart_change, name="cart-change"),
    path("cart/remove/", views.cart_remove, name="cart-remove"),
    path("checkout/", views.checkout, name="checkout"),
    path("orders/<str:number>/", views.order, name="order"),
    path("visitor/", views.visitor, name="visitor"),
    path("phone-order/", views.phone_order, name="phone-order"),
    path("admin/", admin.site.urls),
    path("optico-api/", include("optico_sync.api.urls")),
]
