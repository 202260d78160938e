"""A live run that keeps a memo, killed at random moments: at changes of its disk, and within its questions.

``memo_life.py FOLDER COUNT SEED``: it plays the run once undisturbed. Then, at as many moments as COUNT says: a process
is killed there, another goes on to the end, and its last memo, its positions, and what its listener received, are
compared. It prints one JSON line.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
from killed import Life, compared_lives
from noting_disk import Change, Place
from scenarios import MINUTE, ORIGIN, source
from worlds import SETTINGS, walk

import bknb
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import end_process

LOADED = (bknb.Live,)  # once, before anybody is forked
SEED, UNTIL = 5, ORIGIN + 60 * MINUTE
MARKET = source(walk(SEED))
QUESTIONS = 60  # of the undisturbed run, at least


class KeptClock(SimulatedClock):
    """A clock that goes on, in another process, where it was."""

    def __init__(self, file: Path) -> None:
        super().__init__(int(file.read_text()) if file.exists() else ORIGIN)
        self._file = file

    def advance(self, when: int) -> None:
        super().advance(when)
        self._file.write_text(str(self.now()))


class Keeps:
    """A strategy that keeps how often it was asked, the newest prices, and what it saw; it is killed at a question.

    Some of its questions raise, ask for more than there is, or answer what is refused.
    """

    def __init__(self, at: Place | None) -> None:
        self.calls, self.seen = 0, dict[str, Any]()
        self.at = at

    def asked(self, ctx: Any, name: str) -> int:
        """Count a question of a function in the memo; killed before or after it is written."""
        self.calls += 1
        if self.at == Place("before a memo", self.calls):
            end_process()
        memo = ctx.memo
        memo[name] = memo.get(name, 0) + 1
        memo["prices"] = [*memo.get("prices", []), round(ctx.price, 6)][-5:]
        if memo[name] % 7 == 0:
            memo.pop("kept", None)
        memo.setdefault("kept", {})[str(memo[name] % 4)] = [ctx.when_ms, None, True]
        if self.at == Place("after a memo", self.calls):
            end_process()
        self.seen = json.loads(json.dumps(memo))
        number: int = memo[name]
        return number

    def get_signal(self, ctx: Any) -> Any:
        number = self.asked(ctx, "questions")
        minute = (ctx.when_ms - ORIGIN) // MINUTE
        if minute % 11 == 10:
            raise ValueError("not answered: what was written is not kept")
        if minute % 13 == 12:
            ctx.candles("1d", 500)
        if number % 3:
            return None
        level = ctx.price * (0.999 if number % 2 else 1.0)
        opened = {"price_open": level} if number % 2 else {}
        return bknb.Signal(position="long", minute_estimated_time=4, memo={"number": number}, **opened)

    def manage(self, ctx: Any) -> Any:
        number = self.asked(ctx, "managed")
        if (ctx.when_ms - ORIGIN) // MINUTE % 5 == 4:
            raise ValueError("not answered")
        return bknb.Close() if number % 6 == 0 else None


def play(folder: Path, at: Place | None) -> None:
    """One life; the memo it ends with, and the positions that ended, are in files."""
    life, keeps = Life(folder, at), Keeps(at)
    strategy = bknb.add_strategy(
        "keeps", interval="1m", get_signal=keeps.get_signal, manage=keeps.manage, manage_interval="1m"
    )
    store = FileStore(folder / "state", disk=life.disk)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=MARKET, clock=KeptClock(folder / "clock"), until=UNTIL, store=store,
        settings=SETTINGS, late_minutes=10_000,
    )  # fmt: skip
    result = task.result(timeout=60)
    ended = [msgspec.structs.replace(event, price=0.0) for event in result.run_record.records.closed]
    life.ends({"memo": kept(folder / "state"), "closed": ended})


def kept(state: Path) -> Any:
    """The memo on disk, of the newer of two values."""
    paths = [path for kind in ("signal", "schedule") for path in (state / kind).rglob("BTCUSDT.json")]
    newest = max((json.loads(path.read_bytes())["payload"] for path in paths), key=lambda payload: payload["turn"])
    return json.loads(newest["memo"])


def main(root: Path, count: int, seed: int) -> None:
    def places(changes: list[Change]) -> list[Place]:
        within = [Place(what, n) for what in ("before a memo", "after a memo") for n in range(1, QUESTIONS + 1)]
        drawn = random.Random(seed)  # noqa: S311 -- which moments are tried
        return drawn.sample([*within, *(each.place for each in changes)], count)

    found = compared_lives(root, play, places)
    killed = [place.change for place in found.places]
    print(json.dumps({"wrong": found.wrong, "killed": killed, **found.ended}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
