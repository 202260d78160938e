"""What minutes do with an open position: the pieces that both compiled loops share.

The rules are those of ``domain/fills_at_stops_and_gaps.py`` and ``domain/pnl.py``, in plain Python that compiles as it
stands. Moments are UTC milliseconds, prices are in quote currency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE: Final = 60_000  # ms; the kernels import no other room
NEVER: Final = 1 << 62  # a moment that does not come; ``domain.market_clock_protocol``
BLOCK: Final = 32  # minutes in a block that can be jumped over
TAKE_PROFIT: Final = 0
STOP_LOSS: Final = 1
TIME_EXPIRED, FRAME_END, DATA_END = range(2, 5)  # after the two reasons of a position's own levels


def net(side: int, entry: float, exit_: float, slippage: float, fee: float) -> float:
    """``domain.pnl.net_percentage``."""
    if side > 0:
        paid = entry * (1 + slippage / 100)
        got = exit_ * (1 - slippage / 100)
        slipped = (got - paid) / paid * 100
    else:
        paid = entry * (1 - slippage / 100)
        got = exit_ * (1 + slippage / 100)
        slipped = (paid - got) / paid * 100
    return slipped - fee * (1 + got / paid)


def net_points(side: int, entry: float, exit_: float, slippage: float, fee: float) -> float:
    """``domain.pnl.net_points`` of an entry and an exit."""
    points = 0.0
    for sign, price in ((side, entry), (-side, exit_)):  # 1: bought, -1: sold
        size = price * (1 + sign * slippage / 100) if price > 0 else price * (1 - sign * slippage / 100)
        points -= sign * size + abs(size) * fee / 100
    return points


def first_at(market: Any, moment: int) -> Any:
    """Index of the first minute that opens at or after a moment; the count when there is none."""
    count = len(market.times)
    if market.regular and count:
        at = -((market.times[0] - moment) // market.step)
        return min(max(at, 0), count)
    return int(np.searchsorted(market.times, moment))


def time_at(market: Any, at: int) -> Any:
    """When minute ``at`` opens; without a hole it is reckoned, which spares a look into a long table."""
    return market.times[0] + at * market.step if market.regular else market.times[at]


def next_fill(market: Any, at: int) -> int:
    """Index of the first minute from ``at`` on that can fill an order; the count when there is none."""
    while at < len(market.times) and not market.fills[at]:
        at += 1
    return at


def next_set(flags: Any, at: int) -> int:
    """Index of the first value from ``at`` on that is not zero; the count when there is none.

    Whole blocks are looked at without a branch for each value, which compiles to a few wide instructions.

    Examples
    --------
    >>> next_set(np.arange(100) == 70, 3), next_set(np.zeros(100), 3)
    (70, 100)
    """
    while at + BLOCK <= len(flags):
        found = False
        for value in flags[at : at + BLOCK]:
            found |= value != 0
        if found:
            break
        at += BLOCK
    while at < len(flags) and flags[at] == 0:
        at += 1
    return at


def exit_at_entry(side: int, entry: float, target: float, stop: float) -> int:
    """Reason of a position that filled at or beyond one of its own levels, -1: none; ``execution.exit_at_entry``."""
    if side * (entry - stop) <= 0:
        return STOP_LOSS
    return TAKE_PROFIT if side * (target - entry) <= 0 else -1


def exit_in(side: int, target: float, stop: float, open_: float, best: float, worst: float, rules: Any) -> Any:
    """Reason (-1: none), price and doubt; ``ExecutionModel.exit``."""
    if side > 0:
        won = best > target if rules.trades_through else best >= target
        lost = worst <= stop
        opened_lost, opened_won = open_ <= stop, open_ > target
    else:
        won = best < target if rules.trades_through else best <= target
        lost = worst >= stop
        opened_lost, opened_won = open_ >= stop, open_ < target
    if rules.gap_fills and (opened_lost or opened_won):
        return (STOP_LOSS if opened_lost else TAKE_PROFIT), open_, False
    if lost and (rules.stop_first or not won):
        return STOP_LOSS, stop, won
    if won:
        return TAKE_PROFIT, target, lost
    return -1, 0.0, False


def hold_plain(
    market: Any, _blocks: Any, rules: Any, side: int, target: float, stop: float, highest: float, lowest: float,
    at: int, over: int,
) -> Any:  # fmt: skip
    """Minutes of an open position from index ``at`` up to ``over``, at which the clock ends it, one by one.

    Returns reason (-1: the clock), index of the deciding minute, price, doubt, and the extreme prices before that
    minute.
    """
    for i in range(at, over):
        if not market.fills[i]:
            continue
        if rules.watches_average:
            high = low = market.average[i]
        else:
            high, low = market.high[i], market.low[i]
        best, worst = (high, low) if side > 0 else (low, high)
        reason, price, doubt = exit_in(side, target, stop, market.open[i], best, worst, rules)
        if reason >= 0:
            return reason, i, price, doubt, highest, lowest
        highest, lowest = max(highest, high), min(lowest, low)
    return -1, over, 0.0, False, highest, lowest


def hold(
    market: Any, blocks: Any, rules: Any, side: int, target: float, stop: float, highest: float, lowest: float,
    at: int, over: int,
) -> Any:  # fmt: skip
    """``hold_plain``, jumping over whole blocks that reach neither level."""
    upper, lower = max(target, stop), min(target, stop)
    highs = market.average if rules.watches_average else market.high
    lows = market.average if rules.watches_average else market.low
    i = at
    while i < over:
        if i % BLOCK == 0 and i + BLOCK <= over:
            block = i // BLOCK
            top, bottom = blocks.top[block], blocks.bottom[block]
            if top < upper and bottom > lower:
                highest, lowest = max(highest, top), min(lowest, bottom)
                i += BLOCK
                continue
        high, low = highs[i], lows[i]
        if high >= upper or low <= lower:
            best, worst = (high, low) if side > 0 else (low, high)
            reason, price, doubt = exit_in(side, target, stop, market.open[i], best, worst, rules)
            if reason >= 0:
                return reason, i, price, doubt, highest, lowest
        highest, lowest = max(highest, high), min(lowest, low)
        i += 1
    return -1, over, 0.0, False, highest, lowest


def ended_by_clock(market: Any, rules: Any, last: int, due: int, over: int) -> Any:
    """How the clock ends a position at ``due``, or the data end it.

    Returns reason, price, when it closed, the moment after which the strategy may be asked, and when the minute opens
    that filled a closing order: ``NEVER`` when none did, -1 when there was no order.
    """
    times, count = market.times, len(market.times)
    end = times[count - 1]
    if not rules.fills_at_open:
        if over == count:
            return DATA_END, market.average[count - 1], end, end, -1
        reason = rules.frame_end if time_at(market, over) > last else TIME_EXPIRED
        return reason, market.average[over], time_at(market, over), time_at(market, over), -1
    if over == count and due > end + market.step:
        return DATA_END, market.last_close, end, end, -1
    fill = next_fill(market, over)
    if fill == count:
        return DATA_END, market.last_close, end, due - 1, NEVER
    opens = time_at(market, fill)
    return (rules.frame_end if due >= last else TIME_EXPIRED), market.open[fill], opens, due - 1, opens


def block_extremes(
    high: NDArray[np.float64], low: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Highest and lowest prices of whole blocks of ``BLOCK`` minutes, shape (n // BLOCK,).

    A rest shorter than a block has none and is never jumped over.

    Examples
    --------
    >>> flat = np.full(BLOCK + 5, 2.0)
    >>> block_extremes(flat + 1, flat - 1)
    (array([3.]), array([1.]))
    """
    whole = len(high) // BLOCK
    top, bottom = (prices[: whole * BLOCK].reshape(whole, BLOCK) for prices in (high, low))
    return top.max(axis=1), bottom.min(axis=1)


PIECES: Final = (net, first_at, time_at, next_fill, next_set, exit_at_entry, exit_in, hold, ended_by_clock)
"""What :func:`bknb.kernels.jit.compiled` compiles beside a loop that holds positions."""
