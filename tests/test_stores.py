"""The three state stores: what the contract asks of all of them, and what is particular to each."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.errors import StateError
from bknb.stores import lock
from bknb.stores.disk import Disk
from bknb.stores.file_names import decode_name, encode_name, is_shortened
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.stores.sealed_values import Unreadable, address_of, seal, unseal
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.stores import AWKWARD_NAMES, NAMES, PLACE, StateStoreContract

PAYLOAD = b'{"id":"7","price_open":100.5,"note":"\xc3\xa4"}'


def file_of(folder: Path, kind: str, key: tuple[str, ...]) -> Path:
    *folders, name = (encode_name(part) for part in (kind, *key))
    return folder.joinpath(*folders, f"{name}.json")


class TestFileStore(StateStoreContract):
    def make_store(self, folder):
        return FileStore(folder)

    def stored(self, store, kind, key):
        return file_of(store._root, kind, key).read_bytes()

    def damage(self, store, kind, key, sealed):
        file_of(store._root, kind, key).write_bytes(sealed)


class TestSqliteStore(StateStoreContract):
    def make_store(self, folder):
        return SqliteStore(folder / "state.db")

    def stored(self, store, kind, key):
        (row,) = store._run("SELECT sealed FROM state WHERE kind = ? AND key = ? AND aside = 0", (kind, text(key)))
        return row[0]

    def damage(self, store, kind, key, sealed):
        values = (sealed, kind, text(key))
        store._run("UPDATE state SET sealed = ? WHERE kind = ? AND key = ? AND aside = 0", values)


class TestMemoryStore(StateStoreContract):
    durable = False

    def make_store(self, folder):
        return MemoryStore()

    def stored(self, store, kind, key):
        return store.sealed[kind, key]

    def damage(self, store, kind, key, sealed):
        store.sealed[kind, key] = sealed


def text(key):
    return json.dumps(key, ensure_ascii=False, separators=(",", ":"))


# The envelope


def test_an_envelope_is_one_line_of_json_with_the_format_first():
    sealed = seal("signal", PLACE, PAYLOAD)
    decoded = json.loads(sealed)
    assert sealed.startswith(b'{"format":1,')
    assert sealed.count(b"\n") == 1
    assert decoded["payload"] == json.loads(PAYLOAD)
    assert (decoded["kind"], tuple(decoded["key"])) == ("signal", PLACE)


def test_the_format_on_disk_does_not_change_by_accident():
    assert seal("risk", ("calm", "positions"), b"[]") == (
        b'{"format":1,"kind":"risk","key":["calm","positions"],'
        b'"checksum":"ed791417e77bfe897d8c328aefcf67c2","payload":[]}\n'
    )


def test_every_flipped_bit_is_noticed():
    sealed = seal("signal", PLACE, PAYLOAD)
    for place in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[place] ^= 1 << bit
            with pytest.raises(Unreadable) as caught:
                unseal(bytes(damaged), "signal", PLACE)
            assert not caught.value.newer, bytes(damaged)
            assert address_of(bytes(damaged)) is None


def test_every_cut_is_noticed():
    sealed = seal("signal", PLACE, PAYLOAD)
    for length in range(len(sealed)):
        with pytest.raises(Unreadable, match=r"cut off|empty|not a file"):
            unseal(sealed[:length], "signal", PLACE)


def test_another_place_is_named():
    with pytest.raises(Unreadable, match=r"belongs somewhere else: it holds signal sma/ETHUSDT"):
        unseal(seal("signal", ("sma", "ETHUSDT"), PAYLOAD), "signal", PLACE)


def test_a_later_format_is_distinguished_from_a_damaged_number():
    sealed = seal("signal", PLACE, PAYLOAD)
    with pytest.raises(Unreadable) as caught:
        unseal(sealed.replace(b'"format":1', b'"format":2'), "signal", PLACE)
    assert not caught.value.newer
    with pytest.raises(Unreadable, match="format 2, this bknb reads up to 1") as caught:
        unseal(sealed.replace(b'"format":1', b'"format":2').replace(b"100.5", b"200.5"), "signal", PLACE)
    assert caught.value.newer


# Names


@given(NAMES)
def test_a_file_name_leads_back_to_its_name(name):
    encoded = encode_name(name)
    assert is_shortened(encoded) or decode_name(encoded) == name
    assert re.fullmatch(r"[A-Za-z0-9_%~-]([A-Za-z0-9_.%~-]*[A-Za-z0-9_%~-])?", encoded)
    assert len(encoded) <= 120
    assert ".json" not in encoded.lower()


@given(st.lists(NAMES, unique=True, max_size=8))
def test_two_names_never_share_a_file_name(names):
    assert len({encode_name(name) for name in [*names, *AWKWARD_NAMES]}) == len({*names, *AWKWARD_NAMES})


@pytest.mark.parametrize("name", ["BTCUSDT", "sma-cross", "positions", "sma_2", "v1.2"])
def test_a_plain_name_stays_readable(name):
    assert encode_name(name) == name


@pytest.mark.parametrize("name", ["con", "CON", "nul.txt", "Com1", "LPT9.a.b"])
def test_names_windows_reserves_are_changed(name):
    stem = encode_name(name).split(".")[0]
    assert stem.lower() not in ("con", "nul", "com1", "lpt9")


@pytest.mark.parametrize("encoded", ["BTC USDT", "%2e", "%41", "BTC (copy)", ".hidden", "a.", "%ZZ", "%FF", "%C3"])
def test_a_file_name_we_would_not_give_has_no_name(encoded):
    assert decode_name(encoded) is None


# Files


def test_the_layout_is_the_documented_one(tmp_path):
    with FileStore(tmp_path / "dump" / "data") as store:
        store.write("signal", ("sma", "BTCUSDT"), b"1")
        store.write("schedule", ("sma", "BTCUSDT"), b"2")
        store.write("risk", ("calm", "positions"), b"[]")
        store.write("partial", ("sma", "BTC/USDT"), b"{}")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == [
        "dump/data/bknb.lock",
        "dump/data/partial/sma/BTC%2FUSDT.json",
        "dump/data/risk/calm/positions.json",
        "dump/data/schedule/sma/BTCUSDT.json",
        "dump/data/signal/sma/BTCUSDT.json",
    ]


@given(st.lists(NAMES, min_size=1, max_size=3).map(tuple))
def test_no_key_leaves_the_root(tmp_path_factory, key):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "other.json").write_bytes(b"untouched")
    with FileStore(folder / "root") as store:
        store.write("signal", key, b"1")
        (saved,) = (path for path in folder.rglob("*") if path.is_file() and path.parent not in (folder, store._root))
        assert saved.resolve().is_relative_to((folder / "root" / "signal").resolve())
        assert len(saved.relative_to(folder / "root" / "signal").parts) == len(key)
        store.delete("signal", key)
    assert sorted(path.name for path in folder.iterdir()) == ["other.json", "root"]
    assert (folder / "other.json").read_bytes() == b"untouched"


def test_the_root_is_where_it_was_when_the_store_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore("state")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with store:
        store.write("signal", PLACE, b"1")
    assert (tmp_path / "state" / "signal").is_dir()


def test_damaged_files_are_numbered_and_kept(tmp_path):
    path = file_of(tmp_path, "signal", PLACE)
    with FileStore(tmp_path) as store:
        for number in range(1, 4):
            store.write("signal", PLACE, b"1")
            path.write_bytes(b"damage %d" % number)
            with pytest.raises(StateError, match=rf"moved to BTCUSDT\.json\.corrupt-{number}\n"):
                store.read("signal", PLACE)
        store.delete("signal", PLACE)
        store.write("signal", PLACE, b"1")
        path.write_bytes(b"damage 4")
        with pytest.raises(StateError, match=r"corrupt-4\n"):
            store.read("signal", PLACE)
    kept = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert kept == {
        "BTCUSDT.json.corrupt-1.settled": b"damage 1",
        "BTCUSDT.json.corrupt-2.settled": b"damage 2",
        "BTCUSDT.json.corrupt-3.settled": b"damage 3",
        "BTCUSDT.json.corrupt-4": b"damage 4",
    }


def test_a_damaged_file_is_settled_by_hand_too(tmp_path):
    path = file_of(tmp_path, "signal", PLACE)
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
        good = path.read_bytes()
        path.write_bytes(b"damage")
        with pytest.raises(StateError, match=r"delete BTCUSDT.json.corrupt-1 .* or put a good copy at BTCUSDT.json"):
            store.read("signal", PLACE)
        path.write_bytes(good)
        assert store.read("signal", PLACE) == b"1"
        path.unlink()
        with pytest.raises(StateError, match="waits in"):
            store.read("signal", PLACE)
        path.with_name("BTCUSDT.json.corrupt-1").unlink()
        assert store.read("signal", PLACE) is None


def test_a_damaged_file_whose_name_is_shortened_is_not_overlooked(tmp_path):
    key = ("sma", "x" * 200)
    path = file_of(tmp_path, "signal", key)
    with FileStore(tmp_path) as store:
        store.write("signal", key, b"1")
        path.write_bytes(b"damage")
        with pytest.raises(StateError, match="corrupt-1"):
            store.keys("signal")
        with pytest.raises(StateError, match="corrupt-1"):
            store.keys("signal")
        store.delete("signal", key)
        assert store.keys("signal") == []


def test_a_copied_file_whose_name_is_shortened_is_not_listed_twice(tmp_path):
    key, other = ("sma", "x" * 200), ("sma", "y" * 200)
    with FileStore(tmp_path) as store:
        store.write("signal", key, b"1")
        file_of(tmp_path, "signal", other).write_bytes(file_of(tmp_path, "signal", key).read_bytes())
        with pytest.raises(StateError, match="belongs somewhere else"):
            store.keys("signal")
        assert store.read("signal", key) == b"1"


def test_files_of_somebody_else_are_left_alone(tmp_path):
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
    folder = tmp_path / "signal" / "sma"
    for name in ("notes.txt", "BTCUSDT (copy).json", ".DS_Store", "other.tmp", "BTCUSDT.json.bak"):
        (folder / name).write_text("mine")
    (tmp_path / "Not State").mkdir()
    (tmp_path / "Not State" / ".bknb-1-1.tmp").write_text("mine")
    with FileStore(tmp_path) as store:
        assert store.keys("signal") == [PLACE]
        store.write("signal", PLACE, b"2")
        store.delete("signal", PLACE)
    assert len(list(folder.iterdir())) == 5
    assert (tmp_path / "Not State" / ".bknb-1-1.tmp").exists()


def test_a_link_in_a_circle_is_not_followed(tmp_path):
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
        (tmp_path / "signal" / "circle").symlink_to(tmp_path / "signal", target_is_directory=True)
        assert store.keys("signal") == [PLACE]
    with FileStore(tmp_path) as store:
        assert store.read("signal", PLACE) == b"1"


def test_a_folder_removed_while_in_use_is_reported(tmp_path):
    root = tmp_path / "root"
    with FileStore(root) as store:
        store.write("signal", PLACE, b"1")
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()
        with pytest.raises(StateError, match="was removed while in use"):
            store.write("signal", PLACE, b"2")
        with pytest.raises(StateError, match="was removed while in use"):
            store.read("signal", PLACE)


def test_something_else_in_the_place_of_a_file_is_reported(tmp_path):
    with FileStore(tmp_path) as store:
        file_of(tmp_path, "signal", PLACE).mkdir(parents=True)
        with pytest.raises(StateError, match=r"cannot read .*BTCUSDT.json"):
            store.read("signal", PLACE)
        with pytest.raises(StateError, match=r"cannot write .*BTCUSDT.json"):
            store.write("signal", PLACE, b"1")
        assert not list(tmp_path.rglob("*.tmp"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot make the folder .*below"):
        FileStore(tmp_path / "file" / "below").acquire()


class FoldingDisk(Disk):
    """Says what a Mac or Windows would say about the file system."""

    def folds_case(self, existing):
        return True


def test_names_that_differ_in_case_are_refused_where_the_file_system_folds_case(tmp_path):
    with FileStore(tmp_path, disk=FoldingDisk()) as store:
        store.write("signal", ("SMA", "BTCUSDT"), b"1")
        store.write("signal", ("SMA", "BTCUSDT"), b"2")
        for key in (("sma", "BTCUSDT"), ("SMA", "btcusdt")):
            with pytest.raises(StateError, match="are one name to this file system"):
                store.write("signal", key, b"3")
            with pytest.raises(StateError, match="are one name to this file system"):
                store.read("signal", key)
        assert store.read("signal", ("SMA", "BTCUSDT")) == b"2"


def test_whether_the_file_system_folds_case_is_found_out(tmp_path):
    (tmp_path / "bknb.lock").touch()
    assert Disk().folds_case(tmp_path / "bknb.lock") is False
    (tmp_path / "BKNB.LOCK").touch()
    assert Disk().folds_case(tmp_path / "bknb.lock") is True


# The lock

HOLD = """
import sys
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
store = {"files": FileStore, "sqlite": SqliteStore}[sys.argv[1]](sys.argv[2])
store.acquire()
store.write("signal", ("sma", "BTCUSDT"), b"1")
print("ready", flush=True)
sys.stdin.read()
"""


def make(which: str, folder: Path) -> FileStore | SqliteStore:
    return FileStore(folder / "state") if which == "files" else SqliteStore(folder / "state")


@pytest.mark.parametrize("which", ["files", "sqlite"])
def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path, which):
    command = [sys.executable, "-c", HOLD, which, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        store = make(which, tmp_path)
        with pytest.raises(StateError) as caught:
            store.acquire()
        who = rf"is in use by process {process.pid} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:"
        assert re.search(who, str(caught.value))
        process.kill()
        process.wait()
        with store:
            assert store.read("signal", PLACE) == b"1"


@pytest.mark.parametrize("which", ["files", "sqlite"])
def test_a_forgotten_store_does_not_keep_the_lock(tmp_path, which):
    store = make(which, tmp_path)
    store.acquire()
    del store
    with make(which, tmp_path) as again:
        again.write("signal", PLACE, b"1")


def test_a_removed_lock_file_does_not_make_two_owners(tmp_path):
    with FileStore(tmp_path) as first:
        (tmp_path / "bknb.lock").unlink()
        with FileStore(tmp_path) as second:
            second.write("signal", PLACE, b"2")
            with pytest.raises(StateError, match="was removed while in use"):
                first.write("signal", PLACE, b"1")
            assert second.read("signal", PLACE) == b"2"


def test_an_unreadable_lock_file_still_locks(tmp_path):
    with FileStore(tmp_path) as store:
        (tmp_path / "bknb.lock").write_bytes(b"\xff")
        with pytest.raises(StateError, match="in use by another process"):
            FileStore(tmp_path).acquire()
        store.write("signal", PLACE, b"1")


def test_a_lock_file_removed_while_it_was_being_locked_is_not_taken(tmp_path, monkeypatch):
    real, turns = lock._try_lock, []

    def removed_first(handle):
        turns.append(handle)
        if len(turns) == 1:
            (tmp_path / "bknb.lock").unlink()
        return real(handle)

    monkeypatch.setattr(lock, "_try_lock", removed_first)
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
        with pytest.raises(StateError, match="in use by another store object of this process"):
            FileStore(tmp_path).acquire()


class WaitingDisk(Disk):
    """Lets a second thread try to write while a damaged file is being read."""

    def __init__(self):
        self.store: FileStore | None = None
        self.created = threading.Event()
        self.in_between = False
        self.writer: threading.Thread | None = None

    def create(self, path):
        self.created.set()
        return super().create(path)

    def read(self, path):
        assert self.store is not None
        data = super().read(path)
        self.writer = threading.Thread(target=self.store.write, args=("signal", PLACE, b"2"))
        self.writer.start()
        self.in_between = self.created.wait(0.2)
        return data


def test_a_value_written_while_a_damaged_one_is_read_is_not_moved_aside(tmp_path):
    with FileStore(tmp_path) as store:
        store.write("signal", PLACE, b"1")
    file_of(tmp_path, "signal", PLACE).write_bytes(b"damage")
    waiting = WaitingDisk()
    with FileStore(tmp_path, disk=waiting) as store:
        waiting.store = store
        with pytest.raises(StateError, match="corrupt-1"):
            store.read("signal", PLACE)
        assert waiting.writer is not None
        waiting.writer.join()
    assert not waiting.in_between
    with FileStore(tmp_path) as store:
        assert store.read("signal", PLACE) == b"2"


FORK = """
import os, sys
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.errors import StateError
store = {"files": FileStore, "sqlite": SqliteStore}[sys.argv[1]](sys.argv[2])
store.acquire()
if os.fork() == 0:
    try:
        store.write("signal", ("sma", "BTCUSDT"), b"1")
    except StateError as error:
        print(str(error).splitlines()[0], flush=True)
    else:
        print("written", flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("which", ["files", "sqlite"])
def test_a_forked_process_neither_uses_nor_keeps_the_lock(tmp_path, which):
    command = [sys.executable, "-c", FORK, which, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "belongs to the process this one was forked from" in process.stdout.readline()
        process.wait()
        # The parent is dead; the child lives until its input ends.
        with make(which, tmp_path) as store:
            store.write("signal", PLACE, b"2")


# SQLite


def test_a_file_that_is_no_database_is_moved_aside_and_must_be_settled(tmp_path):
    path = tmp_path / "state.db"
    for number, content in enumerate([b"", b"no database at all, but long enough" * 20, b"SQLite format 3\0"], start=1):
        path.write_bytes(content)
        with pytest.raises(StateError, match=rf"moved to state\.db\.corrupt-{number}\n"):
            SqliteStore(path).acquire()
        with pytest.raises(StateError, match=rf"waits in state\.db\.corrupt-{number}\n"):
            SqliteStore(path).acquire()
        assert (tmp_path / f"state.db.corrupt-{number}").read_bytes() == content
    for moved in tmp_path.glob("*.corrupt-*"):
        moved.unlink()
    with SqliteStore(path) as store:
        assert store.keys("signal") == []


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "mine.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="but not one of saved state"):
        SqliteStore(path).acquire()
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_database_of_a_newer_bknb_is_left_alone(tmp_path):
    path = tmp_path / "state.db"
    SqliteStore(path).__enter__().release()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StateError, match="written by a newer bknb"):
        SqliteStore(path).acquire()
    assert path.exists()


def test_a_row_under_a_wrong_key_is_not_read_as_absent(tmp_path):
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.write("signal", PLACE, b"1")
        store.write("signal", ("sma", "ETHUSDT"), b"2")
        store._run("UPDATE state SET key = ? WHERE key = ?", ('["sma","BTCUSDS"]', text(PLACE)))
    with SqliteStore(path) as store:
        assert store.keys("signal") == [("sma", "BTCUSDS"), PLACE, ("sma", "ETHUSDT")]
        for key in (PLACE, ("sma", "BTCUSDS")):
            with pytest.raises(StateError, match="waits as corrupt-1"):
                store.read("signal", key)
        assert store.read("signal", ("sma", "ETHUSDT")) == b"2"
        store.write("signal", PLACE, b"3")
    with SqliteStore(path) as store:
        assert store.read("signal", PLACE) == b"3"


def test_a_stray_journal_is_not_played_into_a_new_database(tmp_path):
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("CREATE TABLE old (x)")
    for sql in ("INSERT INTO old VALUES (randomblob(20000))", "BEGIN", "UPDATE old SET x = randomblob(50000)"):
        connection.execute(sql)
    journal = (tmp_path / "old.db-journal").read_bytes()
    connection.close()
    assert len(journal) > 512
    (tmp_path / "state.db-journal").write_bytes(journal)
    with SqliteStore(tmp_path / "state.db") as store:
        store.write("signal", PLACE, b"1")
        assert store.read("signal", PLACE) == b"1"


def test_a_schema_that_is_no_text_is_damage(tmp_path):
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.write("signal", PLACE, b"1")
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE state", b"CR\xe0ATE TABLE state"))
    with pytest.raises(StateError, match=r"moved to state\.db\.corrupt-1"):
        SqliteStore(path).acquire()


def test_a_value_that_lost_its_name_in_both_places_is_not_read_as_absent(tmp_path):
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.write("signal", PLACE, b"1")
    column, _, envelope = (good := path.read_bytes()).rpartition(b'["sma","BTCUSDT"]')
    assert column.endswith(b'"key":')
    column = column.replace(b'["sma","BTCUSDT"]', b'["sma","BTCUSDX"]')
    path.write_bytes(column + b'["sma","BTC????"]' + envelope)
    assert path.stat().st_size == len(good)
    with pytest.raises(StateError, match=r"both unreadable\); it was moved to state\.db\.corrupt-1"):
        SqliteStore(path).acquire()


@pytest.mark.parametrize("column", ["kind", "key", "sealed"])
def test_a_column_of_another_type_is_damage(tmp_path, column):
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.write("signal", PLACE, b"1")
        other = "text" if column == "sealed" else "blob"
        store._run(f"UPDATE state SET {column} = CAST({column} AS {other})")  # noqa: S608 - names from the line above
    with pytest.raises(StateError, match="a column holds something else"):
        SqliteStore(path).acquire()
