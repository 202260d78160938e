"""The live driver: after each full minute it feeds every minute that has closed to the lifecycle.

It runs the same strategy loop at the same moments as the backtest driver; only the minutes come from a clock. Its state
is on disk before events are emitted, so another process can go on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, bar_text
from ..domain.lifecycle import Flat
from ..domain.signal_events import Event
from ..engine.question_time_limit import time_limited
from ..engine.records import Records
from ..engine.registry import Strategy
from ..engine.resolve import RunSeries
from ..engine.risk_profile_places import RiskPlaces
from ..errors import StateError
from ..market.candles_of_one_symbol import Series
from ..market.system_clock import stopwatch
from .broker_account import Account
from .callbacks import Callbacks
from .cancelled_at_stop import TakingBack
from .candle_stream import CandleStream
from .catch_up import CatchUp
from .ending import GRACE_SECONDS, LISTENER_SECONDS, Ending, listeners_heard
from .event_loop_lag import tell_look_time
from .failures_and_retries import Failures
from .live_market import LiveMarket
from .live_strategy_loop import LiveLoop
from .manual_orders import ByHand
from .new_entries import NewEntries
from .orders_sent_to_broker import OrderDesk
from .parts_of_run import parts_of_run
from .pause_resume_stop import Controls
from .plan import LivePlan
from .record_keeping import RecordKeeping
from .restart import Restart, places_of, take_places
from .risk_places_of_silent_legs import ended_of
from .run_progress import Reached
from .runtime import Runtime
from .silent_or_late_market import CandleWatch, given_up_text, missing_in, unwatched_text
from .sleeping import Sleep
from .turn_lock import Turn
from .user_code_in_threads import strategy_outside
from .user_store_errors import with_state_errors

if TYPE_CHECKING:
    from ..market.fits_beside_live_run import FitsBeside
    from .account_saver import LegAccountSaver
    from .portfolio_clock import LiveLegTurn

MAX_NOTES: Final = 1_000
"""Milestones, refusals, rejections, warnings and moved levels of closed positions held in memory of a run that goes on
for months, of each at least."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run has from the time its state was restored to its end."""

    loop: LiveLoop
    keeping: RecordKeeping
    market: LiveMarket
    catch_up: CatchUp
    taking_back: TakingBack
    ending: Ending


class LiveRun:
    """One strategy on one symbol, minute by minute.

    Attributes
    ----------
    records
        Events of this process, and everything that ended in earlier ones.
    start
        First moment (UTC ms).
    unwatched
        What is open and is not watched any more since a failure ended the run, as a sentence; empty when nothing.
    by_hand, saver
        Carries out what is decided by hand; has the saved state.
    """

    def __init__(
        self,
        plan: LivePlan,
        runtime: Runtime,
        *,
        on_event: Callable[[Event], None] | None = None,
        code: Any = None,
        turn: LiveLegTurn | None = None,
        money: LegAccountSaver | None = None,
        fits: FitsBeside | None = None,
    ) -> None:
        self.plan, self.start = plan, plan.clock.now()
        self.records = Records(_limit=MAX_NOTES)
        self.published = RunSeries(plan.settings, until=None, warn=self.records.warn)
        self.seconds, self.unwatched = 0.0, ""
        self.code = code  # source text of the user's functions, where somebody read it before the run
        self._runtime = runtime
        self._on_event = on_event
        self._reached = Reached(self.start, plan.base_ms, grid=plan.grid)
        self._controls = Controls(plan.clock, self.records, self._reached)
        self._failures = Failures(plan.clock, plan.settings.patience_minutes * MINUTE_MS, self._reached)
        self._turn, self._leg_turn, self._money = Turn(), turn, money
        self.by_hand = ByHand(self._turn if turn is None else turn.begin(self._turn, self._tell_given_up), runtime.call)
        self._callbacks = Callbacks(is_open=self._has_open, fail=partial(self._failures.tell, "callback"))
        self._key, self._fits = (plan.strategy.name, plan.symbol), fits
        store = with_state_errors(plan.store)
        self._restart = Restart(plan, store)
        self.saver = self._restart.saver
        self._sleep = Sleep(plan.clock, self._failures, step=plan.base_ms, turn=turn)
        self._account = Account(plan, store, self.records, self._failures, self._reached, self._sleep.rests, runtime)
        self._entries = NewEntries(self._controls, self._account)
        self._stream: CandleStream | None = None
        self._begun: _Begun | None = None
        self._watch: CandleWatch | None = None
        self._minutes: Series | None = None  # what is left of the candle stream when the run is over
        self._work: asyncio.Task[None] | None = None
        self._heard = True  # whether listeners heard its results within their time

    mode: Final = "live"

    @property
    def last(self) -> int:
        """The moment up to which everything is done, UTC ms."""
        return self._reached.done

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._controls.stopped

    @property
    def paused(self) -> bool:
        """Whether no new entries are asked for at present."""
        return self._controls.paused

    @property
    def orders(self) -> OrderDesk | None:
        """The orders at the broker, when there is one."""
        return self._account.desk

    @property
    def disagreement(self) -> str:
        """Why nothing is opened: where the account is not what the record says; empty when it is."""
        return self._account.disagreement

    @property
    def missing(self) -> tuple[int, str]:
        """How many bars never came, in this process and earlier ones, and of which interval they are."""
        return missing_in(self.records.holes, self.plan.base, self._reached.grid)

    @property
    def silent_since(self) -> int | None:
        """The moment (UTC ms) since when no minute has come, once that was told; ``None`` while minutes come."""
        return None if self._watch is None else self._watch.silent_since

    @property
    def frame_name(self) -> None:
        """Live runs have no frame."""

    def series(self) -> dict[tuple[str, str], Series]:
        """The base bars of the run that are still in memory."""
        key = (self.plan.symbol, self.plan.base)
        known = self._minutes if self._stream is None else self._stream.window.known(*key)
        return {} if known is None else {key: known}

    def release_candles(self) -> None:
        """Drop the candles of a run that is over; its records and orders stay."""
        self._minutes = None

    # --- from any thread ----------------------------------------------------------------------------------------

    @property
    def listener_seconds(self) -> float:
        """How long (s) a run that has ended may still wait for its listeners."""
        return LISTENER_SECONDS if self._heard and not self._controls.leaving else GRACE_SECONDS

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""
        return "now" if self._controls.leaving else "entries" if self.stopped else ""

    def pause(self) -> None:
        """Ask for no new entries until ``resume``; what is open is watched on, and the result says so."""
        self._controls.pause()

    def resume(self) -> None:
        """Ask for entries again."""
        self._controls.resume()

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new, and end when nothing is open any more; ``now`` ends at once.

        What is open then stays in the state on disk. So it does where no minute comes for ``patience_minutes``: the run
        ends, and a warning says so.
        """
        self._controls.stop(now=now)
        self._runtime.call(self._wake_to_stop)

    def _wake_to_stop(self) -> None:
        self._sleep.wake()
        if self._controls.leaving and self._work is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(GRACE_SECONDS, self.by_hand.end)
            loop.call_later(GRACE_SECONDS, self._work.cancel)

    # --- the run ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until stopped; what fails is reported, and tried again at the next minute.

        Raises
        ------
        StateError
            When the saved state cannot be used: another process has it, or it is damaged.
        """
        plan, began, warn = self.plan, stopwatch(), self.records.warn
        self._runtime.open(plan.store, self._key)
        self._stream = stream = self._runtime.candle_stream(
            plan.exchange, plan.symbol, plan.settings, allow_gaps=plan.allow_gaps, base=plan.base, clock=plan.clock,
            warn=warn,
        )  # fmt: skip
        lag = self._runtime.lag
        stream.failed.append(self._callback_failed)
        if lag is not None:
            lag.listeners.append(self._tell_lag)
        try:
            # A task of its own: a run that is stopped at once waits neither for an exchange nor for a strategy.
            self._work = asyncio.ensure_future(self._run_minutes(stream))
            if self._controls.leaving:
                self._wake_to_stop()
            await asyncio.wait({self._work})
            if not (self._work.cancelled() and self._controls.leaving):
                await self._work
        except BaseException:
            if self._begun is not None and self._has_open():
                broker = "" if plan.broker is None else plan.broker.name
                self.unwatched = unwatched_text(self._begun.loop.states, broker)
            raise
        finally:
            if lag is not None:
                lag.listeners.remove(self._tell_lag)
            stream.failed.remove(self._callback_failed)
            if self._work is not None:
                self._work.cancel()
            self.by_hand.end()
            self._callbacks.give_up()
            try:
                await self._account.close()
                if self._begun is not None:
                    self._begun.ending.tell_unsettled()
                await self._save_heard()
            finally:
                self._runtime.release_stream(stream, plan.symbol, warn)
                self._runtime.close(plan.store, self._key)
                self._minutes = self.series().get((plan.symbol, plan.base))
                self._stream = self._work = self._begun = None
                self._failures.end()
                self.by_hand.release()
                self.seconds = stopwatch() - began

    async def _run_minutes(self, stream: CandleStream) -> None:
        begun = await self._begin(stream)
        self.by_hand.begin(begun.loop, begun.market, self._entries)
        async with self._turn, time_limited(begun.loop.loops, self.plan.settings.max_signal_generation_seconds):
            while not await self._look(begun):
                async with self._turn.given_up():
                    await self._until_next_look(begun)
                self._tell_unwatched()
            self._tell_unwatched()
            self.by_hand.end()
            if self._controls.leaving:
                return
            await self._callbacks.end(LISTENER_SECONDS)
            await stream.notified(LISTENER_SECONDS)
            await begun.ending.settle(self._sleep, self._turn)

    async def _begin(self, stream: CandleStream) -> _Begun:
        """Go on from the saved state."""
        plan, records, reached, failures = self.plan, self.records, self._reached, self._failures
        account, controls, now = self._account, self._controls, self.plan.clock.now()
        found, notices = self._restart.take_over(records, reached, now=now)
        parts = parts_of_run(has_places=self._restart.has_places)
        keeping = parts.keeping(plan, self.saver, reached=reached, records=records, failures=failures)
        places, money = self._places(), self._money
        in_money = None if money is None else await money.begin(
            plan, stream, places, found.state, reached=reached, records=records, saver=self.saver,
            published=self.published,
        )  # fmt: skip
        keeping.loop = loop = parts.loop(
            plan=plan, window=stream.window, places=places, strategy=self._strategy(), keeping=keeping,
            entries=self._entries, on_event=self._emitted, published=self.published, account=in_money, fits=self._fits,
        )  # fmt: skip
        loop.go_on(found, reached)
        if self._leg_turn is not None:
            self._leg_turn.goes_with(loop, ended_of(plan, loop, reached))
        failures.begin(loop)
        for notice in notices:
            failures.tell("state", StateError(notice), None)
        self.start = min([reached.done, *(ended.signal.scheduled_at for ended in records.ends)])
        market = LiveMarket(plan, stream, reached, self.saver.recording, turn=self._turn, failures=failures)
        self._watch, catch_up = market.watch, parts.catch_up(
            plan, loop, market, reached=reached, account=account, controls=controls, entries=self._entries,
            keeping=keeping, by_hand=self.by_hand, failures=failures, published=self.published, turn=self._leg_turn,
        )  # fmt: skip
        ending = Ending(
            plan, controls, account=account, reached=reached, loop=loop, market=market, catch_up=catch_up,
            keeping=keeping, records=records, failures=failures,
        )  # fmt: skip
        taking_back = TakingBack(loop, market, reached=reached, account=account, failures=failures)
        self._begun = begun = _Begun(loop, keeping, market, catch_up, taking_back, ending)
        take_places(places, *self.saver.states)
        if (desk := account.open()) is not None:
            await self._restart.take_over_orders(desk, found, loop, now=now)
        self._callbacks.go_on(self._restart.tell_again(found, loop, now=now))
        return begun

    def _strategy(self) -> Strategy:
        """The strategy, which is called outside and thinks while decisions by hand are carried out."""
        plan, seconds = self.plan, self.plan.settings.max_signal_generation_seconds
        return self._turn.while_asked(strategy_outside(plan.strategy, seconds=seconds, callbacks=self._callbacks))

    def _places(self) -> RiskPlaces | None:
        return places_of(self.plan, self._runtime, RiskPlaces if self._leg_turn is None else self._leg_turn.places_with)

    async def _look(self, begun: _Begun) -> bool:
        """Everything that can be done now; returns whether the run is over."""
        failures, controls, market = self._failures, self._controls, begun.market
        began = stopwatch()
        self._sleep.begin_look()
        failures.begin_look()
        before = self._reached.last_minute
        done = await failures.look(begun.catch_up.work)
        begun.loop.begin_fits(self._reached.done)
        if self._reached.last_minute > before:
            self._sleep.came()
            now = self.plan.clock.now()
            if (since := market.watch.came(now)) is not None:
                self.records.warn(f"no {bar_text(self.plan.base)} came from {utc_text(since)} until {utc_text(now)}")
        self._account.look()
        halt = self._entries.halt
        if halt is not None:
            done = await failures.look(partial(begun.taking_back.take_back, halt)) and done
        if not done:
            market.watch.working_since = None  # what held the minutes up has been told
        tell_look_time(self.plan, stopwatch() - began)
        return controls.leaving or await begun.ending.has_come()

    async def _until_next_look(self, begun: _Begun) -> None:
        """Sleep until there is something to do, sooner when a candle is late or the run is stopped."""
        await self._account.sent()
        now, known = self.plan.clock.now(), self._reached.known
        due, wake = begun.catch_up.due_and_next(now)
        wake = min(wake, self._sleep.rests.next_end) if self._controls.stopped or self.plan.keeps_pauses else wake
        late = self._failures.late or known < due or (begun.market.awaits_first and known <= now)
        await self._sleep.until(wake, late=late, next_moment=begun.catch_up.next_moment)

    def _has_open(self) -> bool:
        return self._begun is not None and not isinstance(self._begun.loop.state, Flat)

    # --- what is told -------------------------------------------------------------------------------------------

    def _tell_unwatched(self) -> None:
        """Name what no run watches; by then the other runs of this process have begun."""
        with self._failures.told("state"):
            for text in self._runtime.unwatched(self.plan.store):
                self._failures.tell("state", StateError(text), None)

    def _callback_failed(self, error: Exception) -> None:
        """Count what a function raised that is called with the candles of all runs; called on the fetching loop."""
        self._runtime.call(partial(self._failures.tell, "callback", error, self._reached.last_minute))

    def _tell_lag(self, text: str) -> None:
        """Tell that all live runs are blocked; the thread of the watch calls this."""
        self._failures.note("lag", "", text, self._reached.done)

    def _tell_given_up(self, since: int, now: int) -> None:
        text = given_up_text(self.plan.symbol, since, now, base=self.plan.base)
        self._failures.note("silence", "portfolio", text, since)

    def _emitted(self, event: Event) -> None:
        self.saver.undelivered.emitted(event)
        if self._on_event is not None:
            self._on_event(event)

    async def _save_heard(self) -> None:
        """At the end: what listeners hear within a short time is not told again by the next start."""
        if self._begun is not None:
            self._heard = await listeners_heard(lambda: self._controls.leaving)
            with self._failures.told("state"):
                self.saver.save_heard()
