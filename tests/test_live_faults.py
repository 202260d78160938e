"""A live run that is killed, refused or damaged loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LIFE = Path(__file__).with_name("live_life.py")

SHAPES = {
    "limit at its first open",
    "limit that waited",
    "market at its first open",
    "ordered before its candle",
    "stop that waited",
    "turned round",
}
LATE_SHAPES = SHAPES - {"stop that waited"} | {"stop at its first open"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize(
    ("where", "points", "step"),
    [("disk", 250, 1), ("broker", 30, 1), ("late disk", 60, 7), ("hole disk", 30, 11), ("hole sqlite", 30, 7)],
)
def test_a_live_run_killed_at_any_write_resumes_equal(
    folder_in_memory: Path, where: str, points: int, step: int
) -> None:
    """Two processes share the places.

    ``late``: the clock sleeps through some minutes; ``hole``: some never come, and the exchange fails for a while. Of
    these not every place is tried.
    """
    folders = [folder_in_memory / "odd", folder_in_memory / "even"]
    lives = []
    for first, folder in enumerate(folders, start=1):
        folder.mkdir()
        command = [sys.executable, str(LIFE), str(folder), where, str(first * step), str(2 * step)]
        lives.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    found = []
    for life in lives:
        out, problems = life.communicate(timeout=800)
        assert life.returncode == 0, problems
        found.append(json.loads(out))
    assert [line for half in found for line in half["wrong"]] == []
    assert sum(half["killed"] for half in found) > points
    assert all(half["moved"] for half in found)
    late, holes = where.startswith("late"), where.startswith("hole")
    assert [half["holes"] for half in found] == [3 * holes] * 2
    assert set(found[0]["kinds"]) >= {"Closed", "Milestone", "Opened", "Scheduled"}
    if holes:
        assert set(found[0]["errors"]) >= {"exchange", "hole", "late", "silence"}
        return
    assert set(found[0]["shapes"]) >= (LATE_SHAPES if late else SHAPES)
    assert late or found[0]["kinds"] == ["Cancelled", "Closed", "Milestone", "Opened", "Scheduled"]
