"""Milestones and refusals of the runs of this process: as values, as tables, as reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..reports.milestones_and_refusals import MilestoneTally, RefusalTally, milestone_tally, refusal_tally
from .backtest import Backtest, BacktestTask
from .live import Live, LiveTask

if TYPE_CHECKING:
    from ..engine.records import Records

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
        from ..stores.atomic import write_report

        return write_report(Path(path), _names(symbol, strategy), Partial.get_report(symbol, strategy))


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
        from ..stores.atomic import write_report

        return write_report(Path(path), _names(symbol, strategy), Risk.get_report(symbol, strategy))
