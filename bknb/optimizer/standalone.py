"""A strategy as one function, so that its constants do not clash with those of other cells.

Two cells of a notebook live in one namespace. Constants and small functions of a proposed strategy therefore move into
its ``get_signal``, and once more into its ``manage``, where it has one; imports stay where they are. Comments and
docstrings are dropped: what is run is what was checked.
"""

from __future__ import annotations

import ast
import copy
import io
import tokenize
from collections.abc import Callable, Iterator, Sequence

from ..sandbox.allowlist import MANAGE


def standalone(code: str) -> str:
    r"""Return the code with everything but imports inside ``get_signal``, in its own layout where that is safe.

    Examples
    --------
    >>> print(standalone("import bknb\nFAST = 12  # bars\n\ndef get_signal(ctx):\n    return None"))
    import bknb
    <BLANKLINE>
    <BLANKLINE>
    def get_signal(ctx):
        FAST = 12
        return None
    """
    bare = _without_docstrings(ast.parse(code))
    moved = _moved(bare)
    text = _in_its_own_layout(code, bare)
    if text is not None and _same(text, moved):
        return text
    return ast.unparse(ast.fix_missing_locations(moved))


def _same(text: str, tree: ast.Module) -> bool:
    try:
        return ast.dump(ast.parse(text)) == ast.dump(tree)
    except SyntaxError:
        return False


def _asked(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions that are asked: ``get_signal``, then ``manage``; none without the first."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ("get_signal", *MANAGE)]
    found.sort(key=lambda node: node.name != "get_signal")
    return found if found and found[0].name == "get_signal" else []


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _moved(tree: ast.Module) -> ast.Module:
    """Return the tree with constants and functions moved into those that are asked; ``tree`` is not changed."""
    asked = _asked(tree)
    if not asked:
        return tree
    inside = [node for node in tree.body if node not in asked and not _is_import(node)]
    whole = [copy.copy(function) for function in asked]
    for function in whole:
        function.body = [*inside, *function.body]
    return ast.Module(body=[*(node for node in tree.body if _is_import(node)), *whole], type_ignores=[])


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node, expression in list(docstrings(tree)):
        node.body.remove(expression)
        if not node.body and isinstance(node, ast.FunctionDef):
            node.body.append(ast.Pass())
    return tree


def docstrings(tree: ast.AST) -> Iterator[tuple[ast.Module | ast.FunctionDef, ast.Expr]]:
    """Yield every docstring with its owner."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.FunctionDef)) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield node, first


def _in_its_own_layout(code: str, bare: ast.Module) -> str | None:
    """Return the same code with the author's line breaks; None where comments cannot be separated from code."""
    lines: list[str | None] = [*code.splitlines()]  # None: a line that is dropped
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                before = (lines[row - 1] or "")[:column].rstrip()
                lines[row - 1] = before or None
    except (tokenize.TokenError, IndentationError):
        return None
    for _, expression in docstrings(ast.parse(code)):
        for row in range(expression.lineno, (expression.end_lineno or expression.lineno) + 1):
            lines[row - 1] = None
    asked = _asked(bare)
    if not asked:
        return "\n".join(_tight(lines))

    def text(node: ast.stmt) -> list[str]:
        return _tight(lines[node.lineno - 1 : node.end_lineno])

    moved = [node for node in bare.body if node not in asked and not _is_import(node)]
    imports = [line for node in bare.body if _is_import(node) for line in text(node)]
    made = [*imports, *(["", ""] if imports else [])]
    for function in asked:
        first = function.body[0].lineno
        head = _tight(lines[function.lineno - 1 : first - 1])
        body = _tight(lines[first - 1 : function.end_lineno])
        inside = _indented(moved, text, " " * function.body[0].col_offset)
        made += [*(["", ""] if function is not asked[0] else []), *head, *inside, *body]
    return "\n".join(made)


def _indented(nodes: Sequence[ast.stmt], text: Callable[[ast.stmt], list[str]], margin: str) -> list[str]:
    """Return lines of statements behind a margin, with an empty line around functions."""
    inside: list[str] = []
    for node in nodes:
        apart = isinstance(node, ast.FunctionDef)
        if apart and inside and inside[-1]:
            inside.append("")
        inside += [margin + line if line else "" for line in text(node)]
        if apart:
            inside.append("")
    return inside


def _tight(lines: Sequence[str | None]) -> list[str]:
    """Return lines without dropped ones, without empty ones at both ends, and never two empty ones in a row."""
    tight: list[str] = []
    for line in lines:
        if line is not None and (line.strip() or (tight and tight[-1])):
            tight.append(line.rstrip())
    while tight and not tight[-1]:
        tight.pop()
    return tight
