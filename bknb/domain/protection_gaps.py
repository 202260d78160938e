"""How long something was held at a broker without a stop that rests there for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .broker_orders_and_ids import Order, left_open
from .protective_orders import is_sale, protective_orders
from .quantity_step_and_least_amount import EXACT, is_dust


class ProtectionGaps(msgspec.Struct, frozen=True, kw_only=True):
    """The times in which what was held at a broker was without its stop there.

    Each is counted from when the request left that made the gap (the entry, or what took the stop back) to when the
    broker said that a stop rests, or that all is sold: it is never longer than that.

    Attributes
    ----------
    count
        How many there were.
    seconds, worst_seconds
        All of them together, and the longest.

    Examples
    --------
    >>> ProtectionGaps().plus(0.5).plus(0.25)
    ProtectionGaps(count=2, seconds=0.75, worst_seconds=0.5)
    """

    count: int = 0
    seconds: float = 0.0
    worst_seconds: float = 0.0
    version: int = 1

    def __repr__(self) -> str:
        return f"ProtectionGaps(count={self.count}, seconds={self.seconds:g}, worst_seconds={self.worst_seconds:g})"

    def plus(self, seconds: float) -> ProtectionGaps:
        """With one more."""
        return ProtectionGaps(
            count=self.count + 1,
            seconds=self.seconds + seconds,
            worst_seconds=max(self.worst_seconds, seconds),
        )


def is_bare(orders: Sequence[Order]) -> bool:
    """Whether something of a position is held for which no stop rests, although the record has one."""
    entry = orders[0]
    if entry.stop is None:
        return False
    rest = [each.quantity - each.filled_quantity for each in protective_orders(orders) if _guards(each)]
    uncovered = left_open(orders) - sum(rest)
    return uncovered > entry.quantity * EXACT and not is_dust(uncovered, entry.step, entry.least)


def _guards(stop: Order) -> bool:
    return not is_sale(stop) and stop.status in ("accepted", "triggered")
