"""Tests in several processes: nothing that goes wrong there is lost, and one process alone reads a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xdist")

CONFTEST = """
import sys
sys.path.insert(0, {tests!r})
import pytest
from xdist_workers import FileByFile, read_in_turn

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        read_in_turn(config)

def pytest_xdist_make_scheduler(config, log):
    return FileByFile(config, log)

def pytest_collectstart(collector):
    if isinstance(collector, pytest.Module):
        with open("read", "a") as told:
            told.write(collector.name + chr(10))

@pytest.fixture(scope="session")
def whole():
    yield []
    assert False, "the end of the session"

@pytest.fixture(scope="module")
def number(whole):
    whole.append(1)
    return len(whole)
"""
FILES = {
    "passes": """
import pytest
@pytest.mark.parametrize("n", range(5))
def test_it(n): sum(range(3_000_000))
def test_skipped(): pytest.skip("")
""",
    "session_one": "def test_it(number): pass",
    "session_two": """
def test_it(number): assert number == 2, "the session ended between two files"
def test_again(number): assert number == 2
""",
    "fails": "def test_it(): assert 1 == 2",
    "cannot_be_read": "import no_such_module_at_all",
    "warns": """
import warnings
warnings.warn("read in spite of a warning")
def test_it(): pass
""",
    "dies": """
import os
def test_it(): pass
def test_that_ends_the_worker(): os._exit(3)
def test_after(): pass
""",
    "slow": """
import pytest
@pytest.mark.slow
def test_it(): assert False
""",
}
SETTINGS = "[pytest]\nfilterwarnings = error\nmarkers = slow\n"


@pytest.mark.slow
def test_nothing_that_goes_wrong_in_a_worker_is_lost(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.format(tests=str(Path(__file__).parent)))
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    for name, text in FILES.items():
        (tmp_path / f"test_{name}.py").write_text(text + "\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "-n", "1", "-m", "not slow"]
    command += ["--durations=1"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120).stdout
    assert re.search(r"^2 failed, 9 passed, 1 skipped, 3 errors in", found, re.MULTILINE), found
    for line in (
        "FAILED test_fails.py::test_it - assert 1 == 2",
        "FAILED test_dies.py::the test after test_dies.py::test_it",
        "ERROR test_cannot_be_read.py - ImportError",
        "ERROR test_warns.py - UserWarning: read in spite of a warning",
        "ERROR test_session_two.py::test_again - AssertionError: the end of the session",
    ):
        assert f"\n{line}" in found
    processor = re.search(r"^processor seconds: ; of all files: ([0-9.]+)$", found, re.MULTILINE)
    assert processor, found
    assert float(processor[1]) >= 0.1  # of the worker that did not die
    read = (tmp_path / "read").read_text().split()  # one worker died, and another came
    assert sorted(read) == sorted(f"test_{name}.py" for name in FILES)
