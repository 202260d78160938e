"""Where the text of a strategy compares a price with a number, which adjusted prices of the past do not mean."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRICES: Final = frozenset({
    "price", "prices", "open", "opens", "high", "highs", "low", "lows", "close", "closes", "vwap",
})  # fmt: skip
_SAME_SCALE: Final = frozenset({"asarray", "array", "Series", "float", "max", "min", "mean", "median", "abs"})


def compared_with_constants(text: str, known: Mapping[str, Any] | None = None) -> list[tuple[int, str]]:
    r"""Line of the text and comparison, for each one of a price with a number other than 0.

    Prices are known by their names, and names by a price that is assigned to them. Ratios and differences of prices are
    no prices. Numbers are written out, or have a name: one to which numbers alone are assigned, or one of ``known``,
    the variables of the module.

    Examples
    --------
    >>> compared_with_constants("def f(ctx):\n  c = ctx.candles('1d').close\n  return c[-1] > 9 or c[-1] / c[0] > 1")
    [(3, 'c[-1] > 9')]
    """
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:  # a lambda within a line
        return []
    names, nodes = set(_PRICES), [*ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.Assign) and _is_price(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    numbers = _numbers(nodes, known or {}) - names
    found = []
    for node in nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_is_price(side, names) for side in sides) and any(_is_number(side, numbers) for side in sides):
                found.append((node.lineno, ast.unparse(node)))
    return found


def _numbers(nodes: list[ast.AST], known: Mapping[str, Any]) -> set[str]:
    """The names that hold numbers: those of ``known`` to which nothing is assigned, and those given numbers alone."""
    given: set[str] = set()
    other = {node.arg for node in nodes if isinstance(node, ast.arg)}
    for node in nodes:
        if isinstance(node, ast.Assign) and _is_number(node.value):
            given |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For | ast.comprehension):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            stored = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            other |= {name.id for name in stored if isinstance(name.ctx, ast.Store)}
    return (given | {name for name, value in known.items() if _is_level(value)}) - other


def _is_level(value: object) -> bool:
    """Whether a value is a number other than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0


def _is_number(node: ast.expr, names: set[str] | None = None) -> bool:
    """Whether it is a number that is written out, and not 0, or one of the names of numbers."""
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand, names)
    if isinstance(node, ast.Name):
        return names is not None and node.id in names
    return isinstance(node, ast.Constant) and _is_level(node.value)


def _is_price(node: ast.expr, names: set[str]) -> bool:
    """Whether it is a price by its name: ``ctx.price``, ``close[-1]``, ``closes.max()``, ``np.asarray(closes)``."""
    if isinstance(node, ast.Subscript):
        return _is_price(node.value, names)
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in _SAME_SCALE and any(_is_price(one, names) for one in node.args):
            return True
        return isinstance(node.func, ast.Attribute) and _is_price(node.func.value, names)
    if isinstance(node, ast.Attribute):
        return node.attr in _PRICES
    return isinstance(node, ast.Name) and node.id in names
