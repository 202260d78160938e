"""One fold of a walk-forward: parameters chosen on one stretch of time, and the run that judges them on the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from ..domain.interval import interval_ms
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan, open_window
from ..engine.registration_checks import with_params
from ..engine.registry import Frame
from ..events.heard import NOBODY
from ..kernels.sweep_figures import FIGURES
from ..metrics.figure_table import for_ranking
from ..metrics.reasons import OF_POINTS
from ..metrics.statistics import ranked_beside_points
from ..metrics.why_figure_is_missing import why_unranked
from ..research.walk_forward_report import choose, set_text
from ..sweeps.evaluate_combination import Evaluator
from ..sweeps.prepared_candles import goes_compiled, prepare
from .result import Result
from .run_record import record_of

if TYPE_CHECKING:
    from ..market.window import Window
    from ..research.walk_forward_windows import Stretch


CHOOSING: Final = "choosing: "
TEST: Final = "test: "
"""How a warning begins that is of the runs a set was chosen by, and of that over its test."""


class Choice(NamedTuple):
    """What was chosen on a stretch: the number of the set, or ``None``; how many were tried, and its statistics.

    ``of_points``: whether statistics without a unit are of results in points.
    """

    best: int | None
    tried: int
    train: dict[str, Any]
    of_points: bool = False


class FoldRun:
    """Works on the folds of a walk, one at a time.

    Parameters
    ----------
    plan
        The whole walk; its source has the candles of one window.
    sets
        The parameters to choose from.
    metric
        The statistic that chooses.
    warn
        Told what there is to say of the fold that is worked on.
    stopping
        Whether no further set is tried.
    """

    def __init__(
        self,
        plan: Plan,
        sets: Sequence[dict[str, Any]],
        metric: str,
        *,
        warn: Callable[[str], object],
        stopping: Callable[[], bool],
    ) -> None:
        self.plan, self.sets, self.metric = plan, sets, metric
        self._warn, self._stopping = warn, stopping

    def chosen(self, step: Stretch) -> Choice | None:
        """Try all sets on the first stretch of a step; ``None`` where the walk was stopped."""
        made = self._try_all(replace(self.plan, frame=_frame(self.plan, step.train_start, step.train_end)))
        if made is None:
            return None
        tried, of_points = made
        best = choose([each.get(self.metric) for each in tried], self.metric)
        return Choice(best, len(tried), {} if best is None else tried[best], of_points)

    def test(self, step: Stretch, best: int) -> BacktestRun:
        """The run that judges a set on the next stretch of a step."""
        frame = _frame(self.plan, step.test_start, step.test_end)
        chosen = with_params(self.plan.strategy, self.sets[best])
        return BacktestRun(replace(self.plan, strategy=chosen, frame=frame), listeners=NOBODY)

    def _try_all(self, train: Plan) -> tuple[list[dict[str, Any]], bool] | None:
        """Return the statistics of every set on one stretch, and whether they are of points; None when stopped."""
        evaluator = self._evaluator(train)
        window = None if evaluator is not None else open_window(train, warn=self._warn)
        found: list[dict[str, Any]] = []
        results: list[Result] = []
        for params in self.sets:
            if self._stopping():
                return None
            if evaluator is not None:
                found.append(self._figures(evaluator, params))
            else:
                result = self._by_events(train, params, window)
                found.append(dict(for_ranking(result.stats)))
                if getattr(train.exchange.source, "negative", False):
                    results.append(result)
            if why := why_unranked(self.metric, found[-1]):
                self._warn(f"{CHOOSING}{set_text(params)} has no {self.metric}: {why}")
        of_points = any(result.stats.in_points for result in results)
        for at, result in enumerate(results if of_points else ()):
            if result.stats["n"] and not result.stats.in_points:
                found[at] = dict(ranked_beside_points(result.stats, result.trades))
        of_points = of_points or (evaluator is not None and evaluator.at_zero)
        if of_points and any(figures["n"] and figures["total_pnl"] is not None for figures in found):
            self._warn(f"{CHOOSING}there are prices or positions at or below zero: {OF_POINTS} of all sets")
        return found, of_points

    def _figures(self, evaluator: Evaluator, params: Mapping[str, Any]) -> dict[str, Any]:
        outcome = evaluator.evaluate(params)
        if outcome.error:
            self._warn(f"{CHOOSING}{set_text(params)} failed: {outcome.error}")
        values = dict(zip(FIGURES, outcome.figures.tolist(), strict=True))
        return {name: None if value != value else value for name, value in values.items()}

    def _by_events(self, train: Plan, params: Mapping[str, Any], window: Window | None) -> Result:
        run = BacktestRun(replace(train, strategy=with_params(train.strategy, params)), listeners=NOBODY, window=window)
        asyncio.run(run.through())
        result = Result(record_of(run))
        for text in (*result.warnings, *(f"{set_text(params)}: {text}" for text in failures_of(result))):
            self._warn(f"{CHOOSING}{text}")
        return result

    def _evaluator(self, train: Plan) -> Evaluator | None:
        """Return the compiled evaluator, where it can run the strategy and computes the metric; else None."""
        if not goes_compiled(train.strategy) or self.metric not in FIGURES:
            return None
        try:
            return Evaluator(train, asyncio.run(prepare(train, self._warn)))
        except ImportError:
            return None


def _frame(plan: Plan, start: int, end: int) -> Frame:
    """Return a frame of the moments in ``[start, end)`` but the last, in which an open position closes."""
    return Frame(None, start, end - 2 * interval_ms(plan.base), plan.frame.interval)


def failures_of(result: Result) -> list[str]:
    """What failed in a run, with the line of user code; without questions before there was enough history."""
    return [
        f"{each.message} ({each.where})" if each.where else each.message
        for each in result.errors
        if each.kind != "warm-up"
    ]
