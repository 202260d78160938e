"""The process of live runs as a kernel follows it: started, connected, heard, and started again when it has ended."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from ..errors import BknbError, StateError, UsageError
from ..events import subjects
from ..events.receipt import Receipt
from ..log import log
from ..market.system_clock import stopwatch
from .goes_with_runs import log_failure, packed
from .live_process_messages import VERSION, Answer, Connection, Greeting, Key, Looked, Over, Question, Start, Told, What
from .live_process_place import connected, how_it_ended, is_alive, log_file, started
from .sent_live_plan import Place, SentPlan, SharedParts, sent_plan

if TYPE_CHECKING:
    import subprocess

    from ..events.subject import Subject
    from ..live.plan import LivePlan
    from .remote_live_run import RemoteRun

PAUSES: Final = (0.0, 5.0, 15.0)
"""How long (s) is waited before each new start."""
_OFTEN_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.05
_LOOKS: Final = 100
_GIVES_BACK_SECONDS: Final = 0.5
_TRIES: Final = 3
_SWITCH_SECONDS: Final = 0.0005
"""A computing cell gives the interpreter away this often while runs are followed, for their listeners here."""
_SUBJECTS: Final[Mapping[str, Subject[Any]]] = {subject.name: subject for subject in subjects.ALL}
_OF_RESULTS: Final = frozenset(
    subject.name
    for subject in (
        *(subjects.signal_live, subjects.partial_profit, subjects.partial_loss, subjects.position),
        *(subjects.risk, subjects.scaled, subjects.validation),
    )
)
"""The subjects of events of a run, which are told on other subjects, too."""
_NO_CONNECTION: Final = "the process of the live runs has ended just now"


class ProcessEndedError(StateError):
    """The process of live runs has ended while something was asked of it."""


class FollowedProcess:
    """The process that has a store for its live runs.

    Parameters
    ----------
    place
        Where the store keeps its state.
    pauses
        How long (s) it waits before each new start; one that ends more often within ten minutes stays ended.

    Attributes
    ----------
    place
        As given.
    runs
        Those that go on there and are followed here.
    pid
        Its number; 0 before it was connected.
    """

    def __init__(self, place: Place, *, pauses: Sequence[float] = PAUSES) -> None:
        self.place, self._pauses = place, pauses
        self.runs: dict[Key, RemoteRun] = {}
        self.pid = 0
        self._child: subprocess.Popen[str] | None = None
        self._connection: Connection | None = None
        self._shared = SharedParts()
        self._plans: dict[Key, SentPlan] = {}
        self._bytes_of: dict[str, bytes] = {}  # of what plans have in common
        self._sent: set[str] = set()  # parts that this connection was given
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = count(1)
        self._ends: list[float] = []
        self._changing = threading.RLock()
        self._receipts: dict[str, deque[tuple[int, Receipt]]] = {}

    # --- from any thread ----------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether it is connected."""
        return self._connection is not None

    def connect(self, *, start: bool) -> tuple[dict[str, bytes], dict[Key, SentPlan]] | None:
        """Connect, unless that was done; returns the runs that go on there, and what they have in common.

        ``None``: there is no process, and none was to be started.

        Raises
        ------
        StateError
            When it cannot begin, or is of another version of bknb.
        UsageError
            When another kernel follows it.
        """
        if not self._connect(start=start):
            return None if self._connection is None else ({}, {})
        found: tuple[dict[str, bytes], dict[Key, SentPlan]] = self.ask("follow").result()
        return found

    def _connect(self, *, start: bool) -> bool:
        """Connect, unless that was done, or there is nothing to connect to; returns whether this has done it."""
        with self._changing:
            if self._connection is not None:
                return False
            for left in range(_LOOKS, -1, -1):
                made = connected(self.place)
                if made is None:
                    if not start:
                        return False
                    made = self._begin()
                taken_by = self._greeted(made)
                if not taken_by:
                    break
                if not left or (taken_by != os.getpid() and is_alive(taken_by)):
                    raise UsageError(
                        f"another kernel, process {taken_by}, follows the live runs on {self.place[1]} already\n"
                        "decide about them there, or end that kernel: the runs go on"
                    )
                threading.Event().wait(_LOOK_SECONDS)  # the kernel before has ended: that is found out any moment
            self._connection, self._sent = made, set()
            thread = threading.Thread(target=self._receive_all, args=(made,), name="bknb-live-process", daemon=True)
            thread.start()
            return True

    def _begin(self) -> Connection:
        """Start it; one before it may take a moment to give the store back."""
        for seconds in (_GIVES_BACK_SECONDS, 0.0):
            try:
                self._child = started(self.place)
            except StateError:
                if not seconds:
                    raise
                threading.Event().wait(seconds)
            made = connected(self.place)
            if made is not None:
                return made
        raise StateError(f"the process of live runs ended at its start; see {log_file(self.place)}")

    def _greeted(self, made: Connection) -> int:
        """Say who this is; returns the number of the kernel that follows the process already, else 0."""
        with suppress(OSError):
            made.send(Question(0, "follow", (os.getpid(),)))
        try:
            greeting = (made.receive() or (None,))[0]
        except Exception:  # noqa: BLE001 -- of another version of bknb, in which nothing has to be as here
            greeting = Greeting(-1, 0, None)
        if not isinstance(greeting, Greeting):
            made.close()
            raise ProcessEndedError(_NO_CONNECTION)
        if greeting.version != VERSION:
            made.close()
            raise StateError(
                f"the process of live runs on {self.place[1]} is of another version of bknb\n"
                "follow it with that version, or end it: its runs go on from their saved state"
            )
        if greeting.taken_by is not None:
            made.close()
            return greeting.taken_by
        self.pid = greeting.pid
        return 0

    def hear(self) -> None:
        """Have the process tell what has happened, and what happens."""
        self.ask("hear").result()
        self.carry()

    def carry(self) -> None:
        """Have what goes with live runs there as it is here now."""
        self.ask("carry", packed()).add_done_callback(_carried)

    def packed(self, plan: LivePlan) -> SentPlan:
        """A plan as it is sent there.

        Raises
        ------
        UsageError
            When something of it cannot be sent; the message says what, and what to do.
        """
        with self._changing:
            sent = sent_plan(plan, self._shared)
            self._bytes_of |= self._shared.bytes_of
            return sent

    def follow(self, run: RemoteRun, sent: SentPlan, bytes_of: Mapping[str, bytes]) -> None:
        """Follow a run that goes on there, whose plan this is, with what it has in common with others."""
        with self._changing:
            self.runs[run.key], self._plans[run.key] = run, sent
            self._bytes_of |= bytes_of
            self._sent |= bytes_of.keys()

    def start(self, run: RemoteRun, sent: SentPlan) -> None:
        """Have it start a run whose plan this is; raises why it could not."""
        with self._changing:
            self.runs[run.key], self._plans[run.key] = run, sent
        try:
            self.ask("start", self._start_of(run.key)).result()
        except BaseException:
            with self._changing:
                self.runs.pop(run.key, None)
            raise

    def _start_of(self, key: Key) -> Start:
        with self._changing:
            sent = self._plans[key]
            new = {number: self._bytes_of[number] for number in sent.parts.values() if number not in self._sent}
            self._sent |= new.keys()
            return Start(key, sent, new)

    def ask(self, what: What, *given: Any) -> Future[Any]:
        """Ask something; the future is the answer, or ``ProcessEndedError`` where it has ended meanwhile."""
        answer: Future[Any] = Future()
        number = next(self._numbers)
        with self._changing:
            connection = self._connection
            if connection is not None:
                self._asked[number] = answer
        if connection is None:
            answer.set_exception(ProcessEndedError(_NO_CONNECTION))
            return answer
        try:
            connection.send(Question(number, what, given))
        except OSError:
            if self._asked.pop(number, None) is not None:
                answer.set_exception(ProcessEndedError(_NO_CONNECTION))
        return answer

    def leave(self) -> None:
        """Follow it no longer; its runs go on."""
        with self._changing:
            self.runs.clear()
            connection = self._connection
        if connection is not None:
            connection.close()

    # --- what comes ---------------------------------------------------------------------------------------------

    def _receive_all(self, connection: Connection) -> None:
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, _SWITCH_SECONDS))
        hearing = threading.Thread(target=self._tell_heard, args=(connection,), name="bknb-heard", daemon=True)
        hearing.start()
        try:
            while (received := connection.receive()) is not None:
                for message in received:
                    self._take(message)
        finally:
            sys.setswitchinterval(before)
            connection.close()
            with self._changing:
                self._connection = None
                asked, self._asked = self._asked, {}
                self._receipts.clear()
            for answer in asked.values():
                answer.set_exception(ProcessEndedError(f"{_NO_CONNECTION}: it is not known whether that was done"))
        self._ended()

    def _take(self, message: object) -> None:
        match message:
            case Answer(number, value, error):
                answer = self._asked.pop(number, None)
                if answer is not None:
                    answer.set_result(value) if error is None else answer.set_exception(error)
            case Looked(key) if key in self.runs:
                self.runs[key].looked(message)
            case Told():
                self._told(message)
            case Over(key) if key in self.runs:
                with self._changing:
                    run = self.runs.pop(key)
                run.over(message)
            case _:
                log.debug("a message of the process of live runs is for nobody: %r", message)

    def _told(self, told: Told) -> None:
        event = told.event
        emitted: tuple[Subject[Any], ...] = (_SUBJECTS[told.subject],)
        run = self.runs.get((getattr(event, "symbol", ""), getattr(event, "strategy", "")))
        if event is None:  # it could not be sent
            emitted = ()
        elif told.subject in _OF_RESULTS:
            event = event if run is None else run.same_event(event)
            emitted = subjects.subjects_of(event)
            subjects.emit_event(event)
            if run is not None and told.subject == "signal_live":
                run.on_event(event)
        else:
            emitted[0].emit(event)
        with self._changing:
            self._receipts.setdefault(told.subject, deque()).append((told.number, Receipt(emitted)))

    def _tell_heard(self, connection: Connection) -> None:
        """Tell the process up to which event listeners here have handled what it told."""
        pause = threading.Event()
        while self._connection is connection:
            heard = {}
            with self._changing:
                for name, waiting in self._receipts.items():
                    while waiting and waiting[0][1].handled:
                        heard[name] = waiting.popleft()[0]
            if heard:
                with suppress(OSError):
                    connection.send(Question(0, "heard", (heard,)))
            pause.wait(_LOOK_SECONDS)

    # --- its end ------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """Start it again where runs went on, unless that was tried often lately."""
        how = how_it_ended(self._child)
        with self._changing:
            runs = [*self.runs.values()]
        if not runs:
            return
        now = stopwatch()
        lately = [when for when in self._ends if now - when < _OFTEN_SECONDS]
        self._ends = [*lately, now]
        if len(lately) == len(self._pauses):
            often = f", the {len(lately)} times before that it was started again" if lately else ""
            self._give_up(f"{how}{often}; see {log_file(self.place)}")
            return
        for run in runs:
            run.process_ended(f"{how}; it is started again, and goes on from the saved state")
        threading.Event().wait(self._pauses[len(lately)])
        try:
            self._begin_again()
        except Exception as error:  # noqa: BLE001 -- told by each of its runs
            self._give_up(f"{how}, and cannot be started again: {error}")

    def _begin_again(self) -> None:
        with self._changing:
            runs = [*self.runs.values()]
        if not runs:  # nobody follows them any more
            return
        for more in range(_TRIES - 1, -1, -1):
            try:
                self._connect(start=True)
                break
            except ProcessEndedError:
                if not more:
                    raise
        with suppress(ProcessEndedError):  # again: who receives from it finds that
            _, there = self.ask("follow").result()
            self.hear()
            for run in runs:
                self._begin_run_again(run, goes_on=run.key in there)

    def _begin_run_again(self, run: RemoteRun, *, goes_on: bool) -> None:
        """Start a run again, unless the connection alone had ended."""
        try:
            if not goes_on:
                self.ask("start", self._start_of(run.key)).result()
            if run.wants_pause:
                run.ask("pause").result()
            if run.wants_stop:
                run.ask("stop", run.wants_stop == "now").result()
        except ProcessEndedError:
            raise
        except BknbError as error:
            with self._changing:
                self.runs.pop(run.key, None)
            run.given_up(f"it cannot be started again: {error}")

    def _give_up(self, text: str) -> None:
        with self._changing:
            runs, self.runs = [*self.runs.values()], {}
        for run in runs:
            run.given_up(text)


def _carried(answer: Future[Any]) -> None:
    if (error := answer.exception()) is not None and not isinstance(error, ProcessEndedError):
        log_failure(error)
