"""Parts of the user's functions, classes, objects and modules: what they wrap, hold and define."""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..user_code import is_users, is_users_file
from .names_read import closure_of
from .source_text import is_written_in

_FUNCTIONS: Final = (
    *(types.FunctionType, types.MethodType, staticmethod, classmethod, property),
    *(functools.cached_property, functools.partialmethod, functools.partial),
)
_OF_TYPES: Final = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
_MAKERS: Final = ("dataclasses", "enum", "typing", "typing_extensions", "collections", "reprlib")
_OF_PYTHON: Final = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol"})
_OF_ENUM: Final = frozenset({"__objclass__", "_sort_order_", "_inverted_"})  # what enum keeps in a member


def wrapped_by(thing: Any) -> Any:
    """What a decorator wrapped, when it says so."""
    found = inspect.getattr_static(thing, "__wrapped__", None)
    return found if callable(found) else None


def leads_to_own(thing: Any, depth: int = 3) -> bool:
    """Whether something is, or holds near its surface, what the user wrote."""
    if isinstance(thing, (types.FunctionType, type)) and is_users(thing):
        return True
    parts: Iterable[Any] = ()
    if isinstance(thing, types.FunctionType):
        parts = (*closure_of(thing).values(), *vars(thing).values())
    elif isinstance(thing, functools.partial):
        parts = (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, types.MethodType):
        parts = (thing.__func__, thing.__self__)
    elif isinstance(thing, Mapping):
        parts = thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = thing
    elif not isinstance(thing, (type, types.ModuleType)):
        return is_users(type(thing))
    return depth > 0 and any(leads_to_own(part, depth - 1) for part in parts)


def own_module(name: str) -> types.ModuleType | None:
    """The user's module of that name, loaded when it was not; None when it is somebody else's or not there."""
    module = sys.modules.get(name)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None or not is_users_file(spec.origin) or spec.origin == "built-in":
                return None
            module = importlib.import_module(name)
        except Exception:  # noqa: BLE001 -- whatever the user's module raises: its function will say so when it runs
            return None
    return module if is_users(module) else None


def folders_of(function: types.FunctionType) -> tuple[str, ...]:
    """The folder that a function's module, or the package it is in, is imported from: as named, and resolved."""
    file = function.__globals__.get("__file__")
    if not isinstance(file, str):
        return ()
    folder = Path(file).absolute().parent
    package = str(function.__globals__.get("__package__") or "")
    for _ in filter(None, package.split(".")):
        folder = folder.parent
    both = (str(folder), str(folder.resolve()))
    return tuple(name for name in dict.fromkeys(both) if name != folder.anchor)


def state_of(thing: Any) -> dict[str, Any]:
    """What an object of the user's holds, by name; an attribute in slots that begins with two underscores included."""
    state = dict(getattr(thing, "__dict__", {}))
    slots = [
        _mangled(name, kind) for kind in type(thing).__mro__ for name in _names_of(vars(kind).get("__slots__", ()))
    ]
    for name in (*slots, *getattr(thing, "__struct_fields__", ())):
        with contextlib.suppress(AttributeError):
            state[name] = getattr(thing, name)
    left_out = {"__dict__", "__weakref__", "__type_params__"} | (_OF_ENUM if isinstance(thing, enum.Enum) else set())
    return {name: value for name, value in state.items() if name not in left_out}


def _names_of(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _mangled(name: str, kind: type) -> str:
    """The name under which Python keeps an attribute that a class calls ``__name``."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private and kind.__name__.strip("_") else name


def has_content(thing: Any) -> bool:
    """Whether an object of the user's may hold more than its attributes: its class extends one of somebody else."""
    kinds = type(thing).__mro__[:-1]
    if isinstance(thing, enum.Enum):  # its value is an attribute
        return False
    return any(not is_users(kind) and kind.__module__ not in ("abc", "typing", "typing_extensions") for kind in kinds)


def is_of_object(function: types.BuiltinFunctionType) -> bool:
    """Whether a compiled function is a method of an object; ``random.random``, one of a generator, is Python's."""
    owner = function.__self__
    module = sys.modules.get(str(type(owner).__module__))
    of_library = not is_users(type(owner)) and getattr(module, function.__name__, None) is function
    return not of_library and not isinstance(owner, (types.ModuleType, type(None)))


def members_of(thing: type) -> Iterator[tuple[str, Any]]:
    """What a class defines: functions, and attributes that are not Python's own."""
    of_enum = isinstance(thing, enum.EnumMeta)
    members: dict[str, Any] = dict(thing.__members__) if isinstance(thing, enum.EnumMeta) else {}
    yield from members.items()
    for key, member in vars(thing).items():
        if key in members:
            continue
        if isinstance(member, _FUNCTIONS):
            if not _made_by_library(getattr(member, "__func__", member)):
                yield key, member
        elif not _is_pythons(key, of_enum=of_enum):
            known = is_users(type(member)) or wrapped_by(member) is not None or isinstance(member, (type, *_OF_TYPES))
            if known or not hasattr(member, "__get__"):  # the slots of a class say nothing
                yield key, member


def _is_pythons(key: str, *, of_enum: bool) -> bool:
    ends = "_" if of_enum else "__"
    return key in _OF_PYTHON or (key.startswith(ends) and key.endswith(ends))


def _made_by_library(function: Any) -> bool:
    """Whether ``dataclass``, ``Enum``, ``namedtuple`` or ``Protocol`` made a method: each Python makes others."""
    if not isinstance(function, types.FunctionType):
        return False
    code = function.__code__
    if code.co_filename == "<string>":
        made = code.co_qualname.startswith("__create_fn__.")
        return made or str(function.__globals__.get("__name__")).startswith("namedtuple_")
    modules = (sys.modules.get(name) for name in _MAKERS)
    return any(getattr(module, "__file__", None) == code.co_filename for module in modules if module is not None)


def defined_by_class(function: types.FunctionType, thing: type) -> bool:
    """Whether the text of a class determines a method: it is written there."""
    made = wrapped_by(function) is None and function.__qualname__.startswith(f"{thing.__qualname__}.")
    return made or is_written_in(function, thing)
