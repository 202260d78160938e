"""Starting backtests: plainly, in the background, or trade by trade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..config import Settings
from ..domain.signal import Cancelled, Closed, Event
from ..engine.backtest import BacktestRun
from ..engine.plan import ExchangeLike, FrameLike, Plan, Stopping, StrategyLike, plan_backtest
from ..engine.records import Records
from ..events import messages, subjects
from ..market.candles import Candles
from ..stores.atomic import write_report
from .book import TaskBook
from .make_card import code_of
from .result import Result
from .run_record import record_of, unheld
from .task import Task


class BacktestTask(Task[Result, Closed | Cancelled]):
    """A backtest that runs in the background.

    Attributes
    ----------
    progress : float
        Part of the frame that is behind, 0.0 to 1.0.
    """

    kind = "backtest"
    can_pause = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.symbol, plan.strategy.name)
        # The code is read now: the cell may be run again, with other text, before this run is over.
        self._run = BacktestRun(plan, code=code_of(plan))
        self.plan = plan

    async def _work(self) -> Result:
        async for result in self._run.results():
            self._hear(result)
        return Result(record_of(self._run))

    def _announce_done(self) -> None:
        subjects.done_backtest.emit(messages.Done(**self.plan.labels(), mode="backtest"))

    def _candle_bytes(self) -> int:
        """The memory of the candles it ran over, bytes."""
        return 0 if self._run.window is None else self._run.window.candle_bytes

    def _lighter(self, result: Result) -> Callable[[], Result]:
        """A function that makes the result again; it reads the candles when they are asked for."""
        make = result.run_record.light()
        return lambda: Result(make())

    def _let_go(self) -> None:
        """Hold no candles any more, once it is over."""
        super()._let_go()
        self.plan = replace(self.plan, exchange=unheld(self.plan.exchange))
        self._run.let_go(self.plan)

    def _warn(self, text: str) -> None:
        self._run.records.warnings.append(text)

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
    def records(self) -> Records:
        """Everything it has told up to now; it goes on growing."""
        return self._run.records

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades closed up to now."""
        return list(self._run.records.closed)

    @property
    def events_so_far(self) -> list[Event]:
        """Everything told up to now, each kind in order; results of quiet minutes are not kept."""
        records = self._run.records.snapshot()
        return [*records.events, *records.milestones, *records.refused, *records.rejected]

    @property
    def candles(self) -> Candles:
        """The one-minute candles of the frame; none before they are loaded."""
        if self.status == "fulfilled":
            return self.result().candles
        with suppress(KeyError):  # not loaded yet
            return record_of(self._run).minutes
        return Candles.empty()

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch an open position to its end; ``now`` leaves at the next minute."""
        self._run.stop(now=now)

    @property
    def stopping(self) -> Stopping:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves at the next minute."""
        return self._run.stopping

    @property
    def paused(self) -> bool:
        """Whether the strategy is not being asked for new entries."""
        return self._run.paused

    def pause(self) -> None:
        """Ask for no new entry until ``resume``; what is open or scheduled is watched to its end.

        The run then stands still before its next question, and so does time in the frame: a pause changes nothing
        in what the run comes to. The result says in its warnings where it was paused.

        Examples
        --------
        >>> import bknb
        >>> task = bknb.Backtest.background(
        ...     "BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-03-01"))
        >>> task.pause()
        >>> task.paused
        True
        >>> task.resume()
        >>> len(task.result().trades)
        0
        """
        self._run.pause()

    def resume(self) -> None:
        """Go on asking where ``pause`` left off."""
        self._run.resume()

    def __repr__(self) -> str:
        return f"<backtest of {self.strategy!r} on {self.symbol}: {self.status}, {self.progress:.0%}>"


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
    return BOOK.start(BacktestTask(plan)).wait_or_stop()


BOOK: Final[TaskBook[BacktestTask]] = TaskBook("backtest")


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
        plan = plan_backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
        async with aclosing(BOOK.add(BacktestTask(plan)).follow()) as results:
            async for result in results:
                yield result

    @staticmethod
    def background(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, frame: FrameLike, **options: Any
    ) -> BacktestTask:
        """Start a backtest and return at once; options as in ``bknb.backtest``."""
        plan = plan_backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
        running = BOOK.running(plan.symbol, plan.strategy.name, lambda known: known.plan == plan)
        return running or BOOK.start(BacktestTask(plan))

    @staticmethod
    def stop(symbol: str, strategy: str, *, now: bool = False) -> None:
        """Stop a running backtest; see ``Task.stop``."""
        BOOK.get(symbol, strategy).stop(now=now)

    @staticmethod
    def pause(symbol: str, strategy: str) -> None:
        """Ask for no new entries until ``resume``; see ``Task.pause``."""
        BOOK.get(symbol, strategy).pause()

    @staticmethod
    def resume(symbol: str, strategy: str) -> None:
        """Go on after ``pause``."""
        BOOK.get(symbol, strategy).resume()

    @staticmethod
    def list() -> list[BacktestTask]:
        """The last backtest of every symbol and strategy."""
        return BOOK.all()

    @staticmethod
    def get_data(symbol: str, strategy: str) -> Result:
        """The result of the last backtest of that strategy on that symbol; waits for it."""
        return BOOK.get(symbol, strategy).result()

    @staticmethod
    def get_report(symbol: str, strategy: str) -> str:
        """The Markdown report of the last backtest of that strategy on that symbol."""
        return Backtest.get_data(symbol, strategy).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/backtest") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(Path(path), (strategy, symbol), Backtest.get_report(symbol, strategy))
