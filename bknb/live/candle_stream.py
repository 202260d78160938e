"""The candles of the current minute, or longer base bar, fetched once and shared by all runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config import Settings
from ..domain.interval import MINUTE, MINUTE_MS, floor_to
from ..engine.registry import Exchange
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from ..market.feed import Feed
from ..market.fetch_loop import submit
from ..market.window import Window
from ..ports import CandleSource, Clock

if TYPE_CHECKING:
    from ..market.streamed_source import MinuteStream


class CandleStream:
    """The candles of one exchange as they come in; shared by all runs with the same settings.

    Parameters
    ----------
    exchange
        Where candles come from.
    settings
        Retries, averages.
    allow_gaps
        Whether missing minutes are accepted at once; else after ``settings.patience_minutes``.
    clock
        The clock of the runs.
    base
        The interval of the bars that fill orders.

    Attributes
    ----------
    readers
        The runs that use it, each with a function that gets every warning.
    failed
        Functions, one for each of these runs, that get what ``on_candle_data`` raises; called on the fetching loop.
    """

    def __init__(
        self, exchange: Exchange, settings: Settings, *, allow_gaps: bool, clock: Clock, base: str = MINUTE
    ) -> None:
        self._stream: MinuteStream | None = getattr(exchange.source, "stream", None) if base == MINUTE else None
        self._feed = Feed(
            _streamed(exchange.source, self._stream, clock),
            settings,
            allow_gaps=True,
            leave_out_bad=True,
            warn=self._warn,
            now=clock.now,
            timeout_seconds=settings.get_candles_timeout_seconds,
        )
        self.hole_patience_ms = 0 if allow_gaps else settings.patience_minutes * MINUTE_MS
        self.clock = clock
        self.readers: list[Callable[[str], None]] = []
        self.failed: list[Callable[[Exception], object]] = []
        self.window = Window(
            self._feed,
            horizon=floor_to(clock.now(), MINUTE_MS),
            base=base,
            growing=True,
            patience_ms=self.hole_patience_ms,
            on_candles=exchange.callbacks.get("on_candle_data"),
            failed=self._fail,
        )
        self._step = self.window.base_ms
        self._before = self.window.price_count * self._step

    def follow(self, symbol: str) -> None:
        """One more run needs the minutes of a symbol: where the exchange pushes minutes, it pushes these."""
        if self._stream is not None:
            self._stream.follow(symbol)

    def leave(self, symbol: str) -> None:
        """A run needs the minutes of a symbol no longer."""
        if self._stream is not None:
            self._stream.leave(symbol)

    def decided(self, symbol: str) -> tuple[str, ...]:
        """What its runs were told of how the candles of a symbol, or all of them, were read."""
        return self._feed.told.of(symbol)

    def _warn(self, text: str) -> None:
        for warn in list(self.readers):
            warn(text)

    def _fail(self, error: Exception) -> None:
        for failed in list(self.failed):
            failed(error)

    async def notified(self, seconds: float) -> None:
        """Give ``on_candle_data`` so long to be called with everything that is in memory."""
        calls = asyncio.wrap_future(submit(self.window.notified()))
        await asyncio.wait({calls}, timeout=seconds)
        calls.cancel()

    async def minutes(self, symbol: str, since: int) -> Candles:
        """The base bars that open at or after ``since`` (UTC ms) and have closed by now; may end early."""
        window = self.window
        window.grow_to(floor_to(self.clock.now(), MINUTE_MS))
        begin = since - self._before
        series = window.ready(symbol, window.base, begin)  # another run of the same symbol was here first
        if series is None:
            series = await asyncio.wrap_future(submit(self._loaded(symbol, begin)))
        return series.candles[int(series.candles.timestamp.searchsorted(since)) :]

    async def _loaded(self, symbol: str, begin: int) -> Series:
        """The minutes from ``begin`` (UTC ms) on; across holes from so early on that there is an average price."""
        when, window = begin + self._before + self._step, self.window
        return await window.load_closed(symbol, window.base, when, window.price_count, since=begin)

    async def fill(self, symbol: str, since: int, until: int) -> None:
        """Ask once more for the minutes that are missing in ``[since, until)`` (UTC ms)."""
        await asyncio.wrap_future(submit(self.window.fill(symbol, self.window.base, since, until)))


def _streamed(source: CandleSource, stream: MinuteStream | None, clock: Clock) -> CandleSource:
    """A source with the minutes that its exchange pushes in front, where it pushes some."""
    if stream is None:
        return source
    from ..market.streamed_source import StreamedSource

    return StreamedSource(source, stream, clock)
