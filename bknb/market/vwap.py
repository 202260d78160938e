"""Volume-weighted average prices of a sliding window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE: Final = 8_192  # candles at a time: what is computed on the way stays in the cache of the processor


def average_prices(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
    *,
    count: int,
) -> NDArray[np.float64]:
    """VWAP of the ``count`` candles that end with each candle: Σ typical·volume / Σ volume.

    Typical is (high + low + close) / 3, and sums run from the oldest candle to the newest. Where there was no volume at
    all it is the mean of the closes.

    Returns
    -------
    ndarray of float64, shape (n,)
        The first ``count - 1`` values are NaN: their window is not complete.

    Examples
    --------
    >>> column = np.array([3.0, 6.0, 6.0])
    >>> average_prices(column, column, column, np.ones(3), count=2).tolist()
    [nan, 4.5, 6.0]
    """
    size = len(close)
    result = np.empty(size)
    result[: count - 1] = np.nan
    space = np.empty(min(_PIECE + count - 1, size))  # what is touched for the first time costs more than the sums
    room = np.empty(min(_PIECE, size))
    for begin in range(0, size - count + 1, _PIECE):
        rows = slice(begin, begin + _PIECE + count - 1)
        closes, volumes = close[rows], volume[rows]
        weighted = np.add(high[rows], low[rows], out=space[: len(closes)])
        weighted += closes
        weighted /= 3
        weighted *= volumes
        first = begin + count - 1
        sums = _window_sums(weighted, count, result[first : begin + len(closes)])
        totals = _window_sums(volumes, count, room[: len(sums)])
        if not totals.all():
            empty = totals == 0
            sums[empty] = _window_sums(closes, count, np.empty(len(sums)))[empty]
            totals[empty] = count
        sums /= totals
    return result


def _window_sums(values: NDArray[np.float64], count: int, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of ``count`` neighbours, added oldest first as a loop would (a prefix sum would round differently)."""
    size = len(sums)
    np.copyto(sums, values[:size])
    for offset in range(1, count):
        sums += values[offset : offset + size]
    return sums
