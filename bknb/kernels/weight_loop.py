"""A whole backtest of weights as one loop: what is to be held after every candle in, the ends of all positions out.

The rules are those of ``domain/orders_from_weights.py``, ``domain/managed_fills.py`` and
``domain/profit_of_partial_closes.py`` for a strategy without a risk profile and without a capital, where every order
fills before the next question: :func:`orders_wait` says where that is not so. Positions have no levels, so that only
questions and the end of the frame change them.

Moments are UTC milliseconds, prices are in quote currency; a table of ends is that of ``kernels.simulate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from . import question_moments, simulate
from .declared_exit_loop import DUST
from .exit_loop import BLOCK, PIECES, ended_by_clock, first_at, next_fill, next_set, time_at
from .jit import compiled
from .question_moments import first_question, newest_row, question, slot_at
from .simulate import (
    ADDS,
    AMBIGUOUS,
    CLOSE,
    CLOSED_AT,
    FEE,
    GROSS,
    LARGEST_COST,
    NET,
    OF_EQUITY,
    OPEN,
    PEAK,
    PENDING_AT,
    REASON,
    ROW,
    SCHEDULED_AT,
    SIDE,
    SLIPPAGE,
    STOP,
    STRATEGY,
    TARGET,
    TROUGH,
    WIDTH,
    copy_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .simulate import Grid, Market, MarketBlocks, RuleNumbers

MOST: Final = 1 + 1e-9  # of the equity without leverage; ``domain.weight_answers``
MOST_SHARE: Final = 1e9  # of an add; ``domain.part_and_add_orders``
TOO_MUCH, ADD_TOO_LARGE = range(1, 3)  # kinds of refusals
_KINDS: Final = 2
_CLOSE_ALL: Final = -1  # what a weight on the same side may lead to
_OVER, _FULL = range(2)  # why the loop comes back

# what is kept of a position, by place; its side is 0 where nothing is held
_SIGN, _SIZE, _ROW, _SCHEDULED, _PENDING, _FIRST = range(6)
_ENTERED, _BOUGHT, _SOLD, _LEFT, _COST, _ADDED = range(6, 12)
_MOVED, _TURNED, _FIRST_VALUE = range(12, 15)
_TOP, _BOTTOM, _BEST, _WORST, _SEEN = range(15, 20)
_RUINED: Final = 20
_HELD: Final = 21
"""Its size.

``_ENTERED`` and ``_SOLD`` are sums of share times price, ``_BOUGHT`` one of shares. ``_MOVED``, ``_TURNED`` and
``_FIRST_VALUE`` are those of ``domain.orders_from_weights.marked_weight``, ``_TOP`` and ``_BOTTOM`` extremes since the
newest fill, of minutes before ``_SEEN``. ``_RUINED`` is 1 once all of the equity was lost: then nothing is opened any
more.
"""

_ENDED, _KINDS_FOUND, _WHEN = range(3)  # places of what the loop goes on with


class WeightRows(NamedTuple):
    """What is to be held after each candle, and when the candles have closed (UTC ms).

    ``weight`` is NaN where nothing is said, ``wants`` is true where something may be opened; ``tolerance`` is percent
    of the equity.
    """

    closes: NDArray[np.int64]
    weight: NDArray[np.float64]
    wants: NDArray[np.bool_]
    tolerance: float


# --- pieces: plain Python that compiles as it stands -----------------------------------------------------------------


def _net(held: Any, price: float, rules: Any) -> Any:
    """The net result with what is left closed at a price; ``profit_of_partial_closes.net_results``."""
    side = held[_SIGN]
    entry = held[_FIRST] * (1 + side * rules.slippage / 100)
    paid = held[_ENTERED] * (1 + side * rules.slippage / 100)
    left = held[_SOLD] + held[_LEFT] * price if held[_LEFT] else held[_SOLD]
    received = left * (1 - side * rules.slippage / 100)
    return (received - paid) / entry * 100 * side - rules.fee * (paid / entry + received / entry)


def _see(held: Any, price: float, rules: Any) -> None:
    """The extreme results before a fill at a price; ``FillRun._extremes``."""
    one, other = _net(held, max(held[_TOP], price), rules), _net(held, min(held[_BOTTOM], price), rules)
    best, worst = max(one, other), min(one, other)
    held[_BEST] = best if np.isnan(held[_BEST]) else max(best, held[_BEST])
    held[_WORST] = worst if np.isnan(held[_WORST]) else min(worst, held[_WORST])


def _pass(held: Any, market: Any, blocks: Any, until: int) -> None:
    """The extreme prices of minutes before ``until`` that were not seen yet."""
    top, bottom, i = held[_TOP], held[_BOTTOM], int(held[_SEEN])
    while i < until:
        if i % BLOCK == 0 and i + BLOCK <= until:
            top, bottom = max(top, blocks.top[i // BLOCK]), min(bottom, blocks.bottom[i // BLOCK])
            i += BLOCK
        else:
            top, bottom = max(top, market.high[i]), min(bottom, market.low[i])
            i += 1
    held[_TOP], held[_BOTTOM], held[_SEEN] = top, bottom, until


def _filled(held: Any, enters: bool, share: float, price: float, at: int, rules: Any) -> None:  # noqa: FBT001 -- compiled, no keywords
    """Book one fill of what is held in minute ``at``."""
    sign = held[_SIGN] if enters else -held[_SIGN]
    value = share * price * (1 + sign * rules.slippage / 100)
    held[_MOVED] -= sign * value
    held[_TURNED] += value
    if enters:
        held[_ENTERED] += share * price
        held[_BOUGHT] += share
        held[_LEFT] += share
        held[_COST] = max(held[_COST], held[_LEFT] * (held[_ENTERED] / held[_BOUGHT]) / held[_FIRST])
    else:
        held[_SOLD] += share * price
        held[_LEFT] -= share
    held[_TOP], held[_BOTTOM], held[_SEEN] = price, price, at


def _enter(held: Any, market: Any, weight: float, row: int, when: int, at: int, rules: Any) -> None:
    """Open a weight at the open of minute ``at``."""
    ruined, price = held[_RUINED], market.open[at]
    held[:] = 0.0
    held[_RUINED], held[_SIGN], held[_SIZE] = ruined, (1.0 if weight > 0 else -1.0), abs(weight)
    held[_ROW], held[_SCHEDULED], held[_PENDING] = row, when, time_at(market, at)
    held[_FIRST], held[_BEST], held[_WORST] = price, np.nan, np.nan
    _filled(held, True, 1.0, price, at, rules)  # noqa: FBT003 -- compiled, no keywords
    held[_FIRST_VALUE] = held[_TURNED]


def _leave(
    held: Any, market: Any, blocks: Any, end: Any, price: float, reason: int, closed_at: int, until: int, rules: Any
) -> None:
    """Close all that is held at a price, behind the minutes before ``until``; ``FillRun.close``."""
    _pass(held, market, blocks, until)
    _see(held, price, rules)
    side, first, entered = held[_SIGN], held[_FIRST], held[_ENTERED]
    sold = held[_SOLD] + held[_LEFT] * price
    entry, paid = first * (1 + side * rules.slippage / 100), entered * (1 + side * rules.slippage / 100)
    received = sold * (1 - side * rules.slippage / 100)
    slipped = (received - paid) / entry * 100 * side
    fees = rules.fee * (paid / entry + received / entry)
    gross = (sold - entered) / first * 100 * side
    net = slipped - fees
    end[ROW], end[SIDE], end[SCHEDULED_AT], end[PENDING_AT], end[CLOSED_AT] = (
        held[_ROW], side, held[_SCHEDULED], held[_PENDING], closed_at)  # fmt: skip
    end[OPEN], end[TARGET], end[STOP], end[CLOSE], end[REASON] = first, np.nan, np.nan, price, reason
    end[NET], end[GROSS], end[FEE], end[SLIPPAGE] = net, gross, fees, gross - slipped
    end[PEAK], end[TROUGH], end[AMBIGUOUS], end[LARGEST_COST] = held[_BEST], held[_WORST], 0.0, held[_COST]
    end[ADDS], end[OF_EQUITY] = held[_ADDED], held[_SIZE]
    held[_RUINED], held[_SIGN] = (1.0 if net * held[_SIZE] <= -100.0 else 0.0), 0.0


def _marked(held: Any, mark: float, rules: Any) -> Any:
    """What is held as a part of the equity; ``domain.orders_from_weights.marked_weight``."""
    side, part = held[_SIGN], held[_SIZE]
    value = side * held[_LEFT] * mark
    gained = (held[_MOVED] + value - held[_TURNED] * rules.fee / 100) / held[_FIRST_VALUE]
    equity = 1 + part * gained
    return part * value / held[_FIRST_VALUE] / equity if equity > 0.0 else side * np.inf


def _count(refusals: Any, kinds: int, kind: int, row: int, value: float) -> int:
    """Count a refusal with those of its kind; returns how many kinds there are."""
    for i in range(kinds):
        if refusals[i, 0] == kind:
            refusals[i, 1] += 1
            return kinds
    refusals[kinds, 0], refusals[kinds, 1], refusals[kinds, 2], refusals[kinds, 3] = kind, 1, row, value
    return kinds + 1


def _resize(
    held: Any, market: Any, blocks: Any, wanted: float, tolerance: float, index: int, at: int, rules: Any
) -> Any:
    """Bring what is held on one side to a weight on it, ordered before minute ``index`` and filled in minute ``at``.

    Returns ``_CLOSE_ALL`` where nothing would be left, ``ADD_TOO_LARGE`` with the share of an add, or 0.
    """
    left, now = held[_LEFT], _marked(held, market.close[index - 1], rules)
    if abs(wanted - now) * 100 <= tolerance and abs(now) < np.inf:
        return 0, 0.0
    part = wanted / now
    if abs(part - 1) * left <= DUST:
        return 0, 0.0
    if part < 1:
        share = (1 - part) * left
        if share >= left - DUST:
            return _CLOSE_ALL, 0.0
    else:
        share = left * (part - 1)
        if share > MOST_SHARE:
            return ADD_TOO_LARGE, share
    _pass(held, market, blocks, at)
    _see(held, market.open[at], rules)
    _filled(held, part >= 1, share, market.open[at], at, rules)
    if part >= 1:
        held[_ADDED] += 1
    return 0, 0.0


def _carry_out(
    held: Any, market: Any, blocks: Any, rows: Any, row: int, when: int, index: int, end: Any, rules: Any
) -> Any:
    """What the weight of a row, asked for at ``when`` before minute ``index``, leads to in the minute that fills it.

    Returns the kind of a refusal with its number (0: there is none), and whether a position ended, and one began.
    """
    wanted, side = rows.weight[row], held[_SIGN]
    if abs(wanted) > MOST:
        return TOO_MUCH, wanted, False, False
    if np.isnan(wanted):
        return 0, 0.0, False, False
    at = next_fill(market, index)
    leaves = side != 0.0 and wanted * side <= 0.0
    if side != 0.0 and not leaves:
        left_to_do, share = _resize(held, market, blocks, wanted, rows.tolerance, index, at, rules)
        if left_to_do != _CLOSE_ALL:
            return left_to_do, share, False, False
        leaves, wanted = True, 0.0
    if leaves:
        _leave(held, market, blocks, end, market.open[at], STRATEGY, time_at(market, at), at, rules)
    enters = wanted != 0.0 and (leaves or held[_RUINED] == 0.0)
    if enters:
        _enter(held, market, wanted, row, when, at, rules)
    return 0, 0.0, leaves, enters


# --- the run ---------------------------------------------------------------------------------------------------------


def _run(market: Any, blocks: Any, grid: Any, rows: Any, rules: Any) -> Any:
    """``_go_on`` with a table that grows. Everything is allocated here."""
    ends, refusals, held = np.empty((256, WIDTH)), np.empty((_KINDS, 4)), np.zeros(_HELD)
    place = np.array([0, 0, first_question(market, grid)], np.int64)
    while _go_on(market, blocks, grid, rows, rules, ends, refusals, held, place) == _FULL:
        longer = np.empty((2 * len(ends), WIDTH))
        copy_rows(ends, longer)
        ends = longer
    return ends[: place[_ENDED]].copy(), refusals[: place[_KINDS_FOUND]].copy()


def _go_on(
    market: Any, blocks: Any, grid: Any, rows: Any, rules: Any, ends: Any, refusals: Any, held: Any, place: Any
) -> int:
    """Question after question; each leads to at most one fill, before the next, or to a close with an entry.

    ``place`` is where to go on. Returns whether it came to the end, or ``ends`` is full.
    """
    ended, kinds, when = int(place[_ENDED]), int(place[_KINDS_FOUND]), int(place[_WHEN])
    candles, last = len(rows.closes), grid.last
    while 0 <= when < last:
        if ended == len(ends):
            break
        row = newest_row(rows.closes, grid, when)
        if row >= candles:
            when = -1  # no candle closes from here on
            break
        side = held[_SIGN]
        if side == 0.0 and (row < 0 or not rows.wants[row]):
            row = next_set(rows.wants, max(row, 0))
            when = -1 if row == candles else question(market, grid, slot_at(grid, rows.closes[row]))
            continue
        index, after = first_at(market, when), when
        if side != 0.0 or index >= grid.average_count:  # of an entry there has to be an average price
            refusal, value, left, entered = _carry_out(held, market, blocks, rows, row, when, index, ends[ended], rules)
            if refusal:
                kinds = _count(refusals, kinds, refusal, row, value)
            if left:
                ended += 1
            if entered:  # and is known once its minute has closed
                after = int(held[_PENDING]) + market.step - 1
        when = question(market, grid, slot_at(grid, after + 1))
    full = ended == len(ends)
    if not full and held[_SIGN] != 0.0:
        over = first_at(market, last)
        reason, price, closed_at, _, _ = ended_by_clock(market, rules, last, last, over)
        _leave(held, market, blocks, ends[ended], price, reason, closed_at, over, rules)
        ended += 1
    place[_ENDED], place[_KINDS_FOUND], place[_WHEN] = ended, kinds, when
    return _FULL if full else _OVER


_PIECES: Final = (
    *PIECES, *question_moments.PIECES, copy_rows,
    _net, _see, _pass, _filled, _enter, _leave, _marked, _count, _resize, _carry_out, _go_on,
)  # fmt: skip


def simulate_weights(
    market: Market, blocks: MarketBlocks, grid: Grid, rows: WeightRows, rules: RuleNumbers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All positions that weights would have had, and refusals, as of :func:`bknb.kernels.simulate.simulate`.

    A refusal is of ``TOO_MUCH``, with its weight, or ``ADD_TOO_LARGE``, with the share.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    found: tuple[NDArray[np.float64], NDArray[np.float64]]
    found = compiled(_run, globals(), _PIECES, beside=simulate.__name__)(market, blocks.extremes, grid, rows, rules)
    return found


def orders_wait(market: Market, grid: Grid) -> bool:
    """Whether some order may wait over the next question, or over the end of the frame, for a minute that fills it.

    Examples
    --------
    >>> from .simulate import Grid, Market
    >>> flat, none = np.full(9, 2.0), np.zeros(0, dtype=np.int64)
    >>> def waits(fills):
    ...     market = Market(np.arange(9) * 60_000, flat, flat, flat, flat, fills, True, flat[:0] > 0, 2.0)
    ...     return orders_wait(market, Grid(60_000, 60_000, 480_000, 120_000, 1, none, none, none))
    >>> waits(flat > 0), waits(np.arange(9) % 2 == 1), waits(np.arange(9) % 3 == 1)
    (False, False, True)
    """
    times, count = market.times, len(market.times)
    closes = times + market.step
    if len(market.ready):
        closes = closes[market.ready]
    asked = closes[(closes >= grid.start) & ((closes - grid.start) % grid.step == 0) & (closes < grid.last)]
    asked = asked[asked <= times[-1]] if count else asked
    if not len(asked):
        return False
    slots = -(-(asked[:-1] + 1) // grid.slot) * grid.slot
    asked = asked[np.concatenate([[True], slots <= asked[1:]])]  # the first of each slot
    following = np.minimum.accumulate(np.where(market.fills, np.arange(count), count)[::-1])[::-1]
    at = following[np.searchsorted(times, asked)]
    if at[-1] == count:
        return True
    filled = times[at]
    return bool(filled[-1] >= grid.last or (filled[:-1] >= asked[1:]).any())
