"""The gate, and what runs it: the checks before a commit are those of ``.ci/run``, and slow tests are named so."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis.internal.conjecture import providers
from quick import each_once
from same_constants import text_of_constants

ROOT = Path(__file__).parent.parent
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_before_a_commit_the_gate_s_checks_run() -> None:
    lint_and_types = GATE.partition('step "lint"')[2].partition("\n}\n")[0]
    checks = re.findall(r"^ +(\.venv/bin/.*)$", lint_and_types, flags=re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.*)$", hooks, flags=re.MULTILINE) == checks
    assert len(checks) == 3
    assert re.findall(r"^ +(?:- )?(repo|language): (.*)$", hooks, flags=re.MULTILINE) == [
        ("repo", "local"),  # nothing is fetched
        *[("language", "system")] * 3,
    ]


def test_the_gate_can_be_run() -> None:
    for name in ("run", "binder"):
        assert (ROOT / ".ci" / name).stat().st_mode & stat.S_IXUSR


def enough(summary: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "summary").write_text(summary)
    wanted = re.search(r"^least_tests=[0-9]+", GATE, flags=re.MULTILINE)
    function = re.search(r"^enough\(\) \{\n.*?^\}$", GATE, flags=re.MULTILINE | re.DOTALL)
    assert wanted is not None
    assert function is not None
    script = f"set -euo pipefail\n{wanted[0]}\n{function[0]}\nenough {shlex.quote(str(folder / 'summary'))}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("summary", "passes"),
    [
        (".... [100%]\n{least} passed, 11 skipped in 995.81s (0:16:35)\n", True),
        ("{least} passed in 9.41s\n", True),
        ("99999 passed in 9.41s\n{fewer} passed, 11 skipped in 995.81s (0:16:35)\n", False),
        ("{fewer} passed, {least} skipped, 70 deselected in 995.81s\n", False),
        ("no tests ran in 1.00s\n", False),
        ("", False),
    ],
)
def test_the_gate_notices_tests_that_did_not_run(summary: str, passes: bool, tmp_path: Path) -> None:  # noqa: FBT001
    least = int(GATE.partition("\nleast_tests=")[2].split()[0])
    found = enough(summary.format(least=least, fewer=least - 1), tmp_path)
    assert (found.returncode == 0) == passes
    assert found.stdout == ""
    assert (f"expected at least {least}" in found.stderr) != passes


def test_the_gate_counts_the_tests_that_it_ran() -> None:
    assert re.search(r'tee "\$summary"\nenough "\$summary"$', GATE, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "mark", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("kernel", "browser")]
)
def test_what_starts_a_kernel_or_a_browser_is_slow(mark: str, request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker(mark)
    assert request.node.get_closest_marker("slow")


@pytest.mark.parametrize("is_long", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_is_long_is_left_out_unless_it_is_asked_for(request: pytest.FixtureRequest, *, is_long: bool) -> None:
    assert bool(request.node.get_closest_marker("long")) == is_long
    assert bool(request.node.get_closest_marker("slow")) == is_long  # "not slow" is never long
    assert not is_long or "long" in request.config.option.markexpr


@pytest.mark.parametrize(("first", "second"), [("abc", "xyz"), ("abcd", "xy"), ("a", "xyz"), ("abcde", "xyz")])
def test_of_two_parameters_each_value_is_in_a_pair_that_is_not_long(first: str, second: str) -> None:
    quick, *others = each_once(first, second)
    marks = {each.values: {mark.name for mark in each.marks} for each in others}
    kept = [quick, *(pair for pair, names in marks.items() if names == {"slow"})]
    assert all(names in ({"slow"}, {"long"}) for names in marks.values())
    assert ({one for one, _ in kept}, {other for _, other in kept}) == ({*first}, {*second})
    assert len(kept) == max(len(first), len(second))
    assert {quick, *marks} == {*itertools.product(first, second)}


def test_random_examples_do_not_depend_on_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loaded_by_chance.py").write_text("PECULIAR = 987_654_321\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("loaded_by_chance")
    pool = providers.HypothesisProvider(None)._local_constants
    assert 987_654_321 not in pool.integers
    assert 14_695_981_039_346_656_037 in pool.integers  # of a module, be it loaded or not
    assert text_of_constants([b"def f(x=86_399): return 'a word'", b"B = 2.5"]) == "[2.5, 86399, 'a word']"


def test_a_pytest_that_a_test_starts_has_options_of_its_own() -> None:
    assert "PYTEST_ADDOPTS" not in os.environ


@pytest.mark.parametrize(
    ("when", "outcome", "seconds", "told"),
    [
        ("setup", "passed", 0.001, False),
        ("setup", "passed", 0.5, True),  # among the slowest
        ("setup", "failed", 0.001, True),
        ("setup", "skipped", 0.001, True),
        ("call", "passed", 0.001, True),
        ("call", "failed", 0.001, True),
        ("teardown", "passed", 0.001, False),
        ("teardown", "failed", 0.001, True),
    ],
)
def test_a_worker_tells_what_a_run_of_the_tests_says(when: Any, outcome: Any, seconds: float, *, told: bool) -> None:
    pytest.importorskip("xdist")
    from xdist_workers import is_told

    assert is_told(pytest.TestReport("a", ("a", 1, "a"), {}, outcome, None, when, duration=seconds)) == told


def test_tests_that_were_measured_are_there() -> None:
    """A test that bears another name now is quick again, until it is measured."""
    tests = Path(__file__).parent
    lines = (tests / "slow_tests.txt").read_text(encoding="utf-8").splitlines()
    named = [line.partition("[")[0].split("::") for line in lines]
    texts = {file: (tests / file).read_text(encoding="utf-8") for file, *_ in named}
    assert [each for each in named if f"def {each[-1]}(" not in texts[each[0]]] == []
    assert len(named) > 100
