"""Candles from a source: paged, retried, checked, and resampled where the source has only minutes."""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, WEEK, ceil_to, floor_to, interval_ms
from ..errors import BadCandle, DataError, NotEnoughData, UsageError
from .answer_notes import Told, ignored, noting
from .bar_slots import slot_of
from .calls_in_threads import candles_from
from .candles import Candles
from .candles_repaired_or_refused import CandleRequest, Page, Repair, audit, in_sessions, left_out
from .measured_bar_length import base_of, check_made_of, longer_bars_text, measured
from .missing_candles import check_gaps, check_spacing, nothing_text
from .paging import Paging
from .price_spikes_and_unit_changes import is_within
from .resample import resample
from .retries import answer_to
from .short_answers import Reach
from .source_hours import bar_grid_of, sessions_of
from .stretched_bars import FEWEST, doubts_of_length

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Mapping

    from numpy.typing import NDArray

    from ..config import Settings
    from ..ports import CandleSource
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid

_MOST_LEFT_OUT: Final = 50  # bad candles of one answer; with more of them nothing of it is believed
_NEWEST: Final = 100  # open times that are kept, so that single candles show in time how far apart they are


class _OnlyMinutes(Exception):  # noqa: N818 -- control flow inside this module, never an error for a user
    """The source answered minutes although a higher interval was asked for."""


class NoAnswerError(LookupError):
    """The source answered nothing for a range that has a candle which came before."""


class _Fetch(NamedTuple):
    """How a range is fetched: see :meth:`Feed.fetch`; ``now`` is the present (UTC ms), where that matters."""

    now: int | None
    continued: bool
    before: float | None
    known: tuple[int, ...]
    growing: bool
    once: bool
    search: bool
    held: Candles | None = None


class Feed:
    """The candles of a run: fetched from a source, checked, and resampled where needed.

    Parameters
    ----------
    source
        Where candles come from.
    settings
        Page size, attempts, pause between attempts, anomaly rule.
    allow_gaps
        ``False`` refuses missing candles between others with ``GapError``; ``True`` lets them pass.
    warn
        Called with one sentence for everything that was repaired or had to be tried again.
    sleep
        How to wait between two attempts; takes seconds.
    now
        The present in UTC milliseconds; with it, candles that have not closed are neither asked for nor
        accepted. ``None`` for history that is known to be complete.
    whole_until
        Gaps that begin at or after this moment (UTC ms) are no error: nobody sees what is missing there.
    leave_out_bad
        Whether a bad candle is left out, as if it had not come, where others beside it are good.
    timeout_seconds
        How long one call of the source may take; ``None``: as long as it takes.

    Examples
    --------
    >>> from bknb.market.demo import DemoSource
    >>> from bknb.config import Settings
    >>> feed = Feed(DemoSource(), Settings())
    >>> hour = asyncio.run(feed.fetch("BTCUSDT", "15m", 1_641_038_400_000, 1_641_042_000_000))
    >>> hour
    Candles(4, 2022-01-01T12:00 .. 2022-01-01T12:45 UTC)
    """

    def __init__(
        self,
        source: CandleSource,
        settings: Settings,
        *,
        allow_gaps: bool = False,
        warn: Callable[[str], object] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], int] | None = None,
        whole_until: int | None = None,
        leave_out_bad: bool = False,
        timeout_seconds: float | None = None,
    ) -> None:
        self.source = source
        self.settings = settings
        self.allow_gaps = allow_gaps
        self.sessions: Sessions | None = sessions_of(source)
        self.sessions_of: Callable[[str], Sessions | None] = partial(sessions_of, source)
        self.base = base_of(source)
        self._negative = bool(getattr(source, "negative", False))
        self.grid_of: Callable[[str], BarGrid | None] = partial(bar_grid_of, source)
        self._whole_until = whole_until
        self.timeout_seconds = timeout_seconds
        self._leave_out_bad = leave_out_bad
        self._left_out: set[tuple[str, str, int]] = set()  # bad candles that were told
        self._newest: dict[tuple[str, str], NDArray[np.int64]] = {}  # open times of the newest candles of a series
        self.warn = ignored if warn is None else warn
        self._sleep = sleep
        self._now = now
        self._answers_itself: set[str] = {self.base}
        self._only_minutes = False
        self._reaches: dict[str, Reach] = {}  # how far the source answers, by interval
        self._closed: dict[tuple[str, str], tuple[CandleRequest, list[NDArray[np.int64]]]] | None = None
        self._unanswered: set[tuple[str, str]] = set()  # series of which it was not answered where there are candles
        self._whole_only: set[tuple[str, str]] = set()  # series that are asked for whole where older ones are wanted
        self._notes: tuple[str, ...] = tuple(getattr(source, "warnings", ()))
        self._symbols_of_note: Mapping[str, Container[str]] = getattr(source, "symbols_of_warning", {})
        self._take_notes: Callable[[], list[str]] | None = getattr(source, "take_notes", None)
        # Of the last candles that were made longer, whose prices are near each other: a window may keep them in a file.
        self._within: weakref.ref[NDArray[Any]] | None = None
        self.told = Told(self.warn)

    async def fetch(
        self,
        symbol: str,
        interval: str,
        since: int,
        until: int,
        *,
        continued: bool = False,
        before: float | None = None,
        known: tuple[int, ...] = (),
        growing: bool = False,
        once: bool = False,
        search: bool = True,
        held: Candles | None = None,
    ) -> Candles:
        """Candles with an open time in ``[since, until)``, oldest first.

        Both ends are rounded up to the grid of the interval. Where the data begins later or ends earlier the
        answer is shorter; the caller decides what that means.

        Parameters
        ----------
        symbol, interval
            What to fetch.
        since, until
            UTC milliseconds.
        continued
            Whether candles beside this range have come before: an answer without any in it is then no error.
        before
            The close of the candle before this range, or of its first one; with it, each candle is compared with the
            close before it (see :func:`bknb.market.candles_repaired_or_refused.check_anomalies`).
        known
            Open times (UTC ms) of candles in the range that have come before: nothing is no answer for a page with one.
            It counts as an attempt that failed, as it does for a page that is asked for with the candle before it.
        growing
            Whether the range ends with the newest candle, and the rest of it is asked for again soon: it may not be
            there yet, and where a page failed at every attempt, what came before is the answer.
        once
            Whether each page is asked for once only, as all of it is asked for again soon.
        search
            Whether candles are looked for behind a first page without any; ``False``: ``NotEnoughData`` is raised.
        held
            The candles of a later part of the range, up to its end, that this feed gave before: only what lies before
            them is asked for, together with the first of them, and all are checked as if they came at once. Nothing is
            no answer then. All are asked for again where that one does not come or came otherwise before, where an
            answer has to be repaired (also of what came behind its range), where the end of the range had not closed,
            and where prices lie so far apart that one may be anomalous.

        Raises
        ------
        GapError
            Candles are missing between others, and gaps were not allowed.
        BadCandle
            A candle breaks a rule of :mod:`bknb.market.candles_repaired_or_refused`.
        NotEnoughData
            The source answered, but only with candles after the range; or nothing, and no more was asked for.
        DataError
            The source failed at every attempt, or answered nothing of what was asked.
        UsageError
            The interval is unknown, or neither it nor ``1m`` can be had from this source.
        """
        for note in self._notes:
            symbols = self._symbols_of_note.get(note)
            if symbols is None or symbol in symbols:
                self.told.tell(None if symbols is None else symbol, [note])
        if interval == WEEK != self.base:
            check_made_of(interval, self.base, (self.base,), self.source.name)
        step = interval_ms(interval)
        grid = self.grid_of(symbol)
        if grid is None:
            since, until = ceil_to(since, step), ceil_to(until, step)
        elif grid.goes_on:
            since, until = grid.ceil(since, step), grid.ceil(until, step)
        now = self._now() if self._now is not None else None
        closed = until if now is None else self.closed_until(symbol, now, step)
        if closed < until:
            until = closed
            self._whole_only.add((symbol, interval))  # more may have closed when it is asked for again
        if since >= until:
            return Candles.empty()
        asked = self.request(symbol, interval, since, until)
        if (symbol, interval) in self._whole_only:
            held = None
        how = _Fetch(now, continued, before, known, growing, once, search, held)
        if self._is_native(interval):
            try:
                return await self._native(asked, how)
            except _OnlyMinutes:
                self._only_minutes = True
                self.warn(f"{self.source.name!r} answers {interval} with 1m candles; bknb resamples them from now on")
        return await self._resampled(asked, how._replace(held=None))

    def closed_until(self, symbol: str, when: int, step: int) -> int:
        """The begin of the slot (UTC ms) of ``step`` ms that a moment lies in: what opens before it has closed."""
        return slot_of(when, step, self.grid_of(symbol))

    def reach_back(self, symbol: str, when: int, step: int, count: int) -> int:
        """Where the ``count`` newest candles that have closed at ``when`` begin, UTC ms, when none is missing."""
        sessions, grid = self.sessions_of(symbol), self.grid_of(symbol)
        if grid is not None:
            return grid.reach_back(when, step, count, sessions)
        if sessions is None:
            return floor_to(when, step) - count * step
        return sessions.reach_back(when, step, count)

    def check_gaps(self, candles: Candles, asked: CandleRequest, *, continued: bool = False) -> None:
        """Raise ``GapError`` for candles that are missing between these, where gaps were not allowed.

        Longer candles than asked for are refused although gaps are allowed; those that came before them
        (``continued``) count, too, as few candles tell nothing.
        """
        if self.allow_gaps:
            key = asked.symbol, asked.interval
            times = candles.timestamp
            if continued and key in self._newest:
                times = np.union1d(self._newest[key], times)
            self._newest[key] = times[-_NEWEST:].copy()
            sessions, grid = self.sessions_of(asked.symbol), self.grid_of(asked.symbol)
            check_spacing(times, asked, sessions=sessions, grid=grid, growing=continued)
            return
        if self._whole_until is not None:
            end = int(np.searchsorted(candles.timestamp, self._whole_until))
            hole_is_after = 0 < end < len(candles) and int(candles.timestamp[end - 1]) + asked.step >= self._whole_until
            candles = candles[: end + (not hole_is_after)]
        sessions, grid = self.sessions_of(asked.symbol), self.grid_of(asked.symbol)
        check_gaps(candles, asked, sessions=sessions, grid=grid, is_stored=hasattr(self.source, "fill"))

    def request(self, symbol: str, interval: str, since: int, until: int) -> CandleRequest:
        """A request to the source, for messages."""
        longer = longer_bars_text(interval, self.source) if interval == self.base else ""
        return CandleRequest(
            exchange=self.source.name, symbol=symbol, interval=interval, since=since, until=until, longer=longer
        )

    def _is_native(self, interval: str) -> bool:
        known = self.source.intervals
        if known is None:
            return interval == "1m" or not self._only_minutes
        if interval in known:
            return True
        check_made_of(interval, self.base, known, self.source.name)
        return False

    async def _resampled(self, asked: CandleRequest, how: _Fetch) -> Candles:
        return resample(
            await self._native(replace(asked, interval=self.base), how),
            asked.interval,
            allow_gaps=self.allow_gaps,
            since=asked.since,
            until=asked.until,
            sessions=self.sessions_of(asked.symbol),
            base_ms=interval_ms(self.base),
            grid=self.grid_of(asked.symbol),
        )

    async def _native(self, asked: CandleRequest, how: _Fetch) -> Candles:
        wanted = asked
        unsure = self.source.intervals is None and asked.interval not in self._answers_itself
        if unsure and asked.until - asked.since < 2 * asked.step:
            # One candle alone does not show its length: a function that has only minutes would answer with
            # one minute, and nothing would show it. So ask for the candle before it, too.
            asked = replace(asked, since=asked.since - asked.step)
        grid = self.grid_of(asked.symbol)
        if grid is not None and not grid.goes_on:
            parts, repairs = await self._at_once(asked, how, grid)
        elif how.held is None or grid is not None:
            parts, repairs = await self._pages(asked, how)
        else:
            parts, repairs = await self._pages_before(asked, how, how.held)
        candles = parts[0] if len(parts) == 1 else Candles.concat(parts)
        sessions = self.sessions_of(asked.symbol)
        if sessions is not None:
            candles, closed = in_sessions(candles, asked, sessions)
            if len(closed):
                self._whole_only.add((asked.symbol, asked.interval))
                self._note_closed(asked, closed)
        if repairs:
            self._whole_only.add((asked.symbol, asked.interval))
        if candles is how.held:
            return candles  # there is nothing before them, and they were looked at when they came
        self._report(asked, repairs)
        self.check_gaps(candles, asked, continued=how.continued)
        self._tell_lengths(candles, asked)
        return candles[int(np.searchsorted(candles.timestamp, wanted.since)) :]

    def _tell_lengths(self, candles: Candles, asked: CandleRequest) -> None:
        """Warn of each doubt once, in whichever part of a series it shows."""
        if len(candles) < FEWEST and asked.step == MINUTE_MS:
            return
        for doubt, text in doubts_of_length(candles, asked.interval, asked.step).items():
            if self.told.is_first(asked.symbol, asked.interval, doubt):
                self.told.tell(asked.symbol, [f"{asked}: {text}"])

    async def _at_once(self, asked: CandleRequest, how: _Fetch, grid: BarGrid) -> tuple[list[Candles], list[Repair]]:
        """All candles of a range from a source that holds them in memory."""
        answer = await self._ask(asked, Page(asked.since, -(-(asked.until - asked.since) // asked.step)))
        answer = answer.take(answer.timestamp < asked.until)
        candles, repairs = audit(
            answer,
            asked,
            settings=self.settings,
            now=how.now,
            before=how.before,
            lasting=None,
            grid=grid,
            negative=self._negative,
        )
        return [candles], list(repairs)

    async def _pages_before(
        self, asked: CandleRequest, how: _Fetch, held: Candles
    ) -> tuple[list[Candles], list[Repair]]:
        """The candles of a range of which the later ones are here: see ``held`` of :meth:`fetch`."""
        first, factor = int(held.timestamp[0]), self.settings.get_candles_price_anomaly_threshold_factor
        whole = how._replace(held=None)
        known = None if self._within is None else self._within()
        if held.block is known or is_within(held.block[1:5], None, factor):
            try:
                parts, repairs = await self._pages(
                    replace(asked, until=first + asked.step), how._replace(continued=True)
                )
            except BadCandle:  # among all candles it may be right, and the message differ
                return await self._pages(asked, whole)
            if not parts:
                return await self._pages(asked, whole._replace(known=(first,)))
            parts[-1], again = parts[-1][:-1], parts[-1][-1:]
            before = [part for part in parts if len(part)]
            candles = Candles.concat([*before, held]) if before else held
            if not repairs and again == held[:1] and (not before or is_within(candles.block[1:5], None, factor)):
                self._within = weakref.ref(candles.block)
                return [candles], []
        return await self._pages(asked, whole)

    async def _pages(self, asked: CandleRequest, how: _Fetch) -> tuple[list[Candles], list[Repair]]:
        parts: list[Candles] = []
        repairs: list[Repair] = []
        size, sessions, grid = self._page_size(asked), self.sessions_of(asked.symbol), self.grid_of(asked.symbol)
        reach = self._reaches.setdefault(asked.interval, Reach())
        paging = Paging.of(
            self.source,
            asked,
            size=size,
            sessions=sessions,
            known=how.known,
            growing=how.growing,
            reach=reach,
            grid=grid,
        )
        behind = False
        doubted: tuple[Page, Candles] | None = None  # an answer that may lack candles, as long as none has shown it
        while (page := paging.next()) is not None:
            rest = replace(asked, since=page.since)
            if page.look:
                times = await self._look(rest, page, how)
                inside = times[(times >= page.since) & (times < page.since + page.limit * asked.step)]
                any_is = (inside != page.known).any()
                doubted = None if any_is else doubted
                paging.looked(times)
                continue
            try:
                kept = doubted[1] if doubted is not None and doubted[0] == page else None
                answer = kept or await self._ask(rest, page, once=how.once or paging.is_grown)
            except Exception as error:
                if paging.failed() or (isinstance(error.__cause__, NoAnswerError) and paging.unanswered()):
                    continue
                if how.growing and isinstance(error, DataError) and sum(map(len, parts)) > 1:  # one may be known
                    self.warn(f"{error}\nwhat came before is kept, and the rest is asked for again")
                    break
                raise
            came, doubted = answer, None
            self._notice_minutes(answer, asked)
            answered = len(answer) > 0
            answer = answer.take(answer.timestamp != page.since) if page.again else answer
            times = answer.timestamp
            if len(times) and int(times.min()) < page.since:
                paging.strayed(int(times.min()))
            rest = replace(asked, since=paging.missing_since)
            if (parts or how.continued) and len(answer) and not ((times >= rest.since) & (times < rest.until)).any():
                if int(times.min()) >= rest.until:
                    break  # "at or after since" begins after the range: the rest of the range is empty
                if not behind:  # this source hands out candles once more where it has none
                    rule, behind = "ignored outside the asked range", True
                    repairs.append(Repair(rule=rule, count=len(answer), first=int(times.min())))
                paging.empty(answered=True)
                continue
            close = float(parts[-1].close[-1]) if parts else how.before
            last = len(answer) < page.limit or int(times.max()) + asked.step >= asked.until
            check = partial(
                audit,
                asked=rest,
                settings=self.settings,
                now=how.now,
                before=close,
                one_by_one=how.before is not None,
                lasting=self._lasting(asked.step) if last or how.before is not None else None,
                grid=grid,
                negative=self._negative,
            )
            candles, found = self._audited(answer, rest, check, alone=not (parts or how.continued))
            if not len(candles):
                _check_search(rest, how, parts)
                paging.empty(answered=answered)
                continue
            goes_on = len(answer) >= page.limit and int(times.max()) > page.since + page.limit * asked.step
            count = 0 if goes_on else len(candles)  # the newest of a range do not go on behind it
            if paging.found(int(candles.timestamp[0]), int(candles.timestamp[-1]), count):
                repairs.extend(found)
                parts.append(candles)
            else:
                doubted = page, came
        self._tell_nothing(asked, paging, parts, how)
        return parts, repairs

    def _tell_nothing(self, asked: CandleRequest, paging: Paging, parts: list[Candles], how: _Fetch) -> None:
        """Tell, where gaps are allowed, of ranges that nothing but answers of nothing shows to be holes."""
        ranges = paging.empty_pages.ranges
        if not ranges or not self.allow_gaps or (how.growing and not parts):
            return
        if getattr(self.source, "in_memory", False):  # it answers whatever it has
            return
        from ..domain.ranges import common  # few requests have any

        first = int(parts[0].timestamp[0]) if parts else asked.until
        since = first if how.continued or how.known else asked.since  # before what is known the data may begin
        until = int(parts[-1].timestamp[-1]) if how.growing else asked.until  # the newest are asked for again
        missing = common(ranges, [(since, until)])
        if missing and (not self._leave_out_bad or self.told.is_first(asked.symbol, asked.interval, "nothing")):
            self.told.tell(asked.symbol, [nothing_text(asked, missing)])

    async def _look(self, asked: CandleRequest, page: Page, how: _Fetch) -> NDArray[np.int64]:
        """Open times of the candles that a source answers; without an answer none, which is told.

        Raises
        ------
        DataError
            There was no answer, and one of the candles is known; or it holds one that cannot be read.
        """
        if page.interval is not None:
            return (await self._ask(replace(asked, interval=page.interval), page)).timestamp
        key = asked.symbol, asked.interval
        try:
            answer = await self._ask(asked, page, once=how.once or key in self._unanswered)
        except DataError as error:
            if page.known is not None or isinstance(error, BadCandle):
                raise
            if key not in self._unanswered:
                self._unanswered.add(key)
                self.warn(
                    f"{error}\nthe data has a hole there, and it was asked what is behind it: candles may be missing"
                )
            return np.empty(0, np.int64)
        times = answer.timestamp
        if how.now is None:
            return times
        grid = self.grid_of(asked.symbol)
        return times[(times + asked.step if grid is None else grid.ends(times, asked.step)) <= how.now]

    def _lasting(self, step: int) -> int | None:
        """How many newest candles make a new level of the price: live, as many as a missing one is waited for."""
        return max(2, -(-self.settings.patience_minutes * MINUTE_MS // step)) if self._leave_out_bad else None

    def _audited(
        self,
        answer: Candles,
        asked: CandleRequest,
        check: Callable[[Candles], tuple[Candles, tuple[Repair, ...]]],
        *,
        alone: bool,
    ) -> tuple[Candles, tuple[Repair, ...]]:
        for _ in range(_MOST_LEFT_OUT):
            try:
                return check(answer)
            except BadCandle as error:
                good = answer.timestamp != error.open_time
                if not self._leave_out_bad or error.open_time is None or (alone and not good.any()):
                    raise
                answer, bad = answer.take(good), (asked.symbol, asked.interval, error.open_time)
                if bad not in self._left_out:
                    self._left_out.add(bad)
                    self.warn(f"left out until it is corrected: {error}")
        return check(answer)

    def _page_size(self, asked: CandleRequest) -> int:
        limit = self.source.page_limit
        if limit is not None:
            return max(1, min(limit, self.settings.max_candles_per_request))
        if self.source.intervals is None:  # a user's function: its limit is unknown
            return self.settings.max_candles_per_request
        return -(-(asked.until - asked.since) // asked.step)

    async def _ask(self, asked: CandleRequest, page: Page, *, once: bool = False) -> Candles:
        return await answer_to(
            partial(self._answer, asked, page),
            what=str(asked),
            since=asked.since,
            until=asked.since + page.limit * asked.step,
            settings=self.settings,
            once=once,
            seconds=self.timeout_seconds,
            warn=self.warn,
            sleep=self._sleep,
        )

    async def _answer(self, asked: CandleRequest, page: Page) -> Candles:
        try:
            with noting() as decided:
                answer = await candles_from(self.source, asked.symbol, asked.interval, asked.since, page.limit)
        finally:
            if self._take_notes is not None:
                for note in self._take_notes():
                    self.warn(note)
            self.told.tell(asked.symbol, decided)
        if not isinstance(answer, Candles):
            raise UsageError(f"{asked}: a source must answer bknb.Candles, got {type(answer).__name__}")
        if page.known is not None and not len(answer):
            raise NoAnswerError(f"it answered nothing, although the candle of {utc_text(page.known)} has come before")
        return answer

    def _notice_minutes(self, answer: Candles, asked: CandleRequest) -> None:
        """Raise ``_OnlyMinutes`` when a function of unknown intervals does not answer the interval asked for."""
        if self.source.intervals is not None or asked.interval in self._answers_itself or len(answer) < 2:
            return
        spacing = measured(answer.timestamp)
        if spacing is not None and spacing.step == MINUTE_MS:
            raise _OnlyMinutes
        self._answers_itself.add(asked.interval)

    def gather_closed(self) -> None:
        """From now on count candles that are left out as their market was closed, until :meth:`tell_closed`.

        Where several runs over the same candles gather, the first of them that is over tells it for all.
        """
        self._closed = {} if self._closed is None else self._closed

    def tell_closed(self) -> None:
        """Tell once for each series how many candles were left out since :meth:`gather_closed`."""
        gathered, self._closed = self._closed or {}, None
        for asked, parts in gathered.values():
            self._report(asked, [left_out(np.unique(np.concatenate(parts)))])

    def _note_closed(self, asked: CandleRequest, times: NDArray[np.int64]) -> None:
        if self._closed is None:
            self._report(asked, [left_out(times)])
        else:
            self._closed.setdefault((asked.symbol, asked.interval), (asked, []))[1].append(times)

    def _report(self, asked: CandleRequest, repairs: list[Repair]) -> None:
        later = "; from now on it is not told" if self._leave_out_bad else ""  # live, each minute may need it
        for rule in dict.fromkeys(repair.rule for repair in repairs):
            if not self.told.is_first(asked.symbol, asked.interval, rule) and later:
                continue
            same = [repair for repair in repairs if repair.rule == rule]
            count, first = sum(repair.count for repair in same), min(repair.first for repair in same)
            self.told.tell(asked.symbol, [f"{asked}: {Repair(rule=rule, count=count, first=first)}{later}"])


def _check_search(asked: CandleRequest, how: _Fetch, parts: list[Candles]) -> None:
    """Raise ``NotEnoughData`` where nothing came, and no candles are to be looked for behind it."""
    if not how.search and not parts:
        raise NotEnoughData(f"{asked}: nothing came from {utc_text(asked.since)} on")
