"""A source over a candle store alone: nothing is fetched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..domain.formatting import plain_number, utc_text
from ..domain.interval import INTERVAL_MS, WEEK, interval_ms
from ..domain.ranges import Ranges, without
from ..errors import GapError, UnknownName, UsageError
from ..market.source_hours import has_weekly_bars
from .partition import SeriesName

if TYPE_CHECKING:
    from ..market.candles import Candles
    from ..market.shifted_bar_grid import BarGrid
    from .candle_store import CandleStore


class CandleStoreSource:
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
    is_local = True

    def __init__(self, store: CandleStore, *, exchange: str | None = None, negative: bool = False) -> None:
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
        self.negative = negative
        self._weeks: dict[str, BarGrid] = {}
        mine = [series for series in everything if series.exchange == self.name]
        self.symbols = tuple(dict.fromkeys(series.symbol for series in mine))
        # An interval counts only where every symbol has it; the others are made of minutes.
        self.intervals: tuple[str, ...] | None = tuple(
            interval
            for interval in INTERVAL_MS
            if {series.symbol for series in mine if series.interval == interval} == set(self.symbols)
        )

    def __repr__(self) -> str:
        return f"CandleStoreSource({self.store!r}, exchange={self.name!r})"

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The stored candles in ``[since, since + limit intervals)``.

        Raises
        ------
        UnknownName
            Nothing of this symbol is stored.
        UsageError
            The interval is not stored.
        GapError
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
            raise GapError(
                f"{series}: {utc_text(first)} .. {utc_text(end)} was never downloaded"
                f"{f' ({len(holes)} such ranges)' if len(holes) > 1 else ''}\n"
                "download it with bknb.download(...), or choose a frame inside the data",
                ranges=holes,
            )
        return await asyncio.to_thread(self.store.read, series, since, until)

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length; ``None``: they do."""
        if not has_weekly_bars(self):
            return None
        from ..market.weekly_bar_grid import week_grid  # few stores hold weeks

        if symbol not in self._weeks:
            stored = self.store.read(SeriesName(self.name, self._stored_symbol(symbol), WEEK))
            self._weeks[symbol] = week_grid(int(stored.timestamp[0])) if len(stored) else week_grid()
        return self._weeks[symbol]

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
