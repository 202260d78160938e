"""Compounding: an account that goes wholly into each trade, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def growth(results: Floats) -> Floats:
    """What each result leaves of the equity that went in, as a multiple of it; 0 where a trade lost more than all.

    Parameters
    ----------
    results : ndarray of float64, any shape
        Results in percent of the equity that went in.

    Examples
    --------
    >>> growth(np.array([10.0, -150.0])).tolist()
    [1.1, 0.0]
    """
    return np.asarray(np.maximum(1 + results / 100, 0.0))


def equity_path(results: Floats) -> Floats:
    """Equity after each result along the last axis, as a multiple of the start; the shape of ``results`` (percent).

    Examples
    --------
    >>> equity_path(np.array([100.0, -50.0])).tolist()
    [2.0, 1.0]
    """
    return np.asarray(np.cumprod(growth(results), axis=-1), dtype=np.float64)


def final_equity(results: Floats) -> Any:
    """Equity after all results along the last axis, as a multiple of the start; 1.0 without results (percent).

    Examples
    --------
    >>> float(final_equity(np.array([100.0, -50.0]))), float(final_equity(np.empty(0)))
    (1.0, 1.0)
    """
    return np.prod(growth(results), axis=-1)


def drawdown(path: Floats) -> Floats:
    """Distance of equity below its highest point so far, percent, never above zero; 0 where nothing was there before.

    Examples
    --------
    >>> drawdown(np.array([1.0, 2.0, 1.0])).tolist(), drawdown(np.zeros(2)).tolist()
    ([0.0, 0.0, -50.0], [0.0, 0.0])
    """
    peaks = np.maximum.accumulate(path)
    if len(peaks) and peaks[0] > 0:  # so are all others
        kept = np.divide(path, peaks, out=peaks)
    else:
        kept = np.divide(path, peaks, out=np.ones_like(path), where=peaks > 0)
    kept -= 1
    kept *= 100
    return np.asarray(kept, dtype=np.float64)
