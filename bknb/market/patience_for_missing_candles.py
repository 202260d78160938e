"""How long candles that do not come are waited for before a run goes on without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .bar_slots import bar_close, open_slots
from .missing_candles import gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid

_MANY: Final = 1_000  # beyond so many, holes that were waited for are forgotten; the patience bounds the others


class Awaited:
    """The holes of a growing series of candles, each with the moment at which it was first seen.

    Parameters
    ----------
    patience_ms
        A hole that was seen this long ago is not waited for any longer; 0: none is waited for.
    sessions
        When the market is open; what is missing in closed hours is no hole.
    grid
        Where the candles open that do not open at multiples of their length.

    Examples
    --------
    >>> import numpy as np
    >>> holes = Awaited(600_000)
    >>> times = np.array([0, 60_000, 180_000])
    >>> holes.first(times, step=60_000, now=240_000), holes.first(times, step=60_000, now=840_000)
    ((120000, 180000), None)
    """

    def __init__(self, patience_ms: int, *, sessions: Sessions | None = None, grid: BarGrid | None = None) -> None:
        self.patience_ms = patience_ms
        self._sessions, self._grid = sessions, grid
        self._seen: dict[int, int] = {}  # by the open time of the first missing candle
        self._forgotten = -1  # the latest of those that were waited for and are not in it any more

    def first(
        self,
        times: NDArray[np.int64],
        *,
        step: int,
        now: int,
        after: int | None = None,
        unanswered: Sequence[tuple[int, int]] = (),
    ) -> tuple[int, int] | None:
        """The first range ``[first, end)`` of missing candles that is still waited for; UTC ms.

        Parameters
        ----------
        times
            Open times of the candles there are, ascending.
        step
            Length of a candle in milliseconds.
        now
            The present; a hole that has not been seen before is waited for from now on.
        after
            Open time of the candle before them, when it is known.
        unanswered
            Ranges ``[first, end)`` that were asked for once more without an answer. What is missing in them is waited
            for until twice the patience has passed since the candle behind it closed, too: that does not depend on when
            it was first seen.
        """
        missing = self.missing(times, step=step, after=after)
        self._note(missing, now)
        for hole in missing:
            if now - self.seen_at(hole[0], now - self.patience_ms) < self.patience_ms:
                return hole
            has_no_answer = any(first < hole[1] and hole[0] < end for first, end in unanswered)
            if has_no_answer and now - (hole[1] + step) < 2 * self.patience_ms:
                return hole
        return None

    def seen_at(self, first: int, otherwise: int) -> int:
        """When (UTC ms) the hole that begins at ``first`` was first seen; ``otherwise`` where that is not known."""
        return self._seen.get(first, otherwise)

    def note(self, times: NDArray[np.int64], *, step: int, now: int, after: int | None = None) -> None:
        """Wait for what is missing between candles from now on; in history, whose holes ended long ago, since then.

        Parameters are those of :meth:`first`; without ``after`` these candles are history: nobody has waited for what
        is missing between them.
        """
        self._note(self.missing(times, step=step, after=after), now, since_its_end=after is None)

    def _note(self, missing: tuple[tuple[int, int], ...], now: int, *, since_its_end: bool = False) -> None:
        for first, end in missing:
            if first > self._forgotten:
                self._seen.setdefault(first, min(end, now) if since_its_end else now)
        if len(self._seen) > _MANY:
            known = list(self._seen.items())  # the thread of a strategy may note another meanwhile
            waited = {first for first, seen in known if now - seen >= self.patience_ms}
            self._forgotten = max({self._forgotten} | waited)
            self._seen = {first: seen for first, seen in known if first not in waited}

    def missing(self, times: NDArray[np.int64], *, step: int, after: int | None = None) -> tuple[tuple[int, int], ...]:
        """All ranges ``[first, end)`` of missing candles, in order; UTC ms."""
        count = len(times)
        if not count:
            return ()
        behind = None if after is None else bar_close(after, step, self._grid)
        before = behind is not None and int(times[0]) > behind
        if self._grid is None and not before and int(times[-1]) - int(times[0]) == (count - 1) * step:
            return ()
        missing = gaps(times, step, self._grid)
        if before and behind is not None:
            missing = ((behind, int(times[0])), *missing)
        return open_slots(missing, step, self._sessions, self._grid)
