"""A live run that is killed, refused or damaged loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LIFE = Path(__file__).with_name("live_life.py")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize(("where", "points"), [("disk", 250), ("broker", 30)])
def test_a_live_run_killed_at_any_write_resumes_equal(folder_in_memory: Path, where: str, points: int) -> None:
    folders = [folder_in_memory / "odd", folder_in_memory / "even"]
    lives = []
    for first, folder in enumerate(folders, start=1):
        folder.mkdir()
        command = [sys.executable, str(LIFE), str(folder), where, str(first), "2"]
        lives.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    found = []
    for life in lives:
        out, problems = life.communicate(timeout=800)
        assert life.returncode == 0, problems
        found.append(json.loads(out))
    assert [line for half in found for line in half["wrong"]] == []
    assert sum(half["killed"] for half in found) > points
    assert found[0]["kinds"] == ["Cancelled", "Closed", "Milestone", "Opened", "Scheduled"]
