"""Managed positions minute by minute, in each execution model, on the rules of ``managed_page.py``.

"Reading" says what is assumed where the page of the contract is silent.
"""

from __future__ import annotations

import math
from typing import Any

from managed_page import DUST, Fill, Held, Managed, ManagedOrder, ManagedWorld, Result, Told, View
from page_simulator import LIMIT, MARKET, MINUTE, STOP, Bar, average

__all__ = ["Fill", "Held", "Managed", "ManagedByBars", "ManagedWorld", "Result", "Told", "View", "simulate"]


class ManagedByBars(Managed):
    """``pessimistic`` and ``touch``."""

    def __init__(self, world: ManagedWorld) -> None:
        super().__init__(world)
        closed = sum(bar.t + MINUTE <= self.start for bar in self.bars)
        seen = self.bars[max(0, closed - int(self.settings["avg_price_candles_count"])) :]
        self.reports_from = next((bar.t for bar in seen if bar.volume > 0), math.inf)

    def run(self) -> None:
        for when in sorted({bar.t + end for bar in self.bars for end in (0, MINUTE)}):
            if when < self.start:
                continue
            self.clock(when)
            self.manage(when)  # "(3) `manage`, in declared order; (4) questions"
            # "What the clock or `manage` ends at `when` frees the question of that very moment"
            if self.order is None and (self.held is None or self.held.leaving):
                self.question(when)
            if when in self.at:
                self.bar(self.bars[self.at[when]])
            if when >= self.last and self.order is None and self.held is None:
                return
        end = self.bars[-1]
        if self.held:
            self.sold(self.held, end.t, self.held.size, self.held.order.sign * end.close, "data_end")
        if self.order:
            self.cancel(max(end.t, self.order.asked), "data_end")

    def clock(self, when: int) -> None:
        """ "frame end, time-out of what waits, deadline"."""
        order, held = self.order, self.held
        if order:
            valid = math.inf if order.kind == MARKET else self.rests_until(order.asked)
            if when >= min(self.last, valid):
                self.cancel(int(min(self.last, valid)), "frame_end" if self.last <= valid else "timeout")
        if held and not held.leaving:
            deadline = held.since + held.minutes * MINUTE
            ends = min(self.last, deadline)
            for waits in list(held.waiting):  # "or when their `valid` ends"
                if waits.until <= min(when, deadline) and waits.until < self.last:
                    held.waiting.remove(waits)
                    told = {"signal": held.order.number, "share": waits.share}
                    self.say("add_cancelled", int(waits.until), None, "timeout", **told)
            if when >= ends:
                held.leaving = "frame_end" if self.last <= deadline else "time_expired"

    def bar(self, bar: Bar) -> None:
        if self.strict and bar.volume == 0 and bar.t > self.reports_from:
            return  # reading: such a bar moves no stop either
        if self.held:
            self.orders_at_the_open(self.held, bar)
        order: Any = self.order
        if order:
            open_ = order.sign * bar.open
            self.entry(order, bar.t, open_, *self.range_of(bar, order.sign))
        if self.held:
            held = self.held
            low, high = self.range_of(bar, held.order.sign)
            self.levels(held, bar.t, held.order.sign * bar.open, low, high)
            if self.held:
                self.count_trails(held, bar, low, high)
                self.finish(held, bar, low, high)

    @staticmethod
    def range_of(bar: Bar, sign: int) -> tuple[float, float]:
        return min(sign * bar.low, sign * bar.high), max(sign * bar.low, sign * bar.high)

    def orders_at_the_open(self, held: Held, bar: Bar) -> None:
        """ "orders of 2-4 at its open (exits, reduces, adds, entries)"."""
        open_ = held.order.sign * bar.open
        if self.fewer(held, bar.t, open_):
            return
        adds = [order for order in held.waiting if order.kind == "add"]
        # "several fill from the nearest on"; reading: those at the market come first
        for order in sorted(adds, key=lambda order: -math.inf if order.level is None else -order.level):
            if order.level is None:
                self.added(held, order, bar.t, open_)
            elif not order.rests and open_ <= order.level:
                self.added(held, order, bar.t, open_)  # "limit that the first open reaches | fills at that open"
            elif order.rests and self.strict and open_ < order.level:
                self.added(held, order, bar.t, open_)  # "a bar that **opens** beyond it fills it at that open"
            else:
                order.rests = True

    def entry(self, order: ManagedOrder, t: int, open_: float, low: float, high: float) -> None:
        at_level = order.kind == LIMIT
        if order.opening:
            order.known = t + MINUTE
            if order.kind == MARKET or (open_ <= order.level if at_level else open_ >= order.level and self.strict):
                return self.open(t, open_, "open")
            if not at_level and open_ >= order.level:
                return self.open(t, order.level, "level")
            self.say("scheduled", t, order.sign * order.level, signal=order.number)
            order.opening = False
        return self.resting(order, t, open_, low, high)

    def resting(self, order: ManagedOrder, t: int, open_: float, low: float, high: float) -> None:
        if order.kind == STOP:
            if self.strict and open_ > order.level:
                self.filled_later(order, t, open_, "open")
            elif high >= order.level:
                self.filled_later(order, t, order.level, "level")
            elif low <= order.stop:
                self.cancel(t, "price_reject")
        elif self.strict:
            if open_ < order.level:
                self.filled_later(order, t, open_, "open")
            elif low < order.level:
                self.filled_later(order, t, order.level, "level")
        elif low <= order.stop:
            self.cancel(t, "price_reject")
        elif low <= order.level:
            self.filled_later(order, t, order.level, "level")

    def filled_later(self, order: ManagedOrder, t: int, price: float, filled: str) -> None:
        order.known = t + MINUTE
        self.open(t, price, filled)

    def levels(self, held: Held, t: int, open_: float, low: float, high: float) -> None:
        fresh = held.filled if held.since == t else ""
        if (fresh == "open" or (not fresh and self.strict)) and self.at_open(held, t, open_, fresh):
            return
        stop = held.stop
        at_stop = low <= stop
        targets = [level for level, _ in held.targets if (high > level if self.strict else high >= level)]
        adds = [order for order in held.waiting if order.level is not None and order.rests and order.level > stop]
        adds = [order for order in adds if (low < order.level if self.strict else low <= order.level)]
        adds.sort(key=lambda order: -(order.level or 0))  # "several fill from the nearest on"
        if fresh == "level":
            targets, adds = [], []
            held.ambiguous |= at_stop
            at_stop = at_stop and held.order.kind != STOP
        if at_stop and targets:
            held.ambiguous = True
        if at_stop and self.strict:
            targets = []  # "stop first for everything left"
        # "Add and last target in one bar: the target fills, the add is cancelled, ambiguous"
        left = held.size
        for _, share in held.targets[: len(targets)]:
            left = 0.0 if share is None else left - share
        held.ambiguous |= bool(targets and left <= DUST and adds)
        for level in targets:
            if self.take(held, t, level):
                return
        for order in adds:
            self.added(held, order, t, order.level or 0)
        if at_stop:
            self.sold(held, t, held.size, stop, held.stop_reason)

    def at_open(self, held: Held, t: int, open_: float, fresh: str) -> bool:
        """ "That open against stop … and targets"; whether that was the end."""
        if open_ <= held.stop:
            return self.sold(held, t, held.size, open_, held.stop_reason)
        while held.targets and (open_ > held.targets[0][0] or (fresh and open_ == held.targets[0][0])):
            if self.take(held, t, open_):
                return True
        return False

    def take(self, held: Held, t: int, price: float) -> bool:
        """The nearest target fills."""
        _, share = held.targets.pop(0)
        return self.sold(held, t, held.size if share is None else min(share, held.size), price, "take_profit")


class ManagedByAverage(Managed):
    """``vwap``: fills at the moment of the decision; what a bar does is judged by the average that ends with it."""

    def run(self) -> None:
        count = int(self.settings["avg_price_candles_count"])
        free_after, data_end = -1, self.bars[-1].t
        for when in sorted({bar.t + end for bar in self.bars for end in (0, MINUTE)}):
            if when < self.start or when > data_end:
                continue
            told = len(self.told)
            self.manage(when)
            if self.held:
                self.at_once(self.held, when)
            self.first_look(when)
            if self.order is None and self.held is None:
                if len(self.told) > told and any(event.kind in ("closed", "cancelled") for event in self.told[told:]):
                    free_after = when
                if when > free_after:
                    self.question(when)
                    self.first_look(when)
            if when in self.at:
                k = self.at[when]
                told = len(self.told)
                self.bar(self.bars[k], average(self.bars[max(0, k + 1 - count) : k + 1]))
                if len(self.told) > told and self.order is None and self.held is None:
                    free_after = when
            if when > self.last and self.order is None and self.held is None:
                return
        if self.held:
            price = self.held.order.sign * average(self.bars[-count:])
            self.sold(self.held, data_end, self.held.size, price, "data_end")
        if self.order:
            self.cancel(data_end, "data_end")

    def at_once(self, held: Held, when: int) -> None:
        """Orders that ``manage`` gave, at the price of the moment."""
        if not held.leaving and all(order.rests for order in held.waiting):
            return
        price = held.order.sign * self.price(when)
        if self.fewer(held, when, price):
            return
        for order in [order for order in held.waiting if order.kind == "add"]:
            if order.level is None:
                self.added(held, order, when, price)
            elif not order.rests and price <= order.level:
                self.added(held, order, when, order.level)  # "at `price_open` when `price` reaches it"
            order.rests = True

    def first_look(self, when: int) -> None:
        order: Any = self.order
        if order is None or not order.opening:
            return
        price = order.sign * self.price(when)
        order.known = when + MINUTE
        if order.kind == MARKET:
            self.open(when, price, "open")
        elif price <= order.level if order.kind == LIMIT else price >= order.level:
            self.open(when, order.level, "open")
        else:
            self.say("scheduled", when, order.sign * order.level, signal=order.number)
            order.opening = False

    def bar(self, bar: Bar, average_price: float) -> None:
        order: Any = self.order
        held = self.held
        if order:
            low, high = ManagedByBars.range_of(bar, order.sign)
            price = order.sign * average_price
            low, high = (low, high) if order.kind == LIMIT else (price, price)
            order.known = bar.t + MINUTE
            if bar.t > self.last or bar.t >= self.rests_until(order.asked):
                self.cancel(bar.t, "timeout")
            elif low <= order.stop:
                self.cancel(bar.t, "price_reject")
            elif low <= order.level if order.kind == LIMIT else high >= order.level:
                self.open(bar.t, order.level, "level")
                if self.held:
                    self.follow(self.held, bar.t, tell=True)  # reading: this bar had no price that counts
        elif held:
            self.exits(held, bar.t, held.order.sign * average_price, ManagedByBars.range_of(bar, held.order.sign)[0])
        if held and self.held:
            # reading: the extremes of a bar are its average, for nothing else is a price here
            self.finish(held, bar, held.order.sign * average_price, held.order.sign * average_price)

    def exits(self, held: Held, t: int, price: float, low: float) -> None:
        for waits in list(held.waiting):  # "of two moments inside one gap the earlier decides"
            if waits.until <= min(t, self.last, held.since + held.minutes * MINUTE):
                held.waiting.remove(waits)
                told = {"signal": held.order.number, "share": waits.share}
                self.say("add_cancelled", t, None, "timeout", **told)
        if t > self.last or t - held.since >= held.minutes * MINUTE:
            self.sold(held, t, held.size, price, "time_expired")
            return
        stop = held.stop
        adds = [order for order in held.waiting if order.level is not None and low <= order.level]
        reached = [share for level, share in held.targets if price >= level]
        left = 0.0 if None in reached else held.size - sum(share or 0.0 for share in reached)
        # "Both levels in one candle: … the trade is marked ambiguous", where a stop was moved beyond a target;
        # "Add and the target that closes the rest in one candle: the target fills, the add does not, and the trade is
        # marked ambiguous"
        held.ambiguous |= bool(reached) and (price <= stop or (left <= DUST and bool(adds)))
        while held.targets and price >= held.targets[0][0]:
            level, share = held.targets.pop(0)
            if self.sold(held, t, held.size if share is None else min(share, held.size), level, "take_profit"):
                return
        adds = [order for order in adds if price > stop or (order.level or 0) > stop]
        for order in sorted(adds, key=lambda order: -(order.level or 0)):
            self.added(held, order, t, order.level or 0)
        if price <= stop:
            self.sold(held, t, held.size, stop, held.stop_reason)


def simulate(world: ManagedWorld) -> Managed:
    """The run of a world: what is told, results with their fills, and what ``manage`` was shown."""
    run: Managed = ManagedByAverage(world) if world.model == "vwap" else ManagedByBars(world)
    run.run()  # type: ignore[attr-defined]
    return run
