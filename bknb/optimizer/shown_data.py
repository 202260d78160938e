"""Sources of an optimizer: candles with indicators, trades of a result, or any function.

Examples
--------
>>> import bknb.sources
>>> bknb.sources.candles("1h").name
'1h candles'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..config import get_config
from ..domain.formatting import exact_text
from ..domain.interval import floor_to, interval_ms
from ..errors import UsageError
from . import indicators
from .shown_data_pages import Source, as_source

if TYPE_CHECKING:
    from ..llm.tables import Row
    from ..runs.result import Result

__all__ = ["Source", "candles", "function", "trades"]


def candles(interval: str, *, with_indicators: bool = True, exchange: Any = None) -> Source:
    """Return a source of candles of one interval, with indicators for it.

    RSI, MACD, ADX with DI, ATR, Bollinger bands, averages, rate of change, volume against its average, support and
    resistance: by TA-Lib where it is installed, else by formulas of our own that agree with it.

    Parameters
    ----------
    interval
        ``"1m"`` … ``"1d"``; several intervals are several sources.
    with_indicators
        ``False``: prices and volume alone.
    exchange
        Where the candles come from; ``None``: the exchange of the optimizer.

    Examples
    --------
    >>> candles("15m").legend["rsi"].startswith("relative strength index over 9 candles")
    True
    """
    step = interval_ms(interval)
    lengths = indicators.lengths_for(step)
    own = exchange
    pages: dict[tuple[str, int, int], list[Row]] = {}

    async def fetch(
        symbol: str, start: datetime, end: datetime, limit: int, offset: int, exchange: Any = None
    ) -> list[Row]:
        span = (symbol, _ms(start), _ms(end))
        if span not in pages:
            pages.clear()  # one range at a time
            source = _resolved(own if own is not None else exchange)
            pages[span] = await _candle_rows(source, *span, interval, lengths if with_indicators else None)
        return pages[span][offset : offset + limit]

    note = f"Each row is one closed {interval} candle, oldest first; times are UTC."
    return Source(name=f"{interval} candles", fetch=fetch, note=note, legend=indicators.legend(lengths))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _resolved(exchange: Any) -> Any:
    if exchange is None:
        raise UsageError("candles need an exchange: bknb.add_optimizer(..., exchange='demo')")
    from ..engine.resolve import resolve_exchange

    return resolve_exchange(exchange).source


async def _candle_rows(
    source: Any, symbol: str, start: int, end: int, interval: str, lengths: indicators.Lengths | None
) -> list[Row]:
    from ..llm.tables import short_number
    from ..market.feed import Feed
    from ..market.source_hours import bar_grid_of
    from ..market.system_clock import SystemClock

    step = interval_ms(interval)
    feed = Feed(source, get_config(), allow_gaps=True, now=SystemClock().now)
    since = start - (indicators.WARM_UP * step if lengths else 0)
    grid = bar_grid_of(source, symbol)
    series = await feed.fetch(symbol, interval, since, floor_to(end, step) if grid is None else end)
    if grid is not None:  # the last of a session ends with it
        series = series[: int(grid.ends(series.timestamp, step).searchsorted(end, side="right"))]
    made = indicators.columns(series, lengths) if lengths and len(series) else {}
    rows: list[Row] = []
    for at in range(len(series)):
        opened = int(series.timestamp[at])
        if opened < start:
            continue
        row: dict[str, Any] = {"id": opened, "time": _time(opened)}
        for name in ("open", "high", "low", "close", "volume"):
            row[name] = float(getattr(series, name)[at])
        for name, values in made.items():
            digits = 6 if name in ("ema_f", "ema_s", "sma", "support", "resist") else 3
            row[name] = short_number(float(values[at]), digits=digits)
        rows.append(row)
    return rows


def _time(when: int) -> str:
    return exact_text(when).removeprefix("20")


_TRADE_LEGEND: dict[str, str] = {
    "opened": "when the position was opened, UTC",
    "side": "long or short",
    "entry": "price at which it was opened",
    "target": "take profit",
    "stop": "stop loss",
    "exit": "price at which it was closed",
    "reason": "why it was closed",
    "minutes": "how long it was open",
    "net%": "result after fees and slippage, percent of the entry",
    "best%": "best result on the way, percent",
    "worst%": "worst result on the way, percent",
}


def trades(result: Result, *, name: str = "") -> Source:
    """Return a source of the trades of a result.

    Only trades that were closed within a training range are shown for it.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> trades(result, name="nothing").name
    'trades of nothing'
    """

    def fetch(start: datetime, end: datetime) -> list[Row]:
        table = result.trades
        rows: list[Row] = []
        for trade in table.to_dict("records"):
            if not (start <= trade["pending_at"] and trade["closed_at"] <= end):
                continue
            rows.append(
                {
                    "id": str(trade["signal_id"]),
                    "opened": _time(_ms(trade["pending_at"])),
                    "side": trade["position"],
                    "entry": trade["price_open"],
                    "target": trade["price_take_profit"],
                    "stop": trade["price_stop_loss"],
                    "exit": trade["price_close"],
                    "reason": trade["close_reason"],
                    "minutes": trade["minutes"],
                    "net%": round(trade["pnl_percentage"], 3),
                    "best%": round(trade["peak_percentage"], 3),
                    "worst%": round(trade["trough_percentage"], 3),
                }
            )
        return rows

    note = "Each row is a trade of a strategy that was tried before; learn from its losses."
    return Source(name=f"trades of {name or result.strategy}", fetch=fetch, note=note, legend=_TRADE_LEGEND)


def function(
    fetch: Callable[..., Any],
    *,
    name: str = "",
    note: str = "",
    legend: Mapping[str, str] | None = None,
    user: Callable[..., str] | None = None,
    assistant: Callable[..., str] | None = None,
) -> Source:
    """Return a source that calls a function.

    Parameters
    ----------
    fetch
        Asks for what it wants by parameter name, any of ``symbol``, ``start``, ``end`` (aware datetimes, UTC),
        ``limit`` and ``offset`` (pages), ``exchange``; sync or async. Returns mappings with a unique ``id``, oldest
        first, or a DataFrame.
    name, note, legend
        Explanation of the rows for the model.
    user, assistant
        ``(symbol, rows, name) -> text``, in place of the table and of the model's answer to it.

    Examples
    --------
    >>> def funding(symbol, start, end):
    ...     return [{"id": 1, "time": start, "rate%": 0.01}]
    >>> function(funding, note="Funding rates of the perpetual.").name
    'funding'
    """
    made = as_source(fetch, number=1)
    return Source(
        name=name or made.name, fetch=fetch, note=note, legend=dict(legend or {}), user=user, assistant=assistant
    )
