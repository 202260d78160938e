"""The live driver: after each full minute it feeds every minute that has closed to the lifecycle.

It runs the same strategy loop at the same moments as the backtest driver; only the minutes come from a clock. Its state
is on disk before events are emitted, so another process can go on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

from ..config import Settings
from ..domain.execution import Minute, execution_model
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, ceil_to, floor_to, interval_ms
from ..domain.lateness import Decision, OrderRole
from ..domain.lifecycle import Flat, Halt, HaltReason, Holding, Opening, Rules, State, Waiting, signals_of
from ..domain.recovery import Kept, Owner, Restored
from ..domain.risk import place_of
from ..domain.signal import Cancelled, Closed, Event, OpenSignal
from ..domain.text import error_text
from ..engine.lookup import get_risk
from ..engine.records import FailureKind, Records
from ..engine.registry import Exchange, Strategy
from ..engine.strategy_loop import StrategyLoop
from ..engine.time_limit import time_limited
from ..errors import BrokerError, NotEnoughData, StateError
from ..events import messages, subjects
from ..events.listen import adrain
from ..market.candles import Candles
from ..market.clock import SystemClock, speed_of, stopwatch
from ..market.outside import user_calls_of
from ..market.series import Series
from ..market.window import Window
from ..ports import Broker, Clock, StateStore
from .by_hand import ByHand
from .callbacks import Callbacks
from .candle_stream import CandleStream
from .left_behind import changed_setup, deleted_state, orders_without_a_broker, setup_of
from .order_desk import OrderDesk, Quantity
from .outside_calls import broker_outside, risk_outside, strategy_outside
from .persistence import Progress, StateSaver
from .runtime import Runtime
from .turn import Turn
from .undelivered import SUBJECTS
from .user_store import with_state_errors
from .watch import (
    CandleWatch,
    Troubles,
    behind_text,
    earlier_holes_text,
    hole_text,
    left_text,
    overdue_text,
    silence_text,
    unwatched_text,
)

T = TypeVar("T")

_LATE_MS: Final = 1_000  # a candle that has not arrived is asked for again after this time, then after twice as long, …
_GRACE_SECONDS: Final = 0.3  # a run that is stopped at once may come to the end of the minute within this time
_MAX_NOTES: Final = 1_000
"""Milestones, refusals, rejections, warnings and moved levels of closed positions held in memory of a run that goes on
for months, of each at least."""

LISTENER_SECONDS: Final = 10.0  # a run that ends waits so long for its listeners; the rest is told again
_REPEATED: Final = ("strategy", "timeout", "warm-up", "callback")
_SETTLE_SECONDS: Final = 60.0  # the broker has this long for the last orders; the next start finds the rest


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Everything a live run needs, resolved.

    Attributes
    ----------
    until
        The moment (UTC ms) at which the run ends, its state saved; ``None``: never by itself.
    late_minutes
        A question older than this passes unasked; ``None``: what was missed is caught up completely.
    broker, quantity
        Who carries out orders, and how much per signal (base currency, or a function of the signal); ``None``: nobody,
        there is only the record.
    """

    symbol: str
    strategy: Strategy
    exchange: Exchange
    execution: str
    settings: Settings
    store: StateStore
    clock: Clock
    allow_gaps: bool = False
    until: int | None = None
    late_minutes: int | None = None
    broker: Broker | None = None
    quantity: Quantity = 0.0

    def labels(self) -> messages.RunLabels:
        """Symbol, strategy and exchange by name, as the events of the run carry them; there is no frame."""
        return messages.RunLabels(
            symbol=self.symbol, strategy=self.strategy.name, exchange=self.exchange.name, frame=None
        )


class _LiveLoop(StrategyLoop):
    """The strategy loop of a live run: what user code raises again and again is told once, and counted."""

    troubles: Troubles

    def fail(self, kind: FailureKind, error: BaseException, when: int | None, *, emit: bool = True) -> None:
        if emit and kind in _REPEATED:
            emit = self.troubles.is_new(kind, type(error).__name__, self.now if when is None else when)
        super().fail(kind, error, when, emit=emit)


class LiveRun:
    """One strategy on one symbol, minute by minute.

    Attributes
    ----------
    records
        Events of this process, and everything that ended in earlier ones.
    start, last
        First moment, and the moment up to which everything is done (UTC ms).
    stopped
        Whether it was asked to stop.
    paused
        Whether no new entries are asked for at present.
    orders
        The orders at the broker, when there is one.
    disagreement
        Why nothing is opened: where the account is not what the record says; empty when it is.
    minutes_gone
        How many minutes never came, in this process and earlier ones.
    unwatched
        What is open and is not watched any more since a failure ended the run, as a sentence; empty when nothing.
    by_hand
        Carries out what is decided by hand.
    """

    def __init__(
        self, plan: LivePlan, runtime: Runtime, *, on_event: Callable[[Event], None] | None = None, code: Any = None
    ) -> None:
        self.plan = plan
        self.records = Records(_limit=_MAX_NOTES)
        self.stopped = False
        self.paused = False
        self.seconds = 0.0
        self.start = self.last = plan.clock.now()
        self.orders: OrderDesk | None = None
        self.disagreement = ""
        self.minutes_gone = 0
        self.unwatched = ""
        self.code = code  # source text of the user's functions, where somebody read it before the run
        self._runtime = runtime
        self._on_event = on_event
        self._leave = False
        self._stream: CandleStream | None = None
        self._loop: StrategyLoop | None = None
        self._minutes: Series | None = None  # what is left of the candle stream when the run is over
        self._work: asyncio.Task[None] | None = None
        self._tries = 0
        self._looked = False  # whether there was a tick
        self._overdue_since: int | None = None  # the first look after the end of the run at which a candle was missing
        self._late = False
        self._unsaved = ""  # why minutes that have come could not be worked on: what was to be saved
        self._watching: CandleWatch | None = None
        self._held: tuple[int, int] | None = None  # minutes that are missing and still waited for
        self._answered_at: int | None = None  # the clock when the exchange answered at the last look; None: it did not
        self._stopped_at: int | None = None  # the clock when it was asked to stop
        self._turn = Turn()
        self.by_hand = ByHand(self._turn, self, runtime.call)
        self._troubles = Troubles(plan.settings.patience_minutes * MINUTE_MS)
        self._heard = True  # whether listeners heard its results within their time
        self._woken = asyncio.Event()
        self._callbacks = Callbacks(is_open=self._has_open, fail=partial(self._fail, "callback"))
        owner = Owner(
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            symbol=plan.symbol,
            execution=plan.execution,
        )
        self._key = (owner.strategy, owner.symbol)
        self._owner, self._setup = owner, setup_of(plan.strategy, plan.settings)
        self._store = with_state_errors(plan.store)
        self._saving = StateSaver(self._store, owner, self._setup)
        self._last_minute = self._begun = 0
        self._hole_end = 0  # where the last hole ended, UTC ms
        self._last_asked: int | None = None
        self._volume_seen: bool | None = None  # whether the source has reported a volume; None before the first minute

    mode: Final = "live"

    @property
    def silent_since(self) -> int | None:
        """The moment (UTC ms) since when no minute has come, once that was told; ``None`` while minutes come."""
        return None if self._watching is None else self._watching.silent_since

    @property
    def frame_name(self) -> None:
        """Live runs have no frame."""
        return

    def series(self) -> dict[tuple[str, str], Series]:
        """The one-minute candles of the run that are still in memory."""
        known = self._minutes if self._stream is None else self._stream.window.known(self.plan.symbol, "1m")
        return {} if known is None else {(self.plan.symbol, "1m"): known}

    def release_candles(self) -> None:
        """Drop the candles of a run that is over; its records and orders stay."""
        self._minutes = None

    # --- from any thread ----------------------------------------------------------------------------------------

    @property
    def listener_seconds(self) -> float:
        """How long (s) a run that has ended may still wait for its listeners."""
        return LISTENER_SECONDS if self._heard and not self._leave else _GRACE_SECONDS

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""
        return "now" if self._leave else "entries" if self.stopped else ""

    def pause(self) -> None:
        """Ask for no new entries until ``resume``; what is open is watched on, and the result says so."""
        if not self.paused:
            self.paused = True
            self.records.warn(f"new entries were paused at {utc_text(self.last)}")

    def resume(self) -> None:
        """Ask for entries again."""
        if self.paused:
            self.paused = False
            self.records.warn(f"new entries were asked for again from {utc_text(self.last)} on")

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new, and end when nothing is open any more; ``now`` ends at once.

        What is open then stays in the state on disk. So it does where no minute comes for ``patience_minutes``: the run
        ends, and a warning says so.
        """
        self._leave = self._leave or now  # first: a minute that passes meanwhile must not take back what waits
        self._stopped_at = self.plan.clock.now() if self._stopped_at is None else self._stopped_at
        self.stopped = True
        self._runtime.call(self._wake_to_stop)

    # --- the market, for decisions by hand ----------------------------------------------------------------------

    def moment(self) -> int:
        """The moment up to which everything is done, UTC ms."""
        return self._last_minute + MINUTE_MS

    def clock(self) -> int:
        """The present, UTC ms."""
        return self.plan.clock.now()

    async def prices(self, otherwise: float | None) -> tuple[float, float]:
        """Average price and last close (quote currency); ``otherwise`` where candles are gone.

        Raises
        ------
        NotEnoughData
            When there is no price and ``otherwise`` is ``None``.
        """
        known = self._window.known(self.plan.symbol, "1m")
        close = float(known.candles.close[-1]) if known is not None and len(known.candles) else otherwise
        when = min(self.moment(), floor_to(self.clock(), MINUTE_MS))  # a run begins at the next full minute
        price = await self._price_at(when, otherwise=close)
        return price, price if close is None else close

    def no_entries(self) -> str:
        """Why nothing is opened at present, and what to do; empty when entries are taken."""
        if self.stopped:
            return "this one was stopped\nwait for its end and start it again"
        if self.paused:
            return "this one is paused\nresume() it first"
        return f"this one takes none: {self.disagreement}" if self._disagrees() else ""

    def at_broker(self) -> bool:
        """Whether a broker carries out orders."""
        return self.plan.broker is not None

    def _wake_to_stop(self) -> None:
        self._woken.set()
        if self._leave and self._work is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(_GRACE_SECONDS, self.by_hand.end)
            loop.call_later(_GRACE_SECONDS, self._work.cancel)

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
        self._stream = self._runtime.candle_stream(
            plan.exchange, plan.settings, allow_gaps=plan.allow_gaps, clock=plan.clock, warn=warn
        )
        lag = self._runtime.lag
        self._stream.failed.append(self._callback_failed)
        if lag is not None:
            lag.listeners.append(self._tell_lag)
        try:
            # A task of its own: a run that is stopped at once waits neither for an exchange nor for a strategy.
            self._work = asyncio.ensure_future(self._run_minutes())
            if self._leave:
                self._wake_to_stop()
            await asyncio.wait({self._work})
            if not (self._work.cancelled() and self._leave):
                await self._work
        except BaseException:
            if self._loop is not None and self._has_open():
                self.unwatched = unwatched_text(self._loop.state, "" if plan.broker is None else plan.broker.name)
            raise
        finally:
            if lag is not None:
                lag.listeners.remove(self._tell_lag)
            self._stream.failed.remove(self._callback_failed)
            if self._work is not None:
                self._work.cancel()
            self.by_hand.end()
            await self._callbacks.end(0.0)
            try:
                if self.orders is not None:
                    await self.orders.close()
                await self._save_heard()
            finally:
                self._runtime.release_stream(self._stream, warn)
                self._runtime.close(plan.store, self._key)
                self._minutes = self.series().get((plan.symbol, "1m"))
                self._stream = self._work = self._loop = None
                self.by_hand.release()
                self.seconds = stopwatch() - began

    async def _run_minutes(self) -> None:
        await self._restore()
        self.by_hand.begin(self._strategy_loop)
        async with self._turn, time_limited(self._strategy_loop, self.plan.settings.max_signal_generation_seconds):
            while not await self._tick():
                async with self._turn.given_up():
                    await self._sleep()
                self._tell_unwatched()
            self._tell_unwatched()
            self.by_hand.end()
            if not self._leave:
                await self._callbacks.end(LISTENER_SECONDS)
                await self._stream_now.notified(LISTENER_SECONDS)
            if self.orders is not None and not self._leave:
                await self.orders.settle(_SETTLE_SECONDS)

    @property
    def _stream_now(self) -> CandleStream:
        assert self._stream is not None  # since the start  # noqa: S101
        return self._stream

    @property
    def _window(self) -> Window:
        return self._stream_now.window

    @property
    def _watch(self) -> CandleWatch:
        assert self._watching is not None  # since the state was restored  # noqa: S101
        return self._watching

    @property
    def _strategy_loop(self) -> StrategyLoop:
        assert self._loop is not None  # from waking up to the end  # noqa: S101
        return self._loop

    async def _restore(self) -> None:
        plan = self.plan
        found = self._saving.restore()
        ended, holes = self._saving.ended(), self._saving.holes()
        self.records.late = self._saving.late()
        notices = self._notices(found, ended)
        for event in ended:
            self.records.add(event)
        self._loop = self._make_loop(found.state)
        self._loop.last_managed = found.last_managed or 0
        for notice in notices:
            self._loop.fail("state", StateError(notice), None)
        now = plan.clock.now()
        self._last_minute = ceil_to(now, MINUTE_MS) - MINUTE_MS if found.last_minute is None else found.last_minute
        self._last_asked, self._volume_seen = found.last_asked, found.volume_seen
        self.last = self._last_minute + MINUTE_MS
        self.start = min([self.last, *(ended.signal.scheduled_at for ended in self.records.ends)])
        self._note_holes(holes)
        if holes:
            self.records.warn(earlier_holes_text(holes))
        self._watching = self._make_watch(now)
        self._retake_place(found.state)
        if plan.broker is not None:
            self.orders = await self._start_orders(plan.broker, found, now)
        self._emit_restored(found, now)

    def _make_watch(self, now: int) -> CandleWatch:
        assert self._stream is not None  # since the start  # noqa: S101
        return CandleWatch(
            patience_ms=self.plan.settings.patience_minutes * MINUTE_MS,
            behind_ms=self.plan.settings.patience_minutes * self._late_after_ms,
            hole_patience_ms=self._stream.hole_patience_ms,
            sessions=self._window.sessions,
            now=now,
        )

    def _notices(self, found: Restored, ended: list[Closed | Cancelled]) -> list[str]:
        """What is not as the last process left it, as sentences.

        Raises
        ------
        StateError
            When there is no state, and orders that say that something may be open.
        """
        store, owner = self._store, self._owner
        gone = deleted_state(store, owner, ended) if found.last_minute is None else ""
        alone = orders_without_a_broker(store, owner) if self.plan.broker is None else ""
        changed = changed_setup(owner, found.setup, self._setup)
        return [notice for notice in (gone, alone, changed, *self._saving.problems) if notice]

    def _tell_unwatched(self) -> None:
        """Name what no run watches; by then the other runs of this process have begun."""
        try:
            for text in self._runtime.unwatched(self.plan.store):
                self._strategy_loop.fail("state", StateError(text), None)
        except StateError as error:
            self._strategy_loop.fail("state", error, None)

    async def _start_orders(self, broker: Broker, found: Restored, now: int) -> OrderDesk:
        orders = OrderDesk(
            broker=broker_outside(broker),
            store=self._store,
            strategy=self.plan.strategy.name,
            symbol=self.plan.symbol,
            quantity=self.plan.quantity,
            on_problem=self._on_order_problem,
            sleep=self._rest,
            now=self.plan.clock.now,
            late_after_ms=self._late_after_ms,
        )
        state = orders.postponed(found.state, now=now)
        if state != found.state and isinstance(state, Holding | Opening):
            late = self._saving.save_postponed(state)
            self._strategy_loop.state = state
            for decision, decided_at in late.items():
                self._report_late(decision, decided_at, "sent")
        await orders.start(state, when=now, undelivered=found.undelivered)
        return orders

    async def _rest(self, seconds: float) -> None:
        clock = self.plan.clock
        await clock.sleep_until(clock.now() + round(seconds * 1000))

    def _on_order_problem(self, kind: str, message: str) -> None:
        failure: FailureKind = "state" if kind == "state" else "broker"
        error = BrokerError(message) if failure == "broker" else StateError(message)
        is_new = self._troubles.is_new(failure, message, self.plan.clock.now())
        self._strategy_loop.fail(failure, error, None, emit=is_new)

    def _make_loop(self, state: State) -> StrategyLoop:
        plan, risk = self.plan, self.plan.strategy.risk
        seconds = plan.settings.max_signal_generation_seconds
        profile = None if risk is None else risk_outside(get_risk(risk), seconds=seconds)
        book = None if profile is None else self._runtime.book(profile, plan.store, wait_seconds=seconds)
        rules = Rules(
            symbol=plan.symbol,
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            frame=None,
            mode="live",
            model=execution_model(plan.execution),
            settings=plan.settings,
            risk=risk,
            interval_ms=interval_ms(plan.strategy.interval),
            quiet=True,
            tick=plan.settings.price_tick,
        )
        loop = _LiveLoop(
            rules=rules,
            strategy=self._turn.while_asked(
                strategy_outside(plan.strategy, seconds=seconds, callbacks=self._callbacks)
            ),
            window=self._window,
            book=book,
            records=self.records,
            state=state,
            save=self._save,
            on_event=self._emitted,
            decided_at=self._decided_at,
        )
        loop.troubles = self._troubles
        return loop

    def _retake_place(self, state: State) -> None:
        """Have the place of what is open or scheduled, also when the saved places were lost."""
        book = self._strategy_loop.book
        if book is None:
            return
        for signal in signals_of(state):
            since = signal.pending_at if isinstance(signal, OpenSignal) else signal.scheduled_at
            place = place_of(signal, since)
            if (place.symbol, place.strategy, place.signal_id) not in book.places:
                book.take(place)

    def _emit_restored(self, found: Restored, now: int) -> None:
        plan = self.plan
        if found.last_minute is None:
            return
        subjects.resumed.emit(
            messages.Resumed(
                symbol=plan.symbol,
                strategy=plan.strategy.name,
                exchange=plan.exchange.name,
                when=now,
                behind_since=found.last_minute + MINUTE_MS,
                signal=next(iter(signals_of(found.state)), None),
                told_again=len(found.undelivered),
            )
        )
        known = {(type(end), end.signal.id, end.when) for end in self.records.ends}
        for event in found.undelivered:
            if (type(event), event.signal.id, event.when) not in known:
                self.records.add(event)
            self._strategy_loop.emit(event)
        last = [event for event in found.undelivered if event.when >= found.last_minute]
        self._callbacks.go_on(self._call_back_again(last))

    async def _call_back_again(self, events: list[Kept]) -> None:
        """Call back for results of the last turn of an earlier process, whose callbacks may not have been called."""
        for event in events:
            await self._strategy_loop.call_back(event)

    def _save(self, state: State, events: tuple[Event, ...]) -> None:
        """Save a new state, and hand its events to the order desk; the strategy loop calls it before it emits them."""
        for decision, decided_at in self._save_state(state, events).items():
            self._report_late(decision, decided_at, "decided", hole_end=self._hole_end)
        if self.orders is not None:
            for event in events:
                self.orders.follow(event)
            self.orders.follow_state(state)

    def _save_state(self, state: State, events: tuple[Event, ...] = ()) -> dict[Decision, int]:
        progress = Progress(
            last_minute=self._last_minute,
            last_asked=self._last_asked,
            last_managed=self._strategy_loop.last_managed or None,
            volume_seen=self._volume_seen,
        )
        return self._saving.save(state, events, progress)

    @property
    def _late_after_ms(self) -> int:
        """How long (ms of the clock) after its moment a decision is late: a minute, on a faster clock a real minute."""
        return round(MINUTE_MS * max(1.0, speed_of(self.plan.clock)))

    def _decided_at(self, when: int, _order: OrderRole) -> int:
        """The time of the clock (UTC ms) at a decision for the moment ``when`` (UTC ms); in time, it is the moment.

        What the clock ends inside a hole is decided when the hole has been waited for, which is late as a rule.
        """
        now = self.plan.clock.now()
        return when if now <= when + self._late_after_ms else now

    def _report_late(self, decision: Decision, decided_at: int, what: Literal["decided", "sent"], *, hole_end: int = 0
                   ) -> None:  # fmt: skip
        """Count and emit an order that was decided, or is sent after a restart, later than its moment.

        ``hole_end`` is where the last hole ended (UTC ms), if there was one.
        """
        self.records.late[decision] = decided_at
        when, role = decision
        hole = f": its moment lay in a hole, which ended at {utc_text(hole_end)}" if hole_end > when else ""
        behind = f"{(decided_at - when) // MINUTE_MS} minutes late{hole}"
        order = "closing order" if role == "exit" else "entry order"
        text = f"the {order} of {utc_text(when)} was {what} {behind}; it fills at the first candle from "
        self._strategy_loop.note("late", what, f"{text}{utc_text(decided_at)} on", when)

    # --- a minute -----------------------------------------------------------------------------------------------

    async def _tick(self) -> bool:
        """Everything that can be done now; returns whether the run is over."""
        began = stopwatch()
        self._woken.clear()
        self._late, self._unsaved, self._answered_at = False, "", None
        before = self._last_minute
        await self._try(self._catch_up)
        if self._last_minute > before:
            self._minutes_came()
        disagrees = self._disagrees() and self._looked  # a broker that did not answer at the start is asked again first
        self._looked = True
        if (self.stopped or disagrees) and not self._leave:
            await self._try(self._halt)
        self._time(stopwatch() - began)
        if self._leave:
            return True
        if self._is_over():
            await self._end_before_until()
            return True
        return (self.stopped and isinstance(self._strategy_loop.state, Flat)) or self._gives_up()

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something now; what fails is told, and tried again at the next minute."""
        try:
            await work()
            return
        except NotEnoughData as error:
            self._late = error.late  # the minute is here, another candle of this moment is not: the same question again
            if not error.late:
                self._trouble("exchange", error, self._last_minute)
        except StateError as error:
            self._unsaved = str(error)
            self._trouble("state", error, self._last_minute)
        except Exception as error:  # noqa: BLE001 -- whatever a source raises is reported; the next minute tries again
            self._trouble("exchange", error, self._last_minute)
        self._watch.working_since = None  # what held the minutes up has been told

    @contextmanager
    def _going_on(self, kind: FailureKind, when: int) -> Iterator[None]:
        """Tell what an input of the lifecycle raised, and go on: given again it would raise the same again.

        A disk that fails and candles that are missing are tried again at the next minute.
        """
        try:
            yield
        except (NotEnoughData, StateError):
            raise
        except Exception as error:  # noqa: BLE001 -- what is open must be watched on
            if kind == "state":
                self._trouble(kind, error, when)
            else:
                self._strategy_loop.fail(kind, error, when)

    def _trouble(self, kind: FailureKind, error: Exception, when: int) -> None:
        """Count a trouble of the exchange or the disk; one that goes on is told once."""
        topic = error_text(error) if kind == "state" else type(error).__name__
        is_new = self._troubles.is_new(kind, topic, self.plan.clock.now())
        self._strategy_loop.fail(kind, error, when, emit=is_new)

    def _fail(self, kind: FailureKind, error: Exception, when: int) -> None:
        if self._loop is not None:
            self._loop.fail(kind, error, when)

    def _has_open(self) -> bool:
        return self._loop is not None and not isinstance(self._loop.state, Flat)

    def _callback_failed(self, error: Exception) -> None:
        """Count what a function raised that is called with the candles of all runs; called on the fetching loop."""
        self._runtime.call(partial(self._fail, "callback", error, self._last_minute))

    def _tell_lag(self, text: str) -> None:
        """Tell that all live runs are blocked; the thread of the watch calls this."""
        loop = self._loop
        if loop is not None:
            loop.note("lag", "", text, self.last)

    def _gives_up(self) -> bool:
        """Tell once that no minute comes; returns whether a run that was stopped leaves because of that."""
        plan, known, now = self.plan, self._last_minute + MINUTE_MS, self._answered_at
        now = plan.clock.now() if now is None else now  # how long the own work took since is no silence
        if self._held is not None or not self._watch.silent(known, now):
            return False
        minutes, state = plan.settings.patience_minutes, self._strategy_loop.state
        if self._watch.silent_since is None and not self._unsaved:  # what cannot be saved has been told
            self._watch.silent_since = known
            text = silence_text(plan.symbol, plan.exchange.name, state, known=known, minutes=minutes)
            self._strategy_loop.note("silence", "", text, known)
        if not self.stopped or not self._watch.silent(known, now, since=self._stopped_at):
            return False
        text = left_text(plan.symbol, plan.exchange.name, state, known=known, minutes=minutes, unsaved=self._unsaved)
        self.records.warn(text)
        self._strategy_loop.note("state" if self._unsaved else "silence", "stopped", text, known)
        return True

    def _is_over(self) -> bool:
        """Whether ``until`` has come, with every candle before it; one that is missing is waited for for a minute."""
        until, now, known = self.plan.until, self.plan.clock.now(), self._last_minute + MINUTE_MS
        if until is None or known >= until:
            return until is not None and not self._late
        if now < until:
            return False
        if self._closed_until(until) or (self._held is None and self._first_behind(until) is not None):
            return True
        self._overdue_since = now if self._overdue_since is None else self._overdue_since
        if now < self._overdue_since + MINUTE_MS:
            return False
        if self._held is not None:  # what is behind the hole is worked on before the end
            self._watch.stop_waiting()
            self._held = None
            return False
        self.records.warn(f"the run ended at {utc_text(until)}; its last candle closed at {utc_text(known)}")
        return True

    def _closed_until(self, until: int) -> bool:
        """Whether the market is closed from the end of the last minute to ``until`` (UTC ms)."""
        sessions = self._window.sessions
        return sessions is not None and sessions.next_open(self._last_minute + MINUTE_MS, until) >= until

    def _first_behind(self, until: int) -> int | None:
        """When the first candle from ``until`` (UTC ms) on opens; ``None`` if it or one before ``until`` is to come."""
        minutes = self._window.known(self.plan.symbol, "1m")
        if minutes is None:
            return None
        times = minutes.candles.timestamp
        first, behind = times.searchsorted([self._last_minute + MINUTE_MS, until])
        return int(times[behind]) if first == behind < len(times) else None

    async def _end_before_until(self) -> None:
        """End what the clock ends between the last candle and ``until``, where no candle comes any more that would.

        Those of a hole are not worked on later, for the decision is made without them. Candles that may only be late
        decide first: the next start works on them.
        """
        plan, known, due = self.plan, self._last_minute + MINUTE_MS, self._strategy_loop.due
        if plan.until is None or due >= plan.until or known >= plan.until:
            return
        behind = self._first_behind(plan.until)
        try:
            if self._closed_until(plan.until):
                await self._end_due(plan.until - 1)
            elif behind is not None:
                self._go_on_without(self._watch.skipped(self._last_minute, plan.until))
                await self._end_due(plan.until - 1, hole_end=plan.until)
            else:
                text = overdue_text(plan.symbol, self._strategy_loop.state, due=due, known=known)
                self.records.warn(text)
                self._strategy_loop.note("silence", "overdue", text, known)
        except Exception as error:  # noqa: BLE001 -- it is told, stays in the saved state, and ends at the next start
            self._strategy_loop.fail("state" if isinstance(error, StateError) else "exchange", error, self._last_minute)

    async def _catch_up(self) -> None:
        """Question and minute in turn, from where the run stands to the present."""
        plan, loop = self.plan, self._strategy_loop
        assert self._stream is not None  # since the start  # noqa: S101
        behind_since, self._watch.working_since = self._watch.working_since, None
        minutes = await self._minutes_to_work_on(self._stream)
        self._answered_at = plan.clock.now()
        arrived = len(minutes) > 0 and int(minutes.timestamp[0]) == self._last_minute
        if len(minutes) > int(arrived):
            self._watch.working_since = plan.clock.now() if behind_since is None else behind_since
        await self._look_for_volume()
        if arrived:
            await self._moment(self._last_minute + MINUTE_MS)
        until = len(minutes) if plan.until is None else int(minutes.timestamp.searchsorted(plan.until))
        for index in range(int(arrived), until):
            if self._leave:
                return
            if index % 64 == 63 or self.orders is not None:
                await asyncio.sleep(0)  # many missed minutes hold up neither the others nor an order before its candle
            minute, opened = await self._minute(minutes, index), int(minutes.timestamp[index])
            holes = self._watch.skipped(self._last_minute, opened)
            self._go_on_without(holes)
            if minute is not None:  # in a hole before it, if at all; it is not taken yet
                await self._end_due(opened, open_=minute.open, hole_end=opened if holes else None)
            before, self._last_minute = self._last_minute, opened
            loop.move_to(opened)
            try:
                if minute is not None:
                    if self.orders is not None:
                        self.orders.saw(minute)
                    with self._going_on("state", opened):
                        await loop.take(minute)
            except BaseException:
                self._last_minute = before
                raise
            self.last = self._last_minute + MINUTE_MS
            self._tries = 0
            await self._moment(self.last)
            self._tell_behind()
        if plan.clock.now() < self.last + 2 * MINUTE_MS:
            self._watch.working_since = None
        await self._end_while_closed()

    def _tell_behind(self) -> None:
        """Tell once that candles are here, and what is open is watched much later than they came."""
        plan, loop, now = self.plan, self._strategy_loop, self.plan.clock.now()
        if self._has_open() and self._watch.behind(self.last, now):
            text = behind_text(plan.symbol, loop.state, minutes=(now - self.last) // MINUTE_MS)
            loop.note("lag", "behind", text, self.last, emit=self._troubles.is_new("lag", "behind", now))

    async def _minutes_to_work_on(self, stream: CandleStream) -> Candles:
        """The minutes from the last one on that have come; up to a hole that is still waited for."""
        symbol, last = self.plan.symbol, self._last_minute
        self._held = None  # of an exchange that does not answer nothing is known
        async with self._turn.given_up():
            minutes = await stream.minutes(symbol, last)
        if missing := self._watch.to_ask_for(minutes.timestamp, last, self.plan.clock.now()):
            try:
                async with self._turn.given_up():
                    for hole in missing:
                        await stream.fill(symbol, *hole)
                    minutes = await stream.minutes(symbol, last)
            except Exception as error:  # noqa: BLE001 -- told; the minutes before the hole are here
                self._trouble("exchange", error, last)
        self._held = held = self._watch.hole(minutes.timestamp, last, self.plan.clock.now())
        if held is None:
            return minutes
        return minutes[: int(minutes.timestamp.searchsorted(held[0]))]

    def _go_on_without(self, holes: tuple[tuple[int, int], ...]) -> None:
        """Note minutes that never came, on disk and in the record, before the minute behind them is worked on."""
        self._hole_end = max([self._hole_end, *(end for _, end in holes)])
        new = self._saving.save_holes(holes)
        self._note_holes(new)
        if self.plan.allow_gaps or not new:
            return
        plan, minutes = self.plan, self.plan.settings.patience_minutes
        text = hole_text(plan.symbol, plan.exchange.name, new, waited_minutes=minutes)
        is_new = self._troubles.is_new("hole", "", plan.clock.now())
        self._strategy_loop.note("hole", "", text, new[0][0], emit=is_new)

    def _note_holes(self, holes: Sequence[tuple[int, int]]) -> None:
        self.records.holes.extend(holes)
        self.minutes_gone += sum(end - first for first, end in holes) // MINUTE_MS

    def _minutes_came(self) -> None:
        since = self._watch.came(self.plan.clock.now())
        if since is not None:
            self.records.warn(f"no minute came from {utc_text(since)} until {utc_text(self.plan.clock.now())}")

    async def _read(self, ask: Callable[[], T], when: int) -> T:
        """What the window answers about the minutes before ``when``; the other runs go on while it fetches some."""
        symbol, window = self.plan.symbol, self._window
        if window.has_newest(symbol, "1m", self.plan.settings.avg_price_candles_count, when):
            return ask()
        return await user_calls_of(window, f"candles-{symbol}").in_thread(ask)

    async def _look_for_volume(self) -> None:
        """See, before the first minute of a run, whether its source reports volumes."""
        if self._volume_seen is None:
            symbol, count = self.plan.symbol, self.plan.settings.avg_price_candles_count
            try:
                when = self._last_minute + MINUTE_MS
                newest = partial(self._window.newest, symbol, "1m", count, when, wait=False)
                volume = (await self._read(newest, when)).volume
            except NotEnoughData as error:  # the market begins here
                if error.late:
                    return
                known = self._window.minutes(symbol).candles
                volume = known.volume[known.timestamp <= self._last_minute]
            self._volume_seen = bool((volume > 0).any())

    async def _moment(self, when: int) -> None:
        """What the clock ends at a moment, what was decided by hand and by ``manage``, and the question of it."""
        await self._end_due(when)
        with self._going_on("strategy", when):
            await self.by_hand.carry_out_planned(when)
        await self._manage(when)
        await self._question(when)

    async def _end_due(self, when: int, *, open_: float | None = None, hole_end: int | None = None) -> None:
        """End what the clock ends up to a moment (UTC ms).

        Parameters
        ----------
        when
            The moment.
        open_
            The price where none is known before.
        hole_end
            Where the hole ends that it lies in, UTC ms: it is decided without the minutes of the hole, so a restart
            does not work on them although they have come meanwhile.
        """
        loop, known = self._strategy_loop, self._last_minute + MINUTE_MS
        while (due := loop.due) <= when:
            # No candle lies between the last one and what is due in a hole or in closed hours.
            price = await self._price_at(min(due, known), otherwise=open_)
            before, state = self._last_minute, loop.state
            self._last_minute = before if hole_end is None else hole_end - MINUTE_MS
            try:
                with self._going_on("state", due):
                    await loop.end_due(due, price)
            except BaseException:
                self._last_minute = before
                raise
            if loop.state is state:  # it could not be ended, which was told
                return

    async def _price_at(self, when: int, *, otherwise: float | None) -> float:
        """The average price at a moment (UTC ms); where the candles before it are gone, another one."""
        try:
            return await self._read(partial(self._window.average_price, self.plan.symbol, when), when)
        except NotEnoughData:
            if otherwise is None:
                raise
            return otherwise

    async def _end_while_closed(self) -> None:
        """End what the clock ends while the market is closed: no minute comes, so none has to be waited for."""
        sessions, known = self._window.sessions, self._last_minute + MINUTE_MS
        while sessions is not None and (due := self._strategy_loop.due) <= self.plan.clock.now():
            if sessions.next_open(known, due) < due:
                return
            await self._end_due(due)
            if self._strategy_loop.due == due:
                return

    async def _minute(self, candles: Candles, index: int) -> Minute | None:
        """A minute for the lifecycle; ``None`` at the very beginning of a market, where there is no average yet."""
        _, open_, high, low, close, volume = candles.block[:, index].tolist()
        busy = not isinstance(self._strategy_loop.state, Flat)  # after a restart, candles before a hole may be gone
        self._volume_seen = self._volume_seen or volume > 0
        t = int(candles.timestamp[index])
        try:
            price = await self._price_at(t + MINUTE_MS, otherwise=close if busy else None)
        except NotEnoughData:
            return None
        return Minute(t, open_, high, low, close, price, volume > 0 or not self._volume_seen)

    async def _manage(self, when: int) -> None:
        """Ask the strategy about what is open or waits, when it is time to."""
        loop, plan = self._strategy_loop, self.plan
        known = loop.known_at
        if known is None or not self._is_due(when, max(loop.last_managed, known - 1), plan.strategy.manages_every):
            return
        sessions = self._window.sessions
        if sessions is not None and not sessions.may_ask(when, plan.settings.avg_price_candles_count):
            return
        newest = partial(self._window.newest, plan.symbol, "1m", 1, when, wait=False)
        close = float((await self._read(newest, when)).close[-1])
        entries = not (self.stopped or self.paused or self._disagrees())
        patient = plan.clock.now() < when + MINUTE_MS
        with self._going_on("strategy", when):
            await loop.manage(when, close, entries=entries, patient=patient)
            return
        loop.last_managed = when  # it was asked, and what it answered cannot be carried out

    async def _question(self, when: int) -> None:
        """Ask the strategy at a moment, when it is time to."""
        loop = self._strategy_loop
        due = self._is_due(when, self._last_asked, self.plan.strategy.interval)
        if not loop.rules.model.fills_at_open and loop.last_managed == when:
            due = False  # what ended at the average price of a moment frees the moments after it
        if self.stopped or not loop.is_free or not due:
            return
        sessions = self._window.sessions
        if sessions is not None and not sessions.may_ask(when, self.plan.settings.avg_price_candles_count):
            return  # closed, or so short after the opening that there is no price of this session yet
        late = self.plan.late_minutes
        before, self._last_asked = self._last_asked, when
        try:
            if self.paused or self._disagrees():
                pass  # not asked later either: a resumed run must not open what was not to be opened now
            elif late is not None and self.plan.clock.now() - when > late * MINUTE_MS:
                age = (self.plan.clock.now() - when) // MINUTE_MS
                text = f"was {age} minutes old, more than late_minutes = {late}: it was not asked"
                self._strategy_loop.note("late", "question", f"the question of {utc_text(when)} {text}", when)
            else:
                with self._going_on("strategy", when):
                    await self._strategy_loop.ask(when, patient=self.plan.clock.now() < when + MINUTE_MS)
            saved = self._saving.progress
            if saved is None or saved.last_asked != when:  # nothing came of the question; save that it was asked
                self._save_state(self._strategy_loop.state)
        except BaseException:
            self._last_asked = before
            raise

    def _disagrees(self) -> bool:
        """Whether the account is not what the record says: then nothing is opened, and what is open is watched on."""
        why = "" if self.orders is None else self.orders.disagreement
        if why and why != self.disagreement:
            self._strategy_loop.note("broker", "disagreement", why, self.last)
        if why and not self.disagreement:
            self.records.warn(f"new entries were stopped at {utc_text(self.last)}: {why}")
        elif self.disagreement and not why:
            self.records.warn(f"account and record agree; entries are asked for again from {utc_text(self.last)} on")
        self.disagreement = why
        return bool(why)

    @staticmethod
    def _is_due(when: int, asked: int | None, interval: str) -> bool:
        """Whether a moment lies in a later slot of an interval than the last one asked at (UTC ms)."""
        if asked is None:
            return True
        slot_ms = interval_ms(interval)
        return when >= (asked // slot_ms + 1) * slot_ms

    async def _halt(self) -> None:
        """Cancel what is scheduled, and an order that has not left for the broker yet, at a stop or a disagreement.

        Without a broker an order leaves when it is decided, as in a backtest. Adds that rest end at a disagreement.
        """
        state = self._strategy_loop.state
        sent = isinstance(state, Opening) and (self.orders is None or self.orders.has_left(state.signal))
        rest = isinstance(state, Holding) and state.leaving is None and bool(self.disagreement) and _has_adds(state)
        if rest or (isinstance(state, Opening | Waiting) and not sent):
            assert isinstance(state, Holding | Opening | Waiting)  # as it was looked at  # noqa: S101
            when = self._last_minute + MINUTE_MS
            known = self._window.known(self.plan.symbol, "1m")
            price = state.signal.price_open  # of a dead exchange after a restart nothing else is known
            if known is not None and len(known.candles):
                price = await self._price_at(when, otherwise=float(known.candles.close[-1]))
            reason: HaltReason = "stopped" if self.stopped and not rest else "disagreement"
            with self._going_on("state", when):
                await self._strategy_loop.take(Halt(when, price, reason))

    async def _sleep(self) -> None:
        """Until just after the next full minute, sooner when a candle is late or the run is stopped."""
        clock = self.plan.clock
        now = clock.now()
        present = floor_to(now, MINUTE_MS)
        wake = present + MINUTE_MS
        if self._late or self._last_minute + MINUTE_MS < present:
            wake = min(wake, now + _LATE_MS * 2 ** min(self._tries, 6))
            self._tries += 1
        sleeping = asyncio.ensure_future(clock.sleep_until(wake))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()

    # --- events -------------------------------------------------------------------------------------------------

    def _emitted(self, event: Event) -> None:
        self._saving.undelivered.emitted(event)
        if self._on_event is not None:
            self._on_event(event)

    async def _save_heard(self) -> None:
        """At the end: what listeners hear within a short time is not told again by the next start."""
        if self._loop is None:
            return  # it never began
        hearing = asyncio.ensure_future(adrain(*SUBJECTS, timeout=LISTENER_SECONDS))
        while not hearing.done():
            await asyncio.wait({hearing}, timeout=_GRACE_SECONDS)
            if self._leave:
                break
        self._heard = hearing.done() and hearing.result()
        hearing.cancel()
        try:
            self._saving.save_heard()
        except StateError as error:
            self._loop.fail("state", error, self._last_minute)

    def _time(self, seconds: float) -> None:
        if subjects.performance.subscribed:
            subjects.performance.emit(
                messages.Performance(
                    metric="live_tick",
                    **self.plan.labels(),
                    mode="live",
                    duration_ms=seconds * 1000,
                    at=SystemClock().now(),
                )
            )


def _has_adds(state: Holding) -> bool:
    """Whether an add to a position rests."""
    return state.book is not None and any(order.price_open is not None for order in state.book.orders)
