"""The cash of an account: what is free, what orders hold, what came in and what fees took."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from .orders import ZERO, RefusedError


class Funds:
    """Amounts by currency.

    Attributes
    ----------
    free, locked : dict
        What can be used, and what orders that rest hold.
    deposits, fees : dict
        What came in from outside (less what left), and what was paid for fills.

    Examples
    --------
    >>> funds = Funds({"USDT": Decimal(100)})
    >>> funds.lock("USDT", Decimal(40))
    >>> funds.free["USDT"], funds.locked["USDT"], funds.total("USDT")
    (Decimal('60'), Decimal('40'), Decimal('100'))
    """

    def __init__(self, deposits: dict[str, Decimal]) -> None:
        self.free: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        self.locked: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        self.deposits: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        self.fees: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        for currency, amount in deposits.items():
            self.deposit(currency, amount)

    def deposit(self, currency: str, amount: Decimal) -> None:
        """Bring in an amount from outside; a negative one leaves."""
        if self.free[currency] + amount < 0:
            raise RefusedError("balance")
        self.free[currency] += amount
        self.deposits[currency] += amount

    def lock(self, currency: str, amount: Decimal) -> None:
        """Have an order hold an amount.

        Raises
        ------
        RefusedError
            When less is free.
        """
        if amount > self.free[currency]:
            raise RefusedError("balance")
        self.free[currency] -= amount
        self.locked[currency] += amount

    def unlock(self, currency: str, amount: Decimal) -> None:
        """Give back what an order held."""
        self.locked[currency] -= amount
        self.free[currency] += amount

    def total(self, currency: str) -> Decimal:
        """Free and locked."""
        return self.free[currency] + self.locked[currency]

    def currencies(self) -> list[str]:
        """Every currency that was ever there."""
        return sorted({*self.free, *self.locked, *self.deposits})
