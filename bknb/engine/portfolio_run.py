"""A portfolio over history: its legs on one clock, with shared candles and shared risk profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..domain.formatting import utc_text
from ..domain.interval import interval_ms
from ..domain.signal_events import Active, Cancelled, Closed, Event, Idle
from ..events import subjects
from ..market.candles_in_mapped_files import CandleFiles
from ..market.system_clock import stopwatch
from ..market.window import Window
from .backtest import BacktestRun
from .plan import Plan, Stopping, open_window
from .portfolio_clock import PortfolioClock

if TYPE_CHECKING:
    from ..config import Settings
    from ..events.heard import Listeners
    from .portfolio_weights import PortfolioWeights
    from .registry import Exchange, Strategy
    from .shared_account import SharedAccount


def _subjects(_order: int) -> Listeners:
    return subjects


class LegPlan(Protocol):
    """The plan of a leg, over history or live: its symbol, strategy, exchange and settings."""

    @property
    def symbol(self) -> str:
        """Its symbol."""

    @property
    def strategy(self) -> Strategy:
        """Its strategy."""

    @property
    def exchange(self) -> Exchange:
        """Its exchange."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def execution(self) -> str:
        """The name of its execution model."""


def leg_text(plan: LegPlan) -> str:
    """What a leg is called in messages and tables: its strategy and its symbol."""
    return f"{plan.strategy.name} on {plan.symbol}"


class PortfolioRun:
    """Several strategies and symbols over one frame of history, worked on moment by moment.

    Parameters
    ----------
    plans
        One for each leg, in declared order.
    codes
        The source text of the user's functions of each leg, where somebody read it before the run.
    account
        The account that the legs share; ``None``: each is measured alone.
    by_score
        Whether signals of one moment go by their score, and not in the order of their legs.
    listeners
        Who hears what happens to a leg, by its number.

    Attributes
    ----------
    legs
        The run of each leg, in declared order.
    events
        Everything that was told of all legs, in order; results of quiet minutes are left out.
    warnings
        What there is to say of the portfolio as a whole.
    seconds
        How long it took.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        codes: Sequence[object] | None = None,
        account: SharedAccount | None = None,
        by_score: bool = False,
        listeners: Callable[[int], Listeners] = _subjects,
    ) -> None:
        self.plans, self.account = tuple(plans), account
        self.warnings: list[str] = []
        self.events: list[Event] = []
        self.seconds = 0.0
        of_weights = {plan.strategy.name: plan.strategy.portfolio_weights for plan in plans if plan.strategy.together}
        self._together: dict[str, PortfolioWeights] = of_weights  # of strategies whose legs are held together
        longest = max(interval_ms(plan.base) for plan in plans)
        self.clock = PortfolioClock(longest=longest, on_pause=self._note_pause, by_score=by_score)
        if account is not None and account.cross is not None:
            self.clock.before = account.cross.is_used_up
        self._listeners, self._model_codes = listeners, dict[str, str]()
        self._files = CandleFiles() if len({plan.symbol for plan in plans}) > 1 else None
        self._windows: dict[tuple[int, str, str], tuple[Window, list[BacktestRun]]] = {}
        self.legs = [self._leg(order, None if codes is None else codes[order]) for order in range(len(plans))]

    def _leg(self, order: int, code: object) -> BacktestRun:
        plan = self.plans[order]
        window, sharing = self._window(plan)
        self.clock.windows[plan.symbol] = window
        account = None if self.account is None else self.account.legs[order]
        if plan.strategy.portfolio_weights is not None and account is not None:
            plan.strategy.portfolio_weights.begin(plan.symbol, account, plan.exchange.source)
        turn = self.clock.leg(order)
        given: Any = {"turn": turn, "on_event": self.note, "account": account, "listeners": self._listeners(order)}
        run = BacktestRun(plan, window=window, code=code, **given)
        run.model_codes = self._model_codes
        sharing.append(run)
        return run

    def _window(self, plan: Plan) -> tuple[Window, list[BacktestRun]]:
        """The candles of a symbol, which all its strategies share, and the runs that do; each hears its warnings."""
        key = (id(plan.exchange.source), plan.symbol, plan.base)
        if key not in self._windows:
            sharing: list[BacktestRun] = []

            def warn(text: str) -> None:
                for run in sharing:
                    run.records.warnings.append(text)

            window = open_window(plan, warn=warn)
            window.files = self._files
            self._windows[key] = window, sharing
        return self._windows[key]

    def window_of(self, order: int) -> Window:
        """The candles of a leg, which it may share with others."""
        return self._window(self.plans[order])[0]

    def note(self, event: Event) -> None:
        """Note what happened to a leg."""
        if not isinstance(event, Idle | Active):
            self.events.append(event)
            weights = self._together.get(event.strategy)
            if weights is not None and weights.told(event, self.clock.moment):
                self.clock.look_again()

    def _note_pause(self, when: int) -> None:
        end = "stopped there" if self.clock.paused else "resumed there: no question was left out"
        self.warnings.append(f"new entries were paused at {utc_text(when)} and {end}")

    async def through(self, tell: Callable[[Closed | Cancelled], object]) -> None:
        """Run to the end; ``tell`` is called with every closed and cancelled result as it happens.

        Whatever a leg raises ends the portfolio, with a note that names the leg: without it the others would be another
        portfolio.
        """
        began = stopwatch()

        async def ends_of(run: BacktestRun) -> None:
            async for result in run.results():
                tell(result)

        try:
            await self.clock.run([ends_of(run) for run in self.legs])
        except Exception as error:
            if self.clock.raised is not None:
                error.add_note(f"in the leg {leg_text(self.plans[self.clock.raised])} of a portfolio")
            raise
        if self.stopped:  # with the others a leg without anything to do has come further
            furthest = max(run.reached for run in self.legs)
            for run in self.legs:
                run.came_to(furthest)
        self._tell_scaled()
        self.seconds = stopwatch() - began

    def _tell_scaled(self) -> None:
        of_weights = dict.fromkeys(filter(None, (plan.strategy.portfolio_weights for plan in self.plans)))
        for weights in of_weights:
            if weights.warning:
                self.warnings.append(weights.warning)
            weights.end()

    def release_candles(self, plans: Sequence[Plan]) -> None:
        """Drop the candles of a run that is over; the plans given in place of its own hold none either."""
        self.plans, self.account = tuple(plans), None
        self._windows.clear()
        self.clock.windows.clear()
        for run, plan in zip(self.legs, plans, strict=True):
            run.release_candles(plan)

    # --- while it runs ------------------------------------------------------------------------------------------

    @property
    def moment(self) -> int:
        """The moment that its clock has come to, UTC ms; 0 before the first one."""
        return self.clock.moment

    @property
    def processed(self) -> int:
        """How many moments of their frames all legs have behind them."""
        return sum(run.processed for run in self.legs)

    @property
    def total(self) -> int:
        """How many moments the frames of all legs have."""
        return sum(run.total for run in self.legs)

    @property
    def stopped(self) -> bool:
        """Whether a leg was stopped before its end."""
        return any(run.stopped for run in self.legs)

    @property
    def stopping(self) -> Stopping:
        """Whether it is to be stopped, and how."""
        return self.legs[0].stopping

    @property
    def paused(self) -> bool:
        """Whether it waits before its next question."""
        return self.clock.paused

    def pause(self) -> None:
        """Ask no further question until ``resume``; time in the frame waits, too. Thread-safe."""
        self.clock.paused = True

    def resume(self) -> None:
        """Go on asking where ``pause`` left off. Thread-safe."""
        self.clock.paused = False

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch what is open to its end; ``now`` leaves it at once. Thread-safe."""
        for run in self.legs:
            run.stop(now=now)
        self.clock.look_again()
