"""The records of the runs that this process keeps, by symbol and strategy, and how they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .backtest import Backtest, BacktestTask
from .live_runs import Live
from .live_task import LiveTask

if TYPE_CHECKING:
    from ..engine.records import Records


_EVERY: Final = "all runs"


def records_of(symbol: str | None, strategy: str | None) -> Iterator[Records]:
    """Yield the records of the runs of a symbol and a strategy; ``None``: of all."""
    tasks: list[BacktestTask | LiveTask] = [*Backtest.list(), *Live.list()]
    for task in tasks:
        if symbol in (None, task.symbol) and strategy in (None, task.strategy):
            yield task.records


def title_of(symbol: str | None, strategy: str | None) -> str:
    """Return a title for a report over them."""
    return " on ".join(name for name in (strategy, symbol) if name is not None) or _EVERY


def names_of(symbol: str | None, strategy: str | None) -> tuple[str, ...]:
    """Return the parts of the name of a file for such a report."""
    return tuple(name for name in (strategy, symbol) if name is not None) or ("all",)
