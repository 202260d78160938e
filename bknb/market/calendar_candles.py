"""Candles of days, weeks and months by the calendar of a market, made of its base bars.

In a market with sessions a day is a session, also where it lies over midnight: of forex there are five a week. Weeks,
from Monday on, and months are those of the dates that sessions bear; without sessions those of UTC days. A candle is
named by the open of its first session, and has closed when its last one has.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import minute_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.ranges import Range, Ranges
from ..domain.session_days import ALWAYS_OPEN, SessionDay
from ..errors import NotEnoughData
from .candles import Candles
from .fetch_loop import fetch_now
from .session_days import WholeDays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from .series import Series
    from .sessions import Sessions
    from .window import Window

LENGTHS_MS: Final = {"1w": 7 * DAY_MS, "1M": 31 * DAY_MS}
"""The intervals that have no length of their own, with the longest they may have (ms)."""


class Part(NamedTuple):
    """A day, week or month: its sessions, ``[open, close)`` in UTC ms each."""

    spans: Ranges

    @property
    def opened(self) -> int:
        """The open of its first session, UTC ms."""
        return self.spans[0][0]

    @property
    def closed(self) -> int:
        """The close of its last session, UTC ms."""
        return self.spans[-1][1]


def parts(interval: str, sessions: Sessions | None, since: int, until: int, *, base_ms: int = MINUTE_MS) -> list[Part]:
    """The days (``"1d"``), weeks (``"1w"``) or months (``"1M"``) that have a part in ``[since, until)`` (UTC ms).

    ``base_ms`` is the length of base bars: days of which bars are as long show no session within them.

    Examples
    --------
    >>> [(part.closed - part.opened) // 86_400_000 for part in parts("1M", None, 0, 5_000_000_000)]
    [31, 28]
    """
    whole = sessions is not None and base_ms >= DAY_MS
    calendar = ALWAYS_OPEN if sessions is None else WholeDays(sessions) if whole else sessions
    margin = LENGTHS_MS.get(interval, 0)
    days = calendar.session_days(since - margin, until + margin)
    if interval == "1d":
        return [Part(day.spans) for day in days]
    found = [Part(tuple(_spans(group))) for _, group in groupby(days, key=_WEEK if interval == "1w" else _MONTH)]
    return [part for part in found if part.closed > since and part.opened < until]


def _spans(days: Iterable[SessionDay]) -> Iterable[Range]:
    return (span for day in days for span in day.spans)


_WEEK: Final[Callable[[SessionDay], tuple[int, int]]] = lambda day: day.day.isocalendar()[:2]  # noqa: E731
_MONTH: Final[Callable[[SessionDay], tuple[int, int]]] = lambda day: (day.day.year, day.day.month)  # noqa: E731


class _Made(NamedTuple):
    """Candles that were made, when each closed, of which base bars, and up to which moment nothing is to be added."""

    candles: Candles
    closes: NDArray[np.int64]
    of: Series
    until: int


def made_of(bars: Candles, given: list[Part], step: int, *, allow_gaps: bool) -> tuple[Candles, NDArray[np.int64]]:
    """Candles made of base bars, and when each closes (UTC ms).

    Open is the first bar's, close the last one's, high and low the extremes, volume the sum, added bar by bar in order.

    Parameters
    ----------
    bars
        Base bars, sorted.
    given
        What each candle is to hold: the bars that have a part in one of its sessions.
    step
        Length of a bar, ms.
    allow_gaps
        ``False``: a candle is made when all of its bars are there. ``True``: when any is.
    """
    times, rows, closes = bars.timestamp, [], []
    for part in given:
        begin, end = part.opened // step * step, -(-part.closed // step) * step
        first, last = np.searchsorted(times, [begin, end])
        if first == last:
            continue
        needed = len({slot for start, close in part.spans for slot in range(start // step, -(-close // step))})
        if not allow_gaps and int(last - first) != needed:
            continue
        mine = bars[int(first) : int(last)]
        volume = float(np.add.accumulate(mine.volume)[-1])
        prices = float(mine.open[0]), float(mine.high.max()), float(mine.low.min()), float(mine.close[-1])
        rows.append((begin, *prices, volume))
        closes.append(end)
    return Candles.from_rows(rows) if rows else Candles.empty(), np.array(closes, dtype=np.int64)


class CalendarCandles:
    """The days, weeks and months of a window, made when they are first asked for."""

    def __init__(self, window: Window, *, allow_gaps: bool) -> None:
        self._window, self._allow_gaps = window, allow_gaps
        self._made: dict[tuple[str, str], _Made] = {}

    def newest(self, symbol: str, interval: str, limit: int, when: int, *, wait: bool) -> Candles:
        """The ``limit`` newest candles that have closed at ``when`` (UTC ms).

        Raises
        ------
        NotEnoughData
            When fewer exist; the text says what is missing.
        """
        window = self._window
        known = self._made.get((symbol, interval))
        if known is None or when >= known.until or known.of is not window.known(symbol, window.base):
            window.newest(symbol, window.base, 1, when, wait=wait)  # every bar that has closed is here from now on
            known = self._remade(symbol, interval, when)
        made = known
        for count in (limit, 2 * limit + 8, 8 * limit + 60) if self._allow_gaps else (limit,):
            if int(np.searchsorted(made.closes, when, side="right")) >= limit:
                break
            since = self._begin(symbol, interval, count, when)
            if since < made.of.since:
                fetch_now(window.load(symbol, window.base, since))
                made = self._remade(symbol, interval, when)
        last = int(np.searchsorted(made.closes, when, side="right"))
        if last < limit:
            first = minute_text(made.of.start)
            raise NotEnoughData(
                f"{limit} closed {interval} candles of {symbol} were asked for at {minute_text(when)} UTC, "
                f"only {last} exist: the data of {window.source.name} begins at {first} UTC\n"
                "start the frame later or ask for fewer candles",
                available=last,
            )
        return made.candles[last - limit : last].copy()

    def _begin(self, symbol: str, interval: str, count: int, when: int) -> int:
        """The open time (UTC ms) of the first bar of the ``count``-th newest part that has closed at ``when``."""
        step, length = self._window.base_ms, LENGTHS_MS.get(interval, DAY_MS)
        since = when - (2 * count + 2) * length - 14 * DAY_MS
        given = parts(interval, self._window.sessions_of(symbol), max(since, 0), when, base_ms=step)
        closed = [part for part in given if part.closed <= when]
        begin = closed[-min(count, len(closed))].opened if closed else max(since, 0)
        return begin - begin % step

    def _remade(self, symbol: str, interval: str, when: int) -> _Made:
        """All candles of the base bars in memory, up to the first that has not closed by the end of them."""
        window = self._window
        series = window.minutes(symbol)
        sessions = window.sessions_of(symbol)
        bars, step = series.candles, series.step
        end = max(when, int(bars.timestamp[-1]) + step if len(bars) else series.since)
        given = parts(interval, sessions, series.since, end + 2 * LENGTHS_MS.get(interval, 7 * DAY_MS), base_ms=step)
        whole = [part for part in given if part.opened // step * step >= series.since]
        closed = [part for part in whole if part.closed <= end]
        candles, closes = made_of(bars, closed, step, allow_gaps=self._allow_gaps)
        until = next((part.closed for part in whole if part.closed > end), end + DAY_MS)
        made = self._made[symbol, interval] = _Made(candles, closes, series, until)
        return made
