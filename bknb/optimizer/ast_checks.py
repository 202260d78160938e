"""Checks of a proposed strategy's syntax tree against the allowlist; what is not on it is refused."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from ..llm.structured import Objection
from ..sandbox.allowlist import (
    BUILTINS,
    CONTEXT,
    MANAGE,
    MODULES,
    REFUSED,
    SIGNAL_ENDS,
    SIGNAL_FIELDS,
    SIGNAL_STOPS,
    TO_ALLOWED,
)
from .standalone import docstrings

LONGEST_TEXT: Final = 200
LARGEST_NUMBER: Final = 1e9

_CALENDAR: Final = re.compile(r"\b(19|20)\d\d[-/.]\d{1,2}|\b\d{1,2}[-/.](19|20)\d\d\b")

_NODES: Final[dict[type[ast.AST], str]] = {
    ast.ClassDef: "defines a class; plain functions are enough",
    ast.AsyncFunctionDef: "is asynchronous; write a plain def",
    ast.Await: "is asynchronous; write a plain def",
    ast.AsyncFor: "is asynchronous; write a plain def",
    ast.AsyncWith: "is asynchronous; write a plain def",
    ast.Global: "keeps something between two questions (global); every answer must follow from the candles alone",
    ast.Nonlocal: "keeps something between two questions (nonlocal); every answer must follow from the candles alone",
    ast.Yield: "is a generator (yield); get_signal returns one answer",
    ast.YieldFrom: "is a generator (yield from); get_signal returns one answer",
    ast.MatchClass: "matches classes; use if and elif",
    ast.TryStar: "uses except*; use except",
}


@dataclass(slots=True)
class Reading:
    """One walk over a syntax tree: ``found`` holds the objections, ``imported`` the imports."""

    found: list[Objection] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)  # name in the code -> dotted module
    names: set[str] = field(default_factory=set)  # everything the code itself gives a name
    roots: set[int] = field(default_factory=set)  # name nodes that are a module with an attribute behind
    docstrings: set[int] = field(default_factory=set)
    called: set[int] = field(default_factory=set)  # what stands before the brackets of a call
    functions: set[str] = field(default_factory=set)

    def object(self, node: ast.AST, code: str, text: str) -> None:
        """Add an objection."""
        self.found.append(Objection(code=code, text=text, line=getattr(node, "lineno", None)))

    def read(self, tree: ast.Module) -> None:
        """Check every node of a tree."""
        self.docstrings = {id(expression.value) for _, expression in docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._import(node)
            elif isinstance(node, ast.ImportFrom):
                self._import_from(node)
            self._note_names(node)
        for node in tree.body:
            self._top(node)
        for node in ast.walk(tree):
            self._node(node)

    def _note_names(self, node: ast.AST) -> None:
        match node:
            case ast.Name(ctx=ast.Store() | ast.Del()):
                self.names.add(node.id)
            case ast.FunctionDef():
                self.names.add(node.name)
                self.functions.add(node.name)
            case ast.Call():
                self.called.add(id(node.func))
            case ast.arg():
                self.names.add(node.arg)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.names.add(name)
            case _:
                return

    # imports

    def _module(self, node: ast.AST, name: str) -> bool:
        self.imported.append(name.split(".", maxsplit=1)[0])
        if name in MODULES:
            return True
        allowed = ", ".join(known for known in MODULES if "." not in known and not known.startswith("_"))
        self.object(node, "import", f"the module {name} is not allowed; allowed are {allowed}")
        return False

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            if self._module(node, alias.name):
                whole = alias.asname is not None
                self.modules[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if whole else alias.name.split(".")[0]
                )
            else:
                self.names.add(alias.asname or alias.name.split(".")[0])

    def _import_from(self, node: ast.ImportFrom) -> None:
        name = node.module or ""
        if node.level:
            self.object(node, "import", "relative imports are not allowed: a strategy stands in one cell")
            return
        if not self._module(node, name):
            self.names.update(alias.asname or alias.name for alias in node.names)
            return
        for alias in node.names:
            if f"{name}.{alias.name}" in MODULES:
                self.modules[alias.asname or alias.name] = f"{name}.{alias.name}"
                continue
            self.names.add(alias.asname or alias.name)
            if not _offers(name, alias.name):
                self.object(node, "import", _not_offered(name, alias.name))

    # statements at the top

    def _top(self, node: ast.stmt) -> None:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return
            case ast.Expr(value=ast.Constant(value=str())):
                return
            case ast.Assign(value=value, targets=[ast.Name()]) | ast.AnnAssign(value=ast.expr() as value):
                if not _is_constant(value):
                    text = "only plain constants (numbers, texts, tuples) may stand outside functions"
                    self.object(node, "top", text)
            case _:
                text = "only imports, constants and functions may stand outside functions; nothing runs by itself"
                self.object(node, "top", text)

    # everything else

    def _node(self, node: ast.AST) -> None:
        refused = _NODES.get(type(node))
        if refused is not None:
            self.object(node, "shape", f"the code {refused}")
        look = self._looks.get(type(node))
        if look is not None:
            look(self, node)

    def _named(self, node: ast.keyword | ast.arg) -> None:
        if node.arg is not None:
            self._word(node, node.arg)

    def _assigned(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For) -> None:
        self._targets(node, node.targets if isinstance(node, ast.Assign) else [node.target])

    def _caught(self, node: ast.ExceptHandler) -> None:
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException"):
            self.object(node, "shape", "a bare except hides every mistake; name the exception")

    def _word(self, node: ast.AST, name: str) -> None:
        if name.startswith("__"):
            self.object(node, "dunder", f"{name!r} reaches behind objects")

    def _attribute(self, node: ast.Attribute) -> None:
        name = node.attr
        if name == "apply" and id(node) not in self.called:
            self.object(node, "attribute", "apply may only be called, with a function of the code: x.apply(mean)")
        path = self._path(node)
        if path is not None:
            module, attribute = path
            if not _offers(module, attribute) and f"{module}.{attribute}" not in MODULES:
                self.object(node, "module", _not_offered(module, attribute))
            return
        if name.startswith("_"):
            self.object(node, "dunder", f"{name!r} is private: it reaches behind objects")
        elif name in REFUSED:
            self.object(node, "attribute", f"{name!r} {REFUSED[name]}")
        elif (name.startswith("to_") and name not in TO_ALLOWED) or name.startswith("read_"):
            self.object(node, "attribute", f"{name!r} reads or writes files")
        elif isinstance(node.value, ast.Name) and node.value.id == "ctx" and name not in CONTEXT:
            self.object(node, "context", f"ctx has no {name!r}; it offers {', '.join(sorted(CONTEXT))}")

    def _path(self, node: ast.Attribute) -> tuple[str, str] | None:
        """Return module and name when this is an attribute of a module, else None."""
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            self.roots.add(id(node.value))
            return self.modules[node.value.id], node.attr
        if isinstance(node.value, ast.Attribute):
            outer = self._path(node.value)
            if outer is not None and f"{outer[0]}.{outer[1]}" in MODULES:
                return f"{outer[0]}.{outer[1]}", node.attr
        return None

    def _name(self, node: ast.Name) -> None:
        name = node.id
        if name.startswith("__"):
            self.object(node, "dunder", f"{name!r} reaches behind objects")
        elif name in self.modules:
            if not isinstance(node.ctx, ast.Load):
                self.object(node, "module", f"{name!r} is a module; give the variable another name")
            elif id(node) not in self.roots:
                self.object(node, "module", f"the module {name!r} may only be used as {name}.something")
        elif hasattr(builtins, name) and name not in BUILTINS and (name in REFUSED or name not in self.names):
            self.object(node, "builtin", f"{name!r} {REFUSED.get(name, 'is not allowed in a strategy')}")
        elif name not in self.names and name not in BUILTINS:
            why = REFUSED.get(name, "is used but never defined")
            hint = f"; add: import {_HOMES[name]}" if name in _HOMES else ""
            self.object(node, "name", f"{name!r} {why}{hint}")

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str) and id(node) not in self.docstrings:
            if "__" in value:
                self.object(node, "dunder", "a text with two underscores can reach behind objects")
            if len(value) > LONGEST_TEXT:
                self.object(node, "size", f"a text has {len(value)} characters; at most {LONGEST_TEXT} are allowed")
            if value.lower() in ("now", "today"):
                self.object(node, "attribute", f"{value!r} reads the computer's clock")
            if value.startswith(("to_", "read_")) and value not in TO_ALLOWED:
                self.object(node, "attribute", f"{value!r} is the name of something that reads or writes files")
            if _CALENDAR.search(value):
                self.object(node, "calendar", "a date in the code: a rule must hold on any day, not on known ones")
        elif isinstance(value, bytes):
            self.object(node, "constant", "bytes are not needed in a strategy")
        elif isinstance(value, (int, float)) and LARGEST_NUMBER <= abs(value) != float("inf"):
            text = f"the number {value:.6g} looks like a moment; a rule must hold on any day, not on known ones"
            self.object(node, "calendar", text)

    def _function(self, node: ast.FunctionDef) -> None:
        self._word(node, node.name)
        if node.decorator_list:
            self.object(node, "shape", f"{node.name} has a decorator; write a plain function")
        for value in [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]:
            if not _is_constant(value):
                text = f"a default of {node.name} is not a plain constant; it would be kept between two questions"
                self.object(value, "shape", text)

    def _while(self, node: ast.While) -> None:
        if not _always(node.test):
            return
        leaves = (ast.Return, ast.Break, ast.Raise)
        if not any(isinstance(inner, leaves) for statement in node.body for inner in ast.walk(statement)):
            self.object(node, "loop", "this loop never ends")

    def _with(self, node: ast.With) -> None:
        for item in node.items:
            call = item.context_expr
            silenced = isinstance(call, ast.Call) and ast.unparse(call.func) in ("np.errstate", "numpy.errstate")
            if not silenced:
                self.object(node, "shape", "with is only allowed for np.errstate")

    def _targets(self, node: ast.AST, targets: Sequence[ast.expr]) -> None:
        for target in targets:
            for inner in ast.walk(target):
                if isinstance(inner, ast.Attribute) and not isinstance(inner.ctx, ast.Load):
                    self.object(node, "shape", f"changes the attribute {inner.attr!r} of something that is not its own")

    def _call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name == "shift" and any(_is_negative(each) for each in [*node.args, *(k.value for k in node.keywords)]):
            self.object(node, "future", "shift with a negative number looks into the future")
        if name in ("get_candles", "candles") and any(_is_negative(each) for each in node.args):
            self.object(
                node, "future", "a negative number of candles: only closed candles of the past can be asked for"
            )
        if name == "get_candles" and any(
            each.arg in ("since", "start", "end", "until", "when") for each in node.keywords
        ):
            self.object(node, "future", "candles cannot be asked for by time; ask for the newest closed ones")
        if name == "apply" and not self._is_own_function(node.args[:1]):
            self.object(node, "attribute", "apply takes a function of the code, not the name of a method")
        if name == "ndarray":
            self.object(node, "attribute", "np.ndarray makes arrays of foreign memory; use np.zeros or np.array")
        if name == "Signal":
            self._signal(node)

    def _is_own_function(self, given: Sequence[ast.expr]) -> bool:
        return any(isinstance(each, ast.Lambda) or getattr(each, "id", None) in self.functions for each in given)

    def _signal(self, node: ast.Call) -> None:
        if node.args:
            self.object(node, "signal", "bknb.Signal takes its values by name: position=..., price_take_profit=...")
        given = [each.arg for each in node.keywords]
        for name in given:
            if name is not None and name not in SIGNAL_FIELDS:
                known = ", ".join(["position", *SIGNAL_STOPS, *SIGNAL_ENDS, "breakeven", "price_open", "note"])
                self.object(node, "signal", f"bknb.Signal has no {name!r}; it has {known}")
        if None in given or node.args:
            return
        missing = [] if "position" in given or "side" in given else ["position"]
        if not any(name in given for name in SIGNAL_STOPS):
            missing.append(" or ".join(SIGNAL_STOPS))
        if missing:
            self.object(node, "signal", f"bknb.Signal needs {', '.join(missing)}")
        if not self.functions.intersection(MANAGE) and not any(name in given for name in SIGNAL_ENDS):
            text = f"bknb.Signal needs one of {', '.join(SIGNAL_ENDS)}, or a function manage that closes it"
            self.object(node, "signal", text)

    _looks: ClassVar[dict[type[ast.AST], Callable[..., None]]] = {
        ast.Attribute: _attribute,
        ast.Name: _name,
        ast.Constant: _constant,
        ast.FunctionDef: _function,
        ast.While: _while,
        ast.With: _with,
        ast.Call: _call,
        ast.keyword: _named,
        ast.arg: _named,
        ast.Assign: _assigned,
        ast.AugAssign: _assigned,
        ast.AnnAssign: _assigned,
        ast.For: _assigned,
        ast.ExceptHandler: _caught,
    }


_HOMES: Final = {"np": "numpy as np", "pd": "pandas as pd", "bknb": "bknb", "math": "math", "talib": "talib"}


def _offers(module: str, name: str) -> bool:
    return name in MODULES[module] or (module == "talib" and name.isupper() and not name.startswith("_"))


def _not_offered(module: str, name: str) -> str:
    why = REFUSED.get(name)
    if why is None and name.startswith(("to_", "read_")):
        why = "reads or writes files"
    return f"{module}.{name} {why or 'is not among what a strategy may use'}"


def _is_negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _always(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


def _is_constant(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return value is not ...
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _is_constant(inner)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
            return all(_is_number(side) for side in (left, right))
        case ast.Tuple(elts=parts):
            return all(_is_constant(part) for part in parts)
        case _:
            return False


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Name():
            return True
        case ast.UnaryOp(operand=inner):
            return _is_number(inner)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case _:
            return False
