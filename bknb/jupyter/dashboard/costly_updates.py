"""What a dashboard does seldom, as it takes long: where something has changed, and with a rest behind it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

_REST_FACTOR: Final = 40.0
"""What took a second is done again after this many seconds at the earliest: 2.5 % of the time."""


class CostlyUpdates:
    """Does work of several kinds, each of which rests 40 times as long as it took.

    Parameters
    ----------
    seconds : callable
        A stopwatch.

    Examples
    --------
    >>> now = iter([0.0, 1.0, 39.0, 40.0])
    >>> updates = CostlyUpdates(seconds=lambda: next(now))
    >>> updates.do("equity", lambda: None)  # takes a second
    >>> updates.rests("equity"), updates.rests("equity")
    (True, False)
    """

    def __init__(self, *, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._seen: dict[Hashable, Any] = {}
        self._rests_until: dict[Hashable, float] = {}

    def rests(self, kind: Hashable) -> bool:
        """Whether a kind of work was done lately."""
        until = self._rests_until.get(kind)
        return until is not None and self._seconds() < until

    def do(self, kind: Hashable, work: Callable[[], None]) -> None:
        """Do it now; what raises need not rest."""
        began = self._seconds()
        work()
        self._rests_until[kind] = began + _REST_FACTOR * (self._seconds() - began)

    def do_where_changed(self, kind: Hashable, seen: Any, work: Callable[[], None]) -> None:
        """Do it unless it rests, or was done when the same was seen; what raises counts as not done."""
        if seen == self._seen.get(kind) or self.rests(kind):
            return
        self.do(kind, work)
        self._seen[kind] = seen

    def forget(self) -> None:
        """Let nothing rest any more."""
        self._rests_until.clear()
