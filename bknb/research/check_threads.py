"""One look-ahead check at a time, and the threads that belong to it.

A check hands invented data to the strategy it asks. Other threads of the process, such as those in which live runs ask
their strategies, must read what there is, whenever they were started. So a thread belongs to the check by descent: the
one that asks does, and what the user's code starts from there, directly or through a pool.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from types import FrameType
from typing import Any, Final

from ..errors import UsageError
from ..process import after_fork
from ..user_code import is_bknb_file, is_users_file
from .calling_functions import Scope

_LOOK_SECONDS: Final = 0.05
_LATE: Final = 40  # looks after which an interrupted check does not end by itself


class CheckStopped(BaseException):
    """The check was interrupted; no ``except Exception`` of a strategy or an experiment holds it up."""


class Check:
    """One look-ahead check: it is alone in its process, and its threads are known.

    Attributes
    ----------
    scopes : sequence of Scope
        Of the functions that asked for it; none when it has ended.
    over : bool
        Whether it has ended or was interrupted: its threads read what there is from then on.
    """

    def __init__(self, scopes: Sequence[Scope] = ()) -> None:
        self.over, self.scopes = False, scopes

    def go_on(self) -> None:
        """Raise ``CheckStopped`` when the check was interrupted."""
        if self.over:
            raise CheckStopped

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make the calling thread the one that asks, inside the ``with`` block; other checks are waited for.

        Raises
        ------
        CheckStopped
            When it was interrupted before its turn came.
        UsageError
            When a check that was interrupted before does not end, because its strategy gives no answer.
        """
        global _current  # noqa: PLW0603 -- there is one at a time
        turn, late = _turn, 0
        while not turn.acquire(timeout=_LOOK_SECONDS):
            self.go_on()
            late = late + 1 if _current is not None and _current.over else 0
            if late > _LATE:
                raise UsageError(
                    "look-ahead checks run one at a time, and one that was interrupted still waits for an answer of "
                    "its strategy, whose variables hold changed data until then\n"
                    "wait for the answer and check again, or restart Python"
                )
        before: list[tuple[Any, str, Any]] = []
        try:
            self.go_on()
            _current = self
            for owner, name, made in _REPLACED:
                before.append((owner, name, vars(owner).get(name)))
                setattr(owner, name, made(getattr(owner, name)))
            _here.check = self
            yield
        finally:
            _here.check = None
            self.over, self.scopes = True, ()
            for owner, name, function in before:
                if function is None:  # it was inherited
                    delattr(owner, name)
                else:
                    setattr(owner, name, function)
            turn.release()


class _Here(threading.local):
    check: Check | None = None
    is_giving = False  # work to a pool: a thread that the pool starts for it is for the work of others as well


_here: Final = _Here()
_turn = threading.Lock()
_current: Check | None = None


@after_fork
def _forget() -> None:
    """The check stayed with the parent; its lock would be held for ever."""
    global _turn, _current
    _turn, _current = threading.Lock(), None


def belongs(here: _Here = _here) -> bool:
    """Whether the calling thread belongs to a check that goes on."""
    check = here.check
    return check is not None and not check.over


def called_by_user(frame: FrameType | None, passing: Set[str] = frozenset()) -> bool:
    """Whether the user's code made a call, and not bknb for it.

    Parameters
    ----------
    frame
        The innermost frame of the call; those of libraries are passed by.
    passing
        Files of bknb that are passed by as well.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if is_users_file(name):
            return True
        if is_bknb_file(name) and name not in passing:
            return name == __file__  # what the user's code gave to a thread or a pool
        frame = frame.f_back
    return False


_THIS_FILE: Final = frozenset({__file__})


def _of_caller() -> Check | None:
    """The check to which what is started now belongs."""
    return _here.check if belongs() and called_by_user(sys._getframe(2), _THIS_FILE) else None


def _starter(function: Callable[[threading.Thread], None]) -> Any:
    @functools.wraps(function)
    def start(thread: threading.Thread) -> None:
        check, own = None if _here.is_giving else _of_caller(), thread.run

        def run() -> None:
            vars(thread).pop("run", None)
            _here.check = check
            own()

        if check is not None:
            vars(thread)["run"] = run
        function(thread)

    return start


def _giver(function: Callable[..., Any]) -> Any:
    """For ``submit`` and its like: what a thread of the pool does for the check belongs to it, the thread does not."""

    @functools.wraps(function)
    def give(pool: Any, /, *args: Any, **options: Any) -> Any:
        check = _of_caller()
        work: Any = args[0] if args else options.get("func")

        def run(*given: Any, **named: Any) -> Any:
            before, _here.check = _here.check, check
            try:
                return work(*given, **named)
            finally:
                _here.check = before

        if callable(work):
            args, options = ((run, *args[1:]), options) if args else (args, options | {"func": run})
        _here.is_giving = True
        try:
            return function(pool, *args, **options)
        finally:
            _here.is_giving = False

    return give


_REPLACED: Final[tuple[tuple[type, str, Callable[[Any], Any]], ...]] = (
    (threading.Thread, "start", _starter),
    (ThreadPoolExecutor, "submit", _giver),
    *((ThreadPool, name, _giver) for name in ("apply_async", "_map_async", "imap", "imap_unordered")),
)
