"""Where the combinations of a sweep are tried: here, in processes of our own, on a Dask cluster, in somebody's pool.

Candles and the strategy are written to a folder once; workers map them, a cluster gets them scattered once. A task is
a handful of parameters. What a combination comes to depends on nothing else, so the executor changes only the time.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..engine.build import definition, make_strategy
from ..engine.registry import Exchange, get_risk, registry
from ..errors import MissingDependency, UsageError
from ..provenance.strategy_hash import is_installed
from .evaluate import Bench, Outcome, Prepared

if TYPE_CHECKING:
    from ..engine.backtest import Plan

TRIES: Final = 3  # a task whose worker died is given to another one so often
_KEPT: Final = 2  # symbols a worker keeps mapped


class Chunk:
    """A few combinations of one symbol; ``numbers`` are theirs in the sweep."""

    __slots__ = ("numbers", "params", "symbol", "tries")

    def __init__(self, symbol: int, numbers: Sequence[int], params: Sequence[Mapping[str, Any]]) -> None:
        self.symbol = symbol
        self.numbers = list(numbers)
        self.params = [dict(one) for one in params]
        self.tries = 0


@dataclass(frozen=True, slots=True)
class Depot:
    """The folder that holds everything workers share: the plan, and for each symbol its candles."""

    folder: Path

    def write(self, plan: Plan, *, keep_ends: bool) -> None:
        """Write the plan, with the strategy as it is now."""
        (self.folder / "plan.pickle").write_bytes(packed(plan, keep_ends=keep_ends))

    def add(self, number: int, prepared: Prepared) -> None:
        """Write the candles of one symbol."""
        prepared.save(self.folder / str(number))

    def plan(self) -> bytes:
        """The plan as ``packed`` made it."""
        return (self.folder / "plan.pickle").read_bytes()


class Executor(Protocol):
    """Tries chunks of combinations; the outcomes come back in any order, ``None`` for a chunk that kills workers."""

    workers: int

    def run(self, chunks: Sequence[Chunk], stopping: Callable[[], bool]) -> Iterator[tuple[Chunk, Any]]:
        """Try all chunks, until somebody wants to stop."""
        ...

    def close(self) -> None:
        """Give back what was taken for this sweep."""
        ...


# --- at the worker ------------------------------------------------------------------------------------------------


def packed(plan: Plan, *, keep_ends: bool) -> bytes:
    """A plan as bytes that another process can unpack, functions of notebook cells included.

    Raises
    ------
    MissingDependency
        Without cloudpickle.
    UsageError
        When the strategy holds something that cannot be sent.
    """
    try:
        import cloudpickle
    except ImportError:
        raise MissingDependency("cloudpickle", purpose="a sweep", extra="sweep") from None
    strategy = plan.strategy
    # No callbacks: they are for one run. No source where the candles are all there is to know.
    made = {**definition(strategy), "callbacks": None}
    source = None if strategy.get_signals is not None and strategy.risk is None else plan.exchange.source
    risk = None if strategy.risk is None else get_risk(strategy.risk)
    content = (strategy.name, made, replace(plan, strategy=None, exchange=Exchange(plan.exchange.name, source)),  # type: ignore[arg-type]  # put back by unpacked
               risk, keep_ends)  # fmt: skip
    modules = _own_modules(strategy.get_signals or strategy.get_signal)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(content))
    except Exception as error:
        raise UsageError(
            f"strategy {strategy.name!r} cannot be sent to a worker: {type(error).__name__}: {error}\n"
            "let its function create what cannot be copied (locks, files, connections), or use executor='inline'"
        ) from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _own_modules(function: Any) -> list[Any]:
    """The module of a user's function, when a worker may be unable to import it as it is here."""
    import sys

    while hasattr(function, "func"):
        function = function.func
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or not hasattr(function, "__code__") or is_installed(function):
        return []
    return [module]


def unpacked(content: bytes) -> tuple[Plan, bool]:
    """The plan that ``packed`` packed, and whether outcomes carry their tables of ends."""
    name, made, plan, risk, keep_ends = pickle.loads(content)  # noqa: S301 -- our own bytes, from this sweep's folder
    if risk is not None:
        registry.risks.items.setdefault(risk.name, risk)
    return replace(plan, strategy=make_strategy(name, **made)), keep_ends


@lru_cache(maxsize=2)
def _plan_in(folder: str) -> tuple[Plan, bool]:
    return unpacked(Depot(Path(folder)).plan())


_benches: OrderedDict[tuple[str, int], Bench] = OrderedDict()


def try_chunk(folder: str, symbol: int, params: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """What a worker does: try combinations on the candles in a folder."""
    bench = _benches.get((folder, symbol))
    if bench is None:
        plan, keep_ends = _plan_in(folder)
        prepared = Prepared.load(Path(folder) / str(symbol))
        bench = Bench(replace(plan, symbol=prepared.symbol), prepared, keep_ends=keep_ends)
        _benches[folder, symbol] = bench
        while len(_benches) > _KEPT:
            _benches.popitem(last=False)
    return [bench.try_out(one) for one in params]


def forget(folder: str) -> None:
    """Let go of the candles of a sweep that is over."""
    for key in [key for key in _benches if key[0] == folder]:
        del _benches[key]
    _plan_in.cache_clear()


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
