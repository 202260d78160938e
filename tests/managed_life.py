"""A live run whose positions are managed, killed wherever its disk changes.

``managed_life.py FOLDER chosen|every managed|weights``: with a ``manage``, or a strategy that answers with weights.

It plays the run once undisturbed. Then, for every change of the disk or one of each kind: a process is killed there,
another goes on to the end, and its positions and fills, and what its listener received, are compared. It prints one
JSON line. Kinds are told apart by the parts of the position that a change is about.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
from killed import killed_in_a_child
from noting_disk import Change, NotingDisk, Place, by_part
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, managing
from weight_loop import drawn_weight
from worlds import SETTINGS, walk

import bknb
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock

LOADED = (bknb.Live, bknb.add_risk)  # once, before anybody is forked
SEED, UNTIL = 3, ORIGIN + 60 * MINUTE
MARKET = source(walk(SEED))


def strategy_of(kind: str) -> Any:
    """A strategy that changes what it holds at many minutes."""
    if kind == "weights":
        return bknb.add_strategy("life", interval="1m", get_weight=drawn_weight(SEED))
    managed: dict[str, Any] = {"get_signal": drawn(SEED), "manage": managing(SEED), "manage_interval": "1m"}
    return bknb.add_strategy("life", interval="1m", **managed)


def play(folder: Path, kind: str, *, at: Place | None = None) -> None:
    """One life; what is received, and the positions that ended, are in files."""
    log = os.open(folder / "received.log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def receive(event: Any) -> None:
        number = event.fill.number if isinstance(event, bknb.Added | bknb.Reduced) else ""
        os.write(log, f"{type(event).__name__} {event.when} {event.signal.id} {number}\n".encode())

    bknb.listen_position(receive)
    disk = NotingDisk(folder / "state", received=lambda: 0, at=at)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy_of(kind),
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
    (folder / "changes.json").write_bytes(msgspec.json.encode(disk.changes))


def left(folder: Path, *, lives: int) -> tuple[bytes, list[str]]:
    """What ended, and what was received: sorted, each once, and none more often than there were lives."""
    lines = (folder / "received.log").read_text().splitlines()
    often = [f"{line}, {lines.count(line)} times" for line in {*lines} if lines.count(line) > lives]
    return (folder / "ended.json").read_bytes(), sorted({*lines, *often})


def main(root: Path, kind: str, *, every: bool) -> None:
    whole, folder = root / "whole", root / "killed"
    whole.mkdir()
    assert not killed_in_a_child(lambda: play(whole, kind))
    wanted = left(whole, lives=1)
    changes = msgspec.json.decode((whole / "changes.json").read_bytes(), type=list[Change])
    places = [change.place for change in changes] if every else by_part(changes)
    wrong: list[str] = []
    for at in places:
        folder.mkdir()
        if not killed_in_a_child(lambda: play(folder, kind, at=at)):  # noqa: B023 -- called at once
            wrong.append(f"{at}: it did not come to this place")
        assert not killed_in_a_child(lambda: play(folder, kind))
        found = left(folder, lives=2)
        if found != wanted:
            wrong.append(f"{at}: {'ended' if found[0] != wanted[0] else 'received'}")
        shutil.rmtree(folder)
    fills = sum(len(event["fills"]) for event in json.loads(wanted[0]))
    parts = sorted({part for change in changes for part in change.parts})
    print(json.dumps({"wrong": wrong, "killed": [place.change for place in places], "parts": parts, "fills": fills}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    main(Path(sys.argv[1]), sys.argv[3], every=sys.argv[2] == "every")
