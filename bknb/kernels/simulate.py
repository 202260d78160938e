"""A whole backtest as one loop: signals of every candle in, the ends of all positions out.

The rules are those of ``domain/lifecycle.py`` for a strategy without a risk profile. ``simulate_plain`` goes minute by
minute and is the specification; ``simulate`` does the same compiled, and jumps over blocks of minutes in which nothing
can happen. A table of ends has one row per closed position and per cancelled scheduled signal, in order.

Moments are UTC milliseconds, prices are in quote currency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE: Final = 60_000
BLOCK: Final = 32  # minutes in a block that can be jumped over

# columns of a table of ends
ROW, SIDE, SCHEDULED_AT, PENDING_AT, CLOSED_AT, OPEN, TARGET, STOP, CLOSE, REASON = range(10)
NET, GROSS, FEE, SLIPPAGE, PEAK, TROUGH, AMBIGUOUS = range(10, 17)
WIDTH: Final = 17

TAKE_PROFIT, STOP_LOSS, TIME_EXPIRED, FRAME_END, DATA_END = range(5)
TIMEOUT, PRICE_REJECT, FRAME_END_CANCEL, DATA_END_CANCEL, RISK_CANCEL, STOPPED = range(10, 16)
REASONS: Final = {
    TAKE_PROFIT: "take_profit",
    STOP_LOSS: "stop_loss",
    TIME_EXPIRED: "time_expired",
    FRAME_END: "frame_end",
    DATA_END: "data_end",
    TIMEOUT: "timeout",
    PRICE_REJECT: "price_reject",
    FRAME_END_CANCEL: "frame_end",
    DATA_END_CANCEL: "data_end",
    RISK_CANCEL: "risk",
    STOPPED: "stopped",
}
FIRST_CANCEL: Final = TIMEOUT
"""Reasons from here on are cancellations: their result is NaN."""


class Market(NamedTuple):
    """One-minute candles of a run, shared by all combinations.

    Attributes
    ----------
    times : ndarray of int64, shape (n,)
        Open times, ascending; ``regular``: without a hole.
    open, high, low, average : ndarray of float64, shape (n,)
        ``average`` is the average price of the window that ends with each minute.
    ready : ndarray of bool, shape (n,) or (0,)
        Where trading hours are declared, the minutes at which a strategy can be asked; else empty.
    """

    times: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    average: NDArray[np.float64]
    regular: bool
    ready: NDArray[np.bool_]


class Blocks(NamedTuple):
    """Highest and lowest prices of every block of ``BLOCK`` minutes, as an execution model watches them."""

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]


class Grid(NamedTuple):
    """When a strategy can be asked: the moments ``start, start + step, … last``, once per slot; UTC ms."""

    start: int
    step: int
    last: int
    slot: int
    average_count: int


class Rows(NamedTuple):
    """A strategy's signals, one per candle of its interval; see ``engine.vectorised.SignalRows``."""

    times: NDArray[np.int64]
    position: NDArray[np.int8]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    minutes: NDArray[np.float64]
    limit: NDArray[np.float64]


class RuleNumbers(NamedTuple):
    """The rules of a simulation: an execution model and settings, as numbers."""

    watches_average: bool
    stop_first: bool
    gap_fills: bool
    fills_on_the_way: bool
    better_of_both: bool
    frame_end: int
    frame_end_cancel: int
    await_ms: int
    slippage: float
    fee: float
    least_target: float
    least_stop: float
    most_stop: float
    longest_minutes: int


# --- pieces of both: plain Python that compiles as it stands -----------------------------------------------------


def _net(side: int, entry: float, exit_: float, slippage: float, fee: float) -> float:
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


def _is_price(value: float) -> bool:
    return 0 < value < np.inf  # False for NaN


def _first_at(times: Any, regular: bool, moment: int) -> Any:  # noqa: FBT001 -- compiled, no keywords
    """Index of the first minute that opens at or after a moment; the count when there is none."""
    count = len(times)
    if regular and count:
        at = -((times[0] - moment) // MINUTE)
        return min(max(at, 0), count)
    return int(np.searchsorted(times, moment))


def _next_question(start: int, step: int, after: int, asked: int, slot: int) -> int:
    """``engine.minute_walk.next_question``."""
    earliest = (asked // slot + 1) * slot
    if earliest <= after:
        earliest = after + 1
    if earliest <= start:
        return start
    return start + -((start - earliest) // step) * step


def _newest_row(times: Any, slot: int, when: int) -> Any:
    """Index of the newest candle that has closed; -1 before the first, the count or more where the data has ended."""
    count = len(times)
    if count == 0 or when < times[0] + slot:
        return -1
    if times[count - 1] == times[0] + (count - 1) * slot:
        return (when - when % slot - times[0]) // slot - 1
    return int(np.searchsorted(times, when - slot, side="right")) - 1


def _entry(side: int, price: float, limit: float, rules: Any) -> tuple[float, bool]:
    """Entry price, and whether the signal has to wait for it; ``ExecutionModel.market_fill``."""
    if np.isnan(limit):
        return price, False
    reached = price <= limit if side > 0 else price >= limit
    if not reached:
        return limit, True
    return (price if rules.better_of_both else limit), False


def _is_valid(side: int, price: float, target: float, stop: float, minutes: float, limit: float, rules: Any) -> bool:
    """Whether no rule of ``domain.validation`` is broken."""
    if side not in (1, -1) or not (_is_price(price) and _is_price(target) and _is_price(stop)):
        return False
    if not (np.isnan(limit) or _is_price(limit)):
        return False
    if not (0 < minutes <= rules.longest_minutes) or minutes != np.floor(minutes):
        return False
    entry, waits = _entry(side, price, limit, rules)
    if side * (target - entry) <= 0 or side * (entry - stop) <= 0:
        return False
    if not waits and (side * (price - stop) <= 0 or side * (target - price) <= 0):
        return False
    to_target = (target - entry) / entry * 100 if side > 0 else (entry - target) / entry * 100
    to_stop = (entry - stop) / entry * 100 if side > 0 else (stop - entry) / entry * 100
    if to_target < rules.least_target or to_stop < rules.least_stop or to_stop > rules.most_stop:
        return False
    return _net(side, entry, target, rules.slippage, rules.fee) > 0


def _exit(side: int, target: float, stop: float, open_: float, best: float, worst: float, rules: Any) -> Any:
    """Reason (-1: none), price and doubt; ``ExecutionModel.exit``."""
    if side > 0:
        won, lost, gapped = best >= target, worst <= stop, open_ <= stop
    else:
        won, lost, gapped = best <= target, worst >= stop, open_ >= stop
    if lost and (rules.stop_first or not won):
        gap = rules.gap_fills and gapped
        return STOP_LOSS, (open_ if gap else stop), won and not gap
    if won:
        return TAKE_PROFIT, target, lost
    return -1, 0.0, False


def _write(
    end: Any, row: int, side: int, scheduled_at: int, pending_at: int, closed_at: int, entry: float, target: float,
    stop: float, price: float, reason: int, highest: float, lowest: float, doubt: float, rules: Any,
) -> None:  # fmt: skip
    """One closed position; ``lifecycle._close`` and ``pnl.trade_pnl``."""
    highest, lowest = max(highest, price), min(lowest, price)
    best, worst = (highest, lowest) if side > 0 else (lowest, highest)
    paid = entry * (1 + side * rules.slippage / 100)
    got = price * (1 - side * rules.slippage / 100)
    slipped = (got - paid) / paid * 100 * side
    fees = rules.fee * (1 + got / paid)
    gross = (price - entry) / entry * 100 * side
    end[ROW], end[SIDE], end[SCHEDULED_AT], end[PENDING_AT], end[CLOSED_AT] = (
        row, side, scheduled_at, pending_at, closed_at)  # fmt: skip
    end[OPEN], end[TARGET], end[STOP], end[CLOSE], end[REASON] = entry, target, stop, price, reason
    end[NET], end[GROSS], end[FEE], end[SLIPPAGE] = slipped - fees, gross, fees, gross - slipped
    end[PEAK] = _net(side, entry, best, rules.slippage, rules.fee)
    end[TROUGH] = _net(side, entry, worst, rules.slippage, rules.fee)
    end[AMBIGUOUS] = doubt


def _write_cancelled(
    end: Any, row: int, side: int, when: int, closed_at: int, entry: float, target: float, stop: float, price: float,
    reason: int,
) -> None:  # fmt: skip
    """One scheduled signal that never opened."""
    end[:] = np.nan
    end[ROW], end[SIDE], end[SCHEDULED_AT], end[CLOSED_AT] = row, side, when, closed_at
    end[OPEN], end[TARGET], end[STOP], end[CLOSE], end[REASON] = entry, target, stop, price, reason
    end[AMBIGUOUS] = 0.0


def _wait(market: Any, rules: Any, last: int, side: int, stop: float, limit: float, when: int, at: int) -> Any:
    """Minutes of a scheduled signal from index ``at`` on.

    Returns reason, index of the deciding minute, and whether that minute reached the stop too. A reason of -1 is an
    entry.
    """
    count = len(market.times)
    for i in range(at, count):
        t = market.times[i]
        if t > last:
            return rules.frame_end_cancel, i, False
        if t - when >= rules.await_ms:
            return TIMEOUT, i, False
        if side > 0:
            entered, stopped = market.low[i] <= limit, market.low[i] <= stop
            gapped = market.open[i] <= stop
        else:
            entered, stopped = market.high[i] >= limit, market.high[i] >= stop
            gapped = market.open[i] >= stop
        if stopped:
            if rules.fills_on_the_way and not gapped:
                return -1, i, True
            return PRICE_REJECT, i, True
        if entered:
            return -1, i, False
    return DATA_END_CANCEL, count - 1, False


def _hold_plain(
    market: Any, _blocks: Any, rules: Any, last: int, side: int, entry: float, target: float, stop: float,
    deadline: int, at: int,
) -> Any:  # fmt: skip
    """Minutes of an open position from index ``at`` on, one by one.

    Returns reason, index of the deciding minute, price, doubt, and the extreme prices before that minute.
    """
    highest = lowest = entry
    count = len(market.times)
    for i in range(at, count):
        t = market.times[i]
        if t > last:
            return rules.frame_end, i, market.average[i], False, highest, lowest
        if t >= deadline:
            return TIME_EXPIRED, i, market.average[i], False, highest, lowest
        if rules.watches_average:
            high = low = market.average[i]
        else:
            high, low = market.high[i], market.low[i]
        best, worst = (high, low) if side > 0 else (low, high)
        reason, price, doubt = _exit(side, target, stop, market.open[i], best, worst, rules)
        if reason >= 0:
            return reason, i, price, doubt, highest, lowest
        highest, lowest = max(highest, high), min(lowest, low)
    return DATA_END, count - 1, market.average[count - 1], False, highest, lowest


def _hold(
    market: Any, blocks: Any, rules: Any, last: int, side: int, entry: float, target: float, stop: float,
    deadline: int, at: int,
) -> Any:  # fmt: skip
    """``_hold_plain``, jumping over whole blocks that reach neither level."""
    highest = lowest = entry
    count = len(market.times)
    over = _first_at(market.times, market.regular, min(deadline, last + 1))
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
            reason, price, doubt = _exit(side, target, stop, market.open[i], best, worst, rules)
            if reason >= 0:
                return reason, i, price, doubt, highest, lowest
        highest, lowest = max(highest, high), min(lowest, low)
        i += 1
    if i >= count:
        return DATA_END, count - 1, market.average[count - 1], False, highest, lowest
    if market.times[i] > last:
        return rules.frame_end, i, market.average[i], False, highest, lowest
    return TIME_EXPIRED, i, market.average[i], False, highest, lowest


# --- the run ------------------------------------------------------------------------------------------------------


def _run(market: Any, blocks: Any, grid: Any, rows: Any, rules: Any) -> Any:  # noqa: C901 -- one pass, one place
    """Question after question; after each that opened or scheduled something, minutes until it is over."""
    ends = np.empty((256, WIDTH))
    ended = rejected = 0
    count, candles = len(market.times), len(rows.times)
    when = grid.start
    while when <= grid.last:
        row = _newest_row(rows.times, grid.slot, when)
        if row >= candles:
            break  # no candle closes from here on
        if row < 0 or rows.position[row] == 0:
            row = max(row, 0)
            while row < candles and rows.position[row] == 0:
                row += 1
            if row == candles:
                break  # nothing is wanted any more
            closes = rows.times[row] + grid.slot
            if closes > when:  # the first moment of the frame at which that row is known
                when = max(when + grid.step, grid.start + -((grid.start - closes) // grid.step) * grid.step)
                continue
        index = _first_at(market.times, market.regular, when)
        if len(market.ready) and not (index < count and market.times[index] == when and market.ready[index]):
            index = _first_at(market.times, market.regular, when + 1)
            while index < count and not market.ready[index]:
                index += 1
            if index >= count:
                break  # the market does not open again in these data
            when = grid.start + -((grid.start - market.times[index]) // grid.step) * grid.step
            continue
        if index >= count:
            break  # the data ends here: nobody could fill what the strategy asks for
        after = when
        # The strategy is asked where the minute before is in the data, and from the first average price on.
        seen = index > 0 and (when == grid.start or market.times[index - 1] == when - MINUTE)
        if seen and index >= grid.average_count:
            side, limit, minutes = int(rows.position[row]), rows.limit[row], rows.minutes[row]
            target, stop, price = rows.target[row], rows.stop[row], market.average[index - 1]
            if not _is_valid(side, price, target, stop, minutes, limit, rules):
                rejected += 1
            else:
                if ended == len(ends):
                    longer = np.empty((2 * ended, WIDTH))
                    longer[:ended] = ends
                    ends = longer
                entry, waits = _entry(side, price, limit, rules)
                pending_at, decided, reason, stopped = when, index - 1, -1, False
                if waits:
                    reason, decided, stopped = _wait(market, rules, grid.last, side, stop, limit, when, index)
                    pending_at = market.times[decided]
                if reason >= 0:
                    _write_cancelled(ends[ended], row, side, when, pending_at, entry, target, stop,
                                     market.average[decided], reason)  # fmt: skip
                elif stopped:
                    _write(ends[ended], row, side, when, pending_at, pending_at, entry, target, stop, stop, STOP_LOSS,
                           entry, entry, 1.0, rules)  # fmt: skip
                else:
                    deadline = pending_at + int(minutes) * MINUTE
                    reason, decided, price, doubt, highest, lowest = _hold(
                        market, blocks, rules, grid.last, side, entry, target, stop, deadline, decided + 1)  # fmt: skip
                    _write(ends[ended], row, side, when, pending_at, market.times[decided], entry, target, stop, price,
                           reason, highest, lowest, 1.0 if doubt else 0.0, rules)  # fmt: skip
                ended += 1
                after = market.times[decided]
        when = _next_question(grid.start, grid.step, after, when, grid.slot)
    return ends[:ended].copy(), rejected


_PIECES: Final = (
    "_net", "_is_price", "_first_at", "_next_question", "_newest_row", "_entry", "_is_valid", "_exit", "_write",
    "_write_cancelled", "_wait", "_hold",
)  # fmt: skip


def blocks_of(market: Market, *, watches_average: bool) -> Blocks:
    """The extremes of whole blocks; a rest shorter than a block has none and is never jumped over.

    Examples
    --------
    >>> flat = np.full(BLOCK + 5, 2.0)
    >>> market = Market(np.arange(BLOCK + 5) * MINUTE, flat, flat + 1, flat - 1, flat, True, flat[:0] > 0)
    >>> blocks_of(market, watches_average=False)
    Blocks(top=array([3.]), bottom=array([1.]))
    """
    whole = len(market.times) // BLOCK
    high, low = (market.average,) * 2 if watches_average else (market.high, market.low)
    return Blocks(
        high[: whole * BLOCK].reshape(whole, BLOCK).max(axis=1), low[: whole * BLOCK].reshape(whole, BLOCK).min(axis=1)
    )


def simulate(
    market: Market, blocks: Blocks, grid: Grid, rows: Rows, rules: RuleNumbers
) -> tuple[NDArray[np.float64], int]:
    """All positions a strategy would have had.

    Parameters
    ----------
    market, blocks
        The minutes, and ``blocks_of`` them for the execution model.
    grid
        When the strategy is asked.
    rows
        What it answers.
    rules
        Execution model and settings.

    Returns
    -------
    ends : ndarray of float64, shape (k, WIDTH)
        One row per closed position (``REASON`` below ``FIRST_CANCEL``) and per cancelled scheduled signal, in order.
    rejected : int
        Answers that broke a rule.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    ends, rejected = compiled(_run, globals(), _PIECES)(market, blocks, grid, rows, rules)
    return ends, int(rejected)


def simulate_plain(
    market: Market, blocks: Blocks, grid: Grid, rows: Rows, rules: RuleNumbers
) -> tuple[NDArray[np.float64], int]:
    """The specification of ``simulate``: plain Python, minute by minute."""
    return _plainly(market, blocks, grid, rows, rules)  # type: ignore[no-any-return]  # the loop is untyped


def _plain_run() -> Any:
    from types import FunctionType

    return FunctionType(_run.__code__, {**globals(), "_hold": _hold_plain}, "_run_plain")


_plainly: Final = _plain_run()
