"""Positions with one target, one stop and a deadline of which nobody hears before they end: lived through at once.

What a minute does to them is decided where the lifecycle decides it; states between that nobody sees are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.checked_signal import checked_signal
from ..domain.fills_at_stops_and_gaps import Entry
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import Boundary, Flat, Holding, State, due
from ..domain.lifecycle_entries import entered
from ..domain.lifecycle_exits import holding_boundary, holding_minute, holding_skipped, seen_by
from ..domain.signal import ScheduledSignal, Signal
from ..domain.signal_events import Milestone
from ..domain.signal_validation import read_answer
from ..domain.states import labels
from ..domain.tick_grid import on_grid
from ..errors import NotEnoughData

if TYPE_CHECKING:
    from ..domain.signal_events import Event
    from .next_change import NextChange
    from .strategy_loop import StrategyLoop


def plain_positions(changes: NextChange, loop: StrategyLoop) -> PlainPositions | None:
    """What lives through plain positions of a loop, where orders fill at opens of minutes that are all there.

    ``None``: somebody else is asked about them, or an account is kept. Nobody looks at states between events.
    """
    rules = loop.rules
    serves = (
        changes.is_regular
        and rules.model.fills_at_open
        and rules.model.watches == "range"
        and rules.base_ms == MINUTE_MS
        and not (rules.asks or rules.quiet)
        and rules.weights is None
    )
    return PlainPositions(changes, loop) if serves else None


class PlainPositions:
    """Takes the answer of a strategy and lives through the position that comes of it, in the same steps as the walk.

    Parameters
    ----------
    changes, loop
        The minutes of a run, and the loop of a strategy of which nobody looks at states between events.
    """

    def __init__(self, changes: NextChange, loop: StrategyLoop) -> None:
        self._changes, self._loop = changes, loop
        self._where = labels(loop.rules)
        last = loop.rules.frame_last
        self._stop = changes.count if last is None else changes.index_at(last)  # of minutes that can fill an entry

    def live(self, when: int, answer: object) -> tuple[int, int] | None:
        """Order what a strategy answered at a moment (UTC ms) at which nothing was open, and live through it.

        Returns
        -------
        tuple of int, or None
            The moment (UTC ms) after which the strategy may be asked again, and the index of the next minute. ``None``:
            nothing was done, as the answer is no plain order at the market. The state of the loop says whether the
            position has come to its end.
        """
        changes, order = self._changes, self._ordered(when, answer)
        if order is None:
            return None
        index = changes.index_at(when)
        while index < self._stop and not (changes.all_fill or changes.fills[index]):
            index += 1
        if index >= self._stop:
            return None
        minute, rules = changes.minute(index), self._loop.rules
        state, events, _ = entered(order, minute, Entry(minute.open, at_open=True, rested=False), rules)
        self._became(state, events)
        if type(state) is not Holding or state.book is not None:
            return minute.t, index + 1
        return self._held(state, index + 1)

    def _ordered(self, when: int, answer: object) -> ScheduledSignal | None:
        """The order at the market, with two levels and a deadline, that an answer is; ``None``: it is another one."""
        loop, rules = self._loop, self._loop.rules
        state = loop.state
        if not isinstance(answer, Signal) or answer.price_open is not None or type(state) is not Flat:
            return None
        signal = read_answer(answer, negative=rules.negative)
        if not isinstance(signal, Signal) or loop.decided_at(when, "entry") is not None or not loop.may_open():
            return None
        try:
            price = loop.window.average_price(rules.symbol, when)
        except NotEnoughData:
            return None
        signal = on_grid(signal, rules.tick, negative=rules.negative)
        order = checked_signal(signal, when, price, rules, last_id=state.last_id)
        is_plain = type(order) is ScheduledSignal and order.entry == "market" and order.is_plain
        return order if is_plain else None  # type: ignore[return-value]  # it is one

    def _held(self, held: Holding, index: int) -> tuple[int, int]:
        """Live through an open position from a minute on; returns as :meth:`live`."""
        loop, changes, rules = self._loop, self._changes, self._loop.rules
        ends = due(held, rules)
        stop = max(changes.stop_by_clock(held, ends), index)
        while True:
            at, most, least = changes.first_end(held.signal, index, stop)
            if at >= changes.count:
                return changes.time_of(index - 1), index  # the walk knows what the end of the data does
            seen = seen_by(held, most, least)
            if at == stop:
                passed = self._passed(held, seen, index, at)
                boundary = Boundary(ends, changes.price_before(at), loop.decided_at(ends, "exit"))
                state, events, _ = holding_boundary(passed, boundary, rules)
                self._became(state, events)
                return ends - 1, at
            minute = changes.minute(at)
            state, events, _ = holding_minute(seen, minute, rules)
            if type(state) is Flat:
                self._tell_milestones(held, index, at)
                self._became(state, events)
                return minute.t, at + 1
            state, events, _ = holding_minute(self._passed(held, seen, index, at), minute, rules)
            self._became(state, events)
            assert isinstance(state, Holding)  # as above  # noqa: S101
            held, index = state, at + 1

    def _passed(self, held: Holding, seen: Holding, start: int, stop: int) -> Holding:
        """Tell the milestones of minutes that a position survives, and return the position after them."""
        if start == stop:
            return seen
        self._tell_milestones(held, start, stop)
        return self._changes.with_levels(seen, start, stop)

    def _tell_milestones(self, held: Holding, start: int, stop: int) -> None:
        """Tell the milestones of minutes in which a position was held, or note what they are made of."""
        loop, changes = self._loop, self._changes
        if start == stop:
            return
        if changes.all_fill and not loop.listeners.hears_milestones():
            loop.records.add_milestones((changes.milestones_later(held, start, stop, self._where),))
            return
        for event in holding_skipped(held, changes.survived(held, start, stop), loop.rules).events:
            loop.records.add(event)
            loop.emit(event)

    def _became(self, state: State, events: tuple[Event, ...]) -> None:
        loop = self._loop
        loop.state = state
        is_heard = bool(events) and (loop.listeners.hears_results(loop.rules.mode) or type(events[-1]) is Milestone)
        for event in events:
            loop.records.add(event)
            if is_heard:
                loop.emit(event)
