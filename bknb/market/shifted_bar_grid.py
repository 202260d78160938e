"""Where bars open that do not open at multiples of their length in UTC, such as hours of a market that opens at 09:30.

With trading hours the first bar of a session opens with it, and each later one a length after the one before it; the
last one ends with the session. Without them all bars open so long after a multiple of their length.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS
from ..domain.ranges import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ..domain.ranges import Range, Ranges
    from .sessions import Sessions

_BEFORE_MS: Final = 40 * DAY_MS  # how far beside the bars sessions are listed
_BEHIND_MS: Final = 400 * DAY_MS
_KNOWN_MS: Final = (315_532_800_000, 4_102_444_800_000)  # from 1980 to 2100: a moment beyond stands for none


class BarGrid:
    """The slots of one symbol, into which time is cut for candles of any interval; all times are UTC ms.

    Slots count from each open and each close of a session, and end where the next count begins. Slots of a day or more
    are those of UTC days, or as late after them as the bars are, where one lies over midnight.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        When the bars open, ascending.
    step
        Their length, ms.
    spans
        The open spans of the market around them; empty: slots count on around the clock.

    Examples
    --------
    >>> halves = BarGrid(np.array([1_800_000, 5_400_000]), 3_600_000)
    >>> halves.floor(5_400_000 + 60_000, 3_600_000), halves.ceil(5_400_000 + 60_000, 3_600_000)
    (5400000, 9000000)
    """

    goes_on = False
    """Whether it is known for any moment, also of bars that are still to come."""

    def __init__(self, times: NDArray[np.int64], step: int, *, spans: Sequence[tuple[int, int]] = ()) -> None:
        self._times, self._step, phase = times, step, int(times[0]) % step
        self._opens = np.array([span[0] for span in spans], dtype=np.int64)
        self._closes = np.array([span[1] for span in spans], dtype=np.int64)
        self._anchors = np.unique(np.concatenate([self._opens, self._closes])) if spans else np.array([phase])
        self._listed: list[int] = self._anchors.tolist()
        over_midnight = bool((times % DAY_MS + step > DAY_MS).any())
        self._day_phase = phase if over_midnight else 0  # no bar lies over the end of a day
        self._others: dict[Sessions, BarGrid] = {}
        self._counted: dict[int, NDArray[np.int64]] = {}  # slots before each session, by their length

    @property
    def in_sessions(self) -> bool:
        """Whether slots count from the sessions of a market."""
        return bool(len(self._opens))

    @property
    def first(self) -> int:
        """When the first bar opens."""
        return int(self._times[0])

    def longest_session(self) -> int:
        """The longest time the market is open without a break from the first bar on, to the last one's close, ms."""
        spans = (self._closes - self._opens)[(self._closes > self._times[0]) & (self._opens <= self._times[-1])]
        return int(spans.max(initial=0))

    def floor(self, when: int, step: int) -> int:
        """The begin of the slot of ``step`` ms that a moment lies in."""
        first = self._anchor(when, step)
        return first + (when - first) // step * step

    def after(self, when: int, step: int) -> int:
        """The end of the slot of ``step`` ms that a moment lies in: the begin of the next one."""
        end = self.floor(when, step) + step
        if step >= DAY_MS:
            return end
        at = bisect_right(self._listed, when)
        return min(end, self._listed[at]) if at < len(self._listed) else end

    def ceil(self, when: int, step: int) -> int:
        """The first begin of a slot at or after a moment."""
        return when if self.floor(when, step) == when else self.after(when, step)

    def _anchor(self, when: int, step: int) -> int:
        if step >= DAY_MS:
            return self._day_phase
        return self._listed[max(bisect_right(self._listed, when) - 1, 0)]

    def starts(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """For each moment the begin of the slot it lies in."""
        if step >= DAY_MS:
            return times - (times - self._day_phase) % step
        first = self._anchors[np.maximum(np.searchsorted(self._anchors, times, side="right") - 1, 0)]
        begins: NDArray[np.int64] = times - (times - first) % step
        return begins

    def ends(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """For each moment the end of the slot it lies in."""
        ends = self.starts(times, step) + step
        if step >= DAY_MS:
            return ends
        at = np.searchsorted(self._anchors, times, side="right")
        following = self._anchors[np.minimum(at, len(self._anchors) - 1)]
        return np.where(at < len(self._anchors), np.minimum(ends, following), ends)

    def bars_in(self, starts: NDArray[np.int64], step: int, base: int, sessions: Sessions | None) -> NDArray[np.int64]:
        """For each slot of ``step`` ms how many bars of ``base`` ms it has while the market is open."""
        ends = self.ends(starts, step)
        if self.in_sessions:
            bars = self._bars(base)
            return np.searchsorted(bars, ends) - np.searchsorted(bars, starts)
        if sessions is None:
            return (ends - starts) // base
        each = self.starts(starts + base - 1, base)[:, None] + np.arange(0, step, base)
        counts: NDArray[np.int64] = (sessions.open_minutes(each.ravel(), base) > 0).reshape(each.shape).sum(axis=1)
        return counts

    def _bars(self, step: int) -> NDArray[np.int64]:
        """The open times of all bars of ``step`` ms that its sessions have."""
        counts = -(-(self._closes - self._opens) // step)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        opens: NDArray[np.int64] = np.repeat(self._opens, counts) + (np.arange(len(first)) - first) * step
        return opens

    def missing(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """The open times of bars that sessions have between the first and the last of some, and that are not there."""
        if not len(times):
            return times
        bars = self._bars(step)
        return np.setdiff1d(bars[(bars > times[0]) & (bars < times[-1])], times, assume_unique=True)

    def closes_between(self, after: int, until: int, step: int) -> NDArray[np.int64]:
        """When slots of ``step`` ms end in which a session has a bar, later than ``after`` and up to ``until``."""
        bars = self._bars(step)
        ends = self.ends(bars[int(np.searchsorted(bars, after - step)) : int(np.searchsorted(bars, until))], step)
        found: NDArray[np.int64] = ends[(ends > after) & (ends <= until)]
        return found

    def open_part(self, ranges: Iterable[Range], step: int) -> Ranges:
        """Of some ranges (UTC ms, ascending) the slots of ``step`` ms in which a session has a bar that opens there."""
        bars = self._bars(step)
        found: list[Range] = []
        for first, end in ranges:
            inside = bars[int(np.searchsorted(bars, first)) : int(np.searchsorted(bars, end))]
            found.extend(zip(inside.tolist(), self.ends(inside, step).tolist(), strict=True))
        return merged(found)

    def reach_back(self, when: int, step: int, count: int, sessions: Sessions | None) -> int:
        """The begin of the ``count``-th newest slot that is over at ``when``; of those in which the market is open."""
        if step >= DAY_MS or not self.in_sessions:
            last = self.floor(when, step)
            return last - count * step if sessions is None else sessions.reach_back(last, step, count) - step
        before = self._counted.get(step)
        if before is None:
            lengths = -(-(self._closes - self._opens) // step)
            before = self._counted[step] = np.concatenate([[0], np.cumsum(lengths)])
        at = max(int(np.searchsorted(self._opens, when, side="right")) - 1, 0)
        opened, close = int(self._opens[at]), int(self._closes[at])
        over = -(-(close - opened) // step) if when >= close else max((when - opened) // step, 0)
        wanted = int(before[at]) + over - count
        if wanted < 0:
            return int(self._opens[0])  # there are no bars before it
        at = int(np.searchsorted(before, wanted, side="right")) - 1
        return int(self._opens[at]) + (wanted - int(before[at])) * step

    def in_sessions_of(self, sessions: Sessions) -> BarGrid:
        """The grid of the same bars where other trading hours are declared; this one where they do not count so."""
        known = self._others.get(sessions)
        if known is None:
            known = self._others[sessions] = in_sessions_grid(self._times, self._step, sessions) or self
        return known


class OpenGrid(BarGrid):
    """The grid of bars that count from the open of each session, for any moment: see :func:`open_grid`.

    Parameters
    ----------
    sessions
        When the market is open.
    step
        The length of a bar, ms; below a day.

    Examples
    --------
    >>> from bknb.market.sessions import as_sessions
    >>> grid = OpenGrid(as_sessions("us-equities"), 3_600_000)
    >>> opened = 1_732_545_000_000  # 25 November 2024, 14:30 UTC
    >>> (grid.after(opened + 6 * 3_600_000, 3_600_000) - opened) / 3_600_000  # the last bar has half an hour
    6.5
    """

    goes_on = True

    def __init__(self, sessions: Sessions, step: int) -> None:
        self._sessions, self._length = sessions, step
        self._made: tuple[int, int, BarGrid | None] = (0, 0, None)  # from, until (UTC ms), and what counts between

    def _over(self, first: int, end: int) -> BarGrid:
        """A grid that is right between two moments (UTC ms), and wherever one was before it."""
        since, until, made = self._made
        if made is not None and since <= first and end <= until:
            return made
        asked = [moment for moment in (first, end) if _KNOWN_MS[0] <= moment < _KNOWN_MS[1]]
        if made is None:
            if not asked:
                return BarGrid(np.zeros(1, dtype=np.int64), self._length)
            since, until = min(asked), max(asked)
        elif all(since <= moment <= until for moment in asked):
            return made
        return self._extended(min(since, *asked) - _BEHIND_MS, max(until, *asked) + _BEHIND_MS)

    def _extended(self, since: int, until: int) -> BarGrid:
        spans = self._sessions.known_ranges(since - _BEFORE_MS, until + _BEFORE_MS)
        bars = BarGrid(np.array([since]), self._length, spans=spans)._bars(self._length)
        made = BarGrid(bars if len(bars) else np.array([since]), self._length, spans=spans)
        self._made = since, until, made  # in one step: several threads may ask
        return made

    @property
    def in_sessions(self) -> bool:
        """Whether slots count from the sessions of a market: they do."""
        return True

    @property
    def first(self) -> int:
        """When the first bar opens: it is not known that there is none before a moment."""
        return 0

    def floor(self, when: int, step: int) -> int:
        """The begin of the slot of ``step`` ms that a moment lies in."""
        return self._over(when, when).floor(when, step)

    def after(self, when: int, step: int) -> int:
        """The end of the slot of ``step`` ms that a moment lies in: the begin of the next one."""
        return self._over(when, when).after(when, step)

    def starts(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """For each moment the begin of the slot it lies in."""
        return self._of(times).starts(times, step)

    def ends(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """For each moment the end of the slot it lies in."""
        return self._of(times).ends(times, step)

    def bars_in(self, starts: NDArray[np.int64], step: int, base: int, sessions: Sessions | None) -> NDArray[np.int64]:
        """For each slot of ``step`` ms how many bars of ``base`` ms it has while the market is open."""
        return self._of(starts).bars_in(starts, step, base, sessions)

    def missing(self, times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """The open times of bars that sessions have between the first and the last of some, and that are not there."""
        return self._of(times).missing(times, step)

    def closes_between(self, after: int, until: int, step: int) -> NDArray[np.int64]:
        """When slots of ``step`` ms end in which a session has a bar, later than ``after`` and up to ``until``."""
        return self._over(after - step, until).closes_between(after, until, step)

    def open_part(self, ranges: Iterable[Range], step: int) -> Ranges:
        """Of some ranges (UTC ms, ascending) the slots of ``step`` ms in which a session has a bar that opens there."""
        given = tuple(ranges)
        return self._over(given[0][0], given[-1][1]).open_part(given, step) if given else ()

    def reach_back(self, when: int, step: int, count: int, sessions: Sessions | None) -> int:
        """The begin of the ``count``-th newest slot that is over at ``when``; of those in which the market is open."""
        days = 2 * count * step // DAY_MS + 40
        while True:
            grid = self._over(when - days * DAY_MS, when)
            found = grid.reach_back(when, step, count, sessions)
            if found > grid.first or days > 4000 + 40 * count * step // DAY_MS:
                return found
            days *= 4

    def in_sessions_of(self, sessions: Sessions) -> BarGrid:
        """The grid of the same bars where other trading hours are declared."""
        return open_grid(sessions, self._length)

    def _of(self, times: NDArray[np.int64]) -> BarGrid:
        if not len(times):
            return self._over(*self._made[:2])
        return self._over(int(times.min()), int(times.max()))


@lru_cache(maxsize=64)
def open_grid(sessions: Sessions, step: int) -> OpenGrid:
    """The grid of bars of ``step`` ms that count from the open of each session, the last one up to its close."""
    return OpenGrid(sessions, step)


def in_sessions_grid(times: NDArray[np.int64], step: int, sessions: Sessions) -> BarGrid | None:
    """The grid that counts from the sessions of a market; ``None`` where bars (open times, UTC ms) do not lie on it."""
    spans = sessions.known_ranges(int(times[0]) - _BEFORE_MS, int(times[-1]) + _BEHIND_MS)
    if not spans:
        return None
    grid = BarGrid(times, step, spans=spans)
    return grid if bool((grid.starts(times, step) == times).all()) else None


def bar_grid(times: NDArray[np.int64], step: int, sessions: Sessions | None) -> BarGrid | None:
    """The grid on which bars lie that do not open at multiples of their length; ``None``: they lie on none.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, ascending, UTC ms.
    step
        Their length, ms; below a day.
    sessions
        When the market is open.

    Examples
    --------
    >>> bar_grid(np.array([1_800_000, 5_400_000]), 3_600_000, None).floor(5_000_000, 3_600_000)
    1800000
    >>> bar_grid(np.array([1_800_000, 5_460_000]), 3_600_000, None) is None
    True
    """
    found = None if sessions is None else in_sessions_grid(times, step, sessions)
    if found is not None:
        return found
    phases = np.unique(times % step)
    if len(phases) > 1:
        return None
    return BarGrid(times, step)
