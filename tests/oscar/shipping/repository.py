"""One way to ship, for 4.80 with 20 % tax."""

from decimal import Decimal

from oscar.apps.shipping import methods, repository


class Courier(methods.FixedPrice):
    code = "courier"
    name = "Courier"
    charge_excl_tax = Decimal("4.00")
    charge_incl_tax = Decimal("4.80")


class Repository(repository.Repository):
    methods = (Courier(),)
