"""Portfolios: several strategies and symbols on one clock, blocking, in the background, or trade by trade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..config import Settings
from ..domain.keyword_arguments import check_options
from ..domain.signal_events import Cancelled, Closed
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, plan_backtest
from ..engine.registration_checks import checked_name
from ..engine.resolve import resolve_exchange
from ..provenance.strategy_hash import running
from ..stores.atomic import write_report
from .optional_account import with_account
from .optional_benchmark import checked_of_account
from .portfolio_legs import check_once, is_by_score, legs_of, of_symbol, with_symbols
from .portfolio_result import PortfolioResult
from .portfolio_task import PortfolioTask
from .task_list import TaskList

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from .backtest import AccountLike, BenchmarkLike, SizingLike

UNNAMED: Final = "portfolio"

ExchangesLike = ExchangeLike | Mapping[str, ExchangeLike]
BasesLike = str | Mapping[str, str]


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
    found, money = with_account(
        with_symbols(plans), capital=capital, currency=currency, sizing=sizing, account=account, costs=costs
    )
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
        The interval of the bars that fill orders; or a mapping of them by symbol. By default the finest there are
        that reach back far enough.
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
