"""Append-only files: whatever happens between two appends, what was appended whole is read back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from killed import killed_in_a_child
from ledgers import LEDGERS, Ledger, attempts, place_entry
from quick import each_once

from bknb.errors import BknbError, StateError
from bknb.stores.disk import Disk
from bknb.stores.journal import Journal
from bknb.testing.faults import FaultyDisk, PowerCutDisk

DECODE = msgspec.json.decode
by_ledger = pytest.mark.parametrize("ledger", LEDGERS, ids=str)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def numbers_or_line(ledger: Ledger, folder: Path) -> list[int] | str:
    """The entries, or the first line of the error that names the unreadable line."""
    try:
        return ledger.numbers(folder)
    except StateError as error:
        return str(error).splitlines()[0]


# --- lines --------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "folder" / "file")
    assert journal.read(DECODE) == ([], [])
    journal.append([b"1", b'"two"'])
    journal.append([])
    Journal(journal.path).append([b"[3]"])
    assert journal.path.read_bytes() == b'1\n"two"\n[3]\n'
    assert journal.read(DECODE) == ([1, "two", [3]], [])
    assert journal.read_strictly(DECODE, advice="") == [1, "two", [3]]


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "file")
    journal.path.write_bytes(b'1\n\n{"a\r\n2\r\n\xff\n"cut')
    entries, bad = journal.read(DECODE)
    assert entries == [1, 2]
    assert [(line.number, line.torn) for line in bad] == [(3, False), (5, False), (6, True)]
    with pytest.raises(StateError, match=r"line 3 of .*file cannot be read: (.|\n)*\nrepair it$"):
        journal.read_strictly(DECODE, advice="repair it")


def test_strict_reading_allows_a_torn_last_line_and_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "file")
    journal.path.write_bytes(b'1\n"cut')
    assert journal.read_strictly(DECODE, advice="") == [1]
    journal.append([b"2"])
    assert journal.path.read_bytes() == b'1\n"cut\n2\n'
    with pytest.raises(StateError, match="line 2 of"):
        journal.read_strictly(DECODE, advice="")


def test_a_whole_line_without_its_line_feed_stays_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "file")
    journal.path.write_bytes(b"1\n22")
    journal.append([b"3"])
    assert journal.read(DECODE) == ([1, 22, 3], [])


def test_a_torn_line_can_be_dropped_by_the_only_user(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "file")
    assert not journal.drop_torn_line()
    journal.append([b"1"])
    assert not journal.drop_torn_line()
    journal.path.write_bytes(b'1\n"cut')
    assert journal.drop_torn_line()
    assert journal.path.read_bytes() == b"1\n"


def test_an_error_of_the_reader_that_is_no_bad_line_is_not_swallowed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "file")
    journal.append([b"1"])

    def newer(line: bytes) -> int:
        raise StateError("written by a newer bknb")

    with pytest.raises(StateError, match="newer"):
        journal.read(newer)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StateError, match=r"file is a folder; expected the path of a file\ngive a file in it, such as "):
        Journal(tmp_path / "file").read(DECODE)


@given(st.lists(st.lists(st.integers(0, 10**12), min_size=1, max_size=4), max_size=5), st.data())
def test_cut_anywhere_and_appended_to_it_loses_no_whole_line(batches: list[list[int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "file")
        for batch in batches:
            journal.append([json.dumps({"n": number}).encode() for number in batch])
        content = journal.path.read_bytes() if batches else b""
        kept = content[: data.draw(st.integers(0, len(content)))]
        journal.path.write_bytes(kept)
        journal.append([b'{"n":-1}'])
        whole = [json.loads(line)["n"] for line in kept.split(b"\n") if line.endswith(b"}")]
        assert [entry["n"] for entry in journal.read(DECODE)[0]] == [*whole, -1]


# --- the files that are journals ----------------------------------------------------------------------------------


@pytest.mark.slow
@by_ledger
def test_an_entry_after_a_torn_line_is_not_lost(ledger: Ledger, tmp_path: Path) -> None:
    for number in (1, 2):
        ledger.add(tmp_path, number, Disk())
    path = ledger.path(tmp_path)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(first, len(content)):
        path.write_bytes(content[:cut])
        ledger.add(tmp_path, 3, Disk())
        found = numbers_or_line(ledger, tmp_path)
        if isinstance(found, str):
            assert ledger.name == "openings"
            assert found.startswith(f"line 2 of {path} cannot be read")
        else:
            assert found in ([1, 3], [1, 2, 3])
            assert found == [1, 3] or cut == len(content) - 1
        # The line stands for itself in the file, whatever a reader thinks of the one before.
        last = path.read_bytes().split(b"\n")[-2]
        ledger.path(tmp_path).write_bytes(last + b"\n")
        assert ledger.numbers(tmp_path) == [3]


@by_ledger
def test_what_is_written_is_what_the_first_release_wrote(ledger: Ledger, tmp_path: Path) -> None:
    add = place_entry if ledger.name == "paper orders" else ledger.add  # stops came later
    add(tmp_path, 7, Disk())
    assert ledger.path(tmp_path).read_bytes() == WRITTEN[ledger.name]


WRITTEN = {
    "trials": (
        b'd97dc7d1 [1,{"key":"key-7","symbol":"BTCUSDT","exchange":"demo","strategy":"sma","execution":"touch",'
        b'"data":"d","start":0,"end":10,"params":"n=3","sharpe":0.5,"figures":[1.0,null],"daily":"AQ==","rejected":0}]\n'
    ),
    "openings": (
        b'{"opened_at":7,"data":"d","strategy_hash":"s","strategy":"sma","symbol":"BTCUSDT","exchange":"demo",'
        b'"start":0,"end":1,"version":1}\n'
    ),
    "tries": (
        b'{"on":{"exchange":"demo","symbol":"BTCUSDT","start":0,"end":9,"data":"d"},"strategies":["strategy-7"],'
        b'"version":1}\n'
    ),
    "attempts": b'{"number":7,"status":"proposed"}\n',
    "paper orders": (
        b'{"client_id":"bk7","broker_id":"paper-1","symbol":"BTCUSDT","side":"buy","quantity":0.5,"price":null,'
        b'"status":"accepted","filled_quantity":0.0,"average_price":null,"received":1,"note":"","created_at":0,'
        b'"rests":false,"part":1.0,"cancels_rest":false,'
        # what came later, which the first release passes over
        b'"kind":null,"trigger":null,"reduces_only":false,"fee_percent":0.0,"fee_currency":"USDT","fee_in_base":false,'
        b'"trades":[],"version":2}\n'
    ),
}


def test_damaged_attempts_are_counted(tmp_path: Path) -> None:
    ledger = attempts(tmp_path)
    ledger.add({"number": 1})
    ledger.path.write_bytes(ledger.path.read_bytes() + b'[2]\n{"number":3,"stat')
    ledger.add({"number": 4})
    assert [line["number"] for line in ledger.lines()] == [1, 4]
    assert ledger.damaged == 2


APPENDER = """
import sys
from pathlib import Path
from bknb.stores.journal import Journal
journal = Journal(Path(sys.argv[1]))
for turn in range(60):
    journal.append([b'{"who":%d,"turn":%d,"text":"%s"}' % (int(sys.argv[2]), turn, b"x" * (turn * 40))])
"""


@pytest.mark.slow
def test_several_processes_append_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"torn')
    processes = [subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(who)]) for who in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    entries, bad = Journal(path).read(DECODE)
    assert [line.number for line in bad] == [1]
    for who in range(4):
        assert [entry["turn"] for entry in entries if entry["who"] == who] == list(range(60))


# --- disks that fail ----------------------------------------------------------------------------------------------


@by_ledger
def test_short_writes_are_continued(ledger: Ledger, tmp_path: Path) -> None:
    disk = FaultyDisk(most=7)
    ledger.add(tmp_path, 1, disk)
    assert ledger.numbers(tmp_path) == [1]
    assert sum(call.startswith("write") for call in disk.calls) > 3


@by_ledger
@pytest.mark.parametrize("cut_off", [0, 12], ids=["whole", "torn"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_change_loses_nothing(ledger: Ledger, cut_off: int, number: int, tmp_path: Path) -> None:
    told: list[str] = []
    for at in range(1, 100):
        folder = tmp_path / str(at)
        ledger.add(folder, 1, Disk())
        with ledger.path(folder).open("ab") as file:
            file.write(ledger.path(folder).read_bytes()[:cut_off])
        disk = FaultyDisk(at=at, fault=OSError(number, os.strerror(number)), most=40)
        try:
            ledger.add(folder, 2, disk)
        except (BknbError, OSError) as error:
            told.append(str(error))
        ledger.add(folder, 3, Disk())
        found = ledger.numbers(folder)
        assert (found[0], found[-1]) == (1, 3)
        assert found == [1, 2, 3] or at <= len(disk.calls)
        if at > len(disk.calls):
            break
    assert len(told) >= 4
    assert all(os.strerror(number) in text for text in told)


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize(("ledger", "fault"), each_once(LEDGERS, ["kill", "torn"]), ids=str)
def test_killed_at_every_change_of_the_disk(ledger: Ledger, fault: str, tmp_path: Path) -> None:
    command = [sys.executable, __file__, ledger.name, fault, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["points"] >= 12
    assert sorted(set(result["told"])) == [0, 1, 2, 3]


@by_ledger
def test_a_power_cut_loses_nothing_that_was_confirmed(ledger: Ledger, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = PowerCutDisk(root)
    told = []
    for number in (1, 2, 3):
        ledger.add(root / "ledgers", number, disk)
        told.append(len(disk.calls))
    for turn, (calls, remains) in enumerate(disk.every_moment()):
        after = tmp_path / str(turn)
        after.mkdir()
        for path, data in remains.items():
            (after / path).mkdir() if data is None else (after / path).write_bytes(data)
        done = [number for number, point in zip((1, 2, 3), told, strict=True) if point <= calls]
        assert ledger.numbers(after / "ledgers")[: len(done)] == done


# The driver: runs in a process of its own, see test_killed_at_every_change_of_the_disk.


def at_every_point(ledger: Ledger, fault: str, root: Path) -> dict[str, object]:
    """Three entries in one life that ends at every change of the disk; then another life adds a fourth."""
    problems, told = [], []
    for point in range(1, 1000):
        folder = Path(tempfile.mkdtemp(dir=root))
        read, write = os.pipe()

        def life(folder: Path = folder, write: int = write, point: int = point) -> None:
            disk = FaultyDisk(at=point, fault="torn" if fault == "torn" else "kill")
            for number in (1, 2, 3):
                ledger.add(folder, number, disk)
                os.write(write, b".")

        killed = killed_in_a_child(life)
        os.close(write)
        count = len(os.read(read, 10))
        os.close(read)
        told.append(count)
        before = numbers_or_line(ledger, folder)
        ledger.add(folder, 4, Disk())
        after = numbers_or_line(ledger, folder)
        whole = [*range(1, count + 1)]
        if before not in (whole, [*whole, count + 1]):
            problems.append(f"point {point}: {before} after {count} were told")
        if after != ([*before, 4] if isinstance(before, list) else None):
            problems.append(f"point {point}: {after}, and it was {before}")
        shutil.rmtree(folder)
        if not killed:
            return {"problems": problems[:5], "points": point, "told": told}
    raise RuntimeError("it never came to its end")


if __name__ == "__main__":
    which = next(each for each in LEDGERS if each.name == sys.argv[1])
    sys.stdout.write(json.dumps(at_every_point(which, sys.argv[2], Path(sys.argv[3]))))


# --- files of somebody else ------------------------------------------------------------------------------------------

FOREIGN = [
    b'{"fee": 0.1}',
    b'{"fee": 0.1}\n',
    b'{\n  "fee": 0.1\n}',
    b"time,open,close\n1,2,3\n",
    b"time,open,close\n1,2,3",
    b"a note",
]


@by_ledger
@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_of_somebody_else_is_refused_and_stays(ledger: Ledger, content: bytes, tmp_path: Path) -> None:
    path = ledger.path(tmp_path)
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        ledger.numbers(tmp_path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert path.read_bytes() == content


@by_ledger
def test_a_first_entry_that_was_cut_off_anywhere_is_no_foreign_file(ledger: Ledger, tmp_path: Path) -> None:
    path = ledger.path(tmp_path)
    ledger.add(tmp_path, 1, Disk())
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        assert ledger.numbers(tmp_path) == []


@by_ledger
def test_words_behind_the_entries_are_kept(ledger: Ledger, tmp_path: Path) -> None:
    path = ledger.path(tmp_path)
    ledger.add(tmp_path, 1, Disk())
    path.write_bytes(path.read_bytes() + b"a note of mine")
    with contextlib.suppress(StateError):
        ledger.numbers(tmp_path)
    assert path.read_bytes().endswith(b"a note of mine")


@by_ledger
def test_zeros_that_a_power_cut_left_behind_the_entries_are_no_entry(ledger: Ledger, tmp_path: Path) -> None:
    path = ledger.path(tmp_path)
    ledger.add(tmp_path, 1, Disk())
    path.write_bytes(path.read_bytes() + bytes(40))
    assert ledger.numbers(tmp_path) == [1]
