"""The notebooks that are shipped: they run, and what is stored in them is what they give."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import without_grammars
from packages import need_packages

nbformat = pytest.importorskip("nbformat")

need_packages("nbmake")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def results(notebook: Any) -> list[str]:
    """What each bknb result of a notebook says in a terminal."""
    return [output.data["text/plain"] for output in outputs(notebook) if "bknb" in output.get("metadata", {})]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_there_is_a_first_notebook() -> None:
    assert "01-first-backtest" in {found.stem for found in NOTEBOOKS}


@pytest.fixture(scope="module")
def made_again(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder for each notebook that is asked for, where nbmake has run it without its outputs, and what nbmake said.

    One process runs all, as starting it costs more than most notebooks.
    """
    folder = tmp_path_factory.mktemp("notebooks")
    tests = (item for item in request.session.items if request.fixturename in getattr(item, "fixturenames", ()))
    names = []
    for path in [test.callspec.params["path"] for test in tests]:  # type: ignore[attr-defined]
        copy = read(path)
        for cell in copy.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        own = folder / path.stem
        own.mkdir()
        nbformat.write(copy, own / path.name)
        if (FOLDER / "data").is_dir():  # what notebooks read, beside them
            shutil.copytree(FOLDER / "data", own / "data")
        names.append(f"{path.stem}/{path.name}")
    options = ["--nbmake", "--overwrite", "--nbmake-timeout=300", "-p", "no:cacheprovider", "-rfE", "--color=no"]
    done = subprocess.run(
        without_grammars.command("pytest", *options, *names),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.kernel
def test_nbmake_runs_it_and_it_gives_what_is_stored(path: Path, made_again: tuple[Path, str]) -> None:
    folder, told = made_again
    assert not re.search(rf"^(FAILED|ERROR) .*{re.escape(path.name)}", told, re.MULTILINE), told[-6000:]
    fresh, stored = read(folder / path.stem / path.name), read(path)
    assert results(fresh) == results(stored) != []
    assert [o.get("data", {}).get("text/plain") for o in outputs(fresh) if o.output_type == "execute_result"] == [
        o.get("data", {}).get("text/plain") for o in outputs(stored) if o.output_type == "execute_result"
    ]


def test_it_can_be_read_without_a_kernel(path: Path) -> None:
    stored = read(path)
    nbformat.validate(stored)
    shown = [output.data for output in outputs(stored) if PLOTLY in output.get("data", {})]
    assert len(shown) == len(results(stored))
    assert all("image/png" in data for data in shown)
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(stored) if output.output_type == "error"]


def test_it_is_small_and_keeps_no_widgets(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    stored = read(path)
    assert "widgets" not in stored.metadata
    assert not [o for o in outputs(stored) if any("widget" in mime for mime in o.get("data", {}))]


def test_no_bar_was_stored_half_way(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "progressbar" not in text
    shown = "".join(str(o.get("data", {}).get("text/plain", "")) for o in outputs(read(path)))
    assert not re.search(r"\d( h)? left\b", shown)  # 0:02 left, 2.0 h left


def test_it_holds_no_machine_paths(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("/tmp/", "/home/", "/work/", "/Users/", "localhost") if word in text]  # noqa: S108
