"""Whatever way a shop writes, from many threads at once: what the vendor holds in the end is what the shop holds."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings

from optico_sync import capture, sweep, triggers
from optico_sync.models import Subject, Sweep, VendorCredential
from tests.helpers import STATUSES, Vendor, deliver, make_credential
from tests.oddshop.models import Item, Purchase
from tests.settings import OPTICO_SYNC as SETTINGS

pytestmark = pytest.mark.django_db(transaction=True)

THREADS, WRITES = 4, 40
#: In what a rolled back write would have told.
NEVER = "ROLLED-BACK"


class Shopkeeper:
    """Writes at random, in every way there is. ``mark`` goes into all that it writes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.mark = ""

    def run(self) -> None:
        try:
            for number in range(WRITES):
                with suppress(DatabaseError, Purchase.DoesNotExist, RolledBack):
                    self.write(number)
        finally:
            connections.close_all()

    def write(self, number: int) -> None:
        way = self.random.choice(WAYS)
        how = self.random.choice(("autocommit", "atomic", "nested", "rolled back", "savepoint rolled back"))
        self.mark = f"{NEVER} " if "rolled back" in how else ""
        self.number = f"{threading.get_ident()}-{number}"
        if how == "autocommit":
            way(self)
            return
        with transaction.atomic():
            if how == "nested":
                with transaction.atomic():
                    way(self)
            elif how == "savepoint rolled back":
                with suppress(RolledBack), transaction.atomic():
                    way(self)
                    raise RolledBack
            else:
                way(self)
            if how == "rolled back":
                raise RolledBack

    def anyone(self) -> Purchase:
        keys = list(Purchase.objects.order_by("pk").values_list("pk", flat=True))
        return Purchase.objects.get(pk=self.random.choice(keys or [""]))

    @property
    def stage(self) -> str:
        return self.random.choice(list(STATUSES))

    @property
    def title(self) -> str:
        return f"{self.mark}Widget {self.number}-{self.random.random()}"

    def make(self) -> Purchase:
        return Purchase(number=f"{self.mark}{self.number}", stage=self.stage)

    # the ways

    def create(self) -> None:
        purchase = self.make()
        purchase.save()
        for _ in range(self.random.randint(0, 2)):
            Item.objects.create(purchase=purchase, title=self.title, paid=1)

    def save(self) -> None:
        purchase = self.anyone()
        purchase.stage = self.stage
        purchase.save()

    def update(self) -> None:
        Purchase.objects.filter(pk=self.anyone().pk).update(stage=self.stage)

    def update_lines(self) -> None:
        Item.objects.filter(purchase=self.anyone()).update(title=self.title)

    def bulk_create(self) -> None:
        (purchase,) = Purchase.objects.bulk_create([self.make()])
        Item.objects.bulk_create([Item(purchase=purchase, title=self.title, paid=2)])

    def bulk_update(self) -> None:
        purchase = self.anyone()
        purchase.stage = self.stage
        Purchase.objects.bulk_update([purchase], ["stage"])

    def sql(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE oddshop_purchase SET stage = %s WHERE number = %s", [self.stage, self.anyone().number]
            )

    def delete(self) -> None:
        self.anyone().delete()

    def delete_unseen(self) -> None:
        purchase = self.anyone()
        Item.objects.filter(purchase=purchase)._raw_delete("default")
        Purchase.objects.filter(pk=purchase.pk)._raw_delete("default")


WAYS: list[Callable[[Shopkeeper], None]] = [
    *[Shopkeeper.create] * 3,
    *[Shopkeeper.bulk_create] * 3,
    *[Shopkeeper.save] * 2,
    Shopkeeper.update,
    Shopkeeper.update_lines,
    Shopkeeper.bulk_update,
    Shopkeeper.sql,
    Shopkeeper.delete,
    Shopkeeper.delete_unseen,
]


class RolledBack(Exception):
    pass


@contextmanager
def shopkeepers(seed: int) -> Iterator[None]:
    """They write while the block runs."""
    threads = [threading.Thread(target=Shopkeeper(seed * 100 + number).run) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def write_and_deliver(credential: VendorCredential, vendor: Vendor, seed: int) -> None:
    """Deliveries go on meanwhile."""
    with shopkeepers(seed):
        for _ in range(3):
            deliver(credential, sender=vendor)
    deliver(credential, sender=vendor)


def differences(vendor: Vendor) -> list[str]:
    """Orders that the vendor knows otherwise than the shop does."""
    held = {form["id"]: form for form in vendor.forms}
    found = []
    for purchase in Purchase.objects.prefetch_related("things"):
        form = held.get(purchase.number)
        titles = sorted(item.title for item in purchase.things.all())
        if not titles:
            # Not yet an order: the vendor takes none without lines.
            continue
        if form is None or form["status"] != purchase.stage or titles != titles_of(form):
            found.append(f"{purchase.number}: {purchase.stage} {titles}, the vendor has {form}")
    gone = Subject.objects.filter(kind="order", deleted_at=None).exclude(key__in=Purchase.objects.values("pk"))
    return found + [f"{subject} is gone" for subject in gone]


def titles_of(form: dict[str, str]) -> list[str]:
    return sorted(product["name"] for product in json.loads(form["products"]))


@pytest.mark.parametrize("seed", [1, 2])
def test_with_signals_nothing_is_missed_after_one_sweep(seed: int) -> None:
    credential, vendor = make_credential(), Vendor()
    write_and_deliver(credential, vendor, seed)
    *_, record = sweep.sweep(Sweep.Scope.ALL)
    deliver(credential, sender=vendor)
    assert differences(vendor) == []
    assert record.found > 0
    *_, second = sweep.sweep(Sweep.Scope.ALL)
    assert second.references == []
    assert not any(NEVER in str(form) for form in vendor.forms)


@pytest.mark.parametrize("seed", [1, 2])
def test_with_triggers_nothing_is_missed_at_once(seed: int) -> None:
    credential, vendor = make_credential(), Vendor()
    with override_settings(OPTICO_SYNC={**SETTINGS, "CAPTURE": "triggers"}):
        capture.connect()
        triggers.install("default")
        try:
            write_and_deliver(credential, vendor, seed)
        finally:
            triggers.remove("default")
        assert differences(vendor) == []
        *_, record = sweep.sweep(Sweep.Scope.ALL)
        assert record.references == []
    assert not any(NEVER in str(form) for form in vendor.forms)
