"""Dashboards of a single panel: ``bknb.panels.price(task)``, ``bknb.panels.trades(result)``, ...

Every function takes what :func:`bknb.dashboard` takes, and shows one panel of it.

Examples
--------
>>> import bknb
>>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
>>> bknb.panels.trades(result).panels
['trades']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .jupyter.dashboard.dashboard import Dashboard

__all__ = [
    "equity",
    "milestones",
    "price",
    "problems",
    "progress",
    "risk",
    "runs",
    "signals",
    "statistics",
    "status",
    "timings",
    "trades",
    "walker",
]


def _alone(panel: str, shown: Any) -> Dashboard:
    from .jupyter.dashboard.dashboard import dashboard

    return dashboard(shown, panels=[panel])


def status(shown: Any = None) -> Dashboard:
    """Status, progress, rate and time left; of a live run the last tick and the state on disk."""
    return _alone("status", shown)


def progress(shown: Any = None) -> Dashboard:
    """The same panel as :func:`status`."""
    return _alone("status", shown)


def price(shown: Any = None) -> Dashboard:
    """Candles with entries, exits, targets, stops and scheduled entries."""
    return _alone("price", shown)


def equity(shown: Any = None) -> Dashboard:
    """Compounded equity and drawdown, in percent."""
    return _alone("equity", shown)


def signals(shown: Any = None) -> Dashboard:
    """Open and scheduled signals with their way to target and stop."""
    return _alone("signals", shown)


def trades(shown: Any = None) -> Dashboard:
    """The trades, to sort and filter; a selected one shows its events."""
    return _alone("trades", shown)


def statistics(shown: Any = None) -> Dashboard:
    """Every figure with its definition."""
    return _alone("statistics", shown)


def risk(shown: Any = None) -> Dashboard:
    """Signals that risk profiles have refused, and why."""
    return _alone("risk", shown)


def milestones(shown: Any = None) -> Dashboard:
    """Ten, twenty ... a hundred percent of the way to target or stop."""
    return _alone("milestones", shown)


def problems(shown: Any = None) -> Dashboard:
    """Errors, warnings and rejected signals, counted."""
    return _alone("problems", shown)


def timings(shown: Any = None) -> Dashboard:
    """Measured durations by kind."""
    return _alone("timings", shown)


def walker(shown: Any = None) -> Dashboard:
    """The ranking of a comparison."""
    return _alone("walker", shown)


def runs(shown: Any = None) -> Dashboard:
    """The list of all runs."""
    return _alone("runs", shown)
