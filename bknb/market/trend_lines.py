"""Channels and trailing lines that ``bknb.indicators`` offers.

Supertrend and parabolic SAR go on from their own last value, for ever. Here each value is that of a line that began
``memory`` candles before it, so it is made of a known number of candles; it is the line that began long ago wherever
both have turned at the same candle since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .indicator_arithmetic import floats, length_of, ratio
from .indicator_formulas import Bands, atr, ema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


class Supertrend(NamedTuple):
    """A line below a rising price or above a falling one, and 1 or -1 for which; each of shape (n,)."""

    line: Floats
    direction: Floats


def natr(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Average true range in percent of the close: 100 * :func:`atr` / close. J. Forman (2006).

    Examples
    --------
    >>> natr([3.0, 4.0, 4.0], [2.0, 3.5, 3.5], [2.5, 3.8, 4.0], 2).tolist()
    [nan, nan, 25.0]
    """
    return ratio(100 * atr(high, low, close, length), floats(close))


def keltner(
    high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 20, multiple: float = 2.0, atr_length: int = 10
) -> Bands:
    """Keltner channel: :func:`ema` of closes ± ``multiple`` * :func:`atr` of ``atr_length``. C. Keltner; L. Raschke.

    The middle of TA-Lib's is an average of typical prices.

    Examples
    --------
    >>> keltner([3.0, 4.0, 4.0], [2.0, 3.5, 3.5], [2.5, 3.8, 4.0], 2, 1.0, 2).upper.round(3).tolist()
    [nan, nan, 4.717]
    """
    middle, reach = ema(close, length), multiple * atr(high, low, close, atr_length)
    middle = np.where(np.isnan(reach), np.nan, middle)
    return Bands(middle + reach, middle, middle - reach)


def supertrend(
    high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 10, multiple: float = 3.0, memory: int = 400
) -> Supertrend:
    """Supertrend: (high + low) / 2 ∓ ``multiple`` * :func:`atr`, a line that only nears the price.

    It turns where a close crosses it. Begun ``memory`` candles before, upwards where that candle closed in its upper
    half: on random walks the same as one begun long before at all of 4 000 candles, with a memory of 200 at 99.9 % of
    them, with one of 100 at 98 %. O. Seban.

    Examples
    --------
    >>> prices = [[2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0], [1.9, 2.9, 3.9, 4.9]]
    >>> lines = supertrend(*prices, length=1, multiple=1.0, memory=2)
    >>> lines.line.round(2).tolist(), lines.direction.tolist()
    ([nan, nan, nan, 3.4], [nan, nan, nan, 1.0])
    """
    highs, lows, closes, memory = floats(high), floats(low), floats(close), length_of(memory)
    middle, reach = (highs + lows) / 2, multiple * atr(highs, lows, closes, length)
    count = len(closes) - memory
    line, direction = np.full(len(closes), np.nan), np.full(len(closes), np.nan)
    if count <= 0:
        return Supertrend(line, direction)
    below, above = (middle - reach)[:count], (middle + reach)[:count]
    up = closes[:count] >= middle[:count]
    with np.errstate(invalid="ignore"):
        for at in range(1, memory + 1):
            part = slice(at, at + count)
            before, now = closes[at - 1 : at - 1 + count], closes[part]
            lower, upper = (middle - reach)[part], (middle + reach)[part]
            below = np.where((lower > below) | (before < below) | np.isnan(below), lower, below)
            above = np.where((upper < above) | (before > above) | np.isnan(above), upper, above)
            up = np.where(up, now >= below, now > above)
    known = ~np.isnan(reach[memory:]) & ~np.isnan(reach[:count])
    line[memory:] = np.where(known, np.where(up, below, above), np.nan)
    direction[memory:] = np.where(known, np.where(up, 1.0, -1.0), np.nan)
    return Supertrend(line, direction)


def psar(high: ArrayLike, low: ArrayLike, step: float = 0.02, most: float = 0.2, memory: int = 200) -> Floats:
    """Parabolic stop and reverse: a line that nears the price faster the longer a trend makes new extremes.

    ``s + f * (extreme - s)``, ``f`` from ``step`` by ``step`` up to ``most``, not within the ranges of the two newest
    candles; where the price touches it, it begins again at the extreme. Begun ``memory`` candles before, as TA-Lib
    begins it: on random walks the same as TA-Lib's at all of 4 000 candles, with a memory of 100 at 99.8 % of them.
    J. W. Wilder (1978).

    Examples
    --------
    >>> psar([2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0], memory=2).round(3).tolist()
    [nan, nan, 1.04, 2.04]
    """
    highs, lows, memory = floats(high), floats(low), length_of(memory)
    found = np.full(len(highs), np.nan)
    count = len(highs) - memory
    if count <= 0:
        return found
    up = (lows[:count] - lows[1 : 1 + count] <= 0) | (
        highs[1 : 1 + count] - highs[:count] >= lows[:count] - lows[1 : 1 + count]
    )
    stop = np.where(up, lows[:count], highs[:count])
    extreme = np.where(up, highs[1 : 1 + count], lows[1 : 1 + count])
    pace = np.full(count, step)
    for at in range(1, memory + 1):
        top, bottom = highs[at : at + count], lows[at : at + count]
        if at == 1:
            top_before, bottom_before = top, bottom
        else:
            top_before, bottom_before = highs[at - 1 : at - 1 + count], lows[at - 1 : at - 1 + count]
        stop, extreme, pace, up, given = _next_stop(
            stop, extreme, pace, up, step, most, ranges=(top, bottom, top_before, bottom_before)
        )
    found[memory:] = given
    return found


def _next_stop(
    stop: Floats, extreme: Floats, pace: Floats, up: Flags, step: float, most: float, *, ranges: tuple[Floats, ...]
) -> tuple[Floats, Floats, Floats, Flags, Floats]:
    """One candle of parabolic SARs: the next stop, extreme, pace and side, and the stop of this candle."""
    top, bottom, top_before, bottom_before = ranges
    turns = np.where(up, bottom <= stop, top >= stop)
    highest, lowest = np.maximum(top, top_before), np.minimum(bottom, bottom_before)
    turned = np.where(up, np.maximum(extreme, highest), np.minimum(extreme, lowest))
    given = np.where(turns, turned, stop)
    side = np.where(turns, ~up, up)
    further = np.where(up, top > extreme, bottom < extreme)
    reached = np.where(side, top, bottom)
    pace = np.where(turns, step, np.where(further, np.minimum(pace + step, most), pace))
    extreme = np.where(turns | further, reached, extreme)
    following = given + pace * (extreme - given)
    following = np.where(side, np.minimum(following, lowest), np.maximum(following, highest))
    return following, extreme, pace, side, given
