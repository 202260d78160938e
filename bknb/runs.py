"""Starting backtests: plainly, in the background, or trade by trade.

A run lives in a worker thread with an event loop of its own, so the same call works in a script, in a notebook cell
and inside a coroutine, and never touches the loop of a notebook kernel.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .config import Settings, changed, get_config
from .domain.execution import execution_model
from .domain.signal import Cancelled, Closed
from .engine import events, subjects
from .engine.asking import where_it_failed
from .engine.backtest import BacktestRun, Plan
from .engine.registry import (
    Exchange,
    Frame,
    Strategy,
    get_risk,
    resolve_exchange,
    resolve_frame,
    resolve_strategy,
)
from .errors import UnknownName, UsageError
from .ports import CandleSource
from .result import Result

Status: TypeAlias = Literal["ready", "pending", "fulfilled", "rejected"]
StrategyLike: TypeAlias = str | Strategy | Callable[..., Any]
ExchangeLike: TypeAlias = str | Exchange | CandleSource | Callable[..., Any]
FrameLike: TypeAlias = str | Frame | tuple[object, object]

_LOOK_SECONDS = 0.05  # a waiting main thread looks this often whether it was interrupted


class Task:
    """A backtest that runs in the background.

    Attributes
    ----------
    symbol, strategy : str
    status : {"ready", "pending", "fulfilled", "rejected"}
    progress : float
        Part of the frame that is behind, 0.0 to 1.0.

    Examples
    --------
    >>> import bknb
    >>> task = bknb.Backtest.background(
    ...     "BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> len(task.result().trades), task.status, task.progress
    (0, 'fulfilled', 1.0)
    """

    def __init__(self, plan: Plan) -> None:
        self._run = BacktestRun(plan)
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._result: Result | None = None
        self._heard: Callable[[Closed | Cancelled | None], None] | None = None
        self._thread: threading.Thread | None = None
        self.plan = plan
        self.symbol = plan.symbol
        self.strategy = plan.strategy.name

    def start(self, heard: Callable[[Closed | Cancelled | None], None] | None = None) -> Task:
        """Start the worker thread; ``heard`` gets every closed and cancelled result there, and ``None`` at the end."""
        self._heard = heard
        context = contextvars.copy_context()  # prints of a strategy land in the cell that started the run
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name=f"bknb-{self.strategy}-{self.symbol}", daemon=True
        )
        self._thread.start()
        return self

    def _work(self) -> None:
        try:
            asyncio.run(self._collect())
            self._result = Result(self._run)
        except BaseException as error:  # noqa: BLE001 -- told to whoever waits, and on the exit subject
            self._error = error
            if subjects.exit.heard:
                subjects.exit.emit(
                    subjects.ErrorEvent(
                        kind="run",
                        message=f"{type(error).__name__}: {error}",
                        where=where_it_failed(error),
                        symbol=self.symbol,
                        strategy=self.strategy,
                        mode="backtest",
                    )
                )
        finally:
            try:
                self._announce_done()
            finally:
                self._over.set()
                if self._heard is not None:
                    self._heard(None)

    def _announce_done(self) -> None:
        events.drain()
        plan = self._run.plan
        subjects.done_backtest.emit(
            subjects.Done(
                symbol=self.symbol,
                strategy=self.strategy,
                exchange=plan.exchange.name,
                frame=plan.frame.name,
                mode="backtest",
            )
        )

    async def _collect(self) -> None:
        async for result in self._run.results():
            if self._heard is not None:
                self._heard(result)

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """``ready`` before the start, then ``pending``, at the end ``fulfilled`` or ``rejected``."""
        if self._thread is None:
            return "ready"
        if not self._over.is_set():
            return "pending"
        return "fulfilled" if self._error is None else "rejected"

    @property
    def done(self) -> bool:
        """Whether the run is over."""
        return self._over.is_set()

    @property
    def processed(self) -> int:
        """Moments of the frame that are behind."""
        return self._run.processed

    @property
    def total(self) -> int:
        """Moments of the frame."""
        return self._run.total

    @property
    def progress(self) -> float:
        """Part of the frame that is behind, 0.0 to 1.0."""
        return self._run.processed / self._run.total

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades closed up to now."""
        return list(self._run.records.closed)

    # --- acting -------------------------------------------------------------------------------------------------

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch an open position to its end; ``now`` leaves at the next minute."""
        self._run.stop(now=now)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over; returns whether it is. Can be interrupted from the keyboard."""
        waited = 0.0
        while not self._over.wait(_LOOK_SECONDS):
            waited += _LOOK_SECONDS
            if timeout is not None and waited >= timeout:
                return False
        return True

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the result; raises what ended the run, or ``TimeoutError`` after ``timeout`` seconds."""
        if not self.wait(timeout):
            raise TimeoutError(f"the backtest of {self.strategy!r} on {self.symbol} is still running after {timeout} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None  # a run that did not fail has one  # noqa: S101
        return self._result

    def __await__(self) -> Generator[Any, None, Result]:
        async def arrive() -> Result:
            while not self._over.is_set():  # noqa: ASYNC110 -- the event is set in another thread
                await asyncio.sleep(_LOOK_SECONDS)
            return self.result()

        return arrive().__await__()

    def __repr__(self) -> str:
        return f"<backtest of {self.strategy!r} on {self.symbol}: {self.status}, {self.progress:.0%}>"


def plan_backtest(
    symbol: str,
    *,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
) -> Plan:
    """Resolve every name of a backtest, or say which one is unknown."""
    given: object = symbol
    if not (isinstance(given, str) and given):
        raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r}")
    chosen = resolve_strategy(strategy, interval=interval)
    if chosen.risk is not None:
        get_risk(chosen.risk)
    if isinstance(settings, dict):
        settings = changed(get_config(), settings)
    elif settings is not None and not isinstance(settings, Settings):
        raise UsageError(f"settings must be a mapping of settings or bknb.Settings, got {settings!r:.80}")
    elif settings is not None:
        settings = changed(settings, {})
    return Plan(
        symbol=symbol,
        strategy=chosen,
        exchange=resolve_exchange(exchange),
        frame=resolve_frame(frame),
        execution=execution_model(execution or chosen.execution).name,
        settings=settings or get_config(),
        allow_gaps=allow_gaps,
    )


def backtest(
    symbol: str,
    *,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
) -> Result:
    """Run a strategy over history and return what it would have done.

    Parameters
    ----------
    symbol
        The pair to trade, as the exchange calls it.
    strategy
        A registered name, a function, or a strategy.
    exchange
        A registered name, a source from ``bknb.exchanges``, or a ``get_candles`` function.
    frame
        A registered name, ``(start, end)``, or ``"2024-01-01:2024-02-01"``.
    interval
        How often a function is asked (default ``"1m"``); overrides the interval of a registered strategy.
    execution
        ``"pessimistic"``, ``"touch"`` or ``"vwap"``; by default what the strategy was registered with.
    settings
        Settings of this run, or a mapping of those that differ from ``get_config()``.
    allow_gaps
        Accept missing minutes; nothing can fill inside a gap.

    Raises
    ------
    UnknownName
        A name is not registered; the text lists the known ones and the nearest.
    DataError
        The candles cannot be had or cannot be trusted.

    Notes
    -----
    An interrupt from the keyboard ends the run at a minute boundary and returns what there is; then
    ``result.stopped`` is true.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="1h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-08"))
    >>> len(result.trades) > 0
    True
    """
    plan = plan_backtest(
        symbol,
        strategy=strategy,
        exchange=exchange,
        frame=frame,
        interval=interval,
        execution=execution,
        settings=settings,
        allow_gaps=allow_gaps,
    )
    task = _remember(Task(plan)).start()
    try:
        task.wait()
    except KeyboardInterrupt:
        task.stop(now=True)
        task.wait()
    return task.result()


_tasks: dict[tuple[str, str], Task] = {}


def _remember(task: Task) -> Task:
    _tasks[task.symbol, task.strategy] = task
    return task


class Backtest:
    """Backtests as they happen, in the background, and those of before.

    Examples
    --------
    >>> import asyncio, bknb
    >>> async def watch():
    ...     async for trade in bknb.Backtest.run("BTCUSDT", strategy=lambda: None, exchange="demo",
    ...                                          frame=("2024-01-01", "2024-01-02")):
    ...         print(trade.action)
    >>> asyncio.run(watch())
    """

    @staticmethod
    async def run(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, frame: FrameLike, **options: Any
    ) -> AsyncIterator[Closed | Cancelled]:
        """Closed and cancelled results as they happen; leaving the loop early stops the run."""
        task = _remember(Task(plan_backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)))
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Closed | Cancelled | None] = asyncio.Queue()

        def heard(result: Closed | Cancelled | None) -> None:
            with suppress(RuntimeError):  # the caller's loop is closed already: nobody listens any more
                loop.call_soon_threadsafe(queue.put_nowait, result)

        task.start(heard)
        try:
            while (result := await queue.get()) is not None:
                yield result
            task.result()
        finally:
            task.stop(now=True)
            while not task.done:  # noqa: ASYNC110 -- the event is set in another thread
                await asyncio.sleep(_LOOK_SECONDS)

    @staticmethod
    def background(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, frame: FrameLike, **options: Any
    ) -> Task:
        """Start a backtest and return at once; options as in ``bknb.backtest``."""
        plan = plan_backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
        running = _tasks.get((plan.symbol, plan.strategy.name))
        if running is not None and running.status == "pending" and running.plan == plan:
            return running
        return _remember(Task(plan)).start()

    @staticmethod
    def stop(symbol: str, strategy: str, *, now: bool = False) -> None:
        """Stop a running backtest; see ``Task.stop``."""
        _task(symbol, strategy).stop(now=now)

    @staticmethod
    def list() -> list[Task]:
        """The last backtest of every symbol and strategy."""
        return [*_tasks.values()]

    @staticmethod
    def get_data(symbol: str, strategy: str) -> Result:
        """The result of the last backtest of that strategy on that symbol; waits for it."""
        return _task(symbol, strategy).result()

    @staticmethod
    def get_report(symbol: str, strategy: str) -> str:
        """The Markdown report of the last backtest of that strategy on that symbol."""
        return Backtest.get_data(symbol, strategy).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/backtest") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and symbol."""
        from .adapters.reports import write_report

        return write_report(Path(path), (strategy, symbol), Backtest.get_report(symbol, strategy))


def _task(symbol: str, strategy: str) -> Task:
    try:
        return _tasks[symbol, strategy]
    except KeyError:
        known = [f"{s} on {y}" for y, s in _tasks]
        raise UnknownName("backtest", f"{strategy} on {symbol}", known=known) from None
