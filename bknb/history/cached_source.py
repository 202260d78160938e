"""A source over a candle store, which fetches what the store lacks."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, interval_ms
from ..domain.ranges import Ranges, within
from ..errors import DataError, UsageError
from ..market.answer_notes import Notes, note, noting
from ..market.bar_slots import slot_from, slot_of
from ..market.candles import COLUMNS, Candles
from ..market.measured_bar_length import base_of
from ..market.sessions import Sessions
from ..market.short_answers import Reach
from ..market.source_hours import bar_grid_of, sessions_of
from ..ports import CandleSource
from .backfill import Backfill
from .backfill_result import BackfillResult
from .candle_store import CandleStore
from .partition import SeriesName

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from ..market.shifted_bar_grid import BarGrid
    from ..market.streamed_source import MinuteStream

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
        self.source = source
        self.store = store
        self.name = source.name
        # A function that does not list its intervals is called for minutes only.
        self.intervals: tuple[str, ...] | None = source.intervals if source.intervals is not None else ("1m",)
        self.pages = 0
        self.sessions: Sessions | None = sessions_of(source)
        self.symbol_sessions: Mapping[str, Sessions | None] = getattr(source, "symbol_sessions", {})
        self.base_interval = base_of(source)
        self.negative = bool(getattr(source, "negative", False))  # whether prices at or below zero are traded
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
        since = slot_from(since, step, bar_grid_of(self.source, symbol))
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
            Its bars are there already, and those that the source shows alone are known not to open at multiples of
            their length.
        """
        grid = bar_grid_of(self.source, symbol)
        if grid is not None and not grid.goes_on:
            raise UsageError(
                f"the {self.base_interval} bars of {symbol} from {self.name!r} count from the open of their market\n"
                f"a store keeps bars that open at multiples of {self.base_interval} in UTC, or of a source of which it "
                "is said that they count from the open: bknb.exchanges.in_sessions(..., from_open=True)\n"
                "give the source itself to the run, without a store: it holds its candles in memory"
            )
        canonical = getattr(self.source, "canonical", None)
        return SeriesName(self.name, symbol if canonical is None else await canonical(symbol), interval)

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length; ``None``: they do."""
        return bar_grid_of(self.source, symbol)

    def _closed_until(self, series: SeriesName) -> int:
        """What opens before this moment (UTC ms) has closed."""
        return slot_of(self.present(), series.step, bar_grid_of(self.source, series.symbol))

    async def missing(self, series: SeriesName, since: int, until: int) -> Ranges:
        """The parts of a range that would have to be fetched, without candles that have not closed."""
        until = min(until, self._closed_until(series))
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
        closed = min(until, self._closed_until(series))
        ranges = await self.missing(series, since, until)
        if again == "absent":
            near = _SURROUNDINGS * series.step
            grid = bar_grid_of(self.source, symbol)
            find = partial(self.store.absent, series, since, closed, grid=grid)
            absent = await asyncio.to_thread(find) if since < closed else ()
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

    def costs(self, symbol: str) -> Costs:
        """What fills of a symbol cost by what the source says; raises ``UsageError`` where it does not."""
        from ..domain.costs import costs_at  # few runs take costs of an exchange

        return costs_at(self.source, symbol)


def _joined(stored: Candles, fresh: Candles) -> Candles:
    if not len(fresh):
        return stored
    if len(stored):
        fresh = fresh[int(np.searchsorted(fresh.timestamp, int(stored.timestamp[-1]), side="right")) :]
    return Candles.concat([stored, fresh])


def _rows(candles: Candles) -> Any:
    return zip(*(getattr(candles, name).tolist() for name in COLUMNS), strict=True)
