"""Where the text of a strategy compares a price with a number, which adjusted prices of the past do not mean."""

from __future__ import annotations

import ast
import textwrap
from typing import Final

_PRICES: Final = frozenset({
    "price", "prices", "open", "opens", "high", "highs", "low", "lows", "close", "closes", "vwap",
})  # fmt: skip


def compared_with_constants(text: str) -> list[tuple[int, str]]:
    r"""Line of the text and comparison, for each one of a price with a number other than 0.

    Prices are known by their names, and names by a price that is assigned to them. Ratios and differences of prices are
    no prices.

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
    found = []
    for node in nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_is_price(side, names) for side in sides) and any(map(_is_number, sides)):
                found.append((node.lineno, ast.unparse(node)))
    return found


def _is_number(node: ast.expr) -> bool:
    """Whether it is a number that is written out, and not 0."""
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0


def _is_price(node: ast.expr, names: set[str]) -> bool:
    """Whether it is a price by its name: ``ctx.price``, ``close[-1]``, ``candles.close.max()``."""
    if isinstance(node, ast.Subscript):
        return _is_price(node.value, names)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and _is_price(node.func.value, names)
    if isinstance(node, ast.Attribute):
        return node.attr in _PRICES
    return isinstance(node, ast.Name) and node.id in names
