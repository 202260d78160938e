"""What happens when a part of a live run fails: an exchange, the disk, the broker, user code, the run itself.

It is counted, told once, and the run goes on. What could not be saved, and what a candle is missing for, has not
happened and is done again at the next minute. Any other failure of an input of the lifecycle would be the same again,
so the input is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from ..domain.interval import MINUTE_MS
from ..domain.text import error_text
from ..engine.records import ONE_FOR_EACH_TEXT, FailureKind
from ..engine.strategy_loop import StrategyLoop
from ..errors import NotEnoughData, StateError
from ..ports import Clock
from .run_progress import Reached


class Troubles:
    """Which troubles of a run have been told: one that goes on, or comes back within the patience, is only counted.

    ``step`` is the length of a base bar, ms: one that comes back with the next bar is the same.
    """

    def __init__(self, patience_ms: int, step: int = MINUTE_MS) -> None:
        self._pause_ms = max(patience_ms, 2 * step)
        self._last: dict[tuple[str, str], int] = {}

    def is_new(self, kind: str, topic: str, now: int) -> bool:
        """Whether a trouble of a kind and a topic is to be told now (UTC ms)."""
        self._last = {key: last for key, last in self._last.items() if now - last < self._pause_ms}
        is_new = (kind, topic) not in self._last
        self._last[kind, topic] = now
        return is_new


class Failures:
    """Counts and tells the failures of one live run.

    Parameters
    ----------
    clock
        The clock of the run.
    patience_ms
        A failure that comes back within so long is the same one, and is not told again.
    reached
        How far the run has come.

    Attributes
    ----------
    late
        Whether a candle of the present moment has not come, so that the last look did not come to its end.
    unsaved
        Why the last look could not save what it led to; empty when it did.
    """

    def __init__(self, clock: Clock, patience_ms: int, reached: Reached) -> None:
        self.late = False
        self.unsaved = ""
        self._clock = clock
        self._troubles = Troubles(patience_ms, reached.step)
        self._reached = reached
        self._loop: StrategyLoop | None = None

    def begin(self, loop: StrategyLoop) -> None:
        """Count the failures in the records of a loop from now on; those before are not counted."""
        self._loop = loop

    def end(self) -> None:
        """Count none any more."""
        self._loop = None

    def is_new(self, kind: FailureKind, error: BaseException) -> bool:
        """Whether a failure is to be told, and not only counted."""
        topic = error_text(error) if kind in ONE_FOR_EACH_TEXT else type(error).__name__
        return self._troubles.is_new(kind, topic, self._clock.now())

    def tell(self, kind: FailureKind, error: Exception, when: int | None) -> None:
        """Count what failed at a moment (UTC ms; ``None``: the present one), and tell it when it is new."""
        if self._loop is not None:
            self._loop.fail(kind, error, when)

    def note(
        self, kind: FailureKind, topic: str, text: str, when: int, *, again: bool = True, same: str | None = None
    ) -> bool:
        """Count what went wrong without an exception at a moment (UTC ms), and tell it; whether it was told.

        Without ``again``, what has been told and goes on is only counted; ``same`` tells it from others of its topic.
        """
        loop = self._loop
        if loop is None:
            return False
        emit = again or self._troubles.is_new(kind, topic if same is None else same, self._clock.now())
        loop.note(kind, topic, text, when, emit=emit)
        return emit

    @contextmanager
    def told(self, part: FailureKind) -> Iterator[None]:
        """Do something of a part; what it raises is told, as of the disk where it is a ``StateError``."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- whatever it is: what is open must be watched on
            self.tell("state" if isinstance(error, StateError) else part, error, self._reached.last_minute)

    def begin_look(self) -> None:
        """What the last look could not do is looked at again."""
        self.late, self.unsaved = False, ""

    async def look(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do what can be done now; ``False`` where it failed: that is told, and done again at the next minute."""
        with self.told("exchange"):
            try:
                await work()
            except NotEnoughData as error:
                self.late = error.late
                if error.late:  # the minute is here, another candle of this moment is not: the same question again
                    return False
                raise
            except StateError as error:
                self.unsaved = str(error)
                raise
            return True
        return False

    @contextmanager
    def left_out(self, part: FailureKind, when: int) -> Iterator[None]:
        """Give an input to the lifecycle; what it raises at ``when`` (UTC ms) is told, and the run goes on without it.

        Raises
        ------
        StateError, NotEnoughData
            It has not happened: give it again at the next minute.
        """
        try:
            yield
        except (NotEnoughData, StateError):
            raise
        except Exception as error:  # noqa: BLE001 -- given again it would raise the same again
            self.tell(part, error, when)
