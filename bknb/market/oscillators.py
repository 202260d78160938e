"""Oscillators that ``bknb.indicators`` offers beside ``rsi``, ``macd`` and ``adx``: arrays in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .indicator_arithmetic import copied_windows, floats, length_of, of_windows, one_before, ratio, wilder, window_sum
from .indicator_formulas import ema, highest, lowest, rsi, sma, true_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Stochastic(NamedTuple):
    """Where a value lies between the lowest and the highest, 0 to 100, and its average; each of shape (n,)."""

    k: Floats
    d: Floats


class Aroon(NamedTuple):
    """How long ago the lowest low and the highest high were, 100 for now and 0 for ``length`` candles; shape (n,)."""

    down: Floats
    up: Floats


def mom(values: ArrayLike, length: int) -> Floats:
    """Momentum: value - value ``length`` before, in the unit of the values.

    Examples
    --------
    >>> mom([1.0, 4.0], 1).tolist()
    [nan, 3.0]
    """
    values, length = floats(values), length_of(length)
    found = np.full(len(values), np.nan)
    found[length:] = values[length:] - values[:-length]
    return found


def cmo(values: ArrayLike, length: int = 14) -> Floats:
    """Chande momentum oscillator, -100 to 100: 100 * (gain - loss) / (gain + loss), Wilder's averages.

    0 where nothing moved. T. Chande and S. Kroll, *The New Technical Trader* (1994), whose averages are plain sums;
    these are as TA-Lib's.

    Examples
    --------
    >>> cmo([1.0, 2.0, 1.0, 2.0], 2).tolist()
    [nan, nan, 0.0, 50.0]
    """
    change = np.diff(floats(values), prepend=np.nan)
    gain, loss = wilder(np.maximum(change, 0.0), length), wilder(np.maximum(-change, 0.0), length)
    return ratio(100 * (gain - loss), gain + loss)


def cci(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 20) -> Floats:
    """Commodity channel index: how far the typical price is from its average, in 0.015 mean deviations.

    0 where it is still. D. Lambert, *Commodities* (October 1980).

    Examples
    --------
    >>> cci([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 3).round(6).tolist()
    [nan, nan, 100.0]
    """

    def made(windows: Floats) -> Floats:
        middle = windows.mean(axis=1)
        reach = np.abs(windows - middle[:, None]).mean(axis=1)
        return ratio(windows[:, -1] - middle, 0.015 * reach)

    return copied_windows((floats(high) + floats(low) + floats(close)) / 3, length, made)


def stoch(
    high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14, smooth: int = 3, signal: int = 3
) -> Stochastic:
    """Stochastic oscillator, 0 to 100: ``k`` :func:`sma` of the place of the close in the range, ``d`` that of ``k``.

    The place is 100 * (close - lowest) / (highest - lowest) of ``length`` candles, 0 where they are the same. G. Lane.

    Examples
    --------
    >>> lines = stoch([2.0, 4.0], [1.0, 2.0], [2.0, 3.0], 1, 1, 2)
    >>> lines.k.tolist(), lines.d.tolist()
    ([nan, 50.0], [nan, 75.0])
    """
    return _smoothed(_place(floats(close), highest(high, length), lowest(low, length)), smooth, signal)


def stochrsi(values: ArrayLike, length: int = 14, window: int = 14, signal: int = 3) -> Stochastic:
    """Stochastic of the :func:`rsi`, 0 to 100: ``k`` its place in its range of ``window`` values, ``d`` its average.

    T. Chande and S. Kroll (1994). ``k`` is not smoothed.

    Examples
    --------
    >>> stochrsi([1.0, 2.0, 1.0, 2.0, 3.0], 2, 2, 1).k.tolist()
    [nan, nan, nan, 100.0, 100.0]
    """
    strength = rsi(values, length)
    return _smoothed(_place(strength, highest(strength, window), lowest(strength, window)), 1, signal)


def willr(high: ArrayLike, low: ArrayLike, close: ArrayLike, length: int = 14) -> Floats:
    """Williams %R, -100 to 0: 100 * (close - highest) / (highest - lowest) of ``length`` candles.

    0 where they are the same. L. Williams (1973).

    Examples
    --------
    >>> willr([2.0, 4.0], [1.0, 2.0], [2.0, 3.25], 2).tolist()
    [nan, -25.0]
    """
    top, bottom = highest(high, length), lowest(low, length)
    return ratio(100 * (floats(close) - top), top - bottom)


def mfi(high: ArrayLike, low: ArrayLike, close: ArrayLike, volume: ArrayLike, length: int = 14) -> Floats:
    """Money flow index, 0 to 100: share of typical price * volume of ``length`` candles in those that rose.

    TA-Lib gives 0 where these sums are below 1, as for small volumes of dear coins; this does not. G. Quong and
    A. Soudack (1989).

    Examples
    --------
    >>> mfi([1.0, 2.0, 1.0], [1.0, 2.0, 1.0], [1.0, 2.0, 1.0], [1.0, 3.0, 2.0], 2).tolist()
    [nan, nan, 75.0]
    """
    typical = (floats(high) + floats(low) + floats(close)) / 3
    flow, change = typical * floats(volume), np.diff(typical, prepend=np.nan)
    rising, falling = (
        np.where(np.isnan(change), np.nan, np.where(side, flow, 0.0)) for side in (change > 0, change < 0)
    )
    up, down = window_sum(rising, length), window_sum(falling, length)
    return ratio(100 * up, up + down)


def aroon(high: ArrayLike, low: ArrayLike, length: int = 14) -> Aroon:
    """Aroon, 0 to 100: 100 * (1 - candles since the highest high, or the lowest low, / ``length``).

    Of ``length`` + 1 candles. Of equal ones the newest counts. T. Chande (1995).

    Examples
    --------
    >>> lines = aroon([3.0, 2.0, 1.0], [3.0, 2.0, 1.0], 2)
    >>> lines.down.tolist(), lines.up.tolist()
    ([nan, nan, 100.0], [nan, nan, 0.0])
    """
    length = length_of(length)

    def since(values: Floats) -> Floats:
        return of_windows(values, length + 1, lambda windows: windows[:, ::-1].argmax(axis=1).astype(np.float64))

    return Aroon(*(100 * (length - since(values)) / length for values in (-floats(low), floats(high))))


def ppo(values: ArrayLike, fast: int = 12, slow: int = 26) -> Floats:
    """Percentage price oscillator: 100 * (:func:`ema` fast - :func:`ema` slow) / :func:`ema` slow. G. Appel.

    Examples
    --------
    >>> ppo([1.0, 3.0], fast=1, slow=2).tolist()
    [nan, 50.0]
    """
    fast, slow = sorted((length_of(fast), length_of(slow)))
    average = ema(values, slow)
    return ratio(100 * (ema(values, fast) - average), average)


def trix(values: ArrayLike, length: int = 15) -> Floats:
    """Change in percent of an :func:`ema` of an :func:`ema` of an :func:`ema`, from candle to candle. J. Hutson (1983).

    Examples
    --------
    >>> trix([1.0, 2.0, 3.0], 1).tolist()
    [nan, 100.0, 50.0]
    """
    slow = ema(ema(ema(values, length), length), length)
    before = one_before(slow)
    return ratio(100 * (slow - before), before)


def ultosc(
    high: ArrayLike, low: ArrayLike, close: ArrayLike, short: int = 7, middle: int = 14, long: int = 28
) -> Floats:
    """Ultimate oscillator, 0 to 100: buying pressure / true range of three lengths, the shortest counting 4, 2 and 1.

    Buying pressure is close - the lower of the low and the close before. L. Williams (1976).

    Examples
    --------
    >>> ultosc([2.0, 4.0], [1.0, 2.0], [2.0, 3.0], 1, 1, 1).tolist()
    [nan, 50.0]
    """
    closes = floats(close)
    pressure = closes - np.minimum(floats(low), one_before(closes))
    pressure[:1] = np.nan
    ranges = true_range(high, low, close)
    lengths = sorted(map(length_of, (short, middle, long)))
    first, second, third = (ratio(window_sum(pressure, n), window_sum(ranges, n)) for n in lengths)
    return 100 * (4.0 * first + 2.0 * second + third) / 7.0


def bop(open: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Floats:  # noqa: A002 -- a column
    """Balance of power, -1 to 1: (close - open) / (high - low) of each candle; 0 where it is still. I. Livshin (2001).

    Examples
    --------
    >>> bop([1.0], [3.0], [1.0], [2.0]).tolist()
    [0.5]
    """
    return ratio(floats(close) - floats(open), floats(high) - floats(low))


def obv_change(close: ArrayLike, volume: ArrayLike, length: int) -> Floats:
    """On-balance volume, its change over ``length`` candles: volumes of candles that closed higher - those lower.

    The sum since the beginning, on-balance volume itself, depends on where the data begin. J. Granville (1963).

    Examples
    --------
    >>> obv_change([1.0, 2.0, 1.5], [9.0, 5.0, 2.0], 2).tolist()
    [nan, nan, 3.0]
    """
    return window_sum(np.sign(np.diff(floats(close), prepend=np.nan)) * floats(volume), length)


def cmf(high: ArrayLike, low: ArrayLike, close: ArrayLike, volume: ArrayLike, length: int = 20) -> Floats:
    """Chaikin money flow, -1 to 1: volumes, each times where its close lies between low (-1) and high (1), / their sum.

    A still candle counts as 0. It is the change of accumulation / distribution over ``length`` candles. M. Chaikin.

    Examples
    --------
    >>> cmf([2.0, 4.0], [1.0, 2.0], [2.0, 2.5], [1.0, 3.0], 2).tolist()
    [nan, -0.125]
    """
    highs, lows, closes, volumes = map(floats, (high, low, close, volume))
    place = ratio(2 * closes - highs - lows, highs - lows)
    return ratio(window_sum(place * volumes, length), window_sum(volumes, length))


def _place(values: Floats, top: Floats, bottom: Floats) -> Floats:
    return ratio(100 * (values - bottom), top - bottom)


def _smoothed(place: Floats, smooth: int, signal: int) -> Stochastic:
    k = sma(place, smooth)
    d = sma(k, signal)
    return Stochastic(np.where(np.isnan(d), np.nan, k), d)
