"""The variables of the functions and cells that ask for a look-ahead check, and the statements that made them.

A table that a function makes and hands to a strategy is in no namespace of a module. While the check is asked for, that
function still runs: its variables, and the statements before the line it has come to, are there.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import FrameType, FunctionType
from typing import Any, Final

from ..user_code import is_users, is_users_file

HANDED: Final = "what was handed over"
"""Under which a scope has the strategy itself, where the call of the check makes it."""
_OPTIMIZED: Final = 0x1  # of code: variables of its own
_NOT_ALONE: Final = (ast.Return, ast.Global, ast.Nonlocal, ast.Import, ast.ImportFrom)


class Scope(dict[str, Any]):
    """Variables by name: those of the module, and above them those of a function.

    Attributes
    ----------
    module : dict
        Those of the module.
    file : str
        Where the statements stand.
    nodes : list of ast.stmt
        The statements of the function that have run.
    hands_over : bool
        Whether the last of them makes ``HANDED``: the call of the check makes its strategy.
    """

    def __init__(self, frame: FrameType) -> None:
        own = dict(frame.f_locals) if frame.f_code.co_flags & _OPTIMIZED else {}
        super().__init__({**frame.f_globals, **own})
        self.module, self.file = frame.f_globals, frame.f_code.co_filename
        self.nodes = list(_before(_body(frame), frame.f_lineno)) if own else []
        self.hands_over = False

    def hand_over(self, node: ast.expr) -> None:
        """Note the expression that made the strategy."""
        made = ast.Assign(targets=[ast.Name(id=HANDED, ctx=ast.Store())], value=node)
        self.nodes.append(ast.fix_missing_locations(ast.copy_location(made, node)))
        self.hands_over = True


def calling_scopes(frame: FrameType | None) -> list[Scope]:
    """Those of the user's code that is running, from a frame on outwards."""
    found: list[Scope] = []
    first = frame
    while frame is not None:
        if is_users_file(frame.f_code.co_filename):
            scope = Scope(frame)
            node = _handed(frame, scope) if frame is first else None
            if node is not None:
                scope.hand_over(node)
            found.append(scope)
        frame = frame.f_back
    return found


def _handed(frame: FrameType, scope: Scope) -> ast.expr | None:
    """The call of a function of the user's that is the first argument of the call a frame is at."""
    place = next((each for at, each in enumerate(frame.f_code.co_positions()) if at == frame.f_lasti // 2), None)
    for node in ast.walk(_parsed(frame.f_code.co_filename)):
        if not isinstance(node, ast.Call):
            continue
        if place == (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset):
            named = [word.value for word in node.keywords if word.arg == "strategy"]
            first = next(iter([*node.args, *named]), None)
            made = first.func if isinstance(first, ast.Call) else None
            function = scope.get(made.id) if isinstance(made, ast.Name) else None
            return first if isinstance(function, FunctionType) and is_users(function) else None
    return None


@lru_cache(maxsize=32)
def _parsed(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # a cell with magics
        return ast.Module(body=[], type_ignores=[])


def _body(frame: FrameType) -> Sequence[ast.stmt]:
    """The statements of the function that a frame runs."""
    code = frame.f_code
    for node in ast.walk(_parsed(code.co_filename)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == code.co_firstlineno:
                return node.body
    return ()


def _before(body: Sequence[ast.stmt], line: int) -> Iterator[ast.stmt]:
    """The statements that ended before a line; of one that has not ended, such as a loop, those within it."""
    for node in body:
        if (node.end_lineno or line) < line:
            if not isinstance(node, _NOT_ALONE):
                yield node
        elif node.lineno < line:
            for name in ("body", "orelse", "handlers", "finalbody"):
                yield from _before([one for one in getattr(node, name, ()) if isinstance(one, ast.stmt)], line)
