"""Binder opens the first notebook with exactly the packages it was made with; ``.ci/binder`` does what Binder does."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "binder"
LINES = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
PINS = dict(line.split("==") for line in LINES if "==" in line)


def extras() -> list[str]:
    found = re.fullmatch(r"-e \.\[([\w,]+)\]", LINES[0])
    assert found, "the first line must install bknb from this folder"
    return found[1].split(",")


def test_every_line_but_bknb_itself_is_pinned() -> None:
    assert len(PINS) == len(LINES) - 1
    assert all(re.fullmatch(r"[\d.]+", version) for version in PINS.values())


@pytest.mark.parametrize("extra", ["", *extras()])
def test_everything_bknb_asks_for_there_is_pinned_high_enough(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["optional-dependencies"][extra] if extra else project["dependencies"]
    for line in needed:
        name, lowest = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+).*", line).groups()  # type: ignore[union-attr]
        assert name in PINS, f"pin {name} in binder/requirements.txt"
        pinned, least = ([int(part) for part in text.split(".")] for text in (PINS[name], lowest))
        assert pinned >= least


def test_its_python_is_one_bknb_runs_on() -> None:
    assert (FOLDER / "runtime.txt").read_text(encoding="utf-8") == "python-3.11\n"


def test_nothing_else_decides_what_binder_installs() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"requirements.txt", "runtime.txt"}
    assert not (ROOT / ".binder").exists()


def test_the_launch_link_opens_a_notebook_that_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (path,) = re.findall(r"https://mybinder\.org/v2/gh/bknb/bknb/HEAD\?urlpath=lab/tree/([\w/.-]+)", readme)
    assert (ROOT / path).is_file()


def test_the_gate_does_what_binder_does() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (beside,) = re.findall(r"^check\(\) \{\n(.*?)^\}", gate, flags=re.MULTILINE | re.DOTALL)
    assert "\n  .ci/binder\n" in beside
    assert re.search(r"^check .*&\nchecks=\$!$", gate, flags=re.MULTILINE)
    assert 'wait "$checks" || ' in gate  # it can make it fail
    script = ROOT / ".ci" / "binder"
    assert script.stat().st_mode & 0o100
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "-r binder/requirements.txt" in script.read_text(encoding="utf-8")
