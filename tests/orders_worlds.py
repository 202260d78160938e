"""Random worlds for ``orders_simulator.py``; prices are whole, so that levels are often touched and not passed.

And what ``manage`` is shown of them, in the words of the simulator.
"""

from __future__ import annotations

import math
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

from msgspec.structs import replace
from orders_page import Bar, View, World
from scenarios import MINUTE, ORIGIN

import bknb

FEE, SLIPPAGE = 0.01, 0.005  # percent; a target a tick away pays for them


def bars(random: Random, count: int) -> list[Bar]:
    """Minutes of prints that move by single ticks, with jumps between them; some have no volume."""
    first = price = random.choice([400, 1000])
    found: list[Bar] = []
    for minute in range(count):
        if minute > 6 and random.random() < 0.05:
            found.append(Bar(*(4 * (found[-1].close,)), 0.0))
            continue
        price += random.choice([0, 0, 0, *range(-4, 5)])
        price += random.choice([-1, 1]) * random.randint(5, 25) if random.random() < 0.03 else 0
        price += 10 * ((price < first - 60) - (price > first + 60))
        prints = [price]
        for _ in range(random.randint(1, 14)):
            prints.append(prints[-1] + random.choice([-2, -1, -1, 1, 1, 2]))
        found.append(Bar(*map(float, (price, max(prints), min(prints), prints[-1], random.randint(1, 9)))))
        price = prints[-1]
    return found


def chance(seed: int, when: int, what: str) -> Random:
    return Random(f"{seed} {when} {what}")  # noqa: S311 -- a market is no secret


def beside(price: float, close: float, way: int, ticks: int) -> int:
    """A whole price so many ticks from the average and the last close, beyond both of them: ``way`` 1: above."""
    return math.ceil(max(price, close)) + ticks if way > 0 else math.floor(min(price, close)) - ticks


def signal(random: Random, name: str, price: float, close: float, *, waits: bool = False, alone: bool = True,
           place: str | None = None) -> bknb.Signal:  # fmt: skip
    """A signal that is right; ``waits``: with a price, ``alone``: it may be in parts."""
    sign, entry = random.choice([1, -1]), random.choice(["limit", "stop"])
    way = sign if entry == "stop" else -sign
    at_market = not waits and random.random() < 0.3
    nearest = beside(price, close, way, 0 if at_market else random.randint(1, 6))
    prices = [nearest]
    if alone and random.random() < 0.35:
        for _ in range(random.randint(1, 2)):
            prices.append(prices[-1] + way * random.randint(1, 5))
    low = min([*prices, math.floor(min(price, close))]) if sign > 0 else -max([*prices, math.ceil(max(price, close))])
    high = max([*prices, math.ceil(max(price, close))]) if sign > 0 else -min([*prices, math.floor(min(price, close))])
    given: dict[str, Any] = {"position": "long" if sign > 0 else "short", "id": name, "place": place}
    if len(prices) > 1:
        parts = [(float(each), random.choice([0.1, 0.2, 0.3])) for each in prices]
        given["price_open"] = random.sample([(None, parts[0][1]) if at_market else parts[0], *parts[1:]], len(parts))
    elif not at_market:
        given["price_open"] = float(nearest)
    if not at_market or len(prices) > 1:
        given["entry"] = entry
        given |= random.choice([{}, {"valid": None}, {"valid": random.randint(1, 40)}, {"valid": "slot"}])
    near, percent = high + random.randint(1, 9), random.choice([0.5, 1.0, 2.0])
    given |= random.choice(
        [{}, {"price_stop_loss": float(sign * (low - random.randint(1, 9)))}, {"stop_percent": percent}]
    )
    given |= random.choice([
        {}, {"price_take_profit": float(sign * near)}, {"target_percent": percent},
        {"price_take_profit": [(float(sign * near), 0.5), (float(sign * (near + 4)), random.choice([0.25, 0.5]))]},
    ])  # fmt: skip
    given["minute_estimated_time"] = random.choice([None, None, random.randint(1, 60)])
    return bknb.Signal(**given)


def ask(seed: int, places: int, when: int, price: float, close: float) -> list[bknb.Signal]:
    """Nothing, one signal, some that compete for one place, or some for places by name."""
    random = chance(seed, when, "ask")
    kind, count = random.random(), random.randint(2, 4)
    if kind < 0.3:
        return []
    if kind < 0.6:
        return [signal(random, f"{when}", price, close)]
    names = [random.choice("abcde") if places > 1 and kind > 0.75 else None for _ in range(count)]
    return [
        signal(random, f"{when}-{number}", price, close, waits=True, alone=names.count(name) == 1 and name is not None,
               place=name)
        for number, name in enumerate(names)
    ]  # fmt: skip


def manage(seed: int, when: int, price: float, close: float, seen: Any) -> list[Any]:
    """Answers that are right, or are told as wrong by both; they depend on the moment and on what is seen alone."""
    random = chance(seed, when, f"manage {seen.place}")
    said, sign, waiting = random.random(), seen.sign, [each for each in seen.waiting if each[1] is not None]
    name, level = random.choice(waiting) if waiting else (None, 0.0)
    moved = bknb.Move(price_open=level + random.choice([-2, -1, 1, 2]), id=name)
    if said < 0.4:
        return []
    if not seen.size:
        new = signal(random, f"{when} {seen.place}", price, close)
        answers = [[bknb.Cancel()], [bknb.Cancel(id=name)], [bknb.Cancel(), new], [moved], [moved], []]
        return random.choice(answers)
    if len(waiting) < len(seen.waiting):
        return []  # what was ordered at the market has not filled
    if said < 0.48:
        return [bknb.Close()]
    if said < 0.52:
        return [bknb.Close(), signal(random, f"{when} {seen.place}", price, close)]
    if said < 0.6:
        return [bknb.Reduce(random.choice([0.25, 0.5]))]
    if said < 0.75:
        return added(random, price, close, seen)
    if said < 0.83 and waiting:
        return [random.choice([bknb.Cancel(), bknb.Cancel(id=name), moved, moved])]
    if said < 0.92:
        return [bknb.Move(price_stop_loss=close - sign * random.randint(-1, 8))]
    return [bknb.Move(price_take_profit=float(beside(price, close, sign, random.randint(1, 9))))]


def added(random: Random, price: float, close: float, seen: Any) -> list[Any]:
    """An add at the market, by a limit or by a stop order, with a stop of its own or without."""
    if len(seen.waiting) > 3:
        return []
    sign, kind = seen.sign, random.choice(["market", "limit", "stop"])
    level = (
        None
        if kind == "market"
        else float(beside(price, close, sign if kind == "stop" else -sign, random.randint(1, 5)))
    )
    stop_now = close - sign * 15 if seen.price_stop_loss is None else seen.price_stop_loss
    if kind == "limit" and level is not None and sign * (level - stop_now) <= 1:
        return []
    given: dict[str, Any] = {} if level is None else {"price_open": level, "entry": kind}
    if level is not None:
        given |= random.choice([{}, {"valid": None}, {"valid": random.randint(1, 30)}, {"valid": "slot"}])
    if random.random() < 0.5:
        nearest = beside(price, close, -sign, 0)
        behind = nearest if level is None or kind == "stop" else level
        given["price_stop_loss"] = float(behind - sign * random.randint(1, 8))
    return [bknb.Add(random.choice([0.5, 1.0, 2.0]), **given)]


def draw(seed: int, minutes: int = 240, **given: Any) -> World:
    """The world of a seed, with what is given of it."""
    random = Random(seed)  # noqa: S311
    drawn: dict[str, Any] = {
        "places": random.choice([1, 3]),
        "bars": bars(random, minutes + 60),
        "interval": random.choice([1, 1, 5, 15]),
        "manage_interval": random.choice([1, 1, 5]),
        "await_minutes": random.choice([5, 120]),
        "percent_fee": random.choice([0.0, FEE]),
        "percent_slippage": random.choice([0.0, SLIPPAGE]),
    }
    drawn |= given
    asks = partial(ask, seed, drawn["places"])
    return World(**drawn, start=30, end=minutes + 30, ask=asks, manage=partial(manage, seed))


def of_bars(answers: list[Any], length: int) -> list[Any]:
    """Answers that count minutes, for bars of so many minutes."""
    found = []
    for answer in answers:
        names = [name for name in ("valid", "minute_estimated_time") if type(getattr(answer, name, None)) is int]
        found.append(replace(answer, **{name: length * getattr(answer, name) for name in names}))
    return found


def minute(when: float, length: int = 1) -> int:
    """The number of the bar of so many minutes that begins at a moment (UTC ms)."""
    return round((when - ORIGIN) / MINUTE / length)


def at(when: datetime, length: int = 1) -> int:
    return minute(when.timestamp() * 1000, length)


def view_of(seen: bknb.HeldPosition, length: int = 1) -> View:
    of_money = seen.size, seen.average_price, seen.last_entry, seen.entries
    levels = seen.price_stop_loss, seen.best_price, seen.worst_price, len(seen.targets)
    deadline = None if seen.deadline is None else at(seen.deadline, length)
    orders = tuple((each.id, each.price_open) for each in seen.waiting)
    return View(seen.place, seen.id, seen.sign, *of_money, *levels, deadline, orders)
