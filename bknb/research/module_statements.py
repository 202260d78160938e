"""The statements of a module or a notebook: which names each makes, which it reads, and whether it loads data."""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import dis
import linecache
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from ..user_code import is_users
from .calling_functions import Scope
from .read_only import could_be_written_to
from .variables import functions, is_own_instance, reached

_CHANGING: Final = frozenset(
    {
        *("append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove", "sort", "reverse"),
        *("fit", "partial_fit", "fit_transform", "train", "load_state_dict", "fill", "put", "itemset"),
    }
)
_LOADING: Final = re.compile(
    r"^(read|load|fetch|get_candles|download|query|open|urlopen|execute|loadtxt|fromfile|getenv)"
)
_WRITING: Final = re.compile(
    r"^(write(lines|_\w+)?|sink_\w+|save\w*|to_(parquet|feather|orc|hdf|hdf5|zarr|netcdf|sql|gbq|stata)|imwrite|create_dataset"
    r"|executemany|executescript|commit)$"
)
_WRITING_SQL: Final = re.compile(
    r"(\s|--[^\n]*\n|/\*((?!\*/).)*\*/)*"  # comments before it
    r"((insert|replace|merge)\s+(or\s+\w+\s+)?into|update\s+\S+\s+set|delete\s+from|copy\s+\S+\s+(to|from)"
    r"|(create|drop|alter|truncate)\s+(temp\w*\s+)?(table|index|view))\b",
    re.IGNORECASE | re.DOTALL,
)
_PURE: Final = frozenset(
    {"builtins", "datetime", "math", "itertools", "collections", "functools", "numpy", "pandas", "zoneinfo"}
)
_PURE_METHODS: Final = frozenset(
    {
        *("append", "extend", "update", "items", "keys", "values", "date", "time", "timestamp", "isoformat"),
        *("strftime", "astimezone", "replace", "split", "splitlines", "strip", "lower", "upper", "join", "format"),
        *(
            "union",
            "normalize",
            "normal",
            "integers",
            "uniform",
            "astype",
            "tolist",
            "reshape",
            "cumsum",
            "mean",
            "sum",
        ),
    }
)
_FETCHING: Final = ("bknb.exchanges", "bknb.market", "bknb.domain", "bknb.history")
_RUNNING: Final = ("bknb.runs.", "bknb.optimizer.", "bknb.sweeps.", "bknb.live.")
_MOST_STATEMENTS: Final = 3_000
_READING_OPERATIONS: Final = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORING_GLOBAL: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_STORING_NAME: Final = frozenset({"STORE_NAME", "DELETE_NAME"})  # in a class: its attributes
_BUILT_IN: Final = frozenset(vars(builtins))


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement at the top of a module or cell: which names it makes or changes, and which it reads."""

    node: ast.stmt
    file: str
    makes: frozenset[str]
    changes: frozenset[str]  # those of them whose values it changes in place
    reads: frozenset[str]
    loads: bool
    self_contained: bool  # whether it needs nothing but what stands in the text
    starts_a_run: bool  # whether it calls bknb to do more than to fetch candles, directly or in the user's functions


def statements_of(space: dict[str, Any]) -> list[Statement] | None:
    """The statements that filled a namespace, in order; ``None`` when nobody has their text."""
    found: list[Statement] = []
    for file, text in _texts(space):
        with contextlib.suppress(SyntaxError):  # a cell that was never run
            nodes = [node for node in _parsed(text) if not isinstance(node, (ast.Import, ast.ImportFrom))]
            found += [_statement(_undecorated(node, space), file, space) for node in nodes]
    if isinstance(space, Scope):
        for node in space.nodes:
            with contextlib.suppress(SyntaxError):  # what stands in functions alone, such as a yield
                found.append(_statement(_undecorated(node, space), space.file, space))
    return found if 0 < len(found) <= _MOST_STATEMENTS else None


def imported(space: dict[str, Any], names: set[str]) -> Iterator[tuple[str, ModuleType, str]]:
    """Values imported by name from the user's own modules: as what, from where, what."""
    for _, text in _texts(space):
        with contextlib.suppress(SyntaxError):
            for node in _parsed(text):
                if not isinstance(node, ast.ImportFrom) or node.level:
                    continue
                module = sys.modules.get(node.module or "")
                if module is None or not is_users(module):
                    continue
                named = [(each.asname or each.name, each.name) for each in node.names if each.name != "*"]
                if len(named) < len(node.names):  # all of its names, but those that are this namespace's own by now
                    named += [(one, one) for one in sorted(names) if space.get(one) is vars(module).get(one)]
                for alias, name in named:
                    if alias in names and alias in space and name in vars(module):
                        yield alias, module, name


@lru_cache(maxsize=64)  # the cells of a notebook, asked for twice in each check
def _parsed(text: str) -> list[ast.stmt]:
    """The statements of a text; not to be changed."""
    return ast.parse(text).body


def _texts(space: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if isinstance(space, Scope):
        yield from _texts(space.module)
        return
    cells = space.get("In")
    if isinstance(cells, list) and "get_ipython" in space:
        for number, cell in enumerate(cells):
            lines = [line for line in str(cell).splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
            yield f"<cell {number}>", "\n".join(lines)
        return
    file = space.get("__file__")
    if isinstance(file, str) and not (isinstance(space.get("__name__"), str) and _installed(space)):
        yield file, "".join(linecache.getlines(file))


def _installed(space: dict[str, Any]) -> bool:
    module = ModuleType(str(space["__name__"]))
    module.__file__ = space.get("__file__")
    return not is_users(module)


def _starts_a_run(text: _Text, space: dict[str, Any]) -> bool:
    """Whether a statement calls bknb to do more than to fetch candles, or a function of the user's that does."""
    if text.defines:
        return False
    modules = [str(getattr(_named(call, space), "__module__", "")) for call in text.calls]
    if any(module.startswith("bknb.") and not module.startswith(_FETCHING) for module in modules):
        return True
    called = [_called(call, space) for call in text.calls]
    return any(_names_a_run(function) for one in called if one is not None for function in functions(one))


def _names_a_run(function: FunctionType) -> bool:
    """Whether a function of the user's names one of bknb that starts a run."""
    read = [function.__globals__.get(name) for name in function.__code__.co_names]
    modules = [value for value in read if isinstance(value, ModuleType) and value.__name__.partition(".")[0] == "bknb"]
    read += [getattr(module, name, None) for module in modules for name in function.__code__.co_names]
    return any(str(getattr(value, "__module__", "")).startswith(_RUNNING) for value in read)


def _named(node: ast.expr, space: dict[str, Any]) -> Any:
    """The function that an expression such as ``bknb.backtest`` names; ``None`` when it is none of a module's."""
    if isinstance(node, ast.Name):
        return space.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _named(node.value, space)
        return getattr(owner, node.attr, None) if isinstance(owner, (ModuleType, type)) else None
    return None


def _statement(node: ast.stmt, file: str, space: dict[str, Any]) -> Statement:
    text = _text_of(node)
    runs = _starts_a_run(text, space)
    loads = text.loads or runs
    self_contained = not loads and all(_is_pure(call, space) for call in text.calls)
    return Statement(node, file, text.makes, text.changes, text.reads, loads, self_contained, runs)


class _Text(NamedTuple):
    """What the text of a statement says by itself, without the values of its names."""

    makes: frozenset[str]
    changes: frozenset[str]
    reads: frozenset[str]
    loads: bool
    calls: tuple[ast.expr, ...]  # what it calls
    defines: bool  # a function or a class


@lru_cache(maxsize=4_096)  # every check of a strategy reads all statements of its module or notebook
def _text_of(node: ast.stmt) -> _Text:
    makes: set[str] = set()
    changes: set[str] = set()
    reads: set[str] = set()
    calls: list[ast.expr] = []
    loads = False
    defines = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        makes.add(node.name)
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            if isinstance(each.ctx, ast.Load):
                reads.add(each.id)
            elif not defines:
                makes.add(each.id)
        elif isinstance(each, (ast.Subscript, ast.Attribute)) and isinstance(each.ctx, (ast.Store, ast.Del)):
            changes |= _base(each)
        elif isinstance(each, ast.Attribute):
            loads |= each.attr == "environ"
        elif isinstance(each, ast.Call):
            calls.append(each.func)
            name = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
            loads |= bool(_LOADING.match(name))
            in_place = any(word.arg == "inplace" for word in each.keywords)
            if isinstance(each.func, ast.Attribute) and (name in _CHANGING or in_place):
                changes |= _base(each.func)
    if isinstance(node, ast.AugAssign):
        changes |= _base(node.target)  # arrays and lists stay the same object
        reads |= makes
    read, stored = _module_names(node)
    makes, changes, reads = makes & stored, changes & (read | stored), reads & read
    makes |= changes
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        makes, changes = {node.name}, set()  # what its body makes are its own names, or is made when it is called
    return _Text(frozenset(makes), frozenset(changes), frozenset(reads - _BUILT_IN), loads, tuple(calls), defines)


def _module_names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The names of its module that a statement reads, and those that it stores or deletes.

    Variables of comprehensions, and parameters and variables of functions, are none of them.

    Raises
    ------
    SyntaxError
        For what is never run, such as ``return`` outside a function.
    """
    module = ast.Module(body=[node], type_ignores=[])
    code: CodeType = compile(module, "<statement>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    read: set[str] = set()
    stored: set[str] = set()
    waiting = [code]
    while waiting:
        each = waiting.pop()
        for step in dis.get_instructions(each):
            if step.opname in _READING_OPERATIONS:
                read.add(step.argval)
            elif step.opname in _STORING_GLOBAL or (each is code and step.opname in _STORING_NAME):
                stored.add(step.argval)
        waiting += [one for one in each.co_consts if isinstance(one, CodeType)]
    return read, stored


def writes(statement: Statement, space: dict[str, Any]) -> bool:
    """Whether a statement may write when it is run.

    It may where it calls a function whose name says that it writes, such as ``to_csv``, itself or in functions of the
    user; where it holds SQL that writes; and where a variable that it names holds an open file or a database, also one
    opened for reading. A connection to SQLite that the statement names itself is replaced by one that can only read.
    """
    judged: dict[int, Any] = {}  # by id: what was reached through an earlier name
    for each in _run_at_once(statement.node):
        if isinstance(each, ast.Call):
            name = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
            called = _called(each.func, space)
            if _WRITING.match(name) or (called is not None and any(_names_writing(one) for one in functions(called))):
                return True
        elif isinstance(each, ast.Constant):
            if _is_writing_sql(each.value):
                return True
        elif isinstance(each, (ast.Name, ast.Attribute)) and _leads_to_writing(each, space, judged):
            return True
    return False


def read_at_once(statement: Statement) -> set[str]:
    """The names that a statement reads when it runs: a class those of its attributes, a function those of defaults."""
    return {each.id for each in _run_at_once(statement.node) if isinstance(each, ast.Name)} & statement.reads


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that run with it: of a function it defines, the decorators and the defaults."""
    yield node
    inside = ast.iter_child_nodes(node)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [each for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None]
        inside = iter([*node.decorator_list, *defaults])
    for each in inside:
        yield from _run_at_once(each)


def _leads_to_writing(node: ast.Name | ast.Attribute, space: dict[str, Any], judged: dict[int, Any]) -> bool:
    value = _named(node, space)
    if not isinstance(node.ctx, ast.Load):
        return False
    if isinstance(node, ast.Name) and could_be_written_to(value):
        return False  # it is replaced by what can only be read, or the statement is refused
    if id(value) in judged:
        return False
    judged[id(value)] = value
    return any(could_be_written_to(one) or _is_writing_sql(one) for one in reached(value))


def _is_writing_sql(value: Any) -> bool:
    return isinstance(value, str) and _WRITING_SQL.match(value) is not None


def _called(node: ast.expr, space: dict[str, Any]) -> Any:
    """What an expression such as ``load`` or ``helpers.load`` or ``LOADER.load`` calls; ``None`` when it is unknown."""
    if isinstance(node, ast.Attribute):
        owner = space.get(node.value.id) if isinstance(node.value, ast.Name) else _named(node.value, space)
        is_known = isinstance(owner, (ModuleType, type)) or is_own_instance(owner)
        return getattr(owner, node.attr, None) if is_known else None
    return _named(node, space)


def _names_writing(function: FunctionType) -> bool:
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        if any(_WRITING.match(name) for name in code.co_names):
            return True
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
        if any(_is_writing_sql(each) for each in code.co_consts):
            return True
    return False


def _is_pure(function: ast.expr, space: dict[str, Any]) -> bool:
    """Whether what is called computes from its arguments alone."""
    if isinstance(function, ast.Name) and (function.id in _BUILT_IN or function.id in space):
        module = str(getattr(space.get(function.id, int), "__module__", ""))
    elif isinstance(function, ast.Attribute):
        owner = _named(function.value, space)
        if not isinstance(owner, (ModuleType, type)):
            return function.attr in _PURE_METHODS
        module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    else:
        return False
    top = module.partition(".")[0]
    return top in _PURE or (module in sys.modules and is_users(sys.modules[module]))


def _base(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def compiled(statement: Statement) -> CodeType:
    """The code of a statement, to be run again."""
    return _compiled(statement.node, statement.file)


@lru_cache(maxsize=4_096)
def _compiled(node: ast.stmt, file: str) -> CodeType:
    return compile(ast.Module(body=[node], type_ignores=[]), file, "exec")


def _undecorated(node: ast.stmt, space: dict[str, Any]) -> ast.stmt:
    """A function's definition without decorators that would register it again."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        kept = tuple(one for one in node.decorator_list if not _own_decorator(one, space))
        return node if len(kept) == len(node.decorator_list) else _decorated(node, kept)
    return node


@lru_cache(maxsize=1_024)
def _decorated(node: ast.FunctionDef | ast.AsyncFunctionDef, by: tuple[ast.expr, ...]) -> ast.stmt:
    node = copy.copy(node)  # the parsed text is kept
    node.decorator_list = [*by]
    return node


def _own_decorator(node: ast.expr, space: dict[str, Any]) -> bool:
    """Whether a decorator is the user's own or bknb's: it would register the function again."""
    target = node.func if isinstance(node, ast.Call) else node
    names = _base(target)
    value = space.get(next(iter(names), ""))
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] == "bknb" or is_users(value)
    module = str(getattr(value, "__module__", ""))
    return module.partition(".")[0] == "bknb" or (isinstance(value, (FunctionType, type)) and is_users(value))
