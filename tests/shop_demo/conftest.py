from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from shop_demo.models import Product


@pytest.fixture
def mug(db: None) -> Product:
    return Product.objects.create(sku="MUG-01", title="Sea-green mug", price=Decimal("14.50"))


@pytest.fixture
def lamp(db: None) -> Product:
    return Product.objects.create(sku="LAMP-01", title="Reading lamp", price=Decimal("59.00"))


@pytest.fixture
def full_cart(client: Client, mug: Product, lamp: Product) -> None:
    """Two mugs and a lamp in the cart of ``client``."""
    client.post("/cart/add/", {"sku": mug.sku, "quantity": 2})
    client.post("/cart/add/", {"sku": lamp.sku})


@pytest.fixture
def agent_client(db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user("agent", is_staff=True))
    return client
