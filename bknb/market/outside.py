"""Calls of code that is not bknb's, in threads of their own: one that blocks holds up nobody else, and can be given up.

A plain function gets a thread for each call. What is asynchronous runs on an event loop in a thread of its own, always
the same one, because what it awaits, such as a connection, may belong to that loop. A loop that does not answer when a
call on it is given up is left alone, and the next call gets another.

A thread that computes without end is ended when its call is given up; one that waits outside of Python stays.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import BknbError

if TYPE_CHECKING:
    from ..ports import CandleSource
    from .candles import Candles

T = TypeVar("T")

_MOST_LEFT: Final = 8  # calls that were given up and have not returned; with more of them nothing is called any more
_AT_ONCE: Final = 8  # plain calls of one owner at the same time, where that is limited


class _GivenUp(BaseException):
    """Raised in a thread whose call was given up, wherever it is; bknb alone sees it."""


class _Call:
    """One plain call in its thread: ended while it runs, and never afterwards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None

    def run(self, function: Callable[[], T]) -> T:
        self._thread = threading.get_ident()
        try:
            return function()
        finally:
            with self._lock:
                self._thread = None

    def end(self) -> None:
        with self._lock:
            if self._thread is not None:
                _end_thread(self._thread)


def _end_thread(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_GivenUp))


class Outside:
    """Where the functions of one owner, such as a strategy or an exchange, are called.

    Parameters
    ----------
    name
        Whose calls these are, for messages and the names of threads.
    limited
        Whether at most eight plain calls are made at the same time; others wait.

    Examples
    --------
    >>> calls = Outside("an example")
    >>> asyncio.run(calls.plain(lambda: 6 * 7))
    42
    >>> asyncio.run(calls.awaited(lambda: asyncio.sleep(0, "done")))
    'done'
    """

    def __init__(self, name: str, *, limited: bool = False) -> None:
        self.name = name
        self._limited = limited
        self._lock = threading.Lock()
        self._left = 0  # calls and loops that were given up and have not come back
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None  # of the loop
        self._answers: threading.Event | None = None  # set once the loop answers after a call was given up
        self._process = 0
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy calls in threads of its own."""
        return Outside, (self.name,), {"_limited": self._limited}

    async def plain(self, function: Callable[[], T]) -> T:
        """What a plain function returns; it is called in a thread, with the caller's context variables.

        Raises
        ------
        BknbError
            Too many earlier calls have not returned.
        """
        if not self._limited:
            return await self._in_thread(function)
        loop = asyncio.get_running_loop()
        async with self._slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE)):
            return await self._in_thread(function)

    async def awaited(self, start: Callable[[], Awaitable[T]]) -> T:
        """What an awaitable gives; it is made and awaited on the loop of this owner.

        Raises
        ------
        BknbError
            Too many earlier calls have not returned.
        """
        loop = self._own_loop()
        running = asyncio.run_coroutine_threadsafe(_finished(start), loop)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if running.cancelled() and task is not None and not task.cancelling():
                raise BknbError("it was cancelled, and not by who called it") from None
            answers = threading.Event()
            loop.call_soon_threadsafe(answers.set)
            with self._lock:
                if loop is self._loop:
                    self._answers = answers
            raise

    async def either(self, function: Callable[[], Any]) -> Any:
        """What a plain function returns, or what the awaitable gives that it returns."""
        answer = await self.plain(function)
        return await self.awaited(lambda: answer) if inspect.isawaitable(answer) else answer

    async def _in_thread(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()
        variables = copy_context()
        self._check()
        call = _Call()

        def settle(value: Any, error: BaseException | None) -> None:
            if answered.done():  # given up
                self._count(-1)
            elif error is None:
                answered.set_result(value)
            else:
                answered.set_exception(error)

        def work() -> None:
            value: Any = None
            error: BaseException | None = None
            try:
                try:
                    value = variables.run(call.run, function)
                except _GivenUp:
                    raise
                except BaseException as raised:  # noqa: BLE001 -- handed to whoever asked
                    error = _carried(raised)
            except _GivenUp:  # it may arrive a little after the call
                error = TimeoutError()
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:  # nobody is there any more
                self._count(-1)

        threading.Thread(target=work, name=f"bknb-{self.name}", daemon=True).start()
        try:
            return await answered
        except asyncio.CancelledError:
            self._count(1)
            call.end()
            raise

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._process != os.getpid():  # the thread stayed with the parent
                self._loop = self._answers = None
                self._process, self._left = os.getpid(), 0
            blocked = self._answers is not None and not self._answers.is_set()
            if self._loop is not None and not blocked:
                return self._loop
        self._check()
        if blocked and self._loop is not None:
            self._leave(self._loop)
        with self._lock:
            self._answers, self._loop = None, asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=f"bknb-{self.name}", daemon=True)
            self._thread.start()
            weakref.finalize(self, _stop, self._loop)
            return self._loop

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a blocked loop end what blocks it, if it computes, and end itself when its other calls are done."""
        self._count(1)
        loop.call_soon_threadsafe(self._count, -1)
        loop.call_soon_threadsafe(_end_when_idle, loop)
        if self._thread is not None and self._thread.ident is not None and self._thread.is_alive():
            _end_thread(self._thread.ident)

    def _count(self, change: int) -> None:
        with self._lock:
            self._left += change

    def _check(self) -> None:
        if self._left >= _MOST_LEFT:
            raise BknbError(
                f"{self.name} is not called: {self._left} earlier calls of it have not returned\n"
                "give what it waits for a limit of time, or let it end its loop"
            )


async def _finished(start: Callable[[], Awaitable[T]]) -> T:
    try:
        return await start()
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as raised:
        raise _carried(raised) from raised


def _carried(raised: BaseException) -> BaseException:
    """An error that a future can carry, and that ends no more than this call: exit() and the like would."""
    if isinstance(raised, StopIteration) or not isinstance(raised, Exception):
        return BknbError(f"it raised {raised!r}")
    return raised


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while not loop.is_closed():
        try:
            loop.run_forever()
            loop.close()
        except BaseException:  # noqa: BLE001, S112 -- of a task somebody left behind; the others go on
            continue


def _end_when_idle(loop: asyncio.AbstractEventLoop) -> None:
    async def wait_and_stop() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        loop.stop()

    _ending.append(loop.create_task(wait_and_stop()))
    _ending[-1].add_done_callback(_ending.remove)


_ending: Final[list[asyncio.Task[None]]] = []  # a loop keeps only weak references


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        try:
            loop.call_soon_threadsafe(loop.stop)
        except RuntimeError:
            return  # it was closed meanwhile


_OWNERS: Final[dict[int, tuple[weakref.ref[Any], Outside]]] = {}
_owners_lock = threading.Lock()


def outside_of(owner: object, name: str) -> Outside:
    """Where the functions of an owner are called: the same for everybody who calls them, as long as the owner lives."""
    with _owners_lock:
        known = _OWNERS.get(id(owner))
        if known is not None and known[0]() is owner:
            return known[1]
        made, key = Outside(name), id(owner)
        with suppress(TypeError):  # what cannot be watched: whoever asked keeps what it got
            _OWNERS[key] = weakref.ref(owner, lambda _: _OWNERS.pop(key, None)), made
        return made


async def candles_from(source: CandleSource, symbol: str, interval: str, since: int, limit: int) -> Candles:
    """Up to ``limit`` candles of a source from ``since`` on (UTC ms); one that is not bknb's own is called outside."""
    if type(source).__module__.startswith("bknb."):
        return await source.get_candles(symbol, interval, since, limit)
    calls = outside_of(source, f"exchange-{source.name}")
    return await calls.awaited(lambda: source.get_candles(symbol, interval, since, limit))
