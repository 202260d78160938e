"""What ended in live runs is a journal of few values: nothing is lost, nothing is counted twice, wherever it stops."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from killed import killed_in_a_child

from bknb.domain.signal import OpenSignal, ScheduledSignal
from bknb.domain.signal_events import Cancelled, Closed, Pnl
from bknb.errors import StateError
from bknb.live.ended_journal import EndedJournal
from bknb.ports import StateStore
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.faults import FaultyDisk, PowerCutDisk

KEY = ("sma", "BTCUSDT")
MINUTE = 60_000
SMALL = {"latest": 3, "most": 8}


def labels(when: int) -> dict[str, Any]:
    names = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "frame": None, "mode": "live"}
    return {**names, "when": when, "price": 100.0, "closed_at": when}


def row(name: str, decided_at: int) -> dict[str, Any]:
    levels = {"price_open": 100.0, "price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 9}
    labels = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "position": "long", "note": ""}
    return {"id": name, "scheduled_at": decided_at, **levels, **labels}


def end(number: int, *, later: int = 0, name: str = "") -> Closed | Cancelled:
    """The end of a signal decided in that minute; every third was cancelled."""
    decided_at = number * MINUTE
    when, signal = decided_at + (1 + later) * MINUTE, row(name or f"id {number}", decided_at)
    if number % 3 == 0:
        return Cancelled(**labels(when), signal=ScheduledSignal(**signal), reason="timeout")
    pnl = Pnl(pnl_percentage=0.8, gross_percentage=1.0, fee_percentage=0.2, slippage_percentage=0.0)
    opened = OpenSignal(**signal, pending_at=decided_at)
    seen = {"price_close": 101.0, "peak_percentage": 2.0, "trough_percentage": 0.0, "ambiguous": False}
    return Closed(**labels(when), **seen, signal=opened, close_reason="time_expired", pnl=pnl)


def ends(count: int) -> list[Closed | Cancelled]:
    return [end(number) for number in range(count)]


def journal(store: StateStore, **sizes: int) -> EndedJournal:
    return EndedJournal(store, KEY, **sizes)


def write_first_version(store: StateStore, count: int, *, first: int = 0) -> None:
    for each in ends(first + count)[first:]:
        store.write("ended", (*KEY, f"{each.when:015d}-{each.signal.id}"), msgspec.json.encode(each))


@pytest.mark.parametrize("store", [MemoryStore(), "files", "sqlite"], ids=["memory", "files", "sqlite"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 8, 9, 40])
def test_every_end_is_there_after_a_restart(store: Any, count: int, tmp_path: Path) -> None:
    if store == "files":
        store = FileStore(tmp_path)
    elif store == "sqlite":
        store = SqliteStore(tmp_path / "state.db")
    else:
        store = MemoryStore()
    with store:
        for each in ends(count):  # a process for each
            journal(store, **SMALL).append(each)
        assert journal(store).load() == ends(count)
        held = [msgspec.json.decode(store.read("ended", key) or b"")["ends"] for key in store.keys("ended")]
        assert len(held) <= 1 + -(-count // (SMALL["most"] - SMALL["latest"]))
        assert all(len(part) <= SMALL["most"] for part in held)


@pytest.mark.slow
def test_three_thousand_trades_are_two_values() -> None:
    with MemoryStore() as store:
        written = journal(store)
        for each in ends(3_000):
            written.append(each)
        assert [key[-1] for key in store.keys("ended")] == ["part-000001", "part-000002"]
        assert journal(store).load() == ends(3_000)


def test_the_ends_of_others_are_not_read() -> None:
    with MemoryStore() as store:
        EndedJournal(store, ("sma", "ETHUSDT")).append(end(1))
        EndedJournal(store, ("sma2", "BTCUSDT")).append(end(2))
        assert journal(store).load() == []
        journal(store).append(end(3))
        assert journal(store).load() == [end(3)]
        assert EndedJournal(store, ("sma", "ETHUSDT")).load() == [end(1)]


def test_an_end_that_is_repeated_counts_once_and_writes_nothing() -> None:
    class Counting(MemoryStore):
        writes = 0

        def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
            self.writes += 1
            super().write(kind, key, payload)

    with Counting() as store:
        for each in ends(9):
            journal(store, **SMALL).append(each)
        before = store.writes
        for each in ends(9):
            journal(store, **SMALL).append(each)
        assert store.writes == before
        assert journal(store).load() == ends(9)


@pytest.mark.parametrize("number", [0, 1, 5, 8])
def test_the_end_that_a_signal_came_to_at_last_counts(number: int) -> None:
    with MemoryStore() as store:
        for each in ends(9):
            journal(store, **SMALL).append(each)
        journal(store, **SMALL).append(end(number, later=100))
        for each in ends(30)[9:]:
            journal(store, **SMALL).append(each)
        expected = [each for each in ends(30) if each != end(number)] + [end(number, later=100)]
        assert journal(store).load() == sorted(expected, key=lambda each: each.when)


def test_ends_of_signals_that_are_still_open_are_removed() -> None:
    with MemoryStore() as store:
        for each in ends(9):
            journal(store, **SMALL).append(each)
        written = journal(store, **SMALL)
        written.load()
        assert written.without({("id 1", MINUTE), ("id 8", 8 * MINUTE), ("id 2", 0)}) == [
            each for each in ends(9) if each.signal.id not in ("id 1", "id 8")
        ]
        assert len(journal(store, **SMALL).load()) == 7


def test_one_id_may_name_several_signals() -> None:
    with MemoryStore() as store:
        written = [end(number, name="breakout") for number in range(5)]
        for each in written:
            journal(store, **SMALL).append(each)
        assert journal(store).load() == written


# --- version 1: a value for each ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_values_of_version_1_become_part_of_the_journal(count: int, tmp_path: Path) -> None:
    with FileStore(tmp_path) as store:
        write_first_version(store, count)
        assert journal(store, **SMALL).load() == ends(count)
        assert all(key[-1].startswith("part-") for key in store.keys("ended"))
        for each in ends(count + 6)[count:]:
            journal(store, **SMALL).append(each)
        assert journal(store, **SMALL).load() == ends(count + 6)


def test_many_values_of_version_1_are_removed_over_several_starts() -> None:
    with MemoryStore() as store:
        write_first_version(store, 600)
        for left in (88, 0):
            assert journal(store).load() == ends(600)
            assert sum(not key[-1].startswith("part-") for key in store.keys("ended")) == left
        assert len(store.keys("ended")) == 1


def test_a_signal_that_ended_twice_in_version_1_counts_once() -> None:
    with MemoryStore() as store:
        write_first_version(store, 4)
        late = end(2, later=3)
        store.write("ended", (*KEY, f"{late.when:015d}-{late.signal.id}"), msgspec.json.encode(late))
        assert journal(store).load() == [end(0), end(1), end(3), late]


# --- crashes and disks that fail ------------------------------------------------------------------------------------


def a_life(count: int, disk: FaultyDisk | PowerCutDisk | None, folder: Path, confirmed: Path) -> None:
    """Take over two values of version 1, then add ends; how many are confirmed is noted after each."""
    with FileStore(folder / "state", disk=disk) as store:
        written = journal(store, **SMALL)
        written.load()
        for number in range(2, count):
            written.append(end(number))
            confirmed.write_text(str(number + 1))


def begin(folder: Path) -> None:
    with FileStore(folder / "state") as store:
        write_first_version(store, 2)


def found_in(folder: Path) -> list[Closed | Cancelled]:
    with FileStore(folder / "state") as store:
        found = journal(store, **SMALL).load()
        assert journal(store, **SMALL).load() == found
        return found


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize(
    ("fault", "first", "step"),
    [
        ("kill", 1, 5),
        ("torn", 3, 5),
        pytest.param("kill", 1, 1, marks=pytest.mark.long),
        pytest.param("torn", 1, 1, marks=pytest.mark.long),
    ],
)
def test_killed_at_every_change_of_the_disk(fault: Any, first: int, step: int, folder_in_memory: Path) -> None:
    """Every end that was confirmed is there, and the one that was not is whole or missing; a second life goes on."""
    calls, count = first - step, 11
    while True:
        calls += step
        folder = folder_in_memory / str(calls)
        folder.mkdir()
        begin(folder)
        confirmed = folder / "confirmed"
        confirmed.write_text("2")
        killed = killed_in_a_child(
            lambda folder=folder, confirmed=confirmed, at=calls: a_life(  # type: ignore[misc]
                count, FaultyDisk(at=at, fault=fault), folder, confirmed
            )
        )
        number = int(confirmed.read_text())
        assert found_in(folder) in (ends(number), ends(number + 1))
        a_life(count, None, folder, confirmed)
        assert found_in(folder) == ends(count)
        if not killed:
            break
    assert calls > 60


@pytest.mark.slow
def test_a_disk_that_fails_once_loses_nothing(folder_in_memory: Path) -> None:
    """The end whose write failed is added again, as a run does that repeats its minute."""
    calls, count = 0, 11
    while True:
        calls += 1
        disk = FaultyDisk(at=1_000_000, fault=OSError(errno.ENOSPC, "No space left on device"))
        with FileStore(folder_in_memory / str(calls), disk=disk) as store:
            disk.at = fails = len(disk.calls) + calls
            written = journal(store, **SMALL)
            failed = sum(not added(written, each) for each in ends(count))
            for each in ends(count):
                written.append(each)
            assert written.load() == ends(count)
        if len(disk.calls) < fails:
            break
        assert failed <= 1
    assert calls > 50


def added(written: EndedJournal, each: Closed | Cancelled) -> bool:
    try:
        written.append(each)
    except StateError:
        return False
    return True


def test_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    disk, count = PowerCutDisk(tmp_path), 11
    moments = []
    with FileStore(tmp_path, disk=disk) as store:
        written = journal(store, **SMALL)
        for each in ends(count):
            written.append(each)
            moments.append(len(disk.calls))
    seen = set()
    for calls, files in disk.every_moment():
        with MemoryStore() as store:
            for path, content in files.items():
                if content is not None and path.suffix == ".json":
                    store.sealed["ended", (*KEY, path.stem)] = content
            confirmed = sum(moment <= calls for moment in moments)
            found = journal(store, **SMALL).load()
        assert found in (ends(confirmed), ends(confirmed + 1))
        seen.add(len(found))
    assert seen == set(range(count + 1))


def test_a_damaged_part_is_told_and_kept(tmp_path: Path) -> None:
    with FileStore(tmp_path) as store:
        for each in ends(9):
            journal(store, **SMALL).append(each)
        path = tmp_path / "ended" / "sma" / "BTCUSDT" / "part-000001.json"
        path.write_bytes(path.read_bytes().replace(b"110.0", b"190.0"))
        for _ in range(2):
            with pytest.raises(StateError, match="part-000001"):
                journal(store, **SMALL).load()
            with pytest.raises(StateError, match="part-000001"):
                journal(store, **SMALL).append(end(9))
        store.delete("ended", (*KEY, "part-000001"))
        left = journal(store, **SMALL).load()
        assert 0 < len(left) < 9
        journal(store, **SMALL).append(end(9))
        assert journal(store, **SMALL).load() == [*left, end(9)]
