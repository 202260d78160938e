"""The commands of the README work as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def command(marker: str) -> str:
    found = re.search(rf"^<!-- {marker} -->\n```sh\n(.*?)\n```$", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no shell block behind <!-- {marker} -->"
    return found[1]


@pytest.mark.parametrize("marker", ["first-command", "test-command"])
def test_a_command_is_one_line_that_makes_its_own_environment(marker: str) -> None:
    line = command(marker)
    assert "\n" not in line
    assert re.match(r"python3 -m venv (--upgrade-deps )?\.venv && \.venv/bin/pip install ", line)
    subprocess.run(["bash", "-n", "-c", line], check=True)


def test_the_first_command_runs_a_notebook_that_exists() -> None:
    found = re.search(r"\.venv/bin/bknb run (\S+\.ipynb) --out (\S+\.html)$", command("first-command"))
    assert found
    assert (ROOT / found[1]).is_file()
    assert f"Open `{found[2]}`" in README


def test_the_gate_runs_the_test_command_of_this_page() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\) \{.*?^\}$", gate, flags=re.MULTILINE | re.DOTALL)
    assert function
    script = f"{function[0]}\nreadme_command test-command"
    output = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == command("test-command")
    assert "pytest" not in gate.replace("pytest.mark.browser", "")  # the gate has no second way to run the tests


def links() -> list[str]:
    return [target for target in re.findall(r"\]\(([^)#\s]+)", README) if "://" not in target]


@pytest.mark.parametrize("target", links())
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("source", blocks("python"))
def test_a_script_runs_as_printed(source: str, tmp_path: Path) -> None:
    python = [sys.executable, "-W", "error", "-c", source]
    output = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert output.returncode == 0, output.stderr
    assert output.stderr == ""
    assert "sma-cross" in output.stdout


@pytest.mark.kernel
def test_the_cells_run_as_printed(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    from bknb.sharing import execute_notebook as notebooks

    cells = [nbformat.v4.new_code_cell(cell.rstrip()) for cell in blocks("ipython")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    told: list[str] = []
    failure = notebooks.execute(notebook, folder=tmp_path, on_summary=lambda cell, text: told.append(text))
    assert failure is None
    assert len(told) == 1
    assert "sma-cross" in told[0]


def test_there_are_cells_and_a_script() -> None:
    assert blocks("python")
    assert blocks("ipython")
