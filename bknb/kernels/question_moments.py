"""When a strategy can be asked, and which of its rows is known then: pieces of compiled loops.

Moments are those of ``engine.questions``, in plain Python that compiles as it stands; UTC milliseconds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .exit_loop import NEVER, first_at, next_set, time_at


def question(market: Any, grid: Any, earliest: int) -> int:
    """The first moment from ``earliest`` on at which a strategy can be asked, -1: none; ``Questions.first``."""
    times, count = market.times, len(market.times)
    if len(grid.opens):
        at = int(np.searchsorted(grid.edges, earliest))
        return int(grid.edges[at]) if at < len(grid.edges) else -1
    moment = grid.start
    if earliest > moment:
        moment -= (moment - earliest) // grid.step * grid.step
    while count and moment <= times[count - 1]:  # a bar opens at or after it
        at = first_at(market, moment - market.step)
        while len(market.ready) and at < count and not market.ready[at]:
            at += 1
        if at == count:
            return -1
        closes = time_at(market, at) + market.step
        if closes == moment:
            return int(moment)
        moment -= (moment - closes) // grid.step * grid.step
    return -1


def slot_at(grid: Any, moment: int) -> Any:
    """When the first slot begins that does not begin before ``moment``."""
    if len(grid.opens):
        at = int(np.searchsorted(grid.opens, moment))
        return grid.opens[at] if at < len(grid.opens) else NEVER
    return -(-moment // grid.slot) * grid.slot


def newest_row(closes: Any, grid: Any, when: int) -> Any:
    """Index of the newest candle that has closed; -1 before the first, the count or more where the data has ended."""
    count = len(closes)
    if count == 0 or when < closes[0]:
        return -1
    if len(grid.opens) == 0 and closes[count - 1] == closes[0] + (count - 1) * grid.slot:
        return (when - closes[0]) // grid.slot
    return int(np.searchsorted(closes, when, side="right")) - 1


def first_question(market: Any, grid: Any) -> int:
    """The first moment at which a strategy can be asked; by the day that of the first session that opens then."""
    return question(market, grid, slot_at(grid, grid.start) if len(grid.opens) else grid.start)


def when_wanted(market: Any, grid: Any, rows: Any, row: int) -> Any:
    """When the first row from ``row`` on is known that wants something; -1: none does."""
    candles = len(rows.closes)
    if row < candles:
        row = next_set(rows.position, max(row, 0))
    return question(market, grid, slot_at(grid, rows.closes[row])) if row < candles else -1


PIECES: Final = (question, slot_at, newest_row, first_question, when_wanted)
"""What :func:`bknb.kernels.jit.compiled` compiles beside a loop that asks a strategy."""
