"""What the answers of a source have shown: how many candles it answers, whatever it is asked for, and where none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..domain.interval import MINUTE_MS
from ..domain.market_clock_protocol import NEVER

if TYPE_CHECKING:
    from ..domain.ranges import Range, Ranges


_FILES: Final = tuple(  # how long (ms) what a source keeps in one file may be
    minutes * MINUTE_MS for minutes in (15, 30, 60, 120, 180, 240, 360, 480, 720, 1440)
)


_HOUR_MS: Final = 60 * MINUTE_MS


class Reach:
    """How many intervals from the beginning of a question on a source answers, as far as its answers have shown.

    ``newest`` is how many candles it answers at most where these are the newest of the range; ``None``: they are not.

    Examples
    --------
    >>> reach = Reach()
    >>> reach.answered(5), reach.ended(5)
    (None, None)
    >>> reach.sure, reach.is_short
    (5, True)
    >>> reach.answered(300)
    >>> reach.sure, reach.is_short
    (300, False)
    >>> reach.looked_before(200, any_is=True)
    >>> reach.newest
    200
    """

    def __init__(self) -> None:
        self.sure = 1  # it answers as far as this
        self._end: int | None = None
        self._ends_at: int | None = None  # an answer ended early here, UTC ms
        self._files = _FILES  # how long files that end there and where others ended may be
        self.crosses_hours = False  # an answer held candles from before and from behind a full hour
        self.newest: int | None = None
        self._whole = 0  # so many candles may be all there are
        self.most = 0  # candles that an answer held

    @property
    def is_short(self) -> bool:
        """Whether it is known to answer no farther than it has so far, whatever it is asked for."""
        return self._end is not None and self.sure <= self._end

    def answered(self, count: int) -> None:
        """An answer held a candle in the last of so many intervals."""
        self.sure = max(self.sure, count)

    def ended(self, count: int, when: int | None = None) -> None:
        """An answer ended after so many intervals, at ``when`` (UTC ms), although there was a candle in the next."""
        self._end = max(count, 1)
        if when is not None:
            self.ended_at(when)

    def ended_at(self, when: int) -> None:
        """An answer ended at ``when`` (UTC ms), although there was a candle."""
        self._ends_at = at = when if self._ends_at is None else self._ends_at
        self._files = tuple(length for length in self._files if not (when - at) % length)

    def held(self, first: int, last: int) -> None:
        """An answer held candles from ``first`` to ``last`` (UTC ms): no file ends between them."""
        self.crosses_hours = self.crosses_hours or first // _HOUR_MS != last // _HOUR_MS
        if (at := self._ends_at) is not None and self._files:
            same = (length for length in self._files if (first - at) // length == (last - at) // length)
            self._files = tuple(same)

    def next_end(self, since: int, step: int) -> int:
        """Where (UTC ms) an answer from ``since`` may end, as its file ends, such as one of an hour or a day.

        ``NEVER`` where answers end elsewhere; ``step`` is the length of an interval, ms. A file is no shorter than what
        one answer held.
        """
        if self._ends_at is None:
            return NEVER
        every = math.gcd(*(length for length in self._files if length >= self.sure * step))
        return since + every - (since - self._ends_at) % every if every else NEVER

    def may_be_cut(self, count: int) -> bool:
        """Whether an answer of so many candles, as many as any before, or any answer, may lack some at its end."""
        before, self.most = self.most, max(self.most, count)
        return self._end is not None or 0 < before <= count

    def may_be_newest(self, count: int) -> bool:
        """Whether an answer of so many candles, which begins later than asked, may be the newest of its range alone."""
        return count >= (self._whole if self.newest is None else self.newest)

    def was_whole(self, count: int) -> None:
        """An answer of so many candles left out none before them."""
        self._whole = max(self._whole, count)

    def looked_before(self, count: int, *, any_is: bool) -> None:
        """Before an answer of so many candles, in its range, there are others, or none."""
        if any_is:
            self.newest = count
        else:
            self.was_whole(count + 1)


class EmptyPages:
    """The pages of a request that were answered with nothing.

    A hole that ends where a page begins may be one page that a source failed to answer: it is asked for again.

    Examples
    --------
    >>> empty = EmptyPages()
    >>> empty.add(0, 60_000)
    >>> empty.add(60_000, 120_000)
    >>> empty.before(120_000), empty.go_on(60_000), empty.before(120_000)
    (60000, 120000, None)
    >>> empty.covered(0, 30_000)
    >>> empty.ranges
    ((30000, 120000),)
    """

    def __init__(self) -> None:
        self._begins: list[int] = []  # of those of the hole, as long as they may be asked for again
        self._behind = -1  # the page before this candle was asked for twice
        self._on: int | None = None  # where to go on when that is empty once more
        self._ranges: list[Range] = []

    @property
    def ranges(self) -> Ranges:
        """What no answer with candles covers, UTC ms: that these are holes is shown by nothing else."""
        if not self._ranges:
            return ()
        from ..domain.ranges import merged  # few requests have any

        return merged(self._ranges)

    def add(self, since: int, end: int) -> None:
        """Nothing came of ``[since, end)`` (UTC ms)."""
        self._ranges.append((since, end))
        self._begins.append(since)

    def before(self, candle: int) -> int | None:
        """Where the page begins that is asked for again, as a candle begins the one behind it; ``None``: none is."""
        if not self._begins or candle == self._behind:
            return None
        self._behind = self._on = candle
        return self._begins.pop()

    def go_on(self, at: int) -> int:
        """Where to go on: at ``at``, or where an earlier page was asked for again, and nothing came, behind it."""
        on, self._on = self._on, None
        return at if on is None else on

    def end_hole(self) -> None:
        """Candles came, and none before them is lost."""
        self._begins.clear()
        self._on = None

    def covered(self, first: int, end: int) -> None:
        """An answer with candles covers ``[first, end)`` (UTC ms)."""
        if self._ranges:
            from ..domain.ranges import without

            self._ranges = list(without(self._ranges, [(first, end)]))
