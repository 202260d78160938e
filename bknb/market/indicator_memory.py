"""How many candles an indicator remembers: a look-back that suffices, for the message about one that does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles
    from .indicator_formula import Formula

    Floats = NDArray[np.float64]

REMEMBERED: Final = 1e-9  # of the largest value: what candles before the look-back may change
_BEGINNINGS: Final = 40
_MARGIN: Final = 1.2


def look_back_that_suffices(formula: Formula, candles: Candles) -> tuple[int | None, str]:
    """A look-back before which no candle changes a value, found or worked out, and what to say of it.

    Values that begin at some of the candles are compared with those that began long before, row by row.
    """
    block, lookback = candles.block, formula.lookback
    rows = block.shape[1]
    length = rows - rows // 2
    if length <= max(8, lookback):
        return None, "there are too few candles to say which lookback suffices: give a longer one"
    whole = formula.of(block.copy()).values
    errors = np.zeros(length)
    for begin in np.random.default_rng(rows).integers(rows // 4, rows // 2, _BEGINNINGS, endpoint=True).tolist():
        part = formula.of(block[:, begin:].copy()).values
        errors = np.maximum(errors, differences(whole[:, begin:], part).max(axis=0)[:length])
    wrong = np.flatnonzero(errors > REMEMBERED)
    needed = max(int(wrong[-1]) + 1 if len(wrong) else 0, lookback)
    if needed <= 0.8 * length:
        count = math.ceil(_MARGIN * needed)
        return count, f"lookback={count} suffices"
    early, late = errors[length // 4 : length // 2].max(), errors[3 * length // 4 :].max()
    if not 0 < late < 0.25 * early < math.inf:
        return None, (
            "no lookback suffices: it remembers all candles since a beginning\n"
            "make it of a window, or of changes over some candles"
        )
    rate = 2 * math.log(early / late) / length
    count = math.ceil(_MARGIN * (0.75 * length + math.log(late / REMEMBERED) / rate))
    return count, f"about lookback={count} suffices"


def differences(values: Floats, others: Floats) -> Any:
    """How far values of the shape (outputs, rows) are from others, as a part of the largest of each output.

    Infinite where one of the two is NaN.
    """
    sizes = np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs(values - others) / np.where(sizes > 0, sizes, 1.0)[:, None]
    found[(values == others) | (np.isnan(values) & np.isnan(others))] = 0.0
    return np.nan_to_num(found, nan=np.inf)
