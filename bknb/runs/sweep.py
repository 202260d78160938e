"""Sweeps: a strategy run with many combinations of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..config import Settings
from ..engine.plan import ExchangeLike, FrameLike, StrategyLike, plan_backtest
from ..errors import UsageError
from ..metrics.trade_definitions import lower_is_better
from ..ports import TrialLedger
from ..provenance.strategy_hash import running
from ..research.sweep_trial_ledger import TrialFile, TrialMemory
from ..stores.atomic import as_path
from ..sweeps.parameter_search import Search, Space, checked_search
from ..sweeps.prepared_candles import goes_compiled
from ..sweeps.sweep_run import SearchOptions, SweepPlan, SweepRun
from .compiling_told import compiling_told
from .run_task import CountedRun
from .sweep_result import SweepResult
from .task import Task
from .tries import code_of, count_sweep

if TYPE_CHECKING:
    from ..domain.schedules import Schedule

_LEDGER: Final = "./dump/trials"  # a path that would do, for messages
LedgerLike: TypeAlias = str | Path | TrialLedger | None
ProgressCallback: TypeAlias = Callable[[int, int], object]


class SweepTask(CountedRun, Task[SweepResult, tuple[int, int]]):
    """A sweep that runs in the background.

    Attributes
    ----------
    progress : float
        Fraction of the combinations that is done, 0.0 to 1.0.
    """

    kind = "sweep"
    _run: SweepRun

    def __init__(
        self, plan: SweepPlan, ledger: TrialLedger | None = None, progress: ProgressCallback | None = None
    ) -> None:
        super().__init__(", ".join(plan.symbols), plan.plans[0].strategy.name)
        self.plan = plan
        self._progress = progress
        self._code = code_of(plan.plans[0])
        self._run = SweepRun(plan, ledger, progress=self._advanced)
        if isinstance(ledger, TrialFile) and ledger.damaged:
            lines = "line" if ledger.damaged == 1 else "lines"
            self._warn(
                f"{ledger.damaged} {lines} of the ledger {ledger.path} cannot be read; what they held is run again"
            )

    def _advanced(self, processed: int, total: int) -> None:
        if self._progress is not None:
            self._progress(processed, total)
        self._emit((processed, total))

    async def _work(self) -> SweepResult:
        import asyncio

        is_compiled = goes_compiled(self.plan.plans[0].strategy)
        with compiling_told(f"sweep of {self.strategy}") if is_compiled else nullcontext():
            await asyncio.to_thread(self._run.run)
        trials = self._run.trials
        trials.count = max(trials.count, count_sweep(self._run, self._code))
        return SweepResult(self._run)

    def _announce_done(self) -> None:
        """Emit nothing: the last progress event marks the end."""

    def _warn(self, text: str) -> None:
        self._run.warnings.append(text)

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002 -- a combination takes milliseconds
        """Start no further combination; the result holds those that are done."""
        self._run.stop()

    def __repr__(self) -> str:
        return f"<sweep of {self.strategy!r} on {self.symbol}: {self.status}, {self.progress:.0%}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions(SearchOptions):
    """The options of a sweep beside what is run on what, with their defaults; as in ``bknb.sweep``."""

    interval: str | None = None
    at: Schedule | str | None = None
    execution: str | None = None
    settings: Settings | dict[str, Any] | None = None
    allow_gaps: bool = False
    base: str | None = None


def plan_sweep(
    strategy: StrategyLike,
    params: Mapping[str, Any],
    symbol: str | Iterable[str],
    exchange: ExchangeLike,
    frame: FrameLike,
    options: SweepOptions,
) -> SweepPlan:
    """Return the plan of a sweep with every name resolved; raises ``UnknownName`` or ``UsageError``."""
    checked_search(options.search, options.metric, options.trials)
    symbols = [symbol] if isinstance(symbol, str) else list(symbol)
    if not symbols or len(set(symbols)) != len(symbols):
        raise UsageError(f"symbol must be a text, or a list of different ones, got {symbol!r:.80}")
    common = (strategy, exchange, frame, options.interval, options.execution, options.settings)
    allow_gaps, base = options.allow_gaps, options.base
    plans = tuple(plan_backtest(one, *common, at=options.at, allow_gaps=allow_gaps, base=base) for one in symbols)
    space = Space(params)
    from ..engine.strategy_checks import checked_params

    chosen = plans[0].strategy
    function = chosen.get_signals or chosen.get_signal
    checked_params(chosen.name, function, space.values, manage=chosen.manage)
    searched = {each.name: getattr(options, each.name) for each in fields(SearchOptions)}
    searched["trials"] = None if options.trials is None else int(options.trials)  # also one of numpy
    return SweepPlan(plans=plans, space=space, lower_is_better=lower_is_better(options.metric), **searched)


def sweep(
    strategy: StrategyLike,
    *,
    params: Mapping[str, Any],
    symbol: str | Iterable[str],
    exchange: ExchangeLike,
    frame: FrameLike,
    metric: str = "sharpe_ratio",
    search: Search = "grid",
    trials: int | None = None,
    seed: int = 0,
    executor: object = None,
    ledger: LedgerLike = None,
    keep_trades: bool = False,
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    progress: ProgressCallback | None = None,
) -> SweepResult:
    """Try a strategy with many combinations of parameters on the same candles.

    A vectorised strategy (``get_signals``) goes through a compiled loop, a whole year of minutes in about a
    millisecond; a ``get_signal`` strategy, or one with a risk profile, through the event engine. Both trade by the
    same rules to the last bit.

    Parameters
    ----------
    strategy
        A registered name, a function, or a strategy. Callbacks are not called.
    params
        For each parameter of its function the values to try: a list, a range, an array, or one value.
    symbol
        One, or several; each combination is tried on all of them.
    exchange, frame, interval, at, execution, settings, allow_gaps, base
        As in ``bknb.backtest``.
    metric
        A figure of ``bknb.statistics`` to rank by; with several symbols their mean.
    search
        ``"grid"``: all combinations (or the first ``trials``). ``"random"``: ``trials`` of them, none twice.
        ``"optuna"``: ``trials`` that its TPE sampler asks for.
    trials
        How many combinations, where the search does not say.
    seed
        Of the random and the Optuna search.
    executor
        ``None``: here, or as ``"processes"`` where there is work for some seconds (200,000 questions to a strategy,
        5,000 combinations of rows, eight symbols over a year of minutes) and the strategy can be sent. ``"inline"``:
        here. ``"processes"``: one worker per core; or their number. A ``dask.distributed.Client``. A pool with
        ``submit`` (or ``map``) whose workers can read this machine's files.
        The result is the same, bit for bit. What worker processes have imported is kept for the next ten minutes, so
        that later sweeps begin at once.
    ledger
        A path: every trial is saved there, so that an interrupted sweep continues where it stopped, and the number of
        trials is known for deflated statistics.
    keep_trades
        Keep all trades of all combinations in memory.
    progress
        Called with the number of combinations done and their total, in a worker thread.

    Raises
    ------
    UnknownName, UsageError
        Names, parameters, a search or a metric that do not exist.
    MissingDependency
        Without numba or cloudpickle: ``pip install 'bknb[sweep]'``.

    Notes
    -----
    What a function leaves behind for others, such as a variable of the notebook, stays in its worker.

    A combination whose function raises is a row with its error; the others go on. An interrupt from the keyboard ends
    the sweep and returns what there is.

    Examples
    --------
    >>> import bknb
    >>> def get_signals(candles, length=10):
    ...     close = candles.close
    ...     rise = close > close.mean() if length > 500 else close > 0
    ...     return {"position": rise, "price_take_profit": close * 1.02, "price_stop_loss": close * 0.98,
    ...             "minute_estimated_time": 60 * length}
    >>> found = bknb.sweep(get_signals, params={"length": range(2, 6)}, symbol="BTCUSDT", exchange="demo",
    ...                    frame=("2024-01-01", "2024-01-08"), interval="1h", metric="total_pnl")
    >>> len(found.table), sorted(found.best["params"])
    (4, ['length'])
    """
    options = SweepOptions(
        metric=metric,
        search=search,
        trials=trials,
        seed=seed,
        executor=executor,
        keep_trades=keep_trades,
        interval=interval,
        at=at,
        execution=execution,
        settings=settings,
        allow_gaps=allow_gaps,
        base=base,
    )
    plan = plan_sweep(strategy, params, symbol, exchange, frame, options)
    task = SweepTask(plan, None if ledger is None else open_ledger(ledger), progress)
    with running(plan.plans[0].strategy):
        task.start()
        return task.wait_or_stop()


def open_ledger(ledger: LedgerLike) -> TrialLedger:
    """Return the ledger for an option ``ledger=``: a path gives one on disk, ``None`` one in memory."""
    if ledger is None:
        return TrialMemory()
    if isinstance(ledger, TrialLedger):
        return ledger
    if isinstance(ledger, (str, Path)):
        return TrialFile(as_path(ledger, _LEDGER).expanduser())
    raise UsageError(
        f"ledger must be a path, a ledger or None, got {ledger!r:.80}\n"
        f"give a path such as {_LEDGER!r}, or leave it out to keep trials in memory"
    )


class Sweep:
    """Sweeps in the background.

    Examples
    --------
    >>> import bknb
    >>> def get_signals(candles, up=1.02):
    ...     return {"position": 0, "price_take_profit": candles.close * up, "price_stop_loss": candles.close * 0.98,
    ...             "minute_estimated_time": 60}
    >>> task = bknb.Sweep.background(get_signals, params={"up": [1.02, 1.03]}, symbol="BTCUSDT", exchange="demo",
    ...                              frame=("2024-01-01", "2024-01-03"), interval="1h")
    >>> len(task.result().table), task.status
    (2, 'fulfilled')
    """

    @staticmethod
    def background(
        strategy: StrategyLike,
        *,
        params: Mapping[str, Any],
        symbol: str | Iterable[str],
        exchange: ExchangeLike,
        frame: FrameLike,
        ledger: LedgerLike = None,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> SweepTask:
        """Start a sweep and return at once; options as in ``bknb.sweep``."""
        known = [each.name for each in fields(SweepOptions)]
        if unknown := sorted(set(options) - set(known)):
            raise UsageError(f"a sweep has no option {unknown[0]!r}\nits options: {', '.join(known)}")
        plan = plan_sweep(strategy, params, symbol, exchange, frame, SweepOptions(**options))
        task = SweepTask(plan, None if ledger is None else open_ledger(ledger), progress)
        task.start()
        return task
