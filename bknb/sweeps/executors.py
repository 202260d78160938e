"""Where the combinations of a sweep are tried: here, in processes of our own, on a Dask cluster, in somebody's pool.

Candles and the strategy are written to a folder once; workers map them, a cluster gets them scattered once. A task is
a handful of parameters. What a combination comes to depends on nothing else, so the executor changes only the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from os import cpu_count
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .evaluate import Bench, Prepared

if TYPE_CHECKING:
    from ..engine.plan import Plan
from .work import Chunk, Depot, Executor, forget, try_chunk

# --- at the worker ------------------------------------------------------------------------------------------------


# --- the executors ------------------------------------------------------------------------------------------------


class Inline:
    """One after the other, in this process; nothing has to be sent anywhere."""

    workers = 1

    def __init__(self, depot: Depot, plan: Plan, *, keep_ends: bool) -> None:
        self._folder = depot.folder
        self._plan = plan
        self._keep_ends = keep_ends
        self._bench: tuple[int, Bench] | None = None

    def _at(self, symbol: int) -> Bench:
        if self._bench is None or self._bench[0] != symbol:
            prepared = Prepared.load(self._folder / str(symbol))
            bench = Bench(replace(self._plan, symbol=prepared.symbol), prepared, keep_ends=self._keep_ends)
            self._bench = symbol, bench
        return self._bench[1]

    def run(self, chunks: Sequence[Chunk], stopping: Callable[[], bool]) -> Iterator[tuple[Chunk, Any]]:
        """Try all chunks, until somebody wants to stop."""
        for chunk in chunks:
            if stopping():
                return
            bench = self._at(chunk.symbol)
            yield chunk, [bench.try_out(params) for params in chunk.params]

    def close(self) -> None:
        """Let go of the candles."""
        self._bench = None


class Pool:
    """Somebody's pool in the style of ``concurrent.futures``: it has ``submit``, or ``map``.

    Its workers must be able to read the folder. When the pool breaks, what is left is done here.
    """

    def __init__(self, depot: Depot, pool: Any, warn: Callable[[str], object]) -> None:
        self._folder = str(depot.folder)
        self._pool = pool
        self._warn = warn
        self.workers = int(getattr(pool, "_max_workers", 0) or cpu_count() or 1)
        self._broken = False

    def run(self, chunks: Sequence[Chunk], stopping: Callable[[], bool]) -> Iterator[tuple[Chunk, Any]]:
        """Try all chunks, until somebody wants to stop."""
        if not hasattr(self._pool, "submit"):
            lines = self._pool.map(
                try_chunk, [self._folder] * len(chunks), [c.symbol for c in chunks], [c.params for c in chunks]
            )
            yield from zip(chunks, lines, strict=True)
            return
        waiting, flying = deque(chunks), deque[tuple[Chunk, Any]]()
        while (waiting or flying) and not stopping():
            while waiting and len(flying) < 2 * self.workers and not self._broken:
                chunk = waiting.popleft()
                flying.append((chunk, self._submit(chunk)))
            if flying:
                chunk, future = flying.popleft()
            else:
                chunk, future = waiting.popleft(), None
            yield chunk, self._outcomes(chunk, future)
        for _, future in flying:
            if future is not None:
                future.cancel()

    def _submit(self, chunk: Chunk) -> Any:
        try:
            return self._pool.submit(try_chunk, self._folder, chunk.symbol, chunk.params)
        except Exception as error:  # noqa: BLE001 -- a pool that is broken or closed
            self._give_up(error)
            return None

    def _outcomes(self, chunk: Chunk, future: Any) -> Any:
        if future is not None:
            try:
                return future.result()
            except ImportError:
                raise
            except Exception as error:  # noqa: BLE001 -- the worker died, or the pool could not send the task
                self._give_up(error)
        return try_chunk(self._folder, chunk.symbol, chunk.params)

    def _give_up(self, error: Exception) -> None:
        if not self._broken:
            self._warn(f"the executor broke ({type(error).__name__}: {error}); the rest was tried in this process")
        self._broken = True

    def close(self) -> None:
        """The pool is not ours."""
        forget(self._folder)


def make_executor(
    executor: object, depot: Depot, plan: Plan, *, keep_ends: bool, warn: Callable[[str], object]
) -> Executor:
    """The executor somebody asked for; for one that is elsewhere the plan is put into the depot.

    Raises
    ------
    UsageError
        When it is none.
    """
    from .dask_executor import DaskCluster
    from .worker_pool import Crew

    if executor is None or executor == "inline":
        return Inline(depot, plan, keep_ends=keep_ends)
    depot.write(plan, keep_ends=keep_ends)
    if executor == "processes":
        return Crew(depot, cpu_count() or 1)
    if isinstance(executor, int) and not isinstance(executor, bool) and executor > 0:
        return Crew(depot, executor)
    if hasattr(executor, "scatter") and hasattr(executor, "submit"):
        return DaskCluster(depot, executor)
    if hasattr(executor, "submit") or hasattr(executor, "map"):
        return Pool(depot, executor, warn)
    raise UsageError(
        f"executor must be 'inline', 'processes', a number of workers, a dask.distributed Client, or a pool with "
        f"submit or map\ngot {executor!r:.80}"
    )
