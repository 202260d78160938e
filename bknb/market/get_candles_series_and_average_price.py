"""``bknb.get_candles``, ``bknb.get_series``, ``bknb.get_average_price``: data for the code a strategy calls.

They follow ``await``, ``gather`` and tasks; in a thread the strategy starts they raise ``UsageError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from .rows_asked import rows_asked
from .strategy_context import Context, current

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from .candles import Candles
    from .series_rows import SeriesRows


def context_for(function: str) -> Context:
    """Return the context of what is being asked now, for ``bknb.{function}``; a ``UsageError`` outside of it."""
    context = current.get()
    if context is None:
        raise UsageError(
            f"bknb.{function} works only while a strategy, a callback or a risk rule is being asked\n"
            "a thread of a strategy is outside: give it the ctx, or start it with contextvars.copy_context().run"
        )
    return context


def get_candles(symbol: str, interval: str, limit: int) -> Candles:
    """The ``limit`` newest closed candles, inside a strategy and whatever it calls.

    Parameters
    ----------
    symbol
        Any symbol the exchange of the run knows.
    interval
        ``"1m"`` … ``"3d"``, aligned to UTC; in a market with sessions ``"1d"`` is a session. ``"1w"`` and ``"1M"`` are
        weeks from Monday on and months, of the dates that sessions, or days of UTC, bear.
    limit
        How many; never more come back, and never the forming one.

    Raises
    ------
    NotEnoughData
        When fewer closed candles exist.
    UsageError
        Outside a run, or for an unknown interval.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(symbol):
    ...     closes = bknb.get_candles(symbol, "1h", 3).close
    ...     assert len(closes) == 3
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> len(bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).trades)
    0
    """
    return (current.get() or context_for("get_candles")).get_candles(symbol, interval, limit)


def get_series(
    name: str,
    limit: int | Candles | None = None,
    *,
    since: str | timedelta | datetime | int | None = None,
    symbol: str | None = None,
) -> SeriesRows:
    """Rows of a point-in-time series that were known at the moment of the question, inside a strategy.

    A row is known from the moment it was published plus the delay of the series. Of a row that was published again
    the newest revision known by then is returned, at the place of the first. Rows come oldest first, in the order in
    which they were published.

    Parameters
    ----------
    name
        The name it was registered by, with ``bknb.add_series``.
    limit
        How many of the newest rows. Fewer are returned where fewer are known, and none before the first: look at
        ``len(rows)``. In ``get_signals`` give its candles instead: for each of them one row comes back, the newest
        that was known at its close; where none was, numbers are NaN, text is None and moments are 0.
    since
        Only rows that were published since: a span up to now (``"24h"``, a timedelta), whose begin is left out, or a
        moment (an aware datetime, UTC ms), which is included.
    symbol
        Where the table has a column of symbols: whose rows; by default those of the symbol of the question.

    Raises
    ------
    UnknownName
        No series of that name is registered.
    UsageError
        Outside a run, where neither ``limit`` nor ``since`` is given, or for ``symbol`` where the table has none.
    DataError
        A function source did not answer, or answered what is no such table.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_series("funding", {"published_at": ["2024-01-01 08:00Z", "2024-01-01 16:00Z"],
    ...                                 "rate": [0.01, 0.03]})
    >>> seen = []
    >>> def get_signal(when):
    ...     seen.append((when.hour, bknb.get_series("funding", 2).rate.tolist()))
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="8h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-02"))
    >>> seen[:3]
    [(0, []), (8, [0.01]), (16, [0.01, 0.03])]
    """
    asked = rows_asked.get()
    if asked is None:
        context = context_for("get_series")
        return context.series(name, limit, since=since, symbol=symbol)  # type: ignore[arg-type]  # candles are refused
    from .newest_series_rows import joined_rows

    if since is not None:
        raise UsageError(f"series {name!r}: in get_signals each candle has one row, so since= has no meaning there")
    return joined_rows(asked.published, name, asked.symbol, limit, asked.closes, symbol=symbol)


def get_average_price(symbol: str | None = None) -> float:
    """VWAP of the newest closed one-minute candles, of longer base bars the last close; by default of the run's symbol.

    In quote currency.

    Examples
    --------
    >>> import bknb
    >>> def get_signal():
    ...     assert bknb.get_average_price() > 0
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return context_for("get_average_price").get_average_price(symbol)
