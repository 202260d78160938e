"""Backtests: blocking, in the background, or trade by trade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..domain.signal_events import Cancelled, Closed
from ..engine.backtest import BacktestRun
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike
from ..events import messages, subjects
from ..market.candles import Candles
from ..provenance.strategy_hash import running
from .card_of_result import code_of
from .plan_of_backtest import only_leg, plan_run
from .result import Result
from .run_record import record_of, with_weak_source
from .run_task import CountedRun, RunTask
from .task_list import TaskList

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from ..domain.costs import Costs
    from ..domain.percent_risk_and_kelly_sizes import Size
    from ..domain.schedules import Schedule
    from ..domain.spot_margin_and_perpetual import Account

    SizingLike = Size | str | Callable[..., Any]
    AccountLike = Account | str
    BenchmarkLike = str | pd.Series


class BacktestTask(CountedRun, RunTask[Closed | Cancelled]):
    """A backtest that runs in the background.

    Attributes
    ----------
    progress : float
        Fraction of the frame that is done, 0.0 to 1.0.
    """

    kind = "backtest"
    _run: BacktestRun

    def __init__(self, plan: Plan, executor: object = None) -> None:
        from .tries import key_of  # `import bknb` needs it not

        super().__init__(plan.symbol, plan.strategy.name)
        self._key, self._executor = key_of(plan), executor
        if executor is not None:
            from ..sweeps.executor_options import checked_executor  # few runs are given one

            checked_executor(executor)
        # The code is read now: the cell may be run again, with other text, before this run is over.
        self._run = BacktestRun(plan, code=code_of(plan), account=only_leg(plan.account))
        self.plan = self.asked = plan  # which may go over other bars; with the same ``asked`` tasks do the same

    async def _work(self) -> Result:
        prices, notes = None, list[str]()
        if self.plan.longer_bases:
            from .run_over_chosen_base import over_chosen_base  # a table has bars of one length

            self._run = await over_chosen_base(self._run, lambda plan: only_leg(plan.account))
            self.plan = self._run.plan
        if self.plan.benchmark is not None:
            from .optional_benchmark import load_benchmark_of  # few runs have one

            prices = await load_benchmark_of(self.plan.benchmark, [self.plan], notes.append)
        if self._executor is not None:
            from .models_ahead import fit_models_ahead  # few runs are given an executor

            await fit_models_ahead([self._run], self._executor, self._run.records.warn, self._stops)
        async for result in self._run.results():
            self._emit(result)
        from .tries import with_tries  # needed when a run ends, not to start one

        record = record_of(self._run)
        if self._run.account is not None:
            from .optional_account import account_of_run

            money = account_of_run(self._run.account.shared, reached=self._run.reached)
            self._run.account.prices.let_go()  # of the bars that it began with, others may have come since
            record = replace(record, money=money, money_positions=money.positions[0])
        if self.plan.benchmark is not None:
            from .benchmark import beside_run

            record = replace(record, benchmark=beside_run(prices, record))
            record.records.warnings.extend(notes)
        return Result(with_tries(record, self._key))

    def _stops(self) -> bool:
        return bool(self._run.stopping)

    def _announce_done(self) -> None:
        subjects.done_backtest.emit(messages.Done(**self.plan.labels(), mode="backtest"))

    def _release_candles(self) -> None:
        super()._release_candles()
        self.plan = self.asked = replace(self.plan, exchange=with_weak_source(self.plan.exchange))
        self._run.release_candles(self.plan)

    @property
    def candles(self) -> Candles:
        """The candles of the frame that fill orders, mostly minutes; none before they are loaded."""
        if self.status == "fulfilled":
            return self.result().candles
        with suppress(KeyError):  # not loaded yet
            return record_of(self._run).minutes
        return Candles.empty()

    def equity_so_far(self, points: int = 400) -> tuple[Any, Any] | None:
        """Moments (UTC ms) and what its account was worth then, quote currency; ``None`` without capital or candles."""
        from .equity_so_far import equity_so_far  # nothing that runs needs it

        return equity_so_far(self._run, points)

    def pause(self) -> None:
        """Ask for no new entry until ``resume``; what is open or scheduled is watched to its end.

        The run then waits before its next question, and so does time in the frame: a pause does not change the
        result. The result says in its warnings where it was paused.

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
        super().pause()

    def __repr__(self) -> str:
        return f"<backtest of {self.strategy!r} on {self.symbol}: {self.status}, {self.progress:.0%}>"


def backtest(
    symbol: str,
    *,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    capital: float | None = None,
    sizing: SizingLike | Mapping[str, SizingLike] | None = None,
    costs: Costs | Mapping[str, Costs] | None = None,
    account: AccountLike | Mapping[str, AccountLike] | None = None,
    currency: str | None = None,
    benchmark: BenchmarkLike | None = None,
    params: Mapping[str, Any] | None = None,
    executor: object = None,
) -> Result:
    """Run a strategy over history and return what it would have done.

    Parameters
    ----------
    symbol
        The pair to trade, as the exchange calls it.
    strategy
        A registered name, a function, or a strategy. A registered function is run as it was registered.
    exchange
        A registered name, a source from ``bknb.exchanges``, or a ``get_candles`` function.
    frame
        A registered name, ``(start, end)``, or ``"2024-01-01:2024-02-01"``.
    interval
        How often the strategy is asked; by default as it was registered, and a function that is not registered every
        minute, or at the end of every base bar where the exchange has longer ones.
    at
        Moments by the clock of the market at which the strategy is asked, such as ``"session_open+30m"``, in place of
        those of ``interval``: as in ``bknb.add_strategy``.
    execution
        Which prices fill orders: ``"pessimistic"``, ``"touch"`` or ``"vwap"``; by default what the strategy was
        registered with.
    settings
        Settings of this run, or a mapping of those that differ from ``get_config()``.
    allow_gaps
        Accept missing minutes; nothing can fill inside a gap.
    base
        The interval of the bars that fill orders and that longer candles are made of, such as ``"1h"``; by default the
        finest the exchange has, or the next longer ones that reach back far enough, which is told.
    capital
        What an account begins with, in the currency of the prices. Then ``result.equity`` and the last columns of
        ``result.trades`` are money. Without it positions are measured in percent of their own value.
    sizing
        How large positions are: one of ``bknb.size``, a text such as ``"risk:1"``, the name of a registered sizing, or
        a function that is given a ``bknb.SizeRequest`` and answers their value. By default all of the equity,
        ``bknb.Percent(100)``. What the account cannot pay for is not opened: it is in ``result.refused``.
    costs
        What fills cost, ``bknb.Costs``; by default ``percent_fee`` and ``percent_slippage`` of the settings.
    account
        ``bknb.Margin()`` by default, ``bknb.Spot()``, or ``bknb.Perpetual()``; as a text ``"margin:3"``. With leverage
        positions are liquidated.
    currency
        Of the capital and of the prices, such as ``"EUR"``; by default that which the symbol ends with, if any.
    benchmark
        What the account is set beside: a symbol of the exchange, or a pandas Series of prices with their moments (UTC)
        as index. Then ``result.account`` has ``benchmark``, ``alpha``, ``beta``, ``correlation`` and
        ``information_ratio``, and the figure a grey line.
    params
        Parameters of the strategy, by name: what its functions take with a default, over what it was registered with.
    executor
        Where the models of the strategy (``bknb.model``) are fitted, before the run begins, as in ``bknb.sweep``; by
        default here, when they are asked for. The result is the same.

    Raises
    ------
    UnknownName
        A name is not registered; the text lists the known ones and the nearest.
    UsageError
        What an argument cannot be; the text says what was expected.
    DataError
        The candles cannot be had or cannot be trusted.

    Notes
    -----
    What is decided at a moment fills in a candle that opens then or later; nobody is asked at the last moment of the
    frame, and what is open then leaves at the market (``vwap``: as backtest-kit). An interrupt from the keyboard ends
    the run at a minute boundary and returns what there is; then ``result.stopped`` is true.

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
    >>> print(repr(bknb.backtest("BTCUSDT", strategy=get_signal, at="07:00 Europe/London", exchange="demo",
    ...                          frame=("2024-01-01", "2024-01-08"))).splitlines()[0])
    backtest get_signal on BTCUSDT, at 07:00 Europe/London, 2024-01-01 00:00 to 2024-01-08 00:00 UTC
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="4h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-08"), capital=10_000, sizing=bknb.size.Risk(0.5))
    >>> round(float(result.equity.iloc[-1]), 2), round(10_000 + float(result.trades["money"].sum()), 2)
    (8959.01, 8959.01)
    >>> def get_signal(price, wide=1.02):
    ...     return bknb.Signal(position="long", price_take_profit=price * wide, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, interval="4h", exchange="demo",
    ...               frame=("2024-01-01", "2024-01-08"), params={"wide": 1.01}).parameters
    {'wide': 1.01}
    """
    plan = plan_run(
        symbol,
        strategy=strategy,
        exchange=exchange,
        frame=frame,
        interval=interval,
        at=at,
        execution=execution,
        settings=settings,
        allow_gaps=allow_gaps,
        base=base,
        capital=capital,
        sizing=sizing,
        costs=costs,
        account=account,
        currency=currency,
        benchmark=benchmark,
        params=params,
    )
    with running(plan.strategy, *(() if plan.account is None else plan.account.functions)):
        return TASKS.start(BacktestTask(plan, executor)).wait_or_stop()


TASKS: Final[TaskList[BacktestTask]] = TaskList("backtest")


class Backtest:
    """Backtests: trade by trade, in the background, and the results of earlier ones.

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
        executor = options.pop("executor", None)
        plan = plan_run(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
        async with aclosing(TASKS.add(BacktestTask(plan, executor)).follow()) as results:
            async for result in results:
                yield result

    @staticmethod
    def background(
        symbol: str, *, strategy: StrategyLike, exchange: ExchangeLike, frame: FrameLike, **options: Any
    ) -> BacktestTask:
        """Start a backtest and return at once; options as in ``bknb.backtest``."""
        executor = options.pop("executor", None)
        plan = plan_run(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
        running = TASKS.running(plan.symbol, plan.strategy.name, lambda known: known.asked == plan)
        return running or TASKS.start(BacktestTask(plan, executor))

    @staticmethod
    def stop(symbol: str, strategy: str, *, now: bool = False) -> None:
        """Stop all running backtests of that strategy on that symbol; see ``Task.stop``."""
        TASKS.stop(symbol, strategy, now=now)

    @staticmethod
    def pause(symbol: str, strategy: str) -> None:
        """Ask for no new entries until ``resume``, in all running backtests of them; see ``Task.pause``."""
        for task in TASKS.acted_on(symbol, strategy):
            task.pause()

    @staticmethod
    def resume(symbol: str, strategy: str) -> None:
        """Go on after ``pause``."""
        for task in TASKS.acted_on(symbol, strategy):
            task.resume()

    @staticmethod
    def list() -> list[BacktestTask]:
        """All that run, and the last backtest of every symbol and strategy."""
        return TASKS.all()

    @staticmethod
    def get_data(symbol: str, strategy: str) -> Result:
        """The result of the last backtest of that strategy on that symbol; waits for it."""
        return TASKS.get(symbol, strategy).result()

    @staticmethod
    def get_report(symbol: str, strategy: str) -> str:
        """The Markdown report of the last backtest of that strategy on that symbol."""
        return Backtest.get_data(symbol, strategy).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/backtest") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and symbol."""
        from ..stores.atomic import write_report  # a backtest alone needs none of what stores need

        return write_report(path, (strategy, symbol), Backtest.get_report(symbol, strategy))
