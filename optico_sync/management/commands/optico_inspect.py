"""``manage.py optico_inspect shop.Order``: proposes a mapping, and shows what a real order becomes."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import models, router

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError, Unreadable
from optico_sync.redaction import mask_name
from optico_sync.rehearsal import rehearse
from optico_sync.shops import get_shop
from optico_sync.shops.base import ShopAdapter
from optico_sync.shops.mapping import MappedShop
from optico_sync.shops.proposal import json_column, propose, written
from optico_sync.shops.sources import get_model
from optico_sync.snapshot import Address, Customer, OrderSnapshot


class Command(BaseCommand):
    help = (
        "Propose OPTICO_SYNC['ORDER'] for an order model, ready to paste, and show what a real order becomes with it. "
        "Without a model: the shop as it is configured. Sends nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", metavar="app.Model", help="the shop's order model")
        parser.add_argument("--order", metavar="REFERENCE", help="this order; the newest when it is not given")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            shop = self._proposed(options["model"]) if options["model"] else get_shop()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        using = shop.database
        key = _find(shop, options["order"], using)
        if key is None:
            self.stdout.write("There is no order yet, so nothing more can be shown.")
            return
        order = shop.read([key], using=using)[key]
        if isinstance(order, Unreadable):
            raise CommandError(f"Order {key} cannot be read: {order}.")
        self._show(order)
        for one in rehearse(order):
            self._title(f"{one.name} would get" + (f" ({one.remark})" if one.remark else ""))
            self.stdout.write(str(one.shown))

    def _proposed(self, label: str) -> ShopAdapter:
        model = get_model(label, f"{conf.SETTING}['ORDER']")
        settings = propose(model, _first_item(model))
        self.stdout.write(written(settings))
        try:
            return MappedShop(settings)
        except ConfigurationError as error:
            raise CommandError(
                f"{error} Complete what is marked above, put it into your settings, then run optico_inspect without a "
                "model."
            ) from error

    def _show(self, order: OrderSnapshot) -> None:
        self._title(f"Order {order.reference} is read as")
        for field in dataclasses.fields(order):
            value = getattr(order, field.name)
            if field.name == "lines":
                for number, line in enumerate(value, 1):
                    self.stdout.write(f"line {number}: {_facts(line)}")
            elif isinstance(value, Customer | Address):
                self.stdout.write(f"{field.name}: {_facts(value, is_personal=True)}")
            elif dataclasses.is_dataclass(value):
                self.stdout.write(f"{field.name}: {_facts(value)}")
            else:
                self.stdout.write(f"{field.name}: {value if _is_known(value) else '-'}")

    def _title(self, text: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(text))


def _facts(part: Any, *, is_personal: bool = False) -> str:
    """What is known of a part of an order; of personal data only the first letter."""
    known = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    shown = {name: mask_name(value) if is_personal else value for name, value in known.items() if _is_known(value)}
    return ", ".join(f"{name}={value}" for name, value in shown.items()) or "-"


def _is_known(value: object) -> bool:
    return value is not None and value != "" and value != {}


def _find(shop: ShopAdapter, reference: str | None, using: str) -> str | None:
    """The key of the order asked for, or of the newest; None when there is none at all."""
    if reference is None:
        newest = shop.newest(using=using)
        return str(newest.pk) if newest else None
    try:
        order = shop.find(using=using, references=[reference]).last()
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    if order is None:
        raise CommandError(f"There is no order {reference!r}.")
    return str(order.pk)


def _first_item(model: type[models.Model]) -> Any:
    """The first line of the newest order, where lines seem to be kept in JSON."""
    column = json_column(model)
    if not column:
        return None
    filled = model._base_manager.using(router.db_for_read(model)).exclude(**{column: []})
    items = getattr(filled.order_by("pk").last(), column, None)
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else None
