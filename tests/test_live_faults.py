"""A live run that is killed, refused or damaged loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
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
WRITTEN = {f"write {kind}" for kind in ("ended", "partial", "risk", "schedule", "signal", "undelivered")}
CHANGES = WRITTEN | {"remove schedule", "remove undelivered"}
HOLED = CHANGES | {"write hole", "write late"}


@pytest.fixture(scope="module")
def lives() -> Iterator[subprocess.Popen[str]]:
    """A process that plays lives in children of its own, which have everything imported."""
    with subprocess.Popen(
        [sys.executable, str(LIFE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr] -- a pipe, as asked for


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize(
    ("where", "changes", "points"),
    [
        ("disk", CHANGES | {"write order"}, 35),
        ("sqlite", CHANGES, 25),
        ("broker", set(), 12),
        ("late disk", CHANGES | {"write late"}, 30),
        ("hole disk", HOLED, 35),
        ("hole sqlite", {"write hole", "write late"}, 8),
        pytest.param("disk every", CHANGES | {"write order"}, 250, marks=pytest.mark.long),
        pytest.param("broker every", set(), 50, marks=pytest.mark.long),
    ],
)
def test_a_live_run_killed_at_any_kind_of_change_resumes_equal(
    lives: subprocess.Popen[str], folder_in_memory: Path, where: str, changes: set[str], points: int
) -> None:
    """``late``: the clock sleeps through some minutes; ``hole``: some never come, and the exchange fails."""
    assert lives.stdin is not None
    assert lives.stdout is not None
    assert lives.stderr is not None
    request = [str(folder_in_memory), where.removesuffix(" every"), where.endswith(" every")]
    lives.stdin.write(f"{json.dumps(request)}\n")
    lives.stdin.flush()
    answered, _, _ = select.select([lives.stdout], [], [], 1_800)
    if not answered:
        lives.kill()
        pytest.fail("the lives did not come to an end within half an hour")
    answer = lives.stdout.readline()
    assert answer, lives.stderr.read()
    found = json.loads(answer)
    assert found["wrong"] == []
    assert len(found["killed"]) >= points
    assert set(found["killed"]) >= changes
    late, holes = where.startswith("late"), where.startswith("hole")
    assert [found["killed"].count(f"write {kind}") >= 2 for kind in ("hole", "late")] == [holes, holes]
    assert found["moved"] or where == "broker"
    assert set(found["kinds"]) >= {"Closed", "Milestone", "Opened", "Scheduled"}
    if holes:
        assert set(found["errors"]) >= {"exchange", "hole", "late", "silence"}
        return
    assert set(found["shapes"]) >= (LATE_SHAPES if late else SHAPES)
    assert late or found["kinds"] == ["Cancelled", "Closed", "Milestone", "Opened", "Scheduled"]
