"""Sources that need no candle store: the demo, a market with hours, a shared notebook's candles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..market.demo import DemoSource
from ..market.sources import FunctionSource, SessionSource
from ..ports import CandleSource

if TYPE_CHECKING:
    from ..market.sessions import Sessions
    from .candle_bundle import Bundle


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


def in_sessions(
    source: CandleSource | Callable[..., Any], sessions: Sessions | str, *, from_open: bool = False
) -> SessionSource:
    """Any source or ``get_candles`` function, with the hours when its market is open.

    While the market is closed a missing candle is no gap, a strategy is not asked and nothing is filled; the candle
    after it is a gap open.

    Parameters
    ----------
    source
        A source, or a function ``(symbol, interval, since, limit)``. The ``intervals=`` that ``bknb.add_exchange`` is
        given beside it are those of the function.
    sessions
        ``"fx"``, ``"us-equities"``, the calendar of an exchange such as ``"XLON"``, ``"XETR"`` or ``"XNYS"`` (needs
        ``pip install 'bknb[calendars]'``), or :class:`bknb.Sessions`.
    from_open
        Whether its bars, longer than a minute, count from the open of each session, as hours from 09:30 on, the last
        one up to the close. False: they open at multiples of their length in UTC. Bars of a table show it themselves.

    Examples
    --------
    >>> eurusd = in_sessions(demo(), "fx")
    >>> eurusd.sessions.zone
    'America/New_York'
    """
    from ..market.sessions import as_sessions

    hours = as_sessions(sessions)
    if hours is None:
        raise UsageError(
            "sessions must be 'fx', 'us-equities', an exchange's calendar such as 'XLON', or bknb.Sessions\n"
            "without any the market is always open"
        )
    if not isinstance(source, CandleSource) and isinstance(getattr(source, "source", None), CandleSource):
        raise UsageError(f"in_sessions needs a source or a function, got a registered exchange: {source!r:.60}\n"
                         "give what it was registered with: in_sessions(exchange.source, ...)")  # fmt: skip
    return SessionSource(
        source if isinstance(source, CandleSource) else FunctionSource(source), hours, from_open=from_open
    )


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
        A file is missing, was changed after it was shared (the text names the candle), or lies outside the folder.

    Examples
    --------
    >>> bundled("/nowhere")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: there is no bknb-share.json in /nowhere
    share a notebook with: bknb share NOTEBOOK
    """
    from ..engine.registry import registry
    from ..market.candle_fingerprint import explain
    from ..stores.atomic import as_path
    from .candle_bundle import Bundle

    bundle = Bundle(as_path(folder, "first-share"), explain=lambda file, candles: explain(file.fingerprint, candles))
    bundle.serve(registry.middleware)
    return bundle
