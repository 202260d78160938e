"""Values that no market can have: candles that hold one are refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..errors import BadCandle
from .prices_at_or_below_zero_refused import ABOVE_ZERO, at_or_below_zero

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .candles import Candles
    from .candles_repaired_or_refused import CandleRequest

# Sources that keep prices as 32-bit or decimal text may be off in the last digits.
_RELATIVE_TOLERANCE = 1e-9
_PIECE: Final = 8_192  # candles looked at together: they stay in the cache of the processor


def check_values(candles: Candles, asked: CandleRequest, *, negative: bool = False) -> tuple[float, float] | None:
    """Raise ``BadCandle`` for values no market can have; else the lowest and the highest price, where they are known.

    Numbers must be finite, prices above 0 unless they may be ``negative``, the volume not negative, and high and low
    must enclose open and close (to a relative 1e-9).

    Raises
    ------
    BadCandle
        For the first candle that breaks a rule.
    """
    lowest, highest, known = math.inf, -math.inf, len(candles) > 0
    for at in range(0, len(candles), _PIECE):
        part = candles[at : at + _PIECE]
        low, high = _enclosing(part, negative=negative) or (math.nan, math.nan)
        if low == low:
            lowest, highest = min(lowest, low), max(highest, high)
            continue
        known = False
        if any(broken.any() for broken, _ in broken_values(part, negative=negative)):
            for broken, rule in broken_values(candles, negative=negative):
                refuse(broken, candles, asked, rule)
    return (lowest, highest) if known else None


def _enclosing(candles: Candles, *, negative: bool) -> tuple[float, float] | None:
    """The lowest low and the highest high where no value breaks a rule for sure, as is usual; ``None``: one may.

    Comparisons with a number that is none are false, so that all of them are finite.
    """
    open_, high, low, close, volume = values_of(candles)
    lowest, highest, least, most = float(low.min()), float(high.max()), float(volume.min()), float(volume.max())
    if not ((lowest > 0 or (negative and lowest > -math.inf)) and highest < math.inf and 0 <= least <= most < math.inf):
        return None
    encloses = (low <= np.minimum(open_, close)).all() and (np.maximum(open_, close) <= high).all()
    return (lowest, highest) if encloses else None


def broken_values(candles: Candles, *, negative: bool) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """The rules of ``check_values``: which candles break each, shape (n,), and its text."""
    open_, high, low, close, volume = values_of(candles)
    finite = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close) & np.isfinite(volume)
    yield ~finite, "every value must be a finite number"
    if not negative:
        yield at_or_below_zero(open_, close, high, low), ABOVE_ZERO
    yield volume < 0, "the volume must not be negative"
    yield high < low, "high must not be below low"
    if negative:
        most, least = np.maximum(open_, close), np.minimum(open_, close)
        too_low = high + np.abs(high) * _RELATIVE_TOLERANCE < most
        too_high = low > least + np.abs(least) * _RELATIVE_TOLERANCE
    else:
        slack = 1 + _RELATIVE_TOLERANCE
        too_low, too_high = high * slack < np.maximum(open_, close), low > np.minimum(open_, close) * slack
    yield too_low, "high must not be below open or close"
    yield too_high, "low must not be above open or close"


def refuse(broken: NDArray[np.bool_], candles: Candles, asked: CandleRequest, rule: str) -> None:
    """Raise ``BadCandle`` for the first candle that breaks a rule, where one does."""
    if not broken.any():
        return
    at, others = int(np.argmax(broken)), int(np.count_nonzero(broken)) - 1
    also = f" ({others} more like it)" if others else ""
    raise BadCandle(
        f"{asked}: {describe(candles, at)}\n{rule}{also}; correct the data at its source",
        open_time=int(candles.timestamp[at]),
    )


def describe(candles: Candles, at: int) -> str:
    """One candle as text, for a message."""
    moment = utc_text(int(candles.timestamp[at]))
    names = ("open", "high", "low", "close", "volume")
    values = (f"{name} {float(column[at]):.12g}" for name, column in zip(names, values_of(candles), strict=True))
    return f"the candle of {moment} ({', '.join(values)})"


def values_of(candles: Candles) -> tuple[NDArray[np.float64], ...]:
    """Open, high, low, close and volume, each of shape (n,)."""
    return candles.open, candles.high, candles.low, candles.close, candles.volume
