"""A short soak; a long one is ``python tests/soak.py FOLDER``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")
PAIRS = 6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists() or not hasattr(os, "fork"), reason="needs Linux")
def test_days_with_every_fault_are_those_of_the_backtest(folder_in_memory: Path) -> None:
    options = ["--days=2", f"--pairs={PAIRS}", "--seed=22", "--life-days=0.06"]
    command = [sys.executable, str(SOAK), str(folder_in_memory), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["trades"] > 50
    assert found["questions left out"] + found["cancelled at disagreements"] < 10  # they are left out in the backtest
    assert found["carried out late"] > 5
    assert found["begun by a later life"] >= 1  # a kill came before anything of it was saved
    assert {"kill", "stop", "until"} <= set(found["lives"])
    assert {"raises", "answers nothing", "disk"} <= {name for name, count in found["trouble"].items() if count}
    assert {"state", "broker", "strategy", "late"} <= set(found["errors"])
    assert found["never came"] > 10
    # of each run position, entry, milestones, orders, ends in two parts, holes, late orders; the lock, and places
    assert found["files"] <= 8 * PAIRS + 2
    assert found["leftovers"] == []
    assert found["MB that came in a life"] < 30
