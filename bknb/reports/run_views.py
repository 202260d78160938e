"""Many runs at once: hands each event to the watch of its run."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import percent_text
from ..events.messages import Done
from .run_view import Key, Watch

_MODES: Final = ("backtest", "live", "walker")


def key_of(event: Any) -> Key | None:
    """Which run an event belongs to; None when it does not say.

    Examples
    --------
    >>> from bknb.domain.signal import Idle
    >>> key_of(Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=1.0))
    ('live', 'BTCUSDT', 'sma')
    """
    symbol, strategy = getattr(event, "symbol", None), getattr(event, "strategy", None)
    walker = getattr(event, "walker", None)
    if walker is not None:
        return ("walker", symbol, walker) if symbol is not None else None
    mode = getattr(event, "mode", None) or getattr(event, "kind", None)
    if mode not in _MODES or symbol is None or strategy is None:
        return None
    return (mode, symbol, strategy)


class Board:
    """The watches of a dashboard.

    Parameters
    ----------
    only : Watch or None
        The one run it shows; None: every run that is heard of.

    Attributes
    ----------
    watches : dict of Key to Watch
    selected : Key or None
        The run whose panels are shown.
    version : int
        How often the list of runs has changed.

    Examples
    --------
    >>> from bknb.domain.signal import Idle
    >>> board = Board()
    >>> board.take(Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=1.0))
    >>> board.selected, len(board.watches)
    (('live', 'BTCUSDT', 'sma'), 1)
    """

    def __init__(self, only: Watch | None = None) -> None:
        self.only = only
        self.watches: dict[Key, Watch] = {}
        self.selected: Key | None = None
        self.version = 0
        if only is not None:
            self.add(only)

    @property
    def watch(self) -> Watch | None:
        """The watch whose panels are shown."""
        return self.watches.get(self.selected) if self.selected is not None else None

    def add(self, watch: Watch) -> None:
        """Show one more run; it takes the place of an earlier one of the same key."""
        self.watches[watch.key] = watch
        self.selected = self.selected or watch.key
        self.version += 1

    def take(self, event: Any) -> None:
        """Hand an event to its watch; what belongs to no run is shown with the selected one."""
        key = key_of(event)
        if key is None:
            self._unclear(event)
            return
        if isinstance(event, Done) and key not in self.watches:
            key = ("walker", *key[1:])  # a comparison ends in the name of its walker
        watch = self.watches.get(key)
        if self.only is None and watch is None and isinstance(event, Done):
            return
        if self.only is None and (watch is None or (watch.over and not isinstance(event, Done))):
            watch = Watch(key[1], key[2], mode=key[0])
            self.add(watch)
        if watch is not None:
            watch.take(event)

    def _unclear(self, event: Any) -> None:
        symbol, strategy = getattr(event, "symbol", None), getattr(event, "strategy", None)
        if symbol is None and strategy is None:
            if self.watch is not None:
                self.watch.take(event)
            return
        for watch in self.watches.values():
            if watch.symbol == symbol and watch.strategy in (strategy, None):
                watch.take(event)

    def runs(self) -> list[dict[str, Any]]:
        """One row for each run."""
        return [
            {
                "key": list(watch.key),
                "title": watch.title,
                "status": watch.status,
                "percent": round(100 * watch.processed / watch.total) if watch.total else None,
                "trades": len(watch.trades),
                "total": percent_text(sum(watch.trades.pnl)),
                "selected": watch.key == self.selected,
            }
            for watch in self.watches.values()
        ]
