"""The source text of a strategy and of everything of the user's own that it calls.

Text is read once for each function, when a run is planned: a cell that is run again, or a module that is edited, does
not change what an earlier run says it was made of.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import inspect
import site
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

AnyFunction = Callable[..., Any]

_OURS: Final = "bknb"
_LONGEST_VALUE: Final = 2_000
_KEPT: Final = 1_024
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


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One function or class as its author wrote it.

    Attributes
    ----------
    name : str
        Qualified name, with the module in front when it is not the notebook itself.
    text : str
        Source text without indentation and trailing blanks; empty when nobody has it.
    digest : str
        Of the text; of the compiled code when there is no text.
    """

    name: str
    text: str
    digest: str


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """What a run executes of the user's.

    Attributes
    ----------
    functions : tuple of Written
        The strategy first, then risk rules, then what they call, in order of finding.
    values : dict of str to str
        What the functions read from outside themselves: constants, defaults, closures.
    packages : tuple of str
        Top-level packages of others that they use.
    notes : tuple of str
        Why the same numbers may not come out again.
    """

    functions: tuple[Written, ...] = ()
    values: dict[str, str] = {}
    packages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_code(*starts: AnyFunction) -> Code:
    """The text of some functions and of what they call.

    Followed are globals, closures, defaults, ``partial``, decorators that keep ``__wrapped__``, methods, classes, and
    ``module.name`` where the module is the user's own. Installed packages are named, not followed.

    Examples
    --------
    >>> def get_signal(price):
    ...     return None
    >>> [written.text.splitlines()[0] for written in read_code(get_signal).functions]
    ['def get_signal(price):']
    """
    walk = _Walk()
    for start in starts:
        walk.visit(start, getattr(start, "__name__", type(start).__name__))
    return Code(
        functions=tuple(walk.functions),
        values=dict(sorted(walk.values.items())),
        packages=tuple(sorted(walk.packages)),
        notes=tuple(walk.notes),
    )


class _Walk:
    def __init__(self) -> None:
        self.functions: list[Written] = []
        self.values: dict[str, str] = {}
        self.packages: set[str] = set()
        self.notes: list[str] = []
        self._seen: set[int] = set()
        self._alive: list[object] = []  # an id is only good while its object lives

    def visit(self, thing: Any, name: str) -> None:
        """Follow one value that the user's code reads under ``name``."""
        if isinstance(thing, types.ModuleType):
            self._module(thing.__name__)
        elif isinstance(thing, functools.partial):
            self.visit(thing.func, name)
            for at, part in enumerate(thing.args):
                self.visit(part, f"{name} argument {at + 1}")
            for key, part in thing.keywords.items():
                self.visit(part, f"{name} {key}")
        elif isinstance(thing, (types.MethodType, staticmethod, classmethod)):
            self.visit(thing.__func__, name)
            owner = getattr(thing, "__self__", None)
            if owner is not None and not isinstance(owner, type):
                self._object(owner, name)
        elif isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, type):
            self._class(thing)
        elif isinstance(thing, types.BuiltinFunctionType):
            self._module(thing.__module__ or "builtins")
        else:
            wrapped = getattr(thing, "__wrapped__", None)
            if isinstance(wrapped, types.FunctionType):
                self._function(wrapped)
            elif _is_own(type(thing)) and hasattr(thing, "__dict__"):
                self._object(thing, name)
            else:
                self.values[name] = value_text(thing)

    def _new(self, thing: object) -> bool:
        if id(thing) in self._seen:
            return False
        self._seen.add(id(thing))
        self._alive.append(thing)
        return True

    def _object(self, thing: Any, name: str) -> None:
        if not self._new(thing):
            return
        if _is_own(type(thing)):
            self._class(type(thing))
        for key, value in sorted(getattr(thing, "__dict__", {}).items()):
            self.visit(value, f"{name}.{key}")

    def _class(self, thing: type) -> None:
        if not _is_own(thing):
            self._module(thing.__module__)
            return
        if not self._new(thing):
            return
        self.functions.append(_written(thing, _text_of(thing), b""))
        for parent in thing.__mro__[1:]:
            if _is_own(parent):
                self._class(parent)
        for member in vars(thing).values():
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(inner, types.FunctionType):
                self._reads(inner)

    def _function(self, function: types.FunctionType) -> None:
        inner = inspect.unwrap(function)
        if inner is not function and isinstance(inner, types.FunctionType):
            self._function(inner)
        if not _is_own(function):
            self._module(function.__module__ or "")
            return
        if not self._new(function.__code__):
            return
        self.functions.append(_written(function, _text_of_code(function), function.__code__.co_code))
        self._reads(function)

    def _reads(self, function: types.FunctionType) -> None:
        """Follow everything a function reads from outside itself."""
        name = function.__qualname__.rpartition("<locals>.")[2]
        for parameter, value in _defaults(function):
            self.visit(value, f"{name}({parameter})")
        names = {**function.__globals__, **_closure(function)}
        for chain in _reads_of(function.__code__):
            if chain[0] not in names:
                continue
            thing, spoken = names[chain[0]], chain[0]
            for attribute in chain[1:]:
                if not isinstance(thing, types.ModuleType):
                    break
                if not _is_own(thing):
                    self._module(f"{thing.__name__}.{attribute}")
                    break
                if not hasattr(thing, attribute):
                    break
                thing, spoken = getattr(thing, attribute), f"{spoken}.{attribute}"
            self.visit(thing, spoken)

    def _module(self, name: str) -> None:
        top = name.partition(".")[0]
        for unsteady, what in _UNSTEADY.items():
            if name == unsteady or name.startswith(f"{unsteady}."):
                note = f"it uses {unsteady} ({what}): the same numbers cannot be promised"
                if note not in self.notes:
                    self.notes.append(note)
        if top and top not in (_OURS, "builtins", "__main__"):
            self.packages.add(top)


def _closure(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not filled yet: a name that is only defined later
            found[name] = cell.cell_contents
    found.pop("__class__", None)
    return found


def _defaults(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    given = function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(given) : code.co_argcount], given, strict=False)
    yield from (function.__kwdefaults__ or {}).items()


def _is_own(thing: Any) -> bool:
    """Whether a function, class or module is the user's, and not of Python, of bknb or of an installed package."""
    if isinstance(thing, types.FunctionType):
        file: str | None = thing.__code__.co_filename
        return not (file or "").startswith("<frozen") and not _is_installed(file)
    module = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)
    top = str(module).partition(".")[0]
    if top == "__main__":
        return True
    if top in (_OURS, "builtins") or top in sys.stdlib_module_names:
        return False
    return not _is_installed(getattr(sys.modules.get(str(module)), "__file__", None))


def _is_installed(file: str | None) -> bool:
    return file is not None and any(Path(file).is_relative_to(folder) for folder in _installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders.append(str(Path(__file__).parent.parent))  # bknb itself
    return tuple(dict.fromkeys([*folders, *site.getsitepackages(), site.getusersitepackages()]))


# Reading text and instructions costs a millisecond; the code objects kept here make sure that an id means one code.
_texts: dict[int, tuple[types.CodeType, str]] = {}
_chains: dict[int, tuple[types.CodeType, tuple[tuple[str, ...], ...]]] = {}


def _text_of_code(function: types.FunctionType) -> str:
    code = function.__code__
    known = _texts.get(id(code))
    if known is None:
        if len(_texts) >= _KEPT:
            _texts.clear()
        known = _texts[id(code)] = (code, _text_of(function))
    return known[1]


def _text_of(thing: Any) -> str:
    try:
        lines = inspect.getsource(thing)
    except (OSError, TypeError, IndentationError, SyntaxError):
        return ""
    return "\n".join(line.rstrip() for line in textwrap.dedent(lines).strip("\n").splitlines())


def _written(thing: Any, text: str, compiled: bytes) -> Written:
    module = thing.__module__
    name = thing.__qualname__.rpartition("<locals>.")[2]
    return Written(
        name=name if module in (None, "__main__", "builtins") else f"{module}.{name}",
        text=text,
        digest=hashlib.sha256(text.encode() if text else compiled).hexdigest()[:16],
    )


def _reads_of(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Names from outside that a code object reads, each with the attributes that follow: ``np.random.default_rng``."""
    known = _chains.get(id(code))
    if known is None:
        if len(_chains) >= _KEPT:
            _chains.clear()
        known = _chains[id(code)] = (code, tuple(dict.fromkeys(_chains_in(code, frozenset(code.co_freevars)))))
    return known[1]


def _chains_in(code: types.CodeType, free: frozenset[str]) -> Iterator[tuple[str, ...]]:
    chain: tuple[str, ...] = ()
    for instruction in dis.get_instructions(code):
        outside = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        if outside or (instruction.opname == "LOAD_DEREF" and instruction.argval in free):
            if chain:
                yield chain
            chain = (instruction.argval,)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain = (*chain, instruction.argval)
        elif instruction.opname != "PUSH_NULL" and chain:
            yield chain
            chain = ()
    if chain:
        yield chain
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _chains_in(constant, free)


def value_text(value: Any) -> str:
    """A value as text that is the same on every machine, Python and numpy; long ones as a digest.

    Examples
    --------
    >>> import numpy as np
    >>> value_text({"fast": 10, "slow": np.float64(0.1)})
    "{'fast': 10, 'slow': 0.1}"
    """
    text = _spelled(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{type(value).__name__} of {len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        plain = getattr(value, "item", lambda: value)()
        return repr(plain + 0.0 if isinstance(plain, float) else plain)  # -0.0 is 0.0
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_spelled(key)}: {_spelled(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(_spelled(part) for part in value)) + "}"
    if isinstance(value, (list, tuple)):
        ends = "[]" if isinstance(value, list) else "()"
        return ends[0] + ", ".join(_spelled(part) for part in value) + ends[1]
    if hasattr(value, "to_numpy") and not isinstance(value, type):
        columns = [str(name) for name in getattr(value, "columns", [])]
        return f"{type(value).__name__} {columns} {_spelled(value.to_numpy())}"
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        if getattr(value, "ndim", 0) == 0:
            return _spelled(value.item())
        if value.dtype.kind == "O":
            return _spelled(value.tolist())
        digest = hashlib.sha256(value.astype(value.dtype.newbyteorder("<")).tobytes()).hexdigest()[:16]
        return f"array {value.dtype.name} {tuple(value.shape)} sha256 {digest}"
    if isinstance(value, msgspec.Struct):
        fields = ", ".join(f"{name}={_spelled(getattr(value, name))}" for name in value.__struct_fields__)
        return f"{type(value).__name__}({fields})"
    if isinstance(value, (types.FunctionType, type)):
        return value.__qualname__
    return f"a {type(value).__module__}.{type(value).__qualname__} (its content is not compared)"
