"""The statements that made a strategy's variables, run again over data with another future.

A number such as ``MEAN = float(table.close.mean())`` does not show what it was made of, its statement does. The text of
a module, or of the cells of a notebook, is read; the statements on which the strategy's names depend and that lead back
to market data are run again, in a namespace of their own, after that data was replaced. Statements that write files,
start programs or threads, or reach the network are refused, and what they make keeps its value.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import linecache
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from ..user_code import is_users
from .tracing import nothing_changed_outside
from .variables import Variable, caches, names_by_namespace, owner_of, variables

_CHANGING: Final = frozenset(
    {
        *("append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove", "sort", "reverse"),
        *("fit", "partial_fit", "fit_transform", "train", "load_state_dict", "fill", "put", "itemset"),
    }
)
_LOADING: Final = re.compile(r"^(read|load|fetch|get_candles|download|query|open|urlopen|execute|loadtxt|fromfile)")
_FETCHING: Final = ("bknb.exchanges", "bknb.market", "bknb.domain", "bknb.history")
_MOST_STATEMENTS: Final = 3_000
_BUILT_IN: Final = frozenset(vars(builtins))


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement at the top of a module or cell: which names it makes or changes, and which it reads."""

    node: ast.stmt
    file: str
    makes: frozenset[str]
    reads: frozenset[str]
    loads: bool


@dataclass(slots=True)
class _Part:
    """What is run again in one namespace."""

    space: dict[str, Any]
    statements: list[_Statement]
    roots: set[str]
    names: set[str]
    loading: bool = False
    codes: list[tuple[_Statement, CodeType]] = field(default_factory=list)
    failed: list[_Statement] = field(default_factory=list)


class Preparation:
    """The statements that made the variables of a strategy out of market data.

    Parameters
    ----------
    function
        The strategy.
    holds_data
        Whether a value holds market data that can be recognised.

    Attributes
    ----------
    names : list of str
        Names that are made again.
    put_names : list of str
        Names of the variables that ``remade`` put values into the last time.
    untold : list of str
        Names whose making could not be read or run again.
    explained : set of int
        Identities of values whose making is known: remade, or made of what the text says alone.
    """

    def __init__(self, function: Callable[..., Any], holds_data: Callable[[Any], bool]) -> None:
        self.function = function
        self.names: list[str] = []
        self.untold: list[str] = []
        self.put_names: list[str] = []
        self.explained: set[int] = set()
        self._holds_data = holds_data
        self._parts: list[_Part] = []
        for space, names in names_by_namespace(function):
            self._read(space, {name for name in names if not isinstance(space.get(name), ModuleType)})

    def _read(self, space: dict[str, Any], names: set[str]) -> None:
        statements = _statements(space)
        if statements is None:
            self.untold += sorted(name for name in names if not _is_code(space.get(name)))
            return
        needed, known = set(names), set[str]()
        while needed != known:
            known = set(needed)
            for one in statements:
                if one.makes & needed:
                    needed |= {name for name in one.reads if name in space}
        relevant = [one for one in statements if one.makes & needed]
        data = {
            name for name in needed if name in space and not _is_code(space[name]) and self._holds_data(space[name])
        }
        roots = {name for name in data if not self._reaches(name, data - {name}, relevant)}
        loads = {name for one in relevant if one.loads for name in one.makes}
        loads = _closed(loads, relevant)  # what loads through a function that does
        made = _closed(roots | {name for name in loads if not _is_code(space.get(name))}, relevant)
        for name in names:
            if name in space and name not in made and any(name in one.makes for one in relevant):
                self.explained.add(id(space[name]))
        made_names = made & needed
        if not made_names:
            return
        used = [one for one in relevant if one.makes & made]
        part = _Part(space, used, roots, made_names)
        part.codes = [(one, _compiled(one)) for one in used]
        self._parts.append(part)

    @staticmethod
    def _reaches(name: str, data: set[str], relevant: Sequence[_Statement]) -> bool:
        """Whether a name is made of others that hold data."""
        seen, waiting = {name}, [name]
        while waiting:
            one = waiting.pop()
            for statement in relevant:
                if one in statement.makes:
                    for other in statement.reads - seen:
                        if other in data:
                            return True
                        seen.add(other)
                        waiting.append(other)
        return False

    # --- running again ------------------------------------------------------------------------------------------

    def try_out(self, unchanged: Callable[[], bool]) -> None:
        """Keep what comes out again: ``unchanged`` tells, after everything was remade over the same data."""
        kept = []
        parts, self._parts = self._parts, []
        for part in parts:
            if self._comes_out_again(part, unchanged):
                kept.append(part)
                lost = {name for one in part.failed for name in one.makes & part.names}
            else:
                lost = part.names
            self.untold += sorted(name for name in lost if not _is_code(part.space.get(name)))
            remade = {name for name in part.names - lost if name in part.space and name not in part.roots}
            self.explained |= {id(part.space[name]) for name in remade}
            self.names += sorted(name for name in remade if not _is_code(part.space[name]))
        self._parts = kept

    def _comes_out_again(self, part: _Part, unchanged: Callable[[], bool]) -> bool:
        failures: list[int] = []
        for loading in (False, True):  # the data as it is now; else from the statements that load it
            part.loading = loading
            part.failed = self._failing(part)
            failures.append(len(part.failed))
            if part.failed and not loading:
                continue
            if loading and failures[1] >= failures[0]:
                part.loading, part.failed = False, []
                part.failed = self._failing(part)
            self._parts = [part]
            with self.remade(lambda value: value):
                return unchanged()
        return False

    def _failing(self, part: _Part) -> list[_Statement]:
        """The statements that cannot be run again."""
        part.failed = []
        self._run(part, lambda value: value, part.failed)
        return part.failed

    @contextlib.contextmanager
    def remade(self, change: Callable[[Any], Any], only: str | None = None) -> Iterator[None]:
        """Put remade values in place inside the ``with`` block.

        Parameters
        ----------
        change
            From market data to the same with another future.
        only
            The one name to put a value in place for; by default all.

        Raises
        ------
        Exception
            Whatever the statements raise.
        """
        puts: list[tuple[Variable, Any]] = []
        for part in self._parts:
            puts += self._puts(part, self._run(part, change))
        self.put_names = list(dict.fromkeys(variable.name for variable, _ in puts))
        with contextlib.ExitStack() as stack:
            for variable, new in puts:
                if only is None or variable.name == only:
                    stack.enter_context(variable.replaced(new))
            for clear in caches(self.function):
                clear()
                stack.callback(clear)
            yield

    @staticmethod
    def _run(part: _Part, change: Callable[[Any], Any], failing: list[_Statement] | None = None) -> dict[str, Any]:
        space = dict(part.space)
        if not part.loading:
            space |= {name: change(part.space[name]) for name in part.roots}
        with nothing_changed_outside(), contextlib.redirect_stdout(io.StringIO()):
            for statement, code in part.codes:
                is_root = statement.makes & part.roots and not statement.reads & part.roots
                if statement in part.failed or (is_root and not part.loading):
                    continue
                try:
                    exec(code, space)  # noqa: S102 -- the user's own statements
                except Exception:
                    if failing is None:
                        raise
                    failing.append(statement)
        return space

    def _puts(self, part: _Part, space: dict[str, Any]) -> list[tuple[Variable, Any]]:
        found: list[tuple[Variable, Any]] = []
        new_of = {id(part.space[name]): space[name] for name in part.names if name in part.space and name in space}
        reached = [variable for variable in variables(self.function) if id(variable.value) in new_of]
        found += [(variable, new_of[id(variable.value)]) for variable in reached]
        owner = owner_of(self.function)
        for name in part.names:
            old, new = part.space.get(name), space.get(name)
            if isinstance(old, FunctionType) and isinstance(new, FunctionType):
                found += _of_functions(old, new)
            elif owner is not None and old is owner and hasattr(new, "__dict__"):
                own = vars(owner)
                found += [
                    (Variable(key, own[key], _setter(own, key)), value)
                    for key, value in vars(new).items()
                    if key in own
                ]
            elif name in part.space:
                found.append((Variable(name, old, _setter(part.space, name)), new))
        return found


def _setter(space: dict[str, Any], name: str) -> Callable[[Any], None]:
    return lambda value: space.__setitem__(name, value)


def _of_functions(old: FunctionType, new: FunctionType) -> list[tuple[Variable, Any]]:
    """Defaults and closures of the same function made again."""
    if old.__code__.co_name != new.__code__.co_name:
        return []
    found: list[tuple[Variable, Any]] = []
    for name in ("__defaults__", "__kwdefaults__"):
        put = Variable(name, getattr(old, name), lambda value, name=name: setattr(old, name, value))  # type: ignore[misc]
        found.append((put, getattr(new, name)))
    if old.__code__.co_freevars == new.__code__.co_freevars:
        for cell, other in zip(old.__closure__ or (), new.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                put = Variable("", cell.cell_contents, lambda value, cell=cell: setattr(cell, "cell_contents", value))  # type: ignore[misc]
                found.append((put, other.cell_contents))
    return found


def _is_code(value: Any) -> bool:
    return isinstance(value, (FunctionType, ModuleType, type)) or callable(getattr(value, "cache_clear", None))


def _closed(names: set[str], statements: Sequence[_Statement]) -> set[str]:
    """The names, and all that are made of them."""
    found, before = set(names), set[str]()
    while found != before:
        before = set(found)
        for one in statements:
            if one.reads & found or one.makes & found:
                found |= one.makes
    return found


# -- reading -------------------------------------------------------------------------------------------------------


def _statements(space: dict[str, Any]) -> list[_Statement] | None:
    """The statements that filled a namespace, in order; ``None`` when nobody has their text."""
    found: list[_Statement] = []
    for file, text in _texts(space):
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        nodes = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
        nodes = [node for node in nodes if not _starts_a_run(node, space)]
        found += [_statement(_undecorated(node, space), file) for node in nodes]
    return found if 0 < len(found) <= _MOST_STATEMENTS else None


def _texts(space: dict[str, Any]) -> Iterator[tuple[str, str]]:
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


def _starts_a_run(node: ast.stmt, space: dict[str, Any]) -> bool:
    """Whether a statement calls bknb to do more than to fetch candles."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
    modules = [str(getattr(_named(call, space), "__module__", "")) for call in calls]
    return any(module.startswith("bknb.") and not module.startswith(_FETCHING) for module in modules)


def _named(node: ast.expr, space: dict[str, Any]) -> Any:
    """The function that an expression such as ``bknb.backtest`` names; ``None`` when it is none of a module's."""
    if isinstance(node, ast.Name):
        return space.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _named(node.value, space)
        return getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
    return None


def _statement(node: ast.stmt, file: str) -> _Statement:
    makes: set[str] = set()
    reads: set[str] = set()
    loads = False
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        makes.add(node.name)
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            if isinstance(each.ctx, ast.Load):
                reads.add(each.id)
            elif not inside:
                makes.add(each.id)
        elif isinstance(each, (ast.Subscript, ast.Attribute)) and isinstance(each.ctx, (ast.Store, ast.Del)):
            makes |= _base(each)
        elif isinstance(each, ast.Call):
            name = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
            loads |= bool(_LOADING.match(name))
            in_place = any(word.arg == "inplace" for word in each.keywords)
            if isinstance(each.func, ast.Attribute) and (name in _CHANGING or in_place):
                makes |= _base(each.func)
    if isinstance(node, ast.AugAssign):
        reads |= makes
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        makes = {node.name}  # what its body makes are names of its own, or is made when it is called
    return _Statement(node, file, frozenset(makes), frozenset(reads - _BUILT_IN), loads)


def _base(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _compiled(statement: _Statement) -> CodeType:
    return compile(ast.Module(body=[statement.node], type_ignores=[]), statement.file, "exec")


def _undecorated(node: ast.stmt, space: dict[str, Any]) -> ast.stmt:
    """A function's definition without decorators that would register it again."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        node.decorator_list = [one for one in node.decorator_list if not _own_decorator(one, space)]
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
