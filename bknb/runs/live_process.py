"""The process that live runs have for themselves: it holds the store, and goes on when the kernel ends.

A kernel connects to it, starts runs, hears what they tell, and asks. It ends with its last run.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..domain.recovery import Kept
from ..errors import BknbError, UsageError
from ..events import messages, subjects
from ..log import log
from ..market.system_clock import stopwatch
from .goes_with_runs import Companions
from .live_process_messages import (
    VERSION,
    Answer,
    Connection,
    Greeting,
    Key,
    Looked,
    Message,
    Orders,
    Over,
    Question,
    Told,
    send_what_can_be,
)
from .live_process_place import listening, remove_left, tell_ready
from .live_task import TASKS, LiveTask, check_not_running
from .run_changes import LastSent
from .sent_live_plan import ReceivedParts, SentPlan, received_plan, store_of

if TYPE_CHECKING:
    import socket
    from concurrent.futures import Future

    from ..domain.position_seen_by_manage import HeldPosition
    from ..events.forwarded import Forwarded
    from ..live.manual_instructions import Instruction
    from ..ports import StateStore
    from .live_process_messages import Start
    from .run_changes import Changes
    from .sent_live_plan import Place

_TOLD: Final = (
    *(subjects.signal_live, subjects.partial_profit, subjects.partial_loss, subjects.position, subjects.risk),
    *(subjects.scaled, subjects.validation, subjects.error, subjects.resumed, subjects.performance),
)
"""What is told to the kernel; it tells the rest itself, such as that a run is over."""
_LOOK_SECONDS: Final = 0.5
"""What changes without an event, such as that a minute is late, is sent this often."""
_UNUSED_SECONDS: Final = 60.0
_TOGETHER: Final = 200
"""About so many messages are sent at once."""


class TaskInProcess(LiveTask):
    """A live run in the process of live runs, as a kernel has it sent."""

    def changes(self, since: LastSent) -> Changes:
        """What has changed of it."""
        run = self._run
        series = next(iter(run.series().values()), None)
        held: tuple[HeldPosition, ...] = ()
        if series is not None and len(series.candles):
            held = run.by_hand.positions(run.last, float(series.candles.close[-1]))
        values = {
            "start": run.start,
            "last": run.last,
            "seconds": run.seconds,
            "stopping": run.stopping,
            "paused": run.paused,
            "disagreement": run.disagreement,
            "silent_since": run.silent_since,
            "unwatched": run.unwatched,
            "positions": held,
            "decisions": self.decisions,
        }
        return since.changes(values, run.records, series)

    def orders_now(self) -> Orders:
        """Its orders at the broker."""
        desk = self._run.orders
        return Orders() if desk is None else Orders(desk.rows(), desk.traded, desk.manual, desk.gaps)

    def money(self) -> Any:
        """Its account as it stands, and its positions in money; ``None`` without a capital."""
        if self.plan.account is None:
            return None
        record = self.snapshot().run_record
        return record.money, record.money_positions

    def give(self, instruction: Instruction, place: str | None) -> Future[str]:
        """Have a decision by hand carried out; the future is the answer."""
        return self._give(instruction, place)

    @property
    def error(self) -> BaseException | None:
        """What ended it."""
        return self._error


class _Follower:
    """The kernel that is connected, and what was sent to it of each run."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self.connection, self.pid = connection, pid
        self.sent: dict[Key, LastSent] = {}


_Made: TypeAlias = "Callable[[_Follower], tuple[Message, ...]]"


class Runs:
    """The live runs of this process, and the kernel that follows them.

    Parameters
    ----------
    store
        Of all of them.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._parts = ReceivedParts()
        self._tasks: dict[Key, TaskInProcess] = {}
        self._plans: dict[Key, SentPlan] = {}
        self._follower: _Follower | None = None
        self._to_send: queue.SimpleQueue[tuple[_Follower, _Made] | None] = queue.SimpleQueue()
        self._heard: dict[str, Forwarded[Any]] = {
            subject.name: subject.forward(partial(self._tell, subject.name), keeps=_is_kept) for subject in _TOLD
        }
        self._companions = Companions(lambda: self._follower is not None)
        self._answers: dict[str, Callable[..., Any]] = {
            "follow": self._follow, "hear": self._hear, "start": self._start, "stop": self._stop, "pause": self._pause,
            "resume": self._resume, "orders": self._orders, "money": self._money,
            "recorded": self._recorded, "carry": self._companions.become,
        }  # fmt: skip
        self.over = threading.Event()
        self._changing = threading.Lock()

    def end_unless_followed(self) -> None:
        """End where no kernel has come, such as one that was ended while it started this process."""
        if self._follower is None:
            self._end_unused()

    # --- with a kernel ------------------------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Answer a kernel until it is gone."""
        received = connection.receive()
        if received is None:
            return
        (first,) = received
        assert isinstance(first, Question)  # noqa: S101 -- a kernel begins with its number
        with self._changing:
            taken_by = None if self._follower is None else self._follower.pid
            if taken_by is None:
                self._follower = _Follower(connection, first.given[0])
        with contextlib.suppress(OSError):
            connection.send(Greeting(VERSION, os.getpid(), taken_by))
        if taken_by is not None:
            connection.close()
            return
        try:
            while (received := connection.receive()) is not None:
                for question in received:
                    if isinstance(question, Question):
                        self._answer(question)
        finally:
            for forwarded in self._heard.values():
                forwarded.disconnect()
            with self._changing:
                self._follower = None
            connection.close()
            self._end_unused()

    def _answer(self, question: Question) -> None:
        number, what, given = question
        if what == "heard":
            for name, position in given[0].items():
                self._heard[name].heard(position)
        elif what == "by hand":
            self._by_hand(number, *given)
        else:
            try:
                answer = Answer(number, self._answers[what](*given))
            except BaseException as error:  # noqa: BLE001 -- raised where it was asked
                answer = Answer(number, error=_for_kernel(error))
            key = given[0] if given and what not in ("start", "carry") else None
            self._send_after(answer, key)

    def _send_after(self, answer: Answer, key: Key | None, asked_by: _Follower | None = None) -> None:
        """Send an answer behind what has changed of its run."""
        self._put(lambda follower: (*self._looked(follower, key), answer), asked_by)

    def _put(self, made: _Made, follower: _Follower | None = None) -> None:
        """Have something sent to a kernel, or to the one that is connected now, unless it is gone by then."""
        follower = follower or self._follower
        if follower is not None:
            self._to_send.put((follower, made))

    def _by_hand(self, number: int, key: Key, instruction: Any, place: str | None) -> None:
        asked_by = self._follower

        def answered(done: Any) -> None:
            error = done.exception()
            answer = Answer(number, error=_for_kernel(error)) if error is not None else Answer(number, done.result())
            self._send_after(answer, key, asked_by)

        try:
            self._tasks[key].give(instruction, place).add_done_callback(answered)
        except BknbError as error:
            self._send_after(Answer(number, error=error), key)

    # --- what is asked ------------------------------------------------------------------------------------------

    def _start(self, start: Start) -> bool:
        """Start a run; false when it goes on already."""
        self._parts.add(start.parts)
        plan = received_plan(start.plan, self._parts, self._store)
        check_not_running(plan)
        task = TaskInProcess(plan)
        with self._changing:
            self._tasks[start.key], self._plans[start.key] = task, start.plan
        TASKS.add(task)
        self._put(lambda follower: self._looked(follower, start.key))
        task.start(lambda event: self._ended(start.key) if event is None else None)
        return True

    def _follow(self) -> tuple[dict[str, bytes], dict[Key, SentPlan]]:
        """The plans of the runs that go on, with what they have in common."""
        with self._changing:
            return dict(self._parts.bytes_of), dict(self._plans)

    def _hear(self) -> None:
        """Tell what has happened up to now, and from now on."""
        with self._changing:
            keys = [*self._plans]
        self._put(partial(self._all_looked, keys=keys))
        for forwarded in self._heard.values():
            forwarded.connect()

    def _stop(self, key: Key, now: bool) -> None:  # noqa: FBT001 -- as it is sent
        self._tasks[key].stop(now=now)

    def _pause(self, key: Key) -> None:
        self._tasks[key].pause()

    def _resume(self, key: Key) -> None:
        self._tasks[key].resume()

    def _orders(self, key: Key) -> Orders:
        return self._tasks[key].orders_now()

    def _recorded(self, key: Key) -> Any:
        recorded = self._tasks[key].snapshot().run_record.recorded
        return None if recorded is None else recorded()

    def _money(self, key: Key) -> Any:
        return self._tasks[key].money()

    # --- what is told -------------------------------------------------------------------------------------------

    def _tell(self, subject: str, number: int, event: Any) -> None:
        symbol, strategy = getattr(event, "symbol", None), getattr(event, "strategy", None)
        if isinstance(event, messages.ErrorEvent) and event.kind == "run":  # the kernel tells what ended a run
            self._heard_later(subject, number)
            return
        key = None if symbol is None or strategy is None else (symbol, strategy)
        told = Told(subject, number, event)
        self._put(lambda follower: (*self._looked(follower, key), told))

    def _heard_later(self, subject: str, number: int) -> None:
        def heard(_follower: _Follower) -> tuple[Message, ...]:
            self._heard[subject].heard(number)
            return ()

        self._put(heard)

    def _looked(self, follower: _Follower, key: Key | None) -> tuple[Message, ...]:
        """What has changed of a run since the kernel was told, and behind it that of a new one is all of it."""
        task = None if key is None else self._tasks.get(key)
        if key is None or task is None:
            return ()
        anew = key not in follower.sent
        changes = task.changes(follower.sent.setdefault(key, LastSent()))
        return (Looked(key, anew, changes),) if anew or any(changes) else ()

    def _all_looked(self, follower: _Follower, keys: Sequence[Key]) -> tuple[Message, ...]:
        return tuple(message for key in keys for message in self._looked(follower, key))

    def _ended(self, key: Key) -> None:
        self._put(partial(self._over_of, key=key))
        with self._changing:
            self._plans.pop(key)
        self._end_unused()

    def _over_of(self, follower: _Follower, key: Key) -> tuple[Message, ...]:
        """The last that is told of a run."""
        task, looked = self._tasks[key], self._looked(follower, key)
        follower.sent.pop(key, None)
        if task.error is not None:
            return (*looked, Over(key, _for_kernel(task.error)))
        return (*looked, Over(key, money=task.money(), orders=task.orders_now()))

    def _end_unused(self) -> None:
        """End, behind what is to be sent, unless a run goes on, or one is started until then."""
        with self._changing:
            if not self._plans:
                self._to_send.put(None)

    def send_all(self) -> None:
        """Send what is to be sent, until the last run is over."""
        looks_at = stopwatch() + _LOOK_SECONDS
        while not self.over.is_set():
            try:
                first = self._to_send.get(timeout=max(0.0, looks_at - stopwatch()))
            except queue.Empty:
                looks_at = stopwatch() + _LOOK_SECONDS
                with self._changing:
                    self._put(partial(self._all_looked, keys=[*self._plans]))
            else:
                self._send_together(first)

    def _send_together(self, first: tuple[_Follower, _Made] | None) -> None:
        """Send what waits as one message, which a kernel beside a busy cell reads at once."""
        found, messages = first, list[Message]()
        while True:
            if found is None:
                with self._changing:
                    if not self._plans:  # none was started meanwhile
                        self.over.set()
            elif found[0] is self._follower:
                messages += self._made(*found)
            if len(messages) >= _TOGETHER:
                break
            try:
                found = self._to_send.get_nowait()
            except queue.Empty:
                break
        if messages and (follower := self._follower) is not None:
            send_what_can_be(follower.connection, messages)

    def _made(self, follower: _Follower, made: _Made) -> tuple[Message, ...]:
        try:
            return made(follower)
        except Exception as error:  # noqa: BLE001 -- what cannot be told must not end the runs
            log.warning("what a live run tells cannot be made out: %r", error)
            return ()


def _is_kept(event: Any) -> bool:
    return isinstance(event, Kept)


def _for_kernel(error: BaseException) -> BaseException:
    """An error as it can be sent: those of bknb as they are, others by their text."""
    if isinstance(error, BknbError):
        return error
    return UsageError(f"{type(error).__name__}: {error}")


def main() -> None:
    """Hold the store that the command line names, and run what a kernel sends, until the last run is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kind, path = sys.argv[1:]
    place: Place = ("files" if kind == "files" else "sqlite", path)
    store = store_of(place)
    try:
        store.acquire()
        accepting = listening(place)
    except (BknbError, OSError) as error:
        sys.exit(str(error))
    runs = Runs(store)
    threading.Thread(target=_accept, args=(accepting, runs), name="bknb-kernels", daemon=True).start()
    threading.Thread(target=runs.send_all, name="bknb-sends", daemon=True).start()
    tell_ready(place)
    unused = threading.Timer(_UNUSED_SECONDS, runs.end_unless_followed)
    unused.daemon = True
    unused.start()
    runs.over.wait()
    remove_left(place)
    store.release()


def _accept(accepting: socket.socket, runs: Runs) -> None:
    while True:
        made, _ = accepting.accept()
        threading.Thread(target=runs.serve, args=(Connection(made),), name="bknb-kernel", daemon=True).start()
