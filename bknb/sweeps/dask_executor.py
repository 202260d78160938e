"""A Dask cluster as the place where combinations are tried: candles are scattered once, tasks are parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .evaluate import Bench, Outcome, Prepared
from .work import TRIES, Chunk, Depot, unpacked

if TYPE_CHECKING:
    from ..engine.plan import Plan

_AHEAD: Final = 4  # tasks per thread of the cluster that are under way at a time
_benches: dict[tuple[str, str], Bench] = {}


def try_scattered(plan: bytes, prepared: Prepared, params: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """What a cluster's worker does: try combinations on candles that were sent to it."""
    key = (hashlib.sha256(plan).hexdigest(), prepared.data)
    bench = _benches.get(key)
    if bench is None:
        unpacked_plan: Plan
        unpacked_plan, keep_ends = unpacked(plan)
        bench = Bench(replace(unpacked_plan, symbol=prepared.symbol), prepared, keep_ends=keep_ends)
        while len(_benches) >= 4:
            _benches.pop(next(iter(_benches)), None)
        _benches[key] = bench
    return [bench.try_out(one) for one in params]


class DaskCluster:
    """A ``dask.distributed.Client`` that somebody else owns."""

    def __init__(self, depot: Depot, client: Any) -> None:
        self._depot = depot
        self._client = client
        self._sent: dict[int, Any] = {}
        self._plan: Any = None
        threads = client.nthreads()
        self.workers = max(1, sum(threads.values()) if isinstance(threads, Mapping) else int(threads))

    def _send(self, symbol: int) -> Any:
        """The candles of a symbol on every worker, once."""
        if symbol not in self._sent:
            prepared = Prepared.load(Path(self._depot.folder) / str(symbol))
            self._sent[symbol] = self._client.scatter(prepared, broadcast=True, hash=False)
        return self._sent[symbol]

    def _submit(self, chunk: Chunk) -> Any:
        if self._plan is None:
            self._plan = self._client.scatter(self._depot.plan(), broadcast=True, hash=False)
        return self._client.submit(
            try_scattered, self._plan, self._send(chunk.symbol), chunk.params, pure=False, retries=TRIES
        )

    def run(self, chunks: Sequence[Chunk], stopping: Callable[[], bool]) -> Iterator[tuple[Chunk, Any]]:
        """Try all chunks, until somebody wants to stop."""
        distributed: Any = import_module("distributed")  # untyped

        waiting = list(reversed(chunks))
        flying: dict[Any, Chunk] = {}
        arriving = distributed.as_completed([])

        def launch() -> None:
            while waiting and len(flying) < _AHEAD * self.workers:
                chunk = waiting.pop()
                future = self._submit(chunk)
                flying[future] = chunk
                arriving.add(future)

        launch()
        while flying and not stopping():
            future = next(arriving)
            chunk = flying.pop(future)
            if future.status == "finished":
                yield chunk, future.result()
            else:
                chunk.tries += 1
                # A dead worker may have held the only copy of the candles: they are sent again.
                self._sent.clear()
                self._plan = None
                if chunk.tries >= TRIES:
                    yield chunk, _said(future)
                else:
                    waiting.append(chunk)
            launch()
        if flying:
            self._client.cancel(list(flying))

    def close(self) -> None:
        """The cluster is not ours; what was sent to it is let go."""
        self._sent.clear()
        self._plan = None


def _said(future: Any) -> str | None:
    """The error of a task that failed, None when its worker died."""
    error = future.exception() if future.status == "error" else None
    return None if error is None or type(error).__name__ == "KilledWorker" else f"{type(error).__name__}: {error}"
