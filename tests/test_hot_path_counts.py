"""What a backtest does does not grow unseen: ``benchmarks/gate.py`` counts it and compares with a kept table."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GATE = Path(__file__).parents[1] / "benchmarks" / "gate.py"


def test_no_question_and_no_trade_takes_more_than_before(tmp_path: Path) -> None:
    """In a process of its own: the thread that fetches candles is counted from its start."""
    path = os.pathsep.join(str(GATE.parents[1]) if each == "" else each for each in sys.path)
    done = subprocess.run(
        [sys.executable, str(GATE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    advice = "find what calls more, or keep the counts of now and say why: python benchmarks/gate.py --update"
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{advice}"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"others": {"a": 2, "b": 1.0}}, []),
        ({"others": {"a": 2, "b": 1.01}}, []),
        ({"others": {"a": 1, "b": 1.5}}, ["b: 1.5, kept 1.0"]),
        ({"others": {"a": 2, "b": 1.0, "c": 0}}, ["c: 0, kept None"]),
        ({"calls, Python 4.0": {"a": 9}}, []),
    ],
)
def test_what_grew_is_told_with_what_was_kept(found: Any, told: list[str]) -> None:
    spec = importlib.util.spec_from_file_location("gate_of_counts", GATE)
    assert spec is not None
    assert spec.loader is not None
    gate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gate)
    assert gate.worse(found, {"others": {"a": 2, "b": 1.0}}) == told
