"""Trades entered at given minutes, each on its own: sides, levels and durations in, net results out.

The rules are those of ``domain/execution.py`` and ``domain/lifecycle.py`` for a market order. ``outcomes_plain`` is the
specification; ``outcomes`` does the same compiled, and jumps over blocks of minutes in which nothing can happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE: Final = 60_000
BLOCK: Final = 32  # minutes in a block that can be jumped over


class Minutes(NamedTuple):
    """One-minute candles as arrays, shape (n,): open times in UTC ms, prices in quote currency.

    ``average`` is the average price of the window that ends with each minute, ``fills`` whether it can fill an order;
    ``top`` and ``bottom`` are the extremes of blocks of ``BLOCK`` minutes, see :func:`minutes_of`.
    """

    times: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    average: NDArray[np.float64]
    fills: NDArray[np.bool_]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]


class Shapes(NamedTuple):
    """What trades look like wherever they are entered, shape (k,).

    ``side`` is 1 or -1, ``target`` and ``stop`` are levels as multiples of the fill, ``minutes`` the longest duration.
    """

    side: NDArray[np.int64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    minutes: NDArray[np.int64]


class FillRules(NamedTuple):
    """An execution model, the last moment of the frame (UTC ms) and costs per side in percent, as numbers."""

    fills_at_open: bool
    watches_average: bool
    trades_through: bool
    stop_first: bool
    gap_fills: bool
    frame_last: int
    slippage: float
    fee: float


def minutes_of(
    times: NDArray[np.int64],
    prices: NDArray[np.float64],
    average: NDArray[np.float64],
    fills: NDArray[np.bool_],
    *,
    watches_average: bool,
) -> Minutes:
    """Minutes with the extremes of their blocks; ``prices`` are open, high, low and close, shape (4, n).

    Examples
    --------
    >>> flat = np.full(BLOCK + 5, 2.0)
    >>> prices = np.stack([flat, flat + 1, flat - 1, flat])
    >>> made = minutes_of(np.arange(len(flat)) * MINUTE, prices, flat, flat > 0, watches_average=False)
    >>> made.top.tolist(), made.bottom.tolist()
    ([3.0], [1.0])
    """
    open_, high, low, close = (np.ascontiguousarray(row) for row in prices)
    whole = len(times) // BLOCK
    up, down = (average, average) if watches_average else (high, low)
    up, down = np.where(fills, up, -np.inf), np.where(fills, down, np.inf)
    return Minutes(
        np.ascontiguousarray(times),
        *(open_, high, low, close),
        np.ascontiguousarray(average),
        np.ascontiguousarray(fills),
        up[: whole * BLOCK].reshape(whole, BLOCK).max(axis=1),
        down[: whole * BLOCK].reshape(whole, BLOCK).min(axis=1),
    )


# --- plain Python that compiles as it stands -----------------------------------------------------------------------


def _net(side: int, entry: float, exit_: float, slippage: float, fee: float) -> float:
    """``domain.pnl.net_percentage``."""
    paid = entry * (1 + side * slippage / 100)
    got = exit_ * (1 - side * slippage / 100)
    slipped = (got - paid) / paid * 100 if side > 0 else (paid - got) / paid * 100
    return slipped - fee * (1 + got / paid)


def _exit(side: int, target: float, stop: float, open_: float, best: float, worst: float, rules: Any) -> float:
    """The price at which a candle ends a position, NaN for none; ``ExecutionModel.exit``."""
    if side > 0:
        won = best > target if rules.trades_through else best >= target
        lost, opened_lost, opened_won = worst <= stop, open_ <= stop, open_ > target
    else:
        won = best < target if rules.trades_through else best <= target
        lost, opened_lost, opened_won = worst >= stop, open_ >= stop, open_ < target
    if rules.gap_fills and (opened_lost or opened_won):
        return open_
    if lost and (rules.stop_first or not won):
        return stop
    return target if won else np.nan


def _hold(minutes: Any, rules: Any, at: int, side: int, target: float, stop: float, due: int) -> float:
    """The price at which a position ends that is open from minute ``at`` on, and that the clock ends at ``due``."""
    count = len(minutes.times)
    upper, lower = max(target, stop), min(target, stop)
    i = at
    while i < count and minutes.times[i] < due:
        block = i // BLOCK
        whole = i % BLOCK == 0 and i + BLOCK < count and minutes.times[i + BLOCK] <= due
        if whole and minutes.top[block] < upper and minutes.bottom[block] > lower:
            i += BLOCK
            continue
        if minutes.fills[i]:
            high, low = minutes.high[i], minutes.low[i]
            if rules.watches_average:
                high = low = minutes.average[i]
            best, worst = (high, low) if side > 0 else (low, high)
            price = _exit(side, target, stop, minutes.open[i], best, worst, rules)
            if not np.isnan(price):
                return price
        i += 1
    while i < count and not minutes.fills[i]:
        i += 1
    if i < count:
        return float(minutes.open[i] if rules.fills_at_open else minutes.average[i])
    return float(minutes.close[count - 1] if rules.fills_at_open else minutes.average[count - 1])


def _outcome(minutes: Any, rules: Any, at: int, side: int, target: float, stop: float, longest: int) -> float:
    """The net result (percent) of a market order decided at the open of minute ``at``; NaN where it never fills."""
    count = len(minutes.times)
    if rules.fills_at_open:
        while at < count and not minutes.fills[at]:
            at += 1
        if at >= count or minutes.times[at] >= rules.frame_last:
            return np.nan
        entry = minutes.open[at]
        due = min(minutes.times[at] + longest * MINUTE, rules.frame_last)
    else:
        if at < 1:
            return np.nan
        entry = minutes.average[at - 1]
        due = min(minutes.times[at] + longest * MINUTE, rules.frame_last + 1)
    target, stop = entry * target, entry * stop
    if rules.fills_at_open and (side * (entry - stop) <= 0 or side * (target - entry) <= 0):
        price = entry  # filled at or beyond a level of its own
    else:
        price = _hold(minutes, rules, at, side, target, stop, due)
    return _net(side, entry, price, rules.slippage, rules.fee)


def _run(minutes: Any, rules: Any, shapes: Any, which: Any, starts: Any) -> Any:
    found = np.empty(which.shape)
    for row in range(which.shape[0]):
        for column in range(which.shape[1]):
            trade = which[row, column]
            found[row, column] = _outcome(
                minutes, rules, starts[row, column], shapes.side[trade], shapes.target[trade], shapes.stop[trade],
                shapes.minutes[trade],
            )  # fmt: skip
    return found


_PIECES: Final = ("_net", "_exit", "_hold", "_outcome")


def outcomes(
    minutes: Minutes, rules: FillRules, shapes: Shapes, which: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Net results in percent, shape (rows, columns); NaN for an order that never fills.

    Parameters
    ----------
    minutes, rules
        The market.
    shapes
        The trades.
    which, starts
        Which trade, and the index of the minute at whose open it is decided; both of shape (rows, columns).

    Raises
    ------
    MissingDependency
        Without numba.
    """
    found: NDArray[np.float64] = compiled(_run, globals(), _PIECES, purpose="bknb.luck")(
        minutes, rules, shapes, which, starts
    )
    return found


def outcomes_plain(
    minutes: Minutes, rules: FillRules, shapes: Shapes, which: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The specification of ``outcomes``: plain Python."""
    found: NDArray[np.float64] = _run(minutes, rules, shapes, which, starts)
    return found
