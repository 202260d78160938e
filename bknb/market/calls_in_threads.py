"""Calls of code that is not bknb's, in threads of their own: one that blocks holds up nobody else, and can be given up.

A plain function gets a thread for each call. What is asynchronous runs on an event loop in a thread of its own, always
the same one, because what it awaits, such as a connection, may belong to that loop. A loop that does not answer for a
second after a call on it was given up is left alone, and the next call gets another.

A thread that computes without end is ended when its call is given up; one that waits outside of Python stays.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import BknbError
from .system_clock import stopwatch

if TYPE_CHECKING:
    from ..ports import CandleSource
    from .candles import Candles

T = TypeVar("T")

_MOST_LEFT: Final = 8  # calls that have not returned since one has; behind them one is made now and then
_MOST_THREADS: Final = 64  # of calls that were given up and have not returned, however often others return
_PROBE_SECONDS: Final = 600.0
_ANSWER_SECONDS: Final = 1.0
_AT_ONCE: Final = 8  # plain calls of one owner at the same time, where that is limited


class _GivenUp(BaseException):
    """Raised in a thread whose call was given up, wherever it is; bknb alone sees it."""


class _Call:
    """One plain call in its thread: ended while it runs, never afterwards; given up before it begins, it does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._given_up = False

    def run(self, function: Callable[[], T]) -> T:
        with self._lock:
            if self._given_up:
                raise _GivenUp
            self._thread = threading.get_ident()
        try:
            return function()
        finally:
            with self._lock:
                self._thread = None

    def end(self) -> None:
        with self._lock:
            self._given_up = True
            if self._thread is not None:
                _end_thread(self._thread)


def _end_thread(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_GivenUp))


class _OwnLoop:
    """An event loop in a thread of its own, until it is left or its owner is gone."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.process = os.getpid()
        self.left = False
        self.asked_at = 0.0
        self.answer: Future[None] | None = None  # what it was asked for when a call on it was given up last
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    @property
    def answers(self) -> bool:
        """Whether it has answered since a call on it was given up."""
        return self.answer is None or self.answer.done()

    def ask(self) -> None:
        """Ask it for an answer, unless it owes one."""
        if self.answers:
            answer: Future[None] = Future()
            with suppress(RuntimeError):  # it was closed meanwhile
                self.loop.call_soon_threadsafe(answer.set_result, None)
                self.answer, self.asked_at = answer, stopwatch()

    def leave(self) -> None:
        """Have it end what blocks it, if that computes, and end itself when its other calls are done."""
        self.left = True
        if self.thread.ident is not None and self.thread.is_alive():
            _end_thread(self.thread.ident)
        self.stop()

    def stop(self) -> None:
        """Have it end; one that was left, when its other calls are done."""
        with suppress(RuntimeError):  # it was closed meanwhile
            for _ in range(2):  # what ends the blocked call may hit one of the two instead
                self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        ended, others_end = False, None
        while not ended:
            try:
                if self.left:
                    if others_end is None or others_end.done():
                        others_end = self.loop.create_task(_others_end())
                    self.loop.run_until_complete(others_end)
                else:
                    self.loop.run_forever()
                ended = others_end is not None or not self.left
            except BaseException:  # noqa: BLE001, S112 -- of a task somebody left behind; the others go on
                continue
        self.loop.close()


async def _others_end() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


class UserCalls:
    """The calls of the functions of one owner, such as a strategy or an exchange, outside of the caller's loop.

    After eight calls that were given up and have not returned, one more is made every ten minutes. Once that one
    returns, eight more may fail, until 64 threads are left behind.

    Parameters
    ----------
    name
        Whose calls these are, for messages and the names of threads.
    limited
        Whether at most eight plain calls are made at the same time; others wait.
    answer_seconds
        How long a loop has for an answer after a call on it was given up; then it is left.
    probe_seconds
        How long after the last call another one is made, when too many have not returned.

    Examples
    --------
    >>> calls = UserCalls("an example")
    >>> asyncio.run(calls.in_thread(lambda: 6 * 7))
    42
    >>> asyncio.run(calls.on_loop(lambda: asyncio.sleep(0, "done")))
    'done'
    """

    def __init__(
        self,
        name: str,
        *,
        limited: bool = False,
        answer_seconds: float = _ANSWER_SECONDS,
        probe_seconds: float = _PROBE_SECONDS,
    ) -> None:
        self.name = name
        self._limited = limited
        self._answer_seconds, self._probe_seconds = answer_seconds, probe_seconds
        self._lock = threading.Lock()
        self._left: list[threading.Thread] = []  # of calls and loops that were given up and have not come back
        self._most_left = _MOST_LEFT
        self._called_at = 0.0
        self._own: _OwnLoop | None = None
        self._finalizer: Callable[[], object] | None = None
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy calls in threads of its own."""
        kept = ("_limited", "_answer_seconds", "_probe_seconds")
        return UserCalls, (self.name,), {name: getattr(self, name) for name in kept}

    async def in_thread(self, function: Callable[[], T]) -> T:
        """What a plain function returns; it is called in a thread, with the caller's context variables.

        Raises
        ------
        BknbError
            Too many earlier calls have not returned.
        """
        if not self._limited:
            return await self._in_new_thread(function)
        loop = asyncio.get_running_loop()
        async with self._slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE)):
            return await self._in_new_thread(function)

    async def on_loop(self, start: Callable[[], Awaitable[T]]) -> T:
        """What an awaitable gives; it is made and awaited on the loop of this owner.

        Raises
        ------
        BknbError
            Too many earlier calls have not returned.
        """
        given_up = threading.Event()
        own, running = await self._submitted(lambda: _finished(start, self.name, given_up))
        try:
            value = await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if running.cancelled() and task is not None and not task.cancelling():
                raise BknbError("it was cancelled, and not by who called it") from None
            given_up.set()  # before the loop is asked: behind its answer the call does not begin any more
            with self._lock:
                own.ask()
            raise
        except _GivenUp:
            raise BknbError("it was ended with another call of it, which blocked their loop") from None
        self._returned()
        return value

    async def call(self, function: Callable[[], Any], *, is_async: bool = False) -> Any:
        """What a function gives, called in a thread; the awaitable it returns is awaited on the loop of this owner.

        ``is_async`` says that it is a coroutine function: then it is called on that loop, and no thread is needed.

        Raises
        ------
        BknbError
            Too many earlier calls have not returned.
        """
        if is_async:
            return await self.on_loop(function)
        answer = await self.in_thread(function)
        return await self.on_loop(lambda: answer) if inspect.isawaitable(answer) else answer

    async def _in_new_thread(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()
        variables = copy_context()
        with self._lock:
            self._check()
        call = _Call()

        def settle(value: Any, error: BaseException | None) -> None:
            if answered.done():  # given up
                return
            self._returned()
            if error is None:
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
                    error = _carried(raised, self.name)
            except _GivenUp:  # it may arrive a little after the call
                error = TimeoutError()
            with suppress(RuntimeError):  # nobody is there any more
                loop.call_soon_threadsafe(settle, value, error)

        thread = threading.Thread(target=work, name=f"bknb-{self.name}", daemon=True)
        thread.start()
        try:
            return await answered
        except asyncio.CancelledError:
            with self._lock:
                self._left.append(thread)
            call.end()
            raise

    async def _submitted(self, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[_OwnLoop, Future[T]]:
        """Make a call on the loop of this owner, which has a moment to answer if a call on it was given up before."""
        doubted: _OwnLoop | None = None
        while True:
            with self._lock:
                own = self._loop_to_use(doubted)
                if own.answers:
                    return own, asyncio.run_coroutine_threadsafe(call(), own.loop)
                answer, seconds = own.answer, own.asked_at + self._answer_seconds - stopwatch()
            if answer is not None:
                await asyncio.wait([asyncio.wrap_future(answer)], timeout=max(0.0, seconds))
            doubted = own

    def _loop_to_use(self, doubted: _OwnLoop | None) -> _OwnLoop:
        """The loop of this owner; with the lock held. One that has not answered, ``doubted``, is left for another."""
        own = self._own
        if own is not None and own.process != os.getpid():  # the thread stayed with the parent
            own = None
        if own is not None and (own.answers or own is not doubted):
            return own
        self._check()
        if self._finalizer is not None:
            self._finalizer()
        if own is not None:
            self._left.append(own.thread)
            own.leave()
        self._own = _OwnLoop(f"bknb-{self.name}")
        self._finalizer = weakref.finalize(self, self._own.stop).detach
        return self._own

    def _returned(self) -> None:
        """Note that a call has returned in time: those that are left behind are not all there is."""
        if self._left:
            with self._lock:
                self._forget_ended()
                self._most_left = min(len(self._left) + _MOST_LEFT, _MOST_THREADS)

    def _forget_ended(self) -> None:
        self._left = [thread for thread in self._left if thread.is_alive()]
        if not self._left:
            self._most_left = _MOST_LEFT

    def _check(self) -> None:
        """Raise ``BknbError`` where too many calls have not returned; with the lock held."""
        self._forget_ended()
        left, now = len(self._left), stopwatch()
        since, self._called_at = self._called_at, now
        if left < self._most_left or (left < _MOST_THREADS and now - since >= self._probe_seconds):
            return
        self._called_at = since
        raise BknbError(
            f"{self.name} is not called: {left} earlier calls of it have not returned\n"
            "give what it waits for a limit of time, or let it end its loop"
        )


async def _finished(start: Callable[[], Awaitable[T]], name: str, given_up: threading.Event) -> T:
    if given_up.is_set():
        raise asyncio.CancelledError
    try:
        return await start()
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as raised:
        raise _carried(raised, name) from raised


def _carried(raised: BaseException, name: str) -> BaseException:
    """An error that a future can carry, and that ends no more than this call: exit() and the like would."""
    if isinstance(raised, StopIteration) or not isinstance(raised, Exception):
        return BknbError(f"{name} raised {raised!r}, which is no error to be handled\nraise an ordinary exception")
    return raised


_OWNERS: Final[dict[int, tuple[Callable[[], object], UserCalls]]] = {}
_owners_lock = threading.Lock()


def user_calls_of(owner: object, name: str) -> UserCalls:
    """The calls of the functions of an owner: the same for everybody who makes them, as long as the owner lives."""
    with _owners_lock:
        known = _OWNERS.get(id(owner))
        if known is not None and known[0]() is owner:
            return known[1]
        made, key = UserCalls(name), id(owner)
        try:
            alive: Callable[[], object] = weakref.ref(owner, lambda _: _OWNERS.pop(key, None))
        except TypeError:  # whether it lives cannot be seen, so it is kept
            alive = partial(_kept, owner)
        _OWNERS[key] = alive, made
        return made


def _kept(owner: object) -> object:
    return owner


def ships_with_bknb(thing: object) -> bool:
    """Whether the class of a source, a broker or a store is bknb's own; any other may block, or raise anything.

    Examples
    --------
    >>> from bknb.market.demo import DemoSource
    >>> ships_with_bknb(DemoSource()), ships_with_bknb("a text")
    (True, False)
    """
    return type(thing).__module__.startswith("bknb.")


async def candles_from(source: CandleSource, symbol: str, interval: str, since: int, limit: int) -> Candles:
    """Up to ``limit`` candles of a source from ``since`` on (UTC ms); one that is not bknb's own is called outside."""
    if ships_with_bknb(source):
        return await source.get_candles(symbol, interval, since, limit)
    calls = user_calls_of(source, f"exchange-{source.name}")
    return await calls.on_loop(lambda: source.get_candles(symbol, interval, since, limit))
