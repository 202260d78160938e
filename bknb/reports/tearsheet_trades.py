"""The trades of a result on its tear sheet: figures, legs, costs, best and worst."""

from __future__ import annotations

import math
from math import isnan
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ..domain.formatting import price_decimals
from ..domain.printed_text import DASH, printed_number, printed_percent, printed_span
from ..metrics.trade_definitions import DEFINITIONS
from ..metrics.why_figure_is_missing import why_missing
from .portfolio_leg_table import profit_factor_of
from .tearsheet_content import Cell, Headline, Histogram
from .tearsheet_run import SheetRun, signed, tone_of
from .time_columns import ms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..metrics.figure_table import Statistics
    from .equity_arrays import Floats

_TRADES: Final = 5  # best, and as many worst
_LEGS: Final = 12
_BINS: Final = 22
_OUTER: Final = 2.0  # percent of the trades on each side that go into the outermost bar
_SIGNED: Final = frozenset({"avg_pnl", "avg_win", "avg_loss", "median_pnl", "total_pnl"})
_OF_TRADES: Final = (
    *("win_rate", "profit_factor", "avg_pnl", "median_pnl", "avg_win", "avg_loss"),
    *("avg_duration", "max_win_streak", "max_loss_streak"),
)


def trade_count(run: SheetRun) -> Headline:
    """How many trades there were, and how they ended."""
    stats = run.stats
    won = "" if stats["win_rate"] is None else f"{printed_percent(stats['win_rate'], 0)} won"
    won_by_lost = _profit_factor(run)
    factor = "" if won_by_lost is None else f"profit factor {printed_number(won_by_lost)}"
    open_now = 0 if run.account is None else int(run.account["positions"]) - len(run.trades)
    still = f"{open_now:,} still open" if open_now > 0 else ""
    note = ", ".join(text for text in (won, factor, still) if text)
    return Headline(label="Trades", value=printed_number(len(run.trades), 0), note=note or "no trade was closed")


def _profit_factor(run: SheetRun) -> float | None:
    """That of a portfolio with a capital is of money, as its notebook says it: its positions have several sizes."""
    if run.is_portfolio and run.money is not None:
        return profit_factor_of(run.trades["money"].to_numpy(dtype=np.float64))
    known: float | None = run.stats["profit_factor"]
    return known


def trade_headlines(run: SheetRun) -> tuple[Headline, ...]:
    """The large figures of what has no account."""
    stats, column = run.stats, run.trades[run.result_column]
    units = dict.fromkeys(("avg_pnl", "avg_win", "avg_loss"), "" if stats.in_points else "of the entry value")
    if stats.in_points:
        units["avg_pnl"] = f"{stat_text(stats, 'total_pnl')} in all"
    return (
        trade_count(run),
        *(
            Headline(
                label=DEFINITIONS[key].label,
                value=stat_text(stats, key),
                note=why_missing(key, stats) if stats[key] is None else unit,
            )
            for key, unit in units.items()
        ),
        Headline(label="Best trade", value=_result_text(stats, column.max())),
        Headline(label="Worst trade", value=_result_text(stats, column.min())),
    )


def legs_title(run: SheetRun) -> str:
    """What the figures of the legs are."""
    if not run.is_portfolio:
        return ""
    if run.money is None:
        return "Legs, each alone, %"
    return "Legs, parts of the start" if run.capital == 1.0 else f"Legs, net {run.unit}".rstrip()


def leg_rows(run: SheetRun) -> tuple[tuple[str, Cell], ...]:
    """What each leg made, the best first; of many those that moved least in one row."""
    if not run.is_portfolio:
        return ()
    if run.money is None:
        values = {key: leg.account["total_return"] for key, leg in run.legs.items()}
        decimals = 1
    else:
        values, decimals = run.result.contribution["money"].to_dict(), run.decimals
    named = {run.leg_name(symbol, name): value for (symbol, name), value in values.items()}
    known = sorted(
        ((name, float(value)) for name, value in named.items() if value is not None), key=lambda row: -row[1]
    )
    missing = [name for name, value in named.items() if value is None]
    return few_of(known, missing, decimals=decimals, added=run.money is not None)


def few_of(
    known: Sequence[tuple[str, float]], missing: Sequence[str], *, decimals: int, added: bool = False
) -> tuple[tuple[str, Cell], ...]:
    """Rows of legs: all of a few; of many the first and the last, and between them one row of all others.

    Parameters
    ----------
    known
        Names and figures, the best first.
    missing
        Names of those without one.
    decimals
        Of the figures.
    added
        Whether figures add up: the row of the others has their sum, else the least and the most of them.
    """
    first, others, last = known, known[:0], known[:0]
    if len(known) > _LEGS:
        half = _LEGS // 2
        first, others, last = known[:half], known[half:-half], known[-half:]
    total = sum(value for _, value in others)
    shown = [*first, *last, *([("", total)] if added else [])]
    largest = max((abs(value) for _, value in shown), default=0.0) or 1.0

    def row(name: str, value: float) -> tuple[str, Cell]:
        return name, Cell(text=signed(value, decimals), tone=tone_of(value), bar=value / largest)

    rows = [row(*each) for each in first]
    if others and added:
        rows.append(row(f"{len(others):,} others", total))
    elif others:
        between = f"{signed(others[-1][1], decimals)} to {signed(others[0][1], decimals)}"
        rows.append((f"{len(others):,} others", Cell(text=between)))
    rows += [row(*each) for each in last]
    rows += [(name, Cell(text=DASH)) for name in missing[:_LEGS]]
    more = len(missing) - _LEGS
    return (*rows, *([(f"{more:,} other{'s' if more > 1 else ''}", Cell(text=DASH))] if more > 0 else []))


def trade_histogram(run: SheetRun) -> Histogram | None:
    """How many trades had which result, in R where each had a stop; ``None`` for fewer than two."""
    results, at_risk = run.trades[run.result_column].to_numpy(dtype=np.float64), _risked(run)
    unit: Literal["%", "points", "R"] = "points" if run.stats.in_points else "%"
    mean = stat_text(run.stats, "avg_pnl")
    if len(results) and (at_risk > 0).all():
        results = results / at_risk
        unit, mean = "R", f"{signed(float(results.mean()), 3)} R"
    if len(results) < 2:
        return None
    low, high = (float(each) for each in np.percentile(results, (_OUTER, 100 - _OUTER)))
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9:
        return None
    width = _round_up((high - low) / _BINS)
    edges: Floats = np.arange(math.floor(low / width), math.ceil(high / width) + 1, dtype=np.float64) * width
    counts = np.histogram(np.clip(results, edges[0], edges[-1]), edges)[0]
    return Histogram(edges=edges, counts=tuple(int(each) for each in counts), mean=mean, unit=unit)


def _risked(run: SheetRun) -> Floats:
    """What each trade had at risk between its entry and the stop of its signal, in the unit of its result."""
    entry, stop = (run.trades[name].to_numpy(dtype=np.float64) for name in ("price_open", "price_stop_loss"))
    side = np.where(run.trades["position"].to_numpy() == "long", 1.0, -1.0)
    risked: Floats = (entry - stop) * side
    return risked if run.stats.in_points else risked / np.abs(entry) * 100


def _round_up(width: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= width * 0.999)


def trade_figures(run: SheetRun) -> list[tuple[str, str, str]]:
    """Label, text and, where it is not available, the reason of each figure of the trades."""
    if not len(run.trades):
        return []
    stats = run.stats.replaced({"profit_factor": _profit_factor(run)})
    return [
        (DEFINITIONS[key].label, stat_text(stats, key), why_missing(key, stats) if stats[key] is None else "")
        for key in _OF_TRADES
    ]


def stat_text(stats: Any, key: str) -> str:
    """A figure of the trades with its unit."""
    value, unit = stats[key], stats.definitions[key].unit
    if value is None:
        return DASH
    if unit == "points":
        return (
            _result_text(stats, value) if key in _SIGNED else f"{printed_number(value, price_decimals(value))} points"
        )
    if unit == "%":
        return printed_percent(value, 0 if key == "win_rate" else 2, signed=key in _SIGNED)
    if unit == "minutes":
        return printed_span(value)
    return printed_number(value, 0) if isinstance(value, int) else printed_number(value)


def _result_text(stats: Statistics, value: float) -> str:
    """The result of a trade with its unit."""
    if stats.in_points:
        return f"{printed_number(value, price_decimals(value), signed=True)} points"
    return printed_percent(value, 2, signed=True)


_PAID: Final = (
    ("fees", "Fees"),
    ("slippage", "Slippage"),
    ("funding", "Funding"),
    ("borrow", "Interest"),
    ("forgiven", "Losses beyond the margin, which nobody paid"),
)


def costs_of(run: SheetRun) -> tuple[tuple[str, str, str], ...]:
    """What was paid, in money and percent of the start."""
    if run.no_account or run.account is None:
        return ()
    table = None if run.money is None else run.result.contribution
    rows = []
    for key, label in _PAID:
        percent = run.account.get(key)
        if percent is None or (percent == 0.0 and key not in ("fees", "slippage")):
            continue
        money = "" if table is None else printed_number(float(table[key].sum()), run.small_decimals)
        rows.append((label, money, printed_percent(percent, 2)))
    return tuple(rows)


def trade_rows(
    run: SheetRun,
) -> tuple[tuple[tuple[Cell, ...], ...], tuple[tuple[Cell, ...], ...], tuple[str, ...]]:
    """Rows of the best and of the worst trades, and the names of their columns."""
    trades = run.trades
    by = "money" if run.money is not None and "money" in trades else run.result_column
    has_points = "points" in trades
    columns = (
        *(("Leg",) if run.is_portfolio else ()),
        *("Side", "Opened", "Held", "Result, %"),
        *((f"Net {run.unit}".replace("x start", "of start").rstrip(),) if by == "money" else ()),
        *(("Points",) if has_points else ()),
        "Closed by",
    )
    ranked = trades[by].sort_values(ascending=False, kind="stable")
    best = trades.loc[ranked[ranked > 0].head(_TRADES).index]
    worst = trades.loc[ranked[ranked < 0].tail(_TRADES).index[::-1]]

    def rows(table: Any) -> tuple[tuple[Cell, ...], ...]:
        opened = ms_of(table["pending_at"])
        return tuple(
            (
                *((Cell(text=run.leg_name(str(row.symbol), str(row.strategy))),) if run.is_portfolio else ()),
                Cell(text=str(row.position)),
                Cell(text=run.moment(int(when))),
                Cell(text=printed_span(float(row.minutes))),
                Cell(text=DASH if isnan(net := row.pnl_percentage) else signed(net, 2), tone=tone_of(net)),
                *(
                    (Cell(text=signed(row.money, run.small_decimals), tone=tone_of(row.money)),)
                    if by == "money"
                    else ()
                ),
                *(
                    (Cell(text=signed(row.points, price_decimals(row.points)), tone=tone_of(row.points)),)
                    if has_points
                    else ()
                ),
                Cell(text=str(row.close_reason).replace("_", " ")),
            )
            for when, row in zip(opened, table.itertuples(), strict=True)
        )

    return rows(best), rows(worst), columns
