"""Which minutes of a run can change a state of the lifecycle: by a price, an order, or the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.entry_timeout import timeout_of
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.lifecycle import Holding, Opening, Rules, SkippedMinutes, State, Waiting
from ..domain.lifecycle_exits import deadline_of
from ..domain.market_on_close_orders import close_due
from ..domain.milestones_passed import milestones_of_minutes, with_levels_of
from ..domain.position_book import PositionBook, book_timeout
from ..domain.states import waiting_signals
from ..kernels.first_change import first_beyond, first_outside, first_trailed
from ..kernels.milestone_minutes import milestone_minutes
from ..market.candles_of_one_symbol import Series
from ..market.window import Window
from .filling_minutes import look_back_begin, minutes_that_fill
from .prices_that_change_a_state import (
    NEVER,
    Bounds,
    end_bounds,
    entries_bounds,
    exit_bounds,
    managed_bounds,
    trail_slack,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..domain.signal import OpenSignal
    from ..domain.signal_events import Milestone


_most, _least = np.maximum.reduce, np.minimum.reduce


def _leaves_from(state: Holding | None) -> int | None:
    """From when on (UTC ms) a position that leaves, or a part of it that was ordered before, may fill."""
    if state is None or state.leaving is None:
        return None
    parts = () if state.book is None else [order for order in state.book.orders if order.kind == "reduce"]
    return min([state.leaving.not_before, *(part.not_before for part in parts)])


class NextChange:
    """The minutes of a run as arrays, and the next of them at which a state can change.

    Parameters
    ----------
    series, price
        The candles of the run, and the average price of each, shape (n,).
    window, rules
        Where the candles come from, and the parameters of the run.
    start
        First moment (UTC ms) of which the run sees candles.
    closes_stand_in
        Whether the close stands in for an average price that is missing.

    Attributes
    ----------
    count
        How many minutes there are.
    fills
        Which minutes can fill an order, shape (n,).
    is_regular
        Whether minutes follow each other without a hole.
    """

    def __init__(
        self,
        series: Series,
        price: NDArray[np.float64],
        window: Window,
        rules: Rules,
        *,
        start: int,
        closes_stand_in: bool = False,
    ) -> None:
        candles = series.candles
        self._series, self._start, self._step, self._regular = series, series.start, series.step, series.regular
        self.is_regular = series.regular
        self._times = candles.timestamp
        self._ends = None if series.grid is None else series.closes  # where bars may be shorter than others
        self._closes_stand_in = closes_stand_in
        self._price = price = self._known_prices(series, price)
        self._prices = candles.block[1:5]
        begin = look_back_begin(candles, start, window.price_count, series.step)
        self.fills = minutes_that_fill(candles, rules.model, begin=begin)
        self._all_fill = bool(self.fills.all())
        self._high, self._low, self._scanned = candles.high, candles.low, price
        if self._all_fill:
            self.fills = np.broadcast_to(np.True_, self.fills.shape)  # takes no memory
        else:  # a candle that fills nothing reaches no level
            kept = window.kept
            self._high = kept(np.where(self.fills, self._high, -NEVER))
            self._low = kept(np.where(self.fills, self._low, NEVER))
            self._scanned = kept(np.where(self.fills, price, np.nan))
        self.count = len(candles)
        self._window, self._rules = window, rules
        self._average = rules.model.watches == "average"

    def follow(self) -> None:
        """Let go of the candles of a series that was made anew, with earlier ones, because a strategy asked for them.

        The same minutes are in it; where they are not the last ones, what was given stays.
        """
        series = self._window.minutes(self._rules.symbol)
        if series is self._series:
            return
        candles = series.candles
        first = len(candles) - self.count
        if first < 0 or not self.count or candles.timestamp[first] != self._times[0]:
            return
        self._series, self._times, self._prices = series, candles.timestamp[first:], candles.block[1:5, first:]
        self._ends = None if series.grid is None else series.closes[first:]
        if self._all_fill:
            self._high, self._low = candles.high[first:], candles.low[first:]
            averages = series.average_prices(self._window.price_count)
            self._price = self._scanned = self._known_prices(series, averages)[first:]

    def _known_prices(self, series: Series, averages: NDArray[np.float64]) -> NDArray[np.float64]:
        """The average prices of minutes, shape (n,), or their closes where one is missing and those stand in."""
        if not self._closes_stand_in:
            return averages
        return np.where(np.isnan(averages), series.candles.close, averages)

    # --- the minutes ------------------------------------------------------------------------------------------------

    @property
    def watched_averages(self) -> NDArray[np.float64] | None:
        """The average prices of its minutes, shape (n,), where those are watched; ``None``: ranges are."""
        return self._price if self._average else None

    def time_of(self, index: int) -> int:
        """Open time of a minute."""
        return self._start + index * self._step if self._regular else int(self._times[index])

    def index_at(self, when: int) -> int:
        """Index of the first minute that opens at or after ``when``; the count when there is none."""
        if self._regular:
            at = -((self._start - when) // self._step)
            return 0 if at < 0 else min(at, self.count)
        return int(np.searchsorted(self._times, when))

    def closes_at(self, index: int) -> int:
        """Moment (UTC ms) at which a minute closes."""
        return int(self._times[index]) + self._step if self._ends is None else int(self._ends[index])

    def minute(self, index: int) -> Minute:
        """One minute for the lifecycle, in plain floats."""
        open_, high, low, close = self._prices[:, index].tolist()
        fills = self._all_fill or bool(self.fills[index])
        return Minute(int(self._times[index]), open_, high, low, close, float(self._price[index]), fills)

    def price_before(self, index: int) -> float:
        """The average price (quote currency) before the minute ``index``."""
        return float(self._price[max(index - 1, 0)])

    def close_before(self, index: int) -> float:
        """The last close (quote currency) before the minute ``index``."""
        return float(self._prices[3, max(index - 1, 0)])

    def newest_fill(self, index: int) -> Minute | None:
        """The newest minute before ``index`` that can fill an order."""
        while index > 0 and not self.fills[index - 1]:
            index -= 1
        return self.minute(index - 1) if index > 0 else None

    def extremes(self, start: int, stop: int) -> SkippedMinutes:
        """The extremes of the minutes from ``start`` up to ``stop`` that a position sees; there is at least one."""
        return SkippedMinutes(*self._extremes(start, stop))

    def _extremes(self, start: int, stop: int) -> tuple[float, float]:
        high, low = (self._price, self._price) if self._average else (self._high, self._low)
        return float(_most(high[start:stop])), float(_least(low[start:stop]))

    def survived(self, state: Holding, start: int, stop: int) -> SkippedMinutes:
        """The extremes and milestones of the minutes from ``start`` up to ``stop`` that a plain position survives."""
        passed = minutes_of_milestones(state, self._scanned, start, stop)
        milestones = tuple([(self.time_of(index), float(self._price[index])) for index in passed])
        return SkippedMinutes(*self._extremes(start, stop), milestones)

    def milestones_later(self, state: Holding, start: int, stop: int, where: Mapping[str, Any]) -> MilestonesLater:
        """What makes the milestones of :meth:`survived` when they are looked at, where all minutes fill.

        ``where`` are the fields that every event of the run has.
        """
        return MilestonesLater(state, self._window, self.time_of(start), stop - start, where)

    def with_levels(self, state: Holding, start: int, stop: int) -> Holding:
        """A plain position with what it passes from ``start`` up to ``stop`` among the milestones it has passed."""
        part = self._scanned[start:stop]
        return with_levels_of(state, float(np.fmax.reduce(part)), float(np.fmin.reduce(part)))

    @property
    def all_fill(self) -> bool:
        """Whether every minute can fill an order, and has an average price."""
        return self._all_fill

    # --- the next change of a state ---------------------------------------------------------------------------------

    def stop_by_clock(self, state: State, due: int) -> int:
        """Index before which a state can change only by a price; at ``due`` (UTC ms) the clock changes it."""
        rules = self._rules
        if rules.model.fills_at_open:
            return self.index_at(due)
        assert rules.frame_last is not None  # a backtest always has a frame  # noqa: S101
        if isinstance(state, Waiting):
            deadline = min(timeout_of(signal, rules) for signal in waiting_signals(state))
        elif isinstance(state, Opening):
            return self.index_at(due)
        else:
            assert isinstance(state, Holding)  # nothing else waits for minutes  # noqa: S101
            deadline = min(deadline_of(state), due)
            if state.book is not None:
                deadline = min(deadline, book_timeout(state.book), close_due(state, rules))
        return min(self.index_at(deadline), self.index_at(rules.frame_last + 1))

    def next(self, state: State, index: int, stop: int) -> int:
        """The next minute from ``index`` on, at most ``stop``, at which a state can change.

        It is never later than the first such minute.
        """
        stop = max(stop, index)
        if isinstance(state, Holding):
            if state.leaving is not None and (leaves := _leaves_from(state)) is not None:
                return self._next_fill(index, stop, leaves)
            if state.book is not None:
                return self._next_managed(state, state.book, index, stop)
            return self._first_outside(index, stop, exit_bounds(state, average=self._average))
        if isinstance(state, Opening):
            leaves = _leaves_from(state.ending)
            if leaves is None and state.close_at is not None:
                return stop
            return self._next_fill(index, stop, state.not_before if leaves is None else leaves)
        assert isinstance(state, Waiting)  # nothing else waits for minutes  # noqa: S101
        return self._first_outside(index, stop, entries_bounds(waiting_signals(state), average=self._average))

    def next_end(self, state: Holding, index: int, stop: int) -> int:
        """The next minute from ``index`` on, at most ``stop``, in which a price can end a plain position."""
        return self._first_outside(index, stop, end_bounds(state.signal, average=self._average))

    def first_end(self, signal: OpenSignal, index: int, stop: int) -> tuple[int, float, float]:
        """The same, with the highest and lowest price of the minutes before it, where ranges are watched."""
        above, below, _, _ = end_bounds(signal, average=False)
        return first_beyond(self._high, self._low, index, stop, above, below)

    def _first_outside(self, index: int, stop: int, bounds: Bounds) -> int:
        return first_outside(self._high, self._low, self._scanned, index, stop, *bounds)

    def _next_managed(self, state: Holding, book: PositionBook, index: int, stop: int) -> int:
        """The next minute at which a managed position can change: by an order, a level, or its trailing stop."""
        tick = self._rules.tick
        waits = [order.not_before for order in book.orders if not order.rests]
        if waits:
            stop = self._next_fill(index, stop, min(waits))
        stop = self._first_outside(index, stop, managed_bounds(state, book, average=self._average, tick=tick))
        if book.trailing is None or not book.trails:
            return stop
        long = state.signal.position == "long"
        high, low = (self._scanned, self._scanned) if self._average else (self._high, self._low)
        return first_trailed(
            high,
            low,
            index,
            stop,
            best=state.highest if long else state.lowest,
            long=long,
            percent=book.trailing.percent or 0.0,
            distance=(book.trailing.distance or 0.0) - trail_slack(state.signal.price_open, tick),
        )

    def _next_fill(self, index: int, stop: int, not_before: int) -> int:
        index = min(max(index, self.index_at(not_before)), stop)
        while index < stop and not self.fills[index]:
            index += 1
        return index


class MilestonesLater:
    """What milestones are made of that a plain position passes in minutes which it survives, and all of which fill.

    Parameters
    ----------
    held
        The position before those minutes.
    window
        The candles of the run, which it holds until the milestones are made.
    first, count
        When the first of the minutes opens (UTC ms), and how many there are.
    where
        The fields that every event of the run has.
    """

    __slots__ = ("_made", "_of")

    def __init__(self, held: Holding, window: Window, first: int, count: int, where: Mapping[str, Any]) -> None:
        self._of: tuple[Holding, Window, int, int, Mapping[str, Any]] | None = (held, window, first, count, where)
        self._made: tuple[Milestone, ...] = ()

    def made(self) -> tuple[Milestone, ...]:
        """The milestones, in order."""
        if (of := self._of) is not None:
            held, window, first, count, where = of
            series = window.minutes(held.signal.symbol)
            start = int(series.candles.timestamp.searchsorted(first))  # earlier ones may have come since
            prices = series.average_prices(window.price_count)[start : start + count]
            minutes = [
                (first + at * series.step, float(prices[at])) for at in minutes_of_milestones(held, prices, 0, count)
            ]
            self._made, _ = milestones_of_minutes(held, minutes, where)
            self._of = None
        return self._made


def minutes_of_milestones(held: Holding, price: NDArray[np.float64], start: int, stop: int) -> list[int]:
    """The minutes from ``start`` up to ``stop`` in which a plain position passes milestones.

    ``price`` are average prices, shape (n,), NaN in minutes that fill nothing.
    """
    signal = held.signal
    levels = signal.price_take_profit, signal.price_stop_loss
    (upper, up), (lower, down) = zip(levels, (held.profit_level, held.loss_level), strict=True)
    if signal.position == "short":
        upper, up, lower, down = lower, down, upper, up
    assert upper is not None  # of a plain position  # noqa: S101
    assert lower is not None  # noqa: S101
    return milestone_minutes(price, start, stop, entry=signal.price_open, upper=upper, lower=lower, up=up, down=down)
