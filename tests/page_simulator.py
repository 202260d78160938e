"""The execution contract as plain loops: an independent statement of what happens to a signal, minute by minute.

Written from the page that states the contract and from nothing else; slow, and meant to be read beside it. Sentences of
the page stand in quotation marks at the statement that carries them out. "Reading" says what is assumed where the page
is silent. One strategy, one symbol, bars of one minute.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

MINUTE = 60_000
DAY = 1440 * MINUTE
MARKET, LIMIT, STOP = "market", "limit", "stop"
SETTINGS: Mapping[str, float] = {
    "schedule_await_minutes": 120,
    "avg_price_candles_count": 5,
    "percent_slippage": 0.1,
    "percent_fee": 0.1,
    "min_take_profit_distance_percent": 0.5,
    "min_stop_loss_distance_percent": 0.5,
    "max_stop_loss_distance_percent": 20.0,
    "max_signal_lifetime_minutes": 1440,
}


class Bar(NamedTuple):
    """A candle that covers ``[t, t + one minute)``; ``t`` in ms."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Event(NamedTuple):
    """What is told: ``signal`` counts accepted signals from 0, ``price`` is None where nothing was traded or set."""

    kind: str
    when: int
    price: float | None
    reason: str
    signal: int
    ambiguous: bool


class Money(NamedTuple):
    """The money of one trade, in percent of its entry."""

    net: float
    gross: float
    fees: float
    slippage: float


def always(when: int) -> bool:
    """Yes, at every moment."""
    return True


@dataclass(frozen=True)
class World:
    """A market and a strategy.

    ``ask(when, price)`` gives a signal's fields; ``allowed(when)`` is the risk profile, ``is_open(when)`` hours.
    """

    rows: Sequence[Sequence[float]]
    model: str
    ask: Callable[[int, float], Mapping[str, Any] | None]
    start: int
    end: int
    step: int = MINUTE
    interval: int = MINUTE
    settings: Mapping[str, float] = field(default_factory=dict)
    tick: float | None = None
    allowed: Callable[[int], bool] = always
    is_open: Callable[[int], bool] = always


@dataclass
class Order:
    """An entry. Its prices are those of a long; those of a short have the other sign, so that one rule serves both."""

    number: int
    sign: int
    kind: str
    level: float
    stop: float
    target: float
    minutes: float
    asked: int
    opening: bool = True


@dataclass
class Position:
    """What is open; ``filled`` says where the entry found its price, ``leaving`` why an exit was ordered."""

    order: Order
    price: float
    since: int
    filled: str
    leaving: str = ""
    ambiguous: bool = False


def average(bars: Sequence[Bar]) -> float:
    """``price``: "Σ typical·volume / Σ volume with typical = (h+l+c)/3; with zero volume the mean of the closes"."""
    volume = sum(bar.volume for bar in bars)
    if volume == 0:
        return sum(bar.close for bar in bars) / len(bars)
    return sum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in bars) / volume


def money(sign: int, entry: float, leave: float, percent_slippage: float, percent_fee: float) -> Money:
    """The section "Money of one trade"."""
    slip = sign * percent_slippage / 100
    # "Long: entry' = open·(1+s), exit' = close·(1-s), gross = (exit' - entry')/entry'. Short mirrored."
    paid, got = entry * (1 + slip), leave * (1 - slip)
    after_slippage = 100 * sign * (got - paid) / paid
    # "Net % = 100·gross - f·(1 + exit'/entry')."
    fees = percent_fee * (1 + got / paid)
    # "`gross - fees - slippage = net`": the gross column is the move from fill to fill.
    gross = 100 * sign * (leave - entry) / entry
    return Money(after_slippage - fees, gross, fees, gross - after_slippage)


def on_grid(price: float, tick: float | None, side: int) -> float:
    """The price on the tick grid, rounded up with ``side`` 1, down with -1. "Unknown: no rounding"."""
    if tick is None or not math.isfinite(price):
        return price
    step = Fraction(repr(tick))  # "A tick is the decimal number it is written as"
    steps = Fraction(price) / step
    nearest = round(steps)
    # "a level on the grid is the float nearest to a whole multiple of it"; "A level within a millionth of a tick of the
    # grid is put on it"
    if float(nearest * step) == price or abs(steps - nearest) <= Fraction(1, 1_000_000):
        return float(nearest * step)
    return float((math.ceil(steps) if side > 0 else math.floor(steps)) * step)


@cache  # the same in each model
def sessions(is_open: Callable[[int], bool], first: int, last: int) -> tuple[tuple[int, int], ...]:
    """The sessions ``[open, close)`` between two moments; reading: each unbroken stretch of open minutes is one."""
    found, opened = [], None
    for when in range(first, last, MINUTE):
        if is_open(when) and opened is None:
            opened = when
        elif not is_open(when) and opened is not None:
            found.append((opened, when))
            opened = None
    return tuple(found)


class Simulator:
    """What all models share: the signal's way to an order, and what is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = {**SETTINGS, **world.settings}
        self.bars = [Bar(int(row[0]), *map(float, row[1:6])) for row in world.rows]
        self.at = {bar.t: k for k, bar in enumerate(self.bars)}
        self.start = world.start - world.start % MINUTE  # reading: a start inside a minute belongs to that minute
        # "A frame runs over `start, start+interval, …` up to and including the last moment `<= end`."
        self.last = self.start + (world.end - self.start) // world.step * world.step
        self.events: list[Event] = []
        self.trades: list[tuple[Event, Money]] = []
        self.asked: list[int] = []
        self.slot = -1
        of_day = world.interval == DAY and world.is_open is not always
        self.sessions = sessions(world.is_open, self.start - 8 * DAY, self.last + 8 * DAY) if of_day else ()
        self.count = 0
        self.order: Order | None = None
        self.position: Position | None = None

    def moments(self) -> list[int]:
        """ "A moment `when` is a boundary of base bars": of bars that exist; and where "a session opens" by the day."""
        edges = {bar.t + end for bar in self.bars for end in (0, MINUTE)}
        return sorted(edges | {opened for opened, _ in self.sessions if opened <= self.bars[-1].t})

    def tell(
        self,
        kind: str,
        when: int,
        price: float | None = None,
        reason: str = "",
        *,
        signal: int = -1,
        doubt: bool = False,
    ) -> None:
        self.events.append(Event(kind, when, price, reason, signal, doubt))

    def cancel(self, when: int, reason: str) -> None:
        assert self.order
        self.tell("cancelled", when, None, reason, signal=self.order.number)
        self.order = None

    def open(self, when: int, price: float, filled: str) -> None:
        order = self.order
        assert order
        # "risk … again when a resting entry is touched, never twice in one bar": the bar of the question was asked for.
        if not order.opening and when != order.asked and not self.world.allowed(when):
            self.tell("refused", when)
            self.cancel(when, "risk")  # reading: refused then, it is cancelled
            return
        self.tell("opened", when, order.sign * price, signal=order.number)
        self.position, self.order = Position(order, price, when, filled), None

    def close(self, when: int, price: float, reason: str) -> None:
        position = self.position
        assert position
        order = position.order
        self.tell("closed", when, order.sign * price, reason, signal=order.number, doubt=position.ambiguous)
        prices = order.sign * position.price, order.sign * price
        costs = self.settings["percent_slippage"], self.settings["percent_fee"]
        self.trades.append((self.events[-1], money(order.sign, *prices, *costs)))
        self.position = None

    def price(self, when: int) -> float:
        # "At moment `when` a strategy can see exactly the candles with `t + interval <= when`"
        closed = bisect_right(self.bars, when - MINUTE, key=lambda bar: bar.t)
        return average(self.bars[closed - int(self.settings["avg_price_candles_count"]) : closed])

    def can_be_asked(self, when: int) -> bool:
        """Whether the strategy is asked at a moment at which nothing is open or scheduled."""
        # "A question at the frame's last moment is not asked" ("`vwap`: …, as the original", which asks)
        of_frame = self.start <= when and (when <= self.last if self.world.model == "vwap" else when < self.last)
        if self.sessions:
            # "In a market with sessions a day is a session: a `get_signal` by the day … asked once a session from its
            # open on", "while the market is open", "of the sessions that open in the frame"
            in_time = of_frame and self.world.is_open(when) and when <= self.bars[-1].t
            return in_time and any(self.start <= day and self.slot < day <= when for day, _ in self.sessions)
        of_frame = of_frame and (when - self.start) % self.world.step == 0
        # "asked at most once per slot of its interval (`floor(when / interval)`): at the first moment of a slot at
        # which it can be asked"; reading: it can when the bar that closes at `when` exists and `price` has its bars.
        fresh = when // self.world.interval > self.slot
        known = self.at.get(when - MINUTE, -1) + 1 >= self.settings["avg_price_candles_count"]
        # "While the market is closed … a strategy is not asked" (``bknb.exchanges.in_sessions``)
        # and not before the average price is one of this session: "so short after the opening that there is no price"
        count = int(self.settings["avg_price_candles_count"])
        # reading: where no bar opens any more nobody could fill an order, so nobody is asked
        in_time = of_frame and fresh and known and when <= self.bars[-1].t
        return in_time and all(self.world.is_open(when - back * MINUTE) for back in range(count + 1))

    def question(self, when: int) -> None:
        """Ask the strategy, if this is a moment at which it is asked."""
        if not self.can_be_asked(when):
            return
        self.slot = when if self.sessions else when // self.world.interval
        price = self.price(when)
        self.asked.append(when)
        answer = self.world.ask(when, price)
        if answer is None:
            return
        order = self.order_of(answer, when)
        # "Sides and distances are validated at the question"
        if self.broken(answer, order, order.sign * price):
            self.tell("rejected", when)  # "A rejected signal is an event with reasons, never an exception"
        elif not self.world.allowed(when):  # "Risk is asked at `when`, before any order leaves"
            self.tell("refused", when)
        else:
            order.number, self.count = self.count, self.count + 1
            self.order = order

    def order_of(self, answer: Mapping[str, Any], when: int) -> Order:
        sign = 1 if answer["position"] == "long" else -1
        level, tick = answer.get("price_open"), self.world.tick
        # "No `price_open` → a market order. `price_open` given → a limit (or with `entry="stop"` a stop entry)"
        kind = MARKET if level is None else STOP if answer.get("entry") == "stop" else LIMIT
        # "away from the market: buy limits, sell stops and stops of longs down; sell limits, targets of longs and buy
        # stops up"
        level = on_grid(level or math.nan, tick, sign if kind == STOP else -sign)
        # "price_stop_loss may be None", "minute_estimated_time=None: no deadline": as far away as can be
        stop, target, minutes = (
            answer.get(name) for name in ("price_stop_loss", "price_take_profit", "minute_estimated_time")
        )
        stop = -math.inf if stop is None else sign * on_grid(stop, tick, -sign)
        target = math.inf if target is None else sign * on_grid(target, tick, sign)
        return Order(-1, sign, kind, sign * level, stop, target, math.inf if minutes is None else minutes, when)

    def broken(self, answer: Mapping[str, Any], order: Order, price: float) -> bool:
        """Whether the signal breaks a rule; ``price`` as a long sees it."""
        limits, minutes = self.settings, order.minutes
        given = [answer.get(name) for name in ("price_open", "price_stop_loss", "price_take_profit")]
        # "unknown position, …, numbers that are not finite floats"
        wrong = answer["position"] not in ("long", "short")
        wrong |= any(value is not None and not (math.isfinite(value) and value > 0) for value in given)
        if wrong:
            return True
        if minutes < math.inf and not (
            0 < minutes <= limits["max_signal_lifetime_minutes"] and minutes == int(minutes)
        ):
            return True
        # "for a market order against `price`; for a limit against the limit and, when `price` has reached it, against
        # `price`; for a stop entry against the level and `price`"
        reached = order.kind == LIMIT and price <= order.level
        sides = [] if order.kind == MARKET else [order.level]
        if order.kind != LIMIT or reached:
            sides.append(price)
        wrong = any(not order.stop < entry < order.target for entry in sides)
        # reading: distances against the same prices; in `vwap`, as the original, against the limit alone
        for entry in sides[:1] if self.world.model == "vwap" else sides:
            far, near = (order.target - entry) / abs(entry) * 100, (entry - order.stop) / abs(entry) * 100
            wrong |= far < limits["min_take_profit_distance_percent"] or near < limits["min_stop_loss_distance_percent"]
            wrong |= limits["max_stop_loss_distance_percent"] < near < math.inf
            # "a take profit that cannot cover two fees and two slippages"
            costs = limits["percent_slippage"], limits["percent_fee"]
            wrong |= order.target < math.inf and money(order.sign, abs(entry), abs(order.target), *costs).net <= 0
        return wrong

    @staticmethod
    def seen(bar: Bar, sign: int) -> tuple[int, float, float, float]:
        """Moment, open, high and low as a long sees them."""
        return bar.t, sign * bar.open, max(sign * bar.high, sign * bar.low), min(sign * bar.high, sign * bar.low)

    def rests_until(self, when: int) -> int:
        """When an entry is taken back that rests from ``when`` on."""
        # "By default it waits for `schedule_await_minutes` (120), or for one interval of the strategy where that is
        # longer"; by the day an order rests "until as long after the open of the next session"
        later = self.next_session(when) if self.sessions else when + self.world.interval
        return max(when + int(self.settings["schedule_await_minutes"]) * MINUTE, later)

    def next_session(self, when: int) -> int:
        """As long after the open of the next session; "at the latest until its close"."""
        opened = max(start for start, _ in self.sessions if start <= when)
        following, close = min(day for day in self.sessions if day[0] > when)
        return min(following + when - opened, close)


class ByBars(Simulator):
    """``pessimistic`` and ``touch``: prices are those of bars."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.strict = world.model == "pessimistic"
        # "Until a source has reported a volume, from the minutes of the first `price` on, its candles count as traded"
        closed = sum(bar.t + MINUTE <= self.start for bar in self.bars)
        seen = self.bars[max(0, closed - int(self.settings["avg_price_candles_count"])) :]
        self.reports_from = next((bar.t for bar in seen if bar.volume > 0), math.inf)

    def run(self) -> None:
        for when in self.moments():  # nothing happens inside a gap
            if when < self.start:
                continue
            self.clock(when)  # (1) was done with the bar before; "(2) what the clock ends at `when`"
            # "nothing is open or scheduled"; "What the clock … ends at `when` frees the question of that very moment"
            if self.order is None and (self.position is None or self.position.leaving):
                self.question(when)  # "(4) questions"
            if when in self.at:
                self.bar(self.bars[self.at[when]])
            if when >= self.last and self.order is None and self.position is None:
                return
        # "Data that ends early closes nothing silently: `data_end`"; "An order whose bar never comes: `data_end`"
        end = self.bars[-1]
        if self.position:
            self.close(end.t, self.position.order.sign * end.close, "data_end")  # "data end | the last close"
        if self.order:
            self.cancel(max(end.t, self.order.asked), "data_end")

    def clock(self, when: int) -> None:
        """What ends at a moment, or ended since the moment before, where no bar opened or closed.

        "The clock ends things at their exact moment, also inside a gap and while the market is closed"; of one moment
        in the order "frame end, time-out of what waits, deadline".
        """
        if self.order:
            # "cancelled at the first moment at which its `valid` has passed"; "time-outs count from the question"
            valid = math.inf if self.order.kind == MARKET else self.rests_until(self.order.asked)
            ends = min(self.last, valid)
            if when >= ends:
                self.cancel(int(ends), "frame_end" if self.last <= valid else "timeout")
        position = self.position
        if position and not position.leaving:
            # "at the first moment with `when - pending_at >= minute_estimated_time` minutes the position leaves"
            deadline = position.since + position.order.minutes * MINUTE
            if when >= min(self.last, deadline):
                position.leaving = "frame_end" if self.last <= deadline else "time_expired"

    def bar(self, bar: Bar) -> None:
        """First "orders at its open (exits, …, entries), then that open against stop … and targets, then its range"."""
        # "a bar without volume | fills nothing, checks nothing"
        if self.strict and bar.volume == 0 and bar.t > self.reports_from:
            return
        if self.position and self.position.leaving:
            # "`Close` or a deadline that meets an open beyond the stop keeps its own reason (same price)."
            self.close(bar.t, self.position.order.sign * bar.open, self.position.leaving)
        if self.order and self.order.opening:
            self.first_bar(bar)
        if self.order:
            self.resting(self.order, *self.seen(bar, self.order.sign))
        if self.position:
            self.exits(self.position, *self.seen(bar, self.position.order.sign))

    def first_bar(self, bar: Bar) -> None:
        """The open of the first bar at or after the question."""
        order = self.order
        assert order
        open_ = order.sign * bar.open
        if order.kind == MARKET:
            self.open(bar.t, open_, "open")  # "the open of the first bar …"
        elif order.kind == LIMIT and open_ <= order.level:
            self.open(bar.t, open_, "open")  # "limit that the first open reaches | fills at that open | the same"
        elif order.kind == STOP and open_ >= order.level and self.strict:
            self.open(bar.t, open_, "open")  # "at the open of its first bar if that is at or beyond it"
        elif order.kind == STOP and open_ >= order.level:
            self.open(bar.t, order.level, "level")  # `touch`: "reached, at the level"
        else:
            # "opening until its first bar tells whether it filled at once (`Opened`) or rests (`Scheduled`, then
            # possibly `Opened` in the same bar)"; reading: told at that bar's open
            self.tell("scheduled", bar.t, order.sign * order.level, signal=order.number)
            order.opening = False

    def resting(self, order: Order, t: int, open_: float, high: float, low: float) -> None:
        """A waiting entry in the range of a bar."""
        if order.kind == STOP:
            if self.strict and open_ > order.level:
                self.open(t, open_, "open")  # "later … at the open when a bar opens beyond"
            elif high >= order.level:
                self.open(t, order.level, "level")  # "at the level when reached"
            elif low <= order.stop:
                # "a bar that reaches the stop but not the stop entry cancels it (`price_reject`)"
                self.cancel(t, "price_reject")
        elif self.strict:
            if open_ < order.level:
                self.open(t, open_, "open")  # "a bar that **opens** beyond it fills it at that open"
            elif low < order.level:
                self.open(t, order.level, "level")  # "when a bar trades **through** it, at the level"
        elif low <= order.stop:
            self.cancel(t, "price_reject")  # "Stop and limit entry in one bar: `touch` and `vwap` cancel"
        elif low <= order.level:
            self.open(t, order.level, "level")  # "reached, at the level"

    def exits(self, position: Position, t: int, open_: float, high: float, low: float) -> None:
        """Stop and target of what is open."""
        stop, target = position.order.stop, position.order.target
        fresh = position.filled if position.since == t else ""
        # "An entry that fills at or beyond one of its own levels closes in that bar at that fill price"
        # "a bar that opens beyond the stop / the target | stop at that open / target at that open … | at the level"
        if fresh == "open" or (not fresh and self.strict):
            if open_ <= stop:  # "stop … a bar that opens at or beyond it: at that open"
                return self.close(t, open_, "stop_loss")
            if open_ > target or (fresh and open_ == target):
                return self.close(t, open_, "take_profit")
        at_stop = low <= stop  # "stop | reached, at the level | reached, at the level"
        # "resting limit (entry, target) | when a bar trades **through** it, at the level | reached, at the level"
        at_target = high > target if self.strict else high >= target
        if fresh == "level":
            # "one filled at its level looks for its profit from the next bar on"
            at_target = False
            # "`pessimistic` fills the entry on the way and closes by `stop_loss` in that bar (ambiguous)"; "The stop of
            # a **stop entry** is not in force in the bar in which it filled at its level (…; counted as ambiguous)"
            position.ambiguous = at_stop
            at_stop = at_stop and position.order.kind != STOP
        if at_stop and at_target:
            position.ambiguous = True  # "both stop and target in one bar | stop first; counted | target first; counted"
            at_stop, at_target = self.strict, not self.strict
        if at_stop:
            return self.close(t, stop, "stop_loss")
        if at_target:
            return self.close(t, target, "take_profit")
        return None


class ByAverage(Simulator):
    """``vwap``: "as the original". Prices are averages; what a bar ends is told at its open time."""

    def run(self) -> None:
        count = int(self.settings["avg_price_candles_count"])
        free_after = -1  # "(`vwap`: strictly after, as the original.)"
        data_end = self.bars[-1].t
        for when in self.moments():
            if when < self.start or when > data_end:
                continue
            if self.order is None and self.position is None and when > free_after:
                self.question(when)
                self.first_look(when)
            if when in self.at:
                k = self.at[when]
                told = len(self.events)
                self.bar(self.bars[k], average(self.bars[max(0, k + 1 - count) : k + 1]))
                if len(self.events) > told and self.order is None and self.position is None:
                    free_after = when
            if when > self.last and self.order is None and self.position is None:
                return
        if self.position:  # "data end | … | the last VWAP"
            self.close(data_end, self.position.order.sign * average(self.bars[-count:]), "data_end")
        if self.order:
            self.cancel(data_end, "data_end")

    def first_look(self, when: int) -> None:
        order = self.order
        if order is None:
            return
        price = order.sign * self.price(when)
        reached = price <= order.level if order.kind == LIMIT else price >= order.level
        if order.kind == MARKET:
            self.open(when, price, "open")  # "the VWAP at `when`"
        elif reached:
            self.open(when, order.level, "open")  # "at `price_open` when `price` reaches it"
        else:
            self.tell("scheduled", when, order.sign * order.level, signal=order.number)
            order.opening = False

    def bar(self, bar: Bar, average_price: float) -> None:
        if self.order:
            self.resting(self.order, *self.seen(bar, self.order.sign), self.order.sign * average_price)
        elif self.position:
            self.exits(self.position, bar.t, self.position.order.sign * average_price)

    def resting(self, order: Order, t: int, _: float, high: float, low: float, price: float) -> None:
        # "resting limit | as the original": the range of a bar counts; "stop entry | when `price` crosses"
        low, high = (low, high) if order.kind == LIMIT else (price, price)
        if t > self.last or t >= self.rests_until(order.asked):
            self.cancel(t, "timeout")  # reading: the frame's end bears this reason too, as `time_expired` does
        elif low <= order.stop:
            self.cancel(t, "price_reject")  # "Stop and limit entry in one bar: `touch` and `vwap` cancel"
        elif low <= order.level if order.kind == LIMIT else high >= order.level:
            self.open(t, order.level, "level")

    def exits(self, position: Position, t: int, price: float) -> None:
        order = position.order
        if t > self.last or t - position.since >= order.minutes * MINUTE:
            self.close(t, price, "time_expired")  # "Frame end: … `time_expired` in `vwap`"
        elif price <= order.stop:
            self.close(t, order.stop, "stop_loss")  # "VWAP crosses, at the level"
        elif price >= order.target:
            self.close(t, order.target, "take_profit")


def simulate(world: World) -> Simulator:
    """The run of a world: its events, trades with their money, and the moments of its questions."""
    run = ByAverage(world) if world.model == "vwap" else ByBars(world)
    run.run()
    return run
