"""Positions in swaps, one for each symbol: opposite fills net, and isolated margin stands behind each."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .orders import ZERO, Side


@dataclass(slots=True, kw_only=True)
class Position:
    """What is held of a swap.

    Attributes
    ----------
    quantity
        In base currency; negative when short.
    entry
        The average price it was opened at.
    leverage, margin_type
        As the account has set them for this symbol.
    """

    symbol: str
    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    leverage: int = 20
    margin_type: str = "cross"
    updated: int = 0

    @property
    def margin(self) -> Decimal:
        """The cash that stands behind it, in settlement currency."""
        return abs(self.quantity) * self.entry / self.leverage

    def reducible(self, side: Side) -> Decimal:
        """How much an order of this side can take away from it."""
        against = self.quantity < 0 if side == "buy" else self.quantity > 0
        return abs(self.quantity) if against else ZERO

    def liquidation(self, maintenance: Decimal) -> Decimal:
        """The price at which the exchange takes it over; ``maintenance`` in percent.

        Examples
        --------
        >>> Position(symbol="BTCUSDT", quantity=Decimal(1), entry=Decimal(100), leverage=10).liquidation(Decimal(1))
        Decimal('91.00')
        """
        share = (Decimal(1) / self.leverage) - maintenance / 100
        return self.entry * (1 - share) if self.quantity > 0 else self.entry * (1 + share)

    def profit(self, price: Decimal) -> Decimal:
        """What closing it at this price would bring, before fees."""
        return (price - self.entry) * self.quantity

    def take(self, side: Side, quantity: Decimal, price: Decimal) -> Decimal:
        """Book a fill, and return what it realised, before fees.

        Examples
        --------
        >>> held = Position(symbol="BTCUSDT")
        >>> held.take("buy", Decimal(2), Decimal(100)), held.take("sell", Decimal(1), Decimal(110)), held.quantity
        (Decimal('0'), Decimal('10'), Decimal('1'))
        """
        change = quantity if side == "buy" else -quantity
        closed = min(quantity, self.reducible(side))
        profit = ZERO
        if closed:
            profit = (price - self.entry) * (closed if self.quantity > 0 else -closed)
        opened = quantity - closed
        if opened:
            before = ZERO if closed else abs(self.quantity)
            self.entry = (self.entry * before + price * opened) / (before + opened)
        self.quantity += change
        if not self.quantity:
            self.entry = ZERO
        return profit
