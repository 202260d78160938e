"""The live driver: wakes after each full minute and feeds every minute that has closed to the lifecycle.

It asks the same desk at the same moments as the backtest driver; only the minutes come from a clock. What it was doing
is on disk before anybody hears of it, so another process can go on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..config import Settings
from ..domain.execution import Minute, execution_model
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, ceil_to, floor_to, interval_ms
from ..domain.lifecycle import Flat, Halt, Holding, Rules, State, Waiting
from ..domain.recovery import Owner, Restored
from ..domain.risk import place_of
from ..domain.signal import Event, OpenSignal
from ..engine.lookup import get_risk
from ..engine.records import FailureKind, Records
from ..engine.registry import Exchange, Strategy
from ..engine.strategy_loop import Desk, watched
from ..errors import BrokerError, NotEnoughData, StateError
from ..events import messages, subjects
from ..events.listen import drain
from ..market.candles import Candles
from ..market.clock import SystemClock, stopwatch
from ..market.window import Series, Window
from ..ports import Broker, Clock, StateStore
from .candle_tape import Tape
from .order_desk import OrderDesk, Quantity
from .persistence import Saving
from .runtime import Floor
from .strategy_threads import thinking_aside

_LATE_MS: Final = 1_000  # a candle that has not arrived is asked for again after this time, then after twice as long, …
_GRACE_SECONDS: Final = 0.3  # who is told to leave now may come to the end of the minute within this time
_NOTES_KEPT: Final = 1_000  # refusals, rejections and warnings kept of a run that goes on for months

_SETTLE_SECONDS: Final = 60.0  # the broker has this long for the last orders; the next start finds the rest


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Everything a live run needs, resolved.

    Attributes
    ----------
    until
        The moment (UTC ms) at which the run leaves, keeping its state; ``None``: never by itself.
    late_minutes
        A question older than this passes unasked; ``None``: what was missed is caught up completely.
    broker, quantity
        Who carries out orders, and how much per signal (base currency, or a function of the signal); ``None``: nobody,
        the record alone is kept.
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


class LiveRun:
    """One strategy on one symbol, minute by minute.

    Attributes
    ----------
    records
        Events of this life of the run, and everything that ended in earlier ones.
    start, last
        First moment, and the moment up to which everything is done (UTC ms).
    stopped
        Whether it was told to stop.
    paused
        Whether no new entries are asked for at present.
    restored
        What an earlier life left.
    orders
        The orders at the broker, when there is one.
    """

    def __init__(
        self, plan: LivePlan, floor: Floor, *, hear: Callable[[Event], None] | None = None, code: Any = None
    ) -> None:
        self.plan = plan
        self.records = Records(_limit=_NOTES_KEPT)
        self.stopped = False
        self.paused = False
        self.seconds = 0.0
        self.start = self.last = plan.clock.now()
        self.restored: Restored | None = None
        self.orders: OrderDesk | None = None
        self.code = code  # source text of the user's functions, where somebody read it before the run
        self._floor = floor
        self._hear = hear
        self._leave = False
        self._tape: Tape | None = None
        self._at_work: Desk | None = None
        self._minutes: Series | None = None  # what is left of the tape when the run is over
        self._work: asyncio.Task[None] | None = None
        self._tries = 0
        self._late = False
        self._woken = asyncio.Event()
        owner = Owner(
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            symbol=plan.symbol,
            execution=plan.execution,
        )
        self._saving = Saving(plan.store, owner, heard=_all_heard)
        self._fed = self._begun = 0
        self._asked: int | None = None

    mode: Final = "live"

    @property
    def frame_name(self) -> None:
        """Live runs have no frame."""
        return

    def series(self) -> dict[tuple[str, str], Series]:
        """The one-minute candles of the run that are still in memory."""
        known = self._minutes if self._tape is None else self._tape.window.known(self.plan.symbol, "1m")
        return {} if known is None else {(self.plan.symbol, "1m"): known}

    def let_go(self) -> None:
        """Keep the records and the orders alone of a run that is over, and no candles."""
        self._minutes = None

    # --- from any thread ----------------------------------------------------------------------------------------

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
        """Open nothing new and watch an open position to its end; ``now`` leaves at once, the state stays on disk."""
        self.stopped = True
        self._leave = self._leave or now
        self._floor.call(self._told_to_stop)

    def _told_to_stop(self) -> None:
        self._woken.set()
        if self._leave and self._work is not None:
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._work.cancel)

    # --- the run ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until stopped; what fails is told, and tried again at the next minute.

        Raises
        ------
        StateError
            When the saved state cannot be used: another process has it, or it is damaged.
        """
        plan, began, warn = self.plan, stopwatch(), self.records.warn
        self._floor.open(plan.store)
        self._tape = self._floor.tape(
            plan.exchange, plan.settings, allow_gaps=plan.allow_gaps, clock=plan.clock, warn=warn
        )
        try:
            # A task of its own: who is told to leave now waits neither for an exchange nor for a strategy.
            self._work = asyncio.ensure_future(self._through())
            if self._leave:
                self._told_to_stop()
            await asyncio.wait({self._work})
            if not (self._work.cancelled() and self._leave):
                await self._work
        finally:
            if self._work is not None:
                self._work.cancel()
            if self.orders is not None:
                await self.orders.close()
            self._floor.put_back(self._tape, warn)
            self._floor.close(plan.store)
            self._minutes = self.series().get((plan.symbol, "1m"))
            self._tape = self._work = self._at_work = None
            self.seconds = stopwatch() - began

    async def _through(self) -> None:
        await self._wake_up()
        async with watched(self._desk, self.plan.settings.max_signal_generation_seconds):
            while not await self._tick():
                await self._sleep()
            if self.orders is not None and not self._leave:
                await self.orders.settle(_SETTLE_SECONDS)

    @property
    def _window(self) -> Window:
        assert self._tape is not None  # since the start  # noqa: S101
        return self._tape.window

    @property
    def _desk(self) -> Desk:
        assert self._at_work is not None  # from waking up to the end  # noqa: S101
        return self._at_work

    async def _wake_up(self) -> None:
        plan = self.plan
        found = self.restored = self._saving.restore()
        open_id = found.state.signal.id if isinstance(found.state, Waiting | Holding) else None
        for ended in self._saving.ended():
            if ended.signal.id != open_id:  # saved at its end, but still open on disk: this run comes to that end again
                self.records.add(ended)
        self._at_work = self._make_desk(found.state)
        now = plan.clock.now()
        self._fed = ceil_to(now, MINUTE_MS) - MINUTE_MS if found.fed is None else found.fed
        self._asked = found.asked
        self.last = self._fed + MINUTE_MS
        self.start = min([self.last, *(ended.signal.scheduled_at for ended in self.records.ends)])
        self._retake_place(found.state)
        if plan.broker is not None:
            self.orders = await self._start_orders(plan.broker, found, now)
        await self._tell_restored(found, now)

    async def _start_orders(self, broker: Broker, found: Restored, now: int) -> OrderDesk:
        orders = OrderDesk(
            broker=broker,
            store=self.plan.store,
            strategy=self.plan.strategy.name,
            symbol=self.plan.symbol,
            quantity=self.plan.quantity,
            tell=self._tell_of_orders,
            sleep=self._rest,
        )
        held = found.state.signal if isinstance(found.state, Waiting | Holding) else None
        await orders.start(held, when=now, untold=found.untold)
        return orders

    async def _rest(self, seconds: float) -> None:
        clock = self.plan.clock
        await clock.sleep_until(clock.now() + round(seconds * 1000))

    def _tell_of_orders(self, kind: str, message: str) -> None:
        failure: FailureKind = "state" if kind == "state" else "broker"
        self._desk.fail(failure, BrokerError(message) if failure == "broker" else StateError(message), None)

    def _make_desk(self, state: State) -> Desk:
        plan, risk = self.plan, self.plan.strategy.risk
        rules = Rules(
            symbol=plan.symbol,
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            frame=None,
            mode="live",
            model=execution_model(plan.execution),
            settings=plan.settings,
            risk=risk,
            quiet=True,
        )
        return Desk(
            rules=rules,
            strategy=thinking_aside(plan.strategy),
            window=self._window,
            book=None if risk is None else self._floor.book(get_risk(risk), plan.store),
            records=self.records,
            state=state,
            keep=self._keep,
            hear=self._hear,
        )

    def _retake_place(self, state: State) -> None:
        """Have the place of what is open or scheduled, also when the saved places were lost."""
        book = self._desk.book
        if book is None or not isinstance(state, Waiting | Holding):
            return
        signal = state.signal
        since = signal.pending_at if isinstance(signal, OpenSignal) else signal.scheduled_at
        place = place_of(signal, since)
        if (place.symbol, place.strategy, place.signal_id) not in book.places:
            book.take(place)

    async def _tell_restored(self, found: Restored, now: int) -> None:
        plan = self.plan
        if found.fed is None:
            return
        subjects.resumed.emit(
            messages.Resumed(
                symbol=plan.symbol,
                strategy=plan.strategy.name,
                exchange=plan.exchange.name,
                when=now,
                behind_since=found.fed + MINUTE_MS,
                signal=found.state.signal if isinstance(found.state, Waiting | Holding) else None,
                told_again=len(found.untold),
            )
        )
        known = {(type(end), end.signal.id, end.when) for end in self.records.ends}
        for event in found.untold:
            await self._desk.tell((event,), record=(type(event), event.signal.id, event.when) not in known)

    def _keep(self, state: State, events: tuple[Event, ...]) -> None:
        """Called by the desk before its events leave."""
        self._saving.keep(state, events, fed=self._fed, asked=self._asked)
        if self.orders is not None:
            for event in events:
                self.orders.intend(event)

    # --- a minute -----------------------------------------------------------------------------------------------

    async def _tick(self) -> bool:
        """Everything that can be done now; returns whether the run is over."""
        began = stopwatch()
        self._woken.clear()
        self._late = False
        try:
            await self._catch_up()
            if self.stopped and not self._leave:
                await self._halt()
        except NotEnoughData as error:
            self._late = error.late  # the minute is here, another candle of this moment is not: the same question again
            if not error.late:
                self._desk.fail("exchange", error, self._fed)
        except StateError as error:
            self._desk.fail("state", error, self._fed)
        except Exception as error:  # noqa: BLE001 -- whatever a source raises is told; the next minute tries again
            self._desk.fail("exchange", error, self._fed)
        self._time(stopwatch() - began)
        if self._leave or (self._reached_end() and not self._late):
            return True
        return self.stopped and isinstance(self._desk.state, Flat)

    def _reached_end(self) -> bool:
        until = self.plan.until
        return until is not None and self._fed + MINUTE_MS >= until

    async def _catch_up(self) -> None:
        """Question and minute in turn, from where the run stands to the present."""
        plan, desk = self.plan, self._desk
        assert self._tape is not None  # since the start  # noqa: S101
        minutes = await self._tape.minutes(plan.symbol, self._fed)
        fed = len(minutes) > 0 and int(minutes.timestamp[0]) == self._fed
        if fed:
            await self._question(self._fed + MINUTE_MS)
        for index in range(int(fed), len(minutes)):
            if self._leave or self._reached_end():
                return
            if index % 64 == 63:
                await asyncio.sleep(0)  # many missed minutes must not hold the others
            before, self._fed = self._fed, int(minutes.timestamp[index])
            desk.move_to(self._fed)
            try:
                minute = self._minute(minutes, index)
                if minute is not None:
                    if self.orders is not None:
                        self.orders.saw(low=minute.low, high=minute.high)
                    await desk.take(minute)
            except BaseException:
                self._fed = before
                raise
            self.last = self._fed + MINUTE_MS
            self._tries = 0
            await self._question(self.last)

    def _minute(self, candles: Candles, index: int) -> Minute | None:
        """A minute for the lifecycle; ``None`` at the very beginning of a market, where there is no average yet."""
        _, open_, high, low, close, _ = candles.block[:, index].tolist()
        t = int(candles.timestamp[index])
        try:
            price = self._window.average_price(self.plan.symbol, t + MINUTE_MS)
        except NotEnoughData:
            return None
        return Minute(t, open_, high, low, close, price)

    async def _question(self, when: int) -> None:
        """Ask the strategy at a moment, when it is time to."""
        if self.stopped or not isinstance(self._desk.state, Flat) or not self._is_due(when):
            return
        sessions = self._window.sessions
        if sessions is not None and not sessions.may_ask(when, self.plan.settings.avg_price_candles_count):
            return  # closed, or so short after the opening that there is no price of this session yet
        late = self.plan.late_minutes
        before, self._asked = self._asked, when
        try:
            if self.paused:
                pass  # for good: whoever goes on later must not open what was not to be opened now
            elif late is not None and self.plan.clock.now() - when > late * MINUTE_MS:
                self._desk.fail("late", NotEnoughData(f"the question is older than late_minutes = {late}"), when)
            else:
                await self._desk.ask(when, patient=self.plan.clock.now() < when + MINUTE_MS)
            if self._saving.asked != when:  # nothing came of the question; remember that it was asked
                self._saving.keep(self._desk.state, (), fed=self._fed, asked=when)
        except BaseException:
            self._asked = before
            raise

    def _is_due(self, when: int) -> bool:
        if self._asked is None:
            return True
        slot_ms = interval_ms(self.plan.strategy.interval)
        return when >= (self._asked // slot_ms + 1) * slot_ms

    async def _halt(self) -> None:
        """A scheduled signal does not outlive a stop."""
        if isinstance(self._desk.state, Waiting):
            when = self._fed + MINUTE_MS
            price = self._window.average_price(self.plan.symbol, when)
            await self._desk.take(Halt(when, price))

    async def _sleep(self) -> None:
        """Until just after the next full minute, sooner when a candle is late or the run is told to stop."""
        clock = self.plan.clock
        now = clock.now()
        present = floor_to(now, MINUTE_MS)
        wake = present + MINUTE_MS
        if self._late or self._fed + MINUTE_MS < present:
            wake = min(wake, now + _LATE_MS * 2 ** min(self._tries, 6))
            self._tries += 1
        sleeping = asyncio.ensure_future(clock.sleep_until(wake))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()

    # --- telling ------------------------------------------------------------------------------------------------

    def _time(self, seconds: float) -> None:
        if subjects.performance.heard:
            subjects.performance.emit(
                messages.Performance(
                    metric="live_tick",
                    **self.plan.labels(),
                    mode="live",
                    duration_ms=seconds * 1000,
                    at=SystemClock().now(),
                )
            )


def _all_heard() -> bool:
    """Whether listeners have worked off every result so far."""
    return drain(subjects.signal_live, subjects.signal, timeout=0)
