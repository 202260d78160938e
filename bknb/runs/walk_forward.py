"""Walk-forward: parameters chosen on one stretch of time are tested on the next."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..domain.interval import MINUTE, interval_ms
from ..engine.backtest import BacktestRun
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, open_window, plan_backtest
from ..engine.registration_checks import with_params
from ..engine.registry import Exchange
from ..errors import UsageError
from ..log import log
from ..market.candles import Candles
from ..market.sources import WindowSource
from ..metrics.account_sharpe_sortino_and_drawdown import Account
from ..metrics.figure_table import Statistics, for_ranking
from ..metrics.marked_positions import positions_of
from ..metrics.reasons import ADDS, BELOW_ZERO
from ..metrics.run_account import account_of, figures_of_bars, mark_run, no_account
from ..metrics.statistics import ranked_beside_points
from ..provenance.strategy_hash import params_text, running
from ..research.comparison import rankable
from ..research.walk_forward_report import Fold, WalkForward, combinations_of, warning_text
from ..research.walk_forward_windows import Stretch, span_ms, span_text, stretches
from ..sweeps.executor_options import ROW_RUNS, CannotBeSentError, checked_executor, executor_for, is_inline
from ..sweeps.prepared_candles import goes_compiled
from .result import Result
from .run_record import record_of
from .task import Counted, Task
from .tries import code_of, count_keys, strategy_key
from .walk_forward_fold import CHOOSING, TEST, Choice, FoldRun, failures_of

if TYPE_CHECKING:
    from ..domain.schedules import Schedule
    from ..sweeps.run_units import RunsElsewhere

_TWO_KINDS: Final = "figures of the test are of results in points, those that chose of percentages"


class WalkForwardTask(Counted, Task[WalkForward, Fold]):
    """A walk-forward that runs in the background.

    Attributes
    ----------
    progress : float
        Fraction of the folds that is done, 0.0 to 1.0.
    """

    kind = "walk-forward"

    def __init__(
        self,
        plan: Plan,
        stretches: Callable[[Plan], tuple[Stretch, ...]],
        sets: Sequence[dict[str, Any]],
        *,
        metric: str,
        anchored: bool,
        executor: object = None,
    ) -> None:
        super().__init__(plan.symbol, plan.strategy.name)
        self.plan = plan
        self._stretches, self.steps = stretches, stretches(plan)
        self.sets = tuple(sets)
        self.metric = metric
        self.anchored = anchored
        self.folds: list[Fold] = []
        defaults = plan.strategy.defaults
        walk = (metric, anchored, self.steps, [params_text(each, defaults) for each in self.sets])
        self._key = strategy_key(code_of(plan), {**plan.strategy.params, "a walk": repr(walk)}, defaults)
        self._warnings: dict[str, list[int]] = {}  # the folds of each; none for what holds for the whole walk
        self._stopped = False
        self._executor = executor
        self._workers: RunsElsewhere | None = None

    @property
    def total(self) -> int:
        """Folds of the walk."""
        return len(self.steps)

    @property
    def processed(self) -> int:
        """Folds that are done."""
        return len(self.folds)

    def facts_so_far(self) -> list[str]:
        """What to say of it beside how far it is: how many folds are done."""
        return [f"{self.processed:,} of {self.total:,} folds"]

    def ending(self) -> str:
        """What came of it, in a few words: the folds that are done."""
        return self.facts_so_far()[0]

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002 -- a set takes milliseconds
        """Start no further combination; the walk holds the folds that are done."""
        self._stopped = True
        if self._workers is not None:
            self._workers.stop()

    async def _work(self) -> WalkForward:
        plan = self.plan
        if plan.longer_bases:
            from ..engine.base_that_covers import loaded_over_bars_that_cover  # a table has bars of one length

            options: Any = {"warn": self._warn_of_all, "gather": False, "check": self._stretches}
            (plan,), window = await loaded_over_bars_that_cover([plan], **options)
            self.plan, self.steps = plan, self._stretches(plan)
            for text in plan.notes:
                self._warn_of_all(text)
        else:
            window = open_window(plan, warn=self._warn_of_all)
        # Every stretch has its own window over the same candles, so that no choice can look beyond its end.
        plan = replace(plan, exchange=Exchange(plan.exchange.name, WindowSource(window)))
        folds = FoldRun(plan, self.sets, self.metric, warn=self._warn, stopping=lambda: self._stopped)
        executor = executor_for(self._executor, self._questions(plan))
        if not is_inline(executor):
            from .walk_forward_workers import folds_in_workers  # few walks are given workers

            try:
                given = (self.plan, window, self.steps, folds, executor, self._warn_of_all)
                self._workers = await folds_in_workers(*given)
            except CannotBeSentError:
                if executor == self._executor:
                    raise  # else it runs here
        await (self._walk(folds) if self._workers is None else self._walk_in_workers(folds, self._workers))
        minutes = (await window.load_run(plan.symbol, plan.frame.start)).candles
        return WalkForward(
            tries=count_keys(plan, [self._key], minutes.timestamp, minutes.high, minutes.low, warn=log.warning),
            strategy=plan.strategy.name,
            symbol=plan.symbol,
            metric=self.metric,
            anchored=self.anchored,
            folds=tuple(self.folds),
            stopped=len(self.folds) < self.total,
            account=self._account(minutes),
            warnings=tuple(map(warning_text, self._warnings, self._warnings.values())),
        )

    async def _walk(self, folds: FoldRun) -> None:
        for step in self.steps:
            chosen = await asyncio.to_thread(folds.chosen, step)
            if chosen is None:
                return
            run = None if chosen.best is None else folds.test(step, chosen.best)
            if run is not None:
                await asyncio.to_thread(asyncio.run, run.through())
            self._add(self._finished(step, chosen, run))

    def _questions(self, plan: Plan) -> int:
        """How much there is to do, in questions to a strategy."""
        slot, compiled = interval_ms(plan.strategy.interval), goes_compiled(plan.strategy)
        trained = sum(each.train_end - each.train_start for each in self.steps) // slot
        tested = sum(each.test_end - each.test_start for each in self.steps) // slot
        return tested + (len(self.steps) * len(self.sets) * ROW_RUNS if compiled else trained * len(self.sets))

    async def _walk_in_workers(self, folds: FoldRun, workers: RunsElsewhere) -> None:
        from .walk_forward_workers import taken_over

        if self._stopped:  # while candles were loaded
            workers.stop()
        with workers:
            for number, step in enumerate(self.steps):
                done = await workers.outcome(number)
                if done is None:
                    return
                for text in done.warnings:
                    self._warn(text)
                for text in done.about_candles:
                    self._warn_of_all(text)
                self._add(self._finished(step, done.chosen, taken_over(folds, step, done)))

    def _add(self, fold: Fold) -> None:
        self.folds.append(fold)
        self._emit(fold)

    def _warn_of_all(self, text: str) -> None:
        """Keep a warning of the whole walk."""
        self._warnings.setdefault(text, [])

    def _warn(self, text: str) -> None:
        """Keep a warning of the fold that is being worked on, where it is none of the whole walk."""
        if self._warnings.get(text.removeprefix(CHOOSING).removeprefix(TEST)) == []:
            return
        folds = self._warnings.setdefault(text, [])
        if self.processed not in folds:
            folds.append(self.processed)

    def _account(self, minutes: Candles) -> Account:
        """Measure one account through all tests that are done; a step without a choice leaves it as it was."""
        results = [fold.result for fold in self.folds if fold.result is not None]
        if not results:
            return Account()
        closed = [event for result in results for event in result.run_record.records.closed]
        reasons = {result.account.reasons.get("total_return") for result in results}
        start, end = self.folds[0].stretch.test_start, self.folds[-1].stretch.test_end
        terms = dataclasses.replace(results[0].account_terms, start=start, end=end)
        for reason in (BELOW_ZERO, ADDS):
            if reason in reasons:
                bars = figures_of_bars(minutes.timestamp, minutes.open, minutes.close, terms)
                return no_account(reason, closed, still_open=False, of_bars=bars)
        positions, times = positions_of(closed), minutes.timestamp
        marked = mark_run(positions, times, minutes.close, terms)
        cut = sum(result.account["cut_off"] for result in results)
        return account_of(marked, positions, times, minutes.open, minutes.close, terms, closed=closed, cut_off=cut)

    def _finished(self, step: Stretch, chosen: Choice, run: BacktestRun | None) -> Fold:
        """The fold of a step whose test, where there was one, is over."""
        if run is None or chosen.best is None:
            return Fold(
                stretch=step,
                params=None,
                tried=chosen.tried,
                train={},
                train_value=None,
                test_value=None,
                result=None,
            )
        result = Result(record_of(run))
        for text in (*result.warnings, *failures_of(result)):
            self._warn(f"{TEST}{text}")
        return Fold(
            stretch=step,
            params=self.sets[chosen.best],
            tried=chosen.tried,
            train=chosen.train,
            train_value=chosen.train.get(self.metric),
            test_value=self._tested(result, chosen).get(self.metric),
            result=result,
        )

    def _tested(self, result: Result, chosen: Choice) -> Statistics:
        """The statistics of a test, of the kind of those that chose: of points where these are."""
        stats = result.stats
        if stats.in_points and not chosen.of_points and chosen.train.get("n"):
            self._warn(f"{TEST}a position opened at or below zero, and none where the set was chosen: {_TWO_KINDS}")
        if not chosen.of_points or stats.in_points or not stats["n"]:
            return for_ranking(stats)
        return ranked_beside_points(stats, result.trades)

    def _announce_done(self) -> None:
        """Emit nothing: a walk has no event."""


def _span(value: object, what: str, base: str) -> int:
    """A length of time in ms; over longer base bars it must be a whole number of them."""
    length, step = span_ms(value, what), interval_ms(base)
    if base != MINUTE and length % step:
        few, more = (repr(span_text(bars * step)) for bars in (length // step, length // step + 1))
        choose = more if length < step else f"{few} or {more}"
        raise UsageError(f"{what} must be a whole number of {base} bars, got {value!r}\nsuch as {choose}")
    return length


def walk_forward(
    strategy: StrategyLike,
    params: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    symbol: str = "BTCUSDT",
    exchange: ExchangeLike,
    frame: FrameLike,
    train: object = "60d",
    test: object = "20d",
    gap: object = "0d",
    warm_up: object = "0d",
    anchored: bool = False,
    metric: str = "sharpe_ratio",
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    executor: object = None,
) -> WalkForward:
    """Choose parameters on one stretch of time, judge them on the next, and walk on.

    The trades of all tests together are one history in which every parameter was chosen before it was used.

    Parameters
    ----------
    strategy
        A registered name, a function, or a strategy; ``get_signal`` or ``get_signals`` with parameters.
    params
        Values to try for each parameter (every combination is tried), or a list of sets.
    symbol, exchange, frame, interval, at, execution, settings, allow_gaps, base
        As for ``bknb.backtest``; the frame holds the whole walk.
    train, test
        How long the stretches are: ``"60d"``, ``"12h"``, ``"2w"``, a number of days or a timedelta. Over base bars
        longer than a minute, whole numbers of them, and so are ``gap`` and ``warm_up``.
    gap
        Time between what chooses and what judges.
    warm_up
        Time at the beginning of the frame that is history only. Every stretch may look back at the candles before it;
        only this one has none unless the data begins before the frame.
    anchored
        Choose on everything since the beginning, instead of on the newest stretch of ``train``.
    metric
        The statistic that chooses; its definition says in which direction.

    executor
        As for ``bknb.sweep``; each fold is worked on in a worker, and the result is the same. Callbacks are not called.

    Returns
    -------
    WalkForward
        ``.trades``, ``.stats``, ``.efficiency``, ``.folds``, ``.warnings``, ``.to_pandas()``,
        ``.report()``.

    Raises
    ------
    UsageError
        When the frame is too short, or a parameter is unknown.

    Notes
    -----
    Formulas and words follow R. Pardo, The Evaluation and Optimization of Trading Strategies, Wiley 2008. An interrupt
    from the keyboard ends the walk; the folds that are done are returned, and ``.stopped`` is true.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(ctx, hours=4):
    ...     closes = ctx.candles("1h", hours).close
    ...     if closes[-1] > closes[0]:
    ...         return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02,
    ...                            price_stop_loss=ctx.price * 0.99, minute_estimated_time=240)
    >>> walk = bknb.walk_forward(get_signal, {"hours": [4, 12]}, exchange="demo", frame="2024-01-01:2024-01-11",
    ...                          train="4d", test="2d", interval="1h", metric="total_pnl")
    >>> len(walk.folds), len(walk.trades) == sum(len(fold.result.trades) for fold in walk.folds)
    (3, True)
    """
    rankable(metric)
    given = (symbol, strategy, exchange, frame, interval, execution, settings)
    plan = plan_backtest(*given, at=at, allow_gaps=allow_gaps, base=base)
    sets = combinations_of(params)
    for each in sets:
        with_params(plan.strategy, each)

    def stretches_of(plan: Plan) -> tuple[Stretch, ...]:
        spans = {"train": train, "test": test, "gap": gap, "warm_up": warm_up}
        lengths = {f"{name}_ms": _span(span, name, plan.base) for name, span in spans.items()}
        return tuple(stretches(plan.frame.start, plan.frame.end, anchored=anchored, **lengths))

    checked_executor(executor)
    task = WalkForwardTask(plan, stretches_of, sets, metric=metric, anchored=anchored, executor=executor)
    with running(plan.strategy):
        task.start()
        return task.wait_or_stop()
