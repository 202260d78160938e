"""The gate, and what runs it: the checks before a commit are those of ``.ci/run``, and slow tests are named so."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_before_a_commit_the_gate_s_checks_run() -> None:
    lint_and_types = GATE[GATE.index('step "lint"') : GATE.index('step "binder"')]
    checks = re.findall(r"^\.venv/bin/.*$", lint_and_types, flags=re.MULTILINE)
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


def test_a_pytest_that_a_test_starts_has_options_of_its_own() -> None:
    assert "PYTEST_ADDOPTS" not in os.environ
