"""Which range of a long request is asked for next, so that nothing is missed and few questions are needed.

Sources differ in what ``limit`` means: some answer the next ``limit`` candles there are, others those of the next
``limit`` intervals, others fewer, without saying so. So an empty answer shows that its page is empty, not that the data
has ended, and of a source that answers fewer it shows that of the first intervals alone, see
:class:`bknb.market.short_answers.Reach`. And a source may answer nothing where it has candles. Nothing is no answer for
a page with a candle that is known. So where a page came full, or with as many candles as any before, and nothing came
for the one behind it, that one is asked for again together with the last candle that came; so is an empty page behind
which another begins with a candle. What rests on empty answers all the same is in ``Paging.empty_pages``. What lies
behind an empty page is looked for

* with sessions: at the next opening, closed time is not asked for;
* where longer candles can be had from the source (``1d`` mostly): in the days that have one;
* where the source declares no ``page_limit``: with pages that grow;
* else page by page, as if the candles were there.

Where an empty page was longer than the source has ever answered, candles behind it, or near the end of the range, are
asked for from farther off: a source that does not answer them then answers fewer than it is asked for. What was empty
is then asked for once more in steps it does answer, which double after each 64: what lies between two of them is asked
for when the later one has candles. In a long hole of such a source, candles may so be missed that span less than a
sixtieth of the hole before them.

A source may answer from a file for each hour or day, and end with it. Where an empty page may have ended so, what is
behind is asked for from the end of the file on. That files end there is learned where answers are cut, and where a
candle begins the page behind an empty one and the one before it is there. Of a source of whose answers none has crossed
a full hour, short pages end with one at first.

Others that answer fewer answer the newest of the range. Where an answer begins later than it was asked, and holds at
least as many candles as any before that did not, what is before its first candle is asked for. Where that is there, no
page is longer from then on, unless it is empty; else the answer stands, as one that goes on behind its range does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS, INTERVAL_MS, ceil_to, floor_to
from .candles_repaired_or_refused import Page
from .short_answers import EmptyPages, Reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..ports import CandleSource
    from .candles_repaired_or_refused import CandleRequest
    from .probing_questions import Looking
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid

_LONGEST: Final = 64  # a page grows to at most so many times its size
_HOUR_MS: Final = INTERVAL_MS["1h"]
_HOURS: Final = 6  # pages of a hole that end with an hour, where no answer has held candles from before and behind one
_EXACT: Final = 64  # steps of one length over a hole of a source that answers few, before they double


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
    reach
        How far the source has answered, as far as other requests have shown.
    grid
        Where candles open that do not open at multiples of their length.

    Examples
    --------
    >>> from bknb.market.candles_repaired_or_refused import CandleRequest
    >>> asked = CandleRequest(exchange="mine", symbol="BTCUSDT", interval="1m", since=0, until=1_200_000)
    >>> paging = Paging(asked, size=4, may_grow=True)
    >>> paging.next(), paging.found(0, 180_000)
    (Page(since=0, limit=4, interval=None, known=None, again=False, look=False), True)
    >>> paging.next(), paging.empty(answered=True)
    (Page(since=240000, limit=4, interval=None, known=None, again=False, look=False), None)
    >>> paging.next()
    Page(since=480000, limit=8, interval=None, known=None, again=False, look=False)
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
        reach: Reach | None = None,
        grid: BarGrid | None = None,
    ) -> None:
        self._until, self._step, self._sessions = asked.until, asked.step, sessions
        self._grid = grid
        self._habit = self._may_grow = may_grow  # nobody said what the source hands out at most
        usable = [name for name in longer if asked.step < INTERVAL_MS.get(name, 0) <= DAY_MS]
        self._longer = None if may_grow or not usable else max(usable, key=INTERVAL_MS.__getitem__)
        self._at = asked.since
        self._page, self._factor = Page(self._at, 0), 1
        self._hole: int | None = None  # where the empty pages began
        self._known, self._growing = known, growing
        self._last: int | None = None  # the candle at the end of the last page; None where none came, or it ended short
        self._again: int | None = None  # the candle to ask for next, together with those behind it
        self._search_from = 0  # where longer candles are asked for next
        self._shorter: tuple[int, int] | None = None  # which of them are asked for once more: a beginning, and how many
        self._short: tuple[int, int] | None = None  # where an answer ended before its page, after how many intervals
        self._strays = 0  # it answers candles before those it was asked for, here (UTC ms): all of a day, say
        self._reach = Reach() if reach is None else reach
        self._most = size  # candles of a page, where it may not grow beyond
        self._size = size
        self._doubtful = 0  # the longest page of the hole that was empty, in intervals
        self._first_empty = 0  # the first of them, in intervals
        self._shown_from = self._until  # from here to where the hole goes on no question was longer than it answers
        self._empty_pages = 0  # of the hole, by a source that answers few
        self._passed: int | None = None  # from here on nothing was asked for before the next page, since steps are long
        self._exact_until = -1  # up to here no step is longer than the source answers
        self._sure_begin = -1  # the candle before this one was asked for twice
        self._has_looked = False  # behind this hole
        self._looking: Looking | None = None
        self._empty_since: int | None = None  # where the last empty page of the hole begins
        self._hours = 0  # so many pages of the hole ended with an hour
        self._file_begin = -1  # it was looked whether a file of the source ends in the empty page before this candle
        self._no_longer = -1  # no longer candle was answered from here on
        self.empty_pages = EmptyPages()

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
        reach: Reach | None = None,
        grid: BarGrid | None = None,
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
            reach=reach,
            grid=grid,
        )

    def next(self) -> Page | None:
        """The next question; ``None`` when the range is through."""
        if self._again is not None:
            since, self._again = self._again, None
            self._page = Page(since, min(self._size, self._slots(since)), known=since, again=True)
            return self._page
        if self._looking is not None:
            return self._page
        if self._grid is not None:
            self._at = self._grid.ceil(self._at, self._step)
        if self._sessions is not None and self._at < self._until:
            opening = self._sessions.next_open(self._at, self._until)
            opening = floor_to(opening, self._step) if self._grid is None else opening  # a session opens with a bar
            self._at = max(self._at, opening)
        if self._may_be_behind() and self._hole is not None:
            return self._look(self._behind(self._hole))
        if self._at >= self._until:
            if not self._strays or self._hole is None or self._page.since == self._until - self._step:
                return None
            self._at = self._until - self._step
        self._size = min(self._size, self._reach.newest or self._size)
        most = self._size * self._factor
        limit = min(most if self._may_grow else min(most, self._most), self._slots(self._at))
        end = self._at + (min(limit, self._reach.sure) if self._is_slow else limit) * self._step
        known = next((each for each in self._known if self._at <= each < end), None)
        self._page = self._search() or Page(self._at, limit, known=known)
        return self._page

    def _slots(self, since: int) -> int:
        """How many intervals there are from a moment (UTC ms) to the end, the last one whole; or bars, if more."""
        count = -(-(self._until - since) // self._step)
        if self._grid is None or not self._grid.in_sessions:
            return count
        return max(count, len(self._grid.closes_between(since, self._until, self._step)))

    def _behind_candle(self, opened: int) -> int:
        """Where (UTC ms) a candle ends, which opened at a moment."""
        return opened + self._step if self._grid is None else self._grid.after(opened, self._step)

    def _search(self) -> Page | None:
        if self._longer is None or self._hole is None or self._is_slow:
            return None
        step = INTERVAL_MS[self._longer]
        first, end = floor_to(self._at, step), floor_to(self._until, step)
        if self._shorter is not None:
            return Page(*self._shorter, self._longer, look=True)
        if first < self._search_from or first >= end:  # the last one may be unfinished: its minutes are asked for
            return None
        return Page(first, min(self._size, (end - first) // step), self._longer, look=True)

    @property
    def missing_since(self) -> int:
        """Nothing has come that opens from here on (UTC ms): what an answer holds of it is welcome."""
        return self._page.since if self._hole is None else self._hole

    def strayed(self, first: int) -> None:
        """The answer holds candles that open before its page, the first of them at ``first`` (UTC ms)."""
        self._strays, self._may_grow, self._factor, self._longer = first, False, 1, None

    def found(self, first: int, last: int, count: int = 0) -> bool:
        """The answer holds ``count`` candles, or surely all, from ``first`` to ``last`` (UTC ms); whether to keep them.

        They are not when the source may have left out some before them: that part is then asked for again.
        """
        page, step = self._page, self._step
        if self._may_be_newest(first, last, count):
            return False
        if first == page.since and not self._is_slow and (before := self.empty_pages.before(first)) is not None:
            self._at = before
            return False
        reach = (last - page.since) // step + 1
        if self._short is not None and first == page.since == self._short[0]:
            self._reach.ended(self._short[1], first)
        self._reach.answered(reach)
        end = page.since + page.limit * step
        lacking = next((each for each in self._known if last < each < end), None)
        if lacking is not None:
            self._reach.ended((lacking - page.since) // step)
        if self._passed is not None:
            self._at, self._exact_until, self._passed = self._passed, page.since, None
            return False
        if self._hole is not None and not self._strays:
            believed = min(self._doubtful, (first - self._hole) // step + 1)
            if believed > self._reach.sure:
                self._look(self._checked(self._hole, first, believed))
                return False
        if self._is_slow and self._hole not in (None, page.since) and first == page.since != self._sure_begin:
            self._at, self._sure_begin = max(self._hole or 0, first - self._reach.sure * step), first
            return False  # candles right before it may have been answered with nothing
        if self._may_end_between(first):
            return False
        newest = self._growing and last + 2 * step >= self._until  # the one behind it may have come meanwhile
        behind = self._behind_candle(last)
        self._short = (behind, reach) if reach < page.limit and not newest else None
        may_be_cut = self._reach.may_be_cut(count and count + page.again) or reach >= page.limit
        may_have_more = may_be_cut or self._habit or self._strays
        self._reach.held(first, last)
        self._at, self._hole, self._factor, self._last = behind, None, 1, last if may_have_more else None
        self._empty_since, self._hours = None, 0
        self._doubtful, self._empty_pages, self._has_looked, self._shown_from = 0, 0, False, self._until
        self.empty_pages.end_hole()
        self.empty_pages.covered(page.since, self._at)
        return True

    def empty(self, *, answered: bool) -> None:
        """The answer holds nothing of its page; ``answered``: it holds candles, so the source did answer."""
        page, last, self._last = self._page, self._last, None
        begins = self._hole is None or page.again
        self._hole = page.since if self._hole is None else self._hole
        is_silent = not answered and not (self._growing and page.since + page.limit * self._step >= self._until)
        if is_silent and last is not None and page.since - last <= max(self._size - 1, 1) * self._step:
            self._again = last
            return
        if self._is_slow or self._strays:
            self._step_over(page, answered=answered)
        else:
            self._skip(page, begins=begins)
        if page.again and self._reach.most == 1:  # it may not answer more than the known one
            self._at = page.since + self._step
        if is_silent:
            self.empty_pages.add(page.since, self._at)
        self._at = self.empty_pages.go_on(self._at)

    def _skip(self, page: Page, *, begins: bool) -> None:
        """Go on behind an empty page."""
        self._empty_since = page.since
        self._first_empty = self._first_empty if self._doubtful else page.limit
        self._doubtful = max(self._doubtful, page.limit)
        self._at = min(page.since + page.limit * self._step, self._next_end(page))
        self._shown_from = self._at if page.limit > self._reach.sure or begins else self._shown_from
        if self._longer is not None and begins:
            self._search_from = ceil_to(self._at, INTERVAL_MS[self._longer])
        if self._may_grow or self._size < self._most:
            self._factor = min(2 * self._factor, _LONGEST)

    def _next_end(self, page: Page) -> int:
        """Where (UTC ms) an answer of nothing may end: of a short page with an hour, as long as none crossed one."""
        ends, since = self._reach.next_end(page.since, self._step), page.since
        if self._reach.crosses_hours or self._hours == _HOURS or page.limit * self._step > _HOUR_MS:
            return ends
        self._hours += 1
        return min(ends, since - since % _HOUR_MS + _HOUR_MS)

    @property
    def is_grown(self) -> bool:
        """Whether the page is longer than usual."""
        return self._page.interval is None and self._page.limit > self._size

    def failed(self) -> bool:
        """There was no answer; whether shorter pages may help."""
        if not self.is_grown:
            return False
        self._may_grow, self._factor, self._most = False, 1, self._size
        return True

    # --- sources that answer fewer candles than they are asked for -----------------------------------------------

    def _may_be_newest(self, first: int, last: int, count: int) -> bool:
        """Whether an answer may be the newest candles of its page alone; it is asked for again then."""
        page, reach = self._page, self._reach
        if page.again or self._strays or not count:
            return False
        if first <= page.since:
            reach.was_whole(count)
        elif last <= page.since + page.limit * self._step and count <= page.limit and reach.may_be_newest(count):
            self._factor, self._at = 1, page.since
            if reach.newest is None or page.limit <= reach.newest:
                from .probing_questions import looked_before

                self._look(looked_before(reach, (page.since, page.limit), first, count, step=self._step))
            return True
        return False

    def _may_end_between(self, first: int) -> bool:
        """Whether a candle at ``first`` (UTC ms) begins the page behind an empty one, and it is looked for one before.

        The empty page may have ended with a file of the source, and what is behind that not have been answered.
        """
        page, empty = self._page, self._empty_since
        if empty is None or first != page.since or self._strays or first == self._file_begin:
            return False
        self._file_begin = first
        self._look(self._file_end(empty, first))
        return True

    @property
    def _is_slow(self) -> bool:
        """Whether a page without candles is believed no farther than the source has answered."""
        return self._reach.is_short and not self._strays

    def _step_over(self, page: Page, *, answered: bool) -> None:
        """Go on behind an empty page, as far as the source answers; in a long hole farther."""
        sure, last = self._reach.sure * self._step, self._until - self._reach.sure * self._step
        if self._strays and answered:  # what it answers at once may end here: the next is half as long at least
            sure = max((page.since - self._strays) // 2 // self._step, 1) * self._step
        self._empty_since = page.since
        doublings = 0 if page.since < self._exact_until else self._empty_pages // _EXACT
        self._empty_pages, self._passed = self._empty_pages + 1, None
        self._at = min(page.since + min(sure, page.limit * self._step), self._next_end(page))
        if doublings and page.since + sure < last:
            self._passed, self._at = self._at, min(page.since + (sure << doublings), last)
        self._factor = 1

    def _may_be_behind(self) -> bool:
        """Whether candles may be behind the hole that its pages have not shown."""
        if self._hole is None or self._has_looked or self._strays:
            return False
        if self._is_slow:
            return self._growing and self._at < self._until
        return self._at >= self._until and self._doubtful > self._reach.sure

    def _look(self, looking: Looking) -> Page:
        """The first question of some whose candles only show where there are any."""
        self._looking, self._page = looking, Page(*next(looking))._replace(look=True)
        return self._page

    def looked(self, times: NDArray[np.int64]) -> None:
        """The candles of the answer to a ``look`` open at ``times`` (UTC ms, any order, each once or more often)."""
        page, looking = self._page, self._looking
        if page.interval is not None:
            self._longer_came(times)
            return
        inside = (times >= page.since) & (times < page.since + page.limit * self._step)
        assert looking is not None  # that was the question  # noqa: S101
        try:
            opened = np.array(sorted(set(times[inside].tolist())), dtype=np.int64)
            self._page = Page(*looking.send(opened))._replace(look=True)
        except StopIteration:
            self._looking = None

    def unanswered(self) -> bool:
        """Nothing came for a page with a known candle; whether nearer questions may show that it answers few."""
        page, known = self._page, self._page.known
        if known is None or page.look or (known - page.since) // self._step < self._reach.sure:
            return False
        self._look(self._nearer(page, known))
        return True

    def _nearer(self, page: Page, known: int) -> Looking:
        """Ask for a known candle from nearer; where it comes, what is before it is asked for in shorter steps."""
        yield known - (self._reach.sure - 1) * self._step, self._reach.sure, None, known
        yield from self._measured(known, (known - page.since) // self._step + 1)
        self._hole = page.since if self._hole is None else self._hole
        self._at = page.since

    def _behind(self, hole: int) -> Looking:
        """Look for candles behind a hole up to the end, first where the newest are; go on from its begin if any is."""
        from .probing_questions import looked_for

        self._has_looked = True
        more = {"step": self._step, "size": self._size, "first_page": self._first_empty}
        more["shown_from"] = self._shown_from if self._at >= self._until else self._until
        any_is = yield from looked_for(self._reach, hole, self._until, newest=self._growing, **more)
        self._at = self._until if not any_is else hole + (self._reach.sure * self._step if self._is_slow else 0)
        if not any_is:
            self.empty_pages.add(hole, self._until)

    def _file_end(self, empty: int, first: int) -> Looking:
        """See whether the page from ``empty`` ended with a file; go on from the begin of the hole, or ``first``."""
        from .probing_questions import file_end

        ends = yield from file_end(self._reach, empty, first, step=self._step)
        self._at = first if not ends or self._hole is None else self._hole

    def _checked(self, hole: int, first: int, believed: int) -> Looking:
        """See whether the pages of a hole would have had candles; go on from its begin, or else from ``first``."""
        yield from self._measured(first, believed)
        self._doubtful = 0
        self._at = hole if self._is_slow else first

    def _measured(self, there: int, count: int) -> Looking:
        from .probing_questions import measured  # here: few sources need it, and every run loads this module

        return measured(self._reach, there, count, step=self._step)

    def _longer_came(self, times: NDArray[np.int64]) -> None:
        page = self._page
        if (times < page.since).any():
            self.strayed(int(times.min()))
            return
        step = INTERVAL_MS[page.interval or "1m"]
        end = page.since + page.limit * step
        later = times[(times >= page.since) & (times < end)]
        self._shorter = None
        self._shown_from = end if page.limit > self._reach.sure else self._shown_from
        if not len(later):
            if not len(times) and self._no_longer != page.since:
                self._no_longer, self._shorter = page.since, (page.since, page.limit)  # nothing came: once more
                return
            self.empty_pages.add(page.since, end)
            self._at = self._search_from = end
            return
        self.empty_pages.end_hole()
        first = int(later.min())
        if first > page.since and self._reach.may_be_newest(len(later)):
            self._shorter = page.since, (first - page.since) // step  # what is before it may have been left out
            return
        self._at = max(self._at, first)
        self._search_from = floor_to(first, step) + step
