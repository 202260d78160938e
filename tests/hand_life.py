"""Live runs in which something is decided by hand, killed wherever their disk changes.

``hand_life.py FOLDER STORE STEP``: for each decision it plays the run twice undisturbed, with the decision and without.
Then, for every ``STEP``-th change of the disk from the decision on: a process is killed there, and another goes on to
the end without deciding anything again. What ended must be as in one of the two; as with the decision, where the killed
process had got its answer. It prints one JSON line. In SQLite every statement is a change.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from hand_clock import HandClock
from killed import killed_in_a_child
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.runs.live import BOOK, LiveTask, plan_live
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.faults import FaultyDisk

CHANGES = ("replace", "unlink", "sync_folder", "statement")
UNTIL = ORIGIN + 10 * MINUTE
AT = ORIGIN + 5 * MINUTE + 20_000
PRICES = [*[100.0] * 64, 102.0, 102.0, 103.0, 101.0, 99.0, 98.5, 98.0, 98.0]  # from an hour before on
MARKET = source([(ORIGIN + (k - 60) * MINUTE, p, p + 0.2, p - 0.2, p, 1.0) for k, p in enumerate(PRICES)])
OPEN = {"side": "long"}
WAITS = {"side": "long", "price_open": 98.8, "price_stop_loss": 90.0}
DECISIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "close": (OPEN, lambda task: task.close("by hand")),
    "reduce": (OPEN, lambda task: task.reduce(0.5)),
    "move": (OPEN, lambda task: task.move(price_stop_loss=101.5, minute_estimated_time=8)),
    "cancel": (WAITS, lambda task: task.cancel()),
    "activate": (WAITS, lambda task: task.activate()),
    "open": ({}, lambda task: task.open(bknb.Signal(side="short", minute_estimated_time=2))),
}


def play(folder: Path, store: str, signal: dict[str, Any], decide: Any, *, at: int | None = None) -> None:
    """One life; whether its decision was answered, and what had ended at its end, are in files."""

    def get_signal(when: Any) -> Any:
        return bknb.Signal(**signal) if signal and when.minute == 1 else None

    def answered(task: Any) -> None:
        (folder / "first").write_text(str(len(disk.calls)))
        decide(task)
        (folder / "answered").touch()

    strategy = bknb.add_strategy("life", interval="1m", get_signal=get_signal)
    disk = FaultyDisk(at=at, fault=None if at is None else "kill", only=CHANGES)
    place = SqliteStore(folder / "state.db", disk=disk) if store == "sqlite" else FileStore(folder / "state", disk=disk)
    clock = HandClock(ORIGIN, {} if decide is None else {AT: answered})
    plan = plan_live("X", strategy=strategy, exchange=MARKET, clock=clock, until=UNTIL, store=place, late_minutes=999)
    task = clock.task = BOOK.add(LiveTask(plan))
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


def main(root: Path, store: str, step: int) -> None:
    wrong: list[str] = []
    counts = {"killed": 0, "as with": 0, "as without": 0}
    for name, (signal, decide) in DECISIONS.items():
        wanted = []
        for kind, chosen in (("with", decide), ("without", None)):
            folder = root / f"{name} {kind}"
            folder.mkdir()
            assert not killed_in_a_child(lambda: play(folder, store, signal, chosen))  # noqa: B023 -- called at once
            wanted.append((folder / "ended.json").read_bytes())
        if wanted[0] == wanted[1]:
            wrong.append(f"{name}: the decision changes nothing")
        first = int((root / f"{name} with" / "first").read_text())  # changes before the decision are for other tests
        at = first + 1 - step  # the first change is the one that a decision may be lost at
        while True:
            at += step
            folder = root / f"{name} killed at {at}"
            folder.mkdir()
            if not killed_in_a_child(lambda: play(folder, store, signal, decide, at=at)):  # noqa: B023
                break
            counts["killed"] += 1
            assert not killed_in_a_child(lambda: play(folder, store, signal, None))  # noqa: B023
            found = (folder / "ended.json").read_bytes()
            if found == wanted[0]:
                counts["as with"] += 1
            elif found == wanted[1] and not (folder / "answered").exists():
                counts["as without"] += 1
            else:
                wrong.append(f"{name} {at}: {'answered, ' if (folder / 'answered').exists() else ''}{found.decode()}")
    print(json.dumps({"wrong": wrong, **counts}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
