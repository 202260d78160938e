"""Sources with a candle store: ccxt, any source that is saved, what was saved without the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.retry_pauses import Patience
from ..errors import UsageError
from ..history.cached_source import StoredSource
from ..history.candle_store import DEFAULT_FOLDER, CandleStore
from ..history.candle_store_source import CandleStoreSource
from ..market.system_clock import SystemClock
from ..ports import CandleSource
from .joined_exchanges import JoinedSource

if TYPE_CHECKING:
    from .ccxt_source import CcxtSource


def ccxt(
    exchange: str,
    *,
    cache: str | Path | None = DEFAULT_FOLDER,
    config: Mapping[str, Any] | None = None,
    intervals: tuple[str, ...] | None = None,
    patience: Patience | None = None,
    settle_minutes: int = 3,
    stream: bool = False,
) -> StoredSource | CcxtSource:
    """Any exchange ccxt knows, with everything it answered saved on disk.

    Candles are fetched when a run or :func:`bknb.download` first needs them, with the exchange's own page size and
    rate limit, and are read from disk from then on. Symbols may be written as ccxt does (``"BTC/USDT"``), as the
    exchange does, or without the slash (``"BTCUSDT"``). ``format_price`` and ``format_quantity`` follow the exchange's
    own rules, and ``costs(symbol)`` are the fees of takers and makers that its market data name: those of who trades
    little and holds no coin of the exchange; not what you pay there yourself, and no slippage.

    Parameters
    ----------
    exchange
        What ccxt calls it.
    cache
        The folder of stored candles, shared by all runs and processes; ``None`` saves nothing.
    config
        Handed to ccxt's client as it is: ``urls``, ``options``, ``timeout`` (ms), proxies.
    intervals
        Intervals asked of the exchange; bknb makes the others from minutes. By default all it offers.
    patience
        Attempts and pauses when it does not answer.
    settle_minutes
        How long a closed candle counts as provisional: it is used, but asked for again and not stored yet.
    stream
        Whether live runs have their minutes pushed by the exchange (Binance, Bybit, OKX): many symbols at once. What
        the exchange answers when it is asked counts. Backtests and downloads ask.

    Raises
    ------
    MissingDependency
        ccxt is not installed.
    UnknownName
        ccxt knows no such exchange.

    Examples
    --------
    >>> binance = ccxt("binance")  # doctest: +SKIP
    >>> bknb.backtest("BTCUSDT", strategy="sma", exchange=binance, frame="2024-01-01:2024-02-01")  # doctest: +SKIP
    """
    from .ccxt_source import CcxtSource

    now = SystemClock().now
    folder = None if cache is None else CandleStore(cache).root
    source = CcxtSource(
        exchange,
        now=now,
        config=config,
        intervals=intervals,
        patience=patience,
        rules_folder=folder,
        keeps_unasked=folder is not None,
    )
    if stream:
        from .ccxt_stream import CcxtStream

        source.stream = CcxtStream(source, now=now, config=config)
    if folder is None:
        return source
    return StoredSource(source, CandleStore(folder), now=now, settle_minutes=settle_minutes)


def stored(source: CandleSource, *, folder: str | Path = DEFAULT_FOLDER, settle_minutes: int = 3) -> StoredSource:
    """Any source, with everything it answered saved on disk.

    Parameters
    ----------
    source
        Where candles that are not stored yet are fetched; its name is the name of the exchange in the store.
    folder
        The folder of stored candles, shared by all runs and processes.
    settle_minutes
        How long a closed candle counts as provisional: it is used, but asked for again and not stored yet.

    Examples
    --------
    >>> import tempfile, bknb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = stored(bknb.exchanges.demo(), folder=folder)
    ...     market.name, market.intervals == bknb.exchanges.demo().intervals
    ('demo', True)
    """
    if isinstance(source, (StoredSource, CandleStoreSource)):
        raise UsageError(f"{source.name!r} is stored already; give stored() the source behind it")
    given: object = source
    if not isinstance(given, CandleSource):
        raise UsageError(f"stored needs a source such as bknb.exchanges.ccxt('binance'), got {given!r:.80}")
    if isinstance(source, JoinedSource):
        parts = ", ".join(f"{prefix}=stored(…)" for prefix in source.prefixes)
        raise UsageError(f"{source.name!r} is several exchanges, and a candle store keeps those of one\n"
                         f"put a store around each, joined({parts}), and download from each by itself")  # fmt: skip
    if is_adjusted(source):
        raise UsageError(
            f"{source.name!r} is adjusted for splits and dividends: the next one would change all its candles, and a "
            "candle store keeps those it has\ngive the source itself to the run; it needs no store"
        )
    return StoredSource(source, CandleStore(folder), now=SystemClock().now, settle_minutes=settle_minutes)


def is_adjusted(source: object) -> bool:
    """Whether splits or dividends made a difference to candles of a source.

    Examples
    --------
    >>> is_adjusted(object())
    False
    """
    return any(made.steps for made in getattr(source, "adjustments", {}).values())


def is_in_no_store(source: object) -> bool:
    """Whether a source holds candles in memory that no store keeps: adjusted ones, or prices at or below zero.

    Examples
    --------
    >>> is_in_no_store(object())
    False
    """
    return is_adjusted(source) or (getattr(source, "in_memory", False) and getattr(source, "negative", False))


def from_store(
    folder: str | Path = DEFAULT_FOLDER, *, exchange: str | None = None, negative: bool = False
) -> CandleStoreSource:
    """A source over stored candles alone: no network, no package for an exchange.

    Parameters
    ----------
    folder
        The folder of stored candles.
    exchange
        Whose candles; not needed when only one exchange is stored there.
    negative
        Whether prices at or below zero are traded, as said of the source that was stored; else they are refused.

    Raises
    ------
    UsageError
        Nothing is stored there, or candles of several exchanges are and none was named.
    UnknownName
        That exchange is not stored there.

    Examples
    --------
    >>> import asyncio, tempfile, bknb
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = stored(bknb.exchanges.demo(), folder=folder)
    ...     _ = asyncio.run(market.get_candles("BTCUSDT", "1m", 1_641_038_400_000, 60))
    ...     source = from_store(folder)
    >>> source.name, source.symbols
    ('demo', ('BTCUSDT',))
    """
    return CandleStoreSource(CandleStore(folder), exchange=exchange, negative=negative)
