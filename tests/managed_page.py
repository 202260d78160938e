"""Managed positions as plain loops: an independent statement of what becomes of a position that is managed.

Written from the page that states the contract of managed positions, and from nothing else, on top of
``page_simulator.py``, which states what happens to plain signals. Prices of a short have the other sign inside, so that
one rule serves both sides. "Reading" says what is assumed where the page is silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from page_simulator import LIMIT, MARKET, MINUTE, STOP, Bar, Order, Simulator, World, always, money, on_grid

import bknb

NOTHING = -math.inf  # a stop that is not there
KEPT = "kept "
DONE = "done"  # a stop that has moved to the entry
DUST = 1e-12  # of the first size


class Told(NamedTuple):
    """What is told: of a fill its price, of a move the stop in force; ``share`` in units of the first size."""

    kind: str
    when: int
    price: float | None
    reason: str
    signal: int
    share: float = 0.0
    ambiguous: bool = False


class Fill(NamedTuple):
    """One fill of a position."""

    kind: str
    at: int
    share: float
    price: float
    reason: str


class View(NamedTuple):
    """What ``manage`` is shown, where something is open."""

    when: int
    size: float
    average: float
    stop: float | None
    targets: int
    deadline: int | None
    best: float
    worst: float
    percent: float
    waiting: int


class Result(NamedTuple):
    """A position that is over; money in percent of the cost of its first fill."""

    signal: int
    net: float
    gross: float
    fees: float
    slippage: float
    average: float
    cost_percentage: float
    largest_cost: float
    not_taken: int
    ambiguous_trails: int
    fills: tuple[Fill, ...]


def nothing(when: int, price: float, sign: int, *, waits: bool) -> None:
    """Nothing to say."""


@dataclass(frozen=True)
class ManagedWorld(World):
    """``manage(when, price, sign, waits=)`` answers for what is open or waits; ``may_add(when)`` is risk for adds."""

    manage: Callable[..., Any] = nothing
    manage_interval: int = MINUTE
    may_add: Callable[[int], bool] = always


@dataclass
class ManagedOrder(Order):
    """An entry with everything it declares."""

    targets: list[tuple[float, float | None]] = field(default_factory=list)
    trailing: bknb.Trailing | None = None
    breakeven: bknb.Breakeven | None = None
    known: int = 0  # from when on manage may be asked


@dataclass
class Waiting:
    """An add or a reduce that no bar has filled."""

    kind: str
    share: float
    level: float | None = None
    until: float = math.inf
    decided: int = 0
    rests: bool = False


@dataclass
class Held:
    """What is open."""

    order: ManagedOrder
    first: float
    since: int
    filled: str
    minutes: float
    targets: list[tuple[float, float | None]]
    trailing: bknb.Trailing | None
    breakeven: bknb.Breakeven | str | None
    best: float
    worst: float
    size: float = 1.0
    largest_cost: float = 1.0
    entries: list[tuple[float, float]] = field(default_factory=list)
    exits: list[tuple[float, float]] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    stops: dict[str, tuple[float, int]] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    trails: bool = False
    leaving: str = ""
    ambiguous: bool = False
    not_taken: int = 0
    ambiguous_trails: int = 0
    changes: int = 0

    def set_stop(self, reason: str, price: float) -> None:
        self.changes += 1
        self.stops[reason] = (price, self.changes)

    @property
    def stop(self) -> float:
        return max((price for price, _ in self.stops.values()), default=NOTHING)

    @property
    def stop_reason(self) -> str:
        """Who "set the level in force …; on equal levels the earlier"."""
        reason = max(self.stops, key=lambda reason: (self.stops[reason][0], -self.stops[reason][1]))
        return reason.removeprefix(KEPT)

    @property
    def average(self) -> float:
        """``average_price`` = Σ cost / Σ quantity"."""
        return sum(share * price for share, price in self.entries) / sum(share for share, _ in self.entries)


class Implied:
    """What the earlier answers of a list make of a position."""

    def __init__(self, held: Held, *, cancelled: bool = False) -> None:
        waiting = [order for order in held.waiting if order.kind == "add"]
        self.size = held.size - sum(order.share for order in held.waiting if order.kind == "reduce")
        self.market = sum(order.share for order in waiting if order.level is None)  # no bar has filled them
        self.size = max(self.size + (0 if cancelled else self.market), 0)
        self.adds = sum(one.kind == "add" for one in (*held.waiting, *held.fills))
        self.levels, self.over = replace(held, stops=held.stops.copy()), False
        self.resting = len(waiting)  # adds that `Cancel` takes back, those of the list itself that rest included

    def cancel(self) -> None:
        """``Cancel`` in the list."""
        self.adds, self.resting = self.adds - self.resting, 0
        self.size, self.market = max(self.size - self.market, 0), 0


class Managed(Simulator):
    """What all models share about positions that are managed."""

    world: ManagedWorld
    told: list[Told]

    def __init__(self, world: ManagedWorld) -> None:
        super().__init__(world)
        self.strict = world.model == "pessimistic"
        self.told = []
        self.results: list[Result] = []
        self.optional: list[Told] = []
        self.signs: dict[int, int] = {}  # of the signals, by their numbers
        self.views: list[View] = []
        self.waited: list[int] = []
        self.held: Held | None = None
        self.manage_slot = -1

    # --- the signal ---

    def order_of(self, answer: Any, when: int) -> ManagedOrder:
        tick = self.world.tick
        sign, level = (1 if answer["position"] == "long" else -1), answer.get("price_open")
        kind = MARKET if level is None else STOP if answer.get("entry") == "stop" else LIMIT
        level = on_grid(level or math.nan, tick, sign if kind == STOP else -sign)
        stop, minutes = answer.get("price_stop_loss"), answer.get("minute_estimated_time")
        order = ManagedOrder(-1, sign, kind, sign * level, NOTHING, math.inf, minutes or math.inf, when)
        order.stop = NOTHING if stop is None else self.stop_level(stop, sign)
        order.targets = self.ladder(answer.get("price_take_profit"), sign)
        order.target = order.targets[0][0] if order.targets else math.inf
        order.trailing, order.breakeven = answer.get("trailing"), answer.get("breakeven")
        return order

    def stop_level(self, price: float, sign: int) -> float:
        """ "stops of longs down", as a long sees it."""
        return sign * on_grid(price, self.world.tick, -sign)

    def ladder(self, given: Any, sign: int) -> list[tuple[float, float | None]]:
        pairs = [] if given is None else [(given, None)] if isinstance(given, (int, float)) else list(given)
        levels = [(sign * on_grid(price, self.world.tick, sign), share) for price, share in pairs]
        return sorted(levels, key=lambda level: level[0])

    def broken(self, answer: Any, order: Any, price: float) -> bool:
        prices = [answer.get("price_open"), answer.get("price_stop_loss")]
        prices += [sign_price for sign_price, _ in self.ladder(answer.get("price_take_profit"), 1)]
        if any(value is not None and not (math.isfinite(value) and value > 0) for value in prices):
            return True
        minutes = answer.get("minute_estimated_time")
        if minutes is not None and (minutes <= 0 or minutes != int(minutes)):
            return True
        sides = [] if order.kind == MARKET else [order.level]
        if order.kind != LIMIT or price <= order.level:
            sides.append(price)
        wrong = any(not order.stop < entry < order.target for entry in sides)
        costs = self.settings["percent_slippage"], self.settings["percent_fee"]
        for entry in (sides[:1] if self.world.model == "vwap" else sides) if order.targets else []:
            wrong |= money(order.sign, abs(entry), abs(order.target), *costs).net <= 0
        return bool(wrong)

    def judged(self, answer: Any, when: int) -> None:
        """The way of a signal to an order."""
        order = self.order_of(answer, when)
        if self.broken(answer, order, order.sign * self.price(when)):
            self.say("rejected", when)
        elif not self.world.allowed(when):
            self.say("refused", when)
        else:
            order.number, self.count = self.count, self.count + 1
            self.signs[order.number] = order.sign
            self.order = order

    def question(self, when: int) -> None:
        if self.can_be_asked(when):
            self.slot = when // self.world.interval
            self.asked.append(when)
            answer = self.world.ask(when, self.price(when))
            if answer is not None:
                self.judged(answer, when)

    def say(self, kind: str, when: int, price: float | None = None, reason: str = "", **more: Any) -> None:
        self.told.append(Told(kind, when, price, reason, **{"signal": -1, **more}))

    def cancel(self, when: int, reason: str) -> None:
        assert self.order
        self.say("cancelled", when, None, reason, signal=self.order.number)
        self.order = None

    def open(self, when: int, price: float, filled: str) -> None:
        order: Any = self.order
        if not order.opening and when != order.asked and not self.world.allowed(when):
            self.say("refused", when)
            self.cancel(when, "risk")
            return
        self.say("opened", when, order.sign * price, signal=order.number)
        held = Held(
            order, price, when, filled, order.minutes, order.targets, order.trailing, order.breakeven, price, price
        )
        if order.stop > NOTHING:
            held.set_stop("stop_loss", order.stop)
        self.bought(held, "entry", when, 1.0, price)
        # "The first stop of a trail with `after=0` is fill·(1 - p), in force at once for entries at an open, from the
        # next bar for resting ones."
        if filled == "open" and held.trailing and held.trailing.after == 0:
            held.trails = True
            held.set_stop("trailing_stop", self.trail(held))
        self.held, self.order = held, None

    # --- fills ---

    def bought(self, held: Held, kind: str, when: int, share: float, price: float) -> None:
        held.entries.append((share, price))
        held.fills.append(Fill(kind, when, share, held.order.sign * price, ""))
        held.size = share if kind == "entry" else held.size + share
        # reading: what is held costs its average price
        held.largest_cost = max(held.largest_cost, held.size * held.average / held.first)

    def added(self, held: Held, order: Waiting, when: int, price: float) -> None:
        held.waiting.remove(order)
        self.bought(held, "add", when, order.share, price)
        self.say("added", when, held.order.sign * price, signal=held.order.number, share=order.share)

    def sold(self, held: Held, when: int, share: float, price: float, reason: str) -> bool:
        """Close a share; whether that was the end."""
        last = share >= held.size - DUST
        share = held.size if last else share
        held.exits.append((share, price))
        held.fills.append(Fill("exit" if last else "reduce", when, share, held.order.sign * price, reason))
        held.size -= share
        if not last:
            self.say("reduced", when, held.order.sign * price, reason, signal=held.order.number, share=share)
            return False
        told = {"signal": held.order.number, "ambiguous": held.ambiguous}
        self.say("closed", when, held.order.sign * price, reason, **told)
        self.results.append(self.result(held))
        self.held = None
        return True

    def fewer(self, held: Held, when: int, price: float) -> bool:
        """Parts and the rest leave at the market, "carried out in order"; whether that was the end.

        "At one open, parts are closed before anything is added; only where a part counts on adds of the market before
        it, these fill first."
        """
        for order in [order for order in held.waiting if order.kind == "reduce"]:
            ahead = held.waiting[: held.waiting.index(order)]
            for add in [add for add in ahead if add.kind == "add" and add.level is None]:
                if order.share >= held.size - DUST and not held.leaving:
                    self.added(held, add, when, price)
            held.waiting.remove(order)
            if self.sold(held, when, order.share, price, "strategy"):
                return True
        return bool(held.leaving) and self.sold(held, when, held.size, price, held.leaving)

    def result(self, held: Held) -> Result:
        """ "money of a position per unit of first size = Σ exits - Σ entries - costs; net % = that over the cost of the
        first fill"."""
        net, gross, fees, slippage = self.money_of(held, held.exits)
        slip = self.settings["percent_slippage"] / 100
        paid = sum(share * abs(price) for share, price in held.entries) * (1 + held.order.sign * slip)
        first = abs(held.first) * (1 + held.order.sign * slip)
        return Result(held.order.number, net, gross, fees, slippage, held.order.sign * held.average, net * first / paid,
                      held.largest_cost, held.not_taken, held.ambiguous_trails, tuple(held.fills))  # fmt: skip

    def money_of(self, held: Held, exits: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
        sign, slip = held.order.sign, held.order.sign * self.settings["percent_slippage"] / 100
        first = abs(held.first)
        bought = sum(share * abs(price) for share, price in held.entries) / first
        got = sum(share * abs(price) for share, price in exits) / first
        ratio = (1 - slip) / (1 + slip)
        after_slippage = 100 * sign * (got * ratio - bought)
        fees = self.settings["percent_fee"] * (bought + got * ratio)
        gross = 100 * sign * (got - bought)
        return after_slippage - fees, gross, fees, gross - after_slippage

    # --- stops that follow ---

    def trail(self, held: Held) -> float:
        """ "best · (1 - percent/100) for a long, mirrored for a short", on the grid, never looser."""
        trailing = held.trailing
        assert trailing
        away = trailing.distance if trailing.percent is None else abs(held.best) * trailing.percent / 100
        sign = held.order.sign
        level = self.stop_level(sign * (held.best - away), sign)
        return max(level, held.stops.get("trailing_stop", (NOTHING, 0))[0])

    def even(self, held: Held) -> float:
        assert isinstance(held.breakeven, bknb.Breakeven)
        sign, entry = held.order.sign, held.order.sign * held.average
        if held.breakeven.plus == "costs":
            slip, fee = (sign * self.settings[name] / 100 for name in ("percent_slippage", "percent_fee"))
            entry *= (1 + slip) * (1 + fee) / ((1 - slip) * (1 - fee))
        return self.stop_level(entry, sign)

    def gained(self, held: Held) -> float:
        """ "`after` is gross, from the first fill"."""
        return 100 * (held.best - held.first) / abs(held.first)

    def follow(self, held: Held, when: int, *, tell: bool) -> None:
        """Raise the stops that follow the best price; "once armed it stays armed"."""
        began = []
        if held.trailing and (held.trails or held.trailing.after == 0):
            held.trails = True  # reading: with 0 it began with the fill
            self.raise_trail(held)
        if isinstance(held.breakeven, bknb.Breakeven) and self.gained(held) >= held.breakeven.after:
            level = self.even(held)
            began += ["breakeven"] * (level > held.stop)  # reading: told where it becomes the stop in force
            if level > held.stops.get("breakeven", (NOTHING, 0))[0]:
                held.set_stop("breakeven", level)
            held.breakeven = DONE  # "a stop that moves once"
        if held.trailing and not held.trails and self.gained(held) >= held.trailing.after:
            held.trails = True
            began.append("trailing_stop")
            self.raise_trail(held)
        for reason in began if tell else []:
            self.moved(held, when, reason)

    def raise_trail(self, held: Held) -> None:
        if self.trail(held) > held.stops.get("trailing_stop", (NOTHING, 0))[0]:
            held.set_stop("trailing_stop", self.trail(held))

    def moved(self, held: Held, when: int, reason: str, *, optional: bool = False) -> None:
        stop = None if held.stop == NOTHING else held.order.sign * held.stop
        self.say("moved", when, stop, reason, signal=held.order.number)
        self.optional += [self.told[-1]] * optional

    def finish(self, held: Held, bar: Bar, low: float, high: float) -> None:
        """ "Only extremes of finished minutes move it"."""
        fresh = held.since == bar.t and held.filled == "level"
        # "In the bar of a limit fill the favourable extreme does not count beyond the fill, in the bar of a stop-entry
        # fill the adverse one does not; after an entry at an open both count."
        counts_high = not (fresh and held.order.kind == LIMIT)
        counts_low = not (fresh and held.order.kind == STOP)
        held.best = max(held.best, high) if counts_high else held.best
        held.worst = min(held.worst, low) if counts_low else held.worst
        self.follow(held, bar.t, tell=True)

    def count_trails(self, held: Held, bar: Bar, low: float, high: float) -> None:
        """ "Minutes whose own high would have raised the stop above their own low are counted"."""
        fresh = held.since == bar.t and held.filled == "level"
        if held.trailing and not fresh:
            best, held.best = held.best, max(held.best, high)
            begun = held.trails or self.gained(held) >= held.trailing.after
            held.ambiguous_trails += begun and held.best > best and self.trail(held) >= low > held.stop
            held.best = best

    # --- what manage says ---

    def manage(self, when: int) -> None:
        """ "Asked at every slot of its interval while something is open or waits"."""
        order: Any = self.held.order if self.held else self.order
        if order is None or (self.held and self.held.leaving) or (not self.held and order.opening):
            return
        slot = when // self.world.manage_interval
        # "`manage` is asked first at the first of its slots after the fill is known"
        if (
            slot <= self.manage_slot
            or slot * self.world.manage_interval < (order.known if self.held else order.asked + 1)
            or not self.may_ask(when)
        ):
            return
        self.manage_slot = slot
        price = self.price(when)
        if self.held:
            self.views.append(self.view(self.held, when, price))
        else:
            self.waited.append(when)
        answers = self.world.manage(when, price, order.sign, waits=self.held is None)
        if answers is None:
            return
        answers = answers if isinstance(answers, list) else [answers]
        (self.answered if self.held else self.answered_waiting)(answers, when)

    def may_ask(self, when: int) -> bool:
        """Whether a moment is one at which somebody can be asked, whatever the slot."""
        slot, self.slot = self.slot, -1
        try:
            return self.can_be_asked(when)
        finally:
            self.slot = slot

    def view(self, held: Held, when: int, price: float) -> View:
        sign = held.order.sign
        stop = None if held.stop == NOTHING else sign * held.stop
        deadline = None if math.isinf(held.minutes) else int(held.since + held.minutes * MINUTE)
        percent = self.money_of(held, [*held.exits, (held.size, sign * price)])[0]
        return View(when, held.size, sign * held.average, stop, len(held.targets), deadline, sign * held.best,
                    sign * held.worst, percent, len(held.waiting))  # fmt: skip

    def answered_waiting(self, answers: list[Any], when: int) -> None:
        """Reading: of what waits, `Cancel` takes it back, a `Signal` may follow, and everything else is wrong."""
        ends = next((k for k, answer in enumerate(answers) if isinstance(answer, bknb.Cancel)), len(answers))
        wrong = [k for k, one in enumerate(answers) if not isinstance(one, bknb.Cancel) and
                 not (isinstance(one, bknb.Signal) and k > ends)]  # fmt: skip
        if wrong:
            self.say("rejected", when)
        if ends < len(answers):
            self.cancel(when, "strategy")
            for answer in answers:
                if isinstance(answer, bknb.Signal) and not wrong:
                    self.judged(signal_fields(answer), when)

    def judge(self, held: Held, implied: Implied, answer: Any, when: int, close: float) -> float | None:
        """The share an answer is about, 0 for one that has none; ``None`` for a wrong one."""
        match answer:
            case bknb.Close():
                implied.over = True
            case bknb.Reduce():
                share = answer.share * implied.size if answer.of == "now" else answer.share
                if implied.over or not (math.isfinite(share) and 0 < share <= implied.size + DUST):
                    return None
                implied.size -= share
                implied.over = implied.size <= DUST
                return share
            case bknb.Add():
                return self.judge_add(held, implied, answer, close)
            case bknb.Move():
                if implied.over or not self.move_is_right(held, answer, close):
                    return None
                self.move(implied.levels, answer, when, close)
            case bknb.Signal():
                return 0.0 if implied.over else None
            case bknb.Cancel():
                implied.cancel()
            case _:
                return None
        return 0.0

    def judge_add(self, held: Held, implied: Implied, add: bknb.Add, close: float) -> float | None:
        level, sign = add.price_open, held.order.sign
        fine = not implied.over and math.isfinite(add.share) and add.share > 0
        better = not add.only_better or close < held.average  # "`only_better` is judged at the last close"
        if level is not None and better:  # reading: a limit beyond the stop is wrong
            fine = fine and math.isfinite(level) and level > 0
            fine = fine and sign * on_grid(level, self.world.tick, -sign) > implied.levels.stop
        if not fine or implied.adds >= self.settings["max_adds"]:
            return None
        implied.adds += better
        implied.resting += better and level is not None
        # "A `Reduce` counts adds at the market before it in its list as filled, and resting ones not"
        implied.size += add.share if better and level is None else 0
        return add.share

    def answered(self, answers: list[Any], when: int) -> None:
        """ "All answers of a list are judged at `when`, each against what the earlier ones imply, before anything
        fills."""
        held = self.held
        assert held
        close = held.order.sign * self.bars[self.at[when - MINUTE]].close  # "judged against the **last close**"
        implied = Implied(held)
        good: list[tuple[Any, float]] = []
        for answer in answers:
            share = self.judge(held, implied, answer, when, close)
            if share is not None:
                good.append((answer, share))
        wrong, over = len(good) < len(answers), implied.over
        if wrong:
            self.say("rejected", when)
            # "`Close`, `Reduce` and `Cancel` of the same list are always carried out"; reading: nothing else then is
            good = [pair for pair in good if isinstance(pair[0], (bknb.Close, bknb.Reduce, bknb.Cancel))]
        # "`Cancel` takes back resting adds before it in its list, too"
        last = max((k for k, (answer, _) in enumerate(good) if isinstance(answer, bknb.Cancel)), default=-1)
        back = [one for one, _ in good[: last + 1] if isinstance(one, bknb.Add) and one.price_open is not None]
        good = [pair for pair in good if not any(pair[0] is one for one in back)]
        # reading: one that was not better was judged, and is counted
        held.not_taken += sum(one.only_better and not close < held.average for one in back)
        before = held.stop, held.targets, held.minutes
        if over:
            held.leaving = "strategy"  # what is reduced to nothing ends as by a `Close`
        left = Implied(held, cancelled=last >= 0)
        if wrong and not over and any(isinstance(answer, bknb.Reduce) for answer, _ in good):
            over = self.parts_of(left.size, [answer for answer, _ in good]) >= left.size - DUST
            held.leaving = "strategy" if over else held.leaving
        self.in_order(held, good, when, close, cancelled=last >= 0)
        if any(isinstance(answer, bknb.Move) for answer, _ in good):
            # reading: one event for all moves of a list, optional where nothing that it shows is different
            self.moved(held, when, "strategy", optional=before == (held.stop, held.targets, held.minutes))

    def in_order(self, held: Held, good: list[Any], when: int, close: float, *, cancelled: bool) -> None:
        """Carry out answers with their shares, what moves levels first."""
        for answer, share in good:
            if isinstance(answer, bknb.Move):
                self.carry_out(held, answer, share, when, close)
        # adds that wait do not count where the position ends, by a stop that was moved beyond the close, too
        size = Implied(held, cancelled=cancelled or bool(held.leaving)).size
        for answer, judged in good:
            share = judged
            if isinstance(answer, bknb.Move):
                continue
            if isinstance(answer, bknb.Reduce):  # "an add that is left out or refused does not count"
                share = min(answer.share * size if answer.of == "now" else answer.share, size)
                size -= share
            before_it = len(held.waiting)
            self.carry_out(held, answer, share, when, close)
            if len(held.waiting) > before_it and isinstance(answer, bknb.Add) and answer.price_open is None:
                size += share

    @staticmethod
    def parts_of(size: float, answers: list[Any]) -> float:
        """What the parts of a list come to where ``size`` is held and nothing is added."""
        first = size
        for answer in answers:
            if isinstance(answer, bknb.Reduce):
                size -= answer.share * size if answer.of == "now" else answer.share
        return first - size

    def add_rests_until(self, valid: Any, when: int) -> float:
        if valid is msgspec.UNSET:
            return self.rests_until(when)  # "without `valid`, after as long as a resting entry waits"
        # "`valid=` says otherwise: minutes, …, or `None`, until it is cancelled. An add takes the same."
        return math.inf if valid is None else when + valid * MINUTE

    def carry_out(self, held: Held, answer: Any, share: float, when: int, close: float) -> None:
        match answer:
            case bknb.Close():
                held.leaving = "strategy"
            case bknb.Reduce():
                held.waiting.append(Waiting("reduce", share, decided=when))
            case bknb.Add():
                if answer.only_better and not close < held.average:
                    held.not_taken += 1
                elif held.leaving:
                    pass  # reading: nobody asks risk for what will not be
                elif not self.world.may_add(when):  # "Every add asks risk"
                    self.say("refused", when)
                else:
                    sign, level, until = held.order.sign, None, math.inf
                    if answer.price_open is not None:
                        level = sign * on_grid(answer.price_open, self.world.tick, -sign)
                        until = self.add_rests_until(answer.valid, when)
                    held.waiting.append(Waiting("add", share, level, until, when))
            case bknb.Move():
                self.move(held, answer, when, close)
            case bknb.Cancel():
                for order in [order for order in held.waiting if order.kind == "add" and order.decided < when]:
                    held.waiting.remove(order)
                    self.say("add_cancelled", when, None, "strategy", signal=held.order.number, share=order.share)
            case bknb.Signal():
                self.judged(signal_fields(answer), when)

    def move_is_right(self, held: Held, move: bknb.Move, close: float) -> bool:
        stop, targets, minutes = move.price_stop_loss, move.price_take_profit, move.minute_estimated_time
        fine = stop in (None, msgspec.UNSET) or (math.isfinite(stop) and stop > 0)
        if targets not in (None, msgspec.UNSET):
            levels = self.ladder(targets, held.order.sign)
            # "a target on the wrong side"
            fine = fine and all(math.isfinite(level) and level > close for level, _ in levels)
        return fine and (minutes in (None, msgspec.UNSET) or minutes > 0)

    def move(self, held: Held, move: bknb.Move, when: int, close: float) -> None:
        before = held.stop
        for reason, given in (("trailing_stop", move.trailing), ("breakeven", move.breakeven)):
            if given is msgspec.UNSET:
                continue
            # "A level that one of them has reached stays in force unless `loosen`"
            level, kept = held.stops.pop(reason, None), held.stops.pop(KEPT + reason, None)
            levels = [] if move.loosen else [one for one in (level, kept) if one]
            if levels:
                held.stops[KEPT + reason] = max(levels, key=lambda one: (one[0], -one[1]))
            if reason == "trailing_stop":
                held.trailing, held.trails = given, False
            else:
                held.breakeven = given
        if move.price_stop_loss is not msgspec.UNSET:
            self.move_stop(held, move)
        if move.price_take_profit is not msgspec.UNSET:
            held.targets = self.ladder(move.price_take_profit, held.order.sign)
        if move.minute_estimated_time is not msgspec.UNSET:
            held.minutes = move.minute_estimated_time or math.inf
        self.follow(held, when, tell=False)
        if before != held.stop >= close:
            held.leaving = held.leaving or held.stop_reason  # "counts as reached: the position closes at the market"
        elif held.since + held.minutes * MINUTE <= when:
            held.leaving = held.leaving or "time_expired"  # "a deadline at or before `when` ends the position first"

    def move_stop(self, held: Held, move: bknb.Move) -> None:
        level = NOTHING if move.price_stop_loss is None else self.stop_level(move.price_stop_loss, held.order.sign)
        # "A looser stop is not taken (a ratchet: counted, no event) unless `loosen=True`."
        if level <= held.stop and not move.loosen:
            held.not_taken += level < held.stop
            return
        for reason in held.stops.copy() if move.loosen else ["stop_loss"]:
            held.stops.pop(reason, None)  # reading: who loosens the stop loosens what others made of it
        if level > NOTHING:
            held.set_stop("stop_loss", level)


def signal_fields(signal: bknb.Signal) -> dict[str, Any]:
    """A signal as the mapping a strategy may return instead."""
    names = ("position", "price_open", "entry", "price_stop_loss", "price_take_profit", "minute_estimated_time")
    return {name: getattr(signal, name) for name in (*names, "trailing", "breakeven")}
