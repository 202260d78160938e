"""Positions with a ladder, a trailing stop or break-even, or without some level: pieces of the compiled loop.

The rules are those of ``domain/order_of_fills_in_a_managed_minute.py``, ``domain/trailing_and_breakeven_stops.py`` and
``domain/profit_of_partial_closes.py``, in plain Python that compiles as it stands. Prices called *mirrored* are those
of a short times -1: favourable is up. Moments are UTC milliseconds, prices are in quote currency, percentages of 1.5
mean 1.5 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .exit_loop import BLOCK, STOP_LOSS, TAKE_PROFIT, next_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

DUST: Final = 1e-9  # of the first size; ``domain.position_fills``
NEARLY: Final = 1e-6  # of a tick; ``domain.tick_grid``
CLOSE: Final = 1e-6  # relative: swings this near to a trailing stop are looked at minute by minute
LEVELS: Final = 3  # of a ladder, at most
TRAILING_STOP: Final = 5
BREAKEVEN: Final = 6

# what is kept of a position, by place
SIDE, ENTRY, STOP, TRAIL, TRAIL_FROM, EVEN_FROM, EVEN_STOP, BEST, LEFT, SOLD, TOP, BOTTOM, MOST, LEAST = range(14)
TRAIL_AFTER, EVEN_AFTER, TICK, UNIT, SCALE = range(14, 19)  # as its row declares them, and the tick grid
TRAIL_DISTANCE, EVEN_COSTS = range(19, 21)
COST, BOUGHT, LARGEST, ADDED, STOP_PERCENT, TARGET_PERCENT = range(21, 27)
BOOK: Final = 27
"""Its size. ``STOP``, ``TRAIL_FROM``, ``EVEN_FROM``, ``EVEN_STOP``, ``BEST``, ``TOP`` and ``BOTTOM`` are mirrored.

A trailing stop lies ``TRAIL`` percent and ``TRAIL_DISTANCE`` (quote currency) behind the best price, one of them 0; it
is there where ``TRAIL`` is a number. ``EVEN_COSTS`` is 1 where break-even includes the costs, else 0. ``COST`` is that
of all entries, ``BOUGHT`` their size, ``LARGEST`` the largest cost of what was held, as a multiple of the first fill's.
``STOP_PERCENT`` and ``TARGET_PERCENT`` are where levels lie from the average entry, for
:mod:`bknb.kernels.entry_parts`; NaN: they are prices.
"""

FILLED_AT_OPEN, FILLED_AT_LEVEL, FILLED_AT_AVERAGE = range(3)  # how an entry filled


_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_ENDS: Final = np.zeros((0, 0), dtype=np.int64)
_NONE.setflags(write=False)  # a loop is compiled for one type of array
_NO_ENDS.setflags(write=False)


class Exits(NamedTuple):
    """What rows declare besides one target, one stop and a deadline; see ``engine.get_signals_exit_columns.RowExits``.

    Prices of targets of rows are on the tick grid already; of trades in ``kernels.random_trades`` they are multiples of
    the fill. ``tick`` (NaN: unknown) is ``unit / scale``, whole numbers that floats hold exactly.

    ``lasts`` says which deadline by the clock each row has, -1: none; ``ends[deadline, bar]`` when a position leaves at
    the market that opened in a bar, and ``closes[deadline, bar]`` the close of the session at which it is out (UTC ms).
    Empty: no row has one. Positions that are out at a close need execution at opens.
    """

    leave_long: NDArray[np.bool_]
    leave_short: NDArray[np.bool_]
    trailing: NDArray[np.float64]
    trailing_after: NDArray[np.float64]
    breakeven: NDArray[np.float64]
    targets: tuple[NDArray[np.float64], ...]
    shares: tuple[NDArray[np.float64], ...]
    tick: float
    unit: float
    scale: float
    lasts: NDArray[np.int64] = _NONE
    ends: NDArray[np.int64] = _NO_ENDS
    closes: NDArray[np.int64] = _NO_ENDS


def declare(exits: Any, row: int, target: float, book: Any, prices: Any, shares: Any) -> Any:
    """Copy what a row declares; returns how many targets, and whether they are a ladder.

    A target without a share closes all that is left.
    """
    book[TRAIL], book[TRAIL_AFTER], book[EVEN_AFTER] = (
        exits.trailing[row], exits.trailing_after[row], exits.breakeven[row])  # fmt: skip
    book[TRAIL_DISTANCE], book[EVEN_COSTS] = 0.0, 1.0
    book[TICK], book[UNIT], book[SCALE] = exits.tick, exits.unit, exits.scale
    count = 0
    for at in range(len(exits.targets)):
        price = exits.targets[at][row]
        if not np.isnan(price):
            prices[count], shares[count] = price, exits.shares[at][row]
            count += 1
    if count == 0 and not np.isnan(target):
        prices[0], shares[0] = target, np.inf
        return 1, False
    return count, count > 0


def broken_ladder(prices: Any, shares: Any, count: int) -> bool:
    """Whether a ladder cannot be read; ``exit_validation.read_ladder``."""
    total = 0.0
    for i in range(count):
        price, share = prices[i], shares[i]
        if not 0 < price < np.inf or not 0 < share < np.inf or share > 1 + DUST:
            return True
        total += share
    return total > 1 + DUST


def broken_exits(book: Any, side: int, slippage: float, fee: float) -> int:
    """The broken rules of trailing and break-even stops, a bit for each; ``exit_validation``."""
    broken = 0
    percent, after, even = book[TRAIL], book[TRAIL_AFTER], book[EVEN_AFTER]
    if not np.isnan(percent):
        if not 0 < percent < 100:
            broken |= 1
        if not np.isnan(after) and not 0 <= after < np.inf:
            broken |= 2
    if not np.isnan(even):
        sign = -1 if side == -1 else 1
        if not 0 < even < np.inf:
            broken |= 4
        elif even <= sign * (breakeven_price(sign, 100.0, slippage, fee) - 100.0):
            broken |= 8
    return broken


def breakeven_price(side: float, entry: float, slippage: float, fee: float) -> float:
    """``domain.pnl.breakeven_price``."""
    s, f = slippage / 100, fee / 100
    if side > 0:
        return entry * ((1 + s) * (1 + f)) / ((1 - s) * (1 - f))
    return entry * ((1 - s) * (1 - f)) / ((1 + s) * (1 + f))


def stop_on_grid(level: float, side: float, book: Any) -> Any:
    """``domain.trailing_and_breakeven_stops.stop_on_grid``."""
    if np.isnan(book[TICK]):
        return level
    ticks = level / book[TICK]
    nearest = np.rint(ticks)
    at = nearest * book[UNIT] / book[SCALE]
    if at == level or abs(ticks - nearest) <= NEARLY:
        return at
    return (np.floor(ticks) if side > 0 else np.ceil(ticks)) * book[UNIT] / book[SCALE]


def trailed(book: Any, best: float) -> Any:
    """The mirrored trailing stop of a mirrored best price; ``domain.trailing_and_breakeven_stops.trail_level``."""
    side = book[SIDE]
    level = side * best * (1 - side * book[TRAIL] / 100) - side * book[TRAIL_DISTANCE]
    return side * stop_on_grid(level, side, book)


def stop_in_force(book: Any, best: float) -> Any:
    """The mirrored stop and its reason; ``domain.trailing_and_breakeven_stops.stop_in_force``."""
    level, reason = book[STOP], STOP_LOSS
    if book[EVEN_STOP] > level:
        level, reason = book[EVEN_STOP], BREAKEVEN
    if book[TRAIL_FROM] == -np.inf:
        trail = trailed(book, best)
        if trail > level:
            level, reason = trail, TRAILING_STOP
    return level, reason


def progress(book: Any, best: float, slippage: float, fee: float) -> None:
    """What begins once the mirrored best price of closed candles is ``best`` (``after_progress`` in the domain)."""
    if best >= book[EVEN_FROM]:
        side = book[SIDE]
        costs, average = book[EVEN_COSTS], book[COST] / book[BOUGHT]
        level = side * stop_on_grid(breakeven_price(side, average, costs * slippage, costs * fee), side, book)
        if book[TRAIL_FROM] != -np.inf or trailed(book, best) < level:  # behind a trailing stop it never holds
            book[EVEN_STOP] = level
        book[EVEN_FROM] = np.inf
    if best >= book[TRAIL_FROM]:
        book[TRAIL_FROM] = -np.inf


def open_book(book: Any, side: int, entry: float, stop: float, highest: float, lowest: float) -> None:
    """A position that has its entry and nothing else; ``domain.position_book.new_book``."""
    book[SIDE], book[ENTRY], book[STOP] = side, entry, -np.inf if np.isnan(stop) else side * stop
    percent, after, even = book[TRAIL], book[TRAIL_AFTER], book[EVEN_AFTER]
    book[TRAIL_FROM] = np.inf
    if not np.isnan(percent):
        at_once = np.isnan(after) or after == 0
        book[TRAIL_FROM] = -np.inf if at_once else side * (entry * (1 + side * after / 100))
    book[EVEN_FROM] = np.inf if np.isnan(even) else side * (entry * (1 + side * even / 100))
    book[EVEN_STOP] = -np.inf
    book[TOP], book[BOTTOM] = (highest, lowest) if side > 0 else (-lowest, -highest)
    book[BEST] = book[TOP]
    book[LEFT], book[SOLD], book[MOST], book[LEAST] = 1.0, 0.0, np.nan, np.nan
    book[COST], book[BOUGHT], book[LARGEST], book[ADDED] = entry, 1.0, 1.0, 0.0
    book[STOP_PERCENT] = book[TARGET_PERCENT] = np.nan


def marked(book: Any, price: float, slippage: float, fee: float) -> Any:
    """The net result in percent with what is left closed at ``price``; ``domain.profit_of_partial_closes.result``."""
    side = book[SIDE]
    left = book[SOLD] + book[LEFT] * price if book[LEFT] != 0 else book[SOLD]
    first, paid = book[ENTRY] * (1 + side * slippage / 100), book[COST] * (1 + side * slippage / 100)
    received = left * (1 - side * slippage / 100)
    return (received - paid) / first * 100 * side - fee * (paid / first + received / first)


def see(book: Any, price: float, slippage: float, fee: float) -> None:
    """Extreme net results up to a fill at ``price``; ``domain.managed_fills``."""
    side = book[SIDE]
    one, other = (
        marked(book, side * max(book[TOP], side * price), slippage, fee),
        marked(book, side * min(book[BOTTOM], side * price), slippage, fee),
    )
    most, least = max(one, other), min(one, other)
    book[MOST] = most if np.isnan(book[MOST]) else max(most, book[MOST])
    book[LEAST] = least if np.isnan(book[LEAST]) else min(least, book[LEAST])


def reduce_by(book: Any, share: float, price: float, slippage: float, fee: float) -> None:
    """Close a part that leaves something open; extremes are seen anew from its price on."""
    see(book, price, slippage, fee)
    book[SOLD] += share * price
    book[LEFT] -= share
    book[TOP] = book[BOTTOM] = book[SIDE] * price


def hold_declared(  # noqa: C901 -- one candle, one place
    market: Any, blocks: Any, rules: Any, book: Any, prices: Any, shares: Any, count: int, how: int,
    at: int, over: int,
) -> Any:  # fmt: skip
    """Minutes of an open position from index ``at`` up to ``over``, at which something else ends it.

    Whole blocks are jumped over where they reach neither the stop, a target nor a trigger, and swing less than a
    trailing stop is away. ``how`` its entry filled. Returns reason (-1: none), index of the deciding minute, price and
    doubt.
    """
    side, best, taken, i = book[SIDE], book[BEST], 0, at
    highs = market.average if rules.watches_average else market.high
    lows = market.average if rules.watches_average else market.low
    if how == FILLED_AT_LEVEL:
        progress(book, best, rules.slippage, rules.fee)
    entered = how == FILLED_AT_OPEN
    level, why = stop_in_force(book, best)
    target = side * prices[0] if count else np.inf
    trails, wake = book[TRAIL_FROM] == -np.inf, _next_change(book, target)
    part, slack = _trailing_of(book)
    swing = (1 - part) * (1 + CLOSE) if side > 0 else (1 + part) * (1 - CLOSE)
    floor = max(level, best * (1 - side * part) + slack) if trails else level  # the stop, or a little above it
    top, bottom = book[TOP], book[BOTTOM]
    while i < over:
        if i % BLOCK == 0 and i + BLOCK <= over and not entered:
            block = i // BLOCK
            most, least = blocks.top[block], blocks.bottom[block]
            if side < 0:
                most, least = -least, -most
            if most < wake and least > floor:
                jumps = most <= best or not trails
                if not jumps:  # the stop follows: where it may be reached, minute by minute
                    jumps = blocks.fall[block] > swing if side > 0 else blocks.rise[block] < swing
                if jumps:
                    top, bottom = max(top, most), min(bottom, least)
                    if most > best:
                        best = most
                        if trails:
                            floor = max(level, best * (1 - side * part) + slack)
                    i += BLOCK
                    continue
        # minute by minute to the end of the block, or to what changes the levels
        end = min(over, (i // BLOCK + 1) * BLOCK)
        favourable = adverse = 0.0
        while i < end:
            favourable, adverse = (highs[i], lows[i]) if side > 0 else (-lows[i], -highs[i])
            if favourable >= wake or adverse <= floor or entered:
                break
            top, bottom = max(top, favourable), min(bottom, adverse)
            if favourable > best:
                best = favourable
                if trails:
                    floor = max(level, best * (1 - side * part) + slack)
            i += 1
        if i == end:
            continue
        if not market.fills[i]:
            i += 1
            continue
        if trails:
            trail = trailed(book, best)
            if trail > level:
                level, why = trail, TRAILING_STOP
        book[TOP], book[BOTTOM] = top, bottom
        if rules.gap_fills or entered:
            opened = side * market.open[i]
            if opened <= level:
                return why, i, market.open[i], False
            while taken < count and (opened > target or (entered and opened == target)):
                if shares[taken] >= book[LEFT] - DUST:
                    return TAKE_PROFIT, i, market.open[i], False
                reduce_by(book, shares[taken], market.open[i], rules.slippage, rules.fee)
                taken += 1
                target = side * prices[taken] if taken < count else np.inf
        lost = adverse <= level
        hit = taken < count and (favourable > target or (favourable == target and not rules.trades_through))
        if lost and rules.stop_first:
            return why, i, side * level, hit
        while taken < count and (favourable > target or (favourable == target and not rules.trades_through)):
            if shares[taken] >= book[LEFT] - DUST:
                return TAKE_PROFIT, i, side * target, lost
            reduce_by(book, shares[taken], side * target, rules.slippage, rules.fee)
            taken += 1
            target = side * prices[taken] if taken < count else np.inf
        if lost:
            return why, i, side * level, hit
        top, bottom = max(book[TOP], favourable), min(book[BOTTOM], adverse)
        best = max(best, favourable)
        if best >= book[EVEN_FROM] or (not trails and best >= book[TRAIL_FROM]):
            progress(book, best, rules.slippage, rules.fee)
            level, why = stop_in_force(book, best)
            trails = book[TRAIL_FROM] == -np.inf
        wake = _next_change(book, target)
        floor = max(level, best * (1 - side * part) + slack) if trails else level
        entered = False
        i += 1
    book[TOP], book[BOTTOM] = top, bottom
    return -1, over, 0.0, False


def _next_change(book: Any, target: float) -> float:
    """The mirrored favourable price from which on a target is reached, or another stop begins."""
    wake: float = min(target, book[EVEN_FROM])
    if book[TRAIL_FROM] != -np.inf:
        wake = min(wake, book[TRAIL_FROM])
    return wake


def _trailing_of(book: Any) -> Any:
    """The share of the best price that a trailing stop lies behind it, and what is added to that at most.

    That is the rounding of it, less a distance in quote currency.
    """
    slack = 1e-9 * abs(book[ENTRY]) - book[TRAIL_DISTANCE]
    if not np.isnan(book[TICK]):
        slack += 2 * NEARLY * book[TICK]
    return book[TRAIL] / 100, slack


def next_leaving(leaves: Any, closes: Any, known: int, found: Any) -> Any:
    """The first row whose candle closes at or after ``known`` (UTC ms) and that ``leaves``; the count: none.

    ``found`` keeps from when on was looked last, and the row that was found.
    """
    row = found[1]
    if row < 0 or known < found[0] or (row < len(closes) and closes[row] < known):
        row = next_set(leaves, int(np.searchsorted(closes, known)))
        found[0], found[1] = known, row
    return row


def block_swings(
    high: NDArray[np.float64], low: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far prices fall and rise within whole blocks of ``BLOCK`` minutes, shape (n // BLOCK,) each.

    The least ratio of a low to the highest high before it, and the greatest of a high to the lowest low before it. A
    minute that fills nothing has a high of minus and a low of plus infinity.

    Examples
    --------
    >>> high, low = np.full(BLOCK, 10.0), np.full(BLOCK, 10.0)
    >>> high[3], low[5] = 16.0, 8.0
    >>> block_swings(high, low)
    (array([0.5]), array([1.6]))
    """
    whole = len(high) // BLOCK
    tops, bottoms = (prices[: whole * BLOCK].reshape(whole, BLOCK) for prices in (high, low))
    before_top, before_bottom = (
        reduce.accumulate(prices, axis=1)[:, :-1] for reduce, prices in ((np.maximum, tops), (np.minimum, bottoms))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        fall = np.where(before_top > 0, bottoms[:, 1:] / before_top, np.inf)
        rise = np.where(np.isfinite(before_bottom), tops[:, 1:] / before_bottom, 0.0)
    return fall.min(axis=1), rise.max(axis=1)


PIECES: Final = (
    declare, broken_ladder, broken_exits, breakeven_price, stop_on_grid, trailed, stop_in_force, progress,
    open_book, marked, see, reduce_by, hold_declared, _next_change, _trailing_of, next_leaving,
)  # fmt: skip
"""What is compiled beside a loop that holds such positions."""
