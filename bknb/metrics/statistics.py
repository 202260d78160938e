"""Statistics of closed trades, each figure with its definition.

`statistics` measures one sample, `heat_statistics` one sample per symbol and all of them pooled. Figures
that a sample cannot support are None, never a made-up number: the gates are ten trades for ratios, 14 days and
at most 365 trades a year for everything annualised. `DEFINITIONS` holds formula, unit, source and
gate of every figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .figure_table import HeatStatistics, Statistics
from .heat_of_symbols import heat_statistics
from .trade_definitions import DEFINITIONS, HEAT_DEFINITIONS, OF_ACCOUNT, OF_RESULTS, Definition
from .trade_sharpe_and_other_formulas import measure
from .trade_table import read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

__all__ = [
    "DEFINITIONS",
    "HEAT_DEFINITIONS",
    "Definition",
    "HeatStatistics",
    "Statistics",
    "heat_statistics",
    "ranked_beside_points",
    "statistics",
]


def statistics(trades: pd.DataFrame | Iterable[Mapping[str, Any]]) -> Statistics:
    """Statistics of closed trades as one sample.

    The order of the rows is the order of arrival, which decides streaks; drawdown, compounding and the price
    profile go by exit time. Rows without a numeric result, or without an entry and an exit time above zero,
    are left out of every figure and counted in ``dropped``. No row is left out for being old.

    Parameters
    ----------
    trades : DataFrame or iterable of mappings
        One row per closed trade. ``pending_at`` (entry), ``close_timestamp`` or ``closed_at`` (exit): UTC
        milliseconds or datetimes, a naive datetime being UTC. ``pnl_percentage``: realised result in
        percent. Optional, None or NaN where unknown: ``price_close`` (quote currency),
        ``peak_percentage`` and ``trough_percentage`` (best and worst unrealised result in percent),
        ``adds`` (how many adds of the position filled), ``largest_cost`` (the most that was held at its cost, where
        the first fill costs 1), ``points`` (realised result in quote currency for each unit; where a row has them and
        no percentage, results of all rows are points). With both exit columns present, ``close_timestamp`` is read.
        Other columns are ignored.

    Returns
    -------
    Statistics
        A mapping from name to figure, None where not available; ``.definitions`` and ``.explain(name)``
        hold the meaning of each figure. Where a position was added to (``adds`` above 0, or where they are unknown
        ``largest_cost`` above 1), or a ``place`` is named, figures that compound are None: adds and places need a
        capital. They are None, too, where results are in points, and the unit of ``total_pnl`` and the like is then
        "points". ``trades_per_year`` is 0.0 when nothing is annualised. Without any usable row the counts are 0 and
        everything else is None.

    Raises
    ------
    UsageError
        When it is not a table, a required column is missing (the text names the missing and the present columns),
        times look like seconds, or a trade closes before it opens.

    Examples
    --------
    >>> day = 86_400_000
    >>> trades = [
    ...     {"pending_at": at * day, "closed_at": (at + 1) * day, "pnl_percentage": 1.0 if at % 3 else -1.0}
    ...     for at in range(1, 31)
    ... ]
    >>> stats = statistics(trades)
    >>> stats["n"], round(stats["win_rate"], 2), round(stats["sharpe_ratio"], 4)
    (30, 66.67, 0.3476)
    >>> stats["trades_per_year"], stats["blown"], stats["trend"]
    (365.0, False, None)
    """
    ledger = read_ledger(trades)
    sample = ledger.with_result_and_times()
    return Statistics(
        measure(sample, dropped=len(ledger) - len(sample)),
        in_points=ledger.in_points,
        closed_below_zero=sample.closed_below_zero,
    )


def ranked_beside_points(figures: Statistics, trades: Any) -> Statistics:
    """The figures of a sample in percent beside others in points: those without a unit are of its results in points.

    Parameters
    ----------
    figures : Statistics
    trades : DataFrame
        Its trades, with ``points``.
    """
    made = statistics(trades.assign(pnl_percentage=float("nan")))
    kept = {*OF_ACCOUNT, *OF_RESULTS} & figures.keys()
    return figures.replaced({name: made[name] for name in figures.keys() - kept})
