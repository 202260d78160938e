"""What the owner of a live run asks of it from any thread: pause, resume, stop."""

from __future__ import annotations

from ..domain.formatting import utc_text
from ..engine.records import Records
from ..ports import Clock
from .run_progress import Reached


class Controls:
    """Whether a run may open something new, and whether it is to end.

    Attributes
    ----------
    paused
        Whether no new entries are asked for at present.
    stopped
        Whether it opens nothing new any more, and ends when nothing is open.
    leaving
        Whether it ends at once; what is open stays in the state on disk.
    stopped_at
        The clock (UTC ms) when it was stopped first.
    """

    def __init__(self, clock: Clock, records: Records, reached: Reached) -> None:
        self.paused = self.stopped = self.leaving = False
        self.stopped_at: int | None = None
        self._clock = clock
        self._records = records
        self._reached = reached

    def pause(self) -> None:
        """Ask for no new entries until ``resume``; what is open is watched on, and the result says so."""
        if not self.paused:
            self.paused = True
            self._records.warn(f"new entries were paused at {utc_text(self._reached.done)}")

    def resume(self) -> None:
        """Ask for entries again."""
        if self.paused:
            self.paused = False
            self._records.warn(f"new entries were asked for again from {utc_text(self._reached.done)} on")

    def stop(self, *, now: bool) -> None:
        """Open nothing new, and end when nothing is open any more; ``now`` ends at once."""
        self.leaving = self.leaving or now  # first: a minute that passes meanwhile must not take back what waits
        self.stopped_at = self._clock.now() if self.stopped_at is None else self.stopped_at
        self.stopped = True

    @property
    def no_entries(self) -> str:
        """Why nothing is opened, and what to do; empty when entries are taken."""
        if self.stopped:
            return "this one was stopped\nwait for its end and start it again"
        return "this one is paused\nresume() it first" if self.paused else ""
