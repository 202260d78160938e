"""Executors of a sweep: this process, worker processes, a Dask cluster, or the user's own pool.

Candles and the strategy are written to a folder once; workers map them into memory, a cluster gets them scattered once.
This process keeps those of a single symbol as they are.
A task is a batch of parameters. An outcome depends on nothing else, so the executor changes only the time it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from os import cpu_count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..errors import UsageError
from .batches import Batch, Executor, WorkDir, forget, try_batch
from .evaluate import Evaluator
from .prepared_candles import Prepared

if TYPE_CHECKING:
    from ..engine.plan import Plan


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


class Pool:
    """Evaluates in the user's own pool in the style of ``concurrent.futures``: it has ``submit``, or ``map``.

    Its workers must be able to read the work dir. When the pool breaks, the remaining batches are evaluated in this
    process.
    """

    def __init__(self, work_dir: WorkDir, pool: Any, warn: Callable[[str], object]) -> None:
        self._folder = str(work_dir.folder)
        self._pool = pool
        self._warn = warn
        self.workers = int(getattr(pool, "_max_workers", 0) or cpu_count() or 1)
        self._broken = False

    def run(self, batches: Sequence[Batch], stopping: Callable[[], bool]) -> Iterator[tuple[Batch, Any]]:
        """Yield each batch with its outcomes, until ``stopping()`` is true."""
        if not hasattr(self._pool, "submit"):
            lines = self._pool.map(
                try_batch, [self._folder] * len(batches), [c.symbol for c in batches], [c.params for c in batches]
            )
            yield from zip(batches, lines, strict=True)
            return
        waiting, running = deque(batches), deque[tuple[Batch, Any]]()
        while (waiting or running) and not stopping():
            while waiting and len(running) < 2 * self.workers and not self._broken:
                batch = waiting.popleft()
                running.append((batch, self._submit(batch)))
            if running:
                batch, future = running.popleft()
            else:
                batch, future = waiting.popleft(), None
            yield batch, self._outcomes(batch, future)
        for _, future in running:
            if future is not None:
                future.cancel()

    def _submit(self, batch: Batch) -> Any:
        try:
            return self._pool.submit(try_batch, self._folder, batch.symbol, batch.params)
        except Exception as error:  # noqa: BLE001 -- a pool that is broken or closed
            self._fall_back(error)
            return None

    def _outcomes(self, batch: Batch, future: Any) -> Any:
        if future is not None:
            try:
                return future.result()
            except ImportError:
                raise
            except Exception as error:  # noqa: BLE001 -- the worker died, or the pool could not send the task
                self._fall_back(error)
        return try_batch(self._folder, batch.symbol, batch.params)

    def _fall_back(self, error: Exception) -> None:
        if not self._broken:
            self._warn(f"the executor broke ({type(error).__name__}: {error}); the rest was tried in this process")
        self._broken = True

    def close(self) -> None:
        """Release what this process cached; the pool belongs to the user and stays open."""
        forget(self._folder)


def is_inline(executor: object) -> bool:
    """Whether an ``executor=`` option names this process."""
    return executor is None or (isinstance(executor, str) and executor == "inline")


def make_executor(
    executor: object, work_dir: WorkDir, plan: Plan, *, keep_ends: bool, by_events: bool,
    warn: Callable[[str], object], only: Prepared | None = None,
) -> Executor:  # fmt: skip
    """Return the executor for an ``executor=`` option; one outside this process gets the plan in the work dir.

    ``by_events`` is as in ``WorkDir.write``, ``only`` as in ``Inline``.

    Raises
    ------
    UsageError
        When the option names no executor.
    """
    from .dask_executor import DaskCluster
    from .worker_pool import WorkerPool

    if is_inline(executor):
        return Inline(work_dir, plan, keep_ends=keep_ends, only=only)
    work_dir.write(plan, keep_ends=keep_ends, by_events=by_events)
    if executor == "processes":
        return WorkerPool(work_dir, cpu_count() or 1)
    if isinstance(executor, int) and not isinstance(executor, bool) and executor > 0:
        return WorkerPool(work_dir, executor)
    if hasattr(executor, "scatter") and hasattr(executor, "submit"):
        return DaskCluster(work_dir, executor)
    if hasattr(executor, "submit") or hasattr(executor, "map"):
        return Pool(work_dir, executor, warn)
    raise UsageError(
        f"executor must be 'inline', 'processes', a number of workers, a dask.distributed Client, or a pool with "
        f"submit or map\ngot {executor!r:.80}"
    )
