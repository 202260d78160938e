"""The house rules, read from the syntax trees: who may import whom, and what nobody may do.

Three decisions that the tables below carry out:

* An import counts wherever it stands: at the top, inside a function, or under ``if TYPE_CHECKING:``. A module that
  needs another one's types depends on it. The few edges that exist for annotations alone are listed in ``TYPES_ONLY``
  and are refused again as soon as they become real imports.
* A room may always import itself. ``import bknb`` (the public names) is for the guests, ``jupyter`` and ``cli``; inside
  the house it would be a way around every door.
* A room or top-level module that is not in ``DOORS`` fails: a new one has to be thought about here first.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bknb"

# room or top-level module -> what it may import, as dotted names below bknb; a name opens everything below it
DOORS: dict[str, tuple[str, ...]] = {
    "domain": ("errors", "config", "ports"),
    "kernels": ("errors", "config", "ports"),
    "market": ("errors", "config", "ports", "log", "domain", "kernels"),
    "engine": ("errors", "config", "ports", "log", "domain", "kernels", "market"),
    "analysis": ("errors", "config", "ports", "domain", "kernels", "market.candles"),
    "optimizer": ("errors", "config", "ports", "log", "domain", "analysis"),
    "adapters": ("errors", "config", "ports", "log", "domain", "market.candles", "market.sessions"),
    "testing": ("errors", "config", "ports", "log", "domain", "market", "adapters"),
    "jupyter": ("errors", "config", "PUBLIC"),
    "cli": ("errors", "config", "PUBLIC", "adapters.notebooks"),
    "errors": (),
    "config": ("errors",),
    "ports": ("errors",),
    "log": ("errors",),
    "nested": ("errors",),
    # the modules where engine, records and reports meet; no room imports them
    "runs": (
        *("errors", "config", "ports", "log", "domain", "market", "engine"),
        *("tasks", "result", "cards", "adapters.reports"),
    ),
    "cards": ("errors", "config", "ports", "domain", "engine", "analysis", "result", "runs"),
    "sharing": ("errors", "engine.registry", "market.candles", "market.clock", "analysis", "cards", "adapters"),
    "checkup": ("adapters", "cards", "domain", "engine.registry", "stores"),
    "tasks": ("errors", "domain", "engine", "interrupts"),
    "interrupts": (),
    "sweeps": ("errors", "config", "ports", "runs", "tasks", "sweep_result", "engine", "adapters.trials"),
    "sweep_result": ("errors", "config", "kernels", "engine", "analysis", "result", "runs"),
    "live": (
        *("errors", "config", "ports", "log", "domain", "market", "engine", "tasks", "runs", "stores", "result"),
        *("cards", "adapters.reports"),
    ),
    "stores": ("errors", "ports", "adapters"),
    "tallies": ("engine.records", "analysis", "runs", "live", "adapters.reports"),
    "result": (
        *("errors", "config", "ports", "domain", "market.candles", "engine", "analysis"),
        *("cards", "jupyter.display"),
    ),
    "moment": ("errors", "domain", "market", "engine", "result"),  # a result stepped into: asks the engine again
    "comparing": ("errors", "config", "analysis", "engine", "result", "runs", "tasks", "adapters.reports"),
    "lookahead": ("errors", "config", "ports", "domain", "market", "engine", "analysis", "runs"),
    "reporting": ("errors", "analysis", "engine", "result", "runs", "live", "adapters.reports"),
    "sizing": ("errors", "domain", "engine"),
    "validating": (
        *("config", "domain", "kernels.score", "market", "engine", "analysis", "result", "runs", "tasks"),
        "adapters.openings",
    ),
    "panels": ("jupyter.dashboard",),
    "llm": ("errors", "config", "ports", "domain", "market", "adapters", "optimizer"),
    "sources": ("errors", "config", "domain", "market", "engine", "optimizer", "result"),
    # where the optimizer, its trials and the engine meet
    "trying": ("errors", "config", "domain", "market", "engine", "adapters", "optimizer", "result"),
    "proposals": ("errors", "analysis", "optimizer", "result"),
    "assignments": ("errors", "ports", "domain", "engine", "adapters", "optimizer", "llm", "sources"),
    "optimizers": (
        *("errors", "config", "ports", "domain", "market", "engine", "adapters", "optimizer", "tasks", "jupyter.card"),
        *("llm", "trying", "proposals", "assignments", "__version__"),
    ),
    # the inside of a trial, in a process of its own
    "rehearsal": ("errors", "domain", "market", "engine", "adapters", "optimizer", "lookahead"),
    "exchanges": ("errors", "config", "ports", "domain", "market", "adapters"),
    "brokers": ("errors", "config", "ports", "domain", "adapters"),
    "history": ("errors", "config", "ports", "domain", "market", "engine", "adapters", "exchanges", "jupyter.bar"),
    "soundness": ("errors", "domain", "market", "adapters", "exchanges", "history"),
    "": ("PUBLIC", "jupyter.magics"),  # bknb/__init__.py: hands out the public names, each when it is asked for
}

# one module -> one more door, and why
EXTRA_DOORS: dict[tuple[str, str], str] = {
    ("analysis.card", "cards"): "card.verify() runs a backtest",
    ("exchanges", "engine.registry"): "a shared notebook's candles take the place of its exchanges",
    ("exchanges", "analysis.fingerprint"): "which of those candles were changed",
    ("jupyter.display", "analysis.figures"): "a result as a picture",
    ("jupyter.display", "analysis.reports"): "a result as numbers",
    ("jupyter.comparing", "market.clock"): "how long a comparison still takes",
    ("jupyter.sweeping", "market.clock"): "how long a sweep still takes",
    ("adapters.candles", "market.quality"): "nothing is stored that was not checked",
    ("adapters.filling", "market.quality"): "nothing is stored that was not checked",
    ("adapters.ccxt", "market.io"): "a client lives on one loop, whoever asks",
    ("jupyter.dashboard", "analysis.board"): "which run an event belongs to",
    ("jupyter.dashboard", "analysis.panels"): "what the figures mean",
    ("jupyter.dashboard", "analysis.watch"): "what a run has told",
    ("jupyter.dashboard", "market.clock"): "how fast a run is; nobody else reads a clock",
    ("jupyter.frames", "analysis.board"): "which run is shown",
    ("jupyter.frames", "analysis.panels"): "rows and arrays of each panel",
    ("jupyter.frames", "analysis.watch"): "what a run has told",
    ("jupyter.pump", "market.clock"): "ten frames a second",
    ("jupyter.still", "analysis.figures"): "a dashboard as a picture",
    ("jupyter.still", "analysis.panels"): "a dashboard as tables",
    ("jupyter.still", "analysis.summary"): "numbers as text",
    ("jupyter.still", "analysis.watch"): "what a run has told",
    ("jupyter.waiting", "market.clock"): "how long a run still takes; nobody else reads a clock",
    ("result", "moment"): "a result steps into one of its minutes",
    ("tasks", "jupyter.waiting"): "buttons in the cell that waits for a task",
}

# one module -> a door for annotations alone
TYPES_ONLY: dict[tuple[str, str], str] = {
    ("ports", "market.candles"): "a source of candles returns candles",
    ("ports", "domain.trial"): "a ledger keeps trials",
    ("ports", "domain.orders"): "a broker takes orders and returns reports",
}

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

CLOCK_MODULE = "bknb.market.clock"
CLOCK_READS = frozenset(
    [f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")]
    + [f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")]
    + [f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime")]
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


def modules() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield Module(name, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), is_package)


def imports(module: Module) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, *, types_only: bool, at_import: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, types_only, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(module, node)
            found.extend(Import(f"{origin}.{a.name}", node.lineno, types_only, at_import) for a in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
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


def public_names() -> frozenset[str]:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset([*ast.literal_eval(node.value), "__version__"])
    raise AssertionError("bknb/__init__.py has no literal __all__")


PUBLIC = public_names()


def _below(name: str, door: str) -> bool:
    return name == door or name.startswith(f"{door}.")


def doors(module: Module) -> list[str]:
    """Edges between rooms that are not in the tables."""
    if module.room not in DOORS:
        return [f"{module.name}: a room that is not in DOORS"]
    allowed = DOORS[module.room]
    found = []
    for edge in imports(module):
        if edge.target.split(".")[0] != "bknb":
            continue
        target = edge.target.removeprefix("bknb").removeprefix(".")
        if module.room and _below(target, module.room):
            continue
        opened = any(_below(target, door) for door in allowed)
        opened = opened or ("PUBLIC" in allowed and (not target or target.split(".")[0] in PUBLIC))
        opened = opened or (not module.room and edge.types_only)
        opened = opened or any(module.inside == who and _below(target, door) for who, door in EXTRA_DOORS)
        opened = opened or (
            edge.types_only and any(module.inside == who and _below(target, door) for who, door in TYPES_ONLY)
        )
        if not opened:
            found.append(f"{module.name}:{edge.line} must not import {edge.target}")
    return found


def public_attributes(module: Module) -> list[str]:
    """Guests reaching through ``bknb.`` for something that is not a public name."""
    if "PUBLIC" not in DOORS.get(module.room, ()) or not module.room:
        return []
    return [
        f"{module.name}:{node.lineno} bknb.{node.attr} is not a public name"
        for node in ast.walk(module.tree)
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
    for node in ast.walk(module.tree):
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
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            origins.update({alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            origins.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})

    def origin(node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return origins.get(node.id, node.id)
        return f"{origin(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""

    found = []
    for node in ast.walk(module.tree):
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
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and BAD_CLASS_WORDS & set(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", node.name))
    ]


def module_names(module: Module) -> list[str]:
    """Modules and folders that hold whatever nobody found a name for."""
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


RULES: tuple[Callable[[Module], list[str]], ...] = (
    doors,
    public_attributes,
    third_party,
    purity,
    wall_clock,
    class_names,
    module_names,
    heavy_imports,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Callable[[Module], list[str]]) -> None:
    broken = [line for module in modules() for line in rule(module)]
    assert not broken, "\n".join(broken)


def test_every_source_file_is_read() -> None:
    names = {module.name for module in modules()}
    assert {"bknb", "bknb.errors", "bknb.domain.lifecycle", "bknb.market.candles"} <= names


def test_exceptions_are_still_needed() -> None:
    present = {
        (module.inside, door)
        for module in modules()
        for edge in imports(module)
        for who, door in [*EXTRA_DOORS, *TYPES_ONLY]
        if who == module.inside and _below(edge.target.removeprefix("bknb."), door)
    }
    assert present == {*EXTRA_DOORS, *TYPES_ONLY}


BITES: tuple[tuple[Callable[[Module], list[str]], str, str], ...] = (
    (doors, "bknb.domain.rules", "from ..market.candles import Candles"),
    (doors, "bknb.domain.rules", "from ..market import candles"),
    (doors, "bknb.domain.rules", "from .. import market"),
    (doors, "bknb.domain.rules", "import bknb.market.candles"),
    (doors, "bknb.domain.rules", "from ..log import logger"),
    (doors, "bknb.domain.rules", "if TYPE_CHECKING:\n    from ..market.candles import Candles"),
    (doors, "bknb.domain.rules", "def f():\n    from ..engine.events import signal"),
    (doors, "bknb.domain.rules", "import importlib\nimportlib.import_module('bknb.market.feed')"),
    (doors, "bknb.market.feed", "from ..engine.events import signal"),
    (doors, "bknb.market.feed", "import bknb"),
    (doors, "bknb.market.feed", "from bknb import backtest"),
    (doors, "bknb.engine.run", "from ..adapters.demo import demo"),
    (doors, "bknb.engine.run", "from ..jupyter.panels import panel"),
    (doors, "bknb.analysis.stats", "from ..market.feed import Feed"),
    (doors, "bknb.analysis.stats", "from ..market import feed"),
    (doors, "bknb.adapters.demo", "from ..market.feed import Feed"),
    (doors, "bknb.adapters.demo", "from ..analysis.stats import statistics"),
    (doors, "bknb.jupyter.magics", "from ..engine.registry import strategy"),
    (doors, "bknb.jupyter.magics", "from .. import engine"),
    (doors, "bknb.cli", "from .adapters.files import read"),
    (doors, "bknb.ports", "from .market.candles import Candles"),
    (doors, "bknb.config", "from .domain.interval import Interval"),
    (doors, "bknb.attic.chest", "x = 1"),
    (public_attributes, "bknb.jupyter.magics", "import bknb\nbknb.engine.registry"),
    (third_party, "bknb.domain.pnl", "import numpy as np"),
    (third_party, "bknb.domain.pnl", "def f():\n    import pandas"),
    (third_party, "bknb.kernels.scan", "import pandas"),
    (purity, "bknb.domain.pnl", "import time"),
    (purity, "bknb.domain.pnl", "from random import random"),
    (purity, "bknb.domain.pnl", "import asyncio"),
    (purity, "bknb.domain.pnl", "import logging"),
    (purity, "bknb.domain.pnl", "open('state.json')"),
    (purity, "bknb.domain.pnl", "async def f(): ..."),
    (wall_clock, "bknb.domain.pnl", "import datetime\ndatetime.datetime.now()"),
    (wall_clock, "bknb.engine.live", "import time\nstart = time.time()"),
    (wall_clock, "bknb.engine.live", "import time as t\nread = t.monotonic"),
    (wall_clock, "bknb.engine.live", "from time import perf_counter as tick\ntick()"),
    (wall_clock, "bknb.engine.live", "from datetime import UTC, datetime as dt\ndt.now(UTC)"),
    (wall_clock, "bknb.engine.live", "from datetime import datetime\ndatetime.utcnow()"),
    (wall_clock, "bknb.engine.live", "from datetime import date\ndate.today()"),
    (wall_clock, "bknb.engine.live", "def f():\n    import pandas as pd\n    return pd.Timestamp.now()"),
    (wall_clock, "bknb.engine.live", "import numpy as np\nnp.datetime64('now')"),
    (wall_clock, "bknb.engine.live", "import asyncio\nasyncio.get_running_loop().time()"),
    (class_names, "bknb.engine.run", "class RunManager: ..."),
    (class_names, "bknb.engine.run", "class BaseRun: ..."),
    (class_names, "bknb.engine.run", "def f():\n    class HTTPHandler: ..."),
    (class_names, "bknb.engine.run", "class _RunImpl: ..."),
    (module_names, "bknb.engine.utils", "x = 1"),
    (module_names, "bknb.core.run", "x = 1"),
    (heavy_imports, "bknb.analysis.figures", "import plotly.graph_objects as go"),
    (heavy_imports, "bknb.market.candles", "from pandas import DataFrame"),
    (heavy_imports, "bknb.market.candles", "try:\n    import numba\nexcept ImportError:\n    numba = None"),
    (heavy_imports, "bknb.market.candles", "class A:\n    import pandas"),
    (heavy_imports, "bknb.cli", "import importlib\nimportlib.import_module('IPython')"),
)


@pytest.mark.parametrize(("rule", "name", "source"), BITES)
def test_each_rule_bites(rule: Callable[[Module], list[str]], name: str, source: str) -> None:
    assert rule(Module(name, ast.parse(source)))


ALLOWED: tuple[tuple[str, str], ...] = (
    (
        "bknb.domain.rules",
        "import math\nimport msgspec\nfrom datetime import UTC, datetime\nfrom ..config import Settings",
    ),
    ("bknb.market.clock", "import time\nnow = time.time()"),
    ("bknb.market.feed", "from ..domain.interval import floor_to\nfrom .candles import Candles\nimport numpy as np"),
    ("bknb.market.feed", "import time\ntime.sleep(1)"),
    ("bknb.analysis.stats", "from ..market.candles import Candles\nclass Database: ..."),
    ("bknb.analysis.figures", "def f():\n    import plotly"),
    ("bknb.market.candles", "if TYPE_CHECKING:\n    import pandas as pd"),
    ("bknb.ports", "if TYPE_CHECKING:\n    from .market.candles import Candles"),
    (
        "bknb.jupyter.magics",
        "import IPython\nimport bknb\nfrom .. import backtest\nfrom ..errors import BknbError\nbknb.backtest",
    ),
)


@pytest.mark.parametrize(("name", "source"), ALLOWED)
def test_the_rules_leave_honest_code_alone(name: str, source: str) -> None:
    module = Module(name, ast.parse(source))
    assert [line for rule in RULES for line in rule(module)] == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    package = Module("bknb.engine", ast.parse("from .run import run\nfrom ..errors import BknbError"), is_package=True)
    assert [edge.target for edge in imports(package)] == ["bknb.engine.run.run", "bknb.errors.BknbError"]
