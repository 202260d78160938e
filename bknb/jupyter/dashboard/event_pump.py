"""Events from listeners to frames: queued as they arrive, handed over at most ten times a second."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import bknb

from ...market.system_clock import stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_SECONDS: Final = 0.1
"""Time between two frames: ten a second are enough for the eye, and far from what a Jupyter server drops."""
_SHARE: Final = 4.0
"""After a frame the pump rests at least this many times as long as the frame took."""
_LONGEST_SECONDS: Final = 0.5
_REST_SECONDS: Final = 0.05
"""A listener with no pending events rests this long: its thread is woken twenty times a second, not per event."""

_RESULTS: Final = (bknb.listen_signal_backtest, bknb.listen_signal_live)
_OTHERS: Final = (
    bknb.listen_partial_profit,
    bknb.listen_partial_loss,
    bknb.listen_position,
    bknb.listen_risk,
    bknb.listen_validation,
    bknb.listen_error,
    bknb.listen_exit,
    bknb.listen_performance,
    bknb.listen_progress_backtest,
    bknb.listen_progress_walker,
    bknb.listen_walker,
    bknb.listen_walker_complete,
    bknb.listen_done_backtest,
    bknb.listen_done_live,
    bknb.listen_done_walker,
)


class EventPump:
    """A thread that hands the events of all runs over, frame by frame.

    Parameters
    ----------
    frame : callable
        Called with the events since the last frame, oldest first; returns whether it wants to be called again soon,
        or None when nothing more will come.

    Notes
    -----
    A listener only queues its event, so a run pays the same for one open dashboard whatever it shows.
    """

    def __init__(self, frame: Callable[[list[Any]], bool | None]) -> None:
        self._frame = frame
        self._events: deque[Any] = deque()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._stops: list[Callable[[], None]] = []
        self.frames = 0

    def start(self) -> None:
        """Subscribe to all events and start the thread."""
        self._stops = [self._listen(listen) for listen in (*_RESULTS, *_OTHERS)]
        self._wake.set()
        context = contextvars.copy_context()  # what is displayed later belongs to the cell that started it
        threading.Thread(target=context.run, args=(self._work,), name="bknb-dashboard", daemon=True).start()

    @property
    def listening(self) -> bool:
        """Whether it is subscribed."""
        return bool(self._stops)

    def close(self) -> None:
        """Unsubscribe; a frame that is being made is finished."""
        stops, self._stops = self._stops, []
        for stop in stops:
            stop()
        self._closed.set()
        self._wake.set()

    def _listen(self, listen: Callable[..., Any]) -> Callable[[], None]:
        own: list[Any] = []

        def enqueue(event: Any) -> None:
            self._events.append(event)
            if not self._wake.is_set():
                self._wake.set()
            if own and own[0].pending <= 1:
                self._closed.wait(_REST_SECONDS)

        own.append(listen(enqueue))
        stop: Callable[[], None] = own[0]
        return stop

    def taken(self) -> list[Any]:
        """The queued events, oldest first; the queue is empty afterwards."""
        events = self._events
        return [events.popleft() for _ in range(len(events))]

    def _work(self) -> None:
        try:
            self._run_frames()
        finally:
            self.close()  # also when a frame failed

    def _run_frames(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._closed.is_set():
                return
            began = stopwatch()
            again = self._frame(self.taken())
            self.frames += 1
            if again is None:
                return
            if again:
                self._wake.set()
            rest = min(max(FRAME_SECONDS, _SHARE * (stopwatch() - began)), _LONGEST_SECONDS)
            self._closed.wait(rest)
