"""The indicators of docs/indicators.md as plain loops; NaN until enough values are there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

NAN = math.nan


def ema(values: Sequence[float], length: int) -> list[float]:
    """Begun with the average of the first ``length`` values."""
    found, last = [NAN] * (length - 1), fmean(values[:length])
    found.append(last)
    for value in values[length:]:
        last += 2 / (length + 1) * (value - last)
        found.append(last)
    return found


def sma(values: Sequence[float], length: int) -> list[float]:
    """The average of the newest ``length`` values."""
    return [NAN if i + 1 < length else fmean(values[i + 1 - length : i + 1]) for i in range(len(values))]


def stdev(values: Sequence[float], length: int) -> list[float]:
    """Square root of the average of (value - average) squared, divided by ``length``."""
    found = []
    for i in range(len(values)):
        window = values[max(0, i + 1 - length) : i + 1]
        mean = fmean(window)
        found.append(NAN if i + 1 < length else math.sqrt(fmean([(value - mean) ** 2 for value in window])))
    return found


def wilder(values: Sequence[float], length: int) -> list[float]:
    """Wilder's average, begun with the plain one of the first ``length`` values."""
    found, last = [NAN] * (length - 1), fmean(values[:length])
    found.append(last)
    for value in values[length:]:
        last += (value - last) / length
        found.append(last)
    return found


def rsi(closes: Sequence[float], length: int) -> list[float]:
    """100 * gain / (gain + loss), Wilder's averages of moves up and down."""
    moves = [now - before for before, now in pairwise(closes)]
    gains = wilder([max(0.0, move) for move in moves], length)
    losses = wilder([max(0.0, -move) for move in moves], length)
    both = zip(gains, losses, strict=True)
    return [NAN, *(100 * up / (up + down) if up + down else (0.0 if up == up else NAN) for up, down in both)]


def atr(highs: Sequence[float], lows: Sequence[float], closes: Sequence[float], length: int) -> list[float]:
    """Wilder's average of the true range, which the first bar has none of."""
    ranges = [
        max(high, before) - min(low, before) for high, low, before in zip(highs[1:], lows[1:], closes, strict=False)
    ]
    return [NAN, *wilder(ranges, length)]
