"""Evidence against luck: deflated Sharpe ratio, bootstrap intervals and backtest overfitting of one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import MISSING, number_text, percent_text, share_text
from ..domain.least_samples import GATES, MIN_DAYS
from ..errors import UsageError
from ..metrics.compounding import final_equity
from ..metrics.daily_returns import added_to, adds_in, of_results, sizes_in
from ..metrics.reasons import ADDS, why_no_account
from ..metrics.trade_definitions import DEFINITIONS, figure_text
from ..metrics.why_figure_is_missing import explained_text
from ..reports.markup import Html, cell, element, figures, fragment, html_figures, html_table, markdown_table
from .bootstrap import OF_TRADES, Intervals, bootstrap, percentages_of, row_of_numbers
from .deflated_sharpe import DeflatedSharpe, deflated_sharpe_ratio
from .overfitting_probability import Overfitting, overfitting

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_LUCK: Final = 0.05  # a chance above this is called luck in the sentence
_OWN_VALUE: Final = "all figures below are of trades in percent of their own value, however large they were"
_SIZED: Final = (
    "what compounds goes with the size of each trade; the other figures are of trades in percent of their own value"
)
_TITLES: Final = ("Figure", "Value", "Low", "High", "Winning side")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """Statistical evidence for a result.

    Attributes
    ----------
    name : str
    deflated : DeflatedSharpe
        The Sharpe ratio of the trades, with the search behind it counted.
    intervals : Intervals
        Bootstrap intervals of the main figures.
    overfitting : Overfitting or None
        Of the search, where its daily returns are known; combinations of a sweep that failed are left out, and what
        added to a position.
    failed : int
        How many combinations of the sweep failed.
    counted : int
        Strategies that the ledger of tries holds on these candles by now; 0 where there is none.
    unknown : str
        Why the ledger of tries does not tell how many there were; empty where it does.
    left_out : int
        Results that are no finite numbers.
    total_return : float or None
        Of an account that is put into each position in turn, percent; ``None`` where a position was added to (the
        column ``adds``): how much that weighs depends on how much money there is. Of a run with an account of its own,
        which has a capital or sizes, it is that of the account.
    of_account : bool
        Whether it is.
    sized : bool
        Whether trades have a ``size``, the part of the equity with which each goes into figures that compound.
    without_account : int
        How many of the search have no daily returns: they added to a position, which needs a capital, or opened one at
        or below zero, of which there is no percentage.
    why_left_out : str
        Which of the two it was, or both.
    """

    name: str
    deflated: DeflatedSharpe
    intervals: Intervals
    overfitting: Overfitting | None
    failed: int = 0
    counted: int = 0
    unknown: str = ""
    left_out: int = 0
    total_return: float | None = 0.0
    without_account: int = 0
    why_left_out: str = ADDS
    of_account: bool = False
    sized: bool = False

    @property
    def verdict(self) -> str:
        """The evidence in one sentence."""
        return f"{self._judged()}; tries unknown" if self.unknown else self._judged()

    def _judged(self) -> str:
        chance = self.deflated.p_value
        tried = self.deflated.trials
        of = "one strategy" if tried == 1 else f"the best of {tried:,.0f}"
        if chance is None:
            return self.deflated.too_few
        text = f"by luck alone {of} would look at least this good in {share_text(chance)} of all searches"
        if (self.deflated.sharpe_ratio or 0.0) < 0:
            return f"{text}: the results lose on average, there is no edge to explain"
        return f"{text}: {'that may well be luck' if chance > _LUCK else 'luck alone rarely does that'}"

    def to_pandas(self) -> pd.DataFrame:
        """The intervals as a table."""
        return self.intervals.to_pandas()

    def _pairs(self) -> list[tuple[str, str]]:
        own = self.deflated
        without = f" ({self.left_out:,} without a finite result are left out)" if self.left_out else ""
        known = f" ({self.counted:,} counted on these data)" if self.counted else ""
        tried = f"{own.trials:,.6g}{known}"
        if self.unknown:
            tried = f"at least {own.trials:,.6g} (tries unknown: ledger {self.unknown})"
        total = self.total_return
        pairs = [
            ("Verdict", self.verdict),
            (
                "Total return of the account" if self.of_account else "Total return, compounded",
                percent_text(total) if total is not None else f"{MISSING}: {ADDS}",
            ),
            *([("Sizes", _SIZED if self.sized else _OWN_VALUE)] if self.sized or self.of_account else []),
            ("Trades", f"{own.observations:,}{without}"),
            ("Tried", tried),
            ("Sharpe ratio (per trade)", self._known(number_text(own.sharpe_ratio))),
            ("Expected of the best of worthless ones", self._known(number_text(own.expected_maximum))),
            ("Probabilistic Sharpe ratio", self._known(share_text(own.probabilistic))),
            ("Deflated Sharpe ratio", self._known(share_text(own.deflated))),
            ("Chance that luck alone looks this good", own.too_few or share_text(own.p_value)),
        ]
        if self.overfitting is not None:
            left_out = f" ({self.failed:,} combinations that failed are left out)" if self.failed else ""
            what = "with adds or places are" if self.why_left_out == ADDS else "are"
            if self.without_account:
                left_out += f" ({self.without_account:,} {what} left out: {self.why_left_out})"
            pairs.append(("Probability of backtest overfitting", share_text(self.overfitting.probability) + left_out))
        elif self.without_account:
            pairs.append(("Probability of backtest overfitting", f"{MISSING}: {self.why_left_out}"))
        return pairs

    def _known(self, text: str) -> str:
        """A figure of the trades, with the reason where there is none."""
        few = self.deflated.observations < GATES.min_trades
        why = f"fewer than {GATES.min_trades} trades" if few else "all results are alike"
        return f"{text}: {why}" if text == MISSING else text

    def _rows(self) -> list[list[str]]:
        rows = []
        for row in self.intervals.rows:
            own, count = DEFINITIONS[row.figure], self.deflated.observations
            ends = [figure_text(own, end) for end in (row.low, row.high)]
            ends = [f"{MISSING}: most resamples have none" if end == MISSING else end for end in ends]
            winning = "has no such side" if row.winning is None else share_text(row.winning)
            rows.append([own.label, explained_text(row.figure, {"n": count, row.figure: row.value}), *ends, winning])
        return rows

    def _how(self) -> str:
        own = self.intervals
        return (
            f"{100 * own.level:g} % intervals by the {own.method} bootstrap: {own.resamples:,} resamples of blocks of "
            f"{own.block:.1f} trades on average, seed {own.seed}"
        )

    def report(self) -> str:
        """The evidence as Markdown, with the sources of the formulas."""
        lines = [f"# How far to believe: {cell(self.name)}", "", *figures(self._pairs()), ""]
        lines += [f"## {self._how()}", "", *markdown_table(_TITLES, self._rows()), "", "## Sources", ""]
        return "\n".join([*lines, *(f"- {source}" for source in SOURCES)]) + "\n"

    def __repr__(self) -> str:
        lines = [f"how far to believe {self.name}", *(f"  {label}: {text}" for label, text in self._pairs())]
        lines.append(f"  {self._how()}")
        for label, value, low, high, _ in self._rows():
            known = not (value.startswith(MISSING) and low.startswith(MISSING))
            lines.append(f"    {label}: {value}, from {low} to {high}" if known else f"    {label}: {value}")
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        head = html_figures(f"How far to believe {self.name}", self._pairs())
        return fragment(head, element("p", self._how()), html_table(_TITLES, self._rows()))


SOURCES: Final = (
    "Probabilistic Sharpe ratio: Bailey and López de Prado, Journal of Risk 15(2), 2012.",
    "Deflated Sharpe ratio: Bailey and López de Prado, Journal of Portfolio Management 40(5), 2014.",
    ("Chance of luck: studentised mean freed from skewness, Hall, Journal of the Royal Statistical Society B 54, 1992; "
    "blocks of Politis and Romano 1992; benchmarks/luck.py measures how well it holds."),
    "Chance of the best of N by luck: 1 - (1 - p)^N, Šidák, Journal of the American Statistical Association 62, 1967.",
    ("Probability of backtest overfitting: Bailey, Borwein, López de Prado and Zhu, Journal of Computational Finance, "
    "2016 (working paper 2015)."),
    "Stationary bootstrap: Politis and Romano, Journal of the American Statistical Association 89, 1994.",
)  # fmt: skip


def belief(
    result: Any,
    *,
    trials: Any = None,
    seed: int = 0,
    level: float = 0.9,
    resamples: int = 2000,
    block: float | None = None,
) -> Belief:
    """The evidence for a result: how likely it is luck, and how uncertain its figures are.

    Parameters
    ----------
    result
        A ``bknb.Result``, a walk-forward, a table with ``pnl_percentage``, or a row of results in percent. Results
        that are no finite numbers are left out, and counted. The column ``size`` of a table is the part of the equity
        with which each trade goes into figures that compound, as in ``bknb.statistics``.
    trials
        How many strategies or parameter sets were tried before this one was chosen; or the Sharpe ratios (per trade)
        of all of them; or the sweep or the comparison it comes from. All of them count, also those of last week: of a
        result, at least as many as the ledger of tries holds on its candles by now. Those that resemble each other
        count in full, so the chance of luck is an upper bound.
    seed
        Of the resampling.
    level
        Confidence of the intervals.
    resamples, block
        As for the bootstrap: how many, and the mean length of a block (``None`` chooses).

    Returns
    -------
    Belief
        ``.verdict``, ``.deflated``, ``.intervals``, ``.overfitting``, ``.to_pandas()``, ``.report()``.

    Raises
    ------
    UsageError
        For what is no result, table or row of numbers, and arguments that cannot be.

    Examples
    --------
    >>> import numpy as np, bknb
    >>> trades = np.random.default_rng(1).normal(0.2, 1.0, size=200)
    >>> alone, chosen = bknb.belief(trades), bknb.belief(trades, trials=500)
    >>> alone.deflated.p_value < 0.05 < chosen.deflated.p_value
    True
    """
    trades, values, sizes, name, left_out = _results(result)
    added = _added_to(result)
    tries = _attribute(result, "tries")
    counted = 0 if tries is None else tries.now()
    tried, count, returns, failed, whys = _search(1 if trials is None else trials)
    if counted > (_number(tried) if count is None else count):
        count = float(counted)
    total, of_account = _total_return(result, values if sizes is None else values * sizes, added=added)
    return Belief(
        name=name,
        deflated=deflated_sharpe_ratio(values, trials=tried, count=count),
        intervals=bootstrap(
            trades, seed=seed, level=level, resamples=resamples, block=block, figures=OF_TRADES if added else None
        ),
        overfitting=_of_search(returns),
        failed=failed,
        counted=counted,
        unknown="" if tries is None else tries.unknown,
        left_out=left_out,
        total_return=total,
        without_account=len(whys),
        why_left_out=", or ".join(dict.fromkeys(whys)) or ADDS,
        of_account=of_account,
        sized=sizes is not None,
    )


def _total_return(result: Any, of_equity: NDArray[np.float64], *, added: bool) -> tuple[float | None, bool]:
    """The total return in percent, and whether it is that of an account of the run, and not of its trades in turn."""
    record = _attribute(result, "run_record")
    if record is not None and record.has_sizes:
        return _attribute(result, "account")["total_return"], True
    return None if added else float(final_equity(of_equity) - 1) * 100, False


def _number(tried: Any) -> float:
    """How many trials a number of them, or their Sharpe ratios, stand for."""
    return float(tried) if isinstance(tried, Real) else float(np.size(tried))


def _attribute(given: Any, name: str) -> Any:
    """An attribute of what is no table or series: of these it would be the column or the row of that name."""
    return None if hasattr(given, "to_numpy") else getattr(given, name, None)


def _results(result: Any) -> tuple[Any, NDArray[np.float64], NDArray[np.float64] | None, str, int]:
    """The trades, results that are finite numbers, their sizes, what they are called, and how many are none."""
    for attribute, what, instead in (
        ("trial_sharpes", "a sweep", "its best run: bknb.belief(sweep.run(), trials=sweep)"),
        ("entries", "a comparison", "one of its runs: bknb.belief(found[found.best.strategy], trials=found)"),
    ):
        if _attribute(result, attribute) is not None:
            raise UsageError(f"belief judges one result, got {what}\npass {instead}")
    trades = _attribute(result, "trades")
    trades = result if trades is None else trades
    results = trades
    if hasattr(trades, "columns"):
        if "pnl_percentage" not in trades.columns:
            raise UsageError("a table of trades needs the column pnl_percentage, such as result.trades")
        results = percentages_of(trades).to_numpy()
    strategy, symbol = _attribute(result, "strategy"), _attribute(result, "symbol")
    named = isinstance(strategy, str) and isinstance(symbol, str)
    values, sizes = row_of_numbers(results), sizes_in(trades)
    known = np.isfinite(values)
    finite, name = values[known], f"{strategy} on {symbol}" if named else "these results"
    return trades, finite, None if sizes is None else sizes[known], name, len(values) - len(finite)


def _added_to(result: Any) -> bool:
    """Whether a position was added to, as far as a run or a table says so."""
    if _attribute(result, "run_record") is not None:
        return added_to(result)
    trades = _attribute(result, "trades")
    trades = result if trades is None else trades
    return adds_in(trades)


def _search(trials: Any) -> tuple[Any, float | None, Any, int, list[str]]:
    """Sharpe ratios of the trials, how many they stand for, daily returns, how many failed, why others have none."""
    ratios = _attribute(trials, "trial_sharpes")
    if ratios is not None:  # a sweep
        count = float(max(trials.trials, 1))
        returns, whys = trials.returns, [*trials.why_no_account.values()]
        tried = np.asarray(ratios) if len(ratios) > 1 else count
        return tried, count, returns, len(trials) - returns.shape[1] - len(whys), whys
    entries = _attribute(trials, "entries")
    if entries is not None:  # a comparison
        results = trials.results.values()
        whys = [why for result in results if (why := why_no_account(result.run_record.records))]
        return float(max(len(entries), 1)), None, of_results(results), 0, whys
    if isinstance(trials, Real) and isfinite(trials) and not float(trials).is_integer():
        raise UsageError(f"trials must be a whole number, or the Sharpe ratios of all trials, got {trials!r}")
    if not isinstance(trials, str) and (isinstance(trials, (Sequence, np.ndarray)) or hasattr(trials, "to_numpy")):
        ratios = row_of_numbers(trials, what="the Sharpe ratios of trials")
        if not len(ratios) or not np.isfinite(ratios).all():
            unknown = int((~np.isfinite(ratios)).sum())
            came = f"{unknown:,} of {len(ratios):,} that are none" if len(ratios) else "none"
            raise UsageError(
                f"trials must be a number from 1 on, or the Sharpe ratio of every trial, each a number; got {came}\n"
                "where some are unknown pass how many there were"
            )
    return trials, None, None, 0, []


def _of_search(returns: Any) -> Overfitting | None:
    table = np.asarray(returns, dtype=np.float64) if returns is not None else np.empty((0, 0))
    if table.ndim != 2 or table.shape[0] < MIN_DAYS or table.shape[1] < 2:
        return None
    return overfitting(table, blocks=16 if len(table) >= 160 else 10)
