"""The rooms of bknb and the doors between them, read from the syntax trees: who may import whom.

* ``DOORS`` lists the rooms from the ground floor up, one row each: a room may import itself and what its row names, and
  a row names only rooms above it in the table. An import of what is further down is an upward arrow.
* An import counts wherever it stands: at the top, inside a function, or under ``if TYPE_CHECKING:``.
* ``PUBLIC`` opens ``import bknb``: the public names, nothing behind them. It is for the guests ``jupyter`` and ``cli``.
* A room that is not in ``DOORS`` fails: what a new one may touch is decided here first.

The end of a run says the counts: arrows between rooms, upward arrows, and circles between modules.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bknb"

# room -> the rooms it may import, from the ground floor up; a dotted name opens one module of a room
DOORS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "version": (),
    "lazy_names": (),
    "process": (),
    "user_code": (),
    "frontend": ("process",),
    "config": ("errors", "process"),
    "log": ("errors", "process"),
    "domain": ("config", "errors"),
    "kernels": ("errors",),
    "ports": ("domain",),
    "metrics": ("domain", "errors"),
    "events": ("domain", "errors", "log", "process", "user_code"),
    "market": ("domain", "config", "errors", "ports", "process"),
    "indicators": ("market",),
    "stores": ("errors", "ports", "process", "lazy_names"),
    "adapters": ("stores",),  # old paths
    "reports": ("metrics", "events", "domain", "errors"),
    "engine": ("market", "events", "kernels", "domain", "config", "errors", "log", "ports", "process", "user_code"),
    "history": ("stores", "market", "domain", "config", "errors", "ports"),
    "research": ("user_code", "reports", "metrics", "market", "stores", "domain", "errors", "process"),
    "llm": ("stores", "market", "domain", "config", "errors", "ports", "lazy_names"),
    "brokers": ("market.fetch_loop", "market.system_clock", "stores", "domain", "errors", "lazy_names"),
    "live": (
        "stores.format_versions",
        "engine",
        "events",
        "market",
        "domain",
        "config",
        "errors",
        "log",
        "ports",
    ),
    "provenance": ("user_code", "stores", "engine", "market", "domain", "errors", "process"),
    "testing": ("brokers", "stores", "market", "domain", "errors", "ports", "process"),
    "sweeps": ("provenance", "engine", "events", "market", "kernels", "metrics", "domain", "errors", "ports"),
    "exchanges": (
        *("history", "engine", "market", "stores", "domain", "errors", "ports", "frontend"),
        "lazy_names",
    ),
    "runs": (
        *("live", "sweeps", "provenance", "research", "reports", "metrics", "engine", "events", "market", "kernels"),
        *("stores", "domain", "config", "errors", "log", "ports", "process", "frontend", "version"),
    ),
    "notify": ("runs.notifiers",),
    "sandbox": (
        *("sweeps.fork_server", "runs", "exchanges", "engine", "market", "domain", "config", "errors", "user_code"),
    ),
    "diagnostics": (
        *("brokers", "runs", "history", "stores", "engine", "market.fetch_loop", "market.system_clock", "domain"),
        *("errors", "ports"),
    ),
    "sharing": ("stores.atomic", "runs", "exchanges", "provenance", "engine", "market", "domain", "errors"),
    "optimizer": (
        *("sandbox", "runs", "exchanges", "llm", "research", "reports", "engine", "events", "market", "stores"),
        *("domain", "config", "errors", "log", "ports", "frontend"),
    ),
    "sources": ("optimizer.shown_data",),
    "at": ("domain",),
    "size": ("domain",),
    "protections": ("domain",),
    "jupyter": ("PUBLIC", "reports", "market", "stores.atomic", "frontend"),
    "panels": ("jupyter",),
    "cli": ("PUBLIC", "sharing"),
    "__main__": ("cli",),
    "": ("jupyter.extension", "version", "lazy_names"),  # bknb/__init__.py: lazy_names hands out the public names
}

# one module -> one more door, and why; at most two
EXTRA_DOORS: dict[tuple[str, str], str] = {
    ("provenance.card", "verify"): "card.verify() runs a backtest: through the public names, like a user",
    ("frontend", "jupyter.frontend"): "what a notebook shows; looked up by its name in a kernel, and nowhere else",
}

# one module -> a door for annotations alone
TYPES_ONLY: dict[tuple[str, str], str] = {
    ("ports", "market.candles"): "a source of candles returns candles",
}

# modules that need each other at run time (lazy imports included), and why
CIRCLES: dict[frozenset[str], str] = {
    frozenset(
        {
            *("provenance.card", "provenance.portfolio_card", "runs.card_of_result", "runs.result", "runs.backtest"),
            *("runs.portfolio", "runs.portfolio_result", "runs.portfolio_task", "runs.verify_card"),
            "runs.verify_portfolio",
        }
    ): "a result has a card, and card.verify() runs it again, by the public name",
}

# packages with fewer than three modules, and why they are a room all the same
SMALL_PACKAGES: dict[str, str] = {
    "adapters": "two old paths that the manual of 0.1.0 told to import; they warn, and go with the next release",
}

# the packages that are a public namespace each: what its stub imports is what a user writes behind the dot
NAMESPACES = ("brokers", "exchanges", "llm", "stores")

# what the kernels may take from outside the standard library; domain takes msgspec alone
THIRD_PARTY: dict[str, frozenset[str]] = {
    "domain": frozenset({"msgspec"}),
    "kernels": frozenset({"numpy", "numba"}),
}

IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "ctypes",
        "glob",
        "http",
        "io",
        "locale",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "queue",
        "random",
        "sched",
        "secrets",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    }
)
IMPURE_CALLS = frozenset({"open", "print", "input", "breakpoint", "eval", "exec", "__import__"})

HEAVY = frozenset({"numba", "plotly", "pandas", "ccxt", "matplotlib", "IPython", "pyarrow", "ollama"})

CLOCK_MODULE = "bknb.market.system_clock"
CALENDARS = ("localtime", "gmtime", "ctime", "asctime")  # of ``time``: those that are given a moment read no clock
CLOCK_READS = frozenset(
    [f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")]
    + [f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")]
    + [f"time.{name}" for name in CALENDARS]
    + [f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")]
    + ["datetime.date.today"]
    + [f"pandas.Timestamp.{name}" for name in ("now", "utcnow", "today")]
)
SPOKEN_NOW = frozenset({"datetime64", "Timestamp", "to_datetime"})  # called with the words "now" or "today"

BAD_CLASS_WORDS = frozenset(
    {
        "Service",
        "Manager",
        "Helper",
        "Helpers",
        "Util",
        "Utils",
        "Handler",
        "Impl",
        "Base",
        "Factory",
    }
)
BAD_MODULES = frozenset(
    {
        "util",
        "utils",
        "helpers",
        "common",
        "core",
        "services",
        "types",
        "interfaces",
        "models",
    }
)


@dataclass(frozen=True)
class Module:
    """One source file; ``name`` is dotted, and a package's name is that of its folder."""

    name: str
    tree: ast.Module
    is_package: bool = False

    @property
    def inside(self) -> str:
        """The name below ``bknb``; empty for the package itself."""
        return self.name.removeprefix("bknb").removeprefix(".")

    @property
    def room(self) -> str:
        return self.inside.split(".")[0]


@dataclass(frozen=True)
class Import:
    target: str  # "bknb.domain.signal.Signal", "numpy", ...
    line: int
    types_only: bool
    at_import: bool  # runs when the module is imported


def stub_of(package: Path) -> ast.Module:
    return ast.parse((package / "__init__.pyi").read_text(encoding="utf-8"))


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        if name.removeprefix("bknb.") in NAMESPACES:  # imports, too, when a name is asked for
            tree.body += stub_of(path.parent).body
        found.append(Module(name, tree, is_package))
    return tuple(found)


@cache
def nodes(module: Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(module.tree))


IMPORTERS = {"import_module", "__import__"}


@cache
def imports(module: Module) -> list[Import]:
    found: list[Import] = []
    by_name = any(isinstance(node, ast.Call) and _called(node) in IMPORTERS for node in nodes(module))

    def visit(node: ast.AST, *, types_only: bool, at_import: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, types_only, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(module, node)
            found.extend(Import(f"{origin}.{a.name}", node.lineno, types_only, at_import) for a in node.names)
        elif isinstance(node, ast.Call) and _called(node) in IMPORTERS:
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                dots = target.value.startswith(".")
                name = f"bknb{target.value}" if dots else target.value
                found.append(Import(name, node.lineno, types_only=False, at_import=at_import))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, types_only=True, at_import=False)
            for child in node.orelse:
                visit(child, types_only=types_only, at_import=at_import)
            return
        inner = at_import and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            if by_name or not isinstance(child, ast.expr):  # no other expression imports anything
                visit(child, types_only=types_only, at_import=inner)

    visit(module.tree, types_only=False, at_import=True)
    return found


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def homes(package: Path = PACKAGE) -> dict[str, str]:
    """Public name -> the module it comes from, as ``__init__.pyi`` lists them; empty for a public namespace."""
    return {
        alias.name: node.module or ""
        for node in stub_of(package).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


HOMES = homes()
PUBLIC = frozenset([*HOMES, "__version__"])


def _below(name: str, door: str) -> bool:
    return name == door or name.startswith(f"{door}.")


def _inside(target: str) -> str:
    return target.removeprefix("bknb").removeprefix(".")


def _opened(module: Module, edge: Import) -> bool:
    allowed = DOORS[module.room]
    target = _inside(edge.target)
    if "PUBLIC" in allowed and (not target or target.split(".")[0] in PUBLIC):
        return True
    doors = [*allowed, *(door for who, door in EXTRA_DOORS if who == module.inside)]
    doors += [door for who, door in TYPES_ONLY if who == module.inside and edge.types_only]
    return any(_below(target, door) for door in doors)


def doors(module: Module) -> list[str]:
    """Imports between rooms that are not in the tables."""
    if module.room not in DOORS:
        return [f"{module.name}: a room that is not in DOORS"]
    return [
        f"{module.name}:{edge.line} must not import {edge.target}"
        for edge in imports(module)
        if edge.target.split(".")[0] == "bknb"
        and not (module.room and _below(_inside(edge.target), module.room))
        and not _opened(module, edge)
    ]


def public_attributes(module: Module) -> list[str]:
    """Guests reaching through ``bknb.`` for something that is not a public name."""
    if "PUBLIC" not in DOORS.get(module.room, ()) or not module.room:
        return []
    return [
        f"{module.name}:{node.lineno} bknb.{node.attr} is not a public name"
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "bknb"
        and node.attr not in PUBLIC
    ]


def third_party(module: Module) -> list[str]:
    """Packages that a room with a short list must not need."""
    allowed = THIRD_PARTY.get(module.room)
    if allowed is None:
        return []
    ours = allowed | sys.stdlib_module_names | {"bknb"}
    return [
        f"{module.name}:{edge.line} {module.room} must not import {edge.target}"
        for edge in imports(module)
        if edge.target.split(".")[0] not in ours
    ]


def purity(module: Module) -> list[str]:
    """Input, output, clocks, chance, coroutines and logging in the domain."""
    if module.room != "domain":
        return []
    found = [
        f"{module.name}:{edge.line} domain must not import {edge.target}"
        for edge in imports(module)
        if edge.target.split(".")[0] in IMPURE_MODULES
    ]
    for node in nodes(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{module.name}:{node.lineno} domain must not call {node.func.id}")
        elif isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            found.append(f"{module.name}:{node.lineno} domain must not be asynchronous")
    return found


def wall_clock(module: Module) -> list[str]:
    """Reads of any clock, under whatever name it was imported."""
    if module.name == CLOCK_MODULE:
        return []
    origins: dict[str, str] = {}
    for node in nodes(module):
        if isinstance(node, ast.Import):
            origins.update({alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            origins.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})

    def origin(node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return origins.get(node.id, node.id)
        return f"{origin(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""

    found, calendars = [], {f"time.{name}" for name in CALENDARS}
    given = {id(each.func) for each in nodes(module) if isinstance(each, ast.Call) and each.args}
    for node in nodes(module):
        if id(node) in given and isinstance(node, ast.expr) and origin(node) in calendars:
            continue
        if isinstance(node, (ast.Attribute, ast.Name)) and origin(node) in CLOCK_READS:
            found.append(f"{module.name}:{node.lineno} reads a clock: {origin(node)}")
        elif isinstance(node, ast.Call):
            spoken = _called(node) in SPOKEN_NOW and any(
                isinstance(value, ast.Constant) and value.value in {"now", "today"} for value in node.args
            )
            loop = isinstance(node.func, ast.Attribute) and re.search(r"loop(\(\))?\.time$", ast.unparse(node.func))
            if spoken or loop:
                found.append(f"{module.name}:{node.lineno} reads a clock: {ast.unparse(node)}")
    return found


def class_names(module: Module) -> list[str]:
    """Classes whose name says that the design is not finished."""
    return [
        f"{module.name}:{node.lineno} class {node.name}"
        for node in nodes(module)
        if isinstance(node, ast.ClassDef)
        and BAD_CLASS_WORDS & set(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", node.name))
    ]


def module_names(module: Module) -> list[str]:
    """Modules and folders with names such as utils or helpers."""
    return [f"{module.name}: a module called {part}" for part in module.inside.split(".") if part in BAD_MODULES]


def heavy_imports(module: Module) -> list[str]:
    """Large packages pulled as soon as a module is imported."""
    if module.room == "jupyter":
        return []
    return [
        f"{module.name}:{edge.line} imports {edge.target} at the top; import it inside the function that needs it"
        for edge in imports(module)
        if edge.at_import and edge.target.split(".")[0] in HEAVY
    ]


# underscored names that are an interface of Python or of IPython, and of nothing of ours
SPOKEN_PRIVATE = frozenset(
    {
        "os._exit",  # leaves without clean-up: what a crash is, and what a child does that must not run its parent's
        "sys._getframe",
        "asyncio._get_running_loop",
        "asyncio._set_running_loop",
    }
)
PROTOCOLS = frozenset({"_repr_html_", "_repr_mimebundle_", "_replace", "_asdict", "_fields"})


def private_of_others(module: Module) -> list[str]:
    """Names with a leading underscore that belong to another module: of an object, of a module, or imported."""
    own: set[str] = set()
    for node in nodes(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store):
            own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            own.add(node.value)  # __slots__
    found = [
        f"{module.name}:{node.lineno} uses {ast.unparse(node)}"
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-zA-Z]", node.attr)
        and node.attr not in own | PROTOCOLS
        and ast.unparse(node) not in SPOKEN_PRIVATE
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    ]
    found += [
        f"{module.name}:{edge.line} imports {edge.target}"
        for edge in imports(module)
        if edge.target.startswith("bknb.") and re.search(r"\._[a-z]", edge.target)
    ]
    return found


RULES: tuple[Callable[[Module], list[str]], ...] = (
    doors,
    public_attributes,
    third_party,
    purity,
    wall_clock,
    class_names,
    module_names,
    heavy_imports,
    private_of_others,
)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks_a_rule(rule: Callable[[Module], list[str]]) -> None:
    broken = [line for module in modules() for line in rule(module)]
    assert not broken, "\n".join(broken)


def test_every_source_file_is_read() -> None:
    names = {module.name for module in modules()}
    assert {"bknb", "bknb.errors", "bknb.domain.lifecycle", "bknb.market.candles"} <= names


def test_the_top_level_holds_only_listed_rooms() -> None:
    top = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.name[0] not in "_."}
    assert top - {"py"} == {room for room in DOORS if room and room[0] != "_"}


def test_a_row_names_only_rooms_above_it() -> None:
    below: set[str] = {"PUBLIC"}
    for room, allowed in DOORS.items():
        down = {door for door in allowed if door.split(".")[0] not in below}
        assert not down, f"{room} opens a door to a room below it in the table: {down}"
        below.add(room)


def test_exceptions_are_few_and_still_needed() -> None:
    assert len(EXTRA_DOORS) <= 2
    present = {
        (module.inside, door)
        for module in modules()
        for edge in imports(module)
        for who, door in [*EXTRA_DOORS, *TYPES_ONLY]
        if who == module.inside and _below(_inside(edge.target), door)
    }
    assert present == {*EXTRA_DOORS, *TYPES_ONLY}


def test_doors_that_nobody_uses_are_closed() -> None:
    used = {(module.room, _inside(edge.target)) for module in modules() for edge in imports(module)}
    unused = [
        f"{room} -> {door}"
        for room, allowed in DOORS.items()
        for door in allowed
        if door != "PUBLIC" and not any(who == room and _below(target, door) for who, target in used)
    ]
    assert not unused, unused


def arrows() -> set[tuple[str, str]]:
    """(room, room it imports): lazy imports and those for annotations included."""
    rooms = {*DOORS}
    return {
        (module.room, target if target in rooms else "")
        for module in modules()
        for edge in imports(module)
        if edge.target.split(".")[0] == "bknb"
        for target in [_inside(edge.target).split(".")[0]]
        if target != module.room and (module.room or target)
    }


def upward(found: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows to a room that stands further down in ``DOORS``; the public names of ``bknb`` are the top but two."""
    order = {room: at for at, room in enumerate(DOORS)}
    order[""] = order["jupyter"] - 0.5  # type: ignore[assignment]
    return sorted((a, b) for a, b in found if order[a] < order[b])


def test_arrows_between_rooms(record_property: Callable[[str, object], None]) -> None:
    found = arrows()
    up = upward(found)
    record_property("summary", f"arrows between rooms: {len(found)}, upward: {len(up)} {up}, circles: {len(circles())}")
    assert len(found) <= 189
    assert len(up) <= 5


def circles() -> list[frozenset[str]]:
    """Modules that need each other at run time, lazily or not; annotations do not count."""
    everything = {module.inside: module for module in modules()}
    needs: dict[str, set[str]] = {}
    for name, module in everything.items():
        needs[name] = set()
        for edge in imports(module):
            target = _inside(edge.target)
            if edge.types_only or edge.target.split(".")[0] != "bknb":
                continue
            home = HOMES.get(target.split(".")[0]) if target.split(".")[0] not in everything else None
            while target and target not in everything:
                target = target.rpartition(".")[0]
            found = home or target
            if found and found != name:
                needs[name].add(found)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [*needs[start]]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo.extend(needs[at])
        return seen

    reach = {name: reached(name) for name in needs}
    return sorted(
        {
            frozenset([name, *(other for other in reach[name] if name in reach[other])])
            for name in needs
            if name in reach[name]
        },
        key=sorted,
    )


def test_circles_are_listed() -> None:
    assert set(circles()) == set(CIRCLES), [sorted(circle) for circle in circles()]


def test_a_module_of_a_namespace_does_not_bear_the_name_of_a_function_in_it() -> None:
    for name in ("", *NAMESPACES):
        package = PACKAGE / name
        below = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
        both = below & {*homes(package)} - {
            *NAMESPACES,
            "at",
            "indicators",
            "notify",
            "panels",
            "protections",
            "size",
            "sources",
        }
        assert not both, f"bknb.{name}: {both} would be the module for some and the function for others"


# modules of more than 400 lines, and the one idea each holds
LARGE: dict[str, str] = {
    "kernels.simulate": "a whole backtest as one compiled loop, with its plain twin",
    "live.orders_sent_to_broker": "orders at a broker: saved, sent, asked about, found again",
    "market.feed": "candles from a source: paged, asked for again, checked",
    "market.paging": "which question follows an answer of a source: pages, holes, answers of fewer than asked",
    "market.window": "the candles a run has in memory, and what it may see of them",
    "runs.portfolio_result": "the public result of a portfolio",
    "runs.result": "the public result of a run",
}


def test_large_modules_hold_one_idea() -> None:
    large = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 400
    }
    assert large == set(LARGE), f"not listed: {sorted(large - set(LARGE))}, not large: {sorted(set(LARGE) - large)}"


def test_small_packages_have_a_reason() -> None:
    small = {
        str(package.relative_to(PACKAGE))
        for package in PACKAGE.rglob("*")
        if (package / "__init__.py").is_file() and len([*package.glob("*.py")]) - 1 < 3
    }
    assert small == set(SMALL_PACKAGES)


BITES: tuple[tuple[Callable[[Module], list[str]], str, str], ...] = (
    (doors, "bknb.domain.signal_validation", "from ..market.candles import Candles"),
    (doors, "bknb.domain.signal_validation", "from ..market import candles"),
    (doors, "bknb.domain.signal_validation", "from .. import market"),
    (doors, "bknb.domain.signal_validation", "import bknb.market.candles"),
    (doors, "bknb.domain.signal_validation", "from ..log import logger"),
    (doors, "bknb.domain.signal_validation", "if TYPE_CHECKING:\n    from ..market.candles import Candles"),
    (doors, "bknb.domain.signal_validation", "def f():\n    from ..engine.plan import Plan"),
    (doors, "bknb.domain.signal_validation", "import importlib\nimportlib.import_module('bknb.market.feed')"),
    (doors, "bknb.market.feed", "from ..engine.plan import Plan"),
    (doors, "bknb.market.feed", "import bknb"),
    (doors, "bknb.market.feed", "from bknb import backtest"),
    (doors, "bknb.engine.plan", "from ..exchanges.demo_in_sessions_and_bundled import demo"),
    (doors, "bknb.engine.plan", "from ..jupyter.display import show"),
    (doors, "bknb.metrics.statistics", "from ..market.feed import Feed"),
    (doors, "bknb.metrics.statistics", "from ..market import feed"),
    (doors, "bknb.history.candle_store", "from ..engine.plan import Plan"),
    (doors, "bknb.history.candle_store", "from ..reports.heat_info import statistics"),
    (doors, "bknb.jupyter.extension", "from ..engine.registry import registry"),
    (doors, "bknb.jupyter.extension", "from .. import engine"),
    (doors, "bknb.cli", "from .history.candle_store import CandleStore"),
    (doors, "bknb.cli", "from .errors import UsageError"),
    (doors, "bknb.ports", "from .market.candles import Candles"),
    (doors, "bknb.config", "from .domain.interval import Interval"),
    (doors, "bknb.attic.chest", "x = 1"),
    (public_attributes, "bknb.jupyter.extension", "import bknb\nbknb.engine.registry"),
    (third_party, "bknb.domain.pnl", "import numpy as np"),
    (third_party, "bknb.domain.pnl", "def f():\n    import pandas"),
    (third_party, "bknb.kernels.first_change", "import pandas"),
    (purity, "bknb.domain.pnl", "import time"),
    (purity, "bknb.domain.pnl", "from random import random"),
    (purity, "bknb.domain.pnl", "import asyncio"),
    (purity, "bknb.domain.pnl", "import logging"),
    (purity, "bknb.domain.pnl", "open('state.json')"),
    (purity, "bknb.domain.pnl", "async def f(): ..."),
    (wall_clock, "bknb.domain.pnl", "import datetime\ndatetime.datetime.now()"),
    (wall_clock, "bknb.live.run", "import time\nstart = time.time()"),
    (wall_clock, "bknb.live.run", "import time as t\nread = t.monotonic"),
    (wall_clock, "bknb.live.run", "import time\ntime.localtime()"),
    (wall_clock, "bknb.live.run", "from time import perf_counter as tick\ntick()"),
    (wall_clock, "bknb.live.run", "from datetime import UTC, datetime as dt\ndt.now(UTC)"),
    (wall_clock, "bknb.live.run", "from datetime import datetime\ndatetime.utcnow()"),
    (wall_clock, "bknb.live.run", "from datetime import date\ndate.today()"),
    (wall_clock, "bknb.live.run", "def f():\n    import pandas as pd\n    return pd.Timestamp.now()"),
    (wall_clock, "bknb.live.run", "import numpy as np\nnp.datetime64('now')"),
    (wall_clock, "bknb.live.run", "import asyncio\nasyncio.get_running_loop().time()"),
    (private_of_others, "bknb.engine.plan", "def f(candles):\n    return candles._block"),
    (private_of_others, "bknb.engine.plan", "from ..market.candles import _checked"),
    (private_of_others, "bknb.engine.plan", "from ..market import candles\ncandles._checked()"),
    (class_names, "bknb.engine.plan", "class RunManager: ..."),
    (class_names, "bknb.engine.plan", "class BaseRun: ..."),
    (class_names, "bknb.engine.plan", "def f():\n    class HTTPHandler: ..."),
    (class_names, "bknb.engine.plan", "class _RunImpl: ..."),
    (module_names, "bknb.engine.utils", "x = 1"),
    (module_names, "bknb.core.run", "x = 1"),
    (heavy_imports, "bknb.reports.plots", "import plotly.graph_objects as go"),
    (heavy_imports, "bknb.market.candles", "from pandas import DataFrame"),
    (heavy_imports, "bknb.market.candles", "try:\n    import numba\nexcept ImportError:\n    numba = None"),
    (heavy_imports, "bknb.market.candles", "class A:\n    import pandas"),
    (heavy_imports, "bknb.cli", "import importlib\nimportlib.import_module('IPython')"),
)


@pytest.mark.parametrize(("rule", "name", "source"), BITES)
def test_each_rule_finds_a_planted_violation(rule: Callable[[Module], list[str]], name: str, source: str) -> None:
    assert rule(Module(name, ast.parse(source)))


ALLOWED: tuple[tuple[str, str], ...] = (
    (
        "bknb.domain.signal_validation",
        "import math\nimport msgspec\nfrom datetime import UTC, datetime\nfrom ..config import Settings",
    ),
    ("bknb.market.system_clock", "import time\nnow = time.time()"),
    ("bknb.market.feed", "from ..domain.interval import floor_to\nfrom .candles import Candles\nimport numpy as np"),
    ("bknb.market.feed", "import time\ntime.sleep(1)"),
    ("bknb.reports.plots", "from ..metrics.statistics import statistics\nclass Database: ..."),
    ("bknb.reports.plots", "def f():\n    import plotly"),
    ("bknb.market.candles", "if TYPE_CHECKING:\n    import pandas as pd"),
    ("bknb.ports", "if TYPE_CHECKING:\n    from .market.candles import Candles"),
    (
        "bknb.jupyter.extension",
        "import IPython\nimport bknb\nfrom .. import backtest\nfrom bknb import BknbError\nbknb.backtest",
    ),
)


@pytest.mark.parametrize(("name", "source"), ALLOWED)
def test_the_rules_accept_valid_code(name: str, source: str) -> None:
    module = Module(name, ast.parse(source))
    assert [line for rule in RULES for line in rule(module)] == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    package = Module(
        "bknb.engine", ast.parse("from .plan import Plan\nfrom ..errors import BknbError"), is_package=True
    )
    assert [edge.target for edge in imports(package)] == ["bknb.engine.plan.Plan", "bknb.errors.BknbError"]
