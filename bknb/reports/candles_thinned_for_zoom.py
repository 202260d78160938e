"""Candles resampled for a screen: fewer, longer bars with every highest and lowest price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import UsageError

if TYPE_CHECKING:
    from array import array

    from numpy.typing import NDArray

_MINUTES_PER_DAY: Final = DAY_MS // MINUTE_MS
_MINUTES: Final = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1080)
_DAYS: Final = (1, 2, 3, 5, 7, 14, 28, 56, 112, 224, 448)
_LADDER: Final = tuple(minutes * MINUTE_MS for minutes in (*_MINUTES, *(days * _MINUTES_PER_DAY for days in _DAYS)))
"""Lengths a bar may have; each at most twice the one before, so a screen is never less than half used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prices:
    """First, highest, lowest and last price of every step."""

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.close.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars(_Prices):
    """Candles of one length, oldest first, without empty ones.

    Attributes
    ----------
    step_ms : int
        Length of a bar.
    time_ms : ndarray of int64, shape (n,)
        Open time of each bar, UTC milliseconds, a multiple of ``step_ms``.
    open, high, low, close : ndarray of float64, shape (n,)
        First, highest, lowest and last price inside.
    """

    step_ms: int
    time_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine(_Prices):
    """Prices in the shape of candles."""

    timestamp: NDArray[np.int64]

    @classmethod
    def of(cls, times: array[float], prices: array[float]) -> PriceLine:
        """Prices of events as candles without height."""
        count = len(times)
        close = np.array(prices[:count], dtype=np.float64)
        return cls(timestamp=np.array(times[:count], dtype=np.int64), open=close, high=close, low=close, close=close)

    @classmethod
    def around(cls, candles: Any, times: array[float], prices: array[float]) -> PriceLine:
        """Candles, with the prices of events before and after them."""
        line = cls.of(times, prices)
        before = int(np.searchsorted(line.timestamp, candles.timestamp[0]))
        after = int(np.searchsorted(line.timestamp, candles.timestamp[-1], side="right"))

        def joined(name: str) -> NDArray[Any]:
            own = getattr(line, name)
            return np.concatenate((own[:before], getattr(candles, name), own[after:]))

        return cls(**{name: joined(name) for name in ("timestamp", "open", "high", "low", "close")})


_EMPTY: Final = np.empty(0)
_NONE: Final = Bars(
    step_ms=MINUTE_MS, time_ms=np.empty(0, np.int64), open=_EMPTY, high=_EMPTY, low=_EMPTY, close=_EMPTY
)


def bar_length(span_ms: int, points: int) -> int:
    """The shortest length of a bar of which at most ``points`` cover a span; UTC milliseconds.

    Examples
    --------
    >>> bar_length(60 * 60_000, 100) // 60_000, bar_length(365 * 86_400_000, 1000) // 60_000
    (1, 720)
    """
    fit = points - 2  # a window that begins and ends inside a bar touches two more
    for length in _LADDER:
        if span_ms <= length * fit:
            return length
    return -(-span_ms // (fit * _LADDER[-1])) * _LADDER[-1]


def bars(candles: Any, *, start_ms: int | None = None, end_ms: int | None = None, points: int = 1000) -> Bars:
    """At most ``points`` bars of the candles between two moments.

    Parameters
    ----------
    candles : Candles, or anything with ``timestamp`` (sorted), ``open``, ``high``, ``low`` and ``close``
    start_ms, end_ms : int or None
        First and last moment of the window, UTC milliseconds; None: that of the candles. The first and the last bar
        may reach beyond it: a bar is always whole.
    points : int
        The most bars to give, at least 3: as many as fit on the screen.

    Returns
    -------
    Bars
        The highest high and the lowest low of the window are among theirs; where every candle fits, these
        are the candles themselves.

    Raises
    ------
    UsageError
        When ``points`` is below 3.

    Examples
    --------
    >>> from bknb.market.candles import Candles
    >>> flat = [(60_000 * at, 10.0, 10.0, 10.0, 10.0, 1.0) for at in range(500)]
    >>> flat[321] = (60_000 * 321, 10.0, 99.0, 1.0, 10.0, 1.0)
    >>> found = bars(Candles.from_rows(flat), points=20)
    >>> len(found) <= 20, found.high.max(), found.low.min(), found.step_ms // 60_000
    (True, np.float64(99.0), np.float64(1.0), 30)
    """
    if points < 3:
        raise UsageError(f"bars need room for at least 3; got points={points!r}")
    times = candles.timestamp
    if not times.shape[0]:
        return _NONE
    start = int(times[0]) if start_ms is None else max(start_ms, int(times[0]))
    end = int(times[-1]) if end_ms is None else min(end_ms, int(times[-1]))
    own = int(np.diff(times).min()) if times.shape[0] > 1 else MINUTE_MS  # a hole is longer than a candle
    step = max(bar_length(max(end - start, 1), points), own)
    first = int(np.searchsorted(times, start // step * step))
    last = int(np.searchsorted(times, end // step * step + step))
    if last <= first or end < start:
        return _NONE
    window = slice(first, last)
    times = times[window]
    slots = times // step
    starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
    ends = np.append(starts[1:], times.shape[0]) - 1
    return Bars(
        step_ms=step,
        time_ms=slots[starts] * step if step > own else times[starts],
        open=candles.open[window][starts],
        high=np.maximum.reduceat(candles.high[window], starts),
        low=np.minimum.reduceat(candles.low[window], starts),
        close=candles.close[window][ends],
    )
