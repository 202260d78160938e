"""The walk over the minutes of a backtest: which minute can change something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..domain.close_orders import close_due
from ..domain.entry_timeout import timeout_of
from ..domain.exit_steps import deadline_of
from ..domain.fill_prices import ExecutionModel, Minute
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import DataEnd, Flat, Halt, Holding, Managed, Opening, SkippedMinutes, State, Waiting
from ..domain.position_book import PositionBook, book_timeout
from ..domain.signal import OpenSignal
from ..kernels.first_change import first_outside, first_trailed
from ..market.candles import Candles
from ..market.series import Series
from .price_bounds import NEVER, Bounds, entry_bounds, exit_bounds, managed_bounds, trail_slack
from .strategy_loop import StrategyLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .leg_liquidation import LegLiquidation
    from .portfolio_clock import LegTurn
    from .questions import AskedAt


_most, _least = np.maximum.reduce, np.minimum.reduce


def _leaves_from(state: Holding | None) -> int | None:
    """From when on (UTC ms) a position that leaves, or a part of it that was ordered before, may fill."""
    if state is None or state.leaving is None:
        return None
    parts = () if state.book is None else [order for order in state.book.orders if order.kind == "reduce"]
    return min([state.leaving.not_before, *(part.not_before for part in parts)])


def _rests(state: State) -> bool:
    """Whether an entry order waits, for its price or for the close of a session."""
    return isinstance(state, Waiting) or (isinstance(state, Opening) and state.close_at is not None)


def look_back_begin(candles: Candles, start: int, count: int, step: int = MINUTE_MS) -> int:
    """Index of the first of the ``count`` candles that have closed at ``start`` (UTC ms), with which a run begins.

    ``step`` is how long each is, ms.
    """
    return max(0, int(np.searchsorted(candles.timestamp, start - step, side="right")) - count)


def minutes_that_fill(candles: Candles, model: ExecutionModel, *, begin: int = 0) -> NDArray[np.bool_]:
    """Which candles can fill an order, shape (n,): those with volume, where the model needs it.

    A source that has not reported any volume so far may not report volumes at all: its candles count. ``begin`` is the
    first candle that the run has seen.

    Examples
    --------
    >>> from bknb.domain.fill_prices import execution_model
    >>> rows = [(60_000 * i, 1.0, 1.0, 1.0, 1.0, volume) for i, volume in enumerate((0.0, 2.0, 0.0))]
    >>> minutes_that_fill(Candles.from_rows(rows), execution_model("pessimistic"))
    array([ True,  True, False])
    """
    if not model.needs_volume:
        return np.ones(len(candles), dtype=np.bool_)
    traded: NDArray[np.bool_] = candles.volume > 0
    if traded.all():
        return traded
    seen = traded.copy()
    seen[:begin] = False
    filling: NDArray[np.bool_] = traded | ~np.logical_or.accumulate(seen)
    return filling


class MinuteWalk:
    """The minutes of a run as arrays, and the walk over them while something is open or scheduled.

    ``leave``: whether the run is left at once; ``stopping``: whether it opens nothing new. ``managing`` are the moments
    at which a strategy that manages its positions can be asked about them. ``turn``: in a portfolio, the turns of this
    leg, which it waits for before anything changes. ``liquidation``: that of an account, where it changes while
    something is held. ``fills`` of it say which minutes can fill an order.
    """

    def __init__(
        self,
        series: Series,
        price: NDArray[np.float64],
        loop: StrategyLoop,
        *,
        start: int,
        every_minute: bool,
        leave: Callable[[], bool],
        stopping: Callable[[], bool],
        managing: AskedAt | None = None,
        turn: LegTurn | None = None,
        liquidation: LegLiquidation | None = None,
    ) -> None:
        candles, model = series.candles, loop.rules.model
        self._series, self._start, self._step, self._regular = series, series.start, series.step, series.regular
        self._times = candles.timestamp
        self._ends = None if series.grid is None else series.closes  # where bars may be shorter than others
        self._price = price = self._known_prices(series, price, loop)
        self._prices = candles.block[1:5]
        begin = look_back_begin(candles, start, loop.window.price_count, series.step)
        self.fills = minutes_that_fill(candles, model, begin=begin)
        self._all_fill = bool(self.fills.all())
        self._high, self._low, self._scanned = candles.high, candles.low, price
        if self._all_fill:
            self.fills = np.broadcast_to(np.True_, self.fills.shape)  # takes no memory
        else:  # a candle that fills nothing reaches no level
            kept = loop.window.kept
            self._high = kept(np.where(self.fills, self._high, -NEVER))
            self._low = kept(np.where(self.fills, self._low, NEVER))
            self._scanned = kept(np.where(self.fills, price, np.nan))
        self.count = len(candles)
        self._loop = loop
        self._every_minute = every_minute or loop.rules.quiet
        self._next_index: int | None = None
        self._average = model.watches == "average"
        self._managing, self._turn = managing, turn
        self._leave, self._stopping, self._liquidation = leave, stopping, liquidation
        self._event: tuple[OpenSignal | None, int, int, int] = (None, 0, 0, 0)  # what _next_event found last

    @property
    def watched_averages(self) -> NDArray[np.float64] | None:
        """The average prices of its minutes, shape (n,), where those are watched; ``None``: ranges are."""
        return self._price if self._average else None

    def follow(self) -> None:
        """Let go of the candles of a series that was made anew, with earlier ones, because a strategy asked for them.

        The same minutes are in it; where they are not the last ones, what was given stays.
        """
        series = self._loop.window.minutes(self._loop.rules.symbol)
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
            averages = series.average_prices(self._loop.window.price_count)
            self._price = self._scanned = self._known_prices(series, averages, self._loop)[first:]

    @staticmethod
    def _known_prices(series: Series, averages: NDArray[np.float64], loop: StrategyLoop) -> NDArray[np.float64]:
        """The average prices of minutes, shape (n,); of a leg that is opened without one its close."""
        return (
            averages
            if loop.strategy.portfolio_weights is None
            else np.where(np.isnan(averages), series.candles.close, averages)
        )

    def time_of(self, index: int) -> int:
        """Open time of a minute."""
        return self._start + index * self._step if self._regular else int(self._times[index])

    def index_at(self, when: int) -> int:
        """Index of the first minute that opens at or after ``when``; the count when there is none."""
        if self._regular:
            at = -((self._start - when) // self._step)
            return 0 if at < 0 else min(at, self.count)
        return int(np.searchsorted(self._times, when))

    def minute(self, index: int) -> Minute:
        """One minute for the lifecycle, in plain floats."""
        open_, high, low, close = self._prices[:, index].tolist()
        fills = self._all_fill or bool(self.fills[index])
        return Minute(int(self._times[index]), open_, high, low, close, float(self._price[index]), fills)

    async def up_to(self, when: int) -> bool:
        """Feed the minutes between two questions: those not fed yet that open before ``when`` (UTC ms).

        Returns whether a question may follow: the run was not stopped meanwhile. ``when`` is the next question, or the
        end of the frame and one millisecond. Call it where nothing is open, or what is open leaves: then only the
        minute that fills the closing order can change the state, and minutes before it are jumped over. Where the
        results of quiet minutes are wanted (``rules.quiet``) every minute is fed.
        """
        stop, turn = self.index_at(when), self._turn
        index, nothing_at = stop if self._next_index is None else self._next_index, 0
        while not self._leave() and (self._loop.rules.quiet or not isinstance(self._loop.state, Flat)):
            target = index
            if index < stop and not (self._every_minute or isinstance(self._loop.state, Flat)):
                target = self._next(index, stop)
            due = self._close_due(self.time_of(target) if target < stop else when, nothing_at)
            if due is None and target >= stop:
                break
            if turn is not None and not await self._has_turn(turn, target, due, None):
                continue
            index = target
            if due is not None:
                nothing_at = await self._end_close(due)
            else:
                await self._loop.take(self.minute(index))
                index += 1
        self._next_index = max(index, stop)
        return not self._stopping()

    def _close_due(self, moment: int, nothing_at: int) -> int | None:
        """The close (UTC ms), up to ``moment``, at which what leaves is to be out; ``None``: there is none.

        At ``nothing_at`` (UTC ms) there was nothing to end.
        """
        last, due = self._loop.rules.frame_last, close_due(self._loop.state, self._loop.rules)
        return None if due > moment or due == nothing_at or (last is not None and due > last) else due

    async def _end_close(self, due: int) -> int:
        """End what is to be out at a close (UTC ms); returns that moment where there was nothing, else 0."""
        before = self._loop.state
        await self._end_due(due, self.index_at(due))
        return due if self._loop.state is before else 0

    async def _has_turn(self, turn: LegTurn, index: int, ends: int | None, manages: int | None) -> bool:
        """Wait for the turn to work on the minute ``index``, or on a moment (UTC ms) before it, and return whether."""
        if ends is not None:
            return await turn.ends(ends)
        if manages is not None:
            return await turn.manage(manages)
        if index >= self.count:
            return await turn.data_end(self._closes_at(self.count - 1))
        return await turn.bar(self.time_of(index), self._closes_at(index))

    def _closes_at(self, index: int) -> int:
        """Moment (UTC ms) at which a minute closes."""
        return int(self._times[index]) + self._step if self._ends is None else int(self._ends[index])

    async def until_free(self, index: int) -> int:
        """Feed minutes from ``index`` on until the strategy may be asked again.

        Returns the moment (UTC ms) after which it may: the open of the minute that ended everything, or the
        millisecond before the moment at which the clock did.
        """
        self.follow()
        loop, managing, turn = self._loop, self._managing, self._turn
        after = self.time_of(max(index - 1, 0))
        watched: OpenSignal | None = None  # the plain position whose end by the clock is known: it stays the same
        due = stop = jumps = 0
        while not loop.is_free:
            jumps += 1
            if jumps % 64 == 0:
                await asyncio.sleep(0)  # lets a stop request and the listeners' loop in
            if self._leave():
                break
            state = loop.state
            held = state if isinstance(state, Holding) else None
            if held is None and self._takes_back(state, index):
                await self._take_back(index)
                break
            plain = held.signal if held is not None and held.book is None else None
            if plain is None or plain is not watched or self._liquidation is not None:
                watched, due = plain, self._due()
                stop = self._stop(due)
            manage_at = None if managing is None else self._manage_at(managing, index)
            until = stop if manage_at is None else min(stop, self.index_at(manage_at))
            if self._every_minute:
                target = index
            elif managing is not None and held is not None and plain is not None:
                target = min(self._next_event(held, index, stop), max(until, index))
            else:
                target = self._next(index, until)
            ends_at, manages_at = self._first_of(due, manage_at, target)
            if turn is not None and not await self._has_turn(turn, target, ends_at, manages_at):
                continue
            self._pass(held, index, target)
            index = target
            if ends_at is not None:
                await self._end_due(due, index)
                after = due - 1
                continue
            if manages_at is not None:
                await self._manage(manages_at, self._close_before(index))
                after = manages_at - 1 if loop.rules.model.fills_at_open else manages_at
                continue
            if index >= self.count:
                await self.end_of_data()
                after = self.time_of(self.count - 1)
                break
            after = self.time_of(index)
            await loop.take(self.minute(index))
            index += 1
        self._next_index = index
        return after

    async def _manage(self, when: int, close: float) -> None:
        """Ask about what is held at a moment (UTC ms); again, once what legs share was made smaller."""
        loop, turn = self._loop, self._turn
        await loop.manage(when, close)
        if loop.strategy.portfolio_weights is None or turn is None or loop.known_at is None:
            return
        is_given = False
        while not (is_given or self._stopping()):  # the legs may be told to look again
            is_given, _ = await turn.question(when, None)
        if is_given and loop.known_at is not None:
            loop.strategy.portfolio_weights.ask_again(loop.rules.symbol, when)
            await loop.manage(when, close)

    def _first_of(self, due: int, manage_at: int | None, index: int) -> tuple[int | None, int | None]:
        """What comes first: the clock ends something (UTC ms), or ``manage`` is asked (UTC ms); or the minute does."""
        moment = self.time_of(index) if index < self.count else self._closes_at(self.count - 1)
        if due <= moment and (manage_at is None or due <= manage_at):
            return due, None
        return None, None if manage_at is None or manage_at > moment else manage_at

    async def _end_due(self, due: int, index: int) -> None:
        """End what the clock ends at a moment (UTC ms) before the minute ``index``."""
        loop = self._loop
        weights = loop.strategy.portfolio_weights
        if weights is not None and weights.due(loop.rules.symbol, loop.state) <= due:
            answer = weights.together.answer(loop.rules.symbol, loop.state)
            price, close = self._price_before(index), self._close_before(index)
            decided_at = loop.decided_at(due, "exit")
            await loop.take(Managed((answer,), price, due, close, decided_at=decided_at, source="together"))
            return
        newest = None if close_due(loop.state, loop.rules) > due else self._newest_fill(index)
        await loop.end_due(due, self._price_before(index), newest)

    def _takes_back(self, state: State, index: int) -> bool:
        """Whether an entry that rests is taken back: a minute that fills it and has closed by now comes before."""
        if not _rests(state) or not self._stopping():
            return False
        now = 0 if self._turn is None else self._turn.now
        closed = self.index_at(now)
        if closed > index and self._closes_at(closed - 1) > now:
            closed -= 1
        return closed <= index or self._next(index, closed) >= closed

    async def _take_back(self, index: int) -> None:
        """Take back an entry that rests, before the minute ``index``, or where a portfolio has come to by now."""
        if self._turn is not None:
            index = max(index, self.index_at(self._turn.now))
        await self._loop.take(Halt(self.time_of(min(index, self.count - 1)), self._price_before(index)))

    async def until_flat(self) -> None:
        """Feed what is left of the minutes to a position that leaves."""
        index, nothing_at = self._next_index, 0
        while index is not None and isinstance(self._loop.state, Holding) and not self._leave():
            target = index if self._every_minute else self._next(index, self.count)
            moment = self.time_of(target) if target < self.count else self._closes_at(self.count - 1)
            due = self._close_due(moment, nothing_at)
            if self._turn is not None and not await self._has_turn(self._turn, target, due, None):
                continue
            if due is not None:
                nothing_at = await self._end_close(due)
            elif target >= self.count:
                await self.end_of_data()
            else:
                await self._loop.take(self.minute(target))
                self._next_index = index = target + 1

    async def end_of_data(self) -> None:
        """Tell the lifecycle that no further minute comes."""
        last = self.count - 1
        await self._loop.take(DataEnd(self.time_of(last), float(self._price[last]), float(self._prices[3, last])))

    def _price_before(self, index: int) -> float:
        return float(self._price[max(index - 1, 0)])

    def _newest_fill(self, index: int) -> Minute | None:
        """The newest minute before ``index`` that can fill an order."""
        while index > 0 and not self.fills[index - 1]:
            index -= 1
        return self.minute(index - 1) if index > 0 else None

    def _close_before(self, index: int) -> float:
        return float(self._prices[3, max(index - 1, 0)])

    def _manage_at(self, managing: AskedAt, index: int) -> int | None:
        """The next moment (UTC ms), not before the minute ``index``, at which the strategy manages what it has."""
        loop = self._loop
        if (known := loop.known_at) is None:
            return None
        closed = self._closes_at(index - 1) if index else self.time_of(index)  # where a hole begins, perhaps
        when = managing.next(after=closed - 1, asked=max(loop.last_managed, known - 1))
        rules = loop.rules
        if when is None or rules.frame_last is None:
            return when
        return when if when < rules.frame_last + (not rules.model.fills_at_open) else None

    def _pass(self, held: Holding | None, start: int, stop: int) -> None:
        """Tell a position the extremes of minutes that are passed over."""
        if stop > start and held is not None:
            high, low = (self._price, self._price) if self._average else (self._high, self._low)
            self._loop.skip(SkippedMinutes(float(_most(high[start:stop])), float(_least(low[start:stop]))))

    def _due(self) -> int:
        """The moment (UTC ms) at which the clock, the account or another leg that is held together changes something.

        Far in the future for none.
        """
        loop, due = self._loop, self._loop.due
        due = due if self._liquidation is None else min(due, self._liquidation.next_change())
        weights = loop.strategy.portfolio_weights
        return due if weights is None else min(due, weights.due(loop.rules.symbol, loop.state))

    def _stop(self, due: int) -> int:
        """Index before which the state can change only by a price."""
        stop = self._stop_by_clock(due)
        return stop if self._liquidation is None else min(stop, self.index_at(self._liquidation.bar_opens))

    def _stop_by_clock(self, due: int) -> int:
        state, rules = self._loop.state, self._loop.rules
        if rules.model.fills_at_open:
            return self.index_at(due)
        assert rules.frame_last is not None  # a backtest always has a frame  # noqa: S101
        if isinstance(state, Waiting):
            deadline = timeout_of(state.signal, rules)
        elif isinstance(state, Opening):
            return self.index_at(due)
        else:
            assert isinstance(state, Holding)  # nothing else waits for minutes  # noqa: S101
            deadline = min(deadline_of(state), due)
            if state.book is not None:
                deadline = min(deadline, book_timeout(state.book), close_due(state, rules))
        return min(self.index_at(deadline), self.index_at(rules.frame_last + 1))

    def _next(self, index: int, stop: int) -> int:
        """The next minute, at most ``stop``, at which the state can change; never later than the first such minute."""
        state = self._loop.state
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
        return self._first_outside(index, stop, entry_bounds(state.signal, average=self._average))

    def _next_event(self, state: Holding, index: int, stop: int) -> int:
        """``_next`` for a plain position that is managed: looked for once, not again at every question meanwhile."""
        signal, profit, loss, event = self._event
        if signal is not state.signal or (profit, loss) != (state.profit_level, state.loss_level) or event < index:
            event = self._next(index, stop)
            self._event = (state.signal, state.profit_level, state.loss_level, event)
        return event

    def _first_outside(self, index: int, stop: int, bounds: Bounds) -> int:
        return first_outside(self._high, self._low, self._scanned, index, stop, *bounds)

    def _next_managed(self, state: Holding, book: PositionBook, index: int, stop: int) -> int:
        """The next minute at which a managed position can change: by an order, a level, or its trailing stop."""
        tick = self._loop.rules.tick
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
