"""``bknb run`` and ``bknb lab``, called as a shell would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packages import need_packages

from bknb import __version__, cli

if TYPE_CHECKING:
    from collections.abc import Callable

nbformat = pytest.importorskip("nbformat")

need_packages("nbclient", "nbconvert")

RESULT = """
from IPython.display import display
text = "sma-cross on BTCUSDT: {trades} trades"
display({{"text/plain": text, "text/html": "<b>numbers</b>"}}, metadata={{"bknb": {{"kind": "backtest"}}}}, raw=True)
"""
FIGURE = """
from IPython.display import display
spec = {"data": [{"y": [1, 3, 2], "name": "</script><b>name"}], "layout": {"height": 321}}
pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display({"application/vnd.plotly.v1+json": spec, "image/png": pixel, "text/plain": "a curve"},
        metadata={"image/png": {"alt": "rises, then falls"}}, raw=True)
"""
WIDGET = """
from IPython.display import display
view = {"model_id": "0", "version_major": 2, "version_minor": 0}
display({"application/vnd.jupyter.widget-view+json": view, "text/plain": "a widget " + "as text"}, raw=True)
"""
WIDGET_STATE = {"application/vnd.jupyter.widget-state+json": {"state": {"0": {"model_name": "IntSliderModel"}}}}


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook of code cells; its stored outputs are stale on purpose."""

    def write(*cells: str, **metadata: Any) -> Path:
        node = nbformat.v4.new_notebook(metadata=metadata)
        stale = nbformat.v4.new_output("stream", text="stale output")
        node.cells = [nbformat.v4.new_code_cell(cell, outputs=[stale], execution_count=99) for cell in cells]
        path = tmp_path / "nb" / "story.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(node, path)
        return path

    return write


@pytest.mark.kernel
def test_run_prints_each_backtest_and_writes_one_page(
    notebook: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "import os, sys\nprint('in', os.getcwd())\nprint('by', sys.executable)"
    path = notebook(
        where, "", RESULT.format(trades=3), FIGURE, FIGURE, WIDGET, RESULT.format(trades=5), widgets=WIDGET_STATE
    )
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)

    assert cli.main(["run", str(path)]) == 0

    out, err = capfd.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if line] == [
        "[2] sma-cross on BTCUSDT: 3 trades",
        "[6] sma-cross on BTCUSDT: 5 trades",
        "written: story.html",
    ]
    assert path.read_bytes() == before
    page = (tmp_path / "story.html").read_text(encoding="utf-8")
    assert "stale output" not in page
    assert f"in {path.parent}" in page
    assert f"by {sys.executable}" in page
    assert "a widget as text" in page


@pytest.mark.kernel
def test_run_saves_the_executed_notebook_at_the_given_path(notebook: Callable[..., Path], tmp_path: Path) -> None:
    path = notebook(RESULT.format(trades=3), WIDGET, widgets=WIDGET_STATE)
    page, saved = tmp_path / "page.html", tmp_path / "saved.ipynb"
    assert cli.main(["run", str(path), "--out", str(page), "--save", str(saved)]) == 0
    node = nbformat.read(saved, as_version=4)
    nbformat.validate(node)
    assert node.cells[0].outputs[0].metadata["bknb"]["kind"] == "backtest"
    assert "widgets" not in node.metadata
    assert cli.main(["run", str(path), "--out", str(page), "--save", str(tmp_path / "no" / "x.ipynb")]) == 2


@pytest.mark.kernel
def test_the_page_needs_no_network_and_one_plotly(notebook: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert cli.main(["run", str(notebook(FIGURE, FIGURE)), "--out", str(target)]) == 0
    page = target.read_text(encoding="utf-8")
    assert not re.findall(r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//""", page)
    assert not re.findall(r"@import|url\(['\"]?(?:https?:)?//", page)
    assert page.count('Plotly.newPlot("bknb-figure-') == 2
    assert page.count("plotly.js v") == 1
    assert page.count('<noscript><img alt="rises, then falls" src="data:image/png;base64,') == 2
    assert "height:321px" in page
    # a name in the data must not end the script it stands in
    assert "</script><b>name" not in page.replace("&lt;", "<").split("<main>")[1].split("Plotly.newPlot")[1]


@pytest.mark.kernel
def test_a_page_without_figures_is_small(notebook: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert cli.main(["run", str(notebook("1 + 1")), "--out", str(target)]) == 0
    assert target.stat().st_size < 1_000_000
    scripts = "".join(re.findall(r"<script.*?</script>", target.read_text(encoding="utf-8"), flags=re.DOTALL))
    assert "http" not in scripts  # nothing is fetched by script either: formulas, diagrams, widgets


@pytest.mark.kernel
def test_a_failing_cell_is_reported_in_three_lines_and_the_rest_is_saved(
    notebook: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.html"
    path = notebook(RESULT.format(trades=3), "raise ValueError('one\\ntwo\\nthree\\nfour')", "print('not' + 'reached')")

    assert cli.main(["run", str(path), "--out", str(target)]) == 1

    out, err = capfd.readouterr()
    assert "[1] sma-cross on BTCUSDT: 3 trades" in out
    assert err.splitlines() == [
        "bknb: cell [2] of story.ipynb failed: ValueError: one",
        "two three four",
        f"written up to there: {target}",
    ]
    page = target.read_text(encoding="utf-8")
    assert "<b>numbers</b>" in page
    assert "two\nthree" in page  # the traceback, not the source
    assert "notreached" not in page
    assert "stale output" not in page


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("cell", "options", "text"),
    [
        ("import os; os._exit(3)", [], "the kernel died (out of memory, or a crash in compiled code)"),
        ("import time; time.sleep(600)", ["--timeout", "1"], "took longer than 1 s"),
    ],
)
def test_a_cell_that_never_answers(
    notebook: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    cell: str,
    options: list[str],
    text: str,
) -> None:
    target = tmp_path / "page.html"
    assert cli.main(["run", str(notebook("1", cell)), "--out", str(target), *options]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"bknb: cell [2] of story.ipynb failed: {text}",
        f"written up to there: {target}",
    ]
    assert target.is_file()


@pytest.mark.kernel
def test_another_python_under_the_same_kernel_name_is_not_used(
    notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/nowhere/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    path = notebook("1", kernelspec={"name": "somebody-s-env", "language": "python", "display_name": "x"})
    assert cli.main(["run", str(path), "--out", str(tmp_path / "page.html")]) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no notebook at"),
        ("hello", "is not a Jupyter notebook"),
        ("[]", "is not a Jupyter notebook"),
        ("{}", "is not a Jupyter notebook"),
    ],
)
def test_what_is_not_a_notebook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    path = tmp_path / "story.ipynb"
    if content is not None:
        path.write_text(content)
    assert cli.main(["run", str(path)]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) <= 3


def test_a_notebook_in_another_language(notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook("1", kernelspec={"name": "julia-1.11", "language": "julia", "display_name": "Julia"})
    assert cli.main(["run", str(path)]) == 2
    assert "is written in julia" in capsys.readouterr().err


def test_a_missing_folder_is_reported_before_anything_runs(
    notebook: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = tmp_path / "ran"
    path = notebook(f"open({str(ran)!r}, 'w').close()")
    assert cli.main(["run", str(path), "--out", str(tmp_path / "no" / "page.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not ran.exists()


@pytest.mark.kernel
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can make a file")
def test_a_file_that_cannot_be_written_is_named(
    notebook: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook("1")
    assert cli.main(["run", str(path), "--out", "/proc/page.html"]) == 2
    assert "cannot write /proc/page.html: " in capsys.readouterr().err
    assert cli.main(["run", str(path), "--out", str(tmp_path / "page.html"), "--save", "/proc/saved.ipynb"]) == 2
    assert "cannot write /proc/saved.ipynb: " in capsys.readouterr().err


def test_a_missing_package_is_reported_with_its_install_command(
    notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook("1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["run", str(path)]) == 2
    assert cli.main(["lab"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "bknb: bknb run needs the package 'ipykernel', which is not installed",
        "install it with: pip install 'bknb[notebook]'",
        "bknb: bknb lab needs the package 'jupyterlab', which is not installed",
        "install it with: pip install 'bknb[notebook]'",
    ]


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "1.5", ""])
def test_an_invalid_time_limit_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "story.ipynb", "--timeout", seconds])
    assert left.value.code == 2
    assert "expected a whole number of seconds above 0" in capsys.readouterr().err


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have replaced this process."""
    commands: list[list[str]] = []
    monkeypatch.setattr("os.execvpe", lambda file, command, environment: commands.append([file, *command[1:]]))
    return commands


def test_lab_opens_the_first_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["lab"])
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01-first-backtest.ipynb").touch()
    cli.main(["lab"])
    (tmp_path / "other.ipynb").touch()
    cli.main(["lab", "other.ipynb", "--port", "8890"])
    cli.main(["lab", "--port", "8890"])
    lab = [sys.executable, "-m", "jupyterlab"]
    first = str(cli.FIRST_NOTEBOOK)
    assert started == [
        lab,
        [*lab, first],
        [*lab, "other.ipynb", "--port", "8890"],
        [*lab, first, "--port", "8890"],
    ]


def test_lab_on_a_missing_notebook_is_refused(started: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", "nowhere.ipynb"]) == 2
    assert "no notebook at nowhere.ipynb" in capsys.readouterr().err
    assert not started


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["--help"], ["run", "--help"], ["lab", "--help"]):
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert f"bknb {__version__}" in out if arguments == ["--version"] else "\nexample: bknb " in out
    assert cli.main([]) == 0
    assert "\nexample: bknb " in capsys.readouterr().out


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "bknb", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout
