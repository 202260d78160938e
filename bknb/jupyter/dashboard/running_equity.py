"""What the account of a run is worth while it goes on, where its trades do not tell."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bknb import DataError

from .costly_updates import CostlyUpdates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...reports.dashboard_run import RunView


class RunningEquity:
    """Sets the equity in views of runs with a capital whose trades tell none, such as those in several places.

    Parameters
    ----------
    seconds : callable
        A stopwatch.
    """

    def __init__(self, *, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._updates: WeakKeyDictionary[RunView, CostlyUpdates] = WeakKeyDictionary()

    def follow(self, view: RunView, task: Any) -> None:
        """Bring the equity of a view up to date with its task, where anything has happened since."""
        if not (view.in_money and view.signals.no_equity):
            return
        signals = view.signals
        seen = view.processed, view.last_ms, len(signals.trades), len(signals.managed), len(signals.levels)
        updates = self._updates.setdefault(view, CostlyUpdates(seconds=self._seconds))
        with suppress(DataError):  # its candles are not here yet
            updates.do_where_changed("equity", seen, lambda: _set_equity(view, task))


def _set_equity(view: RunView, task: Any) -> None:
    if view.mode == "live":
        result = task.snapshot()
        equity = result.equity
        view.set_worth(equity.index.as_unit("ms").asi8, equity.to_numpy())
        view.set_account(result.account)
    elif (found := task.equity_so_far()) is not None:
        view.set_worth(*found)
