"""Every example in a docstring runs, and says what it prints."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import bknb

OPTIONAL = {"IPython", "ipywidgets", "matplotlib", "nbclient", "nbconvert", "nbformat", "numba", "plotly", "pyarrow"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OLD_PATHS = "ignore:bknb.* is an old path:DeprecationWarning"

MODULES = ["bknb", *(found.name for found in pkgutil.walk_packages(bknb.__path__, "bknb."))]
COMPILES = "bknb.runs.sweep"  # its examples compile the loop of a sweep


@pytest.mark.filterwarnings(OLD_PATHS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == COMPILES else []) for name in MODULES]
)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{missing.name} is not installed")
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(module, name):
        runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_a_wrong_example_is_seen() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(example, out=lambda _: None)
    assert runner.failures == 1
