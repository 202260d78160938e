"""Where the stops of a live run lie: of a trailing one events do not tell that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...reports.equity_arrays import stairs_of
from .updates import REST_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...reports.dashboard_run import RunView


class LiveStops:
    """Sets the levels of what is open in live views, and the stops over time where a trailing one can have moved.

    Parameters
    ----------
    seconds : callable
        A stopwatch. What took a second is done again after 40 seconds at the earliest.
    """

    def __init__(self, *, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: dict[int, tuple[int, int, int]] = {}
        self._rests_until: dict[int, float] = {}

    def follow(self, view: RunView, task: Any) -> None:
        """Bring a view up to date with its task.

        Parameters
        ----------
        view : RunView
            Of a live run; what it shows is changed.
        task : LiveTask
            The run, with its ``positions`` and ``snapshot``.
        """
        for held in task.positions if view.holds_position else ():
            view.set_held(held)
        trailing = [level for level in view.levels.values() if level.trails]
        if (trailing or id(view) in self._known) and view.candles is not None:
            times = view.candles.timestamp
            can_tell = any(level.since >= int(times[0]) for level in trailing)  # else its first candles are gone
            self._set_stairs(view, task, int(times[-1]) if can_tell else 0)
        for level in trailing:
            if view.last_ms is not None and level.key in view.positions_managed:
                view.extend_stop(level, view.last_ms)

    def _set_stairs(self, view: RunView, task: Any, moment: int) -> None:
        """Work out the stops over time, where something has changed since; ``moment`` (UTC ms) is the last candle."""
        key, now = id(view), self._seconds()
        seen = (len(view.managed), len(view.trades), moment)
        if now < self._rests_until.get(key, now) or seen == self._known.get(key):
            return
        self._known[key] = seen
        try:
            view.set_stairs(stairs_of(task.snapshot()))
        except DataError:  # its candles are not here: what events tell is drawn
            return
        self._rests_until[key] = now + REST_FACTOR * (self._seconds() - now)
