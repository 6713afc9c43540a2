"""20 % tax on everything."""

from decimal import Decimal
from typing import Any

from oscar.apps.partner import strategy


class Selector:
    def strategy(self, request: Any = None, user: Any = None, **kwargs: Any) -> strategy.Base:
        return Taxed(request)


class Taxed(strategy.UseFirstStockRecord, strategy.FixedRateTax, strategy.StockRequired, strategy.Structured):
    rate = Decimal("0.20")
