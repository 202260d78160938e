"""What there is in a run of lists, places, entries in parts and adds: orders, entries that wait, positions.

Written, as ``orders_simulator.py`` is, from the pages that state the contract, docs/execution.md and docs/positions.md,
and from nothing else; of bknb it reads the fields of answers alone. Prices of a short have the other sign inside, so
that one rule serves both sides. Moments are minutes. "Reading" says what is assumed where the pages are silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import bknb

NEVER, NOTHING, DUST = math.inf, -math.inf, 1e-9
Fill = tuple[int, str, float, float, str]  # minute, kind, share of the first size, price, reason
Target = tuple[float, float | None, bool]  # level or percent, share (None: all), whether it is in percent


class Bar(NamedTuple):
    """One minute."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class World:
    """``bars[k]`` opens at minute k; ``ask(when, price, close)``, ``manage(when, price, close, position)``."""

    bars: list[Bar]
    start: int
    end: int
    interval: int
    manage_interval: int
    places: int
    await_minutes: int
    percent_fee: float
    percent_slippage: float
    ask: Callable[..., Any]
    manage: Callable[..., Any]

    def price(self, when: int) -> float:
        """The average of the last five closed minutes, weighted by volume; without any, of their closes."""
        seen = self.bars[when - 5 : when]
        volume = sum(bar.volume for bar in seen)
        if not volume:
            return sum(bar.close for bar in seen) / 5
        return sum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in seen) / volume


@dataclass
class Order:
    """An entry, a part of one, or an add; without ``level`` at the market, there a share below 0 closes a part.

    ``stop`` is in force from its fill on.
    """

    id: str
    level: float | None
    share: float
    by_stop: bool = False
    until: float = NEVER
    stop: float = NOTHING
    is_new: bool = True  # no candle has come since it was ordered

    @property
    def turn(self) -> tuple[int, float]:
        """At the market, then limits, then stops, of each the nearest first."""
        if self.level is None:
            return 0, 0.0
        return (2, self.level) if self.by_stop else (1, -self.level)

    def at_open(self, opened: float) -> bool:
        if self.level is None:
            return True
        beyond = opened - self.level if self.by_stop else self.level - opened
        return beyond > 0 or (beyond == 0 and self.is_new)

    def is_reached(self, low: float, high: float) -> bool:
        return self.level is not None and (high >= self.level if self.by_stop else low < self.level)


def in_turn(orders: Iterable[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: order.turn)


@dataclass
class Entry:
    """A signal that waits: its first order, and parts that rest once that has filled; shares are of the whole."""

    signal: bknb.Signal
    orders: list[Order]
    since: int

    @property
    def first(self) -> Order:
        return self.orders[0]

    @property
    def sign(self) -> int:
        return 1 if self.signal.position == "long" else -1

    @property
    def stop(self) -> float:
        """The one that is a price."""
        return NOTHING if self.signal.price_stop_loss is None else self.sign * self.signal.price_stop_loss

    def stop_from(self, paid: float) -> float:
        """The stop of who paid that."""
        return self.stop if self.signal.stop_percent is None else away(paid, -self.signal.stop_percent)

    def targets(self) -> list[Target]:
        percent = self.signal.target_percent is not None
        given = self.signal.target_percent if percent else self.signal.price_take_profit
        ladder = given if isinstance(given, list) else [] if given is None else [(given, None)]
        return [(one if percent else self.sign * one, share, percent) for one, share in ladder]

    def is_right(self, level: float, price: float) -> bool:
        """Whether levels are on their sides of every price at which it may fill."""
        prices = [level, price] if self.first.by_stop or level >= price else [level]
        targets = [one for one, _, percent in self.targets() if not percent]
        return all(self.stop < paid < min([*targets, math.inf]) for paid in prices)


@dataclass
class Waiting:
    """Entries that compete for a place."""

    entries: list[Entry]
    managed: int  # the slot in which manage was asked last
    is_new: bool = True  # no candle has come since it was ordered, or one of it was moved

    @property
    def since(self) -> int:
        return self.entries[0].since


@dataclass
class Position:
    """What is open in a place; ``cost`` and ``bought`` are sums over its entries, shares are of the first size."""

    entry: Entry
    since: int
    waiting: list[Order]
    stop: float
    stop_percent: float | None
    goals: list[Target]
    best: float
    worst: float
    deadline: float
    managed: int
    number: int  # of its newest order or fill
    cost: float = 0.0
    bought: float = 0.0
    size: float = 0.0
    fills: list[Fill] = field(default_factory=list)
    ambiguous: bool = False
    leaving: str = ""
    next: Waiting | None = None

    @property
    def sign(self) -> int:
        return self.entry.sign

    @property
    def average(self) -> float:
        return self.cost / self.bought

    @property
    def stop_now(self) -> float:
        return self.stop if self.stop_percent is None else away(self.average, -self.stop_percent)

    def targets(self) -> list[tuple[float, float | None]]:
        """Level and share of those that have not filled, the nearest first."""
        return sorted(
            ((away(self.average, one) if percent else one, share) for one, share, percent in self.goals),
            key=lambda target: target[0],
        )

    def order(self, level: float | None, share: float, **more: Any) -> None:
        self.number += 1
        self.waiting.append(Order(f"{self.entry.first.id}#{self.number}", level, share, **more))

    def pay(self, order: Order, price: float) -> None:
        """It is larger; a tighter stop of an add takes the place of the one there was, of one in percent, too."""
        self.cost, self.bought = self.cost + order.share * price, self.bought + order.share
        if order.stop > self.stop_now:
            self.stop, self.stop_percent = order.stop, None

    def enters(self, order: Order, when: int, price: float, kind: str = "add") -> None:
        self.pay(order, price)
        self.size += order.share
        self.fills.append((when, kind, order.share, self.sign * price, ""))

    def adds(self, order: Order, when: int, price: float) -> None:
        self.waiting.remove(order)
        self.enters(order, when, price)

    def leaves(self, when: int, kind: str, share: float, price: float, reason: str) -> None:
        self.size -= share
        self.fills.append((when, kind, share, self.sign * price, reason))


class View(NamedTuple):
    """What ``manage`` is shown; of an order that waits its id and price."""

    place: str
    id: str
    sign: int
    size: float
    average_price: float | None
    last_entry: float | None
    entries: int
    price_stop_loss: float | None
    best_price: float | None
    worst_price: float | None
    targets: int
    deadline: float | None
    waiting: tuple[tuple[str, float | None], ...]


def view(name: str, place: Waiting | Position) -> View:
    if isinstance(place, Waiting):
        entry = place.entries[0]
        paid = None if entry.first.by_stop and entry.signal.stop_percent else entry.first.level
        stop = NOTHING if paid is None else entry.stop_from(paid)  # "A stop entry has none before it fills"
        orders = tuple((each.first.id, unsigned(each.sign, each.first.level)) for each in place.entries)
        return View(name, entry.first.id, entry.sign, 0.0, None, None, 0, unsigned(entry.sign, stop), None, None,
                    len(entry.targets()), None, orders)  # fmt: skip
    entries = [price for _, kind, _, price, _ in place.fills if kind in ("entry", "add")]
    average, stop_now, best, worst = (
        unsigned(place.sign, one) for one in (place.average, place.stop_now, place.best, place.worst)
    )
    return View(name, place.entry.first.id, place.sign, place.size, average, entries[-1], len(entries), stop_now, best,
                worst, len(place.goals), None if place.deadline == NEVER else place.deadline,
                tuple((each.id, unsigned(place.sign, each.level)) for each in place.waiting))  # fmt: skip


class Trade(NamedTuple):
    """A position that is over; ``net`` in percent of what its first fill cost."""

    id: str
    place: str
    since: int
    ended: int
    reason: str
    ambiguous: bool
    net: float
    fills: tuple[Fill, ...]


def money_of(world: World, sign: int, fills: Iterable[Fill]) -> tuple[float, float]:
    """What all fills bring, each with its slippage and fee, and what the first costs."""
    slip, fee, money, first = world.percent_slippage / 100, world.percent_fee / 100, 0.0, 0.0
    for _, kind, share, price, _ in fills:
        bought = sign if kind in ("entry", "add") else -sign
        paid = price * (1 + bought * slip)
        money -= share * paid * (bought + fee)
        first = first or paid
    return money, first


def away(paid: float, percent: float) -> float:
    """So many percent better than what was paid."""
    return paid * (1 + math.copysign(1, paid) * percent / 100)


def unsigned(sign: int, level: float | None) -> float | None:
    return None if level is None or level == NOTHING else sign * level


def ends_of(entry: Entry, bar: Bar) -> tuple[float, float]:
    """Low and high of a bar, as the side of an entry sees them."""
    return (bar.low, bar.high) if entry.sign > 0 else (-bar.high, -bar.low)


def nearest_first(orders: Iterable[Order], name: str) -> list[Order]:
    """Parts of an entry; the nearest has the id, and at the market it waits for as long as it takes."""
    first, *others = in_turn(orders)
    until = NEVER if first.level is None else first.until
    return [
        replace(first, id=name, until=until),
        *(replace(each, id=f"{name}#{k}") for k, each in enumerate(others, 1)),
    ]
