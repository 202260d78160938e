"""Reports over the runs of this process: scheduled signals, durations, milestones and refusals.

``Schedule`` reads the last backtest, or the last live run, of a symbol and strategy; it stores nothing.
``Performance`` listens between ``start()`` and ``stop()`` and stores the newest durations of every symbol and strategy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ..errors import UnknownName, UsageError
from ..events import listen as events
from ..events import messages, subjects
from ..process import at_reset
from ..reports.milestones_and_refusals import MilestoneTally, RefusalTally, milestone_tally, refusal_tally
from ..reports.performance import PerformanceInfo, performance_info
from ..reports.scheduled import ScheduleInfo, schedule_info
from ..stores.atomic import write_report
from .backtest import Backtest, BacktestTask
from .live import Live, LiveTask

if TYPE_CHECKING:
    from ..engine.records import Records

MOST_DURATIONS: Final = 10_000
"""Durations that are stored for each symbol and strategy."""


Mode: TypeAlias = Literal["backtest", "live"]


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


_EVERY = "all runs"


def _records(symbol: str | None, strategy: str | None) -> Iterator[Records]:
    tasks: list[BacktestTask | LiveTask] = [*Backtest.list(), *Live.list()]
    for task in tasks:
        if symbol in (None, task.symbol) and strategy in (None, task.strategy):
            yield task.records


def _title(symbol: str | None, strategy: str | None) -> str:
    return " on ".join(name for name in (strategy, symbol) if name is not None) or _EVERY


def _names(symbol: str | None, strategy: str | None) -> tuple[str, ...]:
    return tuple(name for name in (strategy, symbol) if name is not None) or ("all",)


class Partial:
    """Partial milestones: 10, 20 … 100 % of the way to a target or a stop, each passed once per position.

    They come from the last backtest and the last live run of every strategy and symbol in this process; ``symbol`` and
    ``strategy`` narrow them down.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98,
    ...                        minute_estimated_time=600)
    >>> _ = bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> tally = bknb.Partial.get_data("BTCUSDT", "get_signal")
    >>> len(tally.table) == tally.profits + tally.losses
    True
    """

    @staticmethod
    def get_data(symbol: str | None = None, strategy: str | None = None) -> MilestoneTally:
        """The milestones up to now."""
        events = (event for records in _records(symbol, strategy) for event in list(records.milestones))
        return milestone_tally(_title(symbol, strategy), events)

    @staticmethod
    def get_report(symbol: str | None = None, strategy: str | None = None) -> str:
        """The milestones as Markdown."""
        return Partial.get_data(symbol, strategy).report()

    @staticmethod
    def dump(
        symbol: str | None = None, strategy: str | None = None, *, path: str | Path = "./dump/partial"
    ) -> Path:  # fmt: skip
        """Write the report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, _names(symbol, strategy), Partial.get_report(symbol, strategy))


class Risk:
    """Candidates that risk profiles refused, with the note of the rule that refused.

    They come from the last backtest and the last live run of every strategy and symbol in this process; ``symbol`` and
    ``strategy`` narrow them down.

    Examples
    --------
    >>> import bknb
    >>> bknb.Risk.get_data("BTCUSDT", "nobody").by_note
    {}
    """

    @staticmethod
    def get_data(symbol: str | None = None, strategy: str | None = None) -> RefusalTally:
        """The refusals up to now."""
        events = (event for records in _records(symbol, strategy) for event in list(records.refused))
        return refusal_tally(_title(symbol, strategy), events)

    @staticmethod
    def get_report(symbol: str | None = None, strategy: str | None = None) -> str:
        """The refusals as Markdown."""
        return Risk.get_data(symbol, strategy).report()

    @staticmethod
    def dump(
        symbol: str | None = None, strategy: str | None = None, *, path: str | Path = "./dump/risk"
    ) -> Path:  # fmt: skip
        """Write the report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, _names(symbol, strategy), Risk.get_report(symbol, strategy))
