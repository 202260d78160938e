"""Tracing of what a strategy reads besides its candles: clocks and files while it runs, and data in its variables."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from ..user_code import is_bknb_file, is_installed_file, is_users, is_users_file

_CLOCKS: Final = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"})
_NOW: Final = frozenset({"now", "utcnow", "today"})
_CODE: Final = (".py", ".pyc", ".so", ".pyd", ".dll", ".ipynb")
_DEVICES: Final = ("/dev/", "/proc/", "/sys/")
_REACHES: Final = {
    "socket.connect": "the network",
    "subprocess.Popen": "another program",
    "os.system": "another program",
    "sqlite3.connect": "a database",
}


@dataclass(slots=True)
class Tracer:
    """Clocks and files that a strategy read while it was traced.

    Attributes
    ----------
    clocks, files : dict of str to str
        Name of the clock or file, and the line that read it.
    """

    clocks: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Trace this thread inside the ``with`` block."""
        _install()
        before = sys.getprofile()
        _tracers[threading.get_ident()] = self
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(before)
            del _tracers[threading.get_ident()]

    def _called(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or not is_users_file(frame.f_code.co_filename):
            return
        name, owner = getattr(arg, "__name__", ""), getattr(arg, "__self__", None)
        if name in _NOW and isinstance(owner, type) and issubclass(owner, date):
            self.clocks.setdefault(f"{owner.__name__}.{name}", _line(frame))
        elif name in _CLOCKS and getattr(owner, "__name__", "") == "time":
            self.clocks.setdefault(f"time.{name}", _line(frame))

    def on_audit_event(self, event: str, args: tuple[Any, ...]) -> None:
        """Note an audit event of the traced thread: a file opened, or the network or another program used."""
        path = _data_file(args) if event == "open" else _REACHES.get(event, "")
        if not path:
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not is_users_file(frame.f_code.co_filename):
            if is_bknb_file(frame.f_code.co_filename) and "tracing" not in frame.f_code.co_filename:
                return  # one of bknb's own sources fetches candles
            frame = frame.f_back
        if frame is not None:
            self.files.setdefault(path, _line(frame))


def _data_file(args: tuple[Any, ...]) -> str:
    path, mode = str(args[0]), args[1] if len(args) > 1 else None
    if isinstance(mode, str) and not set(mode) & {"r", "+"}:
        return ""
    if isinstance(args[0], int) or path.endswith(_CODE) or path.startswith(_DEVICES) or is_installed_file(path):
        return ""
    return f"the file {Path(path).name}"


def _line(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    return f"{name if name.startswith('<') else Path(name).name}, line {frame.f_lineno}"


_tracers: dict[int, Tracer] = {}
_installed = threading.Event()


def _install() -> None:
    """Install the audit hook once; Python cannot remove one, so it does nothing while no tracer is active.

    It runs until the process ends, when this module's names are None already: so it holds its own references.
    """
    if _installed.is_set():
        return
    _installed.set()
    reaches, tracers, thread = _REACHES, _tracers, threading.get_ident

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" or event in reaches:
            tracer = tracers.get(thread())
            if tracer is not None:
                tracer.on_audit_event(event, args)

    sys.addaudithook(on_event)


# -- variables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable:
    """A value a strategy can reach by a name, and the function that sets another one in its place."""

    name: str
    value: Any
    put: Callable[[Any], None]

    @contextmanager
    def replaced(self, value: Any) -> Iterator[None]:
        """Set ``value`` there inside the ``with`` block."""
        self.put(value)
        try:
            yield
        finally:
            self.put(self.value)


def variables(function: Callable[..., Any]) -> list[Variable]:
    """The variables a function reaches: globals, closures, defaults, attributes, also those of functions it calls."""
    found: dict[str, Variable] = {}
    for one in functions(function):
        for each in _of_function(one):
            found.setdefault(each.name, each)
    owner = _owner(function)
    if owner is not None:
        for each in _of_object(owner, "self"):
            found.setdefault(each.name, each)
    return list(found.values())


def functions(function: Callable[..., Any]) -> list[FunctionType]:
    """The function itself, and the user's own functions it can reach by name."""
    found: dict[int, FunctionType] = {}
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop(0)
        while isinstance(one, partial):
            waiting += [*one.args, *one.keywords.values()]
            one = one.func
        if isinstance(one, MethodType):
            waiting += _methods(type(one.__self__))
            one = one.__func__
        wrapped = getattr(one, "__wrapped__", None)
        if wrapped is not None:
            waiting.append(wrapped)
        if not isinstance(one, FunctionType):
            if _is_own_instance(one):
                waiting += _methods(type(one))
            elif isinstance(one, type) and is_users(one):
                waiting += _methods(one)
            continue
        if id(one) in found or not is_users(one):
            continue
        found[id(one)] = one
        waiting += [one.__globals__[name] for name in _names(one.__code__) if name in one.__globals__]
        waiting += [cell.cell_contents for cell in one.__closure__ or () if _has_value(cell)]
    return list(found.values())


def _methods(owner: type) -> list[FunctionType]:
    return [each for each in vars(owner).values() if isinstance(each, FunctionType)] if is_users(owner) else []


def _is_own_instance(value: Any) -> bool:
    plain = isinstance(value, (type, ModuleType, FunctionType, MethodType))
    return not plain and hasattr(value, "__dict__") and is_users(type(value))


def _owner(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__self__
    return function if _is_own_instance(function) else None


def _has_value(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- an empty cell raises
    except ValueError:
        return False
    return True


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names |= _names(inner)
    return names


def _of_function(function: FunctionType) -> Iterator[Variable]:
    space = function.__globals__
    for name in sorted(_names(function.__code__)):
        if name in space:
            yield from _of_value(space[name], name, partial(space.__setitem__, name))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if _has_value(cell):
            yield from _of_value(cell.cell_contents, name, partial(setattr, cell, "cell_contents"))
    defaults = function.__defaults__ or ()
    for at, value in enumerate(defaults):
        place = function.__code__.co_argcount - len(defaults) + at
        yield from _of_value(value, function.__code__.co_varnames[place], partial(_put_default, function, at))
    for name, value in (function.__kwdefaults__ or {}).items():
        assert function.__kwdefaults__ is not None  # it has just been looked through  # noqa: S101
        yield from _of_value(value, name, partial(function.__kwdefaults__.__setitem__, name))


def _put_default(function: FunctionType, at: int, value: Any) -> None:
    defaults = list(function.__defaults__ or ())
    defaults[at] = value
    function.__defaults__ = tuple(defaults)


def _of_value(value: Any, name: str, put: Callable[[Any], None]) -> Iterator[Variable]:
    if isinstance(value, (ModuleType, FunctionType, MethodType, type, str, bytes, int, float, bool, type(None))):
        return
    if _is_own_instance(value):
        yield from _of_object(value, name)
        return
    yield Variable(name, value, put)
    if isinstance(value, MutableMapping):
        for key in list(value)[:50]:
            if isinstance(key, str) and hasattr(value[key], "__len__"):
                yield Variable(f"{name}[{key!r}]", value[key], partial(value.__setitem__, key))


def _of_object(owner: Any, name: str) -> Iterator[Variable]:
    for key, value in list(vars(owner).items()):
        if not isinstance(value, (ModuleType, FunctionType, MethodType, type, str, bytes, int, float, type(None))):
            yield Variable(f"{name}.{key}", value, partial(setattr, owner, key))


def clock_calls(function: Callable[..., Any]) -> dict[str, str]:
    """Calls of a clock, such as ``pd.Timestamp.now()``, in the source text of the user's code."""
    found: dict[str, str] = {}
    for one in functions(function):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError, IndentationError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            is_now = any(isinstance(word, ast.Constant) and word.value in ("now", "today") for word in node.args)
            if name.split(".")[-1] in _NOW and "." in name:
                found.setdefault(name, f"{one.__name__}")
            elif is_now and name.split(".")[-1] in ("datetime64", "Timestamp", "to_datetime"):
                found.setdefault(f"{name}('now')", f"{one.__name__}")
    return found
