"""What a strategy reaches by a name: its variables, the functions it calls, the modules they live in, caches."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from ..user_code import is_users

_READING: Final = ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME", "STORE_GLOBAL")
_SETTINGS: Final = (int, float, complex, bool, type(None))  # too small to hold a history
_SHORTEST_TEXT: Final = 200
_DEEPEST: Final = 3
_MOST_KEYS: Final = 50


@dataclass(frozen=True, slots=True)
class Variable:
    """A value a strategy can reach by a name, and the function that sets another one in its place."""

    name: str
    value: Any
    put: Callable[[Any], None]

    @property
    def place(self) -> tuple[object, ...]:
        """What holds the value, and under which key: the same for each function that reaches it."""
        if not isinstance(self.put, partial):
            return (id(self.put),)
        holder = getattr(self.put.func, "__self__", self.put.func)
        return id(holder), *(each if isinstance(each, (str, int)) else id(each) for each in self.put.args)

    @contextmanager
    def replaced(self, value: Any) -> Iterator[None]:
        """Set ``value`` there inside the ``with`` block."""
        self.put(value)
        try:
            yield
        finally:
            self.put(self.value)


def variables(function: Callable[..., Any]) -> list[Variable]:
    """The variables a function reaches, and those of the functions it calls.

    Globals, closures, defaults, attributes of objects, classes and own modules, entries of dictionaries.
    """
    return _variables(function, functions(function))


def _variables(function: Callable[..., Any], inside: list[FunctionType]) -> list[Variable]:
    held = [(one.__qualname__, each) for one in inside for each in _of_function(one)]
    owner = owner_of(function)
    if owner is not None:
        kind = owner if isinstance(owner, type) else type(owner)  # a class: the function is a class method
        own = [] if owner is kind or not hasattr(owner, "__dict__") else _of_object(owner, "self", _DEEPEST)
        held += [(kind.__name__, each) for each in [*own, *_of_class(kind, kind.__name__)]]
    found: dict[tuple[object, ...], Variable] = {}
    names: set[str] = set()
    for holder, each in held:
        if each.place in found:
            continue
        # The same name may be of another place, such as a parameter of another function.
        name = f"{holder}: {each.name}" if each.name in names else each.name
        found[each.place] = replace(each, name=name)
        names.add(name)
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
            if is_own_instance(one):
                waiting += _methods(type(one))
            elif isinstance(one, type) and is_users(one):
                waiting += _methods(one)
            continue
        if id(one) in found or not is_users(one):
            continue
        found[id(one)] = one
        waiting += [value for _, value, _ in _read(one)]
        waiting += [cell.cell_contents for cell in one.__closure__ or () if _has_value(cell)]
    return list(found.values())


def caches(function: Callable[..., Any]) -> list[Callable[[], Any]]:
    """What empties the caches (``functools.lru_cache``) of the functions a strategy reaches."""
    values = [value for one in functions(function) for _, value, _ in _read(one)]
    values += [function, *(each for one in functions(function) for each in _cells(one))]
    values += [each for value in values if isinstance(value, type) and is_users(value) for each in vars(value).values()]
    found = {id(value): value.cache_clear for value in values if callable(getattr(value, "cache_clear", None))}
    return list(found.values())


@contextmanager
def emptied(function: Callable[..., Any]) -> Iterator[None]:
    """Empty the caches before and after the ``with`` block: they keep nothing of what was in place inside it."""
    clears = caches(function)
    for clear in clears:
        clear()
    try:
        yield
    finally:
        for clear in clears:
            clear()


def names_by_namespace(function: Callable[..., Any]) -> list[tuple[dict[str, Any], set[str]]]:
    """The namespaces (of modules, or of a notebook) a strategy reads, each with the names it reads there."""
    return _by_namespace(functions(function))


def _by_namespace(inside: list[FunctionType]) -> list[tuple[dict[str, Any], set[str]]]:
    found: dict[int, tuple[dict[str, Any], set[str]]] = {}
    for one in inside:
        for name, _, space in _read(one):
            found.setdefault(id(space), (space, set()))[1].add(name)
        own = {name for name, value in list(one.__globals__.items()) if value is one}
        found.setdefault(id(one.__globals__), (one.__globals__, set()))[1].update(own or {one.__name__})
    return list(found.values())


def reached(value: Any) -> list[Any]:
    """The value itself, what it holds, and what the user's functions in it read by a name."""
    found: dict[int, Any] = {}
    followed: set[int] = set()  # functions whose names one that calls them brought already
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            if depth < _DEEPEST and id(one) not in followed:
                waiting += [(each, depth + 1) for each in _inside(one, followed)]
    return list(found.values())


def _inside(value: Any, followed: set[int]) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())[:_MOST_KEYS]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)[:_MOST_KEYS]
    own = value if isinstance(value, type) else type(value)
    is_own = own is not FunctionType and is_users(own)
    if not (is_own or callable(value)):
        return []
    inside = functions(value)
    followed.update(map(id, inside))
    found = [space.get(name) for space, names in _by_namespace(inside) for name in names]
    found += [each.value for each in _variables(value, inside)]
    for base in own.__mro__ if is_own else ():
        held = vars(base) if is_users(base) else {}
        found += [each for name, each in held.items() if not name.startswith("__")]
        slots = held.get("__slots__", ())
        found += [getattr(value, name, None) for name in ([slots] if isinstance(slots, str) else slots)]
    return [*found, own] if is_own else found


def _methods(owner: type) -> list[Any]:
    if not is_users(owner):
        return []
    members = [getattr(each, "__func__", getattr(each, "fget", each)) for each in vars(owner).values()]
    inherited = [each for base in owner.__bases__ for each in _methods(base)]
    return [*(each for each in members if isinstance(each, FunctionType)), *inherited]


def is_own_instance(value: Any) -> bool:
    """Whether a value is an object, with attributes, of a class of the user's own."""
    plain = isinstance(value, (type, ModuleType, FunctionType, MethodType))
    return not plain and hasattr(value, "__dict__") and is_users(type(value))


def owner_of(function: Any) -> Any:
    """The object or class whose method a function is, or that is called itself; ``None`` for a plain function."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__self__
    return function if is_own_instance(function) else None


def _has_value(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- an empty cell raises
    except ValueError:
        return False
    return True


def _cells(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or () if _has_value(cell)]


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals a function reads and the modules it imports; and all names, those of attributes too."""
    reads = {each.argval for each in dis.get_instructions(code) if each.opname in _READING}
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more_reads, more_names = _names(inner)
            reads |= more_reads
            names |= more_names
    return frozenset(reads), frozenset(names)


def _read(function: FunctionType) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The names a function reads in namespaces: its own, and those of own modules it names or imports inside."""
    reads, names = _names(function.__code__)
    modules = []
    for name in sorted(reads):
        if name in function.__globals__:
            value = function.__globals__[name]
            yield name, value, function.__globals__
        else:
            value = sys.modules.get(name)
        if isinstance(value, ModuleType) and is_users(value):
            modules.append(value)
    for module in modules:
        for name in sorted(names):
            if name in vars(module):
                yield name, vars(module)[name], vars(module)


def _of_function(function: FunctionType) -> Iterator[Variable]:
    for name, value, space in _read(function):
        own = space is function.__globals__
        spoken = name if own else f"{str(space.get('__name__', '')).rpartition('.')[2]}.{name}"
        yield from _of_value(value, spoken, partial(space.__setitem__, name))
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


def _is_small(value: Any) -> bool:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value) < _SHORTEST_TEXT
    return isinstance(value, (*_SETTINGS, ModuleType, FunctionType, MethodType))


def _of_value(value: Any, name: str, put: Callable[[Any], None], depth: int = _DEEPEST) -> Iterator[Variable]:
    if isinstance(value, type):
        if is_users(value):
            yield from _of_class(value, name)
        return
    if _is_small(value):
        return
    if is_own_instance(value) and not hasattr(value, "get_candles"):
        yield from _of_object(value, name, depth)
        yield from _of_class(type(value), type(value).__name__)
        return
    yield Variable(name, value, put)
    if isinstance(value, MutableMapping):
        for key in list(value)[:_MOST_KEYS]:
            if isinstance(key, str) and (hasattr(value[key], "__len__") or hasattr(value[key], "execute")):
                yield Variable(f"{name}[{key!r}]", value[key], partial(value.__setitem__, key))


def _of_class(owner: type, name: str) -> Iterator[Variable]:
    if not is_users(owner):
        return
    for key, value in list(vars(owner).items()):
        if not key.startswith("__") and not _is_small(value) and not callable(value) and not hasattr(value, "__get__"):
            yield Variable(f"{name}.{key}", value, partial(setattr, owner, key))
    for base in owner.__bases__:
        yield from _of_class(base, base.__name__)


def _of_object(owner: Any, name: str, depth: int) -> Iterator[Variable]:
    for key, value in list(vars(owner).items()):
        if isinstance(value, type) or _is_small(value):
            continue
        put = partial(vars(owner).__setitem__, key)
        if depth > 0 and is_own_instance(value):
            yield from _of_value(value, f"{name}.{key}", put, depth - 1)
        else:
            yield Variable(f"{name}.{key}", value, put)
