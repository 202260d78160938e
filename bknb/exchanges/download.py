"""Download of a market's history: fetched once, stored, and shared by every run.

The work is done on the fetch loop; the caller waits, sees the progress, and may interrupt it: what came stays stored.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE, MINUTE_MS, WEEK, floor_to, interval_ms
from ..domain.ranges import Range, Ranges, length, merged
from ..engine.plan import checked_symbol
from ..engine.registration_checks import as_moment
from ..engine.resolve import resolve_exchange, resolve_frame
from ..errors import UnknownName, UsageError
from ..frontend import frontend
from ..history.cached_source import StoredSource
from ..history.candle_store import DEFAULT_FOLDER, CandleStore
from ..history.partition import SeriesName, periods
from ..market.bar_slots import slot_from, slot_of
from ..market.content_hash_of_candles import content_hash
from ..market.fetch_loop import submit
from ..market.measured_bar_length import base_of
from ..market.source_hours import bar_grid_of
from ..market.system_clock import SystemClock, stopwatch
from ..ports import CandleSource
from .ccxt_stored_and_from_store import ccxt, is_in_no_store, stored
from .downloaded_candles import Downloaded, DownloadedSeries, DownloadProgress

_POLL_SECONDS: Final = 0.1
_AFTER_MS: Final = 5 * MINUTE_MS  # what a run over the same range looks at after its last moment


def download(
    symbols: str | Iterable[str],
    *,
    exchange: Any,
    start: object = None,
    end: object = None,
    frame: Any = None,
    interval: str | None = None,
    folder: str | Path = DEFAULT_FOLDER,
    warmup_minutes: int = 1440,
    again: bool | Literal["all", "absent"] = False,
    at_once: int = 4,
    progress: bool | Callable[[DownloadProgress], object] = True,
) -> Downloaded:
    """Download the history of one or more symbols to disk.

    Only what is not there yet is fetched, so a download that was interrupted goes on where it was, and one that is
    complete returns at once. ``Ctrl-C`` ends it; what came stays stored.

    Parameters
    ----------
    symbols
        ``"BTCUSDT"``, several with commas between them, or a list.
    exchange
        The name of a registered exchange, a source such as ``bknb.exchanges.ccxt("binance")``, or the name of any
        exchange ccxt knows.
    start, end
        The range: text, date, datetime or UTC ms; ``end`` is not part of it and is now by default.
    frame
        The range as a run takes it, in place of ``start`` and ``end``.
    interval
        Which candles; by default those that runs fill orders in: minutes, or the shortest the exchange has.
    folder
        Where candles are stored, for an exchange that has no store yet.
    warmup_minutes
        How much before ``start`` is fetched too, so that a backtest over the range can look back.
    again
        What is fetched although it is known. ``"all"``, or True: the whole range; what the exchange answers differently
        replaces what was stored, and is reported. ``"absent"``: what is marked as absent. Either way, a mark that one
        answer alone had made is taken back where it is not proven now. False: nothing. ``%download --again`` takes the
        same two words.
    at_once
        How many parts are fetched at the same time; the exchange's rate limit holds for all of them together.
    progress
        Whether to show a bar, or a function called with :class:`DownloadProgress`.

    Returns
    -------
    Downloaded

    Raises
    ------
    BadCandle
        A candle breaks a rule or contradicts a stored one. Nothing that was stored before was changed.
    DataError
        The exchange did not answer. What came before stays stored.
    KeyboardInterrupt
        It was interrupted. What came before stays stored.

    Notes
    -----
    A moment is absent when two answers that cover it lack it, or when the exchange answers nothing for it time and
    again and, asked in between, answers every question for a candle that is known. An answer that ignores where it was
    to begin, lacks a part or is garbled is noticed, asked for again and told.

    Prices are stored as they come. Those that no candle can have are refused, and a candle that is answered twice with
    different values is told; a wrong price that is possible and comes once cannot be told from a right one.
    ``again=True`` compares everything with a second answer.

    Examples
    --------
    >>> import bknb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder)
    ...     done = bknb.download(
    ...         "BTCUSDT", exchange=market, start="2024-01-01", end="2024-01-02", warmup_minutes=0, progress=False)
    >>> done.complete, done.series[0].candles
    (True, 1440)
    """
    source = as_stored(exchange, folder=folder)
    names = as_symbols(symbols)
    base = base_of(source.source)
    for name in names:
        grid = bar_grid_of(source.source, name)
        if grid is not None and not grid.goes_on:
            raise UsageError(
                f"the {base} bars of {name} from {source.name!r} count from the open of their market, and are there "
                "already: there is nothing to download\n"
                f"give the source itself to a run, bknb.backtest({name!r}, exchange=...); bknb.audit looks for what "
                f"is missing in them\na store on disk keeps bars that open at multiples of {base} in UTC, or minutes"
            )
    interval = base if interval is None else interval
    if interval == WEEK != base:
        raise UsageError(
            f"weeks are not downloaded of a source with {base} bars: they are made of those, ctx.candles('1w', 12)\n"
            "leave interval= out, or interval='1d'"
        )
    step = interval_ms(interval)
    grid = bar_grid_of(source.source, names[0]) if interval == WEEK else None
    after = 2 * step if interval == base != MINUTE else _AFTER_MS
    first, last = as_range(start, end, frame, step if grid is None else MINUTE_MS)
    first = slot_of(first, step, grid)
    if again not in (True, False, "all", "absent"):
        raise UsageError(f"again must be 'all' (or True), 'absent' or False, got {again!r}")
    if at_once < 1 or warmup_minutes < 0:
        raise UsageError("at_once must be at least 1 and warmup_minutes at least 0")
    work = _Download(
        source=source,
        symbols=names,
        interval=interval,
        start=first,
        end=slot_from(last, step, grid),
        again=True if again == "all" else again,
        at_once=at_once,
        since=slot_of(first - warmup_minutes * MINUTE_MS, step, grid),
        until=slot_from(last + after, step, grid),
    )
    _wait(work, label=f"download {', '.join(names)} {interval} from {source.name}", progress=progress)
    return work.report()


def as_stored(exchange: Any, *, folder: str | Path = DEFAULT_FOLDER, saves: bool = True) -> StoredSource:
    """The exchange a user named or passed, as a source with a store in front; ``saves``: whether it is to store."""
    if isinstance(exchange, str):
        try:
            source: CandleSource = resolve_exchange(exchange).source
        except UnknownName:
            source = ccxt(exchange, cache=folder)
    else:
        source = resolve_exchange(exchange).source
    if isinstance(source, StoredSource):
        return source
    if not saves and is_in_no_store(source):
        return StoredSource(source, CandleStore(folder), now=SystemClock().now)
    return stored(source, folder=folder)


def as_range(start: object, end: object, frame: Any, step: int) -> Range:
    """The range ``[start, end)`` that the arguments describe, UTC ms."""
    if frame is not None:
        if start is not None or end is not None:
            raise UsageError("a range is either a frame, or start and end, not both")
        resolved = resolve_frame(frame)
        start, end = resolved.start, resolved.end
    if start is None:
        raise UsageError("say which range: start='2024-01-01', end='2024-02-01' (or a frame)")
    first = floor_to(as_moment(start, "start"), step)
    last = SystemClock().now() if end is None else as_moment(end, "end")
    if last <= first:
        raise UsageError(f"a range must end after it starts: start {utc_text(first)}, end {utc_text(last)}")
    return first, last


def as_symbols(symbols: str | Iterable[str]) -> tuple[str, ...]:
    """The symbols of a text or an iterable, each once."""
    given = symbols.split(",") if isinstance(symbols, str) else list(symbols)
    names = tuple(dict.fromkeys(name.strip() for name in given))
    if not names or not all(names):
        raise UsageError(f"symbols must be names such as 'BTCUSDT' or ['BTCUSDT', 'ETHUSDT'], got {symbols!r}")
    return tuple(checked_symbol(name) for name in names)


@dataclass(slots=True)
class _Download:
    """A running download."""

    source: StoredSource
    symbols: tuple[str, ...]
    interval: str
    start: int
    end: int
    since: int
    until: int
    again: bool | Literal["absent"]
    at_once: int
    total_ms: int = 0
    done_ms: int = 0
    stopped: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    series: list[SeriesName] = field(default_factory=list)
    added: dict[SeriesName, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pages_before: int = 0

    async def run(self) -> None:
        try:
            self.pages_before = self.source.pages
            await self._run()
        finally:
            self.notes.extend(self.source.take_notes())
            self.notes.extend(dict.fromkeys(note for symbol in self.symbols for note in self.source.decided(symbol)))
            self.over.set()

    async def _run(self) -> None:
        jobs: list[tuple[SeriesName, str, Range]] = []
        for symbol in self.symbols:
            series = await self.source.series(symbol, self.interval)
            self.series.append(series)
            missing = await self.source.missing(series, self.since, self.until)
            if self.again == "absent":
                grid = bar_grid_of(self.source, symbol)
                absent = self.source.store.absent(series, self.since, self.until, grid=grid)
                missing = merged([*missing, *absent])
            elif self.again:
                missing = ((self.since, self.until),)
            jobs.extend((series, symbol, part) for part in _parts(missing, series.step))
        self.total_ms = length(part for _, _, part in jobs)
        jobs.sort(key=lambda job: job[2])
        places = asyncio.Semaphore(self.at_once)
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(self._part(*job, places=places))
        if self.again:
            return
        for symbol, series in zip(self.symbols, self.series, strict=True):
            # An empty end of a part proves nothing by itself; now the parts after it are there.
            if await self.source.missing(series, self.since, self.until):
                filled = await self.source.fill(series, symbol, self.since, self.until)
                self._count(series, filled.added)

    async def _part(self, series: SeriesName, symbol: str, part: Range, *, places: asyncio.Semaphore) -> None:
        async with places:
            reached = part[0]

            def advance(_: int, moment: int) -> None:
                nonlocal reached
                self.done_ms += max(0, moment - reached)
                reached = max(reached, moment)

            filled = await self.source.fill(series, symbol, *part, again=self.again, on_progress=advance)
            self._count(series, filled.added)
            advance(part[0], part[1])

    def _count(self, series: SeriesName, added: int) -> None:
        self.added[series] = self.added.get(series, 0) + added

    def progress(self, seconds: float) -> DownloadProgress:
        fraction = self.done_ms / self.total_ms if self.total_ms else 0.0
        return DownloadProgress(
            fraction=min(fraction, 1.0), candles=self.done_ms // interval_ms(self.interval), seconds=seconds
        )

    def _summary(self, series: SeriesName) -> DownloadedSeries:
        store, since, until = self.source.store, self.start, self.end
        candles = store.read(series, since, until)
        grid = bar_grid_of(self.source, series.symbol)
        absent = store.absent(series, since, until, grid=grid)
        if grid is not None:
            absent = grid.open_part(absent, series.step)
        elif self.source.sessions is not None:
            absent = self.source.sessions.open_part(absent, series.step)
        return DownloadedSeries(
            symbol=series.symbol,
            candles=len(candles),
            added=self.added.get(series, 0),
            absent=absent,
            missing=store.missing(series, since, until),
            content_hash=content_hash(candles),
        )

    def fail(self, error: BaseException) -> None:
        """Record the error that ended it; an interrupt counts as stopped."""
        self.stopped = isinstance(error, (KeyboardInterrupt, CancelledError))

    def report(self) -> Downloaded:
        return Downloaded(
            exchange=self.source.name,
            interval=self.interval,
            start=self.start,
            end=self.end,
            series=tuple(self._summary(series) for series in self.series),
            requests=self.source.pages - self.pages_before,
            warnings=tuple(dict.fromkeys(self.notes)),
            stopped=self.stopped,
        )


def _parts(missing: Ranges, step: int) -> list[Range]:
    """Ranges split at the borders of the store's files, so that they can be fetched concurrently."""
    return [(max(first, low), min(end, high)) for low, high in missing for _, first, end in periods(low, high, step)]


def _wait(work: _Download, *, label: str, progress: bool | Callable[[DownloadProgress], object]) -> None:
    bar = frontend().progress_line(label) if progress is True else None
    began = stopwatch()
    future = submit(work.run())
    try:
        while not work.over.wait(_POLL_SECONDS):
            state = work.progress(stopwatch() - began)
            if bar is not None and work.total_ms:
                bar.update(state.fraction, seconds=state.seconds, facts=[f"{state.candles:,} candles"])
            elif callable(progress):
                progress(state)
        future.result()
    except BaseException as error:  # noqa: BLE001 -- reported below, and raised again
        future.cancel()
        work.over.wait()  # what came is being stored
        work.fail(error)
        if bar is not None:
            how = "interrupted; what came is kept, the same call goes on from there"
            bar.close(how if work.stopped else "failed; what came before is kept")
        raise _first(error) from None
    state = work.progress(stopwatch() - began)
    if callable(progress):
        progress(DownloadProgress(fraction=1.0, candles=state.candles, seconds=state.seconds))
    if bar is not None:
        bar.close(f"{sum(work.added.values()):,} new candles in {state.seconds:.1f} s")


def _first(error: BaseException) -> BaseException:
    """The error itself, out of the group that several parts make of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
