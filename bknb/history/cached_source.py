"""Sources over a candle store: a source that fetches what the store lacks, and one that serves the store alone."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ..config import Settings
from ..domain.formatting import plain_number, utc_text
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS, floor_to, interval_ms
from ..domain.ranges import Ranges, within, without
from ..errors import DataError, UnknownName, UsageError
from ..market.answer_notes import Notes, note, noting
from ..market.candles import COLUMNS, Candles
from ..market.measured_bar_length import base_of, check_above_zero
from ..market.sessions import Sessions
from ..market.short_answers import Reach
from ..market.source_hours import bar_grid_of, sessions_of
from ..ports import CandleSource
from .backfill import Backfill
from .backfill_result import BackfillResult
from .partition import SeriesName
from .store import CandleStore

if TYPE_CHECKING:
    from ..market.streamed import MinuteStream

_MEASURE_EVERY_MS: Final = 60 * MINUTE_MS
_NEAR_PRESENT_MS: Final = DAY_MS
_SURROUNDINGS: Final = 100  # candles beside an absent range that are fetched with it
_REMEMBERED: Final = 64  # fresh candles remembered to notice that one was corrected


class StoredSource:
    """Any source, with a candle store in front.

    A request is answered from disk; what was never requested is fetched, checked and stored first. Candles that
    closed less than ``settle_minutes`` ago are fetched every time: exchanges correct them, and a correction becomes
    a note. After an outage the next request fetches what was missed.

    Parameters
    ----------
    source
        Where missing candles are fetched.
    store
        Where candles are stored.
    now
        The present on this computer, UTC ms; corrected by the exchange's own clock where it publishes its time.
    settle_minutes
        How long a closed candle counts as provisional, minutes.
    settings
        For the check of anomalies.

    Examples
    --------
    >>> import tempfile
    >>> from bknb.market.demo import DemoSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = StoredSource(DemoSource(), CandleStore(folder), now=lambda: 1_700_000_000_000)
    ...     candles = asyncio.run(source.get_candles("BTCUSDT", "1m", 1_641_038_400_000, 60))
    ...     print(candles, source.pages)
    Candles(60, 2022-01-01T12:00 .. 2022-01-01T12:59 UTC) 1
    """

    page_limit: int | None = None

    def __init__(
        self,
        source: CandleSource,
        store: CandleStore,
        *,
        now: Callable[[], int],
        settle_minutes: int = 3,
        settings: Settings | None = None,
    ) -> None:
        check_above_zero(source, source.name, "a candle store")
        self.source = source
        self.store = store
        self.name = source.name
        # A function that does not list its intervals is called for minutes only.
        self.intervals: tuple[str, ...] | None = source.intervals if source.intervals is not None else ("1m",)
        self.pages = 0
        self.sessions: Sessions | None = sessions_of(source)
        self.symbol_sessions: Mapping[str, Sessions | None] = getattr(source, "symbol_sessions", {})
        self.base_interval = base_of(source)
        self.stream: MinuteStream | None = getattr(source, "stream", None)
        self._now = now
        self._settle_ms = settle_minutes * MINUTE_MS
        self._settings = settings or Settings()
        self._notes: list[str] = []
        self._decided: dict[str, Notes] = {}  # for each symbol; what is stored was read so
        self._fresh: dict[SeriesName, dict[int, tuple[float, ...]]] = {}
        self._reaches: dict[str, Reach] = {}  # how far the source answers, by interval
        self._skew_ms = 0
        self._skew_at: int | None = None
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[SeriesName, asyncio.Lock]] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"StoredSource({self.source!r}, {self.store!r})"

    def decided(self, symbol: str) -> tuple[str, ...]:
        """What was decided in reading the answers of the source for a symbol, since this process began."""
        return tuple(self._decided.get(symbol, ()))

    def take_notes(self) -> list[str]:
        """Notes about repairs, retries and corrections since the last call; each is returned once."""
        inner = getattr(self.source, "take_notes", None)
        notes, self._notes = self._notes, []
        return [*notes, *(inner() if inner is not None else ())]

    # --- candles ------------------------------------------------------------------------------------------------

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The closed candles with an open time in ``[since, since + limit intervals)``.

        Raises
        ------
        UsageError
            The source does not have this interval.
        BadCandle
            What the source answered breaks a rule or contradicts what is stored. Nothing stored was changed.
        DataError
            The source did not answer.
        StateError
            A stored file is damaged.
        """
        step = interval_ms(interval)
        offered = self.intervals or ()
        if interval not in offered:
            raise UsageError(f"{self.name!r} has no {interval} candles here; it has: {' '.join(offered)}")
        since = -(-since // step) * step
        until = since + limit * step
        series = await self.series(symbol, interval)
        async with self._lock(series):
            filled = await self.fill(series, symbol, since, until)
            for text in self.decided(symbol):
                note(text)
        candles = await asyncio.to_thread(self.store.read, series, since, until)
        return _joined(candles, filled.fresh)

    async def series(self, symbol: str, interval: str) -> SeriesName:
        """The name under which a symbol is stored.

        Raises
        ------
        UsageError
            Its bars do not open at multiples of their length, as all stored ones do.
        """
        if bar_grid_of(self.source, symbol) is not None:
            raise UsageError(
                f"the {self.base_interval} bars of {symbol} from {self.name!r} count from the open of their market\n"
                f"a store keeps bars that open at multiples of {self.base_interval} in UTC\n"
                "give the source itself to the run, without a store: it holds its candles in memory"
            )
        canonical = getattr(self.source, "canonical", None)
        return SeriesName(self.name, symbol if canonical is None else await canonical(symbol), interval)

    async def missing(self, series: SeriesName, since: int, until: int) -> Ranges:
        """The parts of a range that would have to be fetched, without candles that have not closed."""
        until = min(until, floor_to(self.present(), series.step))
        if since >= until:
            return ()
        return await asyncio.to_thread(self.store.missing, series, since, until)

    async def fill(
        self,
        series: SeriesName,
        symbol: str,
        since: int,
        until: int,
        *,
        again: bool | Literal["absent"] = False,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> BackfillResult:
        """Fetch and store what is missing in a range; with ``again`` all of it, and new values replace stored ones.

        With ``again="absent"`` what is marked as absent is fetched once more, with its surroundings.
        ``on_progress`` is called as in :class:`bknb.history.backfill.Backfill`.
        """
        await self._measure_clock(until)
        closed = min(until, floor_to(self.present(), series.step))
        ranges = await self.missing(series, since, until)
        if again == "absent":
            near = _SURROUNDINGS * series.step
            absent = await asyncio.to_thread(self.store.absent, series, since, closed) if since < closed else ()
            ranges = within([*ranges, *((first - near, end + near) for first, end in absent)], since, closed)
        elif again and since < closed:
            ranges = ((since, closed),)
        if not ranges:
            return BackfillResult()
        backfill = Backfill(
            self.source,
            symbol,
            self.store,
            series,
            now=self.present(),
            settle_ms=self._settle_ms,
            settings=self._settings,
            revise=bool(again),
            on_progress=on_progress,
            reach=self._reaches.setdefault(series.interval, Reach()),
        )
        decided = self._decided.setdefault(symbol, {})
        try:
            with noting() as found:
                await backfill.fill(ranges)
        finally:
            decided.update(found)
            self.pages += backfill.result.pages
            self._note(series, backfill.result)
        return backfill.result

    def _lock(self, series: SeriesName) -> asyncio.Lock:
        locks = self._locks.setdefault(asyncio.get_running_loop(), {})
        return locks.setdefault(series, asyncio.Lock())

    # --- corrections --------------------------------------------------------------------------------------------

    def _note(self, series: SeriesName, result: BackfillResult) -> None:
        self._notes.extend(result.notes)
        for times, what in ((result.revised, "revised by the exchange"), (result.late, "came late")):
            if times:
                noun = "candle" if len(times) == 1 else "candles"
                self._notes.append(f"{series}: {len(times)} {noun} {what}, the first at {utc_text(times[0])}")
        before = self._fresh.get(series, {})
        seen = {int(row[0]): tuple(row[1:]) for row in _rows(result.fresh)}
        corrected = [time for time, values in seen.items() if before.get(time, values) != values]
        settled = [time for time in before if time not in seen]
        if settled:
            stored = self.store.read(series, min(settled), max(settled) + series.step)
            final = {int(row[0]): tuple(row[1:]) for row in _rows(stored)}
            corrected += [time for time in settled if final.get(time, before[time]) != before[time]]
            before = {time: values for time, values in before.items() if time not in final}
        if corrected:
            noun = "candle" if len(corrected) == 1 else "candles"
            self._notes.append(
                f"{series}: {len(corrected)} {noun} of the last minutes corrected by the exchange after it was "
                f"given out, the first at {utc_text(min(corrected))}"
            )
        together = {**before, **seen}
        self._fresh[series] = {time: together[time] for time in sorted(together)[-_REMEMBERED:]}

    # --- the clock ----------------------------------------------------------------------------------------------

    def present(self) -> int:
        """The present on the exchange's clock, UTC ms; this computer's where that is unknown."""
        return self._now() - self._skew_ms

    async def _measure_clock(self, until: int) -> None:
        """Measure the clock of the exchange: at most hourly, and only for requests near the present."""
        now = self._now()
        measure = getattr(self.source, "measure_skew_ms", None)
        if measure is None or not getattr(self.source, "has_clock", True) or until < now - _NEAR_PRESENT_MS:
            return
        if self._skew_at is not None and 0 <= now - self._skew_at < _MEASURE_EVERY_MS:
            return
        self._skew_ms = await measure()
        self._skew_at = now

    def clock_skew_ms(self) -> int:
        """How far this computer's clock is ahead of the exchange's, in milliseconds (negative: behind).

        Raises
        ------
        DataError
            The source does not publish its time, or did not answer.
        """
        measure = getattr(self.source, "clock_skew_ms", None)
        if measure is None:
            raise DataError(f"{self.name!r} has no clock of its own; compare with a time server instead")
        skew: int = measure()
        return skew

    # --- number formats ----------------------------------------------------------------------------------------

    def format_price(self, symbol: str, price: float) -> str:
        """The price as the source formats it."""
        return self.source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """The quantity as the source formats it."""
        return self.source.format_quantity(symbol, quantity)


class ShelfSource:
    """A source over the stored candles of one exchange; nothing is fetched. See :func:`bknb.exchanges.from_store`.

    Examples
    --------
    >>> import bknb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder)
    ...     done = bknb.download(
    ...         "BTCUSDT", exchange=market, start="2024-01-01", end="2024-01-02", warmup_minutes=0, progress=False)
    ...     bknb.exchanges.from_store(folder).symbols
    ('BTCUSDT',)
    """

    page_limit: int | None = None

    def __init__(self, store: CandleStore, *, exchange: str | None = None) -> None:
        everything = store.series()
        names = sorted({series.exchange for series in everything})
        if not names:
            raise UsageError(f"no candles are stored in {store.root}\nbknb.download(...) puts them there")
        if exchange is None and len(names) > 1:
            raise UsageError(f"{store.root} holds candles of {', '.join(names)}\nsay whose: exchange={names[0]!r}")
        if exchange is not None and exchange not in names:
            raise UnknownName("stored exchange", exchange, known=names)
        self.name = exchange or names[0]
        self.store = store
        mine = [series for series in everything if series.exchange == self.name]
        self.symbols = tuple(dict.fromkeys(series.symbol for series in mine))
        # An interval counts only where every symbol has it; the others are made of minutes.
        self.intervals: tuple[str, ...] | None = tuple(
            interval
            for interval in INTERVAL_MS
            if {series.symbol for series in mine if series.interval == interval} == set(self.symbols)
        )

    def __repr__(self) -> str:
        return f"ShelfSource({self.store!r}, exchange={self.name!r})"

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The stored candles in ``[since, since + limit intervals)``.

        Raises
        ------
        UnknownName
            Nothing of this symbol is stored.
        UsageError
            The interval is not stored.
        DataError
            A part of the range was never downloaded, though it lies between parts that were.
        """
        step = interval_ms(interval)
        if interval not in (self.intervals or ()):
            raise UsageError(f"{self.store.root} has no {interval} candles of {self.name!r}")
        series = SeriesName(self.name, self._stored_symbol(symbol), interval)
        until = since + limit * step
        holes = await asyncio.to_thread(self._unknown, series, since, until)
        if holes:
            first, end = holes[0]
            raise DataError(
                f"{series}: {utc_text(first)} .. {utc_text(end)} was never downloaded"
                f"{f' ({len(holes)} such ranges)' if len(holes) > 1 else ''}\n"
                "download it with bknb.download(...), or choose a frame inside the data"
            )
        return await asyncio.to_thread(self.store.read, series, since, until)

    def _unknown(self, series: SeriesName, since: int, until: int) -> Ranges:
        known = self.store.known(series)
        if not known:
            return ()
        return without([(max(since, known[0][0]), min(until, known[-1][1]))], known)

    def _stored_symbol(self, symbol: str) -> str:
        if symbol in self.symbols:
            return symbol
        same = [name for name in self.symbols if name.split(":")[0].replace("/", "") == symbol]
        if not same:
            raise UnknownName("stored symbol", symbol, known=self.symbols)
        return min(same, key=len)

    def format_price(self, symbol: str, price: float) -> str:  # noqa: ARG002 -- the port's signature
        """A price in plain decimals."""
        return plain_number(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:  # noqa: ARG002 -- the port's signature
        """A quantity in plain decimals."""
        return plain_number(quantity)


def _joined(stored: Candles, fresh: Candles) -> Candles:
    if not len(fresh):
        return stored
    if len(stored):
        fresh = fresh[int(np.searchsorted(fresh.timestamp, int(stored.timestamp[-1]), side="right")) :]
    return Candles.concat([stored, fresh])


def _rows(candles: Candles) -> Any:
    return zip(*(getattr(candles, name).tolist() for name in COLUMNS), strict=True)
