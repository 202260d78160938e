"""For every test: bknb as right after import, the same random examples each time, the reference data where it is."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import without_grammars  # noqa: F401 -- a second of each process that reads a notebook

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy comes: its threads wait for each other in busy loops

from event_channel import Channel
from hypothesis import HealthCheck, settings
from same_constants import draw_from_them

from bknb.runs.tries import keep_in
from bknb.testing import reset

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK, LONG = "not slow", "long"
for name, examples in (("bknb", 12), (QUICK, 4), (LONG, 100)):
    settings.register_profile(
        name,
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
settings.load_profile("bknb")
draw_from_them()

gc.set_threshold(50_000, 20, 50)  # objects come and go by the thousand in every run: a tenth of the processor time
sys.dont_write_bytecode = False  # every process would compile the tests anew, and each Python that they start bknb
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.pop("PYTEST_ADDOPTS", None)  # read by now, and not meant for every pytest that a test starts
if sys.version_info < (3, 12):  # whose asyncio.run writes its result as text, tables too, only to see: no signal
    _named = signal._int_to_enum  # type: ignore[attr-defined]
    signal._int_to_enum = lambda of, names: _named(of, names) if isinstance(of, int) else of  # type: ignore[attr-defined]
os.fsync = lambda handle: None  # nobody pulls the plug here, and waiting for the disk takes most of many tests


def pytest_configure(config: pytest.Config) -> None:
    """Random examples for the tests that were asked for; interrupts reach a background process too."""
    asked = config.option.markexpr
    settings.load_profile(QUICK if asked == QUICK else LONG if LONG in asked else "bknb")
    if hasattr(config, "workerinput"):
        from xdist_workers import read_in_turn

        config.option.deselect = config.workerinput["deselect"]
        read_in_turn(config)
    config.option.loadscopereorder = False  # in the order of LONGEST, whatever number of tests a module has
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts with "&"
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files go to a worker, and those with a JupyterLab to the same one."""
    from xdist_workers import FileByFile

    return FileByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker has the tests left out that ``PYTEST_ADDOPTS`` deselects: it is given the command line alone."""
    node.workerinput["deselect"] = node.config.option.deselect


WHOLLY_SLOW = re.compile(r"^pytestmark = (\[\n    )?pytest\.mark\.(kernel|browser|slow|long)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file unread whose tests are all slow, when only the quick ones were asked for."""
    if config.option.markexpr != QUICK or not collection_path.match("test_*.py"):
        return None
    return True if WHOLLY_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


SLOW = frozenset(["kernel", "browser", LONG])
BY_MEASUREMENT = frozenset(Path(__file__).with_name("slow_tests.txt").read_text(encoding="utf-8").splitlines())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What starts a kernel or a browser, is long, or was measured is slow; what is long runs only when asked for."""
    if LONG not in config.option.markexpr:
        left_out = {item: None for item in items if item.get_closest_marker(LONG)}
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=[*left_out])
    for item in items:
        measured = item.nodeid.removeprefix("tests/") in BY_MEASUREMENT
        if measured or not SLOW.isdisjoint(mark.name for mark in item.iter_markers()):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """No garbage is collected meanwhile: what is made stays, and would be walked again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


_tests = 0
_started_processes = 0
SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(autouse=True, scope="module")
def tries_of_fixtures(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Where the tries of a module's fixtures are counted: not in the working folder, nor with those of another."""
    ledger: Path = tmp_path_factory.getbasetemp() / "tries" / f"{request.module.__name__}.jsonl"
    keep_in(ledger)
    return ledger


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    """The interpreter whose forks are workers is kept while the environment is the same: it bears no test's name."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.fixture(autouse=True, scope="module")
def _older_objects_are_not_collected() -> None:
    """Millions of objects, of modules and of tests that are over, would be walked by every collection of garbage."""
    gc.collect()
    gc.freeze()


def _count_processes(event: str, _: object) -> None:
    global _started_processes
    if event == "subprocess.Popen":
        _started_processes += 1


sys.addaudithook(_count_processes)


@pytest.fixture(autouse=True)
def _reset_after_each_test(tmp_path_factory: pytest.TempPathFactory, tries_of_fixtures: Path) -> Iterator[None]:
    """Nothing of one test is there in the next; the tries of each are counted in a file of its own.

    A pipe or a process that was left open warns when it is collected: that fails the test that left it.
    """
    global _tests
    _tests += 1
    processes = _started_processes
    keep_in(tmp_path_factory.getbasetemp() / "tries" / f"{_tests}.jsonl")
    yield
    reset()
    if _started_processes > processes:
        gc.collect()
    keep_in(tries_of_fixtures)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference data; a test that needs it is skipped where it does not exist."""
    if not (SHARED / "conformance").is_dir():
        pytest.skip("the reference data is not here")
    return SHARED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests counted: what they gave to ``record_property("summary", text)``."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "summary" and report.when == "call":
                    terminalreporter.write_line(text)


IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it
ENOUGH = 32_000_000  # bytes


@pytest.fixture
def folder_in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where no write waits for a disk, if the system has one.

    For tests that kill hundreds of processes: what a killed process has written is there for the next one on any file
    system; only a power cut would tell them apart.
    """
    if not os.access(IN_MEMORY, os.W_OK) or shutil.disk_usage(IN_MEMORY).free < ENOUGH:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="bknb-") as folder:
        yield Path(folder)


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A subject whose failures are noted; without listeners afterwards."""
    channel = Channel()
    yield channel
    for each in (*channel.subject.subscriptions, *channel.errors.subscriptions):
        each()
