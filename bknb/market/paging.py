"""Which range of a long request is asked for next, so that nothing is missed and few questions are needed.

Sources differ in what ``limit`` means: some answer the next ``limit`` candles there are, others those of the next
``limit`` intervals. So an empty answer shows that its page is empty, not that the data has ended. And a source may
answer nothing where it has candles. Nothing is no answer for a page with a candle that is known. So where a page came
full, and nothing came for the one behind it, that one is asked for again together with the last candle that came. An
answer that ended before its page has shown that there is nothing behind it. What lies behind an empty page is looked
for

* with sessions: at the next opening, closed time is not asked for;
* where longer candles can be had from the source (``1d`` mostly): in the days that have one;
* where the source declares no ``page_limit``: with pages that grow;
* else page by page, as if the candles were there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.interval import DAY_MS, INTERVAL_MS, ceil_to, floor_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..ports import CandleSource
    from .quality import CandleRequest
    from .sessions import Sessions

_LONGEST: Final = 64  # a page grows to at most so many times its size
_SMALLEST: Final = 10  # a source that cuts pages short is taken to answer at least a tenth of what it is asked for


class Page(NamedTuple):
    """One question: ``limit`` candles from ``since`` (UTC ms) on.

    ``interval`` when it is another than that wanted. ``known`` opens a candle in it that has come before (UTC ms):
    nothing is no answer then. ``again`` when that is its first one, which came with the page before.
    """

    since: int
    limit: int
    interval: str | None = None
    known: int | None = None
    again: bool = False


class Paging:
    """The pages of a request, one after the other: ``next`` gives a question, another method takes its answer.

    Parameters
    ----------
    asked
        What is wanted.
    size
        Candles of a page.
    may_grow
        Whether ``size`` is a habit, not a limit of the source: it may be asked for more.
    sessions
        When the market is open; ``None``: always.
    longer
        Intervals the source surely answers itself.
    known
        Open times (UTC ms) of candles that have come before.
    growing
        Whether the range ends with the newest candle, which may not be there yet: nothing is an answer there.

    Examples
    --------
    >>> from bknb.market.quality import CandleRequest
    >>> asked = CandleRequest(exchange="mine", symbol="BTCUSDT", interval="1m", since=0, until=1_200_000)
    >>> paging = Paging(asked, size=4, may_grow=True)
    >>> paging.next(), paging.found(0, 180_000)
    (Page(since=0, limit=4, interval=None, known=None, again=False), True)
    >>> paging.next(), paging.empty(answered=True)
    (Page(since=240000, limit=4, interval=None, known=None, again=False), None)
    >>> paging.next()
    Page(since=480000, limit=8, interval=None, known=None, again=False)
    """

    def __init__(
        self,
        asked: CandleRequest,
        *,
        size: int,
        may_grow: bool,
        sessions: Sessions | None = None,
        longer: Sequence[str] = (),
        known: Sequence[int] = (),
        growing: bool = False,
    ) -> None:
        self._until, self._step = asked.until, asked.step
        self._size = size
        self._habit = may_grow  # nobody said what the source hands out at most
        self._may_grow = may_grow
        self._sessions = sessions
        usable = [name for name in longer if asked.step < INTERVAL_MS.get(name, 0) <= DAY_MS]
        self._longer = None if may_grow or not usable else max(usable, key=INTERVAL_MS.__getitem__)
        self._at = asked.since
        self._page = Page(self._at, 0)
        self._factor = 1
        self._hole: int | None = None  # where the empty pages began
        self._known = known
        self._growing = growing
        self._last: int | None = None  # the candle at the end of the last page; None where none came, or it ended short
        self._again: int | None = None  # the candle to ask for next, together with those behind it
        self._empty_end = -1  # where the last of them ended
        self._search_from = 0  # where longer candles are asked for next
        self._short_end = -1  # where an answer ended that was shorter than its page
        self._strays = False  # it answers candles before those it was asked for: from the beginning of a day, say
        self._cut = False  # the source may answer less than it is asked for, in the middle of its data
        self._longest = max(size // _SMALLEST, 1)  # intervals an answer has reached

    @classmethod
    def of(
        cls,
        source: CandleSource,
        asked: CandleRequest,
        *,
        size: int,
        sessions: Sessions | None,
        known: Sequence[int] = (),
        growing: bool = False,
    ) -> Paging:
        """The pages of a request to a source: they may grow where it declares neither a limit nor its intervals."""
        return cls(
            asked,
            size=size,
            may_grow=source.page_limit is None and source.intervals is None,
            sessions=sessions,
            longer=source.intervals or (),
            known=known,
            growing=growing,
        )

    def next(self) -> Page | None:
        """The next question; ``None`` when the range is through."""
        if self._again is not None:
            since, self._again = self._again, None
            limit = min(self._size, (self._until - since) // self._step)
            self._page = Page(since, limit, known=since, again=True)
            return self._page
        if self._sessions is not None and self._at < self._until:
            opening = self._sessions.next_open(self._at, self._until)
            self._at = max(self._at, floor_to(opening, self._step))
        if self._at >= self._until:
            if not self._strays or self._hole is None or self._page.since == self._until - self._step:
                return None
            self._at = self._until - self._step
        limit = min(self._size * self._factor, (self._until - self._at) // self._step)
        end = self._at + limit * self._step
        known = next((each for each in self._known if self._at <= each < end), None)
        self._page = self._search() or Page(self._at, limit, known=known)
        return self._page

    def _search(self) -> Page | None:
        if self._longer is None or self._hole is None:
            return None
        step = INTERVAL_MS[self._longer]
        first, end = floor_to(self._at, step), floor_to(self._until, step)
        if first < self._search_from or first >= end:  # the last one may be unfinished: its minutes are asked for
            return None
        return Page(first, min(self._size, (end - first) // step), self._longer)

    @property
    def missing_since(self) -> int:
        """Nothing has come that opens from here on (UTC ms): what an answer holds of it is welcome."""
        return self._page.since if self._hole is None else self._hole

    def strayed(self) -> None:
        """The answer holds candles that open before its page."""
        self._strays, self._may_grow, self._factor, self._longer = True, False, 1, None

    def found(self, first: int, last: int) -> bool:
        """The answer holds candles that open from ``first`` to ``last`` (UTC ms); whether they are to be kept.

        They are not when the source may have left out some before them: that part is then asked for again.
        """
        page, step = self._page, self._step
        reach = (last - page.since) // step + 1
        if self._habit and first == page.since:
            went_on = self._short_end == page.since
            after_hole = self._empty_end == page.since and not self._cut
            if went_on or after_hole:  # it may answer shorter pages than it is asked for
                self._longest = max(self._longest, min(reach, self._size))
                self._cut, self._may_grow, self._factor = True, False, 1
            if after_hole and self._hole is not None:
                self._at = self._hole
                return False
        self._longest = max(self._longest, reach)
        self._short_end = last + step if reach < page.limit else -1
        may_have_more = reach >= page.limit or self._habit or self._strays
        self._at, self._hole, self._factor, self._last = last + step, None, 1, last if may_have_more else None
        return True

    def empty(self, *, answered: bool) -> None:
        """The answer holds nothing of its page; ``answered``: it holds candles, so the source did answer."""
        page = self._page
        begins = self._hole is None or page.again
        if self._hole is None:
            self._hole = page.since
        last, self._last = self._last, None
        newest = self._growing and page.since + page.limit * self._step >= self._until
        if not answered and last == page.since - self._step and not newest:
            self._again = last
            return
        self._at = page.since + (min(page.limit, self._longest) if self._cut else page.limit) * self._step
        self._empty_end = self._at
        if self._longer is not None and begins:
            self._search_from = ceil_to(self._at, INTERVAL_MS[self._longer])
        if self._may_grow:
            self._factor = min(2 * self._factor, _LONGEST)

    @property
    def is_grown(self) -> bool:
        """Whether the page is longer than usual."""
        return self._page.interval is None and self._page.limit > self._size

    def failed(self) -> bool:
        """There was no answer; whether shorter pages may help."""
        if not self.is_grown:
            return False
        self._may_grow, self._factor = False, 1
        return True

    def longer(self, times: NDArray[np.int64]) -> None:
        """The longer candles of the answer open at ``times`` (UTC ms, any order)."""
        page = self._page
        if (times < page.since).any():
            self.strayed()
            return
        step = INTERVAL_MS[page.interval or "1m"]
        end = page.since + page.limit * step
        later = times[(times >= page.since) & (times < end)]
        if not len(later):
            self._at = self._search_from = end
            return
        first = int(later.min())
        self._at = max(self._at, first)
        self._search_from = floor_to(first, step) + step
