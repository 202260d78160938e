"""Walk-forward: parameters chosen on one stretch of time, judged on the next, again and again.

R. Pardo, The Evaluation and Optimization of Trading Strategies, Wiley 2008 (walk-forward analysis, walk-forward
efficiency). Whoever runs a strategy is :mod:`bknb.runs.walk_forward`; this module knows windows, choices and reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, minute_text
from ..domain.interval import DAY_MS
from ..errors import UsageError
from ..metrics.account_definitions import ACCOUNT_DEFINITIONS
from ..metrics.account_sharpe_sortino_and_drawdown import Account
from ..metrics.figure_table import Statistics, for_ranking
from ..metrics.reasons import BELOW_ZERO
from ..metrics.trade_definitions import DEFINITIONS, label_of
from ..metrics.why_figure_is_missing import explained_text
from ..reports.markup import Html, cell, elements, figures, fragment, html_figures, html_table, markdown_table
from ..reports.refusals_counted import refusal_pairs
from .comparison import rankable
from .walk_forward_windows import Stretch

if TYPE_CHECKING:
    import pandas as pd

    from .tries_ledger import Tries

_OF_ACCOUNT: Final = ("total_return", "cagr", "max_drawdown", "sharpe", "sortino", "calmar")
_OF_TRADES: Final = (*("n", "win_rate", "avg_pnl", "median_pnl", "profit_factor", "sharpe_ratio"),)

_RETURN: Final = ACCOUNT_DEFINITIONS["total_return"]
_EFFICIENCY: Final = "tests / where chosen, per day"
_NO_SET: Final = "no set had the figure"
_NO_TEST: Final = "nothing was tested"

_SHOWN_WARNINGS: Final = 20
"""Warnings that a report shows; all are in ``WalkForward.warnings``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """What was chosen on one stretch of time, and what it came to on the next.

    Attributes
    ----------
    stretch : Stretch
    params : mapping or None
        The choice; None when no set had the figure, and nothing was traded in the test.
    tried : int
        How many sets were tried.
    train : mapping
        Statistics of the chosen set where it was chosen.
    train_value, test_value : float or None
        The figure that chooses, there and in the test.
    result : Result or None
        The test run.
    """

    stretch: Stretch
    params: Mapping[str, Any] | None
    tried: int
    train: Mapping[str, Any]
    train_value: float | None
    test_value: float | None
    result: Any


def combinations_of(params: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every set of parameters: of a grid, or as they are listed.

    Examples
    --------
    >>> combinations_of({"fast": [5, 10], "slow": [30]})
    [{'fast': 5, 'slow': 30}, {'fast': 10, 'slow': 30}]
    """
    if isinstance(params, Mapping):
        for name, values in params.items():
            if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
                raise UsageError(f"params[{name!r}] must be a list of values to try, got {values!r:.80}")
        names = list(params)
        sets = [dict(zip(names, values, strict=True)) for values in product(*(list(params[name]) for name in names))]
    else:
        sets = [dict(each) for each in params]
    if not sets:
        raise UsageError("there is no set of parameters to try")
    return sets


def choose(values: Sequence[float | None], metric: str) -> int | None:
    """The place of the best figure, the first of equals; None when there is none.

    Examples
    --------
    >>> choose([None, 2.0, 5.0], "sharpe_ratio"), choose([None, 2.0, 5.0], "max_drawdown"), choose([None], "n")
    (2, 1, None)
    """
    sign = -1.0 if rankable(metric).lower_is_better else 1.0
    known = [(sign * value, -at) for at, value in enumerate(values) if value is not None and value == value]
    return -max(known)[1] if known else None


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkForward:
    """A walk: every fold, and all tests together as one history.

    Attributes
    ----------
    strategy, symbol, metric : str
    anchored : bool
    folds : tuple of Fold
    stopped : bool
        Whether it was stopped before its end.
    account : Account
        The figures of one account through all tests; empty where nothing was tested.
    tries : Tries or None
        How many strategies were tried on its candles; a walk is one of them. None where tries are not counted.
    warnings : tuple of str
        What is to be known of the data, of sets that failed and of tests in which the strategy raised, each once with
        the folds in which it was noticed.
    """

    strategy: str
    symbol: str
    metric: str
    anchored: bool
    folds: tuple[Fold, ...]
    stopped: bool = False
    account: Account = field(default_factory=Account)
    tries: Tries | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def trades(self) -> pd.DataFrame:
        """The trades of all tests, in order; ``fold`` says of which."""
        import pandas as pd

        parts = [fold.result.trades.assign(fold=at) for at, fold in enumerate(self.folds) if fold.result is not None]
        filled = [part for part in parts if len(part)]
        return pd.concat(filled, ignore_index=True) if filled else parts[0] if parts else pd.DataFrame()

    @cached_property
    def stats(self) -> Statistics:
        """The statistics of the trades of all tests as one sample: what choosing again and again came to."""
        from ..metrics.statistics import statistics

        return statistics(self.trades if len(self.trades.columns) else [])

    @property
    def efficiency(self) -> float | None:
        """Walk-forward efficiency: result per day in the tests over result per day where the sets were chosen.

        Near 1, the choice was worth as much afterwards as before; near 0 or below, it was fitted to noise. None when
        nothing was won where the sets were chosen (Pardo 2008, chapter 11), or a position opened at or below zero, of
        which there is no percentage.
        """
        if self._has_points():
            return None
        chosen = [fold for fold in self.folds if fold.params is not None]
        before = [_per_day(fold.train, fold.stretch.train_end - fold.stretch.train_start) for fold in chosen]
        after = [_per_day(fold.result.stats, fold.stretch.test_end - fold.stretch.test_start) for fold in chosen]
        return sum(after) / sum(before) if chosen and sum(before) > 0 else None

    def to_pandas(self) -> pd.DataFrame:
        """One row for each fold: its times, its choice, the figure before and after, trades and result of the test."""
        import pandas as pd

        from ..reports.time_columns import with_times

        rows = []
        for fold in self.folds:
            stats = {} if fold.result is None else fold.result.stats
            times = {name: getattr(fold.stretch, name) for name in Stretch.__slots__}
            rows.append(
                times
                | {f"params.{name}": value for name, value in (fold.params or {}).items()}
                | {f"train.{self.metric}": fold.train_value, f"test.{self.metric}": fold.test_value}
                | {"test.n": stats.get("n", 0), "test.total_pnl": stats.get("total_pnl")}
            )
        return with_times(pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="fold")), Stretch.__slots__)

    # --- showing ------------------------------------------------------------------------------------------------

    def _pairs(self) -> list[tuple[str, str]]:
        own = DEFINITIONS[self.metric]
        efficiency = self.efficiency
        pairs = [
            ("Strategy", f"{self.strategy} on {self.symbol}"),
            ("Walk", f"{'anchored' if self.anchored else 'rolling'}, {len(self.folds)} folds, chosen by {own.label}"),
            ("Efficiency", self._no_efficiency() if efficiency is None else f"{efficiency:.2f} ({_EFFICIENCY})"),
        ]
        pairs += [(ACCOUNT_DEFINITIONS[key].label, self._of_account(key)) for key in _OF_ACCOUNT]
        pairs += refusal_pairs(fold.result for fold in self.folds if fold.result is not None)
        if self.tries is not None:
            pairs.append(("Tries", self.tries.line))
        shown = [key for key in _OF_TRADES if key in self.stats]
        return pairs + [(label_of(key), explained_text(key, self.stats)) for key in shown]

    def _has_points(self) -> bool:
        """Whether results of a choice or of its test are in points, which do not go together with percentages."""
        chosen = [fold for fold in self.folds if fold.params is not None]
        samples = [stats for fold in chosen for stats in (fold.train, for_ranking(fold.result.stats))]
        return any(stats.get("n") and stats.get("total_pnl") is None for stats in samples)

    def _no_efficiency(self) -> str:
        if self._has_points():
            return f"{MISSING}: {BELOW_ZERO}"
        chosen = any(fold.params is not None for fold in self.folds)
        return f"{MISSING}: {'nothing was won where the sets were chosen' if chosen else _NO_SET}"

    def _of_account(self, key: str) -> str:
        """A figure of one account through all tests, with its unit."""
        return self.account.text(key) if self.account else f"{MISSING}: {_NO_TEST}"

    def _rows(self) -> list[list[str]]:
        rows = []
        for at, fold in enumerate(self.folds):
            stats = {} if fold.result is None else fold.result.stats
            rows.append(
                [
                    str(at),
                    f"{minute_text(fold.stretch.train_start)} to {minute_text(fold.stretch.train_end)}",
                    f"{minute_text(fold.stretch.test_start)} to {minute_text(fold.stretch.test_end)}",
                    "none had the figure" if fold.params is None else set_text(fold.params),
                    self._text(fold.train, fold.train_value) if fold.params is not None else f"{MISSING}: {_NO_SET}",
                    self._text(stats, fold.test_value) if fold.result is not None else f"{MISSING}: {_NO_TEST}",
                    str(stats.get("n", 0)),
                    f"{MISSING}: {_NO_TEST}" if fold.result is None else fold.result.account.text(_RETURN.key),
                ]
            )
        return rows

    def _text(self, stats: Mapping[str, Any], value: float | None) -> str:
        return explained_text(self.metric, {**stats, self.metric: value})

    def _lines_of_warnings(self, start: str) -> list[str]:
        more = len(self.warnings) - _SHOWN_WARNINGS
        lines = [f"{start}{text}" for text in self.warnings[:_SHOWN_WARNINGS]]
        return [*lines, f"{start}{more:,} more; see .warnings"] if more > 0 else lines

    def _titles(self) -> list[str]:
        label = DEFINITIONS[self.metric].label
        return ["Fold", "Chosen on (UTC)", "Tested on (UTC)", "Choice", f"{label}, chosen", f"{label}, test", "Trades",
                _RETURN.label]  # fmt: skip

    def report(self) -> str:
        """The walk as Markdown."""
        lines = [f"# Walk-forward: {cell(self.strategy)} on {cell(self.symbol)}", ""]
        if self.stopped:
            lines += ["> **Stopped before its end: this is a partial walk.**", ""]
        lines += [*figures(self._pairs()), "", "## Folds", "", *markdown_table(self._titles(), self._rows()), ""]
        lines += [
            ("Return, drawdown and the ratios of daily returns are those of one account through all tests; the figures "
            "from the number of trades on are of the trades of all tests together. Each set was chosen on time that "
            "lies before its test; candles before either are history only, and nothing is traded there. A position "
            "that is open at the end of a stretch is closed there."),
        ]  # fmt: skip
        if self.warnings:
            lines += ["", "## Warnings", "", *map(cell, self._lines_of_warnings("- "))]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        lines = [f"walk-forward of {self.strategy} on {self.symbol}{' (PARTIAL)' if self.stopped else ''}"]
        lines += [f"  {label}: {text}" for label, text in self._pairs()[1:]]
        lines += [f"  {'  '.join(row[2:])}" for row in self._rows()]
        return "\n".join([*lines, *self._lines_of_warnings("  warning   ")])

    def _repr_html_(self) -> Html:
        table = html_table(self._titles(), self._rows(), left=4)
        return fragment(html_figures("Walk-forward", self._pairs()), table, elements("p", self._lines_of_warnings("")))


def set_text(params: Mapping[str, Any]) -> str:
    """A set of parameters in words.

    Examples
    --------
    >>> set_text({"fast": 5, "slow": 30}), set_text({})
    ('fast=5, slow=30', 'as it is')
    """
    return ", ".join(f"{name}={value}" for name, value in params.items()) or "as it is"


def warning_text(text: str, folds: Sequence[int]) -> str:
    """A warning with the folds in which it was noticed, if it is of some.

    Examples
    --------
    >>> warning_text("late", [0, 2]), warning_text("late", [1]), warning_text("late", [])
    ('late (folds 0, 2)', 'late (fold 1)', 'late')
    """
    named = ", ".join(map(str, folds))
    return f"{text} (fold{'s' if len(folds) > 1 else ''} {named})" if folds else text


def _per_day(stats: Mapping[str, Any], length_ms: int) -> float:
    return float(stats.get("total_pnl") or 0.0) / (length_ms / DAY_MS)
