"""The walk over the minutes of a backtest: which minute can change something, and when a strategy can be asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.execution import Minute
from ..domain.interval import MINUTE_MS, ceil_to
from ..domain.lifecycle import DataEnd, Flat, Halt, Holding, SkippedMinutes, Waiting
from ..domain.milestones import LEVEL_STEP
from ..kernels.first_touch import first_outside
from ..market.window import Series
from .strategy_loop import StrategyLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.sessions import Sessions


_NEVER: Final = math.inf


_EARLY: Final = (
    1e-9  # relative; milestones are looked for slightly early: the lifecycle decides, the scan must not be late
)


def next_question(start: int, step_ms: int, *, after: int, asked: int, slot_ms: int) -> int:
    """The first moment of the frame that is later than ``after`` and in a later slot than ``asked``.

    Moments are ``start + k * step_ms``; a slot is ``floor(moment / slot_ms)``. All in UTC ms.

    Examples
    --------
    >>> next_question(120_000, 60_000, after=120_000, asked=120_000, slot_ms=300_000)
    300000
    """
    earliest = (asked // slot_ms + 1) * slot_ms
    if earliest <= after:
        earliest = after + 1
    return start + ceil_to(earliest - start, step_ms) if earliest > start else start


def ready_minutes(times: NDArray[np.int64], sessions: Sessions, count: int) -> NDArray[np.bool_]:
    """Minutes (UTC ms) at which, with sessions declared, a strategy can be asked: an average price exists.

    An average price of the session before does not count: the window must lie in the open session.
    """
    ready: NDArray[np.bool_] = sessions.open_minutes(times - count * MINUTE_MS, count * MINUTE_MS) == count
    return ready


class MinuteWalk:
    """The minutes of a run as arrays, and the walk over them while something is open or scheduled."""

    def __init__(
        self,
        series: Series,
        price: NDArray[np.float64],
        loop: StrategyLoop,
        *,
        every_minute: bool,
        sessions: Sessions | None = None,
    ) -> None:
        candles = series.candles
        self._series = series
        self._times = candles.timestamp
        self._high, self._low, self._price = candles.high, candles.low, price
        self._prices = candles.block[1:5]
        self.count = len(candles)
        self._loop = loop
        self._every_minute = every_minute or loop.rules.quiet
        self._next_index: int | None = None
        self._average = loop.rules.model.watches == "average"
        self.ready: NDArray[np.bool_] | None = None
        if sessions is not None:
            self.ready = ready_minutes(self._times, sessions, loop.rules.settings.avg_price_candles_count)

    def asks_at(self, when: int) -> bool:
        """Whether, with sessions declared, a strategy can be asked at a moment."""
        index = self.index_at(when)
        assert self.ready is not None  # asked only with sessions  # noqa: S101
        return index < self.count and self.time_of(index) == when and bool(self.ready[index])

    def next_question(self, when: int) -> int | None:
        """The next moment after ``when`` at which a strategy can be asked; ``None``: there is none."""
        index = self.index_at(when + 1)
        assert self.ready is not None  # asked only with sessions  # noqa: S101
        later = self.ready[index:]
        at = int(later.argmax()) if len(later) else 0
        return self.time_of(index + at) if len(later) and later[at] else None

    def time_of(self, index: int) -> int:
        """Open time of a minute."""
        return int(self._times[index])

    def index_at(self, when: int) -> int:
        """Index of the first minute that opens at or after ``when``; the count when there is none."""
        if self._series.regular:
            at = -((self._series.start - when) // MINUTE_MS)
            return 0 if at < 0 else min(at, self.count)
        return int(np.searchsorted(self._times, when))

    def minute(self, index: int) -> Minute:
        """One minute for the lifecycle, in plain floats."""
        open_, high, low, close = self._prices[:, index].tolist()
        return Minute(int(self._times[index]), open_, high, low, close, float(self._price[index]))

    async def idle_until(self, index: int) -> None:
        """Feed the quiet minutes before ``index`` to the lifecycle when their results are wanted."""
        if self._loop.rules.quiet and self._next_index is not None:
            for i in range(self._next_index, index):
                await self._loop.take(self.minute(i))
        self._next_index = index

    async def until_flat(self, index: int, *, leave: Callable[[], bool], stopping: Callable[[], bool]) -> int:
        """Feed minutes from ``index`` on until nothing is open or scheduled; returns the last of them (UTC ms)."""
        loop = self._loop
        jumps = 0
        while not isinstance(loop.state, Flat):
            jumps += 1
            if jumps % 64 == 0:
                await asyncio.sleep(0)  # lets a stop request and the listeners' loop in
            if leave():
                break
            if stopping() and isinstance(loop.state, Waiting):
                await loop.take(Halt(self.time_of(min(index, self.count - 1)), self._last_price(index)))
                break
            target = index if self._every_minute else self._next(index)
            if target > index and isinstance(loop.state, Holding):
                await loop.take(self._skipped(index, target))
            if target >= self.count:
                last = self.count - 1
                await loop.take(DataEnd(self.time_of(last), float(self._price[last])))
                index = self.count
                break
            await loop.take(self.minute(target))
            index = target + 1
        self._next_index = index
        return self.time_of(max(index - 1, 0))

    def _last_price(self, index: int) -> float:
        return float(self._price[max(index - 1, 0)])

    def _skipped(self, start: int, stop: int) -> SkippedMinutes:
        if self._average:
            part = self._price[start:stop]
            return SkippedMinutes(float(part.max()), float(part.min()))
        return SkippedMinutes(float(self._high[start:stop].max()), float(self._low[start:stop].min()))

    def _next(self, index: int) -> int:
        """The next minute at which the state can change; never later than the first such minute."""
        state, rules = self._loop.state, self._loop.rules
        assert rules.frame_last is not None  # a backtest always has a frame  # noqa: S101
        if isinstance(state, Waiting):
            waiting = state.signal
            deadline = waiting.scheduled_at + rules.settings.schedule_await_minutes * MINUTE_MS
            long = waiting.position == "long"
            # The stop lies beyond the entry, so the entry is reached first or in the same minute.
            above, below = (_NEVER, waiting.price_open) if long else (waiting.price_open, -_NEVER)
            bounds = (above, below, _NEVER, -_NEVER)
        else:
            assert isinstance(state, Holding)  # nothing else waits for minutes  # noqa: S101
            deadline = state.signal.pending_at + state.signal.minute_estimated_time * MINUTE_MS
            bounds = self._bounds(state)
        stop = min(self.index_at(deadline), self.index_at(rules.frame_last + 1))
        above, below, price_above, price_below = bounds
        return first_outside(
            self._high,
            self._low,
            self._price,
            index,
            max(stop, index),
            above=above,
            below=below,
            price_above=price_above,
            price_below=price_below,
        )

    def _bounds(self, state: Holding) -> tuple[float, float, float, float]:
        """Prices at which an open position can change: high, low, average above, average below."""
        signal = state.signal
        entry, target, stop = signal.price_open, signal.price_take_profit, signal.price_stop_loss
        profit = entry + (target - entry) * min(state.profit_level + LEVEL_STEP - _EARLY, 100) / 100
        loss = entry + (stop - entry) * min(state.loss_level + LEVEL_STEP - _EARLY, 100) / 100
        if state.profit_level >= 100:
            profit = math.copysign(_NEVER, target - entry)
        if state.loss_level >= 100:
            loss = math.copysign(_NEVER, stop - entry)
        upper, lower = (profit, loss) if target > entry else (loss, profit)
        top, bottom = max(target, stop), min(target, stop)
        if self._average:
            return _NEVER, -_NEVER, min(upper, top), max(lower, bottom)
        return top, bottom, upper, lower
