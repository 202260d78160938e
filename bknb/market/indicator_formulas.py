"""The formulas that ``bknb.indicators`` offers: plain functions, which start each average as TA-Lib does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .indicator_arithmetic import floats, length_of, of_windows, one_before, smoothed, wilder

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Bands(NamedTuple):
    """Three lines around a price, each of shape (n,)."""

    upper: Floats
    middle: Floats
    lower: Floats


class Macd(NamedTuple):
    """The difference of two averages, its own average, and how far it is from that; each of shape (n,)."""

    macd: Floats
    signal: Floats
    histogram: Floats


def sma(values: ArrayLike, length: int) -> Floats:
    """Simple moving average: the sum of the ``length`` newest values, divided by ``length``.

    Examples
    --------
    >>> sma([1.0, 2.0, 6.0], 3).tolist()
    [nan, nan, 3.0]
    """
    return of_windows(values, length, lambda windows: windows.mean(axis=1))


def ema(values: ArrayLike, length: int) -> Floats:
    """Exponential moving average: ``e + 2 / (length + 1) * (value - e)``, begun with the average of ``length`` values.

    Examples
    --------
    >>> ema([1.0, 2.0, 3.0, 5.0], 3).tolist()
    [nan, nan, 2.0, 3.5]
    """
    length = length_of(length)
    return smoothed(floats(values), length, 2.0 / (length + 1))


def stdev(values: ArrayLike, length: int) -> Floats:
    """Standard deviation of the ``length`` newest values, divided by ``length``, not by one less.

    Examples
    --------
    >>> stdev([1.0, 3.0], 2).tolist()
    [nan, 1.0]
    """
    return of_windows(values, length, lambda windows: windows.std(axis=1))


def highest(values: ArrayLike, length: int) -> Floats:
    """The largest of the ``length`` newest values.

    Examples
    --------
    >>> highest([1.0, 3.0, 2.0], 2).tolist()
    [nan, 3.0, 3.0]
    """
    return of_windows(values, length, lambda windows: windows.max(axis=1))


def lowest(values: ArrayLike, length: int) -> Floats:
    """The smallest of the ``length`` newest values.

    Examples
    --------
    >>> lowest([1.0, 3.0, 2.0], 2).tolist()
    [nan, 1.0, 2.0]
    """
    return of_windows(values, length, lambda windows: windows.min(axis=1))


def roc(values: ArrayLike, length: int) -> Floats:
    """Rate of change in percent: ``100 * (value / value length before - 1)``.

    Examples
    --------
    >>> roc([100.0, 150.0], 1).tolist()
    [nan, 50.0]
    """
    values, length = floats(values), length_of(length)
    found = np.full(len(values), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[length:] = 100 * (values[length:] / values[:-length] - 1)
    return found


def bbands(values: ArrayLike, length: int = 20, deviations: float = 2.0) -> Bands:
    """Bollinger bands: :func:`sma`, and ``deviations`` times :func:`stdev` above and below it.

    J. Bollinger, *Bollinger on Bollinger Bands* (2001).

    Examples
    --------
    >>> bands = bbands([1.0, 3.0], 2)
    >>> bands.upper.tolist(), bands.middle.tolist(), bands.lower.tolist()
    ([nan, 4.0], [nan, 2.0], [nan, 0.0])
    """
    middle, reach = sma(values, length), deviations * stdev(values, length)
    return Bands(middle + reach, middle, middle - reach)


def donchian(high: ArrayLike, low: ArrayLike, length: int = 20) -> Bands:
    """Donchian channel: the highest high and the lowest low of ``length`` candles, and the middle of both.

    The newest candle is one of them: compare a price with the value before it to see a breakout.

    Examples
    --------
    >>> channel = donchian([3.0, 5.0], [1.0, 2.0], 2)
    >>> channel.upper.tolist(), channel.middle.tolist(), channel.lower.tolist()
    ([nan, 5.0], [nan, 3.0], [nan, 1.0])
    """
    upper, lower = highest(high, length), lowest(low, length)
    return Bands(upper, (upper + lower) / 2, lower)


def macd(values: ArrayLike, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Moving average convergence divergence: :func:`ema` ``fast`` - :func:`ema` ``slow``, and that one's :func:`ema`.

    The fast average begins with the values that end with the first of the slow one. G. Appel, *Technical Analysis:
    Power Tools for Active Investors* (2005).

    Examples
    --------
    >>> lines = macd([1.0, 2.0, 4.0, 8.0], fast=1, slow=2, signal=2)
    >>> [line.round(3).tolist() for line in lines]
    [[nan, nan, 0.833, 1.611], [nan, nan, 0.667, 1.296], [nan, nan, 0.167, 0.315]]
    """
    values, fast, slow = floats(values), *sorted((length_of(fast), length_of(slow)))
    quick = np.full(len(values), np.nan)
    quick[slow - fast :] = ema(values[slow - fast :], fast)
    line = quick - ema(values, slow)
    average = ema(line, signal)
    line = np.where(np.isnan(average), np.nan, line)
    return Macd(line, average, line - average)


def rsi(values: ArrayLike, length: int = 14) -> Floats:
    """Relative strength index, 0 to 100: ``100 * gain / (gain + loss)``, averages of the moves up and of those down.

    Averages are Wilder's, ``a + (value - a) / length``; 0 where nothing moved. J. W. Wilder, *New Concepts in Technical
    Trading Systems* (1978).

    Examples
    --------
    >>> rsi([1.0, 2.0, 1.0, 2.0], 2).tolist()
    [nan, nan, 50.0, 75.0]
    """
    change = np.diff(floats(values), prepend=np.nan)
    gain, loss = wilder(np.maximum(change, 0.0), length), wilder(np.maximum(-change, 0.0), length)
    with np.errstate(invalid="ignore"):
        return np.where(gain + loss == 0, 0.0, 100 * gain / (gain + loss))


def true_range(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Floats:
    """True range: the largest of high - low, high - close before, and close before - low.

    J. W. Wilder (1978).

    Examples
    --------
    >>> true_range([3.0, 4.0], [2.0, 3.5], [2.5, 3.8]).tolist()
    [nan, 1.5]
    """
    highs, lows, before = floats(high), floats(low), one_before(floats(close))
    return np.maximum(highs - lows, np.maximum(np.abs(highs - before), np.abs(lows - before)))


def atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Average true range: Wilder's average of :func:`true_range`, in quote currency. J. W. Wilder (1978).

    Examples
    --------
    >>> atr([3.0, 4.0, 4.0], [2.0, 3.5, 3.5], [2.5, 3.8, 3.6], 2).tolist()
    [nan, nan, 1.0]
    """
    return wilder(true_range(high, low, close), length)


def plus_di(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Upward directional indicator, 0 to 100: 100 * moves of the high, upwards, / true ranges. J. W. Wilder (1978).

    Examples
    --------
    >>> plus_di([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], [1.0, 2.0, 3.0], 2).round(2).tolist()
    [nan, nan, 100.0]
    """
    return _directions(high, low, close, length)[0]


def minus_di(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Downward directional indicator, 0 to 100: 100 * moves of the low, downwards, / true ranges. J. W. Wilder (1978).

    Examples
    --------
    >>> minus_di([3.0, 2.0, 1.0], [2.5, 1.5, 0.5], [2.5, 1.5, 0.5], 2).round(2).tolist()
    [nan, nan, 100.0]
    """
    return _directions(high, low, close, length)[1]


def adx(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Average directional index, 0 to 100: Wilder's average of ``100 * |plus - minus| / (plus + minus)``.

    Of :func:`plus_di` and :func:`minus_di`; it says how strong a trend is, not where it goes. J. W. Wilder (1978).

    Examples
    --------
    >>> adx([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5], [1.0, 2.0, 3.0, 4.0], 2).round(2).tolist()
    [nan, nan, nan, 100.0]
    """
    plus, minus = _directions(high, low, close, length)
    both = plus + minus
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(both == 0, 0.0, 100 * np.abs(plus - minus) / both)
    return wilder(spread, length)


def _directions(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int) -> tuple[Floats, Floats]:
    """The directional indicators, with sums begun as TA-Lib does: with one move less than ``length``."""
    length = length_of(length)
    up, down = np.diff(floats(high), prepend=np.nan), -np.diff(floats(low), prepend=np.nan)
    ranges = true_range(high, low, close)
    unknown = np.isnan(ranges)
    plus = np.where(unknown, np.nan, np.where((up > down) & (up > 0), up, 0.0))
    minus = np.where(unknown, np.nan, np.where((down > up) & (down > 0), down, 0.0))
    sums = [_wilder_sum(each, length) for each in (plus, minus, ranges)]
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (np.where(sums[2] == 0, 0.0, 100 * each / sums[2]) for each in sums[:2])
    return first, second


def _wilder_sum(values: Floats, length: int) -> Floats:
    """Wilder's sum, ``s - s / length + value``, begun with the sum of its first ``length - 1`` values."""
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < length:
        return found
    first = int(known[0]) + length - 1
    total = float(values[int(known[0]) : first].sum())
    made = []
    for value in values[first:].tolist():
        total += value - total / length
        made.append(total)
    found[first:] = made
    return found
