"""The source text of functions and classes, and a digest of it; only text that says what the code in memory does."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import inspect
import linecache
import sys
import textwrap
import types
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

_KEPT: Final = 1_024
_KEPT_FILES: Final = 16

# Reading text costs a millisecond; holding the code objects here keeps their ids unique.
_texts: dict[int, tuple[types.CodeType, str]] = {}
_classes: dict[int, tuple[weakref.ref[type], str]] = {}
_files: dict[str, tuple[tuple[int, int], dict[str, list[types.CodeType]]]] = {}


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One function or class as its author wrote it.

    Attributes
    ----------
    name : str
        Qualified name, with the module in front when it is not the notebook itself.
    text : str
        Source text without indentation and trailing blanks; empty when nobody has it.
    digest : str
        ``"3:"`` and a digest of the text; of the compiled code when there is no text, of a ``lambda`` of what it says.
        0.1.0 wrote digests without a version in front.
    """

    name: str
    text: str
    digest: str


def text_of_code(code: types.CodeType, module: types.ModuleType | None) -> str:
    """The text of a function without indentation and trailing blanks; empty when nobody has it.

    It is read once: a cell that is run again does not change what an earlier function was. A file that was edited and
    not loaded again does not count: its text is not what runs.

    Parameters
    ----------
    module
        Where the function was defined.
    """
    known = _texts.get(id(code))
    if known is None:
        if len(_texts) >= _KEPT:
            _texts.clear()
        written = _as_in_file(code, module)
        known = _texts[id(code)] = (code, "" if written is None else _text_at(written, module))
    return known[1]


def text_of_class(thing: type) -> str:
    """The text of a class, as of a function: read once, as its whole file is parsed for it."""
    known = _classes.get(id(thing))
    if known is None or known[0]() is not thing:
        if len(_classes) >= _KEPT:
            _classes.clear()
        known = _classes[id(thing)] = (weakref.ref(thing), _text_of_class(thing))
    return known[1]


def _text_of_class(thing: type) -> str:
    module = sys.modules.get(thing.__module__)
    methods = [member for member in vars(thing).values() if is_written_in(member, thing)]
    if not all(text_of_code(method.__code__, module) for method in methods):
        return ""
    text = _text(thing)
    if text or not methods:
        return text
    code = methods[0].__code__  # a class of a cell: Python does not know where it is, but knows where its methods are
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return ""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and node.name == thing.__name__
        and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)
    ]
    if not around:
        return ""
    first = min([around[-1].lineno, *(part.lineno for part in around[-1].decorator_list)])
    return _plain("".join(lines[first - 1 : around[-1].end_lineno]))


def is_written_in(member: Any, thing: type) -> bool:
    """Whether a member of a class is a function whose text is in that of the class."""
    return isinstance(member, types.FunctionType) and member.__code__.co_qualname.startswith(f"{thing.__qualname__}.")


def digest_of(text: str, code: types.CodeType | None = None) -> str:
    """The first 16 digits of a digest of a text, and of compiled code where nobody has the text."""
    made = hashlib.sha256(text.encode())
    if code is not None:
        made.update(repr(_meaning(code)).encode())
    return made.hexdigest()[:16]


def digest_of_code(code: types.CodeType, module: types.ModuleType | None) -> str:
    """The digest of a function: of its text, of a ``lambda`` what is written of it on its lines.

    Without a text it is that of the compiled code, which is another one in another version of Python.
    """
    text = text_of_code(code, module)
    if not text:
        return digest_of("", code)
    if code.co_name != "<lambda>":
        return digest_of(text)
    written = _as_in_file(code, module)
    tree = None if written is None else _lambda_of(written)
    return digest_of("", code) if tree is None else digest_of(_tree_text(tree))


@lru_cache(maxsize=_KEPT)
def digest_unnamed(text: str, *, first: bool) -> str | None:
    r"""The digest of what a function or class does: without docstrings, comments and layout.

    A text is parsed once: every run asks for it.

    Parameters
    ----------
    text
        Of one function or class.
    first
        Whether the name of the function is left out too.

    Returns
    -------
    str or None
        None for a text that is no function or class, such as the line of a lambda.

    Examples
    --------
    >>> texts = ("def one(price): return 1", "def other(price):  # the same\n    'Rest.'\n    return 1")
    >>> len({digest_unnamed(text, first=True) for text in texts})
    1
    """
    try:
        (written,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(written, _WITH_DOCSTRING):
        return None
    for node in ast.walk(written):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    if first and not isinstance(written, ast.ClassDef):
        written.name = ""
    return digest_of(_tree_text(written))


_WITH_DOCSTRING: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _lambda_of(code: types.CodeType) -> ast.Lambda | None:
    """The lambda in its file that a code object was compiled from: several may stand on one line."""
    starts, ends = [], []
    for line, last, column, end in code.co_positions():
        if line is not None and last is not None and column is not None and end is not None and column != end:
            starts.append((line, column))
            ends.append((last, end))
    found = []
    for node in _lambdas("".join(linecache.getlines(code.co_filename))):
        body = node.body
        if node.lineno != code.co_firstlineno:
            continue
        if not starts:  # nothing but a constant, which has no place
            if _returns_the_same(node, code):
                return node
        elif (body.lineno, body.col_offset) <= min(starts) and max(ends) <= (body.end_lineno, body.end_col_offset):
            found.append(node)
    return max(found, key=lambda node: (node.body.lineno, node.body.col_offset), default=None)


def _returns_the_same(node: ast.Lambda, code: types.CodeType) -> bool:
    compiled = compile(ast.Expression(node), code.co_filename, "eval", dont_inherit=True)
    made = [part for part in compiled.co_consts if isinstance(part, types.CodeType)]
    return any(repr((one.co_code, one.co_consts)) == repr((code.co_code, code.co_consts)) for one in made)


@lru_cache(maxsize=_KEPT_FILES)
def _lambdas(source: str) -> tuple[ast.Lambda, ...]:
    """The lambdas of a source text. It is the key, so a file that changes is parsed again."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Lambda))


def _tree_text(node: object) -> str:
    """A syntax tree as text that is the same in every version of Python: without places, and what is empty left out."""
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields if name not in ("kind", "ctx"))
        parts = [f"{name}={_tree_text(part)}" for name, part in fields if part is not None and part != []]
        return f"{type(node).__name__}({', '.join(parts)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_tree_text, filter(_says_something, node)))}]"
    return repr(node)


def _says_something(node: object) -> bool:
    """Whether it is no empty text, which some versions of Python put into an f-string."""
    return not (isinstance(node, ast.Constant) and node.value == "")


def _text(thing: Any) -> str:
    try:
        return _plain(inspect.getsource(thing))
    except (OSError, TypeError, IndentationError, SyntaxError):
        return ""


def _text_at(code: types.CodeType, module: types.ModuleType | None) -> str:
    """The text of a function, as ``inspect.getsource``, which of bare code looks through the files of all modules."""
    file = code.co_filename
    space = None if module is None or getattr(module, "__file__", None) != file else vars(module)
    linecache.checkcache(file)
    if space is None and not file.startswith("<") and file not in linecache.cache and not Path(file).exists():
        return ""
    lines = linecache.getlines(file, space)[code.co_firstlineno - 1 :]
    try:
        return _plain("".join(inspect.getblock(lines))) if lines else ""
    except SyntaxError:
        return ""


def _plain(lines: str) -> str:
    return "\n".join(line.rstrip() for line in textwrap.dedent(lines).strip("\n").splitlines())


def _as_in_file(code: types.CodeType, module: types.ModuleType | None) -> types.CodeType | None:
    """The same code with the line it has in its file now; None when the file says something else by now."""
    if type(getattr(module, "__loader__", None)) is not importlib.machinery.SourceFileLoader:
        return code  # a cell, or a file whose loader may have changed what it says
    try:
        state = Path(code.co_filename).stat()
        stamp = (state.st_mtime_ns, state.st_size)
        known = _files.get(code.co_filename)
        if known is None or known[0] != stamp:
            content = Path(code.co_filename).read_bytes()
            known = _files[code.co_filename] = (
                stamp,
                _by_name(compile(content, code.co_filename, "exec", dont_inherit=True)),
            )
    except (OSError, SyntaxError, ValueError):
        return code
    written = known[1].get(code.co_qualname, [])
    if code in written:
        return code
    return next((one for one in written if _meaning(one) == _meaning(code)), None)


def _by_name(module: types.CodeType) -> dict[str, list[types.CodeType]]:
    found: dict[str, list[types.CodeType]] = {}
    waiting = [module]
    while waiting:
        code = waiting.pop()
        found.setdefault(code.co_qualname, []).append(code)
        waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found


def _meaning(code: types.CodeType) -> tuple[Any, ...]:
    """Compiled code as text, without line numbers."""
    constants = tuple(
        _meaning(part)
        if isinstance(part, types.CodeType)
        else repr(sorted(map(repr, part)) if isinstance(part, frozenset) else part)
        for part in code.co_consts
    )
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, code.co_argcount, code.co_kwonlyargcount, code.co_flags, names, constants)
