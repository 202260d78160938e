"""Long bars that were filled up to short ones: by repeating them, or by drawing a line between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .spacing import Spacing, measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles

FEWEST: Final = 100  # candles that can tell
_MOST: Final = 50_000  # candles that are looked at
_SHARE: Final = 0.6  # of candles that repeat or continue the one before
_TOLERANCE: Final = 1e-9  # of a straight line, relative to the price


def stretched(candles: Candles) -> Spacing | None:
    """The length of the bars that these candles were made of; ``None`` where there is no sign of it.

    A candle tells nothing new when it equals the one before, stands still at its close, or moves every price by as much
    as the one before did. In a market such minutes come now and then; where the others lie on the grid of a longer bar,
    they were filled in.

    Parameters
    ----------
    candles
        Candles of one series, oldest first.

    Examples
    --------
    >>> from .candles import Candles
    >>> rows = [(60_000 * i, *(4 * [100.0 + i // 60 % 7]), 5.0) for i in range(1200)]
    >>> print(stretched(Candles.from_rows(rows)))
    1h bars: 18 of 18 distances are 1h
    """
    if len(candles) < FEWEST:
        return None
    candles = candles[:_MOST]
    told = _tells(candles)
    if np.count_nonzero(told) > (1 - _SHARE) * len(told):
        return None
    step = measured(candles.timestamp)
    # The first two candles have nothing before them that they could repeat.
    bars = measured(candles.timestamp[2:][told[2:]])
    if step is None or bars is None or not bars.wider_than(step.step):
        return None
    return bars


def _tells(candles: Candles) -> NDArray[np.bool_]:
    """Which candles tell something that could not be known from those before."""
    prices = candles.block[1:5]
    before = prices[:, :-1]
    same = (prices[:, 1:] == before).all(axis=0)
    still = (prices[:, 1:] == candles.close[:-1]).all(axis=0)
    moves = prices[:, 1:] - before
    line = np.zeros(len(candles) - 1, dtype=bool)
    line[1:] = (np.abs(moves[:, 1:] - moves[:, :-1]) <= _TOLERANCE * np.abs(prices[:, 2:])).all(axis=0)
    told = np.ones(len(candles), dtype=bool)
    told[1:] = ~(same | still | line)
    return told
