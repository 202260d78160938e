"""Walkers: strategies compared over one frame, with candles that are loaded once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..engine.plan import ExchangeLike, FrameLike, StrategyLike, plan_backtest
from ..engine.registry import WalkerSpec, registry
from ..errors import UsageError
from ..events.messages import WalkerStep
from ..provenance.strategy_hash import running
from ..research.comparison import UNNAMED, Comparison, rankable
from ..stores.atomic import write_report
from ..sweeps.executor_options import checked_executor
from .add_get_and_list_walkers import walker_spec
from .task_list import TaskList
from .walker_task import WalkerTask

TASKS: Final[TaskList[WalkerTask]] = TaskList("comparison")


def _plan(
    symbol: str,
    walker: str | WalkerSpec | None,
    *,
    exchange: ExchangeLike | None,
    frame: FrameLike | None,
    strategies: Sequence[StrategyLike] | None,
    metric: str | None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    executor: object = None,
) -> WalkerTask:
    """Return the task of a comparison with every name resolved; raises ``UnknownName`` or ``UsageError``."""
    if walker is None or (isinstance(walker, str) and strategies is not None):
        if exchange is None or frame is None or strategies is None:
            raise UsageError(
                "a comparison needs the name of a walker, or exchange, frame and strategies\n"
                'such as bknb.walker("BTCUSDT", exchange="demo", frame="jan", strategies=["a", "b"])'
            )
        spec = walker_spec(walker or UNNAMED, exchange, frame, strategies, metric or "sharpe_ratio", None)
    else:
        spec = registry.walkers.get(walker) if isinstance(walker, str) else walker
        given: dict[str, Any] = {"exchange": exchange, "frame": frame, "metric": metric}
        if strategies is not None:
            given["strategies"] = tuple(strategies)
        spec = replace(spec, **{key: value for key, value in given.items() if value is not None})
        rankable(spec.metric)
    plans = [
        plan_backtest(
            *(symbol, strategy, spec.exchange, spec.frame, None, execution, settings),
            allow_gaps=allow_gaps,
            base=base,
        )
        for strategy in spec.strategies
    ]
    names = [plan.strategy.name for plan in plans]
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise UsageError(f"two strategies are called {twice[0]!r}\nregister them under different names")
    shared = [replace(plan, exchange=plans[0].exchange, frame=plans[0].frame) for plan in plans]
    checked_executor(executor)
    return WalkerTask(spec, shared, executor)


def walker(
    symbol: str,
    *,
    walker: str | WalkerSpec | None = None,
    exchange: ExchangeLike | None = None,
    frame: FrameLike | None = None,
    strategies: Sequence[StrategyLike] | None = None,
    metric: str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    executor: object = None,
) -> Comparison:
    """Compare strategies over one frame and rank them.

    Parameters
    ----------
    symbol
        What is traded.
    walker
        Name of a registered walker; or leave it out and give ``exchange``, ``frame`` and ``strategies``.
    exchange, frame, strategies, metric
        As for ``bknb.add_walker``; next to the name of a walker they replace its own.
    execution, settings, allow_gaps, base
        As for ``bknb.backtest``, for all strategies.
    executor
        As for ``bknb.sweep``; each strategy runs in a worker, and the result is the same. ``None``: in worker processes
        where there is much to do and no callback or listener is told of it.

    Returns
    -------
    Comparison
        ``.best``, ``.to_pandas()``, ``["strategy"]`` (its result), ``.report()``, ``.deflated``, ``.overfitting``.

    Raises
    ------
    UnknownName
        A walker, strategy, exchange, frame or statistic is not known.

    Notes
    -----
    An interrupt from the keyboard ends the comparison; the strategies that are done are ranked, and ``.stopped`` is
    true. A strategy that fails is shown with its error in the ranking, and the others run.

    With an executor, callbacks and listeners are told in this process, in the same order: of each strategy when it is
    done. What a function leaves behind for others, such as a variable of the notebook, stays in its worker.

    Examples
    --------
    >>> import bknb
    >>> def rising(ctx):
    ...     closes = ctx.candles("1h", 4).close
    ...     if closes[-1] > closes[0]:
    ...         return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02,
    ...                            price_stop_loss=ctx.price * 0.99, minute_estimated_time=240)
    >>> def idle(ctx): ...
    >>> found = bknb.walker("BTCUSDT", exchange="demo", frame="2024-01-01:2024-01-08", strategies=[idle, rising],
    ...                     metric="n")
    >>> [entry.strategy for entry in found]
    ['rising', 'idle']
    """
    task = _plan(
        symbol,
        walker,
        exchange=exchange,
        frame=frame,
        strategies=strategies,
        metric=metric,
        execution=execution,
        settings=settings,
        allow_gaps=allow_gaps,
        base=base,
        executor=executor,
    )
    with ExitStack() as all_running:
        for plan in task.plans:
            all_running.enter_context(running(plan.strategy))
        return TASKS.start(task).wait_or_stop()


class Walker:
    """Comparisons of strategies: step by step, in the background, and the results of earlier ones.

    Examples
    --------
    >>> import bknb
    >>> task = bknb.Walker.background("BTCUSDT", exchange="demo", frame="2024-01-01:2024-01-02",
    ...                               strategies=[lambda: None])
    >>> task.result().stopped
    False
    """

    @staticmethod
    async def run(symbol: str, *, walker: str | WalkerSpec | None = None, **options: Any) -> AsyncIterator[WalkerStep]:
        """Yield a step for each strategy that is done; leaving the loop early stops the comparison."""
        task = TASKS.add(_plan(symbol, walker, **_complete(options)))
        async with aclosing(task.follow()) as steps:
            async for step in steps:
                yield step

    @staticmethod
    def background(symbol: str, *, walker: str | WalkerSpec | None = None, **options: Any) -> WalkerTask:
        """Start a comparison and return at once; options as in ``bknb.walker``."""
        task = _plan(symbol, walker, **_complete(options))
        running = TASKS.running(task.symbol, task.walker, lambda known: known.asked == task.asked)
        return running or TASKS.start(task)

    @staticmethod
    def stop(symbol: str, walker: str, *, now: bool = False) -> None:
        """Stop all running comparisons of that walker on that symbol; see ``WalkerTask.stop``."""
        TASKS.stop(symbol, walker, now=now)

    @staticmethod
    def list() -> list[WalkerTask]:
        """All that run, and the last comparison of every symbol and walker."""
        return TASKS.all()

    @staticmethod
    def get_data(symbol: str, walker: str) -> Comparison:
        """The last comparison of that walker on that symbol; waits for it."""
        return TASKS.get(symbol, walker).result()

    @staticmethod
    def get_report(symbol: str, walker: str) -> str:
        """The Markdown report of the last comparison of that walker on that symbol."""
        return Walker.get_data(symbol, walker).report()

    @staticmethod
    def dump(symbol: str, walker: str, path: str | Path = "./dump/walker") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds walker and symbol."""
        return write_report(path, (walker, symbol), Walker.get_report(symbol, walker))


def _complete(options: dict[str, Any]) -> dict[str, Any]:
    return {"exchange": None, "frame": None, "strategies": None, "metric": None} | options
