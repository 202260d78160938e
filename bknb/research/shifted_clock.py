"""The clocks a strategy reads, shifted: whether its answers depend on the time at which it is asked.

The clock of the process stays as it is, other threads read it. In the namespaces of the strategy, and in its variables,
the modules ``time``, ``datetime`` and ``pandas``, their classes and their functions are replaced for as long as the
``with`` block runs. Each reading is further on than the one before, so that durations change as well. What a function
imports inside its body is not replaced, nor what a class of a library reads.
"""

from __future__ import annotations

import datetime
import dis
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

from ..user_code import is_users
from .tracing import CALENDARS, CLOCKS
from .variables import functions, names_by_namespace, variables

SHIFTS: Final = (-40 * 365.25 * 86_400.0, -31.3 * 3_600.0, -3.4 * 86_400.0)
"""Seconds by which clocks are shifted: another year, other hours, another day of the week.

All go back: a strategy that remembers when it was asked last, and waits until some time after, has not to wait later.
"""

_WAITING: Final = frozenset({"wait", "wait_for", "acquire", "join", "select"})
_AMBIGUOUS: Final = frozenset({"join", "select"})  # of text, paths and tables as well
_WAITERS: Final = frozenset(
    {
        *("asyncio", "_asyncio", "anyio", "trio", "concurrent", "multiprocessing", "threading", "_thread"),
        *("queue", "_queue", "select", "selectors", "subprocess"),
    }
)
_UNKNOWN: Final = object()
_FURTHER: Final = 3_600.0  # seconds from one reading to the next


def waiting_calls(function: Callable[..., Any]) -> list[str]:
    """Where a strategy may wait in another way than by ``time.sleep``: for years, on a shifted clock.

    Whether ``join`` and ``select`` wait is known from what they belong to; where that is unknown, from whether the
    strategy names anything that waits.
    """
    own = functions(function)
    names_one = any(_can_wait(one.__globals__.get(name)) for one in own for name in one.__code__.co_names)
    found: dict[str, None] = {}
    for one in own:
        waiting = [one.__code__]
        while waiting:
            code = waiting.pop()
            waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
            found |= dict.fromkeys(_calls(code, one.__globals__, names_one=names_one))
    return list(found)


def _calls(code: CodeType, space: dict[str, Any], *, names_one: bool) -> Iterator[str]:
    owner, spoken = _UNKNOWN, ""
    for each in dis.get_instructions(code):
        name = str(each.argval)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"):
            owner, spoken = space.get(name, _UNKNOWN), name
            if name.partition(".")[0] == "asyncio" or (name in _WAITING and _can_wait(owner)):
                yield name
        elif each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            spoken = f"{spoken}.{name}"
            if name in _WAITING and _may_wait(owner, name, names_one=names_one):
                yield spoken
            owner = vars(owner).get(name, _UNKNOWN) if isinstance(owner, ModuleType) else _UNKNOWN
        elif each.opname == "LOAD_CONST":
            owner, spoken = each.argval, repr(each.argval)
        else:
            owner, spoken = _UNKNOWN, name if each.opname.startswith("LOAD") else ""


def _may_wait(owner: Any, name: str, *, names_one: bool) -> bool:
    if owner is _UNKNOWN:
        return names_one or name not in _AMBIGUOUS
    if name in _AMBIGUOUS or isinstance(owner, ModuleType):
        return _can_wait(owner)
    return _can_wait(owner) or not is_users(type(owner))  # into the methods of the user's own is looked


def _can_wait(value: Any) -> bool:
    """Whether a value is a module that waits for something, one of its functions or classes, or an object of these."""
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] in _WAITERS
    if isinstance(value, (FunctionType, BuiltinFunctionType)):
        return str(value.__module__).partition(".")[0] in _WAITERS
    owner = value if isinstance(value, type) else type(value)
    return any(base.__module__.partition(".")[0] in _WAITERS for base in owner.__mro__)


class ShiftedClock:
    """Clocks shifted by some seconds.

    Parameters
    ----------
    seconds
        Added to what the clock shows, and an hour for each reading before, up to a second before what it is; below 0.

    Attributes
    ----------
    read : set of str
        Names of the clocks that were read while they were shifted, such as ``time.time``.
    """

    def __init__(self, seconds: float) -> None:
        self.read: set[str] = set()
        self._seconds = seconds

    def _next(self, name: str) -> float:
        self.read.add(name)
        self._seconds = min(self._seconds + _FURTHER, -1.0)
        return self._seconds

    @contextmanager
    def in_place(self, function: Callable[..., Any]) -> Iterator[None]:
        """Put the shifted clocks where ``function`` reads clocks, inside the ``with`` block."""
        instead = {id(value): (value, made) for value, made in self._made()}
        with ExitStack() as stack:
            for space, names in names_by_namespace(function):
                for name in names & space.keys():
                    value, made = instead.get(id(space[name]), (None, None))
                    if value is not None:
                        stack.callback(space.__setitem__, name, value)
                        space[name] = made
            for variable in variables(function):
                value, made = instead.get(id(variable.value), (None, None))
                if value is not None:
                    stack.enter_context(variable.replaced(made))
            yield

    def _made(self) -> Iterator[tuple[Any, Any]]:
        """Clocks, classes and modules with clocks, each with what stands in its place."""
        clocks: dict[str, Any] = {name: partial(self._shown, name) for name in CLOCKS}
        clocks |= {name: partial(self._of_now, name) for name in CALENDARS}
        clocks["sleep"] = self._sleep
        yield from ((getattr(time, name), made) for name, made in clocks.items())
        yield time, _Module(time, clocks)
        classes: dict[str, Any] = {"datetime": self._class(datetime.datetime), "date": self._class(datetime.date)}
        yield from ((getattr(datetime, name), made) for name, made in classes.items())
        yield datetime, _Module(datetime, classes)
        pandas = sys.modules.get("pandas")
        if pandas is not None:
            stamp = self._class(pandas.Timestamp)
            yield pandas.Timestamp, stamp
            yield pandas, _Module(pandas, {"Timestamp": stamp})

    def _shown(self, name: str, label: str = "") -> float:
        seconds = self._next(f"time.{label or name}")
        shown: float = getattr(time, name)()
        return shown + (int(seconds * 1e9) if name.endswith("_ns") else seconds)

    def _of_now(self, name: str, *given: Any) -> Any:
        """What a function such as ``time.localtime`` returns: of the shifted present, or of the moment it is given."""
        shown, before = getattr(time, name), CALENDARS[name]
        if len(given) > before and given[before] is not None:
            return shown(*given)
        moment = self._shown("time", label=name)
        return shown(*given[:before], time.localtime(moment) if name in ("asctime", "strftime") else moment)

    def _sleep(self, seconds: float) -> None:
        """Go on at once: what is waited for may be years away on a shifted clock."""
        self._seconds = min(self._seconds + seconds, -1.0)

    def _class(self, owner: Any) -> Any:
        """A class whose ``now``, ``utcnow`` and ``today`` are shifted; it makes and recognises objects of ``owner``."""

        def of(name: str) -> Any:
            def shifted(*zone: Any, **options: Any) -> Any:
                seconds = self._next(f"{owner.__name__}.{name}")
                return getattr(owner, name)(*zone, **options) + datetime.timedelta(seconds=seconds)

            return staticmethod(shifted)

        class Class(type(owner)):  # type: ignore[misc]
            """Its instances are those of ``owner``."""

            def __call__(cls, *args: Any, **options: Any) -> Any:
                return owner(*args, **options)

            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, owner)

        names = [name for name in ("now", "utcnow", "today") if hasattr(owner, name)]
        return Class(owner.__name__, (owner,), {name: of(name) for name in names})


class _Module(ModuleType):
    """A module in which some names stand for something else."""

    def __init__(self, inside: ModuleType, instead: dict[str, Any]) -> None:
        super().__init__(inside.__name__)
        vars(self).update(instead)
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)
