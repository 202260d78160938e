"""Executors beside this process: worker processes, a Dask cluster, or the user's own pool.

Candles and the strategy are written to a folder once; workers map them into memory, a cluster gets them scattered once.
A unit of work is a batch of parameters of a sweep, or a run of its own. Its outcome depends on nothing else, so the
executor changes only the time it takes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import cpu_count
from typing import TYPE_CHECKING, Any, Final, Generic

from .executor_options import checked_executor, processes_of
from .units import Call, Executor, U, WorkDir, called

if TYPE_CHECKING:
    from .worker_pool import Worker

_LOOK_SECONDS: Final = 0.01


class Pool(Generic[U]):
    """Works in the user's own pool in the style of ``concurrent.futures``: it has ``submit``, or ``map``.

    Its workers must be able to read the work dir. When the pool breaks, the remaining units are done in this process.
    """

    def __init__(self, work_dir: WorkDir[U], pool: Any, warn: Callable[[str], object]) -> None:
        self._work_dir = work_dir
        self._pool = pool
        self._warn = warn
        self.workers = int(getattr(pool, "_max_workers", 0) or cpu_count() or 1)
        self._broken = False

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        if not hasattr(self._pool, "submit"):
            answers = self._pool.map(called, [self._work_dir.call(unit) for unit in units])
            yield from zip(units, answers, strict=True)
            return
        waiting, running = deque(units), deque[tuple[U, Any]]()
        while (waiting or running) and not stopping():
            while waiting and len(running) < 2 * self.workers and not self._broken:
                unit = waiting.popleft()
                running.append((unit, self._submit(unit)))
            if running:
                unit, future = running.popleft()
            else:
                unit, future = waiting.popleft(), None
            if not _awaited(future, stopping):
                running.append((unit, future))
                break
            yield unit, self._answer(unit, future)
        for _, future in running:
            if future is not None:
                future.cancel()

    def _submit(self, unit: U) -> Any:
        try:
            return self._pool.submit(called, self._work_dir.call(unit))
        except Exception as error:  # noqa: BLE001 -- a pool that is broken or closed
            self._fall_back(error)
            return None

    def _answer(self, unit: U, future: Any) -> Any:
        if future is not None:
            try:
                return future.result()
            except ImportError:
                raise
            except Exception as error:  # noqa: BLE001 -- the worker died, or the pool could not send the task
                self._fall_back(error)
        return called(self._work_dir.call(unit))

    def _fall_back(self, error: Exception) -> None:
        if not self._broken:
            self._warn(f"the executor broke ({type(error).__name__}: {error}); the rest was done in this process")
        self._broken = True

    def close(self) -> None:
        """Release what this process cached; the pool belongs to the user and stays open."""
        self._work_dir.forget()


def _awaited(future: Any, stopping: Callable[[], bool]) -> bool:
    """Whether a future may be taken: it is done, or cannot say so; waits for it until ``stopping()`` is true."""
    if not hasattr(future, "done"):
        return True
    look = threading.Event()
    while not future.done():
        if stopping():
            return False
        look.wait(_LOOK_SECONDS)
    return True


def are_forks(executor: object) -> bool:
    """Whether workers of an ``executor=`` option are forks of one process, which makes calls before them once."""
    from .fork_server import CAN_FORK

    return CAN_FORK and processes_of(executor) is not None


def get_workers_ready(executor: object, *modules: str) -> None:
    """Have workers of an ``executor=`` option, that are started soon, begin with ``modules`` imported."""
    from .fork_server import get_ready, imports

    checked_executor(executor)
    if processes_of(executor) is not None:
        get_ready(*imports(*modules))


@contextmanager
def starting_workers(executor: object, units: int, *modules: str) -> Iterator[list[Worker]]:
    """Start workers of an ``executor=`` option while their units of work are prepared; they import ``modules``.

    There are none where it is no number of worker processes. What is raised in the block ends them.
    """
    from .fork_server import imports, workers_of

    checked_executor(executor)
    workers = workers_of(min(processes_of(executor) or 0, units), *imports(*modules))
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.end()
        raise


def executor_elsewhere(
    executor: object,
    work_dir: WorkDir[U],
    warn: Callable[[str], object],
    started: Sequence[Worker] = (),
    before: Sequence[Call] = (),
) -> Executor[U]:
    """Return the executor for an ``executor=`` option that is not this process, with ``started`` workers of it.

    ``before`` are calls that further worker processes make before their first task.

    Raises
    ------
    UsageError
        When the option names no executor.
    """
    from .dask_executor import DaskCluster
    from .fork_server import workers_of
    from .worker_pool import WorkerPool

    checked_executor(executor)
    processes = processes_of(executor)
    if processes is not None:
        return WorkerPool(work_dir, processes, lambda: workers_of(1, *before)[0], started)
    return DaskCluster(work_dir, executor) if hasattr(executor, "scatter") else Pool(work_dir, executor, warn)
