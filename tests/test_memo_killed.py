"""A memo of a live run that is killed at random moments ends as that of the run that was not killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("memo_life.py")


@pytest.mark.parametrize(
    ("count", "seed"),
    [pytest.param(5, 1, marks=pytest.mark.slow), pytest.param(200, 17, marks=pytest.mark.long)],
)
def test_killed_at_random_moments_it_ends_with_the_memo_of_the_run_that_was_not(
    count: int, seed: int, folder_in_memory: Path
) -> None:
    call = [sys.executable, SCRIPT, folder_in_memory, str(count), str(seed)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert len(found["killed"]) == count
    assert found["memo"]["questions"] > 20
    assert found["memo"]["managed"] > 20
    assert len(found["closed"]) > 5
