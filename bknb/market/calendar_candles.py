"""Candles of days, weeks and months by the calendar of a market, made of its base bars.

In a market with sessions a day is a session, also where it lies over midnight: of forex there are five a week. Weeks,
from Monday on, and months are those of the dates that sessions bear; without sessions those of UTC days. A candle is
named by the open of its first session, and has closed when its last one has.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.calendar_protocol import ALWAYS_OPEN, SessionDay
from ..domain.formatting import minute_text
from ..domain.interval import DAY_MS, MINUTE_MS, WEEK, WEEK_MS, ceil_to, floor_to
from ..domain.ranges import Range, Ranges
from ..errors import NotEnoughData, UsageError
from .candles import Candles
from .fetch_loop import fetch_now
from .session_days import WholeDays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from .candles_of_one_symbol import Series
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid
    from .window import Window

LENGTHS_MS: Final = {WEEK: WEEK_MS, "1M": 31 * DAY_MS}
"""The intervals that are made by the calendar of a market, with the longest they may have (ms)."""


class Part(NamedTuple):
    """A day, week or month: its sessions, ``[open, close)`` in UTC ms each.

    ``day`` is the ordinal of the date it bears: that of its session, of its Monday, or of the first of its month.
    """

    spans: Ranges
    day: int

    @property
    def opened(self) -> int:
        """The open of its first session, UTC ms."""
        return self.spans[0][0]

    @property
    def closed(self) -> int:
        """The close of its last session, UTC ms."""
        return self.spans[-1][1]

    def begin(self, step: int, grid: BarGrid | None) -> int:
        """The open of the first bar of ``step`` ms that has a part in it, UTC ms.

        ``grid`` says where bars open that do not open at multiples of their length.
        """
        return floor_to(self.opened, step) if grid is None else grid.floor(self.opened, step)

    def end(self, step: int, grid: BarGrid | None) -> int:
        """The close of the last bar of ``step`` ms that has a part in it, UTC ms."""
        return ceil_to(self.closed, step) if grid is None else grid.ceil(self.closed, step)

    def bars(self, step: int, grid: BarGrid | None) -> int:
        """How many bars of ``step`` ms have a part in one of its sessions."""
        if grid is not None:
            return sum(
                len(np.unique(grid.starts(np.arange(start, close, MINUTE_MS, dtype=np.int64), step)))
                for start, close in self.spans
            )
        count, behind = 0, 0  # bars before `behind` were counted
        for start, close in self.spans:
            first, end = max(start // step, behind), -(-close // step)
            count, behind = count + max(end - first, 0), max(end, behind)
        return count


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
        return [Part(day.spans, day.day.toordinal()) for day in days]
    groups = groupby(days, key=_WEEK if interval == "1w" else _MONTH)
    found = [Part(tuple(_spans(group)), first) for first, group in groups]
    return [part for part in found if part.closed > since and part.opened < until]


def _spans(days: Iterable[SessionDay]) -> Iterable[Range]:
    return (span for day in days for span in day.spans)


_WEEK: Final[Callable[[SessionDay], int]] = lambda day: day.day.toordinal() - day.day.weekday()  # noqa: E731
_MONTH: Final[Callable[[SessionDay], int]] = lambda day: day.day.replace(day=1).toordinal()  # noqa: E731


def running_part(window: Window, symbol: str, interval: str, when: int) -> Part | None:
    """The day, week or month that ``when`` (UTC ms) lies in; ``None`` between two of them.

    One begins with the first base bar that has a part in it, and is over when the last of them has closed.
    """
    step = window.base_ms
    given = parts(interval, window.sessions_of(symbol), when - step, when + step, base_ms=step)
    grid = window.grid_of(symbol)
    mine = [part for part in given if part.begin(step, grid) <= when < part.end(step, grid)]
    return mine[-1] if mine else None


class MadeCandles(NamedTuple):
    """Candles that were made of base bars.

    Attributes
    ----------
    candles : Candles
        Each named by the open of the first base bar that has a part in it.
    days : ndarray of int64
        The date each of them bears, see :class:`Part`.
    opens : ndarray of int64
        When the first session of each opened, UTC ms: within that bar.
    closes : ndarray of int64
        When each of them closed, UTC ms.
    begins : dict
        The open (UTC ms) of each part of the calendar, also of those without a candle, by its day.
    of : Series
        The base bars.
    until : int
        Up to which moment (UTC ms) nothing is to be added.
    """

    candles: Candles
    days: NDArray[np.int64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    begins: dict[int, int]
    of: Series
    until: int

    def closed(self, when: int) -> int:
        """How many have closed at a moment (UTC ms)."""
        return int(np.searchsorted(self.closes, when, side="right"))


def made_of(
    bars: Candles, given: list[Part], step: int, grid: BarGrid | None = None, *, allow_gaps: bool
) -> tuple[Candles, list[Part]]:
    """Candles made of base bars, and what each of them holds.

    Open is the first bar's, close the last one's, high and low the extremes, volume the sum, added bar by bar in order.

    Parameters
    ----------
    bars
        Base bars, sorted.
    given
        What each candle is to hold: the bars that have a part in one of its sessions.
    step
        Length of a bar, ms.
    grid
        Where bars open that do not open at multiples of their length.
    allow_gaps
        ``False``: a candle is made when all of its bars are there. ``True``: when any is.
    """
    times, rows, held = bars.timestamp, [], []
    begins = np.searchsorted(times, [part.begin(step, grid) for part in given])
    ends = np.searchsorted(times, [part.end(step, grid) for part in given])
    for part, first, last in zip(given, begins.tolist(), ends.tolist(), strict=True):
        if first == last or (not allow_gaps and last - first != part.bars(step, grid)):
            continue
        rows.append((part.begin(step, grid), *_joined(bars[first:last])))
        held.append(part)
    return (Candles.from_rows(rows) if rows else Candles.empty()), held


def _joined(bars: Candles) -> tuple[float, float, float, float, float]:
    """The prices and the volume of a candle made of some bars."""
    volume = float(np.add.accumulate(bars.volume)[-1])
    return float(bars.open[0]), float(bars.high.max()), float(bars.low.min()), float(bars.close[-1]), volume


def check_days(base: str, source: str) -> None:
    """Raise ``UsageError`` where base bars are longer than the days of which weeks and months are made.

    Examples
    --------
    >>> check_days("1d", "mine")
    """
    if base == WEEK:
        raise UsageError(
            f"candles of months cannot be made of the {base} bars of {source!r}: most months begin and end within a "
            "week\ntake daily bars, or look at weeks: ctx.candles('1w', 52)"
        )


class CalendarCandles:
    """The days, weeks and months of a window, made when they are first asked for."""

    def __init__(self, window: Window, *, allow_gaps: bool, waits: bool) -> None:
        self._window, self._allow_gaps, self._waits = window, allow_gaps, waits
        self._made: dict[tuple[str, str], MadeCandles] = {}

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
        made = self.made(symbol, interval, when)
        for count in self._further(limit):
            if made.closed(when) >= limit:
                break
            since = self.begin(symbol, interval, count, when)
            if since < made.of.since:
                fetch_now(window.load(symbol, window.base, since))
                made = self.made(symbol, interval, when)
        last = made.closed(when)
        if wait and self._waits and last:
            window.since(symbol, window.base, int(made.candles.timestamp[max(last - limit, 0)]), when)
            made = self.made(symbol, interval, when)  # with what was waited for
            last = made.closed(when)
        if last < limit:
            first = minute_text(made.of.start)
            raise NotEnoughData(
                f"{limit} closed {interval} candles of {symbol} were asked for at {minute_text(when)} UTC, "
                f"only {last} exist: the data of {window.source.name} begins at {first} UTC\n"
                "start the frame later or ask for fewer candles",
                available=last,
            )
        return made.candles[last - limit : last].copy()

    async def load(self, symbol: str, interval: str, count: int, when: int) -> MadeCandles:
        """All candles up to the horizon, from so early on that ``count`` have closed at ``when`` (UTC ms)."""
        window = self._window
        for further in self._further(count):
            await window.load(symbol, window.base, self.begin(symbol, interval, further, when))
            made = self.made(symbol, interval, window.horizon)
            if made.closed(when) >= count:
                break
        return made

    def _further(self, count: int) -> tuple[int, ...]:
        """How many parts of the calendar are looked at for ``count`` candles, one after the other."""
        return (count, 2 * count + 8, 8 * count + 60) if self._allow_gaps else (count,)

    def since(self, symbol: str, interval: str, since: int, when: int) -> Candles:
        """The candles that opened at or after ``since`` and have closed at ``when`` (UTC ms).

        Raises
        ------
        NotEnoughData
            When one that has closed is not here yet.
        """
        window, step, grid = self._window, self._window.base_ms, self._window.grid_of(symbol)
        begin = floor_to(max(since, 0), step) if grid is None else grid.floor(max(since, 0), step)
        series = window.known(symbol, window.base)
        if series is None or series.since > begin:
            series = fetch_now(window.load(symbol, window.base, begin))
        if self._waits or not series.available(when):
            bars = window.since(symbol, window.base, begin, when)
            if not len(bars):
                return bars
        made = self.made(symbol, interval, when)
        count = made.closed(when) - int(np.searchsorted(made.opens, since))
        return self.newest(symbol, interval, count, when, wait=True) if count > 0 else Candles.empty()

    def made(self, symbol: str, interval: str, when: int) -> MadeCandles:
        """All candles of the base bars in memory, which reach up to ``when`` (UTC ms)."""
        known = self._made.get((symbol, interval))
        if known is None or when >= known.until or known.of is not self._window.known(symbol, self._window.base):
            known = self._made[symbol, interval] = self._remade(symbol, interval, when)
        return known

    def known(self, symbol: str, interval: str) -> MadeCandles | None:
        """The candles that were made last; ``None``: none were asked for so far."""
        return self._made.get((symbol, interval))

    def begin(self, symbol: str, interval: str, count: int, when: int) -> int:
        """The open time (UTC ms) of the first bar of the ``count``-th newest part that has closed at ``when``."""
        step, length = self._window.base_ms, LENGTHS_MS.get(interval, DAY_MS)
        since = when - (2 * count + 2) * length - 14 * DAY_MS
        given = parts(interval, self._window.sessions_of(symbol), max(since, 0), when, base_ms=step)
        closed = [part for part in given if part.closed <= when]
        return floor_to(closed[-min(count, len(closed))].opened if closed else max(since, 0), step)

    def _remade(self, symbol: str, interval: str, when: int) -> MadeCandles:
        """All candles of the base bars in memory, up to the first that has not closed by the end of them."""
        window = self._window
        series = window.minutes(symbol)
        sessions = window.sessions_of(symbol)
        bars, step = series.candles, series.step
        end = max(when, series.close_at(-1) if len(bars) else series.since)
        given = parts(interval, sessions, series.since, end + 2 * LENGTHS_MS.get(interval, WEEK_MS), base_ms=step)
        grid = series.grid
        whole = [part for part in given if part.begin(step, grid) >= series.since]
        closed = [part for part in whole if part.closed <= end]
        if self._waits and len(bars):  # without gaps allowed none in which the data begins
            closed = [part for part in closed if part.begin(step, grid) >= int(bars.timestamp[0])]
        candles, held = made_of(bars, closed, step, grid, allow_gaps=self._allow_gaps)
        return MadeCandles(
            candles,
            days=np.array([part.day for part in held], dtype=np.int64),
            opens=np.array([part.opened for part in held], dtype=np.int64),
            closes=np.array([part.end(step, grid) for part in held], dtype=np.int64),
            begins={part.day: part.begin(step, grid) for part in given},
            of=series,
            until=next((part.closed for part in whole if part.closed > end), end + DAY_MS),
        )
