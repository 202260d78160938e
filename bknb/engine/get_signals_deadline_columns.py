"""Deadlines that rows of ``get_signals`` declare beside minutes: until a moment, and for a number of candles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from ..errors import UsageError
from .column_values import constant, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIMED_COLUMNS: Final = ("until", "bars")
"""The names of the columns of this module."""


@dataclass(frozen=True, slots=True)
class RowDeadlines:
    """Deadlines of rows, one per candle; they are worked out when a position opens, so kernels know none of them.

    Attributes
    ----------
    until : ndarray of object, shape (n,)
        What ``bknb.Signal`` takes as ``until``: minutes, moments, texts; ``None``: nothing.
    bars : ndarray of float64, shape (n,)
        Candles of the strategy's interval; NaN: no number.
    """

    until: NDArray[np.object_]
    bars: NDArray[np.float64]

    def declared(self, row: int) -> dict[str, Any]:
        """What a row declares, as fields of a signal; what it does not is left out."""
        found: dict[str, Any] = {}
        if not _is_missing(until := self.until[row]):
            found["until"] = until
        if not math.isnan(count := float(self.bars[row])):
            found["bars"] = count
        return found

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """What rows declare as numbers that are equal where they are, for comparisons; NaN: nothing."""
        codes = [math.nan if _is_missing(each) else float(crc32(str(each).encode())) for each in self.until]
        return {"until": np.array(codes), "bars": self.bars}


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty: ``None``, NaN, NaT or an empty text."""
    return value is None or value == "" or value != value


def read_deadlines(table: Any, present: Sequence[str], count: int, name: str) -> RowDeadlines | None:
    """The deadlines in a table of ``count`` rows; ``None`` where it has no such column. A scalar holds for all rows.

    Raises
    ------
    UsageError
        When a column has not one value per candle, or ``bars`` holds no numbers.

    Examples
    --------
    >>> read_deadlines({"until": "session_end", "bars": [math.nan, 3]}, ["until", "bars"], 2, "demo").declared(1)
    {'until': 'session_end', 'bars': 3.0}
    """
    if "until" not in present and "bars" not in present:
        return None
    until = np.full(count, None, dtype=np.object_)
    if "until" in present:
        given = table["until"]
        if isinstance(given, str) or not hasattr(given, "__len__"):
            until[:] = given
        elif len(given) != count:
            raise UsageError(
                f"strategy {name!r}: get_signals must return one row per candle, {count} rows; until has {len(given)}\n"
                "keep every row (no dropna): where nothing is to be done the position is 0"
            )
        else:
            until[:] = list(given)
    bars = numbers(table["bars"], count, "bars", name) if "bars" in present else constant(math.nan, count)
    return RowDeadlines(until, bars)
