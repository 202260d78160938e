"""Whole runs as units of work of an executor: legs of a portfolio, strategies of a walker, folds of a walk-forward.

What all of them need is pickled once; a worker makes it anew for each unit, so that nothing that one leaves behind in
the user's functions reaches another: a unit has the same outcome whoever does it, and in whatever order. Candles that
all of them need are kept by a worker from one unit to the next.
"""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..domain.text import error_text
from ..engine.runs_in_workers import FailedElsewhere, keep_place
from ..errors import BknbError
from ..market.candles_in_mapped_files import most_mapped, write_in_pieces
from .executors import executor_elsewhere
from .pickled_code import from_bytes
from .units import Call, Scatter, Unit

if TYPE_CHECKING:
    from .worker_pool import Worker

_FILE, _KEPT = "runs.pickle", "kept.pickle"
_LOOK_SECONDS: Final = 0.02
_LARGE: Final = 2**16  # bytes; larger arrays go through a file, and not through pipes
_DONE, _FAILED = True, False


class RunUnit(Unit):
    """A unit by its number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class RunFolder:
    """The folder that workers read, with what all units need; ``hold`` returns once a unit may begin.

    ``kept`` is what a worker makes once for all of its units, where there is anything.
    """

    def __init__(self, folder: Path, content: bytes, hold: Callable[[], object], kept: object = None) -> None:
        self.folder, self._hold, self._kept = folder, hold, kept
        (folder / _FILE).write_bytes(content)
        if kept is not None:
            (folder / _KEPT).write_bytes(pickle.dumps(_sent(kept, folder / "kept.arrays"), protocol=5))

    def _content(self) -> bytes:
        return (self.folder / _FILE).read_bytes()

    def call(self, unit: RunUnit) -> Call:
        """What a worker calls that can read the folder."""
        self._hold()
        return work_in_folder, (str(self.folder), unit.number)

    def scattered(self, unit: RunUnit, scatter: Scatter) -> Call:
        """What a worker of a cluster calls."""
        self._hold()
        kept = () if self._kept is None else (None, scatter("kept", lambda: self._kept))
        return work_on, (scatter("runs", self._content), unit.number, *kept)

    def forget(self) -> None:
        """Release what units need, where this process did some itself."""
        _content_in.cache_clear()
        _kept_in.cache_clear()


Answer: TypeAlias = tuple[bool, bytes, tuple[str, tuple[int, ...]] | None]
"""Whether a unit was done, its pickled outcome or error, and the file of its large arrays with the size of each."""


def work_on(content: bytes, number: int, arrays: Path | None = None, kept: object = None) -> Answer:
    """Return the answer of a unit; runs in a worker. ``arrays`` is a file that is written where some are large.

    ``kept`` is what this worker keeps, which the function gets last; ``None``: nothing.
    """
    try:
        function, given = from_bytes(content)
        return _DONE, *_sent(function(number, *given, *(() if kept is None else (kept,))), arrays)
    except ImportError:
        raise
    except BaseException as error:  # noqa: BLE001 -- raised where the run was asked for
        return _FAILED, sent_error(error), None


@lru_cache(maxsize=2)
def _content_in(folder: str) -> bytes:
    return (Path(folder) / _FILE).read_bytes()


@lru_cache(maxsize=2)
def _kept_in(folder: str) -> object:
    path = Path(folder) / _KEPT
    return unpickled(*pickle.loads(path.read_bytes()), mapped=os.name == "posix") if path.exists() else None  # noqa: S301 -- from the process that started this one


def work_in_folder(folder: str, number: int) -> Answer:
    """Return what ``work_on`` returns for the content of a folder; runs in a worker."""
    arrays = Path(folder) / f"{number}-{os.getpid()}.arrays"
    return work_on(_content_in(folder), number, arrays, _kept_in(folder))


def _sent(outcome: object, arrays: Path | None) -> tuple[bytes, tuple[str, tuple[int, ...]] | None]:
    large: list[memoryview] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= _LARGE:
            large.append(raw)
        return raw.nbytes < _LARGE

    try:
        if arrays is not None:
            content = pickle.dumps(outcome, protocol=5, buffer_callback=stays)
            with suppress(OSError):  # no space: sent with the rest
                return content, (_written(arrays, large) if large else None)
        return pickle.dumps(outcome, protocol=5), None
    except Exception:  # noqa: BLE001 -- it holds what belongs to the user's notebook; that takes longer
        import cloudpickle

        return bytes(cloudpickle.dumps(outcome)), None


def _written(arrays: Path, large: Sequence[memoryview]) -> tuple[str, tuple[int, ...]]:
    with arrays.open("wb", buffering=0) as file:
        for each in large:
            write_in_pieces(file.fileno(), each)
    return str(arrays), tuple(each.nbytes for each in large)


def received(content: bytes, arrays: tuple[str, tuple[int, ...]] | None, *, mapped: bool) -> Any:
    """The outcome that a worker sent, as of :func:`unpickled`; the file of its arrays is removed."""
    try:
        return unpickled(content, arrays, mapped=mapped)
    finally:
        if arrays is not None:
            os.unlink(arrays[0])  # noqa: PTH108


def unpickled(content: bytes, arrays: tuple[str, tuple[int, ...]] | None, *, mapped: bool) -> Any:
    """What was pickled, with large arrays in the memory that their file is ``mapped`` to, or in memory."""
    buffers: list[memoryview] = []
    if arrays is not None:
        name, sizes = arrays
        with open(name, "rb") as file:  # noqa: PTH123
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if mapped else bytearray(file.read())
        ends = [*accumulate(sizes, initial=0)]
        buffers = [memoryview(memory)[first:last] for first, last in pairwise(ends)]
    with _no_collection():
        return pickle.loads(content, buffers=buffers)  # noqa: S301 -- from a worker of ours


def sent_error(error: BaseException) -> bytes:
    """Return an error as bytes, with the line of the user's code it is of; one that cannot be pickled as its text."""
    import cloudpickle

    own = error.error if isinstance(error, FailedElsewhere) else error
    keep_place(own)
    try:
        content = bytes(cloudpickle.dumps(error))
        pickle.loads(content)  # noqa: S301 -- it was pickled a line above
    except Exception:  # noqa: BLE001 -- whatever the user's own class raises
        plain = BknbError(f"{type(own).__name__}: {error_text(own)}")
        if isinstance(error, FailedElsewhere):
            plain = type(error)(plain, *error.args[1:])  # type: ignore[assignment]  # one with another error in it
        content = bytes(cloudpickle.dumps(plain))
    return content


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let no garbage be collected while many objects are made at once, none of which is any."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class RunsElsewhere:
    """Has units done by an executor while the block runs; leaving it stops what is not done.

    Parameters
    ----------
    executor
        An ``executor=`` option that is not this process.
    content
        Pickled function and arguments, without the number of the unit, which the function gets first.
    count
        How many units there are.
    name
        Returns what a unit is called in messages.
    warn
        Called with a sentence where the executor breaks.
    kept
        What a worker makes once for all its units, and its function gets last: nothing of the user's is in it.
    started
        Workers that have begun before; they end with this.
    """

    def __init__(
        self,
        executor: object,
        content: bytes,
        count: int,
        *,
        name: Callable[[int], str],
        warn: Callable[[str], object],
        kept: object = None,
        started: Sequence[Worker] = (),
    ) -> None:
        self._executor, self._content, self._name, self._warn = executor, content, name, warn
        self._kept, self._started = kept, started
        self._futures: list[Future[Any]] = [Future() for _ in range(count)]
        self._stopped = False
        self.paused = False
        """Whether no further unit begins."""
        self._thread = threading.Thread(target=self._work, name="bknb-workers", daemon=True)

    def __enter__(self) -> RunsElsewhere:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped = True
        self._thread.join()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def stop(self) -> None:
        """Begin no further unit, and leave those that are not done. Thread-safe."""
        self._stopped = True

    async def outcome(self, number: int) -> Any:
        """Return the outcome of a unit, or ``None`` where it was stopped before; raises what it raised."""
        return await asyncio.wrap_future(self._futures[number])

    async def as_they_come(self) -> AsyncIterator[tuple[int, Any]]:
        """Yield number and outcome of each unit in the order in which they are done; an error as the outcome."""

        async def numbered(number: int) -> tuple[int, Any]:
            try:
                return number, await self.outcome(number)
            except Exception as error:  # noqa: BLE001 -- for who looks at all of them
                return number, error

        waiting: list[Coroutine[Any, Any, tuple[int, Any]]] = [numbered(each) for each in range(len(self._futures))]
        for following in asyncio.as_completed(waiting):
            yield await following

    def _hold(self) -> None:
        pause = threading.Event()
        while self.paused and not self._stopped:
            pause.wait(_LOOK_SECONDS)

    def _work(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="bknb-runs-"))
        try:
            given = RunFolder(folder, self._content, self._hold, self._kept)
            executor = executor_elsewhere(self._executor, given, self._warn, self._started)
            try:
                units = [RunUnit(number) for number in range(len(self._futures))]
                for unit, answer in executor.run(units, lambda: self._stopped):
                    self._settle(unit, answer)
            finally:
                executor.close()
        except BaseException as error:  # noqa: BLE001 -- raised where outcomes are waited for
            for future in self._futures:
                if not future.done():
                    future.set_exception(error)
        finally:
            for future in self._futures:
                if not future.done():
                    future.set_result(None)
            for worker in self._started:  # also those that no executor took over
                worker.end()
            shutil.rmtree(folder, ignore_errors=True)

    def _settle(self, unit: RunUnit, answer: Any) -> None:
        future = self._futures[unit.number]
        if isinstance(answer, tuple):
            is_done, content, arrays = answer
            found = received(content, arrays, mapped=os.name == "posix" and len(self._futures) <= most_mapped())
            (future.set_result if is_done else future.set_exception)(found)
        else:
            text = answer or f"the worker died {unit.tries} times with it"
            future.set_exception(BknbError(f"{self._name(unit.number)}: {text}"))
