"""What a function reads by a name in a text, as ``globals()["LEVEL"]``, and what it reads from outside the program."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ..user_code import is_users
from .names_read import Name, names_read
from .parts import own_module

BY_TEXT: Final = (
    "it reads names that are not written in it (globals, sys.modules, eval, exec, frames): "
    "what they hold is not compared"
)
FILES: Final = "it reads files, databases or the network while it runs: what they hold is not compared"
ENVIRONMENT: Final = "it reads environment variables: what they hold is not compared"

_BY_TEXT: Final = frozenset({"globals", "eval", "exec"})
_BY_FRAME: Final = frozenset({"_getframe", "currentframe", "__globals__", "f_globals", "get_objects", "get_referrers"})
_FILES: Final = frozenset(
    {
        *("read_text", "read_bytes", "loadtxt", "genfromtxt", "fromfile", "memmap", "load_npz"),
        *("read_csv", "read_table", "read_parquet", "read_json", "read_excel", "read_feather", "read_pickle"),
        *("read_hdf", "read_sql", "read_sql_query", "read_sql_table", "read_xml", "read_orc", "read_stata", "read_fwf"),
        *("read_spss", "read_sas", "scan_csv", "scan_parquet", "scan_ipc", "urlopen", "urlretrieve"),
    }
)
_LOADS: Final = frozenset({"load", "connect"})
"""Those of others read files or databases, as ``np.load`` and ``sqlite3.connect``; the user's own may do anything."""
_ENVIRONMENT: Final = frozenset({"environ", "environb", "getenv"})


class Indirect(NamedTuple):
    """What the names in a function do not tell of it.

    Attributes
    ----------
    names : tuple of Name
        Names that stand in its texts.
    notes : tuple of str
        What it reads that nobody can compare.
    """

    names: tuple[Name, ...] = ()
    notes: tuple[str, ...] = ()


def indirect(code: types.CodeType, text: str, space: Mapping[str, Any]) -> Indirect:
    """What a function reads by a text, or from outside the program.

    Parameters
    ----------
    text
        Its source; without it names in texts are not found, but noted.
    space
        What its names mean: its globals, and the variables of the functions around it.

    Examples
    --------
    >>> def reads(): return globals()["LEVEL"] + open("levels").read()
    >>> text = 'def reads(): return globals()["LEVEL"] + open("levels").read()'
    >>> found = indirect(reads.__code__, text, globals())
    >>> [name.parts for name in found.names], found.notes == (FILES,)
    ([('LEVEL',)], True)
    """
    first = {name.parts[0] for name in names_read(code) if name.parts and not name.is_import}
    spoken = {part for name in names_read(code) for part in name.parts} | set(_attributes(code))
    notes = []
    found: tuple[Name, ...] = ()
    if first & _BY_TEXT or {"sys", "modules"} <= spoken or spoken & _BY_FRAME:
        found, complete = _names_in(text)
        if not complete or spoken & _BY_FRAME:
            notes.append(BY_TEXT)
    if (
        "open" in first
        or spoken & _FILES
        or ("open" in spoken and _calls_open(text))
        or (spoken & _LOADS and _loads(code, text, space))
    ):
        notes.append(FILES)
    if spoken & _ENVIRONMENT:
        notes.append(ENVIRONMENT)
    return Indirect(found, tuple(notes))


def _attributes(code: types.CodeType) -> Iterator[str]:
    """All global names and attributes in a code object, those of calls (``Path(x).read_text``) included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _attributes(constant)


def _calls_open(text: str) -> bool:
    """Whether a method ``open`` is called, as ``Path("levels").open()``; the price of a candle has that name too."""
    return any(node.attr == "open" for node in _called_attributes(text) or ())


def _called_attributes(text: str) -> list[ast.Attribute] | None:
    """The attributes that a source calls; None without a source that can be read."""
    try:
        nodes = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError):
        return None
    return [node for node in nodes if isinstance(node, ast.Attribute)] if text else None


def _loads(code: types.CodeType, text: str, space: Mapping[str, Any]) -> bool:
    """Whether a ``load`` or ``connect`` may be of others; one of an object that nobody knows before the run may be."""
    names = [name for name in names_read(code) if _LOADS.intersection(name.parts)]
    if any(_is_of_others(name, space) for name in names):
        return True
    called = _called_attributes(text)
    if called is None:
        return not names
    known = {name.parts[0] for name in names_read(code) if name.parts and not name.is_import} | {"self", "cls"}
    owners = [func.value for func in called if func.attr in _LOADS]
    return any(not (isinstance(owner, ast.Name) and owner.id in known) for owner in owners)


def _is_of_others(name: Name, space: Mapping[str, Any]) -> bool:
    """Whether the owner of a ``load`` or ``connect`` is neither a module nor a class nor an object of the user's."""
    if name.is_import:
        return own_module(name.module) is None and not name.level
    first, *attributes = name.parts
    thing = space.get(first)
    if first in _LOADS:
        return callable(thing) and not _is_own(thing)
    for attribute in attributes:
        if attribute in _LOADS:
            return not _is_own(thing)
        thing = getattr(thing, attribute, None) if isinstance(thing, types.ModuleType) else None
    return False


def _is_own(thing: Any) -> bool:
    return is_users(thing if isinstance(thing, (types.FunctionType, types.ModuleType, type)) else type(thing))


def _names_in(text: str) -> tuple[tuple[Name, ...], bool]:
    """Names in the texts of a function, and whether they are all that it reads in this way."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return (), False
    if not text:
        return (), False
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found: list[Name] = []
    taken: set[ast.AST] = set()
    for node in ast.walk(tree):
        source, written = _looked_up(node)
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "globals":
            taken.add(source.func)
            found.append(Name((written, *_attributes_of(node, above))))
        elif isinstance(source, ast.Attribute) and source.attr == "modules":
            taken.add(source)
            found.append(Name(tuple(_attributes_of(node, above)), written))
        elif isinstance(source, ast.Name) and source.id in ("eval", "exec"):
            try:
                evaluated = compile(written.strip(), "<text>", source.id, dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            taken.add(source)
            deeper = _names_in(written.strip())
            if not deeper[1]:
                return (), False
            found += [*names_read(evaluated), *deeper[0]]
    open_ends = (node for node in ast.walk(tree) if node not in taken and _by_text(node))
    return tuple(found), not any(True for _ in open_ends)


def _by_text(node: ast.AST) -> bool:
    name = isinstance(node, ast.Name) and node.id in _BY_TEXT
    return name or (isinstance(node, ast.Attribute) and node.attr == "modules")


def _looked_up(node: ast.AST) -> tuple[Any, str]:
    """Where a text is looked up, and the text: of ``x["a"]``, ``x.get("a")``, ``eval("a")``; else None."""
    key: Any = None
    source: Any = None
    if isinstance(node, ast.Subscript):
        source, key = node.value, node.slice
    elif isinstance(node, ast.Call) and node.args:
        key = node.args[0]
        source = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "get" else node.func
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return source, key.value
    return None, ""


def _attributes_of(node: ast.AST, above: dict[ast.AST, ast.AST]) -> Iterator[str]:
    around = above.get(node)
    while isinstance(around, ast.Attribute):
        yield around.attr
        around = above.get(around)
