"""The clock of a machine that sleeps from one moment to another."""

from __future__ import annotations

from bknb.testing.clocks import SimulatedClock


class SleepingClock(SimulatedClock):
    """A simulated clock on which what is waited for between two moments comes at the second of them.

    Parameters
    ----------
    start : int
        The moment it begins at, UTC ms.
    sleeps, wakes : int
        Between which moments the machine sleeps, UTC ms; both are themselves awake.
    """

    def __init__(self, start: int, *, sleeps: int, wakes: int) -> None:
        super().__init__(start)
        self._sleeps, self._wakes = sleeps, wakes

    async def sleep_until(self, when: int) -> None:
        """Advance to ``when`` (UTC ms), or to the end of the sleep."""
        await super().sleep_until(self._wakes if self._sleeps < when < self._wakes else when)
