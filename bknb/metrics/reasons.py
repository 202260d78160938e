"""The reasons why a figure of trades is not available, and the sentence that lists those of one figure."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any, Final, NamedTuple

from ..domain.least_samples import GATES
from .trend_and_pressure import MIN_PROFILE_POINTS

FEW: Final = f"fewer than {GATES.min_trades} trades"
NO_TRADE: Final = "no trade"
ADDS: Final = "adds and places need a capital"
"""Why there is no account of positions that were added to, or of several at a time: what each weighs depends on how
much money there is."""
ADDS_INSTEAD: Final = (
    "read total_pnl, avg_pnl, sharpe_ratio or the trades: "
    "their results are in percent of the first fill of each position"
)
"""What to read in place of figures of an account."""
BELOW_ZERO: Final = "a position opened at or below zero, of which there is no percentage"
"""Why there is no account of such positions without a capital, and why their figures are in points."""
BELOW_ZERO_INSTEAD: Final = "read total_pnl, avg_pnl or the column points, which are in points, or sharpe_ratio"
"""What to read in place of figures of an account, and of percentages."""
POOLED_POINTS: Final = "results are in points: sums and means over several symbols weigh those with large prices most"
"""What to know of figures in points that several symbols have together."""
RANKED_INSTEAD: Final = "rank by sharpe_ratio, profit_factor or win_rate, which are of no unit"
"""By what strategies and parameter sets can be ranked of which some have no percentages."""
PEAKS_IN_PERCENT: Final = "results are in points, and the best and worst of a trade are known in percent alone"
"""Why figures of them are missing in a run in points."""
OF_POINTS: Final = "sharpe_ratio, profit_factor and other figures without a unit are made from results in points"
"""What to know of runs with percentages that are ranked beside others without."""
INSTEAD: Final = {ADDS: ADDS_INSTEAD, BELOW_ZERO: BELOW_ZERO_INSTEAD}
"""What to read where there is no account, by the reason."""
NO_WIN: Final = "no win"
NO_LOSS: Final = "no loss"
NO_WIN_NO_LOSS: Final = "no win and no loss"
NO_DRAWDOWN: Final = "no drawdown"
NO_SHARPE_RATIO: Final = "no sharpe_ratio"
NO_YEARLY_RETURNS: Final = "no expected_yearly_returns"
BLOWN: Final = "a blown account"
SHORT: Final = f"span under {GATES.min_span_days:g} days"
OFTEN: Final = f"more than {GATES.max_trades_per_year:g} trades a year"
CLOSED_BELOW_ZERO: Final = "a trade that closed at or below zero"
"""Why there is no trend and no step in percent of such closing prices."""
PROFILE: Final = f"fewer than {MIN_PROFILE_POINTS} closing prices"

FURTHER: Final = {NO_SHARPE_RATIO: "sharpe_ratio", NO_YEARLY_RETURNS: "expected_yearly_returns"}
"""Reasons that are another figure that is not available, with the key of that figure."""


def needs_capital(adds: Iterable[float], largest_costs: Iterable[float], sizes: Iterable[float]) -> bool:
    """Whether a position was added to that goes with all of the equity: then there is no account without a capital.

    Parameters
    ----------
    adds : iterable of float
        How many adds filled in each trade; NaN where unknown.
    largest_costs : iterable of float
        ``largest_cost`` of each trade, where the first fill costs 1; NaN where unknown. It decides for trades whose
        adds are unknown: what cost more than its first fill was added to. One that was made smaller before is not seen.
    sizes : iterable of float
        The part of the equity that each opened with, which may be added to; NaN: it said nothing, all of it.

    Examples
    --------
    >>> unknown, all_of_it = float("nan"), [float("nan")]
    >>> needs_capital([0, 1], [1.0, 0.9], all_of_it * 2), needs_capital([1], [1.9], [0.5])
    (True, False)
    >>> needs_capital([unknown], [1.9], all_of_it), needs_capital([unknown], [unknown], all_of_it)
    (True, False)
    """
    rows = zip(adds, largest_costs, sizes, strict=True)
    return any(isnan(size) and (cost > 1 + GATES.epsilon if isnan(count) else count > 0) for count, cost, size in rows)


def why_no_account(records: Any) -> str:
    """Why there is no account of the positions of a run without a capital; empty where there is one.

    Parameters
    ----------
    records
        The records of a run: whether a position opened at or below zero, and whether they need a capital.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> why_no_account(SimpleNamespace(opened_below_zero=False, needs_capital=False))
    ''
    """
    if records.opened_below_zero:
        return BELOW_ZERO
    return ADDS if records.needs_capital else ""


class Reasons(NamedTuple):
    """When a figure is not available.

    Attributes
    ----------
    each : tuple of str
        The reasons, in the order in which the sentence names them; empty where the figure never is missing.
    text : str
        The sentence that lists them.
    """

    each: tuple[str, ...]
    text: str


def any_of(*parts: str | Reasons, note: str = "") -> Reasons:
    """Reasons of which one suffices, from single ones and from several already joined; ``note`` ends the sentence.

    Examples
    --------
    >>> any_of("no win", "no loss", note=" (ever)")
    Reasons(each=('no win', 'no loss'), text='no win, or no loss (ever)')
    >>> any_of("no trade", any_of("no win", "no loss")).each
    ('no trade', 'no win', 'no loss')
    """
    joined = [part if isinstance(part, Reasons) else Reasons((part,), part) for part in parts]
    texts = [part.text for part in joined]
    text = ", or ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
    return Reasons(tuple(reason for part in joined for reason in part.each), text + note)


ANNUAL_GATES: Final = any_of(FEW, SHORT, OFTEN)
"""When nothing is annualised."""
