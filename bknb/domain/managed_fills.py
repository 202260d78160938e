"""The fills of one position in one candle, or at one moment: the book after each, with its event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .declared_exits import Target
from .fills_at_stops_and_gaps import Exit
from .position_book import PositionBook, PositionOrder
from .position_fills import DUST, Fill, FillKind
from .profit_of_partial_closes import average_price, cost_percentage, largest_cost, net_results, result
from .risk_request_and_verdict import Release
from .signal import sign_of
from .signal_events import Added, Closed, Event, Reduced
from .states import Holding, Rules, Step, labels
from .stays_flat import flat_after_close
from .trailing_and_breakeven_stops import (
    moved_events,
    with_levels_behind,
)


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
        self._note = ""  # of the part that closes all that is left

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
        nets = net_results(
            position,
            book.fills,
            slippage=settings.percent_slippage,
            fee=settings.percent_fee,
            rest=book.left,
            prices=(max(book.phase_high, price), min(book.phase_low, price)),
        )
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

    def add(self, order: PositionOrder, price: float, *, rested: bool, moves: bool = True) -> None:
        """Fill an add; it ``moves`` levels that depend on what was paid, and the stop to its own."""
        before = self.book
        made = self.fill("add", order.share, price, number=order.number, rested=rested, note=order.note)
        self._without(order)
        self.events.append(Added(**self._told(made), average_price=average_price(self.book.fills)))
        if moves:
            self.move_levels(before, (order,))

    def move_levels(self, before: PositionBook, adds: Iterable[PositionOrder], *, at: int | None = None) -> None:
        """Move levels behind adds that have filled, in force from a moment on (UTC ms), by default that of the fills.

        Those that are percent from the average price move with it, unless they were moved otherwise since; then the
        stop is that of an add, where it is tighter.
        """
        signal, tick = self.state.signal, self.rules.tick
        best = self.state.highest if self.sign > 0 else self.state.lowest
        self.book = with_levels_behind(signal, before, self.book, adds, best, tick)
        if (self.book.stop, self.book.targets) == (before.stop, before.targets):
            return
        when = self.when if at is None else at
        moved = moved_events(labels(self.rules), when, self.price, signal, self.book, best, ("strategy",), tick=tick)
        self.events.extend(moved)

    def reduce(self, share: float, price: float, *, number: int, reason: str, rested: bool, note: str = "") -> None:
        """Close a part that leaves something open."""
        made = self.fill("reduce", share, price, number=number, reason=reason, rested=rested, note=note)
        self.events.append(Reduced(**self._told(made)))

    def _told(self, fill: Fill) -> dict[str, Any]:
        """What an event tells of a fill."""
        beside = {"when": self.when, "price": self.price, "signal": self.state.signal}
        return {**labels(self.rules), **beside, "fill": fill, "size": self.book.left}

    def reduce_orders(self, price: float, not_after: int, *, adds: bool = True) -> Exit | None:
        """Fill the parts that were ordered to be closed; the exit when nothing would be left.

        A part that needs adds at the market that were ordered before it comes behind them, with ``adds``.
        """
        due = [order for order in self.book.orders if order.not_before <= not_after and order.price_open is None]
        for order in due:
            if order.kind != "reduce":
                continue
            for add in due:
                short = order.share >= self.book.left - DUST
                if adds and short and add.kind == "add" and add.number < order.number and add in self.book.orders:
                    self.add(add, price, rested=False)
            self._without(order)
            if order.share >= self.book.left - DUST:
                self._note = order.note
                return Exit(order.reason, price, ambiguous=False)
            self.reduce(order.share, price, number=order.number, reason=order.reason, rested=False, note=order.note)
        return None

    def _without(self, order: PositionOrder) -> None:
        orders = tuple(other for other in self.book.orders if other.number != order.number)
        self.book = msgspec.structs.replace(self.book, orders=orders)

    def take(self, targets: Iterable[Target], price: float | None) -> float | None:
        """Fill targets at their prices, or at the ``price`` of an open; returns that of the one that closes all."""
        for target in targets:
            at = target.price if price is None else price
            if target.share is None or target.share >= self.book.left - DUST:
                return at
            number = self.next_number()
            left = tuple(other for other in self.book.targets if other is not target)
            self.book = msgspec.structs.replace(self.book, targets=left)
            self.reduce(target.share, at, number=number, reason="take_profit", rested=price is None)
        return None

    def close(self, end: Exit, *, rested: bool = False, note: str | None = None) -> Step:
        """The end of the position: all that is left is closed; ``note``: by default that of a part that closes it."""
        note = self._note if note is None else note
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
        release = (Release(signal.id),) if rules.asks else ()
        return Step(flat_after_close(closed, rules), (*self.events, closed), release)
