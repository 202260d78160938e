"""Where the stops of a live run lie: of a trailing one events do not tell that."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bknb import DataError

from ...reports.equity_arrays import stairs_of
from .costly_updates import CostlyUpdates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...reports.dashboard_run import RunView


class LiveStops:
    """Sets the levels of what is open in live views, and the stops over time where a trailing one can have moved.

    Parameters
    ----------
    seconds : callable
        A stopwatch.
    """

    def __init__(self, *, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._updates: WeakKeyDictionary[RunView, CostlyUpdates] = WeakKeyDictionary()

    def follow(self, view: RunView, task: Any) -> None:
        """Bring a view up to date with its task.

        Parameters
        ----------
        view : RunView
            Of a live run; what it shows is changed.
        task : LiveTask
            The run, with its ``positions`` and ``snapshot``.
        """
        for held in task.positions if view.signals.holds_position else ():
            view.set_held(held)
        trailing = [level for level in view.signals.levels.values() if level.trails]
        if (trailing or view in self._updates) and view.candles is not None:
            times = view.candles.timestamp
            can_tell = any(level.since >= int(times[0]) for level in trailing)  # else its first candles are gone
            seen = len(view.signals.managed), len(view.signals.trades), int(times[-1]) if can_tell else 0
            updates = self._updates.setdefault(view, CostlyUpdates(seconds=self._seconds))
            updates.do_where_changed("stops", seen, lambda: _set_stairs(view, task))
        for level in trailing:
            if view.last_ms is not None and level.key in view.signals.positions_managed:
                view.extend_stop(level, view.last_ms)


def _set_stairs(view: RunView, task: Any) -> None:
    """Work out the stops over time; where the candles are not here, what events tell is drawn."""
    with suppress(DataError):
        view.set_stairs(stairs_of(task.snapshot()))
