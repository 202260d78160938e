"""Backfill of a candle store: missing ranges are fetched page by page, checked, and saved as they come.

A moment without a candle counts as *absent* only when two requests did not return it and the exchange has shown a later
candle; an empty end of the data proves nothing and is requested again next time. Candles that closed less than the
settling time ago are returned and not stored: an exchange may still correct them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import floor_to
from ..domain.ranges import Range
from ..errors import BadCandle, NotEnoughData
from ..market.candles import Candles
from ..market.quality import CandleRequest, audit, gaps
from ..market.sessions import Sessions
from ..ports import CandleSource
from .partition import SeriesName
from .store import CandleStore, Stored, united

_SAVE_EVERY_PAGES: Final = 10
_FALLBACK_PAGE: Final = 1000


@dataclass(slots=True)
class BackfillResult:
    """Result of one backfill.

    Attributes
    ----------
    added : int
        New candles on disk.
    revised, late : list of int
        Open times (UTC ms); see :class:`bknb.history.store.Stored`.
    pages : int
        Requests that were made.
    fresh : Candles
        Closed candles too young to be stored.
    notes : list of str
        What was repaired on the way.
    """

    added: int = 0
    revised: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    pages: int = 0
    fresh: Candles = field(default_factory=Candles.empty)
    notes: list[str] = field(default_factory=list)

    def count(self, stored: Stored) -> None:
        """Add the result of one :meth:`CandleStore.put`."""
        self.added += stored.added
        self.revised.extend(stored.revised)
        self.late.extend(stored.late)

    def count_request(self) -> None:
        """Count one request of a page."""
        self.pages += 1

    def add_fresh(self, candles: Candles) -> None:
        """Append closed candles that are too young to be stored."""
        self.fresh = Candles.concat([self.fresh, candles])


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
        Whether other values replace stored ones.
    on_progress
        Called with the start of a range and the moment reached in it: ``on_progress(first, reached)``, UTC ms.
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
    ) -> None:
        self._source = source
        self._symbol = symbol
        self._sessions: Sessions | None = getattr(source, "sessions", None)
        self._store = store
        self._series = series
        self._now = now
        self._settled = floor_to(now - settle_ms, series.step)
        self._settings = settings
        self._revise = revise
        self._on_progress = on_progress if on_progress is not None else _ignore
        self._parts: list[Candles] = []
        self._known: list[Range] = []
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
                until = min(end, floor_to(self._now, step))
                if since < until:
                    await self._walk(since, until)
        finally:
            self._save()
        return self.result

    async def _walk(self, since: int, until: int) -> None:
        step, size = self._series.step, self._size()
        at = since  # everything before was requested
        proven = since  # everything before has a candle or is absent
        while at < until:
            limit = min(size, (until - at) // step)
            page, beyond = await self._page(at, until, limit=limit)
            if len(page) or beyond:
                reached = until if beyond and not len(page) else int(page.timestamp[-1]) + step
                if self._holes(page, proven, reached):
                    page = await self._refetched(page, proven, reached)
                self._take(page, (proven, reached))
                at = proven = reached
                self._on_progress(since, at)
                if len(self._known) >= _SAVE_EVERY_PAGES:
                    await asyncio.to_thread(self._save)
                continue
            at += limit * step
            self._on_progress(since, min(at, until))
            if at < until and not await self._shows_later(max(at, until - size * step), until):
                break
        if proven < until and self._has_later(until):
            # The store holds a later candle: what a second request does not return either is absent.
            page, _ = await self._page(proven, until, limit=min(size, (until - proven) // step))
            self._take(page, (proven, until))

    async def _shows_later(self, since: int, until: int) -> bool:
        page, beyond = await self._page(since, until, limit=(until - since) // self._series.step)
        return bool(len(page)) or beyond

    def _has_later(self, until: int) -> bool:
        later = self._store.known(self._series, until, until + self._series.step)
        return bool(later) and bool(len(self._store.read(self._series, until, until + 366 * 86_400_000)))

    def _holes(self, page: Candles, since: int, until: int) -> bool:
        step = self._series.step
        if len(page) == (until - since) // step:
            return False
        if self._sessions is None:
            return True
        first = page.timestamp[:1].tolist() or [until]
        edges = [(since, first[0]), *gaps(page.timestamp, step)]
        return bool(self._sessions.open_part(edges, step))

    async def _refetched(self, page: Candles, since: int, until: int) -> Candles:
        """The page with the candles of a second request; what neither answer holds is absent."""
        limit = min(self._size(), (until - since) // self._series.step)
        second, _ = await self._page(since, until, limit=limit)
        return united(page, second)

    async def _page(self, at: int, until: int, *, limit: int) -> tuple[Candles, bool]:
        """The usable candles of one answer, and whether it showed a candle after the range."""
        for last in (False, True):
            self.result.count_request()
            answer = await self._source.get_candles(self._symbol, self._series.interval, at, limit)
            times = answer.timestamp
            beyond = bool((times >= until).any())
            if len(times) and not ((times >= at) & (times < until)).any():
                if not beyond and not (times % self._series.step == 0).all():
                    audit(answer, self._asked(at, until), settings=self._settings)  # raises, with the reason
                return Candles.empty(), beyond
            if beyond or (len(times) and int(times.min()) < at):
                answer = _inside(answer, at, until)
            try:
                page, repairs = audit(answer, self._asked(at, until), settings=self._settings, now=self._now)
            except NotEnoughData:
                return Candles.empty(), True
            except BadCandle:
                if last:
                    raise
                continue  # an answer may be garbled in transit; the same twice is the exchange's
            for repair in repairs:
                noun = "candle" if repair.count == 1 else "candles"
                self.result.notes.append(
                    f"{self._series}: {repair.rule}: {repair.count} {noun}, the first at {utc_text(repair.first)}"
                )
            return page, beyond
        raise AssertionError("unreachable")

    def _asked(self, since: int, until: int) -> CandleRequest:
        series = self._series
        return CandleRequest(
            exchange=series.exchange, symbol=series.symbol, interval=series.interval, since=since, until=until
        )

    def _size(self) -> int:
        return max(1, self._source.page_limit or max(_FALLBACK_PAGE, self._settings.max_candles_per_request))

    def _take(self, page: Candles, known: Range) -> None:
        split = int(np.searchsorted(page.timestamp, self._settled))
        self._parts.append(page[:split])
        self._known.append((known[0], min(known[1], max(self._settled, known[0]))))
        if split < len(page):
            self.result.add_fresh(page[split:])

    def _save(self) -> None:
        """Save the pages that came so far."""
        parts, known = self._parts, self._known
        self._parts, self._known = [], []
        if known:
            # Ranges come in order of time, and so do their pages.
            self.result.count(
                self._store.put(self._series, Candles.concat(parts), known=known, now=self._now, revise=self._revise)
            )


def _inside(candles: Candles, since: int, until: int) -> Candles:
    return candles.take((candles.timestamp >= since) & (candles.timestamp < until))


def _ignore(_: int, __: int) -> None:
    return None
