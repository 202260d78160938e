"""Tasks: work in the background with a status and a result, which can be awaited, followed and stopped.

A task runs in a worker thread with its own event loop, so the same call works in a script, in a notebook cell and
inside a coroutine, and never uses the loop of a notebook kernel.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from ..domain.formatting import with_article
from ..domain.signal_events import Mode
from ..errors import UsageError
from ..events import listen as events
from ..events import messages, subjects
from ..events.subject import forget_failures
from ..frontend import frontend
from .candle_memory import MEMORY
from .interrupts import StopOnInterrupt, interrupts

if TYPE_CHECKING:
    from ..market.candles_of_one_symbol import Series

Status: TypeAlias = Literal["ready", "pending", "fulfilled", "rejected"]
R = TypeVar("R")  # the result
E = TypeVar("E")  # the events that ``follow`` yields

LOOK_SECONDS = 0.05  # between two looks of a waiting thread at the end of the work
_SHOW_SECONDS = 0.125
_DRAIN_SECONDS = 60.0  # at most, for listeners to empty their queues at the end of a run


@contextmanager
def _every_so_often(loop: asyncio.AbstractEventLoop, show: Callable[[], None]) -> Iterator[None]:
    """Call ``show`` every 0.125 s while the block runs."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(_SHOW_SECONDS)
            show()

    repeating = loop.create_task(repeat())
    try:
        yield
    finally:
        repeating.cancel()


class _Rebuilt(Generic[R]):
    """A weakly held result, made again when it was garbage collected."""

    def __init__(self, result: R, make: Callable[[], R]) -> None:
        self._known = weakref.ref(result)
        self._make = make
        self._lock = threading.Lock()

    def get(self) -> R:
        """Return the result that is still referenced somewhere, else a new one."""
        with self._lock:
            result = self._known()
            if result is None:
                result = self._make()
                self._known = weakref.ref(result)
            return result


def _clear_variables(error: BaseException) -> None:
    """Clear the local variables that an error's traceback holds; the traceback itself stays."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        traceback.clear_frames(following.__traceback__)
        seen.append(following)
        following = following.__cause__ or following.__context__


def left_text(seconds: float) -> str:
    """What a result says of a listener that was not waited for any longer."""
    return f"a listener did not come to an end within {seconds:g} s after the run; it was left"


class Counted(ABC):
    """Work in a known number of steps.

    Attributes
    ----------
    processed, total : int
        Steps that are done, and all.
    progress : float
        Fraction of the work that is done, 0.0 to 1.0.
    """

    @property
    @abstractmethod
    def processed(self) -> int:
        """Steps that are done."""

    @property
    @abstractmethod
    def total(self) -> int:
        """All steps."""

    @property
    def progress(self) -> float:
        """Fraction of the work that is done, 0.0 to 1.0."""
        return self.processed / self.total if self.total else 1.0


class Task(ABC, Generic[R, E]):
    """Work in the background: a backtest, a live run, a comparison.

    Attributes
    ----------
    symbol, strategy : str
        What is run; ``strategy`` is the name of the walker for a comparison.
    status : {"ready", "pending", "fulfilled", "rejected"}
    done : bool
        Whether it is over.

    Examples
    --------
    >>> import bknb
    >>> task = bknb.Backtest.background(
    ...     "BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> len(task.result().trades), task.status, task.progress
    (0, 'fulfilled', 1.0)
    """

    kind: ClassVar[str] = "run"
    mode: ClassVar[Mode] = "backtest"
    can_pause: ClassVar[bool] = False

    def __init__(self, symbol: str, strategy: str) -> None:
        self.symbol = symbol
        self.strategy = strategy
        self.worked = False
        """Whether the work is done and only its events are still to be delivered."""
        self._started = False
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._result: R | None = None
        self._rebuilt: _Rebuilt[R] | None = None  # replaces the result once its candles were released
        self._on_event: Callable[[E | None], None] | None = None

    # --- what each kind of work does --------------------------------------------------------------------------------

    @abstractmethod
    async def _work(self) -> R:
        """Do the work on the loop of its thread and return the result; events go to ``self._emit``."""

    @abstractmethod
    def _announce_done(self) -> None:
        """Emit the event that says that this kind of work is over."""

    @abstractmethod
    def stop(self, *, now: bool = False) -> None:
        """Start nothing new and end what is in progress; ``now`` ends as soon as possible. From any thread."""

    @property
    def unwatched(self) -> str:
        """What the work left open when a failure ended it, as a sentence; empty when nothing."""
        return ""

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it starts nothing new, ``"now"`` once it ends as soon as possible."""
        return ""

    @property
    def paused(self) -> bool:
        """Whether new entries are held back."""
        return False

    def pause(self) -> None:
        """Hold back new entries until ``resume``; what is open is watched on. From any thread.

        Raises
        ------
        UsageError
            When this kind of work cannot be paused.
        """
        raise UsageError(f"{with_article(self.kind)} cannot be paused\nstop it instead: task.stop()")

    def resume(self) -> None:
        """Continue after ``pause``. From any thread."""
        raise UsageError(f"{with_article(self.kind)} cannot be paused, so there is nothing to resume")

    # --- memory -----------------------------------------------------------------------------------------------------

    def _series(self) -> Iterable[Series]:
        """Return the candles that are held here and can be released; some may be there several times."""
        return ()

    def _candle_bytes(self) -> int:
        """Return the memory of the candles that are held here and can be released, bytes."""
        return sum(each.candle_bytes for each in {id(each): each for each in self._series()}.values())

    def _shared_candles(self) -> object:
        """Return the candles that other tasks may hold too; ``None``: those of this task are its own."""
        return None

    def _rebuilder(self, result: R) -> Callable[[], R] | None:  # noqa: ARG002 -- for subclasses
        """Return a function that makes the result again without holding its candles; ``None``: there is none."""
        return None

    def _release_candles(self) -> None:
        """Release the candles once the work is over; ``result()`` reads them again when they are needed.

        A result that is still referenced keeps its candles, and ``result()`` returns it.
        """
        if self._error is not None:
            _clear_variables(self._error)
        elif self._result is not None and (make := self._rebuilder(self._result)) is not None:
            self._rebuilt = _Rebuilt(self._result, make)
            self._result = None

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self, on_event: Callable[[E | None], None] | None = None) -> Task[R, E]:
        """Start the work; ``on_event`` is called with each event in the worker thread, and with ``None`` at the end."""
        self._on_event = on_event
        self._started = True
        forget_failures()
        self._begin(contextvars.copy_context())  # prints of a strategy land in the cell that started the run
        return self

    def _begin(self, variables: contextvars.Context) -> None:
        name = f"bknb-{self.strategy}-{self.symbol}"
        target = variables.run
        threading.Thread(target=target, args=(self._run_in_thread,), name=name, daemon=True).start()

    def _run_in_thread(self) -> None:
        try:
            self._result = asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 -- raised by ``result()`` and emitted on the exit subject
            self._fail(error)
        finally:
            self._end()

    async def _run_on_shared_loop(self) -> None:
        """Run on a loop that other tasks use too."""
        try:
            self._result = await self._work()
        except BaseException as error:  # noqa: BLE001 -- raised by ``result()`` and emitted on the exit subject
            self._fail(error)
        finally:
            self.worked = True
            # A daemon: a listener that never returns must not keep the process alive.
            end = contextvars.copy_context().run
            threading.Thread(target=end, args=(self._end,), name="bknb-end", daemon=True).start()

    def _emit(self, event: E) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        left = self.unwatched
        event = messages.error_of(error, "run", more=left, symbol=self.symbol, strategy=self.strategy, mode=self.mode)
        subjects.exit.emit(event)
        if left:
            subjects.error.emit(event)

    def _end(self) -> None:
        """Wait until all events are delivered, then announce the end; blocks."""
        try:
            self._deliver()
            self._announce_done()
            if size := self._candle_bytes():
                MEMORY.add(self._release_candles, size, shared=self._shared_candles(), series=self._series)
        finally:
            self._over.set()
            if self._on_event is not None:
                self._on_event(None)
        MEMORY.keep_in_files()  # nobody waits for that

    def _deliver(self) -> None:
        """Wait until all events are delivered, or the time for that is over; blocks."""
        if not events.drain(timeout=_DRAIN_SECONDS):
            self._warn(left_text(_DRAIN_SECONDS))

    def _warn(self, text: str) -> None:
        """Add a warning to the result."""

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """``ready`` before the start, then ``pending``, at the end ``fulfilled`` or ``rejected``."""
        if not self._started:
            return "ready"
        if not self._over.is_set():
            return "pending"
        return "fulfilled" if self._error is None else "rejected"

    @property
    def done(self) -> bool:
        """Whether the work is over."""
        return self._over.is_set()

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work is over; returns whether it is. Can be interrupted from the keyboard."""
        waited = 0.0
        while not self._over.wait(LOOK_SECONDS):
            waited += LOOK_SECONDS
            if timeout is not None and waited >= timeout:
                return False
        return True

    def result(self, timeout: float | None = None) -> R:
        """Wait for the result; raises what ended the work, or ``TimeoutError`` after ``timeout`` seconds."""
        if not self.wait(timeout):
            raise TimeoutError(
                f"the {self.kind} of {self.strategy!r} on {self.symbol} is still running after {timeout} s"
            )
        if self._error is not None:
            raise self._error
        result, rebuilt = self._result, self._rebuilt
        if result is None:
            assert rebuilt is not None  # work that did not fail has one or the other  # noqa: S101
            result = rebuilt.get()
        return result

    def wait_or_stop(self) -> R:
        """Wait for the result; an interrupt from the keyboard stops the work and returns what there is."""
        return frontend().wait(self)

    def __await__(self) -> Generator[Any, None, R]:
        return self._arrive().__await__()

    async def _arrive(self) -> R:
        """Wait on the caller's loop; an interrupt stops the work, any other cancellation only ends the waiting."""
        with interrupts() as interrupted, frontend().awaited(self) as look:
            first = StopOnInterrupt(self.stop, interrupted)
            while not self._over.is_set():
                look()
                try:
                    await asyncio.sleep(LOOK_SECONDS)
                except asyncio.CancelledError:
                    if not first.handles_cancellation():
                        raise
        return self.result()

    def _ipython_display_(self) -> None:
        frontend().show_task(self)

    async def follow(self) -> AsyncGenerator[E, None]:
        """Start the work and yield its events; leaving the loop early stops the work, an interrupt ends both."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[E | None] = asyncio.Queue()

        def on_event(event: E | None) -> None:
            with suppress(RuntimeError):  # the caller's loop is closed already
                loop.call_soon_threadsafe(queue.put_nowait, event)

        self.start(on_event)
        try:
            with interrupts() as interrupted, frontend().awaited(self) as look, _every_so_often(loop, look):
                first = StopOnInterrupt(self.stop, interrupted)
                while True:
                    try:
                        event = await queue.get()
                    except asyncio.CancelledError:
                        if not first.handles_cancellation():
                            raise
                        continue
                    if event is None:
                        break
                    yield event
            self.result()
        finally:
            self.stop(now=True)
            while not self.done:  # noqa: ASYNC110 -- the event is set in another thread
                await asyncio.sleep(LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.strategy!r} on {self.symbol}: {self.status}>"
