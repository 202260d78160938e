"""What the account of a run is worth while it goes on, where its trades do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import DataError
from .updates import REST_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...reports.dashboard_run import RunView


class RunningEquity:
    """Sets the equity in views of runs with a capital whose trades tell none, such as those in several places.

    Parameters
    ----------
    seconds : callable
        A stopwatch. What took a second is done again after 40 seconds at the earliest.
    """

    def __init__(self, *, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: dict[int, tuple[Any, ...]] = {}
        self._rests_until: dict[int, float] = {}

    def follow(self, view: RunView, task: Any) -> None:
        """Bring the equity of a view up to date with its task, where anything has happened since."""
        key, now = id(view), self._seconds()
        seen = view.processed, view.last_ms, len(view.trades), len(view.managed), len(view.levels)
        if not (view.in_money and view.no_equity) or seen == self._known.get(key):
            return
        if now < self._rests_until.get(key, now):
            return
        try:
            self._set(view, task)
        except DataError:  # its candles are not here yet
            return
        self._known[key], self._rests_until[key] = seen, now + REST_FACTOR * (self._seconds() - now)

    def _set(self, view: RunView, task: Any) -> None:
        if view.mode == "live":
            result = task.snapshot()
            equity = result.equity
            view.set_worth(equity.index.as_unit("ms").asi8, equity.to_numpy())
            view.set_account(result.account)
        elif (found := task.equity_so_far()) is not None:
            view.set_worth(*found)
