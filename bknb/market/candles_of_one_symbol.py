"""The candles of one symbol and interval that a run holds in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ..domain.interval import MINUTE_MS
from .bar_slots import BarTimes, bar_close
from .candles import Candles
from .vwap import average_prices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles_in_mapped_files import CandleFiles
    from .indicator_values_in_run import OfSeries
    from .shifted_bar_grid import BarGrid

_BYTES_PER_CANDLE: Final = 7 * 8  # six columns, and an average price


class Series:
    """Candles of one symbol and interval in memory: ``since`` and ``until`` are the requested range (UTC ms).

    ``grid`` says where they open, where that is not at multiples of their interval.
    """

    __slots__ = (
        "_asked",
        "_closes",
        "averages",
        "candles",
        "files",
        "grid",
        "indicators",
        "regular",
        "since",
        "span",
        "start",
        "step",
        "until",
    )

    def __init__(
        self,
        candles: Candles,
        *,
        step: int,
        since: int,
        until: int,
        span: int | None = None,
        grid: BarGrid | None = None,
    ) -> None:
        times = candles.timestamp
        self.span = len(candles) if span is None else span  # how many were asked for at first; a live run holds as many
        self.averages: NDArray[np.float64] | None = None  # computed by average_prices
        self.files: CandleFiles | None = None  # where its candles are in a file
        self.indicators: OfSeries | None = None  # made of its candles
        self._asked = False  # for one average price
        self.candles = candles
        self.step = step
        self.since = since
        self.until = until
        self.start = int(times[0]) if len(times) else since
        self.regular = grid is None and (not len(times) or int(times[-1]) == self.start + (len(times) - 1) * step)
        self.grid = grid
        self._closes = None if grid is None else grid.ends(times, step)

    def with_candles(self, candles: Candles, *, since: int, until: int) -> Series:
        """The same series over another range, of which these are the candles."""
        return Series(candles, step=self.step, since=since, until=until, span=self.span, grid=self.grid)

    def over(self, since: int) -> Series:
        """The same candles, with what was made of them, where none is before them from ``since`` (UTC ms) on."""
        series = self.with_candles(self.candles, since=since, until=self.until)
        series.averages, series.indicators = self.averages, self.indicators
        return series

    def reaches_further(self, other: Series) -> bool:
        """Whether it begins before another one of the same candles, or ends after it."""
        return self.since < other.since or self.until > other.until

    def keep_in(self, files: CandleFiles) -> None:
        """Keep its candles, and the average prices of them, in files where there are many."""
        self.candles, self.files = files.kept(self.candles), files
        if self.averages is not None:
            self.averages = files.put(self.averages)

    @property
    def candle_bytes(self) -> int:
        """The memory its candles and average prices take, bytes."""
        return _BYTES_PER_CANDLE * len(self.candles)

    def average_prices(self, count: int) -> NDArray[np.float64]:
        """For each candle the price of the ``count`` candles that end with it, as ``prices_of``; computed once."""
        if self.averages is None:
            found = prices_of(self.candles, self.step, count)
            self.averages = found if self.files is None else self.files.put(found)
        return self.averages

    def average_price(self, last: int, count: int) -> float:
        """The price of the ``count`` candles that end with the ``last``-th, counted from 1.

        The first one is worked out alone; from the second on all are, as a backtest asks for thousands of them.
        """
        if self.averages is None and not self._asked:
            self._asked = True
            return float(prices_of(self.candles[last - count : last], self.step, count)[-1])
        return float(self.average_prices(count)[last - 1])

    @property
    def closes(self) -> NDArray[np.int64]:
        """When each candle closes, UTC ms: of one at the end of a session that ends earlier, with that."""
        return self.candles.timestamp + self.step if self._closes is None else self._closes

    def place_of_close(self, when: int, *, side: Literal["left", "right"] = "right") -> int:
        """The place of a moment (UTC ms) among its closes, as ``np.searchsorted``; not all of them are made for it."""
        if self._closes is None:
            return int(self.candles.timestamp.searchsorted(when - self.step, side))
        return int(self._closes.searchsorted(when, side))

    def closes_in(self, part: slice) -> NDArray[np.int64]:
        """When some of its candles close, UTC ms."""
        return self.candles.timestamp[part] + self.step if self._closes is None else self._closes[part]

    def close_at(self, index: int) -> int:
        """When one of its candles closes, UTC ms."""
        return int(self.candles.timestamp[index]) + self.step if self._closes is None else int(self._closes[index])

    def closed(self, when: int) -> int:
        """How many of the candles have closed at ``when``; may exceed their number where the data ends."""
        if self.regular:
            return (when - when % self.step - self.start) // self.step
        if self._closes is not None:
            return int(self._closes.searchsorted(when, side="right"))
        return int(self.candles.timestamp.searchsorted(when - self.step, side="right"))

    @property
    def times(self) -> BarTimes:
        """When its candles open and close, in memory of their own."""
        return BarTimes(self.candles.timestamp.copy(), self.step, self.grid)

    def available(self, when: int) -> int:
        """How many candles that have closed at ``when`` are here."""
        return min(self.closed(when), len(self.candles))


def prices_of(candles: Candles, step: int, count: int) -> NDArray[np.float64]:
    """For each candle the price of a moment at its end: the VWAP of ``count`` minutes, of longer bars the close.

    Examples
    --------
    >>> candles = Candles.from_rows([(0, 1.0, 4.0, 1.0, 1.0, 5.0)])
    >>> prices_of(candles, 60_000, 1).tolist(), prices_of(candles, 3_600_000, 1).tolist()
    ([2.0], [1.0])
    """
    if step > MINUTE_MS:
        return candles.close.copy()
    return average_prices(candles.high, candles.low, candles.close, candles.volume, count=count)


def end_of(candles: Candles, step: int, since: int = 0, *, grid: BarGrid | None = None) -> int:
    """When the last candle closes; ``since`` where there is none."""
    return bar_close(int(candles.timestamp[-1]), step, grid) if len(candles) else since
