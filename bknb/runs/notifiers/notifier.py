"""A notifier: listens to live runs, and has a queue of its own deliver what it is to tell."""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from ...domain.retry_pauses import Patience
from ...errors import UsageError
from ...events import subjects
from ...events.listener_failures import ListenerFailure
from ...events.listener_queue import Subscription
from ...events.messages import Done, ErrorEvent
from ...log import log
from ...market.system_clock import stopwatch
from ...process import after_fork, at_reset
from ...stores.keys_and_tokens import Secret, without_keys
from ..goes_with_runs import offer, offered_changed
from .channels import Channel
from .heartbeat import Pings, Repeating, heartbeat_notice
from .live_runs_now import going_on, runs_text
from .outbox import Outbox
from .sentences import Notice, Repeated, notice_of, one_line

_SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "signal_live": ("opened", "closed", "scheduled", "cancelled"),
    "position": ("changed",),
    "partial_profit": ("milestone",),
    "partial_loss": ("milestone",),
    "risk": ("refused",),
    "validation": ("refused",),
    "error": ("error", "silence", "unprotected"),
    "exit": ("stopped",),
    "done_live": ("stopped",),
    "resumed": ("resumed",),
}
_OWN_SUBJECT: Final = "notify"
_AT_EXIT_SECONDS: Final = 5.0
_HEARS_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.01
_PAUSE: Final = threading.Event()
_NUMBERS: Final = re.compile(r"\d[\d.,:-]*")  # prices and moments differ where the reason is the same
PATIENCE: Final = Patience(first_pause_ms=1_000, longest_pause_ms=300_000)
"""Pauses after a delivery that failed: from a second to five minutes."""


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier was made of; it holds names of environment variables, and no key.

    Attributes
    ----------
    name
        Of the notifier.
    where
        Where it tells, for people.
    events
        What it tells.
    heartbeat_seconds, ping_seconds
        How often it says that runs go on, and how often it asks the address of ``ping_env``; 0: never.
    ping_env
        The name of the variable with that address; empty: none.
    limit
        How many messages may wait.
    timeout_seconds
        For one try to deliver.
    """

    name: str
    where: str
    events: tuple[str, ...]
    heartbeat_seconds: float
    ping_seconds: float
    ping_env: str
    limit: int
    timeout_seconds: float


class Notifier:
    """Tells what happens in the live runs of this process; ``bknb.notify.telegram`` and its like make and start one.

    It never holds up a run: what it is told waits in a queue of its own, and a thread of its own delivers it. What
    fails is tried again after a second, then after growing pauses up to five minutes, or when the other side asks.
    Where more waits than ``limit``, the oldest is lost, and the next message says how many were.

    Attributes
    ----------
    name : str
        A notifier of the same name takes the place of another one.

    Examples
    --------
    >>> from bknb.notify import Notifier
    >>> Notifier.__name__
    'Notifier'
    """

    def __init__(
        self,
        specification: Specification,
        make: Callable[[], Channel],
        *,
        ping_url: Secret | None = None,
        rebuild: tuple[Callable[..., Any], Mapping[str, Any]] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.name = specification.name
        self._of, self._channel, self._ping_url, self._patience = specification, make(), ping_url, patience
        self._rebuild = rebuild
        self._repeated = Repeated()
        self._failed: set[tuple[str | None, str | None]] = set()  # runs whose failure was told, until they are over
        self._subscriptions: list[Subscription[Any]] = []
        self._repeating: list[Repeating] = []
        self._pings = None if ping_url is None else Pings(ping_url, seconds=specification.timeout_seconds)
        self._outbox = self._new_outbox()
        self._before = (0, 0)  # delivered and lost before the last start
        self._is_followed: Callable[[], bool] = _nobody

    def _new_outbox(self) -> Outbox:
        return Outbox(
            self.name, self._channel, limit=self._of.limit, patience=self._patience, trouble=self._tell_trouble
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._rebuild is None:
            raise TypeError(f"the notifier {self.name!r} is not copied, saved or sent to another process")
        function, given = self._rebuild
        return _rebuilt, (function, dict(given))

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        counts = f"{self.delivered} delivered, {self.pending} waiting, {self.lost} lost"
        trouble = f"; {self.trouble}" if self.trouble else ""
        return f"<notifier {self.name!r} to {self._of.where}: {state}, {counts}{trouble}>"

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return _RUNNING.get(self.name) is self

    @property
    def delivered(self) -> int:
        """How many messages have arrived."""
        return self._before[0] + self._outbox.delivered

    @property
    def pending(self) -> int:
        """How many messages wait, or are being delivered."""
        return self._outbox.pending

    @property
    def lost(self) -> int:
        """How many messages never will arrive: refused for good, or pushed out of a full queue."""
        return self._before[1] + self._outbox.lost

    @property
    def trouble(self) -> str:
        """Why the last try to deliver failed; empty where it did not."""
        return self._outbox.trouble_now

    @property
    def pings(self) -> tuple[int, int]:
        """How many pings were answered, and how many were not."""
        return (0, 0) if self._pings is None else (self._pings.sent, self._pings.failed)

    # --- starting and stopping ---------------------------------------------------------------------------------------

    def start(self) -> Notifier:
        """Listen from now on; one of the same name stops, and what it has not delivered is taken over. Returns itself.

        Examples
        --------
        >>> from bknb.notify import running
        >>> running()
        []
        """
        with _LOCK:
            before = _RUNNING.get(self.name)
            if before is self:
                return self
            left = before._end(0.0, hears=_HEARS_SECONDS) if before is not None else []
            if before is not None:
                log.info("the notifier %s takes the place of one with the same name", self.name)
            _RUNNING[self.name] = self
        self._before = (self.delivered, self.lost)
        self._outbox = self._new_outbox()
        for subject, kinds in _SUBJECTS.items():
            if set(kinds) & set(self._of.events):
                self._subscriptions.append(getattr(subjects, subject).listen(partial(self._hear, subject)))
        if self._pings is not None and "exit" not in {each.subject for each in self._subscriptions}:
            self._subscriptions.append(subjects.exit.listen(partial(self._hear, "exit")))
        for what, seconds, work in (
            ("heartbeat", self._of.heartbeat_seconds, self._beat),
            ("pings", self._of.ping_seconds if self._pings is not None else 0.0, self._ping),
        ):
            if seconds:
                self._repeating.append(Repeating(f"bknb {what} {self.name}", seconds, work))
                self._repeating[-1].start()
        for notice in left:
            self._outbox.put(notice)
        offered_changed()
        return self

    def begin_beside(self, is_followed: Callable[[], bool]) -> None:
        """Listen in a process that live runs have for themselves: what happens is told while no kernel follows them."""
        self._is_followed = is_followed
        self.start()

    def end(self) -> None:
        """Listen no more, at once."""
        self.stop(seconds=0.0)

    def stop(self, *, seconds: float = 5.0) -> None:
        """Listen no more; what waits is delivered for so many seconds at most, the rest is lost, and logged.

        Heartbeats and pings end with it.
        """
        with _LOCK:
            if _RUNNING.get(self.name) is self:
                del _RUNNING[self.name]
        self._stop(seconds)
        offered_changed()

    def _stop(self, seconds: float) -> None:
        left = self._end(seconds, hears=min(seconds, _HEARS_SECONDS))
        if left:
            self._before = (self._before[0], self._before[1] + len(left))
            log.warning("the notifier %s was stopped with %d messages that had not arrived", self.name, len(left))

    def _end(self, seconds: float, *, hears: float) -> list[Notice]:
        """Hear what was told by now, and deliver it; each for so many seconds at most. Returns what is left."""
        for repeating in self._repeating:
            repeating.stop()
        began = stopwatch()
        while any(each.pending for each in self._subscriptions) and stopwatch() - began < hears:
            _PAUSE.wait(_LOOK_SECONDS)
        for subscription in self._subscriptions:
            subscription()
        self._repeating, self._subscriptions = [], []
        return self._outbox.close(max(seconds - (stopwatch() - began), 0.0))

    def send(self, text: str, *, seconds: float = 30.0) -> bool:
        """Send a text of your own, to see that it arrives; waits for so many seconds at most.

        Returns
        -------
        bool
            Whether it has arrived, with everything before it. Where it has not, :attr:`trouble` says why; it waits
            on, unless it was refused for good.

        Raises
        ------
        UsageError
            The notifier is stopped.
        """
        if not self.running:
            raise UsageError(f"the notifier {self.name!r} is stopped\nstart it first: .start()")
        self._put(Notice(kind="message", text=one_line(text)))
        return self._outbox.drained(seconds) and not self.trouble

    # --- hearing: called by threads of the subjects, of the heartbeat and of the queue -------------------------------

    def _hear(self, subject: str, event: object) -> None:
        if subject == "exit" and self._pings is not None and isinstance(event, ErrorEvent) and event.mode == "live":
            self._pings.run_failed(event.symbol or "", event.strategy or "")
        if self._is_told_elsewhere(subject, event) or self._is_followed():
            return
        notice = notice_of(event)
        if notice is None or notice.kind not in self._of.events:
            return
        if notice.kind == "refused":
            told = self._repeated.told(_NUMBERS.sub("#", notice.text), notice)
            if told is None:
                return
            notice = told
        self._put(notice)

    def _is_told_elsewhere(self, subject: str, event: object) -> bool:
        """Whether it is of this notifier itself, or of a failure that another event tells."""
        if isinstance(event, ListenerFailure) and (event.subject, event.listener) == (_OWN_SUBJECT, self.name):
            return True
        if isinstance(event, ErrorEvent) and event.kind == "run":
            if subject == "exit":
                self._failed.add((event.symbol, event.strategy))
            return subject == "error"
        if isinstance(event, Done) and (event.symbol, event.strategy) in self._failed:
            self._failed.discard((event.symbol, event.strategy))
            return True
        return False

    def _put(self, notice: Notice) -> None:
        self._outbox.put(msgspec.structs.replace(notice, text=without_keys(notice.text)))

    def _beat(self) -> None:
        notice = heartbeat_notice()
        if notice is not None and not self._outbox.waits("heartbeat"):
            self._put(notice)

    def _ping(self) -> None:
        if self._pings is not None:
            self._pings.ping()

    def _tell_trouble(self, text: str) -> None:
        failure = ListenerFailure(kind="listener", subject=_OWN_SUBJECT, listener=self.name, message=text, where="")
        subjects.error.emit(failure)

    def end_in_child(self) -> None:
        """In a forked child: the threads stayed with the parent, and so do the messages."""
        for subscription in self._subscriptions:
            subscription()
        self._subscriptions, self._repeating, self._outbox = [], [], self._new_outbox()

    def say_goodbye(self, text: str, seconds: float) -> None:
        """As the process ends: tell with what, and stop."""
        if text and "stopped" in self._of.events:
            self._put(Notice(kind="stopped", text=text))
        self._stop(seconds)


_RUNNING: Final[dict[str, Notifier]] = {}
_LOCK = threading.RLock()


def running() -> list[Notifier]:
    """The notifiers that listen, in order of their start.

    Examples
    --------
    >>> running()
    []
    """
    return list(_RUNNING.values())


offer(running)


def _nobody() -> bool:
    return False


def _rebuilt(function: Callable[..., Notifier], given: Mapping[str, Any]) -> Notifier:
    return function(**given, start=False)


@at_reset
def _stop_all() -> None:
    for notifier in running():
        notifier.stop(seconds=0.0)


@atexit.register
def _say_goodbye() -> None:
    """The process ends: live runs that go on until then are watched by nobody."""
    began, tasks = stopwatch(), going_on()
    text = one_line(f"the process ends, and nobody watches any more: {runs_text(tasks)}") if tasks else ""
    for notifier in running():
        notifier.say_goodbye(text, max(_AT_EXIT_SECONDS - (stopwatch() - began), 0.0))


@after_fork
def _none_in_child() -> None:
    global _LOCK  # noqa: PLW0603 -- another thread of the parent may have held it
    _LOCK = threading.RLock()
    for notifier in _RUNNING.values():
        notifier.end_in_child()
    _RUNNING.clear()
