"""``manage.py optico_erase``: forgets whose orders are, on a person's request."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils.timezone import localtime

from optico_sync import insight
from optico_sync.erase import whole
from optico_sync.management.arguments import add_operator, operator_named
from optico_sync.models import Subject
from optico_sync.relay import relay_all
from optico_sync.verbs import erase_by_hand


class Command(BaseCommand):
    help = (
        "Erase what is known of the person behind orders: visit, call, agent, carts, requests and answers. That the "
        "orders were sent is kept, so that they are never sent again. Names the vendors that hold them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("references", nargs="*", metavar="REFERENCE", help="order references (numbers)")
        parser.add_argument("--key", action="append", default=[], metavar="KEY", help="primary key of an order; repeat")
        add_operator(parser)
        parser.add_argument("--dry-run", action="store_true", help="say whom to ask, and erase nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        operator = operator_named(options["operator"])
        relay_all()
        orders = self._orders(options["references"], options["key"])
        everything = whole(orders)
        holders = insight.holders(everything)
        if options["dry_run"]:
            self.stdout.write(f"Would erase {len(orders)} orders and {len(everything) - len(orders)} carts.")
        else:
            self.stdout.write(erase_by_hand(orders, user=operator))
        if holders:
            self.stdout.write("Ask the support of these vendors to erase what they hold:")
        for holder in holders:
            doubt = "" if holder.is_accepted else ", not accepted as far as is known"
            mail = f"; writes to the customer about {holder.mail_at:%Y-%m-%d}" if holder.mail_at else ""
            sent = f"last sent {localtime(holder.sent_at):%Y-%m-%d %H:%M}"
            self.stdout.write(f"  {holder.credential.name}: {holder.kind} {holder.number}, {sent}{doubt}{mail}")

    @staticmethod
    def _orders(references: Sequence[str], keys: Sequence[str]) -> list[Subject]:
        if not (references or keys):
            raise CommandError("Say which orders: references or --key.")
        named = Q(reference__in=references) | Q(key__in=keys)
        orders = list(Subject.objects.filter(named, kind=Subject.Kind.ORDER).order_by("pk"))
        lost = {*references} - {order.reference for order in orders} | {*keys} - {order.key for order in orders}
        if lost:
            raise CommandError(f"No such order here: {', '.join(sorted(lost))}. Nothing was erased.")
        several = [name for name, count in Counter(order.reference for order in orders).items() if count > 1]
        if shared := sorted({*several} & {*references}):
            told = f"More than one order has the reference {', '.join(shared)}: name them by --key."
            raise CommandError(f"{told} Nothing was erased.")
        return orders
