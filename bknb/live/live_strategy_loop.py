"""The strategy loop of a live run: its user code is called outside, and a failure that goes on is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ..domain import competing_entries, percent_levels  # noqa: F401 -- a run of weeks imports nothing later
from ..domain.fills_at_stops_and_gaps import Minute, execution_model
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE, MINUTE_MS, interval_ms
from ..domain.late_orders import OldPrice
from ..domain.lifecycle import Holding, Input, Managed, Rules, State
from ..domain.recovery import Restored
from ..domain.run_notes import Refused
from ..domain.signal import key_of
from ..domain.signal_events import Closed, Event, RiskRefused
from ..engine import list_of_signals  # noqa: F401 -- as above
from ..engine.bar_count import bar_counter
from ..engine.closed_trades_position_and_equity import RunOfLoop
from ..engine.questions import has_session_days
from ..engine.records import FailureKind
from ..engine.registry import Strategy
from ..engine.resolve import RunSeries
from ..engine.risk_profile_places import RiskPlaces
from ..engine.rules_clock import bars_by_the_clock, clock_maker
from ..engine.strategy_loop import StrategyLoop
from ..errors import NotEnoughData
from ..market import kept_memo  # noqa: F401 -- as above
from ..market.window import Window
from .new_entries import NewEntries
from .on_event_loop import on_loop
from .plan import LivePlan
from .record_keeping import RecordKeeping
from .run_progress import Reached
from .silent_or_late_market import left_out

if TYPE_CHECKING:
    from ..market.fits_beside_live_run import FitsBeside
    from .live_leg_account import LiveLegAccount


_NOT_ANSWERED: Final = ("warm-up", "strategy", "timeout", "model_late")


def ended_at(loop: StrategyLoop) -> int:
    """When the clock, or a candle, ended something last (UTC ms), as far as the record knows; 0: never."""
    state, ends = loop.state, loop.records.ends
    leaving = state.leaving if isinstance(state, Holding) else None
    return max(ends[-1].when if ends else 0, 0 if leaving is None else leaving.decided_at)


class LiveLoop(StrategyLoop):
    """The strategy loop of a live run.

    Parameters
    ----------
    plan, window, places
        The run, its candles, and the places of its risk profile.
    strategy
        The strategy of the plan, called outside.
    keeping
        Saves what the loop decides; notes events, and tells failures.
    entries
        Whether something new may be opened, as far as its account is concerned, too, which carries it out.
    on_event
        Called with every event, after records, callbacks and listeners.
    published
        The point-in-time series of the run.
    account
        What it has of an account in money, where it has one.
    fits
        Fits its models beside the run, where there are any.
    """

    def __init__(
        self,
        plan: LivePlan,
        window: Window,
        places: RiskPlaces | None,
        *,
        strategy: Strategy,
        keeping: RecordKeeping,
        entries: NewEntries,
        on_event: Callable[[Event], None],
        published: RunSeries,
        account: LiveLegAccount | None = None,
        fits: FitsBeside | None = None,
    ) -> None:
        sessions, grid = window.sessions_of(plan.symbol), window.grid_of(plan.symbol)
        length = interval_ms(plan.strategy.interval)
        by_day = has_session_days(plan.strategy.interval, sessions, window.base_ms)
        close_of = bars_by_the_clock(sessions, plan.base_ms, grid, gone=keeping.records.holes)
        rules = Rules(
            symbol=plan.symbol,
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            frame=None,
            mode="live",
            model=execution_model(plan.execution),
            settings=plan.settings,
            risk=plan.strategy.risk,
            interval_ms=length,
            base_ms=plan.base_ms,
            close_of=None if plan.base == MINUTE else close_of,
            quiet=True,
            tick=plan.settings.price_tick,
            bars_between=bar_counter(length, None, sessions, by_day=by_day, grid=grid),
            clock=clock_maker(
                plan.strategy,
                None,
                sessions,
                step=plan.base_ms,
                warm=window.price_count,
                grid=grid,
                gone=() if plan.base == MINUTE else keeping.records.holes,
            ),
            by_day=by_day,
            grid=grid,
            weights=plan.strategy.weights,
        )
        super().__init__(
            rules=rules if account is None else account.money.rules(rules),
            strategy=strategy,
            window=window,
            places=places if account is None else account,
            step_with=None if account is None else account.step,
            records=keeping.records,
            save=keeping.save,
            follow=entries.account.follow,
            on_event=on_event,
            decided_at=keeping.decided_at,
            may_open=entries.are_taken,
            published=published,
        )
        self.keeping, self._failures, self._clock = keeping, keeping.failures, plan.clock
        self.with_broker = entries.account.with_broker  # what becomes of an input where there is one
        self._profile, self._in_money, self._published = places, account, published
        if account is not None and plan.broker is None:  # an order at a broker rests there until the leg takes it back
            account.waiting.rules = self.rules
        if places is not None and places.closed is None:
            places.closed = []
        seen = RunOfLoop(self, partial(on_loop, asyncio.get_running_loop()))
        self.sources.run, self.sources.symbols, self.sources.fits_beside = lambda: seen, plan.symbols, fits
        for event in keeping.records.ends:
            self._note_closed(event)

    async def take(self, given: Input, *, old_price: OldPrice | None = None) -> None:
        """Feed one input to the lifecycle; of a minute by whose end its broker has closed the position, that it has."""
        given = await self.with_broker(self.state, given, self.rules)
        await super().take(given, old_price=old_price)

    def loops(self) -> tuple[StrategyLoop, ...]:
        """The loops in which a question may be under way."""
        return (self,)

    @property
    def states(self) -> Sequence[State]:
        """The state, or those of the places in which anything is, the oldest first."""
        return (self.state,)

    def kept(self) -> Sequence[tuple[StrategyLoop, RecordKeeping]]:
        """The loops that hold something, or may, and what saves it."""
        return ((self, self.keeping),)

    def go_on(self, found: Restored, _reached: Reached) -> None:
        """Go on from what was restored, as far as the run has come."""
        self.state: State = found.state
        self.last_managed, self.sources.memo = found.last_managed or 0, found.memo or ""

    def is_free_at(self, when: int) -> bool:
        """Whether the strategy may be asked at a moment (UTC ms); what ended at its average price frees those after."""
        return self.is_free and (self.rules.model.fills_at_open or self.last_managed != when)

    def has_answered(self, _when: int) -> bool:
        """Whether the strategy has answered at a moment (UTC ms) already, and the answer is to be given."""
        return False

    async def read_funding(self, until: int) -> None:
        """Read its funding with the rows up to a moment (UTC ms), where that is a series; what it raises is told.

        So is a row that comes behind a later one, which was charged.
        """
        if self._in_money is not None and (series := self._in_money.funding.series) is not None:
            with self._failures.told("exchange"):
                for moment in await self._in_money.read_funding(self._published, until):
                    text = f"the row of {utc_text(moment)} came behind a later one that was charged: it is not charged"
                    self._failures.note("exchange", "funding", f"series {series!r}: {text}", until)

    def begin_fits(self, when: int) -> None:
        """Begin the fits of models whose moment has come by ``when`` (UTC ms); what that raises is told."""
        if self.sources.fits_beside is not None:
            with self._failures.told("strategy"):
                self.sources.fits_beside.begin(self.context(when))

    @property
    def due(self) -> int:
        """The moment (UTC ms) at which the clock, funding or a leg that is held together with it changes something."""
        account, weights, found = self._in_money, self.strategy.portfolio_weights, super().due
        if account is not None:
            found = min(found, account.liquidation.next_change())
        return found if weights is None else min(found, weights.due(self.rules.symbol, self.state))

    async def end_due(self, when: int, price: float, newest: Minute | None = None) -> None:
        """As in a backtest; and what a leg that is held together with it ends, or takes back."""
        weights, symbol = self.strategy.portfolio_weights, self.rules.symbol
        if weights is None or weights.due(symbol, self.state) > when:
            await super().end_due(when, price, newest)
            return
        with weights.ending(symbol, self.state) as answer:
            if answer is not None:
                close, decided_at = weights.close_of(symbol, when), self.decided_at(when, "exit")
                await self.take(Managed((answer,), price, when, close, decided_at=decided_at, source="together"))

    def emit(self, event: Event) -> None:
        """Give an event to the listeners; its risk profile knows of what was closed before."""
        self._note_closed(event)
        if isinstance(event, RiskRefused):
            self._note_refused(event)
        super().emit(event)

    def _note_refused(self, event: RiskRefused) -> None:
        held = () if self._profile is None else self._profile.places.values()
        names = (f"{place.strategy} on {place.symbol}" for place in held if place.signal_id != event.signal.id)
        signal_id, decided_at = key_of(event.signal)
        self.keeping.saver.recording.note(
            Refused(
                when=event.when, signal_id=signal_id, decided_at=decided_at, risk=event.risk, note=event.note,
                holders=tuple(sorted(set(names))) if event.risk else (),
            )
        )  # fmt: skip

    def _note_closed(self, event: Event) -> None:
        if self._profile is not None and isinstance(event, Closed):
            self._profile.note_closed(event, self.rules.bar_end(event.closed_at), self._in_money)

    def fail(self, kind: FailureKind, error: BaseException, when: int | None, *, emit: bool = True) -> None:
        """Count a failure, and ``emit`` it unless it was told and goes on."""
        if when is not None and kind in _NOT_ANSWERED:
            self.keeping.not_asked(when, kind)
        if kind == "warm-up" and isinstance(error, NotEnoughData) and error.late and when is not None:
            error = left_out(error, minutes=max((self._clock.now() - when) // MINUTE_MS, 1))
            if self.strategy.portfolio_weights is not None:
                self.strategy.portfolio_weights.pass_over(when)
        super().fail(kind, error, when, emit=emit and self._failures.is_new(kind, error))
