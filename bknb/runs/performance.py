"""``bknb.Performance``: how long things take between ``start()`` and ``stop()``; the newest of each run are stored."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

from ..errors import UnknownName, UsageError
from ..events import listen as events
from ..events import messages, subjects
from ..process import at_reset
from ..reports.performance_report import PerformanceInfo, performance_info
from ..stores.atomic import write_report
from .backtest import Backtest

MOST_DURATIONS: Final = 10_000
"""Durations that are stored for each symbol and strategy."""


class _Durations:
    """The newest durations by symbol and strategy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[tuple[str, str], deque[messages.Performance]] = {}
        self._listening: Any = None

    def listen(self) -> None:
        """Subscribe to the performance events, once."""
        with self._lock:
            if self._listening is None:
                self._listening = subjects.performance.listen(self._add)

    def leave(self) -> None:
        """End the subscription; durations so far stay."""
        with self._lock:
            if self._listening is not None:
                self._listening()
                self._listening = None

    def _add(self, event: messages.Performance) -> None:
        with self._lock:
            self._events.setdefault((event.symbol, event.strategy), deque(maxlen=MOST_DURATIONS)).append(event)

    def of(self, symbol: str, strategy: str) -> list[messages.Performance]:
        """Return the durations of a strategy on a symbol, oldest first."""
        events.drain()
        with self._lock:
            return [*self._events.get((symbol, strategy), ())]

    def known(self) -> list[tuple[str, str]]:
        """Return symbols and strategies that have durations."""
        with self._lock:
            return [*self._events]

    def forget(self, symbol: str, strategy: str) -> None:
        """Remove the durations of one symbol and strategy."""
        events.drain()
        with self._lock:
            self._events.pop((symbol, strategy), None)

    def start_again(self) -> None:
        """End the subscription and remove all durations."""
        self.leave()
        with self._lock:
            self._events.clear()


_durations = _Durations()
at_reset(_durations.start_again)


class Performance:
    """How long things take, by metric: whole backtests, questions to a strategy, signals, live ticks.

    It measures the runs that begin between ``start()`` and ``stop()``; others are not slowed down. At most 10 000
    durations are stored for each symbol and strategy.

    Examples
    --------
    >>> import bknb
    >>> bknb.Performance.start()
    >>> frame = "2024-01-01:2024-01-02"
    >>> _ = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=frame, interval="1h")
    >>> bknb.Performance.stop()
    >>> measured = bknb.Performance.get_data("BTCUSDT", "<lambda>")
    >>> measured["backtest_timeframe"].count >= 24
    True
    >>> bknb.Performance.clear("BTCUSDT", "<lambda>")
    """

    @staticmethod
    def start() -> None:
        """Measure the runs that start from now on."""
        _durations.listen()

    @staticmethod
    def stop() -> None:
        """Measure no more; what was measured stays."""
        _durations.leave()

    @staticmethod
    def get_data(symbol: str, strategy: str) -> PerformanceInfo:
        """What was measured of a strategy on a symbol."""
        measured = _durations.of(symbol, strategy)
        if not measured:
            known = [f"{name} on {traded}" for traded, name in _durations.known()]
            ran = any((task.symbol, task.strategy) == (symbol, strategy) for task in Backtest.list())
            if ran or not known:
                raise UsageError(
                    f"nothing was measured of {strategy} on {symbol}\n"
                    "runs are measured that start after bknb.Performance.start(): run it again"
                )
            raise UnknownName("measured run", f"{strategy} on {symbol}", known=known)
        return performance_info(strategy, symbol, measured, limit=MOST_DURATIONS)

    @staticmethod
    def get_report(symbol: str, strategy: str) -> str:
        """The same as Markdown."""
        return Performance.get_data(symbol, strategy).report()

    @staticmethod
    def dump(symbol: str, strategy: str, path: str | Path = "./dump/performance") -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, (strategy, symbol), Performance.get_report(symbol, strategy))

    @staticmethod
    def clear(symbol: str, strategy: str) -> None:
        """Forget what was measured of a strategy on a symbol."""
        _durations.forget(symbol, strategy)
