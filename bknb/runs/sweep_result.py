"""The result of a sweep: a row per combination, daily returns, and the best combination."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import with_article
from ..domain.interval import WEEK
from ..engine.registration_checks import with_params
from ..errors import UnknownName, UsageError
from ..kernels.sweep_figures import FIGURES
from ..market.source_hours import sessions_of
from ..metrics.daily_returns import on_open_days
from ..metrics.trade_definitions import lower_is_better
from ..provenance.strategy_hash import running
from ..sweeps.packed_days import frame_days
from ..sweeps.sweep_run import SweepRun
from ..sweeps.symbol_means import why_no_account
from .sweep_trades import trades_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..config import Settings
    from ..domain.html import Html
    from ..engine.registry import Frame
    from .result import Result


class SweepResult:
    """The result of ``bknb.sweep``.

    Attributes
    ----------
    strategy, metric, execution : str
    symbols : tuple of str
    params : tuple of str
        Names of the parameters that were varied.
    trials : int
        Combinations ever tried on these candles according to the ledger, this sweep included.
    seconds : float
    stopped : bool
        Whether the sweep was stopped before its end.
    warnings : list of str

    Examples
    --------
    >>> import bknb
    >>> def get_signals(candles, up=1.02):
    ...     return {"position": 1, "price_take_profit": candles.close * up, "price_stop_loss": candles.close * 0.98,
    ...             "minute_estimated_time": 240}
    >>> found = bknb.sweep(get_signals, params={"up": [1.02, 1.03]}, symbol="BTCUSDT", exchange="demo",
    ...                    frame=("2024-01-01", "2024-01-03"), interval="1h", metric="total_pnl")
    >>> found.returns.shape, list(found.ranking.columns[:2])
    ((3, 2), ['up', 'total_pnl'])
    """

    def __init__(self, run: SweepRun) -> None:
        self._run = run
        plan = run.plan.plans[0]
        self.strategy: str = plan.strategy.name
        self.symbols: tuple[str, ...] = run.plan.symbols
        self.exchange: str = plan.exchange.name
        self.frame: Frame = plan.frame
        self.execution: str = plan.execution
        self.settings: Settings = plan.settings
        self.metric: str = run.plan.metric
        self.search: str = run.plan.search
        self.params: tuple[str, ...] = tuple(run.plan.space.values)
        self.trials: int = run.trials.count
        self.trial_sharpes: NDArray[np.float64] = np.array(run.trials.sharpes, dtype=np.float64)
        self.from_ledger: int = run.trials.recalled
        self.seconds: float = run.seconds
        self.stopped: bool = run.processed < run.total
        self.warnings: list[str] = run.warnings
        self._complete = run.complete()

    def __len__(self) -> int:
        return len(self._complete)

    @cached_property
    def param_columns(self) -> dict[str, str]:
        """The column of each parameter in ``table`` and ``ranking``: its name, ``param_...`` where a figure has that.

        Examples
        --------
        >>> import bknb
        >>> def get_signals(candles, n=2, up=1.02):
        ...     return {"position": 1, "price_take_profit": candles.close * up, "minute_estimated_time": 240,
        ...             "price_stop_loss": candles.close * 0.98}
        >>> found = bknb.sweep(get_signals, params={"n": [2, 3], "up": [1.02]}, symbol="BTCUSDT", exchange="demo",
        ...                    frame=("2024-01-01", "2024-01-03"), interval="1h")
        >>> found.param_columns
        {'n': 'param_n', 'up': 'up'}
        """
        found: dict[str, str] = {}
        for name in self.params:
            column = name
            while column in _NOT_PARAMETERS or (column != name and column in self.params):
                column = f"param_{column}"
            found[name] = column
        return found

    # --- rows -------------------------------------------------------------------------------------------------------

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per combination (and symbol, when there are several): parameters, then figures.

        The figures are those of ``bknb.statistics``, NaN where not available, and ``cancelled``, ``ambiguous``,
        ``rejected``; ``error`` says why a combination has none. ``param_columns`` names the columns of parameters.
        """
        import pandas as pd

        run, many = self._run, len(self.symbols) > 1
        keys = [(number, symbol) for number in self._complete for symbol in range(len(self.symbols))]
        outcomes = [run.outcomes[key] for key in keys]
        columns: dict[str, Any] = {
            column: [run.combinations[number][name] for number, _ in keys]
            for name, column in self.param_columns.items()
        }
        figures = np.array([outcome.figures for outcome in outcomes]).reshape(len(keys), len(FIGURES))
        columns |= {name: figures[:, at] for at, name in enumerate(FIGURES)}
        columns |= {"rejected": [outcome.rejected for outcome in outcomes], "error": [o.error for o in outcomes]}
        index: Any = pd.Index([number for number, _ in keys], name="combination", dtype="int64")
        if many:
            index = pd.MultiIndex.from_arrays(
                [index, [self.symbols[symbol] for _, symbol in keys]], names=["combination", "symbol"]
            )
        return pd.DataFrame(columns, index=index)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """One row per combination, best first: parameters, the metric, trades, total result.

        With several symbols they are means over those that have the figure; ``symbols`` says how many have the metric.
        A symbol on which a combination did not trade counts with a total of 0, an equity of 1 and a drawdown of 0, as
        long as the combination traded on another one. A combination that failed on a symbol has no figure and is
        ranked last; ``errors`` says why. So is one that added to a position, where the metric compounds: adds need a
        capital.
        """
        import pandas as pd

        frame = pd.DataFrame(
            {
                column: [self._run.combinations[number][name] for number in self._complete]
                for name, column in self.param_columns.items()
            },
            index=pd.Index(self._complete, name="combination", dtype="int64"),
        )
        frame[self.metric] = self.means(self.metric)
        if len(self.symbols) > 1:
            frame["symbols"] = (~np.isnan(self._values(self.metric))).sum(axis=1)
        for name in ("n", "total_pnl", "max_drawdown"):
            if name != self.metric:
                frame[name] = self.means(name)
        return frame.sort_values(self.metric, ascending=lower_is_better(self.metric), kind="stable", na_position="last")

    def _values(self, figure: str) -> NDArray[np.float64]:
        """Return a figure of each complete combination and symbol, shape (combinations, symbols)."""
        at = FIGURES.index(figure)
        values = [self._run.figures(number)[:, at] for number in self._complete]
        return np.array(values, dtype=np.float64).reshape(-1, len(self.symbols))

    def means(self, figure: str) -> pd.Series:
        """Return the mean of a figure of ``table`` over the symbols of each combination: what ``ranking`` ranks by.

        With one symbol it is the figure itself. It is the mean over the symbols that have the figure; one without
        trades counts as in ``ranking``. NaN where no symbol has the figure, and for a combination that failed on one.

        Raises
        ------
        UnknownName
            For a figure that ``table`` does not have.

        Examples
        --------
        >>> import bknb
        >>> def get_signals(candles, up=1.02):
        ...     return {"position": 1, "price_take_profit": candles.close * up, "price_stop_loss": candles.close * 0.98,
        ...             "minute_estimated_time": 240}
        >>> found = bknb.sweep(get_signals, params={"up": [1.02, 1.03]}, symbol="BTCUSDT", exchange="demo",
        ...                    frame=("2024-01-01", "2024-01-03"), interval="1h")
        >>> found.means("n").tolist() == found.table["n"].tolist()
        True
        """
        import pandas as pd

        if figure not in (*FIGURES, "rejected"):
            raise UnknownName("figure", str(figure), known=[*FIGURES, "rejected"])
        if figure == "rejected":
            means = [self._mean_rejected(number) for number in self._complete]
        else:
            means = self._all_means[:, FIGURES.index(figure)].tolist()
        index = pd.Index(self._complete, name="combination", dtype="int64")
        return pd.Series(means, index=index, name=figure, dtype="float64")

    def _mean_rejected(self, number: int) -> float:
        """Return how many answers of a combination were rejected, the mean over its symbols; NaN where it failed."""
        if self._run.failed(number):
            return math.nan
        return float(np.mean([self._run.outcomes[number, symbol].rejected for symbol in range(len(self.symbols))]))

    @cached_property
    def _all_means(self) -> NDArray[np.float64]:
        """The means of all figures, computed once, shape (combinations, len(FIGURES))."""
        means = [self._run.means(number) for number in self._complete]
        return np.array(means, dtype=np.float64).reshape(-1, len(FIGURES))

    @property
    def best(self) -> dict[str, Any] | None:
        """The best combination: number, parameters and figures; ``None`` when none has the metric."""
        ranked = self.ranking[self.metric].dropna()
        if ranked.empty:
            return None
        number = int(ranked.index[0])
        figures = {name: float(value) for name, value in zip(FIGURES, self._run.means(number), strict=True)}
        return {"combination": number, "params": dict(self._run.combinations[number]), **figures}

    @cached_property
    def mean_equity(self) -> pd.Series:
        """Final equity of each combination as a multiple of its start; with several symbols the mean of their accounts.

        One whose symbols all have no trade is NaN, and one that failed or added to a position on a symbol.
        """
        return self.means("equity_final")

    @cached_property
    def why_no_account(self) -> dict[int, str]:
        """Why combinations have no figure that compounds, by their numbers; those that have are not in it.

        They added to a position on some symbol, or opened one at or below zero.
        """
        whys = {number: why_no_account(self._run.figures(number)) for number in self._complete}
        return {number: why for number, why in whys.items() if why}

    @cached_property
    def returns(self) -> pd.DataFrame:
        """Net daily returns, days x combinations: of the trades that closed on each day (UTC), as a fraction.

        Every calendar day of the frame is a row, 0.0 when nothing closed; for markets with sessions every one in which
        a candle closed. With several symbols their mean. Combinations that failed, if only on one symbol, are left out,
        and those that added to a position: a daily return is of an account, and adds and places need a capital.
        This is the matrix that the probability of backtest overfitting is computed from.
        """
        import pandas as pd

        first, days = frame_days(self._run.plan.plans[0])
        left_out = self.why_no_account.keys()
        numbers = [number for number in self._complete if number not in left_out and not self._run.failed(number)]
        days_held = np.arange(first, first + days)
        matrix = np.zeros((days, len(numbers)))
        for symbol in range(len(self.symbols)):
            columns = [self._run.outcomes[number, symbol].daily for number in numbers]
            matrix += np.array(columns).reshape(len(numbers), days).T
        matrix /= max(len(self.symbols), 1)
        plans = [plan for plan in self._run.plan.plans if plan.base != WEEK]  # every day of a week is one of its year
        if any(sessions_of(plan.exchange.source, plan.symbol) is not None for plan in plans):
            opened = np.unique(np.concatenate(self._run.open_days))
            matrix, days_held = on_open_days(matrix, first, opened), days_held[np.isin(days_held, opened)]
        index = pd.to_datetime(days_held, unit="D", utc=True).rename("day")
        return pd.DataFrame(matrix, index=index, columns=pd.Index(numbers, name="combination", dtype="int64"))

    def refusals(self, combination: int | None = None) -> list[tuple[str, str, int]]:
        """Return what was rejected of one combination (default: the best), on all symbols.

        Returns
        -------
        list of tuple
            Codes of the rules that were broken, message of the first such answer, how many answers.
        """
        number = self._which(combination, None)[0]
        return [each for symbol in range(len(self.symbols)) for each in self._run.outcomes[number, symbol].refusals]

    @property
    def errors(self) -> pd.DataFrame:
        """The rows that failed."""
        return self.table[self.table["error"] != ""]

    # --- one combination --------------------------------------------------------------------------------------------

    def trades(self, combination: int | None = None, symbol: str | None = None) -> pd.DataFrame:
        """Return the trades of one combination (default: the best); computed again unless ``keep_trades`` was given.

        ``size`` is there where a signal had one: the part of the equity that its position opened with.
        """
        number, at = self._which(combination, symbol)
        params, outcome = self._run.combinations[number], self._run.outcomes[number, at]
        table, why = trades_of(self._run.plan.plans[at], params, outcome)
        if table is None:
            raise UsageError(f"combination {number} has no trades: {why}")
        return table

    def run(self, combination: int | None = None, symbol: str | None = None) -> Result:
        """Return the result of one combination (the best one by default) from the event engine."""
        from msgspec.structs import replace

        from .backtest import BacktestTask

        number, at = self._which(combination, symbol)
        plan = self._run.plan.plans[at]
        task = BacktestTask(replace(plan, strategy=with_params(plan.strategy, self._run.combinations[number])))
        with running(plan.strategy):
            task.start()
            return task.wait_or_stop()

    def _which(self, combination: int | None, symbol: str | None) -> tuple[int, int]:
        if combination is None:
            best = self.best
            if best is None:
                raise UsageError(f"no combination has {with_article(self.metric)}\nname one: result.run(0)")
            combination = int(best["combination"])
        if combination not in self._complete:
            raise UsageError(f"there is no combination {combination!r}; see result.table")
        if symbol is None:
            return combination, 0
        if symbol not in self.symbols:
            raise UsageError(f"the sweep was not over {symbol!r}\nits symbols: {', '.join(self.symbols)}")
        return combination, self.symbols.index(symbol)

    # --- showing ----------------------------------------------------------------------------------------------------

    def heatmap(self, x: str | None = None, y: str | None = None, *, value: str | None = None) -> Any:
        """Return a plotly heatmap of a figure (default: the metric); over other parameters the best is shown."""
        from ..reports.heatmap import heatmap_figure, heatmap_info

        return heatmap_figure(heatmap_info(self, x, y, value=value))

    def report(self) -> str:
        """Return the sweep as a Markdown report."""
        from ..reports.sweep_report import sweep_report

        return sweep_report(self)

    def __repr__(self) -> str:
        from ..reports.sweep_report import sweep_text

        return sweep_text(self)

    def _repr_html_(self) -> Html:
        from ..reports.sweep_report import sweep_html

        return sweep_html(self)


_NOT_PARAMETERS: Final = frozenset((*FIGURES, "rejected", "error", "symbols", "total_return", "combination", "symbol"))
"""Names of columns and levels of the tables that are no parameter."""
