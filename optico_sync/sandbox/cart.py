"""Optico's Cart API, as its document tells it: ``POST /api/customer-cart``, and its dialect of orders.

Its ``POST /api/customer-order`` is the Sales API's address, with other parameters: products in bracketed fields
(``products[0][id]``) with a ``price``, where the Sales API has one field ``products`` of JSON with a
``cost_per_unit``. Brackets mean this dialect; an order with no products at all reads as the Sales API's.

Choices the document leaves open: a visit is tracked if it is no "no cookie" (`optico.NO_VISIT`), or is one of the
configured ``visits``; a status that is not declared is refused in the Sales API's words, since "the same values
must be declared"; an absent optional parameter of a known cart keeps its value; a product with a key the document
does not know is in an invalid format, as it is in the Sales API. Field names nest as PHP reads them.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from rest_framework.parsers import FormParser

from optico_sync.sandbox import optico
from optico_sync.sandbox.answers import envelope
from optico_sync.sandbox.ledger import STORED, Config, Ledger, Part
from optico_sync.sandbox.twins import Call, Form, Message, Outcome, Twin

CART_PATH = "api/customer-cart"

COMMON = ("key", "id", "currency", "visit_id")
CART_REQUIRED = (*COMMON, "is_logged_in")
ORDER_REQUIRED = (*COMMON, "cart_id", "status")
OPTIONAL = ("call_id", "agent")
PRODUCT_FIELDS = frozenset({"id", "name", "quantity", "price", "details"})

MISSING = "Missing required parameter"
BAD_KEY = "Invalid API key"
BAD_PRODUCTS = "Invalid products format"
UNKNOWN_VISIT = "Unknown visit_id"

BRACKETS = re.compile(r"products((?:\[[^\[\]]*\])+)")
QUANTITY = re.compile(r"[0-9]{1,9}")
PRICE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")
MAX_NESTING = 64  # PHP's max_input_nesting_level
MAX_FIELDS = 1000  # PHP's max_input_vars


class CartPart(Part):
    vendor = "cart"


class CartTwin(Twin):
    vendor = "cart"
    title = "Carts"
    endpoint = f"POST /{CART_PATH}"
    parsers = (FormParser,)
    part = CartPart
    columns = ("Total", "Currency", "Products", "Logged in", "Visit", "Agent")

    def parse(self, message: Message) -> Call:
        return parse(message, required=CART_REQUIRED)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        fields: Form = call.content
        values, error = read(fields, ledger.config, required=CART_REQUIRED)
        if error is None:
            cart = {name: values[name] for name in values if name not in ("key", "id")}
            with ledger.part(CartPart) as part:
                part.put(values["id"], cart)
        return Outcome(verdict=error or STORED, body=error)

    def answer(self, outcome: Outcome) -> HttpResponse:
        return envelope(outcome.body)

    def cells(self, record: dict[str, Any]) -> Sequence[Any]:
        products = ", ".join(f"{product['quantity']} x {product['name']}" for product in record["products"])
        logged_in = {"1": "yes", "0": "no"}.get(record["is_logged_in"], record["is_logged_in"])
        return (
            record["total"],
            record["currency"],
            products,
            logged_in,
            record["visit_id"],
            record.get("agent", ""),
        )


class CartOrderTwin(optico.OrderTwin):
    """The same orders as the Sales API's, in this API's dialect."""

    def speaks(self, message: Message) -> bool:
        return any(name.startswith("products[") for name in message.form)

    def parse(self, message: Message) -> Call:
        return parse(message, required=ORDER_REQUIRED)

    def judge(self, call: Call, ledger: Ledger, *, seq: int) -> Outcome:
        fields: Form = call.content
        config = ledger.config
        values, error = read(fields, config, required=ORDER_REQUIRED)
        if error is None:
            status = values["status"]
            changes = {name: values[name] for name in ("cart_id", "visit_id", "currency", "products")}
            changes |= {name: values[name] for name in OPTIONAL if name in values}
            changes |= {"total_cost": values["total"], "attributed": True, "dialect": "cart"}
            ledger.store(values["id"], status, config.statuses[status], seq=seq, changes=changes)
        return Outcome(verdict=error or STORED, body=error)


def parse(message: Message, *, required: Sequence[str]) -> Call:
    form = message.form
    plain = {name: values for name, values in form.items() if not BRACKETS.fullmatch(name)}
    remarks = optico.remark(
        plain,
        method=message.method,
        content_type=message.content_type,
        query=message.query,
        parameters={*required, *OPTIONAL, "products"},
    )
    if "products" in plain:
        remarks.append(
            "products is one field: the Sales API's dialect"
            if len(plain) == len(form)
            else "products both in brackets and in one field: two dialects in one request"
        )
    if plain.get("is_logged_in", ["1"])[-1] not in ("0", "1", ""):
        remarks.append(f"is_logged_in is {plain['is_logged_in'][-1][:40]!r}")
    if len(form) > MAX_FIELDS:
        remarks.append(f"{len(form)} fields: PHP reads {MAX_FIELDS} unless told otherwise")
    for name, values in form.items():
        if name not in plain and len(values) > 1:
            remarks.append(f"{name[:60]} sent {len(values)} times")
        if name not in plain and any("\ufffd" in value for value in values):
            remarks.append(f"{name[:60]} is not valid UTF-8")
    fields = {name: values[-1] for name, values in form.items()}
    return Call(ids=(fields.get("id", ""),), fields=fields, remarks=remarks, content=form)


def read(form: Form, config: Config, *, required: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """The parameters with their products and total; and the vendor's error message, or None."""
    brackets = {name: values[-1] for name, values in form.items() if BRACKETS.fullmatch(name)}
    values: dict[str, Any] = {name: form[name][-1] for name in (*required, *OPTIONAL) if name in form}
    if not all(values.get(name) for name in required) or not (brackets or "products" in form):
        return values, MISSING
    if values["key"] not in config.keys:
        return values, BAD_KEY
    if "status" in required and values["status"] not in config.statuses:
        return values, optico.UNKNOWN_STATUS
    try:
        values["products"] = read_products(brackets)
    except ValueError:
        return values, BAD_PRODUCTS
    values["total"] = sum(
        (product["quantity"] * Decimal(product["price"]) for product in values["products"]), Decimal(0)
    )
    if not optico.usable_visit(values["visit_id"]) or (
        config.visits is not None and values["visit_id"] not in config.visits
    ):
        return values, UNKNOWN_VISIT
    return values, None


def read_products(brackets: Mapping[str, str]) -> list[dict[str, Any]]:
    """The products of a cart or an order; raises ValueError unless they are as documented."""
    tree = nest(brackets)
    if not tree or not all(index.isascii() and index.isdigit() for index in tree):
        raise ValueError("not a list")
    return [_read_product(product) for product in tree.values()]


def nest(brackets: Mapping[str, str]) -> dict[str, Any]:
    """``products[0][id]`` as PHP nests it. ValueError where a field is both a value and an array."""
    tree: dict[str, Any] = {}
    for name, value in brackets.items():
        keys = name[name.index("[") + 1 : -1].split("][")
        if len(keys) > MAX_NESTING:
            raise ValueError("nested too deep")
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key or str(len(node)), {})
            if not isinstance(node, dict):
                raise ValueError("a value and an array")
        key = keys[-1] or str(len(node))
        if key in node:
            raise ValueError("a value and an array")
        node[key] = value
    return tree


def _read_product(product: Any) -> dict[str, Any]:
    right = (
        isinstance(product, dict)
        and product.keys() <= PRODUCT_FIELDS
        and all(isinstance(product.get(name), str) and product[name] for name in ("id", "name", "quantity", "price"))
        and QUANTITY.fullmatch(product["quantity"])
        and PRICE.fullmatch(product["price"])
    )
    if not right:
        raise ValueError("not a product")
    return {**product, "quantity": int(product["quantity"]), "price": Decimal(product["price"])}
