"""A short soak; a long one is ``python tests/soak.py FOLDER``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).with_name("soak.py")
TROUBLE = {"raises", "answers nothing", "disk", "asleep"}
AT_THE_BROKER = {"refuse", "lost_request", "lost_reply", "partly", "partly_cancelled"}

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists() or not hasattr(os, "fork"), reason="needs Linux")


def soaked(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SOAK), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["leftovers"] == []
    assert found["MB that came in a life"] < 30
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "pairs", "life_days", "seed", "least"),
    [
        (2, 3, 0.1, 6, {"trades": 25, "milestones": 150, "minutes in holes": 60, "carried out late": 3}),
        pytest.param(
            *(2, 6, 0.06, 22),
            {"trades": 50, "milestones": 350, "minutes in holes": 80, "carried out late": 20}
            | {"begun by a later life": 1},  # a kill came before anything of it was saved
            marks=pytest.mark.long,
        ),
    ],
)
def test_days_with_every_fault_are_those_of_the_backtest(
    folder_in_memory: Path, days: int, pairs: int, life_days: float, seed: int, least: dict[str, int]
) -> None:
    found = soaked(
        folder_in_memory,
        f"--days={days}",
        f"--pairs={pairs}",
        f"--seed={seed}",
        f"--life-days={life_days}",
        "--late-alone=0.02",
    )
    assert {name: found[name] for name, count in least.items() if found[name] < count} == {}
    assert found["questions left out"] + found["cancelled at disagreements"] < 10  # they are left out in the backtest
    assert found["carried out late"] < 40 * days * pairs
    assert {"kill", "stop", "until"} <= set(found["lives"])
    assert {name for name, count in found["trouble"].items() if count} >= TROUBLE | AT_THE_BROKER
    assert {"state", "broker", "strategy", "late"} <= set(found["errors"])
    assert found["never came"] > 10
    # of each run position, entry, milestones, orders, ends in two parts, holes, late orders, what was traded, notes,
    # the newest candles and a part of 1 440 a day; the lock, and places
    assert found["files"] <= (11 + days + 1) * pairs + 2


@pytest.mark.long
def test_live_portfolios_with_a_capital_are_those_of_history(folder_in_memory: Path) -> None:
    """Killed several times a day, on a machine that sleeps and a disk that is full, with a symbol that is silent."""
    script = SOAK.with_name("soak_portfolios.py")
    command = [sys.executable, str(script), str(folder_in_memory), "--days=1", "--worlds=3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    *worlds, found = map(json.loads, done.stdout.splitlines())
    assert found["wrong"] == [], worlds
    assert all(world["trades"] > 20 and world["marks"] > 1_400 and world["lives"] > 1 for world in worlds)


@pytest.mark.slow
def test_days_without_a_fault_have_no_hole_and_nothing_late(folder_in_memory: Path) -> None:
    found = soaked(folder_in_memory, "--days=1", "--pairs=2", "--calm", "--step=15")
    assert (found["carried out late"], found["minutes in holes"], found["errors"]) == (0, 0, {})
    assert found["lives"] == {"end": 1}
    assert found["trades"] > 10
    assert found["milestones"] > 10
