"""The clocks a strategy reads, shifted: whether its answers depend on the time at which it is asked.

The clock of the process stays as it is, other threads read it. In the namespaces of the strategy, and in its variables,
the modules ``time``, ``datetime`` and ``pandas``, their classes and their functions are replaced for as long as the
``with`` block runs. Each reading is further on than the one before, so that durations change as well. What a function
imports inside its body is not replaced, nor what a class of a library reads.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any, Final

from .tracing import CLOCKS
from .variables import functions, names_by_namespace, variables

SHIFTS: Final = (-40 * 365.25 * 86_400.0, -31.3 * 3_600.0, -3.4 * 86_400.0)
"""Seconds by which clocks are shifted: another year, other hours, another day of the week.

All go back: a strategy that remembers when it was asked last, and waits until some time after, has not to wait later.
"""

_WAITING: Final = frozenset({"asyncio", "wait", "wait_for", "acquire", "join", "select"})
_FURTHER: Final = 3_600.0  # seconds from one reading to the next


def waits(function: Callable[..., Any]) -> bool:
    """Whether a strategy may wait in another way than by ``time.sleep``: for years, on a shifted clock."""
    return any(not _WAITING.isdisjoint(one.__code__.co_names) for one in functions(function))


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

    def _shown(self, name: str) -> float:
        seconds = self._next(f"time.{name}")
        shown: float = getattr(time, name)()
        return shown + (int(seconds * 1e9) if name.endswith("_ns") else seconds)

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
