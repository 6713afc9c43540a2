"""Orders through Oscar's own checkout, to a vendor on a real socket."""

from __future__ import annotations

from typing import Any

import pytest
from oscar.apps.order.models import Order

from optico_sync.models import OutboxEvent, Subject
from tests.helpers import deliver
from tests.oscar.shopper import OTHER_VISIT, VISIT, Shopper, make_user, make_voucher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("atomic_requests")]


def test_a_guests_order_reaches_the_vendor(live: Any, vendor_account: Any, pens: Any, lamp: Any) -> None:
    order = Shopper().buy(pens, lamp, quantity=2)
    deliver(live)
    told = vendor_account.order(order.number)
    print(told)
    assert told is not None
