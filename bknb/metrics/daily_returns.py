"""Daily returns, for comparisons of strategies over the same days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.interval import DAY_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def daily_returns(
    closed_at: Iterable[int], pnl_percentage: Iterable[float], *, start: int, end: int
) -> NDArray[np.float64]:
    """Compounded net return of each UTC day, as a fraction; 0 where nothing closed.

    Parameters
    ----------
    closed_at
        Exits, UTC ms.
    pnl_percentage
        Result of each trade, percent.
    start, end
        First and last moment, UTC ms; every day they touch has a value.

    Examples
    --------
    >>> daily_returns([0, 1000, 86_400_000], [10.0, 10.0, -5.0], start=0, end=3 * 86_400_000 - 1).round(4).tolist()
    [0.21, -0.05, 0.0]
    """
    first = start // DAY_MS
    days = np.ones(max(end // DAY_MS - first + 1, 1))
    at = np.asarray(list(closed_at), dtype=np.int64) // DAY_MS - first
    growth = 1 + np.asarray(list(pnl_percentage), dtype=np.float64) / 100
    np.multiply.at(days, np.clip(at, 0, len(days) - 1), growth)
    return days - 1


def of_results(results: Iterable[Any]) -> NDArray[np.float64]:
    """Daily returns of several results over one and the same frame, shape (days, results)."""
    columns = []
    for result in results:
        trades = result.trades
        moments = trades["closed_at"].dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
        columns.append(daily_returns(moments, trades["pnl_percentage"], start=result.start, end=result.end))
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))
