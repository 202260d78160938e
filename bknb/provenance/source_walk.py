"""One walk through everything of the user's own that a function reaches: texts, values, packages, and notes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..user_code import is_users
from .names_read import Name, closure_of, defaults_of, names_read
from .names_read_indirectly import indirect
from .parts import (
    defined_by_class,
    folders_of,
    has_content,
    is_of_object,
    leads_to_own,
    members_of,
    own_module,
    state_of,
    wrapped_by,
)
from .source_text import Written, digest_of, digest_of_code, text_of_class, text_of_code
from .strategy_changing_itself import MISSING, Attributes, Readings
from .value_text import Spelled, spell

AnyFunction = Callable[..., Any]

READER: Final = 3
"""Version of what is read and how digests are made; it stands in front of every digest, those of 0.1.0 have none."""

_OURS: Final = "bknb"
_UNSTEADY: Final = {
    "random": "random numbers",
    "secrets": "random numbers",
    "uuid": "random numbers",
    "numpy.random": "random numbers",
    "time": "the clock of the machine",
    "requests": "the network",
    "urllib": "the network",
    "httpx": "the network",
    "socket": "the network",
}


_PLAIN: Final = frozenset({int, float, complex, str, bytes, bool, type(None)})
_LONGEST_NAME: Final = 200  # characters; a longer one is cut, with a number of its place in front


UNSEEN: Final = "not compared"  # ends every note of what may change without another hash
_COMPUTED: Final = f"it loads a module whose name is not written in it: what that module holds is {UNSEEN}"


class _Names:
    """Names that are given once: ``name``, then ``name (2)`` and so on."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}  # each name that was given, and the number to try when it comes again

    def free(self, name: str) -> str:
        """Take the name, or the first of its numbered ones that was not given yet."""
        number = self._next.get(name)
        if number is None:
            self._next[name] = 2
            return name
        while f"{name} ({number})" in self._next:
            number += 1
        self._next[name] = number + 1
        return self.free(f"{name} ({number})")


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled
        return MISSING


class _Unwrapped(NamedTuple):
    """A function whose wrapped one was read before it."""

    function: types.FunctionType


class Walk:
    """A walk through everything that can be reached, depth first.

    ``steps`` is the walk as text: what was found, and under which name; what comes by again is a number.
    """

    def __init__(self) -> None:
        self.functions: list[Written] = []
        self.values: dict[str, str] = {}
        self.packages: set[str] = set()
        self.modules: set[str] = set()
        self.notes: list[str] = []
        self.steps: list[str] = []
        self.values_read: tuple[type, ...] = (object,)
        self.readings = Readings()
        self._folders: dict[str, None] = {}  # of the modules whose functions were read
        self._names = _Names()
        self._value_names = _Names()
        self._numbers: dict[object, int] = {}
        self._spelled: dict[int, Spelled] = {}
        self._alive: list[object] = []  # an id is only good while its object lives
        self._waiting: list[tuple[Any, str]] = []

    def follow(self, start: Any, name: str, *, values: tuple[type, ...]) -> None:
        """Follow a function, or anything else that is read under ``name``, to its end; of values those types."""
        self.values_read = values
        self._waiting.append((start, name))
        while self._waiting:
            thing, spoken = self._waiting.pop()
            found = len(self._waiting)
            self._visit(thing, spoken)
            self._waiting[found:] = reversed(self._waiting[found:])  # what was found first is followed first

    def _later(self, thing: Any, name: str) -> None:
        if len(name) > _LONGEST_NAME:  # of a chain of objects each name would hold all names before it
            name = f"{len(self._numbers)}:{name[-_LONGEST_NAME // 2 :]}"
        self._waiting.append((thing, name))

    def _visit(self, thing: Any, name: str) -> None:
        if type(thing) in _PLAIN:
            self._value(thing, name)
            return
        for kind, read in _READ_AS:
            if isinstance(thing, kind):
                read(self, thing, name)
                return
        if is_users(type(thing)):
            self._object(thing, name)
        elif (wrapped := wrapped_by(thing)) is not None:  # compiled, or cached
            self.steps.append(f"{name}: {type(thing).__qualname__}")
            self._later(wrapped, name)
        else:
            self._value(thing, name)

    def _seen(self, key: object, name: str, *alive: object) -> bool:
        number = self._numbers.get(key)
        if number is not None:
            self.steps.append(f"{name}: {number} again")
            return True
        self._numbers[key] = len(self._numbers)
        self._alive += alive
        return False

    # --- values and objects -------------------------------------------------------------------------------------

    def _value(self, thing: Any, name: str) -> None:
        if not isinstance(thing, self.values_read):
            return
        spelled = self._spelled.get(id(thing))
        if spelled is None:
            spelled = self._spelled[id(thing)] = self._spell(thing)
            self._alive.append(thing)
        if not spelled.compared:
            self._note(f"{name}: its content is not compared")
        self.values[self._value_names.free(name)] = spelled.text
        self.steps.append(f"{name} = {spelled.text}")
        for place, part in spelled.inside:
            if part is not thing:
                self._later(part, f"{name}{place}")

    def _spell(self, thing: Any) -> Spelled:
        if type(thing) in _PLAIN:
            return spell(thing, self._folders)
        folders = tuple(self._folders)
        spelled: Spelled = self.readings.content(("value", id(thing)), thing, lambda: spell(thing, folders))
        return spelled

    def _held(self, thing: Any, read: Callable[[Any], Any]) -> Attributes:
        """What an object, a function, a class or a module holds, by name."""
        held: Attributes = self.readings.content(("held", id(thing)), thing, lambda: Attributes(read(thing)))
        return held

    def _named(self, space: Any, name: str) -> Any:
        """What a name means in a namespace."""
        return self.readings.content(("name", id(space), name), space, lambda: space.get(name, MISSING))

    def _object(self, thing: Any, name: str) -> None:
        if self._seen(id(thing), name, thing):
            return
        self.steps.append(f"{name}: object")
        self._later(type(thing), type(thing).__qualname__)
        if self.values_read != (object,):
            return
        for key, value in sorted(self._held(thing, state_of).items()):
            self._later(value, f"{name}.{key}")
        if not hasattr(thing, "__dict__") or has_content(thing):
            self._value(thing, name)

    def _partial(self, thing: Any, name: str) -> None:
        self.steps.append(f"{name}: partial")
        self._later(thing.func, name)
        for at, part in enumerate(thing.args):
            self._later(part, f"{name} argument {at + 1}")
        for key, part in sorted(thing.keywords.items()):
            self._later(part, f"{name} {key}")

    def _method(self, thing: Any, name: str) -> None:
        self.steps.append(f"{name}: {type(thing).__name__}")
        self._later(thing.__func__, name)
        owner = getattr(thing, "__self__", None)
        if owner is not None:
            self._later(owner, name)

    def _property(self, thing: property, name: str) -> None:
        for part in (thing.fget, thing.fset, thing.fdel):
            if part is not None:
                self._later(part, name)

    # --- functions and classes ----------------------------------------------------------------------------------

    def _function(self, function: types.FunctionType, name: str) -> None:
        if not is_users(function):
            self._of_others(function, name)
            return
        wrapped = wrapped_by(function)
        if wrapped is None:
            self._unwrapped(_Unwrapped(function), name)
        else:
            self._later(wrapped, name)
            self._later(_Unwrapped(function), name)

    def _unwrapped(self, thing: _Unwrapped, name: str) -> None:
        (function,) = thing
        code: types.CodeType = function.__code__
        module: str | None = function.__module__
        qualified = function.__qualname__
        if wrapped_by(function) is not None:  # it was given the name and the module of what it wraps
            qualified, module = code.co_qualname, function.__globals__.get("__name__")
        if self._seen(id(function), name, function):
            return
        home = sys.modules.get(str(function.__globals__.get("__name__")))
        text, digest = text_of_code(code, home), digest_of_code(code, home)
        self.steps.append(f"{name}: function {digest}")
        if id(code) not in self._numbers:
            self._numbers[id(code)] = len(self._numbers)
            self._write(qualified, module, text, digest)
        self._reads(function)

    def _is_news(self, thing: type | types.ModuleType, name: str) -> bool:
        """Whether a class or a module is the user's and was not walked through before."""
        if not is_users(thing):
            self._of_others(thing, name)
            return False
        return not self._seen(id(thing), name, thing)

    def _class(self, thing: type, name: str) -> None:
        if not self._is_news(thing, name):
            return
        text = text_of_class(thing)
        digest = digest_of(text)
        self.steps.append(f"{name}: class {digest}")
        self._write(thing.__qualname__, thing.__module__, text, digest)
        for parent in (*thing.__mro__[1:], type(thing)):
            if is_users(parent):
                self._later(parent, parent.__qualname__)
        short = thing.__qualname__.rpartition("<locals>.")[2]
        for key, member in self._held(thing, members_of).items():
            function = getattr(member, "__func__", member)
            if text and isinstance(function, types.FunctionType) and defined_by_class(function, thing):
                self._reads(function)
            else:
                self._later(member, f"{short}.{key}")

    def _write(self, qualified: str, module: str | None, text: str, digest: str) -> None:
        name = qualified.rpartition("<locals>.")[2]
        if module not in (None, "__main__", "builtins"):
            self.modules.add(str(module))
            name = f"{module}.{name}"
        name = self._names.free(name)
        self.functions.append(Written(name=name, text=text, digest=f"{READER}:{digest}"))

    def _reads(self, function: types.FunctionType) -> None:
        """Follow everything a function reads from outside itself."""
        short = function.__qualname__.rpartition("<locals>.")[2]
        for parameter, value in defaults_of(function):
            self._later(value, f"{short}({parameter})")
        closure = closure_of(function)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        self._folders |= dict.fromkeys(folders_of(function))
        home = sys.modules.get(str(function.__globals__.get("__name__")))
        space = ChainMap(closure, function.__globals__)
        more = indirect(function.__code__, text_of_code(function.__code__, home), space)
        for note in more.notes:
            self._note(note)
        for name in dict.fromkeys((*names_read(function.__code__), *more.names)):
            if name.computed:
                self._note(_COMPUTED)
            if name.is_import:
                self._imported(name, function.__globals__)
            elif name.parts[0] in closure:
                cell = cells[name.parts[0]]
                value = self.readings.content(("cell", id(cell)), cell, functools.partial(_content_of, cell))
                self._attributes(value, name.parts, id(cell), function)
            elif (value := self._named(function.__globals__, name.parts[0])) is not MISSING:
                self._attributes(value, name.parts, id(function.__globals__), function)

    def _attributes(self, thing: Any, parts: tuple[str, ...], space: int, holder: object) -> None:
        """Follow a name: through the user's own modules to what it means there."""
        spoken = parts[0]
        for attribute in parts[1:]:
            if isinstance(thing, types.FunctionType) and attribute in (held := self._held(thing, vars)):
                self._later(held[attribute], f"{spoken}.{attribute}")
            if not isinstance(thing, types.ModuleType):
                break
            if not is_users(thing):
                self._package(f"{thing.__name__}.{attribute}")
                put_there = vars(thing).get(attribute)  # by the user, into somebody else's module
                if isinstance(put_there, (types.FunctionType, type)) and leads_to_own(put_there, 0):
                    self._later(put_there, f"{spoken}.{attribute}")
                break
            self.modules.add(thing.__name__)
            if not hasattr(thing, attribute):
                break
            value = self._named(vars(thing), attribute) if attribute in vars(thing) else getattr(thing, attribute)
            if value is MISSING:
                break
            thing, spoken = value, f"{spoken}.{attribute}"
        if not self._seen((space, spoken), spoken, holder):
            self._later(thing, spoken)

    def _imported(self, name: Name, space: dict[str, Any]) -> None:
        """Follow what a function imports while it runs; the user's own modules are loaded for that."""
        full = name.module
        with contextlib.suppress(ImportError, ValueError):
            full = importlib.util.resolve_name("." * name.level + full, space.get("__package__") or None)
        module = own_module(full)
        if module is None:
            self.steps.append(f"import {full}")
            self._package(".".join((full, *name.parts)))
            return
        parts = list(name.parts)
        while parts and not hasattr(module, parts[0]) and own_module(f"{module.__name__}.{parts[0]}") is not None:
            module = sys.modules[f"{module.__name__}.{parts.pop(0)}"]
        self._attributes(module, (module.__name__.rpartition(".")[2], *parts), id(module), module)

    def _module(self, thing: types.ModuleType, name: str) -> None:
        """Of the user's module that is used as a whole, everything counts."""
        if not self._is_news(thing, name):
            return
        self.modules.add(thing.__name__)
        for key, value in sorted(self._held(thing, vars).items()):
            if not key.startswith("__"):
                self._later(value, f"{name}.{key}")

    # --- what is not the user's ---------------------------------------------------------------------------------

    def _of_others(self, thing: Any, name: str) -> None:
        """Name what a library made; follow what it was given of the user's, as a decorator is."""
        module = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or ""
        self.steps.append(f"{name} from {module} {getattr(thing, '__qualname__', '')}")
        self._package(module or "builtins")
        if isinstance(thing, types.FunctionType):
            held = [*closure_of(thing).items(), *defaults_of(thing), *sorted(vars(thing).items())]
            held = [(key, part) for key, part in held if leads_to_own(part)]
            if held and not self._seen(id(thing), name, thing):
                for key, part in held:
                    self._later(part, name if key == "__wrapped__" else f"{name} {key}")
        elif isinstance(thing, types.BuiltinFunctionType) and is_of_object(thing):
            self._later(thing.__self__, name)  # ``look = PARAMS.get``

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _package(self, name: str) -> None:
        top = name.partition(".")[0]
        for unsteady, what in _UNSTEADY.items():
            if name == unsteady or name.startswith(f"{unsteady}."):
                self._note(f"it uses {unsteady} ({what}): the same numbers cannot be promised")
        if top and top not in (_OURS, "builtins", "__main__"):
            self.packages.add(top)


_READ_AS: Final[tuple[tuple[Any, Callable[[Walk, Any, str], None]], ...]] = (
    (_Unwrapped, Walk._unwrapped),
    (types.FunctionType, Walk._function),
    (type, Walk._class),
    (types.ModuleType, Walk._module),
    ((functools.partial, functools.partialmethod), Walk._partial),
    ((types.MethodType, staticmethod, classmethod), Walk._method),
    (property, Walk._property),
    (functools.cached_property, lambda walk, thing, name: walk._later(thing.func, name)),
    (types.BuiltinFunctionType, Walk._of_others),
)
