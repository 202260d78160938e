"""What rows of ``get_signals`` say in percent of what is paid, and how large their positions are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .column_values import constant, numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERCENT_COLUMNS: Final = ("stop_percent", "target_percent", "size")
"""The names of the columns of this module."""


@dataclass(frozen=True, slots=True)
class RowPercents:
    """Fields of ``bknb.Signal`` that rows have, one per candle; NaN: the row says nothing of it.

    Attributes
    ----------
    stop_percent, target_percent : ndarray of float64, shape (n,)
        The stop and the target, percent from the average price that is paid.
    size : ndarray of float64, shape (n,)
        What multiplies the size of the run.
    """

    stop_percent: NDArray[np.float64]
    target_percent: NDArray[np.float64]
    size: NDArray[np.float64]

    def declared(self, row: int) -> dict[str, Any]:
        """What a row declares, as fields of a signal; what it does not is left out."""
        values = {name: float(column[row]) for name, column in self.columns().items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """What rows declare by column, for comparisons."""
        return {name: getattr(self, name) for name in PERCENT_COLUMNS}


def read_percents(table: Any, present: Sequence[str], count: int, name: str) -> RowPercents | None:
    """The percentages and sizes in a table of ``count`` rows; ``None`` where it has no such column.

    Raises
    ------
    UsageError
        When a column has not one number per candle.

    Examples
    --------
    >>> read_percents({"stop_percent": [2.0, math.nan]}, ["stop_percent"], 2, "demo").declared(0)
    {'stop_percent': 2.0}
    """
    if not any(column in present for column in PERCENT_COLUMNS):
        return None
    return RowPercents(
        *(
            numbers(table[column], count, column, name) if column in present else constant(math.nan, count)
            for column in PERCENT_COLUMNS
        )
    )
