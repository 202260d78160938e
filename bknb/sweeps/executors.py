"""Executors: this process, worker processes, a Dask cluster, or the user's own pool.

Candles and the strategy are written to a folder once; workers map them into memory, a cluster gets them scattered once.
This process keeps those of a single symbol as they are.
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

from msgspec.structs import replace

from .batches import Batch, Call, Depot, Executor, U, WorkDir, forget
from .evaluate_combination import Evaluator
from .executor_options import checked_executor, is_inline
from .prepared_candles import Prepared

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from .worker_pool import Worker


_LOOK_SECONDS: Final = 0.01


class Inline:
    """Evaluates one combination after the other in this process.

    ``only``: the candles, where there is one symbol; those of several are in the work dir, one of them at a time here.
    """

    workers = 1

    def __init__(self, work_dir: WorkDir, plan: Plan, *, keep_ends: bool, only: Prepared | None = None) -> None:
        self._folder = work_dir.folder
        self._only = only
        self._plan = plan
        self._keep_ends = keep_ends
        self._evaluator: tuple[int, Evaluator] | None = None

    def _at(self, symbol: int) -> Evaluator:
        if self._evaluator is None or self._evaluator[0] != symbol:
            prepared = Prepared.load(self._folder / str(symbol)) if self._only is None else self._only
            evaluator = Evaluator(replace(self._plan, symbol=prepared.symbol), prepared, keep_ends=self._keep_ends)
            self._evaluator = symbol, evaluator
        return self._evaluator[1]

    def run(self, batches: Sequence[Batch], stopping: Callable[[], bool]) -> Iterator[tuple[Batch, Any]]:
        """Yield each batch with its outcomes, until ``stopping()`` is true."""
        for batch in batches:
            if stopping():
                return
            evaluator = self._at(batch.symbol)
            yield batch, [evaluator.evaluate(params) for params in batch.params]

    def close(self) -> None:
        """Release the candles."""
        self._evaluator = self._only = None


class Pool(Generic[U]):
    """Works in the user's own pool in the style of ``concurrent.futures``: it has ``submit``, or ``map``.

    Its workers must be able to read the work dir. When the pool breaks, the remaining units are done in this process.
    """

    def __init__(self, depot: Depot[U], pool: Any, warn: Callable[[str], object]) -> None:
        self._depot = depot
        self._pool = pool
        self._warn = warn
        self.workers = int(getattr(pool, "_max_workers", 0) or cpu_count() or 1)
        self._broken = False

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        if not hasattr(self._pool, "submit"):
            answers = self._pool.map(called, [self._depot.call(unit) for unit in units])
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
            return self._pool.submit(called, self._depot.call(unit))
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
        return called(self._depot.call(unit))

    def _fall_back(self, error: Exception) -> None:
        if not self._broken:
            self._warn(f"the executor broke ({type(error).__name__}: {error}); the rest was done in this process")
        self._broken = True

    def close(self) -> None:
        """Release what this process cached; the pool belongs to the user and stays open."""
        forget(str(self._depot.folder))


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


def called(call: Call) -> Any:
    """Return what a call returns; runs in a worker."""
    function, given = call
    return function(*given)


def make_executor(
    executor: object, work_dir: WorkDir, plan: Plan, *, keep_ends: bool, with_source: bool,
    warn: Callable[[str], object], only: Prepared | None = None,
) -> Executor[Batch]:  # fmt: skip
    """Return the executor of a sweep for an ``executor=`` option; one elsewhere gets the plan in the work dir.

    ``with_source`` is as in ``WorkDir.write``, ``only`` as in ``Inline``.

    Raises
    ------
    UsageError
        When the option names no executor.
    """
    if is_inline(executor):
        return Inline(work_dir, plan, keep_ends=keep_ends, only=only)
    work_dir.write(plan, keep_ends=keep_ends, with_source=with_source)
    return executor_elsewhere(executor, work_dir, warn)


@contextmanager
def starting_workers(executor: object, units: int, *modules: str) -> Iterator[list[Worker]]:
    """Start workers of an ``executor=`` option while their units of work are prepared; they import ``modules``.

    There are none where it is no number of worker processes. What is raised in the block ends them.
    """
    from .worker_pool import Worker

    checked_executor(executor)
    wanted = _processes(executor) or 0
    workers = [Worker(*modules) for _ in range(min(wanted, units))]
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.end()
        raise


def _processes(executor: object) -> int | None:
    """How many worker processes an ``executor=`` option is; ``None``: it is another one."""
    if isinstance(executor, str):
        return cpu_count() or 1
    return executor if isinstance(executor, int) else None


def executor_elsewhere(
    executor: object, depot: Depot[U], warn: Callable[[str], object], started: Sequence[Worker] = ()
) -> Executor[U]:
    """Return the executor for an ``executor=`` option that is not this process, with ``started`` workers of it.

    Raises
    ------
    UsageError
        When the option names no executor.
    """
    from .dask_executor import DaskCluster
    from .worker_pool import WorkerPool

    checked_executor(executor)
    processes = _processes(executor)
    if processes is not None:
        return WorkerPool(depot, processes, started)
    return DaskCluster(depot, executor) if hasattr(executor, "scatter") else Pool(depot, executor, warn)
