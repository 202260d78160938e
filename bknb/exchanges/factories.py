"""Sources made from a name or a folder: the demo, ccxt, what is stored, a shared notebook's candles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.retry import Patience
from ..errors import UsageError
from ..history.cached_source import ShelfSource, StoredSource
from ..history.store import DEFAULT_FOLDER, CandleStore
from ..market.clock import SystemClock
from ..market.demo import DemoSource
from ..market.sessions import Sessions, as_sessions
from ..market.sources import FunctionSource, SessionSource
from ..ports import CandleSource

if TYPE_CHECKING:
    from .bundle import Bundle
    from .ccxt_source import CcxtSource


def demo() -> DemoSource:
    """A simulated market: endless one-minute candles, offline, the same on every machine.

    Any symbol has a market; ``BTCUSDT``, ``ETHUSDT``, ``SOLUSDT``, ``BNBUSDT`` and ``XRPUSDT`` have familiar prices.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(demo().get_candles("BTCUSDT", "1m", 1_641_038_400_000, 3))
    Candles(3, 2022-01-01T12:00 .. 2022-01-01T12:02 UTC)
    """
    return DemoSource()


def ccxt(
    exchange: str,
    *,
    cache: str | Path | None = DEFAULT_FOLDER,
    config: Mapping[str, Any] | None = None,
    intervals: tuple[str, ...] | None = None,
    patience: Patience | None = None,
    settle_minutes: int = 3,
) -> StoredSource | CcxtSource:
    """Any exchange ccxt knows, with everything it answered saved on disk.

    Candles are fetched when a run or :func:`bknb.download` first needs them, with the exchange's own page size and
    rate limit, and are read from disk from then on. Symbols may be written as ccxt does (``"BTC/USDT"``), as the
    exchange does, or without the slash (``"BTCUSDT"``). ``format_price`` and ``format_quantity`` follow the exchange's
    own rules.

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
    source = CcxtSource(exchange, now=now, config=config, intervals=intervals, patience=patience, rules_folder=folder)
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
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = stored(demo(), folder=folder)
    ...     market.name, market.intervals == demo().intervals
    ('demo', True)
    """
    if isinstance(source, (StoredSource, ShelfSource)):
        raise UsageError(f"{source.name!r} is stored already; give stored() the source behind it")
    return StoredSource(source, CandleStore(folder), now=SystemClock().now, settle_minutes=settle_minutes)


def from_store(folder: str | Path = DEFAULT_FOLDER, *, exchange: str | None = None) -> ShelfSource:
    """A source over stored candles alone: no network, no package for an exchange.

    Parameters
    ----------
    folder
        The folder of stored candles.
    exchange
        Whose candles; not needed when only one exchange is stored there.

    Raises
    ------
    UsageError
        Nothing is stored there, or candles of several exchanges are and none was named.
    UnknownName
        That exchange is not stored there.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = stored(demo(), folder=folder)
    ...     _ = asyncio.run(market.get_candles("BTCUSDT", "1m", 1_641_038_400_000, 60))
    ...     source = from_store(folder)
    >>> source.name, source.symbols
    ('demo', ('BTCUSDT',))
    """
    return ShelfSource(CandleStore(folder), exchange=exchange)


def in_sessions(source: CandleSource | Callable[..., Any], sessions: Sessions | str) -> SessionSource:
    """Any source or ``get_candles`` function, with the hours when its market is open.

    While the market is closed a missing candle is no gap, a strategy is not asked and nothing is filled; the candle
    after it is a gap open.

    Parameters
    ----------
    source
        A source, or a function ``(symbol, interval, since, limit)``.
    sessions
        ``"fx"``, ``"us-equities"``, the calendar of an exchange such as ``"XLON"``, ``"XETR"`` or ``"XNYS"`` (needs
        ``pip install 'bknb[calendars]'``), or :class:`bknb.Sessions`.

    Examples
    --------
    >>> eurusd = in_sessions(demo(), "fx")
    >>> eurusd.sessions.zone
    'America/New_York'
    """
    hours = as_sessions(sessions)
    if hours is None:
        raise UsageError(
            "sessions must be 'fx', 'us-equities', an exchange's calendar such as 'XLON', or bknb.Sessions\n"
            "without any the market is always open"
        )
    return SessionSource(source if isinstance(source, CandleSource) else FunctionSource(source), hours)


def bundled(folder: str | Path = ".") -> Bundle:
    """Serve the candles of a shared folder in place of the exchanges they came from, from now on.

    ``bknb share`` writes this call into the first cell of a shared notebook. Every exchange whose name is in the
    folder's ``bknb-share.json`` then gives the recorded candles, whatever is registered under that name; nothing is
    fetched for it. ``bundled(...).leave()`` ends it.

    Raises
    ------
    UsageError
        There is no shared folder.
    StateError
        A file is missing, or was changed after it was shared; the text names the candle.

    Examples
    --------
    >>> bundled("/nowhere")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: there is no bknb-share.json in /nowhere
    share a notebook with: bknb share NOTEBOOK
    """
    from ..engine.registry import registry
    from ..provenance.candle_fingerprint import explain
    from .bundle import Bundle

    bundle = Bundle(Path(folder), explain=lambda file, candles: explain(file.fingerprint, candles))
    bundle.serve(registry.middleware)
    return bundle
