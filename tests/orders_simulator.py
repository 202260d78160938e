"""Lists, places, entries in parts, adds, ``valid``, moves and cancels as a plain loop over minutes, in ``pessimistic``.

It stands on ``orders_page.py`` and shares no code with the engine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from orders_page import (
    DUST,
    NEVER,
    NOTHING,
    Bar,
    Entry,
    Order,
    Position,
    Trade,
    View,
    Waiting,
    World,
    ends_of,
    in_turn,
    money_of,
    nearest_first,
    view,
)

import bknb


class Simulator:
    """A run of a world: its ``trades``, the orders that were taken back, questions, and what ``manage`` was shown."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.places: dict[str, Waiting | Position] = {}
        self.trades: list[Trade] = []
        self.cancelled: list[tuple[int, str, str]] = []
        self.asked: list[int] = []
        self.views: list[tuple[int, View]] = []
        self.money = 0.0  # of all positions, where each is one unit with all its parts

    def run(self) -> Simulator:
        for when in range(self.world.start, len(self.world.bars)):
            self.clock(when)
            if when < self.world.end:
                self.manage(when)
                self.question(when)
            elif not self.places:
                break
            self.bar(when, self.world.bars[when])
        return self

    def by_age(self) -> list[str]:
        return sorted(self.places, key=lambda name: (self.places[name].since, name))

    # --- what the clock ends ----------------------------------------------------------------------------------------

    def clock(self, when: int) -> None:
        ended = when >= self.world.end
        for name, place in list(self.places.items()):
            if isinstance(place, Waiting):
                self.time_out(place, when)
                if not place.entries:
                    del self.places[name]
                continue
            if place.next is not None:
                self.time_out(place.next, when)
                place.next = place.next if place.next.entries else None
            if place.leaving:
                continue
            for order in [order for order in place.waiting if order.until <= when and order.until < self.world.end]:
                self.take_back(place.waiting, order, int(order.until), "timeout")
            place.leaving = "frame_end" if ended else "time_expired" if place.deadline <= when else ""

    def time_out(self, place: Waiting, when: int) -> None:
        for entry in place.entries.copy():
            if when >= self.world.end or entry.first.until <= when:
                place.entries.remove(entry)
                self.cancelled.append((when, entry.first.id, "frame_end" if when >= self.world.end else "timeout"))

    def take_back(self, orders: list[Order], order: Order, when: int, reason: str) -> None:
        orders.remove(order)
        self.cancelled.append((when, order.id, reason))

    # --- the question -----------------------------------------------------------------------------------------------

    def question(self, when: int) -> None:
        interval, places = self.world.interval, self.places
        free = {name for name, place in places.items()
                if isinstance(place, Position) and place.leaving and place.next is None}  # fmt: skip
        asked_before = self.asked and self.asked[-1] // interval == when // interval
        if asked_before or len(places) - len(free) >= self.world.places:
            return
        self.asked.append(when)
        unnamed = next(str(k) for k in range(1, 99) if str(k) not in places or str(k) in free)
        by_place: dict[str, list[Entry]] = {}
        for signal in self.world.ask(when, self.world.price(when), self.world.bars[when - 1].close):
            name = "" if self.world.places == 1 else signal.place or unnamed
            by_place.setdefault(name, []).append(self.entry(signal, when))
        for name, entries in by_place.items():
            if name in free or (name not in places and len(places) < self.world.places):
                self.put(name, entries, when)

    def put(self, name: str, entries: list[Entry], when: int) -> None:
        """They wait in a place, or for what leaves it."""
        waits, place = Waiting(entries, when // self.world.manage_interval), self.places.get(name)
        if isinstance(place, Position):
            place.next = waits
        else:
            self.places[name] = waits

    def entry(self, signal: bknb.Signal, when: int) -> Entry:
        sign, given = 1 if signal.position == "long" else -1, signal.price_open
        parts: list[Any] = given if isinstance(given, list) else [(given, 1.0)]
        until, by_stop = self.until(signal.valid, when), signal.entry == "stop"
        orders = [Order("", None if price is None else sign * price, share, by_stop, until) for price, share in parts]
        return Entry(signal, nearest_first(orders, str(signal.id)), when)

    def until(self, valid: Any, when: int) -> float:
        if valid is msgspec.UNSET:
            return when + max(self.world.await_minutes, self.world.interval)
        if valid == "slot":
            return (when // self.world.interval + 1) * self.world.interval
        return NEVER if valid is None else when + int(valid)

    # --- manage -----------------------------------------------------------------------------------------------------

    def manage(self, when: int) -> None:
        close, slot = self.world.bars[when - 1].close, when // self.world.manage_interval
        for name in self.by_age():
            place = self.places[name]
            # "it waits for the first candle that can fill it. While an entry does, nobody is asked"
            if slot == place.managed or (place.is_new if isinstance(place, Waiting) else place.leaving):
                continue
            place.managed, seen = slot, view(name, place)
            self.views.append((when, seen))
            for answer in self.world.manage(when, self.world.price(when), close, seen):
                if isinstance(answer, bknb.Signal):
                    self.put(name, [self.entry(answer, when)], when)
                elif isinstance(place, Position):
                    self.change(place, answer, when, place.sign * close)
                else:
                    self.change_entries(name, place, answer, when)

    def change_entries(self, name: str, place: Waiting, answer: bknb.Cancel | bknb.Move, when: int) -> None:
        for entry in place.entries.copy():
            if answer.id not in (None, msgspec.UNSET, entry.first.id):
                continue
            if isinstance(answer, bknb.Move):
                assert isinstance(answer.price_open, float)
                level = entry.sign * answer.price_open
                if not entry.is_right(level, entry.sign * self.world.price(when)):
                    continue
                moved = [replace(entry.first, level=level, is_new=True), *entry.orders[1:]]
                place.entries.append(Entry(entry.signal, nearest_first(moved, moved_id(entry.first.id)), when))
                place.is_new = True
            place.entries.remove(entry)
            self.cancelled.append((when, entry.first.id, "strategy"))
        if not place.entries:
            del self.places[name]

    def change(self, held: Position, answer: Any, when: int, close: float) -> None:
        sign, waiting = held.sign, held.waiting
        match answer:
            case bknb.Close():
                held.leaving = "strategy"
            case bknb.Reduce():
                ordered = sum(each.share for each in waiting if each.level is None)
                held.order(None, -answer.share * (held.size + ordered))
            case bknb.Add():
                level, own = answer.price_open, answer.price_stop_loss
                stop = NOTHING if own is None else sign * own
                if level is None:
                    held.order(None, answer.share, stop=stop)
                else:
                    until, by_stop = self.until(answer.valid, when), answer.entry == "stop"
                    held.order(sign * level, answer.share, by_stop=by_stop, until=until, stop=stop)
            case bknb.Cancel():
                for order in [each for each in waiting if answer.id in (None, msgspec.UNSET, each.id)]:
                    self.take_back(waiting, order, when, "strategy")
            case bknb.Move(price_open=float(level)):
                order = next(each for each in waiting if each.id == answer.id)
                level *= sign
                # "An add behind the stop is rejected"; reading: so is one behind the stop that it brings
                if order.stop < (level if order.by_stop else min(level, close)) and (
                    order.by_stop or level > held.stop_now
                ):
                    self.take_back(waiting, order, when, "strategy")
                    held.order(level, order.share, by_stop=order.by_stop, until=order.until, stop=order.stop)
            case bknb.Move(price_take_profit=float(level)):
                held.goals = [(sign * level, None, False)]
            case bknb.Move(price_stop_loss=float(level)) if sign * level > held.stop_now:  # it never loosens
                held.stop, held.stop_percent = sign * level, None
                held.leaving = "stop_loss" if held.stop >= close else ""

    # --- a bar ------------------------------------------------------------------------------------------------------

    def bar(self, when: int, bar: Bar) -> None:
        if not bar.volume:
            return
        for name in self.by_age():
            place: Waiting | Position | None = self.places[name]
            if isinstance(place, Position):
                self.held(name, place, when, bar)
                place = self.places.get(name)
            if isinstance(place, Waiting):
                self.waits(name, place, when, bar)

    def held(self, name: str, held: Position, when: int, bar: Bar) -> None:
        opened = held.sign * bar.open
        for order in [each for each in held.waiting if each.share < 0]:
            held.waiting.remove(order)
            held.leaves(when, "reduce", -order.share, opened, "strategy")
        if held.leaving:
            self.ends(name, held, when, opened, held.leaving)
        else:
            self.levels(name, held, when, bar, entered=False)

    def waits(self, name: str, place: Waiting, when: int, bar: Bar) -> None:
        entries = place.entries
        reached = [each for each in entries if each.first.is_reached(*ends_of(each, bar))]
        filled = next((each for each in entries if each.first.at_open(each.sign * bar.open)), None)
        at_open = filled is not None
        if filled is None and reached:
            filled = min(reached, key=lambda each: self.worth(each, bar))
        # reading: also in a bar in which another one fills
        for entry in [each for each in entries if each.first.by_stop and each is not filled and each not in reached]:
            if ends_of(entry, bar)[0] <= entry.stop:
                entries.remove(entry)
                self.cancelled.append((when, entry.first.id, "price_reject"))
        if filled is not None:
            self.cancelled += [(when, each.first.id, "place_taken") for each in entries if each is not filled]
            self.opens(name, filled, when, bar, at_open=at_open, in_doubt=not at_open and len(reached) > 1)
            return
        place.is_new = False
        for entry in entries:
            entry.first.is_new = False
        if not entries:
            del self.places[name]

    def worth(self, entry: Entry, bar: Bar) -> float:
        """The net result at the end of a bar of an entry that fills at its level in it."""
        paid = entry.first.level or 0.0
        low, stop = ends_of(entry, bar)[0], entry.stop_from(paid)
        left = stop if not entry.first.by_stop and low <= stop else entry.sign * bar.close
        fills = [(0, "entry", 1.0, entry.sign * paid, ""), (0, "exit", 1.0, entry.sign * left, "")]
        money, first = money_of(self.world, entry.sign, fills)
        return money / first

    def opens(self, name: str, entry: Entry, when: int, bar: Bar, *, at_open: bool, in_doubt: bool) -> None:
        price = entry.sign * bar.open if at_open or entry.first.level is None else entry.first.level
        parts = [replace(each, share=each.share / entry.first.share) for each in entry.orders[1:]]
        minutes, slot = entry.signal.minute_estimated_time, when // self.world.manage_interval
        deadline = NEVER if minutes is None else when + minutes
        levels = entry.stop, entry.signal.stop_percent, entry.targets()
        held = Position(entry, when, parts, *levels, price, price, deadline, slot, len(parts), ambiguous=in_doubt)
        self.places[name] = held
        held.enters(replace(entry.first, share=1.0), when, price, "entry")
        for order in [order for order in parts if order.until <= when]:
            self.take_back(held.waiting, order, when, "timeout")
        if at_open:
            self.levels(name, held, when, bar, entered=True)
        else:
            self.entered_at_its_level(name, held, when, bar)

    def entered_at_its_level(self, name: str, held: Position, when: int, bar: Bar) -> None:
        """It looks for targets from the next bar on; the stop of a stop entry is not in force before."""
        (low, high), by_stop = ends_of(held.entry, bar), held.entry.first.by_stop
        held.ambiguous |= by_stop and low <= held.stop_now
        for order in in_turn(held.waiting):
            order.is_new = False
            if order.is_reached(low, high) and order.level is not None and (by_stop or order.level > held.stop_now):
                held.adds(order, when, order.level)
                held.ambiguous |= by_stop and low <= held.stop_now
        if by_stop:
            held.best = high
            return
        held.worst = low
        if low <= held.stop_now:
            held.ambiguous = True
            self.ends(name, held, when, held.stop_now, "stop_loss")

    def levels(self, name: str, held: Position, when: int, bar: Bar, *, entered: bool) -> None:
        """Orders at the open, the stop and targets there, and then the range, of which what is adverse comes first."""
        opened, (low, high) = held.sign * bar.open, ends_of(held.entry, bar)
        for order in in_turn(held.waiting):
            if order.at_open(opened):
                held.adds(order, when, opened)
            order.is_new = False
        if opened <= held.stop_now:
            self.ends(name, held, when, opened, "stop_loss")
            return
        at_open = [share for level, share in held.targets() if opened > level or (entered and opened == level)]
        if any(self.takes(name, held, when, share, opened) for share in at_open):
            return
        reached = [order for order in in_turn(held.waiting) if order.is_reached(low, high)]
        after, fills = replace(held), list[tuple[Order, float]]()  # when the stop is met
        for order in reached:
            level = order.level or 0.0
            if order.by_stop or level > after.stop_now:
                fills.append((order, level))
                if not order.by_stop:
                    after.pay(order, level)
        targets = [(level, share) for level, share in held.targets() if high > level]
        if low <= after.stop_now:
            held.ambiguous |= bool(targets) or any(order.by_stop for order in reached)
            for order, level in fills:
                held.adds(order, when, level)
            self.ends(name, held, when, after.stop_now, "stop_loss")
            return
        closes = (
            any(share is None for _, share in targets) or sum(share or 0 for _, share in targets) > held.size - DUST
        )
        held.ambiguous |= closes and bool(reached)
        if any(self.takes(name, held, when, share, level) for level, share in targets):
            return
        for order, level in fills:
            held.adds(order, when, level)
            held.ambiguous |= order.by_stop and low <= held.stop_now
        held.best, held.worst = max(held.best, high), min(held.worst, low)

    def takes(self, name: str, held: Position, when: int, share: float | None, price: float) -> bool:
        """The nearest target fills; whether nothing is left."""
        held.goals.remove(min(held.goals, key=lambda goal: goal[0]))
        if share is None or share > held.size - DUST:
            self.ends(name, held, when, price, "take_profit")
            return True
        held.leaves(when, "reduce", share, price, "take_profit")
        held.number += 1
        return False

    def ends(self, name: str, held: Position, when: int, price: float, reason: str) -> None:
        held.leaves(when, "exit", held.size, price, reason)
        money, first = money_of(self.world, held.sign, held.fills)
        self.money += money * held.entry.first.share
        told = held.entry.first.id, name, held.since, when, reason, held.ambiguous
        self.trades.append(Trade(*told, 100 * money / first, tuple(held.fills)))
        del self.places[name]
        if held.next is not None:
            self.places[name] = held.next


def moved_id(one: str) -> str:
    name, _, number = one.partition("~")
    return f"{name}~{int(number or 1) + 1}"
