"""Who hears what happens in a run: the subjects, nobody, or a list of what is told elsewhere afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from ..domain.signal_events import Event, Mode


class Hears(Protocol):
    """Where one kind of message goes, such as a subject."""

    @property
    def subscribed(self) -> bool:
        """Whether anybody hears it; without that a message need not be made."""
        ...

    def emit(self, event: Any) -> None:
        """Tell it."""
        ...


class Listeners(Protocol):
    """What a run tells of: the module ``subjects`` is one."""

    @property
    def error(self) -> Hears:
        """Failures."""
        ...

    @property
    def performance(self) -> Hears:
        """How long something took."""
        ...

    @property
    def progress_backtest(self) -> Hears:
        """How far it has come."""
        ...

    def emit_event(self, event: Event) -> None:
        """Tell what happened."""
        ...

    def hears_milestones(self) -> bool:
        """Whether milestones are heard."""
        ...

    def hears_results(self, mode: Mode) -> bool:
        """Whether results of minutes are heard, such as that a position was opened, or closed."""
        ...

    def wants_quiet(self, mode: Mode) -> bool:
        """Whether results of quiet minutes are heard."""
        ...


class _Kept:
    """Keeps the messages of one kind, where somebody will hear them."""

    __slots__ = ("_keep", "subscribed")

    def __init__(self, *, subscribed: bool, keep: Callable[[Any], object]) -> None:
        self.subscribed, self._keep = subscribed, keep

    def emit(self, event: Any) -> None:
        """Keep one."""
        if self.subscribed:
            self._keep(event)


class KeptForLater:
    """Keeps what a run tells, for who hears it later: in another process, in the order of all runs.

    Parameters
    ----------
    keep
        Called with each message.
    errors, timings, quiet
        Whether failures, how long something took, and results of quiet minutes are kept, too.
    """

    def __init__(self, keep: Callable[[Any], object], *, errors: bool, timings: bool, quiet: bool) -> None:
        self._keep, self._quiet = keep, quiet
        self.error = _Kept(subscribed=errors, keep=keep)
        self.performance = _Kept(subscribed=timings, keep=keep)
        self.progress_backtest = _Kept(subscribed=False, keep=keep)

    def emit_event(self, event: Event) -> None:
        """Keep what happened."""
        self._keep(event)

    def hears_milestones(self) -> bool:
        """Whether milestones are kept."""
        return self._keep is not _forgotten

    def hears_results(self, mode: Mode) -> bool:  # noqa: ARG002 -- of history alone
        """Whether results of minutes are kept."""
        return self._keep is not _forgotten

    def wants_quiet(self, mode: Mode) -> bool:  # noqa: ARG002 -- of history alone
        """Whether results of quiet minutes are kept."""
        return self._quiet


def _forgotten(_event: object) -> None:
    return None


NOBODY: Final = KeptForLater(_forgotten, errors=False, timings=False, quiet=False)
"""Nobody hears what happens, as of the combinations of a sweep."""
