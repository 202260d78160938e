"""Partial milestones: 10, 20 … 100 percent of the way from the entry to the target or to the stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from .fills_at_stops_and_gaps import Minute
from .signal import OpenSignal
from .signal_events import Active, Event, Milestone
from .states import Holding, Rules, Step, labels

LEVEL_STEP: Final = 10


class Progress(NamedTuple):
    """How far a position has come, in percent of the way (0..100), and towards what."""

    side: Literal["profit", "loss"]
    percent: float


def progress(signal: OpenSignal, price: float) -> Progress:
    """Percent of the way to the target (profit) or to the stop (loss) at an average price.

    Of a ladder the way is that to the farthest target; without a target, or without a stop, it is 0.

    Examples
    --------
    >>> row = OpenSignal(id="a", symbol="B", strategy="s", exchange="e", position="long", price_open=100.0,
    ...     price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5, note="", scheduled_at=0,
    ...     pending_at=0)
    >>> progress(row, 104.0)
    Progress(side='profit', percent=40.0)
    """
    entry, long = signal.price_open, signal.position == "long"
    distance = price - entry if long else entry - price
    level = signal.price_take_profit if distance >= 0 else signal.price_stop_loss
    side: Literal["profit", "loss"] = "profit" if distance >= 0 else "loss"
    if level is None:
        return Progress(side, 0.0)
    way = level - entry if long else entry - level
    if (way if side == "profit" else -way) <= 0:  # it filled at or beyond the last level of a ladder that closes a part
        return Progress(side, 0.0)
    percent = distance / way * 100
    return Progress(side, min(100.0, percent))


def passed_levels(percent: float, reached: int) -> range:
    """The milestones in ``(reached, percent]``, ascending.

    Examples
    --------
    >>> list(passed_levels(34.9, 10))
    [20, 30]
    """
    return range(reached + LEVEL_STEP, int(percent // LEVEL_STEP) * LEVEL_STEP + 1, LEVEL_STEP)


def milestones_of_minutes(
    state: Holding, minutes: Iterable[tuple[int, float]], where: Mapping[str, Any]
) -> tuple[tuple[Milestone, ...], dict[str, int]]:
    """The milestones of minutes (open times in UTC ms, average prices) that a position survived, and how far it came.

    ``where`` are the fields that every event of its run has.
    """
    signal, events = state.signal, list[Milestone]()
    reached = {"profit": state.profit_level, "loss": state.loss_level}
    for when, price in minutes:
        side, percent = progress(signal, price)
        for level in passed_levels(percent, reached[side]):
            events.append(Milestone(**where, when=when, price=price, side=side, level=level, signal=signal))
            reached[side] = level
    return tuple(events), reached


def with_levels_of(state: Holding, highest: float, lowest: float) -> Holding:
    """The position after minutes that it survived, of which these were the highest and the lowest average price."""
    reached = {"profit": state.profit_level, "loss": state.loss_level}
    for price in (highest, lowest):
        if price == price:  # not NaN: there was one
            side, percent = progress(state.signal, price)
            reached[side] = max(reached[side], int(percent // LEVEL_STEP) * LEVEL_STEP)
    return msgspec.structs.replace(state, profit_level=reached["profit"], loss_level=reached["loss"])


def passed_milestones(state: Holding, minutes: tuple[tuple[int, float], ...], rules: Rules) -> Step:
    """Minutes (open times in UTC ms, average prices) that a position survived, with their milestones in order."""
    events, reached = milestones_of_minutes(state, minutes, labels(rules))
    held = msgspec.structs.replace(state, profit_level=reached["profit"], loss_level=reached["loss"])
    return Step(held, events)


def survived(state: Holding, given: Minute, rules: Rules, events: tuple[Event, ...] = ()) -> Step:
    """A minute that an open position survived, with its milestones; the way is that to its declared levels."""
    signal = state.signal
    side, percent = progress(signal, given.price)
    levels = passed_levels(percent, state.profit_level if side == "profit" else state.loss_level)
    if not levels and not rules.quiet:
        return Step(state, events)
    where = labels(rules)
    if levels:
        passed = [
            Milestone(**where, when=given.t, price=given.price, side=side, level=level, signal=signal)
            for level in levels
        ]
        events = (*events, *passed)
        reached = {"profit_level": levels[-1]} if side == "profit" else {"loss_level": levels[-1]}
        state = msgspec.structs.replace(state, **reached)
    if rules.quiet:
        tp, sl = (percent, 0.0) if side == "profit" else (0.0, percent)
        active = Active(**where, when=given.t, price=given.price, signal=signal, percent_tp=tp, percent_sl=sl)
        events = (*events, active)
    return Step(state, events)
