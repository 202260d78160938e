"""The prices at which a state can change: what lies between them is jumped over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from ..domain.lifecycle import Holding
from ..domain.milestones_passed import LEVEL_STEP
from ..domain.position_book import PositionBook
from ..domain.signal import OpenSignal, ScheduledSignal, sign_of
from ..domain.tick_grid import NEARLY
from ..domain.trailing_and_breakeven_stops import level_at, stop_or_liquidation

NEVER: Final = math.inf
_EARLY: Final = 1e-9  # relative; levels are looked for slightly early: the lifecycle decides, the scan is never late


Bounds: TypeAlias = tuple[float, float, float, float]
"""Prices (quote currency): a high at or above, a low at or below, an average price at or above, one at or below."""


def entry_bounds(signal: ScheduledSignal, *, average: bool) -> Bounds:
    """Where a resting entry can change; ``average``: the model watches the average price."""
    level, stop, long = signal.price_open, signal.price_stop_loss, signal.position == "long"
    if signal.entry == "stop":  # it is cancelled where the stop is reached first
        if stop is None:
            stop = -NEVER if long else NEVER
        above, below = max(level, stop), min(level, stop)
        return (NEVER, -NEVER, above, below) if average else (above, below, NEVER, -NEVER)
    # The stop lies beyond a limit, so the limit is reached first or in the same minute.
    above, below = (NEVER, level) if long else (level, -NEVER)
    return (above, below, NEVER, -NEVER)


def entries_bounds(signals: Sequence[ScheduledSignal], *, average: bool) -> Bounds:
    """Where the first of resting entries can change; ``average`` as of :func:`entry_bounds`."""
    above, below, up, down = zip(*[entry_bounds(signal, average=average) for signal in signals], strict=True)
    return min(above), max(below), min(up), max(down)


def end_bounds(signal: OpenSignal, *, average: bool) -> Bounds:
    """Where a plain position can end."""
    target, stop = signal.price_take_profit, signal.price_stop_loss
    assert target is not None  # of a plain position  # noqa: S101
    assert stop is not None  # noqa: S101
    top, bottom = (target, stop) if target > stop else (stop, target)
    return (NEVER, -NEVER, top, bottom) if average else (top, bottom, NEVER, -NEVER)


def exit_bounds(state: Holding, *, average: bool) -> Bounds:
    """Where a plain position can change."""
    signal = state.signal
    entry, target, stop = signal.price_open, signal.price_take_profit, signal.price_stop_loss
    assert target is not None  # of a plain position  # noqa: S101
    assert stop is not None  # noqa: S101
    if state.profit_level < 100:
        profit = entry + (target - entry) * min(state.profit_level + LEVEL_STEP - _EARLY, 100) / 100
    else:
        profit = math.copysign(NEVER, target - entry)
    if state.loss_level < 100:
        loss = entry + (stop - entry) * min(state.loss_level + LEVEL_STEP - _EARLY, 100) / 100
    else:
        loss = math.copysign(NEVER, stop - entry)
    upper, lower = (profit, loss) if target > entry else (loss, profit)
    top, bottom = (target, stop) if target > stop else (stop, target)
    if average:
        return (NEVER, -NEVER, min(upper, top), max(lower, bottom))
    return (top, bottom, upper, lower)


def managed_bounds(state: Holding, book: PositionBook, *, average: bool, tick: float | None) -> Bounds:
    """Where a managed position can change; what its trailing stop does later is not in it."""
    signal = state.signal
    sign = sign_of(signal.position)
    best = state.highest if sign > 0 else state.lowest
    favourable = [sign * target.price for target in book.targets]
    begins = [] if book.breakeven is None else [sign * level_at(signal, book.breakeven.after)]
    if book.trailing is not None and not book.trails:
        begins.append(sign * level_at(signal, book.trailing.after))
    # percent of an entry at 0 are reached at once
    favourable += [level if level > sign * best else -NEVER for level in begins]
    stop = stop_or_liquidation(book, sign, best, tick)
    adverse = [] if stop is None else [sign * stop.price]
    adds = [sign * limit for order, limit in book.resting if not order.is_stop]
    favourable += [sign * level for order, level in book.resting if order.is_stop]
    profit = _next_milestone(signal.price_open, signal.price_take_profit, state.profit_level, sign)
    loss = _next_milestone(signal.price_open, signal.price_stop_loss, state.loss_level, sign)
    loss = -NEVER if signal.price_stop_loss is None else loss
    up, down = min(favourable, default=NEVER), max(adverse, default=-NEVER)
    add = max(adds, default=-NEVER)
    if average:
        up, profit = NEVER, min(up, profit)
        down, loss = -NEVER, max(down, loss)
    down = max(down, add)
    if sign > 0:
        return (up, down, profit, loss)
    return (-down, -up, -loss, -profit)


def trail_slack(entry: float, tick: float | None) -> float:
    """How far towards the market (quote currency) rounding may put a trailing stop from where its formula does."""
    return _EARLY * abs(entry) + (0.0 if tick is None else 2 * NEARLY * tick)


def _next_milestone(entry: float, level: float | None, passed: int, sign: int) -> float:
    """Where the next milestone on the way to a level lies, in prices in which favourable is up; far away for none."""
    if level is None:
        return NEVER
    way = sign * (level - entry)
    if passed >= 100:
        return math.copysign(NEVER, way)
    return sign * entry + way * min(passed + LEVEL_STEP - _EARLY, 100) / 100
