"""The candles of a run in memory, and the read access a strategy has to them.

``Window.newest`` answers with candles that have closed, in memory of their own: what it hands out cannot lead back
to anything later, not even through the base of an array.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import minute_text
from ..domain.interval import DAY_MINUTES, DAY_MS, MINUTE_MS, WEEK, candles_since_1970, interval_ms, least_ms
from ..errors import BadCandle, DataError, GapError, NotEnoughData, UsageError
from .bar_slots import bar_before, bar_close, slot_of
from .candle_listener import CandleListener
from .candles import Candles, part_copied
from .candles_of_one_symbol import Series, end_of, prices_of
from .fetch_loop import fetch_now, submit
from .measured_bar_length import check_made_of
from .resample import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from .calendar_candles import CalendarCandles
    from .candles_in_mapped_files import CandleFiles
    from .feed import Feed
    from .late_symbols import LateSymbols
    from .panel import Panel
    from .panel_matrix import PanelMatrix
    from .patience_for_missing_candles import Awaited

_HEADROOM: Final = 64  # candles fetched beyond what was asked, so that a slightly longer look back finds them
MANY_BARS: Final = 5_000_000  # ten years of minutes: what a look-back is made of is told from here on
_FARTHEST_MS: Final = 366 * DAY_MS  # candles are looked for behind holes of this length in all
_BEFORE_MS: Final = 7 * DAY_MS  # before candles that begin later than asked, others are looked for behind such a hole
_MIN_CANDLES: Final = DAY_MINUTES  # a live run holds at least as many candles of every series


class Window:
    """The candles of a run in memory, loaded from its feed when needed.

    ``base`` is the interval of the bars that all longer candles are made of; ``None``: the finest of the source.
    ``horizon`` is the end of what it may load (UTC ms, exclusive). For a backtest it is fixed. For a live run
    (``growing``) it moves on, and every series grows up to it when it is next asked for. ``patience_ms`` is how long
    a growing window waits for candles that are missing between others: until then, candles behind them are refused as
    not here yet. 0: what is missing is a hole as soon as a later candle is here.

    ``on_candles`` is called once candles are in memory. A growing window does not wait for it, and what it raises goes
    to ``failed``, on the fetching loop; without ``failed`` it reaches whoever loads candles.

    ``why_base`` says why ``base`` was chosen, where the finest begin too late: holes and bad candles of these bars, and
    questions for finer ones, are refused with it.
    """

    is_cut = False
    """Whether a look-ahead check took away where its history begins: what is missing is no young symbol."""

    def __init__(
        self,
        feed: Feed,
        *,
        horizon: int,
        base: str | None = None,
        growing: bool = False,
        patience_ms: int = 0,
        on_candles: Callable[[str, str, int, int, Candles], object] | None = None,
        failed: Callable[[Exception], object] | None = None,
        why_base: str = "",
    ) -> None:
        self._growing, self._why_base = growing, why_base
        self._patience_ms = patience_ms
        self._awaited: dict[tuple[str, str], Awaited] = {}
        self._feed = feed
        self._listener = CandleListener(on_candles, beside=growing, failed=failed, timeout_seconds=feed.timeout_seconds)
        self.horizon = horizon
        self.files: CandleFiles | None = None  # where large arrays are kept in files
        self._series: dict[tuple[str, str], Series] = {}
        self._by_calendar: CalendarCandles | None = None
        self._loading: dict[tuple[str, str], asyncio.Lock] = {}  # used on the fetching loop only
        self._late_symbols: LateSymbols | None = None
        self.warn, self.allow_gaps = feed.warn, feed.allow_gaps
        self._told: set[str] = set()
        self.gather_closed, self.tell_closed = feed.gather_closed, feed.tell_closed
        self.matrices: dict[object, PanelMatrix] = {}  # of the panels that were asked for
        self.ended: set[str] = set()  # symbols of which no minute was found that a run still needed after the horizon
        self.settings = feed.settings
        self.source = feed.source
        self.sessions = feed.sessions
        self.sessions_of = feed.sessions_of  # of a symbol that may have its own
        self.grid_of = feed.grid_of  # of a symbol whose bars do not open at multiples of their length
        self.base = feed.base if base is None else base
        self.base_ms = interval_ms(self.base)
        count = feed.settings.avg_price_candles_count
        self.price_count = count if self.base_ms == MINUTE_MS else 1  # how many candles a price is made of

    def warn_once(self, text: str) -> None:
        """Warn, the first time that this is told."""
        if text not in self._told:
            self._told.add(text)
            self.warn(text)

    def grow_to(self, horizon: int) -> None:
        """Let candles be loaded up to a later horizon (UTC ms, exclusive)."""
        self.horizon = max(self.horizon, horizon)

    async def load(self, symbol: str, interval: str, since: int, *, search: bool = True) -> Series:
        """The candles from ``since`` (UTC ms) to the horizon, loaded when they are not in memory.

        ``search``: see :meth:`bknb.market.feed.Feed.fetch`.
        """
        async with self._loading.setdefault((symbol, interval), asyncio.Lock()):
            series = self._series.get((symbol, interval))
            if series is None or series.since > since:
                with self._saying_why_base():
                    series = await self._fetch(symbol, interval, since, held=series, search=search)
            elif self._growing and series.until < slot_of(self.horizon, series.step, series.grid):
                series = await self._grown(symbol, interval, series, since)
            series.regular = series.regular and not self.is_by_calendar(symbol, interval)
            self._keep((symbol, interval), series)
        await self._listener.notify()
        return series

    @contextmanager
    def _saying_why_base(self) -> Iterator[None]:
        """Add to what is refused why its base bars were chosen."""
        try:
            yield
        except (GapError, BadCandle, UsageError) as error:
            if self._why_base and self._why_base not in str(error):  # a longer candle is made of base bars
                error.args = (f"{error}\n{self._why_base}",)
            raise

    def _keep(self, key: tuple[str, str], series: Series) -> Series:
        if self.files is not None:
            series.keep_in(self.files)
        self._series[key] = series
        return series

    async def load_closed(self, symbol: str, interval: str, when: int, count: int, *, since: int) -> Series:
        """The candles from ``since`` to the horizon; across holes from so early on that ``count`` have closed.

        Parameters
        ----------
        when
            The moment (UTC ms) at which they have closed.
        since
            Where ``count`` candles up to ``when`` begin when none is missing, or earlier (UTC ms).
        """
        series = await self.load(symbol, interval, since)
        if not self._may_have_holes(series):
            return series
        near = self._patience_ms and series.regular  # there may be nothing before it
        farthest = count * series.step + _BEFORE_MS if near else max(_FARTHEST_MS, 4 * count * series.step)
        earliest = max(0, when - farthest)
        while series.available(when) < count and series.since > earliest:
            further = max(2 * (when - series.since), DAY_MS)
            series = await self._load_before(symbol, interval, max(earliest, when - further))
        return series

    async def _load_before(self, symbol: str, interval: str, since: int) -> Series:
        """The series in memory with what the source has from ``since`` (UTC ms) on before it."""
        if not self._is_native(interval):
            await self._load_before(symbol, self.base, since)
        async with self._loading.setdefault((symbol, interval), asyncio.Lock()):
            series = self._series[symbol, interval]
            if series.since <= since:
                return series
            candles, until = series.candles, series.until
            if self._is_native(interval):
                before = await self._before(series, symbol, interval, since)
                self._listener.came(symbol, interval, since, before)
                candles = Candles.concat([before, candles])
                self._note_missing(symbol, interval, candles)
            else:
                made = await self._fetch(symbol, interval, since)
                candles, until = made.candles, made.until
            series = series.with_candles(candles, since=since, until=until)
            series.regular = series.regular and not self.is_by_calendar(symbol, interval)
            self._keep((symbol, interval), series)
        await self._listener.notify()
        return series

    async def _before(self, series: Series, symbol: str, interval: str, since: int) -> Candles:
        """Candles from ``since`` (UTC ms) to the first one of a series, asked for together with some of the series.

        Nothing is no answer then, see :meth:`bknb.market.feed.Feed.fetch`.
        """
        known = _beside(series, series.start)
        found = await self._feed.fetch(
            symbol,
            interval,
            since,
            bar_close(known[-1], series.step, series.grid) if known else series.since,
            continued=True,
            known=known,
            once=self._growing,
        )
        return found[: int(np.searchsorted(found.timestamp, series.start))]

    @property
    def _late(self) -> LateSymbols:
        """What a strategy of a live run looked at and was not here."""
        if self._late_symbols is None:
            from .late_symbols import LateSymbols  # live runs alone need it

            self._late_symbols = LateSymbols(self.source.name, self.warn)
        return self._late_symbols

    @property
    def _gives_up(self) -> bool:
        """Whether what did not come within a minute is taken for a hole."""
        return self._feed.allow_gaps and not self._patience_ms

    def _may_have_holes(self, series: Series) -> bool:
        """Whether candles may be missing in a series: where holes are waited for, it shows, begins late or is empty."""
        begins_late = series.start >= series.since + series.step or not len(series.candles)
        return self._feed.allow_gaps and not (self._patience_ms and series.regular and not begins_late)

    async def fill(self, symbol: str, interval: str, since: int, until: int) -> None:
        """Fetch candles once more that are missing between others, in ``[since, until)``, and put in what has come.

        They are asked for once, together with candles beside them: nothing is no answer then.

        Raises
        ------
        DataError
            There was no answer.
        """
        if not self._is_native(interval):
            interval = self.base
        async with self._loading.setdefault((symbol, interval), asyncio.Lock()):
            series = self._series[symbol, interval]
            place = int(np.searchsorted(series.candles.timestamp, since))
            close = float(series.candles.close[place - 1]) if place else None
            first, behind = bar_before(since, series.step, series.grid), _beside(series, until)
            known = behind if not place or int(series.candles.timestamp[place - 1]) < first else (first, *behind)
            end = bar_close(behind[-1], series.step, series.grid) if behind else until
            found = await self._feed.fetch(
                symbol, interval, first, end, continued=True, before=close, known=known, once=True
            )
            fresh = found.take(~np.isin(found.timestamp, series.candles.timestamp))
            if not len(fresh):
                return
            self._listener.came(symbol, interval, since, fresh)
            both = Candles.concat([series.candles, fresh])
            candles = both.take(np.argsort(both.timestamp, kind="stable"))
            series = series.with_candles(candles, since=series.since, until=series.until)
            self._keep((symbol, interval), series)
            for key in list(self._series):
                if key[0] == symbol and not self._is_native(key[1]):  # made from these minutes
                    del self._series[key]
        await self._listener.notify()

    async def load_after(self, symbol: str, until: int) -> Series:
        """The base bars of a symbol that was loaded before, up to ``until`` (UTC ms), which is after the horizon."""
        async with self._loading.setdefault((symbol, self.base), asyncio.Lock()):
            series = self._series[symbol, self.base]
            last = end_of(series.candles, series.step) - series.step
            known = (last,) if last + series.step == series.until else ()
            since = known[0] if known else series.until
            with self._saying_why_base():
                after = await self._feed.fetch(symbol, self.base, since, until, continued=True, known=known)
            after = after[int(np.searchsorted(after.timestamp, series.until)) :]
            candles = series.candles
            if len(after):
                candles = Candles.concat([candles, after])
                edge = candles[max(0, len(series.candles) - 1) : len(series.candles) + 1]
                self._feed.check_gaps(edge, self._feed.request(symbol, self.base, series.until, until), continued=True)
            series = series.with_candles(candles, since=series.since, until=until)
            return self._keep((symbol, self.base), series)

    def end_minutes(self, symbol: str, until: int) -> Series:
        """The base bars of a symbol without those that open at or after ``until`` (UTC ms)."""
        series = self.minutes(symbol)
        candles = series.candles[: int(np.searchsorted(series.candles.timestamp, until))]
        series = series.with_candles(candles, since=series.since, until=until)
        return self._keep((symbol, self.base), series)

    def kept(self, array: NDArray[Any]) -> NDArray[Any]:
        """The same values, in a file where this window keeps large arrays in files."""
        return array if self.files is None else self.files.put(array)

    def passed(self, when: int) -> None:
        """Note that a run over history came to a moment (UTC ms): few of the candles before it are read again."""
        if self.files is not None:
            self.files.passed(when)

    def hold_callbacks(self) -> None:
        """Do not call ``on_candles`` until :meth:`release_callbacks`."""
        self._listener.holds = True

    async def release_callbacks(self) -> None:
        """Call ``on_candles`` with what has come meanwhile, and from now on as candles come."""
        self._listener.holds = False
        await self._listener.notify()

    async def notified(self) -> None:
        """Return when ``on_candles`` has been called with everything that is in memory."""
        await self._listener.notified()

    def _is_native(self, interval: str) -> bool:
        native = self.source.intervals
        if interval == self.base:
            return True
        return (native is None or interval in native) and interval_ms(interval) > self.base_ms

    async def _grown(self, symbol: str, interval: str, series: Series, wanted: int) -> Series:
        """The series from ``wanted`` or earlier up to the horizon.

        Its last candle is fetched once more, so that a hole behind it is seen. Nothing is an answer all the same: the
        next look asks again, and an exchange that answers nothing for long is told as silent.
        """
        known = series.candles
        if not len(known):
            return await self._fetch(symbol, interval, series.since)
        last, grid = int(known.timestamp[-1]), series.grid
        sessions, end = self.sessions_of(symbol), slot_of(self.horizon, series.step, grid)
        if sessions is not None and sessions.next_open(bar_close(last, series.step, grid), end) >= end:
            return series  # the market has been closed since
        close = float(known.close[-1])
        fresh = (await self._fetch(symbol, interval, last, after=last, before=close)).candles
        behind = int(np.searchsorted(fresh.timestamp, last, side="right"))
        if behind == len(fresh):
            return series  # nothing new yet: what has not arrived is asked for again
        candles, since = Candles.concat([known, fresh[behind:]]), series.since
        in_time = self.horizon - end_of(candles, series.step, grid=grid) <= max(self._patience_ms, series.step)
        self._late.came(symbol, int(fresh.timestamp[behind]), in_time=in_time)
        held = max(series.span, _MIN_CANDLES)
        spare = min(len(candles) - held, int(np.searchsorted(candles.timestamp, wanted)))
        if spare > held:
            candles = candles[spare:].copy()
            since = int(candles.timestamp[0])
        return series.with_candles(candles, since=since, until=end_of(candles, series.step, grid=grid))

    async def _fetch(
        self,
        symbol: str,
        interval: str,
        since: int,
        *,
        after: int | None = None,
        before: float | None = None,
        held: Series | None = None,
        search: bool = True,
    ) -> Series:
        """The series from ``since`` (UTC ms) to the horizon; of one in memory that ends there, only what is before."""
        step = interval_ms(interval)
        if held is not None and (self._growing or held.until != self.horizon or not len(held.candles)):
            held = None
        known = None if held is None else held.candles
        if self._is_native(interval):
            candles = await self._feed.fetch(
                symbol, interval, since, self.horizon, before=before, growing=self._growing, held=known, search=search
            )
        else:
            if step % self.base_ms:
                check_made_of(interval, self.base, (self.base,), self.source.name)
            base = self._series.get((symbol, self.base))
            minutes = await self.load(symbol, self.base, since)
            if held is not None and base is not None and minutes.candles is base.candles:
                made_of_all = held.since <= slot_of(minutes.start, step, held.grid)
                if made_of_all:
                    return held.over(since)
            first = int(np.searchsorted(minutes.candles.timestamp, since))
            until = min(self.horizon, minutes.until)
            if self._growing and self._feed.allow_gaps:  # what has not come for so long is a hole
                until = max(until, self.horizon - max(self._patience_ms, self.base_ms))
            candles = resample(
                minutes.candles[first:],
                interval,
                allow_gaps=self._feed.allow_gaps,
                since=since,
                until=until,
                sessions=self.sessions_of(symbol),
                base_ms=self.base_ms,
                grid=self.grid_of(symbol),
            )
            if self._patience_ms and len(candles) and self._begins_within(minutes, int(candles.timestamp[0]), symbol):
                candles = candles[1:]
        self._listener.came(symbol, interval, since, candles, known=known)
        self._note_missing(symbol, interval, candles, after=after)
        grid = self.grid_of(symbol)
        until = end_of(candles, step, grid=grid) if self._growing and len(candles) else self.horizon
        if candles is known and held is not None:  # there is nothing before them
            return held.over(since)
        return Series(candles, step=step, since=since, until=until, grid=grid)

    def _begins_within(self, minutes: Series, opened: int, symbol: str) -> bool:
        """Whether the data of a symbol begins within the candle that opened at ``opened`` (UTC ms), not with it."""
        sessions = self.sessions_of(symbol)
        return opened < minutes.start and (
            sessions is None or sessions.next_open(opened, minutes.start) < minutes.start
        )

    def _note_missing(self, symbol: str, interval: str, candles: Candles, *, after: int | None = None) -> None:
        """Wait for what is missing behind ``after`` (UTC ms) from now on; what is in the past, since its end.

        What is missing right behind it has been waited for since a question lacked it.
        """
        if self._patience_ms:
            from .patience_for_missing_candles import Awaited  # few runs wait

            fresh = Awaited(self._patience_ms, sessions=self.sessions_of(symbol), grid=self.grid_of(symbol))
            awaited = self._awaited.setdefault((symbol, interval), fresh)
            times, step = candles.timestamp, interval_ms(interval)
            if after is not None and len(times) and times[-1] > after:
                waited_since = self._late.waited_since((symbol, interval))
                if waited_since is not None:
                    awaited.note(times[:2], step=step, now=waited_since, after=after)
            awaited.note(times, step=step, now=self.horizon, after=after)

    def series(self) -> dict[tuple[str, str], Series]:
        """Everything in memory now, by symbol and interval."""
        return dict(self._series)

    def take_over(self, series: Mapping[tuple[str, str], Series], ended: Iterable[str] = ()) -> None:
        """Take over candles that another window loaded, where those here do not reach as far."""
        for key, each in series.items():
            known = self._series.get(key)
            if known is None or each.reaches_further(known):
                self._series[key] = each
        self.ended.update(ended)

    @property
    def is_growing(self) -> bool:
        """Whether more candles come, as in a live run."""
        return self._growing

    def ready(self, symbol: str, interval: str, since: int) -> Series | None:
        """The candles from ``since`` to the horizon, if they are in memory already."""
        series = self._series.get((symbol, interval))
        if series is None or series.since > since or series.until < slot_of(self.horizon, series.step, series.grid):
            return None
        return series

    def known(self, symbol: str, interval: str) -> Series | None:
        """The series in memory; ``None`` when there is none."""
        return self._series.get((symbol, interval))

    def minutes(self, symbol: str) -> Series:
        """The base bars, mostly one-minute candles, of a symbol that was loaded before."""
        return self._series[symbol, self.base]

    def has_newest(self, symbol: str, interval: str, limit: int, when: int) -> bool:
        """Whether the ``limit`` newest candles that have closed at ``when`` (UTC ms) are in memory: none is fetched."""
        series = self._series.get((symbol, interval))
        if series is None or series.available(when) < limit:
            return False
        return series.until >= slot_of(min(when, self.horizon), series.step, series.grid)

    def newest(self, symbol: str, interval: str, limit: int, when: int, *, wait: bool = True) -> Candles:
        """The ``limit`` newest candles that have closed at ``when``; with ``wait`` none behind a hole still waited for.

        Raises
        ------
        UsageError
            For an unknown interval or a limit that is no whole number above 0.
        NotEnoughData
            When fewer exist; the text says what is missing.
        """
        series = self._series.get((symbol, interval))
        if series is not None and type(limit) is int and limit > 0:  # the path of every decision
            if series.regular:
                step = series.step
                last = ((when - when % step) - series.start) // step
            else:  # in history all that have closed are here, but for candles by the calendar
                last = 0 if self._growing or self.is_by_calendar(symbol, interval) else series.closed(when)
            candles = series.candles
            if limit <= last <= candles.block.shape[1]:
                return part_copied(candles, last - limit, last)
        return self._newest_slowly(symbol, interval, limit, when, wait=wait)

    def panel(self, symbols: Sequence[str], interval: str, limit: int, how: str, when: int) -> Panel:
        """The ``limit`` newest rows of candles of several symbols that have closed at ``when`` (UTC ms)."""
        from .panel import panel_of  # few need it

        return panel_of(self, symbols, interval, limit, how, when)

    def reach_back(self, symbol: str, when: int, step: int, count: int) -> int:
        """Where the ``count`` newest candles that have closed at ``when`` begin, UTC ms, when none is missing."""
        return self._feed.reach_back(symbol, when, step, count)

    def load_several(self, symbols: Sequence[str], interval: str, since: int, when: int) -> tuple[Series, ...]:
        """The candles of several symbols from ``since`` on, with those that have closed at ``when`` (UTC ms) as known.

        A symbol of which nothing came for as long as holes are waited for is not waited for any longer.

        Raises
        ------
        NotEnoughData
            When a candle that has closed is waited for.
        """
        step = interval_ms(interval)
        wanted = {symbol: slot_of(min(when, self.horizon), step, self.grid_of(symbol)) for symbol in symbols}
        lacking = [
            symbol
            for symbol in symbols
            if (known := self._series.get((symbol, interval))) is None
            or known.since > since
            or (self._growing and known.until < wanted[symbol])
        ]
        if lacking:
            fetch_now(self._load_several(lacking, interval, since))
        found = [self._series[symbol, interval] for symbol in symbols]
        if self._growing:
            for place, symbol in enumerate(symbols):
                series = found[place]
                count = series.available(when) - int(np.searchsorted(series.candles.timestamp, since))
                if self._patience_ms and not series.regular and count > 0:
                    series = found[place] = self._awaited_of(series, symbol, interval, count, when)
                if self._lacks_newest(series, symbol, when) and self._may_come(series, symbol, when):
                    self._refuse(series, symbol, interval, 1, when, lacking=True)
        return tuple(found)

    async def _load_several(self, symbols: Sequence[str], interval: str, since: int) -> None:
        await asyncio.gather(*(self.load(symbol, interval, since) for symbol in symbols))

    def _may_come(self, series: Series, symbol: str, when: int) -> bool:
        """Whether the newest candle of a live series, which is not here at ``when``, is worth waiting for.

        It is not where nothing came for longer than holes are waited for, or nothing at all so far. A candle of which a
        base bar is here comes.
        """
        base, grid = self._series.get((symbol, self.base)), series.grid
        newest = slot_of(when, series.step, grid)
        if base is None:  # the first candle that lacks was due a step behind the last one
            due = end_of(series.candles, series.step, grid=grid) + series.step if len(series.candles) else newest
            return self.horizon - due <= self._patience_ms
        silent_since = end_of(base.candles, base.step, grid=grid)  # 0: nothing came so far
        is_partly_here = end_of(series.candles, series.step, series.since, grid=grid) < silent_since
        return is_partly_here or self.horizon - silent_since <= max(self._patience_ms, self.base_ms)

    def since(self, symbol: str, interval: str, since: int, when: int) -> Candles:
        """The candles that open at or after ``since`` and have closed at ``when`` (UTC ms).

        Raises
        ------
        NotEnoughData
            When one that has closed is not here yet.
        """
        if self.is_by_calendar(symbol, interval):
            return self.calendar_candles().since(symbol, interval, since, when)
        step = interval_ms(interval)
        series = self._series.get((symbol, interval))
        if series is None or series.since > since:
            begin = self._feed.reach_back(symbol, since, step, _HEADROOM)
            series = fetch_now(self.load(symbol, interval, begin))
        elif self._growing and series.until < slot_of(min(when, self.horizon), step, series.grid):
            series = fetch_now(self.load(symbol, interval, series.since))
        count = series.available(when) - int(np.searchsorted(series.candles.timestamp, since))
        if count > 0:
            return self.newest(symbol, interval, count, when)
        newest = bar_before(slot_of(when, step, series.grid), step, series.grid)
        may_lack = (self._growing or len(series.candles)) and since <= newest
        if may_lack and self._lacks_newest(series, symbol, when):
            self._refuse(series, symbol, interval, 1, when, lacking=True)
        return Candles.empty()

    def is_by_calendar(self, symbol: str, interval: str) -> bool:
        """Whether candles of an interval begin and end by the calendar of the market, not by the clock."""
        if interval == "1d":
            return self.base_ms < DAY_MS and self.sessions_of(symbol) is not None
        return interval == "1M" or (interval == WEEK and self.base != WEEK)

    def calendar_candles(self) -> CalendarCandles:
        """Its candles of days, weeks and months by the calendar of the market."""
        if self._by_calendar is None:
            from .calendar_candles import CalendarCandles, check_days  # few strategies look at them

            check_days(self.base, self.source.name)

            self._by_calendar = CalendarCandles(
                self, allow_gaps=self._feed.allow_gaps, waits=self._growing and self._patience_ms > 0
            )
        return self._by_calendar

    def _newest_slowly(self, symbol: str, interval: str, limit: int, when: int, *, wait: bool) -> Candles:
        by_calendar = self.is_by_calendar(symbol, interval)
        step = 0 if by_calendar else interval_ms(interval)
        if isinstance(limit, bool) or not hasattr(limit, "__index__") or limit.__index__() <= 0:
            raise UsageError(f"limit must be a whole number of candles above 0, got {limit!r}")
        given: object = symbol
        if not (isinstance(given, str) and given):
            raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r}")
        limit = limit.__index__()
        if limit > candles_since_1970(interval, when):
            wanted = f"{limit} closed {interval} candles of {symbol} were asked for at {minute_text(when)} UTC"
            raise NotEnoughData(f"{wanted}, which would begin before 1970\nask for fewer candles")
        if by_calendar or not self._is_native(interval):
            self._tell_of_many(symbol, interval, limit, least_ms(interval) * limit // self.base_ms)
        if by_calendar:
            return self.calendar_candles().newest(symbol, interval, limit, when, wait=wait)
        series = self._series.get((symbol, interval))
        if series is None or self._is_short_of(series, symbol, limit, when):
            oldest = self._feed.reach_back(symbol, when, step, limit)
            since = self._feed.reach_back(symbol, oldest, step, _HEADROOM)
            series = fetch_now(self.load_closed(symbol, interval, when, limit, since=since))
        elif self._growing and series.until < slot_of(min(when, self.horizon), step, series.grid):
            series = fetch_now(self.load(symbol, interval, series.since))
        if wait and self._patience_ms and not series.regular:
            series = self._awaited_of(series, symbol, interval, limit, when)
        last, lacking = series.available(when), self._lacks_newest(series, symbol, when)
        if last < limit or lacking:
            self._refuse(series, symbol, interval, limit, when, lacking=lacking)
        return series.candles[last - limit : last].copy()

    def _tell_of_many(self, symbol: str, interval: str, limit: int, bars: int) -> None:
        """Warn once before what candles are made of is fetched, where that is much."""
        if bars > MANY_BARS and self._feed.told.is_first(symbol, interval, "look-back"):
            made = f"{limit:,} {interval} candles of {symbol} are made of {bars:,} {self.base} candles"
            self.warn(f"{made}, which are fetched and kept in memory first; longer bars of the run (base=) are fewer")

    def _is_short_of(self, series: Series, symbol: str, limit: int, when: int) -> bool:
        """Whether a series has fewer than ``limit`` candles that have closed at ``when``, and older ones may be had."""
        if series.available(when) >= limit:
            return False
        return self._may_have_holes(series) or series.since > self._feed.reach_back(symbol, when, series.step, limit)

    def _awaited_of(self, series: Series, symbol: str, interval: str, limit: int, when: int) -> Series:
        """The series with what has come of the candles that are missing; late while one is still waited for."""
        name = interval if self._is_native(interval) else self.base
        awaited, known = self._awaited.get((symbol, name)), self._series.get((symbol, name))
        if awaited is None or known is None:
            return series
        hole: tuple[int, int] | None = None
        for last_try in (False, True):
            times = known.candles.timestamp
            oldest = int(series.candles.timestamp[max(series.available(when) - limit, 0)])
            first, last = np.searchsorted(times, [oldest, when])
            hole = awaited.first(times[max(int(first) - 1, 0) : int(last) + 1], step=known.step, now=self.horizon)
            if hole is None or hole[0] >= when:  # what is missing behind it is seen by later questions
                return series
            if not last_try:
                with suppress(DataError):  # there was no answer
                    fetch_now(self.fill(symbol, name, *hole))
                known = self._series[symbol, name]
                series = fetch_now(self.load(symbol, interval, series.since))
        assert hole is not None  # the loop ended  # noqa: S101
        text = f"{limit} closed {interval} candles of {symbol} were asked for at {minute_text(when)} UTC"
        raise NotEnoughData(
            f"{text}\n{self.source.name} has not answered those from {minute_text(hole[0])} UTC on yet", late=True
        )

    def _lacks_newest(self, series: Series, symbol: str, when: int) -> bool:
        """Whether a candle that has closed at ``when`` is not here, and has not turned out to be a hole.

        It is a hole where gaps are allowed, none of its minutes is here, and a later minute is; or where nothing came
        within a minute after its end, or for as long as holes are waited for: the symbol is silent then. In a backtest
        with gaps allowed the later minute makes no difference: that there is none, and a symbol never trades again, is
        known to nobody at ``when``.
        """
        step, grid = series.step, series.grid
        newest, end = slot_of(when, step, grid), end_of(series.candles, step, series.since, grid=grid)
        if end >= newest or (not self._growing and series.closed(when) <= len(series.candles)):
            return False
        sessions = self.sessions_of(symbol)
        if sessions is not None and sessions.next_open(end, newest) >= newest:
            return False
        minutes = self._series.get((symbol, self.base))
        if self._patience_ms and minutes is not None:
            opened = slot_of(minutes.start, step, grid)
            if newest == bar_close(opened, step, grid) and self._begins_within(minutes, opened, symbol):
                return False  # without gaps allowed there is no candle in which the data begins
        if self._feed.allow_gaps and minutes is not None:
            first, behind = np.searchsorted(minutes.candles.timestamp, [end, newest])
            if first < behind:
                return True
            if behind < len(minutes.candles):
                return False
        if not self._growing:
            return not self._feed.allow_gaps
        if not (self._gives_up and newest + self.base_ms <= self.horizon) and self._may_come(series, symbol, when):
            return True
        if self._patience_ms:
            self._late.silent(symbol, end, when, self.horizon)
        else:
            self._late.older_seen(symbol, when)
        return False

    def _refuse(self, series: Series, symbol: str, interval: str, limit: int, when: int, *, lacking: bool) -> None:
        candles, last = series.candles, series.available(when)
        wanted = f"{limit} closed {interval} candles of {symbol} were asked for at {minute_text(when)} UTC"
        if not len(candles):
            raise NotEnoughData(f"{wanted}\n{self.source.name} has none before that moment")
        first = f"{minute_text(int(candles.timestamp[0]))} UTC"
        if lacking:
            end = f"{minute_text(int(candles.timestamp[-1]) + series.step)} UTC"
            if self._growing:
                self._late.refused((symbol, interval if self._is_native(interval) else self.base), self.horizon)
            raise NotEnoughData(f"{wanted}\nthe data of {self.source.name} ends at {end}", late=self._growing)
        raise NotEnoughData(
            f"{wanted}, only {max(last, 0)} exist: the data of {self.source.name} begins at {first}\n"
            "start the frame later or ask for fewer candles",
            available=max(last, 0),
        )

    def average_price(self, symbol: str, when: int) -> float:
        """VWAP of the newest closed one-minute candles at ``when``, quote currency; of longer bars the last close."""
        count = self.price_count
        series = self._series.get((symbol, self.base))
        if series is not None and (series.averages is not None or not self._growing):
            step = series.step
            last = (when - when % step - series.start) // step if series.regular else series.closed(when)
            if series.averages is not None and count <= last <= len(series.averages):  # the path of nearly every price
                return series.averages.item(last - 1)
            if count <= last <= len(series.candles):
                return series.average_price(last, count)
        candles = self.newest(symbol, self.base, count, when, wait=False)
        return float(prices_of(candles, self.base_ms, count)[-1])

    def average_prices(self, symbol: str) -> NDArray[np.float64]:
        """For each base bar in memory the average price of the window that ends with it: of a longer one its close."""
        return self.minutes(symbol).average_prices(self.price_count)

    async def load_run(self, symbol: str, start: int) -> Series:
        """Load the base bars of a run that starts at ``start``, with what its first average price needs."""
        count = self.price_count
        since = self._feed.reach_back(symbol, start, self.base_ms, count)
        return await asyncio.wrap_future(submit(self.load_closed(symbol, self.base, start, count, since=since)))


def _beside(series: Series, when: int) -> tuple[int, ...]:
    """The open time (UTC ms) of a candle to ask for with those before ``when``; nothing where none opens at ``when``.

    It is the newest of some: a source may not hold the older ones for long.
    """
    times = series.candles.timestamp
    first, end = np.searchsorted(times, [when, when + _HEADROOM * series.step])
    return (int(times[end - 1]),) if first < end and int(times[first]) == when else ()
