"""Prices of a leg for its account: the last close at a moment, the open of a bar, and when a bar closes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS
from ..domain.market_clock_protocol import NEVER
from ..market.bar_slots import bar_close, open_slots, slot_from, slot_of
from ..market.candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..domain.ranges import Ranges
    from ..market.candles_of_one_symbol import Series
    from ..market.sessions import Sessions


class BarAtWorst(NamedTuple):
    """A bar that can fill orders: its open time (UTC ms), its open, and the prices that are its first and its extremes.

    Where the average price is watched, the first is that of the bar before, and both extremes are its own.
    """

    opened: int
    open: float
    first: float
    low: float
    high: float


class BarsBetween(NamedTuple):
    """Bars of a span of time: when they closed (UTC ms), their extremes and closes, each of shape (n,).

    ``before`` is the last close before them.
    """

    closes: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    close: NDArray[np.float64]
    before: float

    def worst_at(self, times: NDArray[np.int64], *, long: bool) -> NDArray[np.float64]:
        """The worst price of the bars that close at these moments, and else the last close; shape of ``times``."""
        if not len(self.closes):
            return np.full(len(times), self.before)
        at = np.searchsorted(self.closes, times, side="right") - 1
        last = np.maximum(at, 0)
        worst = np.where(self.closes[last] == times, (self.low if long else self.high)[last], self.close[last])
        return np.where(at < 0, self.before, worst)


class BarPrices:
    """Prices of the base bars of a leg, in quote currency.

    Parameters
    ----------
    bars
        Its base bars.
    sessions
        When its market is open; ``None``: always.

    Attributes
    ----------
    can_fill
        Which of them can fill orders, shape (n,).
    averages
        Their average prices, shape (n,), where the run watches those and not their ranges.
    step
        Their length, ms.
    earlier
        The last close that was known before all of them, where something is known of that.
    """

    def __init__(self, bars: Series, sessions: Sessions | None = None) -> None:
        self._bars, self.step, self._sessions = bars, bars.step, sessions
        self.can_fill: NDArray[np.bool_] = np.ones(len(bars.candles), dtype=np.bool_)
        self.averages: NDArray[np.float64] | None = None
        self.earlier: float | None = None

    def follow(self, bars: Series, can_fill: NDArray[np.bool_]) -> None:
        """Take the bars that have come, and which of them can fill orders."""
        self._bars, self.can_fill = bars, can_fill

    def let_go(self) -> None:
        """Hold no bars any more: nothing is asked about prices from now on."""
        bars = self._bars.with_candles(Candles.empty(), since=self._bars.since, until=self._bars.since)
        self.follow(bars, np.zeros(0, dtype=np.bool_))
        self.averages = None

    def at(self, when: int) -> float:
        """The last close at a moment (UTC ms); before the first candle the one from before, or its open.

        NaN where no candle has come.
        """
        known, candles = self._bars.available(when), self._bars.candles
        if known > 0:
            return float(candles.close[known - 1])
        if self.earlier is not None:
            return self.earlier
        return float(candles.open[0]) if len(candles) else math.nan

    def last_close(self, when: int) -> float | None:
        """The last close at a moment (UTC ms); ``None``: no bar has closed."""
        return self.at(when) if self._bars.available(when) > 0 else None

    def has_begun(self, when: int) -> bool:
        """Whether a bar has closed by a moment (UTC ms)."""
        return self.earlier is not None or self._bars.available(when) > 0

    def traded_until(self, when: int) -> int | None:
        """When the newest bar at a moment closed (both UTC ms); ``None``: there is none, or it can fill no orders."""
        known = self._bars.available(when)
        return self._bars.close_at(known - 1) if known > 0 and self.can_fill[known - 1] else None

    def trades_at(self, when: int) -> bool:
        """Whether the symbol trades at a moment (UTC ms): a bar that can fill orders has closed then.

        At the open of a session it is the last bar of the session before.
        """
        closed = self.traded_until(when)
        if closed is None or closed == when or self._sessions is None or self.step >= DAY_MS:
            return closed == when
        return self._sessions.is_open(when) and not self._open_slots(closed, when)

    def expects_bar(self, opened: int) -> bool:
        """Whether a bar that opens at a moment by the clock (UTC ms) is expected to fill orders.

        The market is open in it, and the bar before it could fill some.
        """
        closed = self.traded_until(opened)
        if closed is None or self._sessions is None:
            return closed == opened
        return bool(self._open_slots(opened, self.slot_end(opened))) and not self._open_slots(closed, opened)

    def _open_slots(self, since: int, until: int) -> Ranges:
        return open_slots([(since, until)], self.step, self._sessions, self._bars.grid) if since < until else ()

    def _index(self, opened: int) -> int:
        return int(self._bars.candles.timestamp.searchsorted(opened))

    def bar_of(self, when: int, now: int) -> tuple[int, float] | None:
        """Open time (UTC ms) and open of the bar that a moment lies in, once it has closed at another one (UTC ms).

        ``None``: there is none, or it can fill no orders.
        """
        index, candles = self._index(when + 1) - 1, self._bars.candles
        closes = self._bars.close_at(index) if index >= 0 else when
        if not when < closes <= now or not self.can_fill[index]:
            return None
        return int(candles.timestamp[index]), float(candles.open[index])

    def under_way(self, when: int, now: int) -> int | None:
        """When the bar opened that a moment lies in and that closes later than another one (all in UTC ms).

        It is known by the clock alone: whether there is such a bar is not. ``None``: it would have closed.
        """
        return slot_of(when, self.step, self._bars.grid) if self.slot_end(when) > now else None

    def slot_end(self, when: int) -> int:
        """When a bar closes that a moment lies in, by the clock (UTC ms)."""
        return bar_close(slot_of(when, self.step, self._bars.grid), self.step, self._bars.grid)

    def open_at(self, opened: int) -> float | None:
        """The open of the bar that opens at a moment (UTC ms) and can fill orders; ``None``: there is none."""
        index, candles = self._index(opened), self._bars.candles
        if index >= len(candles) or candles.timestamp[index] != opened or not self.can_fill[index]:
            return None
        return float(candles.open[index])

    def known_until(self, when: int) -> int:
        """Up to when everything in its bars is known at a moment (UTC ms): then, or the open of one that is under way.

        What opens by the clock counts, as whether there is such a bar is known at its close.
        """
        return slot_of(when, self.step, self._bars.grid)

    def closes_between(self, after: int, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Moments (UTC ms) behind one and up to another at which bars closed, and their closes; both of shape (n,)."""
        part = slice(self._bars.place_of_close(after), self._bars.place_of_close(until))
        return self._bars.closes_in(part), self._bars.candles.close[part]

    def bars_between(self, after: int, until: int) -> BarsBetween:
        """The bars that closed behind one moment and up to another (UTC ms)."""
        candles = self._bars.candles
        low, high = (candles.low, candles.high) if self.averages is None else (self.averages, self.averages)
        part = slice(self._bars.place_of_close(after), self._bars.place_of_close(until))
        return BarsBetween(self._bars.closes_in(part), low[part], high[part], candles.close[part], self.at(after))

    def next_close(self, after: int) -> int:
        """The first close later than a moment (UTC ms); far in the future for none."""
        at = self._bars.place_of_close(after)
        return self._bars.close_at(at) if at < len(self._bars.candles) else NEVER

    def bar_that_closes(self, when: int) -> BarAtWorst | None:
        """The bar that closes at a moment (UTC ms) and can fill orders; ``None``: there is none."""
        candles = self._bars.candles
        at = self._bars.place_of_close(when, side="left")
        if at == len(candles) or self._bars.close_at(at) != when or not self.can_fill[at]:
            return None
        opened, open_ = int(candles.timestamp[at]), float(candles.open[at])
        if self.averages is None:
            return BarAtWorst(opened, open_, open_, float(candles.low[at]), float(candles.high[at]))
        average = float(self.averages[at])
        return BarAtWorst(opened, open_, float(self.averages[max(at - 1, 0)]), average, average)

    def extremes(self, after: int, before: int) -> tuple[float, float] | None:
        """The lowest and highest price of bars that opened between two moments (UTC ms) and could fill orders."""
        times, candles = self._bars.candles.timestamp, self._bars.candles
        first, last = int(np.searchsorted(times, after, side="right")), int(np.searchsorted(times, before))
        fills = self.can_fill[first:last]
        if not fills.any():
            return None
        low, high = (candles.low, candles.high) if self.averages is None else (self.averages, self.averages)
        return float(low[first:last][fills].min()), float(high[first:last][fills].max())

    def told(self, when: int) -> int:
        """When what happened up to a moment is known (UTC ms): then, or at the close of the bar that it lies in."""
        return slot_from(when, self.step, self._bars.grid)

    def closes(self, at: int) -> int:
        """When what fills at a moment (UTC ms) is known: at the close of the bar it lies in, or a length later."""
        index = int(self._bars.candles.timestamp.searchsorted(at, side="right")) - 1
        closes = self._bars.close_at(index) if index >= 0 else at
        return closes if closes > at else at + self.step
