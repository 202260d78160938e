"""A live run whose positions are managed, killed wherever its disk changes: ``managed_life.py FOLDER STEP``.

It plays the run once undisturbed. Then, for every ``STEP``-th change of the disk: a process is killed there, another
goes on to the end, and its positions and fills, and what its listener received, are compared. It prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from killed import killed_in_a_child
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, managing
from worlds import SETTINGS, walk

import bknb
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import FaultyDisk

LOADED = (bknb.Live, bknb.add_risk)  # once, before anybody is forked
SEED, UNTIL = 3, ORIGIN + 60 * MINUTE
MARKET = source(walk(SEED))
CHANGES = ("replace", "unlink", "sync_folder")


def play(folder: Path, *, at: int | None = None) -> None:
    """One life; what is received, and the positions that ended, are in files."""
    log = os.open(folder / "received.log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def receive(event: Any) -> None:
        number = event.fill.number if isinstance(event, bknb.Added | bknb.Reduced) else ""
        os.write(log, f"{type(event).__name__} {event.when} {event.signal.id} {number}\n".encode())

    bknb.listen_position(receive)
    strategy = bknb.add_strategy(
        "life", interval="1m", get_signal=drawn(SEED), manage=managing(SEED), manage_interval="1m"
    )
    disk = FaultyDisk(at=at, fault=None if at is None else "kill", only=CHANGES)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=MARKET,
        clock=SimulatedClock(ORIGIN),
        until=UNTIL,
        store=FileStore(folder / "state", disk=disk),
        settings=SETTINGS,
        late_minutes=10_000,
    )
    result = task.result(timeout=60)
    assert not result.errors, result.errors
    ended = [msgspec.structs.replace(event, price=0.0) for event in result.run_record.records.closed]
    (folder / "ended.json").write_bytes(msgspec.json.encode(ended))


def left(folder: Path) -> tuple[bytes, list[str]]:
    """What ended, and what was received, each once and in order of first time."""
    lines = (folder / "received.log").read_text().splitlines()
    return (folder / "ended.json").read_bytes(), sorted(set(lines))


def main(root: Path, step: int) -> None:
    whole = root / "whole"
    whole.mkdir()
    assert not killed_in_a_child(lambda: play(whole))
    wanted = left(whole)
    wrong: list[str] = []
    at = killed = 0
    while True:
        at += step
        folder = root / f"killed at {at}"
        folder.mkdir()
        if not killed_in_a_child(lambda: play(folder, at=at)):  # noqa: B023 -- called at once
            break
        killed += 1
        assert not killed_in_a_child(lambda: play(folder))  # noqa: B023
        found = left(folder)
        if found != wanted:
            wrong.append(f"{at}: {'ended' if found[0] != wanted[0] else 'received'}")
    fills = sum(len(event["fills"]) for event in json.loads(wanted[0]))
    print(json.dumps({"wrong": wrong, "killed": killed, "fills": fills, "received": len(wanted[1])}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
