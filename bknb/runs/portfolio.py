"""Portfolios: several strategies and symbols on one clock, blocking, in the background, or trade by trade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..config import Settings
from ..domain.keyword_arguments import check_options
from ..domain.signal_events import Cancelled, Closed, Event
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, plan_backtest
from ..engine.portfolio_run import PortfolioRun
from ..engine.registration_checks import checked_name
from ..engine.resolve import resolve_exchange
from ..events import messages, subjects
from ..provenance.strategy_hash import running
from ..stores.atomic import write_report
from ..sweeps.executor_options import checked_executor, is_inline
from .card_of_result import code_of
from .optional_account import account_of_run, shared_account, with_account
from .optional_benchmark import beside_legs, checked_of_account, load_benchmark_of
from .portfolio_legs import check_once, is_by_score, legs_of, of_symbol
from .portfolio_result import PortfolioResult
from .result import Result
from .run_record import record_of, with_weak_source
from .run_task import ControlledTask, CountedRun
from .task_list import TaskList
from .tries import key_of, with_tries

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from ..engine.account_plan import AccountPlan
    from ..provenance.candle_fingerprint import CandleRange
    from .account_result import RunAccount
    from .backtest import AccountLike, BenchmarkLike, SizingLike
    from .benchmark import BenchmarkPrices
    from .portfolio_snapshot import PortfolioSnapshot, Snapshots
    from .portfolio_workers import LegsInWorkers
    from .run_task import Controlled

UNNAMED: Final = "portfolio"
_NAMED: Final = 3  # symbols in the text of a task

ExchangesLike = ExchangeLike | Mapping[str, ExchangeLike]
BasesLike = str | Mapping[str, str]


class PortfolioTask(CountedRun, ControlledTask[PortfolioResult, Closed | Cancelled]):
    """A portfolio that runs in the background.

    Attributes
    ----------
    progress : float
        Fraction of the frame that is done, 0.0 to 1.0.
    """

    kind = "portfolio"
    _run: PortfolioRun

    def __init__(
        self,
        name: str,
        plans: Sequence[Plan],
        account: AccountPlan | None = None,
        benchmark: object = None,
        *,
        by_score: bool = False,
        executor: object = None,
    ) -> None:
        symbols = list(dict.fromkeys(plan.symbol for plan in plans))
        more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
        super().__init__(f"{', '.join(symbols[:_NAMED])}{more}", name)
        self.plans, self.account, self.benchmark = tuple(plans), account, benchmark
        self._keys = [key_of(plan) for plan in plans]
        # The code is read now: a cell may be run again, with other text, before this run is over.
        shared = None if account is None else shared_account(account)
        codes = [code_of(plan) for plan in plans]
        self._run = PortfolioRun(plans, codes=codes, account=shared, by_score=by_score)
        self._priority = "score" if by_score else "declared"
        self._run.warnings.extend(() if account is None else account.notes)
        self._workers = None if is_inline(executor) else self._in_workers(executor)
        self._prices: BenchmarkPrices | None = None
        self._snapshots: Snapshots | None = None

    def _in_workers(self, executor: object) -> LegsInWorkers | None:
        from .portfolio_workers import LegsInWorkers, why_here  # few portfolios are given workers

        checked_executor(executor)
        if reason := why_here(self.plans, self.account, by_score=self._run.clock.by_score):
            self._run.warnings.append(f"it ran in one process whatever the executor: {reason}")
            return None
        return LegsInWorkers(self._run, executor)

    @property
    def _controlled(self) -> Controlled:
        return self._run if self._workers is None else self._workers

    async def _work(self) -> PortfolioResult:
        run = self._run
        self._prices = prices = await load_benchmark_of(self.benchmark, self.plans, run.warnings.append)
        await (run if self._workers is None else self._workers).through(self._emit)
        reached = max(leg.reached for leg in run.legs)
        money = None if run.account is None else account_of_run(run.account, reached=reached)
        legs = {
            (leg.plan.symbol, leg.plan.strategy.name): self._result_of(order, money)
            for order, leg in enumerate(run.legs)
        }
        beside = beside_legs(self.benchmark, prices, [*legs.values()])
        options: Any = {"warnings": run.warnings, "seconds": run.seconds, "account": money, "benchmark": beside}
        return PortfolioResult(self.strategy, legs, run.events, priority=self._priority, **options)

    def _result_of(self, order: int, money: RunAccount | None) -> Result:
        leg = self._run.legs[order]
        risk = leg.plan.strategy.risk
        shared = risk is not None and sum(plan.strategy.risk == risk for plan in self.plans) > 1
        positions = None if money is None else money.positions[order]
        record = replace(record_of(leg), shares_risk=shared, money_positions=positions)
        return Result(record if leg.window is None else with_tries(record, self._keys[order]))

    def _announce_done(self) -> None:
        for plan in self.plans:
            subjects.done_backtest.emit(messages.Done(**plan.labels(), mode="backtest"))

    def _warn(self, text: str) -> None:
        self._run.warnings.append(text)
        if self._result is not None:
            self._result.warn(text)

    @property
    def asked(self) -> tuple[object, ...]:
        """All that decides what it does: two tasks with the same do the same."""
        return self.plans, self.account, self.benchmark, self._priority

    # --- memory -----------------------------------------------------------------------------------------------------

    def _candle_bytes(self) -> int:
        """Return the memory of the candles that its legs ran over, each counted once, bytes."""
        windows = {id(leg.window): leg.window for leg in self._run.legs if leg.window is not None}
        return sum(window.candle_bytes for window in windows.values())

    def _rebuilder(self, result: PortfolioResult) -> Callable[[], PortfolioResult]:
        known: dict[int, CandleRange] = {}
        made = {key: leg.run_record.rebuilder(known=known) for key, leg in result.legs.items()}
        name, told, warnings, seconds = result.name, result.told, [*self._run.warnings], result.seconds
        money, beside = result.run_account, result.benchmark
        figures = None if money is None else result.account  # which its candles are needed for
        priority = self._priority

        def again() -> PortfolioResult:
            legs = {key: Result(make()) for key, make in made.items()}
            options: Any = {"warnings": warnings, "seconds": seconds, "account": money, "benchmark": beside}
            return PortfolioResult(name, legs, told, figures=figures, priority=priority, **options)

        return again

    def _release_candles(self) -> None:
        super()._release_candles()
        self.plans = tuple(replace(plan, exchange=with_weak_source(plan.exchange)) for plan in self.plans)
        self._run.release_candles(self.plans)

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades of all legs up to now, in order."""
        return [event for event in [*self._run.events] if isinstance(event, Closed)]

    @property
    def events_so_far(self) -> list[Event]:
        """All events of all legs up to now, in order."""
        return [*self._run.events]

    def facts_so_far(self) -> list[str]:
        """What to say of it beside how far it is: how many trades there are, and what its account was worth."""
        trades = len(self.trades_so_far)
        return [f"{trades:,} trade{'' if trades == 1 else 's'}"]

    def ending(self) -> str:
        """What came of it, in a few words: trades, and with a capital what became of that."""
        result = self.result()
        became = [] if result.capital is None else [f"{result.account.text('start')} → {result.account['end']:,.2f}"]
        return " · ".join([*self.facts_so_far(), *became])

    def snapshot(self, points: int = 400) -> PortfolioSnapshot:
        """Its account and its legs as far as it has come, at ``points`` moments; of its result once it is over."""
        if self.status == "fulfilled":
            return self.result().snapshot(points)
        from .portfolio_snapshot import Snapshots  # nothing that runs needs it

        known = self._snapshots = self._snapshots or Snapshots(self._run, self.benchmark)
        known.prices = known.prices or self._prices
        return known.take(points)

    def pause(self) -> None:
        """Ask no leg for anything new until ``resume``; the clock of all waits before the next question of one.

        A pause does not change the result, which says in its warnings where it was paused.

        Examples
        --------
        >>> import bknb
        >>> task = bknb.Portfolio.background(
        ...     symbols=["BTCUSDT"], strategies=[lambda: None], exchange="demo", frame=("2024-01-01", "2024-01-08"))
        >>> task.pause()
        >>> task.resume()
        >>> task.result().stopped
        False
        """
        super().pause()

    def __repr__(self) -> str:
        legs = "leg" if len(self.plans) == 1 else "legs"
        return f"<portfolio {self.strategy!r} of {len(self.plans)} {legs}: {self.status}, {self.progress:.0%}>"


def _complete(options: dict[str, Any]) -> dict[str, Any]:
    """Options with those that every portfolio needs: one that was not given is refused in words when it is planned."""
    check_options("bknb.Portfolio", options, signature(plan_portfolio).parameters)
    return {"exchange": None, "frame": None} | options


def plan_portfolio(
    *,
    exchange: ExchangesLike,
    frame: FrameLike,
    symbols: Sequence[str] | None = None,
    strategies: Sequence[StrategyLike] | None = None,
    legs: Iterable[tuple[str, StrategyLike]] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: BasesLike | None = None,
    priority: str = "declared",
    name: str = UNNAMED,
    capital: float | None = None,
    currency: str | None = None,
    sizing: SizingLike | Mapping[str, SizingLike] | None = None,
    account: AccountLike | Mapping[str, AccountLike] | None = None,
    costs: Costs | Mapping[str, Costs] | None = None,
    benchmark: BenchmarkLike | None = None,
    executor: object = None,
) -> PortfolioTask:
    """Return the task of a portfolio with every name resolved; parameters and errors as of :func:`portfolio`."""
    by_score = is_by_score(priority)
    checked_name("portfolio", name)
    resolved: dict[int, Any] = {}  # who gives one source for many legs gets its candles fetched once
    plans: list[Plan] = []
    for symbol, strategy in legs_of(symbols, strategies, legs):
        source = of_symbol(exchange, symbol, "exchange")
        if id(source) not in resolved:
            resolved[id(source)] = resolve_exchange(source)
        plans.append(
            plan_backtest(
                *(symbol, strategy, resolved[id(source)], frame, None, execution, settings),
                allow_gaps=allow_gaps,
                base=of_symbol(base, symbol, "base"),
            )
        )
    check_once(plans)
    found, money = with_account(plans, capital=capital, currency=currency, sizing=sizing, account=account, costs=costs)
    options: Any = {"by_score": by_score, "executor": executor}
    return PortfolioTask(name, found, money, checked_of_account(benchmark, money), **options)


def portfolio(
    *,
    exchange: ExchangesLike,
    frame: FrameLike,
    symbols: Sequence[str] | None = None,
    strategies: Sequence[StrategyLike] | None = None,
    legs: Iterable[tuple[str, StrategyLike]] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: BasesLike | None = None,
    priority: str = "declared",
    name: str = UNNAMED,
    capital: float | None = None,
    currency: str | None = None,
    sizing: SizingLike | Mapping[str, SizingLike] | None = None,
    account: AccountLike | Mapping[str, AccountLike] | None = None,
    costs: Costs | Mapping[str, Costs] | None = None,
    benchmark: BenchmarkLike | None = None,
    executor: object = None,
) -> PortfolioResult:
    """Run several strategies on several symbols over history, moment by moment, and return what they would have done.

    All legs go over the same moments together, so that strategies with the same risk profile share its places.

    Parameters
    ----------
    exchange
        As for ``bknb.backtest``; or a mapping of exchanges by symbol.
    frame
        As for ``bknb.backtest``.
    symbols, strategies
        Each strategy is run on each symbol: the first strategy on all symbols, then the second one.
    legs
        Pairs of a symbol and a strategy, in place of ``symbols`` and ``strategies``.
    execution, settings, allow_gaps
        As for ``bknb.backtest``, for all legs.
    base
        The interval of the bars that fill orders; or a mapping of them by symbol. By default the finest there are.
    priority
        Whose signal has cash and places first where several legs are asked at one moment: ``"declared"``, that of the
        leg that was given first; ``"score"``, the one with the highest ``score``, and of equal ones that of the leg
        that was given first.
    name
        What it is called by ``bknb.Portfolio``.
    capital
        What the account of all legs begins with; then ``result.equity`` and columns of ``result.trades`` are money.
        Without it each leg is measured alone, in percent.
    currency
        Of the capital and of all prices, such as ``"EUR"``; by default that which the symbols end with, if any.
    sizing, account, costs
        As for ``bknb.backtest``; or mappings of them by symbol or strategy.
    benchmark
        As for ``bknb.backtest``, with a capital; candles of a symbol come from its exchange, or that of the first leg.
        ``"equal"``: all symbols in equal parts, each bought at its first price and held.
    executor
        As for ``bknb.sweep``. Legs that share nothing, neither candles nor a risk profile, run in workers, and the
        result is the same. With a capital, or weights of several symbols, all legs run in this process.

    Raises
    ------
    UsageError
        A leg is there twice, or none is given.
    UnknownName
        A name is not registered.
    DataError
        The candles of a leg cannot be had or cannot be trusted: then no leg is run.

    Notes
    -----
    With an executor, callbacks and listeners are told in this process, in the same order, once all legs are done. What
    a function of one leg leaves behind for others, such as a variable of the notebook, stays in its worker.

    At a moment comes first, for all legs, what happened in bars that have closed by then, then what the clock ends,
    then ``manage``, then the questions. Inside a bar a leg sees the places of the bar's start: one that another leg
    gave back in it is free from the next moment on, and so is cash. A size is decided at the moment of its answer, with
    what is free then; cash of exits that were ordered at the same moment counts. Without a capital each leg is measured
    alone, as by ``bknb.backtest``.

    Examples
    --------
    >>> import bknb
    >>> def one_at_a_time(request):
    ...     return request.open_position_count < 1
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> _ = bknb.add_risk("one", validations=[one_at_a_time])
    >>> _ = bknb.add_strategy("six hours", interval="6h", get_signal=get_signal, risk="one")
    >>> result = bknb.portfolio(
    ...     symbols=["BTCUSDT", "ETHUSDT"], strategies=["six hours"], exchange="demo", frame="2024-01-01:2024-01-08")
    >>> len(result.leg("BTCUSDT").trades), len(result.leg("ETHUSDT").trades), len(result.refused)
    (28, 0, 28)
    >>> _ = bknb.add_strategy("dips", interval="6h", get_signal=get_signal)
    >>> result = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["dips"], exchange="demo",
    ...                         frame="2024-01-01:2024-01-08", capital=10_000, sizing=bknb.size.Percent(50))
    >>> round(float(result.equity.iloc[-1]), 2), round(10_000 + float(result.trades["money"].sum()), 2)
    (8488.31, 8488.31)
    """
    task = plan_portfolio(
        exchange=exchange,
        frame=frame,
        symbols=symbols,
        strategies=strategies,
        legs=legs,
        execution=execution,
        settings=settings,
        allow_gaps=allow_gaps,
        base=base,
        priority=priority,
        name=name,
        capital=capital,
        currency=currency,
        sizing=sizing,
        account=account,
        costs=costs,
        benchmark=benchmark,
        executor=executor,
    )
    with all_running(task):
        return TASKS.start(task).wait_or_stop()


@contextmanager
def all_running(task: PortfolioTask) -> Iterator[None]:
    """Around a portfolio that is waited for, as :func:`bknb.provenance.strategy_hash.running` around one run."""
    functions = () if task.account is None else task.account.functions
    with ExitStack() as entered:
        for plan in task.plans:
            entered.enter_context(running(plan.strategy, *functions))
        yield


TASKS: Final[TaskList[PortfolioTask]] = TaskList("portfolio", by_name=True)


class Portfolio:
    """Portfolios: trade by trade, in the background, and the results of earlier ones.

    Examples
    --------
    >>> import bknb
    >>> task = bknb.Portfolio.background(symbols=["BTCUSDT", "ETHUSDT"], strategies=[lambda: None], exchange="demo",
    ...                                  frame="2024-01-01:2024-01-02", name="two")
    >>> len(task.result().legs), bknb.Portfolio.get_data("two") is task.result()
    (2, True)
    """

    @staticmethod
    async def run(**options: Any) -> AsyncIterator[Closed | Cancelled]:
        """Closed and cancelled results of all legs as they happen; leaving the loop early stops the portfolio."""
        async with aclosing(TASKS.add(plan_portfolio(**_complete(options))).follow()) as results:
            async for result in results:
                yield result

    @staticmethod
    def background(**options: Any) -> PortfolioTask:
        """Start a portfolio and return at once; options as in ``bknb.portfolio``."""
        task = plan_portfolio(**_complete(options))
        running = TASKS.running("", task.strategy, lambda own: own.asked == task.asked)
        return running or TASKS.start(task)

    @staticmethod
    def stop(name: str = UNNAMED, *, now: bool = False) -> None:
        """Stop all running portfolios of that name; see ``Task.stop``."""
        TASKS.stop("", name, now=now)

    @staticmethod
    def list() -> list[PortfolioTask]:
        """All that run, and the last portfolio of every name."""
        return TASKS.all()

    @staticmethod
    def get_data(name: str = UNNAMED) -> PortfolioResult:
        """The result of the last portfolio of that name; waits for it."""
        return TASKS.get("", name).result()

    @staticmethod
    def get_report(name: str = UNNAMED) -> str:
        """The Markdown report of the last portfolio of that name."""
        return Portfolio.get_data(name).report()

    @staticmethod
    def dump(name: str = UNNAMED, path: str | Path = "./dump/portfolio") -> Path:
        """Write the Markdown report into a folder and return its path; the file bears the name."""
        return write_report(path, (name,), Portfolio.get_report(name))
