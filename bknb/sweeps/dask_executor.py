"""The Dask executor: what all units of work need is scattered once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from importlib import import_module
from typing import Any, Final, Generic

from .units import TRIES, U, WorkDir

_AHEAD: Final = 4  # submitted tasks per thread of the cluster
_LOOK_SECONDS: Final = 0.01
_RESTART_SECONDS: Final = 120  # workers that died take so long at most to begin again


class DaskCluster(Generic[U]):
    """Evaluates on the cluster behind the user's ``dask.distributed.Client``."""

    def __init__(self, work_dir: WorkDir[U], client: Any) -> None:
        self._work_dir = work_dir
        self._client = client
        self._sent: dict[Hashable, Any] = {}
        threads = client.nthreads()
        self.workers = max(1, sum(threads.values()) if isinstance(threads, Mapping) else int(threads))

    def _scatter(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the future of a value, scattered to every worker once."""
        if key not in self._sent:
            self._sent[key] = self._scattered(make())
        return self._sent[key]

    def _scattered(self, value: Any) -> Any:
        """Return the future of a value that every worker has; one is waited for where all died and begin again."""
        tries = 0
        while True:
            try:
                return self._client.scatter(value, broadcast=True, hash=False)
            except (TimeoutError, OSError, ValueError):
                # No worker for the seconds that distributed waits, or one died meanwhile; where it was the last one,
                # distributed says that it can not use replicate to delete data.
                tries += 1
                if tries == TRIES:
                    raise
                self._client.wait_for_workers(1, timeout=_RESTART_SECONDS)

    def _submit(self, unit: U) -> Any:
        function, given = self._work_dir.scattered(unit, self._scatter)
        return self._client.submit(function, *given, pure=False, retries=TRIES)

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        distributed: Any = import_module("distributed")  # untyped

        waiting = list(reversed(units))
        running: dict[Any, U] = {}
        completed = distributed.as_completed([])
        look = threading.Event()

        def launch() -> None:
            while waiting and len(running) < _AHEAD * self.workers:
                unit = waiting.pop()
                future = self._submit(unit)
                running[future] = unit
                completed.add(future)

        launch()
        while running and not stopping():
            if not completed.has_ready():
                look.wait(_LOOK_SECONDS)
                continue
            future = next(completed)
            unit = running.pop(future)
            answer = _answer(future)
            if answer is not None:
                yield unit, answer
            else:
                # A dead worker may have held the only copy of the candles: they are sent again.
                self._sent.clear()
                if unit.fail():
                    waiting.append(unit)
                else:
                    yield unit, _error_text(future)
            launch()
        if running:
            self._client.cancel(list(running))

    def close(self) -> None:
        """Release what was scattered; the cluster belongs to the user and stays open."""
        self._sent.clear()


def _answer(future: Any) -> Any:
    """Return the answer of a unit; None if it failed, or if its worker died before they came over."""
    distributed: Any = import_module("distributed")  # untyped

    if future.status != "finished":
        return None
    try:
        return future.result()
    except (CancelledError, distributed.scheduler.KilledWorker):
        return None


def _error_text(future: Any) -> str | None:
    """Return the error of a failed task as text, None when its worker died."""
    error = future.exception() if future.status == "error" else None
    return None if error is None or type(error).__name__ == "KilledWorker" else f"{type(error).__name__}: {error}"
