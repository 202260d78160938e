"""The cache of compiled loops on disk: what an earlier version left there never stands in the way of a later one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

MODULE = """\
from typing import NamedTuple


class Terms(NamedTuple):
    fee: float


def loop(terms):
    return terms.fee * {factor}


def run():
    from bknb.kernels.jit import compiled

    return compiled(loop, globals())(Terms(2.0))
"""


def said_by(folder: Path) -> str:
    """What ``run`` gives in a process of its own, with its cache beside the module."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", "import loops; print(loops.run())"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_cache_that_names_a_class_which_is_gone_is_not_read(tmp_path: Path) -> None:
    module = tmp_path / "loops.py"
    module.write_text(MODULE.format(factor=1.5))
    assert said_by(tmp_path) == "3.0"
    assert list(tmp_path.rglob("*.nbi"))
    module.write_text(MODULE.format(factor=2.5).replace("Terms", "Rules"))
    assert said_by(tmp_path) == "5.0"
