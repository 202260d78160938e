"""A live run whose positions are managed, killed wherever its disk changes.

``managed_life.py FOLDER chosen|every managed|weights|lists|orders|places [SEED]``: with a ``manage``, also one whose
signals are lists, that moves and cancels orders, or that has three places, or a strategy that answers with weights.

It plays the run once undisturbed. Then, for every change of the disk or one of each kind: a process is killed there,
another goes on to the end, and its positions and fills, and what its listener received, are compared. It prints one
JSON line. Kinds are told apart by the parts of the position that a change is about.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from killed import Life, compared_lives
from managed import in_percent
from noting_disk import Change, Place, by_part
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, drawn_in_places, managing, managing_orders
from weight_loop import drawn_weight
from worlds import SETTINGS, walk

import bknb
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock

LOADED = (bknb.Live, bknb.add_risk)  # once, before anybody is forked
MINUTES = 60


def strategy_of(kind: str, seed: int) -> Any:
    """A strategy that changes what it holds at many minutes, with levels as prices and in percent; it counts."""
    several = ("lists", "orders")
    if kind == "weights":
        return bknb.add_strategy("life", interval="1m", get_weight=drawn_weight(seed))
    signal = drawn_in_places(seed) if kind == "places" else drawn(seed, lists=kind in several, ladders=kind == "orders")
    manages = managing_orders(seed) if kind == "orders" else managing(seed)

    def get_signal(ctx: Any, when: Any, price: float) -> Any:
        ctx.memo["questions"] = questions = ctx.memo.get("questions", 0) + 1
        answer = None if questions % 9 == 0 else signal(when, price)
        return in_percent(answer, price) if when.minute % 2 == 0 else answer

    def manage(ctx: Any, when: Any, position: Any, price: float) -> Any:
        ctx.memo["managed"] = managed = ctx.memo.get("managed", 0) + len(ctx.positions)
        answer = None if managed % 9 == 0 else manages(when, position, price)
        return in_percent(answer, price) if when.minute % 2 == 0 else answer

    managed: dict[str, Any] = {"get_signal": get_signal, "manage": manage, "manage_interval": "1m"}
    if kind == "places":
        managed["places"] = 3
    if kind in several:  # all signals of one have one place
        bknb.add_risk("life", validations=lambda request: request.open_position_count == 0)
        managed["risk"] = "life"
    return bknb.add_strategy("life", interval="1m", **managed)


def play(folder: Path, kind: str, seed: int, market: Any, at: Place | None) -> None:
    """One life; what is received, and the positions that ended, are in files."""
    life = Life(folder, at)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy_of(kind, seed),
        exchange=market,
        clock=SimulatedClock(ORIGIN),
        until=ORIGIN + (MINUTES // 2 if kind == "places" else MINUTES) * MINUTE,
        store=FileStore(folder / "state", disk=life.disk),
        settings=SETTINGS,
        late_minutes=10_000,
    )
    result = task.result(timeout=60)
    assert not result.errors, result.errors
    ended = [msgspec.structs.replace(event, price=0.0) for event in result.run_record.records.closed]
    life.ends(ended)


def main(root: Path, kind: str, seed: int, *, every: bool) -> None:
    market = source(walk(seed))  # once

    def places(changes: list[Change]) -> list[Place]:
        return [change.place for change in changes] if every else by_part(changes)

    found = compared_lives(root, lambda folder, at: play(folder, kind, seed, market, at), places)
    fills = sum(len(event["fills"]) for event in found.ended)
    parts = sorted({part for change in found.changes for part in change.parts})
    killed = [place.change for place in found.places]
    print(json.dumps({"wrong": found.wrong, "killed": killed, "parts": parts, "fills": fills}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    main(Path(sys.argv[1]), sys.argv[3], int(sys.argv[4]) if sys.argv[4:] else 3, every=sys.argv[2] == "every")
