"""Several strategies on several symbols as one plain loop over moments: what the contract says of a portfolio.

Written from the page that states the order of a moment, for execution ``pessimistic``, market and limit entries with
one target and one stop, bars that all trade, and a risk profile that all legs share. Every leg is looked at at every
moment; nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from page_simulator import Bar, average

MINUTE = 60_000
RESTING_BARS = 20


class Told(NamedTuple):
    """What is told of a leg (its number); ``taken``: how many places others had when the profile refused."""

    leg: int
    kind: str
    when: int
    price: float | None = None
    reason: str = ""
    taken: int = 0


class Place(NamedTuple):
    leg: int
    signal: int
    scheduled: bool


@dataclass
class Order:
    """An entry; ``level`` is None at the market, and ``rests`` once a bar has not filled it."""

    number: int
    sign: int
    level: float | None
    stop: float
    target: float
    minutes: int
    asked: int
    rests: bool = False


@dataclass
class Position:
    order: Order
    price: float
    since: int
    leaving: str = ""


@dataclass
class Leg:
    """A strategy on bars of ``step`` ms: asked every ``interval`` ms for an order's fields, and whether to close."""

    bars: Sequence[Bar]
    step: int
    interval: int
    ask: Callable[[int, float], Mapping[str, Any] | None]
    closes: Callable[[int], bool]
    order: Order | None = None
    position: Position | None = None
    slot: int = -1
    at: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = {bar.t: k for k, bar in enumerate(self.bars)}

    @property
    def end(self) -> int:
        """The close of its last bar."""
        return self.bars[-1].t + self.step


class PortfolioLoop:
    """Plays legs from a first to a last moment; ``allows`` is the rule of the risk profile on what others hold."""

    def __init__(
        self,
        legs: Sequence[Leg],
        *,
        start: int,
        last: int,
        allows: Callable[[Sequence[Place]], bool],
        await_minutes: int,
    ) -> None:
        self.legs, self.start, self.last = legs, start, last
        self.allows, self.await_minutes = allows, await_minutes
        self.told: list[Told] = []
        self.places: list[Place] = []
        self.freed: list[tuple[int, Place]] = []  # since when each is free
        self.count = 0
        self.now = 0

    def play(self) -> list[Told]:
        ends = max(leg.end for leg in self.legs)
        for now in range(self.start, ends + MINUTE, MINUTE):
            self.now = now
            for phase in (self.bar, self.clock, self.manage, self.question, self.data_end):
                for number, leg in enumerate(self.legs):
                    if now % leg.step == 0:
                        phase(number, leg)
        return self.told

    # --- places -----------------------------------------------------------------------------------------------------

    def granted(self, number: int, order: Order, seen_from: int, ending: int | None) -> bool:
        """Asks the profile; inside a bar, what others gave back since its start still counts."""
        mine = {order.number, ending}
        others = [place for place in self.places if place.signal not in mine]
        others += [place for since, place in self.freed if since > seen_from and place.leg != number]
        if not self.allows(others):
            self.told.append(
                Told(number, "refused", self.now if seen_from == self.now else seen_from, taken=len(others))
            )
            return False
        return True

    def give_back(self, order: Order) -> None:
        for place in [place for place in self.places if place.signal == order.number]:
            self.places.remove(place)
            self.freed.append((self.now, place))

    # --- what happens -----------------------------------------------------------------------------------------------

    def cancel(self, number: int, leg: Leg, when: int, reason: str) -> None:
        assert leg.order
        self.told.append(Told(number, "cancelled", when, None, reason))
        self.give_back(leg.order)
        leg.order = None

    def close(self, number: int, leg: Leg, when: int, price: float, reason: str) -> None:
        assert leg.position
        self.told.append(Told(number, "closed", when, price, reason))
        self.give_back(leg.position.order)
        leg.position = None

    def open(self, number: int, leg: Leg, when: int, price: float) -> None:
        assert leg.order
        self.told.append(Told(number, "opened", when, price))
        mine = leg.order.number
        self.places = [each._replace(scheduled=False) if each.signal == mine else each for each in self.places]
        leg.position, leg.order = Position(leg.order, price, when), None

    # --- the phases -------------------------------------------------------------------------------------------------

    def bar(self, number: int, leg: Leg) -> None:
        """What happened in the bar that closes now."""
        k = leg.at.get(self.now - leg.step)
        if k is None or leg.bars[k].t < self.start:
            return
        bar = leg.bars[k]
        if leg.position and leg.position.leaving:
            self.close(number, leg, bar.t, bar.open, leg.position.leaving)
        elif leg.position:
            self.levels(number, leg, bar)
            return
        if leg.order:
            self.entry(number, leg, bar)

    def levels(self, number: int, leg: Leg, bar: Bar) -> None:
        """Stop and target against a bar: its open first, then the stop."""
        assert leg.position
        order = leg.position.order
        sign, stop, target = order.sign, order.sign * order.stop, order.sign * order.target
        opened = sign * bar.open
        worst, best = (sign * bar.low, sign * bar.high) if sign > 0 else (sign * bar.high, sign * bar.low)
        if opened <= stop:
            self.close(number, leg, bar.t, bar.open, "stop_loss")
        elif opened > target:
            self.close(number, leg, bar.t, bar.open, "take_profit")
        elif worst <= stop:
            self.close(number, leg, bar.t, order.stop, "stop_loss")
        elif best > target:
            self.close(number, leg, bar.t, order.target, "take_profit")

    def filled_at_open(self, number: int, leg: Leg, bar: Bar) -> None:
        order = leg.order
        assert order
        self.open(number, leg, bar.t, bar.open)
        if order.sign * (bar.open - order.stop) <= 0:
            self.close(number, leg, bar.t, bar.open, "stop_loss")
        elif order.sign * (order.target - bar.open) <= 0:
            self.close(number, leg, bar.t, bar.open, "take_profit")
        else:
            self.levels(number, leg, bar)

    def entry(self, number: int, leg: Leg, bar: Bar) -> None:
        order = leg.order
        assert order
        if order.level is None:
            self.filled_at_open(number, leg, bar)
            return
        level, opened = order.sign * order.level, order.sign * bar.open
        worst = order.sign * (bar.low if order.sign > 0 else bar.high)
        first = not order.rests
        if first and opened <= level:
            self.filled_at_open(number, leg, bar)
            return
        if first:
            self.told.append(Told(number, "scheduled", bar.t, order.level))
            order.rests = True
        stopped = worst <= order.sign * order.stop
        if not (opened < level or stopped or worst < level):
            return
        if not first and not self.granted(number, order, bar.t, None):  # else it was asked about with the question
            self.cancel(number, leg, bar.t, "risk")
            return
        if opened < level:
            self.filled_at_open(number, leg, bar)
            return
        self.open(number, leg, bar.t, order.level)
        if stopped:
            self.close(number, leg, bar.t, order.stop, "stop_loss")

    def clock(self, number: int, leg: Leg) -> None:
        """What the clock ends: the frame, what has waited long enough, deadlines."""
        if self.now > self.last or self.now > leg.end:
            return
        over = self.now == self.last
        if leg.order and over:
            self.cancel(number, leg, self.now, "frame_end")
        elif leg.order and leg.order.rests:
            longest = max(self.await_minutes * MINUTE, leg.interval)
            if leg.step > MINUTE:
                longest = max(longest, RESTING_BARS * leg.step)
            if self.now - leg.order.asked >= longest:
                self.cancel(number, leg, self.now, "timeout")
        if leg.position and not leg.position.leaving:
            expired = self.now - leg.position.since >= leg.position.order.minutes * MINUTE
            leg.position.leaving = "frame_end" if over else "time_expired" if expired else ""

    def manage(self, _number: int, leg: Leg) -> None:
        asked = self.now < self.last and self.now < leg.end
        if asked and leg.position and not leg.position.leaving and leg.closes(self.now):
            leg.position.leaving = "strategy"

    def question(self, number: int, leg: Leg) -> None:
        free = leg.order is None and (leg.position is None or leg.position.leaving)
        if self.now >= self.last or self.now >= leg.end or not free or self.now // leg.interval <= leg.slot:
            return
        leg.slot = self.now // leg.interval
        k = leg.at[self.now]
        price = average(leg.bars[k - 5 : k]) if leg.step == MINUTE else leg.bars[k - 1].close
        answer = leg.ask(self.now, price)
        if answer is None:
            return
        order = Order(self.count, asked=self.now, **answer)
        self.count += 1
        ending = leg.position.order.number if leg.position else None
        if self.granted(number, order, self.now, ending):
            self.places.append(Place(number, order.number, scheduled=order.level is not None))
            leg.order = order

    def data_end(self, number: int, leg: Leg) -> None:
        """No further bar comes."""
        if self.now != leg.end:
            return
        if leg.position:
            self.close(number, leg, leg.bars[-1].t, leg.bars[-1].close, "data_end")
        if leg.order:
            self.cancel(number, leg, leg.bars[-1].t, "data_end")
