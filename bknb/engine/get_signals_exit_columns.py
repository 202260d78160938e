"""Exits that rows of ``get_signals`` declare beside one target, one stop and a deadline, and when rows leave."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.declared_exits import Breakeven, Trailing
from ..errors import UsageError
from .column_values import constant, flags, no_flags, numbers
from .get_signals_entry_columns import COLUMNS_OF_SIDES, PARTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: Final = 3  # of a ladder
_LADDER: Final = tuple((f"target_{k}", f"share_{k}") for k in range(1, LEVELS + 1))
_TARGETS: Final = tuple(price for price, _ in _LADDER)
_SHARES: Final = tuple(share for _, share in _LADDER)
_LEAVE: Final = ("exit_long", "exit_short")
_NUMBERS: Final = ("trailing_percent", "trailing_after", "breakeven_after")
EXIT_COLUMNS: Final = (*_LEAVE, *_NUMBERS, *(column for pair in _LADDER for column in pair))
"""The names of all columns of this module."""

_NEAR: Final = dict.fromkeys((*_LEAVE, *_NUMBERS), 0.8) | {name: 0.9 for pair in _LADDER for name in pair}
_OF_BOTH_SIDES: Final = re.compile(
    "(stop_percent|target_percent|size|until|bars|minute_estimated_time|stop_entry)_(long|short)"
)
_OF_SIDES: Final = dict.fromkeys(COLUMNS_OF_SIDES, 0.9)
_PERCENTS: Final = {"stop_percent": 0.93, "target_percent": 0.93}
_BY_MANAGE: Final = frozenset(
    ("add", "add_long", "add_short", "add_share", "add_price", "reduce", "reduce_long", "reduce_short", "reduce_share",
     "move", "move_stop", "move_target", "cancel", "reverse", "loosen", "only_better")
)  # fmt: skip
_BY_SIGNAL: Final = {
    "trailing_distance": "trailing_percent, a distance in percent of the best price",
    "breakeven_plus": "breakeven_after, which moves the stop to the entry plus costs",
    "trailing": "trailing_percent",
    "trailing_stop": "trailing_percent",
    "breakeven": "breakeven_after",
    "exit": "exit_long and exit_short",
    "exits": "exit_long and exit_short",
}
_LEAVES: Final = "True: a position of that side that is open is closed at the market price of that moment"


@dataclass(frozen=True, slots=True)
class RowExits:
    """Declared exits of rows, and where rows leave; one row per candle.

    Attributes
    ----------
    leave_long, leave_short : ndarray of bool, shape (n,)
        Whether a position of that side that is open is closed at the market.
    trailing_percent, trailing_after : ndarray of float64, shape (n,)
        The trailing stop of ``bknb.Trailing``, in percent; NaN: none, and at once.
    breakeven_after : ndarray of float64, shape (n,)
        The break-even stop of ``bknb.Breakeven``, in percent; NaN: none.
    targets, shares : tuple of ndarray of float64, shape (n,) each
        A ladder of ``LEVELS``: prices (quote currency) and shares of the first size; NaN prices: no level. Where a
        position is wanted, levels begin with the nearest.
    leaves : bool
        Whether there were columns that say where to leave.
    """

    leave_long: NDArray[np.bool_]
    leave_short: NDArray[np.bool_]
    trailing_percent: NDArray[np.float64]
    trailing_after: NDArray[np.float64]
    breakeven_after: NDArray[np.float64]
    targets: tuple[NDArray[np.float64], ...]
    shares: tuple[NDArray[np.float64], ...]
    leaves: bool = False

    def ladder(self, row: int) -> list[tuple[float, float]]:
        """The levels of a row as pairs of price and share."""
        pairs = zip(self.targets, self.shares, strict=True)
        return [(float(price[row]), float(share[row])) for price, share in pairs if not math.isnan(price[row])]

    def declared(self, row: int) -> dict[str, Any]:
        """What a row declares, as fields of a signal; what it does not is left out."""
        found: dict[str, Any] = {}
        percent, after = float(self.trailing_percent[row]), float(self.trailing_after[row])
        if not math.isnan(percent):
            found["trailing"] = Trailing(percent=percent, after=0.0 if math.isnan(after) else after)
        if not math.isnan(even := float(self.breakeven_after[row])):
            found["breakeven"] = Breakeven(after=even)
        return found

    def leaves_at(self, row: int, side: str) -> bool:
        """Whether a row closes a position of a side."""
        return bool((self.leave_long if side == "long" else self.leave_short)[row])

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """What rows declare by column, for comparisons."""
        found = {name: getattr(self, name) for name in _NUMBERS}
        return found | dict(zip(_TARGETS, self.targets, strict=True)) | dict(zip(_SHARES, self.shares, strict=True))


@lru_cache(maxsize=32)
def refused_column(present: tuple[str, ...], known: frozenset[str]) -> str | None:
    """Why a column that is not known cannot be an indicator that is left alone; ``None`` where all can.

    Examples
    --------
    >>> refused_column(("sma", "exit_lon"), frozenset())
    "get_signals returned a column 'exit_lon'; did you mean 'exit_long'?"
    """
    others = [column for column in present if column not in known]
    for column in others:
        if column in _BY_MANAGE:
            return (
                f"get_signals returned a column {column!r}: only manage can add, reduce, move, cancel and reverse\n"
                "columns that act on an open position: exit_long, exit_short, which close all of it; write "
                "manage(ctx, position) beside get_signals for the rest, and give an indicator another name"
            )
        if column in _BY_SIGNAL:
            return (
                f"get_signals returned a column {column!r}; columns have {_BY_SIGNAL[column]}\n"
                f"rename it, also where it is an indicator; all columns of exits: {', '.join(EXIT_COLUMNS)}"
            )
        if (ladder := re.fullmatch(r"price_open_(share_)?(\d+)", column)) is not None:
            return (
                f"get_signals returned a column {column!r}; an entry ladder has the parts open_1 to open_{PARTS}, with "
                f"open_share_1 to open_share_{PARTS}\nwrite open_{ladder[1] or ''}{ladder[2]}; give an indicator "
                "another name"
            )
        if "price_open_long" in present and (both := _OF_BOTH_SIDES.fullmatch(column)) is not None:
            return (
                f"get_signals returned a column {column!r}; {both[1]} of a row holds for its long and its short\n"
                f"write {both[1]}; of one side are {', '.join(COLUMNS_OF_SIDES)}; give an indicator another name"
            )
        if "open_1" in present and re.fullmatch(r"open_(share_)?\d+", column):
            return (
                f"get_signals returned a column {column!r}; an entry ladder has the parts open_1 to open_{PARTS}, "
                f"with open_share_1 to open_share_{PARTS}\nlonger ones can be returned by get_signal"
            )
        if re.fullmatch(r"(target|share)_\d+", column):
            return (
                f"get_signals returned a column {column!r}; a ladder has the levels target_1 to target_{LEVELS}, with "
                f"share_1 to share_{LEVELS}\nlonger ladders can be returned by get_signal"
            )
    for name, cutoff in (_OF_SIDES | {"price_open": 0.8, "stop_entry": 0.8} | _PERCENTS | _NEAR).items():
        near = [] if name in present else get_close_matches(name, others, n=1, cutoff=cutoff)
        if near:
            return f"get_signals returned a column {near[0]!r}; did you mean {name!r}?"
    return None


def read_exits(table: Any, present: Sequence[str], count: int, name: str) -> RowExits | None:
    """The exits in a table of ``count`` rows; ``None`` where it has no such column.

    Raises
    ------
    UsageError
        When columns are of no use without another one that is missing, or hold something else than they should.
    """
    given = [column for column in EXIT_COLUMNS if column in present]
    if not given:
        return None
    for column, other in [("trailing_after", "trailing_percent"), *_LADDER, *(pair[::-1] for pair in _LADDER)]:
        if column in given and other not in given:
            raise UsageError(
                f"strategy {name!r}: get_signals returned {column} and no {other}\n"
                f"give both, with NaN where there is none, or leave {column} out"
            )
    columns = {column: numbers(table[column], count, column, name) for column in given if column not in _LEAVE}
    leaves = {
        column: flags(table[column], count, column, name, meaning=_LEAVES) if column in given else no_flags(count)
        for column in _LEAVE
    }
    none = constant(math.nan, count)
    return RowExits(
        leave_long=leaves["exit_long"],
        leave_short=leaves["exit_short"],
        **{column: columns.get(column, none) for column in _NUMBERS},
        targets=tuple(columns.get(column, none) for column in _TARGETS),
        shares=tuple(columns.get(column, none) for column in _SHARES),
        leaves=any(column in given for column in _LEAVE),
    )


def sorted_ladders(exits: RowExits, position: NDArray[np.int8], rows: NDArray[np.int64]) -> RowExits:
    """The exits with the levels of some rows in order: the nearest to the entry first, missing ones last."""
    if _in_order(exits.targets, position, rows):
        return exits
    prices = np.stack([column[rows] for column in exits.targets], axis=1)
    key = np.where(position[rows] == -1, -1.0, 1.0)[:, None] * prices
    key[np.isnan(key)] = np.inf
    order = np.argsort(key, axis=1, kind="stable")
    shares = np.stack([column[rows] for column in exits.shares], axis=1)
    tables = [(exits.targets, prices), (exits.shares, shares)]
    targets, parts = (
        tuple(_changed(column, rows, values) for column, values in zip(columns, in_order.T, strict=True))
        for columns, in_order in ((of, np.take_along_axis(table, order, axis=1)) for of, table in tables)
    )
    return replace(exits, targets=targets, shares=parts)


def _in_order(targets: Sequence[NDArray[np.float64]], position: NDArray[np.int8], rows: NDArray[np.int64]) -> bool:
    """Whether the levels of some rows begin with the nearest to the entry, and none is missing before another."""
    short = position[rows] == -1
    nearer = targets[0][rows]
    for column in targets[1:]:
        farther = column[rows]
        behind = np.where(short, farther <= nearer, farther >= nearer)
        if not behind.all() and not (behind | np.isnan(farther)).all():
            return False
        nearer = farther
    return True


def _changed(column: NDArray[np.float64], rows: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    changed = column.copy()
    changed[rows] = values
    return changed
