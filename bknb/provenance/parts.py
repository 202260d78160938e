"""Parts of the user's functions, classes, objects and modules: what they wrap, hold and define."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..user_code import is_users, is_users_file
from .names_read import closure_of
from .source_text import is_written_in

_FUNCTIONS: Final = (
    *(types.FunctionType, types.MethodType, staticmethod, classmethod, property),
    *(functools.cached_property, functools.partialmethod, functools.partial),
)


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


def state_of(thing: Any) -> dict[str, Any]:
    """What an object of the user's holds, by name."""
    state = dict(getattr(thing, "__dict__", {}))
    slots = [name for kind in type(thing).__mro__ for name in _names_of(vars(kind).get("__slots__", ()))]
    for name in (*slots, *getattr(thing, "__struct_fields__", ())):
        with contextlib.suppress(AttributeError):
            state[name] = getattr(thing, name)
    return {name: value for name, value in state.items() if name not in ("__dict__", "__weakref__")}


def _names_of(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def members_of(thing: type) -> Iterator[tuple[str, Any]]:
    """What a class defines: functions, and attributes that are not Python's own."""
    for key, member in vars(thing).items():
        if isinstance(member, _FUNCTIONS):
            yield key, member
        elif not (key.startswith("_") and key.endswith("_")) and key != "_abc_impl":
            known = is_users(type(member)) or wrapped_by(member) is not None or isinstance(member, type)
            if known or not hasattr(member, "__get__"):  # the slots of a class say nothing
                yield key, member


def defined_by_class(function: types.FunctionType, thing: type) -> bool:
    """Whether the text of a class determines a method: it is written there, or a dataclass made it."""
    made = wrapped_by(function) is None and function.__qualname__.startswith(f"{thing.__qualname__}.")
    return made or is_written_in(function, thing)
