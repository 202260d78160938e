"""The trades of a backtest as arrays, and its market, to enter the same trades at other moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import interval_ms
from ..domain.tick_grid import tick_numbers
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..engine.plan import Plan
from ..kernels.declared_exit_loop import Exits
from ..kernels.random_trades import LEVELS, Declared, FillRules, Minutes, Shapes, minutes_of

if TYPE_CHECKING:
    from ..domain.signal_events import Closed
    from .result import Result

_FOREVER: Final = 2**40  # minutes


def market_of(result: Result) -> tuple[Minutes, FillRules]:
    """Return the candles of a backtest and how they fill orders, as arrays and numbers."""
    record = result.run_record
    window, plan = record.candles.window, record.plan
    assert window is not None and isinstance(plan, Plan)  # a backtest with trades  # noqa: PT018, S101
    candles, model = record.candles.minutes, execution_model(plan.execution)
    step = interval_ms(plan.base)
    begin = look_back_begin(candles, plan.frame.start, window.price_count, step)
    minutes = minutes_of(
        candles.timestamp,
        candles.block[1:5],
        window.average_prices(plan.symbol),
        minutes_that_fill(candles, model, begin=begin),
        watches_average=model.watches == "average",
        step=step,
    )
    rules = FillRules(
        *(model.fills_at_open, model.watches == "average", model.trades_through, model.stop_first, model.gap_fills),
        result.account_terms.end,
        float(plan.settings.percent_slippage),
        float(plan.settings.percent_fee),
        *tick_numbers(plan.settings.price_tick),
        points=is_in_points(result),
    )
    return minutes, rules


def is_in_points(result: Result) -> bool:
    """Whether prices of a run may be at or below zero: results of its trades elsewhere are in points then."""
    return bool(getattr(result.run_record.plan.exchange.source, "negative", False))


def shapes_of(closed: Sequence[Closed], *, points: bool = False) -> Shapes:
    """Return what closed trades look like wherever they are entered; a level that there is none of is never reached.

    With ``points`` levels are as far away from the fill as in the run, else the same share of it.
    """
    signals = [trade.signal for trade in closed]
    side = np.array([1 if signal.position == "long" else -1 for signal in signals], dtype=np.int64)
    entry = np.array([signal.price_open for signal in signals])
    levels = (
        np.array([getattr(signal, name) for signal in signals], dtype=np.float64)
        for name in ("price_take_profit", "price_stop_loss")
    )
    target, stop = (level - entry if points else level / entry for level in levels)
    minutes = [_FOREVER if signal.minute_estimated_time is None else signal.minute_estimated_time for signal in signals]
    return Shapes(
        side,
        np.where(np.isnan(target), side * np.inf, target),
        np.where(np.isnan(stop), -side * np.inf, stop),
        np.array(minutes, dtype=np.int64),
    )


def declared_of(closed: Sequence[Closed], tick: float | None) -> Declared | None:
    """Return the ladders, trailing and break-even stops of closed trades, for any entry; ``None``: there is none."""
    signals = [trade.signal for trade in closed]
    if not any(signal.targets or signal.trailing or signal.breakeven for signal in signals):
        return None
    entry = np.array([signal.price_open for signal in signals])
    levels = LEVELS
    while levels < max(len(signal.targets) for signal in signals):
        levels *= 2
    prices, shares = np.full((2, levels, len(signals)), np.nan)
    trailing, after, breakeven = np.full((3, len(signals)), np.nan)
    distance, costs = np.zeros(len(signals)), np.ones(len(signals))
    for at, signal in enumerate(signals):
        for level, target in enumerate(signal.targets):
            prices[level, at], shares[level, at] = target.price / signal.price_open, target.share
        if signal.trailing is not None:
            trailing[at], after[at] = signal.trailing.percent or 0.0, signal.trailing.after
            distance[at] = (signal.trailing.distance or 0.0) / entry[at]
        if signal.breakeven is not None:
            breakeven[at], costs[at] = signal.breakeven.after, signal.breakeven.plus == "costs"
    never = np.zeros(len(signals), dtype=np.bool_)
    exits = Exits(
        *(never, never, trailing, after, breakeven, tuple(prices), tuple(shares)),
        *tick_numbers(tick),
    )
    return Declared(exits, distance, np.zeros(len(signals)), costs)
