"""Trades entered at given minutes, each on its own: sides, levels and durations in, net results out.

The rules are those of ``domain/fills_at_stops_and_gaps.py`` and ``domain/lifecycle.py`` for a market order; trades of
which none has a ladder, a trailing or a break-even stop take a loop compiled without these (``declared`` is ``None``).
``outcomes_plain`` is the specification; ``outcomes`` does the same compiled, and jumps over blocks of minutes in which
nothing can happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from . import declared_exit_loop as pieces
from .declared_exit_loop import (
    BOOK,
    EVEN_COSTS,
    FILLED_AT_AVERAGE,
    FILLED_AT_OPEN,
    SCALE,
    TICK,
    TRAIL_DISTANCE,
    UNIT,
    Exits,
    block_swings,
    declare,
    hold_declared,
    marked,
    open_book,
    stop_on_grid,
)
from .exit_loop import MINUTE, PIECES, block_extremes, exit_at_entry, first_at, hold, net, net_points, next_fill
from .jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: Final = 4
"""Of a ladder, or twice as many and so on: the loop is compiled for each number of them."""


class Minutes(NamedTuple):
    """One-minute candles, or longer base bars, as arrays, shape (n,): open times in UTC ms, prices in quote currency.

    ``average`` is the average price of the window that ends with each minute, ``fills`` whether it can fill an order: a
    minute that cannot has a ``high`` of minus and a ``low`` of plus infinity, for it reaches no level. ``regular``:
    there is no hole. ``top`` and ``bottom`` are the extremes of blocks of minutes, ``fall`` and ``rise`` how far they
    swing: see :func:`bknb.kernels.exit_loop.block_extremes` and :func:`bknb.kernels.declared_exit_loop.block_swings`.
    ``step`` is how long each is, ms.
    """

    times: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    average: NDArray[np.float64]
    fills: NDArray[np.bool_]
    regular: bool
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    fall: NDArray[np.float64]
    rise: NDArray[np.float64]
    step: int = MINUTE


class Shapes(NamedTuple):
    """What trades look like wherever they are entered, shape (k,).

    ``side`` is 1 or -1, ``target`` and ``stop`` are levels as multiples of the fill, or where results are in points how
    far from it (quote currency); ``minutes`` is the longest duration.
    """

    side: NDArray[np.int64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    minutes: NDArray[np.int64]


class Declared(NamedTuple):
    """What trades declare besides: ladders, trailing and break-even stops, shape (k,).

    Targets of ``exits`` are multiples of the fill, and so is ``distance``, that of trailing stops which have none in
    percent (``exits.trailing`` is 0 then); ``apart`` is what such a stop is away besides, in quote currency. ``costs``
    is 1 where a break-even stop includes the costs, else 0. Where trades leave by rows plays no part.
    """

    exits: Exits
    distance: NDArray[np.float64]
    apart: NDArray[np.float64]
    costs: NDArray[np.float64]


class FillRules(NamedTuple):
    """An execution model, the last moment of the frame (UTC ms) and costs per side in percent, as numbers.

    ``tick`` (NaN: unknown), ``unit`` and ``scale`` are those of :class:`bknb.kernels.declared_exit_loop.Exits`.
    ``points``: prices may be at or below zero, and results are in points; trades then declare nothing besides.
    """

    fills_at_open: bool
    watches_average: bool
    trades_through: bool
    stop_first: bool
    gap_fills: bool
    frame_last: int
    slippage: float
    fee: float
    tick: float
    unit: float
    scale: float
    points: bool = False


def minutes_of(
    times: NDArray[np.int64],
    prices: NDArray[np.float64],
    average: NDArray[np.float64],
    fills: NDArray[np.bool_],
    *,
    watches_average: bool,
    step: int = MINUTE,
) -> Minutes:
    """Minutes with the extremes of their blocks; ``prices`` are open, high, low and close, shape (4, n).

    ``step`` is the length (ms) of longer base bars, which take the place of minutes.

    Examples
    --------
    >>> flat = np.full(33, 2.0)
    >>> prices = np.stack([flat, flat + 1, flat - 1, flat])
    >>> made = minutes_of(np.arange(len(flat)) * MINUTE, prices, flat, flat > 0, watches_average=False)
    >>> made.top.tolist(), made.bottom.tolist()
    ([3.0], [1.0])
    """
    open_, high, low, close = (np.ascontiguousarray(row) for row in prices)
    high, low = np.where(fills, high, -np.inf), np.where(fills, low, np.inf)
    watched = (average, average) if watches_average else (high, low)
    return Minutes(
        np.ascontiguousarray(times),
        *(open_, high, low, close),
        np.ascontiguousarray(average),
        np.ascontiguousarray(fills),
        bool((np.diff(times) == step).all()),
        *block_extremes(*watched),
        *block_swings(*watched),
        step,
    )


# --- plain Python that compiles as it stands -----------------------------------------------------------------------


def _outcome(
    minutes: Any, rules: Any, shapes: Any, declared: Any, trade: int, at: int, book: Any, prices: Any, shares: Any
) -> Any:
    """The net result (percent, or points) of a market order decided at minute ``at``; NaN where it never fills."""
    count, side, longest = len(minutes.times), shapes.side[trade], shapes.minutes[trade]
    if rules.fills_at_open:
        at = next_fill(minutes, at)
        if at >= count or minutes.times[at] >= rules.frame_last:
            return np.nan
        entry = minutes.open[at]
        due = min(minutes.times[at] + longest * MINUTE, rules.frame_last)
    else:
        if at < 1:
            return np.nan
        entry = minutes.average[at - 1]
        due = min(minutes.times[at] + longest * MINUTE, rules.frame_last + 1)
    book[TICK], book[UNIT], book[SCALE] = rules.tick, rules.unit, rules.scale
    stop = stop_on_grid(_level(rules, entry, shapes.stop[trade]), side, book)  # away from the market, as any level
    if declared is not None:
        number, _ = declare(declared.exits, trade, shapes.target[trade], book, prices, shares)
        for i in range(number):
            prices[i] = stop_on_grid(entry * prices[i], -side, book)
        book[TRAIL_DISTANCE] = declared.distance[trade] * entry + declared.apart[trade]
        book[EVEN_COSTS] = declared.costs[trade]
        open_book(book, side, entry, stop, entry, entry)
        how = FILLED_AT_OPEN if rules.fills_at_open else FILLED_AT_AVERAGE
        over = first_at(minutes, due)
        reason, _, price, _ = hold_declared(minutes, minutes, rules, book, prices, shares, number, how, at, over)
        if reason < 0:  # the clock ends it, or the data
            price = _price_at(minutes, rules, next_fill(minutes, over))
        return marked(book, price, rules.slippage, rules.fee)
    target, price = stop_on_grid(_level(rules, entry, shapes.target[trade]), -side, book), entry
    if not rules.fills_at_open or exit_at_entry(side, entry, target, stop) < 0:
        over = first_at(minutes, due)
        reason, _, price, _, _, _ = hold(minutes, minutes, rules, side, target, stop, entry, entry, at, over)
        if reason < 0:  # the clock ends it, or the data
            over = next_fill(minutes, over)
            price = _price_at(minutes, rules, over)
    if rules.points:
        return net_points(side, entry, price, rules.slippage, rules.fee)
    return net(side, entry, price, rules.slippage, rules.fee)


def _level(rules: Any, entry: Any, level: Any) -> Any:
    """A level of a trade that is entered at a price."""
    return entry + level if rules.points else entry * level


def _price_at(minutes: Any, rules: Any, at: int) -> Any:
    """The price of a market order in minute ``at``, behind the last one that of the end of the data."""
    count = len(minutes.times)
    if rules.fills_at_open:
        return minutes.open[at] if at < count else minutes.close[count - 1]
    return minutes.average[min(at, count - 1)]


def _run(minutes: Any, rules: Any, shapes: Any, declared: Any, which: Any, starts: Any) -> Any:
    found = np.empty(which.shape)
    levels = 0 if declared is None else len(declared.exits.targets)
    book, prices, shares = np.empty(BOOK), np.empty(levels), np.empty(levels)
    for row in range(which.shape[0]):
        for column in range(which.shape[1]):
            trade, at = which[row, column], starts[row, column]
            found[row, column] = _outcome(minutes, rules, shapes, declared, trade, at, book, prices, shares)
    return found


_PIECES: Final = (*PIECES, *pieces.PIECES, net_points, _level, _price_at, _outcome)


def outcomes(
    minutes: Minutes,
    rules: FillRules,
    shapes: Shapes,
    which: NDArray[np.int64],
    starts: NDArray[np.int64],
    declared: Declared | None = None,
    *,
    purpose: str = "bknb.luck",
) -> NDArray[np.float64]:
    """Net results in percent, or in points, shape (rows, columns); NaN for an order that never fills.

    Parameters
    ----------
    minutes, rules
        The market.
    shapes
        The trades.
    which, starts
        Which trade, and the index of the minute at whose open it is decided; both of shape (rows, columns).
    declared
        What the trades declare besides; ``None``: nothing.
    purpose
        What needs them, for the message without numba.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    found: NDArray[np.float64] = compiled(_run, globals(), _PIECES, purpose=purpose)(
        minutes, rules, shapes, declared, which, starts
    )
    return found


def outcomes_plain(
    minutes: Minutes,
    rules: FillRules,
    shapes: Shapes,
    which: NDArray[np.int64],
    starts: NDArray[np.int64],
    declared: Declared | None = None,
) -> NDArray[np.float64]:
    """The specification of ``outcomes``: plain Python."""
    found: NDArray[np.float64] = _run(minutes, rules, shapes, declared, which, starts)
    return found
