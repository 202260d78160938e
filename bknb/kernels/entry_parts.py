"""Positions whose entry has parts that wait beside the first: pieces of the compiled loop of ``row_orders_loop``.

The rules are those of ``domain/order_of_fills_in_a_managed_minute.py`` and ``domain/part_and_add_orders.py``, in plain
Python that compiles as it stands. Prices called *mirrored* are those of a short times -1: favourable is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .declared_exit_loop import (
    ADDED,
    BEST,
    BOTTOM,
    BOUGHT,
    COST,
    DUST,
    ENTRY,
    FILLED_AT_AVERAGE,
    FILLED_AT_LEVEL,
    FILLED_AT_OPEN,
    LARGEST,
    LEFT,
    SIDE,
    STOP,
    STOP_PERCENT,
    TARGET_PERCENT,
    TOP,
    progress,
    reduce_by,
    see,
    stop_in_force,
    stop_on_grid,
)
from .exit_loop import TAKE_PROFIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS: Final = 3  # of an entry, at most
WAITING, ARE_STOPS, GONE, DOUBTED = range(4)  # what is kept of parts, by place


class WaitingParts(NamedTuple):
    """The parts of an entry beside the first, the nearest to the market first.

    Attributes
    ----------
    levels, shares : ndarray of float64, shape (PARTS,)
        Mirrored prices, and sizes in units of the first part.
    state : ndarray of int64, shape (4,)
        How many there are, whether they are stop orders, the minute from which on they are taken back, and whether the
        minute of the first part reached the stop, too, which counts where it ends the position.
    """

    levels: NDArray[np.float64]
    shares: NDArray[np.float64]
    state: NDArray[np.int64]


def percent_level(price: float, side: float, percent: float, book: Any) -> Any:
    """The target a percentage from a price, on the grid of ticks; below 0 and of the other side the stop."""
    return stop_on_grid(price * (1 + side * percent / 100), -side, book)


def add_part(book: Any, share: float, price: float, rules: Any) -> None:
    """Buy a part at a price; extremes are seen anew from there on."""
    see(book, price, rules.slippage, rules.fee)
    book[LEFT] += share
    book[COST] += share * price
    book[BOUGHT] += share
    book[LARGEST] = max(book[LARGEST], book[LEFT] * (book[COST] / book[BOUGHT]) / book[ENTRY])
    book[ADDED] += 1
    book[TOP] = book[BOTTOM] = book[SIDE] * price


def move_levels(book: Any, prices: Any, taken: int, count: int) -> None:
    """Levels that are percent from the average price follow it; ``domain.trailing_and_breakeven_stops``."""
    side, average = book[SIDE], book[COST] / book[BOUGHT]
    if not np.isnan(book[STOP_PERCENT]):
        book[STOP] = side * percent_level(average, -side, book[STOP_PERCENT], book)
    if not np.isnan(book[TARGET_PERCENT]) and taken < count:
        prices[taken] = percent_level(average, side, book[TARGET_PERCENT], book)


def stop_behind(book: Any, prices: Any, parts: Any, first: int, upto: int, best: float) -> Any:
    """The mirrored stop, and its reason, once the parts on the way to it have filled, of those that were reached."""
    cost, bought, stop = book[COST], book[BOUGHT], book[STOP]
    level, why = stop_in_force(book, best)
    for k in range(first, upto):
        if parts.levels[k] > level:
            book[COST] += parts.shares[k] * (book[SIDE] * parts.levels[k])
            book[BOUGHT] += parts.shares[k]
            move_levels(book, prices, 0, 0)
            level, why = stop_in_force(book, best)
    book[COST], book[BOUGHT], book[STOP] = cost, bought, stop
    return level, why


def hold_parts(  # noqa: C901 -- one candle, one place
    market: Any, rules: Any, book: Any, prices: Any, shares: Any, count: int, parts: Any, how: int, at: int, over: int,
) -> Any:  # fmt: skip
    """Minutes of a position from index ``at`` up to ``over`` while parts of its entry wait; ``how`` its first filled.

    Where that was at its price, the range behind it in its own minute comes first. Returns reason (-1: none), index of
    the deciding minute or of the next, price, doubt, how many targets are left and how the position goes on.
    """
    side, best, taken, filled, i = book[SIDE], book[BEST], 0, 0, at
    waiting, stops, gone = parts.state[WAITING], parts.state[ARE_STOPS] == 1, parts.state[GONE]
    if waiting == 0:
        return -1, at, 0.0, False, count, how
    in_doubt, rests, entered, behind = parts.state[DOUBTED] == 1, False, how == FILLED_AT_OPEN, how == FILLED_AT_LEVEL
    if behind:
        i -= 1
    while i < over and filled < waiting and i < gone:
        if not market.fills[i]:
            i += 1
            continue
        high, low = (market.high[i], market.low[i]) if side > 0 else (-market.low[i], -market.high[i])
        opened, average = side * market.open[i], side * market.average[i]
        whole = average if rules.watches_average else low
        if behind:  # of the range only what lies on their side of the fill
            opened = side * book[ENTRY]
            high, low = (max(high, opened), opened) if stops else (opened, min(low, opened))
        favourable, adverse = (average, average) if rules.watches_average else (high, low)
        level, why = stop_in_force(book, best)
        hit = lost = False
        upto = filled
        if not (behind and stops):
            while filled < waiting:
                away = parts.levels[filled] - opened if stops else opened - parts.levels[filled]
                if not ((rules.fills_at_open and not rests and away <= 0) or (rules.gap_fills and away < 0)):
                    break
                add_part(book, parts.shares[filled], side * opened, rules)
                move_levels(book, prices, taken, count)
                level, why = stop_in_force(book, best)
                filled += 1
            if rules.gap_fills or entered:
                if opened <= level:
                    return why, i, side * opened, in_doubt, count, how
                while taken < count and (opened > side * prices[taken] or (entered and opened == side * prices[taken])):
                    if shares[taken] >= book[LEFT] - DUST:
                        return TAKE_PROFIT, i, side * opened, in_doubt, count, how
                    reduce_by(book, shares[taken], side * opened, rules.slippage, rules.fee)
                    taken += 1
            upto = filled
            while (
                not stops
                and upto < waiting
                and (low < parts.levels[upto] or (low == parts.levels[upto] and not rules.trades_through))
            ):
                upto += 1
        while stops and upto < waiting and favourable >= parts.levels[upto]:
            upto += 1
        if not (behind and stops):
            hit = taken < count and (
                favourable > side * prices[taken] or (favourable == side * prices[taken] and not rules.trades_through)
            )
            lost = adverse <= level
            if lost and not stops:
                level, why = stop_behind(book, prices, parts, filled, upto, best)
                lost = adverse <= level
            if not (lost and rules.stop_first):
                while taken < count and (
                    favourable > side * prices[taken]
                    or (favourable == side * prices[taken] and not rules.trades_through)
                ):
                    if shares[taken] >= book[LEFT] - DUST:
                        doubt = in_doubt or lost or upto > filled
                        return TAKE_PROFIT, i, prices[taken], doubt, count, how
                    reduce_by(book, shares[taken], prices[taken], rules.slippage, rules.fee)
                    taken += 1
        by_stop = stops and upto > filled
        while filled < upto and (not lost or stops or parts.levels[filled] > level):
            add_part(book, parts.shares[filled], side * parts.levels[filled], rules)
            filled += 1
        if lost:
            return why, i, side * level, in_doubt or hit or by_stop, count, how
        if filled > 0:
            move_levels(book, prices, taken, count)
        if parts.state[DOUBTED] == 1 and behind:  # other parts have moved the stop away before it was reached
            in_doubt = False
        if by_stop and whole <= stop_in_force(book, best)[0]:
            in_doubt = True
        book[TOP], book[BOTTOM] = max(book[TOP], favourable), min(book[BOTTOM], adverse)
        best = max(best, favourable)
        progress(book, best, rules.slippage, rules.fee)
        rests, entered, behind = True, False, False
        i += 1
    book[BEST] = best
    for k in range(count - taken):
        prices[k], shares[k] = prices[k + taken], shares[k + taken]
    return -1, i, 0.0, in_doubt, count - taken, FILLED_AT_AVERAGE


PIECES: Final = (percent_level, add_part, move_levels, stop_behind, hold_parts)
"""What is compiled beside a loop that holds such positions."""
