"""Names a function reads from outside: globals, its closure, defaults, and its own imports."""

from __future__ import annotations

import contextlib
import dis
import types
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

_KEPT: Final = 1_024
_STORES: Final = ("STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL")
_LOADERS: Final = (("import_module",), ("__import__",))
_CALLS: Final = ("CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_METHOD")
_SILENT: Final = ("PUSH_NULL", "PRECALL", "KW_NAMES", "EXTENDED_ARG")
_LOADS: Final = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF", "STORE_FAST_LOAD_FAST")


class Name(NamedTuple):
    """A name with the attributes that follow it: ``np.random.default_rng``.

    Attributes
    ----------
    parts : tuple of str
        The name and its attributes; of an import inside a function, the attributes of the module alone.
    module : str
        The module that is imported inside the function; empty for a global or a variable of a closure.
    level : int
        Dots in front of the module, as in ``from . import levels``.
    computed : bool
        Whether it loads a module, as ``importlib.import_module`` does, whose name is not written in the function.
    """

    parts: tuple[str, ...]
    module: str = ""
    level: int = 0
    computed: bool = False

    @property
    def is_import(self) -> bool:
        """Whether it is imported inside the function."""
        return bool(self.module or self.level)


# Reading instructions costs a millisecond; holding the code objects here keeps their ids unique.
_known: dict[int, tuple[types.CodeType, tuple[Name, ...]]] = {}


def names_read(code: types.CodeType) -> tuple[Name, ...]:
    """Names from outside that a code object reads, those of the functions inside it included, in order of the text.

    Examples
    --------
    >>> [".".join(name.parts) for name in names_read((lambda x: max(x, dis.opmap.get("NOP"))).__code__)]
    ['max', 'dis.opmap.get']
    """
    known = _known.get(id(code))
    if known is None:
        if len(_known) >= _KEPT:
            _known.clear()
        placed = sorted(_read(code, frozenset(code.co_freevars), {}), key=lambda found: found[0])
        found = tuple(dict.fromkeys(name for _, name in placed))
        known = _known[id(code)] = (code, found)
    return known[1]


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """The variables of the functions around it that it reads; not those that have no value yet.

    Examples
    --------
    >>> def around(level): return lambda: level
    >>> closure_of(around(3))
    {'level': 3}
    """
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not filled yet: a name that is only defined later
            found[name] = cell.cell_contents
    found.pop("__class__", None)
    return found


def defaults_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Its parameters that have a default, with the default.

    Examples
    --------
    >>> list(defaults_of(lambda price, size=4, *, hours=8: None))
    [('size', 4), ('hours', 8)]
    """
    code = function.__code__
    given = function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(given) : code.co_argcount], given, strict=False)
    yield from (function.__kwdefaults__ or {}).items()


def _read(code: types.CodeType, free: frozenset[str], held: dict[str, Name]) -> Iterator[tuple[tuple[int, int], Name]]:
    """Each name with its line and column: since 3.12 Python compiles a comprehension into what is around it."""
    reader = _Reader(free, dict(held))
    place = (code.co_firstlineno, 0)
    for step in dis.get_instructions(code):
        before = reader.current
        for name in reader.read(step.opname, step.argval):
            yield place, name
        starts = reader.current is not before and not step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))
        if starts and step.positions is not None and step.positions.lineno is not None:
            place = (step.positions.lineno, step.positions.col_offset or 0)
    if reader.current is not None:
        yield place, reader.current
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _read(constant, free, reader.held)


def _loaded(loader: Name, module: str) -> Name:
    """What a call returns: ``__import__("a.b")`` the package, whose attribute the module is."""
    level = len(module) - len(module.lstrip("."))
    top, *parts = module.split(".") if loader.parts[-1] == "__import__" else [module[level:]]
    return Name(tuple(parts), top, level)


class _Reader:
    """Reads instruction after instruction.

    Attributes
    ----------
    held : dict of str to Name
        What variables hold that was imported or read: ``h = helpers``, then ``h.target``.
    current : Name or None
        The name whose attributes are being read.
    loader : Name or None
        What loads a module, such as ``importlib.import_module``, while its arguments are read.
    """

    def __init__(self, free: frozenset[str], held: dict[str, Name]) -> None:
        self.held = held
        self.current: Name | None = None
        self.loader: Name | None = None
        self._written = ""  # the name of the module it is called with
        self._relative = False  # whether it is called with the package it is relative to
        self._free = free
        self._source: Name | None = None  # what an import takes names from
        self._constants: list[Any] = [None, None]

    def read(self, operation: str, argument: Any) -> Iterator[Name]:
        """Names that are complete when this instruction comes."""
        if self.loader is not None and operation not in _SILENT:
            names = self._loading(self.loader, operation, argument)
            if names is None:
                return
            yield from names
        yield from self._plain(operation, argument)

    def _plain(self, operation: str, argument: Any) -> Iterator[Name]:
        if operation in ("LOAD_ATTR", "LOAD_METHOD") and self.current is not None:
            self.current = self.current._replace(parts=(*self.current.parts, argument))
            return
        calls = operation not in _SILENT and not operation.startswith("STORE_")
        if calls and self.current is not None and self.current.parts[-1:] in _LOADERS:
            self.loader, self.current = self.current, None
            yield from self.read(operation, argument)
            return
        if operation == "PUSH_NULL":
            return
        if self.current is not None and (self.current.parts or not operation.startswith(("STORE_", "IMPORT_FROM"))):
            yield self.current
        variables = list(argument) if isinstance(argument, tuple) else [argument]
        if operation.startswith(_STORES):
            self._store(variables.pop(0))
        self.current = None
        if operation.startswith("IMPORT_"):
            self._import(operation, argument)
        elif operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            self.current = Name((argument,))
        elif operation in ("LOAD_CONST", "LOAD_SMALL_INT"):
            self._constants = [self._constants[1], argument]
        elif operation.startswith(_LOADS):
            for variable in variables:
                if self.current is not None:
                    yield self.current
                outside = "DEREF" in operation and variable in self._free
                self.current = self.held.get(variable) or (Name((variable,)) if outside else None)

    def _loading(self, loader: Name, operation: str, argument: Any) -> tuple[Name, ...] | None:
        """Names that are complete when an argument of a loader, or its call, has come; None: read no further."""
        if not self._written and operation == "LOAD_CONST" and isinstance(argument, str):
            self._written = argument
            return None
        written, relative = self._written, self._relative
        if written.startswith(".") and argument == "__package__" and not relative:
            self._relative = True
            return None
        self.loader, self._written, self._relative = None, "", False
        if not written or relative != written.startswith("."):
            return (loader._replace(computed=True),)
        if operation in _CALLS:
            self.current = _loaded(loader, written)
            return None
        # perhaps with more arguments: then all of the module counts
        return Name((), written), loader._replace(computed=True)

    def _store(self, variable: str) -> None:
        self.held.pop(variable, None)
        if self.current is not None:
            self.held[variable] = self.current

    def _import(self, operation: str, argument: Any) -> None:
        level, wanted = self._constants
        if operation == "IMPORT_NAME":
            self._source = Name((), argument if wanted else argument.partition(".")[0], level or 0)
            self.current = self._source
        elif operation == "IMPORT_FROM" and self._source is not None:
            self.current = self._source._replace(parts=(*self._source.parts, argument))
            if not wanted:  # ``import a.b.c as d`` takes one from the other
                self._source = self.current
