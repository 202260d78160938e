"""A minute of a managed position: orders at its open, then that open against the levels, then its range.

The order is that of :mod:`bknb.domain.execution`: parts to close, adds, then the stop, then targets from the nearest
on. Stop and target in one candle go to the stop where the model says so, for everything that is left. An add and the
target that closes the rest in one candle: the target fills. An add and the stop: the add, then the stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .execution import Exit, Minute
from .exit_plan import Target
from .fills import DUST, Fill, FillKind
from .levels import (
    StopInForce,
    after_progress,
    costs_of,
    moved_events,
    sign_of,
    stop_in_force,
    trail_level,
)
from .milestones import passed_levels, progress
from .position_book import PositionBook, PositionOrder, book_timeout
from .position_money import average_price, cost_percentage, largest_cost, result
from .signal import Active, AddCancelled, Added, CancelReason, Closed, Event, Milestone, Reduced
from .states import Flat, Holding, Release, Rules, SkippedMinutes, Step, after_frame, labels, quiet_minute


class FillRun:
    """Fills of one position in one candle, or at one moment, in order.

    Attributes
    ----------
    book
        The book after the fills so far.
    events
        Their events.
    """

    def __init__(self, state: Holding, book: PositionBook, when: int, price: float, rules: Rules) -> None:
        self.state, self.book, self.rules = state, book, rules
        self.when, self.price = when, price
        self.sign = sign_of(state.signal.position)
        self.events: list[Event] = []

    def fill(
        self, kind: FillKind, share: float, price: float, *, number: int, reason: str = "", rested: bool = False,
        note: str = "",
    ) -> Fill:  # fmt: skip
        """Add a fill to the book; extremes up to it belong to the size before."""
        book = self.book
        best, worst = self._extremes(price)
        made = Fill(
            number=number, kind=kind, at=self.when, share=share, price=price, reason=reason, rested=rested, note=note
        )
        left = book.left + share if made.enters else book.left - share
        self.book = msgspec.structs.replace(
            book, fills=(*book.fills, made), left=left, best=best, worst=worst, phase_high=price, phase_low=price
        )
        return made

    def _extremes(self, price: float) -> tuple[float, float]:
        """The best and the worst net result of the position so far, in percent, with ``price`` seen."""
        book, settings, position = self.book, self.rules.settings, self.state.signal.position
        slippage, fee = settings.percent_slippage, settings.percent_fee
        nets = [
            result(position, book.fills, slippage=slippage, fee=fee, rest=book.left, price=seen).pnl_percentage
            for seen in (max(book.phase_high, price), min(book.phase_low, price))
        ]
        best, worst = max(nets), min(nets)
        return (
            best if book.best is None else max(best, book.best),
            worst if book.worst is None else min(worst, book.worst),
        )

    def next_number(self) -> int:
        """The number of the next order."""
        number = self.book.number
        self.book = msgspec.structs.replace(self.book, number=number + 1)
        return number

    def add(self, order: PositionOrder, price: float, *, rested: bool) -> None:
        """Fill an add."""
        made = self.fill("add", order.share, price, number=order.number, rested=rested, note=order.note)
        self._without(order)
        self.events.append(
            Added(
                **labels(self.rules),
                when=self.when,
                price=self.price,
                signal=self.state.signal,
                fill=made,
                size=self.book.left,
                average_price=average_price(self.book.fills),
            )
        )

    def reduce(self, share: float, price: float, *, number: int, reason: str, rested: bool, note: str = "") -> None:
        """Close a part that leaves something open."""
        made = self.fill("reduce", share, price, number=number, reason=reason, rested=rested, note=note)
        self.events.append(
            Reduced(
                **labels(self.rules),
                when=self.when,
                price=self.price,
                signal=self.state.signal,
                fill=made,
                size=self.book.left,
            )
        )

    def reduce_orders(self, price: float, not_after: int) -> Exit | None:
        """Fill the parts that were ordered to be closed; the exit when nothing would be left."""
        for order in self.book.orders:
            if order.kind != "reduce" or order.not_before > not_after:
                continue
            self._without(order)
            if order.share >= self.book.left - DUST:
                return Exit(order.reason, price, ambiguous=False)
            self.reduce(order.share, price, number=order.number, reason=order.reason, rested=False, note=order.note)
        return None

    def _without(self, order: PositionOrder) -> None:
        orders = tuple(other for other in self.book.orders if other.number != order.number)
        self.book = msgspec.structs.replace(self.book, orders=orders)

    def take(self, targets: Iterable[Target], price: float | None, *, rested: bool) -> float | None:
        """Fill targets at their prices, or at ``price``; returns the price of the one that closes all that is left."""
        for target in targets:
            at = target.price if price is None else price
            if target.share is None or target.share >= self.book.left - DUST:
                return at
            number = self.next_number()
            left = tuple(other for other in self.book.targets if other is not target)
            self.book = msgspec.structs.replace(self.book, targets=left)
            self.reduce(target.share, at, number=number, reason="take_profit", rested=rested)
        return None

    def close(self, end: Exit, *, rested: bool = False, note: str = "") -> Step:
        """The end of the position: all that is left is closed."""
        signal, settings, rules = self.state.signal, self.rules.settings, self.rules
        best, worst = self._extremes(end.price)
        share, number = self.book.left, self.next_number()
        self.fill("exit", share, end.price, number=number, reason=end.reason, rested=rested, note=note)
        fills, slippage = self.book.fills, settings.percent_slippage
        pnl = result(signal.position, fills, slippage=slippage, fee=settings.percent_fee)
        parts: dict[str, Any] = {}
        if len(fills) > 2:
            parts = {
                "average_price": average_price(fills),
                "cost_percentage": cost_percentage(signal.position, fills, pnl.pnl_percentage, slippage=slippage),
                "largest_cost": largest_cost(fills),
            }
        closed = Closed(
            **labels(rules),
            when=self.when,
            price=self.price,
            signal=signal,
            close_reason=end.reason,
            closed_at=self.when,
            price_close=end.price,
            pnl=pnl,
            peak_percentage=best,
            trough_percentage=worst,
            ambiguous=end.ambiguous or self.state.in_doubt,
            fills=fills,
            ambiguous_trails=self.book.ambiguous_trails,
            not_taken=self.book.not_taken,
            note=note,
            **parts,
        )
        release = () if rules.risk is None else (Release(signal.id),)
        return Step(Flat(last_id=signal.id), (*self.events, closed), release)


def close_managed(state: Holding, book: PositionBook, minute: Minute, end: Exit, rules: Rules) -> Step:
    """The end of a managed position in a minute."""
    return close_managed_at(state, book, minute.t, minute.price, end, rules)


def close_managed_at(
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


def timed_out(state: Holding, book: PositionBook, when: int, price: float, rules: Rules) -> Step:
    """Take back the resting adds whose time has passed at ``when`` (UTC ms)."""
    over = [order for order in book.orders if order.until is not None and order.until <= when]
    return without_adds(state, book, over, when, price, "timeout", rules)


def without_adds(
    state: Holding, book: PositionBook, adds: Iterable[PositionOrder], when: int, price: float, reason: CancelReason,
    rules: Rules, *, note: str = "",
) -> Step:  # fmt: skip
    """Take back adds that no candle has filled."""
    gone = {order.number: order for order in adds}
    kept = tuple(order for order in book.orders if order.number not in gone)
    book = msgspec.structs.replace(book, orders=kept, adds=book.adds - len(gone))
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
    return Step(msgspec.structs.replace(state, book=book), events)


def managed_minute(state: Holding, book: PositionBook, given: Minute, rules: Rules, *, entered: bool = False) -> Step:
    """A minute with a managed position; ``entered``: its entry filled at the open of this minute."""
    model = rules.model
    if state.leaving is not None:
        if not model.can_fill(given, state.leaving.not_before):
            return Step(state, quiet_minute(state.signal, given, rules))
        run = FillRun(state, book, given.t, given.price, rules)
        run.reduce_orders(given.open, given.t)
        return run.close(Exit(state.leaving.reason, given.open, ambiguous=False), note=state.leaving.note)
    before: tuple[Event, ...] = ()
    if not model.fills_at_open and book_timeout(book) <= given.t:
        out = timed_out(state, book, given.t, given.price, rules)
        before = out.events
        assert isinstance(out.state, Holding)  # noqa: S101
        assert out.state.book is not None  # noqa: S101
        state, book = out.state, out.state.book
    if not model.can_fill(given):
        return Step(state, before + quiet_minute(state.signal, given, rules))
    minute = _ManagedMinute(FillRun(state, book, given.t, given.price, rules), given, entered=entered)
    minute.run.events.extend(before)
    return minute.passed()


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
        best = self.state.highest if self.sign > 0 else self.state.lowest
        self.stop: StopInForce | None = stop_in_force(run.book, self.sign, best, run.rules.tick)
        self.level = None if self.stop is None else self.sign * self.stop.price

    def _range(self, low: float, high: float) -> tuple[float, float]:
        if self.model.watches == "average":
            low = high = self.minute.price
        return (low, high) if self.sign > 0 else (-high, -low)

    def passed(self) -> Step:
        """What the candle does."""
        run = self.run
        end = self._by_clock() or self._at_open() or self._in_range()
        if end is not None:
            return run.close(end, rested=end.reason == "take_profit" and end.price != self.minute.open)
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
        """Adds that this candle may fill, those at the market first, then limits from the nearest on."""
        adds = [order for order in self.run.book.orders if order.kind == "add" and order.not_before <= self.minute.t]
        market = [order for order in adds if order.price_open is None]
        limits = [(-self.sign * order.price_open, order) for order in adds if order.price_open is not None]
        return market + [order for _, order in sorted(limits, key=lambda pair: pair[0])]

    def _at_open(self) -> Exit | None:
        run, opened, price, model = self.run, self.opened, self.minute.open, self.model
        end = run.reduce_orders(price, self.minute.t)
        if end is not None:
            return end
        for order in self._due():
            if order.price_open is None:
                run.add(order, price, rested=False)
                continue
            limit = self.sign * order.price_open
            at_once = model.fills_at_open and not order.rests and opened <= limit
            if at_once or (model.gap_fills and opened < limit):
                run.add(order, price, rested=not at_once)
        if not (model.gap_fills or self.entered):
            return None
        if self.stop is not None and self.level is not None and opened <= self.level:
            return Exit(self.stop.reason, price, ambiguous=False)
        beyond = [target for target in run.book.targets if self._is_beyond(opened, self.sign * target.price)]
        done = run.take(beyond, price, rested=not self.entered)
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
        adds = self._reached_adds()
        lost = level is not None and self.adverse <= level
        if lost and stop is not None and self.model.stop_first:
            return self._stopped(stop, adds, ambiguous=bool(hits))
        done = run.take(hits, None, rested=True)
        if done is not None:
            return Exit("take_profit", done, ambiguous=lost or bool(adds))
        if lost and stop is not None:
            return self._stopped(stop, adds, ambiguous=bool(hits))
        for order, limit in adds:
            run.add(order, limit, rested=True)
        return None

    def _reached_adds(self) -> list[tuple[PositionOrder, float]]:
        """Resting adds that the range of the candle reached, from the nearest on, with their limits."""
        adverse = self.minute.low if self.sign > 0 else -self.minute.high
        through = self.model.trades_through
        return [
            (order, order.price_open)
            for order in self._due()
            if order.price_open is not None
            and (adverse < self.sign * order.price_open or (adverse == self.sign * order.price_open and not through))
        ]

    def _stopped(self, stop: StopInForce, adds: list[tuple[PositionOrder, float]], *, ambiguous: bool) -> Exit:
        """Adds on the way to the stop fill, then everything leaves at the stop."""
        for order, limit in adds:
            if self.sign * (limit - stop.price) > 0:
                self.run.add(order, limit, rested=True)
        return Exit(stop.reason, stop.price, ambiguous=ambiguous)

    def _survived(self) -> Step:
        run, minute, rules = self.run, self.minute, self.run.rules
        high, low = self.model.extremes(minute)
        state = _seen(self.state, run.book, high, low)
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
        return _with_milestones(msgspec.structs.replace(state, book=book), minute, rules, tuple(run.events))

    def _raised_over_itself(self, book: PositionBook, best: float) -> bool:
        """Whether the candle's own extreme moves the trailing stop to where its other extreme was, or beyond."""
        if book.trailing is None or not book.trails:
            return False
        raised = self.sign * trail_level(book.trailing, self.sign, best, self.run.rules.tick)
        return raised >= self.adverse and (self.level is None or raised > self.level)


def _with_milestones(state: Holding, given: Minute, rules: Rules, events: tuple[Event, ...]) -> Step:
    """The milestones of a minute a managed position survived; the way is that to its declared levels."""
    signal = state.signal
    side, percent = progress(signal, given.price)
    passed = state.profit_level if side == "profit" else state.loss_level
    levels = passed_levels(percent, passed)
    events += tuple(
        Milestone(**labels(rules), when=given.t, price=given.price, side=side, level=level, signal=signal)
        for level in levels
    )
    if levels:
        reached = {"profit_level": levels[-1]} if side == "profit" else {"loss_level": levels[-1]}
        state = msgspec.structs.replace(state, **reached)
    if rules.quiet:
        tp, sl = (percent, 0.0) if side == "profit" else (0.0, percent)
        events += (
            Active(**labels(rules), when=given.t, price=given.price, signal=signal, percent_tp=tp, percent_sl=sl),
        )
    return Step(state, events)
