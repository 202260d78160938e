"""Whether the newest candles of two symbols, asked for one by one, are of the same times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import minute_text
from ..domain.interval import DAY_MS, EPOCH_DAY, interval_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles
    from .window import Window

_SLOTS: Final = {"1d": "days", "1w": "weeks", "1M": "months"}


class Alignment:
    """Warns once in a run when candles of two symbols that one question asked for do not belong together.

    Candles of the symbol of the run count where its strategy looks at them: those of an interval that it was asked for
    before, and of base bars where its own interval is as long.

    Parameters
    ----------
    window
        The candles of the run.
    own
        The symbol of the run.
    interval
        The length of the candles of its strategy's interval, ms.
    """

    def __init__(self, window: Window, own: str, interval: int) -> None:
        self._window, self._own, self._interval = window, own, interval
        self._when = -1
        self._asked: dict[str, tuple[str, NDArray[np.int64]]] = {}  # in this question, by interval
        self._warned = False

    def look(self, symbol: str, interval: str, candles: Candles, when: int) -> None:
        """Compare candles of another symbol, asked for at ``when`` (UTC ms), with those of the same interval before."""
        if self._warned:
            return
        if when != self._when:
            self._when, self._asked = when, {}
        times = self._comparable(symbol, interval, candles.timestamp)
        own = self._own_times(interval, when, len(times))
        beside = self._asked.get(interval) if own is None else (self._own, own)
        self._asked[interval] = (symbol, times)
        if beside is None or beside[0] == symbol:
            return
        count = min(len(times), len(beside[1]))
        here, there = times[len(times) - count :], beside[1][len(beside[1]) - count :]
        if here.tobytes() == there.tobytes():  # as np.array_equal, at a fifth of its time: each question comes here
            return
        self._warned = True
        differ = int(np.count_nonzero(here != there))
        first, second = beside[0], symbol
        self._window.warn(
            f"the {count} newest {interval} candles of {first} and {second} at {minute_text(when)} UTC are not of the "
            f"same {_SLOTS.get(interval, 'times')} ({differ} differ), so row for row they do not belong together\n"
            f"ctx.panel([{first!r}, {second!r}], {interval!r}, {count}) puts them on one calendar"
        )

    def _own_times(self, interval: str, when: int, count: int) -> NDArray[np.int64] | None:
        """The newest times of the symbol of the run, where it was asked for candles of this interval."""
        if self._window.is_by_calendar(self._own, interval):
            calendar = self._window.calendar_candles()
            if calendar.known(self._own, interval) is None:
                return None
            made = calendar.made(self._own, interval, when)
            last = made.closed(when)
            return made.days[max(0, last - count) : last]
        is_base = interval == self._window.base
        series = self._window.known(self._own, interval)
        if series is None or (is_base and interval_ms(interval) != self._interval):
            return None
        last = series.available(when)
        return self._comparable(self._own, interval, series.candles.timestamp[max(0, last - count) : last])

    def _comparable(self, symbol: str, interval: str, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """What is compared of candles that opened at some times (UTC ms): of days, weeks and months the dates.

        Markets open at other moments of the same day.
        """
        if not self._window.is_by_calendar(symbol, interval):
            return times // DAY_MS + EPOCH_DAY if interval == "1d" else times
        made = self._window.calendar_candles().made(symbol, interval, self._when)
        return made.days[np.searchsorted(made.candles.timestamp, times)]
