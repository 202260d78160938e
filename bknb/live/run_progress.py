"""How far a live run has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from ..domain.interval import MINUTE_MS
from ..domain.recovery import Restored, SavedMoments
from ..market.bar_slots import bar_close

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come.

    Attributes
    ----------
    last_minute
        Open time of the last minute that was processed (UTC ms).
    last_asked, last_managed
        Moments of the last question to ``get_signal`` and to ``manage`` (UTC ms); ``None`` before the first.
    volume_seen
        Whether the source has reported a volume so far; ``None`` when no minute was looked at.
    moments
        How far the schedule of the strategy has come; unset: it has none.
    memo
        What the strategy keeps, as JSON; unset: nothing.
    """

    last_minute: int
    last_asked: int | None = None
    last_managed: int | None = None
    volume_seen: bool | None = None
    moments: SavedMoments | msgspec.UnsetType = msgspec.UNSET
    memo: str | msgspec.UnsetType = msgspec.UNSET


def progress_of(found: Restored) -> Progress | None:
    """How far the run had come of which a state was restored; ``None``: nothing was saved."""
    if found.last_minute is None:
        return None
    return Progress(
        last_minute=found.last_minute,
        last_asked=found.last_asked,
        last_managed=found.last_managed,
        volume_seen=found.volume_seen,
        moments=found.moments,
        memo=found.memo,
    )


@dataclass
class Reached:
    """How far a live run has come; all moments are UTC ms.

    Attributes
    ----------
    done
        The moment up to which everything is done.
    step
        The length of a base bar, ms: what is called a minute here.
    last_minute
        Open time of the last minute that was worked on, or that the run goes on without.
    last_asked
        The last moment at which the strategy was asked for a signal; ``None`` before the first.
    volume_seen
        Whether the source has reported a volume; ``None`` before the first minute.
    hole_end
        Where the last hole ended; 0 before the first.
    moments
        Says how far the schedule of the strategy has come; ``None``: it has none.
    so_far
        How far an earlier process had come with it, where that is known.
    grid
        Where the bars open that do not open at multiples of their length.
    is_new
        Whether no process has come anywhere before this one.
    """

    done: int
    step: int = MINUTE_MS
    last_minute: int = 0
    last_asked: int | None = None
    volume_seen: bool | None = None
    hole_end: int = 0
    moments: Callable[[], SavedMoments] | None = None
    so_far: SavedMoments | None = None
    grid: BarGrid | None = None
    is_new: bool = False

    @property
    def known(self) -> int:
        """The end of the last minute."""
        return bar_close(self.last_minute, self.step, self.grid)

    @contextmanager
    def moving(self, *, last_minute: int | None = None, last_asked: int | None = None) -> Iterator[None]:
        """Have come so far (UTC ms; ``None``: as before) while something is done, and from then on.

        Where that raises, it has not happened, and everything is as it was.
        """
        before = replace(self)
        self.last_minute = self.last_minute if last_minute is None else last_minute
        self.last_asked = self.last_asked if last_asked is None else last_asked
        try:
            yield
        except BaseException:
            vars(self).update(vars(before))
            raise

    def progress(self, last_managed: int, memo: str = "") -> Progress:
        """As it is saved; ``last_managed`` is the last moment at which ``manage`` was asked, 0 before the first.

        ``memo`` is what the strategy keeps, as JSON.
        """
        return Progress(
            last_minute=self.last_minute,
            last_asked=self.last_asked,
            last_managed=last_managed or None,
            volume_seen=self.volume_seen,
            moments=msgspec.UNSET if self.moments is None else self.moments(),
            memo=memo or msgspec.UNSET,
        )
