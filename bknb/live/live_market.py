"""The market of a live run: the minutes that come next, those that are missing, and the prices of a moment.

Decisions by hand see the market as of the moment up to which everything is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ..domain.fills_at_stops_and_gaps import Minute, execution_model
from ..domain.interval import DAY_MS, MINUTE_MS, interval_ms, slot_after
from ..domain.lifecycle import Flat, State
from ..domain.market_on_close_orders import close_order_since
from ..errors import NotEnoughData
from ..market.bar_slots import bar_before, bar_close, open_slots, slot_from, slot_of
from ..market.calls_in_threads import user_calls_of
from ..market.candle_closes import closes_of
from ..market.candles import Candles
from ..market.session_days import WholeDays
from ..market.window import Window
from .candle_stream import CandleStream
from .failures_and_retries import Failures
from .plan import LONGEST_CLOSE_MS, LivePlan
from .recording import Recording
from .run_progress import Reached
from .silent_or_late_market import CandleWatch, behind_text
from .turn_lock import Turn

T = TypeVar("T")


class LiveMarket:
    """The candles of one symbol as they come to a run.

    Parameters
    ----------
    plan, stream, reached
        The run, its candles, and how far it has come.
    recording
        Gets each minute that is worked on.
    turn
        Given up while candles are waited for.
    failures
        Tells what the exchange raises about minutes that are missing.

    Attributes
    ----------
    watch
        How long minutes have not come.
    held
        The range ``[first, end)`` of minutes (UTC ms) that is missing and still waited for; ``None``: none is.
    answered_at
        The clock (UTC ms) when the exchange answered at the last look; ``None``: it did not.
    others_asked_at
        The moment (UTC ms) at which it is asked because others are, where it could not be asked alone.
    awaits_first
        Whether the minute before a new run has not come, and none behind it was worked on: the first question of the
        run waits for it, as for a hole.
    """

    def __init__(
        self,
        plan: LivePlan,
        stream: CandleStream,
        reached: Reached,
        recording: Recording,
        *,
        turn: Turn,
        failures: Failures,
    ) -> None:
        patience = plan.settings.patience_minutes
        self.window: Window = stream.window
        self.sessions, self.grid = stream.window.sessions_of(plan.symbol), stream.window.grid_of(plan.symbol)
        self.watch = CandleWatch(
            patience_ms=patience * MINUTE_MS,
            behind_ms=patience * plan.real_minute_ms,
            hole_patience_ms=stream.hole_patience_ms,
            sessions=self.sessions,
            now=plan.clock.now(),
            step=plan.base_ms,
            grid=self.grid,
        )
        self.held: tuple[int, int] | None = None
        self.others_asked_at: int | None = None
        self.answered_at: int | None = None
        self._plan = plan
        self._stream = stream
        self._reached, self._recording = reached, recording
        self._turn = turn
        self._failures = failures
        self._needs_volume = execution_model(plan.execution).needs_volume
        before = [(reached.last_minute, reached.known)] if reached.is_new and stream.hole_patience_ms else []
        self.awaits_first = bool(open_slots(before, plan.base_ms, self.sessions, self.grid))

    # --- for decisions by hand ----------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The length of a base bar, ms."""
        return self._plan.base_ms

    def next_bar(self) -> int:
        """When the first bar opens from the present on, UTC ms."""
        return slot_from(self.clock(), self.step, self.grid)

    def moment(self) -> int:
        """The moment up to which everything is done, UTC ms."""
        return self._reached.known

    def clock(self) -> int:
        """The present, UTC ms."""
        return self._plan.clock.now()

    async def prices(self, otherwise: float | None) -> tuple[float, float]:
        """Average price and last close (quote currency) at that moment; ``otherwise`` where candles are gone.

        Raises
        ------
        NotEnoughData
            When there is no price and ``otherwise`` is ``None``.
        """
        close = self.last_close(otherwise)
        when = min(self.moment(), slot_of(self.clock(), self.step, self.grid))  # a run begins at the next full minute
        price = await self.price_at(when, otherwise=close)
        return price, price if close is None else close

    def stop_waiting(self) -> None:
        """Wait for no missing minute any longer: what is behind the hole is worked on next."""
        self.watch.stop_waiting()
        self.held = None

    # --- minutes ------------------------------------------------------------------------------------------------

    async def next_minutes(self) -> Candles:
        """The minutes from the last one on that have come; up to a hole that is still waited for."""
        symbol, last, stream, watch = self._plan.symbol, self._reached.last_minute, self._stream, self.watch
        after = self.bar_before(last) if self.awaits_first else last
        self.held = self.answered_at = None  # of an exchange that does not answer nothing is known
        async with self._turn.given_up():
            minutes = await stream.minutes(symbol, last)
        missing = watch.to_ask_for(minutes.timestamp, after, self.clock())
        unanswered: list[tuple[int, int]] = []
        for hole in missing:
            unanswered.append(hole)
            with self._failures.told("exchange"):  # the minutes before the hole are here
                async with self._turn.given_up():
                    await stream.fill(symbol, *hole)
                unanswered.pop()
        if missing:
            unanswered, of_fills = missing, unanswered  # as long as they have not been read again
            with self._failures.told("exchange"):
                async with self._turn.given_up():
                    minutes = await stream.minutes(symbol, last)
                unanswered = of_fills
        self.held = held = watch.hole(minutes.timestamp, after, self.clock(), unanswered=unanswered)
        self.answered_at = self.clock()
        if held is not None:
            minutes = minutes[: int(minutes.timestamp.searchsorted(held[0]))]
        self.awaits_first = self.awaits_first and not len(minutes)
        return minutes

    async def minute(self, candles: Candles, index: int, *, busy: bool) -> Minute | None:
        """A minute for the lifecycle; ``None`` at the very beginning of a market, where there is no average yet.

        Where something is open or ordered (``busy``) its close stands in for the average: after a restart, candles
        before a hole may be gone.
        """
        reached = self._reached
        _, open_, high, low, close, volume = candles.block[:, index].tolist()
        reached.volume_seen = reached.volume_seen or volume > 0
        t = int(candles.timestamp[index])
        self._recording.candles.add((t, open_, high, low, close, volume))
        try:
            price = await self.price_at(self.close_of(t), otherwise=close if busy else None)
        except NotEnoughData:
            return None
        return Minute(t, open_, high, low, close, price, volume > 0 or not reached.volume_seen)

    async def look_for_volume(self) -> None:
        """See, before the first minute of a run, whether its source reports volumes."""
        reached, symbol = self._reached, self._plan.symbol
        if reached.volume_seen is None:
            count = self.window.price_count
            try:
                newest = partial(self.window.newest, symbol, self.window.base, count, reached.known, wait=False)
                volume = (await self._read(newest, reached.known)).volume
            except NotEnoughData as error:  # the market begins here
                if error.late:
                    return
                known = self.window.minutes(symbol).candles
                volume = known.volume[known.timestamp <= reached.last_minute]
            reached.volume_seen = bool((volume > 0).any())

    def first_behind(self, until: int) -> int | None:
        """When the first candle from ``until`` (UTC ms) on opens; ``None`` if it or one before ``until`` is to come."""
        minutes = self.window.known(self._plan.symbol, self.window.base)
        if minutes is None:
            return None
        times = minutes.candles.timestamp
        first, behind = times.searchsorted([self._reached.known, until])
        return int(times[behind]) if first == behind < len(times) else None

    # --- prices -------------------------------------------------------------------------------------------------

    def last_close(self, otherwise: float | None) -> float | None:
        """The close of the newest candle in memory (quote currency); ``otherwise`` where there is none."""
        known = self.window.known(self._plan.symbol, self.window.base)
        return float(known.candles.close[-1]) if known is not None and len(known.candles) else otherwise

    async def price_at(self, when: int, *, otherwise: float | None) -> float:
        """The average price at a moment (UTC ms); where the candles before it are gone, another one."""
        try:
            return await self._read(partial(self.window.average_price, self._plan.symbol, when), when)
        except NotEnoughData:
            if otherwise is None:
                raise
            return otherwise

    async def newest_fill(self, when: int, state: State) -> Minute | None:
        """The newest minute before a session's close at ``when`` (UTC ms) that can fill what waits for it.

        ``None`` where no minute since the order could.
        """
        since, symbol = close_order_since(state), self._plan.symbol
        known = self.window.known(symbol, self.window.base)
        candles = None if known is None else known.candles[: int(known.candles.timestamp.searchsorted(when))]
        at = None if candles is None else self._last_filling(candles)
        if at is None and since < when and (candles is None or not len(candles) or candles.timestamp[0] > since):
            count = -((since - when) // self.step)  # after a restart older ones may be gone
            try:
                candles = await self._read(
                    partial(self.window.newest, symbol, self.window.base, count, when, wait=False), when
                )
            except NotEnoughData:
                return None
            at = self._last_filling(candles)
        if candles is None or at is None or candles.timestamp[at] < since:
            return None
        return await self.minute(candles, at, busy=True)

    def _last_filling(self, candles: Candles) -> int | None:
        """The index of the last candle that can fill an order; ``None``: none can."""
        if not (self._needs_volume and self._reached.volume_seen):
            return len(candles) - 1 if len(candles) else None
        filling = candles.volume.nonzero()[0]
        return int(filling[-1]) if len(filling) else None

    async def close_at(self, when: int) -> float:
        """The last close (quote currency) before a moment (UTC ms)."""
        newest = partial(self.window.newest, self._plan.symbol, self.window.base, 1, when, wait=False)
        return float((await self._read(newest, when)).close[-1])

    async def _read(self, ask: Callable[[], T], when: int) -> T:
        """What the window answers about the minutes before ``when``; the other runs go on while it fetches some."""
        symbol, window = self._plan.symbol, self.window
        if window.has_newest(symbol, self.window.base, self.window.price_count, when):
            return ask()
        return await user_calls_of(window, f"candles-{symbol}").in_thread(ask)

    def tell_behind(self, states: Sequence[State], done: int) -> None:
        """Tell once that candles are here, and what is open is watched much later than they came.

        ``done`` is the moment up to which everything is done, UTC ms.
        """
        now = self.clock()
        if not all(isinstance(state, Flat) for state in states) and self.watch.behind(done, now):
            text = behind_text(self._plan.symbol, states, minutes=(now - done) // MINUTE_MS)
            self._failures.note("lag", "behind", text, done, again=False)

    # --- sessions -----------------------------------------------------------------------------------------------

    def may_ask(self, when: int) -> bool:
        """Whether the market is open at a moment (UTC ms), and long enough for a price of this session.

        Where others are asked then it does not matter.
        """
        sessions = self.sessions
        by_day = self._plan.base_ms >= DAY_MS  # a day ends where its market is closed
        is_open = sessions is None or by_day or sessions.may_ask(when, self.window.price_count)
        return is_open or when == self.others_asked_at

    def closed_until(self, until: int) -> bool:
        """Whether the market is closed from the end of the last minute to ``until`` (UTC ms)."""
        sessions = self.sessions
        return sessions is not None and sessions.next_open(self._reached.known, until) >= until

    def opens(self, since: int, until: int) -> list[int]:
        """When sessions open in ``(since, until)`` (UTC ms); never where there are no closed hours."""
        if self.sessions is None:
            return []
        if self.step >= DAY_MS:
            days = WholeDays(self.sessions).session_days(since, until)
            return [day.open for day in days if since < day.open < until]
        return [start for start, _ in self.sessions.known_ranges(since, until) if start > since]

    def next_close(self, known: int) -> int:
        """When the first bar closes that opens from ``known`` on, the end of the last one (UTC ms)."""
        if self.sessions is not None:
            known = self.sessions.next_open(known, known + LONGEST_CLOSE_MS)
        return bar_close(slot_of(known, self.step, self.grid), self.step, self.grid)

    def close_of(self, opened: int) -> int:
        """When a bar closes that opened at a moment (UTC ms): the last one of a session with that."""
        return bar_close(opened, self.step, self.grid)

    def bar_before(self, closed: int) -> int:
        """When the bar opened that closes at a moment, UTC ms."""
        return bar_before(closed, self.step, self.grid)

    def closed_by(self, candles: Candles, when: int) -> int:
        """How many of some bars, in order, have closed at a moment (UTC ms)."""
        return int(closes_of(candles.timestamp, self.step, self.grid).searchsorted(when, side="right"))

    def is_due(self, when: int, asked: int | None, interval: str) -> bool:
        """Whether a moment lies in a later slot of an interval than the last one asked at (UTC ms)."""
        if asked is None:
            return True
        length = interval_ms(interval)
        return when >= (slot_after(asked, length) if self.grid is None else self.grid.after(asked, length))

    def opens_before(self, due: int) -> bool:
        """Whether a minute comes that closes before or at ``due`` (UTC ms); always where there are no closed hours."""
        sessions = self.sessions
        return sessions is None or sessions.next_open(self._reached.known, due) < due
