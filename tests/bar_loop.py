"""A backtest over base bars of any length as one plain loop, written from the execution contract alone.

One strategy, one symbol, whole positions; the models ``pessimistic`` and ``touch``. A short is a mirrored long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = tuple[Any, ...]


class Bar(NamedTuple):
    """A bar that opens at ``t`` (UTC ms)."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Trade(NamedTuple):
    """A position: its side, when and at which prices it was opened and closed, and whether that was at an open."""

    sign: int
    opened: int
    price_open: float
    closed: int
    price_close: float
    at_open: bool


def mirrored(bar: Bar, sign: int) -> tuple[float, float, float]:
    """Open, best and worst price of a bar where favourable is up."""
    best, worst = (bar.high, bar.low) if sign > 0 else (bar.low, bar.high)
    return sign * bar.open, sign * best, sign * worst


def entry_of(signal: Mapping[str, Any], bar: Bar, *, first: bool, strict: bool) -> tuple[Any, bool, bool] | None:
    """Price, whether that is the open, whether the stop is in doubt; ``"reject"`` for the price: it is cancelled."""
    sign, level = signal["sign"], signal["sign"] * signal["level"]
    stop, (opened, best, worst) = sign * signal["stop"], mirrored(bar, sign)
    if signal["kind"] == "market":
        return bar.open, True, False
    if signal["kind"] == "stop":
        if strict and (opened > level or (first and opened >= level)):
            return bar.open, True, False
        if best >= level:
            return signal["level"], False, worst <= stop
        return ("reject", False, False) if worst <= stop else None
    if (first and opened <= level) or (strict and opened < level):
        return bar.open, True, False
    if worst <= stop:
        return (signal["level"], False, True) if strict else ("reject", False, False)
    reached = worst < level if strict else worst <= level
    return (signal["level"], False, False) if reached else None


def exit_of(signal: Mapping[str, Any], bar: Bar, *, strict: bool) -> tuple[str, float, bool, bool] | None:
    """Reason, price and doubt of the exit of an open position in a bar, and whether it is at the open."""
    sign, (opened, best, worst) = signal["sign"], mirrored(bar, signal["sign"])
    stop, target = sign * signal["stop"], sign * signal["target"]
    if strict and opened <= stop:
        return "stop_loss", bar.open, False, True
    if strict and opened > target:
        return "take_profit", bar.open, False, True
    lost, won = worst <= stop, best > target if strict else best >= target
    if lost and (strict or not won):
        return "stop_loss", signal["stop"], won, opened == stop
    return ("take_profit", signal["target"], lost, False) if won else None


def bar_loop(  # noqa: C901 -- the whole contract in one loop, to be read beside it
    bars: Sequence[Bar], base: int, *, model: str, ask: Callable[[int, float], Mapping[str, Any] | None],
    start: int, end: int, interval: int, await_minutes: int = 120, may_ask: Callable[[int], bool] = lambda when: True,
    moments: Sequence[int] | None = None, slot_of: Callable[[int], int] | None = None,
) -> tuple[list[Row], list[Trade]]:  # fmt: skip
    """Trades and cancelled entries in order: moments, prices, reason, doubt; and the trades once more.

    Bars open and close at multiples of their length, or at ``moments``; ``slot_of`` then gives the slot of a moment.
    """
    trades = list[Trade]()
    strict, by_open, found = model == "pessimistic", {bar.t: bar for bar in bars}, list[Row]()
    order = position = None  # what is to enter, resting or not; what is open
    slot, waits = -1, max(await_minutes * 60_000, interval)
    moments = range(start, bars[-1].t + 2 * base, base) if moments is None else moments
    slot_of = slot_of or (lambda when: when // interval)
    for when, last in zip(moments, (start - base, *moments), strict=False):
        over = position and (when >= end or when - position["opened"] >= position["minutes"] * 60_000)
        if position and over and not position["leaving"]:
            position["leaving"] = "frame_end" if when >= end else "time_expired"
        if order and (
            when >= end or (order["kind"] != "market" and when - order["asked"] >= waits and order["bars"] >= 20)
        ):
            found.append((order["asked"], when, "frame_end" if when >= end else "timeout"))
            order = None
        if when > bars[-1].t:
            break
        free, before = not order and (not position or position["leaving"]), by_open.get(last)
        if free and before and when < end and slot_of(when) > slot and may_ask(when):
            slot, answer = slot_of(when), ask(when, before.close)
            order = {**answer, "asked": when, "first": True, "bars": 0} if answer else None
        bar = by_open.get(when)
        if bar and order:
            order["bars"] += 1
        if bar is None or (strict and not bar.volume):
            continue
        ended = None
        if position:
            leaving = position["leaving"]
            ended = (leaving, bar.open, False, True) if leaving else exit_of(position, bar, strict=strict)
        if position and ended:
            found.append((*position["row"], bar.t, ended[1], ended[0], ended[2] or position["doubt"]))
            trades.append(trade_of(position, bar, ended[1], at_open=ended[3]))
            position = None
        fill = entry_of(order, bar, first=order["first"], strict=strict) if order else None
        if order:
            order["first"] = False
        if order is None or fill is None or position:
            continue
        price, at_open, doubt = fill
        if price == "reject":
            found.append((order["asked"], bar.t, "price_reject"))
            order = None
            continue
        position, order = {**order, "opened": bar.t, "leaving": "", "doubt": doubt}, None
        position["row"] = (position["asked"], bar.t, price)
        ended, sign = None, position["sign"]
        if at_open and sign * (price - position["stop"]) <= 0:
            ended = ("stop_loss", price, False, True)
        elif at_open and sign * (position["target"] - price) <= 0:
            ended = ("take_profit", price, False, True)
        elif at_open:
            ended = exit_of(position, bar, strict=strict)
        elif position["kind"] == "limit" and doubt:
            ended = ("stop_loss", position["stop"], True, False)
        if ended:
            found.append((*position["row"], bar.t, ended[1], ended[0], ended[2]))
            trades.append(trade_of(position, bar, ended[1], at_open=ended[3]))
            position = None
    if position:
        found.append((*position["row"], bars[-1].t, bars[-1].close, "data_end", position["doubt"]))
        trades.append(trade_of(position, bars[-1], bars[-1].close, at_open=False))
    if order:
        found.append((order["asked"], bars[-1].t, "data_end"))
    assert all(math.isfinite(row[2]) for row in found if len(row) > 3)
    return found, trades


def trade_of(position: Mapping[str, Any], bar: Bar, price: float, *, at_open: bool) -> Trade:
    """A position that ended in a bar; at its open, or at a level within it."""
    _, opened, entered = position["row"]
    return Trade(position["sign"], opened, entered, bar.t, price, at_open)
