"""Where things are shown: text in a terminal, the notebook's front end in a kernel, and one door to both."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import pytest

from bknb import frontend
from bknb.reports.progress_text import progress_text

RUN = """
import sys
import bknb
result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
"""


def printed(code: str) -> list[str]:
    """The lines a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


class Screen(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_a_script_shows_text_and_imports_nothing_of_a_notebook() -> None:
    names = "('IPython', 'bknb.jupyter', 'tqdm')"
    code = f"{RUN}result._ipython_display_()\nprint([name for name in {names} if name in sys.modules])"
    *shown, imported = printed(code)
    assert shown[0].startswith("backtest <lambda> on BTCUSDT")
    assert imported == "[]"


@pytest.mark.slow
def test_a_kernel_gets_the_notebooks_front_end_by_itself() -> None:
    pytest.importorskip("ipykernel")
    code = "from bknb.frontend import frontend\nprint(type(frontend()).__name__)\n"
    code += "import ipykernel\nprint(type(frontend()).__name__)"
    assert printed(code) == ["Terminal", "Notebook"]


@pytest.mark.slow
def test_in_a_kernel_the_extension_shows_results_in_the_notebook_after_a_reset_too() -> None:
    pytest.importorskip("ipykernel")
    code = """
import ipykernel
from bknb import frontend, testing
frontend.register(frontend.notebook())  # as %load_ext bknb does
testing.reset()
print(type(frontend.frontend()).__name__)
"""
    assert printed(code) == ["Notebook"]


def test_a_shell_with_a_kernel_is_a_notebook_whatever_the_kernel_is(monkeypatch: pytest.MonkeyPatch) -> None:
    getipython = pytest.importorskip("IPython.core.getipython")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert type(frontend.frontend()) is frontend.Terminal

    class Shell:
        kernel = object()

    monkeypatch.setattr(getipython, "get_ipython", Shell)
    assert type(frontend.frontend()).__name__ == "Notebook"


def test_the_extension_brings_its_front_end_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    config = pytest.importorskip("traitlets.config").Config()
    config.HistoryManager.enabled = False
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    shell = shells.InteractiveShell(config=config)
    shell.run_line_magic("load_ext", "bknb")
    try:
        assert type(frontend.frontend()).__name__ == "Notebook"
    finally:
        shell.run_line_magic("unload_ext", "bknb")
    assert type(frontend.frontend()) is frontend.Terminal


def test_on_a_terminal_a_line_moves_and_a_sentence_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    before = threading.active_count()
    line = frontend.TerminalLine("download BTCUSDT")
    line.update(0.25, seconds=1.0, facts=["1,440 candles"])
    line.update(0.999, seconds=4.0, facts=["5,760 candles"])
    assert threading.active_count() == before
    line.close("5,760 new candles in 4.0 s")
    written = screen.getvalue()
    assert "download BTCUSDT: 25 % |" in written
    assert "5,760 candles" in written
    assert "99 %" in written
    assert "100 %" not in written
    *_, blank, last = written.replace("\r", "\n").splitlines()
    assert not blank.strip()
    assert last == "download BTCUSDT: 5,760 new candles in 4.0 s"


def test_in_a_pipe_only_the_sentence_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    line = frontend.TerminalLine("download BTCUSDT")
    line.update(0.5, seconds=1.0, facts=[])
    line.close("done")
    assert capsys.readouterr().err == "download BTCUSDT: done\n"


def test_a_line_does_not_settle_how_the_process_starts_others() -> None:
    code = """
import multiprocessing, sys
from bknb.frontend import TerminalLine
sys.stderr.isatty = lambda: True
line = TerminalLine("download")
line.update(0.5, seconds=1.0, facts=[])
line.close("done")
print("tqdm" in sys.modules, multiprocessing.get_start_method(allow_none=True))
"""
    assert printed(code) == ["True None"]


@pytest.mark.parametrize(("seconds", "left"), [(1.0, "0:01 left"), (5000.0, "83:20 left"), (7200.0, "2.0 h left")])
def test_the_time_left_has_one_format(seconds: float, left: str) -> None:
    assert progress_text(0.5, seconds=seconds, facts=["2 trades"]) == (50, f"50 % · 2 trades · {left}")


def test_running_work_is_never_shown_as_done() -> None:
    assert progress_text(1.0, seconds=1.0, facts=[]) == (99, "99 % · 0:00 left")
    assert progress_text(0.0, seconds=1.0, facts=["3 tried"]) == (0, "0 % · 3 tried")
