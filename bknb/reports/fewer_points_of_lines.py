"""Fewer points of a line for a plot, with every peak and trough kept."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import UsageError

POINTS_PER_TRACE: Final = 1600
"""Most points one line or one kind of mark may hold: a browser draws this many at once without a pause."""


def extremes(y: NDArray[Any], points: int) -> NDArray[np.intp]:
    """Indices that :func:`decimate` keeps."""
    count = y.shape[0]
    if count <= points:
        return np.arange(count)
    buckets = (points - 2) // 2
    edges = np.linspace(0, count, buckets + 1).astype(np.intp)
    lengths = np.diff(edges)
    size = int(lengths.max())
    padded = y if edges[-2] + size <= count else np.append(y, y[-1])
    # One row per bucket; short buckets repeat their last point, which can never invent an extreme.
    table = sliding_window_view(padded, size)[edges[:-1]].astype(np.float64, copy=False)
    short = lengths < size
    table[short, size - 1] = table[short, size - 2]
    missing = np.isnan(table)
    if missing.any():
        lowest = np.where(missing, np.inf, table).argmin(axis=1)
        highest = np.where(missing, -np.inf, table).argmax(axis=1)
    else:
        lowest, highest = table.argmin(axis=1), table.argmax(axis=1)
    indices = np.concatenate(([0], edges[:-1] + lowest, edges[:-1] + highest, [count - 1]))
    return np.unique(indices)


def decimate(x: NDArray[Any], y: NDArray[Any], points: int = POINTS_PER_TRACE) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most ``points`` of a line, with every bucket's lowest and highest point among them.

    The line is cut into equal runs of points; of each run the minimum and the maximum stay, in their order, together
    with the first and the last point of the line. So no peak and no trough is lost and no shape is invented.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions and values; ``x`` is only carried along.
    points : int
        The most points to keep, at least 4.

    Returns
    -------
    tuple of ndarray
        The kept ``x`` and ``y``: the input itself where it is short enough.

    Raises
    ------
    UsageError
        When the lengths differ or ``points`` is below 4.

    Examples
    --------
    >>> x = np.arange(1000)
    >>> y = np.zeros(1000)
    >>> y[777] = -5.0
    >>> kept_x, kept_y = decimate(x, y, 20)
    >>> len(kept_x) <= 20, float(kept_y.min()), 777 in kept_x
    (True, -5.0, True)
    """
    if x.shape != y.shape or x.ndim != 1:
        raise UsageError(f"decimate needs two lines of equal length; got shapes {x.shape} and {y.shape}")
    if points < 4:
        raise UsageError(f"decimate keeps at least 4 points; got points={points!r}")
    if y.shape[0] <= points:
        return x, y
    indices = extremes(y, points)
    return x[indices], y[indices]


def means(time: NDArray[np.int64], values: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of a line in each stretch between ascending edges; where it has no point there, its last value before.

    NaN is left out; a stretch in which every value is NaN is NaN.

    Examples
    --------
    >>> means(np.array([0, 1, 2, 6]), np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 2, 4, 8])).tolist()
    [2.0, 5.0, 7.0]
    """
    bounds = np.searchsorted(time, edges)
    known = ~np.isnan(values)
    totals = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    total, count = totals[bounds[1:]] - totals[bounds[:-1]], counts[bounds[1:]] - counts[bounds[:-1]]
    found = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    empty = bounds[1:] == bounds[:-1]
    return np.where(empty, values[np.maximum(bounds[:-1] - 1, 0)], found) if len(values) else found
