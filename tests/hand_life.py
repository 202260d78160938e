"""Live runs in which something is decided by hand, killed wherever their disk changes.

``hand_life.py FOLDER STORE chosen|every``: for each decision it plays the run twice undisturbed, with the decision and
without. Then, for every change of the disk from the decision on or one of each kind: a process is killed there, and
another goes on to the end without deciding anything again. What ended must be as in one of the two; as with the
decision, where the killed process had got its answer. It prints one JSON line. Kinds are told apart by the parts of the
position that a change is about; every value that is written until the decision is answered is tried, and what is
changed then.
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
from hand_clock import HandClock
from killed import killed_in_a_child
from noting_disk import Change, NotingDisk, Place, by_part
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.runs.live_task import TASKS, LiveTask, plan_live
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore

UNTIL = ORIGIN + 10 * MINUTE
AT = ORIGIN + 5 * MINUTE + 20_000
PRICES = [*[100.0] * 64, 102.0, 102.0, 103.0, 101.0, 99.0, 98.5, 98.0, 98.0]  # from an hour before on
MARKET = source([(ORIGIN + (k - 60) * MINUTE, p, p + 0.2, p - 0.2, p, 1.0) for k, p in enumerate(PRICES)])
OPEN = {"side": "long"}
WAITS = {"side": "long", "price_open": 98.8, "price_stop_loss": 90.0}
BOTH = [WAITS | {"id": "low"}, WAITS | {"id": "lower", "price_open": 95.0}]
DECISIONS: dict[str, tuple[Any, Any]] = {
    "close": (OPEN, lambda task: task.close("by hand")),
    "reduce": (OPEN, lambda task: task.reduce(0.5)),
    "move": (OPEN, lambda task: task.move(price_stop_loss=101.5, minute_estimated_time=8)),
    "cancel": (WAITS, lambda task: task.cancel()),
    "activate": (WAITS, lambda task: task.activate()),
    "activate one": (BOTH, lambda task: task.activate(id="lower")),
    "open": ({}, lambda task: task.open(bknb.Signal(side="short", minute_estimated_time=2))),
}


def play(folder: Path, store: str, signal: Any, decide: Any, *, at: Place | None = None) -> None:
    """One life; whether its decision was answered, and what had ended at its end, are in files."""

    def get_signal(when: Any) -> Any:
        signals = [bknb.Signal(**each) for each in (signal if isinstance(signal, list) else [signal]) if each]
        return signals if when.minute == 1 else None

    def answered(task: Any) -> None:
        (folder / "first").write_text(str(len(disk.changes)))
        decide(task)
        (folder / "answered").write_text(str(len(disk.changes)))

    strategy = bknb.add_strategy("life", interval="1m", get_signal=get_signal)
    disk = NotingDisk(folder / "state", received=lambda: 0, at=at)
    place = SqliteStore(folder / "state.db", disk=disk) if store == "sqlite" else FileStore(folder / "state", disk=disk)
    clock = HandClock(ORIGIN, {} if decide is None else {AT: answered})
    plan = plan_live("X", strategy=strategy, exchange=MARKET, clock=clock, until=UNTIL, store=place, late_minutes=999)
    task = clock.task = TASKS.add(LiveTask(plan))
    task.start()
    result = task.result(timeout=60)
    assert not result.errors, result.errors
    state = result.run_record.records
    ended = [msgspec.structs.replace(event, price=0.0) for event in (*state.closed, *state.cancelled)]
    left = place.__class__(folder / ("state.db" if store == "sqlite" else "state"))
    with left:
        saved = json.loads(left.read("signal", ("life", "X")) or b"{}")
    kept = {name: saved.get(name) for name in ("signal", "book", "leaving")}
    (folder / "ended.json").write_bytes(msgspec.json.encode([ended, kept]))
    (folder / "changes.json").write_bytes(msgspec.json.encode(disk.changes))


def places_of(life: Path, seen: set[tuple[str, str]], *, every: bool) -> list[Place]:
    """Where a life with a decision is killed; changes before the decision are for other tests."""
    changes = msgspec.json.decode((life / "changes.json").read_bytes(), type=list[Change])
    first, answered = (int((life / name).read_text()) for name in ("first", "answered"))
    behind = [change.place for change in changes[first:]]
    if every:
        return behind
    saving = [place for place in behind[: answered - first] if not place.change.startswith("sync")]
    chosen = {*saving, behind[answered - first], *by_part(changes[first:], seen)}
    return [place for place in behind if place in chosen]


def main(root: Path, store: str, *, every: bool) -> None:
    wrong: list[str] = []
    counts = {"killed": 0, "as with": 0, "as without": 0}
    seen: set[tuple[str, str]] = set()
    for name, (signal, decide) in DECISIONS.items():
        wanted = []
        for kind, made in (("with", decide), ("without", None)):
            folder = root / f"{name} {kind}"
            folder.mkdir()
            assert not killed_in_a_child(lambda: play(folder, store, signal, made))  # noqa: B023 -- called at once
            wanted.append((folder / "ended.json").read_bytes())
        if wanted[0] == wanted[1]:
            wrong.append(f"{name}: the decision changes nothing")
        lost = 0
        for at in places_of(root / f"{name} with", seen, every=every):
            folder = root / "killed"
            folder.mkdir()
            if not killed_in_a_child(lambda: play(folder, store, signal, decide, at=at)):  # noqa: B023
                wrong.append(f"{name} {at}: it did not come to this place")
            counts["killed"] += 1
            assert not killed_in_a_child(lambda: play(folder, store, signal, None))  # noqa: B023
            found = (folder / "ended.json").read_bytes()
            if found == wanted[0]:
                counts["as with"] += 1
            elif found == wanted[1] and not (folder / "answered").exists():
                lost += 1
            else:
                wrong.append(f"{name} {at}: {'answered, ' if (folder / 'answered').exists() else ''}{found.decode()}")
            shutil.rmtree(folder)
        counts["as without"] += lost
        if not lost:
            wrong.append(f"{name}: it was lost nowhere, so no process was killed before it was saved")
    print(json.dumps({"wrong": wrong, **counts}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    main(Path(sys.argv[1]), sys.argv[2], every=sys.argv[3] == "every")
