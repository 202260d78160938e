"""The logger of bknb: the standard one, or the user's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bknb.errors import UsageError
from bknb.log import log, set_logger


class Paper:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, message: str, *values: object) -> None:
        self.lines.append("debug " + message % values)

    def info(self, message: str, *values: object) -> None:
        self.lines.append("info " + message % values)

    def warning(self, message: str, *values: object) -> None:
        self.lines.append("warning " + message % values)

    def error(self, message: str, *values: object) -> None:
        raise OSError("paper is full")


@pytest.fixture
def paper() -> Paper:
    paper = Paper()
    set_logger(paper)
    return paper


def test_a_user_logger_gets_the_messages(paper: Paper, caplog: pytest.LogCaptureFixture) -> None:
    log.debug("a %s", 1)
    log.info("b")
    log.warning("c %s %s", 2, 3)
    assert paper.lines == ["debug a 1", "info b", "warning c 2 3"]
    assert caplog.records == []


def test_a_logger_that_raises_does_not_stop_the_run(paper: Paper, caplog: pytest.LogCaptureFixture) -> None:
    log.error("disk %s", "full")
    assert "raised while saying: disk %s" in caplog.text
    assert "paper is full" in caplog.text


def test_the_standard_logger_is_silent_until_somebody_listens(capfd: pytest.CaptureFixture[str]) -> None:
    script = "from bknb.log import log; log.error('nobody asked')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_logger_without_the_methods_is_refused(paper: Paper) -> None:
    with pytest.raises(UsageError, match="lacks: debug, info, warning, error"):
        set_logger(object())  # type: ignore[arg-type]
    log.info("still here")
    assert paper.lines == ["info still here"]
