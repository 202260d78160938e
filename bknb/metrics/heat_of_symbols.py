"""Statistics by symbol, and of all symbols together."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from .figure_table import HeatStatistics, Statistics
from .trade_definitions import HEAT_DEFINITIONS, PORTFOLIO_POOLED, PORTFOLIO_WEIGHTED
from .trade_sharpe_and_other_formulas import measure
from .trade_table import read_ledger
from .trend_and_pressure import total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from .trade_table import Ledger


def heat_statistics(trades: pd.DataFrame | Iterable[Mapping[str, Any]]) -> HeatStatistics:
    """Statistics of closed trades by symbol, and of all of them pooled.

    Pooled, all trades of all symbols are one sample in order of exit: that is not a portfolio, because trades that were
    open at the same time count as one after the other. For a portfolio, backtest each symbol and combine
    ``result.equity``. Unlike `statistics`,
    rows with unusable times are kept; such a row has no duration, does not stretch the calendar span, and is
    walked as if it had closed first. Only rows without a numeric result are left out.

    Parameters
    ----------
    trades : DataFrame or iterable of mappings
        One row per closed trade, as for `statistics`; ``symbol`` is required.

    Returns
    -------
    HeatStatistics
        A mapping with ``total_symbols``, the figures of the pooled trades (``portfolio_total_pnl``,
        ``portfolio_sharpe_ratio``, ``portfolio_total_trades``, ...) and ``per_symbol``: symbol to `Statistics`,
        by Sharpe ratio descending, symbols without one last. ``.definitions`` holds the meaning of each figure.
        Two figures differ from `statistics` when a sample holds break-even trades only: the win rate, and
        the expectancy of a symbol, are None.

    Raises
    ------
    UsageError
        When it is not a table, a required column is missing, or a trade closes before it opens.

    Examples
    --------
    >>> trade = {"pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}
    >>> heat = heat_statistics([trade | {"symbol": "BTCUSDT"}, trade | {"symbol": "ETHUSDT"}])
    >>> heat["portfolio_total_trades"], heat["portfolio_total_pnl"], list(heat["per_symbol"])
    (2, 3.0, ['BTCUSDT', 'ETHUSDT'])
    """
    ledger = read_ledger(trades, symbols=True)
    rows = [(symbol, _of_symbol(own)) for symbol, own in ledger.by_symbol().items()]
    rows.sort(key=lambda row: _rank(row[1]))
    return HeatStatistics(_portfolio(ledger, dict(rows)), in_points=ledger.in_points)


def _of_symbol(ledger: Ledger) -> Statistics:
    sample = ledger.with_result()
    figures = Statistics(
        measure(sample, dropped=len(ledger) - len(sample)),
        in_points=ledger.in_points,
        closed_below_zero=sample.closed_below_zero,
    )
    if not figures["win_count"] and not figures["loss_count"]:
        figures["win_rate"] = figures["expectancy"] = None
    return figures


def _rank(figures: Statistics) -> float:
    """Sort key: Sharpe descending, None last, ties in order of appearance."""
    sharpe = figures["sharpe_ratio"]
    return -sharpe if isinstance(sharpe, float) else inf


def _portfolio(ledger: Ledger, per_symbol: dict[str, Statistics]) -> dict[str, Any]:
    pooled = measure(ledger.with_result())
    if not pooled["win_count"] and not pooled["loss_count"]:
        pooled["win_rate"] = None
    figures: dict[str, Any] = {"total_symbols": len(per_symbol), "per_symbol": per_symbol}
    for key in ("total_pnl", "peak_profit_pnl", "max_drawdown_pnl", *PORTFOLIO_POOLED):
        figures[f"portfolio_{key}"] = pooled[key]
    for key in PORTFOLIO_WEIGHTED:
        figures[f"portfolio_{key}"] = _weighted(per_symbol.values(), key)
    return {key: figures[key] for key in HEAT_DEFINITIONS}


def _weighted(rows: Iterable[Statistics], key: str) -> float | None:
    """Mean of a figure over the symbols that have it, weighted by their trade counts."""
    held = [(int(row["n"] or 0), value) for row in rows if isinstance(value := row[key], float)]
    count = sum(weight for weight, _ in held)
    return total([weight * value for weight, value in held]) / count if count else None
