"""A bounded queue whose own thread delivers notices: tried again with growing pauses, lost with a count."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ...domain.retry_pauses import Chance, Patience
from ...domain.text import error_text
from ...log import log
from .channels import Channel
from .http_request import Undelivered
from .sentences import Notice

IDLE_SECONDS: Final = 30.0
"""A thread without notices ends after this; the next notice starts another."""
_LEAST_PAUSE_SECONDS: Final = 0.1


class Outbox:
    """Delivers notices in order; whoever puts one in never waits.

    Parameters
    ----------
    name
        Of the notifier, for messages.
    channel
        Where they go.
    limit
        How many may wait; then the oldest is lost.
    patience
        The pauses after a delivery that failed; it is tried again until it arrives, is refused for good, or is lost.
    chance
        For these pauses.
    trouble
        Called with a sentence when deliveries begin to fail, and for each notice that is refused for good.

    Attributes
    ----------
    delivered, lost : int
        How many notices have arrived, and how many never will.
    trouble_now : str
        Why the last one did not arrive; empty when it did.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        limit: int,
        patience: Patience,
        trouble: Callable[[str], object],
        chance: Chance | None = None,
    ) -> None:
        self.delivered = self.lost = 0
        self.trouble_now = ""
        self._name, self._channel, self._limit, self._patience, self._tell = name, channel, limit, patience, trouble
        self._chance = random.Random() if chance is None else chance  # noqa: S311 -- pauses, no secrets
        self._changed = threading.Condition()
        # All of the following only under the condition.
        self._waiting: deque[Notice] = deque()
        self._current: Notice | None = None
        self._lost_untold = 0
        self._closed = False
        self._hurried = 0  # how many wait until everything is delivered
        self._worker: threading.Thread | None = None
        self._can_start = True

    @property
    def pending(self) -> int:
        """How many notices wait, with the one that is being delivered."""
        with self._changed:
            return len(self._waiting) + (self._current is not None)

    def put(self, notice: Notice) -> None:
        """Add a notice; returns at once."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self._lose(1)
            self._waiting.append(notice)
            if self._worker is None:
                self._start()
            self._changed.notify_all()

    def waits(self, kind: str) -> bool:
        """Whether a notice of a kind waits."""
        with self._changed:
            return any(notice.kind == kind for notice in self._waiting)

    def drained(self, seconds: float) -> bool:
        """Wait until everything was delivered or lost, for so many seconds at most; pauses are cut short."""
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._waiting and self._current is None, seconds)
            finally:
                self._hurried -= 1

    def close(self, seconds: float) -> list[Notice]:
        """Take no more, deliver what waits for so many seconds at most; what is left comes back."""
        with self._changed:
            self._closed = True
            self.drained(seconds)
            left = [*filter(None, [self._current]), *self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        return left if self._can_start or not seconds else [each for each in left if self._failure(each) is not None]

    def _lose(self, count: int) -> None:
        self.lost += count
        self._lost_untold += count

    def _start(self) -> None:
        self._worker = threading.Thread(target=self._work, name=f"bknb notify {self._name}", daemon=True)
        try:
            self._worker.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending; the next notice tries again
            self._worker, self._can_start = None, False
            log.error("no thread for the notifier %s: %s", self._name, error)

    # --- everything below runs in the worker

    def _work(self) -> None:
        while (notice := self._next()) is not None:
            self._deliver(notice)

    def _next(self) -> Notice | None:
        with self._changed:
            self._current = None
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._waiting or self._closed, IDLE_SECONDS) or not self._waiting:
                self._worker = None
                return None
            self._current = self._waiting.popleft()
            return self._current

    def _deliver(self, notice: Notice) -> None:
        attempt = 0
        while True:
            attempt += 1
            with self._changed:
                told = self._lost_untold
            failed = self._failure(_with_count(notice, told))
            if failed is None:
                with self._changed:
                    self.delivered += 1
                    self._lost_untold -= told
                    self.trouble_now = ""
                return
            self._note(failed)
            if failed.refused:
                with self._changed:
                    self._lose(1)
                return
            after = None if failed.retry_after is None else round(failed.retry_after * 1000)
            pause_ms = self._patience.pause_ms(attempt, chance=self._chance, retry_after_ms=after)
            if not self._paused(pause_ms / 1000, asked_for=after is not None):
                return

    def _failure(self, notice: Notice) -> Undelivered | None:
        try:
            self._channel.deliver(notice)
        except Undelivered as error:
            return error
        except Exception as error:  # noqa: BLE001 -- a notice that cannot be delivered ends none of the others
            return Undelivered(f"{type(error).__name__}: {error_text(error)}", refused=True)
        return None

    def _note(self, failed: Undelivered) -> None:
        begins = not self.trouble_now
        self.trouble_now = str(failed)
        if begins:
            gone = ": this message is lost" if failed.refused else ": it is tried again with growing pauses"
            log.warning("notifier %s: %s%s", self._name, failed, gone)
            self._tell(f"{failed}{gone}")

    def _paused(self, seconds: float, *, asked_for: bool) -> bool:
        """Wait before another try; ``False``: there is to be none, as nothing is delivered any more.

        Where somebody waits until everything is delivered it is tried again at once, but for what the other side has
        asked for, and never more often than ten times a second.
        """
        with self._changed:
            hurried = bool(self._hurried)
            if hurried and not asked_for:
                self._changed.wait_for(lambda: self._over, min(seconds, _LEAST_PAUSE_SECONDS))
            else:
                self._changed.wait_for(
                    lambda: self._over or (bool(self._hurried) and not hurried and not asked_for), seconds
                )
            return not self._over

    @property
    def _over(self) -> bool:
        return self._closed and not self._hurried


def _with_count(notice: Notice, lost: int) -> Notice:
    if not lost:
        return notice
    were = "1 message before this one was lost" if lost == 1 else f"{lost} messages before this one were lost"
    return replace(notice, text=f"{notice.text} ({were}.)")
