"""A whole backtest as one loop: signals of every candle in, the ends of all positions out.

Rows that declare one target, one stop and a deadline take a loop compiled without the rest (``exits`` is ``None``);
all others one that has ladders, trailing and break-even stops, and rows that leave (``declared_exit_loop``). Those
with several entries, or levels in percent, take that of ``row_orders_loop``.

The rules are those of ``domain/lifecycle.py`` for a strategy without a risk profile. ``simulate_plain`` goes minute by
minute and is the specification; ``simulate`` does the same compiled, and jumps over blocks of minutes in which nothing
can happen. A table of ends has one row per closed position and per cancelled scheduled signal, in order.

Moments are UTC milliseconds, prices are in quote currency.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from . import declared_exit_loop, exit_loop, question_moments
from .declared_exit_loop import (
    ADDED,
    BOOK,
    BREAKEVEN,
    COST,
    FILLED_AT_AVERAGE,
    FILLED_AT_LEVEL,
    FILLED_AT_OPEN,
    LARGEST,
    LEAST,
    LEFT,
    LEVELS,
    MOST,
    SOLD,
    TRAILING_STOP,
    Exits,
    block_swings,
    broken_exits,
    broken_ladder,
    declare,
    hold_declared,
    next_leaving,
    open_book,
    see,
)
from .entry_parts import hold_parts
from .exit_loop import (
    DATA_END,
    FRAME_END,
    MINUTE,
    NEVER,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME_EXPIRED,
    block_extremes,
    ended_by_clock,
    exit_at_entry,
    first_at,
    hold,
    hold_plain,
    net,
    next_fill,
    time_at,
)
from .jit import compiled
from .question_moments import first_question, newest_row, question, slot_at, when_wanted

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOREVER: Final = 1e11  # minutes; longer lives are the same
RESTING_BARS: Final = 20  # an entry rests for so many base bars longer than a minute at least; ``domain.entry_timeout``
_KINDS: Final = 64  # sets of rules that refused answers are counted by; what is beyond counts with the last

# columns of a table of ends
ROW, SIDE, SCHEDULED_AT, PENDING_AT, CLOSED_AT, OPEN, TARGET, STOP, CLOSE, REASON = range(10)
NET, GROSS, FEE, SLIPPAGE, PEAK, TROUGH, AMBIGUOUS, LARGEST_COST, ADDS, OF_EQUITY = range(10, 20)
WIDTH: Final = 20
"""``OF_EQUITY``: the part of the equity that a position opened with; NaN: nothing was said, all of it."""

STRATEGY, MANUAL, LIQUIDATION = range(BREAKEVEN + 1, BREAKEVEN + 4)
TIMEOUT, PRICE_REJECT, FRAME_END_CANCEL, DATA_END_CANCEL, RISK_CANCEL, STOPPED = range(10, 16)
STRATEGY_CANCEL, MANUAL_CANCEL, DISAGREEMENT, PLACE_TAKEN = range(16, 20)
REASONS: Final = {
    TAKE_PROFIT: "take_profit",
    STOP_LOSS: "stop_loss",
    TIME_EXPIRED: "time_expired",
    FRAME_END: "frame_end",
    DATA_END: "data_end",
    TRAILING_STOP: "trailing_stop",
    BREAKEVEN: "breakeven",
    STRATEGY: "strategy",
    MANUAL: "manual",
    LIQUIDATION: "liquidation",
    TIMEOUT: "timeout",
    PRICE_REJECT: "price_reject",
    FRAME_END_CANCEL: "frame_end",
    DATA_END_CANCEL: "data_end",
    RISK_CANCEL: "risk",
    STOPPED: "stopped",
    STRATEGY_CANCEL: "strategy",
    MANUAL_CANCEL: "manual",
    DISAGREEMENT: "disagreement",
    PLACE_TAKEN: "place_taken",
}
EVENT_ENGINE_ONLY: Final = frozenset(
    [MANUAL, LIQUIDATION, RISK_CANCEL, STOPPED, *range(STRATEGY_CANCEL, PLACE_TAKEN + 1)]
)
"""Reasons that the compiled loop does not give; ``PLACE_TAKEN`` is of ``row_orders_loop``."""
FIRST_CANCEL: Final = TIMEOUT
"""Reasons from here on are cancellations: their result is NaN."""

MARKET_ORDER, LIMIT, STOP_ENTRY = range(3)  # kinds of entry orders
_NO_SIGNAL: Final = 1  # a row that no signal can be made of
_NOWHERE: Final = 1 << 20  # the bit of a stop entry without its level
_OVER, _FULL, _UNDECLARED = range(3)  # why the loop comes back
_ENDED, _KINDS_FOUND, _WHEN, _LEAVING = range(4)  # places of what it goes on with
RESTS, AT_OPEN, AT_LEVEL, STOPPED_OUT, REJECTED = range(5)  # what a minute does with an entry order


_NO_PRICES: Final = np.zeros(0)
_NO_PRICES.setflags(write=False)  # the loop is compiled for one type of array


class Market(NamedTuple):
    """One-minute candles of a run, or longer base bars ("minutes" as well), shared by all combinations.

    Attributes
    ----------
    times : ndarray of int64, shape (n,)
        Open times, ascending; ``regular``: without a hole.
    open, high, low, average : ndarray of float64, shape (n,)
        ``average`` is the average price of the window that ends with each minute. A minute that fills nothing has a
        ``high`` of minus and a ``low`` of plus infinity: it reaches no level.
    fills : ndarray of bool, shape (n,)
        Which minutes can fill an order; ``engine.filling_minutes.minutes_that_fill``.
    ready : ndarray of bool, shape (n,) or (0,)
        Where trading hours are declared, the minutes at whose close a strategy can be asked; else empty: at all.
    last_close : float
        The close of the last minute.
    step : int
        How long each is, ms.
    close : ndarray of float64, shape (n,) or (0,)
        Where rows are out at closes of sessions, or order entries that compete.
    """

    times: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    average: NDArray[np.float64]
    fills: NDArray[np.bool_]
    regular: bool
    ready: NDArray[np.bool_]
    last_close: float
    step: int = MINUTE
    close: NDArray[np.float64] = _NO_PRICES


class Blocks(NamedTuple):
    """Highest and lowest prices of every block of minutes (``exit_loop.BLOCK``), as an execution model watches them.

    ``fall`` and ``rise`` are how far they swing, see :func:`bknb.kernels.declared_exit_loop.block_swings`; empty where
    no row declares an exit that needs them.
    """

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    fall: NDArray[np.float64]
    rise: NDArray[np.float64]


class MarketBlocks:
    """The blocks of a market, for all combinations; swings are computed when the first rows need them.

    Parameters
    ----------
    market
        The minutes.
    watches_average
        Whether the execution model watches average prices.

    Examples
    --------
    >>> flat = np.full(33, 2.0)
    >>> times = np.arange(33) * MINUTE
    >>> market = Market(times, flat, flat + 1, flat - 1, flat, flat > 0, True, flat[:0] > 0, 2.0)
    >>> blocks = MarketBlocks(market, watches_average=False)
    >>> blocks.extremes
    Blocks(top=array([3.]), bottom=array([1.]), fall=array([], dtype=float64), rise=array([], dtype=float64))
    >>> blocks.with_swings
    Blocks(top=array([3.]), bottom=array([1.]), fall=array([0.33333333]), rise=array([3.]))
    """

    def __init__(self, market: Market, *, watches_average: bool) -> None:
        self._prices = (market.average,) * 2 if watches_average else (market.high, market.low)
        none = np.zeros(0)
        self.extremes: Final = Blocks(*block_extremes(*self._prices), none, none)

    @cached_property
    def with_swings(self) -> Blocks:
        """The extremes, and the swings that rows with declared exits need."""
        return Blocks(*self.extremes[:2], *block_swings(*self._prices))


class Days(NamedTuple):
    """The days of a market with sessions around a frame, each with moments in UTC ms.

    Attributes
    ----------
    opens, closes : ndarray of int64, shape (n,)
        When each session opens and closes; empty: the strategy does not go by these days.
    edges : ndarray of int64, shape (m,)
        When a bar opens or closes, or the market opens, while it is open: the strategy may be asked then.
    """

    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    edges: NDArray[np.int64]


class Grid(NamedTuple):
    """When a strategy can be asked: the moments ``start, start + step, … last``, once per slot; UTC ms.

    With ``opens``, ``closes`` and ``edges`` (see :class:`Days`) a slot begins with each session that opens from
    ``start`` on, and its moments are those edges.
    """

    start: int
    step: int
    last: int
    slot: int
    average_count: int
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    edges: NDArray[np.int64]


class Rows(NamedTuple):
    """A strategy's signals, one per candle of its interval; see ``engine.get_signals_columns.SignalRows``.

    ``closes`` are the moments (UTC ms) at which candles have closed. Levels are on the tick grid already, where there
    is one.
    """

    closes: NDArray[np.int64]
    position: NDArray[np.int8]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    minutes: NDArray[np.float64]
    level: NDArray[np.float64]
    stop_entry: NDArray[np.bool_]


class RuleNumbers(NamedTuple):
    """The rules of a simulation: an execution model and settings, as numbers."""

    fills_at_open: bool
    watches_average: bool
    trades_through: bool
    stop_first: bool
    gap_fills: bool
    fills_on_the_way: bool
    frame_end: int
    frame_end_cancel: int
    await_ms: int
    slippage: float
    fee: float
    least_target: float
    least_stop: float
    most_stop: float
    longest_minutes: float


# --- pieces of both: plain Python that compiles as it stands -----------------------------------------------------


def reached(side: int, kind: int, price: float, level: float) -> bool:
    """Whether an entry order fills at once where the market is at ``price``; ``lifecycle_entries.reached``."""
    if kind == MARKET_ORDER:
        return True
    return price <= level if (side > 0) == (kind == LIMIT) else price >= level


def _broken(
    side: int, kind: int, price: float, target: float, stop: float, minutes: float, level: float, rules: Any
) -> int:
    """The rules of ``domain.signal_validation`` that are broken, a bit for each; 0 for none."""
    if side not in (1, -1):
        return _NO_SIGNAL
    broken = _broken_entry(kind, price, level) | _no_price(target) << 3 | _no_price(stop) << 5
    is_number = broken & ~_NOWHERE == 0
    broken |= _broken_minutes(minutes, rules)
    if not is_number:
        return broken
    return broken | _broken_levels(side, kind, price, target, stop, level, rules)


def _broken_entry(kind: int, price: float, level: float) -> int:
    """The broken rules on market price and level of an entry, a bit for each."""
    broken = _no_price(price) << 1
    if kind == STOP_ENTRY and np.isnan(level):
        return broken | _NOWHERE
    return broken if kind == MARKET_ORDER else broken | _no_price(level) << 7


def _broken_levels(side: int, kind: int, price: float, target: float, stop: float, level: float, rules: Any) -> int:
    """The broken rules on one target and the stop beside the entry, a bit for each."""
    entry = price if np.isnan(level) else level
    broken = (side * (target - entry) <= 0) << 12 | (side * (entry - stop) <= 0) << 13
    if kind == STOP_ENTRY or side * (price - entry) <= 0:  # the market may be where it fills
        broken |= (side * (price - stop) <= 0) << 14 | (side * (target - price) <= 0) << 15
        if rules.fills_at_open and price != entry:
            broken |= _too_near(side, price, target, stop, rules) << 16
    return broken | _too_near(side, entry, target, stop, rules) << 16


def _is_undeclared(target: float, stop: float, minutes: float) -> Any:
    """Whether a position would have no target, no stop or no deadline."""
    return np.isnan(target) or np.isnan(stop) or np.isnan(minutes)


def broken_declared(
    side: int, kind: int, price: float, target: float, stop: float, minutes: float, level: float, book: Any,
    prices: Any, shares: Any, count: int, has_ladder: bool, rules: Any,  # noqa: FBT001 -- compiled, no keywords
) -> int:  # fmt: skip
    """``_broken`` of a row that may have a ladder or no level, and declares more; its targets are in ``prices``."""
    if side not in (1, -1):
        return _NO_SIGNAL
    if has_ladder and broken_ladder(prices, shares, count):
        return 1 << 21  # the answer cannot be read
    broken = _broken_entry(kind, price, level)
    if not has_ladder and not np.isnan(target):
        broken |= _no_price(target) << 3
    if not np.isnan(stop):
        broken |= _no_price(stop) << 5
    is_number = broken & ~_NOWHERE == 0
    broken |= broken_exits(book, side, rules.slippage, rules.fee) << 22
    if not np.isnan(minutes):
        broken |= _broken_minutes(minutes, rules)
    if not is_number:
        return broken
    for i in range(max(count, 1)):  # without a target its stop alone
        broken |= _broken_levels(side, kind, price, prices[i] if count else np.nan, stop, level, rules)
    return broken


def _broken_minutes(minutes: float, rules: Any) -> int:
    if minutes != np.floor(minutes) or abs(minutes) == np.inf:
        return 1 << 9
    if minutes <= 0:
        return 1 << 10
    return 1 << 11 if minutes > rules.longest_minutes else 0


def _no_price(value: float) -> int:
    if not -np.inf < value < np.inf:  # NaN too
        return 1
    return 2 if value <= 0 else 0


def _too_near(side: int, fill: float, target: float, stop: float, rules: Any) -> int:
    """The broken rules on distances and costs of the levels that lie on the right side of a fill, a bit for each."""
    broken = 0
    to_target = (target - fill) / fill * 100 if side > 0 else (fill - target) / fill * 100
    to_stop = (fill - stop) / fill * 100 if side > 0 else (stop - fill) / fill * 100
    if side * (target - fill) > 0:
        if to_target < rules.least_target:
            broken |= 1
        if net(side, fill, target, rules.slippage, rules.fee) <= 0:
            broken |= 2
    if side * (fill - stop) > 0:
        if to_stop < rules.least_stop:
            broken |= 4
        elif to_stop > rules.most_stop:
            broken |= 8
    return broken


def count_refusal(refusals: Any, kinds: int, broken: int, row: int, price: float) -> int:
    """Count an answer with those that broke the same rules; returns how many kinds there are."""
    for i in range(kinds):
        if refusals[i, 0] == broken or i == len(refusals) - 1:
            refusals[i, 1] += 1
            return kinds
    refusals[kinds, 0], refusals[kinds, 1], refusals[kinds, 2], refusals[kinds, 3] = broken, 1, row, price
    return kinds + 1


def fill_entry(market: Any, i: int, side: int, kind: int, level: float, stop: float, first: bool, rules: Any) -> Any:  # noqa: FBT001
    """What minute ``i`` does with an entry order, and whether that is in doubt; ``ExecutionModel.entry``."""
    if kind == MARKET_ORDER:
        return AT_OPEN, False
    # A short is a long in mirrored prices: favourable is up for both.
    level, stop, opened = side * level, side * stop, side * market.open[i]
    if kind == STOP_ENTRY:
        if rules.watches_average:
            adverse = favourable = side * market.average[i]
        elif side > 0:
            adverse, favourable = market.low[i], market.high[i]
        else:
            adverse, favourable = -market.high[i], -market.low[i]
        if rules.gap_fills and (opened > level or (first and opened == level)):
            return AT_OPEN, False
        if favourable >= level:
            return AT_LEVEL, adverse <= stop
        return (REJECTED if adverse <= stop else RESTS), False
    adverse = market.low[i] if side > 0 else -market.high[i]
    if rules.fills_at_open and first and opened <= level:
        return AT_OPEN, False
    if rules.gap_fills and opened < level:
        return AT_OPEN, False
    if adverse <= stop:
        return (STOPPED_OUT if rules.fills_on_the_way else REJECTED), True
    if adverse < level or (adverse == level and not rules.trades_through):
        return AT_LEVEL, False
    return RESTS, False


def write_end(
    end: Any, row: int, side: int, scheduled_at: int, pending_at: int, closed_at: int, entry: float, target: float,
    stop: float, price: float, reason: int, highest: float, lowest: float, doubt: float, rules: Any,
) -> None:  # fmt: skip
    """One closed position; ``lifecycle_exits.close_at``."""
    highest, lowest = max(highest, price), min(lowest, price)
    best, worst = (highest, lowest) if side > 0 else (lowest, highest)
    _write_result(end, row, side, scheduled_at, pending_at, closed_at, entry, entry, target, stop, price, price, reason,
                  doubt, rules)  # fmt: skip
    end[PEAK] = net(side, entry, best, rules.slippage, rules.fee)
    end[TROUGH] = net(side, entry, worst, rules.slippage, rules.fee)


def _write_declared(
    end: Any, row: int, side: int, scheduled_at: int, pending_at: int, closed_at: int, entry: float, target: float,
    stop: float, price: float, reason: int, book: Any, doubt: float, rules: Any,
) -> None:  # fmt: skip
    """One closed position that may have been closed in parts; ``FillRun.close`` and ``result`` in the domain."""
    see(book, price, rules.slippage, rules.fee)
    sold = book[SOLD] + book[LEFT] * price
    _write_result(end, row, side, scheduled_at, pending_at, closed_at, entry, book[COST], target, stop, price, sold,
                  reason, doubt, rules)  # fmt: skip
    end[PEAK], end[TROUGH], end[LARGEST_COST], end[ADDS] = book[MOST], book[LEAST], book[LARGEST], book[ADDED]


def _write_result(
    end: Any, row: int, side: int, scheduled_at: int, pending_at: int, closed_at: int, entry: float, cost: float,
    target: float, stop: float, price: float, sold: float, reason: int, doubt: float, rules: Any,
) -> None:  # fmt: skip
    """What a position came to that cost ``cost`` and was sold for ``sold``; ``profit_of_partial_closes.result``.

    ``entry`` and ``price`` are the prices of the first of it and the last.
    """
    first, paid = entry * (1 + side * rules.slippage / 100), cost * (1 + side * rules.slippage / 100)
    got = sold * (1 - side * rules.slippage / 100)
    slipped = (got - paid) / first * 100 * side
    fees = rules.fee * (paid / first + got / first)
    gross = (sold - cost) / entry * 100 * side
    end[ROW], end[SIDE], end[SCHEDULED_AT], end[PENDING_AT], end[CLOSED_AT] = (
        row, side, scheduled_at, pending_at, closed_at)  # fmt: skip
    end[OPEN], end[TARGET], end[STOP], end[CLOSE], end[REASON] = entry, target, stop, price, reason
    end[NET], end[GROSS], end[FEE], end[SLIPPAGE] = slipped - fees, gross, fees, gross - slipped
    end[AMBIGUOUS], end[LARGEST_COST], end[ADDS], end[OF_EQUITY] = doubt, 1.0, 0.0, np.nan


def write_cancelled(
    end: Any, row: int, side: int, when: int, closed_at: int, entry: float, target: float, stop: float, price: float,
    reason: int,
) -> None:  # fmt: skip
    """One scheduled signal that never opened."""
    end[:] = np.nan
    end[ROW], end[SIDE], end[SCHEDULED_AT], end[CLOSED_AT] = row, side, when, closed_at
    end[OPEN], end[TARGET], end[STOP], end[CLOSE], end[REASON] = entry, target, stop, price, reason
    end[AMBIGUOUS] = 0.0


def _wait(market: Any, rules: Any, side: int, kind: int, level: float, stop: float, at: int, over: int) -> Any:
    """Minutes of an entry order from index ``at`` up to ``over``, at which the clock ends it.

    Returns what became of it, the index of the deciding minute, and whether that is in doubt.
    """
    first = rules.fills_at_open
    for i in range(at, over):
        if market.fills[i]:
            done, doubt = fill_entry(market, i, side, kind, level, stop, first, rules)
            if done != RESTS:
                return done, i, doubt
            first = False
    return RESTS, over, False


def _at_bar(market: Any, moment: int) -> Any:
    """The first moment at or after one at which a bar ends, when that is known."""
    begin = market.times[0]  # bars need not open at multiples of their length: weeks do on Monday
    return begin - (begin - moment) // market.step * market.step


def _deadline(market: Any, opened: int, minutes: float) -> Any:
    """When the clock ends a position; ``lifecycle_exits.due``."""
    return _at_bar(market, opened + int(min(minutes, FOREVER)) * MINUTE)


def rests_until(market: Any, grid: Any, rules: Any, when: int) -> Any:
    """When the clock cancels an entry order that rests from a moment on; ``entry_timeout.rests_until``."""
    until = when + rules.await_ms
    if len(grid.opens):  # as long after the open of the next session, at the latest its close
        at = int(np.searchsorted(grid.opens, when, side="right"))
        later = NEVER
        if 0 < at < len(grid.opens):
            later = min(grid.opens[at] + when - grid.opens[at - 1], grid.closes[at])
        until = max(until, later)
    if market.step > MINUTE:
        at = first_at(market, when) + RESTING_BARS - 1
        if at >= len(market.times):
            return NEVER
        until = max(until, time_at(market, at) + market.step)
    return _at_bar(market, until)


def _newest_fill(market: Any, until: int, out_at: int, opened_in: int) -> int:
    """The minute at whose close a position is out at a session's close, -1: none is (``holding_at_close``).

    What leaves at the market from ``until`` on leaves at a minute before that close, if one can fill it.
    """
    over = first_at(market, out_at)
    if over == len(market.times) and out_at > market.times[over - 1] + market.step:
        return -1  # the data end before
    if until < out_at and next_fill(market, first_at(market, until)) < over:
        return -1
    at = over - 1
    while at >= opened_in and not market.fills[at]:
        at -= 1
    return at if at >= opened_in else -1


def cancelled_by_clock(market: Any, rules: Any, last: int, due: int, over: int) -> Any:
    """How the clock cancels an entry order at ``due``, or the data end it.

    Returns reason, average price and moment, and the moment after which the strategy may be asked.
    """
    times, count = market.times, len(market.times)
    end = times[count - 1]
    if over == count and not (rules.fills_at_open and due <= end + market.step):
        return DATA_END_CANCEL, market.average[count - 1], end, end
    if rules.fills_at_open:
        return (rules.frame_end_cancel if due >= last else TIMEOUT), market.average[max(over - 1, 0)], due, due - 1
    reason = rules.frame_end_cancel if time_at(market, over) > last else TIMEOUT
    return reason, market.average[over], time_at(market, over), time_at(market, over)


def _leaves_at(market: Any, grid: Any, closes: Any, leaves: Any, known: int, final: int, found: Any) -> int:
    """The moment at which a row closes a position that was known to be open at ``known``; -1: none does."""
    count, row = len(closes), next_leaving(leaves, closes, known, found)
    while row < count:
        when = question(market, grid, slot_at(grid, closes[row]))
        if not 0 <= when <= final:
            return -1
        newest = newest_row(closes, grid, when)
        if newest >= count:
            return -1
        if leaves[newest]:
            return int(when)
        row = next_leaving(leaves, closes, closes[newest], found)
    return -1


def _left(market: Any, rules: Any, when: int, over: int) -> Any:
    """How a position ends that a row closes at ``when``, before minute ``over``; as ``ended_by_clock``."""
    times, count = market.times, len(market.times)
    if not rules.fills_at_open:
        return STRATEGY, market.average[over - 1], when, when, -1
    fill = next_fill(market, over)
    if fill == count:
        return DATA_END, market.last_close, times[count - 1], when - 1, NEVER
    opens = time_at(market, fill)
    return STRATEGY, market.open[fill], opens, when - 1, opens


def hold_to_end(  # noqa: C901 -- one position, one place
    market: Any, blocks: Any, grid: Any, rows: Any, rules: Any, exits: Any, book: Any, prices: Any, shares: Any,
    count: int, parts: Any, how: int, row: int, side: int, when: int, pending_at: int, entry: float, target: float,
    stop: float, minutes: float, doubt: bool, at: int, found: Any, end: Any,  # noqa: FBT001 -- compiled, no keywords
) -> Any:  # fmt: skip
    """Minutes of a position that its book knows, from index ``at`` on, and its row in the table of ends.

    ``parts`` are those of its entry that wait (:mod:`bknb.kernels.entry_parts`); ``None``: it has one. Returns the
    moment after which the strategy may be asked, and the last at which an entry order that the clock ends is ended
    before its closing order has filled, -1: there is none.
    """
    last, leaving = grid.last, -1
    final = last - 1 if rules.fills_at_open else last
    clock_end = due = last if rules.fills_at_open else last + 1
    if not np.isnan(minutes):
        due = min(clock_end, _deadline(market, pending_at, minutes))
    out_at = NEVER  # the close of a session at which it is out
    if len(exits.lasts) and exits.lasts[row] >= 0:
        lasts, opened_in = exits.lasts[row], first_at(market, pending_at)
        due = min(due, _at_bar(market, exits.ends[lasts, opened_in]))
        out_at = _at_bar(market, exits.closes[lasts, opened_in])
        if out_at > last:
            out_at = NEVER  # the frame is over before
    rows_leave = exits.leave_long if side > 0 else exits.leave_short
    leaves = _leaves_at(market, grid, rows.closes, rows_leave, pending_at + market.step, final, found[(side + 1) // 2])
    over = first_at(market, due)
    by_row = 0 <= leaves < due
    if leaves >= due and not rules.fills_at_open:  # the clock ends it with a minute, if one comes
        by_row = leaves <= (time_at(market, over) if over < len(market.times) else due)
    if by_row:
        over = first_at(market, leaves)
    until = min(leaves if by_row else due, out_at)
    if out_at < NEVER:
        over = min(over, first_at(market, out_at))
    reason, price, unsure = -1, entry, False
    if parts is not None:
        reason, at, price, unsure, count, how = hold_parts(
            market, rules, book, prices, shares, count, parts, how, at, over)  # fmt: skip
    if reason < 0:
        in_doubt = unsure
        reason, at, price, unsure = hold_declared(market, blocks, rules, book, prices, shares, count, how, at, over)
        unsure = unsure or in_doubt
    newest = -1
    if reason < 0 and out_at < NEVER:
        newest = _newest_fill(market, until, out_at, first_at(market, pending_at))
    if reason >= 0:
        closed_at = after = time_at(market, at)
    elif newest >= 0:
        reason, price, closed_at = TIME_EXPIRED, market.close[newest], time_at(market, newest)
        after, leaving = until - 1, out_at - 1 if until < out_at else -1
    elif until == out_at:  # no candle since it opened: it leaves at the next one, held over
        reason, price, closed_at, after, leaving = ended_by_clock(market, rules, last, out_at, over)
    elif by_row:
        reason, price, closed_at, after, leaving = _left(market, rules, leaves, over)
    else:
        # where no candle since it opened could fill it at that close, at the next one
        due = min(due, out_at)
        reason, price, closed_at, after, leaving = ended_by_clock(market, rules, last, due, over)
    _write_declared(end, row, side, when, pending_at, closed_at, entry, target, stop, price, reason, book,
                    1.0 if doubt or unsure else 0.0, rules)  # fmt: skip
    return after, leaving


# --- the run ------------------------------------------------------------------------------------------------------


def copy_rows(ends: Any, longer: Any) -> None:
    """Copy a table of ends into the first rows of a longer one."""
    for at in range(len(ends)):  # a slice would have the text of numpy's error compiled as well: seconds
        for column in range(WIDTH):
            longer[at, column] = ends[at, column]


def _run(market: Any, blocks: Any, grid: Any, rows: Any, rules: Any, exits: Any) -> Any:
    """``_go_on`` with tables that grow. Everything is allocated here: where nothing is, no references are counted."""
    ends, refusals = np.empty((256, WIDTH)), np.empty((_KINDS, 4))
    book, prices, shares = np.empty(BOOK), np.empty(LEVELS), np.empty(LEVELS)
    found = np.full((2, 2), -1, np.int64)  # rows that leave: from when on was looked, and the next
    place = np.array([0, 0, first_question(market, grid), -1], np.int64)
    done = _go_on(market, blocks, grid, rows, rules, exits, ends, refusals, book, prices, shares, found, place)
    while done == _FULL:
        longer = np.empty((2 * len(ends), WIDTH))
        copy_rows(ends, longer)
        ends = longer
        done = _go_on(market, blocks, grid, rows, rules, exits, ends, refusals, book, prices, shares, found, place)
    if done == _UNDECLARED:
        return ends[:0].copy(), np.full((1, 1), np.nan)
    return ends[: place[_ENDED]].copy(), refusals[: place[_KINDS_FOUND]].copy()


def _go_on(  # noqa: C901 -- one pass, one place
    market: Any, blocks: Any, grid: Any, rows: Any, rules: Any, exits: Any, ends: Any, refusals: Any, book: Any,
    prices: Any, shares: Any, found: Any, place: Any,
) -> int:  # fmt: skip
    """Question after question; after each that ordered something, minutes until the next may be asked.

    ``place`` is where to go on: how many ends and kinds of refusals there are, the next question, and the last moment
    before the closing order of the newest row fills, where that row is of one (else -1). Returns whether it came to the
    end, ``ends`` is full, or a row declares a position that this loop does not know.
    """
    ended, kinds, when, leaving = int(place[_ENDED]), int(place[_KINDS_FOUND]), int(place[_WHEN]), int(place[_LEAVING])
    candles, last, count = len(rows.closes), grid.last, 0
    final = last - 1 if rules.fills_at_open else last  # the last moment of a frame only ends what there is
    clock_end = last if rules.fills_at_open else last + 1
    while 0 <= when <= final and ended < len(ends):
        row = newest_row(rows.closes, grid, when)
        if row < 0 or row >= candles or rows.position[row] == 0:
            when = when_wanted(market, grid, rows, row)
            continue
        index, after = first_at(market, when), when
        if index >= grid.average_count:  # there is an average price
            side, level, minutes = int(rows.position[row]), rows.level[row], rows.minutes[row]
            target, stop, price = rows.target[row], rows.stop[row], market.average[index - 1]
            kind = STOP_ENTRY if rows.stop_entry[row] else MARKET_ORDER if np.isnan(level) else LIMIT
            if exits is None:
                broken = _broken(side, kind, price, target, stop, minutes, level, rules)
                if broken and _is_undeclared(target, stop, minutes):
                    return _UNDECLARED
            else:
                count, has_ladder = declare(exits, row, target, book, prices, shares)
                broken = broken_declared(side, kind, price, target, stop, minutes, level, book, prices, shares, count,
                                          has_ladder, rules)  # fmt: skip
                target = prices[count - 1] if count else np.nan
            if broken:
                kinds = count_refusal(refusals, kinds, broken, row, price)
            else:
                end = ends[ended]
                entry = price if kind == MARKET_ORDER else level
                done, at, doubt, pending_at = AT_OPEN, index, False, when
                if rules.fills_at_open or not reached(side, kind, price, level):
                    due = clock_end if kind == MARKET_ORDER else min(clock_end, rests_until(market, grid, rules, when))
                    over = first_at(market, due)
                    done, at, doubt = _wait(market, rules, side, kind, level, stop, index, over)
                    if done == RESTS:
                        reason, price, closed_at, after = cancelled_by_clock(market, rules, last, due, over)
                        if reason != DATA_END_CANCEL and leaving >= due:  # what leaves meanwhile closes later
                            for column in range(WIDTH):
                                ends[ended, column] = ends[ended - 1, column]
                            end = ends[ended - 1]
                        else:
                            leaving = -1
                        write_cancelled(end, row, side, when, closed_at, entry, target, stop, price, reason)
                    else:
                        pending_at = after = time_at(market, at)
                        leaving = -1
                        if done == AT_OPEN:
                            entry = market.open[at]
                if done == REJECTED:
                    write_cancelled(end, row, side, when, after, entry, target, stop, market.average[at],
                                    PRICE_REJECT)  # fmt: skip
                elif done == STOPPED_OUT:
                    write_end(end, row, side, when, after, after, entry, target, stop, stop, STOP_LOSS, entry, entry,
                              1.0, rules)  # fmt: skip
                elif done != RESTS:
                    highest = lowest = entry
                    reason = -1
                    if done == AT_LEVEL:
                        if rules.fills_at_open:  # of its extremes only one came after the fill
                            if (kind == STOP_ENTRY) == (side > 0):
                                highest = max(highest, market.high[at])
                            else:
                                lowest = min(lowest, market.low[at])
                        at += 1
                    elif rules.fills_at_open and exits is None:
                        reason = exit_at_entry(side, entry, target, stop)
                    closed_at, price, unsure = after, entry, False
                    if exits is not None:
                        open_book(book, side, entry, stop, highest, lowest)
                        how = FILLED_AT_LEVEL if done == AT_LEVEL else FILLED_AT_OPEN
                        if not rules.fills_at_open and done == AT_OPEN:
                            how = FILLED_AT_AVERAGE
                        after, leaving = hold_to_end(
                            market, blocks, grid, rows, rules, exits, book, prices, shares, count, None, how, row, side,
                            when, pending_at, entry, target, stop, minutes, doubt, at, found, end)  # fmt: skip
                    elif reason < 0:
                        due = min(clock_end, _deadline(market, pending_at, minutes))
                        over = first_at(market, due)
                        reason, at, price, unsure, highest, lowest = hold(
                            market, blocks, rules, side, target, stop, highest, lowest, at, over)  # fmt: skip
                        if reason < 0:
                            reason, price, closed_at, after, leaving = ended_by_clock(market, rules, last, due, over)
                        else:
                            closed_at = after = time_at(market, at)
                    if exits is None:
                        write_end(end, row, side, when, pending_at, closed_at, entry, target, stop, price, reason,
                                  highest, lowest, 1.0 if doubt or unsure else 0.0, rules)  # fmt: skip
                ended += 1
        when = question(market, grid, max(slot_at(grid, when + 1), after + 1))
    place[_ENDED], place[_KINDS_FOUND], place[_WHEN], place[_LEAVING] = ended, kinds, when, leaving
    return _FULL if 0 <= when <= final else _OVER


PIECES: Final = (
    *exit_loop.PIECES, *declared_exit_loop.PIECES, *question_moments.PIECES, _no_price, reached, _too_near,
    _broken_minutes, _broken_entry, _broken_levels, broken_declared, count_refusal, fill_entry, _write_result,
    write_end, _write_declared, write_cancelled, _at_bar, _deadline, rests_until, _newest_fill, cancelled_by_clock,
    _leaves_at, _left, hold_to_end, copy_rows,
)  # fmt: skip
"""What :func:`bknb.kernels.jit.compiled` compiles beside a loop that goes from question to question."""
_PIECES: Final = (*PIECES, _is_undeclared, _broken, _wait, _go_on)


def simulate(
    market: Market, blocks: MarketBlocks, grid: Grid, rows: Rows, rules: RuleNumbers, exits: Exits | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All positions a strategy would have had.

    Parameters
    ----------
    market, blocks
        The minutes, and their blocks for the execution model.
    grid
        When the strategy is asked.
    rows
        What it answers.
    rules
        Execution model and settings.
    exits
        What rows declare besides, and where they leave; ``None``: nothing.

    Returns
    -------
    ends : ndarray of float64, shape (k, WIDTH)
        One row per closed position (``REASON`` below ``FIRST_CANCEL``) and per cancelled scheduled signal, in order.
        Results of a position that was closed in parts are percent of the cost of its first fill.
    refusals : ndarray of float64, shape (kinds, 4)
        Answers that broke rules, a row for each set of rules in the order of the first: a number that stands for the
        set, how many answers, and row and average price of the first.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    return _either(compiled(_run, globals(), _PIECES), market, blocks, grid, rows, rules, exits)


def simulate_plain(
    market: Market, blocks: MarketBlocks, grid: Grid, rows: Rows, rules: RuleNumbers, exits: Exits | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The specification of ``simulate``: plain Python, minute by minute."""
    return _either(_plainly, market, blocks, grid, rows, rules, exits)


def _either(
    run: Any, market: Market, blocks: MarketBlocks, grid: Grid, rows: Rows, rules: RuleNumbers, exits: Exits | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a loop finds; a row without target, stop or deadline needs the one that knows declared exits."""
    found: tuple[NDArray[np.float64], NDArray[np.float64]]
    if exits is None:
        found = run(market, blocks.extremes, grid, rows, rules, None)
        if found[1].shape != (1, 1):
            return found
        exits = no_exits(len(rows.closes))
    found = run(market, blocks.with_swings, grid, rows, rules, exits)
    return found


def no_exits(count: int) -> Exits:
    """Nothing declared in ``count`` rows.

    Examples
    --------
    >>> no_exits(2).trailing
    array([nan, nan])
    """
    none, never = np.full(count, np.nan), np.zeros(count, dtype=np.bool_)
    none.setflags(write=False)
    never.setflags(write=False)
    levels = (none,) * LEVELS
    return Exits(never, never, none, none, none, levels, levels, np.nan, 1.0, 1.0)


def _plain_run() -> Any:
    from types import FunctionType

    stepped = FunctionType(hold_declared.__code__, {**hold_declared.__globals__, "BLOCK": 2**62}, "hold_declared_plain")
    names = {**globals(), "hold": hold_plain, "hold_declared": stepped}
    for piece in (hold_to_end, _go_on):
        names[piece.__name__] = FunctionType(piece.__code__, names, f"{piece.__name__}_plain")
    return FunctionType(_run.__code__, names, "_run_plain")


_plainly: Final = _plain_run()
hold_to_end_plain: Final = _plainly.__globals__["hold_to_end"]
"""``hold_to_end`` minute by minute: its specification."""
