"""Where the stops of a live run lie: of a trailing one events do not tell that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...reports.equity_arrays import stairs_of
from .updates import REST_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...reports.run_view import RunView


class LiveStops:
    """Sets the stops over time of live views, after each minute in which one can have moved.

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
        """Set the levels of what is open, and the stops over time where a trailing one may have moved."""
        if view.holds_position and (held := task.position) is not None:
            view.set_held(held)
        key, now = id(view), self._seconds()
        trails = any(level.trails for level in view.levels.values())
        if not (trails or key in self._known) or now < self._rests_until.get(key, now):
            return
        moment = int(view.candles.timestamp[-1]) if trails and view.candles is not None else 0
        seen = (len(view.managed), len(view.trades), moment)
        if seen == self._known.get(key):
            return
        self._known[key] = seen
        try:
            view.set_stairs(stairs_of(task.snapshot()))
        except DataError:  # its candles are not here: what events tell is drawn
            return
        self._rests_until[key] = now + REST_FACTOR * (self._seconds() - now)
