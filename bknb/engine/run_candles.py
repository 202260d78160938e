"""The minutes of a run over a frame: from those its first average price is made of to the last that fills an order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.execution import execution_model
from ..domain.interval import DAY_MS
from ..market.fetch_loop import submit
from .minute_walk import look_back_begin, minutes_that_fill

if TYPE_CHECKING:
    from ..market.series import Series
    from ..market.window import Window
    from .plan import Plan

_FURTHER_MS: Final = (DAY_MS, 7 * DAY_MS)  # how far behind a frame (its next opening) a minute that fills is looked for
_FEWEST: Final = 10  # base bars behind a frame among which one that fills is looked for
_LONGEST_CLOSE_MS: Final = 31 * DAY_MS


async def run_minutes(window: Window, plan: Plan) -> Series:
    """Load the minutes, or longer base bars, of a run.

    What is open at the last moment of a frame leaves at the next candle that can fill it. When that candle lies behind
    a hole, closed hours or minutes without volume, it is looked for up to a week later, and is the last of the series.

    Raises
    ------
    GapError
        Minutes are missing, in the frame or from its last part on, and gaps were not allowed.
    """
    symbol, frame = plan.symbol, plan.frame
    series = await window.load_run(symbol, frame.start)
    times = series.candles.timestamp
    if not len(times) or int(times[-1]) < frame.start or _first_fill(series, plan, window) is not None:
        return series
    reopens, end = frame.last, series.until
    sessions = window.sessions_of(symbol)
    if sessions is not None:
        reopens = sessions.next_open(frame.last, frame.last + _LONGEST_CLOSE_MS)
    for further in () if symbol in window.ended else _FURTHER_MS:
        until = reopens + max(further, _FEWEST * window.base_ms)
        series = await asyncio.wrap_future(submit(window.load_after(symbol, until)))
        fill = _first_fill(series, plan, window)
        if fill is not None:
            return window.end_minutes(symbol, fill + window.base_ms)
    window.ended.add(symbol)
    return window.end_minutes(symbol, end)


def _first_fill(series: Series, plan: Plan, window: Window) -> int | None:
    """Open time (UTC ms) of the first minute that can fill an order of the frame's last moment."""
    model = execution_model(plan.execution)
    times = series.candles.timestamp
    begin = look_back_begin(series.candles, plan.frame.start, window.price_count, window.base_ms)
    # At the average price a frame ends with the first minute after its last moment.
    after = int(np.searchsorted(times, plan.frame.last, side="left" if model.fills_at_open else "right"))
    filling = np.flatnonzero(minutes_that_fill(series.candles, model, begin=begin)[after:])
    return int(times[after + filling[0]]) if len(filling) else None
