"""Texts that Python code puts together of constants: ``k = a + b`` where ``a`` and ``b`` are texts of the same file."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

_LONGEST_SOURCE: Final = 500_000
_LONGEST: Final = 10_000
_MOST_NAMES: Final = 2_000
_DEEPEST: Final = 100
_COMMAND: Final = re.compile(r"^[ \t]*[%!?].*$", re.MULTILINE)  # of a notebook, no Python
_TEXT_OF_A_NAME: Final = re.compile(r"""\w[ \t]*(?::[^=\n]{1,40})?=\s*\(?\s*[rbuf]{0,2}["']""", re.IGNORECASE)
_PUT_TOGETHER: Final = re.compile(r"""\w[ \t]*\+|\+[=\s]|f["']|\.(?:join|format)\s*\(|%[ \t]*[\w(]""", re.IGNORECASE)


def constant_texts(source: str) -> str:
    r"""Each text that is put together of others by ``+``, ``+=``, an f-string or ``"".join``, in a line with its name.

    Names are followed from line to line, whatever function or branch they are in; nothing is run. Empty when the source
    is no Python, is longer than 500 000 characters, or puts nothing together. What ``%`` and ``str.format`` make is not
    followed.

    Examples
    --------
    >>> constant_texts("a = 'AB'\nb = 'CD'\nkey = a + b")
    "key = 'ABCD'"
    """
    if len(source) > _LONGEST_SOURCE or not (_TEXT_OF_A_NAME.search(source) and _PUT_TOGETHER.search(source)):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(_COMMAND.sub("", source))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign
                 | ast.keyword | ast.BinOp | ast.JoinedStr | ast.Call)]  # fmt: skip
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    folding = _Folding()
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    for node in nodes:
        folding.follow(node)
    return "\n".join(folding.lines)


class _Folding:
    def __init__(self) -> None:
        self.lines: dict[str, None] = {}
        self._made: set[str] = set()
        self._texts: dict[str, str] = {}
        self._known: dict[int, str | None] = {}  # by id of a node, which the tree keeps

    def follow(self, node: ast.AST) -> None:
        """Note what a statement or a part of one puts together, and under which name."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._assign(target, value)
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value):
                before, more = self._texts.get(name), self._text(value)
                if before is not None and more is not None:
                    self._keep(name, (before + more)[:_LONGEST], is_made=True)
            case ast.keyword(arg=str(name), value=value):
                self._note(name, value)
            case ast.expr():
                self._note("", node)
            case _:
                pass

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for each, part in zip(target.elts, value.elts, strict=True):
                self._assign(each, part)
            return
        name = _name(target)
        text = self._text(value)
        if name and text is not None:
            self._keep(name, text, is_made=not isinstance(value, ast.Constant))
        elif name:
            self._texts.pop(name, None)

    def _note(self, name: str, value: ast.expr) -> None:
        text = None if isinstance(value, ast.Constant) else self._text(value)
        if text and (name or text not in self._made):
            self._made.add(text)
            self.lines[f"{name or 'x'} = {text!r}"] = None

    def _keep(self, name: str, text: str, *, is_made: bool) -> None:
        if name in self._texts or len(self._texts) < _MOST_NAMES:
            self._texts[name] = text
        if is_made:
            self._made.add(text)
            self.lines[f"{name} = {text!r}"] = None

    def _text(self, node: ast.expr, depth: int = 0) -> str | None:
        """The text of an expression; None when it is not made of known texts, or is too long."""
        if depth > _DEEPEST:
            return None
        if id(node) not in self._known:
            text = self._folded(node, depth + 1)
            self._known[id(node)] = text if text is None or len(text) <= _LONGEST else None
        return self._known[id(node)]

    def _folded(self, node: ast.expr, depth: int) -> str | None:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Constant(value=bytes(raw)):
                return raw.decode("latin-1")
            case ast.Name() | ast.Attribute():
                return self._texts.get(_name(node))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], "", depth)
            case ast.JoinedStr(values=values):
                return self._joined(values, "", depth)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self._text(value, depth)
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(between)), attr="join"), args=[parts]):
                return self._joined(parts.elts, between, depth) if isinstance(parts, ast.List | ast.Tuple) else None
            case _:
                return None

    def _joined(self, nodes: list[ast.expr], between: str, depth: int) -> str | None:
        texts: list[str] = []
        for node in nodes:
            text = self._text(node, depth)
            if text is None:
                return None
            texts.append(text)
        return between.join(texts)


def _name(node: ast.expr) -> str:
    """The name a value is kept under: of a variable, or of an attribute or a key, whatever it belongs to."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case _:
            return ""
