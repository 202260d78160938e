"""The task of a live run in a process of its own, and the processes that are followed here."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..errors import DataError, StateError, UsageError
from ..process import at_reset
from .card_of_result import code_of
from .followed_process import FollowedProcess, ProcessEndedError
from .goes_with_runs import on_change
from .live_task import TASKS, LiveTask, check_not_running
from .manual_orders import TaskByHand
from .remote_live_run import RemoteRun
from .result import Result
from .run_record import record_of
from .sent_live_plan import Place, ReceivedParts, SentPlan, place_of, received_plan, store_of
from .task import Task

if TYPE_CHECKING:
    from ..live.plan import LivePlan
    from ..ports import StateStore


class RemoteLiveTask(LiveTask):
    """A live run in a process of its own: it goes on when this kernel is ended, and no cell holds it up.

    It is used as any other live run. What listeners, dashboards and cells here see of it was told by that process.

    Attributes
    ----------
    pid : int
        The number of the process; another one after it was started again.
    """

    _run: RemoteRun  # type: ignore[assignment]  # what LiveTask asks of a LiveRun it has

    def __init__(self, plan: LivePlan, process: FollowedProcess) -> None:
        TaskByHand.__init__(self, plan.symbol, plan.strategy.name)
        self.plan, self._money, self._fits = plan, None, None
        self._process = process
        self._run = RemoteRun(plan, process.ask, self._emit_result, code=code_of(plan))
        self._last_money: Any = None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def run(self) -> RemoteRun:
        """What is known here of the run."""
        return self._run

    @property
    def facts(self) -> dict[str, str]:
        """Facts for a dashboard, as of any live run, and which process it is in."""
        where = f"its own, {self.pid}" if self._process.is_there else "its own, which is started again"
        return {**super().facts, "Process": where}

    def _begin(self, variables: Variables) -> None:
        Task._begin(self, variables)

    async def _work(self) -> Result:
        self._last_money = await self._run.run()
        return self._result_now()

    def _result_now(self) -> Result:
        record = record_of(self._run)  # type: ignore[arg-type]  # as of a LiveRun
        if self.plan.account is not None:
            account, positions = self._account_now()
            record = replace(record, money=account, money_positions=positions)
        return Result(record)

    def _account_now(self) -> Any:
        """Its account and its positions in money, as they were told last while its process is started again."""
        if not self._run.is_over:
            try:
                self._last_money = self._run.ask("money").result()
            except StateError as error:
                if self._last_money is None:
                    raise DataError(f"the account is not known at the moment: {error}") from error
        return self._last_money


_TRIES: Final = 3
_END_SECONDS: Final = 10.0  # at most, for a stopped task to end
_followed: Final[dict[Place, FollowedProcess]] = {}
_changing = threading.Lock()


@on_change
def _carry_again() -> None:
    with _changing:
        followed = [process for process in _followed.values() if process.is_there]
    for process in followed:
        process.carry()


@at_reset
def _end_and_forget() -> None:
    tasks = [task for task in TASKS.all() if isinstance(task, RemoteLiveTask) and not task.done]
    for task in tasks:
        task.stop(now=True)
    for task in tasks:
        task.wait(_END_SECONDS)
    with _changing:
        for process in _followed.values():
            process.leave()
        _followed.clear()


def _process_at(place: Place) -> FollowedProcess:
    with _changing:
        return _followed.setdefault(place, FollowedProcess(place))


def _follow(process: FollowedProcess, *, start: bool) -> list[RemoteLiveTask]:
    """Connect to a process, and follow the runs that go on there; nothing where it is followed already."""
    found = process.connect(start=start)
    if found is None:
        return []
    bytes_of, plans = found
    parts, store = ReceivedParts(), store_of(process.place)
    parts.add(bytes_of)
    tasks = []
    for sent in plans.values():
        task = RemoteLiveTask(received_plan(sent, parts, store, runs_here=False), process)
        tasks.append(task)
        process.follow(task.run, sent, bytes_of)
        TASKS.add(task)
        task.start()
    process.hear()
    for task in tasks:
        task.run.goes_on()
    return tasks


def start_in_process(plan: LivePlan) -> RemoteLiveTask:
    """Start a live run in the process of its store, or follow it where it goes on there.

    Raises
    ------
    UsageError
        When something of the plan cannot be sent, or another one of that name goes on.
    StateError
        When the process cannot begin, such as when another one has the store.
    """
    place = place_of(plan.store)
    process = _process_at(place)
    sent = process.packed(plan)  # before anything starts
    for more in range(_TRIES - 1, -1, -1):
        try:
            return _start(plan, sent, process)
        except ProcessEndedError:  # with its last run, while this one was to begin
            if not more:
                raise
    raise AssertionError


def _start(plan: LivePlan, sent: SentPlan, process: FollowedProcess) -> RemoteLiveTask:
    tasks = _follow(process, start=True)
    task = RemoteLiveTask(plan, process)
    known = next((each for each in tasks if each.run.key == task.run.key), None)
    if known is not None:
        if known.run.code != task.run.code:
            raise UsageError(
                f"the live run of {plan.strategy.name!r} on {plan.symbol} goes on in process {process.pid} with other "
                f"code than this\nit is followed from now on; stop it to start this code: "
                f"bknb.Live.stop({plan.symbol!r}, {plan.strategy.name!r}, now=True).wait()"
            )
        return known
    check_not_running(plan)
    process.start(task.run, sent)
    TASKS.add(task)
    task.start()
    return task


def attach(store: StateStore) -> list[RemoteLiveTask]:
    """Follow the live runs that go on in the process of a store; returns those that are followed."""
    try:
        process = _process_at(place_of(store))
    except UsageError:  # a store that no other process can have
        return []
    with suppress(ProcessEndedError):  # just now
        _follow(process, start=False)
    return [task for task in TASKS.all() if isinstance(task, RemoteLiveTask) and task.run in process.runs.values()]
