"""Tests in several processes by pytest-xdist: who is given which, and what a worker tells of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    import pytest

IN_DURATIONS = 0.005  # seconds: --durations leaves out a setup or teardown that takes less


class InOneLaboratory(LoadFileScheduling):
    """Whole modules go to a worker, and those with a JupyterLab to the same one: it begins once."""

    def _split_scope(self, nodeid: str) -> str:
        module = str(super()._split_scope(nodeid))
        return "JupyterLab" if re.search(r"/jupyter/test_\w*lab\w*\.py$", module) else module


def is_told(report: pytest.TestReport) -> bool:
    """Whether a run of the tests would not be the same without it."""
    return report.when == "call" or not report.passed or report.duration >= IN_DURATIONS


def tell_less(config: pytest.Config) -> None:
    """Have this worker send one report of a test that passed, and nothing that nobody reads.

    It would send six messages, which cost twice the processor time of an empty test. A setup or teardown that did not
    pass, or took its time, is sent as ever.
    """
    plugins = config.pluginmanager
    [telling] = [each for each in plugins.get_plugins() if type(each).__name__ == "WorkerInteractor"]

    class TellingLess(type(telling)):  # type: ignore[misc]
        def pytest_runtest_logstart(self) -> None:
            pass

        def pytest_runtest_logfinish(self) -> None:
            pass

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if is_told(report):
                super().pytest_runtest_logreport(report)

    plugins.unregister(telling)
    TellingLess(config, telling.channel)  # registers itself
