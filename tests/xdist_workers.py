"""Tests in several processes by pytest-xdist: who is given which file, when it is read, and what a worker tells."""

from __future__ import annotations

import gc
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = (  # those of LONG seconds and more
    "test_row_exits",  # compiles, for a third of a minute, what later ones then find compiled
    *("test_lab", "test_lab_card", "test_lab_controls", "test_dashboard_lab"),  # in one JupyterLab
    "test_lifecycle_types",  # checks types, for the checks beside the tests too
    *("test_sharing", "test_optimizer", "test_check_lookahead", "test_holes", "test_martingale_law"),
    *("test_misbehaving_exchange", "test_recorded_digests", "test_live_faults", "test_sweep"),
    *("test_entry_columns", "test_live_bad_days", "test_docs", "test_managed_live", "test_places_live"),
    *("test_page_simulator", "test_live_parity", "test_live_account", "test_live_account_marks", "test_shared_pins"),
    *("test_live_late_symbol", "test_streamed_source", "test_managed_law", "test_download"),
    *("test_lookahead_day_labels", "test_by_hand", "test_managed_broker", "test_kernel", "test_capital_portfolio"),
    *("test_half_past_live", "test_soak", "test_bars_live", "test_optimizer_cells", "test_store_faults"),
    *("test_lookahead_kinds", "test_optimizer_hostile_replies", "test_sweep_declared", "test_strategy_page"),
    *("test_models_lookahead", "test_magics", "test_portfolio_weights", "test_live_portfolio_weights"),
    *("test_sweep_parity", "test_market_orders_live", "test_live_disks_and_clocks", "test_live_citizens"),
    *("test_old_files", "test_docstrings", "test_vectorised", "test_half_past_research", "test_bars_research"),
    *("test_managed_properties", "test_ccxt_source", "test_live", "test_cli", "test_capital", "test_capital_law"),
    *("test_weights", "test_session_candles", "test_luck", "test_calendars", "test_scheduled_questions"),
    *("test_account", "test_live_shared_margin", "test_architecture", "test_conformance", "test_secret_scan"),
    *("test_runs_in_workers", "test_order_faults", "test_lookahead_hazards", "test_base_that_covers"),
    *("test_belief", "test_session_day_rows"),
)
PLACES = {name: number for number, name in enumerate(LONGEST)}
LONG = 10.0  # seconds of a file
ALIKE = 10_000  # bytes of text by which a file has to be larger to come before another
IN_DURATIONS = 0.005  # seconds: --durations leaves out a setup or teardown that takes less
PROCESSOR = "processor seconds"  # of each file, in what a worker tells at its end


def processor_seconds() -> float:
    """Those of this process, and of processes that it started and that are over."""
    return sum(os.times()[:4])


class FileByFile(LoadFileScheduling):
    """Whole files go to a worker, one at a time, and those with a JupyterLab to the same one: it begins once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._tests = self._files = 0  # that are over
        self._last: dict[Any, str] = {}  # test of each worker
        self._seconds: dict[str, float] = {}  # of each file
        self._free: dict[str, float] = {}  # since when a worker is, seconds
        self._processor: dict[str, float] = {}  # seconds of each file
        self.config.pluginmanager.register(self)

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "JupyterLab" if re.search(r"/jupyter/test_\w*lab\w*\.py$", file) else file

    def _reschedule(self, node: Any) -> None:
        """Give no file to a worker that has one: another may be free before."""
        are_files = not any("::" in each for each in self.collection or ())
        if not self.workqueue or not are_files or not self._pending_of(self.assigned_work[node]):
            super()._reschedule(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        self._files += 1
        self._free[node.gateway.id] = time.perf_counter()
        file = Path(self.registered_collections[node][item_index].partition("::")[0]).stem
        self._seconds[file] = self._seconds.get(file, 0.0) + duration
        self._tell_progress()

    def remove_node(self, node: Any) -> str | None:
        """What a worker was running when it died. That is not run again: it would end another worker."""
        work = self.assigned_work.pop(node)
        died = next(((scope, each) for scope, unit in work.items() for each, over in unit.items() if not over), None)
        if died is None:
            return None
        scope, what = died
        work[scope][what] = True
        self.workqueue.update((scope, unit) for scope, unit in work.items() if not all(unit.values()))
        for other in self.assigned_work:
            self._reschedule(other)
        return what if "::" in what else f"{what}::the test after {self._last.get(node, 'none')}"

    def pytest_testnodedown(self, node: Any) -> None:
        self._processor |= getattr(node, "workeroutput", {}).get(PROCESSOR, {})  # nothing, where it died

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._last[report.node] = report.nodeid
        self._tests += report.when == "call" or report.skipped
        self._tell_progress()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """With ``--durations``: the files by their time, which says what belongs into LONGEST, and how it ended."""
        if self.config.option.durations is None or not self._free:
            return
        end = max(self._free.values())
        free = [f"{worker} {end - since:.0f}" for worker, since in self._free.items()]
        terminalreporter.section("slowest files")
        terminalreporter.write_line(f"seconds: {longest(self._seconds)}; without work at the end: {', '.join(free)}")
        total = sum(self._processor.values())
        terminalreporter.write_line(f"{PROCESSOR}: {longest(self._processor)}; of all files: {total:.1f}")

    def _tell_progress(self) -> None:
        """As the share of the files that are over: nobody knows how many tests hold those that were not read."""
        session = self.config.pluginmanager.get_plugin("session")
        session.testscollected = self._tests * len(self.collection or ()) // max(1, self._files)


def longest(seconds: dict[str, float]) -> str:
    """The files that take long, the longest first."""
    files = sorted(seconds.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {taken:.0f}" for name, taken in files if taken >= LONG)


class UnreadFile(pytest.Item):
    """A file of tests, until its turn comes: the worker that is to run them reads it, and no other."""

    def __init__(self, *, module: pytest.Module, **rest: Any) -> None:
        super().__init__(**rest)
        self.module = module
        self.tests: list[pytest.Item] = []

    @classmethod
    def of(cls, module: pytest.Module) -> Any:
        """What stands for the tests of a file."""
        names = {"name": module.name, "path": module.path, "nodeid": module.nodeid}
        return cls.from_parent(module.parent, **names, module=module)

    def runtest(self) -> None:
        """Find its tests; those that were not asked for are left out.

        No garbage is collected meanwhile: what is made stays, and would be walked again and again.
        """
        gc.disable()
        self.tests = [*self.session.genitems(self.module)]
        gc.enable()
        self.config.hook.pytest_collection_modifyitems(session=self.session, config=self.config, items=self.tests)


def are_whole_files(config: pytest.Config) -> bool:
    """Whether no single tests of a file were asked for."""
    some = any(config.getoption(name, default=False) for name in ("lf", "stepwise"))
    return not some and not any("::" in each for each in config.args)


def is_told(report: pytest.TestReport) -> bool:
    """Whether a run of the tests would not be the same without it."""
    return report.when == "call" or not report.passed or report.duration >= IN_DURATIONS


class InTurn:
    """What a worker does otherwise: it reads a file when it is to run it, and sends one report of a test that passed.

    It would read all files, as every other worker does, and send six messages of each test, which cost twice the
    processor time of an empty one. A setup or teardown that did not pass, or took its time, is sent as ever, and
    everything where ``--junitxml`` asks for it.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makemodule(self, parent: pytest.Collector) -> Iterator[Any]:
        """The file unread, if whole files were asked for."""
        module = yield
        return UnreadFile.of(module) if are_whole_files(parent.config) else module

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """No file is left out before its tests are known; those that take long come first, then the larger ones."""
        files = [item for item in items if isinstance(item, UnreadFile)]
        items[:] = [item for item in items if not isinstance(item, UnreadFile)]
        yield
        items.extend(files)
        sizes = {path: path.stat().st_size // ALIKE for path in {item.path for item in items}}
        items.sort(key=lambda item: (PLACES.get(item.path.stem, len(PLACES)), -sizes[item.path], str(item.path)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """A file is read, by the rules for warnings that its tests have."""
        if isinstance(item, UnreadFile):
            item.runtest()
            return True
        return None

    def pytest_runtest_logstart(self) -> None:
        pass

    def pytest_runtest_logfinish(self) -> None:
        pass

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.config.option.xmlpath or is_told(report):
            super().pytest_runtest_logreport(report)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.files = [*session.items]
        super().pytest_runtestloop(session)
        self._end_what_is_left(session)
        return True

    def run_one_test(self) -> None:
        """All of a file, where there are files."""
        file = self.files[self.nextitem_index]
        if not isinstance(file, UnreadFile):
            super().run_one_test()
            return
        began, worked = time.perf_counter(), processor_seconds()
        self.config.hook.pytest_runtest_protocol(item=file, nextitem=None)
        self._run(file)
        taken = time.perf_counter() - began
        self.config.workeroutput.setdefault(PROCESSOR, {})[file.path.stem] = processor_seconds() - worked
        self.sendevent("runtest_protocol_complete", item_index=self.nextitem_index, duration=taken)
        self.nextitem_index = self.torun.get()

    def _run(self, file: UnreadFile) -> None:
        session = file.session
        session.items, file.tests = file.tests, []
        for self.item_index, test in enumerate(session.items):
            last = self.item_index + 1 == len(session.items)
            following = session if last else session.items[self.item_index + 1]  # what is the session's stays
            self.last = test
            self.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
            if session.shouldfail or session.shouldstop:
                return

    def _end_what_is_left(self, session: pytest.Session) -> None:
        """Fixtures of the session: that one of them cannot end is a failure of the last test."""
        end = pytest.CallInfo.from_call(lambda: session._setupstate.teardown_exact(None), when="teardown")
        if end.excinfo is not None:
            report = pytest.TestReport.from_item_and_call(self.last, end)
            session.items, self.item_index = [self.last], 0
            self.config.hook.pytest_runtest_logreport(report=report)


def read_in_turn(config: pytest.Config) -> None:
    """Have this worker do so."""
    [worker] = [each for each in config.pluginmanager.get_plugins() if type(each).__name__ == "WorkerInteractor"]
    config.pluginmanager.unregister(worker)
    type("Worker", (InTurn, type(worker)), {})(config, worker.channel)  # registers itself
