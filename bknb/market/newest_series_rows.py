"""What a strategy asks of a point-in-time series: the newest rows at a moment, or for each candle the newest row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from ..domain.whole_number import whole_number
from ..errors import UsageError
from .candles import Candles
from .series_tables import span_ms

if TYPE_CHECKING:
    from .candle_closes import CandleCloses
    from .point_in_time_series import Published
    from .series_rows import SeriesRows

ReadSeries: TypeAlias = "Callable[[str, str, int], Published]"
"""From the name of a series, a symbol and a moment (UTC ms) to its rows, with all that are known at that moment."""


def newest_rows(
    read: ReadSeries | None, name: str, own: str, when: int, *, limit: object, since: object, symbol: str | None
) -> SeriesRows:
    """The rows that are known at a moment (UTC ms); ``own`` is the symbol of the question. See ``get_series``."""
    if isinstance(limit, Candles):
        raise UsageError(
            f"series {name!r}: candles are given in get_signals, where each gets the row known at its close\n"
            f"in get_signal, manage and callbacks say how many rows: get_series({name!r}, 5)"
        )
    if limit is None and since is None:
        raise UsageError(f"series {name!r}: say how many rows, such as 5, or since when, such as since='24h'")
    if limit is not None:
        limit = whole_number("limit", limit, least=1, hint="it says how many of the newest rows to return, such as 5")
    begin, whose = _since(since, when), own if symbol is None else symbol
    return _table(read, name, whose, when, named=symbol is not None).rows(whose, when, limit, begin)


def rows_of_several_symbols(rows: SeriesRows, name: str, who: str, *, named: bool) -> SeriesRows:
    """The rows that ``who``, who stands for several symbols, asked for; ``named``: they say of which they are to be.

    Raises
    ------
    UsageError
        The rows are of symbols, and of which was not said.
    """
    if named or "symbol" not in rows.columns:
        return rows
    raise UsageError(
        f"series {name!r} has rows of symbols, and {who} several symbols at once\n"
        f"say of which: ctx.series({name!r}, 5, symbol=ctx.symbols[0])"
    )


def joined_rows(
    read: ReadSeries | None, name: str, own: str, candles: object, by: CandleCloses, *, symbol: str | None
) -> SeriesRows:
    """For each candle the newest row that is known at its close."""
    if not isinstance(candles, Candles):
        raise UsageError(
            f"series {name!r}: in get_signals give the candles, get_series({name!r}, candles): for each of them the "
            f"newest row that was known at its close comes back; got {candles!r:.80}"
        )
    closes = by.of(candles.timestamp)
    if closes is None:
        how = "are closer together than its interval" if by.days is None else "are no days of its market"
        how = how if by.grid is None else "open when none of its candles does"
        raise UsageError(
            f"series {name!r}: these are not the candles of get_signals, they {how}\n"
            f"give those it was called with, or some of them: get_series({name!r}, candles)"
        )
    whose, last = own if symbol is None else symbol, int(closes[-1]) if len(closes) else 0
    return _table(read, name, whose, last, named=symbol is not None).joined(whose, closes)


def _table(read: ReadSeries | None, name: str, symbol: object, when: int, *, named: bool) -> Published:
    """The rows of a series; ``named``: the user says whose are wanted."""
    if read is None:
        raise UsageError(
            f"series {name!r} cannot be read here: this question is not one of a run\n"
            "read it in a strategy of bknb.backtest, bknb.Live or bknb.sweep"
        )
    if not (isinstance(symbol, str) and symbol):
        raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r:.80}")
    table = read(name, symbol, when)
    if named and len(table) and not table.has_symbols:
        raise UsageError(
            f"series {name!r} has no column of symbols, so none can be chosen with symbol={symbol!r}\n"
            "leave symbol= out: its rows are of all symbols"
        )
    return table


def _since(since: object, when: int) -> int | None:
    """The first moment (UTC ms) at which a row may have been published; a span ends now and leaves its begin out."""
    if since is None:
        return None
    if isinstance(since, (str, timedelta)):
        return when - span_ms(since, "since") + 1
    return moment_ms(since)


def moment_ms(since: object) -> int:
    """A moment as UTC milliseconds: an aware datetime, or that number itself.

    Raises
    ------
    UsageError
        It is neither, or has no time zone.

    Examples
    --------
    >>> from datetime import UTC
    >>> moment_ms(datetime(1970, 1, 2, tzinfo=UTC))
    86400000
    """
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise UsageError(
                f"since must have a time zone, got {since!r}\ngive it one: since.replace(tzinfo=timezone.utc)"
            )
        return round(since.timestamp() * 1000)
    hint = "or give a span such as '24h', or an aware datetime"
    return whole_number("since in UTC milliseconds", since, least=0, hint=hint)
