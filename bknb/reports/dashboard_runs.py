"""The views of many runs: each event is applied to the view of its run."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import percent_text
from ..events.messages import Done
from .dashboard_account import total_return
from .dashboard_run import Key, RunView

_MODES: Final = ("backtest", "live", "walker")


def key_of(event: Any) -> Key | None:
    """The run an event belongs to; None when it names none.

    Examples
    --------
    >>> from bknb.domain.signal_events import Idle
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


class RunViews:
    """The run views of a dashboard, by run.

    Parameters
    ----------
    only : RunView or None
        The one run it shows; None: every run that emits events.

    Attributes
    ----------
    views : dict of Key to RunView
    selected : Key or None
        The run whose panels are shown.
    version : int
        How often the list of runs has changed.

    Examples
    --------
    >>> from bknb.domain.signal_events import Idle
    >>> views = RunViews()
    >>> views.take(Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=1.0))
    >>> views.selected, len(views.views)
    (('live', 'BTCUSDT', 'sma'), 1)
    """

    def __init__(self, only: RunView | None = None) -> None:
        self.only = only
        self.views: dict[Key, RunView] = {}
        self.selected: Key | None = None
        self.version = 0
        if only is not None:
            self.add(only)

    @property
    def view(self) -> RunView | None:
        """The view of the selected run, whose panels are shown."""
        return self.views.get(self.selected) if self.selected is not None else None

    def add(self, view: RunView) -> None:
        """Add a run; it replaces an earlier one of the same key."""
        self.views[view.key] = view
        self.selected = self.selected or view.key
        self.version += 1

    def select(self, key: Key) -> None:
        """Select the run whose panels are shown."""
        self.selected = key
        self.version += 1

    def take(self, event: Any) -> None:
        """Apply an event to the view of its run; one that belongs to no run goes to the selected one."""
        key = key_of(event)
        if key is None:
            self._unclear(event)
            return
        if isinstance(event, Done) and key not in self.views:
            key = ("walker", *key[1:])  # a comparison ends in the name of its walker
        view = self.views.get(key)
        if self.only is None and view is None and isinstance(event, Done):
            return
        if self.only is None and (view is None or (view.over and not isinstance(event, Done))):
            view = RunView(key[1], key[2], mode=key[0])
            self.add(view)
        if view is not None:
            view.take(event)

    def _unclear(self, event: Any) -> None:
        symbol, strategy = getattr(event, "symbol", None), getattr(event, "strategy", None)
        if symbol is None and strategy is None:
            if self.view is not None:
                self.view.take(event)
            return
        for view in self.views.values():
            if view.symbol == symbol and view.strategy in (strategy, None):
                view.take(event)

    def runs(self) -> list[dict[str, Any]]:
        """One row per run, for the list of runs."""
        return [
            {
                "key": list(view.key),
                "title": view.title,
                "status": view.status,
                "percent": round(100 * view.processed / view.total) if view.total else None,
                "trades": len(view.signals.trades),
                "total": _total_text(view),
                "selected": view.key == self.selected,
            }
            for view in self.views.values()
        ]


def _total_text(view: RunView) -> str:
    """The total return of a run so far; empty where it has none."""
    total = None if view.mode == "walker" else total_return(view)
    return "" if total is None else percent_text(total)
