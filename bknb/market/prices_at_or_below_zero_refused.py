"""Candles with a price at or below 0 are refused, unless their source says that such prices are traded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles

ABOVE_ZERO: Final = (
    "every price must be above 0, unless it is said that prices at or below 0 are traded: negative=True where the "
    "source is made, as in bknb.exchanges.from_frame, or of bknb.add_exchange"
)


def at_or_below_zero(*prices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candles have a price at or below 0, shape (n,), from columns of prices of that shape.

    Examples
    --------
    >>> at_or_below_zero(np.array([1.0, 2.0]), np.array([1.0, -0.5])).tolist()
    [False, True]
    """
    lowest = prices[0]
    for column in prices[1:]:
        lowest = np.minimum(lowest, column)
    return lowest <= 0


def any_at_or_below_zero(candles: Candles, before: float | None) -> bool:
    """Whether there is such a price in candles, or is the close ``before`` them: then prices have no ratios."""
    return bool(len(candles) and candles.low.min() <= 0) or (before is not None and before <= 0)
