"""Running the body of a cell magic as a named file, so that an error names the line in the cell."""

from __future__ import annotations

import ast
import linecache
import types
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from bknb import StrategyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ABSENT: Final = object()
_ASKED: Final = ("get_signal", "get_signals", "get_weight")
_OF_SEVERAL: Final = "get_weights"
_MANAGE: Final = ("manage", "manage_position")
_NEAR: Final = 0.8  # of the letters of a name


def _parsed(head: str, body: str, filename: str) -> ast.Module:
    # The magic's own line is line 1 of the cell, so the body is counted from 2.
    try:
        return ast.parse("\n" + body, filename)
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        offset = max((error.offset or 1) - 1, 0)
        hint = " (the body of the cell is plain Python)" if line.lstrip().startswith(("%", "!")) else ""
        pointer = f"\n    {line}\n    {' ' * offset}^" if line.strip() else ""
        raise UsageError(
            f"the cell of {head} does not parse at line {error.lineno}: {error.msg}{hint}{pointer}"
        ) from None


def _at_fault(error: BaseException, filename: str) -> int | None:
    """The last line of the cell in the traceback of ``error``."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def run_body(head: str, body: str, *, filename: str, names: dict[str, Any]) -> ast.Module:
    """Run the body of a cell in the notebook's namespace.

    Parameters
    ----------
    head : str
        The magic's line, shown where an error names it.
    body : str
        The rest of the cell.
    filename : str
        The name its lines go by in tracebacks; it need not exist.
    names : dict
        The notebook's namespace; changed as if the body had been typed into a cell of its own.

    Returns
    -------
    ast.Module
        The parsed body.

    Raises
    ------
    UsageError
        When the body does not parse, in three lines with the line number in the cell.
    StrategyError
        When the body raises while it is read, with line and text.

    Examples
    --------
    >>> names = {}
    >>> _ = run_body("%%strategy demo", "length = 3", filename="<strategy demo>", names=names)
    >>> names["length"]
    3
    """
    title = head.partition(" --")[0]
    tree = _parsed(title, body, filename)
    text = f"{head}\n{body}"
    lines = text.splitlines(keepends=True)
    linecache.cache[filename] = (len(text), None, lines, filename)
    try:
        exec(compile(tree, filename, "exec", dont_inherit=True), names)  # noqa: S102 -- the user's own cell
    except Exception as error:
        number = _at_fault(error, filename)
        source = lines[number - 1].strip() if number and number <= len(lines) else ""
        raise StrategyError(
            f"the cell of {title} failed at line {number}: {source}\n{type(error).__name__}: {error}"
        ) from error
    return tree


def defined(tree: ast.Module) -> list[str]:
    """Names of the functions a body defines at its top, in order."""
    return [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def _found(tree: ast.Module) -> str:
    functions = defined(tree)
    if functions:
        return f"it defines {', '.join(functions[:5])}"
    return "it is empty" if not tree.body else "it defines no function"


def _fresh(
    head: str, body: str, *, filename: str, names: dict[str, Any], wanted: Sequence[str]
) -> tuple[ast.Module, dict[str, Any]]:
    """Run a body and return the wanted names it defined; values left by earlier cells are not returned."""
    before = {name: names.pop(name, _ABSENT) for name in wanted}
    made: dict[str, Any] = {}
    try:
        tree = run_body(head, body, filename=filename, names=names)
        made = {name: names[name] for name in wanted if name in names}
    finally:
        for name, value in before.items():
            if name not in names and value is not _ABSENT:
                names[name] = value
    return tree, made


def strategy_function(
    head: str, body: str, *, name: str, names: dict[str, Any], of_several: bool = False
) -> dict[str, Callable[..., Any]]:
    r"""The functions of a strategy that a cell defines, by their names as options of ``bknb.add_strategy``.

    One is ``get_signal``, ``get_signals`` or ``get_weight``, or, with ``of_several``, ``get_weights`` of several
    symbols; beside it there may be ``manage``, which ``manage_position`` is another name for.

    Raises
    ------
    UsageError
        When the cell does not parse, or defines none of them, or two functions for one purpose; the message names what
        it defines.
    StrategyError
        When the cell raises.

    Examples
    --------
    >>> list(strategy_function("%%strategy s", "def get_signal(ctx): pass", name="s", names={}))
    ['get_signal']
    >>> body = "def get_signal(ctx): pass\ndef manage_position(position): pass"
    >>> list(strategy_function("%%strategy s", body, name="s", names={}))
    ['get_signal', 'manage']
    """
    wanted = (*_ASKED, *([_OF_SEVERAL] if of_several else []), *_MANAGE)
    tree, made = _fresh(head, body, filename=f"<strategy {name}>", names=names, wanted=wanted)
    functions = {one: value for one, value in made.items() if callable(value)}
    asked = {one: value for one, value in functions.items() if one not in _MANAGE}
    managing = [value for one, value in functions.items() if one in _MANAGE]
    for one in _MANAGE:
        if one in made and one not in functions:
            what = f"has a {one} that is {type(made[one]).__name__}, not a function"
            raise UsageError(
                f"the cell of strategy {name!r} {what}\nwrite: def {one}(ctx, position): ..., or rename it"
            )
    if len(managing) > 1:
        raise UsageError(f"the cell of strategy {name!r} defines both {' and '.join(_MANAGE)}; keep one of them")
    if not managing and (near := _nearly_manage(tree)) is not None:
        raise UsageError(
            f"the cell of strategy {name!r} defines {near}, which asks for position and which nothing in it calls\n"
            f"a function that manages positions is called {' or '.join(_MANAGE)}: rename it"
        )
    if len(asked) == 1:
        return {**asked, "manage": managing[0]} if managing else asked
    if asked:
        raise UsageError(f"the cell of strategy {name!r} defines both {' and '.join(asked)}; keep one of them")
    if _OF_SEVERAL in defined(tree):
        raise UsageError(
            f"the cell of strategy {name!r} defines {_OF_SEVERAL}, which answers for several symbols at once\n"
            "run it with %%portfolio --symbols BTCUSDT,ETHUSDT …; get_weight(ctx) is that of one symbol"
        )
    named = {one: value for one, value in made.items() if one not in functions}
    found = next((f"its {one} is {type(value).__name__}" for one, value in named.items()), _found(tree))
    if of_several:
        raise UsageError(
            f"the cell of strategy {name!r} must define a function get_weights or get_signal; {found}\n"
            'write: def get_weights(ctx): return {"BTCUSDT": 0.6, "ETHUSDT": 0.4}, or get_signal(ctx), which is asked '
            "for each symbol alone"
        )
    raise UsageError(
        f"the cell of strategy {name!r} must define a function get_signal; {found}\n"
        "write: def get_signal(ctx): return None or bknb.Signal(...), get_weight(ctx) for what is to be held, or "
        "get_signals(candles) for whole columns; a get_weights(ctx) of several symbols is registered by bknb.weights"
    )


def _nearly_manage(tree: ast.Module) -> str | None:
    """A function of a cell that was probably meant to manage: called nearly so, about a position, and not used."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name in used:
            continue
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        about = any(argument.arg == "position" for argument in arguments)
        if about and get_close_matches(node.name.casefold(), _MANAGE, n=1, cutoff=_NEAR):
            return node.name
    return None


def risk_rules(head: str, body: str, *, name: str, names: dict[str, Any]) -> list[Any]:
    """The rules that a cell defines: its list ``validations``, else each of its functions without a leading underscore.

    Raises
    ------
    UsageError
        When the cell does not parse or defines no rule.
    StrategyError
        When the cell raises.
    """
    tree, made = _fresh(head, body, filename=f"<risk {name}>", names=names, wanted=("validations",))
    if "validations" in made:
        rules = made["validations"]
        return [rules] if isinstance(rules, types.FunctionType) else list(rules)
    rules = [names[function] for function in defined(tree) if not function.startswith("_")]
    if not rules:
        raise UsageError(
            f"the cell of risk {name!r} must define rules; {_found(tree)}\n"
            "write: def at_most_three(request): return request.open_position_count < 3"
        )
    return rules
