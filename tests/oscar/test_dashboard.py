"""What staff do to orders: by code, in Oscar's dashboard, in Django's admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.forms import BaseForm
from django.forms.models import BaseModelFormSet
from oscar.apps.order.models import Order

from optico_sync.models import OutboxEvent, Subject, SyncState, VendorCredential
from optico_sync.relay import relay_all
from optico_sync.sandbox.client import SandboxServer
from tests.helpers import deliver
from tests.oscar.shopper import OTHER_VISIT, VISIT, Shopper, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("atomic_requests")]


@pytest.fixture
def order(live: VendorCredential, pens: Any, lamp: Any) -> Order:
    order = Shopper().buy(pens, lamp)
    deliver(live)
    return order


@pytest.fixture
def staff(db: None) -> Shopper:
    """With a visit of their own in the browser, which is nobody's order's."""
    return Shopper(OTHER_VISIT, user=make_user("staff", is_staff=True, is_superuser=True))


def told(vendor_account: SandboxServer, order: Order) -> list[str]:
    found = vendor_account.order(order.number)
    assert found is not None
    assert found["visit_id"] == VISIT
    return [step["status"] for step in found["history"]]


def test_a_status_set_by_code(live: VendorCredential, vendor_account: SandboxServer, order: Order) -> None:
    order.set_status("Being processed")
    order.set_status("Complete")
    deliver(live)
    assert told(vendor_account, order) == ["Pending", "Being processed", "Complete"]
    assert len(vendor_account.journal(order.number)) == 3


def test_a_status_set_on_the_dashboards_page(
    live: VendorCredential, vendor_account: SandboxServer, order: Order, staff: Shopper
) -> None:
    page = f"/dashboard/orders/{order.number}/"
    answer = staff.post(page, {"order_action": "change_order_status", "new_status": "Being processed"})
    assert answer.status_code == 302
    deliver(live)
    assert told(vendor_account, order) == ["Pending", "Being processed"]


def test_statuses_set_by_the_dashboards_bulk_action(
    live: VendorCredential, vendor_account: SandboxServer, order: Order, staff: Shopper, pens: Any
) -> None:
    other = Shopper().buy(pens)
    form = {"action": "change_order_statuses", "new_status": "Cancelled", "selected_order": [order.pk, other.pk]}
    assert staff.post("/dashboard/orders/", form).status_code == 302
    deliver(live)
    assert told(vendor_account, order) == ["Pending", "Cancelled"]
    assert told(vendor_account, other) == ["Pending", "Cancelled"]


def test_a_lines_own_status_changes_nothing_for_the_vendor(
    live: VendorCredential, vendor_account: SandboxServer, order: Order, staff: Shopper
) -> None:
    line = order.lines.first()
    form = {
        "line_action": "change_line_statuses",
        "new_status": "Being processed",
        "selected_line": line.pk,
        f"selected_line_qty_{line.pk}": line.quantity,
    }
    before = OutboxEvent.objects.count()
    staff.post(f"/dashboard/orders/{order.number}/", form)
    line.refresh_from_db()
    assert line.status == "Being processed"
    assert OutboxEvent.objects.count() > before
    deliver(live)
    assert len(vendor_account.journal(order.number)) == 1


def test_an_address_changed_on_the_dashboard_belongs_to_its_order(order: Order, staff: Shopper) -> None:
    """It saves the address and a note, never the order."""
    relay_all()
    before = generation(order)
    page = f"/dashboard/orders/{order.number}/shipping-address/"
    form = filled(staff.get(page).context["form"])
    assert staff.post(page, {**form, "line4": "Lyon"}).status_code == 302
    relay_all()
    assert generation(order) == before + 1


def test_an_order_edited_in_the_admin_is_sent_with_its_lines(
    live: VendorCredential, vendor_account: SandboxServer, order: Order, staff: Shopper
) -> None:
    page = f"/admin/order/order/{order.pk}/change/"
    context = staff.get(page).context
    form = filled(context["adminform"].form)
    for inline in context["inline_admin_formsets"]:
        form |= filled_set(inline.formset)
    form |= {"status": "Complete", "lines-0-line_price_incl_tax": "1.00"}
    answer = staff.post(page, form)
    assert answer.status_code == 302, answer.context["errors"]
    deliver(live)
    assert told(vendor_account, order) == ["Pending", "Complete"]
    found = vendor_account.order(order.number)
    assert found is not None
    assert [item["cost_per_unit"] for item in found["products"]] == [1, "35.99"]


def test_an_order_deleted_in_the_admin_stays_as_it_was_told(
    live: VendorCredential, vendor_account: SandboxServer, order: Order, staff: Shopper
) -> None:
    key = str(order.pk)
    answer = staff.post(f"/admin/order/order/{key}/delete/", {"post": "yes"})
    assert (answer.status_code, Order.objects.exists()) == (302, False)
    deliver(live)
    assert len(vendor_account.journal(order.number)) == 1
    subject = Subject.objects.get(kind="order", key=key)
    assert subject.deleted_at is not None
    assert SyncState.objects.get(subject=subject).reason == "order_deleted"


def generation(order: Order) -> int:
    return SyncState.objects.get(subject__kind="order", subject__key=str(order.pk)).generation


def filled(form: BaseForm) -> dict[str, Any]:
    """What a browser would send back of ``form``, untouched."""
    found = {}
    for name, field in form.fields.items():
        value = form[name].value()
        value = field.prepare_value(value)
        if value in (None, False):
            continue
        widget = field.widget
        parts = widget.decompress(value) if hasattr(widget, "decompress") else None
        key = form.add_prefix(name)
        found |= {f"{key}_{index}": part for index, part in enumerate(parts)} if parts else {key: value}
    return {key: value for key, value in found.items() if value is not None}


def filled_set(formset: BaseModelFormSet) -> dict[str, Any]:
    found = filled(formset.management_form)
    for form in formset.forms:
        found |= filled(form)
    return found
