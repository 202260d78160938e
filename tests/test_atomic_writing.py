"""Whole files: the old content or the new, no leftovers that pile up, and the modes the umask gives."""

from __future__ import annotations

import ast
import asyncio
import errno
import importlib
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledgers import LEDGERS
from quick import first_quick

import bknb
from bknb.errors import UsageError
from bknb.history.candle_store import CandleStore, SeriesName
from bknb.llm.recordings import AnswerFolder
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.optimizer import insert_and_export
from bknb.ports import ModelReply
from bknb.sharing.share import _deliver
from bknb.stores.atomic import is_temporary, replace_folder, write_report, write_whole
from bknb.stores.disk import Disk
from bknb.testing.fake_binance import LocalBinance
from bknb.testing.faults import FaultyDisk, PowerCutDisk

PACKAGE = Path(__file__).parent.parent / "bknb"
NOW = 1_704_067_200_000
CANDLES = Candles.from_rows([(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(3)])
posix = pytest.mark.skipif(sys.platform == "win32", reason="this system has no modes")


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_temporary(path.name)]


# --- one file -----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.md"
    assert write_whole(path, b"old") == path
    assert write_whole(path, b"new").read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_whole(tmp_path / "real" / "report.md", b"old")
    (tmp_path / "link.md").symlink_to(tmp_path / "real" / "report.md")
    write_whole(tmp_path / "link.md", b"new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real" / "report.md").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_what_is_no_file_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"to whoever listens")
    assert os.read(reader, 100) == b"to whoever listens"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_short_writes_are_continued(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"x" * 100, disk=FaultyDisk(most=7))
    assert (tmp_path / "file").read_bytes() == b"x" * 100


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_change_leaves_the_old_file_or_the_new(number: int, tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")
    told = 0
    for at in range(1, 100):
        write_whole(tmp_path / "file", b"old")
        disk = FaultyDisk(at=at, fault=OSError(number, os.strerror(number)), only=FORWARD)
        try:
            write_whole(tmp_path / "file", b"new" * 1000, disk=disk)
        except OSError:
            told += 1
            replaced = any(call.startswith("replace") for call in disk.calls[: at - 1])
            assert (tmp_path / "file").read_bytes() == (b"new" * 1000 if replaced else b"old")
        else:
            assert at > len(disk.calls)
            break
        assert temporaries(tmp_path) == []
    assert told == 6


FORWARD = ("make_folder", "create", "write", "sync", "close", "replace", "sync_folder")

KILLED = """
import sys
from pathlib import Path
from bknb.stores.atomic import write_whole
from bknb.testing.fake_binance import LocalBinance
from bknb.testing.faults import FaultyDisk
write_whole(Path(sys.argv[1]), b"new" * 1000, disk=FaultyDisk(at=int(sys.argv[2]), fault=sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_any_change_it_leaves_the_old_file_or_the_new(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    found = []
    for at in range(1, 100):
        write_whole(path, b"old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(at), fault], check=False)
        found.append(path.read_bytes())
        assert found[-1] in (b"old", b"new" * 1000)
        if done.returncode == 0:
            break
    assert len(found) == 7
    left = temporaries(tmp_path)
    assert len(left) == 4  # one for each kill between create and replace
    write_whole(path, b"newer")
    assert temporaries(tmp_path) == left  # they might be of a process that is writing now
    for name in left:
        os.utime(tmp_path / name, (0, path.stat().st_mtime - 61))
    write_whole(path, b"newest")
    assert temporaries(tmp_path) == []


def test_a_leftover_temporary_file_of_the_same_process_number_is_replaced(tmp_path: Path) -> None:
    class Counting(Disk):
        def create(self, path: Path) -> int:
            if not seen:
                path.write_bytes(b"left by a crash")
            seen.append(path.name)
            return super().create(path)

    seen: list[str] = []
    write_whole(tmp_path / "file", b"new", disk=Counting())
    assert len(set(seen)) == 2
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_power_cut_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    disk = PowerCutDisk(tmp_path)
    write_whole(tmp_path / "folder" / "file", b"old", disk=disk)
    start = len(disk.calls)
    write_whole(tmp_path / "folder" / "file", b"new", disk=disk)
    found = [remains[Path("folder/file")] for calls, remains in disk.every_moment() if calls >= start]
    assert set(found) == {b"old", b"new"}
    assert found[-2:] == [b"new", b"new"]


# --- a folder -----------------------------------------------------------------------------------------------------


def test_a_folder_is_replaced(tmp_path: Path) -> None:
    write_whole(tmp_path / "made" / "deep" / "new.txt", b"new")
    write_whole(tmp_path / "out" / "shared" / "old.txt", b"old")
    write_whole(tmp_path / "out" / ".shared.bknb-new" / "half.txt", b"left by a crash")
    replace_folder(tmp_path / "made", tmp_path / "out" / "shared")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["shared", "deep", "new.txt"]


def test_a_folder_that_cannot_be_copied_leaves_the_old_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "shared" / "old.txt", b"old")
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "nowhere", tmp_path / "shared")
    assert [path.name for path in tmp_path.rglob("*")] == ["shared", "old.txt"]


def test_a_folder_that_a_crash_left_beside_its_place_is_not_lost_when_the_next_copy_fails(tmp_path: Path) -> None:
    write_whole(tmp_path / ".shared.bknb-old" / "old.txt", b"the only copy")
    write_whole(tmp_path / ".shared.bknb-new" / "half.txt", b"left by a crash")
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "nowhere", tmp_path / "shared")
    assert [path.name for path in tmp_path.rglob("*")] == ["shared", "old.txt"]
    write_whole(tmp_path / "made" / "new.txt", b"new")
    replace_folder(tmp_path / "made", tmp_path / "shared")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["made", "new.txt", "new.txt", "shared"]


# --- modes --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o022, 0o077, 0o002], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def keep_answer(folder: Path) -> None:
    AnswerFolder(folder).save("ab12", ModelReply(text="x", model="m"))


def record_answers(folder: Path) -> None:
    model = bknb.llm.recording(bknb.llm.recorded(["yes"]), folder / "replies.json")
    asyncio.run(model.chat([{"role": "user", "content": "?"}]))


def store_candles(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    CandleStore(folder).put(SeriesName("mine", "BTCUSDT", "1m"), CANDLES, now=600_000)


def save_card(folder: Path) -> None:
    bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02").card.save(
        folder / "card.json"
    )


def save_in_files(folder: Path) -> None:
    with bknb.stores.files(folder) as store:
        store.write("signal", ("sma", "BTCUSDT"), b"1")


def save_in_sqlite(folder: Path) -> None:
    with bknb.stores.sqlite(folder / "state.db") as store:
        store.write("signal", ("sma", "BTCUSDT"), b"1")


def deliver_zip(folder: Path) -> None:
    write_whole(folder / "made" / "a.txt", b"a")
    _deliver(folder / "made", folder / "shared.zip")
    assert zipfile.ZipFile(folder / "shared.zip").namelist() == ["shared/a.txt"]


def remember_markets(folder: Path) -> None:
    pytest.importorskip("ccxt")
    from bknb.exchanges.ccxt_source import CcxtSource

    with LocalBinance(DemoSource(), now=lambda: NOW) as server:
        source = CcxtSource(
            "binance", now=lambda: NOW, config={**server.ccxt_config, "rateLimit": 1}, rules_folder=folder
        )
        asyncio.run(source.get_candles("BTCUSDT", "1m", NOW - 600_000, 3))


WRITERS: dict[str, Callable[[Path], object]] = {
    "kept answers": keep_answer,
    "recorded answers": record_answers,
    "candles": store_candles,
    "state in files": save_in_files,
    "state in SQLite": save_in_sqlite,
    "cards": save_card,
    "reports": lambda folder: write_report(folder, ("sma", "BTCUSDT"), "# Report"),
    "generated notebooks": lambda folder: insert_and_export.write_notebook(folder, ("ideas", "BTCUSDT"), {"cells": []}),
    "candles of notebooks": lambda folder: insert_and_export.write_candles(folder, ("ideas", "BTCUSDT"), CANDLES),
    "shared zip files": deliver_zip,
    "market rules": remember_markets,
    **{ledger.name: lambda folder, ledger=ledger: ledger.add(folder, 1, Disk()) for ledger in LEDGERS},
}


@posix
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_modes_are_those_the_umask_gives(writer: Callable[[Path], object], umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for _ in range(2):  # a file that is there already gets them too
        writer(folder)
        found = {
            path.relative_to(folder): stat.S_IMODE(path.stat().st_mode)
            for path in folder.rglob("*")
            if path.name != ".lock"
        }
        assert found
        for name, mode in found.items():
            whole = 0o777 if (folder / name).is_dir() else 0o666
            assert (name, oct(mode)) == (name, oct(whole & ~umask))


# --- no other writer ----------------------------------------------------------------------------------------------

# module -> why it may write a file in place
IN_PLACE = {
    "stores/atomic.py": "what is no regular file cannot be replaced",
    "exchanges/candle_bundle.py": "into the scratch folder of a share, which is delivered whole",
    "sharing/shared_folder.py": "into the scratch folder of a share, which is delivered whole",
    "sharing/recorder.py": "into the scratch folder of a share, which is delivered whole",
    "sharing/wheel.py": "into the scratch folder of a share, which is delivered whole",
    "sharing/share.py": "a zip file in memory",
    "sharing/searched_files.py": "zip files are read",
    "exchanges/binance_zips.py": "zip files are read",
    "exchanges/csv_dialect.py": "zip files are read",
    "testing/exchange/server.py": "a journal that only grows, a line at a time",
    "sweeps/batches.py": "into the scratch folder of a sweep, read after it is complete",
    "sweeps/run_units.py": "into the scratch folder of runs in workers, read after it is complete",
    "sweeps/prepared_candles.py": "into the scratch folder of a sweep, read after it is complete",
}
METHODS = {"write_text", "write_bytes", "NamedTemporaryFile", "mkstemp", "chmod", "copyfile", "copy2", "savefig"}
FUNCTIONS = {"np.save", "zipfile.ZipFile", "nbformat.write"}
ENDINGS = {"open", *(name.rpartition(".")[2] for name in FUNCTIONS)}
MODES = {"w", "a", "x", "wb", "ab", "xb", "r+b", "w+b", "a+b", "wt", "at"}
MAY_WRITE = re.compile("|".join([*METHODS, *map(re.escape, [*FUNCTIONS, *(f'"{mode}"' for mode in MODES)])]))


def writes(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if not MAY_WRITE.search(text):  # parsing all of them takes seconds
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in METHODS | ENDINGS:
                continue
            first = ast.unparse(node.func)
            given = {ast.unparse(argument).strip("'") for argument in node.args[:2]}
            opened = name == "open" and bool(given & MODES)
            if name in METHODS or first in FUNCTIONS or opened:
                yield f"{first} in line {node.lineno}"


def test_every_other_file_is_written_by_the_atomic_writer() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): list(writes(path)) for path in PACKAGE.rglob("*.py")}
    assert {name: places for name, places in found.items() if places and name not in IN_PLACE} == {}
    assert [name for name in IN_PLACE if not found[name]] == []


@posix
def test_a_file_and_its_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system, which every other test leaves out: ``conftest.py``."""
    synced: list[bool] = []

    def fsync(handle: int) -> None:
        system.fsync(handle)
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))

    system = importlib.import_module("posix")
    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "file", b"all of it")
    assert synced == ([True] if sys.platform == "darwin" else [False, True])


def test_a_folder_at_the_path_of_a_report_is_reported(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02").card.save(
            tmp_path / "card.json"
        )


def patient(price: float) -> bknb.Signal:
    return bknb.Signal(
        position="long",
        price_open=price * 0.999,
        price_take_profit=price * 1.01,
        price_stop_loss=price * 0.98,
        minute_estimated_time=240,
    )


WRITERS: dict[str, Callable[[object], object]] = {
    "Backtest.dump": lambda path: bknb.Backtest.dump("BTCUSDT", "patient", path),  # type: ignore[arg-type]
    "Heat.dump": lambda path: bknb.Heat.dump("patient", path),  # type: ignore[arg-type]
    "Schedule.dump": lambda path: bknb.Schedule.dump("BTCUSDT", "patient", path),  # type: ignore[arg-type]
    "Performance.dump": lambda path: bknb.Performance.dump("BTCUSDT", "patient", path),  # type: ignore[arg-type]
    "Partial.dump": lambda path: bknb.Partial.dump("BTCUSDT", "patient", path=path),  # type: ignore[arg-type]
    "Risk.dump": lambda path: bknb.Risk.dump("BTCUSDT", "patient", path=path),  # type: ignore[arg-type]
    "Walker.dump": lambda path: bknb.Walker.dump("BTCUSDT", "all", path),  # type: ignore[arg-type]
    "Card.save": lambda path: bknb.Backtest.get_data("BTCUSDT", "patient").card.save(path),  # type: ignore[arg-type]  # noqa: PLW0108 -- there is a card only after the run
    "llm.recording": lambda path: asyncio.run(
        bknb.llm.recording(bknb.llm.recorded(["yes"]), path).chat([{"role": "user", "content": "?"}])  # type: ignore[arg-type]
    ),
    "AnswerFolder.save": lambda path: AnswerFolder(path).save("ab12", ModelReply(text="x", model="m")),  # type: ignore[arg-type]
}
"""Public functions that write a file the user names; ``Live.dump`` writes as ``Backtest.dump`` does."""


@pytest.fixture
def ran() -> None:
    bknb.Performance.start()
    bknb.backtest("BTCUSDT", strategy=patient, exchange="demo", frame="2024-01-01:2024-01-02", interval="1h")
    bknb.add_strategy("patient", interval="1h", get_signal=patient)
    bknb.add_walker("all", strategies=["patient"], exchange="demo", frame="2024-01-01:2024-01-02")
    bknb.walker("BTCUSDT", walker="all")


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_be_written_is_told_with_its_path_and_what_to_do(name: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file.*: Not a directory\nchoose another path"):
        WRITERS[name](in_the_way / "deeper")


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("path", first_quick([None, "", 7, "a\0b"]))
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_path_is_told(name: str, path: object) -> None:
    with pytest.raises(UsageError, match=r"a path must be a non-empty text or a pathlib\.Path|cannot write"):
        WRITERS[name](path)


def test_a_full_disk_under_a_report_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_disk: Disk, _handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Disk, "write", full)
    with pytest.raises(UsageError, match=r"cannot write .*sma\.md: No space left on device\nchoose another path"):
        write_report(tmp_path, ("sma",), "# Report")
    assert list(tmp_path.iterdir()) == []
