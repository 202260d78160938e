"""Entries that rows of ``get_signals`` declare beside one: a long and a short that compete, and ladders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import UsageError
from .column_values import EITHER_SIDE, LONG_LEAVES, OF_ONE_SIDE, SHORT_LEAVES, TWO_ENTRIES, constant, no_flags, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .get_signals_exit_columns import RowExits

PARTS: Final = 3  # of an entry ladder
_LEVELS: Final = ("price_open", "price_stop_loss", "price_take_profit")
_LADDER: Final = tuple((f"open_{k}", f"open_share_{k}") for k in range(1, PARTS + 1))
_SIDES: Final = {1: "long", -1: "short"}
_BY_SIDE: Final = {side: tuple(f"{level}_{side}" for level in _LEVELS) for side in _SIDES.values()}
COLUMNS_OF_SIDES: Final = (*_BY_SIDE["long"], *_BY_SIDE["short"])
ENTRY_COLUMNS: Final = (*COLUMNS_OF_SIDES, *(column for pair in _LADDER for column in pair))
"""The names of all columns of this module."""


@dataclass(frozen=True, slots=True)
class RowEntries:
    """Entries of rows, one row per candle; prices in quote currency, NaN: none.

    Attributes
    ----------
    by_column : mapping of str to ndarray of float64, shape (n,)
        All of ``ENTRY_COLUMNS``.
    competes, has_parts
        Whether there were columns of a long and of a short, and of parts.
    """

    by_column: Mapping[str, NDArray[np.float64]]
    competes: bool
    has_parts: bool

    def wanted(self, side: str) -> NDArray[np.bool_]:
        """In which rows a side has an entry of its own; shape (n,)."""
        return ~np.isnan(self.by_column[f"price_open_{side}"])

    def levels(self, side: str) -> dict[str, NDArray[np.float64]]:
        """The entry, the stop and the target of a side, as fields of a signal."""
        return {level: self.by_column[column] for level, column in zip(_LEVELS, _BY_SIDE[side], strict=True)}

    @property
    def parts(self) -> dict[str, NDArray[np.float64]]:
        """The prices of the parts of entry ladders, by column."""
        return {price: self.by_column[price] for price, _ in _LADDER}

    @property
    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Their shares of the whole, by column."""
        return {share: self.by_column[share] for _, share in _LADDER}

    @property
    def ladders(self) -> NDArray[np.bool_]:
        """Which rows have an entry ladder; shape (n,)."""
        if not self.has_parts:
            return no_flags(len(self.by_column[_LADDER[0][0]]))
        found: NDArray[np.bool_] = np.logical_or.reduce([~np.isnan(column) for column in self.parts.values()])
        return found

    def ladder(self, row: int) -> list[tuple[float, float]]:
        """The parts of the entry ladder of a row, as pairs of price and share; empty: it has none."""
        pairs = ((float(self.by_column[price][row]), float(self.by_column[share][row])) for price, share in _LADDER)
        return [pair for pair in pairs if not math.isnan(pair[0])]

    def competing(self, row: int, common: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The two signals of a row, with what they have in common."""
        found = []
        for side in _SIDES.values():
            levels = {level: float(column[row]) for level, column in self.levels(side).items()}
            given = {level: None if math.isnan(value) else value for level, value in levels.items()}
            found.append({**common, "position": side, **given})
        return found


def read_entries(table: Any, present: Sequence[str], count: int, name: str) -> RowEntries | None:
    """The entries in a table of ``count`` rows; ``None`` where it has no such column.

    Raises
    ------
    UsageError
        When columns are of no use without another one that is missing, or hold something else than numbers.

    Examples
    --------
    >>> columns = {"price_open_long": [103.0, math.nan], "price_open_short": [97.0, math.nan]}
    >>> [signal["price_open"] for signal in read_entries(columns, list(columns), 2, "demo").competing(0, {})]
    [103.0, 97.0]
    """
    given = [column for column in ENTRY_COLUMNS if column in present]
    if not given:
        return None
    opens = ("price_open_long", "price_open_short")
    needs = [(column, other) for column in COLUMNS_OF_SIDES for other in opens]
    for column, other in (*needs, *_LADDER, *(pair[::-1] for pair in _LADDER)):
        if column in given and other not in given:
            raise UsageError(
                f"strategy {name!r}: get_signals returned {column} and no {other}\n"
                f"give both, with NaN where there is none, or leave {column} out; give an indicator another name"
            )
    none = constant(math.nan, count)
    columns = {
        column: numbers(table[column], count, column, name) if column in given else none for column in ENTRY_COLUMNS
    }
    return RowEntries(columns, opens[0] in given, any(price in given for price, _ in _LADDER))


def sorted_parts(entries: RowEntries, position: NDArray[np.int8], stop_entry: NDArray[np.bool_]) -> RowEntries:
    """The entries with the parts of each ladder in order: the nearest to the market first, missing ones last.

    Examples
    --------
    >>> columns = {"open_1": 98.0, "open_share_1": 0.75, "open_2": 99.0, "open_share_2": 0.25}
    >>> entries = sorted_parts(read_entries(columns, list(columns), 1, "demo"), np.ones(1, np.int8), np.zeros(1, bool))
    >>> entries.ladder(0)
    [(99.0, 0.25), (98.0, 0.75)]
    """
    if not entries.has_parts:
        return entries
    rows = np.flatnonzero((np.abs(position) == 1) & entries.ladders)
    if not len(rows):
        return entries
    prices = np.stack([column[rows] for column in entries.parts.values()], axis=1)
    down = (position[rows] < 0) == stop_entry[rows]  # the nearest limit of a long is the highest
    key = np.where(down, -1.0, 1.0)[:, None] * prices
    key[np.isnan(key)] = np.inf
    order, columns = np.argsort(key, axis=1, kind="stable"), dict(entries.by_column)
    for names in (entries.parts, entries.shares):
        values = np.take_along_axis(np.stack([column[rows] for column in names.values()], axis=1), order, axis=1)
        for name, ordered in zip(names, values.T, strict=True):
            columns[name] = columns[name].copy()
            columns[name][rows] = ordered
    return replace(entries, by_column=columns)


def with_entries(
    position: NDArray[np.int8], entries: RowEntries, columns: Mapping[str, NDArray[np.float64]], exits: RowExits | None
) -> tuple[NDArray[np.int8], dict[str, NDArray[np.float64]]]:
    """Positions of rows with entries of a long and a short, and the levels of those that have one of them alone."""
    opens, ladders = ~np.isnan(columns["price_open"]), entries.ladders
    if not entries.competes:
        both = ladders & opens & (position != 0)
        return (np.where(both, TWO_ENTRIES, position).astype(np.int8) if both.any() else position), {}
    long, short = entries.wanted("long"), entries.wanted("short")
    either = long | short
    of_both = ~(np.isnan(columns["price_take_profit"]) & np.isnan(columns["price_stop_loss"]))
    if exits is not None:
        of_both = np.logical_or.reduce([of_both, *(~np.isnan(column) for column in exits.targets)])
    codes = position.copy()
    codes[either & (position == 0)] = EITHER_SIDE
    codes[either & ~short & (codes == EITHER_SIDE)] = 1
    codes[either & ~long & (codes == EITHER_SIDE)] = -1
    if exits is not None:
        codes[long & exits.leave_long], codes[short & exits.leave_short] = LONG_LEAVES, SHORT_LEAVES
    codes[either & of_both] = OF_ONE_SIDE
    codes[(either & ((position != 0) | opens | ladders)) | (ladders & opens & (position != 0))] = TWO_ENTRIES
    levels: dict[str, NDArray[np.float64]] = {}
    for code, side in _SIDES.items():
        alone = either & (codes == code)
        if alone.any():
            for name, column in entries.levels(side).items():
                levels[name] = np.where(alone, column, levels.get(name, columns[name]))
    return codes, levels
