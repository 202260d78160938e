"""``bknb.Schedule``: scheduled signals of the last backtest, or live run, of a symbol and strategy."""

from __future__ import annotations

from pathlib import Path

from ..domain.signal_events import Mode
from ..reports.scheduled_signals import ScheduleInfo, schedule_info
from ..stores.atomic import write_report
from .backtest import Backtest
from .live_runs import Live


class Schedule:
    """Outcomes of the signals that waited for their entry price, in the last backtest of a strategy on a symbol.

    Examples
    --------
    >>> import bknb
    >>> def patient(price):
    ...     return bknb.Signal(position="long", price_open=price * 0.995, price_take_profit=price * 1.01,
    ...                        price_stop_loss=price * 0.98, minute_estimated_time=240)
    >>> _ = bknb.backtest("BTCUSDT", strategy=patient, exchange="demo", frame="2024-01-01:2024-01-08", interval="1h")
    >>> waited = bknb.Schedule.get_data("BTCUSDT", "patient")
    >>> waited.scheduled == waited.opened + waited.cancelled
    True
    """

    @staticmethod
    def get_data(symbol: str, strategy: str, *, mode: Mode = "backtest") -> ScheduleInfo:
        """Counts, rates and every event; waits for a backtest that is running, and not for a live run."""
        result = Live.get_data(symbol, strategy) if mode == "live" else Backtest.get_data(symbol, strategy)
        return schedule_info(strategy, symbol, list(result.events))

    @staticmethod
    def get_report(symbol: str, strategy: str, *, mode: Mode = "backtest") -> str:
        """The same as Markdown."""
        return Schedule.get_data(symbol, strategy, mode=mode).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/schedule", *, mode: Mode = "backtest") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy, symbol and mode."""
        return write_report(path, (strategy, symbol, mode), Schedule.get_report(symbol, strategy, mode=mode))
