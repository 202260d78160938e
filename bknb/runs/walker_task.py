"""The comparison of strategies over one frame as a task; their candles are loaded once."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..domain.formatting import failure_text
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan, open_window
from ..engine.registry import WalkerSpec
from ..errors import DataError
from ..events import messages, subjects
from ..events.messages import WalkerStep
from ..market.candle_fingerprint import CandleRange
from ..metrics.figure_table import for_ranking
from ..metrics.reasons import OF_POINTS
from ..metrics.statistics import ranked_beside_points
from ..metrics.why_figure_is_missing import why_unranked
from ..research.comparison import Comparison, Entry, questions_failed, ranked
from ..sweeps.executor_options import CannotBeSentError, executor_for, is_inline, questions_of
from .result import Result
from .run_record import record_of, with_weak_source
from .task import Task
from .tries import key_of, with_tries

if TYPE_CHECKING:
    from ..market.candles_of_one_symbol import Series
    from ..market.window import Window
    from ..sweeps.run_units import RunsElsewhere
    from .walker_workers import Figures


class WalkerTask(Task[Comparison, WalkerStep]):
    """A comparison of strategies that runs in the background.

    Attributes
    ----------
    walker : str
        Its name; the same as ``strategy``.
    progress : float
        Fraction of the work that is done, 0.0 to 1.0.
    """

    kind = "comparison"

    def __init__(self, spec: WalkerSpec, plans: Sequence[Plan], executor: object = None) -> None:
        super().__init__(plans[0].symbol, spec.name)
        self.spec = spec
        self.plans = self.asked = tuple(plans)  # these may go over other bars; tasks of the same ``asked`` do the same
        self._keys = {plan.strategy.name: key_of(plan) for plan in plans}  # before any of them changes what it reads
        self.entries: list[Entry] = []
        self.results: dict[str, Result] = {}
        self._of_points: set[str] = set()  # ranked by figures of points, though they have percentages
        self._warnings: list[str] = []
        self._without_bars: DataError | None = None  # why the bars that all go over could not be chosen
        self._current: BacktestRun | None = None
        self._stopped = False
        self._leave = False
        self._executor = executor
        self._workers: RunsElsewhere | None = None

    @property
    def walker(self) -> str:
        """The walker's name."""
        return self.strategy

    def _labels(self) -> messages.RunLabels:
        """Return symbol, walker, exchange and frame by name, for the events of the comparison."""
        labels = self.plans[0].labels()
        labels["strategy"] = self.walker
        return labels

    @property
    def total(self) -> int:
        """Strategies to compare."""
        return len(self.plans)

    @property
    def processed(self) -> int:
        """Strategies that are done."""
        return len(self.entries)

    @property
    def progress(self) -> float:
        """Fraction of the work that is done, the running strategy included."""
        current = self._current
        part = 0.0 if current is None else current.processed / current.total
        return min((self.processed + part) / self.total, 1.0)

    @property
    def trades_so_far(self) -> list[Any]:
        """The trades of the strategies that are done, and of the running one."""
        current = self._current
        results = self.result().results if self.status == "fulfilled" else self.results
        done = [trade for result in results.values() for trade in result.run_record.records.closed]
        return done if current is None else [*done, *current.records.closed]

    def stop(self, *, now: bool = False) -> None:
        """Start no other strategy; ``now`` also stops the running one, which is then not in the ranking."""
        self._stopped = True
        self._leave = self._leave or now
        current = self._current
        if now and current is not None:
            current.stop(now=True)
        if self._workers is not None:
            self._workers.stop()

    # --- work ---------------------------------------------------------------------------------------------------

    async def _work(self) -> Comparison:
        window, executor = await self._window(), self._chosen_executor()
        if is_inline(executor) or self._without_bars is not None:
            await self._compare(window)
        else:
            from .walker_workers import strategies_in_workers  # few walkers are given workers

            try:
                self._workers = await strategies_in_workers(self.plans, window, executor, self._warn)
            except CannotBeSentError:
                if executor == self._executor:
                    raise  # else they run here
            if self._stopped and self._workers is not None:  # while candles were loaded
                self._workers.stop()
            with nullcontext() if self._workers is None else self._workers:
                await self._compare(window)
        comparison = self._comparison()
        await self._call_back("on_complete", comparison)
        subjects.walker_complete.emit(comparison)
        return comparison

    def _chosen_executor(self) -> object:
        """Where strategies run: in worker processes, too, where there is much to do and nobody hears it meanwhile."""
        executor = executor_for(self._executor, sum(map(questions_of, self.plans)))
        if executor == self._executor:
            return executor
        from ..engine.runs_in_workers import heard_here, wanted_of  # few walkers are given workers

        return self._executor if wanted_of(self.plans).events or heard_here(self.plans) else executor

    async def _window(self) -> Window:
        """Return the candles of all, over longer bars where the finest do not cover the frame."""
        if self.plans[0].longer_bases:
            from ..engine.base_that_covers import loaded_over_bars_that_cover  # a table has bars of one length

            try:
                self.plans, window = await loaded_over_bars_that_cover(self.plans, warn=self._warn)
            except DataError as error:
                self._without_bars = error
            else:
                if why := self.plans[0].why_base:
                    self._warn(why)
                return window
        return open_window(self.plans[0], warn=self._warn)

    async def _compare(self, window: Window) -> None:
        for order, plan in enumerate(self.plans):
            if self._stopped and self._workers is None:
                break
            await self._call_back("on_strategy_start", plan.strategy.name, plan.symbol)
            run = self._current = BacktestRun(plan, window=window)
            if self._leave and self._workers is None:
                break
            entry = await self._entry(order, run)
            self._current = None
            if entry is None and self._workers is None:
                break  # stopped early: part of a frame is not compared with whole ones
            if entry is not None:
                self.entries.append(entry)
                self._rank_by_one_kind()
                await self._emit_step(entry)
        self._current = None

    async def _through(self, order: int, run: BacktestRun) -> Figures | None:
        """Run one strategy to its end, here or in a worker; returns its figures where that has made them."""
        if self._without_bars is not None:
            raise self._without_bars
        if self._workers is None:
            await run.through()
            return None
        from .walker_workers import take_over

        assert run.window is not None  # that of all  # noqa: S101
        return await take_over(run, self._workers, order, run.window, self._warn)

    async def _entry(self, order: int, run: BacktestRun) -> Entry | None:
        """Return the entry of one strategy; an exception of the strategy goes into the entry. None when stopped."""
        name = run.plan.strategy.name
        try:
            figures = await self._through(order, run)
            if run.stopped:
                return None
            record = with_tries(record_of(run), self._keys[name])
            result = Result(record if figures is None else replace(record, **figures._asdict()))
            self.results[name] = result
            stats, account = for_ranking(result.stats), result.account
        except Exception as error:  # noqa: BLE001 -- one strategy's failure goes into its entry, and the others run
            self._emit_error("strategy", error, run.plan)
            await self._call_back("on_strategy_error", name, run.plan.symbol, error)
            return Entry(strategy=name, stats={}, value=None, error=failure_text(error))
        broken = questions_failed(result)
        value = stats.get(self.spec.metric)
        number = None if value is None else float(value)
        if why := why_unranked(self.spec.metric, stats):
            self._warn(f"{name} has no {self.spec.metric}: {why}")
        return Entry(strategy=name, stats=stats, value=number, error=broken, account=account)

    def _rank_by_one_kind(self) -> None:
        """Make the figures without a unit of all strategies from points where one of them has no percentages."""
        below = [name for name, result in self.results.items() if result.stats.in_points]
        if not below or len(below) == len(self.results):
            return
        for at, entry in enumerate(self.entries):
            result = self.results.get(entry.strategy)
            if result is None or result.stats.in_points or entry.strategy in self._of_points or not result.stats["n"]:
                continue
            self._of_points.add(entry.strategy)
            stats = ranked_beside_points(result.stats, result.trades)
            value = stats.get(self.spec.metric)
            self.entries[at] = dataclasses.replace(entry, stats=stats, value=None if value is None else float(value))
            self._warn(f"{below[0]} opened a position at or below zero: {OF_POINTS} of all strategies")

    async def _emit_step(self, entry: Entry) -> None:
        plan, first = self.plans[0], ranked(self.entries, self.spec.metric)[0]
        step = WalkerStep(
            walker=self.walker,
            symbol=plan.symbol,
            exchange=plan.exchange.name,
            frame=plan.frame.name,
            strategy=entry.strategy,
            stats=dict(entry.stats),
            account=dict(entry.account),
            metric=self.spec.metric,
            value=entry.value,
            error=entry.error,
            best_strategy=first.strategy if first.value is not None else None,
            best_value=first.value,
            tested=self.processed,
            total=self.total,
        )
        subject, labels = subjects.progress_walker, self._labels()
        subjects.emit_progress(subject, "walker", labels, processed=self.processed, total=self.total)
        await self._call_back("on_strategy_complete", step)
        subjects.walker.emit(step)
        self._emit(step)

    def _comparison(self) -> Comparison:
        plan = self.plans[0]
        return Comparison(
            walker=self.walker,
            symbol=plan.symbol,
            exchange=plan.exchange.name,
            frame=plan.frame.name,
            start=plan.frame.start,
            end=plan.frame.last,
            metric=self.spec.metric,
            entries=tuple(ranked(self.entries, self.spec.metric)),
            total=self.total,
            stopped=len(self.entries) < self.total,
            warnings=tuple(dict.fromkeys(self._warnings)),
            results=dict(self.results),
        )

    async def _call_back(self, name: str, *values: object) -> None:
        function = self.spec.callbacks.get(name)
        if function is None:
            return
        try:
            answer = function(*values)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:  # noqa: BLE001 -- a callback never stops a comparison
            self._warnings.append(f"callback {name} failed: {failure_text(error)}")
            self._emit_error("callback", error, self.plans[0])

    def _emit_error(self, kind: str, error: Exception, plan: Plan) -> None:
        if subjects.error.subscribed:
            subjects.error.emit(messages.error_of(error, kind, **plan.labels(), mode="backtest"))

    def _announce_done(self) -> None:
        subjects.done_walker.emit(messages.Done(**self._labels(), mode="backtest"))

    def _series(self) -> Iterable[Series]:
        """Return the candles its strategies ran over."""
        return (each for result in self.results.values() for each in result.run_record.candles.series.values())

    def _rebuilder(self, result: Comparison) -> Callable[[], Comparison]:
        known: dict[int, CandleRange] = {}
        made = {name: one.run_record.rebuilder(known=known) for name, one in self.results.items()}
        bare = dataclasses.replace(result, results={})
        return lambda: dataclasses.replace(bare, results={name: Result(make()) for name, make in made.items()})

    def _release_candles(self) -> None:
        super()._release_candles()
        self.results = {}
        self.plans = self.asked = tuple(replace(plan, exchange=with_weak_source(plan.exchange)) for plan in self.plans)
        self.spec = replace(self.spec, exchange=self.plans[0].exchange)

    def _warn(self, text: str) -> None:
        self._warnings.append(text)

    def __repr__(self) -> str:
        return f"<comparison {self.walker!r} on {self.symbol}: {self.status}, {self.processed} of {self.total}>"
