"""Static checks of a proposed strategy: imports, forbidden constructs, signature and parameters.

The rules allow; they do not forbid. Names, modules and node types that are not in the tables of
:mod:`bknb.sandbox.allowlist` are refused, whatever they are. This is the first of two safeguards; the second is the
process in which a draft is tried (:mod:`bknb.sandbox.process`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..llm.structured import Objection
from ..sandbox.allowlist import ASKABLE, MANAGE
from .ast_checks import Reading
from .reply import Parameter
from .standalone import standalone

LONGEST_CODE: Final = 12_000
MOST_LINES: Final = 300
MOST_NODES: Final = 3_000
DEEPEST: Final = 40
MOST_BRACKETS: Final = 60

_REPEATED_SIGNS: Final = re.compile(r"(?:[-+~]\s*){20}|(?:\bnot\s+){20}|(?:\*\*[^*\n]{0,8}){20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """Code that was checked, and the objections to it.

    Attributes
    ----------
    code : str
        With nothing to object to: the code as one function, or two with ``manage``, without comments; this is what is
        run and shown.
    objections : tuple of Objection
        Empty when the code may be tried.
    imports : tuple of str
        Top-level packages it imports.
    """

    code: str
    objections: tuple[Objection, ...]
    imports: tuple[str, ...] = ()


def lint(code: str, *, parameters: Sequence[Parameter] = ()) -> Linted:
    r"""Check a proposed strategy without running it.

    Parameters
    ----------
    code
        Python that defines ``get_signal``, and ``manage`` if it manages its positions.
    parameters
        What the model says its constants are; each must be a constant at the top with that value.

    Examples
    --------
    >>> for objection in lint("import os\ndef get_signal(ctx):\n    os.system('ls')").objections:
    ...     print(objection)
    line 1: the module os is not allowed; allowed are bknb, collections, ... statistics, talib, typing
    line 3: 'system' starts something outside
    get_signal never returns a signal; it must return None or bknb.Signal(...)
    """
    tree = _parsed(code)
    if isinstance(tree, Objection):
        return Linted(code=code, objections=(tree,))
    reading = Reading()
    reading.read(tree)
    shape = [*_shape(tree), *_parameters(tree, parameters)]
    found = tuple(dict.fromkeys([*sorted(reading.found, key=lambda each: each.line or 0), *shape]))
    return Linted(
        code=code if found else standalone(code), objections=found, imports=tuple(dict.fromkeys(reading.imported))
    )


# --- parsing ----------------------------------------------------------------------------------------------------


def _too_big(code: str) -> str | None:
    """Return why the code is too large to be parsed, if it is; deep nesting can exhaust the parser."""
    if len(code) > LONGEST_CODE:
        return f"the code has {len(code):,} characters; at most {LONGEST_CODE:,} are allowed"
    if code.count("\n") >= MOST_LINES:
        return f"the code has {code.count(chr(10)) + 1} lines; at most {MOST_LINES} are allowed"
    if "\0" in code:
        return "the code holds a zero byte; it must be plain text"
    if any(ord(letter) > 126 and not letter.isprintable() for letter in code):
        return "the code holds invisible characters; it must be plain text"
    depth = deepest = 0
    for letter in code:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    if deepest > MOST_BRACKETS:
        return f"brackets are nested {deepest} deep; at most {MOST_BRACKETS} are allowed"
    if _REPEATED_SIGNS.search(code):
        return "signs are piled up without end; write the number"
    return None


def _parsed(code: str) -> ast.Module | Objection:
    big = _too_big(code)
    if big:
        return Objection(code="size", text=big)
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        reason = error.msg
        line = (error.text or "").strip()
        if line.startswith(("%", "!", "?")):
            reason = "notebook commands (%, !) are not Python and not allowed"
        elif line.startswith("```"):
            reason = "Markdown is not Python; send the code alone"
        return Objection(code="syntax", text=f"this is not Python: {reason}", line=error.lineno)
    except (RecursionError, MemoryError, ValueError) as error:
        return Objection(code="size", text=f"the code cannot be read: {str(error) or 'it is nested too deep'}")
    nodes, level, below = 0, 0, [tree]
    while below:
        nodes += len(below)
        level += 1
        below = [child for node in below for child in ast.iter_child_nodes(node)]  # type: ignore[misc]
        if level > DEEPEST:
            return Objection(code="size", text=f"the code is nested more than {DEEPEST} deep; make it simpler")
        if nodes > MOST_NODES:
            return Objection(code="size", text=f"the code has more than {MOST_NODES:,} parts; make it simpler")
    return tree


# --- its shape --------------------------------------------------------------------------------------------------


def _shape(tree: ast.Module) -> list[Objection]:
    """Return what is wrong with the signature and body of ``get_signal``, and the signature of ``manage``."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    named = [node for node in functions if node.name == "get_signal"]
    if not named:
        other = ", ".join(node.name for node in functions)
        text = f"there is no function get_signal at the top{f'; there is {other}' if other else ''}"
        return [Objection(code="signature", text=text)]
    if len(named) > 1:
        return [Objection(code="signature", text="get_signal is defined more than once", line=named[1].lineno)]
    managing = [node for node in functions if node.name in MANAGE]
    if len(managing) > 1:
        return [Objection(code="signature", text="manage is defined more than once", line=managing[1].lineno)]
    found = [*_signature(named[0], ASKABLE), *_answers(named[0])]
    return [*found, *_signature(managing[0], (*ASKABLE, "position"))] if managing else found


def _signature(function: ast.FunctionDef, askable: Sequence[str]) -> list[Objection]:
    arguments, name = function.args, function.name
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        example = "ctx" if name == "get_signal" else "ctx, position"
        text = f"{name} must name what it asks for: def {name}({example})"
        return [Objection(code="signature", text=text, line=function.lineno)]
    needed = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    needed += [each for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    strange = [each.arg for each in needed if each.arg not in askable]
    if strange:
        text = f"{name} asks for {', '.join(strange)}; it may ask for {', '.join(askable)}"
        return [Objection(code="signature", text=text, line=function.lineno)]
    return []


def _answers(function: ast.FunctionDef) -> list[Objection]:
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    some = [value for value in returned if value is not None and not isinstance(value, ast.Constant)]
    if some:
        return []
    constants = [value.value for value in returned if isinstance(value, ast.Constant) and value.value is not None]
    if constants:
        text = f"get_signal returns {constants[0]!r}; it must return None or bknb.Signal(...)"
        return [Objection(code="signature", text=text)]
    text = "get_signal never returns a signal; it must return None or bknb.Signal(...)"
    return [Objection(code="signature", text=text)]


def _parameters(tree: ast.Module, parameters: Sequence[Parameter]) -> list[Objection]:
    """Return constants whose value differs from the list of parameters."""
    values: dict[str, float] = {}
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                try:
                    number = ast.literal_eval(value) if value is not None else None
                except (ValueError, TypeError, MemoryError):
                    continue
                if isinstance(number, (int, float)):
                    values[name] = float(number)
            case _:
                continue
    found = []
    for parameter in parameters:
        if parameter.name not in values:
            text = f"the parameter {parameter.name!r} is not a constant at the top of the code"
            found.append(Objection(code="parameters", text=text))
        elif abs(values[parameter.name] - parameter.value) > 1e-9 * max(1.0, abs(parameter.value)):
            there = values[parameter.name]
            text = f"the parameter {parameter.name!r} is {parameter.value:g} in the list and {there:g} in the code"
            found.append(Objection(code="parameters", text=text))
    return found
