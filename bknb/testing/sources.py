"""Contract suite for sources of candles, to run against your own.

In pytest, subclass :class:`CandleSourceContract`; elsewhere ``await check_candle_source(source, "BTCUSDT", since)``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import INTERVAL_MS, MINUTE, interval_ms
from ..errors import BknbError
from ..market.candles import Candles
from ..market.measured_bar_length import base_of
from ..ports import CandleSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LIMIT = 12


async def check_candle_source(source: CandleSource, symbol: str, since: int) -> None:
    """Check a source against the whole contract.

    Parameters
    ----------
    source
        The source; it must have at least 24 of its shortest candles from ``since`` on, without gaps.
    symbol
        A symbol it knows.
    since
        When one of its shortest candles opens, UTC milliseconds: a full minute, where these are minutes.

    Raises
    ------
    AssertionError
        Naming the first promise that is broken.

    Examples
    --------
    >>> from bknb.market.demo import DemoSource
    >>> asyncio.run(check_candle_source(DemoSource(), "BTCUSDT", 1_641_038_400_000))
    """
    for promise in PROMISES:
        await promise(source, symbol, since)


async def _describes_itself(source: CandleSource, symbol: str, since: int) -> None:  # noqa: ARG001
    _must(isinstance(source, CandleSource), f"{type(source).__name__} lacks a part of bknb.ports.CandleSource")
    _must(isinstance(source.name, str), f"name must be a text, got {source.name!r}")
    _must(source.name, "name must not be empty")
    if source.intervals is not None:
        foreign = [interval for interval in source.intervals if interval not in INTERVAL_MS]
        _must(not foreign, f"intervals nobody knows: {foreign}")
        _must(source.intervals, "intervals must hold the shortest candles at least: runs fill orders in them")
    limit = source.page_limit
    _must(limit is None or limit > 0, f"page_limit must be above 0 or None, got {limit!r}")


async def _answers_what_was_asked(source: CandleSource, symbol: str, since: int) -> None:
    step = _step(source)
    candles = await _shortest(source, symbol, since, _LIMIT)
    wanted = list(range(since, since + _LIMIT * step, step))
    _must(
        candles.timestamp.tolist() == wanted,
        f"asked for {_LIMIT} candles from {utc_text(since)} on, got {candles!r} "
        f"(open times must be multiples of {base_of(source)} in UTC, oldest first, each once)",
    )


async def _has_sound_values(source: CandleSource, symbol: str, since: int) -> None:
    candles = await _shortest(source, symbol, since, _LIMIT)
    for name in ("open", "high", "low", "close", "volume"):
        column = getattr(candles, name)
        _must(column.dtype == np.float64, f"{name} must be float64, got {column.dtype}")
        _must(np.isfinite(column).all(), f"{name} holds a value that is not finite")
        may_be = name == "volume" or getattr(source, "negative", False)
        _must(may_be or (column > 0).all(), f"{name} holds a price that is not above 0")
    _must((candles.volume >= 0).all(), "a volume is negative")
    _must((candles.high >= np.maximum(candles.open, candles.close)).all(), "a high is below open or close")
    _must((candles.low <= np.minimum(candles.open, candles.close)).all(), "a low is above open or close")


async def _begins_at_since(source: CandleSource, symbol: str, since: int) -> None:
    whole = await _shortest(source, symbol, since, _LIMIT)
    later = await _shortest(source, symbol, since + _step(source), _LIMIT - 1)
    _must(later == whole[1:], "`since` one candle later must give the same candles without the first")
    between = await _shortest(source, symbol, since + 1, _LIMIT - 1)
    _must(between == whole[1:], "`since` within a candle must begin with the next one: open time >= since")


async def _respects_the_limit(source: CandleSource, symbol: str, since: int) -> None:
    whole = await _shortest(source, symbol, since, _LIMIT)
    _must(await _shortest(source, symbol, since, 1) == whole[:1], "limit=1 must give the candle that opens at `since`")


async def _joins_pages(source: CandleSource, symbol: str, since: int) -> None:
    whole = await _shortest(source, symbol, since, 2 * _LIMIT)
    parts = [await _shortest(source, symbol, since + page * _LIMIT * _step(source), _LIMIT) for page in range(2)]
    _must(Candles.concat(parts) == whole, "two pages must give the same candles as one request for both")


async def _repeats_itself(source: CandleSource, symbol: str, since: int) -> None:
    first, again = await asyncio.gather(
        _shortest(source, symbol, since, _LIMIT), _shortest(source, symbol, since, _LIMIT)
    )
    _must(first == again, "the same question must be answered the same, also when asked twice at once")


async def _protects_its_memory(source: CandleSource, symbol: str, since: int) -> None:
    candles = await _shortest(source, symbol, since, _LIMIT)
    _must(not candles.close.flags.writeable, "columns must be read-only: another run may be looking at them")


async def _answers_other_intervals(source: CandleSource, symbol: str, since: int) -> None:
    """Only for intervals it claims; one it does not claim is refused with one of bknb's own errors."""
    if source.intervals is None or base_of(source) != MINUTE:
        return
    since += -since % INTERVAL_MS["5m"]
    if "5m" in source.intervals:
        candles = await source.get_candles(symbol, "5m", since, 2)
        _must(
            candles.timestamp.tolist() == [since, since + INTERVAL_MS["5m"]], f"asked for two 5m candles: {candles!r}"
        )
        return
    try:
        candles = await source.get_candles(symbol, "5m", since, 2)
    except BknbError:
        return
    raise AssertionError(f"5m is not among its intervals, yet it answered {candles!r} instead of refusing")


async def _writes_numbers(source: CandleSource, symbol: str, since: int) -> None:
    price = float((await _shortest(source, symbol, since, 1)).close[0])
    written = source.format_price(symbol, price)
    _must(isinstance(written, str), f"format_price must return a text, got {written!r}")
    _must(abs(float(written) - price) <= 0.01 * abs(price), f"format_price wrote {price!r} as {written!r}")
    quantity = source.format_quantity(symbol, 1.5)
    _must(isinstance(quantity, str), f"format_quantity must return a text, got {quantity!r}")
    _must(1 <= float(quantity) <= 2, f"format_quantity wrote 1.5 as {quantity!r}")
    _must("e" not in (written + quantity).lower(), "no exponents: exchanges do not read them")


def _must(holds: object, promise: str) -> None:
    # Not an assert statement: the suite must fail under ``python -O``, too.
    if not holds:
        raise AssertionError(promise)


def _step(source: CandleSource) -> int:
    """The length of its shortest candles, ms."""
    return interval_ms(base_of(source))


async def _shortest(source: CandleSource, symbol: str, since: int, limit: int) -> Candles:
    candles = await source.get_candles(symbol, base_of(source), since, limit)
    _must(isinstance(candles, Candles), f"get_candles must answer bknb.Candles, got {type(candles).__name__}")
    return candles


PROMISES: tuple[Callable[[CandleSource, str, int], Awaitable[None]], ...] = (
    _describes_itself,
    _answers_what_was_asked,
    _has_sound_values,
    _begins_at_since,
    _respects_the_limit,
    _joins_pages,
    _repeats_itself,
    _protects_its_memory,
    _answers_other_intervals,
    _writes_numbers,
)


class CandleSourceContract:
    """The contract as pytest tests: subclass it, and override :meth:`source`.

    Attributes
    ----------
    symbol : str
        A symbol the source knows.
    since : int
        When one of its shortest candles opens, UTC milliseconds: from there on there are at least 24 of them without
        gaps (of minutes also one full 5m pair, if it answers 5m).

    Examples
    --------
    >>> from bknb.market.demo import DemoSource
    >>> class TestDemo(CandleSourceContract):
    ...     since = 1_641_038_400_000
    ...
    ...     def source(self):
    ...         return DemoSource()
    >>> TestDemo().test_it_keeps_the_limit()
    """

    symbol: str = "BTCUSDT"
    since: int = 1_640_995_200_000

    def source(self) -> CandleSource:
        """A fresh source."""
        raise NotImplementedError("a contract test says in source() what it tests")

    def _hold(self, promise: Callable[[CandleSource, str, int], Awaitable[None]]) -> None:
        source = self.source()  # outside the loop: making a source may need one of its own

        async def held() -> None:
            await promise(source, self.symbol, self.since)

        asyncio.run(held())

    def test_it_describes_itself(self) -> None:
        """Name, intervals and page limit make sense."""
        self._hold(_describes_itself)

    def test_it_answers_what_was_asked(self) -> None:
        """Its shortest candles at multiples of their length in UTC from ``since`` on, oldest first, each once."""
        self._hold(_answers_what_was_asked)

    def test_it_has_sound_values(self) -> None:
        """Finite numbers, prices above 0 unless it has ``negative``, high and low around open and close."""
        self._hold(_has_sound_values)

    def test_it_begins_at_since(self) -> None:
        """The first candle opens at or after ``since``."""
        self._hold(_begins_at_since)

    def test_it_keeps_the_limit(self) -> None:
        """Never more than ``limit`` candles, and the oldest of them."""
        self._hold(_respects_the_limit)

    def test_it_joins_pages(self) -> None:
        """Two pages joined equal one answer."""
        self._hold(_joins_pages)

    def test_it_repeats_itself(self) -> None:
        """The same request has the same answer, also concurrently."""
        self._hold(_repeats_itself)

    def test_it_protects_its_memory(self) -> None:
        """Returned candles are read-only."""
        self._hold(_protects_its_memory)

    def test_it_answers_only_its_intervals(self) -> None:
        """An interval it claims is on its grid; any other is refused."""
        self._hold(_answers_other_intervals)

    def test_it_writes_numbers(self) -> None:
        """Prices and quantities become plain decimals."""
        self._hold(_writes_numbers)
