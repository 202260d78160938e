"""The Dask executor of a sweep: candles are scattered once, tasks are batches of parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from .batches import TRIES, Batch, WorkDir, unpacked
from .evaluate import Evaluator, Outcome
from .prepared_candles import Prepared

if TYPE_CHECKING:
    from ..engine.plan import Plan

_AHEAD: Final = 4  # submitted tasks per thread of the cluster
_RESTART_SECONDS: Final = 120  # workers that died take so long at most to begin again
_evaluators: dict[tuple[str, str], Evaluator] = {}


def try_scattered(plan: bytes, prepared: Prepared, params: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Return the outcomes of a batch on scattered candles; runs on a worker of the cluster."""
    key = (hashlib.sha256(plan).hexdigest(), prepared.data)
    evaluator = _evaluators.get(key)
    if evaluator is None:
        unpacked_plan: Plan
        unpacked_plan, keep_ends = unpacked(plan)
        evaluator = Evaluator(replace(unpacked_plan, symbol=prepared.symbol), prepared, keep_ends=keep_ends)
        while len(_evaluators) >= 4:
            _evaluators.pop(next(iter(_evaluators)), None)
        _evaluators[key] = evaluator
    return [evaluator.evaluate(one) for one in params]


class DaskCluster:
    """Evaluates on the cluster behind the user's ``dask.distributed.Client``."""

    def __init__(self, work_dir: WorkDir, client: Any) -> None:
        self._depot = work_dir
        self._client = client
        self._sent: dict[int, Any] = {}
        self._plan: Any = None
        threads = client.nthreads()
        self.workers = max(1, sum(threads.values()) if isinstance(threads, Mapping) else int(threads))

    def _send(self, symbol: int) -> Any:
        """Return the future of a symbol's candles, scattered to every worker once."""
        if symbol not in self._sent:
            prepared = Prepared.load(Path(self._depot.folder) / str(symbol))
            self._sent[symbol] = self._scattered(prepared)
        return self._sent[symbol]

    def _scattered(self, value: Any) -> Any:
        """Return the future of a value that every worker has; one is waited for where all died and begin again."""
        try:
            return self._client.scatter(value, broadcast=True, hash=False)
        except TimeoutError:  # there was no worker for the seconds that distributed waits
            self._client.wait_for_workers(1, timeout=_RESTART_SECONDS)
            return self._client.scatter(value, broadcast=True, hash=False)

    def _submit(self, batch: Batch) -> Any:
        if self._plan is None:
            self._plan = self._scattered(self._depot.plan())
        return self._client.submit(
            try_scattered, self._plan, self._send(batch.symbol), batch.params, pure=False, retries=TRIES
        )

    def run(self, batches: Sequence[Batch], stopping: Callable[[], bool]) -> Iterator[tuple[Batch, Any]]:
        """Yield each batch with its outcomes, until ``stopping()`` is true."""
        distributed: Any = import_module("distributed")  # untyped

        waiting = list(reversed(batches))
        running: dict[Any, Batch] = {}
        completed = distributed.as_completed([])

        def launch() -> None:
            while waiting and len(running) < _AHEAD * self.workers:
                batch = waiting.pop()
                future = self._submit(batch)
                running[future] = batch
                completed.add(future)

        launch()
        while running and not stopping():
            future = next(completed)
            batch = running.pop(future)
            outcomes = _outcomes(future)
            if outcomes is not None:
                yield batch, outcomes
            else:
                # A dead worker may have held the only copy of the candles: they are sent again.
                self._sent.clear()
                self._plan = None
                if batch.fail():
                    waiting.append(batch)
                else:
                    yield batch, _error_text(future)
            launch()
        if running:
            self._client.cancel(list(running))

    def close(self) -> None:
        """Release what was scattered; the cluster belongs to the user and stays open."""
        self._sent.clear()
        self._plan = None


def _outcomes(future: Any) -> list[Outcome] | None:
    """Return the outcomes of a batch; None if it failed, or if its worker died before they came over."""
    distributed: Any = import_module("distributed")  # untyped

    if future.status != "finished":
        return None
    try:
        outcomes: list[Outcome] = future.result()
    except (CancelledError, distributed.scheduler.KilledWorker):
        return None
    return outcomes


def _error_text(future: Any) -> str | None:
    """Return the error of a failed task as text, None when its worker died."""
    error = future.exception() if future.status == "error" else None
    return None if error is None or type(error).__name__ == "KilledWorker" else f"{type(error).__name__}: {error}"
