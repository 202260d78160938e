"""What rows order: a long and a short that compete, an entry in several parts, levels in percent, and sizes.

Pieces of the compiled loop of ``row_orders_loop``: the rules of ``domain/signal_validation.py``,
``domain/percent_levels.py`` and ``domain/entry_ladder.py`` in plain Python that compiles as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .declared_exit_loop import DUST, declare
from .entry_parts import percent_level
from .exit_loop import net
from .simulate import AT_OPEN, LIMIT, MARKET_ORDER, RESTS, STOP_ENTRY, broken_declared, reached

if TYPE_CHECKING:
    from numpy.typing import NDArray

# what is kept of each order of a row, by place
ORDER_SIDE, ORDER_KIND, ORDER_LEVEL, ORDER_STOP, ORDER_TARGET, WAITS, DONE, DOUBT = range(8)
ORDER: Final = 8

_LADDER: Final = 1 << 21  # a target ladder that cannot be read
_PARTS: Final = _LADDER | 1  # an entry ladder that cannot be read
_PER_PART: Final = 9  # bits of the rules that parts of an entry break each for itself


class RowOrders(NamedTuple):
    """Entries, percentages and sizes of rows, one per candle, NaN: none; on the tick grid, in quote currency.

    Attributes
    ----------
    either : ndarray of bool, shape (n,)
        Which rows have a long and a short that compete.
    levels, stops, targets : tuple of ndarray of float64, shape (n,)
        Theirs, of the long and of the short.
    parts, shares : tuple of ndarray of float64, shape (n,)
        The parts of an entry, the nearest to the market first, and their shares of the whole.
    stop_percent, target_percent, size : ndarray of float64, shape (n,)
        As of ``bknb.Signal``.
    """

    either: NDArray[np.bool_]
    levels: tuple[NDArray[np.float64], ...]
    stops: tuple[NDArray[np.float64], ...]
    targets: tuple[NDArray[np.float64], ...]
    parts: tuple[NDArray[np.float64], ...]
    shares: tuple[NDArray[np.float64], ...]
    stop_percent: NDArray[np.float64]
    target_percent: NDArray[np.float64]
    size: NDArray[np.float64]


def _is_no_percent(percent: float, falls: bool) -> bool:  # noqa: FBT001 -- compiled, no keywords
    """Whether a number is no distance of a level; ``percent_levels.percent_fault``."""
    return not (0 < percent < np.inf) or (falls and percent >= 100)


def _broken_stop_percent(side: int, entry: float, has_price: bool, percent: float, rules: Any) -> int:  # noqa: FBT001
    """The broken rules on a stop in percent, a bit for each; ``percent_levels.broken_percents``."""
    if np.isnan(percent):
        return 0
    broken = 1 if has_price or entry == 0 else 0
    if _is_no_percent(percent, side > 0):
        return broken | 2
    if not 0 < entry < np.inf:
        return broken
    if percent < rules.least_stop:
        return broken | 4
    return broken | (6 if percent > rules.most_stop else 0)


def _broken_target_percent(side: int, entry: float, has_price: bool, percent: float, rules: Any) -> int:  # noqa: FBT001
    """The broken rules on a target in percent, a bit for each; ``percent_levels.broken_percents``."""
    if np.isnan(percent):
        return 0
    broken = 1 if has_price or entry == 0 else 0
    if _is_no_percent(percent, side < 0):
        return broken | 2
    if not 0 < entry < np.inf:
        return broken
    if percent < rules.least_target:
        broken |= 4
    away = 100 + percent if side > 0 else 100 - percent
    return broken | (8 if net(side, 100.0, away, rules.slippage, rules.fee) <= 0 else 0)


def _broken_parts(orders: Any, row: int, count: int) -> bool:
    """Whether an entry ladder cannot be read; ``entry_ladder.read_entry_ladder``."""
    total = 0.0
    for k in range(count):
        share = orders.shares[k][row]
        if not -np.inf < orders.parts[k][row] < np.inf or not DUST < share <= 1 + DUST:
            return True
        total += share
    return total > 1 + DUST


def parts_of(orders: Any, row: int) -> int:
    """How many parts the entry of a row has."""
    count = 0
    for k in range(len(orders.parts)):
        if not np.isnan(orders.parts[k][row]):
            count += 1
    return count


def _broken_row(
    rows: Any, orders: Any, row: int, side: int, kind: int, price: float, level: float, stop: float, target: float,
    book: Any, prices: Any, shares: Any, count: int, has_ladder: bool, parts: int, rules: Any,  # noqa: FBT001
) -> int:  # fmt: skip
    """The rules that an order breaks, or any part of it, as a number that stands for the set; 0 for none."""
    stop_percent, target_percent, size = orders.stop_percent[row], orders.target_percent[row], orders.size[row]
    found = 0
    for k in range(max(parts, 1)):
        if k > 0:
            level = orders.parts[k][row]
        broken = broken_declared(side, kind, price, target, stop, rows.minutes[row], level, book, prices, shares,
                                 count, has_ladder, rules)  # fmt: skip
        if broken in (1, _LADDER):
            return broken
        if parts and k == 0 and _broken_parts(orders, row, parts):
            return _PARTS
        entry = price if np.isnan(level) else level
        broken |= _broken_stop_percent(side, entry, not np.isnan(stop), stop_percent, rules) << 26
        broken |= _broken_target_percent(side, entry, count > 0, target_percent, rules) << 29
        if not np.isnan(size) and not 0 < size < np.inf:
            broken |= 1 << 33
        if k == 0:
            found = broken
            continue
        of_level = broken >> 12 & 255 if broken >> 7 & 3 == 0 else 255  # of one that is no price there is no other
        found |= (broken & ~(3 << 7 | 255 << 12)) | of_level << (26 + _PER_PART * k)
    for k in range(1, parts):  # how many there are decides which of their rules comes first
        found |= (1 if found else 0) << (25 + _PER_PART * k)
    return found


def order_of(
    rows: Any, orders: Any, exits: Any, row: int, side: int, price: float, order: Any, book: Any,
    prices: Any, shares: Any, rules: Any,
) -> int:  # fmt: skip
    """Copy what a row orders on one side; returns the rules it breaks, as a number, 0 for none."""
    target, stop, level = rows.target[row], rows.stop[row], rows.level[row]
    parts = 0
    if orders.either[row]:
        of = 0 if side > 0 else 1
        target, stop, level = orders.targets[of][row], orders.stops[of][row], orders.levels[of][row]
    else:
        parts = parts_of(orders, row)
        if parts:
            level = orders.parts[0][row]
    kind = STOP_ENTRY if rows.stop_entry[row] else MARKET_ORDER if np.isnan(level) else LIMIT
    count, has_ladder = declare(exits, row, target, book, prices, shares)
    broken = _broken_row(rows, orders, row, side, kind, price, level, stop, target, book, prices, shares, count,
                         has_ladder, parts, rules)  # fmt: skip
    if broken:
        return broken
    entry = price if kind == MARKET_ORDER else level
    if count:
        target = prices[count - 1]
    at_once = not rules.fills_at_open and reached(side, kind, price, level)
    if not np.isnan(orders.target_percent[row]):
        target = percent_level(entry, side, orders.target_percent[row], book)
    if not np.isnan(orders.stop_percent[row]):
        stop = percent_level(entry, -side, orders.stop_percent[row], book)
        if kind == STOP_ENTRY and not at_once:
            stop = np.nan  # it lies on the way to the entry, and is there once that has filled
    order[ORDER_SIDE], order[ORDER_KIND], order[ORDER_LEVEL] = side, kind, entry
    order[ORDER_STOP], order[ORDER_TARGET] = stop, target
    order[WAITS], order[DONE], order[DOUBT] = 1, AT_OPEN if at_once else RESTS, 0
    return 0


def part_of_equity(orders: Any, row: int) -> float:
    """The part of the equity that the first fill of a row opens with, as it says; NaN: it says nothing."""
    size = orders.size[row]
    if orders.either[row] or np.isnan(orders.parts[0][row]):
        return float(size)
    share = orders.shares[0][row]
    return float(share if np.isnan(size) else size * share)


def size_of(orders: Any, row: int) -> float:
    """What the size of the run is multiplied by for the first fill of a row."""
    part = part_of_equity(orders, row)
    return 1.0 if np.isnan(part) else part


PIECES: Final = (
    _is_no_percent, _broken_stop_percent, _broken_target_percent, _broken_parts, parts_of, _broken_row, order_of,
    part_of_equity, size_of,
)  # fmt: skip
"""What is compiled beside a loop of such rows."""
