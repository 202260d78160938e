"""Daily returns, for comparisons of strategies over the same days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.interval import DAY_MS
from .compounding import growth
from .reasons import needs_capital, why_no_account
from .trade_table import in_places, numbers_in

if TYPE_CHECKING:
    from numpy.typing import NDArray


def daily_returns(
    closed_at: Iterable[int], pnl_percentage: Iterable[float], *, start: int, end: int
) -> NDArray[np.float64]:
    """Compounded net return of each UTC day, as a fraction; 0 where nothing closed, -1 where everything was lost.

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
    kept = growth(np.asarray(list(pnl_percentage), dtype=np.float64))
    np.multiply.at(days, np.clip(at, 0, len(days) - 1), kept)
    return days - 1


def of_results(results: Iterable[Any]) -> NDArray[np.float64]:
    """Daily returns of several results over one and the same frame, shape (days, results).

    Each trade goes with the part of the equity that it opened with, without a ``size`` with all of it.

    Days in which a market with sessions was closed are left out, and results that have no account: in which a position
    was added to, as adds and places need a capital, or opened at or below zero.
    """
    columns, first, open_days = [], 0, None
    for result in results:
        if without_account(result):
            continue
        trades, first, open_days = result.trades, result.start // DAY_MS, result.measured.open_days
        moments = trades["closed_at"].dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
        of_equity = [event.of_equity for event in result.run_record.records.closed]
        columns.append(daily_returns(moments, of_equity, start=result.start, end=result.end))
    if not columns:
        return np.empty((0, 0))
    daily = np.stack(columns, axis=1)
    return daily if open_days is None else on_open_days(daily, first, sorted(open_days))


def added_to(result: Any) -> bool:
    """Whether a position of a run was added to, one that is still open included."""
    return bool(result.run_record.records.needs_capital)


def without_account(result: Any) -> bool:
    """Whether the positions of a run make no account, as one was added to or opened at or below zero."""
    return bool(why_no_account(result.run_record.records))


def adds_in(trades: Any) -> bool:
    """Whether trades of a table need a capital: one was added to and says no part of the equity, or is in a place.

    The columns ``adds``, ``largest_cost``, ``size`` and ``place`` say so.

    Raises
    ------
    UsageError
        One of the first three holds text alone.

    Examples
    --------
    >>> import pandas as pd
    >>> adds_in(pd.DataFrame({"adds": [0, 1]})), adds_in(pd.DataFrame({"pnl_percentage": [1.0]}))
    (True, False)
    >>> adds_in(pd.DataFrame({"adds": [0, 1], "size": [None, 0.5]}))
    False
    """
    named = {*getattr(trades, "columns", ())}
    if in_places(trades["place"] if "place" in named else ()):
        return True
    if not named & {"adds", "largest_cost"}:
        return False
    unknown = [np.nan] * len(trades)
    columns = ("adds", "largest_cost", "size")
    return needs_capital(*(numbers_in(trades, name) if name in named else unknown for name in columns))


def sizes_in(trades: Any) -> NDArray[np.float64] | None:
    """The part of the equity that each trade of a table goes with, as its column ``size`` says, 1 where it says none.

    ``None`` without that column, or where it says nothing: all of the equity in each.

    Raises
    ------
    UsageError
        The column holds text alone.

    Examples
    --------
    >>> import pandas as pd
    >>> sizes_in(pd.DataFrame({"size": [0.5, None]})).tolist(), sizes_in(pd.DataFrame({"adds": [0]}))
    ([0.5, 1.0], None)
    """
    if "size" not in getattr(trades, "columns", ()):
        return None
    sizes = np.array(numbers_in(trades, "size"), dtype=np.float64)
    return None if np.isnan(sizes).all() else np.where(np.isnan(sizes), 1.0, sizes)


def on_open_days(daily: NDArray[np.float64], first: int, open_days: Iterable[int]) -> NDArray[np.float64]:
    """Daily returns of the days in which a market was open alone.

    What the clock closed on another day counts on the next open one, and behind the last open one on that.

    Parameters
    ----------
    daily : ndarray of float64, shape (days, n)
        Fractions.
    first
        The day of the first row, as days since 1970.
    open_days
        Days since 1970 in which a candle closed, ascending.

    Examples
    --------
    >>> on_open_days(np.array([[0.1], [0.0], [0.2], [0.5]]), 4, [4, 6]).round(4).tolist()
    [[0.1], [0.8]]
    """
    rows = np.asarray(list(open_days), dtype=np.int64) - first
    rows = rows[(rows >= 0) & (rows < len(daily))]
    if not len(rows):
        return daily[:0]
    kept = np.ones((len(rows), daily.shape[1]))
    np.multiply.at(kept, np.minimum(np.searchsorted(rows, np.arange(len(daily))), len(rows) - 1), 1 + daily)
    return kept - 1
