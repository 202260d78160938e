"""Every example in a docstring runs, and says what it prints."""

from __future__ import annotations

import doctest
import importlib
import inspect
import linecache
import pkgutil
from functools import cached_property
from types import ModuleType
from typing import Any

import pytest

import bknb

OPTIONAL = {"IPython", "ipywidgets", "matplotlib", "nbclient", "nbconvert", "nbformat", "numba", "plotly", "pyarrow"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OLD_PATHS = "ignore:bknb.* is an old path:DeprecationWarning"

MODULES = ["bknb", *(found.name for found in pkgutil.walk_packages(bknb.__path__, "bknb."))]
COSTLY = {
    *("bknb.runs.sweep", "bknb.runs.sweep_result", "bknb.runs.luck"),  # they compile a loop
    *(
        "bknb.runs.backtest",
        "bknb.runs.heat_of_runs",
        "bknb.runs.live_portfolios",
        "bknb.runs.live_runs",
        "bknb.runs.schedule",
        "bknb.runs.performance",
        "bknb.runs.partial",
        "bknb.runs.portfolio",
        "bknb.runs.portfolio_result",
        "bknb.runs.risk",
        "bknb.runs.walker",
    ),
    *("bknb.diagnostics.doctor", "bknb.panels", "bknb.runs.check_lookahead", "bknb.runs.result", "bknb.sharing.share"),
    *("bknb.reports.tearsheet", "bknb.runs.save_result"),
}


@pytest.mark.filterwarnings(OLD_PATHS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in COSTLY else []) for name in MODULES]
)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{missing.name} is not installed")
    report: list[str] = []
    linecache.clearcache()  # a runner looks whether each file in it has changed
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for docstring in [*doctest.DocTestFinder().find(module, name), *of_cached_properties(module)]:
        if docstring.examples:
            runner.run(docstring, out=report.append)
    assert runner.failures == 0, "".join(report)


def of_cached_properties(module: ModuleType) -> list[doctest.DocTest]:
    """The examples of cached properties, which doctest does not look for."""
    return [
        doctest.DocTestParser().get_doctest(member.__doc__, vars(module), f"{kind.__name__}.{name}", None, None)
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
        for name, member in vars(kind).items()
        if isinstance(member, cached_property) and member.__doc__
    ]


# -- who has one -------------------------------------------------------------------------------------------------------

CALLED_BY_IPYTHON = {"load_ipython_extension", "unload_ipython_extension"}
NAMESPACES = ("at", "brokers", "exchanges", "indicators", "llm", "panels", "size", "sources", "stores")
MEMBERS_TOO = ("Result",)


def public_objects() -> list[tuple[str, Any]]:
    """Every public class and function with its name; errors are raised, not called, and need no example."""
    found = [(name, getattr(bknb, name)) for name in dir(bknb) if not name.startswith("_")]
    for space in NAMESPACES:
        module = getattr(bknb, space)
        found += [
            (f"{space}.{name}", getattr(module, name))
            for name in getattr(module, "__all__", dir(module))
            if not name.startswith("_")
        ]
    for kind in MEMBERS_TOO:
        found += [(f"{kind}.{name}", each) for name, each in vars(getattr(bknb, kind)).items() if name[0] != "_"]
    return [
        (name, each)
        for name, each in found
        if name not in CALLED_BY_IPYTHON
        and not inspect.ismodule(each)
        and not (inspect.isclass(each) and issubclass(each, Exception))
        and (inspect.isclass(each) or inspect.isroutine(each) or isinstance(each, property | cached_property))
    ]


def test_every_public_name_has_an_example_that_runs() -> None:
    objects = public_objects()
    names = {name for name, _ in objects}
    assert {"backtest", "Result.equity", "Result.tries", "panels.equity", "exchanges.demo"} <= names
    without = [name for name, each in objects if ">>>" not in str(each.__doc__)]
    assert not without, f"no example in the docstring of {', '.join(without)}"


def test_a_wrong_example_is_seen() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(example, out=lambda _: None)
    assert runner.failures == 1
