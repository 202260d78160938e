"""The moments of a frame at which a look-ahead check asks a strategy once, to find those with a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.interval import ceil_to
from ..engine.get_signals_vectorised import signal_rows
from ..engine.questions import has_session_days
from ..errors import StrategyError, UsageError

if TYPE_CHECKING:
    from .strategy_asked_in_other_worlds import AskedStrategy

MOST_SCANNED: Final = 2000


class Scanned(NamedTuple):
    """Moments (UTC ms) in order of time, and at how many of them rows of a ``get_signals`` have a signal."""

    moments: list[int]
    row_signals: int = 0


def scanned_moments(asked: AskedStrategy, count: int) -> Scanned:
    """Return the moments of a strategy of which ``count`` are to be looked at closely.

    Raises
    ------
    UsageError
        The frame holds too few.
    """
    frame, strategy = asked.plan.frame, asked.strategy
    every = _every_moment(asked)
    if len(every) < 3:
        raise UsageError(
            f"the frame {frame} holds {len(every)} moments of a strategy asked {strategy.asked}\ngive a longer frame"
        )
    if strategy.get_signals is None:
        return Scanned(every[:: -(-len(every) // MOST_SCANNED)])
    # a vectorised strategy shows its signals in its rows; only some moments need to be asked
    given, begin = asked.candles(), asked.begin
    some = every[:: -(-len(every) // (4 * count))]
    try:
        found = signal_rows(strategy, given.candles.copy(), asked=asked.rows_asked())
        rows = begin + np.flatnonzero(found.acts[begin:])
    except StrategyError:
        return Scanned(some)  # it raises again when it is asked
    step = max(-(-len(rows) // count), 1)
    signals = given.closes[rows[::step]].tolist()
    moments = sorted({*some, *(when for when in signals if when <= frame.last)})
    return Scanned(moments, min(len(rows), max(count // 2, 1)))


def _every_moment(asked: AskedStrategy) -> list[int]:
    """All moments of the frame at which the strategy may be asked."""
    window, strategy, symbol, slot = asked.window, asked.strategy, asked.plan.symbol, asked.slot
    frame, at, sessions = asked.plan.frame, strategy.at, window.sessions_of(symbol)
    by_day = has_session_days(strategy.interval, sessions, window.base_ms)
    if at is None and not by_day:
        grid = window.grid_of(symbol)
        if grid is None:
            return [*range(ceil_to(frame.start, slot), frame.last + 1, slot)]
        found = [grid.ceil(frame.start, slot)]
        while found[-1] <= frame.last:
            found.append(grid.after(found[-1], slot))
        return found[:-1]
    from ..engine.scheduled_questions import SESSION_DAY, calendar_of, in_run

    schedule = in_run(SESSION_DAY if at is None else at, asked.published, symbol, frame.last)
    calendar = calendar_of(sessions, window.base_ms)
    return schedule.moments(frame.start, frame.last + 1, calendar)
