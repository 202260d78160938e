"""Means of figures over the symbols of a sweep: of those that are known, those of symbols without trades included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..kernels.sweep_figures import FIGURES
from ..metrics.reasons import ADDS, ADDS_INSTEAD, BELOW_ZERO, OF_POINTS, RANKED_INSTEAD
from ..metrics.trade_definitions import OF_ACCOUNT, OF_RESULTS
from ..metrics.why_figure_is_missing import why_missing_in_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..kernels.simulate import Market

_N: Final = FIGURES.index("n")
_EQUITY: Final = FIGURES.index("equity_final")
_TOTAL: Final = FIGURES.index("total_pnl")
PERCENTAGES: Final = [at for at, name in enumerate(FIGURES) if name in OF_RESULTS]
"""Where the figures are that have the unit of the results, percent."""
COMPOUNDED: Final = [at for at, name in enumerate(FIGURES) if name in OF_ACCOUNT]
"""Where the figures are that compound: those of an account."""
_WITHOUT_TRADES: Final = {"total_pnl": 0.0, "equity_final": 1.0, "max_drawdown": 0.0}


def added_on(figures: NDArray[np.float64]) -> NDArray[np.bool_]:
    """On which symbols a combination added to a position: there are trades, and no equity of them; shape (symbols,).

    Parameters
    ----------
    figures : ndarray of float64, shape (symbols, len(FIGURES))
        NaN where not available.
    """
    added: NDArray[np.bool_] = (figures[:, _N] > 0) & np.isnan(figures[:, _EQUITY])
    return added


def in_points_on(figures: NDArray[np.float64]) -> NDArray[np.bool_]:
    """On which symbols a combination opened a position at or below zero: there is no sum in percent; shape (symbols,).

    Parameters
    ----------
    figures : ndarray of float64, shape (symbols, len(FIGURES))
        NaN where not available.
    """
    found: NDArray[np.bool_] = (figures[:, _N] > 0) & np.isnan(figures[:, _TOTAL])
    return found


def is_at_zero(market: Market) -> bool:
    """Whether a market has prices at or below zero, at which some combination may open a position."""
    return bool(market.low.min(initial=np.inf) <= 0)


def with_ratios_of(points: NDArray[np.float64], figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The figures of one combination on a symbol, those without a unit taken from its results in points.

    So they are of one kind in all combinations on a market at which some of them have no percentages.

    Parameters
    ----------
    points, figures : ndarray of float64, shape (len(FIGURES),)
        The figures of results in points, and of results in percent.

    Examples
    --------
    >>> made = with_ratios_of(np.zeros(len(FIGURES)), np.ones(len(FIGURES)))
    >>> [made[FIGURES.index(name)].item() for name in ("total_pnl", "equity_final", "sharpe_ratio")]
    [1.0, 1.0, 0.0]
    """
    made, kept = points.copy(), [*PERCENTAGES, *COMPOUNDED]
    made[kept] = figures[kept]
    return made


def told_of_points(
    symbols: Sequence[str], at_zero: Sequence[bool], figures: Mapping[int, NDArray[np.float64]]
) -> list[str]:
    """Warnings of symbols on which figures are of points, though some combinations have percentages; see above.

    Parameters
    ----------
    symbols : sequence of str
    at_zero : sequence of bool
        Which of them have prices at or below zero.
    figures : mapping of int to ndarray of float64, shape (symbols, len(FIGURES))
        The figures of each combination on each symbol; NaN where not available.

    Examples
    --------
    >>> told_of_points(["CL"], [True], {0: np.ones((1, len(FIGURES)))})[0].partition(":")[0]
    'CL has prices at or below zero'
    """
    found = []
    for at, symbol in enumerate(symbols):
        if not at_zero[at]:
            continue
        traded = [bool(in_points_on(rows)[at]) for rows in figures.values() if rows[at, _N] > 0]
        if not all(traded):
            below = f"; {sum(traded):,} of {len(figures):,} opened a position there" if any(traded) else ""
            found.append(f"{symbol} has prices at or below zero: {OF_POINTS} of all combinations{below}")
    others = [symbol for at, symbol in enumerate(symbols) if not at_zero[at]]
    if others and len(others) < len(symbols):
        found.append(f"{', '.join(others)}: {OF_POINTS} there, too, as means are of all symbols")
    return found


def why_no_account(figures: NDArray[np.float64]) -> str:
    """Why a combination has no figure that compounds on some symbol; empty where it has; ``figures`` as above."""
    if in_points_on(figures).any():
        return BELOW_ZERO
    return ADDS if added_on(figures).any() else ""


def missing_by_adds(metric: str, figures: Mapping[int, NDArray[np.float64]]) -> list[str]:
    """The warning of a sweep that ranks by a figure that combinations with adds do not have; none for other figures.

    Another one where there is none of combinations that opened a position at or below zero.

    Parameters
    ----------
    metric : str
    figures : mapping of int to ndarray of float64, shape (symbols, len(FIGURES))
        The figures of each combination on each symbol; NaN where not available.

    Examples
    --------
    >>> row = np.ones((1, len(FIGURES)))
    >>> row[0, FIGURES.index("equity_final")] = np.nan
    >>> missing_by_adds("equity_final", {0: row, 1: np.ones((1, len(FIGURES)))})[0].partition(":")[0]
    '1 of 2 combinations added to a position or had places and has no equity_final'
    """
    below = {number for number, rows in figures.items() if in_points_on(rows).any()}
    added = sum(bool(added_on(rows).any()) for number, rows in figures.items() if number not in below)
    them = "combination" if len(figures) == 1 else "combinations"
    found = []
    if added and metric in OF_ACCOUNT:
        have = "has" if added == 1 else "have"
        counted = f"{added:,} of {len(figures):,} {them} added to a position or had places and {have} no {metric}"
        found.append(f"{counted}: {ADDS}. Ranked last; {ADDS_INSTEAD}")
    if below and metric in OF_ACCOUNT | {*OF_RESULTS}:
        have = "has" if len(below) == 1 else "have"
        found.append(
            f"{len(below):,} of {len(figures):,} {them} {have} no {metric}: {BELOW_ZERO}. Ranked last; {RANKED_INSTEAD}"
        )
    return found


def known_figures(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The figures of one combination on each symbol, with what is known of symbols without trades.

    A symbol without trades made nothing and lost nothing, so sums, equity and drawdown are known there; ratios are not.
    A combination without a trade on any symbol keeps NaN: there is nothing to rank. Where it added to a position on one
    symbol, no symbol has a figure that compounds: a mean over the others would be that of another set of symbols. Where
    it opened one at or below zero on a symbol, no symbol has a figure in percent.

    Parameters
    ----------
    figures : ndarray of float64, shape (symbols, len(FIGURES))
        NaN where not available; a symbol on which the combination failed has no figure at all.

    Examples
    --------
    >>> traded, idle = np.full(len(FIGURES), 8.0), np.full(len(FIGURES), np.nan)
    >>> idle[FIGURES.index("n")] = 0
    >>> known_figures(np.array([traded, idle]))[:, FIGURES.index("total_pnl")].tolist()
    [8.0, 0.0]
    """
    if len(figures) == 1:
        return figures
    counts = figures[:, _N]
    idle, adds = counts == 0, bool(added_on(figures).any())
    if not (counts > 0).any() or not (adds or idle.any()):
        return figures
    known = figures.copy()
    for name, value in _WITHOUT_TRADES.items():
        known[idle, FIGURES.index(name)] = value
    if adds:
        known[:, COMPOUNDED] = np.nan
    if in_points_on(figures).any():
        known[:, PERCENTAGES] = np.nan
    return known


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row without its NaN; NaN for a row of nothing else.

    Examples
    --------
    >>> mean_of_known(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    if values.shape[1] == 1:
        return values[:, 0] + 0.0  # no -0.0, as a sum has none
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    mean: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=1) / np.where(count, count, np.nan)
    return mean


def missing_symbols(
    symbols: Sequence[str],
    metric: str,
    figures: Mapping[int, NDArray[np.float64]],
    errors: Mapping[tuple[int, int], str],
) -> list[str]:
    """Warnings of symbols on which combinations failed, and of those that are missing in means; none for one symbol.

    Parameters
    ----------
    symbols : sequence of str
    metric : str
    figures : mapping of int to ndarray of float64, shape (symbols, len(FIGURES))
        The figures of each combination on each symbol; NaN where not available.
    errors : mapping of (int, int) to str
        Why a combination failed on the symbol of that place; empty where it did not.

    Examples
    --------
    >>> failed = {(0, 0): "", (0, 1): "ValueError: no"}
    >>> missing_symbols(["A", "B"], "n", {0: np.full((2, len(FIGURES)), np.nan)}, failed)[0].partition(":")[0]
    '1 of 1 combinations failed on B (first'
    """
    if len(symbols) < 2:
        return []
    found, total, column = [], len(figures), FIGURES.index(metric)
    whole = {number: rows for number, rows in figures.items() if not any(errors[number, at] for at in range(len(rows)))}
    if metric in OF_ACCOUNT:
        whole = {number: rows for number, rows in whole.items() if not added_on(rows).any()}
    for at, symbol in enumerate(symbols):
        broken = [number for number in figures if errors[number, at]]
        if broken:
            found.append(
                f"{len(broken):,} of {total:,} combinations failed on {symbol} (first: combination {broken[0]}, "
                f"{errors[broken[0], at]}): they have no mean and are ranked last; see result.errors"
            )
        missing = [rows[at] for rows in whole.values() if np.isnan(rows[at, column])]
        if missing:
            whys = dict.fromkeys(why_missing_in_row(metric, dict(zip(FIGURES, row, strict=True))) for row in missing)
            found.append(
                f"{symbol} has no {metric} with {len(missing):,} of {len(whole):,} combinations ({'; '.join(whys)}): "
                "their means are over the other symbols; see the column symbols"
            )
    return found
