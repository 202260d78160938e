"""The arithmetic that formulas of indicators share: averages as TA-Lib begins them, sums over windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_AT_A_TIME: Final = 2**20  # numbers of windows that are copied


def floats(values: ArrayLike) -> Floats:
    """A row of numbers as 64-bit floats."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise UsageError(f"an indicator takes one row of numbers, shape (n,), got the shape {found.shape}")
    return found


def length_of(length: int) -> int:
    """A length as a number of candles, at least 1."""
    whole = not isinstance(length, bool) and hasattr(length, "__index__")
    if not whole or length.__index__() < 1:
        raise UsageError(f"the length of an indicator is a whole number of candles, at least 1, got {length!r:.40}")
    return length.__index__()


def one_before(values: Floats) -> Floats:
    """For each value the one before it."""
    return np.concatenate([[np.nan], values[:-1]])[: len(values)]


def of_windows(values: ArrayLike, length: int, made: Callable[[Floats], Floats]) -> Floats:
    """What is made of each window, shape (windows, length), behind NaN."""
    values, length = floats(values), length_of(length)
    found = np.full(len(values), np.nan)
    if len(values) >= length:
        found[length - 1 :] = made(np.lib.stride_tricks.sliding_window_view(values, length))
    return found


def wilder(values: Floats, length: int) -> Floats:
    """Wilder's average, ``a + (value - a) / length``, begun with the plain one of its first values."""
    length = length_of(length)
    return smoothed(values, length, 1.0 / length)


def copied_windows(values: ArrayLike, length: int, made: Callable[[Floats], Floats]) -> Floats:
    """The same where ``made`` copies what it is given: of some windows at a time."""

    def in_parts(windows: Floats) -> Floats:
        rows = max(_AT_A_TIME // length, 1)
        return np.concatenate([made(windows[at : at + rows]) for at in range(0, len(windows), rows)])

    return of_windows(values, length, in_parts)


def weighted_sum(values: ArrayLike, weights: Sequence[float]) -> Floats:
    """The sum of the newest values with weights, that of the oldest first; added one after the other."""
    values, length = floats(values), len(weights)
    found = np.full(len(values), np.nan)
    if len(values) >= length:
        total = np.zeros(len(values) - length + 1)
        for at, weight in enumerate(weights):
            total += weight * values[at : len(values) - length + 1 + at]
        found[length - 1 :] = total
    return found


def window_sum(values: ArrayLike, length: int) -> Floats:
    """The sum of the ``length`` newest values."""
    return of_windows(values, length, lambda windows: windows.sum(axis=1))


def ratio(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """``part / whole``, and another number where ``whole`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole == 0, np.where(np.isnan(part), np.nan, otherwise), part / whole)


def smoothed(values: Floats, length: int, weight: float) -> Floats:
    """An exponential average that begins with the plain one of its first ``length`` values; NaN before them is left."""
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < length:
        return found
    start = int(known[0])
    first = start + length
    average = float(values[start:first].mean())
    made = [average]
    for value in values[first:].tolist():
        average += weight * (value - average)
        made.append(average)
    found[first - 1 :] = made
    return found
