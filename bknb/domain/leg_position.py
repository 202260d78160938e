"""What one leg of an account holds: quantity, what it cost, and the margin that was set aside for it."""

from __future__ import annotations

import msgspec

from .signal import Position


def part_name(order: int, place: str) -> str:
    """The name in an account of one of several places of a leg; ``order`` is the number of the leg.

    Examples
    --------
    >>> part_name(0, "63000"), leg_name("0@63000"), leg_name("0")
    ('0@63000', '0', '0')
    """
    return f"{order}@{place}"


def leg_name(name: str) -> str:
    """The name in an account of the leg that a place is one of; of a leg its own."""
    return name.partition("@")[0]


class LegPosition(msgspec.Struct, frozen=True, gc=False):
    """What a leg holds.

    Attributes
    ----------
    quantity
        Below 0 for a short.
    cost
        What was paid for it, with slippage; below 0 what was received for a short.
    value
        The same at prices before slippage.
    margin
        What was set aside for it, in an account with isolated margin; with leverage, less the funding that it paid.
    filled_at
        Open time of the candle of its newest fill.
    borrowed_since
        Until when the interest of a short is charged.
    """

    quantity: float
    cost: float
    value: float
    margin: float
    filled_at: int
    borrowed_since: int

    @property
    def side(self) -> Position:
        """``"long"`` or ``"short"``."""
        return "long" if self.quantity > 0.0 else "short"

    @property
    def average(self) -> float:
        """Average entry price before slippage."""
        return self.value / self.quantity

    def enlarged(self, quantity: float, price: float, paid: float, *, margin: float, at: int) -> LegPosition:
        """What is held after a fill that enters.

        Parameters
        ----------
        quantity
            Below 0 for a short.
        price, paid
            Before slippage, and with it.
        margin
            What is set aside for it.
        at
            Open time of the candle of the fill, UTC ms.

        Examples
        --------
        >>> LegPosition(1.0, 100.0, 100.0, 0.0, 0, 0).enlarged(1.0, 90.0, 90.5, margin=0.0, at=60_000).cost
        190.5
        """
        return LegPosition(
            quantity=self.quantity + quantity,
            cost=self.cost + quantity * paid,
            value=self.value + quantity * price,
            margin=self.margin + margin,
            filled_at=at,
            borrowed_since=self.borrowed_since,
        )

    def reduced(self, quantity: float, share: float, *, at: int) -> LegPosition:
        """What is held after a fill that closes ``quantity`` (below 0 of a short), the share ``share`` of all.

        Examples
        --------
        >>> LegPosition(4.0, 400.0, 400.0, 40.0, 0, 0).reduced(1.0, 0.25, at=60_000)
        LegPosition(quantity=3.0, cost=300.0, value=300.0, margin=30.0, filled_at=60000, borrowed_since=0)
        """
        left = 1 - share
        return LegPosition(
            quantity=self.quantity - quantity,
            cost=self.cost * left,
            value=self.value * left,
            margin=self.margin * left,
            filled_at=at,
            borrowed_since=self.borrowed_since,
        )
