"""What went wrong in a run, as its dashboard lists it: errors, rejected signals and warnings, each kind once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..domain.signal_events import Rejected, Scaled


@dataclass(slots=True)
class Trouble:
    """One kind of error or rejection, and how often it occurred."""

    kind: str
    message: str
    where: str
    count: int
    when: int | None

    def add(self, when: int | None, *, at_least: int = 0) -> None:
        """Count one occurrence (UTC ms, if known); the count is ``at_least`` that of the event."""
        self.count = max(self.count + 1, at_least)
        self.when = when


class Problems:
    """Errors, rejected signals and warnings of one run.

    Parameters
    ----------
    rows_held : int
        How many events of rejected signals are held; older ones are only counted.

    Attributes
    ----------
    warnings : list of str
    rejections : deque of Rejected
        The newest, in order.

    Examples
    --------
    >>> problems = Problems(500)
    >>> problems.failed("no price", 60_000)
    >>> len(problems), problems.rows[0].message
    (1, 'no price')
    """

    def __init__(self, rows_held: int) -> None:
        self.warnings: list[str] = []
        self.rejections: deque[Rejected] = deque(maxlen=rows_held)
        self._rejected: dict[str, Trouble] = {}
        self._troubles: dict[tuple[str, str, str], Trouble] = {}

    def __len__(self) -> int:
        """How many kinds of problems there are."""
        return len(self._troubles) + len(self._rejected) + len(self.warnings)

    @property
    def rows(self) -> list[Trouble]:
        """Errors in the order in which their kinds came, then rejected signals; warnings are apart."""
        return [*self._troubles.values(), *self._rejected.values()]

    def reject(self, event: Rejected) -> None:
        """Count a rejected signal, by the codes of its reasons."""
        codes = ", ".join(reason.code for reason in event.reasons)
        trouble = self._rejected.get(codes)
        if trouble is None:
            text = "; ".join(reason.text for reason in event.reasons)
            trouble = self._rejected[codes] = Trouble("signal rejected", text, codes, 0, event.when)
        trouble.add(event.when)
        self.rejections.append(event)

    def scale(self, event: Scaled) -> None:
        """Count weights that were made smaller."""
        text = "less was free than its weights take: all that was to become larger was made smaller by one factor"
        self._of(("scaled", "", ""), text, "", event.when).add(event.when)

    def error(self, event: Any) -> None:
        """Count an error."""
        key = (event.kind, event.message.split(":")[0], event.where)
        self._of(key, event.message, event.where, event.when).add(event.when, at_least=event.count)

    def listener(self, event: Any) -> None:
        """Count a failure, or an overflow, of a listener."""
        where = f"{event.listener!r} listening to {event.subject!r}"
        trouble = self._of((event.kind, event.listener, event.subject), event.message, where, None)
        trouble.add(None, at_least=getattr(event, "count", 1))

    def counted(self, failure: Any) -> None:
        """Set a failure that a result has counted."""
        key = (failure.kind, failure.message.split(":")[0], failure.where)
        self._troubles[key] = Trouble(failure.kind, failure.message, failure.where, failure.count, failure.last_at)

    def failed(self, message: str, when: int | None) -> None:
        """Add the error that ended the run (UTC ms, if known), where no event has reported it."""
        if not any(trouble.kind == "run" for trouble in self._troubles.values()):
            self._troubles["run", message, ""] = Trouble("run", message, "", 1, when)

    def warn(self, texts: Iterable[str]) -> None:
        """Replace the warnings."""
        self.warnings = [str(text) for text in texts]

    def _of(self, key: tuple[str, str, str], message: str, where: str, when: int | None) -> Trouble:
        return self._troubles.setdefault(key, Trouble(key[0], message, where, 0, when))
