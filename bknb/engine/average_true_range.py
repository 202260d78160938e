"""The average true range of candles, by which positions are sized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def average_true_range(high: NDArray[np.float64], low: NDArray[np.float64], close: NDArray[np.float64]) -> float:
    """The mean true range of candles but the first, whose close is that before the second; quote currency.

    The true range is the largest of high less low, and of the distances of both to the close before (J. W. Wilder, New
    Concepts in Technical Trading Systems, 1978).

    Parameters
    ----------
    high, low, close
        Shape (n,), n at least 2, in order of time.

    Examples
    --------
    >>> prices = [np.array(column) for column in ([10.0, 12.0, 9.0], [9.0, 11.0, 8.0], [9.5, 11.5, 8.5])]
    >>> average_true_range(*prices)
    3.0
    """
    before = close[:-1]
    ranges = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    return float(ranges.mean())
