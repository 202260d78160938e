"""A live run that is killed, refused or damaged loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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


@dataclass(frozen=True)
class Lives:
    """A process that plays lives in children of its own, which have everything imported."""

    asked: IO[str]
    answers: IO[str]
    said: Path
    kill: Callable[[], None]

    def played(self, folder: Path, where: str, *, every: bool) -> dict[str, Any]:
        """What it found; the test fails with what the process said where it finds nothing."""
        self.asked.write(f"{json.dumps([str(folder), where, every])}\n")
        self.asked.flush()
        answered, _, _ = select.select([self.answers], [], [], 1_800)
        if not answered:
            self.kill()
            pytest.fail("the lives did not come to an end within half an hour")
        answer = self.answers.readline()
        assert answer, self.said.read_text()
        found: dict[str, Any] = json.loads(answer)
        return found


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    said = tmp_path_factory.mktemp("lives") / "stderr"  # a pipe that nobody reads would be full some day
    command = [sys.executable, str(LIFE)]
    with (
        said.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Lives(process.stdin, process.stdout, said, process.kill)
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize(
    ("where", "changes", "points"),
    [
        ("disk", CHANGES | {"write order"}, 30),
        ("sqlite", CHANGES, 9),
        ("broker", set(), 12),
        ("late disk", CHANGES | {"write late"}, 12),
        ("hole disk", HOLED, 20),
        pytest.param("hole sqlite", {"write hole", "write late"}, 8, marks=pytest.mark.long),
        pytest.param("disk every", CHANGES | {"write order"}, 250, marks=pytest.mark.long),
        pytest.param("broker every", set(), 50, marks=pytest.mark.long),
        pytest.param("late disk every", CHANGES | {"write late"}, 450, marks=pytest.mark.long),
        pytest.param("hole disk every", HOLED, 450, marks=pytest.mark.long),
    ],
)
def test_a_live_run_killed_at_any_kind_of_change_resumes_equal(
    lives: Lives, folder_in_memory: Path, where: str, changes: set[str], points: int
) -> None:
    """``late``: the clock sleeps through some minutes; ``hole``: some never come, and the exchange fails."""
    found = lives.played(folder_in_memory, where.removesuffix(" every"), every=where.endswith(" every"))
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
