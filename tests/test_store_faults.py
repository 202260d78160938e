"""Saved state when things go wrong: killed processes, power cuts, full disks, bad sectors."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from killed import killed_in_a_child
from quick import first_quick, rest_long

from bknb.errors import BknbError, StateError, UsageError
from bknb.stores.disk import Disk
from bknb.stores.file_names import encode_name
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.faults import FaultyDisk, PowerCutDisk, killed_at_system_call

PLACE = ("sma", "BTCUSDT")
World = dict[tuple[str, tuple[str, ...]], bytes]

# What a short life of one signal saves: (kind, key, payload); None forgets.
STORY: tuple[tuple[str, tuple[str, ...], bytes | None], ...] = (
    ("schedule", PLACE, b'{"id":"1","price_open":100.0}'),
    ("risk", ("calm", "positions"), b'[{"id":"1"}]'),
    ("signal", PLACE, b'{"id":"1","price_open":100.0,"pending_at":1700000000000}'),
    ("schedule", PLACE, None),
    ("partial", PLACE, b'{"1":{"profit":[10]}}'),
    ("partial", PLACE, b'{"1":{"profit":[10,20,30,40,50,60,70,80,90],"loss":[10]}}'),
    ("signal", PLACE, None),
    ("risk", ("calm", "positions"), b"[]"),
    ("signal", PLACE, b'{"id":"2","note":"' + b"x" * 6000 + b'"}'),
)
BEFORE: World = {("signal", ("rsi", "ETHUSDT")): b'{"id":"0"}', ("risk", ("calm", "positions")): b"[0]"}


def world_after(steps: int) -> World:
    world = dict(BEFORE)
    for kind, key, payload in STORY[:steps]:
        if payload is None:
            world.pop((kind, key), None)
        else:
            world[kind, key] = payload
    return world


def make(which: str, folder: Path, disk: Disk | None = None) -> FileStore | SqliteStore:
    return FileStore(folder / "state", disk=disk) if which == "files" else SqliteStore(folder / "state.db", disk=disk)


def prepare(which: str, folder: Path) -> None:
    with make(which, folder) as store:
        for (kind, key), payload in BEFORE.items():
            store.write(kind, key, payload)


def play(store: FileStore | SqliteStore, told: Callable[[], object]) -> None:
    with store:
        for kind, key, payload in STORY:
            if payload is None:
                store.delete(kind, key)
            else:
                store.write(kind, key, payload)
            told()


def world_in(which: str, folder: Path) -> World:
    with make(which, folder) as store:
        found = {}
        for kind in ("signal", "schedule", "risk", "partial"):
            for key in store.keys(kind):
                payload = store.read(kind, key)
                assert payload is not None
                found[kind, key] = payload
        return found


def verdict(which: str, folder: Path, steps: int) -> str:
    """What is wrong after a crash in which ``steps`` steps were confirmed; empty when nothing is."""
    try:
        world = world_in(which, folder)
    except BknbError as error:
        return f"unreadable after step {steps}: {error}"
    if world not in (world_after(steps), world_after(steps + 1)):
        return f"neither the state after step {steps} nor the next: {world}"
    leftovers = [path.name for path in folder.rglob("*") if ".tmp" in path.name or "corrupt" in path.name]
    return f"leftovers after step {steps}: {leftovers}" if leftovers else ""


# Killed processes. A driver process of one thread forks a child for every point; see the end of this file.


def drive(*arguments: str) -> dict[str, object]:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    if "skip" in result:
        pytest.skip(str(result["skip"]))
    return result


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("which", ["files", "sqlite"])
@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_every_change_of_the_disk(folder_in_memory, which, fault):
    result = drive(which, fault, str(folder_in_memory))
    assert result["problems"] == []
    assert result["points"] >= {"files": 60, "sqlite": 10}[which]
    assert sorted(set(result["told"])) == list(range(len(STORY) + 1))[: max(result["told"]) + 1]
    assert max(result["told"]) >= len(STORY) - 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="traces its child as Linux does")
@pytest.mark.parametrize("which", ["files", "sqlite"])
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_every_system_call(folder_in_memory, which, step):
    result = drive(which, "trace", str(folder_in_memory), str(step))
    assert result["problems"] == []
    assert result["points"] > 250
    assert sorted(set(result["told"])) == list(range(len(STORY) + 1))


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("which", first_quick(["files", "sqlite"]))
def test_killed_at_every_change_of_the_first_start(folder_in_memory, which):
    result = drive(which, "first", str(folder_in_memory))
    assert result["problems"] == []
    assert result["points"] >= 8


# Power cuts


@pytest.mark.slow
def test_a_power_cut_at_any_moment_loses_nothing_that_was_confirmed(tmp_path):
    (tmp_path / "state").mkdir()
    disk = PowerCutDisk(tmp_path / "state")
    told = []
    store = FileStore(tmp_path / "state", disk=disk)
    with store:
        for (kind, key), payload in BEFORE.items():
            store.write(kind, key, payload)
    start = len(disk.calls)
    play(store, lambda: told.append(len(disk.calls)))
    seen = set()
    for number, (calls, remains) in enumerate(disk.every_moment()):
        if calls < start:
            continue
        folder = tmp_path / str(number)
        lay_out(folder / "state", remains)
        steps = sum(point <= calls for point in told)
        assert verdict("files", folder, steps) == ""
        seen.add(world_in("files", folder) == world_after(steps))
        shutil.rmtree(folder)
    assert seen == {True, False}


def test_a_power_cut_after_a_crash_loses_nothing_that_was_read(tmp_path):
    # Killed between rename and sync of the folder: the next process reads the new value, so it has to make it last.
    (tmp_path / "state").mkdir()
    disk = PowerCutDisk(tmp_path / "state")
    store = FileStore(tmp_path / "state", disk=disk)
    with store:
        store.write("signal", PLACE, b"1")
        disk.sync_folder = lambda folder: None  # type: ignore[method-assign] - it got no further than the rename
        store.write("signal", PLACE, b"2")
        store.write("signal", ("new", "BTCUSDT"), b"3")
    del disk.sync_folder
    with store:
        assert store.read("signal", PLACE) == b"2"
        assert store.read("signal", ("new", "BTCUSDT")) == b"3"
        for number, remains in enumerate(disk.remains(len(disk.calls))):
            lay_out(tmp_path / str(number), remains)
            with FileStore(tmp_path / str(number)) as after:
                assert after.read("signal", PLACE) == b"2"
                assert after.read("signal", ("new", "BTCUSDT")) == b"3"


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_a_power_cut_shows_what_was_not_forced_to_the_disk(tmp_path, forgotten):
    disk = PowerCutDisk(tmp_path)
    setattr(disk, forgotten, lambda what: None)
    with FileStore(tmp_path, disk=disk) as store:
        store.write("signal", PLACE, b"1")
    late, early = disk.remains(len(disk.calls))
    path = Path("signal/sma/BTCUSDT.json")
    assert (path in late, early[path]) == ((True, b"") if forgotten == "sync" else (False, early[path]))
    assert forgotten == "sync" or early[path]


def lay_out(folder: Path, remains: dict[Path, bytes | None]) -> None:
    folder.mkdir(parents=True)
    for path, data in remains.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


# Errors of the disk

ERRORS = {
    "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "broken": OSError(errno.EIO, os.strerror(errno.EIO)),
    "read-only": OSError(errno.EROFS, os.strerror(errno.EROFS)),
}


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", sorted(ERRORS))
def test_an_error_at_any_change_leaves_the_old_value_or_the_new(tmp_path, error, lasting):
    points = 0
    for at in points_of(lambda disk: rewrite(tmp_path / "count", disk)):
        folder = tmp_path / str(at)
        disk = FaultyDisk(at=at, fault=ERRORS[error], lasting=lasting)
        outcome = rewrite(folder, disk)
        with FileStore(folder) as store:
            value = store.read("signal", PLACE)
        failed = disk.calls[at - 1].split()[0]
        if outcome == "":
            # Tidying up, and only that, may fail unnoticed.
            assert (failed, value) == ("unlink", b'{"new":1}')
            continue
        points += 1
        assert str(folder) in outcome
        assert os.strerror(ERRORS[error].errno or 0) in outcome
        replaced = any(call.startswith("replace") for call in disk.calls[: at - 1])
        assert value == (b'{"new":1}' if replaced else b'{"old":1}')
        assert ("power cut" in outcome) == replaced or "use the folder" in outcome
        assert not list(folder.rglob("*.tmp"))
    assert points >= 8


def rewrite(folder: Path, disk: FaultyDisk) -> str:
    """Replace a value on a disk that fails; returns the error text the user sees."""
    with FileStore(folder) as store:
        store.write("signal", PLACE, b'{"old":1}')
    told = ""
    try:
        with FileStore(folder, disk=disk) as store:
            store.write("signal", PLACE, b'{"new":1}')
    except StateError as error:
        told = str(error)
    assert len(told.splitlines()) <= 3
    return told


def points_of(run: Callable[[FaultyDisk], object]) -> Iterator[int]:
    disk = FaultyDisk()
    run(disk)
    return iter(range(1, len(disk.calls) + 1))


def test_a_full_disk_is_reported_and_the_run_goes_on_when_there_is_room(tmp_path):
    disk = FaultyDisk(at=2, fault=ERRORS["full"], only=("write",))
    with FileStore(tmp_path, disk=disk) as store:
        store.write("signal", PLACE, b"1")
        with pytest.raises(StateError, match=r"cannot write .*BTCUSDT\.json: No space left") as caught:
            store.write("signal", PLACE, b"2")
        assert "what was saved before is untouched; make room on the disk" in str(caught.value)
        assert store.read("signal", PLACE) == b"1"
        store.write("signal", PLACE, b"3")
        assert store.read("signal", PLACE) == b"3"


def test_a_read_only_folder_is_reported(tmp_path):
    disk = FaultyDisk(at=1, fault=ERRORS["read-only"], only=("create",))
    with FileStore(tmp_path, disk=disk) as store, pytest.raises(StateError, match="make the folder writable"):
        store.write("signal", PLACE, b"1")


def test_a_real_read_only_folder_is_reported(tmp_path):
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe").chmod(0o500)
    if sys.platform == "win32" or os.access(tmp_path / "probe", os.W_OK):
        pytest.skip("nothing is read-only for this user")
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
        (tmp_path / "signal" / "sma").chmod(0o500)
        with pytest.raises(StateError, match="make the folder writable"):
            store.write("signal", PLACE, b"2")
        assert store.read("signal", PLACE) == b"1"
        (tmp_path / "signal" / "sma").chmod(0o700)
    tmp_path.chmod(0o500)
    with pytest.raises(StateError, match="cannot"):
        FileStore(tmp_path / "below").acquire()
    tmp_path.chmod(0o700)


def test_short_writes_are_continued(tmp_path):
    disk = FaultyDisk(most=7)
    with FileStore(tmp_path, disk=disk) as store:
        store.write("signal", PLACE, b'"' + b"x" * 100 + b'"')
        assert store.read("signal", PLACE) == b'"' + b"x" * 100 + b'"'
    assert sum(call.startswith("write") for call in disk.calls) > 15


def test_a_failing_delete_is_reported(tmp_path):
    for at in (1, 2):
        disk = FaultyDisk(at=at, fault=ERRORS["broken"], only=("unlink", "sync_folder"))
        with FileStore(tmp_path) as store:
            store.write("signal", PLACE, b"1")
        store = FileStore(tmp_path, disk=disk)
        disk.only = ("nothing",)
        with store:
            disk.only = ("unlink", "sync_folder")
            with pytest.raises(StateError, match=r"(?s)cannot delete .*it may come back"):
                store.delete("signal", PLACE)


def test_damage_that_cannot_be_moved_aside_is_reported_every_time(tmp_path):
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
    path = tmp_path / "signal" / "sma" / "BTCUSDT.json"
    path.write_bytes(b"damage")
    with FileStore(
        tmp_path, disk=FaultyDisk(at=1, fault=ERRORS["read-only"], lasting=True, only=("replace",))
    ) as store:
        for _ in range(2):
            with pytest.raises(StateError, match="cannot trust or move aside"):
                store.read("signal", PLACE)
    assert path.read_bytes() == b"damage"


def test_a_file_that_cannot_be_read_is_not_moved(tmp_path):
    class Unreadable(Disk):
        def read(self, path):
            raise ERRORS["broken"]

    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
    with FileStore(tmp_path, disk=Unreadable()) as store, pytest.raises(StateError, match="cannot read"):
        store.read("signal", PLACE)
    with FileStore(tmp_path) as store:
        assert store.read("signal", PLACE) == b"1"


LIMITED = """
import resource, signal, sys
from bknb.stores.sqlite_store import SqliteStore
from bknb.errors import StateError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with SqliteStore(sys.argv[1]) as store:
    store.write("signal", ("sma", "BTCUSDT"), b"1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
    for payload in (b'"' + b"x" * 100_000 + b'"', b'"' + b"y" * 50_000 + b'"'):
        try:
            store.write("signal", ("sma", "BTCUSDT"), payload)
        except StateError as error:
            print(str(error).splitlines()[0])
        assert store.read("signal", ("sma", "BTCUSDT")) == b"1"
    store.write("signal", ("sma", "BTCUSDT"), b"2")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_database_that_cannot_grow_is_reported_and_goes_on(tmp_path):
    path = tmp_path / "state.db"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot write signal sma/BTCUSDT in") == 2
    with SqliteStore(path) as store:
        assert store.read("signal", PLACE) == b"2"


def test_a_transaction_of_a_database_that_fails_is_taken_back(tmp_path):
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.write("signal", PLACE, b"1")
    for at in points_of(lambda disk: forget(SqliteStore(path, disk=disk))):
        with SqliteStore(path) as store:
            store.write("signal", PLACE, b"1")
        store = SqliteStore(path, disk=FaultyDisk(at=at, fault=ERRORS["broken"]))
        try:
            forget(store)
        except (StateError, OSError):
            with SqliteStore(path) as after:
                assert after.read("signal", PLACE) in (b"1", None)
                after.write("signal", PLACE, b"1")


def forget(store: SqliteStore) -> None:
    with store:
        store.delete("signal", PLACE)


# Bad sectors


@pytest.mark.parametrize("change", ["cut", "flip"])
def test_a_file_damaged_anywhere_is_never_read_as_something_else(tmp_path, change):
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b'{"id":"7"}')
        path = tmp_path / "signal" / "sma" / "BTCUSDT.json"
        good = path.read_bytes()
        chance = random.Random(7)  # noqa: S311 - which byte to spoil is no secret
        for place in range(len(good)):
            flipped = bytearray(good)
            flipped[place] ^= 1 << chance.randrange(8)
            path.write_bytes(good[:place] if change == "cut" else bytes(flipped))
            with pytest.raises(StateError, match=rf"corrupt-{place + 1}\n"):
                store.read("signal", PLACE)


@pytest.mark.slow
@pytest.mark.parametrize("change", rest_long(["cut", "flip", "zeros", "noise"], kept=2))
def test_a_database_damaged_anywhere_is_never_read_as_something_else(folder_in_memory, change):
    path = folder_in_memory / "state.db"
    saved = {("sma", f"COIN{number}"): b'{"id":"%d"}' % number for number in range(60)}
    with SqliteStore(path) as store:
        for key, payload in saved.items():
            store.write("signal", key, payload)
    good = path.read_bytes()
    chance = random.Random(7)  # noqa: S311 - which byte to spoil is no secret
    noticed = 0
    for number in range(400):
        place = chance.randrange(len(good))
        bad = bytearray(good)
        if change == "flip":
            bad[place] ^= 1 << chance.randrange(8)
        elif change == "zeros":
            bad[place : place + 64] = bytes(len(bad[place : place + 64]))
        elif change == "noise":
            length = chance.choice((1, 8, 512))
            bad[place : place + length] = chance.randbytes(len(bad[place : place + length]))
        else:
            del bad[place:]
        folder = folder_in_memory / str(number)
        folder.mkdir()
        (folder / "state.db").write_bytes(bad)
        noticed += look(folder / "state.db", saved)
        shutil.rmtree(folder)
    assert noticed > 100


def look(path: Path, saved: dict[tuple[str, ...], bytes]) -> bool:
    """Read everything; whether damage was noticed. What is read must be what was saved."""
    try:
        store = SqliteStore(path)
        store.acquire()
    except StateError:
        return True
    noticed = False
    assert set(store.keys("signal")) >= set(saved)
    for key, payload in saved.items():
        try:
            assert store.read("signal", key) == payload
        except StateError:
            noticed = True
    store.release()
    return noticed


# The tools themselves


def test_a_faulty_disk_needs_to_know_what_goes_wrong():
    with pytest.raises(UsageError, match="both `at`"):
        FaultyDisk(at=1)


@pytest.mark.parametrize("name", ["signal", "aux", "con_1"])
def test_folders_of_kinds_are_encoded(tmp_path, name):
    with FileStore(tmp_path) as store:
        store.write(name, PLACE, b"1")
        assert store.keys(name) == [PLACE]
    assert (tmp_path / encode_name(name)).is_dir()


# The driver: runs in a process of its own, see drive()


def at_every_point(which: str, how: str, root: Path, step: int) -> dict[str, object]:
    """Every ``step``-th point, from the first one on."""
    problems, told = [], []
    for point in range(1, 100_000, step):
        folder = Path(tempfile.mkdtemp(dir=root))
        if how != "first":
            prepare(which, folder)
        read, write = os.pipe()

        def life(folder: Path = folder, write: int = write, point: int = point) -> None:
            fault = None if how == "trace" else FaultyDisk(at=point, fault="torn" if how == "torn" else "kill")
            if how == "first":
                with make(which, folder, fault) as store:
                    store.write("signal", PLACE, b"1")
                    os.write(write, b".")
            else:
                play(make(which, folder, fault), lambda: os.write(write, b"."))

        killed = killed_at_system_call(point, life) if how == "trace" else killed_in_a_child(life)
        os.close(write)
        steps = len(os.read(read, 1000))
        os.close(read)
        told.append(steps)
        problem = first_verdict(which, folder, steps) if how == "first" else verdict(which, folder, steps)
        if problem:
            problems.append(f"point {point}: {problem}")
        shutil.rmtree(folder)
        if not killed:
            return {"problems": problems[:5], "points": point, "told": told}
    raise RuntimeError("it never came to its end")


def first_verdict(which: str, folder: Path, steps: int) -> str:
    try:
        world = world_in(which, folder)
    except BknbError as error:
        return str(error)
    new = {("signal", PLACE): b"1"}
    return "" if world == new or (steps == 0 and world == {}) else f"after step {steps}: {world}"


if __name__ == "__main__":
    try:
        answer = at_every_point(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(*sys.argv[4:] or [1]))
    except UsageError as error:
        answer = {"skip": str(error)}
    sys.stdout.write(json.dumps(answer))
