"""A minute of a managed position: orders at its open, then that open against the levels, then its range.

The order is that of :mod:`bknb.domain.fills_at_stops_and_gaps`: parts to close, adds, then the stop, then targets from
the nearest on; a part that counts on an add before it fills behind that add. Stop and target in one candle go to the
stop where the model says so, for everything that is left. An add and the target that closes the rest in one candle: the
target fills. An add and the stop: the add, then the stop.

An add by a stop order lies on the other side of the market than the stop of the position: a candle does not say which
of both it reached first. The add fills, then everything leaves at the stop that was in force before. What the add
moves, its own stop included, is in force from the next candle on: the adverse extreme of its candle lies mostly before.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .fills_at_stops_and_gaps import ExecutionModel, Exit, Minute
from .lifecycle_inputs import SkippedMinutes
from .managed_fills import FillRun
from .milestones_passed import survived
from .position_book import PositionBook, PositionOrder, book_timeout
from .position_fills import Fill
from .signal import OpenSignal
from .signal_events import AddCancelled, CancelReason, Event
from .states import Holding, Rules, Step, after_frame, labels, quiet_minute
from .trailing_and_breakeven_stops import (
    StopInForce,
    after_progress,
    costs_of,
    has_percents,
    moved_events,
    stop_or_liquidation,
    trail_level,
    with_levels_behind,
)


def close_managed(
    state: Holding, book: PositionBook, when: int, price: float, end: Exit, rules: Rules, *, note: str = ""
) -> Step:
    """The end of a managed position at a moment (UTC ms) at which the average price is ``price``."""
    return FillRun(state, book, when, price, rules).close(end, note=note)


def skipped_managed(state: Holding, book: PositionBook, given: SkippedMinutes) -> Holding:
    """A managed position after minutes in which its state could not change."""
    return _seen(state, book, given.highest, given.lowest)


def _seen(state: Holding, book: PositionBook, high: float, low: float) -> Holding:
    return msgspec.structs.replace(
        state,
        highest=max(state.highest, high),
        lowest=min(state.lowest, low),
        book=msgspec.structs.replace(book, phase_high=max(book.phase_high, high), phase_low=min(book.phase_low, low)),
    )


def timed_out(
    state: Holding, book: PositionBook, when: int, price: float, rules: Rules, *, by: int | None = None
) -> tuple[Holding, PositionBook, tuple[Event, ...]]:
    """Take back at ``when`` the resting adds whose time has passed by then, or ``by`` an earlier moment (UTC ms)."""
    passed = when if by is None else by
    over = [order for order in book.orders if order.until is not None and order.until <= passed]
    return without_adds(state, book, over, when, price, "timeout", rules)


def without_adds(
    state: Holding, book: PositionBook, adds: Iterable[PositionOrder], when: int, price: float, reason: CancelReason,
    rules: Rules, *, note: str = "",
) -> tuple[Holding, PositionBook, tuple[Event, ...]]:  # fmt: skip
    """Take back adds that no candle has filled: the position, its book, and what is told of them."""
    gone = {order.number: order for order in adds}
    kept = tuple(order for order in book.orders if order.number not in gone)
    counted = sum(not order.rung for order in gone.values())
    book = msgspec.structs.replace(book, orders=kept, adds=book.adds - counted)
    events = tuple(
        AddCancelled(
            **labels(rules),
            when=when,
            price=price,
            signal=state.signal,
            number=order.number,
            share=order.share,
            price_open=order.price_open,
            reason=reason,
            note=note,
        )
        for order in gone.values()
    )
    return msgspec.structs.replace(state, book=book), book, events


def managed_minute(state: Holding, book: PositionBook, given: Minute, rules: Rules, *, entered: bool = False) -> Step:
    """A minute with a managed position; ``entered``: its entry filled at the open of this minute."""
    model = rules.model
    if state.leaving is not None:
        run = FillRun(state, book, given.t, given.price, rules)
        reduced = run.reduce_orders(given.open, given.t, adds=False) if model.can_fill(given) else None
        if not model.can_fill(given, state.leaving.not_before):
            if reduced is not None:  # a part that was ordered before was all that was left
                return run.close(reduced)
            held = msgspec.structs.replace(state, book=run.book)
            return Step(held, (*run.events, *quiet_minute(state.signal, given, rules)))
        return run.close(Exit(state.leaving.reason, given.open, ambiguous=False), note=state.leaving.note)
    before: tuple[Event, ...] = ()
    if not model.fills_at_open and book_timeout(book) <= given.t:
        # what the clock ends between two minutes ends in its order: an add dies with its position without a word
        ends = min(moment for moment in (given.t, book.deadline, rules.frame_last) if moment is not None)
        state, book, before = timed_out(state, book, given.t, given.price, rules, by=ends)
    if not model.can_fill(given):
        return Step(state, before + quiet_minute(state.signal, given, rules))
    minute = _ManagedMinute(FillRun(state, book, given.t, given.price, rules), given, entered=entered)
    minute.run.events.extend(before)
    return minute.passed()


def rest_of_entry_minute(state: Holding, book: PositionBook, given: Minute, rules: Rules, *, upward: bool) -> Step:
    """The candle in which the entry of a ladder filled at its price, with the other parts that it reached behind it.

    Of the range only what lies on their side of that price came after the fill: ``upward``, to a long, for those that
    are stop orders.
    """
    at = state.signal.price_open
    high, low = (given.high, at) if upward == (state.signal.position == "long") else (at, given.low)
    after = given._replace(open=at, high=max(high, at), low=min(low, at))
    minute = _ManagedMinute(FillRun(state, book, given.t, given.price, rules), after, entered=False)
    return minute.after_entry(given) if upward else minute.passed()


def _due_adds(book: PositionBook, when: int, sign: int) -> list[PositionOrder]:
    """Adds that a candle may fill that opens then: at the market, limits, stop orders, each from the nearest on."""
    adds = [order for order in book.orders if order.kind == "add" and order.not_before <= when]
    market = [order for order in adds if order.price_open is None]
    limits = [(-sign * order.price_open, order) for order in adds if order.price_open is not None]
    nearest = sorted(limits, key=lambda pair: (pair[1].is_stop, -pair[0] if pair[1].is_stop else pair[0]))
    return market + [order for _, order in nearest]


def adds_at_open(book: PositionBook, when: int, price: float, sign: int, model: ExecutionModel) -> list[PositionOrder]:
    """The adds that fill at the open of a candle that opens at a moment (UTC ms) and a price (quote currency)."""
    found: list[PositionOrder] = []
    if not book.orders:
        return found
    for order in _due_adds(book, when, sign):
        if order.price_open is not None:
            away = sign * (order.price_open - price) * (1 if order.is_stop else -1)
            at_once = model.fills_at_open and not order.rests and away <= 0
            if not (at_once or (model.gap_fills and away < 0)):
                continue
        found.append(order)
    return found


def book_behind_adds(
    signal: OpenSignal,
    book: PositionBook,
    adds: Iterable[PositionOrder],
    price: float,
    best: float,
    tick: float | None,
) -> PositionBook:
    """A book with the levels that adds at a price (quote currency) move; ``best`` is the best price so far."""
    for add in adds:
        filled = Fill(number=add.number, kind="add", at=add.not_before, share=add.share, price=price)
        added = msgspec.structs.replace(book, fills=(*book.fills, filled))
        book = with_levels_behind(signal, book, added, (add,), best, tick)
    return book


def _own_stops(adds: Iterable[PositionOrder]) -> bool:
    """Whether one of some adds has a stop of its own."""
    return any(add.stop is not msgspec.UNSET for add in adds)


class _ManagedMinute:
    """One candle that can fill something, and a position that does not leave.

    Prices but those of orders, targets and the candle are mirrored for a short: favourable is up.
    """

    def __init__(self, run: FillRun, minute: Minute, *, entered: bool) -> None:
        self.run, self.minute, self.entered = run, minute, entered
        self.model, self.sign = run.rules.model, run.sign
        self.opened = self.sign * minute.open
        self.adverse, self.favourable = self._range(minute.low, minute.high)
        self.state = run.state
        self.best = self.state.highest if self.sign > 0 else self.state.lowest
        self.stop: StopInForce | None = None
        self.level: float | None = None
        self.in_doubt = False
        self._look_at_stop()

    def _look_at_stop(self) -> None:
        """Take the stop of the book as the one that is in force."""
        self.stop = stop_or_liquidation(self.run.book, self.sign, self.best, self.run.rules.tick)
        self.level = None if self.stop is None else self.sign * self.stop.price

    def _range(self, low: float, high: float) -> tuple[float, float]:
        if self.model.watches == "average":
            low = high = self.minute.price
        return (low, high) if self.sign > 0 else (-high, -low)

    def passed(self) -> Step:
        """What the candle does."""
        run = self.run
        if (end := self._by_clock() or self._at_open()) is not None:
            return run.close(end)
        if (end := self._in_range()) is not None:
            return run.close(end, rested=end.reason == "take_profit")
        return self._survived()

    def after_entry(self, whole: Minute) -> Step:
        """What the candle does after an entry by a stop order: it looks for its profit from the next one on.

        Where the ``whole`` candle reached what the others move the stop to, it may have done so behind them.
        """
        stops = self._reached_stop_orders()
        self.adverse, _ = self._range(whole.low, whole.high)
        self._filled_by_stop(stops)
        return self._survived()

    def _by_clock(self) -> Exit | None:
        """Where positions are closed at the average price, the clock ends them in their minute."""
        if self.model.fills_at_open:
            return None
        if after_frame(self.minute.t, self.run.rules):
            return Exit(self.model.frame_end_close, self.minute.price, ambiguous=False)
        deadline = self.run.book.deadline
        if deadline is not None and self.minute.t >= deadline:
            return Exit("time_expired", self.minute.price, ambiguous=False)
        return None

    def _due(self) -> list[PositionOrder]:
        return _due_adds(self.run.book, self.minute.t, self.sign)

    def _at_open(self) -> Exit | None:
        run, opened, price, model = self.run, self.opened, self.minute.open, self.model
        end = run.reduce_orders(price, self.minute.t)
        if end is not None:
            return end
        for order in adds_at_open(run.book, self.minute.t, price, self.sign, model):
            run.add(order, price, rested=False)
            self._has_moved([order])
        if not (model.gap_fills or self.entered):
            return None
        if self.stop is not None and self.level is not None and opened <= self.level:
            return Exit(self.stop.reason, price, ambiguous=False)
        beyond = [target for target in run.book.targets if self._is_beyond(opened, self.sign * target.price)]
        done = run.take(beyond, price)
        return None if done is None else Exit("take_profit", done, ambiguous=False)

    def _is_beyond(self, opened: float, target: float) -> bool:
        return opened >= target if self.entered else opened > target

    def _in_range(self) -> Exit | None:
        run, stop, level = self.run, self.stop, self.level
        through = self.model.trades_through
        hits = [
            target
            for target in run.book.targets
            if self.favourable > self.sign * target.price
            or (self.favourable == self.sign * target.price and not through)
        ]
        adds, stops = self._reached_adds(), self._reached_stop_orders()
        lost = level is not None and self.adverse <= level
        if adds and (_own_stops(order for order, _ in adds) or (lost and has_percents(self.state.signal, run.book))):
            stop = self._stop_behind(adds)
            lost = stop is not None and self.adverse <= self.sign * stop.price
        if lost and stop is not None and self.model.stop_first:
            return self._stopped(stop, adds, stops, ambiguous=bool(hits))
        done = run.take(hits, None)
        if done is not None:
            return Exit("take_profit", done, ambiguous=lost or bool(adds or stops))
        if lost and stop is not None:
            return self._stopped(stop, adds, stops, ambiguous=bool(hits))
        for order, limit in adds:
            run.add(order, limit, rested=True)
        self._filled_by_stop(stops)
        return None

    def _reached_stop_orders(self) -> list[tuple[PositionOrder, float]]:
        """Adds by stop orders that the range of the candle reached, from the nearest on, with their prices."""
        return [
            (order, order.price_open)
            for order in self._due()
            if order.is_stop and order.price_open is not None and self.favourable >= self.sign * order.price_open
        ]

    def _filled_by_stop(self, stops: list[tuple[PositionOrder, float]]) -> None:
        """Fill adds by stop orders; what they move is in force from the next candle on."""
        if not stops:
            return
        run, before = self.run, self.run.book
        for order, price in stops:
            run.add(order, price, rested=False, moves=False)
        run.move_levels(before, [order for order, _ in stops], at=run.rules.bar_end(self.minute.t))
        after = stop_or_liquidation(run.book, self.sign, self.best, run.rules.tick)
        self.in_doubt = after is not None and self.adverse <= self.sign * after.price

    def _has_moved(self, adds: list[PositionOrder]) -> None:
        """A stop that adds at the open have moved is in force in the whole candle."""
        if _own_stops(adds) or has_percents(self.state.signal, self.run.book):
            self._look_at_stop()

    def _reached_adds(self) -> list[tuple[PositionOrder, float]]:
        """Resting adds that the range of the candle reached, from the nearest on, with their limits."""
        adverse = self.minute.low if self.sign > 0 else -self.minute.high
        through = self.model.trades_through
        return [
            (order, order.price_open)
            for order in self._due()
            if order.price_open is not None
            and not order.is_stop
            and (adverse < self.sign * order.price_open or (adverse == self.sign * order.price_open and not through))
        ]

    def _stop_behind(self, adds: list[tuple[PositionOrder, float]]) -> StopInForce | None:
        """The stop once the adds on the way to it have filled: one that is percent moves with each."""
        run, rules, stop = self.run, self.run.rules, self.stop
        trial = FillRun(self.state, run.book, self.minute.t, self.minute.price, rules)
        best = self.state.highest if self.sign > 0 else self.state.lowest
        for order, limit in adds:
            if stop is None or self.sign * (limit - stop.price) > 0:
                trial.add(order, limit, rested=True)
                stop = stop_or_liquidation(trial.book, self.sign, best, rules.tick)
        return stop

    def _stopped(
        self,
        stop: StopInForce,
        adds: list[tuple[PositionOrder, float]],
        stops: list[tuple[PositionOrder, float]],
        *,
        ambiguous: bool,
    ) -> Exit:
        """Adds on the way to the stop, and those by stop orders, fill; then everything leaves at the stop."""
        for order, limit in adds:
            if self.sign * (limit - stop.price) > 0:
                self.run.add(order, limit, rested=True)
        for order, price in stops:
            self.run.add(order, price, rested=False, moves=False)
        return Exit(stop.reason, stop.price, ambiguous=ambiguous or bool(stops))

    def _survived(self) -> Step:
        run, minute, rules = self.run, self.minute, self.run.rules
        high, low = self.model.extremes(minute)
        state = _seen(self.state, run.book, high, low)
        if self.in_doubt:
            state = msgspec.structs.replace(state, in_doubt=True)
        assert state.book is not None  # as it was given  # noqa: S101
        orders = tuple(
            msgspec.structs.replace(order, rests=True)
            if order.price_open is not None and not order.rests and order.not_before <= minute.t
            else order
            for order in state.book.orders
        )
        book = state.book if orders == state.book.orders else msgspec.structs.replace(state.book, orders=orders)
        best = state.highest if self.sign > 0 else state.lowest
        book, began = after_progress(state.signal, book, best, tick=rules.tick, costs=costs_of(rules.settings))
        if self._raised_over_itself(book, best):
            book = msgspec.structs.replace(book, ambiguous_trails=book.ambiguous_trails + 1)
        run.events.extend(
            moved_events(labels(rules), minute.t, minute.price, state.signal, book, best, began, tick=rules.tick)
        )
        return survived(msgspec.structs.replace(state, book=book), minute, rules, tuple(run.events))

    def _raised_over_itself(self, book: PositionBook, best: float) -> bool:
        """Whether the candle's own extreme moves the trailing stop to where its other extreme was, or beyond."""
        if book.trailing is None or not book.trails:
            return False
        raised = self.sign * trail_level(book.trailing, self.sign, best, self.run.rules.tick)
        return raised >= self.adverse and (self.level is None or raised > self.level)
