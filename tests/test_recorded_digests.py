"""The output of bknb in sixty small worlds equals, byte for byte, what was recorded.

Each world is a test; a failure names the aspects that changed. To see how, write the bytes before and after::

    python tests/recorder.py --only "live risk touch" --out after
    git stash; python tests/recorder.py --only "live risk touch" --out before; git stash pop
    diff -r before after

A change that users are meant to see is recorded with ``python tests/recorder.py --update``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorder import differences, recorded, worlds

RECORDER = Path(__file__).with_name("recorder.py")
WORLDS = {world.name: world for world in worlds()}
LIVE = ("live plain pessimistic", "live risk touch", "live sqlite vwap", "live troubles pessimistic", "live orders")
"""Each kind of live run in one model, and each model in one kind: the others are long."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    """The digests of here and now of the worlds that are asked for, from a process in which nothing else happened."""
    path = tmp_path_factory.mktemp("digests") / "digests.json"
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    tests = [test for test in request.session.items if test.path == request.path]
    asked = [test.callspec.params["name"] for test in tests if hasattr(test, "callspec")]
    command = [sys.executable, str(RECORDER), "--json", str(path), "--worlds", *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(path.read_text())["worlds"]
    return found


def test_every_world_was_recorded() -> None:
    assert set(recorded()) == set(WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long) if name.startswith("live ") and name not in LIVE else name
        for name in WORLDS
    ],
)
def test_a_world_tells_what_was_recorded(name: str, told: dict[str, dict[str, str]]) -> None:
    if missing := WORLDS[name].missing:
        pytest.skip(f"this world needs {', '.join(missing)}")
    changed = differences(name, told[name], recorded()[name])
    hint = f"the bytes: python tests/recorder.py --only {name!r} --out FOLDER; see the top of {Path(__file__).name}"
    assert not changed, "\n".join([*changed, hint])
