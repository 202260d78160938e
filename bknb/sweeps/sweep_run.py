"""Running a sweep: many combinations of parameters over the same candles, each written into a trial ledger."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..engine.get_signals_vectorised import signal_rows, unsteady_rows
from ..engine.registration_checks import with_params
from ..events import subjects
from ..kernels.sweep_figures import FIGURES
from ..market.candles_in_mapped_files import CandleFiles
from ..market.system_clock import stopwatch
from ..metrics.trade_definitions import OF_ACCOUNT, OF_RESULTS
from .batches import Batch, WorkDir
from .compiled_loops import Loop, loop_of
from .evaluate_combination import Outcome, needs_source
from .executor_of_sweep import make_executor
from .executor_options import (
    ROW_RUNS,
    CannotBeSentError,
    executor_for,
    is_inline,
    loading_of,
    processes_of,
    questions_of,
)
from .executors import get_workers_ready
from .packed_days import frame_days
from .parameter_search import Params, Space, make_search
from .prepared_candles import OverLongerBars, Prepared, goes_compiled, prepare, with_candles_beside
from .row_lifetimes import why_by_events
from .sweep_series import asked_of
from .symbol_means import known_figures, mean_of_known, missing_by_adds, missing_symbols, told_of_points
from .symbols_in_workers import Described, described, prepared_elsewhere
from .trials_of_sweep import SweepTrials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.plan import Plan
    from ..ports import TrialLedger
    from .units import Executor

_BATCH: Final = 32  # combinations in a task, at most
_IN_MEMORY: Final = 512  # outcomes whose daily returns are in no file
_OF_WORKERS: Final = [f"bknb.sweeps.{name}" for name in ("batches", "compiled_loops", "symbols_in_workers")]
_CANDLES_BY_EVENTS: Final = (
    "over these candles a sweep goes through the event engine, which takes some hundred times as long as the compiled "
    "loop: bars count from the open of their market, prices may be at or below zero, or ticks are too fine for floats"
)
_WEIGHTS_BY_EVENTS: Final = (
    "over these candles weights go through the event engine, which takes some hundred times as long as the compiled "
    "loop: orders may wait over a question for a candle that fills them, days are sessions, or bars count from the "
    "open of their market"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a sweep searches and what it keeps, with the defaults; as in ``bknb.sweep``."""

    metric: str = "sharpe_ratio"
    search: str = "grid"
    trials: int | None = None
    seed: int = 0
    executor: object = None
    keep_trades: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan(SearchOptions):
    """The resolved options of a sweep.

    Attributes
    ----------
    plans
        One backtest per symbol; the sweep repeats each with every combination.
    """

    plans: tuple[Plan, ...]
    space: Space
    lower_is_better: bool

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order they were given."""
        return tuple(plan.symbol for plan in self.plans)


class SweepRun:
    """One sweep while it runs.

    Attributes
    ----------
    combinations : list of dict
        Parameters, in the order in which they were first asked for.
    outcomes : dict
        ``(combination, symbol number) -> Outcome``.
    processed, total : int
        Combinations times symbols: done, and all.
    trials : SweepTrials
        Its trials in the ledger.
    data : list of str
        Hash of the candles of each symbol.
    data_hashes : list of str
        That of its candles in the frame, by which tries are counted, and ``open_days``: the days of its candles (days
        since 1970, ascending).
    """

    def __init__(
        self, plan: SweepPlan, ledger: TrialLedger | None, *, progress: Callable[[int, int], object] | None
    ) -> None:
        self.plan = plan
        self.trials = SweepTrials(ledger)
        self.combinations: list[Params] = []
        self.outcomes: dict[tuple[int, int], Outcome] = {}
        self.warnings: list[str] = []
        self._why_base = ""  # why all go over longer bars than they were planned over
        self.processed = 0
        self.seconds = 0.0
        self.stopped = False
        self.data: list[str] = []
        self.data_hashes: list[str] = []
        self.at_zero: list[bool] = []  # by symbol
        self.open_days: list[NDArray[np.int64]] = []
        # whether rows of the first combination declare exits, and may need the exchange
        self._declares = self._has_orders = self._with_source = self._reads_beside = False
        self._search = make_search(
            plan.space, search=plan.search, trials=plan.trials, seed=plan.seed, lower_is_better=plan.lower_is_better
        )
        self.total = self._search.total * len(plan.plans)
        self._progress = progress
        self._numbers: dict[str, int] = {}
        self._in_memory: list[tuple[int, int]] = []  # whose daily returns are in no file yet
        self._files = CandleFiles()
        self._means: dict[int, NDArray[np.float64]] = {}  # by combination that has all its outcomes

    def stop(self) -> None:
        """Start no further batch; outcomes so far stay. Thread-safe."""
        self.stopped = True

    def run(self) -> None:
        """Evaluate all combinations, or those before ``stop()``; blocks."""
        began, given = stopwatch(), self.plan.executor
        compiled = goes_compiled(self.plan.plans[0].strategy)
        self.plan = replace(self.plan, executor=executor_for(given, self._questions(compiled=compiled)))
        get_workers_ready(self.plan.executor, "cloudpickle", *_OF_WORKERS, *(("numba",) if compiled else ()))
        folder = Path(tempfile.mkdtemp(prefix="bknb-sweep-"))
        try:
            try:
                self._run_in(WorkDir(folder))
            except CannotBeSentError:
                if self.plan.executor == given:
                    raise
                self.plan = replace(self.plan, executor=given)
                self._run_in(WorkDir(Path(tempfile.mkdtemp(dir=folder))))
        finally:
            self.trials.save()
            shutil.rmtree(folder, ignore_errors=True)
        if self.trials.warning:
            self._warn(self.trials.warning)
        self.trials.count_all()
        self._warn_of_missing()
        self.seconds = stopwatch() - began
        self._report()

    @property
    def _is_hashed(self) -> bool:
        """Whether somebody asks for the hash of candles: the ledger, or workers that keep those of several sweeps."""
        executor = self.plan.executor
        return self.trials.has_ledger or not (is_inline(executor) or processes_of(executor))

    def _questions(self, *, compiled: bool) -> int:
        """How much there is to do, in questions to a strategy."""
        plans = self.plan.plans
        each = ROW_RUNS if compiled else questions_of(plans[0])
        return self.total * each + len(plans) * loading_of(plans[0])

    def _run_in(self, work_dir: WorkDir) -> None:
        plan = self.plan
        for each in (self.data, self.data_hashes, self.at_zero, self.open_days):
            each.clear()
        self.trials.begin(plan.plans, self.data)
        only: Prepared | None = None
        for number, one in enumerate(plan.plans):
            if number == 1 and self._prepare_elsewhere(work_dir):
                break
            try:
                prepared = asyncio.run(prepare(one, self._warn, hashed=self._is_hashed))
            except OverLongerBars as longer:
                self._tell_base(longer.plan.notes[-1])
                self.plan = replace(plan, plans=longer.of_all(plan.plans))
                self._run_in(WorkDir(Path(tempfile.mkdtemp(dir=work_dir.folder))))
                return
            if number == 0:
                self._look_at_rows(prepared)
            if self._reads_beside:
                prepared = with_candles_beside(one, prepared, plan.space.at(0))
            if len(plan.plans) == 1 and is_inline(plan.executor):
                only = prepared
            else:
                work_dir.add(number, prepared)
            self._keep(described(one, prepared))
        if len(plan.plans) > 1 and any(self.at_zero):  # means over symbols are of figures of one kind
            for number in range(len(plan.plans)):
                Prepared.note_of_points(work_dir.folder / str(number))
            self.trials.in_points()
        given: dict[str, Any] = {"keep_ends": plan.keep_trades, "with_source": self._with_source, "warn": self._warn}
        executor = make_executor(plan.executor, work_dir, plan.plans[0], only=only, loop=self._loop(), **given)
        try:
            for combinations in self._search.rounds():
                self._try_round(executor, combinations)
                if self.stopped:
                    return
                self._search.tell(combinations, [self._score(self._number(params)) for params in combinations])
        finally:
            executor.close()

    def _loop(self) -> Loop | None:
        strategy = self.plan.plans[0].strategy
        if not goes_compiled(strategy):
            return None
        return loop_of(strategy, declares=self._declares, has_orders=self._has_orders)

    def _prepare_elsewhere(self, work_dir: WorkDir) -> bool:
        """Have workers prepare all symbols but the first, where that pays; returns whether they did."""
        plan = self.plan
        params = plan.space.at(0) if self._reads_beside else None
        found = prepared_elsewhere(plan.plans, work_dir.folder, plan.executor, params, hashed=self._is_hashed)
        for each in found or ():
            for text in each.warnings:
                self._warn(text)
            self._keep(each)
        return found is not None

    def _keep(self, candles: Described) -> None:
        """Keep what is asked about the candles of a symbol afterwards."""
        self.data.append(candles.data)
        self.data_hashes.append(candles.data_hash)
        self.at_zero.append(candles.at_zero)
        self.open_days.append(candles.open_days)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _tell_base(self, why: str) -> None:
        """Warn of the bars that all go over, and no longer of those that they went over before."""
        if self._why_base in self.warnings:
            self.warnings.remove(self._why_base)
        self._why_base = why
        self._warn(why)

    def _look_at_rows(self, prepared: Prepared) -> None:
        """Warn when rows of the first combination differ from what a live run would compute, or take far longer."""
        plan = self.plan.plans[0]
        if not goes_compiled(plan.strategy):
            return
        strategy = with_params(plan.strategy, self.plan.space.at(0))
        try:
            asked, first = asked_of(plan, prepared.candle_closes, prepared.opened), prepared.known_at(plan.frame.start)
            rows = signal_rows(strategy, prepared.candles, asked=asked)
            self._reads_beside = asked.beside.was_read or bool(strategy.uses)
            self._with_source = rows.timed is not None or self._reads_beside
            self._declares = rows.exits is not None or rows.timed is not None
            self._has_orders = rows.has_orders
            by_events = why_by_events(rows, plan, prepared.market)
            warning = unsteady_rows(strategy, rows, prepared.candles, first, asked=asked)
        except Exception:  # noqa: BLE001 -- the row of the combination shows the error
            return
        if warning is not None:
            self._warn(warning)
        if by_events or needs_source(plan, prepared):
            candles = _CANDLES_BY_EVENTS if strategy.tolerance is None else _WEIGHTS_BY_EVENTS
            self._warn(by_events or candles)

    # --- combinations -----------------------------------------------------------------------------------------------

    def _number(self, params: Params) -> int:
        """Return the number of a combination; a repeated one has the number of its first time."""
        text = repr(params)
        if text not in self._numbers:
            self._numbers[text] = len(self.combinations)
            self.combinations.append(params)
        return self._numbers[text]

    def _try_round(self, executor: Executor[Batch], combinations: Sequence[Params]) -> None:
        numbers = list(dict.fromkeys(self._number(params) for params in combinations))
        batches: list[Batch] = []
        for symbol in range(len(self.plan.plans)):
            todo = [number for number in numbers if not self._recall(number, symbol)]
            size = max(1, min(_BATCH, -(-len(todo) // (4 * executor.workers))))
            batches += [
                Batch(symbol, part, [self.combinations[number] for number in part])
                for part in (todo[at : at + size] for at in range(0, len(todo), size))
            ]
        self._advance((len(combinations) - len(numbers)) * len(self.plan.plans))
        while batches:  # one whose worker died may have been ended by any of its combinations
            taken = executor.run(batches, lambda: self.stopped)
            batches = [one for batch, answer in taken if not self._take(batch, answer) for one in batch.singles()]

    def _recall(self, number: int, symbol: int) -> bool:
        """Take an outcome from this run or from the ledger; returns whether there was one."""
        if (number, symbol) not in self.outcomes:
            known = None if self.plan.keep_trades else self.trials.recall(number, self.combinations[number], symbol)
            if known is None:
                return False
            self.outcomes[number, symbol] = known
        self._advance(1)
        return True

    def _take(self, batch: Batch, answer: Any) -> bool:
        if answer is None and len(batch.numbers) > 1:
            return False
        if not isinstance(answer, list):
            text = answer or f"the worker died {batch.tries} times with this combination"
            answer = [_failed(text, frame_days(self.plan.plans[0])[1])] * len(batch.numbers)
        for number, outcome in zip(batch.numbers, answer, strict=True):
            self.outcomes[number, batch.symbol] = outcome
            if not outcome.error:
                self.trials.add(number, self.combinations[number], batch.symbol, outcome)
            self._in_memory.append((number, batch.symbol))
        if len(self._in_memory) >= _IN_MEMORY:
            self._keep_days()
        self.trials.save_many()
        self._advance(len(batch.numbers))
        return True

    def _keep_days(self) -> None:
        """Put the daily returns of the newest outcomes into a file, so that memory does not grow with each of them."""
        outcomes = [self.outcomes[key] for key in self._in_memory]
        kept = self._files.put(np.array([outcome.daily for outcome in outcomes]))
        for key, outcome, daily in zip(self._in_memory, outcomes, kept, strict=True):
            self.outcomes[key] = replace(outcome, daily=daily)
        self._in_memory.clear()
        self._files.let_go()

    def _advance(self, count: int) -> None:
        self.processed += count
        if count:
            self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.processed, self.total)
        labels = {**self.plan.plans[0].labels(), "symbol": ", ".join(self.plan.symbols)}
        subject = subjects.progress_walker
        subjects.emit_progress(subject, "sweep", labels, processed=self.processed, total=self.total)

    def complete(self) -> list[int]:
        """Return the combinations that have an outcome on every symbol."""
        symbols = range(len(self.plan.plans))
        return [at for at in range(len(self.combinations)) if all((at, symbol) in self.outcomes for symbol in symbols)]

    def _score(self, number: int) -> float:
        """Return the metric of a combination: the mean over the symbols that have it; NaN where none has."""
        return float(self.means(number)[FIGURES.index(self.plan.metric)])

    def means(self, number: int) -> NDArray[np.float64]:
        """Return the mean of each figure of a combination over its symbols, shape (len(FIGURES),).

        NaN where no symbol has the figure, and all NaN where the combination failed on one of its symbols: a mean over
        the others would be the figure of another set of symbols.
        """
        if number not in self._means:
            failed = self.failed(number)
            self._means[number] = np.full(len(FIGURES), np.nan) if failed else mean_of_known(self.figures(number).T)
        return self._means[number]

    def failed(self, number: int) -> list[int]:
        """Return the numbers of the symbols on which a combination failed."""
        return [symbol for symbol in range(len(self.plan.plans)) if self.outcomes[number, symbol].error]

    def figures(self, number: int) -> NDArray[np.float64]:
        """Return the figures of a combination, shape (symbols, len(FIGURES)), as ``known_figures`` has them."""
        outcomes = [self.outcomes[number, symbol] for symbol in range(len(self.plan.plans))]
        return known_figures(np.array([outcome.figures for outcome in outcomes]))

    def _warn_of_missing(self) -> None:
        """Warn of what is missing in the ranking: by adds, on symbols that failed, and in means over symbols."""
        complete, symbols, metric = self.complete(), self.plan.symbols, self.plan.metric
        if len(symbols) == 1 and metric not in OF_ACCOUNT | {*OF_RESULTS} and not any(self.at_zero):
            return  # no mean, and no figure that adds or entries at or below zero take away
        figures = {number: self.figures(number) for number in complete}
        errors = {(number, at): self.outcomes[number, at].error for number in complete for at in range(len(symbols))}
        missing = (*missing_by_adds(metric, figures), *missing_symbols(symbols, metric, figures, errors))
        for text in (*missing, *told_of_points(symbols, self.at_zero, figures)):
            self._warn(text)


def _failed(text: str, days: int) -> Outcome:
    return Outcome(np.full(len(FIGURES), np.nan), np.zeros(days), error=text)
