"""The task of a live portfolio, and the tasks of its legs: live runs with one clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, Final

from ..config import Settings
from ..domain.interval import MINUTE_MS
from ..domain.signal_events import Active, Cancelled, Closed, Event, Idle, Opened, Scheduled, TickResult
from ..engine.portfolio_run import leg_text
from ..engine.registration_checks import checked_name
from ..engine.registry import Strategy
from ..engine.resolve import resolve_exchange
from ..errors import UsageError
from ..events.listen import drain
from ..live.ending import LISTENER_SECONDS
from ..live.plan import LivePlan
from ..live.portfolio_clock import LiveLegTurn, LivePortfolioClock
from ..live.run import LiveRun
from ..live.runtime import RUNTIME
from ..live.silent_legs import SilentLegs
from ..live.user_store_errors import with_state_errors
from .live_task import TASKS as LIVE_RUNS
from .live_task import LiveTask, check_live_options, check_not_running, plan_live
from .portfolio_legs import check_once, is_by_score, legs_of, of_symbol, with_symbols
from .portfolio_result import PortfolioResult
from .result import Result
from .task import LOOK_SECONDS, Task, left_text
from .task_list import TaskList
from .told_events import ToldEvents

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..engine.plan import StrategyLike
    from ..live.account_saver import LegAccountSaver
    from ..live.live_account import LiveAccount
    from ..live.live_portfolio_weights import LivePortfolioWeights
    from ..live.order_quantity import Quantity
    from ..market.candles_of_one_symbol import Series
    from ..ports import Broker, Clock, StateStore
    from .portfolio import BasesLike, ExchangesLike

_NAMED: Final = 3  # symbols in the text of a task


class LegTask(LiveTask):
    """A leg of a live portfolio: a live run, which is started and ended with the others."""

    kind = "leg of a live portfolio"

    def __init__(
        self,
        plan: LivePlan,
        turn: LiveLegTurn,
        note: Callable[[Event], object],
        money: LegAccountSaver | None = None,
    ) -> None:
        self._turn, self._note = turn, note
        super().__init__(plan, turn, money)
        self.ended = asyncio.Event()
        self.failed: BaseException | None = None

    def _emit_result(self, event: Event) -> None:
        self._note(event)
        super()._emit_result(event)

    async def _work(self) -> Result:
        try:
            return await super()._work()
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._turn.over()
            self.ended.set()

    @property
    def run(self) -> LiveRun:
        """Its run."""
        return self._run

    def result_now(self) -> Result:
        """Its result up to now."""
        return self._result_now()


class LivePortfolioTask(Task[PortfolioResult, TickResult]):
    """A live portfolio in the background.

    Attributes
    ----------
    legs : dict
        The live run of each leg, by symbol and strategy, in declared order.
    paused : bool
        Whether no leg asks for new entries at present.
    now : int
        The moment up to which everything is done in all legs, UTC ms.
    """

    kind = "live portfolio"
    mode = "live"
    can_pause = True

    def __init__(
        self, name: str, plans: Sequence[LivePlan], money: AccountPlan | None = None, *, by_score: bool = False
    ) -> None:
        symbols = list(dict.fromkeys(plan.symbol for plan in plans))
        more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
        super().__init__(f"{', '.join(symbols[:_NAMED])}{more}", name)
        self._events = ToldEvents()
        self._warnings: list[str] = []
        self._weights: list[LivePortfolioWeights] = []
        self._priority = "score" if by_score else "declared"
        names = tuple((plan.strategy.name, plan.symbol) for plan in plans)
        self._clock = clock = LivePortfolioClock(
            plans[0].clock,
            [plan.settings.patience_minutes * MINUTE_MS for plan in plans],
            longest=max(plan.base_ms for plan in plans),
            by_score=by_score,
            silent=SilentLegs(with_state_errors(plans[0].store), name, names),
        )
        self._account: LiveAccount | None = None
        savers: list[LegAccountSaver | None] = [None] * len(plans)
        if money is not None:
            from ..live.account_saver import AccountPlace
            from .live_money import account_saver  # few portfolios have a capital

            saver = account_saver(plans, money, AccountPlace.of_portfolio(name))
            self._account, savers = saver.account, [saver.leg(order) for order in range(len(plans))]
            self._warnings.extend(money.notes)
            for order, plan in enumerate(plans):
                if plan.strategy.portfolio_weights is not None:
                    plan.strategy.portfolio_weights.begin(plan.symbol, saver.account.legs[order], plan.exchange.source)
            self._weights.extend(dict.fromkeys(filter(None, (plan.strategy.portfolio_weights for plan in plans))))
            saver.weights = self._weights
            for weights in self._weights:
                if plans[0].broker is not None:
                    weights.check_broker()
                weights.tell_time(lambda: clock.moment)
                weights.save_in(saver.store, name)
        tasks = [LegTask(plan, clock.leg(at), self._heard, savers[at]) for at, plan in enumerate(plans)]
        self.legs: dict[tuple[str, str], LiveTask] = {(task.symbol, task.strategy): task for task in tasks}
        self._tasks = tasks

    def _heard(self, event: Event) -> None:
        if not isinstance(event, Idle | Active):
            self._events.add(event)
            self._end_others()
        if isinstance(event, Idle | Scheduled | Opened | Active | Closed | Cancelled):
            self._emit(event)

    def _end_others(self) -> None:
        """Have the legs that are held together with one that has ended do first what they have to."""
        for weights in self._weights:
            if weights.together is not None and (symbols := weights.to_end()):
                for order, task in enumerate(self._tasks):
                    if task.plan.strategy.portfolio_weights is weights and task.symbol in symbols:
                        self._clock.end_first(order, self._clock.moment)

    def _begin(self, variables: Variables) -> None:
        for task in self._tasks:
            LIVE_RUNS.add(task).start()
        RUNTIME.start(self._run_on_shared_loop(), variables)

    async def _work(self) -> PortfolioResult:
        tasks = self._tasks
        waits = {asyncio.ensure_future(task.ended.wait()) for task in tasks}
        while waits:
            _, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if any(task.failed is not None for task in tasks):
                for task in tasks:
                    task.run.stop(now=True)
        for weights in self._weights:
            weights.end()
        for task in tasks:
            if task.failed is not None:
                task.failed.add_note(f"in the leg {leg_text(task.plan)} of a live portfolio")
                raise task.failed
        if self._account is not None:
            from .live_money import charge_at_end

            charge_at_end(self._account, tasks[0].plan, stopped=any(task.run.stopped for task in tasks))
        return self._result_now()

    def _result_now(self) -> PortfolioResult:
        legs = {key: task.result_now() for key, task in zip(self.legs, self._tasks, strict=True)}
        told = self._events.behind(end for leg in legs.values() for end in leg.run_record.records.ends)
        seconds = max(leg.run_record.seconds for leg in legs.values())
        options: Any = {"warnings": self._all_warnings, "seconds": seconds, "priority": self._priority}
        if self._account is not None:
            from .live_money import live_account_result

            options["account"] = live_account_result(self._account)
        return PortfolioResult(self.strategy, legs, told, **options)

    @property
    def _all_warnings(self) -> list[str]:
        weights = (each.warning for each in self._weights if each.warning)
        return [*self._warnings, *weights, *self._events.left_out]

    def _announce_done(self) -> None:
        """Each leg has announced its end."""

    def _deliver(self) -> None:
        waited = 0.0
        while not drain(timeout=LOOK_SECONDS):
            waited += LOOK_SECONDS
            if waited >= max(task.run.listener_seconds for task in self._tasks):
                self._warn(left_text(LISTENER_SECONDS))
                return

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        if self._result is not None:
            self._result.warn(text)

    # --- memory -----------------------------------------------------------------------------------------------------

    def _series(self) -> Iterable[Series]:
        """Return the candles of its legs."""
        return (each for task in self._tasks for each in task.run.series().values())

    def _rebuilder(self, result: PortfolioResult) -> Callable[[], PortfolioResult]:
        made = {key: leg.run_record.rebuilder() for key, leg in result.legs.items()}
        name, told, warnings, seconds = result.name, result.told, self._all_warnings, result.seconds
        money = result.run_account
        figures, stale = (None, None) if money is None else (result.account, result.stale)  # made of its candles

        def again() -> PortfolioResult:
            legs = {key: Result(make()) for key, make in made.items()}
            options: Any = {"warnings": warnings, "seconds": seconds, "account": money, "figures": figures}
            return PortfolioResult(name, legs, told, **options, priority=result.priority, stale=stale)

        return again

    # --- looking ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> PortfolioResult:
        """Return the result up to now."""
        return self.result() if self.status == "fulfilled" else self._result_now()

    @property
    def now(self) -> int:
        """The moment up to which everything is done in all legs, UTC ms."""
        return min(task.now for task in self._tasks)

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades of all legs up to now, in order; also those before its last restart."""
        return sorted((trade for task in self._tasks for trade in task.trades_so_far), key=lambda trade: trade.when)

    @property
    def events_so_far(self) -> list[Event]:
        """What all legs told in this process up to now, in order; of refusals and other notes the newest."""
        return self._events.all()

    @property
    def unwatched(self) -> str:
        """What is open and nobody watches since a failure ended the portfolio, as sentences; empty when nothing."""
        return "\n".join(task.unwatched for task in self._tasks if task.unwatched)

    # --- ending -----------------------------------------------------------------------------------------------------

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new in any leg and watch what is open to its end; ``now`` ends all legs at once."""
        for task in self._tasks:
            task.run.stop(now=now)

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""
        found = {task.run.stopping for task in self._tasks}
        return found.pop() if len(found) == 1 else ""

    @property
    def paused(self) -> bool:
        """Whether no leg asks for new entries at present."""
        return all(task.run.paused for task in self._tasks)

    def pause(self) -> None:
        """Ask no leg for new entries until ``resume``; what is open is watched on."""
        for task in self._tasks:
            task.run.pause()

    def resume(self) -> None:
        """Ask all legs for entries again."""
        for task in self._tasks:
            task.run.resume()

    def __repr__(self) -> str:
        legs = "leg" if len(self._tasks) == 1 else "legs"
        return f"<live portfolio {self.strategy!r} of {len(self._tasks)} {legs}: {self.status}>"


TASKS: Final[TaskList[LivePortfolioTask]] = TaskList("live portfolio", by_name=True)


def plan_live_portfolio(
    *,
    name: str,
    exchange: ExchangesLike | None = None,
    symbols: Sequence[str] | None = None,
    strategies: Sequence[StrategyLike] | None = None,
    legs: Iterable[tuple[str, StrategyLike]] | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: BasesLike | None = None,
    priority: str = "declared",
    store: StateStore | None = None,
    clock: Clock | None = None,
    until: object = None,
    late_minutes: int | None = None,
    broker: Broker | None = None,
    quantity: Quantity | Mapping[str, Quantity] | None = None,
    adopt: bool = False,
    **account: Any,
) -> LivePortfolioTask:
    """Return the task of a live portfolio with every name resolved; parameters and errors as of ``Live.portfolio``."""
    check_live_options("bknb.Live.portfolio", account, plan_live_portfolio)
    checked_name("portfolio", name)
    by_score = is_by_score(priority)
    resolved: dict[int, Any] = {}  # legs with one source share its candles
    plans: list[LivePlan] = []
    pairs = legs_of(symbols, strategies, legs, make_weights=_live_weights)
    of_weights = [strategy for _, strategy in pairs if isinstance(strategy, Strategy) and strategy.portfolio_weights]
    if of_weights and account.get("capital") is None:
        if broker is not None:
            raise UsageError(
                f"{of_weights[0].name!r} answers with the weights of several symbols, which a broker is sent parts of\n"
                "give capital=, what the account has"
            )
        account["capital"] = 1.0  # as over history: of multiples of the start
    for symbol, strategy in pairs:
        source = of_symbol(exchange, symbol, "exchange")
        if id(source) not in resolved:
            resolved[id(source)] = resolve_exchange(source)
        plan = plan_live(
            symbol, strategy=strategy, exchange=resolved[id(source)], execution=execution, settings=settings,
            allow_gaps=allow_gaps, base=of_symbol(base, symbol, "base"), store=store, clock=clock, until=until,
            late_minutes=late_minutes, broker=broker, quantity=_quantity_of(quantity, symbol, broker, account),
            adopt=adopt,
        )  # fmt: skip
        plans.append(plan)
    check_once(plans)
    for plan in plans:
        check_not_running(plan)
    money: AccountPlan | None = None
    if any(value is not None for value in account.values()):
        from .live_money import with_live_account  # few portfolios have a capital

        plans, money = with_live_account(plans, account)
    return LivePortfolioTask(name, with_symbols(plans), money, by_score=by_score)


def _live_weights(strategy: Strategy) -> LivePortfolioWeights:
    from ..live.live_portfolio_weights import LivePortfolioWeights  # few strategies answer for several symbols

    return LivePortfolioWeights(strategy)


def _quantity_of(
    quantity: Quantity | Mapping[str, Quantity] | None, symbol: str, broker: Broker | None, account: Mapping[str, Any]
) -> Quantity | None:
    """How much a leg trades of each signal: what was given for all or for its symbol; the account says it later."""
    if account.get("capital") is None:
        found: Quantity | None = of_symbol(quantity, symbol, "quantity")
        return found
    if quantity is not None:
        raise UsageError("with a capital the sizing says how much is traded: give sizing=, and no quantity")
    return None if broker is None else 1.0


def add(task: LivePortfolioTask) -> LivePortfolioTask:
    """Add a task to those of this process; raises ``UsageError`` while a live portfolio of that name runs."""
    running = TASKS.find("", task.strategy)
    if running is not None and running.status == "pending":
        raise UsageError(
            f"a live portfolio {task.strategy!r} is going on already\n"
            f"end it first, bknb.Live.portfolio.stop({task.strategy!r}, now=True).wait(), or give this one another name"
        )
    return TASKS.add(task)


def start(task: LivePortfolioTask) -> LivePortfolioTask:
    """Add a task to those of this process, as :func:`add`, and start it."""
    add(task).start()
    return task
