"""Entry ladders and adds of two symbols that share too little cash, over random markets: a plain loop over the candles.

It knows nothing of bknb: what each order buys, what is reserved, and what that leaves of the cash, is worked out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

SYMBOLS = ("A", "B")
MINUTES = 90
EXACT = 1e-9
FEE = 0.001
Bar: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class World:
    """What is drawn once for a run: candles by symbol, how much is bought in all, and the step of the markets."""

    seed: int
    capital: float = 10_000.0

    @property
    def units(self) -> float | None:
        return [None, 60.0, 90.0][self.seed % 3]

    @property
    def step(self) -> float | None:
        return 1.0 if self.seed % 4 == 3 else None

    @property
    def money(self) -> float:
        return 6_000.0 + 1_000.0 * (self.seed % 5)

    def rows(self, symbol: str) -> list[Bar]:
        """Open, high, low and close from minute -60 on; they jump between minutes, most of them down."""
        random, close, found = np.random.default_rng([self.seed, ord(symbol)]), 100.0, []
        for _ in range(60 + MINUTES + 30):
            opened = close * (1 + random.normal(-0.0005, 0.006))
            close = opened * (1 + random.normal(0.0005, 0.006))
            wicks = np.abs(random.normal(0, 0.006, 2))
            high, low = max(opened, close) * (1 + wicks[0]), min(opened, close) * (1 - wicks[1])
            found.append(tuple(round(float(each), 2) for each in (opened, high, low, close)))
            close = found[-1][3]
        return found

    def chance(self, symbol: str, minute: int, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, ord(symbol), minute, what])

    def signal(self, symbol: str, minute: int, close: float) -> dict[str, Any] | None:
        """The signal of a minute: the parts of its entry, how long they wait, its stop and its deadline."""
        random = self.chance(symbol, minute, 1)
        if random.random() < 0.5:
            return None
        count, by_stop = int(random.integers(1, 4)), random.random() < 0.2
        away = np.cumsum(random.uniform(0.001, 0.006, count))
        prices: list[float | None] = [round(close * (1 + (each if by_stop else -each)), 2) for each in away.tolist()]
        if random.random() < 0.6:
            prices[0] = None
        weights = random.integers(1, 5, count)
        shares = [float(each) / float(weights.sum()) for each in weights]
        signal: dict[str, Any] = {"side": "long", "price_open": list(zip(prices, shares, strict=True))}
        signal |= {"minute_estimated_time": int(random.integers(2, 14)), "valid": int(random.integers(1, 8))}
        if by_stop:
            signal["entry"] = "stop"
        if random.random() < 0.5:
            averages = [sum(row[1:]) / 3 for row in self.rows(symbol)[55 + minute : 60 + minute]]
            lowest = min([close, sum(averages) / 5, *(price for price in prices if price is not None)])
            signal["price_stop_loss"] = round(lowest * (1 - random.uniform(0.003, 0.02)), 2)
        return signal

    def managed(self, symbol: str, minute: int, close: float) -> tuple[str, float, float | None, int] | None:
        """What is done at a minute about what is held: the kind, a share, a price, and how long it waits."""
        random = self.chance(symbol, minute, 2)
        kind = int(random.integers(0, 9))
        if kind > 3 or (kind == 2 and self.step):
            return None
        share, price = round(float(random.uniform(0.1, 0.6)), 3), round(close * (1 - random.uniform(0.001, 0.008)), 2)
        if kind == 0:
            return "add", share, None, 0
        if kind == 1:
            return "add", share, price, int(random.integers(1, 9))
        return ("reduce", share, None, 0) if kind == 2 else ("close", 1.0, None, 0)


@dataclass
class Waits:
    """An order: an add, or a part of an entry; ``reserved`` is money, ``quantity`` what is bought where it is not."""

    number: int
    price: float | None
    quantity: float
    reserved: float
    until: float
    not_before: int
    is_stop: bool = False
    rests: bool = False


@dataclass
class Entry:
    """An entry that waits, with its other parts, in units of the first."""

    signal: dict[str, Any]
    minute: int
    first: Waits
    parts: list[tuple[float, Waits]]
    money: float | None
    is_new: bool = True


@dataclass
class Held:
    """What is held: the quantity, its first one, in the record in units of that, and what was ordered on it."""

    quantity: float
    first: float
    size: float
    since: int
    deadline: int
    stop: float
    orders: list[Waits]
    reduces: list[float] = field(default_factory=list)
    leaves: int | None = None
    number: int = 1


@dataclass
class Leg:
    symbol: str
    rows: list[Bar]
    entry: Entry | None = None
    held: Held | None = None

    def at(self, minute: int) -> Bar:
        return self.rows[minute + 60]

    @property
    def orders(self) -> list[Waits]:
        found = [] if self.entry is None else [self.entry.first, *(each for _, each in self.entry.parts)]
        return found + ([] if self.held is None else self.held.orders)

    def leaving(self, minute: int) -> float:
        """How much leaves at the open of a minute, as it was ordered."""
        held = self.held
        if held is None:
            return 0.0
        if held.leaves is not None and held.leaves <= minute:
            return held.quantity
        size, left = held.size, held.quantity
        for share in held.reduces:
            left -= left * share / size
            size -= share
        return held.quantity - left


class Loop:
    """The loop: of each fill its minute, symbol, kind, price, quantity and share, and the equity at each close.

    ``cuts`` counts parts and adds of which less was bought than was ordered, ``cuts_with_entry`` those in the candle of
    the entry, ``nothing`` those of which nothing was, and ``ends_with_adds`` the candles with adds and the stop.
    """

    def __init__(self, world: World) -> None:
        self.world, self.cash = world, world.capital
        self.legs = [Leg(symbol, world.rows(symbol)) for symbol in SYMBOLS]
        self.fills: list[tuple[int, str, str, float, float, float]] = []
        self.equity: list[float] = []
        self.cuts = self.cuts_with_entry = self.nothing = self.ends_with_adds = 0
        self._told: set[str] = set()
        self._inside = 0.0  # money of what was sold inside the bar: it pays for nothing in it

    def run(self) -> Loop:
        for minute in range(MINUTES + 1):
            self._told, self._inside = set(), 0.0
            for leg in self.legs:
                if minute:
                    self._bar(leg, minute - 1)
                    self._told.add(leg.symbol)
            for leg in self.legs:
                self._clock(leg, minute)
            for leg in self.legs:
                self._manage(leg, minute)
            for leg in self.legs:
                self._question(leg, minute)
            if minute:
                held = [(leg.held, leg.at(minute - 1)[3]) for leg in self.legs]
                self.equity.append(self.cash + sum(each.quantity * close for each, close in held if each is not None))
        return self

    # --- what there is ------------------------------------------------------------------------------------------

    def _reserved(self) -> float:
        return sum(order.reserved for leg in self.legs for order in leg.orders)

    def _free(self, free: float) -> float:
        return free if free > EXACT * self.world.capital else 0.0

    def _free_to_ask(self, minute: int) -> float:
        """With what was ordered to leave, at the last close."""
        comes = sum(leg.leaving(minute) * leg.at(minute - 1)[3] * (1 - FEE) for leg in self.legs)
        return self._free(self.cash + comes - self._reserved())

    def _free_to_fill(self, asking: Leg, minute: int) -> float:
        """With what leaves of the other one at the open of this bar, and without what was sold inside it."""
        others = [leg for leg in self.legs if leg is not asking and leg.symbol not in self._told]
        comes = sum(leg.leaving(minute) * leg.at(minute)[0] * (1 - FEE) for leg in others)
        return self._free(self.cash + comes - self._reserved() - self._inside)

    def _floor(self, quantity: float) -> float:
        step = self.world.step
        return quantity if step is None else math.floor(quantity / step * (1 + EXACT)) * step

    def _paid(self, wanted: float, price: float, free: float) -> float:
        cost = price * (1 + FEE)
        return wanted if wanted * cost <= free * (1 + EXACT) else min(free / cost, wanted)

    # --- moments ------------------------------------------------------------------------------------------------

    def _clock(self, leg: Leg, minute: int) -> None:
        entry, held = leg.entry, leg.held
        if entry is not None and entry.first.until <= minute:
            leg.entry = None
        if held is not None and held.leaves is None:
            held.orders = [order for order in held.orders if order.until > minute]
            if held.deadline <= minute:
                held.leaves = minute

    def _manage(self, leg: Leg, minute: int) -> None:
        held = leg.held
        if held is None or held.leaves is not None:
            return
        close = leg.at(minute - 1)[3]
        what = self.world.managed(leg.symbol, minute, close)
        if what is None:
            return
        kind, share, price, valid = what
        if price is not None and price <= held.stop:
            return  # it is rejected
        if kind == "close":
            held.leaves = minute
        elif kind == "reduce":
            held.number += 1
            held.reduces.append(share * held.size)
        else:
            held.number += 1
            at = close if price is None else price
            paid = self._paid(share * held.first, at, self._free_to_ask(minute))
            if (quantity := self._floor(paid)) > 0.0:
                until = math.inf if price is None else minute + valid
                reserved = paid * at * (1 + FEE)
                held.orders.append(Waits(held.number - 1, price, quantity, reserved, until, minute))

    def _question(self, leg: Leg, minute: int) -> None:
        held = leg.held
        if leg.entry is not None or (held is not None and held.leaves is None):
            return
        close = leg.at(minute - 1)[3]
        signal = self.world.signal(leg.symbol, minute, close)
        if signal is None:
            return
        by_stop = signal.get("entry") == "stop"
        parts = [(close if price is None else price, price, share) for price, share in signal["price_open"]]
        average, units = sum(at * share for at, _, share in parts), self.world.units
        whole = self.world.money / average if units is None else units
        whole = self._paid(whole, average, self._free_to_ask(minute))
        (at, price, share), *rest = parts
        quantity = self._floor(whole * share)
        if quantity <= 0.0:
            return
        until = minute + signal["valid"]
        money = whole * share * at
        first = Waits(0, price, quantity, money * (1 + FEE), math.inf if price is None else until, minute, by_stop)
        others = [
            (part / share, Waits(number, level, quantity * part / share, quantity * part / share * each * (1 + FEE),
                                 until, minute, by_stop))
            for number, (each, level, part) in enumerate(rest, 1)
        ]  # fmt: skip
        leg.entry = Entry(signal, minute, first, others, money if units is None else None)

    # --- bars ---------------------------------------------------------------------------------------------------

    def _bar(self, leg: Leg, minute: int) -> None:
        held, bar = leg.held, leg.at(minute)
        if held is not None:
            self._reduce(leg, held, minute, bar[0])
            if held.leaves is not None:
                self._exit(leg, held, minute, bar[0], ordered=True)
            else:
                self._within(leg, held, minute, bar)
        if leg.entry is not None and leg.held is None and leg.entry.minute <= minute:
            self._enter(leg, leg.entry, minute, bar)

    def _reduce(self, leg: Leg, held: Held, minute: int, price: float) -> None:
        for share in held.reduces:
            quantity = held.quantity * share / held.size
            held.quantity, held.size = held.quantity - quantity, held.size - share
            self.cash += quantity * price * (1 - FEE)
            self.fills.append((minute, leg.symbol, "reduce", price, quantity, share))
        held.reduces = []

    def _exit(self, leg: Leg, held: Held, minute: int, price: float, *, ordered: bool = False) -> None:
        money = held.quantity * price * (1 - FEE)
        self.cash += money
        self._inside += 0.0 if ordered else money
        self.fills.append((minute, leg.symbol, "exit", price, held.quantity, held.size))
        leg.held = None

    def _enter(self, leg: Leg, entry: Entry, minute: int, bar: Bar) -> None:
        opened, high, low, _ = bar
        level, is_new, entry.is_new = entry.first.price, entry.is_new, False
        stop = entry.signal.get("price_stop_loss", -math.inf)
        rest: Bar | None = bar  # of the bar, behind the entry
        if level is None:
            price = opened
        elif entry.first.is_stop:
            if opened > level or (is_new and opened >= level):
                price = opened
            elif high >= level:
                price, rest = level, None
            else:
                if low <= stop:
                    leg.entry = None
                return
        elif opened < level or (is_new and opened <= level):
            price = opened
        elif low < level or low <= stop:
            price, rest = level, (level, level, low, low)
        else:
            return
        leg.entry = None
        reserved = sum(order.reserved for _, order in entry.parts)
        wanted = entry.first.quantity if entry.money is None else entry.money / price
        paid = self._paid(wanted, price, self._free(self._free_to_fill(leg, minute) - reserved))
        quantity = self._floor(paid)
        if quantity <= 0.0:
            return
        self.cash -= quantity * price * (1 + FEE)
        self.fills.append((minute, leg.symbol, "entry", price, quantity, 1.0))
        larger = quantity / entry.first.quantity
        for _, order in entry.parts:
            order.quantity, order.reserved, order.not_before = order.quantity * larger, order.reserved * larger, minute
        minutes = entry.signal["minute_estimated_time"]
        leg.held = Held(quantity, quantity, 1.0, minute, minute + minutes, stop, [order for _, order in entry.parts],
                        number=1 + len(entry.parts))  # fmt: skip
        if rest is None:  # it looks for its stop from the next bar on
            self._stop_orders(leg, leg.held, minute, high)
        else:
            self._within(leg, leg.held, minute, rest)

    def _within(self, leg: Leg, held: Held, minute: int, bar: Bar) -> None:
        """Adds at the open of a bar, the stop there, adds in its range, and the stop behind them."""
        opened, high, low, _ = bar
        for order in self._due(held, minute):
            price = order.price
            away = 0.0 if price is None else (price - opened if order.is_stop else opened - price)
            if price is None or away < 0 or (away == 0 and not order.rests):
                self._add(leg, held, order, minute, opened)
        if opened <= held.stop:
            self._exit(leg, held, minute, opened)
            return
        lost, limits = low <= held.stop, [order for order in self._due(held, minute) if not order.is_stop]
        for order in limits:
            if order.price is not None and low < order.price and (not lost or order.price > held.stop):
                self._add(leg, held, order, minute, order.price)
        self._stop_orders(leg, held, minute, high)
        if lost:
            self.ends_with_adds += any(fill[:3] == (minute, leg.symbol, "add") for fill in self.fills[-4:])
            self._exit(leg, held, minute, held.stop)
            return
        for order in held.orders:
            order.rests = True

    def _stop_orders(self, leg: Leg, held: Held, minute: int, high: float) -> None:
        for order in self._due(held, minute):
            if order.is_stop and order.price is not None and high >= order.price:
                self._add(leg, held, order, minute, order.price)

    def _due(self, held: Held, minute: int) -> list[Waits]:
        due = [order for order in held.orders if order.not_before <= minute]
        return sorted(due, key=lambda each: (each.price is not None, each.is_stop,
                                             0.0 if each.price is None else each.price if each.is_stop else -each.price)
                      )  # fmt: skip

    def _add(self, leg: Leg, held: Held, order: Waits, minute: int, price: float) -> None:
        held.orders.remove(order)
        quantity = self._floor(self._paid(order.quantity, price, self._free_to_fill(leg, minute)))
        is_cut = quantity < order.quantity * (1 - EXACT)
        self.cuts += is_cut
        self.cuts_with_entry += is_cut and held.since == minute
        if quantity <= EXACT * held.first:
            self.nothing += 1
            return
        held.quantity, held.size = held.quantity + quantity, held.size + quantity / held.first
        self.cash -= quantity * price * (1 + FEE)
        self.fills.append((minute, leg.symbol, "add", price, quantity, quantity / held.first))
