"""Work in the background: its status, its result, and how to stop it.

Work lives in a worker thread with an event loop of its own, so the same call works in a script, in a notebook cell
and inside a coroutine, and never touches the loop of a notebook kernel.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from ..domain.signal import Mode
from ..errors import UsageError
from ..events import listen as events
from ..events import messages, subjects
from ..frontend import frontend
from ..user_code import where_it_failed
from .candle_memory import MEMORY
from .interrupts import interrupts

Status: TypeAlias = Literal["ready", "pending", "fulfilled", "rejected"]
R = TypeVar("R")  # what it comes to
E = TypeVar("E")  # what happens on the way

LOOK_SECONDS = 0.05  # a waiting main thread looks this often whether it was interrupted
_SHOW_SECONDS = 0.125
_DRAIN_SECONDS = 60.0  # listeners have this long to work off their queues at the end of a run


def _go_on() -> None:
    """Take back the cancellation that an interrupt was turned into."""
    waiting = asyncio.current_task()
    assert waiting is not None  # only a task can be cancelled  # noqa: S101
    waiting.uncancel()


@contextmanager
def _regularly(loop: asyncio.AbstractEventLoop, look: Callable[[], None]) -> Iterator[None]:
    """Look again and again while the block waits for something else."""

    async def again() -> None:
        while True:
            await asyncio.sleep(_SHOW_SECONDS)
            look()

    looking = loop.create_task(again())
    try:
        yield
    finally:
        looking.cancel()


class _Light(Generic[R]):
    """A result that is made again when nobody holds it any more."""

    def __init__(self, result: R, make: Callable[[], R]) -> None:
        self._known = weakref.ref(result)
        self._make = make
        self._lock = threading.Lock()

    def get(self) -> R:
        """The result that somebody still holds, else a new one."""
        with self._lock:
            result = self._known()
            if result is None:
                result = self._make()
                self._known = weakref.ref(result)
            return result


def _forget_variables(error: BaseException) -> None:
    """Let go of what the functions an error came through had in their variables; its traceback stays."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        traceback.clear_frames(following.__traceback__)
        seen.append(following)
        following = following.__cause__ or following.__context__


class Task(ABC, Generic[R, E]):
    """Work that goes on in the background: a backtest, a live run, a comparison.

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
        """Whether the work is done and only listeners have to hear of it."""
        self._started = False
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._result: R | None = None
        self._light: _Light[R] | None = None  # what stands for the result once its candles were let go
        self._heard: Callable[[E | None], None] | None = None

    # --- what each kind of work does --------------------------------------------------------------------------------

    @abstractmethod
    async def _work(self) -> R:
        """Do the work on the loop of its thread; everything worth hearing goes to ``self._hear``."""

    @abstractmethod
    def _announce_done(self) -> None:
        """Tell the subject of this kind of work that it is over."""

    @abstractmethod
    def stop(self, *, now: bool = False) -> None:
        """Begin nothing new and end what is under way; ``now`` leaves as soon as possible. From any thread."""

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it begins nothing new any more, ``"now"`` once it leaves as soon as possible."""
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
        raise UsageError(f"a {self.kind} cannot be paused\nstop it instead: task.stop()")

    def resume(self) -> None:
        """Go on after ``pause``. From any thread."""
        raise UsageError(f"a {self.kind} cannot be paused, so there is nothing to resume")

    # --- memory -----------------------------------------------------------------------------------------------------

    def _candle_bytes(self) -> int:
        """The memory that candles take which are held here and can be let go, bytes."""
        return 0

    def _lighter(self, result: R) -> Callable[[], R] | None:  # noqa: ARG002 -- for those who can
        """A function that gives the result again without holding its candles meanwhile; ``None``: there is none."""
        return None

    def _let_go(self) -> None:
        """Hold no candles any more, once it is over; ``result()`` reads them again when somebody asks for them.

        Whoever holds the result itself keeps its candles, and gets the same result again.
        """
        if self._error is not None:
            _forget_variables(self._error)
        elif self._result is not None and (make := self._lighter(self._result)) is not None:
            self._light = _Light(self._result, make)
            self._result = None

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self, heard: Callable[[E | None], None] | None = None) -> Task[R, E]:
        """Start working; ``heard`` gets everything that happens, in the worker thread, and ``None`` at the end."""
        self._heard = heard
        self._started = True
        self._begin(contextvars.copy_context())  # prints of a strategy land in the cell that started the run
        return self

    def _begin(self, variables: contextvars.Context) -> None:
        name = f"bknb-{self.strategy}-{self.symbol}"
        target = variables.run
        threading.Thread(target=target, args=(self._run_in_thread,), name=name, daemon=True).start()

    def _run_in_thread(self) -> None:
        try:
            self._result = asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 -- told to whoever waits, and on the exit subject
            self._fail(error)
        finally:
            self._end()

    async def _run_on_floor(self) -> None:
        """The same on a loop that carries other work too."""
        try:
            self._result = await self._work()
        except BaseException as error:  # noqa: BLE001 -- told to whoever waits, and on the exit subject
            self._fail(error)
        finally:
            self.worked = True
            # A daemon: a listener that never comes to an end must not keep the process from ending.
            end = contextvars.copy_context().run
            threading.Thread(target=end, args=(self._end,), name="bknb-end", daemon=True).start()

    def _hear(self, happened: E) -> None:
        if self._heard is not None:
            self._heard(happened)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        if subjects.exit.heard:
            subjects.exit.emit(
                messages.ErrorEvent(
                    kind="run",
                    message=f"{type(error).__name__}: {error}",
                    where=where_it_failed(error),
                    symbol=self.symbol,
                    strategy=self.strategy,
                    mode=self.mode,
                )
            )

    def _end(self) -> None:
        """Wait until everybody has heard everything, then announce the end; blocks."""
        try:
            if not events.drain(timeout=_DRAIN_SECONDS):
                self._warn(f"a listener did not come to an end within {_DRAIN_SECONDS:g} s after the run; it was left")
            self._announce_done()
            if size := self._candle_bytes():
                MEMORY.add(self._let_go, size)
        finally:
            self._over.set()
            if self._heard is not None:
                self._heard(None)

    def _warn(self, text: str) -> None:
        """What a reader of the result should know."""

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
        result, light = self._result, self._light
        if result is None:
            assert light is not None  # work that did not fail has one or the other  # noqa: S101
            result = light.get()
        return result

    def wait_or_stop(self) -> R:
        """Wait for the result in the foreground; an interrupt from the keyboard stops the work and gives what is."""
        return frontend().wait(self)

    def __await__(self) -> Generator[Any, None, R]:
        return self._arrive().__await__()

    async def _arrive(self) -> R:
        """Wait on the caller's loop. An interrupt stops the work and gives what is; another cancellation leaves it."""
        left = False
        with interrupts() as interrupted, frontend().awaited(self) as look:
            while not self._over.is_set():
                look()
                try:
                    await asyncio.sleep(LOOK_SECONDS)
                except asyncio.CancelledError:
                    if left or not interrupted():
                        raise
                    left = True
                    _go_on()
                    self.stop(now=True)
        return self.result()

    def _ipython_display_(self) -> None:
        frontend().show_task(self)

    async def follow(self) -> AsyncGenerator[E, None]:
        """Start, and give what happens as it happens; leaving the loop early stops the work, an interrupt ends both."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[E | None] = asyncio.Queue()

        def heard(happened: E | None) -> None:
            with suppress(RuntimeError):  # the caller's loop is closed already: nobody listens any more
                loop.call_soon_threadsafe(queue.put_nowait, happened)

        self.start(heard)
        left = False
        try:
            with interrupts() as interrupted, frontend().awaited(self) as look, _regularly(loop, look):
                while True:
                    try:
                        happened = await queue.get()
                    except asyncio.CancelledError:
                        if left or not interrupted():
                            raise
                        left = True
                        _go_on()
                        self.stop(now=True)
                        continue
                    if happened is None:
                        break
                    yield happened
            self.result()
        finally:
            self.stop(now=True)
            while not self.done:  # noqa: ASYNC110 -- the event is set in another thread
                await asyncio.sleep(LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.strategy!r} on {self.symbol}: {self.status}>"
