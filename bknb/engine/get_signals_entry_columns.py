"""Entries that rows of ``get_signals`` declare beside one: a long and a short that compete, and ladders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import UsageError
from .column_values import EITHER_SIDE, LONG_LEAVES, OF_ONE_SIDE, SHORT_LEAVES, TWO_ENTRIES, constant, numbers

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
    competes
        Whether there were columns of a long and of a short.
    """

    by_column: Mapping[str, NDArray[np.float64]]
    competes: bool

    def wanted(self, side: str) -> NDArray[np.bool_]:
        """In which rows a side has an entry of its own; shape (n,)."""
        return ~np.isnan(self.by_column[f"price_open_{side}"])

    def levels(self, side: str) -> dict[str, NDArray[np.float64]]:
        """The entry, the stop and the target of a side, as fields of a signal."""
        return {level: self.by_column[column] for level, column in zip(_LEVELS, _BY_SIDE[side], strict=True)}

    @property
    def ladders(self) -> NDArray[np.bool_]:
        """Which rows have an entry ladder; shape (n,)."""
        found: NDArray[np.bool_] = np.logical_or.reduce([~np.isnan(self.by_column[price]) for price, _ in _LADDER])
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
    return RowEntries(columns, opens[0] in given)


def with_entries(
    position: NDArray[np.int8], entries: RowEntries, columns: Mapping[str, NDArray[np.float64]], exits: RowExits | None
) -> tuple[NDArray[np.int8], dict[str, NDArray[np.float64]]]:
    """Positions of rows with entries of a long and a short, and the levels of those that have one of them alone."""
    long, short = entries.wanted("long"), entries.wanted("short")
    either = long | short
    opens, stop, target = (~np.isnan(columns[name]) for name in _LEVELS)
    if exits is not None:
        target = target | ~np.isnan(exits.targets[0])
    codes = position.copy()
    codes[either & (position == 0)] = EITHER_SIDE
    codes[either & ~short & (codes == EITHER_SIDE)] = 1
    codes[either & ~long & (codes == EITHER_SIDE)] = -1
    if exits is not None:
        codes[long & exits.leave_long], codes[short & exits.leave_short] = LONG_LEAVES, SHORT_LEAVES
    codes[either & (target | stop)] = OF_ONE_SIDE
    codes[(either & ((position != 0) | opens | entries.ladders)) | (entries.ladders & opens & (position != 0))] = (
        TWO_ENTRIES
    )
    levels = {name: columns[name].copy() for name in _LEVELS}
    for code, side in _SIDES.items():
        alone = either & (codes == code)
        for name, column in entries.levels(side).items():
            levels[name][alone] = column[alone]
    return codes, levels
