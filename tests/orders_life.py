"""A live run of lists, places, entries in parts, adds and a memo, killed wherever its state changes.

``orders_life.py FOLDER SEED MINUTES [CAPITAL]``: of a world of ``orders_worlds.py``, with three places, and with the
memo in the note of each signal, it plays so many minutes once undisturbed. Then, for every value that is written or
removed: a process is killed there, another goes on to the end, and its positions and fills, what its listener received,
and every value of its state, that of its account, too, are compared. It prints one JSON line.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
from killed import Life, compared_lives
from noting_disk import Change, Place
from orders_page import World
from orders_worlds import at, draw, view_of
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.provenance.source_code_and_hash import read_code
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock

LOADED = (bknb.Live, bknb.size.Units, bknb.Margin)  # once, before anybody is forked
KINDS = ("signal", "schedule", "account", "money", "ended")
OF_LIVES = {  # what depends on how often and when each was saved or looked at last, and by which life
    *("turn", "turns", "fed", "memo", "asked", "last_managed", "heard", "untold", "accounts", "changes", "solvent"),
}


def saw(memo: Any, seen: list[Any]) -> None:
    memo["seen"] = crc32(f"{memo.get('seen')} {seen}".encode())


def functions(world: World) -> tuple[Any, Any]:
    """The strategy: what a world asks for, and flat at its end; its memo, in each note, holds all that was shown."""
    calm = world.end - 4

    def get_signal(ctx: Any, when: Any, price: float) -> list[Any]:
        saw(ctx.memo, [at(when), *map(view_of, ctx.positions)])
        signals = world.ask(at(when), price, world.bars[at(when) - 1].close) if at(when) < calm else []
        return [msgspec.structs.replace(one, note=str(ctx.memo["seen"]), memo={"asked": at(when)}) for one in signals]

    def manage(ctx: Any, when: Any, price: float, position: Any) -> Any:
        saw(ctx.memo, [at(when), view_of(position), *position.memo.items()])
        if at(when) >= calm:
            return bknb.Close() if position.size else bknb.Cancel()
        return world.manage(at(when), price, world.bars[at(when) - 1].close, view_of(position))

    return get_signal, manage


def play(folder: Path, world: World, run: dict[str, Any], change: Place | None) -> None:
    """One life; what is compared is in files."""
    life, (get_signal, manage) = Life(folder, change), functions(world)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=bknb.add_strategy("life", interval="1m", get_signal=get_signal, manage=manage, places=world.places),
        clock=SimulatedClock(ORIGIN + world.start * MINUTE),
        until=ORIGIN + world.end * MINUTE,
        store=FileStore(folder / "state", disk=life.disk),
        settings={"max_adds": None, "schedule_await_minutes": world.await_minutes},
        late_minutes=10_000,
        **run,
    )
    result = task.result(timeout=60)
    assert not result.errors, result.errors
    ended = [msgspec.structs.replace(event, price=0.0) for event in result.run_record.records.closed]
    life.ends({"closed": ended, "state": state_of(folder / "state")})


def state_of(folder: Path) -> dict[str, Any]:
    """Every value but those of milestones; what was in the memo is in the notes of later signals."""
    paths = sorted(path for kind in KINDS for path in (folder / kind).rglob("*.json"))
    payloads = {str(path.relative_to(folder)): json.loads(path.read_bytes())["payload"] for path in paths}
    return {name: without(payload, OF_LIVES) for name, payload in payloads.items()}


def without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: without(each, names) for name, each in value.items() if name not in names}
    return [without(each, names) for each in value] if isinstance(value, list) else value


def main(root: Path, seed: int, minutes: int, capital: float | None = None) -> None:
    world = draw(seed, minutes, places=3, interval=1, manage_interval=1)
    run: dict[str, Any] = {"exchange": source([(ORIGIN + k * MINUTE, *bar) for k, bar in enumerate(world.bars)])}
    if capital:
        run |= {"capital": capital, "sizing": bknb.size.Units(2.0), "account": bknb.Margin()}
    read_code(*functions(world))  # once, too

    def everywhere(changes: list[Change]) -> list[Place]:
        """A synchronisation changes nothing that a killed process leaves."""
        return [change.place for change in changes if not change.place.change.startswith("sync")]

    found = compared_lives(root, lambda folder, change: play(folder, world, run, change), everywhere)
    kinds = Counter(fill["kind"] for event in found.ended["closed"] for fill in event["fills"])
    values = sorted({path.partition("/")[0] for path in found.ended["state"]})
    print(json.dumps({"wrong": found.wrong, "killed": len(found.places), "kinds": kinds, "values": values}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
