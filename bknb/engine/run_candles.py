"""The minutes of a run over a frame, up to the last that fills an order, and how much of the frame they cover."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, candles_text, interval_ms
from ..errors import NotEnoughData, UsageError
from ..market.fetch_loop import submit
from ..market.measured_bar_length import longer_bars_text
from .filling_minutes import look_back_begin, minutes_that_fill
from .questions import has_session_days, ready_minutes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..market.candles_of_one_symbol import Series
    from ..market.sessions import Sessions
    from ..market.window import Window
    from .plan import Plan
    from .records import Records

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


def coverage_notes(
    plan: Plan, series: Series, sessions: Sessions | None, *, said: Sequence[str] = ()
) -> tuple[str, ...]:
    """What is told of a frame whose data begins late or ends early.

    Parameters
    ----------
    plan, series
        The run, and the candles that fill its orders.
    sessions
        When its market is open.
    said
        What was told before, such as that the data is out of reach.

    Raises
    ------
    NotEnoughData
        There is no candle in the frame.
    UsageError
        None of its longer base bars ends while the market is open, and the strategy is asked where bars end.
    """
    times, first, end = series.candles.timestamp, plan.frame.start, plan.frame.last
    where = f"{plan.symbol} on {plan.exchange.name}"
    if not len(times) or int(times[-1]) < first:
        told = "".join(f"\n{each}" for each in said)
        longer = longer_bars_text(plan.base, plan.exchange.source)
        raise NotEnoughData(
            f"{where} has no {candles_text(plan.base)} in the frame {plan.frame}{told}\n"
            + ("see that the exchange answers from `since` on, or " if told else "")
            + "choose a frame inside the data"
            + (f"; {longer}" if longer else "")
        )
    begin, last, step = int(times[0]), int(times[-1]), interval_ms(plan.base)
    if sessions is not None:
        open_spans = sessions.open_ranges(first, end)
        first, end = (open_spans[0][0], open_spans[-1][1]) if open_spans else (begin, last)
        by_closes = plan.strategy.at is None and not has_session_days(plan.strategy.interval, sessions, step)
        if MINUTE_MS < step < DAY_MS and by_closes and not ready_minutes(series.closes, sessions, 1).any():
            raise UsageError(
                f"no {plan.base} bar of {plan.symbol} ends while its market is open: {sessions}\n"
                'ask at moments: at="session_open", or interval="1d"; or take shorter bars, or daily ones, at whose '
                "end the next day is decided"
            )
    bars = "minutes" if step == MINUTE_MS else candles_text(plan.base)
    late = (f"the data of {where} begins {(begin - first) // step} {bars} after the start of the frame",)
    early = (f"the data of {where} ends {(end - last) // step} {bars} before the end of the frame",)
    return (*(late if begin > first else ()), *(early if last < end - step else ()))


def data_end_notes(plan: Plan, series: Series, records: Records) -> tuple[str, ...]:
    """What is told of a run in which the end of the data ended something."""
    closed = any(end.close_reason == "data_end" for end in records.closed[-1:])
    cancelled = any(end.reason == "data_end" for end in records.cancelled[-1:])
    if not closed and not cancelled:
        return ()
    end = utc_text(series.close_at(-1))
    what = "a position was open" if closed else "an entry was waiting"
    return (f"the data of {plan.symbol} on {plan.exchange.name} ended at {end} where {what}; it ended as data_end",)
