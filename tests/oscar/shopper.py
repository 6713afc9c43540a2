"""Who shops in the Oscar shop: a browser that goes through Oscar's own views."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from oscar.apps.address.models import Country
from oscar.apps.catalogue.models import Product, ProductClass
from oscar.apps.offer.models import Benefit, Condition, ConditionalOffer, Range
from oscar.apps.order.models import Order
from oscar.apps.partner.models import Partner, StockRecord
from oscar.apps.voucher.models import Voucher

VISIT = "3617898c651df0f8617f70a0"
OTHER_VISIT = "ffff898c651df0f8617f70a0"
EMAIL = "anna@example.com"
ADDRESS = {
    "first_name": "Anna",
    "last_name": "Example",
    "line1": "1 High Street",
    "line4": "Paris",
    "postcode": "75001",
    "phone_number": "",
    "notes": "",
}


def make_product(sku: str, title: str, price: str, **fields: Any) -> Product:
    """A product in stock; ``price`` is without tax."""
    Country.objects.get_or_create(
        iso_3166_1_a2="FR", defaults={"printable_name": "France", "name": "France", "is_shipping_country": True}
    )
    kind, _made = ProductClass.objects.get_or_create(name="Thing", defaults={"track_stock": True})
    partner, _made = Partner.objects.get_or_create(name="Warehouse")
    product = Product.objects.create(title=title, product_class=kind, upc=f"UPC-{sku}", **fields)
    StockRecord.objects.create(
        product=product, partner=partner, partner_sku=sku, price=Decimal(price), num_in_stock=1000
    )
    return product


def make_voucher(code: str, *, percent: int = 10, usage: str = Voucher.MULTI_USE) -> Voucher:
    """A voucher that takes ``percent`` off everything."""
    everything = Range.objects.create(name=f"Everything {code}", includes_all_products=True)
    offer = ConditionalOffer.objects.create(
        name=f"{percent} % {code}",
        offer_type=ConditionalOffer.VOUCHER,
        condition=Condition.objects.create(range=everything, type=Condition.COUNT, value=1),
        benefit=Benefit.objects.create(range=everything, type=Benefit.PERCENTAGE, value=percent),
    )
    voucher = Voucher.objects.create(
        name=code, code=code, usage=usage, start_datetime="2000-01-01T00:00Z", end_datetime="2999-01-01T00:00Z"
    )
    voucher.offers.add(offer)
    return voucher


def make_user(name: str = "anna", **fields: Any) -> User:
    return User.objects.create_user(name, f"{name}@example.com", "secret", **fields)


class Shopper(Client):
    """A browser with the visit's cookie in it, or without."""

    def __init__(self, visit_id: str = VISIT, user: User | None = None, **options: Any) -> None:
        super().__init__(**options)
        if visit_id:
            self.cookies["optico_visitId"] = visit_id
        if user:
            self.force_login(user)

    def add(self, product: Product, quantity: int = 1) -> HttpResponse:
        return self._post(f"/basket/add/{product.pk}/", quantity=quantity)

    def use_voucher(self, code: str) -> HttpResponse:
        return self._post("/basket/vouchers/add/", code=code)

    def drop_voucher(self, voucher: Voucher) -> HttpResponse:
        return self._post(f"/basket/vouchers/{voucher.pk}/remove/")

    def say_where_to(self, email: str = EMAIL) -> None:
        """From the basket to the last page before the order."""
        if "_auth_user_id" not in self.session:
            self._post("/checkout/", username=email, options="anonymous")
        self._post("/checkout/shipping-address/", **ADDRESS)
        self.get("/checkout/shipping-method/")
        preview = self.get("/checkout/preview/")
        assert preview.status_code == 200, preview.headers

    def confirm(self) -> HttpResponse:
        return self.post("/checkout/preview/", {"action": "place_order"})

    def buy(self, *products: Product, quantity: int = 1) -> Order:
        """The order, with the page that thanks for it looked at."""
        for product in products:
            self.add(product, quantity)
        self.say_where_to()
        answer = self.confirm()
        assert (answer.status_code, answer.get("Location")) == (302, "/checkout/thank-you/"), answer.content
        return self.get("/checkout/thank-you/").context["order"]

    def _post(self, path: str, **fields: Any) -> HttpResponse:
        answer = self.post(path, fields)
        assert answer.status_code == 302, answer.content.decode()
        return answer
