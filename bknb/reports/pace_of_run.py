"""How fast a run goes, and how long what is left of it takes."""

from __future__ import annotations

from collections import deque
from typing import Final

_SECONDS: Final = 4.0
"""The rate is measured over this long: steady for the eye, and true again soon after a pause."""


class Pace:
    """The rate of a run over its last seconds.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.measure(0, 600, seconds=0.0), pace.measure(100, 600, seconds=2.0)
    ((None, None), (50.0, 10.0))
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def measure(self, processed: int, total: int, *, seconds: float) -> tuple[float | None, float | None]:
        """Moments per second, and seconds left; None while they cannot be known.

        Parameters
        ----------
        processed, total : int
            Moments behind, and all of them; a total of 0 is unknown.
        seconds : float
            The caller's clock; only distances count.
        """
        seen = self._seen
        if not seen or seen[-1][1] != processed:
            seen.append((seconds, processed))
        while len(seen) > 2 and seconds - seen[0][0] > _SECONDS:
            seen.popleft()
        began, before = seen[0]
        passed = seconds - began
        if passed <= 0 or processed <= before:
            return None, None
        rate = (processed - before) / passed
        return rate, (total - processed) / rate if total else None
