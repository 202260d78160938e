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
    from .jupyter.dashboard.portfolio_dashboard import PortfolioDashboard

__all__ = [
    "allocation",
    "contribution",
    "correlation",
    "equity",
    "exposure",
    "legs",
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


def _alone(panel: str, shown: Any) -> Dashboard | PortfolioDashboard:
    from .jupyter.dashboard.dashboard import dashboard

    return dashboard(shown, panels=[panel])


def status(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Status, progress, rate and time left; of a live run the last tick and the state on disk.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.status(result).panels
    ['status']
    """
    return _alone("status", shown)


def progress(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """The same panel as :func:`status`.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.progress(result).panels
    ['status']
    """
    return _alone("status", shown)


def price(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Candles with entries, exits, targets, stops and scheduled entries.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.price(result).panels
    ['price']
    """
    return _alone("price", shown)


def equity(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Compounded equity and drawdown, in percent; of a portfolio its equity in money, with its benchmark.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.equity(result).panels
    ['equity']
    """
    return _alone("equity", shown)


def exposure(shown: Any) -> Dashboard | PortfolioDashboard:
    """What a portfolio holds, long and short, percent of its equity.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02", capital=10_000)
    >>> bknb.panels.exposure(result).panels
    ['exposure']
    """
    return _alone("exposure", shown)


def legs(shown: Any) -> Dashboard | PortfolioDashboard:
    """The legs of a portfolio: what each has made, holds, and was refused.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
    >>> bknb.panels.legs(result).panels
    ['legs']
    """
    return _alone("legs", shown)


def contribution(shown: Any) -> Dashboard | PortfolioDashboard:
    """What each leg of a portfolio has added to its account.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02", capital=10_000)
    >>> bknb.panels.contribution(result).panels
    ['contribution']
    """
    return _alone("contribution", shown)


def correlation(shown: Any) -> Dashboard | PortfolioDashboard:
    """How what the legs of a portfolio added on each day goes together.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02", capital=10_000)
    >>> bknb.panels.correlation(result).panels
    ['correlation']
    """
    return _alone("correlation", shown)


def allocation(shown: Any) -> Dashboard | PortfolioDashboard:
    """What each leg of a portfolio holds now, percent of the equity.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02", capital=10_000)
    >>> bknb.panels.allocation(result).panels
    ['allocation']
    """
    return _alone("allocation", shown)


def signals(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Open and scheduled signals with their way to target and stop.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.signals(result).panels
    ['signals']
    """
    return _alone("signals", shown)


def trades(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """The trades, to sort and filter; a selected one shows its events.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.trades(result).panels
    ['trades']
    """
    return _alone("trades", shown)


def statistics(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Every figure with its definition.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.statistics(result).panels
    ['statistics']
    """
    return _alone("statistics", shown)


def risk(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Signals that risk profiles have refused, and why.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.risk(result).panels
    ['risk']
    """
    return _alone("risk", shown)


def milestones(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Ten, twenty ... a hundred percent of the way to target or stop.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.milestones(result).panels
    ['milestones']
    """
    return _alone("milestones", shown)


def problems(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Errors, warnings and rejected signals, counted.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.problems(result).panels
    ['problems']
    """
    return _alone("problems", shown)


def timings(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """Measured durations by kind.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.timings(result).panels
    ['timings']
    """
    return _alone("timings", shown)


def walker(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """The ranking of a comparison.

    Examples
    --------
    >>> import bknb
    >>> compared = bknb.walker(
    ...     "BTCUSDT", strategies=[lambda: None], exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> bknb.panels.walker(compared).panels
    ['walker']
    """
    return _alone("walker", shown)


def runs(shown: Any = None) -> Dashboard | PortfolioDashboard:
    """The list of all runs.

    Examples
    --------
    >>> import bknb
    >>> board = bknb.panels.runs()
    >>> board.panels
    ['runs']
    >>> board.close()
    """
    return _alone("runs", shown)
