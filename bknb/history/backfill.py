"""Backfill of a candle store: missing ranges are fetched page by page, checked, and saved as they come.

First the pages are fetched (:mod:`bknb.market.paging`), then every hole between what came is asked about again: it is
*absent* when the answers prove it (:mod:`bknb.history.evidence_of_missing_candles`), and stays missing otherwise, which
is told. An empty end of the data proves nothing and is requested again next time. Candles that closed less than the
settling time ago are returned and not stored: an exchange may still correct them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, ceil_to, floor_to
from ..domain.ranges import Range, merged
from ..errors import BadCandle
from ..market.bar_slots import bar_close, open_slots, slot_of
from ..market.candles import Candles
from ..market.candles_repaired_or_refused import CandleRequest, audit
from ..market.paging import Paging
from ..market.short_answers import Reach
from ..market.source_hours import bar_grid_of, sessions_of
from ..ports import CandleSource
from .asking import asked_candles, check_length
from .backfill_result import LACKED_CANDLES, SINCE_IGNORED, AnswerFaults, BackfillResult
from .candle_store import CandleStore
from .covered_ranges import runs
from .evidence_of_missing_candles import ENOUGH, Evidence, Leading, holes_in, question_about
from .partition import SeriesName, periods

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAVE_EVERY_PAGES: Final = 10
_FALLBACK_PAGE: Final = 1000
_TRIES: Final = 6  # questions about a hole before it is given up
_END_TRIES: Final = 2  # about the end of the data, where often there is nothing
_ANCHORS: Final = 8  # candles before a hole to ask from
_NEAR: Final = 100  # candles before a hole in which one to ask from is looked for
_YEAR_MS: Final = 366 * DAY_MS


class Backfill:
    """A backfill: fetches ranges of one series into a store.

    Parameters
    ----------
    source, symbol
        Where candles are fetched, and the symbol in the source's spelling.
    store, series
        Where candles are saved.
    now
        The present at the exchange, UTC ms, fixed for this backfill.
    settle_ms
        Candles that closed less than this ago are not stored.
    settings
        For the check of anomalies.
    revise
        Whether other values replace stored ones, and marks of absence that one answer made are taken back where the
        answers do not prove them.
    on_progress
        Called with the start of a range and the moment reached in it: ``on_progress(first, reached)``, UTC ms.
    reach
        How far the source answers, as far as it is known.
    """

    def __init__(
        self,
        source: CandleSource,
        symbol: str,
        store: CandleStore,
        series: SeriesName,
        *,
        now: int,
        settle_ms: int,
        settings: Settings,
        revise: bool = False,
        on_progress: Callable[[int, int], object] | None = None,
        reach: Reach,
    ) -> None:
        self._source = source
        self._ask = partial(asked_candles, source, symbol, settings=settings)
        self._sessions, self._grid = sessions_of(source, symbol), bar_grid_of(source, symbol)
        self._negative = bool(getattr(source, "negative", False))
        self._floor = partial(slot_of, step=series.step, grid=self._grid)
        self._after = partial(bar_close, step=series.step, grid=self._grid)
        self._store = store
        self._series = series
        self._now = now
        self._settled = self._floor(now - settle_ms)
        self._settings = settings
        self._revise = revise
        self._on_progress = on_progress if on_progress is not None else lambda _first, _reached: None
        self._parts: list[Candles] = []
        self._marks: list[Range] = []  # absent
        self._doubted: list[Range] = []  # asked about, and not proven
        self._faults = AnswerFaults(series)
        self._reach = reach
        self._page = source.page_limit or max(_FALLBACK_PAGE, settings.max_candles_per_request)
        self.result = BackfillResult()

    async def fill(self, ranges: tuple[Range, ...]) -> BackfillResult:
        """Fetch the ranges; whatever ends this early, the pages that came are saved.

        Raises
        ------
        BadCandle
            A candle breaks a rule, twice; or it contradicts a stored one. The pages before it are saved.
        DataError
            The source did not answer.
        """
        step = self._series.step
        try:
            for since, end in ranges:
                until = min(end, self._floor(self._now))
                if since < until:
                    evidence = Evidence(step=step, page=self._page, grid=self._grid)
                    await self._collect(since, until, evidence)
                    await self._examine(since, min(until, self._settled), evidence)
        finally:
            self._save()
            self.result.notes.extend(self._faults.notes())
        return self.result

    # --- pages --------------------------------------------------------------------------------------------------

    async def _collect(self, since: int, until: int, evidence: Evidence) -> None:
        """Fetch every page of a range once."""
        paging = Paging.of(
            self._source,
            self._asked(since, until),
            size=self._size(),
            sessions=self._sessions,
            reach=self._reach,
            grid=self._grid,
        )
        while (page := paging.next()) is not None:
            if page.interval is not None:
                self.result.count_request()
                paging.looked((await self._ask(page.interval, page.since, page.limit)).timestamp)
                continue
            candles = await self._answer(page.since, page.limit, evidence)
            inside = _between(candles, since, until)
            if page.look:
                paging.looked(inside.timestamp)
            elif len(inside):
                last = int(inside.timestamp[-1])
                self._take(inside)
                paging.found(int(inside.timestamp[0]), last, len(inside))
                self._on_progress(since, last + self._series.step)
            elif len(candles):
                break  # the next candle lies after the range, or the answer is wrong: the hole is asked about
            else:
                paging.empty(answered=True)  # a hole is asked about when its range is through
            if len(self._parts) >= _SAVE_EVERY_PAGES:
                await self._save_aside()

    async def _answer(self, at: int, limit: int, evidence: Evidence) -> Candles:
        """The usable candles of an answer, from ``at`` on; they are evidence."""
        end = self._floor(self._now)
        for last in (False, True):
            self.result.count_request()
            answer = await self._ask(self._series.interval, at, limit)
            try:
                candles = self._usable(answer, at, end)
                break
            except BadCandle:
                if last:
                    raise
                # An answer may be garbled in transit; the same twice is the exchange's.
        if len(candles) or not len(answer) or int(answer.timestamp.max()) >= end:
            covered = min(limit, self._reach.sure) if self._reach.is_short else limit
            oldest = int(answer.timestamp.min(initial=at))
            evidence.answered(at, limit, candles.timestamp, oldest=oldest, covered=covered)
        else:
            self._faults.unusable(SINCE_IGNORED, at)
        return candles

    def _usable(self, answer: Candles, at: int, end: int) -> Candles:
        times, asked = answer.timestamp, self._asked(at, end)
        if len(times) and at <= int(times.min()) * 1000 and int(times.max()) * 1000 < end + self._series.step:
            raise BadCandle(
                f"{asked}: asked for {utc_text(at)}, got the open time {int(times.min())}\n"
                "these times look like seconds: multiply them by 1000"
            )
        check_length(times, self._series.step, asked)
        closes = _between(self._parts[-1], 0, at).close if self._parts else np.empty(0)
        before = float(closes[-1]) if len(closes) else None
        candles, repairs = audit(
            _between(answer, at, end), asked, settings=self._settings, now=self._now, before=before, grid=self._grid,
            negative=self._negative,
        )  # fmt: skip
        self.result.notes.extend(f"{self._series}: {repair}" for repair in repairs)
        return candles

    def _asked(self, since: int, until: int) -> CandleRequest:
        series = self._series
        return CandleRequest(
            exchange=series.exchange, symbol=series.symbol, interval=series.interval, since=since, until=until
        )

    def _size(self) -> int:
        return max(1, min(self._page, self._reach.newest or self._page))

    # --- holes --------------------------------------------------------------------------------------------------

    async def _examine(self, since: int, until: int, evidence: Evidence) -> None:
        """Ask about every hole until its candles came, it is absent, or it cannot be known."""
        step, limit = self._series.step, self._size()
        times = await self._times(since, until)
        evidence.known(times)
        done: list[Range] = []  # absent, closed, or given up
        tries: dict[Range, int] = defaultdict(int)
        silent: list[Range] = []  # absent because answers were empty, as long as none was that should not have been
        further: list[int] = []
        pending = holes_in(times, since, until, step=step, done=done, grid=self._grid)
        after = await self._behind(until) if pending else times[:0]
        while pending:
            hole = first, end = pending[0]
            if not open_slots([hole], step, self._sessions, self._grid):
                self._marks.append(hole)
                done.append(pending.popleft())
                continue
            at = int(np.searchsorted(times, first))
            before = times[max(0, at - _ANCHORS) : at]
            before = before[before >= first - _NEAR * step]
            begins, ends = not len(before) or self._after(int(before[-1])) != first, end == until
            later = not ends or len(after) > 0 or evidence.newest >= end
            absent = evidence.proven_until(hole, anchored=bool(len(before)), later=later, begins=begins, ends=ends)
            is_silent = absent == first and later and not len(before)
            if is_silent and not self._reach.is_short:  # of one that answers few, nothing shows little
                absent = evidence.silent_until(hole, limit)
            if absent > first and not len(before) and await self._has_longer(hole):
                done.append(pending.popleft())
                self._give_up(hole, later=later, is_newest=True)
                continue
            if absent > first:
                (silent if is_silent else self._marks).append((first, absent))
                done.append((first, absent))
                pending.popleft()
                if absent < end:
                    pending.appendleft((absent, end))
                continue
            leading = [] if len(before) else evidence.leading(hole, ends=ends)
            is_newest = len({answer.last for answer in leading}) >= ENOUGH
            if is_newest and await self._ask_further(first, leading, limit, further, evidence):
                continue
            number = tries[hole]
            tries[hole] += 1
            if is_newest or number >= (_TRIES if later else _END_TRIES if until < self._settled else 0):
                done.append(pending.popleft())
                self._give_up(hole, later=later, is_newest=is_newest)
                continue
            question = question_about(first, before, number, step)
            question = question if self._grid is None else self._floor(question)
            fewer = limit if len(before) else evidence.limit(hole, question, limit, ends=ends)
            candles = await self._answer(question, fewer, evidence)
            if later and not len(before):
                seen = [evidence.newest] if evidence.newest >= 0 else []
                await self._control(candles, [*times[times >= end][:1], *after, *seen], evidence)
            await self._compare(candles)
            new = _between(candles, since, until)
            new = new.take(~np.isin(new.timestamp, times))
            if not len(new):
                continue
            self._take(new)
            if end - first > limit * step:  # there is more than one answer holds
                await self._collect(max(first, self._after(int(new.timestamp[-1]))), end, evidence)
            times = await self._times(since, until)
            evidence.known(times)
            pending = holes_in(times, since, until, step=step, done=done, grid=self._grid)
        self._conclude(silent, times, evidence)

    async def _ask_further(
        self, first: int, leading: list[Leading], limit: int, asked: list[int], evidence: Evidence
    ) -> bool:
        """Ask whether answers hold the newest candles: once behind these, once for a whole page from ``first`` on.

        Returns whether there was something to ask; ``asked`` are the questions of this range so far.
        """
        if len(asked) > 1 or (asked and evidence.has_page(leading)):
            return False
        since, count = (first, self._page) if asked else (evidence.newest + self._series.step, limit)
        asked.append(since)
        await self._answer(since, count, evidence)
        return True

    def _conclude(self, silent: list[Range], times: NDArray[np.int64], evidence: Evidence) -> None:
        """Mark what empty answers have proven, if they still do; note the answers that lacked candles."""
        if evidence.silence_is_nothing:
            for hole in silent:
                self._give_up(hole, later=True, is_newest=False)
        else:
            self._marks.extend(silent)
        for question, begun in sorted(evidence.late):
            if np.searchsorted(times, question) < np.searchsorted(times, begun):
                self._faults.unusable(LACKED_CANDLES, question)

    async def _control(self, answer: Candles, known: Sequence[int], evidence: Evidence) -> None:
        """After an empty answer, ask for the first of these moments, whose candle is known, to see what empty means.

        Without one, nothing is asked, and the empty answer proves nothing.
        """
        if known and not len(answer):
            first, size = int(known[0]), self._size()
            candles = await self._answer(first, size, evidence)
            evidence.controlled(held=len(candles) > 0)
            behind = int(candles.timestamp[-1]) + self._series.step if len(candles) else first
            count = (behind - first) // self._series.step
            if 0 < count < size and len(await asyncio.to_thread(self._store.read, self._series, behind, behind + 1)):
                self._reach.answered(count)
                self._reach.ended(count)

    async def _compare(self, candles: Candles) -> None:
        """Note the candles that were answered otherwise before."""
        if len(candles):
            first, last = candles.timestamp[[0, -1]].tolist()
            stored = await asyncio.to_thread(self._store.read, self._series, first, last + self._series.step)
            self._faults.compare(candles, stored)

    async def _has_longer(self, hole: Range) -> bool:
        """Whether the exchange has daily candles in a hole: the others are then out of its reach, not absent."""
        first, end = ceil_to(hole[0], DAY_MS), floor_to(hole[1], DAY_MS)
        if self._series.step >= DAY_MS or "1d" not in (self._source.intervals or ()) or first >= end:
            return False
        self.result.count_request()
        return len(_between(await self._ask("1d", first, (end - first) // DAY_MS), first, end)) > 0

    async def _times(self, since: int, until: int) -> NDArray[np.int64]:
        """The open times of what is stored in a range, and shortly before it."""
        await self._save_aside()
        stored = await asyncio.to_thread(self._store.read, self._series, since - _NEAR * self._series.step, until)
        return stored.timestamp

    async def _behind(self, until: int) -> NDArray[np.int64]:
        """The open time of the first stored candle within a year from ``until`` on, if there is one."""
        for _, first, end in periods(until, until + _YEAR_MS, self._series.step):
            stored = await asyncio.to_thread(self._store.read, self._series, max(first, until), end)
            if len(stored):
                return stored.timestamp[:1]
        return np.empty(0, dtype=np.int64)

    def _give_up(self, hole: Range, *, later: bool, is_newest: bool) -> None:
        self._doubted.append(hole)
        if is_newest:
            self._faults.out_of_reach(hole)
        elif later:
            self._faults.unknown(hole)

    # --- saving -------------------------------------------------------------------------------------------------

    def _take(self, candles: Candles) -> None:
        split = int(np.searchsorted(candles.timestamp, self._settled))
        self._parts.append(candles[:split])
        if split < len(candles):
            self.result.add_fresh(candles[split:])

    async def _save_aside(self) -> None:
        """Save in a thread; when this is cancelled, what came is kept before it ends."""
        saving = asyncio.ensure_future(asyncio.to_thread(self._save))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await saving
            raise

    def _save(self) -> None:
        """Save the pages that came so far, and what is absent."""
        parts, marks, doubted = self._parts, self._marks, self._doubted
        self._parts, self._marks, self._doubted = [], [], []
        candles = Candles.empty()
        if parts:
            together = Candles.concat(parts)
            _, places = np.unique(together.timestamp, return_index=True)
            candles = together.take(places)
        known = merged([*runs(candles.timestamp, self._series.step, self._grid), *marks])
        if known or (doubted and self._revise):
            stored = self._store.put(
                self._series,
                candles,
                known=known,
                now=self._now,
                revise=self._revise,
                doubted=doubted if self._revise else (),
                grid=self._grid,
                negative=self._negative,
            )
            self.result.count(stored)


def _between(candles: Candles, since: int, until: int) -> Candles:
    return candles.take((candles.timestamp >= since) & (candles.timestamp < until))
