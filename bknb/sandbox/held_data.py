"""Whether the code of a proposed strategy can hold data: what a look-ahead check of it will need."""

from __future__ import annotations

import ast
from typing import Final

_LONGEST_TEXT: Final = 100  # a longer one may be rows
_STORES: Final = (ast.Global, ast.Nonlocal, ast.ClassDef, ast.NamedExpr, ast.Lambda)


def may_hold_data(code: str) -> bool:
    """Whether rows may be kept outside a call: False where all of it is imports, functions, numbers and short texts.

    Code that cannot be read may hold anything.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    if not all(_is_plain(statement) for statement in tree.body):
        return True
    return any(isinstance(node, _STORES) or _is_kept(node) for node in ast.walk(tree))


def _is_plain(statement: ast.stmt) -> bool:
    """Whether a statement at the top binds a module, a function, a number or a short text, or nothing."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.FunctionDef(args=args, decorator_list=[]):
            return all(default is None or _is_setting(default) for default in (*args.defaults, *args.kw_defaults))
        case ast.Assign(targets=[ast.Name()], value=value):
            return _is_setting(value)
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            return _is_setting(value)
        case _:
            return False


def _is_setting(value: ast.expr) -> bool:
    """Whether an expression is a number, perhaps with a sign, or a short text."""
    if isinstance(value, ast.UnaryOp):
        value = value.operand
    return isinstance(value, ast.Constant) and len(str(value.value)) <= _LONGEST_TEXT


def _is_kept(node: ast.AST) -> bool:
    """Whether a node changes an attribute, which outlives a call, or asks for one with underscores."""
    return isinstance(node, ast.Attribute) and (not isinstance(node.ctx, ast.Load) or node.attr.startswith("_"))
