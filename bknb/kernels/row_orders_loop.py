"""A whole backtest as one loop, of rows with several entries, levels in percent, or sizes.

A row may have a long and a short that compete, the first that fills takes it, or an entry in several parts. The rules
are those of ``domain/competing_entries.py``, ``domain/entry_ladder.py`` and ``domain/percent_levels.py`` for a strategy
without a risk profile. Everything else is as of :mod:`bknb.kernels.simulate`, whose pieces this loop is made of; plain
rows take the loops there.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import entry_parts, row_orders, simulate
from .declared_exit_loop import (
    BOOK,
    FILLED_AT_AVERAGE,
    FILLED_AT_LEVEL,
    FILLED_AT_OPEN,
    LEVELS,
    STOP_PERCENT,
    TARGET_PERCENT,
    declare,
    open_book,
)
from .entry_parts import ARE_STOPS, DOUBTED, GONE, PARTS, WAITING, WaitingParts, percent_level
from .exit_loop import STOP_LOSS, first_at, net, time_at
from .jit import compiled
from .question_moments import first_question, newest_row, question, slot_at, when_wanted
from .row_orders import (
    DONE,
    DOUBT,
    ORDER,
    ORDER_KIND,
    ORDER_LEVEL,
    ORDER_SIDE,
    ORDER_STOP,
    ORDER_TARGET,
    WAITS,
    order_of,
    part_of_equity,
    parts_of,
    size_of,
)
from .simulate import (
    AT_LEVEL,
    AT_OPEN,
    DATA_END_CANCEL,
    MARKET_ORDER,
    OF_EQUITY,
    PLACE_TAKEN,
    PRICE_REJECT,
    REJECTED,
    RESTS,
    STOP_ENTRY,
    STOPPED_OUT,
    WIDTH,
    cancelled_by_clock,
    copy_rows,
    count_refusal,
    fill_entry,
    hold_to_end,
    hold_to_end_plain,
    rests_until,
    write_cancelled,
    write_end,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .declared_exit_loop import Exits
    from .row_orders import RowOrders
    from .simulate import Grid, Market, MarketBlocks, Rows, RuleNumbers

_KINDS: Final = 256  # sets of rules that refused answers are counted by; what is beyond counts with the last
_OVER, _FULL = range(2)  # why the loop comes back
_ENDED, _KINDS_FOUND, _WHEN, _LEAVING = range(4)  # places of what it goes on with


def _worth(market: Any, i: int, order: Any, size: float, rules: Any) -> Any:
    """What a position is worth at the end of minute ``i``, which opens it at its level; ``competing_entries``."""
    price = order[ORDER_STOP] if order[DONE] == STOPPED_OUT else market.close[i]
    return net(order[ORDER_SIDE], order[ORDER_LEVEL], price, rules.slippage, rules.fee) * size


def _nearest(ordered: Any, count: int, price: float, done: int) -> int:
    """The order that is ``done`` whose price is nearest to another one; -1: none is."""
    found, least = -1, np.inf
    for k in range(count):
        if ordered[k, DONE] == done and abs(ordered[k, ORDER_LEVEL] - price) < least:
            found, least = k, abs(ordered[k, ORDER_LEVEL] - price)
    return found


def _first_filled(market: Any, i: int, ordered: Any, count: int, size: float, rules: Any) -> int:
    """Which of several orders that minute ``i`` filled behind its open is first; ``competing_entries``."""
    found, least = -1, np.inf
    for k in range(count):
        if ordered[k, WAITS] == 0 or ordered[k, DONE] == RESTS:
            continue
        if rules.watches_average:
            away = abs(ordered[k, ORDER_LEVEL] - market.average[i])
        elif rules.stop_first:
            away = _worth(market, i, ordered[k], size, rules)
        else:
            away = abs(ordered[k, ORDER_LEVEL] - market.open[i])
        if found < 0 or away < least:
            found, least = k, away
    if not rules.watches_average:
        ordered[found, DOUBT] = 1
    return found


def _wait_for_first(
    market: Any, rules: Any, ordered: Any, count: int, size: float, at: int, over: int, row: int, when: int, ends: Any,
    ended: int,
) -> Any:  # fmt: skip
    """Minutes of orders that wait, from index ``at`` up to ``over``, at which the clock ends them.

    Those that are rejected meanwhile are written. Returns which one filled, -1: none, the index of the deciding minute,
    how many wait and how many ends there are.
    """
    first, left = rules.fills_at_open, count
    for i in range(at, over):
        if not market.fills[i]:
            continue
        at_open, last, touched = -1, -1, 0
        for k in range(count):
            order = ordered[k]
            if order[WAITS] == 0:
                continue
            side, kind = int(order[ORDER_SIDE]), int(order[ORDER_KIND])
            level, stop = order[ORDER_LEVEL], order[ORDER_STOP]
            done, doubt = fill_entry(market, i, side, kind, level, stop, first, rules)
            order[DONE], order[DOUBT] = done, 1 if doubt else 0
            if done == REJECTED:
                write_cancelled(ends[ended], row, side, when, time_at(market, i), level, order[ORDER_TARGET], stop,
                                market.average[i], PRICE_REJECT)  # fmt: skip
                order[WAITS] = 0
                left, ended = left - 1, ended + 1
            elif done != RESTS:
                touched, last = touched + 1, k
                at_once = done == AT_LEVEL and kind == STOP_ENTRY and first and side * market.open[i] >= side * level
                if at_open < 0 and (done == AT_OPEN or at_once):
                    at_open = k
        if touched > 1 and at_open < 0:
            last = _first_filled(market, i, ordered, count, size, rules)
        if touched or not left:
            return at_open if at_open >= 0 else last, i, left, ended
        first = False
    return -1, over, left, ended


def _cancel_others(
    ordered: Any, count: int, row: int, when: int, closed_at: int, price: float, reason: int, ends: Any, ended: int
) -> int:
    """Write the orders that still wait as cancelled; returns how many ends there are."""
    for k in range(count):
        if ordered[k, WAITS] == 1:
            order = ordered[k]
            write_cancelled(ends[ended], row, int(order[ORDER_SIDE]), when, closed_at, order[ORDER_LEVEL],
                            order[ORDER_TARGET], order[ORDER_STOP], price, reason)  # fmt: skip
            ended += 1
    return ended


def _wait_parts(market: Any, grid: Any, rules: Any, orders: Any, row: int, order: Any, when: int, parts: Any) -> None:
    """Copy the parts of an entry that wait once its first has filled."""
    count = 0 if orders.either[row] else parts_of(orders, row)
    parts.state[WAITING] = max(count - 1, 0)
    if count < 2:
        return
    for k in range(count - 1):
        parts.levels[k] = order[ORDER_SIDE] * orders.parts[k + 1][row]
        parts.shares[k] = orders.shares[k + 1][row] / orders.shares[0][row]
    parts.state[ARE_STOPS] = 1 if order[ORDER_KIND] == STOP_ENTRY else 0
    parts.state[GONE] = first_at(market, rests_until(market, grid, rules, when))
    parts.state[DOUBTED] = 1 if order[DONE] == STOPPED_OUT else 0


def _hold(
    market: Any, blocks: Any, grid: Any, rows: Any, orders: Any, rules: Any, exits: Any, book: Any, prices: Any,
    shares: Any, parts: Any, order: Any, row: int, when: int, pending_at: int, at: int, found: Any, end: Any,
) -> Any:  # fmt: skip
    """A position from its fill on, and its row in the table of ends; returns as ``hold_to_end``."""
    side, kind, done = int(order[ORDER_SIDE]), int(order[ORDER_KIND]), int(order[DONE])
    stop, target, doubt = order[ORDER_STOP], order[ORDER_TARGET], order[DOUBT] == 1
    entry = market.open[at] if done == AT_OPEN and rules.fills_at_open else order[ORDER_LEVEL]
    stop_percent, target_percent = orders.stop_percent[row], orders.target_percent[row]
    count, has_ladder = declare(exits, row, target, book, prices, shares)
    if not np.isnan(target_percent):
        target = percent_level(entry, side, target_percent, book)
    if not has_ladder and count:
        prices[0] = target
    if not np.isnan(stop_percent):
        stop = percent_level(entry, -side, stop_percent, book)
        if done == AT_LEVEL and rules.fills_at_open:  # it was not there before the fill
            doubt = doubt or side * ((market.low[at] if side > 0 else market.high[at]) - stop) <= 0
    _wait_parts(market, grid, rules, orders, row, order, when, parts)
    if done == STOPPED_OUT and parts.state[WAITING] == 0:
        after = time_at(market, at)
        write_end(end, row, side, when, after, after, entry, target, stop, stop, STOP_LOSS, entry, entry, 1.0, rules)
        end[OF_EQUITY] = part_of_equity(orders, row)
        return after, -1
    highest = lowest = entry
    how = FILLED_AT_AVERAGE
    if done != AT_OPEN:
        how = FILLED_AT_LEVEL
        if rules.fills_at_open and parts.state[WAITING] == 0:  # of its extremes only one came after the fill
            if (kind == STOP_ENTRY) == (side > 0):
                highest = max(highest, market.high[at])
            else:
                lowest = min(lowest, market.low[at])
        at += 1
    elif rules.fills_at_open:
        how = FILLED_AT_OPEN
    open_book(book, side, entry, stop, highest, lowest)
    book[STOP_PERCENT], book[TARGET_PERCENT] = stop_percent, target_percent
    after, leaving = hold_to_end(
        market, blocks, grid, rows, rules, exits, book, prices, shares, count, parts, how, row, side, when, pending_at,
        entry, target, stop, rows.minutes[row], doubt and done != STOPPED_OUT, at, found, end)  # fmt: skip
    end[OF_EQUITY] = part_of_equity(orders, row)
    return after, leaving


# --- the run ---------------------------------------------------------------------------------------------------------


def _run(market: Any, blocks: Any, grid: Any, rows: Any, orders: Any, rules: Any, exits: Any) -> Any:
    """``_go_on`` with tables that grow. Everything is allocated here: where nothing is, no references are counted."""
    ends, refusals = np.empty((256, WIDTH)), np.empty((_KINDS, 4))
    book, prices, shares = np.empty(BOOK), np.empty(LEVELS), np.empty(LEVELS)
    parts = WaitingParts(np.empty(PARTS), np.empty(PARTS), np.zeros(4, np.int64))
    ordered = np.zeros((2, ORDER))
    found = np.full((2, 2), -1, np.int64)  # rows that leave: from when on was looked, and the next
    place = np.array([0, 0, first_question(market, grid), -1], np.int64)
    done = _FULL
    while done == _FULL:
        done = _go_on(market, blocks, grid, rows, orders, rules, exits, ends, refusals, book, prices, shares, parts,
                      ordered, found, place)  # fmt: skip
        if done == _FULL:
            longer = np.empty((2 * len(ends), WIDTH))
            copy_rows(ends, longer)
            ends = longer
    return ends[: place[_ENDED]].copy(), refusals[: place[_KINDS_FOUND]].copy()


def _go_on(  # noqa: C901 -- one pass, one place
    market: Any, blocks: Any, grid: Any, rows: Any, orders: Any, rules: Any, exits: Any, ends: Any, refusals: Any,
    book: Any, prices: Any, shares: Any, parts: Any, ordered: Any, found: Any, place: Any,
) -> int:  # fmt: skip
    """Question after question; after each that ordered something, minutes until the next may be asked.

    ``place`` is as in the loop of :mod:`bknb.kernels.simulate`. Returns whether it came to the end, or ``ends`` is
    full.
    """
    ended, kinds, when, leaving = int(place[_ENDED]), int(place[_KINDS_FOUND]), int(place[_WHEN]), int(place[_LEAVING])
    candles, last = len(rows.closes), grid.last
    final = last - 1 if rules.fills_at_open else last  # the last moment of a frame only ends what there is
    clock_end = last if rules.fills_at_open else last + 1
    while 0 <= when <= final and ended + 2 <= len(ends):
        row = newest_row(rows.closes, grid, when)
        if row < 0 or row >= candles or rows.position[row] == 0:
            when = when_wanted(market, grid, rows, row)
            continue
        at, after, count = first_at(market, when), when, 0
        if at >= grid.average_count:  # there is an average price
            price = market.average[at - 1]
            for k in range(2 if orders.either[row] else 1):
                side = 1 - 2 * k if orders.either[row] else int(rows.position[row])
                broken = order_of(rows, orders, exits, row, side, price, ordered[count], book, prices, shares,
                                rules)  # fmt: skip
                if broken:
                    kinds = count_refusal(refusals, kinds, broken if k == 0 else -broken, row, price)
                else:
                    count += 1
        if count:
            pending_at = when
            chosen = _nearest(ordered, count, price, AT_OPEN)
            if chosen >= 0:  # at the average price
                ordered[chosen, WAITS] = 0
            else:
                due = clock_end
                if ordered[0, ORDER_KIND] != MARKET_ORDER:
                    due = min(clock_end, rests_until(market, grid, rules, when))
                over = first_at(market, due)
                chosen, at, left, ended = _wait_for_first(
                    market, rules, ordered, count, size_of(orders, row), at, over, row, when, ends, ended)  # fmt: skip
                if chosen < 0 and left:
                    reason, price, closed_at, after = cancelled_by_clock(market, rules, last, due, over)
                    before = 0
                    if reason != DATA_END_CANCEL and leaving >= due:  # what leaves meanwhile closes later
                        before = 1
                        for column in range(WIDTH):
                            ends[ended - 1 + left, column] = ends[ended - 1, column]
                    else:
                        leaving = -1
                    ended = before + _cancel_others(
                        ordered, count, row, when, closed_at, price, reason, ends, ended - before)  # fmt: skip
                else:
                    leaving = -1
                    pending_at = after = time_at(market, at)
                    price = market.average[at]
            if chosen >= 0:
                ordered[chosen, WAITS] = 0
                ended = _cancel_others(ordered, count, row, when, pending_at, price, PLACE_TAKEN, ends, ended)
                after, leaving = _hold(
                    market, blocks, grid, rows, orders, rules, exits, book, prices, shares, parts, ordered[chosen],
                    row, when, pending_at, at, found, ends[ended])  # fmt: skip
                ended += 1
        when = question(market, grid, max(slot_at(grid, when + 1), after + 1))
    place[_ENDED], place[_KINDS_FOUND], place[_WHEN], place[_LEAVING] = ended, kinds, when, leaving
    return _FULL if 0 <= when <= final else _OVER


_PIECES: Final = (
    *simulate.PIECES, *entry_parts.PIECES, *row_orders.PIECES, _worth, _nearest, _first_filled, _wait_for_first,
    _cancel_others, _wait_parts, _hold, _go_on,
)  # fmt: skip


def simulate_orders(
    market: Market, blocks: MarketBlocks, grid: Grid, rows: Rows, orders: RowOrders, rules: RuleNumbers, exits: Exits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All positions a strategy would have had, as :func:`bknb.kernels.simulate.simulate`.

    A refusal of the second of two orders has the number of its rules below 0.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    run = compiled(_run, globals(), _PIECES, beside=simulate.__name__)
    found: tuple[NDArray[np.float64], NDArray[np.float64]] = run(
        market, blocks.with_swings, grid, rows, orders, rules, exits
    )
    return found


def simulate_orders_plain(
    market: Market, blocks: MarketBlocks, grid: Grid, rows: Rows, orders: RowOrders, rules: RuleNumbers, exits: Exits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The specification of ``simulate_orders``: plain Python, minute by minute."""
    found: tuple[NDArray[np.float64], NDArray[np.float64]] = _plainly(
        market, blocks.with_swings, grid, rows, orders, rules, exits
    )
    return found


def _plain_run() -> Any:
    names = {**globals(), "hold_to_end": hold_to_end_plain}
    for piece in (_hold, _go_on):
        names[piece.__name__] = FunctionType(piece.__code__, names, f"{piece.__name__}_plain")
    return FunctionType(_run.__code__, names, "_run_plain")


_plainly: Final = _plain_run()
